//! HLS, with a container that everybody can look into.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_media::mp4::fragment::Fragmenter;
use mill_media::mp4::track::{Sample, Source};
use mill_packager::action::Action;
use mill_packager::hls::{Error, Keys, Muxer, Options, Packager, Segment};
use mill_packager::path::{Civil, StreamName};
use mill_packager::playlist::served;
use proptest::prelude::*;

use crate::disk::{Disk, frames};
use crate::outside::{checksums, plays, save};

const AVATAR: &[u8] = include_bytes!("../../../mill-media/testdata/avatar.flv");
const BBB: &[u8] = include_bytes!("../../../mill-media/testdata/bbb.flv");

/// Writes what happens as text.
#[derive(Default)]
struct Log(String);

impl Muxer for Log {
    type Error = &'static str;

    fn header(&mut self, frame: &Frame) {
        self.0.push_str(if frame.kind.is_video() { "V" } else { "A" });
    }

    fn begin(&mut self, at: Millis, discontinuity: bool, out: &mut BytesMut) {
        let mark = if discontinuity { "!" } else { "" };
        out.put_slice(format!("{}{mark}@{at}:", std::mem::take(&mut self.0)).as_bytes());
    }

    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<bool, Self::Error> {
        if frame.payload.ends_with(b"told") {
            return Ok(false);
        }
        if frame.payload.ends_with(b"bad") {
            return Err("bad");
        }
        out.put_slice(match frame.kind {
            FrameKind::Keyframe => b"K",
            FrameKind::Video => b"v",
            _ => b"a",
        });
        Ok(true)
    }

    fn end(&mut self, out: &mut BytesMut) {
        out.put_slice(b".");
    }
}

/// Segments that are whole MP4 files.
#[derive(Default)]
struct Mp4 {
    sources: [Option<Source>; 2],
    samples: Vec<(bool, Sample)>,
}

impl Muxer for Mp4 {
    type Error = ();

    fn header(&mut self, frame: &Frame) {
        self.sources[usize::from(frame.kind.is_video())] = Source::new(frame).and_then(Result::ok);
    }

    fn begin(&mut self, _: Millis, _: bool, _: &mut BytesMut) {}

    fn write(&mut self, frame: &Frame, _: &mut BytesMut) -> Result<bool, ()> {
        let video = frame.kind.is_video();
        let source = self.sources[usize::from(video)].as_mut().ok_or(())?;
        self.samples.push((video, source.sample(frame, frame.dts).ok_or(())?));
        Ok(true)
    }

    fn end(&mut self, out: &mut BytesMut) {
        let tracks = self.sources.iter().flatten().map(|source| source.track().clone()).collect();
        let mut fragmenter = Fragmenter::new(tracks);
        out.put_slice(&fragmenter.init_segment());
        for (video, sample) in self.samples.drain(..) {
            fragmenter.push(fragmenter.track(video).unwrap(), sample);
        }
        fragmenter.flush().iter().for_each(|piece| out.put_slice(piece));
    }
}

fn name() -> StreamName {
    StreamName { vhost: "v".into(), app: "live".into(), stream: "av".into() }
}

fn options() -> Options {
    Options { fragment: 2000, directory: "html".into(), ..Options::default() }
}

fn packager<M: Muxer>(options: Options, muxer: M) -> Packager<M> {
    let mut count = 0;
    let random = Box::new(move || {
        count += 1;
        [count; 16]
    });
    Packager::new(options, name(), muxer, random).unwrap()
}

/// A packager with its disk.
struct Run<M> {
    packager: Packager<M>,
    disk: Disk,
    segments: Vec<Segment>,
}

impl<M: Muxer> Run<M> {
    fn new(options: Options, muxer: M) -> Self {
        Self { packager: packager(options, muxer), disk: Disk::default(), segments: Vec::new() }
    }

