//! Ways in beside RTMP: what comes by them plays as it was sent, whatever is lost on the way; nothing that comes
//! harms anybody.

use crate::harness::api::{self, ask, ask_with};
use crate::harness::backend::Backend;
use crate::harness::beat;
use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{AAC, AUDIO, H264, VIDEO, decode, make, probe, tool};
use crate::harness::http::{Http, Raw};
use crate::harness::media::{
    AVATAR, BBB, FlvViewer, Receive, Viewer, avc, avc_header, file, kind, serial, tags,
};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Folder, Server, await_port, free_port, free_udp_port, moved, shipped};
use crate::harness::{Noise, PATIENCE, SOON, pause, wait_until};
use bytes::BytesMut;
use mill_media::flv::demux::Tag;
use mill_media::flv::mux;
use mill_media::frame::{Frame, FrameKind};
use mill_media::ts::mux::Muxer;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A `stream_caster` block.
fn caster(protocol: &str, port: u16, output: &str) -> String {
    format!("stream_caster {{ enabled on; caster {protocol}; listen 127.0.0.1:{port}; output {output}; }}")
}

/// A server, and the port of its one caster. `[rtmp]` in the output is its own address.
struct Caster {
    server: Server,
    addr: SocketAddr,
}

impl Caster {
    #[track_caller]
    fn start(protocol: &str, output: &str, conf: &Conf) -> Self {
        let port = if protocol == "flv" { free_port() } else { free_udp_port() };
        let server = Server::start_with(|command, ports, dir| {
            let output = output.replace("[rtmp]", &format!("127.0.0.1:{}", ports.rtmp));
            let text = conf.clone().global(&caster(protocol, port, &output)).text(ports, dir);
            std::fs::write(dir.join("srs.conf"), text).unwrap();
            command.args(["-c", "srs.conf"]);
        });
        Self { server, addr: ([127, 0, 0, 1], port).into() }
    }

    #[track_caller]
    fn mpegts() -> Self {
        Self::start("mpegts_over_udp", "rtmp://[rtmp]/live/ts", &Conf::default())
    }

    #[track_caller]
    fn flv() -> Self {
        Self::start("flv", "rtmp://[rtmp]/[app]/[stream]", &Conf::default())
    }

    fn udp(&self) -> String {
        format!("udp://{}?pkt_size=1316", self.addr)
    }

    fn post(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }

    #[track_caller]
    fn viewer(&self, path: &str) -> FlvViewer {
        let stream = path.trim_start_matches('/').trim_end_matches(".flv");
        wait_until(&format!("{stream} is on air"), SOON, || self.is_live(stream));
        FlvViewer::open(&self.server, path)
    }

    fn is_live(&self, stream: &str) -> bool {
        api::list(&api::get(&self.server, "streams/?count=100"), "streams").iter().any(|entry| {
            let name = format!("{}/{}", api::text(entry, "app"), api::text(entry, "name"));
            name == stream && entry["publish"]["active"] == true
        })
    }
}

/// An encoder that sends transport packets or FLV at their own pace until dropped.
#[track_caller]
fn send(args: &str, format: &str, url: &str) -> Process {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error");
    Process::start(command.args(args.split_whitespace()).args(["-f", format, url]))
}

fn encode(codecs: &str) -> String {
    format!("-re {VIDEO} -re {AUDIO} {codecs}")
}

/// A file sent once at its own pace, as it is.
#[track_caller]
fn send_file(file: &Path, format: &[&str], url: &str) -> Process {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -re -i");
    Process::start(command.arg(file).args(["-c", "copy", "-f"]).args(format).arg(url))
}

/// Frames that a viewer gets until the encoder has ended and nothing comes any more.
#[track_caller]
fn everything(viewer: &mut FlvViewer, encoder: &mut Process) -> Vec<Tag> {
    let (mut got, end) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        let ended = !encoder.alive();
        match viewer.next(Duration::from_secs(2)) {
            Some(tag) => got.push(tag),
            None if ended => return got,
            None => assert!(Instant::now() < end, "the encoder does not end"),
        }
    }
}

