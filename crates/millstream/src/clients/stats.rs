//! How much each client, stream and vhost, and the whole server, has received and sent, and how fast.
//!
//! Sessions count bytes in the [`Traffic`](crate::clients::Traffic) of their connection and do nothing
//! else. What was counted is moved to the [`Account`]s of stream, vhost, protocol and server when somebody
//! asks, when a client leaves, and every [`STEP`] by one task, which also takes the samples rates are made
//! of. So an account keeps what clients sent that have left, and its numbers never go back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::MissedTickBehavior;

use crate::session::Context;

/// Time between two samples, as in SRS.
pub(crate) const STEP: Duration = Duration::from_secs(3);

/// The window of the rates called `_30s`, in steps.
const WINDOW: usize = 10;

/// The longest window rates are kept for.
const LONG: f64 = 300.0;

/// Clients looked at before other tasks get a turn.
const TURN: usize = 256;

/// Bytes in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A rate in both directions, in kbit/s.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Kbps {
    pub(crate) received: f64,
    pub(crate) sent: f64,
}

impl Kbps {
    /// What `from` to `to` came to in `seconds`.
    fn between(from: Bytes, to: Bytes, seconds: f64) -> Self {
        let rate = |from: u64, to: u64| {
            if seconds > 0.0 { to.saturating_sub(from) as f64 * 8.0 / 1000.0 / seconds } else { 0.0 }
        };
        Self { received: rate(from.received, to.received), sent: rate(from.sent, to.sent) }
    }
}

/// Samples of a growing number of bytes.
#[derive(Debug)]
pub(crate) struct Rates {
    /// The last samples, oldest first.
    samples: [(Instant, Bytes); WINDOW + 1],
    /// How many of them there are, the newest at the end.
    taken: usize,
    since: Instant,
    long: Kbps,
}

impl Rates {
    /// Begins now, at nothing.
    pub(crate) fn new(now: Instant) -> Self {
        Self { samples: [(now, Bytes::default()); WINDOW + 1], taken: 1, since: now, long: Kbps::default() }
    }

    /// Takes a sample.
    pub(crate) fn sample(&mut self, now: Instant, bytes: Bytes) {
        let (then, before) = self.samples[WINDOW];
        let passed = now.saturating_duration_since(then).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        // The mean since the beginning, as long as that is within the window; then it fades.
        let last = Kbps::between(before, bytes, passed);
        let weight = passed / now.saturating_duration_since(self.since).as_secs_f64().clamp(passed, LONG);
        self.long.received += (last.received - self.long.received) * weight;
        self.long.sent += (last.sent - self.long.sent) * weight;
        self.samples.rotate_left(1);
        self.samples[WINDOW] = (now, bytes);
        self.taken = (self.taken + 1).min(WINDOW + 1);
    }

    /// From the last sample but one to the last.
    pub(crate) fn last(&self) -> Kbps {
        self.over(1)
    }

    /// Over 30 s, or since the beginning if that is less.
    pub(crate) fn window(&self) -> Kbps {
        self.over(WINDOW)
    }

    /// Over five minutes.
    pub(crate) fn long(&self) -> Kbps {
        self.long
    }

    fn over(&self, steps: usize) -> Kbps {
        let (from, first) = self.samples[WINDOW - steps.min(self.taken - 1)];
        let (to, last) = self.samples[WINDOW];
        Kbps::between(first, last, to.saturating_duration_since(from).as_secs_f64())
    }
}

/// What many clients together have received and sent.
#[derive(Debug)]
pub(crate) struct Account {
    received: AtomicU64,
    sent: AtomicU64,
    rates: Mutex<Rates>,
}

impl Account {
    pub(crate) fn new(now: Instant) -> Self {
        Self { received: AtomicU64::new(0), sent: AtomicU64::new(0), rates: Mutex::new(Rates::new(now)) }
    }

