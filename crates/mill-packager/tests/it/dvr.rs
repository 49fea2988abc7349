//! Recordings.

use bytes::Bytes;
use mill_media::amf0::Value;
use mill_media::flv::script::Metadata;
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_packager::Jitter;
use mill_packager::dvr::{Options, Plan, Recorder, repaired};
use mill_packager::path::{Civil, StreamName};
use proptest::prelude::*;

use crate::disk::{Disk, finalise, frames, repair};
use crate::outside::{checksums, plays, probe, save};

const AVATAR: &[u8] = include_bytes!("../../../mill-media/testdata/avatar.flv");
const BBB: &[u8] = include_bytes!("../../../mill-media/testdata/bbb.flv");

fn name() -> StreamName {
    StreamName { vhost: "v".into(), app: "live".into(), stream: "show".into() }
}

fn recorder(options: Options, path: &str) -> Recorder {
    Recorder::new(options, path, name()).unwrap()
}

/// A clock that shows the frame's own time.
fn at(dts: Millis) -> Civil {
    Civil { unix_millis: dts, ..Civil::default() }
}

fn record(options: Options, path: &str, frames: &[Frame]) -> Disk {
    let mut recorder = recorder(options, path);
    let mut disk = Disk::default();
    for frame in frames {
        recorder.push(frame, at(frame.dts)).unwrap();
        while let Some(action) = recorder.poll_action() {
            disk.apply(action);
        }
    }
    recorder.end();
    while let Some(action) = recorder.poll_action() {
        disk.apply(action);
    }
    disk
}

fn only(disk: &Disk) -> &[u8] {
    assert_eq!(disk.files.len(), 1, "{:?}", disk.files.keys());
    disk.files.values().next().unwrap()
}

const CODED: [FrameKind; 3] = [FrameKind::Audio, FrameKind::Keyframe, FrameKind::Video];

/// Kind, time and content of the coded frames.
fn coded(frames: &[Frame]) -> Vec<(FrameKind, Millis, Bytes)> {
    let coded = frames.iter().filter(|frame| CODED.contains(&frame.kind));
    coded.map(|frame| (frame.kind, frame.dts, frame.payload.clone())).collect()
}

#[test]
fn flv_holds_every_frame_and_knows_its_numbers() {
    let source = frames(AVATAR);
    let disk = record(Options::default(), "rec/[app]/[stream].[timestamp].flv", &source);
    assert_eq!(disk.files.keys().collect::<Vec<_>>(), ["rec/live/show.0.flv"]);
    let file = only(&disk);
    let written = frames(file);
    assert_eq!(coded(&written), coded(&source));
    let object = Metadata::parse(&written[0].payload).unwrap().object;
    let number = |key: &str| object.get(key).and_then(Value::as_number).unwrap();
    assert_eq!(number("filesize"), file.len() as f64);
    assert_eq!(number("width"), 768.0);
    let path = save("dvr-avatar.flv", file);
    plays(&path);
    assert_eq!(probe(&path, "format=duration").parse::<f64>().unwrap(), number("duration"));
    assert!((11.0..11.4).contains(&number("duration")), "{}", number("duration"));
    let index = object.get("keyframes").and_then(Value::as_object).unwrap();
    let Some(Value::StrictArray(positions)) = index.get("filepositions") else { panic!("no index") };
    assert_eq!(positions.len(), 7);
    for position in positions {
        let position = position.as_number().unwrap() as usize;
        assert_eq!((file[position], file[position + 11]), (9, 0x17), "a keyframe's tag begins there");
    }
}

#[test]
fn mp4_holds_every_frame_and_starts_at_zero() {
    for (name, flv) in [("avatar", AVATAR), ("bbb", BBB)] {
        let disk = record(Options::default(), "[stream].mp4", &frames(flv));
        let path = save(&format!("dvr-{name}.mp4"), only(&disk));
        let source = save(&format!("dvr-{name}-source.flv"), flv);
        plays(&path);
        assert_eq!(checksums(&path), checksums(&source));
        assert_eq!(probe(&path, "format=start_time"), "0.000000");
        let duration: f64 = probe(&path, "format=duration").parse().unwrap();
        assert!((duration * 1000.0 - disk.recorded[0].duration as f64).abs() < 100.0, "{duration}");
    }
}

