//! The outside world of the server: the server process itself, clients, tools and media.
//!
//! Three habits keep these tests quick and honest. Everything waits for a condition with a deadline, never
//! for a duration ([`wait_until`]). Every process and socket ends with the value that holds it. And a
//! missing tool is a failure that says so, because a skipped test tests nothing.

pub(crate) mod api;
pub(crate) mod backend;
pub(crate) mod beat;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod disk;
pub(crate) mod ffmpeg;
pub(crate) mod http;
pub(crate) mod line;
pub(crate) mod media;
pub(crate) mod namespace;
pub(crate) mod playlist;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod server;
pub(crate) mod target;
pub(crate) mod tls;

use std::time::{Duration, Instant};

/// For what takes milliseconds on an idle machine. Generous, because a loaded machine with two cores is not
/// a reason to fail; a test that has to wait this long has failed anyway.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// For a whole run of an outside tool.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until the condition holds; panics with `what` when it does not in time.
#[track_caller]
pub(crate) fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "waited {deadline:?} in vain: {what}");
        pause();
    }
}

/// The step of polling.
#[expect(
    clippy::disallowed_methods,
    reason = "a test thread serves nobody; this is the only sleep of the suite"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// A reproducible stream of pseudo-random numbers (xorshift64*): the same garbage in every run.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}
