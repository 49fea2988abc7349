//! DASH: frames in; init segments, media segments and the manifest out (ISO/IEC 23009-1, live profile).
//!
//! A [`Packager`] lives as long as its stream has anything to say about DASH, over publishes: it is told of the end
//! of each by [`Packager::end`], and goes on with the next in another period. After a restart of the server it
//! takes everything from the manifest the former process left. Segments are named after their media time, which begins
//! with the milliseconds since 1970 and only grows: so no name is used twice, even if that manifest was old or is gone.
//!
//! Pictures and sound are tracks of their own, in segments of their own, cut together: video at a keyframe, sound at
//! the end of the sound frame before. A period has those tracks that all of its segments have; when one
//! comes, goes or changes, another period begins. So it does when the time of the stream jumps, and when it has
//! drifted away from the clock by more than a segment: what the manifest promises for a moment is there then.
//!
//! Memory: the frames of the open segment, [`MAX_HELD`] bytes at most, and the list.

use std::collections::VecDeque;

use bytes::Bytes;
use mill_media::codec::{AudioCodec, VideoCodec};
use mill_media::flv::tag::{AudioTag, Packet, VideoTag};
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_media::mp4::fragment::{Fragmenter, SEGMENT_TYPE, init_segment};
use mill_media::mp4::track::{Media, Sample, Source, Track};

use crate::action::{Action, Close};
use crate::clock::{MAX_FORWARD, VIDEO_GONE};
use crate::cut::{Cutter, Place, Rules};
use crate::mpd::{Manifest, Period, Set, Stretch, millis, millis_up};
use crate::path::{self, StreamName, Template, Values, directory, temporary};
use crate::uri;

/// Bytes of samples in one segment: it is written when it is complete. What is bigger is cut where it stands.
pub const MAX_HELD: usize = 64 << 20;

/// Shorter ends of publishes are left out: SRS's number.
const MIN_SEGMENT: Millis = 100;

/// Players look no more often, whatever the directives say.
const MIN_UPDATE: Millis = 200;

/// How far the clock and the stream may be apart whatever the segments.
const MIN_DRIFT: Millis = 2000;

/// Of these the manifest has room for so many, whatever was asked for: players need one to play, one in reserve, one
/// being fetched, and one that is just going.
const MIN_SEGMENTS: Millis = 4;

/// What lies in media time between two periods that do not follow each other, and before the first: sound may be
/// somewhat earlier than the picture a period begins with.
const LEAD: Millis = MAX_FORWARD;

/// Sound alone is cut at its nominal length.
const AUDIO_RATIO: f64 = 1.0;

/// The directives of DASH.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `dash_fragment` in milliseconds.
    pub fragment: Millis,
    /// `dash_update_period` in milliseconds. Players look more often if segments are shorter: the manifest lists
    /// them.
    pub update: Millis,
    /// `dash_timeshift` in milliseconds.
    pub time_shift: Millis,
    /// `dash_window_size`: so many fragments, if that is less than `time_shift`; 0 for no such limit.
    pub window: u32,
    /// `dash_path`.
    pub directory: String,
    /// `dash_mpd_file`.
    pub manifest: String,
    /// `dash_cleanup`.
    pub cleanup: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fragment: 30_000,
            update: 150_000,
            time_shift: 300_000,
            window: 0,
            directory: "./objs/nginx/html".into(),
            manifest: "[app]/[stream].mpd".into(),
            cleanup: true,
        }
    }
}

impl Options {
    /// How far players may go back, by the directives alone.
    fn depth(&self) -> Millis {
        match self.window {
            0 => self.time_shift,
            window => self.time_shift.min(self.fragment.saturating_mul(window.into())),
        }
    }
}

