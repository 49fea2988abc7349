//! How one viewer goes along its lane: where it starts, what comes next, where it goes on after it fell behind.
//!
//! Bounded: the queue is filled only when it is empty, with [`CATCH_UP`] bytes or one batch.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use mill_hub::{Batch, Reader};

/// Slices handed to one write; the kernel takes 1024.
pub(super) const MAX_SLICES: usize = 64;

/// Bytes that a viewer who is behind takes per step: what a blocked viewer can keep from being freed.
const CATCH_UP: usize = 128 * 1024;

/// Where in the lane a viewer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// There is nothing to begin with yet.
    Waiting,
    /// The next batch to take.
    Batch(u64),
    /// Everything it came for is in its queue.
    Over,
}

/// A viewer's place in its lane, and what goes out before it goes on there.
pub(super) struct Course {
    pub(super) at: At,
    /// Number of the next batch when there was nothing to begin with yet.
    pub(super) waits_since: Option<u64>,
    /// Bytes that go out before the next batch: greeting, headers, the rest of a batch begun. Its first
    /// piece may be partly written; all pieces end between two messages.
    queue: VecDeque<Bytes>,
}

impl Course {
    /// At the beginning, with `greeting` to be said first.
    pub(super) fn new(greeting: Bytes) -> Self {
        let mut course = Self { at: At::Waiting, waits_since: None, queue: VecDeque::new() };
        course.enqueue(greeting);
        course
    }

    pub(super) fn enqueue(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
    }

    /// Nothing is left to write.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// What to write next, in order.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.queue.iter().take(MAX_SLICES).map(|bytes| IoSlice::new(bytes)).collect()
    }

    /// Takes `n` written bytes out of the queue.
    pub(super) fn consume(&mut self, mut n: usize) {
        while n > 0 {
            let Some(front) = self.queue.front_mut() else { return };
            let step = n.min(front.len());
            front.advance(step);
            n -= step;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
        if self.queue.is_empty() {
            // A thousand viewers who were behind once must not keep their queues' memory.
            self.queue = VecDeque::new();
        }
    }

    /// Queues what the viewer gets next: where it starts, if it waits; else the batches it is behind. `true`:
    /// it was too far behind and was moved on. The queue must be empty: then this is a place between two
    /// messages.
    pub(super) fn fill(&mut self, reader: &Reader, batches: &mut Vec<Batch>) -> bool {
        let from = match self.at {
            At::Over => return false,
            At::Batch(from) => from,
            At::Waiting => {
                let since = reader.next();
                let Some((join, tracks)) = reader.join(self.waits_since) else {
                    self.waits_since.get_or_insert(since);
                    return false;
                };
                let mut preamble = BytesMut::new();
                reader.lane().format().preamble(tracks, &mut preamble);
                self.enqueue(preamble.freeze());
                self.enqueue(join.headers);
                join.next
            }
        };
        if reader.read(from, MAX_SLICES, batches).is_ok() {
            self.take(from, reader, batches);
            return false;
        }
        if reader.ended_since(from)
            && let Some(last) = reader.lane().format().finish()
        {
            self.enqueue(last);
            self.at = At::Over;
            return true;
        }
        let join = reader.rejoin(from);
        self.enqueue(join.headers);
        let _ = reader.read(join.next, MAX_SLICES, batches);
        self.take(join.next, reader, batches);
        true
    }

    /// Queues the batches numbered from `from` on, as many as fit into a step.
    fn take(&mut self, from: u64, reader: &Reader, batches: &mut Vec<Batch>) {
        self.at = At::Batch(from);
        let mut taken = 0;
        for (number, batch) in (from..).zip(batches.drain(..)) {
            taken += batch.bytes.len();
            if taken > CATCH_UP && number > from {
                return;
            }
            self.at = At::Batch(number + 1);
            if !batch.end {
                self.enqueue(batch.bytes);
            } else if let Some(last) = reader.lane().format().finish() {
                self.enqueue(last);
                self.at = At::Over;
                return;
            }
        }
    }
}
