//! DASH: a player that knows the standard and nothing of the packager looks at every manifest there is.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_packager::action::Action;
use mill_packager::dash::{Options, Packager};
use mill_packager::path::StreamName;
use proptest::prelude::*;
use quick_xml::events::Event;

use crate::disk::{Disk, frames};
use crate::outside::{checksums, plays, probe, save};

const AVATAR: &[u8] = include_bytes!("../../../mill-media/testdata/avatar.flv");
const BBB: &[u8] = include_bytes!("../../../mill-media/testdata/bbb.flv");

/// When streams of these tests begin: 2026-01-02T03:04:05Z.
const EPOCH: i64 = 1_767_323_045_000;

const AVC: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x01\x67\x01\0\x01\x68";
const AVC2: &[u8] = b"\x17\0\0\0\0\x01\x4d\0\x1f\xff\xe1\0\x01\x67\x01\0\x01\x68";
const AAC: &[u8] = b"\xaf\0\x12\x10";
const AAC2: &[u8] = b"\xaf\0\x11\x90";

fn name() -> StreamName {
    StreamName { vhost: "v".into(), app: "live".into(), stream: "av".into() }
}

fn options() -> Options {
    Options { fragment: 2000, directory: "html".into(), ..Options::default() }
}

/// A packager with its disk, and a player that remembers.
struct Run {
    packager: Packager,
    disk: Disk,
    /// Wall time of stream time 0.
    wall: i64,
    now: i64,
    seen: Seen,
}

/// What may not change, and what may only grow.
#[derive(Default)]
struct Seen {
    start: Option<String>,
    published: String,
    /// Content of segments and init segments by path.
    files: BTreeMap<String, Vec<u8>>,
    /// Start and offset of periods by id.
    periods: BTreeMap<u64, (f64, BTreeMap<bool, i64>)>,
}

impl Run {
    fn new(options: Options) -> Self {
        let packager = Packager::new(options, name()).unwrap();
        Self { packager, disk: Disk::default(), wall: EPOCH, now: 0, seen: Seen::default() }
    }

