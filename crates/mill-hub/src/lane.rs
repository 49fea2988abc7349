//! A stream in one wire format: written once, read by every shard of viewers.
//!
//! A lane is kept alive by those who read it ([`Reader`]s and whoever holds the `Arc`), keeps its stream
//! alive, and is forgotten by the stream when the last of them goes. The publisher appends to it and
//! wakes its readers; it neither knows nor waits for viewers. One mutex guards the log and the list of
//! readers; it is held for an append, or for cloning a few shared slices.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use mill_media::frame::{Frame, Millis};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::gop::Place;
use crate::log::{Batch, Join, Lagged, Log};
use crate::stream::{Headers, Stream, StreamOptions, Tracks};

/// What makes two wire formats the same: viewers of equal formats share a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FormatKey {
    /// Name of the format.
    pub name: &'static str,
    /// Whatever else the bytes depend on, such as a chunk size.
    pub variant: u32,
}

/// A form that streams have on a wire. Implemented by whoever knows the protocol.
pub trait WireFormat: fmt::Debug + Send + Sync + 'static {
    /// Identity of the format.
    fn key(&self) -> FormatKey;

    /// A writer for one publish of one stream.
    fn writer(&self) -> Box<dyn Writer>;

    /// What each viewer gets once, before headers and frames: a file header, for instance.
    fn preamble(&self, _tracks: Tracks, _out: &mut BytesMut) {}

    /// Whether a viewer's connection ends with the publish, and what it is sent last.
    /// `None`: the viewer stays and sees the next publish.
    fn finish(&self) -> Option<Bytes> {
        None
    }

    /// It carries sound and nothing else: newcomers may start at any frame, and do so as far back as
    /// [`StreamOptions::sound_cache`] says.
    fn sound_only(&self) -> bool {
        false
    }
}

/// Turns the frames of one publish into bytes. It is given every frame in order, metadata and decoder
/// configurations included; what it gave to a lane's log is the same for all viewers of the lane.
pub trait Writer: Send {
    /// About how many bytes a frame takes: more than that is copied once more.
    fn room(&self, payload: usize) -> usize {
        // Headers, and chunk marks every 128 bytes at worst.
        64 + payload + payload / 32
    }

    /// Appends one frame in wire form. May append nothing if the format does not carry such frames.
    ///
    /// # Errors
    /// [`Barren`] as long as there is nothing in the stream that the format carries: its viewers are let go.
    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren>;

    /// Newcomers will start at the next frame: appends to the log what has to stand before it for everybody.
    /// `true` if with that they need no headers of their own.
    fn open(&mut self, _log: &mut BytesMut) -> bool {
        false
    }

    /// What a viewer gets who starts between two frames: by default metadata and decoder configurations, as they
    /// are there.
    fn headers(&mut self, headers: &mut dyn Iterator<Item = Frame>, out: &mut BytesMut) {
        for frame in headers {
            let _ = self.write(&frame, out);
        }
    }
}

/// There is nothing in the stream that the format carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream has nothing that this format carries")]
pub struct Barren;

/// How much of the log is cut at once for formats of sound alone, in milliseconds: newcomers start where it was
/// cut.
const SOUND_STEP: Millis = 500;

/// One stream in one wire format.
pub struct Lane {
    stream: Arc<Stream>,
    format: Arc<dyn WireFormat>,
    inner: Mutex<Inner>,
}

struct Inner {
    log: Log,
    writer: Box<dyn Writer>,
    headers: Headers,
    gop_cache: bool,
    /// How far back newcomers start, in milliseconds; `None` where they start at join points.
    sound_cache: Option<Millis>,
    /// The writer says that there is nothing to carry.
    barren: bool,
    /// Media of the running publish has been appended, so that a newcomer has something to begin with.
    started: bool,
    dts: Millis,
    /// Time at which the log was last cut for formats of sound alone.
    cut: Millis,
    /// Where the media of the newest publish begins.
    opening: Option<Join>,
    /// The tick at which the log was last cut for everybody.
    tick: Option<u64>,
    readers: Vec<Arc<Mark>>,
}

/// One reader as the lane sees it.
#[derive(Debug)]
struct Mark {
    moved: Notify,
    /// Lowest batch number it may still ask for.
    floor: AtomicU64,
}

impl Lane {
    pub(crate) fn new(stream: Arc<Stream>, format: Arc<dyn WireFormat>) -> Self {
        let inner = Inner {
            log: Log::new(0),
            writer: format.writer(),
            headers: Headers::default(),
            gop_cache: true,
            sound_cache: None,
            barren: false,
            started: false,
            dts: 0,
            cut: 0,
            opening: None,
            tick: None,
            readers: Vec::new(),
        };
        Self { stream, format, inner: Mutex::new(inner) }
    }

    /// The stream this is a form of.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The wire format.
    pub fn format(&self) -> &dyn WireFormat {
        &*self.format
    }

