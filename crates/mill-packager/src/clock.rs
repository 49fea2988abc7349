//! Time of a stream as a file wants it: what is a pause, what is a jump.

use mill_media::frame::Millis;

/// A step back of more than this is a jump and not a matter of audio and video taking turns: SRS's number.
const MAX_BACK: Millis = 250;

/// A step forward of more than this is a jump and not a pause. SRS says 250 ms, which would take a film of one
/// picture a second for nothing but jumps.
const MAX_FORWARD: Millis = 10_000;

/// What replaces a jump under [`Jitter::Full`]: SRS's number.
const JUMP_STEP: Millis = 10;

/// No stream gets there; sums and differences stay far from overflow.
const MAX_TIME: Millis = 1 << 48;

/// How the times of a stream become those of its files (`time_jitter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Jitter {
    /// Each file starts at zero; a jump becomes a small step.
    #[default]
    Full,
    /// Each file starts at zero; a jump begins a new one.
    Zero,
    /// Times stay; a jump begins a new file.
    Off,
}

/// Follows the decoding times of one stream, all kinds of frames together.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    jitter: Jitter,
    last: Option<Millis>,
    /// Jumps taken out so far.
    offset: Millis,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) time: Millis,
    /// Whether it has nothing to do with the time before.
    pub(crate) jumped: bool,
}

impl Clock {
    pub(crate) fn new(jitter: Jitter) -> Self {
        Self { jitter, last: None, offset: 0 }
    }

    pub(crate) fn next(&mut self, dts: Millis) -> Step {
        let dts = dts.clamp(-MAX_TIME, MAX_TIME);
        let step = self.last.map_or(0, |last| dts - last);
        self.last = Some(dts);
        let mut jumped = !(-MAX_BACK..=MAX_FORWARD).contains(&step);
        if jumped && self.jitter == Jitter::Full {
            self.offset += JUMP_STEP - step;
            jumped = false;
        }
        Step { time: dts + self.offset, jumped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(jitter: Jitter, times: &[Millis]) -> Vec<(Millis, bool)> {
        let mut clock = Clock::new(jitter);
        times.iter().map(|&dts| clock.next(dts)).map(|step| (step.time, step.jumped)).collect()
    }

    #[test]
    fn pauses_and_jumps() {
        let times = [500, 540, 520, 5540, 3_605_540, 3_605_580, 0, 40];
        let full = [500, 540, 520, 5540, 5550, 5590, 5600, 5640];
        assert_eq!(run(Jitter::Full, &times), full.map(|time| (time, false)));
        let jumps = [false, false, false, false, true, false, true, false];
        let off: Vec<_> = times.into_iter().zip(jumps).collect();
        assert_eq!(run(Jitter::Off, &times), off);
        assert_eq!(run(Jitter::Zero, &times), off);
    }

    #[test]
    fn extremes_do_not_overflow() {
        for jitter in [Jitter::Full, Jitter::Off] {
            let times = run(jitter, &[Millis::MIN, Millis::MAX, 0, Millis::MIN, Millis::MAX]);
            assert!(times.iter().all(|(time, _)| time.abs() <= 2 * MAX_TIME), "{times:?}");
        }
    }
}
