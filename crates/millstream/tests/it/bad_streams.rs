//! Streams that are odd, broken or changing: what HLS and DASH make of them decodes to the last picture, or the log says
//! why something is left out.

use crate::dash::{Mpd, assembled};
use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{AAC, AUDIO, H264, VIDEO, decode_file, make, pictures, probe_file};
use crate::harness::http::Http;
use crate::harness::media::{avc_header, kind, tags};
use crate::harness::playlist::Playlist;
use crate::harness::server::{Conf, Folder, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use crate::httpts::frames;
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use std::path::PathBuf;
use std::time::Instant;

/// Both formats, in segments of a second.
fn start(more: &str) -> Server {
    let hls = "hls { enabled on; hls_fragment 1; hls_window 600; hls_path ./html; hls_ctx off; }";
    let dash = "dash { enabled on; dash_fragment 1; dash_timeshift 600; dash_path ./html; dash_ctx off; }";
    Server::start(
        &Conf::vhost("publish { normal_timeout 60000; }").and_vhost(hls).and_vhost(dash).and_vhost(more),
    )
}

/// What an encoder makes of these arguments, as tags.
fn clip(args: &str) -> Vec<Tag> {
    let work = Folder::new();
    let file = work.path().join("clip.flv");
    make(args, &file);
    tags(&file).into_iter().filter(|tag| tag.tag_type != 18).collect()
}

/// The same for what FLV of this ffmpeg cannot hold.
fn clip_of_ts(args: &str) -> Vec<Tag> {
    let work = Folder::new();
    let file = work.path().join("clip.ts");
    make(args, &file);
    let frames = frames(&std::fs::read(&file).unwrap());
    let tag = |frame: &mill_media::frame::Frame| Tag {
        tag_type: frame.kind.tag_type(),
        timestamp: frame.dts as u32,
        body: frame.payload.clone(),
    };
    frames.iter().map(tag).collect()
}

fn later(tags: &[Tag], by: u32) -> Vec<Tag> {
    tags.iter().map(|tag| Tag { timestamp: tag.timestamp + by, ..tag.clone() }).collect()
}

/// Publishes it all at once.
fn send(server: &Server, stream: &str, tags: &[Tag]) {
    let mut publisher = Publisher::with_chunk_size(server, &format!("live/{stream}"), 60_000);
    for tag in tags {
        publisher.send(tag.tag_type, tag.timestamp, &tag.body);
    }
    publisher.unpublish();
}

/// The segments of HLS as files, when there are so many milliseconds of them.
#[track_caller]
fn segments(server: &Server, stream: &str, millis: i64) -> (Playlist, Vec<PathBuf>) {
    let list = Playlist::wait(server, &format!("/live/{stream}.m3u8"), "all of it", |list| {
        list.segments.iter().map(|segment| segment.duration).sum::<i64>() >= millis
    });
    let save = |uri: &String| {
        let mut answer = Http::get(server.http_addr(), &format!("/live/{uri}"));
        assert_eq!(answer.head.status, 200, "{uri}");
        let file = server.dir().join(uri);
        std::fs::write(&file, answer.read_to_end(SOON)).unwrap();
        file
    };
    let files = list.segments.iter().map(|segment| save(&segment.uri)).collect();
    (list, files)
}

/// HLS: each segment decodes alone and begins with a keyframe if there are pictures, of which none is missing. DASH: what a
/// player puts together decodes, and no picture is missing either.
#[track_caller]
fn check(server: &Server, stream: &str, tags: &[Tag], millis: i64, shown: usize) {
    send(server, stream, tags);
    let (list, files) = segments(server, stream, millis);
    files.iter().for_each(|file| decode_file(file));
    assert_eq!(count(&files, true), shown, "{stream}: pictures in HLS: {list:?}");
    check_dash(server, stream, shown);
}

/// Pictures that can be decoded.
#[track_caller]
fn count(files: &[PathBuf], alone: bool) -> usize {
    let of = |file: &PathBuf| {
        let probe = probe_file(file);
        let Some(first) = probe.video().next() else { return 0 };
        assert!(first.key || !alone, "{} begins with {first:?}", file.display());
        pictures(file).len()
    };
    files.iter().map(of).sum()
}

#[track_caller]
fn check_dash(server: &Server, stream: &str, shown: usize) {
    let path = format!("/live/{stream}.mpd");
    let mut found = 0;
    let end = Instant::now() + PATIENCE;
    while found != shown || Mpd::get(server.http_addr(), &path).is_none() {
        assert!(Instant::now() < end, "{stream}: {found} pictures of {shown} in DASH");
        let Some(mpd) = Mpd::get(server.http_addr(), &path) else { continue };
        let files = assembled(server, &mpd);
        files.iter().for_each(|file| decode_file(file));
        found = count(&files, true);
    }
}

fn x264(more: &str) -> String {
    format!("-c:v libx264 -preset veryfast -pix_fmt yuv420p -sc_threshold 0 {more}")
}

#[test]
fn b_frames_and_odd_rates() {
    // A step of more than 250 ms is a jump to `time_jitter full`, as in SRS.
    let server = start("play { time_jitter zero; }");
    let b_frames = clip(&format!("{VIDEO} {AUDIO} -t 5 {} {AAC}", x264("-bf 3 -g 25")));
    check(&server, "b", &b_frames, 4900, 125);
    let slow = clip(&format!("-f lavfi -i testsrc2=size=320x180:rate=1 -t 8 {}", x264("-g 1")));
    send(&server, "slow", &slow);
    let (_, files) = segments(&server, "slow", 7900);
    files.iter().for_each(|file| decode_file(file));
    assert_eq!(count(&files, true), 8);
    // The last of all is alone in its segment, and nobody knows how long it lasts.
    check_dash(&server, "slow", 7);
    let fast =
        clip(&format!("-f lavfi -i testsrc2=size=320x180:rate=120 {AUDIO} -t 3 {} {AAC}", x264("-g 120")));
    check(&server, "fast", &fast, 2900, 360);
    let long =
        clip(&format!("-f lavfi -i testsrc2=size=160x90:rate=5 {AUDIO} -t 70 {} {AAC}", x264("-g 300")));
    check(&server, "long", &long, 69_000, 350);
}

#[test]
fn sound_alone_and_pictures_alone() {
    let server = start("");
    check(&server, "sound", &clip(&format!("{AUDIO} -t 6 {AAC}")), 5900, 0);
    check(&server, "pictures", &clip(&format!("{VIDEO} -t 4 {H264}")), 3900, 100);
}

#[test]
fn time_that_jumps() {
    let part = clip(&format!("{VIDEO} {AUDIO} -t 2 {H264} {AAC}"));
    let there_and_back = [later(&part, 10_000), later(&part, 3_610_000), later(&part, 0)].concat();
    let server = start("play { time_jitter off; }");
    check(&server, "jumps", &there_and_back, 5500, 150);
    // The stream's own time has no jumps: sound is nearer to sound in one place than it lasts.
    let server = start("play { time_jitter full; }");
    send(&server, "closed", &there_and_back);
    let (list, files) = segments(&server, "closed", 5500);
    assert_eq!(count(&files, true), 150);
    assert!(
        list.segments.iter().all(|segment| segment.duration <= 2000 && !segment.discontinuity),
        "{list:?}"
    );
}

/// Pictures and sound of other codecs, and back, within one publish.
#[test]
fn codecs_that_change() {
    // Sound and pictures of a transport stream come in heaps.
    let server = start("play { time_jitter off; }");
    let one = clip(&format!("{VIDEO} {AUDIO} -t 3 {H264} {AAC}"));
    let other = clip_of_ts(&format!(
        "{VIDEO} {AUDIO} -t 3 -c:v libx265 -preset ultrafast -x265-params keyint=25:bframes=0:log-level=none \
         -c:a libmp3lame -b:a 64k"
    ));
    let first = other.iter().map(|tag| tag.timestamp).min().unwrap();
    let other: Vec<Tag> =
        other.into_iter().map(|tag| Tag { timestamp: tag.timestamp - first + 3000, ..tag }).collect();
    check(&server, "codecs", &[one.clone(), other, later(&one, 6000)].concat(), 8700, 225);
    let (list, files) = segments(&server, "codecs", 8700);
    let codecs: Vec<Vec<String>> = files.iter().map(|file| probe_file(file).codecs).collect();
    let has = |n: usize, codec: &str| codecs[n].iter().any(|found| found == codec);
    for n in 0..files.len() {
        assert!(has(n, "h264") != has(n, "hevc"), "{n} of {codecs:?}");
        let is_other = n > 0 && has(n, "h264") != has(n - 1, "h264");
        assert!(list.segments[n].discontinuity || !is_other, "{n} of {list:?} has {codecs:?}");
    }
    let (last, middle) = (files.len() - 1, files.len() / 2);
    assert!(has(0, "aac") && has(middle, "hevc") && has(middle, "mp3") && has(last, "aac"), "{codecs:?}");
}

/// Headers that come late, or never.
#[test]
fn headers_that_are_missing() {
    let server = start("");
    let whole = clip(&format!("{VIDEO} {AUDIO} -t 6 {H264} {AAC}"));
    let (headers, coded): (Vec<Tag>, Vec<Tag>) =
        whole.into_iter().partition(|tag| kind(tag).is_some_and(FrameKind::is_header));
    assert_eq!(headers.len(), 2);
    let split = coded.partition_point(|tag| tag.timestamp < 2500);
    let late = [&coded[..split], &later(&headers, coded[split].timestamp)[..], &coded[split..]].concat();
    // Whole groups of pictures from the next keyframe on.
    check(&server, "late", &late, 2900, 75);
    assert!(server.log().contains("live/late: frame cannot be muxed: video without a decoder configuration"));
    send(&server, "never", &coded);
    wait_until("the log says why there is nothing", SOON, || {
        server.log().contains("live/never: frame cannot be muxed")
    });
    for list in ["never.m3u8", "never.mpd"] {
        assert_eq!(Http::get(server.http_addr(), &format!("/live/{list}")).head.status, 404, "{list}");
    }
}

/// Headers of something else, and headers that are none.
#[test]
fn parameter_sets_that_are_wrong() {
    let server = start("");
    let right = clip(&format!("{VIDEO} {AUDIO} -t 3 {H264} {AAC}"));
    let with_header = |body: bytes::Bytes| -> Vec<Tag> {
        let is_header = |tag: &Tag| kind(tag) == Some(FrameKind::VideoHeader);
        right
            .iter()
            .map(|tag| if is_header(tag) { Tag { body: body.clone(), ..tag.clone() } } else { tag.clone() })
            .collect()
    };
    // Nobody can tell that these are another stream's: players get what was sent, in segments that are whole.
    send(&server, "other", &with_header(avc_header()));
    let (_, files) = segments(&server, "other", 2900);
    let carried = |kind: FrameKind| -> usize {
        let of = |file: &PathBuf| {
            frames(&std::fs::read(file).unwrap()).iter().filter(|frame| frame.kind == kind).count()
        };
        files.iter().map(of).sum()
    };
    assert_eq!((carried(FrameKind::Keyframe), carried(FrameKind::Video)), (3, 72));
    // A size that cannot be meant, and a record that ends too soon.
    let torn = &b"\x17\0\0\0\0\x01\x64"[..];
    let nonsense =
        &b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x05\x67\x42\xc0\x1e\xff\x01\0\x04\x68\xce\x0f\xc8"[..];
    for (stream, header) in [("torn", torn), ("nonsense", nonsense)] {
        send(&server, stream, &with_header(bytes::Bytes::copy_from_slice(header)));
        let carried = || Playlist::get(&server, &format!("/live/{stream}.m3u8")).is_some();
        wait_until("it is carried, or the log says why not", SOON, || {
            carried() || server.log().contains(&format!("live/{stream}: frame cannot be muxed"))
        });
        wait_until("so it is in DASH", SOON, || {
            let log = server.log();
            Mpd::get(server.http_addr(), &format!("/live/{stream}.mpd")).is_some()
                || log.contains(&format!("dash stream __defaultVhost__/live/{stream}: not in it"))
        });
    }
    // And what comes after them, and after the sound alone that there was, is as it would be.
    check(&server, "torn", &right, 5800, 75);
}