#[test]
fn segments_begin_with_keyframes_and_nothing_is_lost_between_them() {
    let source = frames(BBB);
    let options = Options { plan: Plan::Segment(2000), ..Options::default() };
    for ending in ["flv", "mp4"] {
        let disk = record(options, &format!("[timestamp].[duration].{ending}"), &source);
        assert!(disk.files.len() >= 2, "{:?}", disk.files.keys());
        assert_eq!(disk.recorded.len(), disk.files.len());
        let mut sums = [vec![], vec![]];
        for recorded in &disk.recorded {
            let path = save(&format!("dvr-{}", recorded.path), &disk.files[&recorded.path]);
            plays(&path);
            let first = probe(&path, "packet=flags").lines().next().unwrap().to_owned();
            assert!(first.starts_with('K'), "{first}");
            sums.iter_mut().zip(checksums(&path)).for_each(|(all, some)| all.extend(some));
        }
        let whole = save("dvr-whole.flv", BBB);
        assert_eq!(sums, checksums(&whole));
        if ending == "flv" {
            for file in disk.files.values() {
                assert_eq!(coded(&frames(file))[0].1, 0, "each starts at zero");
            }
        }
    }
}

fn frame(kind: FrameKind, dts: Millis, payload: &[u8]) -> Frame {
    Frame { kind, dts, payload: Bytes::copy_from_slice(payload) }
}

const AAC: &[u8] = b"\xaf\x00\x12\x10";
const SOUND: &[u8] = b"\xaf\x01\x21\x10";
const MP3: &[u8] = b"\x2f\xff\xfb\x90\x44\0\0";
const KEY: &[u8] = b"\x17\x01\0\0\0\0\0\0\x02\x65\x88";
const INTER: &[u8] = b"\x27\x01\0\0\0\0\0\0\x02\x41\x9a";
const END: &[u8] = b"\x17\x02\0\0\0";

/// An AVC header; `level` tells one from another.
fn avc(level: u8) -> Vec<u8> {
    let mut header = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x1a\x67\x64\0\x1f\xac\xd9\x40\x50\x05\xbb\x01\
        \x10\0\0\x03\0\x10\0\0\x03\x03\xc0\xf1\x83\x19\x60\x01\0\x06\x68\xeb\xe3\xcb\x22\xc0"
        .to_vec();
    header[8] = level;
    header
}

/// Sound every 23 ms from `from` until `to`.
fn sound(from: Millis, to: Millis) -> impl Iterator<Item = Frame> {
    (from..to).step_by(23).map(|dts| frame(FrameKind::Audio, dts, SOUND))
}

/// Pictures every 40 ms from `from` until `to`, every tenth a keyframe, the first one too.
fn pictures(from: Millis, to: Millis) -> impl Iterator<Item = Frame> {
    let picture = move |dts| match (dts - from) % 400 {
        0 => frame(FrameKind::Keyframe, dts, KEY),
        _ => frame(FrameKind::Video, dts, INTER),
    };
    (from..to).step_by(40).map(picture)
}

fn both(from: Millis, to: Millis) -> Vec<Frame> {
    let mut frames: Vec<_> = sound(from, to).chain(pictures(from, to)).collect();
    frames.sort_by_key(|frame| frame.dts);
    frames
}

fn headers() -> Vec<Frame> {
    vec![frame(FrameKind::VideoHeader, 0, &avc(31)), frame(FrameKind::AudioHeader, 0, AAC)]
}

/// Samples in each file, by name.
fn counts(disk: &Disk) -> Vec<usize> {
    let counts = disk.files.iter().map(|(path, file)| {
        if path.ends_with(".flv") {
            return coded(&frames(file)).len();
        }
        let sizes = file.windows(4).enumerate().filter(|(_, kind)| kind == b"stsz");
        let number = |at: usize| u32::from_be_bytes(*file[at..].first_chunk().unwrap()) as usize;
        sizes.map(|(at, _)| number(at + 12)).sum()
    });
    counts.collect()
}

