//! One name in the hub: idle, or live with one publisher.
//!
//! The stream corrects the time of each frame once, remembers what a newcomer needs first (metadata and
//! decoder configurations) and the running GOP, and appends the frame to its lanes. It is held by its
//! publisher, its lanes and its watchers, and leaves the hub when the last of them goes. One mutex guards
//! all of it; only the publisher and newcomers take it, never a shard that delivers.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use mill_media::flv::script::Metadata;
use mill_media::frame::{Frame, FrameKind, Millis};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::gop::{Gop, Place};
use crate::hub::{Registry, StreamId};
use crate::lane::{Lane, WireFormat};
use crate::sound::Sound;
use crate::tap::{Line, Taps};
use crate::timeline::{Mix, TimeJitter, Timeline};

/// What the vhost says about its streams. Taken when a publisher comes; [`Stream::reconfigure`] changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// How timestamps are corrected (`play.time_jitter`).
    pub jitter: TimeJitter,
    /// Put frames in order of time before delivery (`play.mix_correct`).
    pub mix_correct: bool,
    /// Pass timestamps as they are (`play.atc`).
    pub atc: bool,
    /// Do so if the metadata says `bravo_atc` = `"true"` (`play.atc_auto`).
    pub atc_auto: bool,
    /// Newcomers start at the last keyframe (`play.gop_cache`); otherwise wherever the stream is.
    pub gop_cache: bool,
    /// A GOP of more frames than this is not offered to newcomers (`play.gop_cache_max_frames`).
    pub gop_cache_max_frames: usize,
    /// How far a viewer may fall behind, in milliseconds, before it is moved on (`play.queue_length`).
    pub queue_length: Millis,
    /// Sound that is kept for newcomers of formats of sound alone, in milliseconds (`http_remux.fast_cache`).
    pub sound_cache: Millis,
    /// Repeated, unchanged decoder configurations are not passed on (`play.reduce_sequence_header`).
    pub reduce_sequence_header: bool,
}

impl Default for StreamOptions {
    /// SRS's defaults.
    fn default() -> Self {
        Self {
            jitter: TimeJitter::Full,
            mix_correct: false,
            atc: false,
            atc_auto: false,
            gop_cache: true,
            gop_cache_max_frames: 2500,
            queue_length: 30_000,
            sound_cache: 0,
            reduce_sequence_header: false,
        }
    }
}

impl StreamOptions {
    fn timeline_mode(&self) -> TimeJitter {
        if self.atc { TimeJitter::Off } else { self.jitter }
    }
}

/// Which tracks a stream carries, by what was seen and by what its metadata announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracks {
    /// There is audio.
    pub audio: bool,
    /// There is video.
    pub video: bool,
}

/// What a newcomer needs before the first coded frame.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers {
    metadata: Option<Bytes>,
    audio: Option<Bytes>,
    video: Option<Bytes>,
    pub(crate) tracks: Tracks,
}

impl Headers {
    /// The headers as frames at time `dts`, in the order players expect.
    pub(crate) fn frames(&self, dts: Millis) -> impl Iterator<Item = Frame> {
        let frame =
            move |kind, payload: &Option<Bytes>| payload.clone().map(|payload| Frame { kind, dts, payload });
        [
            frame(FrameKind::Metadata, &self.metadata),
            frame(FrameKind::AudioHeader, &self.audio),
            frame(FrameKind::VideoHeader, &self.video),
        ]
        .into_iter()
        .flatten()
    }

    /// The publish has ended.
    pub(crate) fn forget_all_but_tracks(&mut self) {
        *self = Self { tracks: self.tracks, ..Self::default() };
    }

    /// Remembers a header, and which tracks a frame shows there to be. Gives whether a decoder
    /// configuration merely repeats what was known.
    fn note(&mut self, frame: &Frame) -> bool {
        self.tracks.audio |= frame.kind.is_audio();
        self.tracks.video |= frame.kind.is_video();
        let place = match frame.kind {
            FrameKind::Metadata => {
                if let Ok(metadata) = Metadata::parse(&frame.payload) {
                    self.tracks.audio |= metadata.has_audio();
                    self.tracks.video |= metadata.has_video();
                }
                self.metadata = Some(frame.payload.clone());
                return false;
            }
            FrameKind::AudioHeader => &mut self.audio,
            FrameKind::VideoHeader => &mut self.video,
            _ => return false,
        };
        if place.as_ref() == Some(&frame.payload) {
            return true;
        }
        // A copy: these few bytes are kept for long and must not keep the publisher's read buffer.
        *place = Some(Bytes::copy_from_slice(&frame.payload));
        false
    }
}