fn is_frame(tag: &Tag) -> bool {
    kind(tag).is_some_and(|kind| !kind.is_header())
}

/// Picture and sound are together as they were sent; not more frames than `damaged` are others or elsewhere.
#[track_caller]
fn assert_together(source: &[Tag], got: &[Tag], damaged: usize) {
    let mut known: HashMap<&[u8], Vec<u32>> = HashMap::new();
    for tag in source {
        known.entry(&tag.body).or_default().push(tag.timestamp);
    }
    let (mut strange, mut apart, mut picture) = (0, 0, None);
    for tag in got.iter().filter(|tag| is_frame(tag)) {
        let delay = match known.get(&tag.body[..]).map(|times| &times[..]) {
            Some(&[sent]) => i64::from(tag.timestamp) - i64::from(sent),
            // Silence looks like silence.
            Some(_) => continue,
            None => {
                strange += 1;
                continue;
            }
        };
        if tag.tag_type == 9 {
            picture = Some(delay);
        } else if picture.is_some_and(|picture: i64| (picture - delay).abs() > 40) {
            apart += 1;
        }
    }
    assert!(strange <= damaged, "{strange} frames that nobody sent");
    assert!(apart <= damaged, "{apart} frames of sound away from their picture");
    for video in [true, false] {
        let count = got.iter().filter(|tag| is_frame(tag) && (tag.tag_type == 9) == video).count();
        assert!(count > 50, "{count} frames, video: {video}");
    }
}

/// A clip whose frames all differ, with B-frames.
#[track_caller]
fn clip(dir: &Path, seconds: u32) -> std::path::PathBuf {
    let file = dir.join("clip.flv");
    let noise = "-f lavfi -i anoisesrc=r=44100:a=0.1";
    let h264 = "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -g 25 -b:v 600k";
    make(&format!("{VIDEO} {noise} -t {seconds} {h264} {AAC}"), &file);
    file
}

#[test]
fn transport_streams_play_everywhere() {
    let caster = Caster::start("mpegts_over_udp", "rtmp://[rtmp]/live/ts", &beat::with_hls());
    let _encoder = send(&beat::encode(), "mpegts", &caster.udp());
    wait_until("it is on air", SOON, || caster.is_live("live/ts"));
    beat::plays_everywhere(&caster.server, "live/ts");
    let probe = probe(&caster.server.rtmp("live/ts"), 100);
    assert_eq!(probe.codecs.len(), 2, "{probe:?}");
    probe.assert_sound();
}

#[test]
fn flv_by_post_plays_everywhere() {
    let caster = Caster::start("flv", "rtmp://[rtmp]/[app]/[stream]", &beat::with_hls());
    let _encoder = send(&format!("{} -method POST", beat::encode()), "flv", &caster.post("live/cam.flv"));
    wait_until("it is on air", SOON, || caster.is_live("live/cam"));
    beat::plays_everywhere(&caster.server, "live/cam");
}

#[test]
fn parameters_of_a_post_are_those_of_the_stream() {
    let backend = Backend::start();
    let hooks = backend.hooks("");
    let conf = Conf::vhost(&hooks).vhosts(&format!("vhost v.com {{ {hooks} }}"));
    let body = flv(&[(9, 0, &avc_header()), (9, 0, &avc(true, 0, 300))]);
    let asked = |output: &str, path: &str| {
        let caster = Caster::start("flv", output, &conf);
        backend.forget();
        let mut sender = post(&caster, path, &format!("Content-Length: {}", body.len()));
        sender.send(&body);
        assert_eq!(sender.answer(false).head.status, 200, "{path}");
        wait_until("the callback has come", SOON, || backend.actions().contains(&"on_publish".into()));
        assert!(!caster.server.log().contains("s3cret"), "{}", caster.server.log());
        let call = backend.calls().into_iter().find(|call| call.action() == "on_publish").unwrap();
        ["vhost", "app", "stream", "param"].map(|field| call.field(field))
    };
    let open = "rtmp://[rtmp]/[app]/[stream]";
    assert_eq!(
        asked(open, "/live/x.flv?token=s3cret&u=1"),
        ["__defaultVhost__", "live", "x", "?token=s3cret&u=1"]
    );
    assert_eq!(asked(open, "/live/x.flv?token=s3cret&vhost=v.com"), ["v.com", "live", "x", "?token=s3cret"]);
    let named = "rtmp://[rtmp]/[app]?vhost=__defaultVhost__/[stream]";
    assert_eq!(
        asked(named, "/live/x.flv?token=s3cret&vhost=v.com"),
        ["__defaultVhost__", "live", "x", "?token=s3cret"]
    );
}