#[track_caller]
fn check(options: Options, frames: &[Frame], expected: &[usize]) {
    for ending in ["flv", "mp4"] {
        let disk = record(options, &format!("[stream].[timestamp].{ending}"), frames);
        assert_eq!(counts(&disk), expected, "{ending}: {:?}", disk.files.keys());
        assert!(disk.files.keys().all(|path| !path.ends_with(".tmp")));
    }
}

#[test]
fn video_before_the_first_keyframe_is_left_out_but_sound_is_not() {
    let mut frames = headers();
    frames.extend([frame(FrameKind::Video, 0, INTER), frame(FrameKind::Audio, 10, SOUND)]);
    frames.extend([frame(FrameKind::Video, 40, INTER), frame(FrameKind::Keyframe, 80, KEY)]);
    check(Options::default(), &frames, &[2]);
    let all = Options { wait_keyframe: false, ..Options::default() };
    check(all, &frames, &[4]);
    check(Options::default(), &frames[..3], &[]);
}

#[test]
fn another_picture_size_begins_another_file() {
    let mut frames = headers();
    frames.extend(both(0, 1200));
    frames.push(frame(FrameKind::VideoHeader, 1200, &avc(31)));
    frames.extend(both(1200, 2000));
    let before = counts(&record(Options::default(), "a.flv", &frames))[0];
    frames.push(frame(FrameKind::VideoHeader, 2000, &avc(32)));
    let after = both(2000, 4000);
    frames.extend(after.iter().cloned());
    check(Options::default(), &frames, &[before, after.len()]);
}

#[test]
fn other_sound_begins_another_file_at_the_next_keyframe() {
    let mut frames = headers();
    frames.extend(both(0, 2200));
    // MP3 has no header: the frame itself says it.
    let mut rest = both(2200, 4000);
    for later in &mut rest {
        let is_picture = later.kind.is_video();
        *later = match is_picture {
            true => frame(
                if later.dts == 2400 { FrameKind::Keyframe } else { FrameKind::Video },
                later.dts,
                INTER,
            ),
            false => frame(FrameKind::Audio, later.dts, MP3),
        };
    }
    frames.extend(rest);
    let kept = |from: Millis, to: Millis, sound: bool| {
        let frames = frames.iter().filter(|frame| (from..to).contains(&frame.dts) && !frame.kind.is_header());
        frames.filter(|frame| sound || frame.kind.is_video()).count()
    };
    let first = kept(0, 2200, true) + kept(2200, 2400, false);
    check(Options::default(), &frames, &[first, kept(2400, 4000, true)]);
}

#[test]
fn a_track_that_comes_late_gets_its_place() {
    // Sound begins after three seconds; FLV has room for it, MP4 begins anew at a keyframe.
    let mut frames = headers();
    let late = frames.pop().unwrap();
    frames.extend(pictures(0, 3000));
    frames.push(Frame { dts: 3000, ..late });
    frames.extend(both(3200, 4000));
    let flv = record(Options::default(), "a.flv", &frames);
    assert_eq!(counts(&flv), [frames.len() - 2]);
    let mp4 = record(Options::default(), "[timestamp].mp4", &frames);
    // The first sound comes just before that keyframe.
    assert_eq!(counts(&mp4), [75, frames.len() - 2 - 75 - 1]);
}

#[test]
fn sound_alone_is_cut_and_so_is_sound_after_the_pictures_have_gone() {
    let segments = Options { plan: Plan::Segment(1000), ..Options::default() };
    let mut frames = vec![frame(FrameKind::AudioHeader, 0, AAC)];
    frames.extend(sound(0, 5000));
    check(segments, &frames, &[44, 44, 44, 44, 42]);

    let mut frames = headers();
    frames.extend(both(0, 1200));
    frames.extend(sound(1200, 20_000));
    let files = record(segments, "[timestamp].flv", &frames).files.len();
    assert!((8..12).contains(&files), "{files}");
}

#[test]
fn pictures_alone_are_cut_at_keyframes() {
    let mut frames = vec![frame(FrameKind::VideoHeader, 0, &avc(31))];
    frames.extend(pictures(0, 4000));
    check(Options { plan: Plan::Segment(1000), ..Options::default() }, &frames, &[30, 30, 30, 10]);
}