    /// A new reader, for one group of viewers.
    pub fn reader(self: &Arc<Self>) -> Reader {
        let mut inner = self.inner.lock();
        // From its first moment on nothing new is dropped before it was read.
        let mark = Arc::new(Mark { moved: Notify::new(), floor: AtomicU64::new(inner.log.next()) });
        inner.readers.push(mark.clone());
        Reader { lane: self.clone(), mark }
    }

    /// Whether there is nothing in the running publish that the format carries, as far as is known.
    pub fn is_barren(&self) -> bool {
        self.inner.lock().barren
    }

    /// Bytes it holds for its readers.
    pub(crate) fn held(&self) -> usize {
        self.inner.lock().log.held()
    }

    /// A publisher has come, or had come before the lane.
    pub(crate) fn begin(&self, options: &StreamOptions, headers: &Headers) {
        let mut inner = self.inner.lock();
        inner.take_options(options, self.format.sound_only());
        inner.headers = headers.clone();
        inner.barren = false;
        inner.writer = self.format.writer();
        for frame in headers.frames(0) {
            inner.learn(&frame);
        }
    }

    /// Shows the writer a frame that is not delivered, so that it knows the stream.
    pub(crate) fn learn(&self, frame: &Frame) {
        self.inner.lock().learn(frame);
    }

    /// Other settings for a live stream. After a change of its clock nobody may start in what was written
    /// before.
    pub(crate) fn reconfigure(&self, options: &StreamOptions, retimed: bool) {
        let mut inner = self.inner.lock();
        inner.take_options(options, self.format.sound_only());
        if retimed {
            inner.log.forget_join();
            inner.opening = None;
        }
    }

    /// Makes a lane that was filled from the running GOP go on from now.
    pub(crate) fn resume(&self, headers: &Headers, dts: Millis, started: bool) {
        let mut inner = self.inner.lock();
        inner.headers = headers.clone();
        inner.dts = dts;
        inner.started = started;
    }

    /// Appends a frame that stands at `place`, with `headers` in force from it on.
    pub(crate) fn append(&self, frame: &Frame, place: Place, headers: &Headers) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let opens = place == Place::Start && !inner.started;
        if place == Place::Start || frame.kind.is_header() || !inner.started {
            inner.headers = headers.clone();
        }
        match place {
            Place::Start if inner.sound_cache.is_none() => {
                let headers = inner.open(frame.dts);
                if opens {
                    inner.opening = Some(Join { headers, next: inner.log.next() });
                }
                inner.trim();
            }
            // Whether sound is delivered from the first frame on does not depend on join points.
            Place::Start if opens => {
                inner.log.seal();
                inner.opening = Some(Join { headers: Bytes::new(), next: inner.log.next() });
            }
            Place::Lost => inner.log.forget_join(),
            Place::Start | Place::Inside => {}
        }
        if inner.sound_cache.is_some() && !(0..SOUND_STEP).contains(&(frame.dts - inner.cut)) {
            inner.log.seal();
            inner.cut = frame.dts;
        }
        inner.dts = frame.dts;
        inner.started |= !frame.kind.is_header();
        let writer = &mut inner.writer;
        let mut written = Ok(());
        inner
            .log
            .append(frame.dts, writer.room(frame.payload.len()), |out| written = writer.write(frame, out));
        let barren = written.is_err();
        if barren && !inner.barren {
            inner.log.mark_end();
        }
        if barren && opens {
            inner.opening = None;
        }
        inner.barren = barren;
        if inner.log.is_full() {
            inner.trim();
        }
    }

    /// The publisher has left.
    pub(crate) fn end(&self) {
        let mut inner = self.inner.lock();
        inner.log.mark_end();
        // Who waited and comes only now is still told the tracks.
        inner.headers.forget_all_but_tracks();
        inner.started = false;
        inner.barren = false;
    }

    /// Nothing is to be expected: who waits for the first media comes to an end at once, if the format has one.
    pub(crate) fn dismiss(&self) {
        if self.format.finish().is_some() {
            let mut inner = self.inner.lock();
            let over = inner.over();
            inner.opening = Some(over);
        }
    }

    pub(crate) fn wake(&self) {
        for mark in &self.inner.lock().readers {
            mark.moved.notify_one();
        }
    }
}

impl Inner {
    fn take_options(&mut self, options: &StreamOptions, sound_only: bool) {
        self.gop_cache = options.gop_cache;
        self.sound_cache = sound_only.then_some(options.sound_cache);
        let keep = self.sound_cache.unwrap_or(0);
        self.log.set_window(options.queue_length.saturating_add(keep), keep);
    }

    /// Lets newcomers start at the next frame, and gives what they get before it.
    fn open(&mut self, dts: Millis) -> Bytes {
        self.log.seal();
        let next = self.log.next();
        let writer = &mut self.writer;
        let mut complete = false;
        self.log.append(dts, writer.room(0), |out| complete = writer.open(out));
        let headers = if complete { Bytes::new() } else { self.write_headers(dts) };
        self.log.mark_join(Join { headers: headers.clone(), next });
        headers
    }