    fn push(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            self.now = self.now.max(self.wall + frame.dts);
            self.packager.push(&frame, self.wall + frame.dts);
            self.apply();
        }
    }

    fn end(&mut self) {
        self.packager.end(self.now);
        self.apply();
    }

    fn apply(&mut self) {
        while let Some(action) = self.packager.poll_action() {
            let is_manifest = matches!(&action, Action::Replace { path, .. } if path.ends_with(".mpd"));
            self.disk.apply(action);
            if is_manifest {
                self.look();
            }
        }
        self.packager.done();
    }

    /// The process is killed and another one goes on.
    fn restart(&mut self, options: Options) {
        self.packager = Packager::new(options, name()).unwrap();
        self.disk.crash();
        if let Some(text) = self.disk.files.get("html/live/av.mpd") {
            assert!(self.packager.resume(std::str::from_utf8(text).unwrap()));
        }
    }

    fn manifest(&self) -> Mpd {
        Mpd::read(std::str::from_utf8(&self.disk.files["html/live/av.mpd"]).unwrap())
    }

    /// A player fetches the manifest and everything in it.
    #[track_caller]
    fn look(&mut self) {
        let mpd = self.manifest();
        assert_eq!(self.packager.manifest().unwrap().as_bytes(), self.disk.files["html/live/av.mpd"]);
        let start = mpd.root["availabilityStartTime"].clone();
        assert_eq!(*self.seen.start.get_or_insert(start.clone()), start, "never changes");
        let published = &mpd.root["publishTime"];
        assert!(*published > self.seen.published, "{published}");
        self.seen.published.clone_from(published);
        let mut before = -1.0;
        for period in &mpd.periods {
            assert!(period.start > before, "periods begin one after another");
            before = period.start;
            let offsets = period.sets.iter().map(|set| (set.video, set.offset)).collect::<BTreeMap<_, _>>();
            let known = self.seen.periods.entry(period.id).or_insert((period.start, offsets.clone()));
            assert_eq!(known.0, period.start, "{}", period.id);
            assert!(offsets.iter().all(|(video, offset)| known.1[video] == *offset));
            for set in &period.sets {
                self.look_at(&mpd, set);
            }
        }
        let known: BTreeSet<_> = self.packager.files().into_iter().collect();
        let told = mpd.files();
        assert!(told.is_subset(&known), "{told:?}");
        assert!(known.difference(&told).all(|path| path.contains("init")), "{known:?}");
    }

    #[track_caller]
    fn look_at(&mut self, mpd: &Mpd, set: &Set) {
        let init = format!("html/live/{}{}", mpd.base, set.init);
        self.same(&init);
        let (mut end, mut rates) = (i64::MIN, Vec::new());
        for &(time, duration) in &set.segments {
            let path = format!("html/live/{}{}", mpd.base, set.file(time));
            self.same(&path);
            let segment = Fragment::read(&self.disk.files[&path]);
            let scale = set.timescale;
            let (presented, lasts) = (segment.first_presented(), segment.duration());
            assert!((presented - time).abs() <= scale / 10, "{path}: {presented} is not {time}");
            assert!((lasts - duration).abs() <= scale / 10, "{path}: {lasts} is not {duration}");
            assert!(time >= end, "{path} overlaps the one before it");
            assert!(segment.samples[0].2 || !set.keyed, "{path} begins with a keyframe");
            end = time + duration;
            let seconds = duration as f64 / scale as f64;
            rates.push(segment.bytes as f64 * 8.0 / seconds);
            assert!(seconds <= mpd.seconds("maxSegmentDuration") + 1e-9, "{path}: {seconds}");
        }
        assert!(
            rates.iter().all(|&rate| rate <= set.bandwidth as f64 + 1000.0),
            "{rates:?} {}",
            set.bandwidth
        );
    }

    /// What is called the same is the same.
    #[track_caller]
    fn same(&mut self, path: &str) {
        let content = self.disk.files.get(path).unwrap_or_else(|| panic!("no {path}"));
        let known = self.seen.files.entry(path.to_owned()).or_insert_with(|| content.clone());
        assert_eq!(known, content, "{path}");
    }

    /// The stream as a player puts it together: init segment and segments of each period.
    fn played(&self, video: bool) -> Vec<Vec<u8>> {
        let mpd = self.manifest();
        let mut played = Vec::new();
        for set in mpd.periods.iter().flat_map(|period| &period.sets).filter(|set| set.video == video) {
            let mut bytes = self.disk.files[&format!("html/live/{}{}", mpd.base, set.init)].clone();
            for &(time, _) in &set.segments {
                bytes.extend(&self.disk.files[&format!("html/live/{}{}", mpd.base, set.file(time))]);
            }
            played.push(bytes);
        }
        played
    }
}

/// A manifest, as another reader reads it.
#[derive(Debug, Default)]
struct Mpd {
    root: BTreeMap<String, String>,
    base: String,
    periods: Vec<Period>,
}

#[derive(Debug)]
struct Period {
    id: u64,
    start: f64,
    sets: Vec<Set>,
}

#[derive(Debug, Default)]
struct Set {
    video: bool,
    keyed: bool,
    timescale: i64,
    offset: i64,
    init: String,
    media: String,
    segments: Vec<(i64, i64)>,
    bandwidth: u64,
    representation: BTreeMap<String, String>,
}

fn seconds(duration: &str) -> f64 {
    duration.strip_prefix("PT").and_then(|rest| rest.strip_suffix('S')).unwrap().parse().unwrap()
}