    fn push(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            let now = Civil { unix_millis: frame.dts, ..Civil::default() };
            let _ = self.packager.push(&frame, now);
            self.apply();
        }
    }

    fn end(&mut self) {
        self.packager.end();
        self.apply();
    }

    fn apply(&mut self) {
        while let Some(action) = self.packager.poll_action() {
            if let Action::Segment(segment) = &action {
                assert!(self.disk.files.contains_key(&segment.path), "complete before it is told");
                self.segments.push(segment.clone());
            }
            self.disk.apply(action);
        }
    }

    fn text(&self, path: &str) -> &str {
        std::str::from_utf8(&self.disk.files[path]).unwrap()
    }

    fn playlist(&self) -> String {
        let text = self.text("html/live/av.m3u8").to_owned();
        assert_eq!(Some(&text), self.packager.playlist().as_ref());
        check_playlist(&text);
        text
    }

    /// What of it is for clients.
    fn listed(&self) -> String {
        String::from_utf8(served(&self.playlist().into()).to_vec()).unwrap()
    }
}

/// What RFC 8216 asks of every media playlist, as another reader reads it.
#[track_caller]
fn check_playlist(text: &str) {
    let playlist = match m3u8_rs::parse_playlist_res(text.as_bytes()) {
        Ok(m3u8_rs::Playlist::MediaPlaylist(playlist)) => playlist,
        other => panic!("{other:?} {text}"),
    };
    assert!(!playlist.segments.is_empty() && !playlist.end_list);
    assert_eq!(playlist.version, Some(3));
    for segment in &playlist.segments {
        assert!(f64::from(segment.duration).round() <= playlist.target_duration as f64, "{text}");
    }
}

fn frame(kind: FrameKind, dts: Millis, payload: &[u8]) -> Frame {
    Frame { kind, dts, payload: Bytes::copy_from_slice(payload) }
}

const AVC: &[u8] = b"\x17\0\0\0\0\x01";
const AVC2: &[u8] = b"\x17\0\0\0\0\x02";
const AAC: &[u8] = b"\xaf\0\x12\x10";
const AAC2: &[u8] = b"\xaf\0\x11\x90";

fn headers() -> Vec<Frame> {
    vec![frame(FrameKind::VideoHeader, 0, AVC), frame(FrameKind::AudioHeader, 0, AAC)]
}

/// A picture and a sound every half second, a keyframe every second.
fn media(from: Millis, to: Millis) -> Vec<Frame> {
    (from..to)
        .step_by(500)
        .flat_map(|dts| {
            let picture = match (dts - from) % 1000 {
                0 => frame(FrameKind::Keyframe, dts, b"\x17\x01\0\0\0x"),
                _ => frame(FrameKind::Video, dts, b"\x27\x01\0\0\0x"),
            };
            [picture, frame(FrameKind::Audio, dts, b"\xaf\x01x")]
        })
        .collect()
}

#[test]
fn segments_and_playlist() {
    let mut run = Run::new(options(), Log::default());
    run.push(headers());
    run.push(media(0, 5000));
    run.end();
    assert_eq!(
        run.playlist(),
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:3\n\
        #EXTINF:2.000, no desc\nav-0.ts\n#EXTINF:2.000, no desc\nav-1.ts\n#EXTINF:1.000, no desc\nav-2.ts\n"
    );
    assert_eq!(run.text("html/live/av-0.ts"), "VA@0:KavaKava.");
    assert_eq!(run.text("html/live/av-1.ts"), "@2000:KavaKava.");
    assert_eq!(run.disk.files.len(), 4);
    let last = &run.segments[2];
    assert_eq!((last.sequence, last.uri.as_str(), last.duration), (2, "av-2.ts", 1000));
}