    pub(crate) fn add(&self, bytes: Bytes) {
        self.received.fetch_add(bytes.received, Ordering::Relaxed);
        self.sent.fetch_add(bytes.sent, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes { received: self.received.load(Ordering::Relaxed), sent: self.sent.load(Ordering::Relaxed) }
    }

    pub(crate) fn kbps(&self) -> Kbps {
        self.rates.lock().window()
    }

    pub(crate) fn sample(&self, now: Instant) {
        self.rates.lock().sample(now, self.bytes());
    }
}

/// How many frames a stream has had, and how many it has per second.
#[derive(Debug, Default)]
pub(crate) struct FrameRate(Mutex<Frames>);

#[derive(Debug, Default)]
struct Frames {
    /// When they were counted last: video frames, and all frames.
    counted: Option<(Instant, [u64; 2])>,
    per_second: [f64; 2],
}

impl FrameRate {
    fn sample(&self, now: Instant, counts: [u64; 2]) {
        let mut frames = self.0.lock();
        if let Some((then, before)) = frames.counted.replace((now, counts)) {
            let passed = now.saturating_duration_since(then).as_secs_f64().max(0.001);
            let rate = |i: usize| counts[i].saturating_sub(before[i]) as f64 / passed;
            frames.per_second = [rate(0), rate(1)];
        }
    }

    /// Video frames per second over the last step.
    pub(crate) fn video(&self) -> f64 {
        self.0.lock().per_second[0]
    }

    /// Frames of all kinds per second over the last step.
    pub(crate) fn messages(&self) -> f64 {
        self.0.lock().per_second[1]
    }
}

/// What is known about the process itself.
#[derive(Debug)]
pub(crate) struct Usage {
    since: Instant,
    /// Thousandths of a core used over the last step.
    cpu: AtomicU64,
}

impl Usage {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), cpu: AtomicU64::new(0) }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.since.elapsed()
    }

    /// The processor time used over the last step; 1.0 is one core.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

/// Takes the samples, for as long as it is run.
pub(crate) async fn run(ctx: Arc<Context>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + STEP, STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut then, mut used) = (Instant::now(), processor_time());
    loop {
        ticks.tick().await;
        let now = Instant::now();
        sample(&ctx, now).await;
        let (passed, total) = (now - then, processor_time());
        if !passed.is_zero() {
            let cpu = total.saturating_sub(used).as_secs_f64() / passed.as_secs_f64();
            ctx.usage.cpu.store((cpu * 1000.0) as u64, Ordering::Relaxed);
        }
        (then, used) = (now, total);
    }
}

async fn sample(ctx: &Context, now: Instant) {
    for (i, client) in ctx.clients.all().iter().enumerate() {
        if i % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        client.settle();
        client.sample(now);
    }
    for stream in ctx.clients.streams() {
        stream.account.sample(now);
        if let Some(live) = ctx.hub.find(&stream.stream) {
            let [video, audio] = [&live.counters().frames, &live.counters().audio_frames]
                .map(|count| count.load(Ordering::Relaxed));
            stream.frame_rate.sample(now, [video, video + audio]);
        }
    }
    for vhost in ctx.clients.vhosts() {
        vhost.account.sample(now);
    }
    for account in ctx.clients.totals() {
        account.sample(now);
    }
}

/// Processor time of all threads of the process so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(samples: &[(u64, u64)]) -> Rates {
        let begin = Instant::now();
        let mut rates = Rates::new(begin);
        for &(second, received) in samples {
            rates.sample(begin + Duration::from_secs(second), Bytes { received, sent: 0 });
        }
        rates
    }

    #[test]
    fn rates_are_there_from_the_first_sample_on() {
        let rates = rates(&[(3, 375_000)]);
        assert_eq!(rates.last().received, 1000.0);
        assert_eq!(rates.window().received, 1000.0);
        assert_eq!(rates.long().received, 1000.0);
        assert_eq!(rates.window().sent, 0.0);
    }

    #[test]
    fn the_window_slides() {
        // 1000 kbit/s for a minute, then nothing.
        let mut samples: Vec<_> = (1..=20).map(|i| (3 * i, 375_000 * i)).collect();
        assert_eq!(rates(&samples).window().received, 1000.0);
        samples.extend((21..=25).map(|i| (3 * i, 375_000 * 20)));
        let half = rates(&samples);
        assert_eq!((half.last().received, half.window().received), (0.0, 500.0));
        samples.extend((26..=30).map(|i| (3 * i, 375_000 * 20)));
        let quiet = rates(&samples);
        assert_eq!(quiet.window().received, 0.0);
        assert!(
            (quiet.long().received - 1000.0 * 60.0 / 90.0).abs() < 1.0,
            "the mean of its 90 s: {quiet:?}"
        );
    }

    #[test]
    fn numbers_that_go_back_are_no_rate() {
        assert_eq!(rates(&[(3, 1000), (6, 0)]).last().received, 0.0);
        assert_eq!(rates(&[]).window(), Kbps::default());
    }
}
