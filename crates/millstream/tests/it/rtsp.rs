//! RTSP of those who push: what real encoders and cameras with their habits send is on air as they sent it, over the
//! connection and in datagrams, on bad lines too; nobody else is let in, and nothing that comes harms anybody.

use crate::harness::api::{self, ask};
use crate::harness::backend::Backend;
use crate::harness::beat;
use crate::harness::ffmpeg::{AAC, AUDIO, H264, VIDEO, decode, decode_file, make, probe, tool};
use crate::harness::http::Raw;
use crate::harness::media::{FlvViewer, Receive, Viewer, avc_header, kind, tags};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Folder, Server, await_port, free_port, free_udp_port, moved, shipped};
use crate::harness::{Noise, PATIENCE, SOON, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use mill_media::codec::avc;
use mill_media::flv::demux::Tag;
use mill_media::flv::mux;
use mill_media::flv::tag::VideoTag;
use mill_media::frame::FrameKind;
use mill_media::nal::Units;
use mill_rtp::packet::Packet;
use mill_rtp::rtsp::session::MAX_REFUSALS;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A server with one RTSP entrance.
struct Entrance {
    server: Server,
    addr: SocketAddr,
    /// Where the metrics are.
    exporter: SocketAddr,
}

/// A range with room for so many pairs of ports, which no other test of this process is given. Below those of
/// [`free_port`], because a server does not take them when it starts.
fn range(pairs: u16) -> String {
    const FIRST: u32 = 4_000;
    const COUNT: u32 = 8_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let offset = std::process::id().wrapping_mul(610);
    loop {
        let step = NEXT.fetch_add(2 * u32::from(pairs), Ordering::Relaxed);
        let first = (FIRST + offset.wrapping_add(step) % COUNT) as u16 & !1;
        let ports = first..first + 2 * pairs;
        if ports.clone().all(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok()) {
            return format!("rtp_port_min {}; rtp_port_max {};", ports.start, ports.end);
        }
    }
}

/// The configuration of an entrance: its port, the port of RTMP, and more lines.
fn block(port: u16, rtmp: u16, lines: &str) -> String {
    format!(
        "stream_caster {{ enabled on; caster rtsp; listen 127.0.0.1:{port}; \
         output rtmp://127.0.0.1:{rtmp}/[app]/[stream]; {lines} }}"
    )
}

impl Entrance {
    #[track_caller]
    fn start(lines: &str, conf: &Conf) -> Self {
        let (port, exporter) = (free_port(), free_port());
        let server = Server::start_with(|command, ports, dir| {
            let exporter = format!("exporter {{ enabled on; listen 127.0.0.1:{exporter}; }}");
            let conf = conf.clone().global(&block(port, ports.rtmp, lines)).global(&exporter);
            std::fs::write(dir.join("srs.conf"), conf.text(ports, dir)).unwrap();
            command.args(["-c", "srs.conf"]);
        });
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (addr, exporter) = (local(port), local(exporter));
        await_port(addr);
        await_port(exporter);
        Self { server, addr, exporter }
    }

    #[track_caller]
    fn plain() -> Self {
        Self::start(&range(20), &Conf::default())
    }

    fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.addr)
    }

    fn is_live(&self, stream: &str) -> bool {
        api::list(&api::get(&self.server, "streams/?count=100"), "streams").iter().any(|entry| {
            let name = format!("{}/{}", api::text(entry, "app"), api::text(entry, "name"));
            name == stream && entry["publish"]["active"] == true
        })
    }

    #[track_caller]
    fn viewer(&self, stream: &str) -> FlvViewer {
        wait_until(&format!("{stream} is on air"), SOON, || self.is_live(stream));
        FlvViewer::open(&self.server, &format!("/{stream}.flv"))
    }

    /// A metric; 0 before it is there.
    fn metric(&self, series: &str) -> u64 {
        let page = ask(self.exporter, "GET", "/metrics").text;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0)
    }

    #[track_caller]
    fn logged(&self, words: &str) {
        wait_until(words, SOON, || self.server.log().contains(words));
    }
}

/// An encoder that pushes until dropped.
#[track_caller]
fn push(args: &str, transport: &str, url: &str) -> Process {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error");
    command.args(args.split_whitespace()).args(["-f", "rtsp", "-rtsp_transport", transport, url]);
    Process::start(&mut command)
}

/// A file pushed once, at its own pace, as it is.
#[track_caller]
fn push_file(file: &Path, transport: &str, url: &str) -> Process {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -re -i");
    command.arg(file).args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", transport, url]);
    Process::start(&mut command)
}

fn encode(codecs: &str) -> String {
    format!("-re {VIDEO} -re {AUDIO} {codecs}")
}

/// A clip whose frames all differ, with B-frames.
#[track_caller]
fn clip(dir: &Path, seconds: u32) -> PathBuf {
    let file = dir.join("clip.flv");
    let noise = "-f lavfi -i anoisesrc=r=44100:a=0.1";
    let h264 = "-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p -g 25 -b:v 600k";
    make(&format!("{VIDEO} {noise} -t {seconds} {h264} {AAC}"), &file);
    file
}

