//! Pauses between attempts to reach another server.

use std::time::Duration;

/// Pauses that double from [`Backoff::FIRST`] to [`Backoff::LONGEST`], each made shorter by up to a quarter, so that
/// those who have lost the same server do not come back in one moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    seed: u64,
}

impl Backoff {
    /// A server that was restarted is there again soon.
    pub(crate) const FIRST: Duration = Duration::from_millis(250);

    /// The pause of SRS.
    pub(crate) const LONGEST: Duration = Duration::from_secs(3);

    /// `seed` should differ from those of others.
    pub(crate) fn new(seed: u64) -> Self {
        Self { next: Self::FIRST, seed }
    }

    /// How long to wait now; the next time longer.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        self.seed = self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        pause - pause.mul_f64((self.seed >> 32) as f64 / f64::from(u32::MAX) / 4.0)
    }

    /// All was well for a while: begins with short pauses again.
    pub(crate) fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new(1);
        let mut full = Backoff::FIRST;
        for _ in 0..10 {
            let pause = backoff.pause();
            assert!(pause <= full && pause >= full.mul_f64(0.74), "{pause:?} of {full:?}");
            full = (full * 2).min(Backoff::LONGEST);
        }
        assert_eq!(full, Backoff::LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= Backoff::FIRST);
        assert_ne!(Backoff::new(1).pause(), Backoff::new(2).pause());
    }
}
