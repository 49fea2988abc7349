//! Frames of two tracks, put in the order of their time.
//!
//! A container may bring a third of a second of sound at once, behind the pictures it belongs to. RTMP and FLV want
//! frames in order, and whoever judges a stream's clock by its steps takes such a heap for a jump.
//!
//! A frame waits until the other track has come as far. A track that is [`HOLD`] behind is not waited for until it
//! is heard of again; a track that is not declared never is. A step of the clock itself lets everything go. Bounded
//! by [`HOLD`] of media, `MAX_FRAMES` and `MAX_BYTES`.

use std::collections::VecDeque;

use crate::frame::{Frame, Millis};

/// The longest that a frame waits for the other track, in milliseconds of media. Sound comes in heaps of up to 0.7 s
/// (ffmpeg, at low rates).
pub const HOLD: Millis = 1000;

/// Frames that wait, at most.
const MAX_FRAMES: usize = 1000;

/// Bytes of frames that wait, at most.
const MAX_BYTES: usize = 8 << 20;

/// Puts the frames of one sender in order.
#[derive(Debug, Default)]
pub struct Interleave {
    waiting: VecDeque<Frame>,
    bytes: usize,
    /// Video, then audio.
    tracks: [Track; 2],
    /// Everything that waits may go.
    flushed: usize,
}

#[derive(Debug, Default)]
struct Track {
    expected: bool,
    last: Option<Millis>,
    /// It is too far behind.
    given_up: bool,
}

impl Interleave {
    /// Expects no track yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which tracks there are, heard of or not.
    pub fn expect(&mut self, video: bool, audio: bool) {
        (self.tracks[0].expected, self.tracks[1].expected) = (video, audio);
    }

    /// Takes the next frame of its track.
    pub fn put(&mut self, frame: Frame) {
        let track = &mut self.tracks[usize::from(frame.kind.is_audio())];
        let jump = track.last.is_some_and(|last| (frame.dts - last).abs() > HOLD);
        (track.last, track.given_up) = (Some(frame.dts), false);
        if jump {
            // What came before it stays before it, whatever its time.
            self.finish();
            for track in &mut self.tracks {
                track.last = track.last.filter(|last| (frame.dts - last).abs() <= HOLD);
            }
        }
        self.bytes += frame.payload.len();
        let later =
            self.waiting.iter().skip(self.flushed).rev().take_while(|one| one.dts > frame.dts).count();
        self.waiting.insert(self.waiting.len() - later, frame);
    }

    /// The next frame that has waited long enough.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None is not its end")]
    pub fn next(&mut self) -> Option<Frame> {
        let first = self.waiting.front()?.dts;
        if self.flushed == 0 {
            let newest = self.waiting.back().map_or(first, |frame| frame.dts);
            let full = self.waiting.len() > MAX_FRAMES || self.bytes > MAX_BYTES;
            let behind = |track: &Track| {
                track.expected && !track.given_up && track.last.is_none_or(|last| last < first)
            };
            if self.tracks.iter().any(behind) {
                if !full && newest - first <= HOLD {
                    return None;
                }
                self.tracks.iter_mut().filter(|track| behind(track)).for_each(|track| track.given_up = true);
            }
        }
        self.flushed = self.flushed.saturating_sub(1);
        let frame = self.waiting.pop_front()?;
        self.bytes -= frame.payload.len();
        Some(frame)
    }

    /// Nothing that is here has to wait.
    pub fn finish(&mut self) {
        self.flushed = self.waiting.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameKind::{self, Audio, Video};
    use proptest::prelude::*;

    fn frame(kind: FrameKind, dts: Millis) -> Frame {
        Frame { kind, dts, payload: vec![0; 10].into() }
    }

    fn run(interleave: &mut Interleave, frames: &[(FrameKind, Millis)]) -> Vec<Millis> {
        let mut out = Vec::new();
        for &(kind, dts) in frames {
            interleave.put(frame(kind, dts));
            out.extend(std::iter::from_fn(|| interleave.next()).map(|frame| frame.dts));
        }
        out
    }

    #[test]
    fn heaps_of_sound_are_spread() {
        let mut interleave = Interleave::new();
        interleave.expect(true, true);
        let mut frames: Vec<_> = (0..10).map(|n| (Video, n * 40)).collect();
        frames.extend((0..17).map(|n| (Audio, n * 23 + 5)));
        let out = run(&mut interleave, &frames);
        assert!(out.is_sorted(), "{out:?}");
        assert_eq!(*out.last().unwrap(), 360, "up to where both have come");
    }

    #[test]
    fn one_track_alone_does_not_wait() {
        let mut interleave = Interleave::new();
        interleave.expect(true, false);
        assert_eq!(run(&mut interleave, &[(Video, 0), (Video, 40)]), [0, 40]);
    }

    #[test]
    fn a_track_that_stays_silent_is_waited_for_once() {
        let mut interleave = Interleave::new();
        interleave.expect(true, true);
        let pictures: Vec<_> = (0..100).map(|n| (Video, n * 40)).collect();
        assert_eq!(run(&mut interleave, &pictures).len(), 100);
        assert_eq!(run(&mut interleave, &[(Audio, 3950), (Video, 4000), (Audio, 3980)]), [3950, 3980]);
    }

    #[test]
    fn a_step_of_the_clock_holds_nothing_back() {
        let mut interleave = Interleave::new();
        interleave.expect(true, true);
        let frames = [
            (Video, 90_000),
            (Audio, 90_000),
            (Video, 90_040),
            (Video, 0),
            (Audio, 0),
            (Video, 40),
            (Audio, 40),
        ];
        assert_eq!(run(&mut interleave, &frames), [90_000, 90_000, 90_040, 0, 0, 40, 40]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_kept_for_long(
            frames in proptest::collection::vec((any::<bool>(), -5000i64..5000), 0..300),
            declared in any::<(bool, bool)>(),
        ) {
            let mut interleave = Interleave::new();
            interleave.expect(declared.0, declared.1);
            let frames: Vec<_> =
                frames.into_iter().map(|(audio, dts)| (if audio { Audio } else { Video }, dts)).collect();
            let mut out = run(&mut interleave, &frames);
            interleave.finish();
            out.extend(std::iter::from_fn(|| interleave.next()).map(|frame| frame.dts));
            prop_assert_eq!(interleave.bytes, 0);
            let mut sent: Vec<_> = frames.iter().map(|(_, dts)| *dts).collect();
            sent.sort_unstable();
            out.sort_unstable();
            prop_assert_eq!(out, sent);
        }
    }
}
