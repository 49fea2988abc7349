//! A task that writes one lane to some of its viewers.
//!
//! It waits for one of: the lane moved, the flush is due, a blocked socket became writable, the inbox has
//! news. After each it goes on until nothing more can be done without waiting. It ends when it has no
//! viewers left and nobody is on the way in.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use mill_hub::{Batch, Reader};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::course::{At, MAX_SLICES};
use super::pace::{Pace, Tick};
use super::viewer::{Link, Viewer, Wrote};
use super::{Ended, Shared};

/// A viewer that has not taken what it was given by then is gone, or hopelessly slow (SRS's write timeout).
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Steps of a [`Course`](super::course::Course) that a viewer who is behind may take before the others get a turn.
const PUMP_STEPS: usize = 8;

/// Viewers written to before the other tasks of this worker get a turn.
const TURN: usize = 32;

/// What is on its way into a shard.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<InboxState>,
    news: Notify,
}

#[derive(Default)]
struct InboxState {
    newcomers: Vec<Viewer>,
    pace: Option<Pace>,
    /// Viewers in the shard, those on the way in included.
    seats: usize,
    /// Some viewer's flags have changed.
    poked: bool,
    closed: bool,
}

impl Inbox {
    /// Seats a viewer, or gives it back if the shard is full or gone.
    pub(super) fn join(&self, viewer: Viewer, pace: Pace, limit: usize) -> Option<Viewer> {
        let mut state = self.state.lock();
        if state.closed || state.seats >= limit {
            return Some(viewer);
        }
        state.newcomers.push(viewer);
        state.seats += 1;
        state.pace = Some(pace);
        drop(state);
        self.news.notify_one();
        None
    }

    pub(super) fn set_pace(&self, pace: Pace) {
        self.state.lock().pace = Some(pace);
        self.news.notify_one();
    }

    /// A shard of its own for a viewer whom no shard serves: nobody else is seated in it.
    pub(super) fn single() -> Self {
        let state = InboxState { seats: usize::MAX, ..InboxState::default() };
        Self { state: Mutex::new(state), news: Notify::new() }
    }

    /// The pace that was set since the last call.
    pub(super) fn take_pace(&self) -> Option<Pace> {
        self.state.lock().pace.take()
    }

