//! HDS: a parser of the test's own looks at every bootstrap box there is, and ffmpeg at what is in the fragments.

use bytes::Bytes;
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_packager::action::Action;
use mill_packager::hds::{Options, Packager};
use mill_packager::path::StreamName;
use proptest::prelude::*;

use crate::disk::{Disk, frames};
use crate::outside::{checksums, plays, save};

const BBB: &[u8] = include_bytes!("../../../mill-media/testdata/bbb.flv");

/// When streams of these tests begin: 2026-01-02T03:04:05Z.
const EPOCH: i64 = 1_767_323_045_000;

/// The number of the first fragment of a packager that begins then.
const FIRST: u32 = (EPOCH / 2000) as u32 + 1;

fn name() -> StreamName {
    StreamName { vhost: "v".into(), app: "live".into(), stream: "av".into() }
}

fn options() -> Options {
    Options { fragment: 2000, window: 10_000, directory: "html".into() }
}

struct Run {
    packager: Packager,
    disk: Disk,
    now: i64,
    /// The newest fragment seen, and when it ends.
    newest: (u32, u64),
}

impl Run {
    fn new(options: Options) -> Self {
        let packager = Packager::new(options, name()).unwrap();
        Self { packager, disk: Disk::default(), now: EPOCH, newest: (0, 0) }
    }

    fn push(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let begins = self.now;
        let mut first = None;
        for frame in frames {
            self.now = begins + (frame.dts - *first.get_or_insert(frame.dts)).max(0);
            self.packager.push(&frame, self.now);
            self.apply();
        }
    }

    fn end(&mut self) {
        self.packager.end(self.now);
        self.apply();
    }

    fn apply(&mut self) {
        while let Some(action) = self.packager.poll_action() {
            let told = matches!(&action, Action::Replace { path, .. } if path.ends_with(".abst"));
            self.disk.apply(action);
            if told {
                self.look();
            }
        }
        self.packager.done();
    }

    fn restart(&mut self) {
        self.packager = Packager::new(options(), name()).unwrap();
        self.disk.crash();
        if let Some(old) = self.disk.files.get("html/live/av.abst") {
            assert!(self.packager.resume(old));
        }
    }

    /// Number, start and duration of fragments, as Adobe's players read them (annex C).
    fn listed(&self) -> Vec<(u32, u64, u64)> {
        let bytes = &self.disk.files["html/live/av.abst"];
        let mut at = 0;
        let mut take = |count: usize| {
            let value = bytes[at..at + count].iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
            at += count;
            value
        };
        assert_eq!((take(4) as usize, take(4)), (bytes.len(), u64::from(u32::from_be_bytes(*b"abst"))));
        assert_eq!(take(4), 0);
        let version = take(4);
        assert_eq!((take(1), take(4)), (0x20, 1000), "live, in milliseconds");
        let current = take(8);
        assert_eq!((take(8), take(4), take(1)), (0, 0, 0), "no SMPTE time, movie, servers, qualities, DRM");
        assert_eq!(take(1), 1);
        assert_eq!((take(4), take(4)), (25, u64::from(u32::from_be_bytes(*b"asrt"))));
        assert_eq!((take(4), take(1), take(4), take(4), take(4)), (0, 0, 1, 1, version));
        assert_eq!(take(1), 1);
        let size = take(4);
        assert_eq!((take(4), take(4)), (u64::from(u32::from_be_bytes(*b"afrt")), 0));
        assert_eq!((take(4), take(1)), (1000, 0));
        let count = take(4);
        assert_eq!(size, 21 + 16 * count);
        let list: Vec<_> = (0..count).map(|_| (take(4) as u32, take(8), take(4))).collect();
        assert_eq!((at, list.last().unwrap().1), (bytes.len(), current));
        assert_eq!(u64::from(list.last().unwrap().0), version);
        list
    }

