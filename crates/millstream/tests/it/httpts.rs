//! HTTP-TS: what ffmpeg makes of it, that each place to start at stands for itself, and what becomes of streams that
//! fit badly or not at all.

use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{
    AAC, AUDIO, H264, VIDEO, decode, decode_file, make, pictures, probe, probe_file, publish, tool,
};
use crate::harness::http::{Body, End, Http};
use crate::harness::media::{AVATAR, BBB, aac, avc, avc_header, file, kind, tags};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use bytes::Bytes;
use mill_media::flv::demux::Tag;
use mill_media::frame::{Frame, FrameKind};
use mill_media::ts::PACKET_LEN;
use mill_media::ts::demux::{Demuxer, Event};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

const PAT: u16 = 0;
const PMT: u16 = 0x1001;
const VIDEO_PID: u16 = 0x100;
const AAC_PID: u16 = 0x101;
const MP3_PID: u16 = 0x102;

fn server() -> Server {
    Server::start(&Conf::mounting("ts", ""))
}

/// As published, so that a test may choose its times freely.
fn server_without_jitter() -> Server {
    Server::start(&Conf::mounting("ts", "").and_vhost("play { time_jitter off; }"))
}

fn open(server: &Server, path: &str) -> Body {
    let body = Http::get(server.http_addr(), path);
    assert_eq!((body.head.status, body.head.header("content-type")), (200, Some("video/MP2T")));
    body
}

/// What somebody gets who asked before the publisher came and stays to the end.
#[track_caller]
fn recorded(server: &Server, publish: impl FnOnce(&mut Publisher)) -> Vec<u8> {
    let mut viewer = open(server, "/live/s.ts");
    let mut publisher = Publisher::with_chunk_size(server, "live/s", 60_000);
    publish(&mut publisher);
    drop(publisher);
    let bytes = viewer.read_to_end(SOON);
    assert_eq!(viewer.ended(), Some(End::FinalChunk));
    assert_eq!(bytes.len() % PACKET_LEN, 0);
    bytes
}

fn send(publisher: &mut Publisher, tags: &[Tag]) {
    tags.iter().for_each(|tag| publisher.send(tag.tag_type, tag.timestamp, &tag.body));
}

/// A file below the server's folder with these bytes.
fn saved(server: &Server, name: &str, bytes: &[u8]) -> PathBuf {
    let path = server.dir().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

struct Packet<'a> {
    pid: u16,
    starts: bool,
    counter: u8,
    has_payload: bool,
    discontinuity: bool,
    random_access: bool,
    pcr: bool,
    bytes: &'a [u8],
}

/// Packets by their fixed fields, read here once more so that the muxer's own reader is not all there is.
#[track_caller]
fn packets(stream: &[u8]) -> Vec<Packet<'_>> {
    stream.chunks(PACKET_LEN).map(packet).collect()
}

#[track_caller]
fn packet(bytes: &[u8]) -> Packet<'_> {
    assert_eq!(bytes[0], 0x47);
    let flags = if bytes[3] & 0x20 != 0 && bytes[4] > 0 { bytes[5] } else { 0 };
    Packet {
        pid: u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]),
        starts: bytes[1] & 0x40 != 0,
        counter: bytes[3] & 15,
        has_payload: bytes[3] & 0x10 != 0,
        discontinuity: flags & 0x80 != 0,
        random_access: flags & 0x40 != 0,
        pcr: flags & 0x10 != 0,
        bytes,
    }
}

/// Where a packet's counter does not follow that of the one before with its PID.
fn first_gap(packets: &[Packet<'_>]) -> Option<usize> {
    let mut counters = HashMap::new();
    packets.iter().position(|packet| {
        packet.has_payload
            && counters
                .insert(packet.pid, packet.counter)
                .is_some_and(|before| (before + 1) & 15 != packet.counter)
    })
}

#[track_caller]
fn assert_counters_run_on(stream: &[u8]) {
    assert_eq!(first_gap(&packets(stream)), None);
}

/// `stream_type`s and version of each PMT.
fn pmts(stream: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let section = |packet: &Packet<'_>| {
        let section = &packet.bytes[5..];
        let end = 3 + (usize::from(section[1] & 15) << 8 | usize::from(section[2])) - 4;
        (section[5] >> 1 & 31, section[12..end].chunks(5).map(|track| track[0]).collect())
    };
    packets(stream).iter().filter(|packet| packet.pid == PMT).map(section).collect()
}

