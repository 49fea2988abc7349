//! Delivery to many sockets at close to what the kernel itself charges.
//!
//! ```text
//!  Lane (hub) ── moved ──► Shard: a task with up to SHARD_SIZE viewers ── writev ──► sockets
//!                             ▲ join, leave, output to mix in
//!  session task ── Seat ──────┘      (reads the socket; owns the viewer's life)
//! ```
//!
//! The viewers of a lane are split into shards. When the lane moves, a shard takes the new batches once
//! and writes the same slices to each of its sockets, without blocking. A socket that would block waits
//! for writability on its own and catches up when it can; the others never notice. Work stealing spreads
//! the shards over all cores, so one stream uses the whole machine.
//!
//! A viewer's session keeps its own small task that reads the socket. It holds a [`Seat`]: dropping it,
//! however the task ends, takes the viewer out of its shard. What the session wants to say in between
//! ([`Seat::send`]) is written between two batches, so that it never lands inside a message.
//!
//! A viewer whose bytes pass through something on their way to the socket (TLS) has no place in a shard: it
//! takes the same batches at the same pace in its session's own task ([`Fanout::deliver`]).
//!
//! Bounds: a shard has at most [`SHARD_SIZE`] viewers; a viewer holds at most one started batch and
//! [`MAX_OUTBOX`] bytes of its session's output; how far it may fall behind is the lane's business.

mod course;
mod pace;
mod shard;
mod solo;
mod viewer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mill_hub::{FormatKey, Lane, StreamId};
use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;

use crate::clients::Traffic;
use crate::metrics::Histogram;
use crate::tasks::Tasks;
pub(crate) use pace::Pace;
use pace::Tick;
use shard::{Inbox, Shard};
use viewer::{Link, Viewer};

/// Viewers per shard: few enough that one flush of a shard (some 10 µs a viewer) does not keep a newcomer
/// waiting, many enough that waking shards costs next to nothing per viewer.
const SHARD_SIZE: usize = 256;

/// Session output that may wait to be mixed in. A peer that makes us answer more than it reads is cut.
const MAX_OUTBOX: usize = 16 * 1024;

/// Hands viewers to shards. One per server; cheap to clone.
#[derive(Clone)]
pub(crate) struct Fanout(Arc<Shared>);

struct Shared {
    tasks: Tasks,
    workers: usize,
    /// The beginning of the clock by which flushes are timed.
    epoch: Instant,
    viewers: AtomicUsize,
    /// Seconds viewers of running streams waited for their first media.
    first_byte: Histogram,
    lanes: Mutex<HashMap<LaneKey, Vec<Arc<Inbox>>>>,
}

type LaneKey = (StreamId, FormatKey);

impl Fanout {
    /// `workers` is how many threads the runtime has.
    pub(crate) fn new(tasks: Tasks, workers: usize, first_byte: Histogram) -> Self {
        let lanes = Mutex::new(HashMap::new());
        let (epoch, viewers) = (Instant::now(), AtomicUsize::new(0));
        Self(Arc::new(Shared { tasks, workers, epoch, viewers, first_byte, lanes }))
    }

    /// Time from one flush to the next at that pace, as many viewers as there are now.
    pub(crate) fn interval(&self, pace: Pace) -> Duration {
        pace.interval(self.0.viewers.load(Ordering::Relaxed), self.0.workers)
    }

    /// Threads of the runtime.
    pub(crate) fn workers(&self) -> usize {
        self.0.workers
    }

    /// When viewers are served next at or after `from`; `None`: at once, whenever there is something.
    pub(crate) fn next_flush(&self, pace: Pace, from: Instant) -> Option<Instant> {
        self.0.next_tick(pace, from).map(|tick| tick.at)
    }