    #[track_caller]
    fn look(&mut self) {
        let list = self.listed();
        let (mut number, mut end) = (0, 0);
        for &(fragment, start, duration) in &list {
            assert!(fragment > number && start >= end && duration > 0, "{list:?}");
            (number, end) = (fragment, start + duration);
            let found = self.fragment(fragment);
            assert_eq!(found.first().map(|frame| frame.dts as u64), Some(start & 0xffff_ffff), "{fragment}");
        }
        assert!(number > self.newest.0 && end >= self.newest.1, "numbers and times go on: {list:?}");
        self.newest = (number, end);
        assert_eq!(self.packager.files().len(), list.len() + 1);
        assert!(std::str::from_utf8(&self.packager.bootstrap().unwrap()).is_err(), "a box");
    }

    /// The bytes in its only box, which are FLV tags.
    fn tags(&self, number: u32) -> &[u8] {
        let file = &self.disk.files[&format!("html/live/avSeg1-Frag{number}")];
        assert_eq!(
            (file[..4].to_vec(), &file[4..8]),
            ((file.len() as u32).to_be_bytes().to_vec(), &b"mdat"[..])
        );
        &file[8..]
    }

    fn flv(&self, numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
        let mut flv = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        numbers.into_iter().for_each(|number| flv.extend_from_slice(self.tags(number)));
        flv
    }

    fn fragment(&self, number: u32) -> Vec<Frame> {
        frames(&self.flv([number]))
    }
}

fn frame(kind: FrameKind, dts: Millis, payload: &[u8]) -> Frame {
    Frame { kind, dts, payload: Bytes::copy_from_slice(payload) }
}

const AVC: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x01\x67\x01\0\x01\x68";

fn headers() -> Vec<Frame> {
    vec![frame(FrameKind::VideoHeader, 0, AVC), frame(FrameKind::AudioHeader, 0, b"\xaf\0\x12\x10")]
}

/// Ten pictures and sounds a second, a keyframe every second.
fn media(from: Millis, to: Millis) -> Vec<Frame> {
    let both = |dts| {
        let picture = match (dts - from) % 1000 {
            0 => frame(FrameKind::Keyframe, dts, b"\x17\x01\0\0\0x"),
            _ => frame(FrameKind::Video, dts, b"\x27\x01\0\0\0x"),
        };
        [picture, frame(FrameKind::Audio, dts, b"\xaf\x01x")]
    };
    (from..to).step_by(100).flat_map(both).collect()
}

#[test]
fn fragments_manifest_and_bootstrap() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push(media(500, 5500));
    run.end();
    let shown: Vec<_> = run.listed().iter().map(|&(n, start, length)| (n - FIRST, start, length)).collect();
    assert_eq!(shown, [(0, 0, 2000), (1, 2000, 2000), (2, 4000, 1000)]);
    let kinds: Vec<_> = run.fragment(FIRST + 1).iter().take(4).map(|frame| (frame.kind, frame.dts)).collect();
    assert_eq!(
        kinds,
        [
            (FrameKind::VideoHeader, 2000),
            (FrameKind::AudioHeader, 2000),
            (FrameKind::Keyframe, 2000),
            (FrameKind::Audio, 2000)
        ]
    );
    assert_eq!(
        std::str::from_utf8(&run.disk.files["html/live/av.f4m"]).unwrap(),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
        <manifest xmlns=\"http://ns.adobe.com/f4m/1.0\">\n\
        \t<id>av.f4m</id>\n\
        \t<streamType>live</streamType>\n\
        \t<deliveryType>streaming</deliveryType>\n\
        \t<bootstrapInfo profile=\"named\" url=\"av.abst\" id=\"bootstrap0\" />\n\
        \t<media bitrate=\"3\" url=\"av\" bootstrapInfoId=\"bootstrap0\"></media>\n\
        </manifest>\n"
    );
}

#[test]
fn a_real_stream_plays_to_the_last_frame_and_each_fragment_alone() {
    let mut run = Run::new(Options { window: 600_000, ..options() });
    run.push(frames(BBB));
    run.end();
    let numbers: Vec<_> = run.listed().iter().map(|&(number, ..)| number).collect();
    let whole = save("hds.flv", &run.flv(numbers.iter().copied()));
    plays(&whole);
    let coded = |flv: &[u8]| {
        let mut all = frames(flv);
        all.retain(|frame| !frame.kind.is_header());
        let begins = all.iter().position(|frame| frame.kind == FrameKind::Keyframe).unwrap();
        all.split_off(begins).into_iter().map(|frame| frame.payload).collect::<Vec<_>>()
    };
    assert!(coded(&run.flv(numbers.iter().copied())) == coded(BBB), "every picture and sound");
    for number in numbers {
        let path = save("hds-one.flv", &run.flv([number]));
        plays(&path);
        assert!(!checksums(&path)[1].is_empty());
    }
}

