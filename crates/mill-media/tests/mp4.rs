//! MP4 as others read it: ffmpeg finds in the fragmented and in the classic file the very frames of the
//! source, at its times; a torn file loses at most its last fragment. A second opinion on the structure
//! comes from `shiguredo_mp4`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "tests write files for ffmpeg")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use mill_media::flv::demux::Demuxer;
use mill_media::flv::tag::classify;
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_media::mp4::classic::{Plan, Scan};
use mill_media::mp4::fragment::Fragmenter;
use mill_media::mp4::track::{Media, Source};
use mill_media::time::Unwrap;
use proptest::prelude::*;
use shiguredo_mp4::TrackKind;
use shiguredo_mp4::demux::{Input, Mp4FileDemuxer};

const AVATAR: &[u8] = include_bytes!("../testdata/avatar.flv");
const BBB: &[u8] = include_bytes!("../testdata/bbb.flv");

/// How much media a fragment holds here.
const FLUSH: Millis = 1000;

fn frames(flv: &[u8]) -> Vec<Frame> {
    let (mut demuxer, mut time, mut frames) = (Demuxer::new(), Unwrap::new(), Vec::new());
    demuxer.feed(flv);
    while let Some(tag) = demuxer.next().unwrap() {
        let kind = classify(tag.tag_type, &tag.body).unwrap();
        frames.push(Frame { kind, dts: time.next(tag.timestamp), payload: tag.body });
    }
    frames
}

/// The fragmented file of a recording, and where each of its fragments ends.
fn fragmented(frames: &[Frame]) -> (Vec<u8>, Vec<usize>) {
    let mut sources: Vec<Source> = Vec::new();
    for frame in frames {
        let Some(Ok(source)) = Source::new(frame) else { continue };
        if !sources.iter().any(|known| is_video(known) == is_video(&source)) {
            sources.push(source);
        }
    }
    let mut fragmenter = Fragmenter::new(sources.iter().map(|source| source.track().clone()).collect());
    let (mut file, mut ends) = (fragmenter.init_segment(), Vec::new());
    for frame in frames {
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(sample) = source.sample(frame, frame.dts) {
                fragmenter.push(index, sample);
            }
        }
        if fragmenter.pending_time() >= FLUSH {
            fragmenter.flush().iter().for_each(|piece| file.extend_from_slice(piece));
            ends.push(file.len());
        }
    }
    fragmenter.flush().iter().for_each(|piece| file.extend_from_slice(piece));
    ends.push(file.len());
    (file, ends)
}

fn is_video(source: &Source) -> bool {
    matches!(source.track().media, Media::Video { .. })
}

fn plan(file: &[u8]) -> Option<Plan> {
    let mut scan = Scan::new(file.len() as u64);
    while let Some(wanted) = scan.wants() {
        scan.give(&file[wanted.start as usize..wanted.end as usize]);
    }
    scan.finish().ok()
}

fn classic(file: &[u8], plan: &Plan) -> Vec<u8> {
    let mut out = plan.header.clone();
    for range in &plan.copies {
        out.extend_from_slice(&file[range.start as usize..range.end as usize]);
    }
    assert_eq!(out.len() as u64, plan.len());
    out
}

