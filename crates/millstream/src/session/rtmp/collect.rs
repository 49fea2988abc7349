//! Merged reads: how long a publisher's input may come together before it is read.
//!
//! Waking up for a message costs far more than the message. With few publishers that is no matter and each
//! message is read as it comes. With many, and as long as nobody waits for the media, a publisher's
//! task rests between two reads. The rest follows from the same budget as the pace of writes
//! ([`crate::fanout::Pace`]) and ends at `publish.mr_latency`; `publish.mr` lets watched streams rest too.
//!
//! The bit rate is not limited by it: a task rests only after a read that left nothing behind, and only as
//! long as about [`ENOUGH`] bytes take to come, far less than a socket's buffer holds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fanout::Pace;

/// Bytes worth a wake-up: a larger read saves next to nothing, and a peer's TCP window must not fill meanwhile.
const ENOUGH: u32 = 16 * 1024;

/// Shorter rests than this are not worth a timer.
const SHORTEST: Duration = Duration::from_millis(5);

/// Rests end at multiples of this, so that one wake-up serves many publishers.
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
    pace: Pace,
    /// Rest also while somebody watches.
    always: bool,
    /// When it was last asked, and what had been received by then.
    asked: Instant,
    received: u64,
}

impl<'a> Collect<'a> {
    /// Without rests, until told otherwise.
    pub(super) fn new(publishers: &'a Publishers) -> Self {
        publishers.count.fetch_add(1, Ordering::Relaxed);
        let pace = Pace { longest: Duration::ZERO, shortest: Duration::ZERO };
        Self { publishers, pace, always: false, asked: Instant::now(), received: 0 }
    }

    /// `longest` is the longest rest; `always` says that viewers do not mind.
    pub(super) fn adopt(&mut self, longest: Duration, always: bool) {
        self.pace.longest = longest;
        self.always = always;
    }

    /// Until when to rest before the next read, after `received` bytes in all; `None` for not at all.
    pub(super) fn rest(&mut self, received: u64, watched: bool, workers: usize) -> Option<Instant> {
        let now = Instant::now();
        let rest = self.length(now, received, watched, workers);
        if rest < SHORTEST {
            return None;
        }
        let end = (now + rest - self.publishers.epoch).as_nanos().next_multiple_of(GRID.as_nanos());
        Some(self.publishers.epoch + Duration::from_nanos(u64::try_from(end).unwrap_or(u64::MAX)))
    }

    fn length(&mut self, now: Instant, received: u64, watched: bool, workers: usize) -> Duration {
        let publishers = self.publishers.count.load(Ordering::Relaxed);
        let interval = self.pace.interval(publishers, workers);
        if interval.is_zero() || (watched && !self.always) {
            return Duration::ZERO;
        }
        let came = u32::try_from(received - self.received).unwrap_or(u32::MAX);
        let took = now - self.asked;
        (self.received, self.asked) = (received, now);
        until_enough(came, took).min(interval)
    }
}

impl Drop for Collect<'_> {
    fn drop(&mut self) {
        self.publishers.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long [`ENOUGH`] bytes will take when the last `came` took `took`.
fn until_enough(came: u32, took: Duration) -> Duration {
    took.saturating_mul(ENOUGH) / came.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(350);

    fn rest(publishers: usize, watched: bool, always: bool) -> Duration {
        let all = Publishers { count: AtomicUsize::new(publishers - 1), epoch: Instant::now() };
        let mut collect = Collect::new(&all);
        collect.adopt(LONGEST, always);
        let later = collect.asked + Duration::from_secs(1);
        collect.length(later, 25_000, watched, 2)
    }

    #[test]
    fn few_publishers_are_read_at_once_and_many_in_turn() {
        assert_eq!(rest(1, false, true), Duration::ZERO);
        assert_eq!(rest(10, false, true), Duration::ZERO);
        let hundred = rest(100, false, false);
        assert!(hundred > Duration::from_millis(20) && hundred < Duration::from_millis(50));
        assert_eq!(rest(5000, false, false), LONGEST);
    }

    #[test]
    fn a_watched_stream_rests_only_if_told_to() {
        assert_eq!(rest(5000, true, false), Duration::ZERO);
        assert_eq!(rest(5000, true, true), LONGEST);
    }

    #[test]
    fn a_fat_stream_rests_less_or_not_at_all() {
        let second = Duration::from_secs(1);
        assert!(until_enough(25_000, second) > LONGEST, "200 kbit/s");
        let fat = until_enough(625_000, second);
        assert!(fat > Duration::from_millis(20) && fat < Duration::from_millis(30), "5 Mbit/s");
        assert!(until_enough(6_250_000, second) < SHORTEST, "50 Mbit/s");
        assert!(until_enough(0, second) > LONGEST);
    }

    #[test]
    fn a_publisher_counts_until_it_goes() {
        let all = Publishers::default();
        let one = Collect::new(&all);
        assert_eq!(all.count.load(Ordering::Relaxed), 1);
        drop(one);
        assert_eq!(all.count.load(Ordering::Relaxed), 0);
    }
}