#[test]
fn the_end_of_a_sequence_opens_no_file() {
    let mut frames = vec![frame(FrameKind::VideoHeader, 0, &avc(31))];
    frames.extend(pictures(0, 1000));
    frames.push(frame(FrameKind::Video, 2000, END));
    let options = Options { plan: Plan::Segment(1000), wait_keyframe: false, ..Options::default() };
    assert_eq!(record(options, "[timestamp].flv", &frames).files.len(), 1);
    check(options, &frames[..1], &[]);
}

#[test]
fn a_jump_is_taken_out_or_begins_a_file() {
    let mut frames = headers();
    frames.extend(both(0, 1200));
    frames.extend(both(3_600_000, 3_601_200));
    let each = both(0, 1200).len();
    check(Options::default(), &frames, &[2 * each]);
    let disk = record(Options::default(), "a.mp4", &frames);
    assert!((2300..2500).contains(&disk.recorded[0].duration), "{:?}", disk.recorded);
    for jitter in [Jitter::Zero, Jitter::Off] {
        check(Options { jitter, ..Options::default() }, &frames, &[each, each]);
    }
    let off = record(Options { jitter: Jitter::Off, ..Options::default() }, "[timestamp].flv", &frames);
    assert_eq!(coded(&crate::disk::frames(&off.files["3600000.flv"]))[0].1, 3_600_000);
}

#[test]
fn a_pause_is_kept() {
    let mut frames = headers();
    frames.extend(both(0, 800));
    frames.extend(both(5800, 6600));
    let disk = record(Options::default(), "pause.mp4", &frames);
    assert!((6500..6700).contains(&disk.recorded[0].duration), "{:?}", disk.recorded);
}

#[test]
fn what_cannot_be_in_mp4_is_said_and_left_out() {
    let mut frames = vec![frame(FrameKind::AudioHeader, 0, b"\x90fLaC\0")];
    frames.extend(sound(0, 100).map(|sound| frame(FrameKind::Audio, sound.dts, b"\x91fLaC\x01")));
    let disk = record(Options::default(), "a.mp4", &frames);
    assert_eq!((disk.files.len(), disk.left_out, disk.recorded.len()), (0, 1, 0));
    check(Options::default(), &[], &[]);
}

#[test]
fn after_a_loss_the_next_keyframe_begins_another_file() {
    let mut recorder = recorder(Options::default(), "[timestamp].flv");
    let mut disk = Disk::default();
    for frame in headers().iter().chain(&both(0, 1000)) {
        recorder.push(frame, at(frame.dts)).unwrap();
    }
    recorder.lost();
    assert_eq!((recorder.poll_action(), recorder.status()), (None, None));
    for frame in both(1000, 2000) {
        recorder.push(&frame, at(frame.dts)).unwrap();
    }
    assert_eq!(recorder.status().unwrap().path, "1000.flv.tmp");
    recorder.end();
    while let Some(action) = recorder.poll_action() {
        disk.apply(action);
    }
    assert_eq!(counts(&disk), [both(1000, 2000).len()]);
}

#[test]
fn names() {
    let path = |dvr_path: &str| record(Options::default(), dvr_path, &both(0, 100)).recorded[0].path.clone();
    assert_eq!(path("rec/"), "rec/show.0.flv");
    assert_eq!(path("rec/[app]"), "rec/live/show.0.flv");
    assert_eq!(path("[duration].flv"), "120.flv");
    assert_eq!(repaired("a/[duration].flv.tmp", 1500), "a/1500.flv");
    let bad = StreamName { stream: "../x".into(), ..name() };
    assert!(Recorder::new(Options::default(), "[stream].flv", bad).is_err());
}