impl Mpd {
    /// Reads it to the end, so it is well formed.
    fn read(text: &str) -> Self {
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().check_comments = true;
        let mut mpd = Self::default();
        loop {
            let element = match reader.read_event().unwrap() {
                Event::Start(element) | Event::Empty(element) => element,
                Event::Text(text) if mpd.base.is_empty() => {
                    text.trim().clone_into(&mut mpd.base);
                    continue;
                }
                Event::Eof => break,
                _ => continue,
            };
            let attributes: BTreeMap<String, String> = element
                .attributes()
                .map(|attribute| attribute.unwrap())
                .map(|attribute| (attribute.key.as_ref().to_owned(), attribute.value.into_owned()))
                .collect();
            let number = |name: &str| attributes[name].parse::<i64>().unwrap();
            let set = mpd.periods.last_mut().and_then(|period| period.sets.last_mut());
            match element.name().as_ref() {
                "MPD" => mpd.root = attributes,
                "Period" => mpd.periods.push(Period {
                    id: number("id") as u64,
                    start: seconds(&attributes["start"]),
                    sets: Vec::new(),
                }),
                "AdaptationSet" => mpd.periods.last_mut().unwrap().sets.push(Set {
                    video: attributes["mimeType"] == "video/mp4",
                    keyed: attributes.get("startWithSAP").is_some_and(|sap| sap == "1"),
                    ..Set::default()
                }),
                "SegmentTemplate" => {
                    let set = set.unwrap();
                    set.timescale = number("timescale");
                    set.offset = number("presentationTimeOffset");
                    set.init.clone_from(&attributes["initialization"]);
                    set.media.clone_from(&attributes["media"]);
                }
                "S" => {
                    let (mut time, duration) = (number("t"), number("d"));
                    let set = set.unwrap();
                    for _ in 0..=attributes.get("r").map_or(0, |r| r.parse().unwrap()) {
                        set.segments.push((time, duration));
                        time += duration;
                    }
                }
                "Representation" => {
                    let set = set.unwrap();
                    for name in [&mut set.init, &mut set.media] {
                        *name = name.replace("$RepresentationID$", &attributes["id"]);
                    }
                    set.bandwidth = number("bandwidth") as u64;
                    set.representation = attributes;
                }
                _ => {}
            }
        }
        assert_eq!(mpd.root["type"], "dynamic");
        assert!(mpd.periods.iter().all(|period| !period.sets.is_empty()));
        mpd
    }

    fn seconds(&self, name: &str) -> f64 {
        seconds(&self.root[name])
    }

    /// Ends of segments in presentation time, newest last.
    fn ends(&self, video: bool) -> Vec<f64> {
        let of = |period: &Period, set: &Set| -> Vec<f64> {
            let at = |time: i64| period.start + (time - set.offset) as f64 / set.timescale as f64;
            set.segments.iter().map(|&(time, duration)| at(time + duration)).collect()
        };
        let sets = self.periods.iter().flat_map(|period| period.sets.iter().map(move |set| (period, set)));
        sets.filter(|(_, set)| set.video == video).flat_map(|(period, set)| of(period, set)).collect()
    }