pub(crate) fn frames(stream: &[u8]) -> Vec<Frame> {
    let mut demuxer = Demuxer::new();
    demuxer.feed(stream);
    let mut frames = Vec::new();
    for _ in 0..2 {
        while let Some(event) = demuxer.next() {
            match event {
                Event::Frame(frame) => frames.push(frame),
                Event::Trouble(trouble) => panic!("{trouble}"),
            }
        }
        demuxer.finish();
    }
    frames
}

fn count(frames: &[Frame], wanted: FrameKind) -> usize {
    frames.iter().filter(|frame| frame.kind == wanted).count()
}

/// How often the server has logged this by the end of the publish.
#[track_caller]
fn logged(server: &Server, text: &str) -> usize {
    wait_until("the publish has ended", SOON, || server.log().contains("cleanup when unpublish"));
    server.log().lines().filter(|line| line.contains(text)).count()
}

/// A made-up picture without a start code in its number.
fn picture(key: bool, number: u32) -> Bytes {
    avc(key, 0x1111_1100 + number, 500)
}

#[test]
fn recordings_come_out_picture_by_picture() {
    let server = server();
    for name in [AVATAR, BBB] {
        let tags = tags(&file(name));
        let stream = recorded(&server, |publisher| send(publisher, &tags));
        assert_counters_run_on(&stream);
        let saved = saved(&server, &format!("{name}.ts"), &stream);
        decode_file(&saved);
        assert_eq!(pictures(&saved), pictures(&file(name)), "{name}");

        let (ours, theirs) = (probe_file(&saved), probe_file(&file(name)));
        ours.assert_sound();
        assert_eq!(ours.audio().count(), theirs.audio().count());
        let keys = |probe: &crate::harness::ffmpeg::Probe| probe.video().filter(|packet| packet.key).count();
        assert_eq!(keys(&ours), keys(&theirs));
    }
}

#[test]
fn encoders_and_players_from_outside() {
    let server = server();
    let _encoder = publish(&format!("-re {VIDEO} -re {AUDIO} {H264} -bf 2 {AAC}"), &server.rtmp("live/s"));
    let url = server.http("live/s.ts");
    let probe = probe(&url, 100);
    let mut codecs = probe.codecs.clone();
    codecs.sort();
    assert_eq!(codecs, ["aac", "h264"]);
    probe.assert_sound();
    decode(&url, 2);

    let target = server.dir().join("curl.ts");
    let mut curl = tool("curl", "-s --max-time 3 -o");
    Process::run(curl.arg(&target).arg(&url), PATIENCE);
    let bytes = std::fs::read(&target).unwrap();
    assert_counters_run_on(&bytes[..bytes.len() / PACKET_LEN * PACKET_LEN]);
    decode_file(&target);
}

/// Everybody gets the same bytes: what a newcomer has is the end of what the others have, and it starts with
/// tables, then a keyframe with its parameter sets.
#[test]
fn each_place_to_start_at_stands_for_itself() {
    let server = server();
    let all = tags(&file(AVATAR));
    let mut early = open(&server, "/live/s.ts");
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    let mut late = Vec::new();
    for part in all.chunks(200) {
        send(&mut publisher, part);
        // What was sent has arrived once this viewer has its first frame of it.
        let mut viewer = open(&server, "/live/s.ts");
        let first = viewer.read(SOON);
        late.push((viewer, first));
    }
    drop(publisher);
    let early = early.read_to_end(SOON);
    for (number, (mut viewer, mut bytes)) in late.into_iter().enumerate() {
        bytes.extend(viewer.read_to_end(SOON));
        assert!(early.ends_with(&bytes), "viewer {number} has bytes of its own");
        let start = packets(&bytes);
        assert_eq!([start[0].pid, start[1].pid], [PAT, PMT]);
        assert!(start[2].pid == VIDEO_PID && start[2].starts && start[2].pcr);
        let found = frames(&bytes);
        assert_eq!(found[0].kind, FrameKind::VideoHeader);
        assert_eq!(found[1].kind, FrameKind::Keyframe);
        decode_file(&saved(&server, &format!("{number}.ts"), &bytes));
    }
}

