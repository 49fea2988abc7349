//! Delivery to one viewer in its session's own task, over a transport that no shard can write to.
//!
//! What holds for viewers in shards holds here: one position in the lane, flushes at the common ticks and by
//! the same pace, and who falls behind by more than the lane keeps is moved on, between two messages. Such
//! viewers count when the pace is chosen. A viewer that takes nothing for [`WRITE_TIMEOUT`] is given up.
//!
//! Bounded: a viewer holds what a [`Course`] holds, and what the transport does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use mill_hub::{Batch, Lane, Reader};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::course::{At, Course};
use super::pace::Pace;
use super::shard::{Inbox, WRITE_TIMEOUT};
use super::{Ended, Fanout, LaneKey, Shared};
use crate::clients::Traffic;

impl Fanout {
    /// Writes `greeting` and then the stream to `writer`, until the stream ends or writing fails. Dropping the
    /// future ends the viewer. What is written counts in `traffic`, how often it was moved on in `skips`.
    pub(crate) async fn deliver(
        &self,
        lane: Arc<Lane>,
        writer: impl AsyncWrite + Unpin,
        greeting: Bytes,
        pace: Pace,
        traffic: &Traffic,
        skips: &AtomicU32,
    ) -> Ended {
        let solo = Solo {
            place: Place::take(self.0.clone(), &lane),
            reader: lane.reader(),
            course: Course::new(greeting),
            pace,
            batches: Vec::new(),
        };
        match solo.run(writer, traffic, skips).await {
            Ok(()) => Ended::Stream,
            Err(_) => Ended::Failed,
        }
    }
}

struct Solo {
    place: Place,
    reader: Reader,
    course: Course,
    pace: Pace,
    /// Kept to reuse its memory.
    batches: Vec<Batch>,
}

impl Solo {
    /// `Ok`: the stream has ended and everything was written.
    async fn run(
        mut self,
        mut writer: impl AsyncWrite + Unpin,
        traffic: &Traffic,
        skips: &AtomicU32,
    ) -> io::Result<()> {
        // What came before this reader did was announced to others only.
        self.cut(None);
        // Before its greeting goes out, as in a shard: of a publish that begins once the peer has that, nothing
        // is missed.
        let came = Instant::now();
        self.course.fill(&self.reader, &mut self.batches);
        let mut waits_for_media = (self.course.at != At::Waiting).then_some(came);
        loop {
            if self.course.is_idle() && self.course.fill(&self.reader, &mut self.batches) {
                skips.fetch_add(1, Ordering::Relaxed);
                self.reader.lane().stream().count_skip();
            }
            self.reader.set_floor(match self.course.at {
                At::Batch(next) => next,
                // A publish may begin and end before the next look.
                At::Waiting => self.course.waits_since.unwrap_or(u64::MAX),
                At::Over => u64::MAX,
            });
            if !self.course.is_idle() {
                timeout(WRITE_TIMEOUT, self.write(&mut writer, traffic)).await??;
                if let Some(came) = waits_for_media.take() {
                    self.place.shared.first_byte.observe(came.elapsed().as_secs_f64());
                }
                continue;
            }
            if self.course.at == At::Over {
                return timeout(WRITE_TIMEOUT, writer.shutdown()).await?;
            }
            self.reader.moved().await;
            self.pace = self.place.inbox.take_pace().unwrap_or(self.pace);
            let tick = self.place.shared.next_tick(self.pace, Instant::now());
            if let Some(tick) = tick {
                sleep_until(tick.at).await;
            }
            self.cut(tick.map(|tick| tick.number));
        }
    }

    /// Makes all that was appended readable.
    fn cut(&mut self, tick: Option<u64>) {
        // From the newest on there is nothing to lag behind, and little to get.
        let _ = self.reader.flush(self.reader.next(), tick, &mut self.batches);
        self.batches.clear();
    }

    /// Writes the queue.
    async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin), traffic: &Traffic) -> io::Result<()> {
        while !self.course.is_idle() {
            let n = writer.write_vectored(&self.course.slices()).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.course.consume(n);
            traffic.add_sent(n);
            self.reader.lane().stream().counters().sent.fetch_add(n as u64, Ordering::Relaxed);
        }
        writer.flush().await
    }
}

/// Such a viewer in the table of shards, where it is a full one, and in the count of viewers.
struct Place {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    key: LaneKey,
}

impl Place {
    fn take(shared: Arc<Shared>, lane: &Lane) -> Self {
        let inbox = Arc::new(Inbox::single());
        let key = (lane.stream().id().clone(), lane.format().key());
        shared.lanes.lock().entry(key.clone()).or_default().push(inbox.clone());
        shared.viewers.fetch_add(1, Ordering::Relaxed);
        Self { shared, inbox, key }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.viewers.fetch_sub(1, Ordering::Relaxed);
        let mut lanes = self.shared.lanes.lock();
        let Some(shards) = lanes.get_mut(&self.key) else { return };
        // Only itself: thousands of them may end in one moment.
        if let Some(at) = shards.iter().position(|inbox| Arc::ptr_eq(inbox, &self.inbox)) {
            shards.swap_remove(at);
        }
        if shards.is_empty() {
            lanes.remove(&self.key);
        }
    }
}