    /// Init segments and segments.
    fn files(&self) -> BTreeSet<String> {
        let sets = self.periods.iter().flat_map(|period| &period.sets);
        sets.flat_map(|set| {
            let segments = set.segments.iter().map(|&(time, _)| set.file(time));
            segments
                .chain([set.init.clone()])
                .map(|file| format!("html/live/{}{file}", self.base))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// How many segments of each track there are in each period.
    fn counts(&self) -> Vec<Vec<usize>> {
        let counts = |period: &Period| period.sets.iter().map(|set| set.segments.len()).collect();
        self.periods.iter().map(counts).collect()
    }
}

impl Set {
    fn file(&self, time: i64) -> String {
        self.media.replace("$Time$", &time.to_string())
    }
}

/// A media segment.
struct Fragment {
    /// Decoding time, presentation time, keyframe.
    samples: Vec<(i64, i64, bool)>,
    duration: i64,
    bytes: usize,
}

impl Fragment {
    fn read(bytes: &[u8]) -> Self {
        let boxes = |bytes: &[u8]| {
            let (mut at, mut found) = (0, Vec::new());
            while at < bytes.len() {
                let len = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
                found.push((bytes[at + 4..at + 8].to_vec(), at + 8..at + len));
                at += len;
            }
            assert_eq!(at, bytes.len(), "boxes fill the file");
            found
        };
        let top = boxes(bytes);
        let kinds: Vec<_> = top.iter().map(|(kind, _)| &kind[..]).collect();
        assert_eq!(kinds, [b"styp", b"moof", b"mdat"]);
        let moof = &bytes[top[1].1.clone()];
        let traf = &moof[boxes(moof)[1].1.clone()];
        let inner = boxes(traf);
        let field = |range: std::ops::Range<usize>| {
            traf[range].iter().fold(0i64, |sum, &byte| sum << 8 | i64::from(byte))
        };
        let (tfdt, trun) = (inner[1].1.start, inner[2].1.start);
        let mut dts = field(tfdt + 4..tfdt + 12);
        let (count, mut samples, mut duration, mut total) = (field(trun + 4..trun + 8), Vec::new(), 0, 0);
        for index in 0..count as usize {
            let at = trun + 12 + index * 16;
            let word = |n: usize| field(at + 4 * n..at + 4 * n + 4);
            samples.push((dts, dts + i64::from(word(3) as i32), word(2) & 0x1_0000 == 0));
            dts += word(0);
            duration += word(0);
            total += word(1) as usize;
        }
        assert_eq!(total, top[2].1.len(), "samples fill the data");
        Self { samples, duration, bytes: total }
    }

    fn first_presented(&self) -> i64 {
        self.samples[0].1
    }

    fn duration(&self) -> i64 {
        self.duration
    }
}

fn frame(kind: FrameKind, dts: Millis, payload: &[u8]) -> Frame {
    Frame { kind, dts, payload: Bytes::copy_from_slice(payload) }
}

fn headers() -> Vec<Frame> {
    vec![frame(FrameKind::VideoHeader, 0, AVC), frame(FrameKind::AudioHeader, 0, AAC)]
}

fn picture(dts: Millis, key: bool) -> Frame {
    let (kind, first) = if key { (FrameKind::Keyframe, 0x17) } else { (FrameKind::Video, 0x27) };
    frame(kind, dts, &[first, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, dts as u8])
}

fn sound(dts: Millis) -> Frame {
    frame(FrameKind::Audio, dts, &[0xaf, 1, dts as u8])
}

/// Twenty-five pictures a second, a keyframe every second, and sound of 44.1 kHz.
fn media(from: Millis, to: Millis) -> Vec<Frame> {
    let pictures = (from..to).step_by(40).map(|dts| picture(dts, (dts - from) % 1000 == 0));
    let sounds = (0..).map(|n| from + n * 1_024_000 / 44_100).take_while(|&dts| dts < to).map(sound);
    let mut all: Vec<_> = pictures.chain(sounds).collect();
    all.sort_by_key(|frame| (frame.dts, frame.kind.is_audio()));
    all
}

#[test]
fn segments_and_manifest() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push(media(0, 5000));
    run.end();
    let mpd = run.manifest();
    assert_eq!(mpd.root["availabilityStartTime"], "2026-01-02T03:04:05.000Z");
    assert_eq!(mpd.root["publishTime"], "2026-01-02T03:04:09.992Z");
    assert_eq!((mpd.seconds("minimumUpdatePeriod"), mpd.seconds("timeShiftBufferDepth")), (2.0, 300.0));
    assert_eq!(mpd.base, "av/");
    assert_eq!(mpd.counts(), [[3, 3]]);
    let [video, audio] = &mpd.periods[0].sets[..] else { panic!("{mpd:?}") };
    assert_eq!(video.segments, [(EPOCH, 2000), (EPOCH + 2000, 2000), (EPOCH + 4000, 1000)]);
    assert_eq!(video.representation["codecs"], "avc1.64001f");
    assert_eq!(video.representation["frameRate"], "25");
    assert_eq!((audio.timescale, audio.offset), (44_100, EPOCH / 1000 * 44_100));
    assert_eq!(audio.segments[0], (EPOCH / 1000 * 44_100, 86 * 1024));
    assert_eq!(audio.segments[0].0 + audio.segments[0].1, audio.segments[1].0, "no gap");
    assert_eq!(audio.representation["codecs"], "mp4a.40.2");
    let files: Vec<_> = run.disk.files.keys().map(|path| path.strip_prefix("html/live/").unwrap()).collect();
    let expected = |side: &str, times: [i64; 3]| {
        let mut files: Vec<_> = times.iter().map(|time| format!("av/{side}-{time}.m4s")).collect();
        files.push(format!("av/{side}-init-{EPOCH}.mp4"));
        files
    };
    let begins = [0, 1, 2].map(|n: usize| audio.segments[n].0);
    let expected = [expected("audio", begins), expected("video", [EPOCH, EPOCH + 2000, EPOCH + 4000])];
    assert_eq!(files, [vec!["av.mpd".to_owned()], expected.concat()].concat());
}

#[track_caller]
fn check_real(file: &[u8], save_as: &str, expected: [&str; 2]) {
    let mut run = Run::new(options());
    run.push(frames(file));
    run.end();
    let mpd = run.manifest();
    let source = checksums(&save(&format!("{save_as}.flv"), file));
    for (video, expected) in [(false, expected[0]), (true, expected[1])] {
        let played = run.played(video);
        assert_eq!(played.len(), 1, "one period: {mpd:?}");
        let path = save(&format!("{save_as}-{video}.mp4"), &played[0]);
        plays(&path);
        // Every picture and every sound is there, but what comes before the first keyframe.
        let sums = &checksums(&path)[usize::from(!video)];
        let all = &source[usize::from(!video)];
        assert!(all.ends_with(sums) && sums.len() + 5 > all.len(), "{} of {}", sums.len(), all.len());
        let set = mpd.periods[0].sets.iter().find(|set| set.video == video).unwrap();
        let shown =
            set.representation.iter().filter(|(name, _)| !matches!(name.as_str(), "id" | "bandwidth"));
        let shown: Vec<_> = shown.map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(" "), expected);
        assert!(probe(&path, "stream=codec_type").starts_with(if video { "video" } else { "audio" }));
    }
}

#[test]
fn real_streams_play_to_the_last_frame() {
    check_real(
        AVATAR,
        "dash-avatar",
        ["audioSamplingRate=44100 codecs=mp4a.40.2", "codecs=avc1.640020 frameRate=25 height=320 width=768"],
    );
    check_real(
        BBB,
        "dash-bbb",
        ["audioSamplingRate=44100 codecs=mp4a.40.2", "codecs=avc1.42c01e frameRate=25 height=360 width=640"],
    );
}

#[test]
fn another_publish_jump_or_codec_is_another_period() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push(media(0, 3000));
    run.push(headers()); // the same again: nothing happens
    run.push(media(3000, 4000));
    run.push([frame(FrameKind::VideoHeader, 4000, AVC2)]);
    run.push(media(4000, 6000));
    run.wall -= 3_600_000 - 6000;
    run.push(media(3_600_000, 3_602_000));
    run.end();
    run.wall = EPOCH + 30_000;
    run.push(headers());
    run.push(media(0, 2000));
    run.end();
    let mpd = run.manifest();
    assert_eq!(mpd.counts(), [[2, 2], [1, 1], [1, 1], [1, 1]]);
    let starts: Vec<_> = mpd.periods.iter().map(|period| period.start).collect();
    assert_eq!(starts, [0.0, 4.0, 6.0, 30.0]);
    let codecs: Vec<_> = mpd.periods.iter().map(|period| &period.sets[0].representation["codecs"]).collect();
    assert_eq!(codecs, ["avc1.64001f", "avc1.4d001f", "avc1.4d001f", "avc1.64001f"]);
}

