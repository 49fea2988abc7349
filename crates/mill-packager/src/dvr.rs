//! Recordings: which frames go into which file.
//!
//! A [`Recorder`] takes the frames of a stream from its publish to its unpublish and says what to write. A
//! file never spans what a player could not play through: another codec or picture size, and under `zero` and
//! `off` a jump in time, begin a new one, whatever the plan. FLV files carry the numbers of their head from
//! the beginning ([`flv::file`](mill_media::flv::file)), MP4 is written in fragments, so a process that is
//! killed loses what came after the last [`Action::Sync`] and no more; [`repaired`] names what is left.
//!
//! Where the world fails (a full disk), the driver calls [`Recorder::lost`] and goes on feeding frames when
//! it wants to try again: they begin a new file. Memory: the sequence headers and metadata of the stream, an index
//! of fixed size for FLV, and for MP4 the samples of one flush interval, at most [`MAX_HELD`] bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use mill_media::amf0::Object;
use mill_media::codec::{AudioCodec, VideoCodec};
use mill_media::flv::MAX_BODY;
use mill_media::flv::file::{Summary, head};
use mill_media::flv::mux;
use mill_media::flv::script::Metadata;
use mill_media::flv::tag::{AudioTag, Packet, VideoTag};
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_media::mp4::classic::MAX_SAMPLES;
use mill_media::mp4::fragment::Fragmenter;
use mill_media::mp4::track::{Sample, Source, Unsupported};
use mill_media::time::Unwrap;

use crate::action::{Action, Close};
use crate::clock::{Clock, Jitter, VIDEO_GONE};
use crate::path::{self, Civil, StreamName, TEMPORARY, Template, Values, temporary};

/// Samples held back for a fragment, in bytes: a second of 60 Mbit/s. More is written before its time.
pub const MAX_HELD: usize = 8 << 20;

/// Fragmented files begin here, so that sound from just before their first picture has a place. The classic
/// file begins at 0.
const LEAD: Millis = 1000;

/// What is appended to a `dvr_path` that names no container, and SRS's name for every file then.
const DEFAULT_NAME: &str = "/[stream].[timestamp].flv";

/// When a file ends (`dvr_plan`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// With the publish.
    Session,
    /// When it is this long, in milliseconds, at the next place to cut; 0 or less is never.
    Segment(Millis),
}

/// What kind of file is written; the ending of `dvr_path` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `.flv`
    Flv,
    /// `.mp4`
    Mp4,
}

/// The directives of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `dvr_plan` with `dvr_duration`.
    pub plan: Plan,
    /// `dvr_wait_keyframe`: video begins with a keyframe, and files are cut at keyframes.
    pub wait_keyframe: bool,
    /// `time_jitter`.
    pub jitter: Jitter,
    /// `dvr_flush`: what a crash may cost, in milliseconds of media.
    pub flush: Millis,
}

impl Default for Options {
    fn default() -> Self {
        Self { plan: Plan::Session, wait_keyframe: true, jitter: Jitter::Full, flush: 1000 }
    }
}

/// A complete recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What it is called, unless that was taken.
    pub path: String,
    /// In milliseconds. Of MP4 the [`Plan`](mill_media::mp4::classic::Plan) says it to the last picture shown.
    pub duration: Millis,
}

/// The file being written, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status<'a> {
    /// Its temporary name.
    pub path: &'a str,
    /// Milliseconds of media in it.
    pub duration: Millis,
    /// Bytes handed out for it.
    pub bytes: u64,
}

/// Records one publish of one stream.
#[derive(Debug)]
pub struct Recorder {
    options: Options,
    name: StreamName,
    template: Template,
    container: Container,
    clock: Clock,
    /// What the stream says about itself, for the heads of files to come.
    metadata: Object,
    audio: Option<Header<AudioCodec>>,
    video: Option<Header<VideoCodec>>,
    /// When the newest picture came, in stream time.
    last_video: Option<Millis>,
    file: Option<File>,
    actions: VecDeque<Action>,
}

/// The description of one kind of media in force: its codec, and its sequence header if the codec has one.
#[derive(Debug, Clone)]
struct Header<C> {
    codec: C,
    frame: Option<Frame>,
}

