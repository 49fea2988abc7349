//! Time on the wire, unwrapped.

use crate::frame::Millis;

/// How close to a wrap both neighbours must be to be taken for one, in milliseconds: far longer than the
/// gap between two frames, far shorter than any time a stream would jump on purpose.
const NEAR: u32 = 10_000;

/// Turns the 32-bit timestamps of one stream into [`Millis`] that go on where the wire field starts over.
///
/// Each timestamp is placed at the nearest distance from the one before, so small steps back stay small
/// steps back, also across the wrap. The field is 32 bits wide (RTMP 5.3.1), but some senders stop at 31
/// bits because theirs is signed, and some at 24 because they know no extended timestamp; both show
/// themselves by falling from just before their limit to just behind zero.
#[derive(Debug, Clone, Default)]
pub struct Unwrap {
    last: Option<(u32, Millis)>,
    /// Bits by which the sender's field is narrower than 32.
    missing: u32,
}

impl Unwrap {
    /// Before the first timestamp.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of the next frame in wire order. The first keeps its value.
    pub fn next(&mut self, wire: u32) -> Millis {
        let time = match self.last {
            None => wire.into(),
            Some((last_wire, last)) => {
                if let Some(missing) = [8, 1].into_iter().find(|&missing| wraps(missing, last_wire, wire)) {
                    self.missing = missing;
                }
                // Shifting the field to the top and back extends its sign, which is the nearest distance.
                let step = (wire.wrapping_sub(last_wire) << self.missing) as i32 >> self.missing;
                last + Millis::from(step)
            }
        };
        self.last = Some((wire, time));
        time
    }
}

/// Whether a step from `last` to `wire` is the end of a field with `missing` bits less than 32.
fn wraps(missing: u32, last: u32, wire: u32) -> bool {
    let max = u32::MAX >> missing;
    last <= max && last > max - NEAR && wire < NEAR
}

/// Time in ticks of 1/90000 s, the clock of MPEG-2 systems, unwrapped: it does not jump back when the 33-bit
/// wire field does.
pub type Ticks = i64;

/// Ticks in a millisecond.
pub const TICKS_PER_MS: Ticks = 90;

/// Width of a time stamp in MPEG-2 systems (ISO/IEC 13818-1, 2.4.3.7).
const TICKS_BITS: u32 = 33;

/// Turns 33-bit time stamps into [`Ticks`] that go on where the field starts over, every 26.5 hours. Each is
/// placed at the nearest distance from the one before.
#[derive(Debug, Clone, Default)]
pub struct UnwrapTicks {
    last: Option<Ticks>,
}

impl UnwrapTicks {
    /// Before the first time stamp.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of the next stamp in wire order; higher bits are not looked at. The first keeps its value.
    pub fn next(&mut self, wire: u64) -> Ticks {
        const UNUSED: u32 = u64::BITS - TICKS_BITS;
        let wire = (wire << UNUSED >> UNUSED) as Ticks;
        let time = match self.last {
            None => wire,
            // Shifting the field to the top and back extends its sign, which is the nearest distance.
            Some(last) => last + (wire.wrapping_sub(last) << UNUSED >> UNUSED),
        };
        self.last = Some(time);
        time
    }
}

/// Times of sound by counting samples.
///
/// Publishers stamp sound in whole milliseconds. A player that takes them at their word hears a gap or an
/// overlap at each frame; counted samples follow each other exactly. Where the count is further off than a frame
/// is long, the publisher's clock is right, and counting begins anew there.
#[derive(Debug, Clone, Default)]
pub struct SampleClock {
    /// Where counting began, samples since then, and their rate in Hz.
    run: Option<(Ticks, u64, u32)>,
    /// By how much the count may be off, if not by a frame.
    leeway: Option<Ticks>,
}

impl SampleClock {
    /// A step back further than this is a new beginning and not a slow clock.
    const BACK: Ticks = 1000 * TICKS_PER_MS;

    /// Before the first frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that goes by samples alone, until the stamps are more than `leeway` away from them: for senders whose
    /// stamps are worse than their sound.
    pub fn counting(leeway: Ticks) -> Self {
        Self { run: None, leeway: Some(leeway) }
    }

