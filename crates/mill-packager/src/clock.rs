//! Time of a stream as a file wants it: what is a pause, what is a jump.
//!
//! Sound and pictures each have a time of their own, and some senders keep them seconds apart. A frame goes
//! on if it follows the last of its kind, or the last of the other: when a stream jumps, the first frame
//! behind the jump tells, and the other kind follows it.

use mill_media::frame::{FrameKind, Millis};

/// A step back of more than this is a jump: SRS's number.
const MAX_BACK: Millis = 250;

/// A step forward of more than this is a jump and not a pause. SRS says 250 ms, which would take a film of one
/// picture a second for nothing but jumps.
pub(crate) const MAX_FORWARD: Millis = 10_000;

/// What replaces a jump under [`Jitter::Full`]: SRS's number.
const JUMP_STEP: Millis = 10;

/// How long a stream that has video may go without before its sound decides alone what begins and ends.
pub(crate) const VIDEO_GONE: Millis = 10_000;

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

/// Follows the decoding times of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    jitter: Jitter,
    /// Times of the last frames of sound and pictures, and of either.
    sides: [Option<Millis>; 2],
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
        Self { jitter, sides: [None; 2], last: None, offset: 0 }
    }

    pub(crate) fn next(&mut self, kind: FrameKind, dts: Millis) -> Step {
        let dts = dts.clamp(-MAX_TIME, MAX_TIME);
        let side = self.sides[usize::from(kind.is_video())].replace(dts);
        let last = self.last.replace(dts).unwrap_or(dts);
        let follows = |before: Millis| (-MAX_BACK..=MAX_FORWARD).contains(&(dts - before));
        let mut jumped = match side {
            Some(side) => !follows(side) && !follows(last),
            // The first of its kind may come from somewhat earlier.
            None => (dts - last).abs() > MAX_FORWARD,
        };
        if jumped && self.jitter == Jitter::Full {
            self.offset += JUMP_STEP - (dts - last);
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
        times
            .iter()
            .map(|&dts| clock.next(FrameKind::Video, dts))
            .map(|step| (step.time, step.jumped))
            .collect()
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
    fn one_jump_of_both_kinds_and_sound_that_is_always_late() {
        use FrameKind::{Audio, Video};
        let mut clock = Clock::new(Jitter::Full);
        let frames = [
            (Video, 5000),
            (Audio, 3000),
            (Video, 5040),
            (Audio, 3023),
            (Video, 40),
            (Audio, 20),
            (Video, 80),
        ];
        let times = frames.map(|(kind, dts)| clock.next(kind, dts).time);
        assert_eq!(times, [5000, 3000, 5040, 3023, 3033, 3013, 3073]);
        let mut clock = Clock::new(Jitter::Off);
        let jumps = frames.map(|(kind, dts)| clock.next(kind, dts).jumped);
        assert_eq!(jumps, [false, false, false, false, true, false, false]);
    }

    #[test]
    fn extremes_do_not_overflow() {
        for jitter in [Jitter::Full, Jitter::Off] {
            let times = run(jitter, &[Millis::MIN, Millis::MAX, 0, Millis::MIN, Millis::MAX]);
            assert!(times.iter().all(|(time, _)| time.abs() <= 2 * MAX_TIME), "{times:?}");
        }
    }
}