#[test]
fn other_codecs_of_transport_streams() {
    let caster = Caster::mpegts();
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=error -g 25 -c:a libmp3lame -ar 48000";
    let _encoder = send(&encode(hevc), "mpegts", &caster.udp());
    let mut viewer = caster.viewer("/live/ts.flv");
    let header = viewer.of(FrameKind::VideoHeader);
    assert_eq!(&header.body[..5], b"\x90hvc1");
    let (mut video, mut sound) = (0, 0);
    while video < 30 || sound < 30 {
        let frame = viewer.frame();
        match frame.tag_type {
            9 => video += 1,
            _ => {
                assert_eq!(frame.body[0] & 0xfe, 0x2e, "MP3 of the highest rate class");
                sound += 1;
            }
        }
    }
}

#[test]
fn picture_and_sound_of_a_transport_stream_stay_together() {
    let caster = Caster::mpegts();
    let dir = Folder::new();
    let clip = clip(dir.path(), 6);
    let mut encoder = send_file(&clip, &["mpegts"], &caster.udp());
    let mut viewer = caster.viewer("/live/ts.flv");
    let got = everything(&mut viewer, &mut encoder);
    assert_together(&tags(&clip), &got, 0);
    assert!(encoder.finish(PATIENCE).status.success());
}

#[test]
fn sound_alone_and_pictures_alone() {
    let caster = Caster::start("mpegts_over_udp", "rtmp://[rtmp]/live/[port]", &Conf::default());
    let senders: Vec<_> = [format!("-re {AUDIO} {AAC}"), format!("-re {VIDEO} {H264}")]
        .iter()
        .map(|args| {
            let port = free_udp_port();
            let process = send(args, "mpegts", &format!("{}&localport={port}", caster.udp()));
            (process, port)
        })
        .collect();
    for ((_, port), tag_type) in senders.iter().zip([8, 9]) {
        let mut viewer = caster.viewer(&format!("/live/{port}.flv"));
        for _ in 0..20 {
            assert_eq!(viewer.frame().tag_type, tag_type);
        }
    }
}

/// Where serial numbers begin.
const FIRST: u32 = 0x1111_1111;

/// Frames as datagrams of a transport stream; each with its number in it.
struct Sender {
    socket: UdpSocket,
    muxer: Muxer,
    packets: BytesMut,
    /// Serial number of the next frame; without zeros, which would be start codes.
    next: u32,
    time: i64,
}

impl Sender {
    fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(to).unwrap();
        let mut sender = Self { socket, muxer: Muxer::new(), packets: BytesMut::new(), next: FIRST, time: 0 };
        sender.put(FrameKind::VideoHeader, &avc_header());
        sender
    }

    fn put(&mut self, kind: FrameKind, body: &[u8]) {
        let frame = Frame { kind, dts: self.time, payload: body.to_vec().into() };
        self.muxer.write(&frame, &mut self.packets).unwrap();
    }

    /// Sends some frames, a keyframe every ten.
    fn send(&mut self, count: u32) {
        for _ in 0..count {
            let key = self.time % 400 == 0;
            let kind = if key { FrameKind::Keyframe } else { FrameKind::Video };
            self.put(kind, &avc(key, self.next, 3000));
            self.next += 1;
            self.time += 40;
            for datagram in self.packets.split().chunks(7 * 188) {
                self.socket.send(datagram).unwrap();
            }
        }
    }

    /// Sends until the condition holds.
    #[track_caller]
    fn send_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        wait_until(what, SOON, || {
            self.send(1);
            condition()
        });
    }
}

