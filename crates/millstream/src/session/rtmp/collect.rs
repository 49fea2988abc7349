//! Merged reads: how long a publisher's input may come together before it is read.
//!
//! Waking up for a message costs far more than the message. A publisher's task therefore rests between two
//! reads where nobody waits for the media:
//!
//! - with viewers, until just before their next flush, where flushes are merged ([`crate::fanout`]);
//! - without viewers, or with `publish.mr`, by the same budget as flushes and up to `publish.mr_latency`: not at
//!   all with few publishers, longer with many.
//!
//! With `min_latency` nothing rests. The bit rate is not limited by it: a task rests only after a read that
//! left nothing behind, and only as long as about [`ENOUGH`] bytes take to come, less than a socket holds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mill_config::model::Vhost;

use crate::fanout::{Fanout, Pace};
use crate::session::admit;

/// Bytes worth a wake-up. Half of what a sender may have under way before the kernel has learnt its rate.
const ENOUGH: u32 = 32 * 1024;

/// Shorter rests than this are not worth a timer.
const SHORTEST: Duration = Duration::from_millis(5);

/// How long before a flush its media is read.
const LEAD: Duration = Duration::from_millis(5);

/// Rests of streams without viewers end at multiples of this, so that one wake-up serves many publishers.
const GRID: Duration = Duration::from_millis(10);

/// The publishers of a server, by their number, and the clock of their rests.
#[derive(Debug)]
pub(crate) struct Publishers {
    count: AtomicUsize,
    epoch: Instant,
}

impl Default for Publishers {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), epoch: Instant::now() }
    }
}

/// One publisher's reads. Counts as a publisher until dropped.
pub(super) struct Collect<'a> {
    publishers: &'a Publishers,
    fanout: &'a Fanout,
    /// Of reads, by the number of publishers.
    reads: Pace,
    /// Of what viewers are sent.
    writes: Pace,
    /// Viewers do not mind.
    always: bool,
    /// When it was last asked, and what had been received by then.
    asked: Instant,
    received: u64,
}

impl<'a> Collect<'a> {
    pub(super) fn new(publishers: &'a Publishers, fanout: &'a Fanout, vhost: &Vhost) -> Self {
        publishers.count.fetch_add(1, Ordering::Relaxed);
        let (reads, writes, always) = paces(vhost);
        Self { publishers, fanout, reads, writes, always, asked: Instant::now(), received: 0 }
    }

    /// Follows changed settings.
    pub(super) fn adopt(&mut self, vhost: &Vhost) {
        (self.reads, self.writes, self.always) = paces(vhost);
    }

    /// Until when to rest before the next read, after `received` bytes in all; `None` for not at all.
    pub(super) fn rest(&mut self, received: u64, watched: bool) -> Option<Instant> {
        let now = Instant::now();
        let took = now - self.asked;
        let came = u32::try_from(received - self.received).unwrap_or(u32::MAX);
        (self.received, self.asked) = (received, now);
        let end = match watched {
            true if !self.always => self.before_flush(now)?,
            true => self.on_grid(now).max(self.before_flush(now))?,
            false => self.on_grid(now)?,
        };
        let end = end.min(now + until_enough(came, took));
        (end - now >= SHORTEST).then_some(end)
    }

    fn before_flush(&self, now: Instant) -> Option<Instant> {
        let next = self.fanout.next_flush(self.writes, (now + LEAD + SHORTEST).into())?;
        Some(next.into_std() - LEAD)
    }

    fn on_grid(&self, now: Instant) -> Option<Instant> {
        let Publishers { count, epoch } = self.publishers;
        let rest = self.reads.interval(count.load(Ordering::Relaxed), self.fanout.workers());
        if rest.is_zero() {
            return None;
        }
        let end = (now + rest - *epoch).as_nanos().next_multiple_of(GRID.as_nanos());
        Some(*epoch + Duration::from_nanos(u64::try_from(end).ok()?))
    }
}

impl Drop for Collect<'_> {
    fn drop(&mut self) {
        self.publishers.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of reads and of writes, and whether watched streams rest too.
fn paces(vhost: &Vhost) -> (Pace, Pace, bool) {
    let publish = &vhost.publish;
    let longest = if vhost.min_latency { Duration::ZERO } else { publish.merged_read_latency };
    (Pace { longest, shortest: Duration::ZERO }, admit::pace(vhost), publish.merged_read)
}

/// How long [`ENOUGH`] bytes will take when the last `came` took `took`.
fn until_enough(came: u32, took: Duration) -> Duration {
    // A minute is as good as for ever, and can be added to a clock.
    (took.saturating_mul(ENOUGH) / came.max(1)).min(Duration::from_secs(60))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;
    use crate::tasks::Tasks;

    fn vhost(conf: &str) -> Arc<Vhost> {
        let text = format!("listen 1935; vhost __defaultVhost__ {{ {conf} }}");
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let loaded = mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap();
        loaded.snapshot.vhosts[0].clone()
    }

    fn fanout() -> Fanout {
        Fanout::new(Tasks::new(0), 2, Metrics::new().first_byte())
    }

    /// How long one of so many publishers rests, after 26 kB in the last second.
    fn rest(conf: &str, publishers: usize, watched: bool) -> Duration {
        let (all, fanout) = (Publishers::default(), fanout());
        let mut collect = Collect::new(&all, &fanout, &vhost(conf));
        all.count.store(publishers, Ordering::Relaxed);
        let now = Instant::now();
        collect.asked = now.checked_sub(Duration::from_secs(1)).unwrap();
        collect.rest(26_000, watched).map_or(Duration::ZERO, |end| end - now)
    }

    #[test]
    fn without_viewers_few_publishers_are_read_at_once_and_many_in_turn() {
        assert_eq!(rest("", 1, false), Duration::ZERO);
        assert_eq!(rest("", 10, false), Duration::ZERO);
        let hundred = rest("", 100, false);
        assert!(hundred > Duration::from_millis(20) && hundred < Duration::from_millis(60), "{hundred:?}");
        let most = rest("", 5000, false);
        assert!(most >= Duration::from_millis(345) && most < Duration::from_millis(370), "{most:?}");
        assert!(rest("publish { mr_latency 100; }", 5000, false) < Duration::from_millis(120));
    }

    #[test]
    fn viewers_who_get_each_frame_at_once_are_not_kept_waiting_unless_they_do_not_mind() {
        assert_eq!(rest("", 5000, true), Duration::ZERO);
        assert!(rest("publish { mr on; }", 5000, true) > Duration::from_millis(300));
        assert_eq!(rest("min_latency on; publish { mr on; }", 5000, true), Duration::ZERO);
        assert_eq!(rest("min_latency on;", 5000, false), Duration::ZERO);
    }

    #[test]
    fn a_fat_stream_rests_less_or_not_at_all() {
        let second = Duration::from_secs(1);
        assert!(until_enough(26_000, second) > second, "200 kbit/s");
        let fat = until_enough(1_250_000, second);
        assert!(fat > Duration::from_millis(20) && fat < Duration::from_millis(30), "10 Mbit/s");
        assert!(until_enough(12_500_000, second) < SHORTEST, "100 Mbit/s");
        assert!(until_enough(0, second * 3600) <= Duration::from_secs(60));
    }

    #[test]
    fn a_publisher_counts_until_it_goes() {
        let (all, fanout) = (Publishers::default(), fanout());
        let one = Collect::new(&all, &fanout, &vhost(""));
        assert_eq!(all.count.load(Ordering::Relaxed), 1);
        drop(one);
        assert_eq!(all.count.load(Ordering::Relaxed), 0);
    }
}