/// Packs one stream.
#[derive(Debug)]
pub struct Packager {
    options: Options,
    name: StreamName,
    cutter: Cutter,
    manifest: Manifest,
    manifest_path: String,
    /// Names of segments and of init segments, of sound and of pictures.
    segments: [Template; 2],
    inits: [Template; 2],
    /// Sound and pictures.
    sides: [Side; 2],
    /// Of the period in force; none if the next segment begins another.
    tracks: Option<[Option<Track>; 2]>,
    open: Option<Open>,
    /// Whether sound is left out until pictures can begin a segment.
    muted: bool,
    /// Media time minus time of the stream.
    shift: Millis,
    /// The end of all media so far, in media time.
    end: Millis,
    retired: Vec<Retired>,
    /// Segments, of sound and of pictures, that [`done`](Self::done) has not been said of.
    undone: [usize; 2],
    actions: VecDeque<Action>,
}

/// Sound or pictures.
#[derive(Debug, Default)]
struct Side {
    /// The header in force, to tell a repetition from a change.
    header: Option<Bytes>,
    codec: Option<Codec>,
    source: Option<Source>,
    /// Takes the place of `source` with the next segment.
    next: Option<Option<Source>>,
    /// The newest sample: how long it lasts is known when the next comes.
    held: Option<Sample>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Audio(AudioCodec),
    Video(VideoCodec),
}

/// What the open segment has of a track.
#[derive(Debug)]
struct Pending {
    fragmenter: Fragmenter,
    /// When the first sample is presented.
    time: i64,
    /// When the newest has been decoded, since the first.
    length: i64,
    first_dts: i64,
    samples: i64,
    keyed: bool,
}

/// The segment being gathered.
#[derive(Debug)]
struct Open {
    discontinuity: bool,
    has_keyframe: bool,
    last_video: Millis,
    /// The least wall time at which media of the time 0 would have come.
    anchor: i64,
}

/// A track's part of a complete segment.
struct Part {
    track: Track,
    place: Stretch,
    samples: i64,
    keyed: bool,
    bytes: usize,
    pieces: Vec<Bytes>,
}

/// Files nobody is told of any more.
#[derive(Debug)]
struct Retired {
    path: String,
    /// They may be asked for until presentation has come so far (5.3.9.5.3).
    until: Millis,
}

impl Packager {
    /// A packager for a stream. Fails if its name makes no file names.
    pub fn new(options: Options, name: StreamName) -> Result<Self, path::Error> {
        let values = Values::new(&name);
        let mut manifest_path = Template::below(&options.directory, &options.manifest).fill(&values)?;
        let directory = directory(&options.manifest);
        let below =
            |file: &str| Template::below(&options.directory, &[directory, "[stream]/", file].concat());
        let segments = ["audio-[seq].m4s", "video-[seq].m4s"].map(below);
        let inits = ["audio-init-[seq].mp4", "video-init-[seq].mp4"].map(below);
        let trial = Values { seq: Some(u64::MAX), ..values };
        for template in segments.iter().chain(&inits) {
            let path = template.fill(&trial)?;
            // A directory cannot have the name of a file.
            if path.strip_prefix(&manifest_path).is_some_and(|rest| rest.starts_with('/')) {
                manifest_path.push_str(".mpd");
            }
        }
        let fragment = options.fragment;
        let mut cutter = Cutter::new(Rules { fragment, audio_ratio: AUDIO_RATIO, wait_keyframe: true });
        // Each publish begins anew, the first as well.
        cutter.break_off();
        let manifest = Manifest {
            start: None,
            published: 0,
            update: options.update.min(fragment).max(MIN_UPDATE),
            depth: 0,
            longest: fragment,
            base: uri::encode(&name.stream) + "/",
            periods: VecDeque::new(),
        };
        Ok(Self {
            cutter,
            options,
            name,
            manifest,
            manifest_path,
            segments,
            inits,
            sides: Default::default(),
            tracks: None,
            open: None,
            muted: false,
            shift: 0,
            end: 0,
            retired: Vec::new(),
            undone: [0; 2],
            actions: VecDeque::new(),
        })
    }

