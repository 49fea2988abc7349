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

/// Room for what a wire format adds to a payload, per frame: headers, chunk marks every 128 bytes at worst.
fn wire_size(payload: usize) -> usize {
    64 + payload + payload / 32
}

/// What makes two wire formats the same: viewers of equal formats share a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FormatKey {
    /// Name of the format.
    pub name: &'static str,
    /// Whatever else the bytes depend on, such as a chunk size.
    pub variant: u32,
}

/// How frames become bytes on a wire. Implemented by whoever knows the protocol.
pub trait WireFormat: fmt::Debug + Send + Sync + 'static {
    /// Identity of the format.
    fn key(&self) -> FormatKey;

    /// Appends one frame in wire form. May append nothing if the format does not carry such frames.
    fn write(&self, frame: &Frame, out: &mut BytesMut);

    /// What each viewer gets once, before headers and frames: a file header, for instance.
    fn preamble(&self, _tracks: Tracks, _out: &mut BytesMut) {}

    /// Whether a viewer's connection ends with the publish, and what it is sent last.
    /// `None`: the viewer stays and sees the next publish.
    fn finish(&self) -> Option<Bytes> {
        None
    }
}

/// One stream in one wire format.
pub struct Lane {
    stream: Arc<Stream>,
    format: Arc<dyn WireFormat>,
    inner: Mutex<Inner>,
}

struct Inner {
    log: Log,
    headers: Headers,
    gop_cache: bool,
    /// Media of the running publish has been appended, so that a newcomer has something to begin with.
    started: bool,
    dts: Millis,
    /// Where the media of the running publish begins.
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
            headers: Headers::default(),
            gop_cache: true,
            started: false,
            dts: 0,
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

    /// Bytes it holds for its readers.
    pub(crate) fn held(&self) -> usize {
        self.inner.lock().log.held()
    }

    /// A publisher has come.
    pub(crate) fn begin(&self, options: &StreamOptions, headers: &Headers) {
        let mut inner = self.inner.lock();
        inner.log.set_window(options.queue_length);
        inner.gop_cache = options.gop_cache;
        inner.headers = headers.clone();
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
        if place == Place::Start || frame.kind.is_header() || !inner.started {
            inner.headers = headers.clone();
        }
        match place {
            Place::Start => {
                let headers = self.write_headers(headers, frame.dts);
                inner.log.mark_join(headers.clone());
                if !inner.started {
                    inner.opening = Some(Join { headers, next: inner.log.next() });
                }
                inner.trim();
            }
            Place::Lost => inner.log.forget_join(),
            Place::Inside => {}
        }
        inner.dts = frame.dts;
        inner.started |= !frame.kind.is_header();
        inner.log.append(frame.dts, wire_size(frame.payload.len()), |out| self.format.write(frame, out));
        if inner.log.is_full() {
            inner.trim();
        }
    }

    /// The publisher has left.
    pub(crate) fn end(&self) {
        let mut inner = self.inner.lock();
        inner.log.mark_end();
        inner.headers = Headers::default();
        inner.opening = None;
        inner.started = false;
    }

    pub(crate) fn wake(&self) {
        for mark in &self.inner.lock().readers {
            mark.moved.notify_one();
        }
    }

    fn write_headers(&self, headers: &Headers, dts: Millis) -> Bytes {
        let mut out = BytesMut::new();
        for frame in headers.frames(dts) {
            self.format.write(&frame, &mut out);
        }
        out.freeze()
    }
}

impl Inner {
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
    /// One who `waited` for the publish gets it from its first frame if there is no GOP to start from.
    pub fn join(&self, waited: bool) -> Option<(Join, Tracks)> {
        let mut inner = self.lane.inner.lock();
        let join = if inner.gop_cache { inner.log.join() } else { None };
        let opening = || inner.opening.clone().filter(|join| waited && join.next >= inner.log.first());
        let join = match join.or_else(opening) {
            Some(join) => join,
            None if inner.started => self.live(&mut inner),
            None => return None,
        };
        Some((join, inner.headers.tracks))
    }

    /// Where a viewer goes on who fell too far behind, having read up to `from`: at the last keyframe if
    /// that lies ahead of it, else where the stream is.
    pub fn rejoin(&self, from: u64) -> Join {
        let mut inner = self.lane.inner.lock();
        match inner.log.join() {
            Some(join) if join.next > from => join,
            _ => self.live(&mut inner),
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

    fn live(&self, inner: &mut Inner) -> Join {
        inner.log.seal();
        let headers = self.lane.write_headers(&inner.headers, inner.dts);
        Join { headers, next: inner.log.next() }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.lane.inner.lock().readers.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
    }
}
