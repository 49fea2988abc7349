//! HLS: whole segments under lasting numbers, whatever happens to the stream, the disk or the server.

use crate::harness::api;
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{
    AAC, AUDIO, H264, VIDEO, decode_file, make, pictures, probe_file, publish_both, tool,
};
use crate::harness::http::Http;
use crate::harness::media::{AVATAR, FlvViewer, Viewer, aac, aac_header, avc, avc_header, file, tags};
use crate::harness::playlist::{Playlist, Segment};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Folder, Server};
use crate::harness::{Noise, PATIENCE, SOON, wait_until};
use mill_media::flv::demux::Tag;
use mill_media::frame::{Frame, FrameKind};
use mill_media::ts::demux::{Demuxer, Event};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIST: &str = "/live/s.m3u8";

/// Segments of a second, without sessions.
fn hls(more: &str) -> Conf {
    Conf::vhost("publish { normal_timeout 60000; }").and_vhost(&block(more))
}

fn block(more: &str) -> String {
    let usual = |line: &str| match more.contains(&line[..=line.find(' ').unwrap()]) {
        true => String::new(),
        false => format!("{line} "),
    };
    let lines = ["hls_fragment 1;", "hls_window 60;", "hls_path ./html;", "hls_ctx off;"].map(usual).concat();
    format!("hls {{ enabled on; {lines}{more} }}")
}

#[track_caller]
fn fetch(server: &Server, path: &str) -> Vec<u8> {
    let mut answer = Http::get(server.http_addr(), path);
    assert_eq!(answer.head.status, 200, "{path}");
    answer.read_to_end(SOON)
}

fn status(server: &Server, path: &str) -> u16 {
    Http::get(server.http_addr(), path).head.status
}

/// The segments of a list, saved below the server's folder.
#[track_caller]
fn saved(server: &Server, list: &Playlist) -> Vec<PathBuf> {
    let dir = server.dir().join("saved");
    std::fs::create_dir_all(&dir).unwrap();
    let save = |uri: &str| {
        let file = dir.join(uri);
        std::fs::write(&file, fetch(server, &format!("/live/{uri}"))).unwrap();
        file
    };
    list.segments.iter().map(|segment| save(&segment.uri)).collect()
}

#[track_caller]
fn joined(server: &Server, segments: &[PathBuf]) -> PathBuf {
    let all: Vec<u8> = segments.iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    let file = server.dir().join("joined.ts");
    std::fs::write(&file, all).unwrap();
    file
}

/// A file sent as it is, as fast as it goes.
#[track_caller]
fn send_file(clip: &Path, url: &str) {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -i");
    let run = Process::run(command.arg(clip).args(["-c", "copy", "-f", "flv", url]), PATIENCE);
    assert!(run.status.success(), "{}", run.text());
}

fn send(publisher: &mut Publisher, tags: &[Tag], from: u32) {
    for tag in tags {
        publisher.send(tag.tag_type, tag.timestamp + from, &tag.body);
    }
}

/// Made-up pictures 40 ms apart, a keyframe each second, and sound.
pub(crate) fn show(publisher: &mut Publisher, from: u32, to: u32) {
    for n in from / 40..to / 40 {
        publisher.send(9, n * 40, &avc(n % 25 == 0, 0x1111_1100 + n, 300));
        publisher.send(8, n * 40, &aac(n));
    }
}

