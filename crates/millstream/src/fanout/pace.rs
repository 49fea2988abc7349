//! How often a lane is flushed: at once while the machine has headroom, in larger batches as viewers grow.
//!
//! A write costs the kernel about the same whether it carries one frame or a third of a second of them, so
//! with many viewers merged writes are what makes the difference (a factor of four between 40 ms and
//! 350 ms), and with few viewers merging only adds delay. The pace therefore follows from a budget: a
//! core may spend about two percent of its time on the luxury of small writes.

use std::time::Duration;

use tokio::time::Instant;

/// Writes a second that each worker thread may make before flushes stretch. At some 12 µs a write this is
/// two percent of a core.
const WRITES_PER_WORKER: u32 = 1500;

/// Shorter waits than this are not worth a timer.
const SHORTEST: Duration = Duration::from_millis(5);

/// What the vhost says about delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The longest a flush may wait for more (`play.mw_latency`; zero with `min_latency on`).
    pub(crate) longest: Duration,
    /// The shortest time between two flushes (`play.send_min_interval`).
    pub(crate) shortest: Duration,
}

impl Pace {
    /// Time from one flush to the next when the server has `viewers` in all and `workers` threads.
    pub(crate) fn interval(&self, viewers: usize, workers: usize) -> Duration {
        let budget = WRITES_PER_WORKER.saturating_mul(u32::try_from(workers.max(1)).unwrap_or(u32::MAX));
        let viewers = u32::try_from(viewers).unwrap_or(u32::MAX);
        let wanted = (Duration::from_secs(1) / budget).saturating_mul(viewers);
        let wanted = if wanted < SHORTEST { Duration::ZERO } else { wanted };
        wanted.min(self.longest).max(self.shortest)
    }
}

/// A moment at which everybody flushes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    /// Its time in nanoseconds: ticks of different intervals are different.
    pub(super) number: u64,
    pub(super) at: Instant,
}

impl Tick {
    /// The next common moment to flush after `from`, on the clock that began at `epoch`; `None`: at once.
    ///
    /// All shards flush at the same ticks of one clock, so that they cut the log at the same places and a
    /// flush is one piece for everybody.
    pub(super) fn next(epoch: Instant, from: Instant, interval: Duration) -> Option<Self> {
        let (passed, interval) = ((from - epoch).as_nanos(), interval.as_nanos());
        let number = u64::try_from((passed.checked_div(interval)? + 1) * interval).ok()?;
        Some(Self { number, at: epoch + Duration::from_nanos(number) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Pace = Pace { longest: Duration::from_millis(350), shortest: Duration::ZERO };

    #[test]
    fn few_viewers_get_each_frame_at_once() {
        assert_eq!(DEFAULT.interval(1, 2), Duration::ZERO);
        assert_eq!(DEFAULT.interval(14, 2), Duration::ZERO);
    }

    #[test]
    fn many_viewers_stretch_towards_the_limit_of_the_vhost() {
        let hundred = DEFAULT.interval(100, 2);
        assert!(hundred > Duration::from_millis(20) && hundred < Duration::from_millis(50));
        assert_eq!(DEFAULT.interval(4000, 2), Duration::from_millis(350));
        assert!(DEFAULT.interval(1000, 16) < Duration::from_millis(50), "more cores, more headroom");
    }

    #[test]
    fn the_vhost_sets_both_ends() {
        let realtime = Pace { longest: Duration::ZERO, ..DEFAULT };
        assert_eq!(realtime.interval(4000, 2), Duration::ZERO);
        let spaced = Pace { shortest: Duration::from_millis(10), ..DEFAULT };
        assert_eq!(spaced.interval(1, 2), Duration::from_millis(10));
    }
}
