//! For lines that a stranger could cause by the thousand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lets one line through per interval, whoever asks.
#[derive(Debug)]
pub(crate) struct Throttle {
    every: Duration,
    begun: Instant,
    /// When the next one may come, in milliseconds since `begun`.
    next: AtomicU64,
}

impl Throttle {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, begun: Instant::now(), next: AtomicU64::new(0) }
    }

    /// Whether the line may be written now.
    pub(crate) fn allows(&self) -> bool {
        self.allows_at(self.begun.elapsed())
    }

    fn allows_at(&self, now: Duration) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        let then = (now + self.every).as_millis() as u64;
        now.as_millis() as u64 >= next
            && self.next.compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval() {
        let throttle = Throttle::new(Duration::from_secs(1));
        let allowed = |ms| throttle.allows_at(Duration::from_millis(ms));
        assert!(allowed(0) && !allowed(0) && !allowed(999));
        assert!(allowed(1000) && !allowed(1500));
        assert!(allowed(9000));
    }
}