/// What is in a transport stream.
fn frames(stream: &[u8]) -> Vec<Frame> {
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

fn durations(list: &Playlist) -> Vec<i64> {
    list.segments.iter().map(|segment| segment.duration).collect()
}

fn breaks(list: &Playlist) -> Vec<bool> {
    list.segments.iter().map(|segment| segment.discontinuity).collect()
}

/// Each plays alone, and all together have no gap.
#[track_caller]
fn assert_whole(server: &Server, list: &Playlist, source: &Path) {
    let segments = saved(server, list);
    let (mut video, mut audio) = (Vec::new(), Vec::new());
    let mut shown = Vec::new();
    for (segment, listed) in segments.iter().zip(&list.segments) {
        decode_file(segment);
        let probe = probe_file(segment);
        probe.assert_sound();
        let first = probe.video().next().expect("there are pictures");
        assert!(first.key, "{} begins with {first:?}", segment.display());
        // The last sound of all may be longer than the last picture.
        let end = probe.packets.iter().map(|packet| packet.dts + 40).max().unwrap();
        let length = end - first.dts;
        assert!((length - listed.duration).abs() <= 60, "{length} is not {listed:?}");
        video.extend(probe.video().map(|packet| packet.dts));
        audio.extend(probe.audio().map(|packet| packet.dts));
        shown.extend(pictures(segment));
    }
    assert!(video.windows(2).all(|pair| (39..=41).contains(&(pair[1] - pair[0]))), "{video:?}");
    assert!(audio.windows(2).all(|pair| (22..=24).contains(&(pair[1] - pair[0]))), "{audio:?}");
    assert_eq!(shown, pictures(source));
    decode_file(&joined(server, &segments));
}

#[test]
fn what_is_published_is_served_and_on_the_disk() {
    let work = Folder::new();
    for (name, encoder) in [
        ("plain", H264),
        (
            "b",
            "-c:v libx264 -preset veryfast -pix_fmt yuv420p -bf 3 -g 25 -keyint_min 25 -sc_threshold 0 -b:v 300k",
        ),
    ] {
        let source = work.path().join(format!("{name}.flv"));
        make(&format!("{VIDEO} {AUDIO} -t 8 {encoder} {AAC}"), &source);
        let server = Server::start(&hls(""));
        send_file(&source, &server.rtmp("live/s"));
        let list = Playlist::wait(&server, LIST, "eight segments", |list| list.segments.len() == 8);
        assert_eq!((list.sequence, list.target, breaks(&list)), (0, 2, vec![false; 8]));
        assert_whole(&server, &list, &source);
        let on_disk = |name: &str| std::fs::read(server.dir().join("html/live").join(name)).ok();
        for segment in &list.segments {
            let served = fetch(&server, &format!("/live/{}", segment.uri));
            wait_until("it is on the disk", SOON, || on_disk(&segment.uri).as_ref() == Some(&served));
        }
        let text = fetch(&server, LIST);
        wait_until("the list is on the disk", SOON, || on_disk("s.m3u8").as_ref() == Some(&text));
        // A player from outside reads both.
        let from_disk = server.dir().join("html/live/s.m3u8");
        for input in [server.http("live/s.m3u8"), from_disk.display().to_string()] {
            let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror -live_start_index 0 -i");
            let run = Process::run(command.args([&input, "-t", "5", "-f", "null", "-"]), PATIENCE);
            assert!(run.status.success() && run.text().is_empty(), "{input}: {}", run.text());
        }
        let files = std::fs::read_dir(server.dir().join("html/live")).unwrap();
        let left: Vec<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        assert!(left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
    }
}

#[test]
fn hevc_is_carried() {
    let server = Server::start(&hls(""));
    let source = server.dir().join("source.ts");
    make(
        "-f lavfi -i testsrc2=size=320x180:rate=25:duration=4 -c:v libx265 -preset ultrafast \
         -x265-params keyint=25:bframes=2:log-level=none -f mpegts",
        &source,
    );
    let frames = frames(&std::fs::read(&source).unwrap());
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    for frame in &frames {
        publisher.send(frame.kind.tag_type(), frame.dts as u32, &frame.payload);
    }
    publisher.unpublish();
    let list = Playlist::wait(&server, LIST, "the publish has ended", |list| {
        list.segments.iter().map(|segment| segment.duration).sum::<i64>() > 3900
    });
    let segments = saved(&server, &list);
    let mut shown = Vec::new();
    for segment in &segments {
        decode_file(segment);
        assert_eq!(probe_file(segment).codecs, ["hevc"]);
        shown.extend(pictures(segment));
    }
    assert_eq!(shown, pictures(&source));
}

/// SRS forgets that each keyframe needs them once one frame had its own.
#[test]
fn parameter_sets_stand_in_every_segment() {
    let server = Server::start(&hls(""));
    let recorded = tags(&file(AVATAR));
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    send(&mut publisher, &recorded, 0);
    publisher.unpublish();
    let list = Playlist::wait(&server, LIST, "three segments", |list| list.segments.len() >= 2);
    for segment in saved(&server, &list) {
        decode_file(&segment);
    }
}

/// In SRS the mark lands on the segment before, and on every segment of an encoder that repeats its headers.
#[test]
fn a_discontinuity_is_where_decoding_starts_anew() {
    let work = Folder::new();
    let (small, large) = (work.path().join("small.flv"), work.path().join("large.flv"));
    make(&format!("{VIDEO} {AUDIO} -t 3 {H264} {AAC}"), &small);
    make(&format!("-f lavfi -i testsrc2=size=640x360:rate=25 {AUDIO} -t 3 {H264} {AAC}"), &large);
    let server = Server::start(&hls(""));
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    let clip =
        |file: &Path| -> Vec<Tag> { tags(file).into_iter().filter(|tag| tag.tag_type != 18).collect() };
    send(&mut publisher, &clip(&small), 0);
    // The same headers once more are no news.
    send(&mut publisher, &clip(&small), 3100);
    send(&mut publisher, &clip(&large), 6200);
    publisher.unpublish();
    let list = Playlist::wait(&server, LIST, "nine segments", |list| list.segments.len() >= 9);
    let expected = [false, false, false, false, false, false, true, false, false];
    assert_eq!(breaks(&list), expected, "{list:?}");
    let sizes: Vec<usize> = saved(&server, &list)
        .iter()
        .map(|segment| {
            decode_file(segment);
            pictures(segment).len()
        })
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 225, "no picture is lost: {sizes:?}");
}

#[test]
fn jumps_of_time_make_no_long_segment() {
    let server = Server::start(&hls(""));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 3000);
    show(&mut publisher, 3_600_000, 3_603_000);
    show(&mut publisher, 1000, 3000);
    publisher.unpublish();
    let list = Playlist::wait(&server, LIST, "all of it", |list| durations(list).iter().sum::<i64>() >= 7900);
    assert!(durations(&list).iter().all(|&duration| duration <= 2000), "{list:?}");
    assert_eq!(list.target, 2);
    // Where the publisher's time stands, its jumps are discontinuities.
    let server = Server::start(&hls("").and_vhost("play { time_jitter off; }"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 3000);
    show(&mut publisher, 3_600_000, 3_603_000);
    show(&mut publisher, 1000, 3000);
    publisher.unpublish();
    let list = Playlist::wait(&server, LIST, "all of it", |list| list.segments.len() == 8);
    assert_eq!(durations(&list), [1000; 8]);
    let expected = [false, false, false, true, false, false, true, false];
    assert_eq!(breaks(&list), expected);
    let starts: Vec<i64> =
        saved(&server, &list).iter().map(|segment| frames(&std::fs::read(segment).unwrap())[2].dts).collect();
    assert!(starts[3] - starts[2] > 3_500_000 && starts[6] < starts[5], "{starts:?}");
}

#[test]
fn odd_rates_and_long_groups() {
    // Milliseconds between pictures, pictures to a group, and what comes of it.
    for (step, group, count, expected) in [
        (1000, 1, 6, vec![1000; 6]),
        (8, 125, 500, vec![1000; 4]),
        (40, 1500, 3001, vec![60_000, 60_000, 40]),
    ] {
        // Steps of more than 250 ms are jumps to `time_jitter full`, as in SRS.
        let server = Server::start(&hls("hls_window 600;").and_vhost("play { time_jitter zero; }"));
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.send(9, 0, &avc_header());
        for n in 0..count {
            publisher.send(9, n * step, &avc(n % group == 0, 0x1111_1100 + n, 100));
        }
        publisher.unpublish();
        let last = expected.iter().filter(|&&duration| duration >= 100).count();
        let list = Playlist::wait(&server, LIST, "all of it", |list| list.segments.len() == last);
        assert_eq!(durations(&list), expected[..last], "{step} {group}");
    }
}

/// Sound alone has no clock in SRS.
#[test]
fn sound_alone_and_pictures_alone() {
    let server = Server::start(&hls(""));
    for (args, count, codec) in [
        (format!("{AUDIO} -t 9 {AAC}"), 4, "aac"),
        (format!("{AUDIO} -t 9 -c:a libmp3lame -b:a 64k"), 4, "mp3"),
        (format!("{VIDEO} -t 4 {H264}"), 4, "h264"),
    ] {
        let source = server.dir().join("source.flv");
        make(&args, &source);
        let stream = format!("live/{codec}");
        send_file(&source, &server.rtmp(&stream));
        let list = format!("/{stream}.m3u8");
        let list = Playlist::wait(&server, &list, "all of it", |list| list.segments.len() >= count);
        let mut times = Vec::new();
        for segment in saved(&server, &list) {
            decode_file(&segment);
            let probe = probe_file(&segment);
            assert_eq!(probe.codecs, [codec]);
            times.extend(probe.packets.iter().map(|packet| packet.dts));
            let bytes = std::fs::read(&segment).unwrap();
            let has_clock = |packet: &[u8]| packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0;
            assert!(bytes.chunks(188).take(4).any(has_clock), "{codec}: no clock at the beginning");
        }
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= 41, "{codec}: a gap of {longest} ms");
    }
}