    /// Makes the shard look at its viewers' flags.
    pub(super) fn poke(&self) {
        self.state.lock().poked = true;
        self.news.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

pub(super) struct Shard {
    shared: Arc<Shared>,
    reader: Reader,
    inbox: Arc<Inbox>,
    pace: Pace,
    viewers: Vec<Option<Viewer>>,
    /// Empty places in `viewers`.
    free: Vec<usize>,
    /// Waits for writability, one per blocked viewer; each gives the viewer's place and whether it may go on.
    blocked: FuturesUnordered<BoxFuture<'static, (usize, bool)>>,
    /// Viewers who keep up take this batch next.
    next: u64,
    /// Batches of the running flush; kept to reuse its memory.
    fresh: Vec<Batch>,
}

impl Shard {
    pub(super) fn new(shared: Arc<Shared>, reader: Reader, inbox: Arc<Inbox>, pace: Pace) -> Self {
        Self {
            shared,
            next: reader.next(),
            reader,
            inbox,
            pace,
            viewers: Vec::new(),
            free: Vec::new(),
            blocked: FuturesUnordered::new(),
            fresh: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        // What came before this shard did was announced to others only.
        self.flush(None).await;
        // When the next flush is due, once there is something to flush.
        let mut due: Option<Tick> = None;
        while self.take_news().await {
            tokio::select! {
                () = self.reader.moved(), if due.is_none() => {
                    due = self.shared.next_tick(self.pace, Instant::now());
                    if due.is_none() {
                        self.flush(None).await;
                    }
                }
                () = sleep_until(due.map_or(self.shared.epoch, |tick| tick.at)), if due.is_some() => {
                    self.flush(due.take().map(|tick| tick.number)).await;
                }
                Some((place, writable)) = self.blocked.next() => self.unblock(place, writable),
                () = self.inbox.news.notified() => {}
            }
        }
    }

    /// Takes newcomers in and looks after changed flags. `false`: everybody has gone, the inbox is closed.
    async fn take_news(&mut self) -> bool {
        let (newcomers, poked) = {
            let mut state = self.inbox.state.lock();
            if state.seats == 0 {
                state.closed = true;
                return false;
            }
            if let Some(pace) = state.pace.take() {
                self.pace = pace;
            }
            (std::mem::take(&mut state.newcomers), std::mem::take(&mut state.poked))
        };
        let mut changed = poked;
        for (i, mut viewer) in newcomers.into_iter().enumerate() {
            if i % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            // Before its greeting goes out: of a publish that begins once the peer has that, nothing is missed.
            viewer.course.fill(&self.reader, &mut Vec::new());
            if viewer.course.at == At::Waiting {
                viewer.since = None;
            }
            self.shared.viewers.fetch_add(1, Ordering::Relaxed);
            let place = self.free.pop().unwrap_or_else(|| {
                self.viewers.push(None);
                self.viewers.len() - 1
            });
            self.viewers[place] = Some(viewer);
            self.pump(place);
            changed = true;
        }
        if poked {
            for place in 0..self.viewers.len() {
                if place % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                }
                let up_to_date = At::Batch(self.next);
                let wants = |v: &Viewer| !v.blocked && (v.course.at != up_to_date || !v.is_plain());
                if self.viewers[place].as_ref().is_some_and(wants) {
                    self.pump(place);
                }
            }
        }
        if changed {
            self.report_floor();
        }
        true
    }

    /// Writes what the lane has got since the last flush to every viewer who can take it.
    async fn flush(&mut self, tick: Option<u64>) {
        let from = self.next;
        let mut fresh = std::mem::take(&mut self.fresh);
        let lagged = match self.reader.flush(from, tick, &mut fresh) {
            Ok(next) => {
                self.next = next;
                false
            }
            // The whole shard was kept from running for that long. Each viewer finds its own way on.
            Err(_) => {
                self.next = self.reader.next();
                true
            }
        };
        if fresh.is_empty() && !lagged {
            self.fresh = fresh;
            return;
        }
        let total: usize = fresh.iter().map(|b| b.bytes.len()).sum();
        // The common case: the same few slices for everybody.
        let plain = !lagged && fresh.len() <= MAX_SLICES && fresh.iter().all(|b| !b.end);
        let slices: Vec<IoSlice<'_>> = fresh.iter().map(|b| IoSlice::new(&b.bytes)).collect();
        let mut sent = 0u64;
        for place in 0..self.viewers.len() {
            if place % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
            let Some(viewer) = &mut self.viewers[place] else { continue };
            if viewer.blocked {
                continue;
            }
            if !(plain && viewer.course.at == At::Batch(from) && viewer.is_plain()) {
                self.pump(place);
                continue;
            }
            match viewer.write_shared(&slices) {
                Ok(n) => {
                    sent += n as u64;
                    if n == total {
                        viewer.course.at = At::Batch(self.next);
                    } else {
                        keep_rest(viewer, from, &fresh, n);
                        self.pump(place);
                    }
                }
                Err(Wrote::Blocked) => self.block(place),
                Err(_) => self.end(place, Ended::Failed),
            }
        }
        self.reader.lane().stream().counters().sent.fetch_add(sent, Ordering::Relaxed);
        drop(slices);
        self.fresh = fresh;
        self.fresh.clear();
        self.report_floor();
    }

    fn unblock(&mut self, place: usize, writable: bool) {
        let Some(viewer) = &mut self.viewers[place] else { return };
        viewer.blocked = false;
        if writable {
            self.pump(place);
        } else {
            self.end(place, Ended::Failed);
        }
    }

    /// Writes everything one viewer may have, until it has caught up or its socket blocks.
    fn pump(&mut self, place: usize) {
        let Some(link) = self.viewers[place].as_ref().map(|v| v.link.clone()) else { return };
        let before = link.sent();
        self.pump_on(place);
        self.reader.lane().stream().counters().sent.fetch_add(link.sent() - before, Ordering::Relaxed);
    }

    fn pump_on(&mut self, place: usize) {
        let mut behind = Vec::new();
        for step in 0.. {
            if step == PUMP_STEPS {
                // A viewer who reads as fast as we write must not keep the others waiting.
                return self.block(place);
            }
            let Some(viewer) = &mut self.viewers[place] else { return };
            if viewer.is_abandoned() {
                return self.end(place, Ended::Failed);
            }
            match viewer.write_queue() {
                Wrote::All => {
                    if let Some(since) = viewer.since.take() {
                        self.shared.first_byte.observe(since.elapsed().as_secs_f64());
                    }
                }
                Wrote::Blocked => return self.block(place),
                Wrote::Failed => return self.end(place, Ended::Failed),
            }
            viewer.collect_outbox();
            if viewer.may_part() {
                return self.end(place, Ended::Parted);
            }
            if !viewer.is_paused() && !viewer.wants_part() {
                behind.clear();
                if viewer.course.fill(&self.reader, &mut behind) {
                    viewer.skipped();
                    self.reader.lane().stream().count_skip();
                }
            }
            if viewer.course.is_idle() {
                if viewer.course.at == At::Over {
                    self.end(place, Ended::Stream);
                }
                return;
            }
        }
    }

    fn block(&mut self, place: usize) {
        let Some(viewer) = &mut self.viewers[place] else { return };
        viewer.blocked = true;
        let patience = viewer.stuck_since() + WRITE_TIMEOUT;
        self.blocked.push(Box::pin(writable(viewer.link.clone(), place, patience)));
    }

    fn end(&mut self, place: usize, why: Ended) {
        let Some(viewer) = self.viewers[place].take() else { return };
        viewer.end(why);
        self.free.push(place);
        self.shared.viewers.fetch_sub(1, Ordering::Relaxed);
        self.inbox.state.lock().seats -= 1;
    }

    /// Tells the lane what its viewers may still ask for.
    fn report_floor(&self) {
        let floor = self.viewers.iter().flatten().filter_map(|v| match v.course.at {
            At::Batch(next) => Some(next),
            At::Waiting | At::Over => None,
        });
        self.reader.set_floor(floor.min().unwrap_or(u64::MAX).min(self.next));
    }
}

impl Drop for Shard {
    /// However a shard ends, the sessions of its viewers hear of it and nobody else is seated in it.
    fn drop(&mut self) {
        let newcomers = {
            let mut state = self.inbox.state.lock();
            state.closed = true;
            std::mem::take(&mut state.newcomers)
        };
        for viewer in self.viewers.drain(..).flatten() {
            self.shared.viewers.fetch_sub(1, Ordering::Relaxed);
            viewer.end(Ended::Failed);
        }
        for viewer in newcomers {
            viewer.end(Ended::Failed);
        }
        self.shared.forget(self.reader.lane());
    }
}

/// Waits until the viewer's socket takes bytes again, or has not taken what it was given by `patience`.
async fn writable(link: Arc<Link>, place: usize, patience: Instant) -> (usize, bool) {
    let ready = timeout_at(patience, link.socket.writable()).await;
    (place, matches!(ready, Ok(Ok(()))))
}

/// After `n` bytes of the batches numbered from `from` on: queues the rest of the one begun.
fn keep_rest(viewer: &mut Viewer, from: u64, batches: &[Batch], mut n: usize) {
    let mut at = from;
    for batch in batches {
        if n < batch.bytes.len() {
            if n > 0 {
                viewer.course.enqueue(batch.bytes.slice(n..));
                at += 1;
            }
            break;
        }
        n -= batch.bytes.len();
        at += 1;
    }
    viewer.course.at = At::Batch(at);
}
