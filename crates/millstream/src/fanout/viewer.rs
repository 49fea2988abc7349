//! One viewer in a shard, and the link between it and the session that reads its socket.
//!
//! The shard owns the [`Viewer`]; the [`Link`] is shared with the session's [`super::Seat`]. Everything in
//! it is a flag, a counter, or the small outbox; neither side ever waits for the other while holding it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Ended;
use super::course::Course;
use crate::clients::Traffic;

/// Delivery is stopped.
const PAUSED: u8 = 1;
/// The session's output waits in the outbox.
const OUTBOX: u8 = 2;
/// The session wants the socket back, at the next place between two messages.
const PART: u8 = 4;
/// The session has gone.
const ABANDONED: u8 = 8;

/// What shard and session share.
pub(super) struct Link {
    pub(super) socket: Arc<OwnedWriteHalf>,
    flags: AtomicU8,
    outbox: Mutex<Vec<u8>>,
    traffic: Arc<Traffic>,
    skips: AtomicU32,
    ended: Mutex<Option<Ended>>,
    end: Notify,
}

impl Link {
    pub(super) fn new(socket: Arc<OwnedWriteHalf>, traffic: Arc<Traffic>) -> Self {
        Self {
            socket,
            flags: AtomicU8::new(0),
            outbox: Mutex::new(Vec::new()),
            traffic,
            skips: AtomicU32::new(0),
            ended: Mutex::new(None),
            end: Notify::new(),
        }
    }

    /// Adds to the outbox; `false` if it would grow beyond `limit`.
    pub(super) fn post(&self, bytes: &[u8], limit: usize) -> bool {
        let mut outbox = self.outbox.lock();
        if outbox.len() + bytes.len() > limit {
            return false;
        }
        outbox.extend_from_slice(bytes);
        self.flags.fetch_or(OUTBOX, Ordering::Release);
        true
    }

    pub(super) fn set_paused(&self, paused: bool) {
        if paused {
            self.flags.fetch_or(PAUSED, Ordering::Release);
        } else {
            self.flags.fetch_and(!PAUSED, Ordering::Release);
        }
    }

    pub(super) fn part(&self) {
        self.flags.fetch_or(PART, Ordering::Release);
    }

    /// The session is gone. Unless the viewer has left already, its socket is of no more use; shutting it
    /// down wakes whatever waits for it to become writable.
    pub(super) fn abandon(&self) {
        if self.ended.lock().is_none() {
            self.flags.fetch_or(ABANDONED, Ordering::Release);
            let socket: &tokio::net::TcpStream = (*self.socket).as_ref();
            let _ = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Both);
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.traffic.sent()
    }

    pub(super) fn skips(&self) -> u32 {
        self.skips.load(Ordering::Relaxed)
    }

    pub(super) async fn ended(&self) -> Ended {
        loop {
            if let Some(ended) = *self.ended.lock() {
                return ended;
            }
            self.end.notified().await;
        }
    }
}

/// One socket in a shard.
pub(super) struct Viewer {
    pub(super) link: Arc<Link>,
    pub(super) course: Course,
    /// Since when there is something in the queue that the socket would not take.
    stuck: Option<Instant>,
    /// When it came, until it has its first media; none if it came before the publisher.
    pub(super) since: Option<Instant>,
    /// A wait for writability is under way.
    pub(super) blocked: bool,
}

/// What came of an attempt to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    All,
    /// The socket takes no more for now.
    Blocked,
    Failed,
}

impl Viewer {
    pub(super) fn new(link: Arc<Link>, greeting: Bytes) -> Self {
        Self { link, course: Course::new(greeting), stuck: None, since: Some(Instant::now()), blocked: false }
    }

    /// Nothing waits but the lane: such a viewer can be written to straight from the shared batches.
    pub(super) fn is_plain(&self) -> bool {
        self.course.is_idle() && self.link.flags.load(Ordering::Acquire) == 0
    }

    pub(super) fn is_paused(&self) -> bool {
        self.link.flags.load(Ordering::Acquire) & PAUSED != 0
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.link.flags.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// The session wants the socket back and nothing begun is unfinished.
    pub(super) fn may_part(&self) -> bool {
        self.course.is_idle() && self.link.flags.load(Ordering::Acquire) & PART != 0
    }

    pub(super) fn wants_part(&self) -> bool {
        self.link.flags.load(Ordering::Acquire) & PART != 0
    }

    /// Since when it has not taken all of what it was given.
    pub(super) fn stuck_since(&mut self) -> Instant {
        *self.stuck.get_or_insert_with(Instant::now)
    }

    /// Moves the session's output into the queue.
    pub(super) fn collect_outbox(&mut self) {
        if self.link.flags.fetch_and(!OUTBOX, Ordering::AcqRel) & OUTBOX != 0 {
            let bytes = std::mem::take(&mut *self.link.outbox.lock());
            self.course.enqueue(bytes.into());
        }
    }

    /// Writes the queue. Blocks nobody.
    pub(super) fn write_queue(&mut self) -> Wrote {
        while !self.course.is_idle() {
            let wrote = self.link.socket.try_write_vectored(&self.course.slices());
            match wrote {
                Ok(n) => {
                    self.count(n);
                    self.consume(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Wrote::Blocked,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Wrote::Failed,
            }
        }
        Wrote::All
    }

    /// Writes shared slices of `total` bytes to a plain viewer. What the socket does not take is for the
    /// caller to queue; gives how much it took.
    pub(super) fn write_shared(&self, slices: &[IoSlice<'_>]) -> Result<usize, Wrote> {
        loop {
            let wrote = match slices {
                // The usual case, and the cheaper call.
                [slice] => self.link.socket.try_write(slice),
                slices => self.link.socket.try_write_vectored(slices),
            };
            match wrote {
                Ok(n) => {
                    self.count(n);
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(Wrote::Blocked),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Wrote::Failed),
            }
        }
    }

    /// The shard lets go of the viewer.
    pub(super) fn end(self, why: Ended) {
        *self.link.ended.lock() = Some(why);
        self.link.end.notify_one();
    }

    pub(super) fn skipped(&self) {
        self.link.skips.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, n: usize) {
        self.link.traffic.add_sent(n);
    }

    fn consume(&mut self, n: usize) {
        self.course.consume(n);
        if self.course.is_idle() {
            self.stuck = None;
        }
    }
}
