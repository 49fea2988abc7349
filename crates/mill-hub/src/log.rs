//! An append-only ring of ready wire bytes, cut into batches.
//!
//! Frames are serialised into the open batch. Sealing it makes it an immutable, shared [`Batch`] with a
//! number; readers ask for "everything from number n on" and write the same bytes to all their sockets.
//! A batch ends where a reader flushes, where a newcomer may join, and where its memory block ends, so
//! with one flush for all readers a viewer who keeps up costs one slice per flush.
//!
//! The log belongs to its [`crate::Lane`], which guards it with a mutex. It is bounded whatever the
//! publisher does: nothing older than the window is kept, nor more than [`MAX_BYTES`].

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mill_media::frame::Millis;

/// Memory is taken in blocks that hold about so much of the stream, in milliseconds: a flush should seldom
/// reach over the end of a block, because a write of one piece is cheaper than of two.
const BLOCK_SPAN: Millis = 2000;

/// The smallest block: an idle stream with a few viewers stays cheap.
const MIN_BLOCK: usize = 16 * 1024;

/// The largest: what a fat stream may leave unused at the end.
const MAX_BLOCK: usize = 512 * 1024;

/// A log never holds more than this, whatever window was asked for: ten seconds of 50 Mbit/s. A viewer
/// who is further behind is moved on early.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What is newer than the newest frame by more than this, in milliseconds, is from before a jump back.
const MAX_BACK: Millis = 1000;

/// A run of whole frames in wire form. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The bytes; empty only for the end mark.
    pub bytes: Bytes,
    /// Time of its newest frame.
    pub dts: Millis,
    /// The publisher has left: what follows, if anything, is another publish.
    pub end: bool,
}

/// Where a newcomer starts.
#[derive(Debug, Clone)]
pub struct Join {
    /// Metadata and decoder configurations in wire form, as they were at that place.
    pub headers: Bytes,
    /// Number of the first batch to read.
    pub next: u64,
}

/// The batches asked for are gone: start again with [`crate::Reader::rejoin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged;

#[derive(Debug)]
pub(crate) struct Log {
    batches: VecDeque<Batch>,
    /// Number of `batches[0]`.
    first: u64,
    bytes: usize,
    open: BytesMut,
    open_dts: Millis,
    /// Size of the running block and the time it began with.
    block: (usize, Millis),
    /// The newest place to join, if the GOP that started there is still running.
    join: Option<Join>,
    /// Number of the newest end mark.
    ended: Option<u64>,
    /// How far a reader may fall behind, in milliseconds.
    window: Millis,
    /// How much is kept for newcomers whoever reads, in milliseconds.
    keep: Millis,
}

impl Log {
    pub(crate) fn new(window: Millis) -> Self {
        Self {
            batches: VecDeque::new(),
            first: 0,
            bytes: 0,
            open: BytesMut::new(),
            open_dts: 0,
            block: (MIN_BLOCK, 0),
            join: None,
            ended: None,
            window,
            keep: 0,
        }
    }

    /// How far a reader may fall behind from now on, and how much of that is kept whoever reads.
    pub(crate) fn set_window(&mut self, window: Millis, keep: Millis) {
        self.window = window;
        self.keep = keep;
    }

    /// Bytes it holds, those of the open batch included.
    pub(crate) fn held(&self) -> usize {
        self.bytes + self.open.len()
    }

    /// Number of the oldest batch still there.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Number the next sealed batch will get.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    /// Appends one frame of about `size` bytes, written by `write`, which may leave it out.
    pub(crate) fn append(&mut self, dts: Millis, size: usize, write: impl FnOnce(&mut BytesMut)) {
        if self.open.capacity() - self.open.len() < size {
            // Growing in place would copy what is there already.
            self.seal();
            let (used, since) = self.block;
            let span = (dts - since).clamp(1, BLOCK_SPAN) as usize;
            let block = (used * BLOCK_SPAN as usize / span).next_power_of_two().clamp(MIN_BLOCK, MAX_BLOCK);
            self.block = (block.max(size), dts);
            self.open = BytesMut::with_capacity(self.block.0);
        }
        let before = self.open.len();
        write(&mut self.open);
        if self.open.len() > before {
            self.open_dts = dts;
        }
    }

    /// From here on newcomers start there. It was [`Self::next`] when the log was last sealed.
    pub(crate) fn mark_join(&mut self, join: Join) {
        self.join = Some(join);
    }

    /// Number of the oldest batch of this publish with something of the last `span` milliseconds in it.
    pub(crate) fn since(&self, span: Millis) -> u64 {
        let recent = self.open_dts.saturating_sub(span)..=self.open_dts.saturating_add(MAX_BACK);
        let older = self.batches.iter().rev().take_while(|batch| !batch.end && recent.contains(&batch.dts));
        self.next() - older.count() as u64
    }

    /// No newcomer may start at the running GOP any more.
    pub(crate) fn forget_join(&mut self) {
        self.join = None;
    }

    /// The publisher has left.
    pub(crate) fn mark_end(&mut self) {
        self.seal();
        self.join = None;
        self.ended = Some(self.next());
        self.batches.push_back(Batch { bytes: Bytes::new(), dts: self.open_dts, end: true });
    }

    /// Makes what has been appended so far readable.
    pub(crate) fn seal(&mut self) {
        if !self.open.is_empty() {
            self.bytes += self.open.len();
            let bytes = self.open.split().freeze();
            self.batches.push_back(Batch { bytes, dts: self.open_dts, end: false });
        }
    }