#[test]
fn other_sound_waits_for_a_keyframe() {
    let mut run = Run::new(options());
    run.push(headers());
    let mut frames = media(0, 3000);
    // In the middle of a GOP.
    let middle = frames.iter().position(|frame| frame.dts >= 500).unwrap();
    frames.insert(middle, frame(FrameKind::AudioHeader, 500, AAC2));
    run.push(frames);
    run.end();
    let mpd = run.manifest();
    assert_eq!(mpd.counts(), [[1, 1], [1, 1]]);
    let rates: Vec<_> = mpd.periods.iter().map(|period| period.sets[1].timescale).collect();
    assert_eq!(rates, [44_100, 48_000]);
    assert_eq!(mpd.periods[0].sets[0].segments, [(EPOCH, 1000)], "pictures go on to the keyframe");
}

#[test]
fn a_track_that_comes_or_goes_is_another_period() {
    let mut run = Run::new(options());
    run.push(headers());
    let silent = |frames: Vec<Frame>| frames.into_iter().filter(|frame| !frame.kind.is_audio());
    run.push(silent(media(0, 4000)).collect::<Vec<_>>());
    run.push(media(4000, 8000));
    run.push(silent(media(8000, 12_000)).collect::<Vec<_>>());
    run.end();
    let mpd = run.manifest();
    let sets: Vec<_> = mpd.periods.iter().map(|period| period.sets.len()).collect();
    // The last sound before the silence lasts into the segment it begins.
    assert_eq!((sets.first(), sets.last()), (Some(&1), Some(&1)));
    assert!(sets.contains(&2), "{mpd:?}");
    let ends = mpd.ends(true);
    assert_eq!(ends, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0], "no gap");
}