#[test]
fn sound_or_pictures_are_left_out_as_configured() {
    for (line, codecs) in [("hls_acodec an;", ["h264"]), ("hls_vcodec vn;", ["aac"])] {
        let server = Server::start(&hls(line));
        let source = server.dir().join("source.flv");
        make(&format!("{VIDEO} {AUDIO} -t 5 {H264} {AAC}"), &source);
        send_file(&source, &server.rtmp("live/s"));
        let list = Playlist::wait(&server, LIST, "two segments", |list| list.segments.len() >= 2);
        for segment in saved(&server, &list) {
            assert_eq!(probe_file(&segment).codecs, codecs, "{line}");
        }
    }
}

/// Frames that need a header none has sent, and pictures whose header is wrong, are their stream's own trouble.
#[test]
fn missing_and_wrong_headers_hurt_nobody_else() {
    let server = Server::start(&hls(""));
    let mut publisher = Publisher::start(&server, "live/s");
    for n in 0..50 {
        publisher.send(9, n * 40, &avc(n % 25 == 0, n, 100));
        publisher.send(8, n * 40, &aac(n));
    }
    // A record that is none; and one with a size nobody can mean.
    publisher.send(9, 2000, b"\x17\0\0\0\0\x01\x64");
    publisher.send(
        9,
        2000,
        b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x05\x67\x42\xc0\x1e\xff\x01\0\x04\x68\xce\x0f\xc8",
    );
    publisher.send(8, 2000, &aac_header());
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    for n in 50..150 {
        publisher.send(9, n * 40, &avc(n % 25 == 0, n, 100));
        publisher.send(8, n * 40, &aac(n));
    }
    viewer.until_serial(149);
    Playlist::wait(&server, LIST, "segments", |list| list.segments.len() >= 2);
    publisher.unpublish();
}

#[test]
fn numbers_go_on_over_publishes_reloads_and_crashes() {
    let mut server = Server::start(&hls("hls_window 5;"));
    let source = server.dir().join("source.flv");
    make(&format!("{VIDEO} {AUDIO} -t 4 {H264} {AAC}"), &source);
    let mut last: Option<Playlist> = None;
    for round in 0..6u64 {
        let begun = last.as_ref().map_or(0, Playlist::next);
        send_file(&source, &server.rtmp("live/s"));
        let end = begun + 4;
        let list = Playlist::wait(&server, LIST, &format!("round {round}"), |list| {
            if let Some(last) = &last {
                list.assert_follows(last);
            }
            list.next() == end
        });
        for (sequence, segment) in (list.sequence..).zip(&list.segments) {
            // Each publish breaks with what was before, and nothing else does.
            assert_eq!(segment.discontinuity, sequence > 0 && sequence % 4 == 0, "{sequence} in {list:?}");
            assert_eq!(segment.uri, format!("s-{sequence}.ts"));
        }
        assert_eq!(list.discontinuities, if list.sequence > 0 { list.sequence.div_ceil(4) - 1 } else { 0 });
        let text = fetch(&server, LIST);
        let on_disk = server.dir().join("html/live/s.m3u8");
        // There, comments follow about what has left the list.
        wait_until("it is on the disk", SOON, || {
            std::fs::read(&on_disk).is_ok_and(|disk| disk.starts_with(&text))
        });
        match round % 3 {
            0 => {}
            1 => server.reload(&hls(&format!("hls_window 5; hls_fragment 0.{round};"))),
            _ => {
                server.kill();
                server.start_again();
            }
        }
        last = Some(list);
    }
}

/// Killed at any moment, while viewers fetch the list and the publisher comes back: what was shown to anybody holds.
#[test]
fn a_kill_in_the_middle_takes_no_number_back() {
    let mut server = Server::start(&hls("hls_window 4; hls_fragment 0.5;"));
    let mut noise = Noise::new(6);
    let mut last: Option<Playlist> = None;
    let mut all: BTreeMap<u64, Segment> = BTreeMap::new();
    let mut firsts = Vec::new();
    for round in 0..10u32 {
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.headers(0);
        let mut at = 0;
        let begun = last.as_ref().map_or(0, Playlist::next);
        let enough = begun + 1 + noise.next() % 4;
        wait_until(&format!("round {round}"), SOON, || {
            show(&mut publisher, at, at + 200);
            at += 200;
            let Some(list) = Playlist::get(&server, LIST) else { return false };
            last.as_ref().inspect(|last| list.assert_follows(last));
            for (sequence, segment) in (list.sequence..).zip(&list.segments) {
                assert_eq!(all.entry(sequence).or_insert_with(|| segment.clone()), segment, "{sequence}");
            }
            let next = list.next();
            last = Some(list);
            next >= enough
        });
        firsts.push(begun);
        server.kill();
        server.start_again();
        if noise.next().is_multiple_of(2) {
            let list = Playlist::get(&server, LIST).expect("the disk has it");
            list.assert_follows(last.as_ref().unwrap());
        }
    }
    for (sequence, segment) in &all {
        let is_first = *sequence > 0 && firsts.contains(sequence);
        assert_eq!(segment.discontinuity, is_first, "{sequence} of {firsts:?}");
    }
}