#[test]
fn without_gop_cache_a_newcomer_has_tables_at_once() {
    let server = Server::start(&Conf::mounting("ts", "").and_vhost("play { gop_cache off; }"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut first = open(&server, "/live/s.ts");
    publisher.send(9, 0, &picture(true, 0));
    publisher.send(9, 40, &picture(false, 1));
    let mut seen = Vec::new();
    while count(&frames(&seen), FrameKind::Video) == 0 {
        let more = first.read(SOON);
        assert!(!more.is_empty(), "the second picture does not come");
        seen.extend(more);
    }
    // The first viewer keeps the lane; this one starts between two of its frames.
    let mut second = open(&server, "/live/s.ts");
    let own = second.read(SOON);
    assert_eq!(packets(&own).iter().map(|packet| packet.pid).collect::<Vec<_>>(), [PAT, PMT]);
    publisher.send(9, 80, &picture(false, 2));
    publisher.send(9, 600, &picture(true, 3));
    drop(publisher);
    let all = [own, second.read_to_end(SOON)].concat();
    assert_counters_run_on(&all);
    let found = frames(&all);
    assert_eq!((count(&found, FrameKind::Keyframe), count(&found, FrameKind::VideoHeader)), (1, 1));
}

#[test]
fn hevc_in_both_forms() {
    let server = server();
    let source = server.dir().join("source.ts");
    make(
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=3 -c:v libx265 -preset ultrafast \
         -x265-params keyint=25:bframes=3:log-level=none -f mpegts",
        &source,
    );
    let enhanced = frames(&std::fs::read(&source).unwrap());
    assert!(count(&enhanced, FrameKind::Keyframe) >= 3);
    // The form some encoders had before: codec number 12 instead of a FourCC.
    let classic = |frame: &Frame| {
        let head: &[u8] = match frame.kind {
            FrameKind::VideoHeader => &[0x1c, 0, 0, 0, 0],
            FrameKind::Keyframe => &[0x1c, 1],
            _ => &[0x2c, 1],
        };
        Frame { payload: [head, &frame.payload[5..]].concat().into(), ..frame.clone() }
    };
    let classic: Vec<Frame> = enhanced.iter().map(classic).collect();
    for (name, frames) in [("enhanced", enhanced), ("classic", classic)] {
        let stream = recorded(&server, |publisher| {
            for frame in &frames {
                publisher.send(frame.kind.tag_type(), frame.dts as u32, &frame.payload);
            }
        });
        let saved = saved(&server, &format!("{name}.ts"), &stream);
        decode_file(&saved);
        assert_eq!(probe_file(&saved).codecs.last().map(String::as_str), Some("hevc"));
        assert_eq!(pictures(&saved), pictures(&source), "{name}");
    }
}

/// In SRS sound alone has no clock, and its table declares pictures nobody sends.
#[test]
fn sound_alone_and_pictures_alone() {
    let server = server();
    let tags = tags(&file(BBB));
    for (tag_type, stream_types, clock, codec) in
        [(8, vec![0x0f], AAC_PID, "aac"), (9, vec![0x1b], VIDEO_PID, "h264")]
    {
        let only: Vec<Tag> = tags.iter().filter(|tag| tag.tag_type == tag_type).cloned().collect();
        let stream = recorded(&server, |publisher| send(publisher, &only));
        assert!(pmts(&stream).iter().all(|(version, tracks)| *version == 0 && *tracks == stream_types));
        let clocks = packets(&stream).iter().filter(|packet| packet.pcr && packet.pid == clock).count();
        assert!(clocks > 100, "{clocks} clock references in ten seconds");
        let saved = saved(&server, &format!("{codec}.ts"), &stream);
        decode_file(&saved);
        let probe = probe_file(&saved);
        assert!(probe.codecs.iter().all(|found| found == codec) && !probe.codecs.is_empty());
        probe.assert_sound();
    }
}

/// Whole milliseconds would make a player hear a click at each frame.
#[test]
fn sound_is_stamped_by_its_samples() {
    let server = server();
    let tags = tags(&file(AVATAR));
    let stream = recorded(&server, |publisher| send(publisher, &tags));
    let saved = saved(&server, "s.ts", &stream);
    let mut probe = tool("ffprobe", "-v error -select_streams a -show_entries packet=pts -of csv=p=0");
    let run = Process::run(probe.arg(&saved), PATIENCE);
    let text = run.stdout();
    let times: Vec<i64> =
        text.lines().filter_map(|line| line.trim_end_matches(',').split(',').next()?.parse().ok()).collect();
    assert!(times.len() > 400);
    // 1024 samples at 44.1 kHz are 2089.8 ticks.
    assert!(times.windows(2).all(|pair| (2089..=2090).contains(&(pair[1] - pair[0]))), "{times:?}");
}

/// SRS 3.0 loses the first byte of each MP3 frame, and calls the track AAC.
#[test]
fn mp3_keeps_its_first_byte_and_its_name() {
    let server = server();
    let source = server.dir().join("source.flv");
    make(&format!("{AUDIO} -t 2 -c:a libmp3lame -b:a 64k -f flv"), &source);
    let tags = tags(&source);
    let stream = recorded(&server, |publisher| send(publisher, &tags));
    assert!(packets(&stream).iter().any(|packet| packet.pid == MP3_PID && packet.pcr));
    let saved = saved(&server, "s.ts", &stream);
    decode_file(&saved);
    let probe = probe_file(&saved);
    assert!(probe.codecs.iter().all(|codec| codec == "mp3"), "{:?}", probe.codecs);
    assert_eq!(probe.audio().count(), tags.iter().filter(|tag| tag.tag_type == 8).count());
}

/// In SRS 3.0 one frame with its own parameter sets is the last place where anybody can join.
#[test]
fn parameter_sets_stand_before_every_keyframe() {
    let server = server();
    let tags = tags(&file(BBB));
    // The first keyframe has them in band as well, as some encoders do.
    let header = &tags.iter().find(|tag| kind(tag) == Some(FrameKind::VideoHeader)).unwrap().body;
    let mut sets = Vec::new();
    let mut rest = &header[11..];
    for _ in 0..2 {
        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        sets.extend_from_slice(&(len as u32).to_be_bytes());
        sets.extend_from_slice(&rest[2..2 + len]);
        // Behind the one SPS stands the number of PPS.
        rest = &rest[(2 + len + 1).min(rest.len())..];
    }
    let mut keys = 0;
    let changed: Vec<Tag> = tags
        .iter()
        .map(|tag| {
            let mut tag = tag.clone();
            if kind(&tag) == Some(FrameKind::Keyframe) {
                keys += 1;
                if keys == 1 {
                    tag.body = [&tag.body[..5], &sets, &tag.body[5..]].concat().into();
                }
            }
            tag
        })
        .collect();
    let stream = recorded(&server, |publisher| send(publisher, &changed));
    // From each table on it decodes: PSI, then a keyframe, as a segment of HLS would begin.
    let starts: Vec<usize> = packets(&stream)
        .windows(3)
        .enumerate()
        .filter(|(_, three)| three[0].pid == PAT && three[2].random_access)
        .map(|(at, _)| at * PACKET_LEN)
        .collect();
    assert_eq!(starts.len(), keys);
    for (number, start) in starts.into_iter().enumerate() {
        decode_file(&saved(&server, &format!("{number}.ts"), &stream[start..]));
    }
}

#[test]
fn negative_composition_times() {
    let server = server();
    let tags = tags(&file(AVATAR));
    // Everything is shown 80 ms earlier than the encoder said.
    let early: Vec<Tag> = tags
        .iter()
        .map(|tag| {
            let mut tag = tag.clone();
            if matches!(kind(&tag), Some(FrameKind::Keyframe | FrameKind::Video)) && tag.body[1] == 1 {
                let mut body = tag.body.to_vec();
                let cts = i32::from_be_bytes([0, body[2], body[3], body[4]]) - 80;
                body[2..5].copy_from_slice(&cts.to_be_bytes()[1..]);
                tag.body = body.into();
            }
            tag
        })
        .collect();
    let stream = recorded(&server, |publisher| send(publisher, &early));
    let saved = saved(&server, "early.ts", &stream);
    decode_file(&saved);
    assert_eq!(pictures(&saved), pictures(&file(AVATAR)));
    let shown: Vec<i64> = frames(&stream)
        .iter()
        .filter(|frame| matches!(frame.kind, FrameKind::Keyframe | FrameKind::Video))
        .map(|frame| {
            frame.dts
                + i64::from(i32::from_be_bytes([0, frame.payload[2], frame.payload[3], frame.payload[4]]))
        })
        .collect();
    assert!(shown.iter().all(|time| (0..12_000).contains(time)), "{shown:?}");
}

/// The clock has 33 bits of 90 kHz: 26.5 hours.
#[test]
fn time_goes_on_over_33_bits() {
    let server = server_without_jitter();
    let tags = tags(&file(BBB));
    let offset = ((1u64 << 33) / 90 - 5000) as u32;
    let moved: Vec<Tag> =
        tags.iter().map(|tag| Tag { timestamp: tag.timestamp + offset, ..tag.clone() }).collect();
    let stream = recorded(&server, |publisher| send(publisher, &moved));
    assert!(packets(&stream).iter().all(|packet| !packet.discontinuity));
    let saved = saved(&server, "wrap.ts", &stream);
    decode_file(&saved);
    assert_eq!(pictures(&saved), pictures(&file(BBB)));
    let found = frames(&stream);
    let times: Vec<i64> = found.iter().filter(|f| f.kind == FrameKind::Audio).map(|f| f.dts).collect();
    assert!(times.windows(2).all(|pair| (20..=27).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[test]
fn jumps_of_the_publisher_are_marked_or_closed() {
    let tags = tags(&file(BBB));
    let half = tags.len() / 2;
    let jump = |tags: &[Tag], by: u32| -> Vec<Tag> {
        tags.iter().map(|tag| Tag { timestamp: tag.timestamp + by, ..tag.clone() }).collect()
    };
    let all = [jump(&tags[..half], 7_200_000), jump(&tags[half..], 3_600_000)].concat();
    // As published: the clock says that it does not go on.
    let server = server_without_jitter();
    let stream = recorded(&server, |publisher| send(publisher, &all));
    let marks: Vec<u16> =
        packets(&stream).iter().filter(|packet| packet.discontinuity).map(|packet| packet.pid).collect();
    assert_eq!(marks, [VIDEO_PID]);
    // Corrected, as is the default: there is no jump.
    let server = self::server();
    let stream = recorded(&server, |publisher| send(publisher, &all));
    assert!(packets(&stream).iter().all(|packet| !packet.discontinuity));
    let saved = saved(&server, "jump.ts", &stream);
    decode_file(&saved);
    probe_file(&saved).assert_sound();
}

#[test]
fn another_picture_size_and_another_sound_codec_in_mid_stream() {
    let server = server();
    let source = server.dir().join("mp3.flv");
    make(&format!("{AUDIO} -t 2 -c:a libmp3lame -b:a 64k -f flv"), &source);
    let (first, second) = (tags(&file(AVATAR)), tags(&file(BBB)));
    let mp3: Vec<Tag> = tags(&source).into_iter().filter(|tag| tag.tag_type == 8).collect();
    // Picture by picture in the same steps, so that nothing but the codecs changes.
    let (first, rest) = (&first[..300], &second[..200]);
    let from = first.iter().filter(|tag| tag.tag_type == 9).map(|tag| tag.timestamp).max().unwrap() + 40;
    let (aac, late) = rest.split_at(100);
    let late_pictures = late.iter().filter(|tag| tag.tag_type == 9);
    let since = late[0].timestamp;
    let late_sound = mp3.iter().map(|tag| Tag { timestamp: tag.timestamp + since, ..tag.clone() });
    let mut late: Vec<Tag> = late_pictures.cloned().chain(late_sound).collect();
    late.sort_by_key(|tag| tag.timestamp);
    let moved: Vec<Tag> = [aac, &late].concat();
    let moved: Vec<Tag> =
        moved.into_iter().map(|tag| Tag { timestamp: tag.timestamp + from, ..tag }).collect();
    let stream = recorded(&server, |publisher| {
        send(publisher, first);
        send(publisher, &moved);
    });
    let mut versions = pmts(&stream);
    versions.dedup();
    // AAC and H.264 throughout, whatever the size; then MP3.
    assert_eq!(versions, [(0, vec![0x0f, 0x1b]), (1, vec![0x03, 0x1b])]);
    let found = frames(&stream);
    assert_eq!(count(&found, FrameKind::VideoHeader), 2);
    decode_file(&saved(&server, "changed.ts", &stream));
}

#[test]
fn the_answer_ends_with_the_publish_and_the_next_one_is_whole() {
    let server = server();
    let tags = tags(&file(BBB));
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    send(&mut publisher, &tags[..100]);
    let mut viewer = open(&server, "/live/s.ts");
    assert!(!viewer.read(SOON).is_empty());
    drop(publisher);
    viewer.read_to_end(SOON);
    assert_eq!(viewer.ended(), Some(End::FinalChunk));

    // Somebody who waits in between sees nothing of the old one.
    let stream = recorded(&server, |publisher| send(publisher, &tags));
    assert_eq!(packets(&stream)[0].counter, 0);
    let saved = saved(&server, "second.ts", &stream);
    assert_eq!(pictures(&saved), pictures(&file(BBB)));
}

#[test]
fn pictures_without_configuration_are_left_out_until_it_comes() {
    let server = server();
    let stream = recorded(&server, |publisher| {
        publisher.send(8, 0, &crate::harness::media::aac_header());
        for n in 0..20 {
            publisher.send(9, 40 * n, &picture(n % 10 == 0, n));
            publisher.send(8, 40 * n, &aac(n));
        }
        publisher.send(9, 800, &avc_header());
        for n in 20..40 {
            publisher.send(9, 40 * n, &picture(n % 10 == 0, n));
        }
    });
    let found = frames(&stream);
    let pictures = count(&found, FrameKind::Keyframe) + count(&found, FrameKind::Video);
    assert_eq!((pictures, count(&found, FrameKind::Audio)), (20, 20));
    let versions: Vec<_> = pmts(&stream).into_iter().map(|(version, _)| version).collect();
    assert!(versions.first() == Some(&0) && versions.last() == Some(&1));
    assert_eq!(logged(&server, "left out of .ts: video without a decoder configuration"), 1);
}

/// Frames that lie about their lengths cost themselves, not the stream.
#[test]
fn damaged_frames_are_left_out() {
    let server = server();
    let stream = recorded(&server, |publisher| {
        publisher.headers(0);
        for n in 0..10 {
            publisher.send(9, 40 * n, &picture(n == 0, n));
            publisher.send(9, 40 * n + 20, b"\x27\x01\0\0\0\0\xff\xff\xff\x41");
        }
    });
    assert_eq!(count(&frames(&stream), FrameKind::Video), 9);
    assert_eq!(logged(&server, "left out of .ts: damaged video frame"), 1);
}

#[test]
fn what_ts_does_not_carry_is_said_once_and_ends() {
    // However long it takes until the publisher goes on.
    let server = Server::start(&Conf::mounting("ts", "").and_vhost("publish { normal_timeout 60000; }"));
    let mut early = open(&server, "/live/s.ts");
    let mut publisher = Publisher::start(&server, "live/s");
    let send = |publisher: &mut Publisher, n: u32| {
        publisher.send(9, 40 * n, &[b"\x91av01", &[n as u8; 50][..]].concat());
        publisher.send(8, 40 * n, b"\x91Opus123");
    };
    publisher.send(9, 0, b"\x90av01\x81\x04\x0c\0");
    (0..10).for_each(|n| send(&mut publisher, n));
    assert!(early.read_to_end(SOON).is_empty());
    assert_eq!(early.ended(), Some(End::FinalChunk));
    // Now it is known.
    let mut late = Http::get(server.http_addr(), "/live/s.ts");
    assert_eq!(late.head.status, 404);
    let text = late.read_to_end(SOON);
    assert_eq!(String::from_utf8_lossy(&text), "The stream has nothing that .ts carries\n");
    // And the publisher was not disturbed.
    send(&mut publisher, 20);
    assert!(!publisher.is_closed(Duration::from_millis(100)));
    drop(publisher);
    // Once for the viewer who waited, once for the one who came later.
    for track in ["AV1 video", "Opus audio"] {
        let line = format!("left out of .ts: MPEG-TS does not carry {track}");
        wait_until(&line, SOON, || logged(&server, &line) == 2);
    }
}

#[test]
fn answers_are_framed_as_for_flv() {
    let server = server();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    publisher.send(9, 0, &picture(true, 0));
    let request = |text: &str| Http::request(server.http_addr(), text);

    let mut old = request("GET /live/s.ts HTTP/1.0\r\n\r\n");
    assert!(!old.chunked() && old.head.header("content-length").is_none());
    assert_eq!(old.read(SOON).first(), Some(&0x47));
    let page = request("GET /live/s.ts HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\r\n");
    assert!(page.chunked());
    assert_eq!(page.head.header("access-control-allow-origin"), Some("*"));

    let mut http = Http::connect(server.http_addr());
    http.send(b"HEAD /live/s.ts HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = http.answer(true);
    assert_eq!((head.head.status, head.head.header("content-type")), (200, Some("video/MP2T")));
    assert_eq!(
        request("GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n").head.status,
        404,
        "one format to a vhost"
    );
    drop(publisher);
    old.read_to_end(SOON);
    assert_eq!(old.ended(), Some(End::Eof));
}

/// A viewer who does not read is moved to a keyframe, and what it then gets is whole packets from tables on.
#[test]
fn who_falls_behind_goes_on_at_tables_and_a_keyframe() {
    let server = Server::start(&Conf::mounting("ts", "").and_vhost("play { queue_length 2; }"));
    let mut slow = open(&server, "/live/s.ts");
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    publisher.headers(0);
    publisher.send(9, 0, &picture(true, 0));
    let mut bytes = slow.read(SOON);
    // More than sockets hold while nobody reads.
    for n in 1..400 {
        publisher.send(9, 40 * n, &avc(n % 25 == 0, 0x1111_1100 + n, 60_000));
    }
    let gap = loop {
        let whole = &bytes[..bytes.len() / PACKET_LEN * PACKET_LEN];
        let packets = packets(whole);
        if let Some(gap) = first_gap(&packets).filter(|gap| gap + 2 < packets.len()) {
            break gap;
        }
        let more = slow.read(SOON);
        assert!(!more.is_empty(), "nothing was skipped in {} bytes", bytes.len());
        bytes.extend(more);
    };
    let packets: Vec<Packet<'_>> = bytes.chunks_exact(PACKET_LEN).skip(gap).map(packet).collect();
    assert_eq!([packets[0].pid, packets[1].pid], [PAT, PMT]);
    assert!(packets[2].pid == VIDEO_PID && packets[2].random_access);
    drop(publisher);
}