#[test]
fn a_silent_sender_ends_its_publish_and_may_begin_again() {
    let caster = Caster::mpegts();
    let mut sender = Sender::new(caster.addr);
    sender.send_until("it is on air", || caster.is_live("live/ts"));
    wait_until("it is over", SOON, || !caster.is_live("live/ts"));
    wait_until("it is told", SOON, || caster.server.log().contains("is silent and gone"));
    sender.send_until("it is on air again", || caster.is_live("live/ts"));
    let mut viewer = caster.viewer("/live/ts.flv");
    sender.send(11);
    let wanted = sender.next - 2;
    viewer.until_serial(wanted);
}

#[test]
fn who_waits_for_a_name_gets_it_when_the_other_falls_silent() {
    let caster = Caster::mpegts();
    let (mut first, mut second) = (Sender::new(caster.addr), Sender::new(caster.addr));
    second.next = 2 * FIRST;
    first.send_until("the first is on air", || caster.is_live("live/ts"));
    let mut viewer = Player::start(&caster.server, "live/ts");
    let refused = || caster.server.log().contains("already has a publisher");
    wait_until("the second is refused", SOON, || {
        first.send(1);
        second.send(1);
        refused()
    });
    let end = Instant::now() + SOON;
    loop {
        second.send(1);
        let from_second = |tag: Tag| is_frame(&tag) && serial(&tag) >= 2 * FIRST;
        if viewer.next(Duration::from_millis(10)).is_some_and(from_second) {
            break;
        }
        assert!(Instant::now() < end, "the second does not come on air");
    }
}

#[test]
fn senders_are_told_apart() {
    let caster = Caster::start("mpegts_over_udp", "rtmp://[rtmp]/live/[ip]_[port]", &Conf::default());
    let mut senders = [Sender::new(caster.addr), Sender::new(caster.addr)];
    senders[1].next = 2 * FIRST;
    for sender in &mut senders {
        let port = sender.socket.local_addr().unwrap().port();
        let name = format!("live/127.0.0.1_{port}");
        sender.send_until("it is on air", || caster.is_live(&name));
        let mut viewer = caster.viewer(&format!("/{name}.flv"));
        let first = sender.next;
        sender.send(12);
        let got = viewer.until_serial(first + 10);
        let own = |tag: &Tag| serial(tag).abs_diff(first) < 10_000;
        assert!(got.iter().filter(|tag| is_frame(tag)).all(own));
    }
}