#[test]
fn discontinuities_stand_before_what_is_different() {
    let mut run = Run::new(options(), Log::default());
    run.push(headers());
    run.push(media(0, 3000));
    run.push(headers()); // the same again: nothing happens
    run.push(media(3000, 4000));
    run.push([frame(FrameKind::VideoHeader, 4000, AVC2)]);
    run.push(media(4000, 5000));
    run.push(media(3_600_000, 3_601_000));
    run.end();
    run.push(headers());
    run.push(media(7000, 8000));
    run.end();
    let text = run.playlist();
    let marks: Vec<_> = text.lines().filter(|line| !line.starts_with("#EXTINF")).skip(4).collect();
    assert_eq!(
        marks,
        [
            "av-0.ts",
            "av-1.ts",
            "#EXT-X-DISCONTINUITY",
            "av-2.ts",
            "#EXT-X-DISCONTINUITY",
            "av-3.ts",
            "#EXT-X-DISCONTINUITY",
            "av-4.ts"
        ]
    );
    assert_eq!(run.text("html/live/av-2.ts"), "V!@4000:Kava.");
    assert!(!text.contains("3601"), "no giant segment: {text}");
}

#[test]
fn other_sound_waits_for_a_keyframe() {
    let mut run = Run::new(options(), Log::default());
    run.push(headers());
    let mut frames = media(0, 3000);
    // In the middle of a GOP.
    frames.insert(3, frame(FrameKind::AudioHeader, 500, AAC2));
    run.push(frames);
    run.end();
    assert_eq!(run.text("html/live/av-0.ts"), "VA@0:Kav.");
    assert_eq!(run.text("html/live/av-1.ts"), "A!@1000:KavaKava.");
    assert_eq!(run.segments.len(), 2);
}