    /// The file of the manifest.
    pub fn manifest_path(&self) -> &str {
        &self.manifest_path
    }

    /// The manifest as it is now, if there is a segment in it.
    pub fn manifest(&self) -> Option<String> {
        self.manifest.text()
    }

    /// The files the manifest tells of: init segments and segments.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        for period in &self.manifest.periods {
            for set in &period.sets {
                files.push(self.init(set.video, period.media));
                files.extend(set.segments.iter().map(|place| self.segment(set.video, place.time)));
            }
        }
        files
    }

    /// Goes on where a former process stopped, whose manifest says `text`; false if that is none of ours. To be
    /// called before the first frame.
    pub fn resume(&mut self, text: &str) -> bool {
        let Some(old) = Manifest::parse(text) else { return false };
        let sets = || old.periods.iter().flat_map(|period| &period.sets);
        let ends =
            sets().filter_map(|set| set.segments.back().map(|last| millis_up(last.end(), set.timescale)));
        self.end = ends.max().unwrap_or(0);
        self.manifest = Manifest {
            start: old.start,
            published: old.published,
            depth: old.depth,
            longest: self.manifest.longest.max(old.longest),
            periods: old.periods,
            ..self.manifest.clone()
        };
        true
    }

    /// Takes the next frame, which came at `now`, milliseconds since 1970.
    pub fn push(&mut self, frame: &Frame, now: i64) {
        match frame.kind {
            FrameKind::Metadata => {}
            FrameKind::AudioHeader | FrameKind::VideoHeader => self.header(frame, now),
            _ if self.note_codec(frame, now) => self.push_coded(frame, now),
            _ => {}
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// All actions so far have been carried out.
    pub fn done(&mut self) {
        if self.actions.is_empty() {
            self.undone = [0; 2];
        }
    }

    /// The publish ends at `now`: the segment is completed. The list stays, and goes on with the next publish.
    pub fn end(&mut self, now: i64) {
        self.break_here(now);
        self.cutter.expect_video(false);
        self.sides = Default::default();
    }

    /// What was to be done could not be: the open segment is given up, and so is what [`done`](Self::done) was not
    /// said of. Only deletions still stand.
    pub fn lost(&mut self) {
        self.actions.retain(|action| matches!(action, Action::Remove { .. }));
        for (index, undone) in std::mem::take(&mut self.undone).into_iter().enumerate() {
            let sets = self.manifest.periods.iter_mut().flat_map(|period| &mut period.sets).rev();
            let mut sets = sets.filter(|set| set.video == (index == 1));
            let mut set = sets.next();
            for _ in 0..undone {
                while set.as_mut().is_some_and(|set| set.segments.pop_back().is_none()) {
                    set = sets.next();
                }
            }
        }
        self.manifest.periods.retain(|period| period.end().is_some());
        self.cutter.end();
        self.cutter.break_off();
        self.open = None;
        self.close(None, 0);
        self.unmute();
    }

    /// Deletes everything (`dash_dispose`). Time goes on, and so may the publish: headers stay in force.
    pub fn dispose(&mut self) {
        self.lost();
        let mut files = self.files();
        files.extend(self.retired.drain(..).map(|retired| retired.path));
        files.push(self.manifest_path.clone());
        self.actions.extend(files.into_iter().map(|path| Action::Remove { path }));
        self.manifest.periods.clear();
    }

    /// A sequence header.
    fn header(&mut self, frame: &Frame, now: i64) {
        let side = &mut self.sides[usize::from(frame.kind.is_video())];
        if side.header.as_ref() != Some(&frame.payload) {
            side.header = Some(frame.payload.clone());
            side.codec = Codec::of(frame).map(|(codec, _)| codec);
            self.describe(frame, now);
        }
    }

    /// Takes what describes a track.
    fn describe(&mut self, frame: &Frame, now: i64) {
        let source = match Source::new(frame) {
            None => return,
            Some(Ok(source)) => Some(source),
            Some(Err(why)) => {
                self.actions.push_back(Action::LeftOut(why));
                None
            }
        };
        let video = frame.kind.is_video();
        if video {
            self.cutter.expect_video(source.is_some());
        }
        let side = &self.sides[usize::from(video)];
        let track = |source: &Option<Source>| source.as_ref().map(|source| source.track().clone());
        if track(&side.source) == track(&source) && side.next.is_none() {
            return;
        }
        if side.source.is_none() && side.pending.is_none() {
            self.sides[usize::from(video)].source = source;
        } else if !video && self.open.as_ref().is_some_and(|open| open.has_keyframe) {
            // Pictures go on to the next keyframe, without sound.
            self.muted = true;
            self.sides[0].next = Some(source);
        } else {
            self.break_here(now);
            self.sides[usize::from(video)].source = source;
        }
    }

    /// Notes the codec of a coded frame, which changes without a header where it has none. False if the frame is
    /// no picture and no sound.
    fn note_codec(&mut self, frame: &Frame, now: i64) -> bool {
        let Some((codec, true)) = Codec::of(frame) else { return false };
        let known = self.sides[usize::from(frame.kind.is_video())].codec.replace(codec);
        // Each frame of MP3 says anew what it is.
        if known != Some(codec) || codec == Codec::Audio(AudioCodec::Mp3) {
            self.describe(frame, now);
        }
        true
    }

    fn push_coded(&mut self, frame: &Frame, now: i64) {
        let video = frame.kind.is_video();
        if self.muted {
            let gone = self.open.as_ref().is_none_or(|open| frame.dts - open.last_video > VIDEO_GONE);
            match frame.kind {
                FrameKind::Keyframe => self.break_here(now),
                FrameKind::Audio if gone => self.break_here(now),
                FrameKind::Audio => return,
                _ => {}
            }
        }
        // What is in no track begins and ends nothing.
        if self.sides[usize::from(video)].source.is_none() {
            return;
        }
        let cut = self.cutter.next(frame.kind, frame.dts);
        let goes_on = matches!(cut.place, Place::Same | Place::New { discontinuity: false });
        if !goes_on {
            self.close(None, now);
        }
        match cut.place {
            Place::Nowhere => return,
            Place::New { discontinuity: true } => self.shift = now.max(self.end + LEAD) - frame.dts,
            _ => {}
        }
        let time = frame.dts + self.shift;
        let side = &mut self.sides[usize::from(video)];
        // A frame no decoder could take is left out; where it would begin a segment, the next one does.
        let Some(sample) = side.source.as_mut().and_then(|source| source.sample(frame, time.max(0))) else {
            if matches!(cut.place, Place::New { .. }) && self.open.is_none() {
                self.cutter.end();
                self.cutter.break_off();
            }
            return;
        };
        let before = side.hold(sample);
        if let Some(before) = before {
            side.push(before);
        }
        if let Place::New { discontinuity } = cut.place {
            if goes_on {
                self.close(Some(video), now);
            }
            let open = Open { discontinuity, has_keyframe: false, last_video: time, anchor: i64::MAX };
            self.open = Some(open);
        }
        if let Some(open) = &mut self.open {
            open.anchor = open.anchor.min(now.saturating_sub(time));
            if video {
                open.has_keyframe |= frame.kind == FrameKind::Keyframe;
                open.last_video = frame.dts;
            }
        }
        let held: usize = self.sides.iter().map(Side::bytes).sum();
        if held >= MAX_HELD {
            self.cutter.fill_up();
        }
    }

    /// Ends the segment, and the time without sound; what follows has nothing to do with it.
    fn break_here(&mut self, now: i64) {
        self.cutter.end();
        self.cutter.break_off();
        self.close(None, now);
        self.unmute();
    }

    fn unmute(&mut self) {
        self.muted = false;
        if let Some(next) = self.sides[0].next.take() {
            self.sides[0].source = next;
        }
    }

    /// Completes the segment. `continued` tells whose newest sample begins the next one; `None` that nothing
    /// goes on.
    fn close(&mut self, continued: Option<bool>, now: i64) {
        let Some(open) = self.open.take() else {
            if continued.is_none() {
                self.sides.iter_mut().for_each(Side::drop_samples);
                self.tracks = None;
            }
            return;
        };
        let mut parts = [None, None];
        for (index, side) in self.sides.iter_mut().enumerate() {
            let begins_next = continued.is_some_and(|video| usize::from(video) == index);
            // A sample whose end is not known stays for the next segment, unless it is all there is.
            if continued.is_none() || (!begins_next && side.pending.is_none()) {
                side.push_last();
            }
            parts[index] = side.part();
            if continued.is_none() {
                side.drop_samples();
            }
        }
        self.add(&open, parts, continued.is_none(), now);
        if continued.is_none() {
            self.tracks = None;
        }
    }

    /// Enters a complete segment, and has its files written.
    fn add(&mut self, open: &Open, parts: [Option<Part>; 2], last: bool, now: i64) {
        let tracks = parts.each_ref().map(|part| part.as_ref().map(|part| part.track.clone()));
        let length = |part: &Part| millis_up(part.place.duration, part.track.timescale);
        let longest = parts.iter().flatten().map(length).max().unwrap_or(0);
        if longest == 0 || (last && longest < MIN_SEGMENT) {
            return;
        }
        let ends = parts.iter().flatten().map(|part| millis_up(part.place.end(), part.track.timescale));
        self.end = ends.max().unwrap_or(0).max(self.end);
        // Pictures decide where a period begins: sound before them is left out.
        let Some(leading) = parts[1].as_ref().or(parts[0].as_ref()) else { return };
        let begins = millis(leading.place.time, leading.track.timescale);
        let came = open.anchor.saturating_add(begins).min(now);
        self.manifest.longest = self.manifest.longest.max(longest);
        let follows = !open.discontinuity && self.tracks.is_some();
        let in_time = follows && self.drift(open.anchor).abs() <= self.manifest.longest.max(MIN_DRIFT);
        if !in_time || self.tracks.as_ref() != Some(&tracks) {
            self.begin_period((!in_time).then_some(came), &parts, begins);
            self.tracks = Some(tracks);
        }
        for (index, part) in parts.into_iter().enumerate() {
            let Some(part) = part else { continue };
            let duration = millis(part.place.duration, part.track.timescale).max(1);
            let rate = (part.bytes as u64).saturating_mul(8000) / duration.unsigned_abs();
            let period = self.manifest.periods.back_mut().expect("begun above");
            let set =
                period.sets.iter_mut().find(|set| set.video == (index == 1)).expect("with these tracks");
            set.bandwidth = set.bandwidth.max(rate);
            set.keyed &= part.keyed;
            // Reordered pictures can make them overlap, by less than a frame.
            let time = set.segments.back().map_or(part.place.time, |last| last.end().max(part.place.time));
            let duration = (part.place.end() - time).max(1);
            set.segments.push_back(Stretch { time, duration });
            self.undone[index] += 1;
            self.write(self.segment(index == 1, time), part.pieces);
        }
        self.publish(now);
    }

    /// How much later the stream is than its period says, in milliseconds.
    fn drift(&self, anchor: i64) -> Millis {
        let (Some(start), Some(period)) = (self.manifest.start, self.manifest.periods.back()) else {
            return 0;
        };
        anchor - (start + period.start - period.media)
    }

    /// Begins a period with the media from `begins` on: at the wall time it came, or, without one, where the last
    /// period ends.
    fn begin_period(&mut self, came: Option<i64>, parts: &[Option<Part>; 2], begins: Millis) {
        let last = self.manifest.periods.back();
        let start = match (came, last) {
            (None, Some(last)) => last.start + begins - last.media,
            (came, _) => came.map_or(0, |came| came - *self.manifest.start.get_or_insert(came)),
        };
        let start = start.max(last.map_or(0, |last| last.start + 1));
        let mut sets = Vec::new();
        for (index, part) in parts.iter().enumerate().rev() {
            let Some(part) = part else { continue };
            let video = index == 1;
            let content = init_segment(std::slice::from_ref(&part.track)).into();
            let path = self.init(video, begins);
            self.actions.push_back(Action::Replace { path, content });
            sets.push(Set {
                video,
                codecs: part.track.codecs(),
                size: match part.track.media {
                    Media::Video { width, height } => (width, height),
                    Media::Audio => (0, 0),
                },
                frame_rate: if video { frame_rate(part) } else { String::new() },
                channels: part.track.channels(),
                timescale: part.track.timescale,
                bandwidth: 0,
                keyed: true,
                segments: VecDeque::new(),
            });
        }
        self.manifest.periods.push_back(Period { start, media: begins, sets });
    }

    fn write(&mut self, path: String, pieces: Vec<Bytes>) {
        let from = temporary(&path);
        self.actions.push_back(Action::Create { path: from.clone() });
        self.actions.push_back(Action::Append(Bytes::from_static(&SEGMENT_TYPE)));
        self.actions.extend(pieces.into_iter().map(Action::Append));
        self.actions.push_back(Action::Close(Close::Replace { from, to: path }));
    }

    /// Writes the manifest, without what is too old, and deletes what nobody can want any more.
    fn publish(&mut self, now: i64) {
        let edge = self.manifest.periods.iter().filter_map(Period::end).max().unwrap_or(0);
        self.manifest.depth = self.options.depth().max(MIN_SEGMENTS * self.manifest.longest);
        self.retire(edge - self.manifest.depth);
        self.manifest.published = now.max(self.manifest.published + 1);
        if let Some(text) = self.manifest.text() {
            let path = self.manifest_path.clone();
            self.actions.push_back(Action::Replace { path, content: text.into() });
        }
        let gone = self.retired.extract_if(.., |retired| retired.until <= edge);
        let gone = gone.map(|retired| Action::Remove { path: retired.path });
        if self.options.cleanup {
            self.actions.extend(gone);
        }
    }

    /// Takes out what has been over by then.
    fn retire(&mut self, by: Millis) {
        let depth = self.manifest.depth;
        for at in 0..self.manifest.periods.len() {
            let mut until = Millis::MIN;
            for set in 0..self.manifest.periods[at].sets.len() {
                loop {
                    let period = &mut self.manifest.periods[at];
                    let (start, media) = (period.start, period.media);
                    let set = &mut period.sets[set];
                    let end = |place: Stretch| start + millis(place.end(), set.timescale) - media;
                    let Some(oldest) = set.segments.front().copied().filter(|&oldest| end(oldest) <= by)
                    else {
                        break;
                    };
                    let wanted = end(oldest) + millis(oldest.duration, set.timescale) + depth;
                    let video = set.video;
                    set.segments.pop_front();
                    until = until.max(wanted);
                    self.retired.push(Retired { path: self.segment(video, oldest.time), until: wanted });
                }
            }
            if self.manifest.periods[at].end().is_none() {
                let Period { media, sets, .. } = &self.manifest.periods[at];
                let inits = sets.iter().map(|set| self.init(set.video, *media));
                self.retired.extend(inits.map(|path| Retired { path, until }).collect::<Vec<_>>());
            }
        }
        self.manifest.periods.retain(|period| period.end().is_some());
    }

    fn segment(&self, video: bool, time: i64) -> String {
        self.fill(&self.segments[usize::from(video)], time)
    }

    fn init(&self, video: bool, begins: Millis) -> String {
        self.fill(&self.inits[usize::from(video)], begins)
    }

    fn fill(&self, template: &Template, time: i64) -> String {
        let values = Values { seq: Some(time.unsigned_abs()), ..Values::new(&self.name) };
        template.fill(&values).expect("tried with the longest number when the packager was made")
    }
}

impl Codec {
    /// That of a frame, and whether it is a picture or sound of the default track.
    fn of(frame: &Frame) -> Option<(Self, bool)> {
        Some(if frame.kind.is_video() {
            let tag = VideoTag::parse(&frame.payload)?;
            (Self::Video(tag.codec), tag.packet == Packet::Coded && tag.track == 0)
        } else {
            let tag = AudioTag::parse(&frame.payload)?;
            (Self::Audio(tag.codec), tag.packet == Packet::Coded && tag.track == 0)
        })
    }
}

impl Side {
    fn bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.fragmenter.pending_bytes())
    }

    /// Keeps the newest sample, and gives back the one before it, which lasts until then.
    fn hold(&mut self, sample: Sample) -> Option<Sample> {
        let dts = sample.dts;
        let before = self.held.replace(sample)?;
        let duration = u32::try_from(dts - before.dts).ok();
        Some(Sample { duration, ..before })
    }

    /// Pushes the newest sample, which lasts as long as it says, or as long as the one before it.
    fn push_last(&mut self) {
        if let Some(last) = self.held.take() {
            self.push(last);
        }
    }

    fn push(&mut self, sample: Sample) {
        let Some(source) = &self.source else { return };
        let pending = self.pending.get_or_insert_with(|| Pending {
            fragmenter: Fragmenter::new(vec![source.track().clone()]),
            time: sample.dts + i64::from(sample.cts),
            length: 0,
            first_dts: sample.dts,
            samples: 0,
            keyed: sample.key,
        });
        /// A single picture lasts as long as at 25 a second.
        const SOME: i64 = 40;
        let step = match (sample.dts - pending.first_dts).checked_div(pending.samples) {
            Some(step) => step,
            None => SOME * i64::from(source.track().timescale) / 1000,
        };
        let duration = sample.duration.map_or(step, i64::from).max(1);
        pending.length = sample.dts + duration - pending.first_dts;
        pending.samples += 1;
        let duration = u32::try_from(duration).ok();
        pending.fragmenter.push(0, Sample { duration, ..sample });
    }

    /// What there is for the segment.
    fn part(&mut self) -> Option<Part> {
        let Pending { mut fragmenter, time, mut length, samples, keyed, .. } = self.pending.take()?;
        if let Some(next) = &self.held {
            // It is presented until the next segment is.
            length = (next.dts + i64::from(next.cts) - time).max(1);
        }
        let track = self.source.as_ref()?.track().clone();
        let bytes = fragmenter.pending_bytes();
        let pieces = fragmenter.flush();
        let place = Stretch { time, duration: length };
        Some(Part { track, place, samples, keyed, bytes, pieces })
    }

    /// Nothing of what is here goes on.
    fn drop_samples(&mut self) {
        self.held = None;
        self.pending = None;
        if let Some(source) = &mut self.source {
            source.restart();
        }
    }
}

/// Pictures a second, if they come regularly at a usual rate; else nothing.
fn frame_rate(part: &Part) -> String {
    if part.samples < 2 {
        return String::new();
    }
    let measured = part.samples as f64 * f64::from(part.track.timescale) / part.place.duration as f64;
    let whole = measured.round();
    let off = |rate: f64| (measured / rate - 1.0).abs();
    // Television's are a thousandth slower.
    let slower = whole * 1000.0 / 1001.0;
    match () {
        () if whole < 1.0 || off(whole).min(off(slower)) > 0.002 => String::new(),
        () if off(slower) < off(whole) => format!("{}/1001", whole as i64 * 1000),
        () => format!("{}", whole as i64),
    }
}