#[test]
fn sound_alone_pictures_alone_and_what_cannot_be_in_it() {
    let mut run = Run::new(options());
    run.push([frame(FrameKind::AudioHeader, 0, AAC)]);
    run.push(media(0, 7000).into_iter().filter(|frame| frame.kind.is_audio()));
    run.end();
    let mpd = run.manifest();
    assert_eq!(mpd.periods.len(), 1);
    assert!(!mpd.periods[0].sets[0].video && mpd.periods[0].sets[0].segments.len() == 4, "{mpd:?}");

    let mut run = Run::new(options());
    run.push([frame(FrameKind::VideoHeader, 0, AVC), frame(FrameKind::AudioHeader, 0, b"\xaf\0")]);
    run.push(media(0, 4000));
    run.end();
    assert_eq!(run.manifest().counts(), [[2]], "a damaged header: pictures alone");
    assert_eq!(run.disk.left_out, 1);

    let mut run = Run::new(options());
    run.push([frame(FrameKind::AudioHeader, 0, AAC)]);
    // VP6, which begins nothing.
    let vp6 = (0..100).map(|n| frame(FrameKind::Keyframe, n * 40, &[0x14, 1, 2, 3]));
    run.push(
        vp6.zip(media(0, 7000).into_iter().filter(|frame| frame.kind.is_audio())).flat_map(|(a, b)| [a, b]),
    );
    run.end();
    assert_eq!(run.manifest().periods[0].sets.len(), 1);
}

#[test]
fn mp3_says_in_each_frame_what_it_is() {
    let mp3 = |rate: u8, dts| frame(FrameKind::Audio, dts, &[0x2f, 0xff, 0xfb, 0x90 | rate << 2, 0x64, 0]);
    let mut run = Run::new(options());
    run.push((0..100).map(|n| mp3(0, n * 1_152_000 / 44_100)));
    run.push((0..100).map(|n| mp3(1, 2613 + n * 1_152_000 / 48_000)));
    run.end();
    let mpd = run.manifest();
    let shown = |period: &Period| {
        let representation = &period.sets[0].representation;
        (representation["codecs"].clone(), representation["audioSamplingRate"].clone())
    };
    let shown: Vec<_> = mpd.periods.iter().map(shown).collect();
    assert_eq!(shown, [("mp4a.6B".into(), "44100".into()), ("mp4a.6B".into(), "48000".into())]);
}

#[test]
fn the_window_and_what_is_deleted_behind_it() {
    let mut run = Run::new(Options { time_shift: 10_000, ..options() });
    run.push(headers());
    run.push(media(0, 40_000));
    let mpd = run.manifest();
    assert_eq!(mpd.seconds("timeShiftBufferDepth"), 10.0);
    assert_eq!(mpd.counts(), [[5, 5]]);
    // One more of each is there, for players that have the manifest before this one.
    let segments = run.disk.files.keys().filter(|path| path.ends_with(".m4s")).count();
    assert_eq!(segments, 12);
    // The window in fragments, if that is less; but never too few to play.
    for (window, listed) in [(7, 7), (1, 5), (100_000, 15)] {
        let mut run = Run::new(Options { time_shift: 30_000, window, ..options() });
        run.push(headers());
        run.push(media(0, 40_000));
        assert_eq!(run.manifest().counts()[0][0], listed, "{window}");
    }
    let mut run = Run::new(Options { time_shift: 10_000, cleanup: false, ..options() });
    run.push(headers());
    run.push(media(0, 40_000));
    assert_eq!(run.disk.files.keys().filter(|path| path.ends_with(".m4s")).count(), 38);
}

#[test]
fn everything_goes_on_after_a_crash() {
    let options = Options { time_shift: 8000, ..options() };
    let mut run = Run::new(options.clone());
    for round in 0..6 {
        run.wall = EPOCH + round * 10_000;
        run.push(headers());
        run.push(media(0, 5000));
        if round % 2 == 0 {
            run.end();
        }
        run.restart(options.clone());
    }
    let mpd = run.manifest();
    // A publish began every ten seconds.
    assert_eq!(mpd.counts().last().unwrap(), &[2, 2]);
    assert_eq!(mpd.periods.last().unwrap().start, 50.0);
    // The audio and video of a former process are deleted when their time has come.
    assert!(run.disk.files.keys().all(|path| !path.ends_with("/video-1.m4s")));
}