    /// Seats a viewer of `lane`. `greeting` is written first; then it receives the stream, now or as soon
    /// as there is one. What is written counts in `traffic`.
    pub(crate) fn join(
        &self,
        lane: Arc<Lane>,
        socket: Arc<OwnedWriteHalf>,
        greeting: Bytes,
        pace: Pace,
        traffic: Arc<Traffic>,
    ) -> Seat {
        let key = (lane.stream().id().clone(), lane.format().key());
        let link = Arc::new(Link::new(socket, traffic));
        let viewer = Viewer::new(link.clone(), greeting);
        let mut lanes = self.0.lanes.lock();
        let shards = lanes.entry(key).or_default();
        shards.retain(|inbox| !inbox.is_closed());
        let mut newcomer = Some(viewer);
        for inbox in shards.iter() {
            if let Some(viewer) = newcomer.take() {
                newcomer = inbox.join(viewer, pace, SHARD_SIZE);
            }
            if newcomer.is_none() {
                return Seat { link, inbox: inbox.clone() };
            }
        }
        let inbox = Arc::new(Inbox::default());
        if let Some(viewer) = newcomer {
            inbox.join(viewer, pace, SHARD_SIZE);
        }
        shards.push(inbox.clone());
        drop(lanes);
        let shard = Shard::new(self.0.clone(), lane.reader(), inbox.clone(), pace);
        self.0.tasks.spawn(self.0.tasks.next_id(), shard.run());
        Seat { link, inbox }
    }
}

impl Fanout {
    /// Gives the viewers of all streams for which `pace` has one that pace from now on.
    pub(crate) fn repace(&self, pace: impl Fn(&StreamId) -> Option<Pace>) {
        let lanes = self.0.lanes.lock();
        for ((stream, _), shards) in lanes.iter() {
            if let Some(pace) = pace(stream) {
                shards.iter().for_each(|inbox| inbox.set_pace(pace));
            }
        }
    }
}

impl Shared {
    /// The next common moment to flush after `from`; `None`: at once.
    fn next_tick(&self, pace: Pace, from: Instant) -> Option<Tick> {
        let viewers = self.viewers.load(Ordering::Relaxed);
        Tick::next(self.epoch, from, pace.interval(viewers, self.workers))
    }

    /// Forgets a shard that has closed its inbox.
    fn forget(&self, lane: &Lane) {
        let key = (lane.stream().id().clone(), lane.format().key());
        let mut lanes = self.lanes.lock();
        if let Some(shards) = lanes.get_mut(&key) {
            shards.retain(|inbox| !inbox.is_closed());
            if shards.is_empty() {
                lanes.remove(&key);
            }
        }
    }
}

/// A viewer's place in a shard, held by the task that reads its socket. Dropping it ends the viewer.
pub(crate) struct Seat {
    link: Arc<Link>,
    inbox: Arc<Inbox>,
}

/// The session's output for a peer who does not read has grown beyond [`MAX_OUTBOX`].
#[derive(Debug, thiserror::Error)]
#[error("{MAX_OUTBOX} bytes of answers wait for a peer that does not read")]
pub(crate) struct OutboxFull;

impl Seat {
    /// Writes `bytes` to the viewer at the next place between two messages.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), OutboxFull> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.link.post(bytes, MAX_OUTBOX) {
            return Err(OutboxFull);
        }
        self.inbox.poke();
        Ok(())
    }

    /// Stops or resumes delivery.
    pub(crate) fn pause(&self, paused: bool) {
        self.link.set_paused(paused);
        self.inbox.poke();
    }

    /// Times this viewer fell behind and was moved on.
    pub(crate) fn skips(&self) -> u32 {
        self.link.skips()
    }

    /// Waits until the shard has let go of the viewer: the stream ended, or writing failed. Cancel safe.
    pub(crate) async fn ended(&self) -> Ended {
        self.link.ended().await
    }

    /// Takes the viewer out at the next place between two messages, so that the session can go on with the
    /// socket. Anything but [`Ended::Parted`] means that the connection is of no more use.
    pub(crate) async fn leave(self) -> Ended {
        self.link.part();
        self.inbox.poke();
        self.link.ended().await
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.link.abandon();
        self.inbox.poke();
    }
}

/// Why a shard let go of a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The publish ended, and with it what this kind of viewer came for. Everything was written.
    Stream,
    /// A write failed, or nothing could be written for the write timeout.
    Failed,
    /// The session asked for it.
    Parted,
}
