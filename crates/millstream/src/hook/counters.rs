//! How callbacks are doing, for statistics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::client::Failure;
use crate::metrics::Histogram;

/// Numbers that only grow, but for `waiting`.
#[derive(Debug)]
pub(crate) struct Counters {
    calls: AtomicU64,
    refusals: AtomicU64,
    failures: AtomicU64,
    retries: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicU64,
    micros: AtomicU64,
    latency: Histogram,
}

/// Seconds a call takes.
const LATENCY: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.25, 1.0, 5.0, 10.0, 30.0];

impl Default for Counters {
    fn default() -> Self {
        Self {
            calls: AtomicU64::default(),
            refusals: AtomicU64::default(),
            failures: AtomicU64::default(),
            retries: AtomicU64::default(),
            lost: AtomicU64::default(),
            waiting: AtomicU64::default(),
            micros: AtomicU64::default(),
            latency: Histogram::new(LATENCY),
        }
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Calls that have ended, one way or another.
    pub(crate) calls: u64,
    /// Of these, calls that were answered with something other than yes.
    pub(crate) refusals: u64,
    /// Of these, calls that were not answered at all.
    pub(crate) failures: u64,
    /// Calls that will be, or were, made again.
    pub(crate) retries: u64,
    /// Events given up: too old, or too many.
    pub(crate) lost: u64,
    /// Events in line.
    pub(crate) waiting: u64,
    /// Time of all calls together.
    pub(crate) time: Duration,
}

impl Stats {
    /// Milliseconds a call takes, on the average.
    pub(crate) fn mean_ms(&self) -> f64 {
        self.time.as_secs_f64() * 1000.0 / self.calls.max(1) as f64
    }
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            calls: read(&self.calls),
            refusals: read(&self.refusals),
            failures: read(&self.failures),
            retries: read(&self.retries),
            lost: read(&self.lost),
            waiting: read(&self.waiting),
            time: Duration::from_micros(read(&self.micros)),
        }
    }

    /// How long calls take.
    pub(super) fn latency(&self) -> Histogram {
        self.latency.clone()
    }

    pub(super) fn called(&self, time: Duration, called: &Result<(), Failure>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        self.latency.observe(time.as_secs_f64());
        match called {
            Ok(()) => {}
            Err(failure) if failure.is_silence() => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn retries(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives how many are lost by now.
    pub(super) fn lost(&self, events: u64) -> u64 {
        self.lost.fetch_add(events, Ordering::Relaxed) + events
    }

    pub(super) fn waits(&self, events: u64) {
        self.waiting.fetch_add(events, Ordering::Relaxed);
    }

    pub(super) fn done(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, refusals, failures, retries, lost, waiting, .. } = self;
        let mean = self.mean_ms();
        write!(
            f,
            "calls={calls}, refusals={refusals}, failures={failures}, retries={retries}, lost={lost}, \
             waiting={waiting}, mean={mean:.1}ms"
        )
    }
}