/// What a stream has seen since it came into being. Relaxed counters: exact in the long run.
#[derive(Debug, Default)]
pub struct Counters {
    /// Video frames received.
    pub frames: AtomicU64,
    /// Audio frames received.
    pub audio_frames: AtomicU64,
    /// Keyframes among the video frames.
    pub keyframes: AtomicU64,
    /// Media time from the last keyframe but one to the last, in milliseconds; 0 before there are two.
    pub keyframe_interval: AtomicU64,
    /// Payload bytes received from publishers.
    pub received: AtomicU64,
    /// Bytes written to viewers, in all formats.
    pub sent: AtomicU64,
    /// Times a slow viewer was moved to a newer place.
    pub skips: AtomicU64,
}

/// What tells about the coding of a stream: of each track the decoder configuration or, where its codec
/// has none, the beginning of a coded frame. For `mill_media::codec::video_info` and `audio_info`.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// The body of an audio tag.
    pub audio: Option<Bytes>,
    /// The body of a video tag.
    pub video: Option<Bytes>,
}

impl Samples {
    /// As much of a coded frame as is kept: its own headers.
    const BEGINNING: usize = 64;

    /// Remembers the beginning of the first frame of each track.
    fn note(&mut self, frame: &Frame) {
        let place = match frame.kind {
            FrameKind::Audio => &mut self.audio,
            FrameKind::Keyframe => &mut self.video,
            _ => return,
        };
        if place.is_none() {
            let end = frame.payload.len().min(Self::BEGINNING);
            *place = Some(Bytes::copy_from_slice(&frame.payload[..end]));
        }
    }
}

/// A named stream.
pub struct Stream {
    id: StreamId,
    registry: Weak<Registry>,
    counters: Counters,
    viewers: AtomicUsize,
    /// The first viewer came, or the last one left.
    crowd: Notify,
    /// Taps with viewers behind them.
    live_taps: AtomicUsize,
    inner: Mutex<Inner>,
}

struct Inner {
    live: bool,
    options: StreamOptions,
    timeline: Timeline,
    mix: Mix,
    headers: Headers,
    /// The headers as they were where the running GOP starts.
    headers_at_start: Headers,
    gop: Gop,
    sound: Sound,
    samples: Samples,
    /// Time of the last keyframe of this publish.
    keyframe: Option<Millis>,
    lanes: Vec<Weak<Lane>>,
    taps: Taps,
    /// How often it was published; the number of the running publish.
    publishes: u64,
}