#[test]
fn the_window_and_what_is_deleted_behind_it() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push(media(0, 40_000));
    let list = run.listed();
    assert_eq!((list.len(), list[0].1), (5, 28_000));
    let files = run.disk.files.keys().filter(|path| path.contains("-Frag")).count();
    assert_eq!(files, 5 + 2, "two more for players that have the box before this one");
    let mut run = Run::new(Options { window: 0, ..options() });
    run.push(headers());
    run.push(media(0, 40_000));
    assert_eq!(run.listed().len(), 3, "never too few to play");
}

#[test]
fn publishes_jumps_and_crashes_leave_no_gap_in_time() {
    let mut run = Run::new(Options { window: 600_000, ..options() });
    for round in 0..6 {
        run.push(headers());
        run.push(media(0, 2500));
        run.push(media(3_600_000, 3_603_000));
        run.end();
        if round % 2 == 0 {
            run.restart();
        }
        run.now += 5000;
    }
    let list = run.listed();
    let ends: Vec<_> = list.iter().map(|&(_, start, duration)| start + duration).collect();
    assert!(list.iter().skip(1).zip(&ends).all(|(next, end)| next.1 == *end), "{list:?}");
    assert!(list.windows(2).any(|pair| pair[1].0 > pair[0].0 + 1), "numbers follow the clock over restarts");
}

#[test]
fn another_header_stands_where_it_comes() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push(media(0, 1500));
    run.push([frame(FrameKind::AudioHeader, 1500, b"\xaf\0\x11\x90")]);
    run.push(media(1500, 4500));
    run.end();
    let headers = |number| {
        let all = run.fragment(FIRST + number);
        all.iter()
            .filter(|frame| frame.kind == FrameKind::AudioHeader)
            .map(|frame| frame.dts)
            .collect::<Vec<_>>()
    };
    assert_eq!((headers(0), headers(1)), (vec![0, 1500], vec![2500]));
}

#[test]
fn lost_and_disposed() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push(media(0, 4500));
    let before = run.listed();
    media(4500, 7000).iter().for_each(|frame| run.packager.push(frame, run.now));
    assert!(run.packager.poll_action().is_some());
    run.packager.lost();
    assert_eq!(run.packager.poll_action(), None);
    run.disk.crash();
    run.disk.files.remove(&format!("html/live/avSeg1-Frag{}.tmp", FIRST + 2));
    run.push(media(7000, 9500));
    let list = run.listed();
    assert_eq!((&list[..2], list[2].0), (&before[..], FIRST + 2));
    run.packager.dispose();
    run.apply();
    assert_eq!(run.disk.files.keys().collect::<Vec<_>>(), [""; 0]);
    // The publisher was silent, and goes on without sending its headers again.
    run.push(media(9500, 12_000));
    assert_eq!(run.listed()[0].0, FIRST + 3, "numbers go on");
}

#[test]
fn sound_alone_and_names_from_strangers() {
    let mut run = Run::new(options());
    run.push([headers()[1].clone()]);
    run.push(media(0, 7000).into_iter().filter(|frame| frame.kind.is_audio()));
    assert_eq!(run.listed().len(), 3);
    for stream in ["../x", "a\nb", "a//b"] {
        let name = StreamName { stream: stream.into(), ..name() };
        assert!(Packager::new(options(), name).is_err(), "{stream:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// [`Run::look`] checks each box on the way.
    #[test]
    fn rules_hold_whatever_happens(
        deeds in proptest::collection::vec((0..6, 1..9000i64, -100_000..100_000i64), 1..30),
    ) {
        let mut run = Run::new(options());
        run.push(headers());
        let mut dts = 0;
        for (deed, length, by) in deeds {
            match deed {
                0 => dts += by,
                1 => run.end(),
                2 => run.restart(),
                3 => run.push(headers()),
                _ => {
                    run.push(media(dts, dts + length));
                    dts += length;
                }
            }
        }
        run.end();
    }
}