fn save(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Runs a tool that must succeed without a word of complaint.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{program} {args:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// Stream, times and checksum of every packet: presentation time in milliseconds, MD5. Durations are left out: FLV has none.
fn packets(path: &Path) -> Vec<(String, i64, String)> {
    let path = path.to_str().unwrap();
    let text = run(
        "ffmpeg",
        &["-v", "warning", "-i", path, "-map", "0:v?", "-map", "0:a?", "-c", "copy", "-f", "framemd5", "-"],
    );
    let mut scale = Vec::new();
    let mut packets = Vec::new();
    for line in text.lines() {
        if let Some(base) = line.strip_prefix("#tb ") {
            let (_, denominator) = base.split_once('/').unwrap();
            scale.push(denominator.parse::<i64>().unwrap());
        }
        if line.starts_with('#') {
            continue;
        }
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        let stream: usize = fields[0].parse().unwrap();
        let pts: i64 = fields[2].parse().unwrap();
        packets.push((fields[0].to_owned(), pts * 1000 / scale[stream], fields[5].to_owned()));
    }
    packets.sort();
    packets
}

/// The same packets at the same times; sound is rounded to milliseconds in the source.
#[track_caller]
fn assert_same(source: &[(String, i64, String)], file: &[(String, i64, String)]) {
    assert_eq!(source.len(), file.len());
    let by_content = |packets: &[(String, i64, String)]| {
        let mut sorted = packets.to_vec();
        sorted.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        sorted
    };
    for (a, b) in by_content(source).iter().zip(by_content(file)) {
        assert_eq!((&a.0, &a.2), (&b.0, &b.2));
        assert!((a.1 - b.1).abs() <= if a.0 == "0" { 0 } else { 30 }, "{a:?} {b:?}");
    }
}

fn probe(path: &Path, entry: &str) -> String {
    let args = ["-v", "warning", "-show_entries", entry, "-of", "default=nw=1:nk=1", path.to_str().unwrap()];
    run("ffprobe", &args).trim().to_owned()
}

#[test]
fn both_files_hold_the_frames_of_their_source() {
    for (name, flv) in [("avatar", AVATAR), ("bbb", BBB)] {
        let source = packets(&save(&format!("{name}.flv"), flv));
        let (file, _) = fragmented(&frames(flv));
        let path = save(&format!("{name}-fragmented.mp4"), &file);
        assert_same(&source, &packets(&path));

        let plan = plan(&file).unwrap();
        let path = save(&format!("{name}-classic.mp4"), &classic(&file, &plan));
        assert_same(&source, &packets(&path));
        assert_eq!(probe(&path, "format=start_time"), "0.000000", "{name}");
        let duration: f64 = probe(&path, "format=duration").parse().unwrap();
        assert!((duration - plan.duration as f64 / 1000.0).abs() < 0.002, "{duration} {}", plan.duration);
        run("ffmpeg", &["-v", "warning", "-xerror", "-i", path.to_str().unwrap(), "-f", "null", "-"]);
    }
}

/// What ffmpeg makes of a test picture and a tone.
fn encoded(name: &str, options: &[&str]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut args = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc=s=192x128:r=25:d=3"];
    args.extend(["-f", "lavfi", "-i", "sine=r=48000:d=3"]);
    args.extend(options);
    args.push(path.to_str().unwrap());
    let output = Command::new("ffmpeg").args(&args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

#[track_caller]
fn check_codecs(name: &str, frames: &[Frame], source: &Path, formats: &str) {
    let (file, _) = fragmented(frames);
    let plan = plan(&file).unwrap();
    let path = save(&format!("{name}-out.mp4"), &classic(&file, &plan));
    assert_same(&packets(source), &packets(&path));
    assert_eq!(probe(&path, "stream=codec_tag_string").replace('\n', " "), formats);
    run("ffmpeg", &["-v", "warning", "-xerror", "-i", path.to_str().unwrap(), "-f", "null", "-"]);
}

#[track_caller]
fn check_flv(name: &str, options: &[&str], formats: &str) {
    let source = encoded(&format!("{name}.flv"), options);
    check_codecs(name, &frames(&std::fs::read(&source).unwrap()), &source, formats);
}

#[test]
fn h264_high_with_mp3() {
    check_flv("high-mp3", &["-c:v", "libx264", "-g", "25", "-c:a", "libmp3lame"], "avc1 mp4a");
}

#[test]
fn audio_alone_and_video_alone() {
    check_flv("audio", &["-vn", "-c:a", "aac"], "mp4a");
    check_flv("video", &["-an", "-c:v", "libx264", "-bf", "0"], "avc1");
}

/// An MP4 file of ffmpeg's as the frames an encoder of Enhanced RTMP would send.
fn enhanced(mp4: &[u8], video: &[u8; 4], record: &[u8; 4], opus: bool) -> Vec<Frame> {
    let at = mp4.windows(4).position(|kind| kind == record).unwrap();
    let len = u32::from_be_bytes(*mp4[at - 4..].first_chunk().unwrap()) as usize;
    let frame = |kind, dts, payload: Vec<u8>| Frame { kind, dts, payload: payload.into() };
    let header = [b"\x90", &video[..], &mp4[at + 4..at + len - 4]].concat();
    let mut frames = vec![frame(FrameKind::VideoHeader, 0, header)];
    if opus {
        let head = b"\x90OpusOpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";
        frames.push(frame(FrameKind::AudioHeader, 0, head.to_vec()));
    }
    let mut demuxer = Mp4FileDemuxer::new();
    while demuxer.required_input().is_some() {
        demuxer.handle_input(Input { position: 0, data: mp4 });
    }
    while let Some(sample) = demuxer.next_sample().unwrap() {
        let scale = u64::from(sample.track.timescale.get());
        let dts = (sample.timestamp * 1000 / scale) as Millis;
        let data = &mp4[sample.data_offset as usize..][..sample.data_size];
        if sample.track.kind == TrackKind::Audio {
            frames.push(frame(FrameKind::Audio, dts, [b"\x91Opus", data].concat()));
            continue;
        }
        // AV1 has no composition times, HEVC's are made without B-frames here.
        let body =
            if video == b"hvc1" { [b"hvc1\0\0\0", data].concat() } else { [&video[..], data].concat() };
        let (kind, first) =
            if sample.keyframe { (FrameKind::Keyframe, 0x91) } else { (FrameKind::Video, 0xa1) };
        frames.push(frame(kind, dts, [&[first][..], &body].concat()));
    }
    frames
}

#[test]
fn hevc_alone() {
    let options =
        ["-an", "-c:v", "libx265", "-x265-params", "log-level=none:keyint=25:bframes=0", "-tag:v", "hvc1"];
    let source = encoded("hevc.mp4", &options);
    let frames = enhanced(&std::fs::read(&source).unwrap(), b"hvc1", b"hvcC", false);
    check_codecs("hevc", &frames, &source, "hvc1");
}

#[test]
fn av1_with_opus() {
    let options = ["-c:v", "libsvtav1", "-preset", "12", "-g", "25", "-c:a", "libopus", "-ac", "1"];
    let source = encoded("av1.mp4", &options);
    let frames = enhanced(&std::fs::read(&source).unwrap(), b"av01", b"av1C", true);
    let (file, _) = fragmented(&frames);
    let plan = plan(&file).unwrap();
    let path = save("av1-out.mp4", &classic(&file, &plan));
    // ffmpeg takes Opus's lead-in off its own file by an edit list, so only what is there is compared.
    let content = |path: &Path| packets(path).into_iter().map(|(_, _, md5)| md5).collect::<HashSet<_>>();
    assert_eq!(content(&source), content(&path));
    assert_eq!(probe(&path, "stream=codec_tag_string").replace('\n', " "), "av01 Opus");
    run("ffmpeg", &["-v", "warning", "-xerror", "-i", path.to_str().unwrap(), "-f", "null", "-"]);
}

#[test]
fn another_reader_agrees() {
    let (file, _) = fragmented(&frames(AVATAR));
    let plan = plan(&file).unwrap();
    let classic = classic(&file, &plan);
    let mut demuxer = Mp4FileDemuxer::new();
    while demuxer.required_input().is_some() {
        demuxer.handle_input(Input { position: 0, data: &classic });
    }
    assert_eq!(demuxer.tracks().unwrap().len(), 2);
    let mut samples = 0;
    while let Some(sample) = demuxer.next_sample().unwrap() {
        assert!(sample.data_offset + sample.data_size as u64 <= classic.len() as u64);
        samples += 1;
    }
    assert_eq!(samples, plan.samples);
}

#[test]
fn foreign_files_and_noise_are_nothing_to_finalise() {
    for noise in [&b""[..], b"\0\0\0\0", &[0xff; 100], AVATAR] {
        assert_eq!(plan(noise), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_torn_file_loses_its_last_fragment_at_most(cut in 0.0..1.0f64) {
        let (file, ends) = fragmented(&frames(BBB));
        let len = (file.len() as f64 * cut) as usize;
        let whole = ends.iter().rposition(|&end| end <= len);
        let torn = plan(&file[..len]);
        match whole {
            None => prop_assert_eq!(torn, None),
            Some(whole) => prop_assert_eq!(torn, plan(&file[..ends[whole]])),
        }
    }

    #[test]
    fn a_damaged_file_never_panics(at in 0.0..1.0f64, byte in any::<u8>()) {
        let (mut file, _) = fragmented(&frames(BBB));
        // Most of a file is payload: the head and the first fragment's are hit more often.
        let at = (at * at * at * file.len() as f64) as usize;
        file[at] = byte;
        if let Some(plan) = plan(&file) {
            classic(&file, &plan);
        }
    }
}