/// Passes datagrams on, but not all and not in their order.
struct BadLine {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl BadLine {
    /// 1 % is lost, 5 % comes behind one or two others; always the same ones.
    fn to(target: SocketAddr) -> Self {
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
        inside.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (addr, stop) = (inside.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let (mut noise, mut buffer) = (Noise::new(5), [0; 2048]);
            // What waits, and for how many others.
            let mut held: Vec<(u32, Vec<u8>)> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let Ok(len) = inside.recv(&mut buffer) else { continue };
                let dice = (noise.next() >> 20) % 100;
                match dice {
                    0 => {}
                    1..=5 => {
                        held.push((1 + (dice % 2) as u32, buffer[..len].to_vec()));
                        continue;
                    }
                    _ => {
                        outside.send_to(&buffer[..len], target).unwrap();
                    }
                }
                held.iter_mut().for_each(|(left, _)| *left -= 1);
                held.retain(|(left, datagram)| {
                    if *left == 0 {
                        outside.send_to(datagram, target).unwrap();
                    }
                    *left > 0
                });
            }
        });
        Self { addr, stop }
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_bad_line_costs_frames_and_damages_none() {
    for rtp in [false, true] {
        let exporter = free_port();
        let conf =
            Conf::default().global(&format!("exporter {{ enabled on; listen 127.0.0.1:{exporter}; }}"));
        let mut caster = Caster::start("mpegts_over_udp", "rtmp://[rtmp]/live/ts", &conf);
        let exporter = ([127, 0, 0, 1], exporter).into();
        await_port(exporter);
        let line = BadLine::to(caster.addr);
        let dir = Folder::new();
        let clip = clip(dir.path(), 10);
        let (format, url) = match rtp {
            true => ("rtp_mpegts", format!("rtp://{}?pkt_size=1328", line.addr)),
            false => ("mpegts", format!("udp://{}?pkt_size=1316", line.addr)),
        };
        let value = |series: &str| -> f64 {
            let page = ask(exporter, "GET", "/metrics").text;
            let line = page.lines().find_map(|line| line.strip_prefix(series));
            line.map_or(0.0, |value| value.trim().parse().unwrap())
        };
        let mut encoder = send_file(&clip, &[format], &url);
        let mut viewer = caster.viewer("/live/ts.flv");
        assert_eq!(value("millstream_caster_senders{caster=\"mpegts_over_udp\"}"), 1.0);
        let mut got = everything(&mut viewer, &mut encoder);
        // Behind the last picture there is nothing to tell that it is whole.
        let last = got.iter().rposition(|tag| tag.tag_type == 9);
        got.remove(last.expect("there are pictures"));
        let source = tags(&clip);
        // Without numbers two orders may look alike: that may cost some heaps of sound, 16 frames each.
        assert_together(&source, &got, if rtp { 0 } else { 48 });
        let keys = |tags: &[Tag]| tags.iter().filter(|tag| kind(tag) == Some(FrameKind::Keyframe)).count();
        assert!(keys(&got) >= 6, "{} of {} keyframes", keys(&got), keys(&source));
        let frames = |tags: &[Tag]| tags.iter().filter(|tag| is_frame(tag)).count();
        assert!(frames(&got) * 10 > frames(&source) * 7, "{} of {}", frames(&got), frames(&source));
        assert!(value("millstream_mpegts_troubles_total{reason=\"gap\"}") > 0.0);
        assert!(value("millstream_mpegts_datagrams_total{result=\"reordered\"}") > 0.0);
        assert!(caster.server.alive());
    }
}

#[test]
fn strangers_keep_nobody_out_and_memory_in_bounds() {
    let mut caster = Caster::mpegts();
    let mut noise = Noise::new(8);
    let recorded: Vec<u8> = {
        let (mut muxer, mut out) = (Muxer::new(), BytesMut::new());
        for tag in tags(&file(AVATAR)) {
            if let Some(kind) = kind(&tag) {
                let frame = Frame { kind, dts: tag.timestamp.into(), payload: tag.body };
                let _ = muxer.write(&frame, &mut out);
            }
        }
        out.to_vec()
    };
    // From more addresses than there may be, noise and damaged recordings.
    for _ in 0..200 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(caster.addr).unwrap();
        for _ in 0..20 {
            let len = (noise.next() % 1400) as usize;
            socket.send(&noise.bytes(len)).unwrap();
            let at = noise.next() as usize % (recorded.len() / 188 - 7) * 188;
            let mut packets = recorded[at..at + 1316].to_vec();
            for _ in 0..noise.next() % 4 {
                let place = noise.next() as usize % packets.len();
                packets[place] = noise.next() as u8;
            }
            socket.send(&packets).unwrap();
        }
    }
    let mut sender = Sender::new(caster.addr);
    sender.send_until("a good one is on air", || caster.is_live("live/ts"));
    wait_until("it is told", SOON, || caster.server.log().contains("MPEG-TS client"));
    let told = caster.server.log().matches("MPEG-TS client").count();
    assert!(told < 100, "{told} lines about 200 strangers");
    // A picture without an end.
    let endless = UdpSocket::bind("127.0.0.1:0").unwrap();
    endless.connect(caster.addr).unwrap();
    let before = caster.server.rss_kb();
    let mut stream = recorded[..188 * 4].to_vec();
    for counter in 0..80_000u32 {
        let mut packet = [0x5a; 188];
        packet[..4].copy_from_slice(&[0x47, 1, 0, 0x10 | (counter & 15) as u8]);
        stream.extend(packet);
        if stream.len() >= 1316 {
            endless.send(&stream[..1316]).unwrap();
            stream.drain(..1316);
        }
    }
    sender.send_until("the good one goes on", || sender_is_seen(&caster));
    assert!(caster.server.alive());
    let grown = caster.server.rss_kb().saturating_sub(before);
    assert!(grown < 40_000, "{grown} kB more");
}