    /// Drops what neither a newcomer nor the slowest reader (at `floor`) can ask for.
    pub(crate) fn trim(&mut self, floor: u64) {
        let mut keep = self.join.as_ref().map_or(floor, |j| j.next.min(floor));
        if self.keep > 0 {
            keep = keep.min(self.since(self.keep));
        }
        let oldest = self.open_dts.saturating_sub(self.window);
        while let Some(batch) = self.batches.front() {
            let wanted = self.first >= keep;
            let joinable = self.join.as_ref().is_some_and(|j| self.first >= j.next);
            let expired = batch.dts < oldest && !joinable;
            if wanted && !expired && self.bytes <= MAX_BYTES {
                break;
            }
            self.bytes -= batch.bytes.len();
            self.batches.pop_front();
            self.first += 1;
        }
        if self.join.as_ref().is_some_and(|j| j.next < self.first) {
            self.join = None;
        }
    }

    /// The place where a newcomer starts, sealed so that it can be read at once.
    pub(crate) fn join(&mut self) -> Option<Join> {
        let join = self.join.clone()?;
        if join.next == self.next() {
            self.seal();
        }
        Some(join)
    }

    /// Whether a publish has ended at `from` or later.
    pub(crate) fn ended_since(&self, from: u64) -> bool {
        self.ended.is_some_and(|end| end >= from)
    }

    /// Appends the sealed batches from `from` on to `out`, at most `most`, and gives the number to go on from.
    ///
    /// # Errors
    /// [`Lagged`] if `from` has been dropped, or lies further back than the window.
    pub(crate) fn read(&self, from: u64, most: usize, out: &mut Vec<Batch>) -> Result<u64, Lagged> {
        let skip = from.checked_sub(self.first).ok_or(Lagged)? as usize;
        let mut wanted = self.batches.iter().skip(skip).peekable();
        let joined = self.join.as_ref().is_some_and(|j| from >= j.next);
        if !joined && wanted.peek().is_some_and(|b| b.dts < self.open_dts.saturating_sub(self.window)) {
            return Err(Lagged);
        }
        let before = out.len();
        out.extend(wanted.take(most).cloned());
        Ok(from + (out.len() - before) as u64)
    }

    /// It holds more than it may, and wants to be trimmed.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(log: &mut Log, dts: Millis, data: &[u8]) {
        log.append(dts, data.len(), |out| out.extend_from_slice(data));
    }

    fn mark_join(log: &mut Log) {
        log.seal();
        log.mark_join(Join { headers: Bytes::new(), next: log.next() });
    }

    fn text(batches: &[Batch]) -> String {
        batches.iter().map(|b| String::from_utf8_lossy(&b.bytes).into_owned()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_flush_makes_one_batch_of_all_frames_since_the_last() {
        let mut log = Log::new(1000);
        put(&mut log, 0, b"a");
        put(&mut log, 10, b"b");
        let mut out = vec![];
        assert_eq!(log.read(0, 99, &mut out), Ok(0), "nothing sealed yet");
        log.seal();
        assert_eq!(log.read(0, 99, &mut out), Ok(1));
        assert_eq!(text(&out), "ab");
    }

    #[test]
    fn a_newcomer_starts_at_the_join_point_at_once() {
        let mut log = Log::new(1000);
        put(&mut log, 0, b"old");
        log.seal();
        log.mark_join(Join { headers: Bytes::from_static(b"H"), next: log.next() });
        put(&mut log, 10, b"key");
        let join = log.join().unwrap();
        assert_eq!((&join.headers[..], join.next), (&b"H"[..], 1));
        let mut out = vec![];
        log.read(join.next, 99, &mut out).unwrap();
        assert_eq!(text(&out), "key");
    }

    #[test]
    fn trimming_keeps_what_the_running_gop_and_the_slowest_reader_need() {
        let mut log = Log::new(1000);
        for i in 0..10 {
            if i == 6 {
                mark_join(&mut log);
            }
            put(&mut log, i * 100, b"x");
            log.seal();
        }
        log.trim(3);
        assert_eq!(log.first, 3, "the slowest reader");
        log.trim(u64::MAX);
        assert_eq!(log.first, 6, "the running group of pictures");
        assert_eq!(log.read(5, 99, &mut vec![]), Err(Lagged));
    }

    #[test]
    fn a_reader_outside_the_window_has_lagged_but_a_long_gop_stays_joinable() {
        let mut log = Log::new(1000);
        put(&mut log, 0, b"slow");
        log.seal();
        mark_join(&mut log);
        put(&mut log, 100, b"key");
        log.seal();
        put(&mut log, 5000, b"late");
        log.seal();
        assert_eq!(log.read(0, 99, &mut vec![]), Err(Lagged));
        let next = log.join().unwrap().next;
        assert!(log.read(next, 99, &mut vec![]).is_ok());
        log.trim(0);
        assert_eq!(log.first, 1);
    }

    #[test]
    fn bytes_are_bounded_whatever_is_asked_for() {
        let mut log = Log::new(Millis::MAX / 2);
        mark_join(&mut log);
        let piece = vec![0; 1024 * 1024];
        for i in 0..200 {
            put(&mut log, i, &piece);
            log.seal();
            log.trim(0);
        }
        assert!(!log.is_full());
        assert!(log.join().is_none(), "a group of pictures beyond the bound cannot be joined");
    }

    #[test]
    fn the_end_of_a_publish_is_read_in_order() {
        let mut log = Log::new(1000);
        put(&mut log, 0, b"last");
        log.mark_end();
        put(&mut log, 5, b"next");
        log.seal();
        let mut out = vec![];
        log.read(0, 99, &mut out).unwrap();
        assert_eq!(out.iter().map(|b| b.end).collect::<Vec<_>>(), [false, true, false]);
        assert!(log.join().is_none());
    }
}