fn is_frame(tag: &Tag) -> bool {
    kind(tag).is_some_and(|kind| !kind.is_header())
}

/// What is coded in a frame, and when it is shown. Parameter sets and delimiters may be elsewhere.
fn content(tag: &Tag) -> (Vec<u8>, i64) {
    if tag.tag_type != 9 {
        return (tag.body.to_vec(), tag.timestamp.into());
    }
    let video = VideoTag::parse(&tag.body).unwrap();
    let units = Units::new(video.data, 4).expect("units with lengths");
    let slices = units.filter(|unit| !matches!(unit[0] & 31, 7..=9)).collect::<Vec<_>>().concat();
    (slices, i64::from(tag.timestamp) + i64::from(video.cts))
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

#[test]
fn what_ffmpeg_pushes_plays_everywhere() {
    let entrance = Entrance::start(&range(4), &beat::with_hls());
    for transport in ["tcp", "udp"] {
        let name = format!("live/{transport}");
        let _encoder = push(&beat::encode(), transport, &entrance.url(&name));
        wait_until("it is on air", SOON, || entrance.is_live(&name));
        beat::plays_everywhere(&entrance.server, &name);
        let probe = probe(&entrance.server.rtmp(&name), 100);
        assert_eq!(probe.codecs.len(), 2, "{probe:?}");
        probe.assert_sound();
    }
}

#[test]
fn parameters_of_the_url_are_those_of_the_stream() {
    let backend = Backend::start();
    let hooks = backend.hooks("");
    let conf = Conf::vhost(&hooks).vhosts(&format!("vhost v.com {{ {hooks} }}"));
    let entrance = Entrance::start(&range(4), &conf);
    for (transport, query, vhost, param) in [
        ("tcp", "token=s3cret&u=a/b", "__defaultVhost__", "?token=s3cret&u=a/b"),
        ("udp", "vhost=v.com&token=s3cret", "v.com", "?token=s3cret"),
    ] {
        backend.forget();
        // Two tracks: the URL of each is made from that of the stream.
        let codecs = encode(&format!("{H264} {AAC}"));
        let encoder = push(&codecs, transport, &entrance.url(&format!("live/room/cam.sdp?{query}")));
        let of = |action: &str| backend.calls().into_iter().find(|call| call.action() == action);
        wait_until("it is on air", SOON, || of("on_publish").is_some());
        let call = of("on_publish").unwrap();
        let fields = ["vhost", "app", "stream", "param"].map(|field| call.field(field));
        assert_eq!(fields, [vhost, "live/room", "cam", param]);
        decode(&format!("{}?vhost={vhost}", entrance.server.rtmp("live/room/cam")), 1);
        drop(encoder);
        wait_until("it is over", SOON, || of("on_unpublish").is_some());
    }
    assert!(!entrance.server.log().contains("s3cret"), "{}", entrance.server.log());
}

#[test]
fn the_output_says_what_streams_are_called() {
    let port = free_port();
    let server = Server::start_with(|command, ports, dir| {
        let block = block(port, ports.rtmp, "").replace("[app]/[stream]", "cameras/[app]_[stream]_[else]");
        std::fs::write(dir.join("srs.conf"), Conf::default().global(&block).text(ports, dir)).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    await_port(addr);
    let mut camera = Camera::begin(addr, "yard/gate.sdp");
    camera.keyframe(0);
    FlvViewer::open(&server, "/cameras/yard_gate_[else].flv").of(FrameKind::Keyframe);
}

#[test]
fn picture_and_sound_stay_together() {
    let (entrance, dir) = (Entrance::plain(), Folder::new());
    let clip = clip(dir.path(), 6);
    let source = tags(&clip);
    let known: HashMap<_, _> = source.iter().filter(|tag| is_frame(tag)).map(content).collect();
    for transport in ["tcp", "udp"] {
        let name = format!("live/{transport}");
        let mut encoder = push_file(&clip, transport, &entrance.url(&name));
        let mut viewer = entrance.viewer(&name);
        let got = everything(&mut viewer, &mut encoder);
        let delays = got.iter().filter(|tag| is_frame(tag)).map(|tag| {
            let (data, shown) = content(tag);
            let sent = known.get(&data).unwrap_or_else(|| panic!("{} bytes that nobody sent", data.len()));
            shown - sent
        });
        let delays: Vec<_> = delays.collect();
        let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(most - least <= 40, "{transport}: between {least} and {most} ms late");
        for tag_type in [8, 9] {
            let of_track: Vec<_> =
                got.iter().filter(|tag| is_frame(tag) && tag.tag_type == tag_type).collect();
            assert!(of_track.len() > 100, "{} frames of type {tag_type}", of_track.len());
            assert!(of_track.is_sorted_by_key(|tag| tag.timestamp));
        }
        assert!(encoder.finish(PATIENCE).status.success());
        wait_until("it is over", SOON, || !entrance.is_live(&name));
    }
    assert_eq!(entrance.metric("millstream_rtp_packets_total{result=\"lost\"}"), 0);
}

/// What an encoder is told, and how the bodies of video headers, sound headers and sound begin.
struct Case {
    name: &'static str,
    codecs: String,
    begins: [&'static [u8]; 3],
}

#[test]
fn other_codecs() {
    let entrance = Entrance::plain();
    let hevc = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params log-level=error:keyint=25";
    let cases = [
        Case {
            name: "hevc",
            codecs: format!("{hevc} -c:a aac"),
            begins: [b"\x90hvc1", b"\xaf\0", b"\xaf\x01"],
        },
        Case {
            name: "opus",
            codecs: format!("{H264} -c:a libopus -b:a 64k"),
            begins: [b"\x17\0", b"\x90OpusOpusHead\x01", b"\x91Opus"],
        },
        Case {
            name: "alaw",
            codecs: format!("{H264} -c:a pcm_alaw -ar 8000 -ac 1"),
            begins: [b"\x17\0", b"", b"\x72"],
        },
        Case {
            name: "mulaw",
            codecs: format!("{H264} -c:a pcm_mulaw -ar 8000 -ac 1"),
            begins: [b"\x17\0", b"", b"\x82"],
        },
        Case {
            name: "mp3",
            codecs: format!("{H264} -c:a libmp3lame -ar 44100"),
            begins: [b"\x17\0", b"", b"\x2e\xff\xfb"],
        },
        Case {
            name: "latm",
            codecs: format!("{H264} {AAC} -rtpflags latm"),
            begins: [b"\x17\0", b"\xaf\0\x12\x10", b"\xaf\x01"],
        },
    ];
    for Case { name, codecs, begins: [video, header, sound] } in cases {
        let stream = format!("live/{name}");
        let _encoder = push(&encode(&codecs), "tcp", &entrance.url(&stream));
        let mut viewer = entrance.viewer(&stream);
        let (mut pictures, mut sounds) = (0, 0);
        while pictures < 25 || sounds < 25 {
            let tag = viewer.find("a tag", |_| true);
            let begins =
                |with: &[u8]| assert!(tag.body.starts_with(with), "{name}: {:02x?}", &tag.body[..16]);
            match kind(&tag) {
                Some(FrameKind::VideoHeader) => begins(video),
                Some(FrameKind::AudioHeader) => begins(header),
                Some(FrameKind::Audio) => {
                    begins(sound);
                    sounds += 1;
                }
                Some(FrameKind::Keyframe | FrameKind::Video) => pictures += 1,
                _ => {}
            }
        }
    }
}

#[test]
fn what_rtmp_has_no_place_for_is_refused() {
    let entrance = Entrance::plain();
    let encoder = push(&format!("-re {VIDEO} -c:v mpeg4"), "tcp", &entrance.url("live/s"));
    assert!(encoder.finish(PATIENCE).stderr().contains("415"));
    entrance.logged("track 0 is left out: MP4V-ES is not carried");
    // The pictures are welcome without such sound.
    let _encoder =
        push(&encode(&format!("{H264} -c:a pcm_s16be -ar 48000 -ac 2")), "tcp", &entrance.url("live/t"));
    let mut viewer = entrance.viewer("live/t");
    viewer.of(FrameKind::Keyframe);
    entrance.logged("track 1 is left out: L16 is not carried");
}

#[test]
fn names_and_passwords() {
    let auth = format!("{} auth {{ enabled on; username camera; password s3cret; }}", range(4));
    let entrance = Entrance::start(&auth, &Conf::default());
    let with = |who: &str| format!("rtsp://{who}{}/live/s", entrance.addr);
    for who in ["", "camera:gu3ssed@", "other:s3cret@"] {
        let encoder = push(&format!("-re {VIDEO} -t 5 {H264}"), "tcp", &with(who));
        assert!(encoder.finish(PATIENCE).stderr().contains("401"), "{who}");
    }
    entrance.logged("wrong name or password");
    let _encoder = push(&format!("-re {VIDEO} {H264}"), "tcp", &with("camera:s3cret@"));
    wait_until("it is on air", SOON, || entrance.is_live("live/s"));
    // Not every camera knows digests.
    let mut camera = Camera::connect(entrance.addr, "live/basic");
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode("camera:s3cret"));
    assert!(camera.announce(SDP, "").starts_with("RTSP/1.0 401 "));
    assert!(camera.announce(SDP, &basic).starts_with("RTSP/1.0 200 "));
    for secret in ["s3cret", "gu3ssed", &basic] {
        assert!(!entrance.server.log().contains(secret));
    }
}

#[test]
fn the_example() {
    let text = std::fs::read_to_string(shipped().join("push.rtsp.conf")).unwrap();
    let port = free_port();
    let server = Server::start_with(|command, ports, dir| {
        let text = text.replace("554;", &format!("127.0.0.1:{port};"));
        let text = moved(&text, ports).replace("127.0.0.1:1935", &format!("127.0.0.1:{}", ports.rtmp));
        // The harness waits for it.
        let http = format!("http_server {{ enabled on; listen 127.0.0.1:{}; }}", ports.http);
        std::fs::write(dir.join("srs.conf"), text + &http).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let url = format!("rtsp://127.0.0.1:{port}/live/camera");
    for (times, transport) in [(1, "tcp"), (2, "udp")] {
        let encoder = push(&encode(&format!("{H264} {AAC}")), transport, &url);
        wait_until("it is on air", SOON, || server.log().matches("RTSP publishes to").count() == times);
        decode(&server.rtmp("live/camera"), 2);
        drop(encoder);
        wait_until("it is over", SOON, || server.log().matches("cleanup when unpublish").count() == times);
    }
    assert!(!server.log().contains("not available yet: RTSP"));
}

/// A peer by hand.
struct Camera {
    socket: TcpStream,
    input: Vec<u8>,
    url: String,
    count: u32,
    sequence: u16,
}

/// One track of pictures.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=control:streamid=0\r\n";

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";

impl Camera {
    #[track_caller]
    fn connect(addr: SocketAddr, stream: &str) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        Self { socket, input: Vec::new(), url: format!("rtsp://{addr}/{stream}"), count: 0, sequence: 0 }
    }

    /// A request, and the head of the answer.
    #[track_caller]
    fn ask(&mut self, method: &str, uri: &str, headers: &str, body: &str) -> String {
        self.count += 1;
        let (count, len) = (self.count, body.len());
        let request = format!(
            "{method} {uri} RTSP/1.0\r\nCSeq: {count}\r\n{headers}Content-Length: {len}\r\n\r\n{body}"
        );
        self.socket.write_all(request.as_bytes()).unwrap();
        let end = Instant::now() + SOON;
        loop {
            if let Some(at) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let answer = self.input.drain(..at + 4).collect::<Vec<_>>();
                let answer = String::from_utf8(answer).unwrap();
                assert!(answer.contains(&format!("CSeq: {count}\r\n")), "{answer}");
                return answer;
            }
            assert!(Instant::now() < end && self.read() != Some(0), "no answer to {method}");
        }
    }

    /// Bytes read; `None` if there are none yet.
    fn read(&mut self) -> Option<usize> {
        let mut bytes = [0; 4096];
        let read = self.socket.read(&mut bytes).ok()?;
        self.input.extend_from_slice(&bytes[..read]);
        Some(read)
    }

    #[track_caller]
    fn is_closed(&mut self) -> bool {
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            let mut bytes = [0; 4096];
            match self.socket.read(&mut bytes) {
                Ok(0) => return true,
                Err(e)
                    if !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    #[track_caller]
    fn announce(&mut self, sdp: &str, headers: &str) -> String {
        let url = self.url.clone();
        self.ask("ANNOUNCE", &url, &format!("Content-Type: application/sdp\r\n{headers}"), sdp)
    }

    #[track_caller]
    fn setup(&mut self, control: &str, transport: &str) -> String {
        let uri =
            if control.starts_with("rtsp:") { control.to_owned() } else { format!("{}/{control}", self.url) };
        self.ask("SETUP", &uri, transport, "")
    }

    #[track_caller]
    fn record(&mut self) -> String {
        let url = self.url.clone();
        self.ask("RECORD", &url, "Range: npt=0.000-\r\n", "")
    }

    /// Everything up to RECORD, over the connection.
    #[track_caller]
    fn begin(addr: SocketAddr, stream: &str) -> Self {
        let mut camera = Self::connect(addr, stream);
        assert!(camera.announce(SDP, "").starts_with("RTSP/1.0 200 "));
        assert!(camera.setup("streamid=0", TCP).starts_with("RTSP/1.0 200 "));
        assert!(camera.record().starts_with("RTSP/1.0 200 "));
        camera
    }

    fn packet(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> Bytes {
        self.sequence = self.sequence.wrapping_add(1);
        let payload = Bytes::copy_from_slice(payload);
        let packet =
            Packet { marker, payload_type: 96, sequence: self.sequence, timestamp, ssrc: 7, payload };
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes);
        bytes.freeze()
    }

    /// Sends a packet over the connection.
    #[track_caller]
    fn send(&mut self, timestamp: u32, marker: bool, payload: &[u8]) {
        let packet = self.packet(timestamp, marker, payload);
        let [l0, l1] = (packet.len() as u16).to_be_bytes();
        self.socket.write_all(&[&[b'$', 0, l0, l1], &packet[..]].concat()).unwrap();
    }

    /// Sends a keyframe with its parameter sets.
    #[track_caller]
    fn keyframe(&mut self, timestamp: u32) {
        let [sps, pps] = sets();
        self.send(timestamp, false, &sps);
        self.send(timestamp, false, &pps);
        self.send(timestamp, true, KEY);
    }
}

/// A slice that begins a picture, as far as anybody here looks.
const KEY: &[u8] = b"\x65\x88keyframe";

/// Parameter sets of a real encoder.
fn sets() -> [Vec<u8>; 2] {
    let header = avc_header();
    let config = avc::DecoderConfig::parse(&header[5..]).unwrap();
    [config.sps[0].to_vec(), config.pps[0].to_vec()]
}

/// What cameras of several makers announce; `BASE` stands for the URL of the stream and `SETS` for the parameter sets.
const CAMERAS: [(&str, &str, &str); 6] = [
    (
        "control with the whole URL, parameters in one line",
        "v=0\r\no=- 1109162014219182 1109162014219192 IN IP4 0.0.0.0\r\ns=Media Presentation\r\ne=NONE\r\nb=AS:5100\r\n\
         t=0 0\r\na=control:BASE/\r\nm=video 0 RTP/AVP 96\r\nb=AS:5000\r\na=recvonly\r\na=x-dimensions:1920,1080\r\n\
         a=control:BASE/trackID=1\r\na=rtpmap:96 H264/90000\r\n\
         a=fmtp:96 profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=SETS\r\n\
         a=Media_header:MEDIAINFO=494D4B48010200000400000111710110401F000000FA000000000000;\r\na=appversion:1.0\r\n",
        "BASE/trackID=1",
    ),
    (
        "no parameter sets at all",
        "v=0\r\no=- 2251938202 2251938202 IN IP4 0.0.0.0\r\ns=RTSP Session/2.0\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
         a=control:*\r\na=range:npt=now-\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\na=framerate:25.000000\r\n\
         a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=4D002A\r\na=recvonly\r\n",
        "trackID=0",
    ),
    (
        "odd spaces, small letters, an o= line that no reader takes, lines that end in LF",
        "v=0\no=StreamingServer with spaces 3331435948 IN\ns= Unnamed \nt=0\nm=video  0   RTP/AVP  96 \n\
         a=rtpmap: 96  h264/90000 \na=fmtp:96  packetization-mode = 1 ; sprop-parameter-sets = SETS ;\n\
         a=control: track1 \n",
        "track1",
    ),
    (
        "sound and metadata that cannot be carried beside the pictures",
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=Session streamed\r\nt=0 0\r\nm=application 0 RTP/AVP 107\r\n\
         a=control:streamid=2\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\nm=audio 0 RTP/AVP 99\r\n\
         a=rtpmap:99 G726-16/8000\r\na=control:streamid=1\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
         a=fmtp:96 sprop-parameter-sets=SETS;packetization-mode=0\r\na=control:streamid=0\r\n",
        "streamid=0",
    ),
    (
        "no control, the track named by its number",
        "v=0\r\ns=cheap\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
        "trackID=0",
    ),
    (
        "parameter sets with start codes, and broken ones",
        "v=0\r\ns=x\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000/1\r\na=control:video\r\n\
         a=fmtp:96 sprop-parameter-sets=AAAAAWdk,***,\r\n",
        "video",
    ),
];

#[test]
fn cameras_have_habits() {
    let entrance = Entrance::plain();
    let sets = sets().map(|set| STANDARD.encode(set)).join(",");
    for (at, (habit, sdp, control)) in CAMERAS.iter().enumerate() {
        let stream = format!("cams/{at}");
        let mut camera = Camera::connect(entrance.addr, &stream);
        let base = camera.url.clone();
        let fill = |text: &str| text.replace("BASE", &base).replace("SETS", &sets);
        let answer = camera.announce(&fill(sdp), "");
        assert!(answer.starts_with("RTSP/1.0 200 "), "{habit}: {answer}");
        assert!(camera.setup(&fill(control), TCP).starts_with("RTSP/1.0 200 "), "{habit}");
        assert!(camera.record().starts_with("RTSP/1.0 200 "), "{habit}");
        let mut viewer = entrance.viewer(&stream);
        for n in 0..3 {
            if sdp.contains("SETS") {
                camera.send(n * 3600, true, KEY);
            } else {
                camera.keyframe(n * 3600);
            }
        }
        assert_eq!(viewer.of(FrameKind::VideoHeader).body[5..9], avc_header()[5..9], "{habit}");
        let key = viewer.of(FrameKind::Keyframe);
        assert!(key.body.ends_with(KEY), "{habit}: {key:?}");
    }
}

#[test]
fn pause_record_and_teardown() {
    let entrance = Entrance::plain();
    let mut camera = Camera::begin(entrance.addr, "live/s.sdp");
    let url = camera.url.clone();
    wait_until("it is on air", SOON, || entrance.is_live("live/s"));
    assert!(camera.ask("GET_PARAMETER", &url, "", "").starts_with("RTSP/1.0 200 "));
    assert!(camera.ask("PAUSE", &url, "", "").starts_with("RTSP/1.0 200 "));
    wait_until("it rests", SOON, || !entrance.is_live("live/s"));
    assert!(camera.record().starts_with("RTSP/1.0 200 "));
    wait_until("it is on air again", SOON, || entrance.is_live("live/s"));
    let mut viewer = entrance.viewer("live/s");
    camera.keyframe(90_000);
    viewer.of(FrameKind::Keyframe);
    assert!(camera.ask("TEARDOWN", &url, "", "").starts_with("RTSP/1.0 200 "));
    assert!(camera.is_closed());
    wait_until("it is over", SOON, || !entrance.is_live("live/s"));
    entrance.logged("torn down");
}

#[test]
fn goodbye_on_all_tracks_ends_the_publish() {
    let entrance = Entrance::plain();
    let mut camera = Camera::begin(entrance.addr, "live/s");
    camera.keyframe(0);
    entrance.viewer("live/s").of(FrameKind::Keyframe);
    // Of somebody else; then of the source itself.
    for (source, live) in [(8, true), (7, false)] {
        camera.socket.write_all(&[b'$', 1, 0, 8, 0x81, 203, 0, 1, 0, 0, 0, source]).unwrap();
        let url = camera.url.clone();
        assert!(camera.ask("GET_PARAMETER", &url, "", "").starts_with("RTSP/1.0 200 "));
        wait_until("it is over, or not", SOON, || entrance.is_live("live/s") == live);
    }
    entrance.logged("goodbye on all tracks");
    // What it sends now is nothing; it may begin anew.
    camera.keyframe(3600);
    assert!(camera.record().starts_with("RTSP/1.0 200 "));
    let mut viewer = entrance.viewer("live/s");
    camera.keyframe(7200);
    viewer.of(FrameKind::Keyframe);
}

#[test]
fn who_asks_in_vain_again_and_again_is_sent_away() {
    let entrance = Entrance::plain();
    let mut camera = Camera::connect(entrance.addr, "no-app");
    for _ in 0..MAX_REFUSALS {
        assert!(camera.announce(SDP, "").starts_with("RTSP/1.0 404 "));
    }
    assert!(camera.is_closed());
    entrance.logged("refused too often");
    let told = entrance.server.log().matches("RTSP announce").count();
    assert_eq!(told, MAX_REFUSALS as usize);
}

#[test]
fn a_name_that_is_taken_is_not_recorded() {
    let entrance = Entrance::plain();
    let _first = Camera::begin(entrance.addr, "live/s");
    let mut second = Camera::connect(entrance.addr, "live/s");
    second.announce(SDP, "");
    second.setup("streamid=0", TCP);
    assert!(second.record().starts_with("RTSP/1.0 403 "));
    for path in ["live", "", "live/a?vhost=b", "live/a%3Fvhost=b", "live/a%20b"] {
        let mut camera = Camera::connect(entrance.addr, path);
        let expected = if path == "live/a?vhost=b" { "RTSP/1.0 200 " } else { "RTSP/1.0 404 " };
        assert!(camera.announce(SDP, "").starts_with(expected), "{path}");
    }
}

#[test]
fn whoever_vanishes_or_falls_silent_is_off_air() {
    let entrance =
        Entrance::start(&range(4), &Conf::vhost("publish { firstpkt_timeout 2000; normal_timeout 60000; }"));
    let mut gone = Camera::begin(entrance.addr, "live/gone");
    gone.keyframe(0);
    wait_until("it is on air", SOON, || entrance.is_live("live/gone"));
    drop(gone);
    let mut silent = Camera::begin(entrance.addr, "live/silent");
    assert!(silent.is_closed(), "its publish has ended, so it is told");
    wait_until("nobody is on air", SOON, || {
        !entrance.is_live("live/gone") && !entrance.is_live("live/silent")
    });
    entrance.logged("the peer has gone");
    wait_until("nobody is counted", SOON, || {
        entrance.metric("millstream_caster_senders{caster=\"rtsp\"}") == 0
    });
}

/// The ports of an answer to SETUP.
#[track_caller]
fn server_ports(answer: &str) -> (u16, u16) {
    let ports = answer.split("server_port=").nth(1).unwrap_or_else(|| panic!("{answer}"));
    let ports = ports.split([';', '\r']).next().unwrap();
    let (rtp, rtcp) = ports.split_once('-').unwrap();
    (rtp.parse().unwrap(), rtcp.parse().unwrap())
}

const UDP: &str = "Transport: RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record\r\n";

#[test]
fn ports_are_out_of_the_range_and_come_back() {
    let entrance = Entrance::start(&range(2), &Conf::default());
    let mut cameras: Vec<_> = (0..3)
        .map(|n| {
            let mut camera = Camera::connect(entrance.addr, &format!("live/{n}"));
            assert!(camera.announce(SDP, "").starts_with("RTSP/1.0 200 "));
            camera
        })
        .collect();
    let mut ports = Vec::new();
    for camera in &mut cameras[..2] {
        let (rtp, rtcp) = server_ports(&camera.setup("streamid=0", UDP));
        assert!(rtp.is_multiple_of(2) && rtcp == rtp + 1, "{rtp}-{rtcp}");
        ports.push(rtp);
    }
    assert_ne!(ports[0], ports[1]);
    assert!(cameras[2].setup("streamid=0", UDP).starts_with("RTSP/1.0 453 "));
    entrance.logged("no pair of ports is free");
    cameras.remove(0);
    wait_until("a pair is free", SOON, || {
        let mut camera = Camera::connect(entrance.addr, "live/next");
        camera.announce(SDP, "");
        camera.setup("streamid=0", UDP).starts_with("RTSP/1.0 200 ")
    });
    // Without a range there is the connection.
    let entrance = Entrance::start("", &Conf::default());
    let mut camera = Camera::connect(entrance.addr, "live/s");
    camera.announce(SDP, "");
    assert!(camera.setup("streamid=0", UDP).starts_with("RTSP/1.0 461 "));
    assert!(camera.setup("streamid=0", TCP).starts_with("RTSP/1.0 200 "));
}

#[test]
fn datagrams_of_others_do_not_count() {
    let entrance = Entrance::plain();
    let mut camera = Camera::connect(entrance.addr, "live/s");
    camera.announce(SDP, "");
    let (rtp, _) = server_ports(&camera.setup("streamid=0", UDP));
    assert!(camera.record().starts_with("RTSP/1.0 200 "));
    let (own, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.2:0").unwrap());
    let mut viewer = entrance.viewer("live/s");
    let [sps, pps] = sets();
    let payloads: [(bool, &[u8]); 3] = [(false, &sps), (false, &pps), (true, KEY)];
    for n in 0..3u32 {
        for (marker, payload) in payloads {
            let packet = camera.packet(n * 3600, marker, payload);
            other.send_to(b"\x80\x60 not from the camera", ("127.0.0.1", rtp)).unwrap();
            other.send_to(&packet, ("127.0.0.1", rtp)).unwrap();
            own.send_to(&packet, ("127.0.0.1", rtp)).unwrap();
        }
    }
    assert!(viewer.of(FrameKind::Keyframe).body.ends_with(KEY));
    wait_until("they are counted", SOON, || {
        own.send_to(&camera.packet(90_000, true, KEY), ("127.0.0.1", rtp)).unwrap();
        entrance.metric("millstream_rtp_packets_total{result=\"taken\"}") >= 9
    });
    assert_eq!(entrance.metric("millstream_rtp_packets_total{result=\"stray\"}"), 0);
}

/// Stands between an encoder and the server: passes requests on as they are, and datagrams not all and not in order.
struct BadLine {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl BadLine {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, stop) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut server = TcpStream::connect(target).unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut up, &mut server));
            let mut bytes = [0; 8192];
            while let Ok(read @ 1..) = down.read(&mut bytes) {
                let mut answer = String::from_utf8_lossy(&bytes[..read]).into_owned();
                if answer.contains("server_port=") {
                    let (rtp, rtcp) = server_ports(&answer);
                    let own = Self::pass(rtp, &stopped);
                    answer = answer.replace(&format!("={rtp}-{rtcp}"), &format!("={own}-{}", own + 1));
                }
                if client.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        });
        Self { addr, stop }
    }

    /// Takes datagrams at a pair of ports, passes them on to that of the server; gives the first of the pair.
    fn pass(target: u16, stop: &Arc<AtomicBool>) -> u16 {
        let (port, rtp, rtcp) = loop {
            let port = free_udp_port().next_multiple_of(2);
            if let (Ok(rtp), Ok(rtcp)) =
                (UdpSocket::bind(("127.0.0.1", port)), UdpSocket::bind(("127.0.0.1", port + 1)))
            {
                break (port, rtp, rtcp);
            }
        };
        for (socket, to, bad) in [(rtp, target, true), (rtcp, target + 1, false)] {
            let stop = stop.clone();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            std::thread::spawn(move || {
                let (mut noise, mut buffer) = (Noise::new(11), [0; 2048]);
                // What waits, and for how many others.
                let mut held: Vec<(u32, Vec<u8>)> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let Ok(len) = socket.recv(&mut buffer) else { continue };
                    let dice = (noise.next() >> 20) % 100;
                    match dice {
                        0 if bad => continue,
                        1..=5 if bad => held.push((1 + (dice % 3) as u32, buffer[..len].to_vec())),
                        _ => _ = socket.send_to(&buffer[..len], ("127.0.0.1", to)),
                    }
                    for (left, datagram) in &mut held {
                        *left -= 1;
                        if *left == 0 {
                            let _ = socket.send_to(datagram, ("127.0.0.1", to));
                        }
                    }
                    held.retain(|(left, _)| *left > 0);
                }
            });
        }
        port
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_bad_line_costs_pictures_and_damages_none() {
    let (entrance, dir) = (Entrance::plain(), Folder::new());
    let clip = clip(dir.path(), 10);
    let line = BadLine::to(entrance.addr);
    let mut encoder = push_file(&clip, "udp", &format!("rtsp://{}/live/s", line.addr));
    let mut viewer = entrance.viewer("live/s");
    let got = everything(&mut viewer, &mut encoder);
    assert!(encoder.finish(PATIENCE).status.success());
    // What is left decodes without a complaint: from each loss on, pictures begin with a keyframe.
    let file = dir.path().join("got.flv");
    let mut bytes = BytesMut::from(&mux::file_header(true, true)[..]);
    for tag in &got {
        mux::write_tag(&mut bytes, tag.tag_type, tag.timestamp, &tag.body).unwrap();
    }
    std::fs::write(&file, &bytes).unwrap();
    decode_file(&file);
    let packets =
        |result: &str| entrance.metric(&format!("millstream_rtp_packets_total{{result=\"{result}\"}}"));
    let pictures = got.iter().filter(|tag| is_frame(tag) && tag.tag_type == 9).count() as u64;
    let left_out = entrance.metric("millstream_rtp_pictures_left_out_total");
    assert!(packets("lost") > 0 && packets("reordered") > 10 && left_out > 0);
    assert!(packets("lost") < packets("taken") / 20, "{} of {}", packets("lost"), packets("taken"));
    assert!(pictures >= 50 && pictures + left_out <= 260, "{pictures} shown, {left_out} left out of 250");
}

#[test]
fn noise_harms_nobody() {
    let entrance = Entrance::plain();
    let healthy = |entrance: &Entrance, name: &str| {
        let mut camera = Camera::begin(entrance.addr, name);
        let mut viewer = entrance.viewer(name);
        camera.keyframe(0);
        viewer.of(FrameKind::Keyframe);
    };
    healthy(&entrance, "live/before");
    let before = entrance.server.rss_kb();
    let mut noise = Noise::new(3);
    // A dialogue as it should be, damaged in one place or more.
    let [sps, pps] = sets();
    let mut dialogue = Vec::new();
    let mut camera = Camera::connect(entrance.addr, "live/noise");
    let url = camera.url.clone();
    for (n, (method, uri, headers, body)) in [
        ("OPTIONS", "*", "", ""),
        ("ANNOUNCE", &url[..], "Content-Type: application/sdp\r\n", SDP),
        ("SETUP", &format!("{url}/streamid=0"), TCP, ""),
        ("RECORD", &url, "", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let len = body.len();
        let text =
            format!("{method} {uri} RTSP/1.0\r\nCSeq: {n}\r\n{headers}Content-Length: {len}\r\n\r\n{body}");
        dialogue.extend_from_slice(text.as_bytes());
    }
    for n in 0..20 {
        for payload in [&sps[..], &pps, KEY, b"\x78\0\x04\x67abc", b"\x7c\x85abc", b"\x7c\x45def"] {
            let packet = camera.packet(n * 3600, true, payload);
            dialogue.extend_from_slice(&[b'$', 0, 0, packet.len() as u8]);
            dialogue.extend_from_slice(&packet);
        }
    }
    for round in 0..150 {
        let mut bytes = dialogue.clone();
        for _ in 0..1 + round % 8 {
            let at = noise.next() as usize % bytes.len();
            match noise.next() % 4 {
                0 => bytes[at] = noise.next() as u8,
                1 => bytes.truncate(at),
                2 => bytes.splice(at..at, noise.bytes(9)).for_each(drop),
                _ => bytes[at] ^= 1,
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        let mut raw = Raw::connect(entrance.addr);
        raw.send(&bytes);
        raw.finish_sending();
        let _ = raw.receive_to_end(Duration::from_millis(if round % 10 == 0 { 500 } else { 1 }));
    }
    for bytes in [noise.bytes(100_000), vec![b'a'; 1_000_000], b"A: b\r\n".repeat(100_000)] {
        Raw::connect(entrance.addr).send(&bytes);
    }
    healthy(&entrance, "live/after");
    wait_until("all are gone", SOON, || entrance.metric("millstream_caster_senders{caster=\"rtsp\"}") <= 1);
    let grown = entrance.server.rss_kb().saturating_sub(before);
    assert!(grown < 50_000, "{grown} kB more than before");
    assert!(!entrance.server.log().contains("panicked"));
}

#[test]
pub(crate) fn ports_and_passwords_are_for_those_who_come() {
    let (port, before, after) = (free_port(), range(2), range(2));
    let conf = |rtmp: u16, lines: &str| Conf::default().global(&block(port, rtmp, lines));
    let server = Server::start_with(|command, ports, dir| {
        std::fs::write(dir.join("srs.conf"), conf(ports.rtmp, &before).text(ports, dir)).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    await_port(addr);
    let mut old = Camera::connect(addr, "live/old");
    let within = |answer: &str, range: &str| {
        let numbers: Vec<u16> = range.split([' ', ';']).filter_map(|word| word.parse().ok()).collect();
        (numbers[0]..numbers[1]).contains(&server_ports(answer).0)
    };
    assert!(old.announce(SDP, "").starts_with("RTSP/1.0 200 "));
    let auth = |user: &str, password: &str| {
        format!("{after} auth {{ enabled on; username {user}; password {password}; }}")
    };
    server.reload(&conf(server.ports().rtmp, &auth("camera", "first")));
    assert!(within(&old.setup("streamid=0", UDP), &before), "who is here keeps the old range");
    assert!(old.record().starts_with("RTSP/1.0 200 "));
    let announce = |who: &str| {
        let mut camera = Camera::connect(addr, "live/new");
        let answer = camera.announce(SDP, &format!("Authorization: Basic {}\r\n", STANDARD.encode(who)));
        (camera, answer.starts_with("RTSP/1.0 200 "))
    };
    let (mut new, accepted) = announce("camera:first");
    assert!(accepted && within(&new.setup("streamid=0", UDP), &after));
    server.reload(&conf(server.ports().rtmp, &auth("other", "second")));
    assert!(!announce("camera:first").1);
    assert!(announce("other:second").1);
    assert!(old.ask("OPTIONS", "*", "", "").starts_with("RTSP/1.0 200 "), "nobody was cut");
}