fn sender_is_seen(caster: &Caster) -> bool {
    let mut viewer = FlvViewer::open(&caster.server, "/live/ts.flv");
    viewer.next(Duration::from_millis(500)).is_some()
}

#[test]
fn flv_by_post_plays_as_it_was_sent() {
    let caster = Caster::flv();
    let dir = Folder::new();
    let clip = clip(dir.path(), 6);
    let mut encoder = send_file(&clip, &["flv", "-method", "POST"], &caster.post("live/cam.flv"));
    let mut viewer = caster.viewer("/live/cam.flv");
    decode(&caster.server.rtmp("live/cam"), 2);
    let got = everything(&mut viewer, &mut encoder);
    assert_together(&tags(&clip), &got, 0);
    assert!(encoder.wait(PATIENCE).is_some_and(|status| status.success()), "{}", encoder.said());
}

/// A head, and a body of which more may follow.
fn post(caster: &Caster, path: &str, headers: &str) -> Http {
    let mut http = Http::connect(caster.addr);
    http.send(format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n\r\n").as_bytes());
    http
}

fn flv(frames: &[(u8, u32, &[u8])]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.extend_from_slice(&mux::file_header(true, true));
    for (tag_type, timestamp, body) in frames {
        mux::write_tag(&mut out, *tag_type, *timestamp, body).unwrap();
    }
    out.to_vec()
}

#[test]
fn bodies_in_both_forms_get_an_answer() {
    let caster = Caster::flv();
    let body = std::fs::read(file(BBB)).unwrap();
    let mut whole = post(&caster, "/live/a.flv", &format!("Content-Length: {}", body.len()));
    whole.send(&body);
    let answer = api::read(whole.answer(false));
    assert_eq!((answer.head.status, &*answer.text), (200, "686 tags\n"));

    let mut chunked = post(&caster, "/live/b.flv", "Transfer-Encoding: chunked");
    for piece in body.chunks(7919) {
        chunked.send(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.send(piece);
        chunked.send(b"\r\n");
    }
    chunked.send(b"0\r\n\r\n");
    let answer = api::read(chunked.answer(false));
    assert_eq!((answer.head.status, &*answer.text), (200, "686 tags\n"));
    assert_eq!(answer.head.header("connection"), Some("close"));
}

#[test]
fn a_slow_sender_is_waited_for() {
    let caster = Caster::flv();
    let body = flv(&[(9, 0, &avc_header()), (9, 0, &avc(true, 7, 300)), (9, 40, &avc(false, 8, 300))]);
    let mut sender = post(&caster, "/live/slow.flv", &format!("Content-Length: {}", body.len()));
    for byte in &body[..100] {
        sender.send(&[*byte]);
        pause();
    }
    sender.send(&body[100..body.len() - 1]);
    let mut viewer = caster.viewer("/live/slow.flv");
    viewer.until_serial(7);
    sender.send(&body[body.len() - 1..]);
    assert_eq!(sender.answer(false).head.status, 200);
    wait_until("it is over", SOON, || !caster.is_live("live/slow"));
}

#[test]
fn what_cannot_be_taken_is_answered() {
    let conf = Conf::default().vhosts("vhost closed.com { security { enabled on; deny publish all; } }");
    let caster = Caster::start("flv", "rtmp://[rtmp]/[app]/[stream]", &conf);
    let good = flv(&[(9, 0, &avc_header()), (9, 0, &avc(true, 0, 300))]);
    let chunk = |body: &[u8]| [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
    let refused = |path: &str, body: &[u8]| {
        let mut sender = post(&caster, path, "Transfer-Encoding: chunked");
        sender.send(&chunk(body));
        let answer = api::read(sender.answer(false));
        (answer.head.status, answer.text.trim().to_owned())
    };
    let not_flv = (415, "not an FLV stream".to_owned());
    assert_eq!(refused("/live/x.flv", b"\x47nonsense that goes on"), not_flv);
    assert_eq!(refused("/live/x.flv", b"FL?"), not_flv);
    let huge = [&good[..13], &[9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]].concat();
    assert_eq!(refused("/live/x.flv", &huge).0, 413);
    for path in ["/x.flv", "/live/", "/live/a%3fvhost=closed.com.flv"] {
        assert_eq!(refused(path, &good).0, 404, "{path}");
    }
    let mut publisher = Publisher::start(&caster.server, "live/busy");
    publisher.headers(0);
    assert_eq!(refused("/live/busy.flv", &good).0, 409);
    assert_eq!(ask(caster.addr, "GET", "/live/x.flv").head.status, 405);
    let torn = ask_with(caster.addr, "POST", "/live/x.flv", "Content-Length: 0\r\n");
    assert_eq!(torn.head.status, 400);
    let mut cut = post(&caster, "/live/x.flv", &format!("Content-Length: {}", good.len() - 20));
    cut.send(&good[..good.len() - 20]);
    assert_eq!(cut.answer(false).head.status, 400);
    // Who hangs up in the middle.
    let mut gone = post(&caster, "/live/gone.flv", "Transfer-Encoding: chunked");
    gone.send(&chunk(&good));
    wait_until("it is on air", SOON, || caster.is_live("live/gone"));
    drop(gone);
    wait_until("it is over", SOON, || !caster.is_live("live/gone"));
}

#[test]
fn a_vhost_that_refuses_and_a_server_that_is_not_there() {
    let conf = Conf::vhost("security { enabled on; deny publish all; }");
    let body = flv(&[(9, 0, &avc_header()), (9, 0, &avc(true, 0, 300))]);
    let status = |output: &str| {
        let caster = Caster::start("flv", output, &conf);
        let mut sender = post(&caster, "/live/x.flv", &format!("Content-Length: {}", body.len()));
        sender.send(&body);
        sender.answer(false).head.status
    };
    assert_eq!(status("rtmp://[rtmp]/[app]/[stream]"), 403);
    assert_eq!(status(&format!("rtmp://127.0.0.1:{}/[app]/[stream]", free_port())), 502);
}

#[test]
fn noise_by_post_is_answered_and_forgotten() {
    let mut caster = Caster::flv();
    let mut noise = Noise::new(9);
    let recorded = std::fs::read(file(BBB)).unwrap();
    for round in 0..60 {
        let mut raw = Raw::connect(caster.addr);
        let head = "POST /live/n.flv HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n";
        let mut bytes = match round % 3 {
            0 => noise.bytes(3000),
            1 => [head.as_bytes(), b"FLV\x01\x05\0\0\0\x09", &noise.bytes(29_000)].concat(),
            _ => [head.as_bytes(), &recorded[..30_000]].concat(),
        };
        for _ in 0..noise.next() % 8 {
            let at = noise.next() as usize % bytes.len();
            bytes[at] = noise.next() as u8;
        }
        raw.send(&bytes);
        raw.finish_sending();
        assert!(raw.receive_to_end(SOON).is_some(), "round {round}: neither an answer nor an end");
    }
    assert!(caster.server.alive());
}

/// The shipped files do what they say; only their ports are others.
#[test]
fn shipped_configurations() {
    for (name, port, free) in
        [("push.mpegts.over.udp.conf", "8935", free_udp_port()), ("push.flv.conf", "8936", free_port())]
    {
        let rtmp = std::cell::Cell::new(0);
        let server = Server::start_with(|command, ports, dir| {
            rtmp.set(ports.rtmp);
            let text = std::fs::read_to_string(shipped().join(name)).unwrap();
            let text = moved(&text, ports)
                .replace(&format!("          {port};"), &format!(" 127.0.0.1:{free};"))
                .replace("127.0.0.1:1935", &format!("127.0.0.1:{}", ports.rtmp));
            let http = format!("http_server {{ enabled on; listen 127.0.0.1:{}; }}", ports.http);
            std::fs::write(dir.join("srs.conf"), text + &http).unwrap();
            command.args(["-c", "srs.conf"]);
        });
        let codecs = format!("{H264} {AAC}");
        let _encoder = if name.contains("udp") {
            send(&encode(&codecs), "mpegts", &format!("udp://127.0.0.1:{free}?pkt_size=1316"))
        } else {
            send(
                &format!("{} -method POST", encode(&codecs)),
                "flv",
                &format!("http://127.0.0.1:{free}/live/livestream.flv"),
            )
        };
        let probe = probe(&server.rtmp("live/livestream"), 100);
        assert_eq!(probe.codecs.len(), 2, "{name}: {probe:?}");
        probe.assert_sound();
    }
}

/// An entrance opens, moves, changes its protocol and closes; who is inside stays, another output is for the next.
#[test]
pub(crate) fn entrances_come_go_and_move() {
    let server = Server::plain();
    let (first, second) = (free_port(), free_port());
    let own = |app: &str| format!("rtmp://127.0.0.1:{}/{app}/[stream]", server.ports().rtmp);
    // One that is inside says nothing more.
    let patient = Conf::vhost("publish { normal_timeout 60000; }");
    let reload = |blocks: &[String]| server.reload(&patient.clone().global(&blocks.concat()));
    let open = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    let is_live = |name: &str| {
        api::list(&api::get(&server, "streams/?count=100"), "streams").iter().any(|entry| {
            entry["publish"]["active"] == true
                && name == format!("{}/{}", api::text(entry, "app"), api::text(entry, "name"))
        })
    };
    let begin = |port: u16, name: &str| {
        let mut http = Http::connect(([127, 0, 0, 1], port).into());
        let body = flv(&[(9, 0, &avc_header()), (9, 0, &avc(true, 0, 300))]);
        http.send(
            format!(
                "POST /x/{name}.flv HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                body.len()
            )
            .as_bytes(),
        );
        http.send(&body);
        http.send(b"\r\n");
        http
    };

    assert!(!open(first));
    reload(&[caster("flv", first, &own("a"))]);
    let inside = begin(first, "one");
    wait_until("the first is on air", SOON, || is_live("a/one"));

    reload(&[caster("flv", first, &own("b"))]);
    let _next = begin(first, "two");
    wait_until("the next goes elsewhere", SOON, || is_live("b/two"));
    assert!(is_live("a/one"));

    reload(&[caster("flv", second, &own("b"))]);
    wait_until("the old place is closed", SOON, || !open(first));
    assert!(open(second) && is_live("a/one"));

    // UDP at the same number, and no more TCP.
    let udp = free_udp_port();
    reload(&[caster("mpegts_over_udp", udp, &own("ts").replace("[stream]", "x"))]);
    wait_until("TCP is closed", SOON, || !open(second));
    let mut sender = Sender::new(([127, 0, 0, 1], udp).into());
    sender.send_until("datagrams are taken", || is_live("ts/x"));

    reload(&[caster("mpegts_over_udp", udp, &own("ts").replace("[stream]", "x")).replace("on;", "off;")]);
    wait_until("its senders go with it", SOON, || !is_live("ts/x"));
    assert!(is_live("a/one"), "who is inside stays");
    drop(inside);
}
