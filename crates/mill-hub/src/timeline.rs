//! The one place where a stream's time is put right.
//!
//! Encoders start at any time, jump, and wrap their 32-bit clocks. The stream corrects that once, so the
//! bytes of every wire format are the same for every viewer. The rules are those of SRS's
//! `time_jitter` and `mix_correct`; a stream keeps its timeline across publishers, so that a viewer who
//! stays sees time go on.

use std::collections::BTreeMap;

use mill_media::frame::{Frame, FrameKind, Millis};
use mill_media::time::Unwrap;

/// A step larger than this, in milliseconds and either direction, is a jump and not a pause between
/// frames: SRS's constant, which players' configurations rely on.
const MAX_STEP: Millis = 250;

/// What a jump is replaced by, in milliseconds.
const JUMP_STEP: Millis = 10;

/// Frames of one kind that `mix_correct` holds back before it gives up waiting for the other kind.
const MIX_HOLD: usize = 10;

/// How the timestamps of a publisher become those of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeJitter {
    /// Starts near zero and only ever moves in real steps: a step outside ±250 ms becomes 10 ms.
    #[default]
    Full,
    /// The first timestamp of a publish becomes zero.
    Zero,
    /// As published.
    Off,
}

/// Turns the wire timestamps of successive publishers into one timeline.
#[derive(Debug)]
pub(crate) struct Timeline {
    mode: TimeJitter,
    unwrap: Unwrap,
    last_in: Millis,
    out: Millis,
    base: Option<Millis>,
}

impl Timeline {
    pub(crate) fn new(mode: TimeJitter) -> Self {
        Self { mode, unwrap: Unwrap::default(), last_in: 0, out: -1, base: None }
    }

    /// A new publisher with its own clock: under `Zero` it starts at zero again, under `Full` its first
    /// step is judged like any other.
    pub(crate) fn restart(&mut self, mode: TimeJitter) {
        self.mode = mode;
        self.unwrap = Unwrap::default();
        self.base = None;
    }

    pub(crate) fn set_mode(&mut self, mode: TimeJitter) {
        self.mode = mode;
    }

    /// The newest time given out, never negative.
    pub(crate) fn now(&self) -> Millis {
        self.out.max(0)
    }

    /// Corrects the time of a frame. Metadata carries no time of its own and gets the newest one.
    pub(crate) fn correct(&mut self, kind: FrameKind, timestamp: u32) -> Millis {
        if kind == FrameKind::Metadata {
            return self.now();
        }
        let t = self.unwrap.next(timestamp);
        // Noted whatever the mode, which may change.
        let base = *self.base.get_or_insert(t);
        self.out = match self.mode {
            TimeJitter::Full => {
                let step = t - self.last_in;
                let step = if (-MAX_STEP..=MAX_STEP).contains(&step) { step } else { JUMP_STEP };
                (self.out + step).max(0)
            }
            TimeJitter::Zero => t - base,
            TimeJitter::Off => t,
        };
        self.last_in = t;
        self.out
    }
}

/// Puts frames in order of time before they are delivered (`mix_correct`).
///
/// One frame is released while at least one audio and one video frame wait, or more than
/// [`MIX_HOLD`] of one kind; so it holds at most `2 × MIX_HOLD` frames.
#[derive(Debug, Default)]
pub(crate) struct Mix {
    waiting: BTreeMap<(Millis, u64), Frame>,
    arrival: u64,
    audio: usize,
    video: usize,
}

impl Mix {
    pub(crate) fn push(&mut self, frame: Frame) {
        *self.count(&frame) += 1;
        self.arrival += 1;
        self.waiting.insert((frame.dts, self.arrival), frame);
    }

    /// The next frame that may go out now.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let both = self.audio > 0 && self.video > 0;
        if both || self.audio > MIX_HOLD || self.video > MIX_HOLD { self.pop_any() } else { None }
    }

    /// The next frame, whatever waits: for the end of a publish.
    pub(crate) fn pop_any(&mut self) -> Option<Frame> {
        let (_, frame) = self.waiting.pop_first()?;
        *self.count(&frame) -= 1;
        Some(frame)
    }

    fn count(&mut self, frame: &Frame) -> &mut usize {
        if frame.kind.is_audio() { &mut self.audio } else { &mut self.video }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn run(mode: TimeJitter, times: &[u32]) -> Vec<Millis> {
        let mut t = Timeline::new(mode);
        times.iter().map(|&x| t.correct(FrameKind::Audio, x)).collect()
    }

    #[test]
    fn full_follows_real_steps_and_replaces_jumps() {
        // The four cases of the rule: start at 0, small start, large start, jumps both ways.
        assert_eq!(run(TimeJitter::Full, &[0, 0, 40, 80]), [0, 0, 40, 80]);
        assert_eq!(run(TimeJitter::Full, &[40, 80]), [39, 79]);
        assert_eq!(run(TimeJitter::Full, &[5000, 5040]), [9, 49]);
        assert_eq!(run(TimeJitter::Full, &[0, 40, 9000, 9040, 20, 60]), [0, 40, 50, 90, 100, 140]);
        assert_eq!(run(TimeJitter::Full, &[0, 240, 200]), [0, 240, 200]);
    }

    #[test]
    fn the_32_bit_wrap_is_a_step_like_any_other() {
        let start = u32::MAX - 59;
        assert_eq!(run(TimeJitter::Full, &[start, start + 40, 20, 60]), [9, 49, 89, 129]);
        let off = run(TimeJitter::Off, &[start, start + 40, 20]);
        assert_eq!(off.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>(), [40, 40]);
    }

    #[test]
    fn zero_starts_each_publish_at_zero() {
        let mut t = Timeline::new(TimeJitter::Zero);
        assert_eq!(t.correct(FrameKind::Video, 5000), 0);
        assert_eq!(t.correct(FrameKind::Video, 9000), 4000);
        t.restart(TimeJitter::Zero);
        assert_eq!(t.correct(FrameKind::Video, 77), 0);
    }

    #[test]
    fn full_goes_on_over_a_republish() {
        let mut t = Timeline::new(TimeJitter::Full);
        t.correct(FrameKind::Video, 0);
        t.correct(FrameKind::Video, 200);
        t.restart(TimeJitter::Full);
        assert_eq!(t.correct(FrameKind::Video, 1_000_000), 210);
        assert_eq!(t.correct(FrameKind::Metadata, 0), 210);
    }

    fn frame(kind: FrameKind, dts: Millis) -> Frame {
        Frame { kind, dts, payload: Bytes::new() }
    }

    #[test]
    fn mix_releases_in_order_of_time() {
        let mut mix = Mix::default();
        mix.push(frame(FrameKind::Video, 40));
        assert!(mix.pop().is_none(), "waits for audio");
        mix.push(frame(FrameKind::Audio, 20));
        assert_eq!(mix.pop().map(|f| f.dts), Some(20));
        assert!(mix.pop().is_none());
        for i in 0..MIX_HOLD as Millis {
            mix.push(frame(FrameKind::Video, 50 + i));
        }
        assert_eq!(mix.pop().map(|f| f.dts), Some(40), "gives up on audio");
        assert!(mix.pop().is_none());
        assert_eq!(std::iter::from_fn(|| mix.pop_any()).count(), MIX_HOLD);
    }
}