impl Stream {
    pub(crate) fn new(id: StreamId, registry: Weak<Registry>) -> Self {
        let options = StreamOptions::default();
        Self {
            id,
            registry,
            counters: Counters::default(),
            viewers: AtomicUsize::new(0),
            crowd: Notify::new(),
            live_taps: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                live: false,
                timeline: Timeline::new(options.jitter),
                options,
                mix: Mix::default(),
                headers: Headers::default(),
                headers_at_start: Headers::default(),
                gop: Gop::default(),
                sound: Sound::default(),
                samples: Samples::default(),
                keyframe: None,
                lanes: Vec::new(),
                taps: Taps::default(),
                publishes: 0,
            }),
        }
    }

    /// Its name.
    pub fn id(&self) -> &StreamId {
        &self.id
    }

    /// Whether somebody publishes it.
    pub fn is_live(&self) -> bool {
        self.inner.lock().live
    }

    /// Lets those go who wait for a publisher: there will be none. They end as with a publish, whole but without
    /// media; formats whose viewers outlast a publish go on waiting. Nothing happens while somebody publishes.
    pub fn dismiss(&self) {
        let inner = self.inner.lock();
        if !inner.live {
            for lane in inner.lanes() {
                lane.dismiss();
                lane.wake();
            }
        }
    }

    /// Viewers in all formats, those who wait for a publisher included.
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Waits until the first viewer has come or the last one has left, perhaps before this call: look at
    /// [`Self::viewers`] then. For one task, which gets the stream from elsewhere as long as it is wanted.
    pub async fn crowd_changed(&self) {
        self.crowd.notified().await;
    }

    /// Viewers, and other servers that have it from here for theirs.
    pub fn audience(&self) -> usize {
        self.viewers() + self.live_taps.load(Ordering::Relaxed)
    }

    pub(crate) fn live_tap_comes(&self) {
        self.live_taps.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn live_tap_goes(&self) {
        self.live_taps.fetch_sub(1, Ordering::Relaxed);
    }

    /// What it has seen.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Notes that a slow viewer was moved to a newer place.
    pub fn count_skip(&self) {
        self.counters.skips.fetch_add(1, Ordering::Relaxed);
        if let Some(registry) = self.registry.upgrade() {
            registry.count_skip();
        }
    }

    /// What tells about its coding; nothing while nobody publishes it.
    pub fn samples(&self) -> Samples {
        let inner = self.inner.lock();
        let or = |header: &Option<Bytes>, sample: &Option<Bytes>| header.clone().or_else(|| sample.clone());
        Samples {
            audio: or(&inner.headers.audio, &inner.samples.audio),
            video: or(&inner.headers.video, &inner.samples.video),
        }
    }

    /// Its lanes, and the bytes they hold for viewers.
    pub fn held(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        inner.lanes().fold((0, 0), |(lanes, bytes), lane| (lanes + 1, bytes + lane.held()))
    }

    /// The stream in a wire format. All who ask for an equal format while it is held share one lane.
    pub fn lane(self: &Arc<Self>, format: Arc<dyn WireFormat>) -> Arc<Lane> {
        let mut inner = self.inner.lock();
        inner.lanes.retain(|lane| lane.strong_count() > 0);
        let key = format.key();
        if let Some(lane) =
            inner.lanes.iter().filter_map(Weak::upgrade).find(|lane| lane.format().key() == key)
        {
            return lane;
        }
        let lane = Arc::new(Lane::new(self.clone(), format));
        if inner.live {
            inner.fill(&lane);
            lane.resume(&inner.headers, inner.timeline.now(), inner.gop.begun());
        }
        inner.lanes.push(Arc::downgrade(&lane));
        lane
    }

    /// Takes the stream for a publisher; `false` if it has one.
    pub(crate) fn begin(&self, options: StreamOptions) -> bool {
        let mut inner = self.inner.lock();
        if inner.live {
            return false;
        }
        inner.live = true;
        inner.publishes += 1;
        inner.timeline.restart(options.timeline_mode());
        inner.sound = Sound::new(options.sound_cache);
        inner.options = options;
        for lane in inner.lanes() {
            lane.begin(&inner.options, &inner.headers);
        }
        true
    }

    /// The number of the running publish.
    pub(crate) fn publishes(&self) -> u64 {
        self.inner.lock().publishes
    }

    /// Gives a new tap what it begins with, and every frame from then on; `false` if that publish has ended.
    pub(crate) fn attach(&self, publish: u64, tap: &Arc<Line>) -> bool {
        let mut inner = self.inner.lock();
        if !inner.live || inner.publishes != publish {
            return false;
        }
        inner.fill_tap(tap);
        inner.taps.add(tap);
        true
    }

    /// Gives a live stream other settings. Its viewers stay; those who come before the next keyframe start
    /// where the stream is if the running GOP was kept under other rules. An idle stream gets its settings
    /// from its next publisher.
    pub fn reconfigure(&self, options: &StreamOptions) {
        let mut inner = self.inner.lock();
        if !inner.live || inner.options == *options {
            return;
        }
        let old = std::mem::replace(&mut inner.options, options.clone());
        if old.mix_correct && !options.mix_correct {
            inner.deliver_held();
        }
        let retimed = old.timeline_mode() != options.timeline_mode();
        if retimed {
            inner.timeline.set_mode(options.timeline_mode());
        }
        if retimed || old.gop_cache != options.gop_cache {
            inner.gop.abandon();
        }
        if old.sound_cache != options.sound_cache {
            inner.sound = Sound::new(options.sound_cache);
        }
        for lane in inner.lanes() {
            lane.reconfigure(options, retimed);
        }
    }

    pub(crate) fn end(&self) {
        let mut inner = self.inner.lock();
        inner.deliver_held();
        inner.live = false;
        inner.headers = Headers::default();
        inner.headers_at_start = Headers::default();
        inner.gop = Gop::default();
        inner.sound = Sound::default();
        inner.samples = Samples::default();
        inner.keyframe = None;
        inner.taps.end();
        for lane in inner.lanes() {
            lane.end();
            lane.wake();
        }
    }

    pub(crate) fn push(&self, kind: FrameKind, timestamp: u32, payload: Bytes) {
        self.counters.received.fetch_add(payload.len() as u64, Ordering::Relaxed);
        match kind {
            FrameKind::Keyframe | FrameKind::Video => self.counters.frames.fetch_add(1, Ordering::Relaxed),
            FrameKind::Audio => self.counters.audio_frames.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let mut inner = self.inner.lock();
        let dts = inner.timeline.correct(kind, timestamp);
        if kind == FrameKind::Keyframe {
            self.counters.keyframes.fetch_add(1, Ordering::Relaxed);
            if let Some(before) = inner.keyframe.replace(dts) {
                let interval = u64::try_from(dts - before).unwrap_or(0);
                self.counters.keyframe_interval.store(interval, Ordering::Relaxed);
            }
        }
        let frame = Frame { kind, dts, payload };
        if kind == FrameKind::Metadata && inner.options.atc_auto && wants_atc(&frame.payload) {
            inner.timeline.set_mode(TimeJitter::Off);
        }
        if inner.options.mix_correct && !kind.is_header() {
            inner.mix.push(frame);
            while let Some(frame) = inner.mix.pop() {
                inner.deliver(frame);
            }
        } else {
            if kind != FrameKind::Metadata {
                // A decoder configuration is for the frames behind it, not for those still held back.
                inner.deliver_held();
            }
            inner.deliver(frame);
        }
    }

    pub(crate) fn wake(&self) {
        let inner = self.inner.lock();
        inner.lanes().for_each(|lane| lane.wake());
        inner.taps.each().for_each(|tap| tap.wake());
    }
}

fn wants_atc(metadata: &[u8]) -> bool {
    Metadata::parse(metadata).is_ok_and(|m| m.bravo_atc())
}

impl Inner {
    fn lanes(&self) -> impl Iterator<Item = Arc<Lane>> {
        self.lanes.iter().filter_map(Weak::upgrade)
    }

    /// Gives a new lane what its newcomers start with.
    fn fill(&self, lane: &Lane) {
        let mut gop = self.gop.frames().peekable();
        let sound_only = lane.format().sound_only();
        let at_start = gop.peek().is_some() && !sound_only;
        lane.begin(&self.options, if at_start { &self.headers_at_start } else { &self.headers });
        if sound_only {
            gop.for_each(|frame| lane.learn(&frame));
            self.sound.frames().for_each(|frame| lane.append(frame, Place::Inside, &self.headers));
            return;
        }
        let mut place = Place::Start;
        for frame in gop {
            lane.append(&frame, place, &self.headers_at_start);
            place = Place::Inside;
        }
    }

    fn fill_tap(&self, tap: &Line) {
        let mut gop = self.gop.frames().filter(|_| tap.wants_gop()).peekable();
        let at = gop.peek().map_or_else(|| self.timeline.now(), |first| first.dts);
        let headers = if gop.peek().is_some() { &self.headers_at_start } else { &self.headers };
        headers.frames(at).for_each(|frame| tap.push(&frame, Place::Inside, headers));
        gop.for_each(|frame| tap.push(&frame, Place::Inside, headers));
        tap.wake();
    }

    fn deliver_held(&mut self) {
        while let Some(frame) = self.mix.pop_any() {
            self.deliver(frame);
        }
    }

    fn deliver(&mut self, frame: Frame) {
        let repeated = self.headers.note(&frame);
        self.samples.note(&frame);
        if repeated && self.options.reduce_sequence_header {
            return;
        }
        self.sound.push(&frame, repeated);
        let place = self.gop.push(&frame, self.options.gop_cache, self.options.gop_cache_max_frames);
        if place == Place::Start {
            self.headers_at_start = self.headers.clone();
        }
        for lane in self.lanes() {
            lane.append(&frame, place, &self.headers);
        }
        for tap in self.taps.each() {
            tap.push(&frame, place, &self.headers);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.forget(&self.id);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.id).finish()
    }
}

/// A viewer's hold on a stream: counts as one viewer until dropped.
#[derive(Debug)]
pub struct Watch(Arc<Stream>);

impl Watch {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        if stream.viewers.fetch_add(1, Ordering::Relaxed) == 0 {
            stream.crowd.notify_one();
        }
        Self(stream)
    }

    /// The stream watched.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.0.viewers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.crowd.notify_one();
        }
    }
}