/// What had left the list, and was kept for those who have the last one, is deleted by the next run, whatever it is
/// called; what is not ours is not.
#[test]
fn a_kill_leaves_no_files_behind() {
    for ctx in ["hls_keys on; hls_fragments_per_key 2; ", ""] {
        let lines = format!(
            "{ctx}hls_window 2; hls_ts_file [app]/[stream]-[timestamp]-[seq]-[duration].ts; \
             hls_key_file [app]/[stream]-[seq].key;"
        );
        let mut server = Server::start(&hls(&lines));
        let dir = server.dir().join("html/live");
        let files = || -> BTreeSet<String> {
            std::fs::read_dir(&dir)
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.headers(0);
        show(&mut publisher, 0, 12_000);
        let list = Playlist::wait(&server, LIST, "ten segments", |list| list.next() >= 11);
        let listed: BTreeSet<String> = list.segments.iter().map(|segment| segment.uri.clone()).collect();
        server.kill();
        let left: BTreeSet<String> = files().into_iter().filter(|file| *file != "s.m3u8").collect();
        let beyond =
            left.difference(&listed).find(|file| file.ends_with(".ts")).expect("some have left the list");
        let foreign = ["s-1-2-3.ts", "s-0.ts", "other-1.ts", "film.ts"];
        foreign.iter().for_each(|name| std::fs::write(dir.join(name), "mine").unwrap());
        server.start_again();
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.headers(0);
        show(&mut publisher, 0, 2000);
        Playlist::wait(&server, LIST, "it goes on", |now| now.next() > list.next());
        assert_eq!(
            status(&server, &format!("/live/{beyond}")),
            200,
            "still for those who have the last list"
        );
        show(&mut publisher, 2000, 40_000);
        wait_until("all that was left is gone", SOON, || files().is_disjoint(&left));
        publisher.unpublish();
        foreign.iter().for_each(|name| assert!(dir.join(name).exists(), "{name}"));
    }
}

/// A list that cannot go on as its segments are gone: what there is of them goes too.
#[test]
fn what_cannot_be_listed_any_more_is_deleted() {
    let mut server = Server::start(&hls(""));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 4000);
    let list = Playlist::wait(&server, LIST, "segments", |list| list.next() >= 3);
    server.kill();
    let dir = server.dir().join("html/live");
    let file = |n: u64| dir.join(format!("s-{n}.ts"));
    std::fs::remove_file(file(1)).unwrap();
    assert!(file(0).exists() && file(2).exists());
    server.start_again();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 2000);
    let now = Playlist::wait(&server, LIST, "it goes on", |now| now.next() > list.next());
    assert_eq!(now.sequence, list.next(), "{now:?}");
    wait_until("they are gone", SOON, || !(0..3).any(|n| file(n).exists()));
}

#[test]
fn memory_alone_goes_on_too_and_writes_nothing() {
    let mut server = Server::start(&hls("hls_storage ram;"));
    let publish = |server: &Server| {
        let mut publisher = Publisher::start(server, "live/s");
        publisher.headers(0);
        show(&mut publisher, 0, 3000);
        publisher.unpublish();
        Playlist::wait(server, LIST, "three segments", |list| list.segments.len() >= 2)
    };
    let first = publish(&server);
    assert!(!server.dir().join("html").exists());
    server.kill();
    // Segments of a second come in less than that here; the clock stands in for the numbers.
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    wait_until("the clock is beyond the numbers", SOON, || now() > first.next());
    server.start_again();
    assert_eq!(status(&server, LIST), 404);
    let second = publish(&server);
    assert!(second.sequence > first.next() && second.discontinuities > first.discontinuities);
    assert!(second.segments[0].discontinuity);
}

/// The next task of a stream begins when the last has written what it had.
#[test]
fn off_and_on_again_takes_no_number_back() {
    let (on, off) = (hls("hls_window 600;"), Conf::vhost("hls { enabled off; }"));
    let server = Server::start(&on);
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut last = None;
    for round in 0..8u32 {
        show(&mut publisher, round * 2500, (round + 1) * 2500);
        let list = Playlist::wait(&server, LIST, "it goes on", |list| {
            last.as_ref().inspect(|last| list.assert_follows(last));
            last.as_ref().is_none_or(|last| list.next() > last.next())
        });
        last = Some(list);
        server.reload(&off);
        server.reload(&on);
    }
}