#[test]
fn a_manifest_of_somebody_else_is_no_beginning() {
    let mut packager = Packager::new(options(), name()).unwrap();
    for text in ["", "<MPD type=\"static\"/>", "#EXTM3U", "<MPD><Period start=\"PT0S\"></MPD>"] {
        assert!(!packager.resume(text));
    }
    packager.push(&headers()[0], EPOCH);
    media(0, 3000).iter().for_each(|frame| packager.push(frame, EPOCH + frame.dts));
    assert!(packager.manifest().unwrap().contains(&format!("<Period id=\"{EPOCH}\" start=\"PT0S\"")));
}

#[test]
fn what_was_not_written_is_not_in_the_manifest() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push(media(0, 4500));
    let before = run.manifest().counts();
    // The disk is full: of the next segment nothing is written.
    for frame in media(4500, 7000) {
        run.packager.push(&frame, EPOCH + frame.dts);
    }
    assert!(run.packager.poll_action().is_some());
    run.packager.lost();
    assert_eq!(run.packager.poll_action(), None);
    assert_eq!(run.manifest().counts(), before);
    run.push(media(7000, 11_000));
    assert_eq!(run.manifest().counts(), [before[0].clone(), vec![1, 1]]);
    assert_eq!(run.manifest().periods[1].start, 7.0);
}

#[test]
fn disposed_nothing_is_left_and_the_stream_goes_on() {
    let mut run = Run::new(Options { time_shift: 6000, ..options() });
    run.push(headers());
    run.push(media(0, 30_000));
    run.packager.dispose();
    run.apply();
    assert_eq!(run.disk.files.keys().collect::<Vec<_>>(), [""; 0]);
    assert_eq!(run.packager.manifest(), None);
    // The publisher was silent, and goes on without sending its headers again.
    run.wall += 100_000;
    run.push(media(30_000, 33_000));
    assert_eq!(run.manifest().counts(), [[1, 1]]);
}

/// The stream runs slower or faster than the clock: what the manifest says is there is there, and soon.
#[track_caller]
fn check_drift(speed: f64) {
    let mut run = Run::new(options());
    run.push(headers());
    let mut late = Vec::new();
    for frame in media(0, 200_000) {
        let now = EPOCH + (frame.dts as f64 * speed) as i64;
        run.packager.push(&frame, now);
        let mut written = false;
        while let Some(action) = run.packager.poll_action() {
            written |= matches!(&action, Action::Replace { path, .. } if path.ends_with(".mpd"));
            run.disk.apply(action);
        }
        run.packager.done();
        if written {
            let newest = *run.manifest().ends(true).last().unwrap();
            late.push((now - EPOCH) as f64 / 1000.0 - newest);
        }
    }
    assert!(late.len() > 90);
    let apart = late.iter().fold(0.0f64, |apart, late| apart.max(late.abs()));
    assert!(apart < 4.5, "{apart} seconds");
    assert!(run.manifest().periods.len() > 1);
}

#[test]
fn a_stream_that_drifts_is_put_right() {
    check_drift(1.05);
    check_drift(0.95);
}

#[test]
fn a_burst_at_the_beginning_does_not_make_everything_late() {
    let mut run = Run::new(options());
    run.push(headers());
    // Four seconds at once, such as a running GOP.
    for frame in media(0, 6000) {
        let now = EPOCH + (frame.dts - 4000).max(0);
        run.packager.push(&frame, now);
        run.apply();
    }
    let mpd = run.manifest();
    // The first segment was over when it came, and may be had at once.
    let start = &mpd.root["availabilityStartTime"];
    assert_eq!(start, "2026-01-02T03:04:03.004Z");
}

#[test]
fn an_endless_gop_is_cut_all_the_same_and_said_to_be() {
    let mut run = Run::new(options());
    run.push(headers());
    run.push((0..100_000).step_by(100).map(|dts| picture(dts, dts == 0)));
    run.end();
    let mpd = run.manifest();
    let set = &mpd.periods[0].sets[0];
    assert_eq!(set.segments, [(EPOCH, 90_000), (EPOCH + 90_000, 10_000)]);
    assert!(!set.keyed);
}

#[test]
fn too_much_is_cut_where_it_stands() {
    let mut run = Run::new(options());
    run.push(headers());
    let mut big = picture(0, true).payload.to_vec();
    big[5..9].copy_from_slice(&(8_000_000u32).to_be_bytes());
    big.resize(9 + 8_000_000, 1);
    for n in 0..12 {
        let kind = if n == 0 { FrameKind::Keyframe } else { FrameKind::Video };
        run.push([Frame { kind, dts: n * 100, payload: big.clone().into() }]);
    }
    run.end();
    let sizes: Vec<_> = run
        .disk
        .files
        .iter()
        .filter(|(path, _)| path.ends_with(".m4s"))
        .map(|(_, file)| file.len())
        .collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|&len| len < 90 << 20), "{sizes:?}");
}