    fn learn(&mut self, frame: &Frame) {
        self.barren = self.writer.write(frame, &mut BytesMut::new()).is_err();
    }

    /// What a viewer gets who starts right here.
    fn write_headers(&mut self, dts: Millis) -> Bytes {
        let mut out = BytesMut::new();
        self.writer.headers(&mut self.headers.frames(dts), &mut out);
        out.freeze()
    }

    /// Where a viewer starts who takes what comes next.
    fn live(&mut self) -> Join {
        self.log.seal();
        let headers = self.write_headers(self.dts);
        Join { headers, next: self.log.next() }
    }

    /// Where a viewer starts for whom there is nothing: at an end.
    fn over(&mut self) -> Join {
        self.log.mark_end();
        Join { headers: Bytes::new(), next: self.log.next() - 1 }
    }

    fn trim(&mut self) {
        let floor = self.readers.iter().map(|m| m.floor.load(Ordering::Relaxed)).min();
        self.log.trim(floor.unwrap_or(u64::MAX));
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("stream", self.stream.id()).field("format", &self.format.key()).finish()
    }
}

/// A shard's view of a lane. Dropping it leaves.
///
/// The reader tells the lane the lowest batch its viewers may still ask for ([`Self::set_floor`]), so that
/// the log keeps no more than somebody needs.
#[derive(Debug)]
pub struct Reader {
    lane: Arc<Lane>,
    mark: Arc<Mark>,
}

impl Reader {
    /// The lane read.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Waits until something was appended since the last call. Cancel safe; may return without news.
    pub async fn moved(&self) {
        self.mark.moved.notified().await;
    }

    /// Flushes: makes all that was appended readable, adds what lies from `from` on to `out`, and gives the
    /// number to go on from.
    ///
    /// Readers that flush at the same `tick` see the same batches: the first of them cuts the log, for all.
    /// `None` cuts it anyhow.
    ///
    /// # Errors
    /// [`Lagged`] if that is too far back; `out` is left as it was.
    pub fn flush(&self, from: u64, tick: Option<u64>, out: &mut Vec<Batch>) -> Result<u64, Lagged> {
        let mut inner = self.lane.inner.lock();
        if tick.is_none() || tick != inner.tick {
            inner.log.seal();
            inner.tick = tick;
            // Once for all readers: it asks each of them.
            inner.trim();
        }
        inner.log.read(from, usize::MAX, out)
    }

    /// As [`Self::flush`], but at most `most` batches, and without cutting the open one: for a viewer who
    /// catches up.
    ///
    /// # Errors
    /// [`Lagged`] if that is too far back.
    pub fn read(&self, from: u64, most: usize, out: &mut Vec<Batch>) -> Result<u64, Lagged> {
        self.lane.inner.lock().log.read(from, most, out)
    }

    /// The number of the next batch to come: where a reader without viewers goes on.
    pub fn next(&self) -> u64 {
        self.lane.inner.lock().log.next()
    }

    /// Where a newcomer starts, and which tracks it will see. `None` while there is nothing to begin with.
    ///
    /// Who found nothing when [`Self::next`] was `waits_since` gets a publish that began after that from its first
    /// frame, even one that has ended already.
    pub fn join(&self, waits_since: Option<u64>) -> Option<(Join, Tracks)> {
        let mut inner = self.lane.inner.lock();
        let inner = &mut *inner;
        let first = inner.log.first();
        let waited_for = |join: &Join| waits_since.is_some_and(|since| join.next >= since.max(first));
        let join = if let Some(opening) = inner.opening.clone().filter(waited_for) {
            opening
        } else if inner.barren {
            inner.over()
        } else if !inner.started {
            return None;
        } else {
            match inner.sound_cache {
                None if inner.gop_cache => inner.log.join(),
                Some(back) if back > 0 => {
                    let Join { headers, .. } = inner.live();
                    Some(Join { headers, next: inner.log.since(back) })
                }
                _ => None,
            }
            .unwrap_or_else(|| inner.live())
        };
        Some((join, inner.headers.tracks))
    }

    /// Where a viewer goes on who fell too far behind, having read up to `from`: at the last keyframe if
    /// that lies ahead of it, else where the stream is.
    pub fn rejoin(&self, from: u64) -> Join {
        let mut inner = self.lane.inner.lock();
        match inner.log.join() {
            Some(join) if join.next > from => join,
            _ => inner.live(),
        }
    }

    /// Whether a publish has ended in what follows `from`, read or not.
    pub fn ended_since(&self, from: u64) -> bool {
        self.lane.inner.lock().log.ended_since(from)
    }

    /// The lowest batch number any viewer may still ask for; `u64::MAX` for none.
    pub fn set_floor(&self, floor: u64) {
        self.mark.floor.store(floor, Ordering::Relaxed);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.lane.inner.lock().readers.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
    }
}