/// Whatever was made safe is in the repaired file, and nothing in it is broken.
#[test]
fn killed_at_any_moment() {
    let source = frames(BBB);
    for ending in ["flv", "mp4"] {
        let mut recorder = recorder(Options::default(), &format!("k.{ending}"));
        let mut disk = Disk::default();
        let mut safe_until = 0;
        for (index, frame) in source.iter().enumerate() {
            recorder.push(frame, at(0)).unwrap();
            while let Some(action) = recorder.poll_action() {
                if action == mill_packager::action::Action::Sync {
                    safe_until = coded(&source[..=index]).len();
                }
                disk.apply(action);
            }
            let Some(file) = disk.files.get(&format!("k.{ending}.tmp")) else { continue };
            // What came after the last sync may be there in part.
            let torn = &file[..disk.synced + (file.len() - disk.synced) / 2];
            if safe_until == 0 || index % 16 != 0 {
                continue;
            }
            let repaired = match ending {
                "flv" => repair(torn),
                _ => finalise(torn).map(|(file, _)| file),
            };
            let mut saved = Disk::default();
            saved.files.insert(format!("k.{ending}"), repaired.expect("something to save"));
            assert!(counts(&saved)[0] >= safe_until, "{} {safe_until}", counts(&saved)[0]);
            if index % 256 == 0 {
                plays(&save(&format!("dvr-killed-{index}.{ending}"), &saved.files[&format!("k.{ending}")]));
            }
        }
    }
}

prop_compose! {
    /// One frame of any kind, and how long after the one before it.
    fn any_frame()(kind in 0..12, step in prop_oneof![8 => 0..50i64, 1 => -300..0i64, 1 => -20_000..20_000i64])
        -> (FrameKind, Vec<u8>, Millis)
    {
        let (kind, payload) = match kind {
            0 => (FrameKind::VideoHeader, avc(31)),
            1 => (FrameKind::VideoHeader, avc(32)),
            2 => (FrameKind::AudioHeader, AAC.to_vec()),
            3 => (FrameKind::Metadata, b"\x02\0\x0aonMetaData\x03\0\x01a\x05\0\0\x09".to_vec()),
            4 => (FrameKind::Video, END.to_vec()),
            5 => (FrameKind::Audio, MP3.to_vec()),
            6 => (FrameKind::Keyframe, b"\x17\x01\0\0\0\xff\xff".to_vec()),
            7 | 8 => (FrameKind::Audio, SOUND.to_vec()),
            9 => (FrameKind::Keyframe, KEY.to_vec()),
            _ => (FrameKind::Video, INTER.to_vec()),
        };
        (kind, payload, step)
    }
}

proptest! {
    #[test]
    fn any_frames_make_valid_files(
        frames in proptest::collection::vec(any_frame(), 0..120),
        (mp4, wait_keyframe) in any::<(bool, bool)>(),
        jitter in prop_oneof![Just(Jitter::Full), Just(Jitter::Zero), Just(Jitter::Off)],
        plan in prop_oneof![Just(Plan::Session), (0..3000i64).prop_map(Plan::Segment)],
        start in prop_oneof![Just(0), 0..Millis::from(u32::MAX)],
    ) {
        let mut dts = start;
        let frames: Vec<_> = frames.into_iter().map(|(kind, payload, step)| {
            dts = (dts + step).max(0);
            frame(kind, dts, &payload)
        }).collect();
        let options = Options { plan, wait_keyframe, jitter, flush: 100 };
        let disk = record(options, if mp4 { "[timestamp].mp4" } else { "[timestamp].flv" }, &frames);
        prop_assert_eq!(disk.recorded.len(), disk.files.len());
        for (path, file) in &disk.files {
            prop_assert!(!path.ends_with(".tmp"));
            if !mp4 {
                let written = crate::disk::frames(file);
                prop_assert!(!coded(&written).is_empty());
                let repaired = repair(file);
                prop_assert_eq!(repaired.as_ref(), Some(file), "a complete file needs no repair");
            }
        }
        let kept: usize = counts(&disk).iter().sum();
        prop_assert!(kept <= coded(&frames).len());
        if !mp4 && !wait_keyframe {
            // Sound under a codec it shares with nothing may wait for a keyframe; all else is kept.
            let ends = |frame: &&Frame| frame.payload[..] == *END;
            let pictures = frames.iter().filter(|frame| frame.kind.is_video() && !frame.kind.is_header());
            prop_assert!(kept + frames.iter().filter(ends).count() >= pictures.count());
        }
        for recorded in &disk.recorded {
            prop_assert!(recorded.duration >= 0);
        }
    }
}