/// A file being written.
#[derive(Debug)]
struct File {
    path: String,
    opened: Civil,
    /// The stream's time when it was opened.
    base: Millis,
    /// The stream's time that is 0 in the file.
    zero: Millis,
    /// Latest stream time in it.
    last: Millis,
    /// When it was last safe, in stream time.
    synced: Millis,
    /// Whether there is sound in it, and pictures.
    has: [bool; 2],
    /// Whether there is a keyframe in it.
    started: bool,
    /// Whether the sound that comes now is not the sound it began with.
    muted: bool,
    /// Whether it is to end at the next place, because it cannot hold what comes.
    ends: bool,
    /// Handed out for it.
    bytes: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Flv {
        metadata: Object,
        summary: Summary,
        /// Times as a reader of the file finds them.
        time: Unwrap,
    },
    Mp4(Mp4),
}

/// The tracks of an MP4 file; which ones there are is settled by its first fragment.
#[derive(Debug, Default)]
struct Mp4 {
    audio: Slot,
    video: Slot,
    /// Samples of before it is settled, and whether they are pictures.
    held: Vec<(bool, Sample)>,
    held_bytes: usize,
    fragmenter: Option<Fragmenter>,
}

/// A place for a track.
#[derive(Debug, Default)]
struct Slot {
    source: Option<Result<Source, Unsupported>>,
    samples: usize,
}

impl Recorder {
    /// A recorder for a publish that begins now, or for one that is fed its metadata and headers first. `dvr_path` decides the container. Fails if the stream's name
    /// makes no file name.
    pub fn new(options: Options, dvr_path: &str, name: StreamName) -> Result<Self, path::Error> {
        let (template, container) = template(dvr_path);
        template.fill(&Values { time: Some(Civil::default()), ..Values::new(&name) })?;
        Ok(Self {
            clock: Clock::new(options.jitter),
            options,
            name,
            template,
            container,
            metadata: Object::new(),
            audio: None,
            video: None,
            last_video: None,
            file: None,
            actions: VecDeque::new(),
        })
    }