#[test]
fn names_from_strangers() {
    let packager = |stream: &str, manifest: &str| {
        let name = StreamName { stream: stream.into(), ..name() };
        Packager::new(Options { manifest: manifest.into(), ..options() }, name)
    };
    assert!(packager("..", "[app]/[stream].mpd").is_err());
    assert!(packager("a\nb", "[app]/[stream].mpd").is_err());
    let odd = packager("a b&<\"$Number$/ä", "[app]/[stream].mpd").unwrap();
    assert_eq!(odd.manifest_path(), "html/live/a b&<\"$Number$/ä.mpd");
    assert_eq!(packager("x", "[app]/[stream]").unwrap().manifest_path(), "html/live/x.mpd", "a directory");
    let mut run = Run::new(options());
    run.packager = odd;
    run.packager.push(&headers()[0], EPOCH);
    media(0, 3000).iter().for_each(|frame| run.packager.push(frame, EPOCH + frame.dts));
    let mpd = Mpd::read(&run.packager.manifest().unwrap());
    assert_eq!(mpd.base, "a%20b%26%3C%22%24Number%24/%C3%A4/");
}

/// What happens to a stream.
#[derive(Debug, Clone)]
enum Deed {
    Media { length: Millis, gop: Millis, video: bool, audio: bool },
    Jump(Millis),
    Pause(Millis),
    Header(&'static [u8]),
    End,
    Lost,
    Restart,
    Damaged,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (1..9000i64, prop_oneof![Just(500i64), Just(1000), Just(7000)], any::<bool>(), any::<bool>())
            .prop_map(|(length, gop, video, audio)| Deed::Media { length, gop, video: video || !audio, audio }),
        1 => (-100_000..100_000i64).prop_map(Deed::Jump),
        1 => (0..30_000i64).prop_map(Deed::Pause),
        1 => prop_oneof![Just(AVC), Just(AVC2), Just(AAC), Just(AAC2)].prop_map(Deed::Header),
        1 => Just(Deed::End),
        1 => Just(Deed::Lost),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Damaged),
    ];
    proptest::collection::vec(deed, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// [`Run::look`] checks each manifest on the way.
    #[test]
    fn rules_hold_whatever_happens(deeds in deeds()) {
        let options = Options { time_shift: 20_000, ..options() };
        let mut run = Run::new(options.clone());
        run.push(headers());
        let mut dts = 0;
        for deed in deeds {
            match deed {
                Deed::Media { length, gop, video, audio } => {
                    let frames = (0..length).step_by(100).flat_map(|at| {
                        let picture = picture(dts + at, at % gop == 0);
                        [video.then_some(picture), audio.then(|| sound(dts + at + 7))]
                    });
                    run.push(frames.flatten().collect::<Vec<_>>());
                    dts += length;
                }
                Deed::Jump(by) => {
                    dts += by;
                    run.wall -= by;
                }
                Deed::Pause(time) => run.wall += time,
                Deed::Header(header) => {
                    let kind = if header[0] == 0x17 { FrameKind::VideoHeader } else { FrameKind::AudioHeader };
                    run.push([frame(kind, dts, header)]);
                }
                Deed::End => {
                    run.end();
                    run.push(headers());
                }
                Deed::Lost => {
                    // Half of what there was to do has been done.
                    for frame in media(dts, dts + 4000) {
                        run.packager.push(&frame, run.wall + frame.dts);
                    }
                    if let Some(action) = run.packager.poll_action() {
                        run.disk.apply(action);
                        run.disk.crash();
                    }
                    run.packager.lost();
                    run.apply();
                    dts += 4000;
                }
                Deed::Restart => {
                    run.restart(options.clone());
                    run.push(headers());
                }
                Deed::Damaged => {
                    let bad = [&[0x17u8, 1, 0, 0, 0, 0, 0, 1][..], &[0xaf], &[0x17, 1], &[0x90]];
                    run.push(bad.map(|payload| frame(FrameKind::Keyframe, dts, payload)));
                }
            }
        }
        run.end();
    }
}