/// SRS unlinks what has just left the list under the hands of those who read it.
#[test]
fn segments_stay_for_those_who_have_the_last_list() {
    let server = Server::start(&hls("hls_window 3;"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 10_000);
    let list = Playlist::wait(&server, LIST, "the window is full", |list| list.sequence >= 1);
    let left = format!("/live/s-{}.ts", list.sequence - 1);
    assert_eq!(status(&server, &left), 200, "it was in the list a moment ago");
    show(&mut publisher, 10_000, 40_000);
    let file = server.dir().join("html").join(&left[1..]);
    wait_until("it goes at last", SOON, || status(&server, &left) == 404 && !file.exists());
    publisher.unpublish();
    let count = std::fs::read_dir(server.dir().join("html/live")).unwrap().count();
    assert!(count < 25, "{count} files for a window of three seconds");
}

#[test]
fn without_cleanup_files_stay() {
    let server = Server::start(&hls("hls_window 1; hls_cleanup off;"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 30_000);
    publisher.unpublish();
    wait_until("all are there", SOON, || {
        (0..30).all(|n| server.dir().join(format!("html/live/s-{n}.ts")).exists())
    });
}

#[test]
fn dispose_deletes_and_numbers_go_on() {
    // Long enough for a busy machine to look before all is gone again.
    let mut server = Server::start(&hls("hls_dispose 5;"));
    let publish = |server: &Server| {
        let mut publisher = Publisher::start(server, "live/s");
        publisher.headers(0);
        show(&mut publisher, 0, 3000);
        let list = Playlist::wait(server, LIST, "segments", |list| list.segments.len() >= 2);
        (publisher, list)
    };
    let empty = |server: &Server| {
        // A busy disk may not have begun.
        let files = std::fs::read_dir(server.dir().join("html/live"));
        files.map_or(true, |mut files| files.next().is_none()) && status(server, LIST) == 404
    };
    // Silent, but not gone.
    let (mut publisher, first) = publish(&server);
    wait_until("everything is deleted", SOON, || empty(&server));
    // And back, without its headers again.
    show(&mut publisher, 3000, 6000);
    let list = Playlist::wait(&server, LIST, "it goes on", |list| list.segments.len() >= 2);
    assert!(list.sequence == first.sequence + 3 && list.segments[0].discontinuity, "{first:?} {list:?}");
    publisher.unpublish();
    wait_until("everything is deleted again", SOON, || empty(&server));
    let (mut publisher, list) = publish(&server);
    assert!(list.sequence == first.sequence + 6 && list.segments[0].discontinuity, "{first:?} {list:?}");
    publisher.unpublish();
    wait_until("everything is deleted again", SOON, || empty(&server));
    // Nothing is left that says where the numbers were.
    server.kill();
    server.start_again();
    let (_publisher, list) = publish(&server);
    assert!(list.sequence >= first.sequence + 9 && list.discontinuities > first.discontinuities, "{list:?}");
}

#[test]
fn the_end_of_the_server_disposes_too() {
    let mut server = Server::start(&hls("hls_dispose 3600;"));
    let _publisher = publish_both(&server.rtmp("live/s"));
    let file = server.dir().join("html/live/s.m3u8");
    wait_until("a list is on the disk", SOON, || file.exists());
    server.signal(Signal::TERM);
    server.wait(SOON).expect("it ends");
    assert_eq!(std::fs::read_dir(server.dir().join("html/live")).unwrap().count(), 0);
}

#[test]
fn names_and_prefixes() {
    let server = Server::start(&hls("hls_path ./html/hls; hls_m3u8_file [vhost]/[app]-[stream]/list.m3u8; \
         hls_ts_file [vhost]/[app]-[stream]/[2006]/[stream]-[duration]-[timestamp]-[seq].ts;"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 3000);
    publisher.unpublish();
    // Below the directory of the file server, so where that would have it.
    let path = "/hls/__defaultVhost__/live-s/list.m3u8";
    let list = Playlist::wait(&server, path, "three segments", |list| list.segments.len() == 3);
    let uri = &list.segments[0].uri;
    let parts: Vec<&str> = uri.split(['/', '-']).collect();
    assert_eq!((parts[1], parts[2], parts[4]), ("s", "1000", "0.ts"), "{uri}");
    assert_eq!(status(&server, &format!("/hls/__defaultVhost__/live-s/{uri}")), 200);

    for (prefix, expected) in
        [("http://cdn", "http://cdn/live/s-0.ts"), ("http://cdn/x/", "http://cdn/x/s-0.ts")]
    {
        let server = Server::start(&hls(&format!("hls_entry_prefix {prefix};")));
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.headers(0);
        show(&mut publisher, 0, 2000);
        publisher.unpublish();
        let list = Playlist::wait(&server, LIST, "a segment", |list| !list.segments.is_empty());
        assert_eq!(list.segments[0].uri, expected);
        assert_eq!(status(&server, "/live/s-0.ts"), 200);
    }
}

#[test]
fn the_clock_counts_fragments_with_floor() {
    let server = Server::start(&hls("hls_ts_floor on; hls_ts_file [app]/[stream]-[timestamp]-[seq].ts;"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 4000);
    publisher.unpublish();
    let list = Playlist::wait(&server, LIST, "segments", |list| list.segments.len() >= 2);
    let counter = |uri: &str| uri.split('-').nth(1).unwrap().parse::<u64>().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let first = counter(&list.segments[0].uri);
    assert!(now.abs_diff(first) < 60, "{first} is not about {now}");
    for (n, segment) in list.segments.iter().enumerate() {
        assert_eq!(counter(&segment.uri), first + n as u64);
    }
}

/// SRS: the first segments of a window may have no key, its URL is a path of the disk, keys are never deleted.
#[test]
fn keys() {
    let server = Server::start(&hls(
        "hls_window 3; hls_keys on; hls_fragments_per_key 2; hls_key_file_path ./html/keys;",
    ));
    let source = server.dir().join("source.flv");
    make(&format!("{VIDEO} {AUDIO} -t 6 {H264} {AAC}"), &source);
    send_file(&source, &server.rtmp("live/s"));
    let list = Playlist::wait(&server, LIST, "all segments", |list| list.next() == 6);
    let key = |attributes: &str| attributes.split('"').nth(1).unwrap().to_owned();
    let mut vectors = Vec::new();
    for (sequence, segment) in (list.sequence..).zip(&list.segments) {
        let attributes = segment.key.as_deref().unwrap_or_else(|| panic!("{sequence} has no key"));
        assert_eq!(key(attributes), format!("/keys/live/s-{}.key", sequence / 2 * 2));
        assert_eq!(fetch(&server, &key(attributes)).len(), 16);
        vectors.push(attributes.rsplit_once("IV=").unwrap().1.to_owned());
    }
    vectors.sort();
    vectors.dedup();
    assert_eq!(vectors.len(), list.segments.len(), "no vector comes twice");
    let answer = Http::get(server.http_addr(), "/keys/live/s-4.key");
    assert_eq!(answer.head.header("cache-control"), Some("no-store"));
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror -live_start_index 0 -i");
    let run =
        Process::run(command.args([&server.http("live/s.m3u8"), "-t", "3", "-f", "null", "-"]), PATIENCE);
    assert!(run.status.success() && run.text().is_empty(), "{}", run.text());
    for round in 2..5 {
        send_file(&source, &server.rtmp("live/s"));
        Playlist::wait(&server, LIST, "all segments", |list| list.next() == 6 * round);
    }
    wait_until("the first keys are deleted", SOON, || {
        status(&server, "/keys/live/s-0.key") == 404 && !server.dir().join("html/keys/live/s-0.key").exists()
    });
}

#[test]
fn parts_conditions_and_caches() {
    let server = Server::start(&hls(""));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 3000);
    publisher.unpublish();
    Playlist::wait(&server, LIST, "three segments", |list| list.segments.len() == 3);
    let whole = fetch(&server, "/live/s-1.ts");
    let ask = |method: &str, path: &str, headers: &str| {
        let mut http = Http::connect(server.http_addr());
        http.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
        let mut answer = http.answer(method == "HEAD");
        let body = answer.read_to_end(SOON);
        (answer.head.clone(), body)
    };
    let (head, body) = ask("GET", "/live/s-1.ts", "Range: bytes=10-19\r\n");
    assert_eq!((head.status, &body[..]), (206, &whole[10..20]));
    assert_eq!(head.header("content-range"), Some(format!("bytes 10-19/{}", whole.len()).as_str()));
    let (head, body) = ask("GET", "/live/s-1.ts", "Range: bytes=-100\r\n");
    assert_eq!((head.status, &body[..]), (206, &whole[whole.len() - 100..]));
    let (head, _) = ask("GET", "/live/s-1.ts", "Range: bytes=99999999-\r\n");
    assert_eq!(head.status, 416);
    assert_eq!(head.header("content-range"), Some(format!("bytes */{}", whole.len()).as_str()));
    let (head, _) = ask("HEAD", "/live/s-1.ts", "");
    assert_eq!(head.header("content-length"), Some(whole.len().to_string().as_str()));
    assert_eq!(head.header("content-type"), Some("video/MP2T"));
    let (part, _) = ask("HEAD", "/live/s-1.ts", "Range: bytes=10-19\r\n");
    assert_eq!((part.status, part.header("content-length")), (200, head.header("content-length")));
    assert!(head.header("cache-control").unwrap().starts_with("max-age="));
    let tag = head.header("etag").unwrap().to_owned();
    assert_eq!(ask("GET", "/live/s-1.ts", &format!("If-None-Match: {tag}\r\n")).0.status, 304);
    let (head, _) = ask("GET", LIST, "Origin: http://page.example\r\n");
    assert_eq!(head.header("cache-control"), Some("no-cache"));
    assert_eq!(head.header("access-control-allow-origin"), Some("*"));
    assert_eq!(ask("POST", LIST, "").0.status, 405);
    assert_eq!(ask("GET", "/live/../live/s-1.ts", "").0.status, 404);
    assert_eq!(ask("GET", "/live/%73-1.ts", "").0.status, 200);
}

/// Neither viewers nor the publisher notice; a failed publish of HLS ends as `hls_on_error` says.
#[test]
fn a_disk_that_takes_nothing() {
    for (policy, goes_on) in [("continue", true), ("ignore", true), ("disconnect", false)] {
        let first = if goes_on { policy } else { "continue" };
        let server = Server::start(&hls(&format!("hls_path ./html/file; hls_on_error {first};")));
        std::fs::create_dir(server.dir().join("html")).unwrap();
        std::fs::write(server.dir().join("html/file"), "in the way").unwrap();
        let mut publisher = Publisher::start(&server, "live/s");
        let mut viewer = FlvViewer::open(&server, "/live/s.flv");
        publisher.headers(0);
        show(&mut publisher, 0, 3000);
        let list = Playlist::wait(&server, "/file/live/s.m3u8", "memory serves", |list| list.next() >= 2);
        wait_until("the log says so", SOON, || server.log().contains("the disk has not taken a file"));
        if !goes_on {
            // As is said now, not when it began.
            server.reload(&hls("hls_path ./html/file; hls_on_error disconnect;"));
            // A failure is answered with the next frame.
            let mut at = 3000;
            wait_until("hls_on_error disconnect", PATIENCE, || {
                at += 40;
                publisher.try_send(9, at, &avc(true, at, 100));
                publisher.is_closed(Duration::from_millis(100))
            });
            continue;
        }
        show(&mut publisher, 3000, 5000);
        if policy == "ignore" {
            wait_until("HLS is given up", SOON, || server.log().contains("hls_on_error ignore"));
        }
        show(&mut publisher, 5000, 9000);
        viewer.find("the last frame", |tag| tag.tag_type == 9 && tag.timestamp >= 8960);
        if policy == "continue" {
            let later = Playlist::wait(&server, "/file/live/s.m3u8", "it goes on", |list| list.next() >= 8);
            later.assert_follows(&list);
            std::fs::remove_file(server.dir().join("html/file")).unwrap();
            let file = server.dir().join("html/file/live/s.m3u8");
            wait_until("the disk is written again", SOON, || file.exists());
            assert!(server.dir().join("html/file/live/s-0.ts").exists(), "and nothing is missing");
        } else {
            let now = Playlist::get(&server, "/file/live/s.m3u8").unwrap();
            assert!(now.next() <= 6, "{now:?}");
            // Another publish tries again.
            publisher.unpublish();
        }
        assert!(viewer.ended().is_none() || policy == "ignore");
    }
}

#[test]
fn segments_are_told_to_callback_servers_and_caches() {
    let backend = Backend::with(|call| match call.body.is_empty() {
        true => Answer::Say(200, "x".repeat(100_000)),
        false => Answer::yes(),
    });
    let hooks = format!(
        "http_hooks {{ enabled on; on_hls {}; on_hls_notify {}; }}",
        backend.url("hls"),
        backend.url("notify/[app]/[stream]/[ts_url][param]")
    );
    let server = Server::start(&hls("").and_vhost(&hooks));
    let mut publisher = Publisher::start(&server, "live/s?token=abc");
    publisher.headers(0);
    show(&mut publisher, 0, 2520);
    publisher.unpublish();
    // The last segment too, which SRS forgets.
    let told = || backend.calls().into_iter().filter(|call| !call.body.is_empty()).collect::<Vec<_>>();
    wait_until("three segments are told", SOON, || told().len() == 3);
    for (n, call) in told().iter().enumerate() {
        let keys: Vec<String> = call.json().keys().cloned().collect();
        assert_eq!(
            keys,
            [
                "action",
                "client_id",
                "ip",
                "vhost",
                "app",
                "stream",
                "param",
                "duration",
                "cwd",
                "file",
                "url",
                "m3u8",
                "m3u8_url",
                "seq_no"
            ]
        );
        let field = |name: &str| call.field(name);
        assert_eq!(field("action"), "on_hls");
        assert_eq!(
            (field("app"), field("stream"), field("param")),
            ("live".into(), "s".into(), "?token=abc".into())
        );
        assert_eq!(field("file"), format!("./html/live/s-{n}.ts"));
        assert_eq!((field("url"), field("m3u8_url")), (format!("live/s-{n}.ts"), "live/s.m3u8".into()));
        assert_eq!((field("m3u8"), field("seq_no")), ("./html/live/s.m3u8".into(), n.to_string()));
        let duration: f64 = field("duration").parse().unwrap();
        assert!((duration - if n < 2 { 1.0 } else { 0.52 }).abs() < 0.03, "{duration}");
        assert!(Path::new(&field("cwd")).join(field("file")).is_file(), "it is there when it is told");
    }
    wait_until("caches are told", SOON, || {
        backend.calls().iter().filter(|call| call.body.is_empty()).count() == 3
    });
    let mut fetched: Vec<String> =
        backend.calls().iter().filter(|call| call.body.is_empty()).map(|call| call.path.clone()).collect();
    fetched.sort();
    assert_eq!(fetched[0], "/notify/live/s/s-0.ts?token=abc");
}

#[test]
fn a_reload_restarts_the_hls_of_its_vhost_alone() {
    let both = |lines: &str| {
        hls(lines).vhosts(&format!(
            "vhost other.com {{ http_remux {{ enabled on; }} {} }}",
            block("hls_path ./html/other;")
        ))
    };
    let server = Server::start(&both(""));
    let mut publisher = Publisher::start(&server, "live/s");
    let mut other = Publisher::start(&server, "live?vhost=other.com/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    for publisher in [&mut publisher, &mut other] {
        publisher.headers(0);
        show(publisher, 0, 3000);
    }
    let before = Playlist::wait(&server, LIST, "two segments", |list| list.next() >= 2);
    let elsewhere = "/other/live/s.m3u8?vhost=other.com";
    Playlist::wait(&server, elsewhere, "two segments", |list| list.next() >= 2);
    server.reload(&both("hls_fragment 2;"));
    for publisher in [&mut publisher, &mut other] {
        show(publisher, 3000, 12_000);
    }
    let after = Playlist::wait(&server, LIST, "a long segment", |list| durations(list).contains(&2000));
    after.assert_follows(&before);
    let there = Playlist::wait(&server, elsewhere, "ten segments", |list| list.next() >= 10);
    assert!(there.segments.iter().all(|segment| !segment.discontinuity), "{there:?}");
    viewer.find("the viewer noticed nothing", |tag| tag.timestamp >= 11_900);
    // Off and on again.
    server.reload(&both("").and_vhost("").global("").vhosts(""));
    let off = Conf::vhost("hls { enabled off; }").vhosts(&format!(
        "vhost other.com {{ http_remux {{ enabled on; }} {} }}",
        block("hls_path ./html/other;")
    ));
    server.reload(&off);
    wait_until("nothing is served from memory", SOON, || !Http::get(server.http_addr(), LIST).is_packaged());
    server.reload(&both(""));
    show(&mut publisher, 12_000, 18_000);
    let again = Playlist::wait(&server, LIST, "it goes on", |list| list.next() > after.next());
    again.assert_follows(&after);
}

#[test]
fn the_api_says_where_hls_is_on() {
    let server = Server::start(&hls("hls_fragment 2.5;"));
    let _publisher = Publisher::live(&server, "live/s");
    let vhosts = api::get(&server, "vhosts/");
    let hls = &api::list(&vhosts, "vhosts")[0]["hls"];
    assert_eq!((hls["enabled"].as_bool(), hls["fragment"].as_f64()), (Some(true), Some(2.5)));
}

/// A publisher that goes on and off faster than segments are made.
#[test]
fn many_short_publishes_are_one_list() {
    let server = Server::start(&hls(""));
    for _ in 0..10 {
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.headers(0);
        show(&mut publisher, 0, 1200);
        publisher.unpublish();
    }
    let list = Playlist::wait(&server, LIST, "all publishes", |list| list.next() >= 20);
    assert_eq!(list.sequence, 0);
    assert_eq!(breaks(&list)[..6], [false, false, true, false, true, false], "{list:?}");
}

/// Who shows it: `reload_effects.rs`. All of the block but what viewers notice.
pub(crate) fn every_directive_of_the_block_acts_after_a_reload() {
    let quiet = "hls_window 600;";
    let server = Server::start(&hls(quiet));
    let mut publisher = Publisher::start(&server, "live/s");
    let mut at = 0;
    publisher.headers(0);
    let mut go_on = |publisher: &mut Publisher, seconds: u32| {
        show(publisher, at, at + seconds * 1000);
        at += seconds * 1000;
    };
    go_on(&mut publisher, 3);
    let mut last = Playlist::wait(&server, LIST, "segments", |list| list.next() >= 2);
    let mut after = |lines: &str, path: &str, what: &str, is: &dyn Fn(&Playlist) -> bool| {
        server.reload(&hls(lines));
        go_on(&mut publisher, 9);
        // The first new one may still be of the old kind.
        let list = Playlist::wait(&server, path, what, |list| list.next() > last.next() + 2 && is(list));
        assert!(list.sequence >= last.sequence, "{list:?} after {last:?}");
        last = list.clone();
        list
    };
    let newest =
        |list: &Playlist, end: &str| list.segments.last().is_some_and(|segment| segment.uri.contains(end));
    after("hls_window 600; hls_fragment 3;", LIST, "longer segments", &|list| {
        durations(list).contains(&3000)
    });
    after("hls_window 600; hls_td_ratio 7;", LIST, "another target", &|list| list.target == 7);
    after("hls_window 2;", LIST, "a shorter list", &|list| list.segments.len() < 30);
    after("hls_window 600; hls_ts_file [app]/[stream]_[seq].ts;", LIST, "other names", &|list| {
        newest(list, "s_")
    });
    after("hls_window 600; hls_entry_prefix http://cdn/x/;", LIST, "a prefix", &|list| {
        newest(list, "http://cdn/x/")
    });
    after("hls_window 600; hls_m3u8_file [app]/[stream]-x.m3u8;", "/live/s-x.m3u8", "another list", &|_| {
        true
    });
    after("hls_window 600; hls_path ./html/deeper;", "/deeper/live/s.m3u8", "another place", &|_| true);
    after("hls_window 600; hls_storage ram;", LIST, "no disk", &|_| true);
    let path = server.dir().join("html/live/s.m3u8");
    let written = || std::fs::read_to_string(&path).unwrap_or_default();
    let before = written();
    after("hls_window 600; hls_storage ram; hls_cleanup off;", LIST, "no disk", &|_| true);
    assert_eq!(written(), before);
    after(
        "hls_window 600; hls_keys on; hls_fragments_per_key 3; hls_key_file [app]/k-[seq].key; \
         hls_key_file_path ./html/keys; hls_key_url http://keys;",
        LIST,
        "keys",
        &|list| {
            list.segments
                .last()
                .unwrap()
                .key
                .as_ref()
                .is_some_and(|key| key.contains("\"http://keys/live/k-"))
        },
    );
    after(
        "hls_window 600; hls_wait_keyframe off; hls_fragment 0.5;",
        LIST,
        "cuts between keyframes",
        &|list| durations(list).contains(&520) || durations(list).contains(&500),
    );
    after(
        "hls_window 600; hls_ts_floor on; hls_ts_file [app]/[stream]-[timestamp].ts;",
        LIST,
        "the clock",
        &|list| newest(list, "s-1"),
    );
    for (line, kind) in
        [("hls_acodec an;", FrameKind::Audio), ("hls_vcodec vn; hls_aof_ratio 1;", FrameKind::Keyframe)]
    {
        after(&format!("hls_window 600; {line}"), LIST, "one track", &|list| {
            let newest = fetch(&server, &format!("/live/{}", list.segments.last().unwrap().uri));
            frames(&newest).iter().all(|frame| frame.kind != kind)
        });
    }
    after("hls_window 600; hls_dts_directly off;", LIST, "it goes on", &|_| true);
    after("hls_window 600; hls_dispose 1; hls_on_error ignore;", LIST, "it goes on", &|_| true);
    wait_until("it is deleted", SOON, || status(&server, LIST) == 404);
}

pub(crate) fn other_callbacks_are_for_the_next_publish() {
    let backend = Backend::start();
    let (list, cache) = (backend.url("hls"), backend.url("notify/[stream]"));
    let hooks = format!("http_hooks {{ enabled on; on_hls {list}; on_hls_notify {cache}; }}");
    let server = Server::start(&hls(""));
    let publish = |stream: &str| {
        let mut publisher = Publisher::start(&server, stream);
        publisher.headers(0);
        show(&mut publisher, 0, 3000);
        Playlist::wait(&server, &format!("/{stream}.m3u8"), "segments", |list| list.next() >= 2);
        publisher
    };
    let mut old = publish("live/old");
    server.reload(&hls("hls_nb_notify 1;").and_vhost(&hooks));
    let _new = publish("live/new");
    show(&mut old, 3000, 6000);
    Playlist::wait(&server, "/live/old.m3u8", "it goes on", |list| list.next() >= 5);
    wait_until("two calls for each segment", SOON, || backend.calls().len() == 4);
    assert!(backend.calls().iter().all(|call| !call.body.contains("\"old\"") && !call.path.contains("old")));
}

#[test]
fn callbacks_change() {
    other_callbacks_are_for_the_next_publish();
}

#[test]
fn every_directive() {
    every_directive_of_the_block_acts_after_a_reload();
}

#[test]
fn counted_sound_does_not_follow_its_stamps() {
    for (directly, followed) in [("on", true), ("off", false)] {
        let server = Server::start(&hls(&format!("hls_dts_directly {directly};")));
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.send(8, 0, &aac_header());
        // Stamps that run a third slower than the sound.
        for n in 0..200 {
            publisher.send(8, n * 31, &aac(n));
        }
        publisher.unpublish();
        let list =
            Playlist::wait(&server, LIST, "segments", |list| durations(list).iter().sum::<i64>() > 5900);
        let segment = fetch(&server, &format!("/live/{}", list.segments[0].uri));
        let times: Vec<_> = frames(&segment)
            .iter()
            .filter(|frame| frame.kind == FrameKind::Audio)
            .map(|frame| frame.dts)
            .collect();
        let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let even = steps.iter().take(20).all(|step| (22..=24).contains(step));
        assert_eq!(even, !followed, "hls_dts_directly {directly}: {steps:?}");
    }
}

#[test]
fn the_shipped_example() {
    let server = Server::example("hls.conf", |text| text.replace("hls_fragment    10", "hls_fragment 1"));
    let _encoder = publish_both(&server.rtmp("live/livestream"));
    let mut found = None;
    wait_until("a list", SOON, || {
        let mut answer = Http::get(server.http_addr(), "/live/livestream.m3u8");
        found = Some(String::from_utf8(answer.read_to_end(SOON)).unwrap());
        answer.head.status == 200
    });
    assert!(found.unwrap().contains("?hls_ctx="), "viewers have sessions");
    crate::harness::ffmpeg::decode(&server.http("live/livestream.m3u8"), 3);
    drop(server);
    let server =
        Server::example("http.hls.conf", |text| text.replace("hls_fragment    10", "hls_fragment 1"));
    let _encoder = publish_both(&server.rtmp("live/livestream"));
    crate::harness::wait_until("a list", SOON, || status(&server, "/live/livestream.m3u8") == 200);
    drop(server);
    let server = Server::example("hls.realtime.conf", |text| text);
    let _encoder = publish_both(&server.rtmp("live/livestream"));
    crate::harness::wait_until("a list", SOON, || status(&server, "/live/livestream.m3u8") == 200);
    let server =
        Server::example("hls.origin.conf", |text| text.replace("hls_fragment    10", "hls_fragment 1"));
    let _encoder = publish_both(&server.rtmp("live/livestream"));
    Playlist::wait(&server, "/live/livestream.m3u8", "no sessions", |list| !list.segments.is_empty());
}

/// Deadlines of the harness are generous; this one is about a reader that never comes.
#[test]
fn nobody_waits_for_viewers() {
    let server = Server::start(&hls("hls_window 2;"));
    let mut slow = Http::connect(server.http_addr());
    slow.send(b"GET /live/s.m3u8 HTTP/1.1\r\nHost: x\r\n");
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 20_000);
    Playlist::wait(&server, LIST, "it goes on", |list| list.next() >= 19);
}