    /// Takes the next frame; `now` is what a file that begins with it is named after. Fails if there is no
    /// name for that file; the frame is then left out.
    pub fn push(&mut self, frame: &Frame, now: Civil) -> Result<(), path::Error> {
        match frame.kind {
            FrameKind::Metadata => {
                // It belongs to the head, which is written by now: the next file will have it.
                if let Ok(metadata) = Metadata::parse(&frame.payload) {
                    self.metadata = metadata.object;
                }
                Ok(())
            }
            FrameKind::AudioHeader => {
                let codec = AudioTag::parse(&frame.payload).map_or(AudioCodec::Other, |tag| tag.codec);
                if changes(&mut self.audio, codec, frame) {
                    self.header_changed(frame);
                }
                Ok(())
            }
            FrameKind::VideoHeader => {
                let codec = VideoTag::parse(&frame.payload).map_or(VideoCodec::Other, |tag| tag.codec);
                if changes(&mut self.video, codec, frame) {
                    self.header_changed(frame);
                }
                Ok(())
            }
            FrameKind::Audio | FrameKind::Keyframe | FrameKind::Video => self.push_coded(frame, now),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The publish or the recording ends: the file is completed.
    pub fn end(&mut self) {
        self.close();
    }

    /// What was to be done could not be: the file is given up as it is, and nothing more is asked for it. What
    /// is there of it is made whole as after a crash. The next frame that can begins another file.
    pub fn lost(&mut self) {
        self.actions.clear();
        self.file = None;
    }

    /// The file being written.
    pub fn status(&self) -> Option<Status<'_>> {
        let file = self.file.as_ref()?;
        Some(Status { path: &file.path, duration: file.duration(), bytes: file.bytes })
    }

    fn push_coded(&mut self, frame: &Frame, now: Civil) -> Result<(), path::Error> {
        let step = self.clock.next(frame.kind, frame.dts);
        let at = step.time;
        if step.jumped {
            self.close();
            self.last_video = self.last_video.map(|_| at);
        }
        let has_picture_or_sound = self.note_codec(frame);
        if self.file.as_ref().is_some_and(|file| has_picture_or_sound && self.ends_before(file, frame, at)) {
            self.close();
        }
        if has_picture_or_sound && frame.kind.is_video() {
            self.last_video = Some(at);
        }
        let waits = self.options.wait_keyframe && frame.kind == FrameKind::Video;
        if self.file.is_none() {
            if waits || !has_picture_or_sound {
                return Ok(());
            }
            self.open(at, now)?;
        }
        let file = self.file.as_mut().expect("opened above");
        if (waits && !file.started) || (file.muted && frame.kind.is_audio()) {
            return Ok(());
        }
        file.started |= frame.kind == FrameKind::Keyframe;
        file.last = file.last.max(at);
        file.write(&mut self.actions, frame, at, self.options.flush);
        Ok(())
    }

    /// Notes the codec of a coded frame; false if it is no picture and no sound. Some codecs have no header:
    /// this is where they are found to have changed.
    fn note_codec(&mut self, frame: &Frame) -> bool {
        fn changed<C: PartialEq>(header: &mut Option<Header<C>>, codec: C) -> bool {
            match header {
                Some(known) if known.codec == codec => false,
                known => known.replace(Header { codec, frame: None }).is_some(),
            }
        }
        let (coded, changed) = if frame.kind.is_audio() {
            let Some(tag) = AudioTag::parse(&frame.payload) else { return false };
            let coded = tag.packet == Packet::Coded && tag.track == 0;
            (coded, coded && changed(&mut self.audio, tag.codec))
        } else {
            let Some(tag) = VideoTag::parse(&frame.payload) else { return false };
            let coded = tag.packet == Packet::Coded && tag.track == 0;
            (coded, coded && changed(&mut self.video, tag.codec))
        };
        let late = self.file.as_ref().is_some_and(|file| file.cannot_take(frame));
        if changed || late {
            self.part_with(frame.kind);
        }
        coded
    }

    /// A header that says something new: the file takes it, or has to end.
    fn header_changed(&mut self, frame: &Frame) {
        let Some(file) = &mut self.file else { return };
        if file.has(frame.kind) || file.is_settled() {
            self.part_with(frame.kind);
        } else {
            file.describe(&mut self.actions, frame);
        }
    }

    /// The file cannot hold what now comes of this kind. Where pictures go on it is kept until they can begin
    /// another, without sound; otherwise it ends here.
    fn part_with(&mut self, kind: FrameKind) {
        match &mut self.file {
            Some(file) if kind.is_audio() && file.started => {
                file.muted = true;
                file.ends = true;
            }
            Some(file) if kind.is_video() && !file.has(kind) => file.ends = true,
            Some(_) => self.close(),
            None => {}
        }
    }

    /// Whether the file is complete without this frame.
    fn ends_before(&self, file: &File, frame: &Frame, at: Millis) -> bool {
        let is_place = match frame.kind {
            FrameKind::Keyframe => true,
            _ if !self.options.wait_keyframe => true,
            // Where there are pictures they decide, unless they have stopped.
            FrameKind::Audio => self.last_video.is_none_or(|last| at - last > VIDEO_GONE),
            _ => false,
        };
        let is_long = match self.options.plan {
            Plan::Segment(duration) => duration > 0 && at - file.base >= duration,
            Plan::Session => false,
        };
        let samples = file.samples();
        (is_place && (file.ends || is_long || samples >= MAX_SAMPLES / 4 * 3)) || samples >= MAX_SAMPLES
    }

    fn open(&mut self, at: Millis, now: Civil) -> Result<(), path::Error> {
        let values = Values { time: Some(now), ..Values::new(&self.name) };
        let path = temporary(&self.template.fill(&values)?);
        let body = match self.container {
            Container::Mp4 => Body::Mp4(Mp4::default()),
            Container::Flv => Body::Flv {
                metadata: self.metadata.clone(),
                summary: Summary::default(),
                time: Unwrap::new(),
            },
        };
        self.actions.push_back(Action::Create { path: path.clone() });
        let file = self.file.insert(File {
            path,
            opened: now,
            base: at,
            // Under `off` FLV keeps the stream's times. MP4 cannot begin anywhere but at 0.
            zero: match self.container {
                Container::Flv if self.options.jitter == Jitter::Off => 0,
                Container::Flv => at,
                Container::Mp4 => at - LEAD,
            },
            last: at,
            synced: at,
            has: [false; 2],
            started: false,
            muted: false,
            ends: false,
            bytes: 0,
            body,
        });
        if let Body::Flv { metadata, summary, .. } = &file.body {
            let head = head(metadata, summary);
            file.append(&mut self.actions, head.into());
        }
        // As SRS: video first.
        let video = self.video.as_ref().and_then(|header| header.frame.as_ref());
        let audio = self.audio.as_ref().and_then(|header| header.frame.as_ref());
        for header in [video, audio].into_iter().flatten() {
            file.describe(&mut self.actions, header);
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(mut file) = self.file.take() else { return };
        file.flush(&mut self.actions);
        let from = file.path.clone();
        if !file.has(FrameKind::Audio) && !file.has(FrameKind::Video) {
            self.actions.push_back(Action::Close(Close::Discard { path: from }));
            return;
        }
        let duration = file.duration();
        let values = Values { time: Some(file.opened), duration: Some(duration), ..Values::new(&self.name) };
        // A few digits longer than the temporary name, which was short enough with its ending.
        let to = self.template.fill(&values).unwrap_or_else(|_| repaired(&from, duration));
        let close = match &file.body {
            Body::Flv { metadata, summary, .. } => {
                let bytes = head(metadata, summary).into();
                self.actions.push_back(Action::Patch { offset: 0, bytes });
                Close::Keep { from, to: to.clone() }
            }
            Body::Mp4(_) => Close::Finalise { from, to: to.clone() },
        };
        self.actions.push_back(Action::Close(close));
        self.actions.push_back(Action::Recorded(Recorded { path: to, duration }));
    }
}

impl File {
    fn duration(&self) -> Millis {
        match &self.body {
            Body::Flv { summary, .. } => summary.duration(),
            Body::Mp4(_) => self.last - self.base,
        }
    }

    /// Whether there is media of that kind in it.
    fn has(&self, kind: FrameKind) -> bool {
        self.has[usize::from(kind.is_video())]
    }

    /// Whether no track can be added any more.
    fn is_settled(&self) -> bool {
        matches!(&self.body, Body::Mp4(mp4) if mp4.fragmenter.is_some())
    }

    /// Whether a coded frame describes a track that cannot be added any more.
    fn cannot_take(&self, frame: &Frame) -> bool {
        match &self.body {
            Body::Mp4(mp4) => {
                let is_new = self.is_settled() && mp4.slot(frame.kind).source.is_none();
                is_new && matches!(Source::new(frame), Some(Ok(_)))
            }
            Body::Flv { .. } => false,
        }
    }

    fn samples(&self) -> usize {
        match &self.body {
            Body::Mp4(mp4) => mp4.audio.samples + mp4.video.samples,
            Body::Flv { .. } => 0,
        }
    }

    /// Writes or notes a sequence header.
    fn describe(&mut self, actions: &mut VecDeque<Action>, header: &Frame) {
        let at = self.last;
        match &mut self.body {
            Body::Flv { .. } => self.append_tag(actions, header, at),
            Body::Mp4(mp4) => mp4.describe(actions, header),
        }
    }

    fn write(&mut self, actions: &mut VecDeque<Action>, frame: &Frame, at: Millis, flush: Millis) {
        let time = at - self.zero;
        let (taken, full) = match &mut self.body {
            Body::Mp4(mp4) => {
                // The time of this frame tells how long the samples before it last, so it comes in first.
                (mp4.push(actions, frame, time.max(0)).is_some(), mp4.pending_bytes() >= MAX_HELD)
            }
            Body::Flv { .. } => {
                self.append_tag(actions, frame, at);
                (true, false)
            }
        };
        self.has[usize::from(frame.kind.is_video())] |= taken;
        if full || self.last - self.synced >= flush {
            self.flush(actions);
        }
    }

    /// Hands out what is held back, and asks for it to be kept safe.
    fn flush(&mut self, actions: &mut VecDeque<Action>) {
        if let Body::Mp4(mp4) = &mut self.body {
            for piece in mp4.flush() {
                self.append(actions, piece);
            }
        }
        self.synced = self.last;
        actions.push_back(Action::Sync);
    }

    fn append_tag(&mut self, actions: &mut VecDeque<Action>, frame: &Frame, at: Millis) {
        let Body::Flv { summary, time, .. } = &mut self.body else { return };
        let len = frame.payload.len();
        if len > MAX_BODY {
            return; // no publisher can send that
        }
        const FIELD: Millis = 0x7fff_ffff;
        let wire = ((at - self.zero).max(0) & FIELD) as u32;
        summary.note(frame.kind, time.next(wire), self.bytes, len);
        let header = mux::tag_header(frame.kind.tag_type(), len, wire);
        self.append(actions, Bytes::copy_from_slice(&header));
        self.append(actions, frame.payload.clone());
        self.append(actions, Bytes::copy_from_slice(&mux::previous_tag_size(len)));
    }

    fn append(&mut self, actions: &mut VecDeque<Action>, bytes: Bytes) {
        self.bytes += bytes.len() as u64;
        actions.push_back(Action::Append(bytes));
    }
}

impl Mp4 {
    fn slot(&self, kind: FrameKind) -> &Slot {
        if kind.is_audio() { &self.audio } else { &self.video }
    }

    fn slot_mut(&mut self, kind: FrameKind) -> &mut Slot {
        if kind.is_audio() { &mut self.audio } else { &mut self.video }
    }

    /// Takes what describes a track, while none of its samples is there.
    fn describe(&mut self, actions: &mut VecDeque<Action>, frame: &Frame) {
        let Some(source) = Source::new(frame) else { return };
        if let Err(error) = source {
            actions.push_back(Action::LeftOut(error));
        }
        self.slot_mut(frame.kind).source = Some(source);
    }

    /// Takes a coded frame; `None` if it belongs to no track.
    fn push(&mut self, actions: &mut VecDeque<Action>, frame: &Frame, time: Millis) -> Option<()> {
        if self.slot(frame.kind).source.is_none() && self.fragmenter.is_none() {
            self.describe(actions, frame);
        }
        let slot = self.slot_mut(frame.kind);
        let sample = slot.source.as_mut()?.as_mut().ok()?.sample(frame, time)?;
        slot.samples += 1;
        let video = frame.kind.is_video();
        match &mut self.fragmenter {
            Some(fragmenter) => {
                if let Some(track) = fragmenter.track(video) {
                    fragmenter.push(track, sample);
                }
            }
            None => {
                self.held_bytes += sample.data.len();
                self.held.push((video, sample));
            }
        }
        Some(())
    }

    fn pending_bytes(&self) -> usize {
        self.held_bytes + self.fragmenter.as_ref().map_or(0, Fragmenter::pending_bytes)
    }

    /// What is held, as the file's next fragment, behind its beginning if it is the first. Which tracks there
    /// are is settled then: those that are described.
    fn flush(&mut self) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        if self.fragmenter.is_none() {
            if self.held.is_empty() {
                return pieces;
            }
            let tracks = [&self.video, &self.audio];
            let tracks = tracks.into_iter().filter_map(|slot| slot.source.as_ref()?.as_ref().ok());
            let mut fragmenter = Fragmenter::new(tracks.map(|source| source.track().clone()).collect());
            pieces.push(fragmenter.init_segment().into());
            for (video, sample) in self.held.drain(..) {
                if let Some(track) = fragmenter.track(video) {
                    fragmenter.push(track, sample);
                }
            }
            self.held_bytes = 0;
            self.fragmenter = Some(fragmenter);
        }
        pieces.extend(self.fragmenter.iter_mut().flat_map(Fragmenter::flush));
        pieces
    }
}

/// Puts a header in force; false if it says what was known.
fn changes<C: PartialEq>(header: &mut Option<Header<C>>, codec: C, frame: &Frame) -> bool {
    let known = header.as_ref().and_then(|header| header.frame.as_ref());
    let is_new = known.is_none_or(|known| known.payload != frame.payload);
    if is_new {
        *header = Some(Header { codec, frame: Some(frame.clone()) });
    }
    is_new
}

/// The template and container of a `dvr_path`.
fn template(dvr_path: &str) -> (Template, Container) {
    match dvr_path {
        path if path.ends_with(".mp4") => (Template::new(path), Container::Mp4),
        path if path.ends_with(".flv") => (Template::new(path), Container::Flv),
        path => (Template::new([path.trim_end_matches('/'), DEFAULT_NAME].concat()), Container::Flv),
    }
}

/// What a recording is called that was found unfinished under this temporary name, and put right.
pub fn repaired(temporary: &str, duration: Millis) -> String {
    let path = temporary.strip_suffix(TEMPORARY).unwrap_or(temporary);
    path.replace("[duration]", &duration.to_string())
}