    /// The time of the next frame, which has `samples` at `rate` Hz (neither 0) and is stamped `stamp`. It is later
    /// than the last frame's, unless the stamp is more than a second before it.
    pub fn next(&mut self, stamp: Ticks, samples: u32, rate: u32) -> Ticks {
        let ticks = |samples: u64| (samples.saturating_mul(90_000) / u64::from(rate.max(1))) as Ticks;
        let mut start = stamp;
        if let Some((base, counted, counted_at)) = self.run {
            let expected = base + ticks(counted);
            let last = base + ticks(counted.saturating_sub(samples.into()));
            if counted_at == rate && (stamp - expected).abs() <= self.leeway.unwrap_or(ticks(samples.into()))
            {
                self.run = Some((base, counted + u64::from(samples), rate));
                return expected;
            }
            if stamp <= last && last - stamp <= Self::BACK {
                start = last + 1;
            }
        }
        self.run = Some((start, samples.into(), rate));
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wire: &[u32], expected: &[Millis]) {
        let mut time = Unwrap::new();
        assert_eq!(wire.iter().map(|&wire| time.next(wire)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn small_steps_both_ways() {
        check(&[1000, 1040, 1023, 1080], &[1000, 1040, 1023, 1080]);
        check(&[5, 0, 40], &[5, 0, 40]);
    }

    #[test]
    fn jumps_stay_jumps() {
        check(&[0, 95_438_282, 95_438_300], &[0, 95_438_282, 95_438_300]);
        check(&[5_000_000, 0, 40], &[5_000_000, 0, 40]);
    }

    #[test]
    fn wrap_of_32_bits_and_back() {
        check(&[u32::MAX - 9, 10, u32::MAX, 30], &[0xffff_fff6, 0x1_0000_000a, 0xffff_ffff, 0x1_0000_001e]);
    }

    #[test]
    fn wrap_of_31_bits_again_and_again() {
        check(
            &[0x7fff_fff0, 0x10, 0x7fff_fffb, 0x20, 0x4000_0000, 0x7fff_ffff, 0],
            &[0x7fff_fff0, 0x8000_0010, 0x7fff_fffb, 0x8000_0020, 0xc000_0000, 0xffff_ffff, 0x1_0000_0000],
        );
    }

    #[test]
    fn wrap_of_24_bits() {
        check(&[0x00ff_fff0, 0x10, 0x00ff_fffb, 0x20], &[0x00ff_fff0, 0x0100_0010, 0x00ff_fffb, 0x0100_0020]);
        // A sender that counts past 24 bits is none that wraps there.
        check(&[0x00ff_fff0, 0x0100_0010], &[0x00ff_fff0, 0x0100_0010]);
    }

    const WRAP: Ticks = 1 << 33;

    #[test]
    fn wrap_of_33_bits_and_back() {
        let mut time = UnwrapTicks::new();
        let wire = [WRAP - 10, 10, WRAP - 5, 20, 4_000_000_000, 8_000_000_000, 0];
        let expected =
            [WRAP - 10, WRAP + 10, WRAP - 5, WRAP + 20, WRAP + 4_000_000_000, WRAP + 8_000_000_000, 2 * WRAP];
        assert_eq!(wire.map(|wire| time.next(wire as u64)), expected);
    }

    #[test]
    fn counted_samples_do_not_jitter() {
        let mut clock = SampleClock::new();
        for n in 0..100_000u64 {
            let exact = n * 1024 * 90_000 / 44_100;
            let stamp = (exact / 90 * 90) as Ticks;
            assert_eq!(clock.next(stamp, 1024, 44_100), exact as Ticks);
        }
    }

    #[test]
    fn a_counting_clock_follows_nothing_but_jumps() {
        let mut clock = SampleClock::counting(45_000);
        assert_eq!(clock.next(0, 1024, 48_000), 0);
        assert_eq!(clock.next(9000, 1024, 48_000), 1920);
        assert_eq!(clock.next(9000, 1024, 48_000), 3840);
        assert_eq!(clock.next(90_000, 1024, 48_000), 90_000);
        assert_eq!(clock.next(90_000, 1024, 48_000), 91_920);
    }

    #[test]
    fn a_drift_of_more_than_a_frame_is_followed() {
        let mut clock = SampleClock::new();
        assert_eq!(clock.next(0, 1024, 48_000), 0);
        assert_eq!(clock.next(3600, 1024, 48_000), 1920, "less than a frame");
        assert_eq!(clock.next(9000, 1024, 48_000), 9000, "a gap");
        assert_eq!(clock.next(9000, 1024, 48_000), 10_920);
        assert_eq!(clock.next(9000, 1024, 48_000), 10_921, "too early: later than the last all the same");
        assert_eq!(clock.next(900_000_000, 1024, 48_000), 900_000_000, "a jump");
        assert_eq!(clock.next(90, 1024, 48_000), 90, "and back");
        assert_eq!(clock.next(2010, 1024, 44_100), 2010, "another rate");
    }
}