#[test]
fn numbers_go_on_after_a_crash() {
    let mut run = Run::new(Options { window: 4000, ..options() }, Log::default());
    run.push(headers());
    run.push(media(0, 21_000));
    let before = run.playlist();
    // Killed with a segment open.
    let mut next = Run::new(Options { window: 4000, ..options() }, Log::default());
    next.disk = run.disk.clone();
    next.disk.crash();
    assert!(next.packager.resume(&before));
    assert_eq!(next.packager.playlist(), Some(before));
    next.push(headers());
    next.push(media(100_000, 103_000));
    let text = next.listed();
    assert!(text.ends_with("av-9.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\nav-10.ts\n"), "{text}");
    assert!(!next.packager.resume("nonsense"));
    // What the former process listed is deleted in its time.
    next.push(media(103_000, 160_000));
    let files: Vec<_> = next.disk.files.keys().filter(|path| path.contains("av-9.ts")).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn files_go_when_nobody_can_want_them_and_all_on_dispose() {
    let mut run = Run::new(Options { window: 4000, ..options() }, Log::default());
    run.push(headers());
    for minute in 0..5 {
        run.push(media(minute * 60_000, (minute + 1) * 60_000));
        let listed = run.playlist().lines().filter(|line| line.ends_with(".ts")).count();
        let files = run.disk.files.keys().filter(|path| path.ends_with(".ts")).count();
        assert!(files > listed && files <= 3 * listed + 2, "{files} {listed}");
        for uri in run.playlist().lines().filter(|line| line.ends_with(".ts")) {
            assert!(run.disk.files.contains_key(&format!("html/live/{uri}")));
        }
    }
    let next = run.segments.len() as u64;
    run.packager.dispose();
    run.apply();
    assert!(run.disk.files.is_empty(), "{:?}", run.disk.files.keys());
    run.push(headers());
    run.push(media(400_000, 403_000));
    assert_eq!(run.segments.last().unwrap().sequence, next + 1);

    let mut kept = Run::new(Options { window: 4000, cleanup: false, ..options() }, Log::default());
    kept.push(media(0, 60_000));
    assert_eq!(kept.disk.files.keys().filter(|path| path.ends_with(".ts")).count(), 29);
}

#[test]
fn names_from_templates() {
    let named = Options {
        segment: "[app]/[stream]/[timestamp]-[seq]-[duration].ts".into(),
        prefix: "http://cdn/x/".into(),
        ..options()
    };
    let mut run = Run::new(named, Log::default());
    run.push(media(1000, 6000));
    assert_eq!(run.segments[1].path, "html/live/av/3000-1-2000.ts");
    assert_eq!(run.segments[1].uri, "http://cdn/x/av/3000-1-2000.ts");

    let floor = Options { segment: "[timestamp].ts".into(), floor: true, ..options() };
    let mut run = Run::new(floor, Log::default());
    run.push(media(20_000, 29_000));
    let paths: Vec<_> = run.segments.iter().map(|segment| segment.path.as_str()).collect();
    assert_eq!(paths, ["html/9.ts", "html/10.ts", "html/11.ts", "html/12.ts"]);

    let bad = StreamName { stream: "a/../../b".into(), ..name() };
    assert!(Packager::new(options(), bad, Log::default(), Box::new(|| [0; 16])).is_err());
}

#[test]
fn what_cannot_be_muxed_is_told_and_left_out() {
    let mut packager = packager(options(), Log::default());
    let bad = frame(FrameKind::Keyframe, 0, b"\x17\x01\0\0\0bad");
    assert_eq!(packager.push(&bad, Civil::default()), Err(Error::Mux("bad")));
    assert_eq!(packager.push(&media(0, 500)[0], Civil::default()), Ok(()));
}

/// Pictures that cannot be carried begin no segments of nothing, and keep no sound waiting.
#[test]
fn a_segment_of_nothing_is_none() {
    for ending in [&b"bad"[..], b"told"] {
        let mut run = Run::new(options(), Log::default());
        run.push(headers());
        for frame in media(0, 12_000) {
            let payload = [&frame.payload[..], if frame.kind.is_video() { ending } else { b"" }].concat();
            let _ = run.packager.push(&Frame { payload: payload.into(), ..frame }, Civil::default());
            run.apply();
        }
        run.end();
        let text = run.listed();
        assert!(!text.contains("DISCONTINUITY"), "{text}");
        let total: Millis = run.segments.iter().map(|segment| segment.duration).sum();
        assert!(total > 11_000, "{text}");
        for segment in &run.segments {
            let content = run.text(&segment.path);
            assert!(content.contains('a') && !content.contains(['K', 'v']), "{content}");
        }
        assert!(!run.disk.files.keys().any(|path| path.ends_with(".tmp")), "{:?}", run.disk.files.keys());
    }
}

#[test]
fn a_loss_uses_the_number_again() {
    let mut run = Run::new(options(), Log::default());
    run.push(media(0, 3000));
    run.packager.lost();
    assert_eq!(run.packager.poll_action(), None);
    run.disk.crash();
    run.push(media(3000, 6000));
    assert!(run.playlist().ends_with("av-0.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\nav-1.ts\n"));
}

#[test]
fn a_segment_that_could_not_be_completed_is_in_no_playlist() {
    let mut run = Run::new(options(), Log::default());
    run.push(media(0, 3000));
    for frame in media(3000, 4500) {
        run.packager.push(&frame, Civil::default()).unwrap();
    }
    // Closing the second segment fails: nothing behind it is done.
    while !matches!(run.packager.poll_action(), Some(Action::Close(_))) {}
    run.packager.lost();
    assert_eq!(run.packager.playlist().unwrap(), run.text("html/live/av.m3u8"));
    run.disk.crash();
    run.push(media(4500, 7000));
    assert_eq!(run.segments.last().unwrap().sequence, 1);
    assert!(run.playlist().ends_with("av-0.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2.000, no desc\nav-1.ts\n"));
}

#[test]
fn other_pictures_end_the_wait_of_other_sound() {
    let mut run = Run::new(options(), Log::default());
    run.push(headers());
    run.push(media(0, 1500));
    run.push([frame(FrameKind::AudioHeader, 1500, AAC2), frame(FrameKind::VideoHeader, 1500, AVC2)]);
    run.push(media(1500, 4000));
    assert_eq!(run.text("html/live/av-0.ts"), "VA@0:KavaKa.");
    assert_eq!(run.text("html/live/av-1.ts"), "AV!@1500:KavaKava.");
}

#[test]
fn sound_or_pictures_alone_by_directive() {
    let mut run = Run::new(Options { audio: false, ..options() }, Log::default());
    run.push(headers());
    run.push(media(0, 3000));
    assert_eq!(run.text("html/live/av-0.ts"), "V@0:KvKv.");
    let mut run = Run::new(Options { video: false, ..options() }, Log::default());
    run.push(headers());
    run.push(media(0, 5000));
    assert_eq!(run.text("html/live/av-0.ts"), "A@0:aaaaaaaa.");
}

#[test]
fn encrypted_segments_have_their_key_whatever_left_the_list() {
    let keys = Keys {
        segments: 5,
        directory: "keys".into(),
        file: "[app]/[stream] [seq].key".into(),
        url: "https://k".into(),
    };
    let mut run = Run::new(Options { window: 4000, keys: Some(keys), ..options() }, Log::default());
    run.push(headers());
    run.push(media(0, 15_000));
    let text = run.listed();
    let first = text.lines().find(|line| line.starts_with("#EXT-X-KEY")).unwrap();
    // Five are listed, the first of them the third of its group.
    assert!(
        text.contains("SEQUENCE:2\n") && first.contains("URI=\"https://k/live/av%200.key\",IV=0x04040404"),
        "{text}"
    );
    let vectors: std::collections::BTreeSet<_> =
        text.lines().filter_map(|line| line.split_once("IV=")).map(|(_, iv)| iv).collect();
    assert_eq!(vectors.len(), 5, "each has its own: {text}");
    assert_eq!(run.disk.files["keys/live/av 0.key"], [1; 16]);
    assert_eq!(run.disk.files["html/live/av-3.ts"].len() % 16, 0);
    run.push(media(15_000, 60_000));
    assert!(!run.disk.files.contains_key("keys/live/av 0.key"), "keys go with their segments");
}

#[test]
fn ffmpeg_decrypts() {
    let keys = Keys { segments: 2, directory: String::new(), file: "[seq].key".into(), url: String::new() };
    let encrypted = Options {
        keys: Some(keys),
        directory: String::new(),
        playlist: "crypt.m3u8".into(),
        segment: "[seq].flv".into(),
        window: 60_000,
        ..options()
    };
    let mut run = Run::new(encrypted, Adts);
    run.push(frames(BBB).into_iter().filter(|frame| frame.kind.is_audio()));
    run.end();
    assert!(run.segments.len() > 1);
    for (path, content) in &run.disk.files {
        save(&format!("hls-crypt/{}", path.replace(".flv", ".aac")), content);
    }
    let text = run.text("crypt.m3u8").replace(".flv", ".aac");
    check_playlist(&text);
    let path = save("hls-crypt/crypt.m3u8", format!("{text}#EXT-X-ENDLIST\n").as_bytes());
    let source = save("hls-crypt/source.flv", BBB);
    let decode = |path: &std::path::Path| {
        let args = [
            "-v",
            "error",
            "-allowed_extensions",
            "ALL",
            "-i",
            path.to_str().unwrap(),
            "-map",
            "a",
            "-f",
            "md5",
            "-",
        ];
        let args =
            if path.ends_with("source.flv") { [&args[..2], &args[4..]].concat() } else { args.to_vec() };
        crate::outside::run("ffmpeg", &args)
    };
    assert_eq!(decode(&path), decode(&source));
}

/// AAC with ADTS headers, 44.1 kHz stereo as in the sample.
struct Adts;

impl Muxer for Adts {
    type Error = ();

    fn header(&mut self, _: &Frame) {}

    fn begin(&mut self, _: Millis, _: bool, _: &mut BytesMut) {}

    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<bool, ()> {
        let data = &frame.payload[2..];
        let len = data.len() + 7;
        out.put_slice(&[
            0xff,
            0xf1,
            0x50,
            0x80 | (len >> 11) as u8,
            (len >> 3) as u8,
            (len << 5) as u8 | 0x1f,
            0xfc,
        ]);
        out.put_slice(data);
        Ok(true)
    }

    fn end(&mut self, _: &mut BytesMut) {}
}

#[test]
fn every_segment_decodes_alone_and_together_they_are_the_source() {
    for (name, flv) in [("avatar", AVATAR), ("bbb", BBB)] {
        let mut run = Run::new(Options { segment: "[seq].mp4".into(), ..options() }, Mp4::default());
        run.push(frames(flv));
        run.end();
        let (mut video, mut audio) = (vec![], vec![]);
        for segment in &run.segments {
            let path = save(&format!("hls-{name}-{}.mp4", segment.sequence), &run.disk.files[&segment.path]);
            plays(&path);
            let flags =
                ["-v", "warning", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "csv=p=0"];
            let first = crate::outside::run("ffprobe", &[&flags[..], &[path.to_str().unwrap()]].concat());
            assert!(first.starts_with('K'), "{first}");
            let [pictures, sound] = checksums(&path);
            video.extend(pictures);
            audio.extend(sound);
        }
        let source = save(&format!("hls-{name}.flv"), flv);
        let [pictures, all] = checksums(&source);
        assert_eq!(video, pictures);
        // Sound from before the first keyframe is in no segment.
        assert!(all.ends_with(&audio) && all.len() - audio.len() < 10, "{} {}", all.len(), audio.len());
        let total: Millis = run.segments.iter().map(|segment| segment.duration).sum();
        assert!((9_900..11_500).contains(&total), "{total}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rules_hold_whatever_comes(
        events in proptest::collection::vec((0..14, prop_oneof![8 => 0..800i64, 1 => -20_000..40_000i64]), 0..150),
        wait_keyframe in any::<bool>(),
        window in 0..20_000i64,
    ) {
        let options = Options { window, wait_keyframe, ..options() };
        let mut run = Run::new(options.clone(), Log::default());
        let (mut dts, mut sequence, mut seen) = (0, 0, BTreeMap::new());
        for (event, step) in events {
            dts = (dts + step).max(0);
            match event {
                0 => run.push([frame(FrameKind::VideoHeader, dts, AVC)]),
                1 => run.push([frame(FrameKind::VideoHeader, dts, AVC2)]),
                2 => run.push([frame(FrameKind::AudioHeader, dts, AAC)]),
                3 => run.push([frame(FrameKind::AudioHeader, dts, AAC2)]),
                4 => run.end(),
                5 => {
                    let (disk, text) = (run.disk.clone(), run.packager.playlist());
                    run = Run::new(options.clone(), Log::default());
                    run.disk = disk;
                    run.disk.crash();
                    if let Some(text) = text {
                        prop_assert!(run.packager.resume(&text));
                    }
                }
                6 => run.push([frame(FrameKind::Audio, dts, b"\x2f\xff\xfb\x90")]),
                7 | 8 => run.push([frame(FrameKind::Audio, dts, b"\xaf\x01x")]),
                9 | 10 => run.push([frame(FrameKind::Keyframe, dts, b"\x17\x01\0\0\0x")]),
                _ => run.push([frame(FrameKind::Video, dts, b"\x27\x01\0\0\0x")]),
            }
            let Some(text) = run.packager.playlist() else { continue };
            check_playlist(&text);
            let m3u8_rs::Playlist::MediaPlaylist(list) = m3u8_rs::parse_playlist_res(text.as_bytes()).unwrap() else {
                panic!("{text}");
            };
            prop_assert!(list.media_sequence >= sequence);
            sequence = list.media_sequence;
            for (index, segment) in list.segments.iter().enumerate() {
                // A number, once given, means the same segment for ever, and its file is there.
                let number = sequence + index as u64;
                let duration = segment.duration;
                let known = *seen.entry(number).or_insert(duration);
                prop_assert_eq!((known, segment.uri.clone()), (duration, format!("av-{number}.ts")));
                let file = format!("html/live/{}", segment.uri);
                prop_assert!(run.disk.files.contains_key(&file));
            }
        }
        for content in run.disk.files.iter().filter(|(path, _)| path.ends_with(".ts")).map(|(_, content)| content) {
            let text = std::str::from_utf8(content).unwrap();
            let (_, media) = text.split_once(':').unwrap();
            prop_assert!(media.ends_with('.') && media.len() > 1, "{text}");
        }
    }
}
