//! Where segments begin and end, whatever container they are in.
//!
//! A segment begins with a keyframe, unless there is no video or a GOP never ends. It ends before the first
//! keyframe that comes after its nominal length, before a jump in time, and before whatever follows a change
//! of decoder configuration.

use mill_media::frame::{FrameKind, Millis};

use crate::clock::{Clock, Jitter, VIDEO_GONE};

/// Shorter segments are not cut: SRS's number.
const MIN_SEGMENT: Millis = 200;

/// Where a segment is cut although no keyframe comes. A GOP of a minute is odd but whole; more costs memory,
/// and viewers.
const MAX_SEGMENT: Millis = 90_000;

/// The directives about cutting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// `hls_fragment` in milliseconds.
    pub fragment: Millis,
    /// `hls_aof_ratio`: where sound alone is cut, in fragments.
    pub audio_ratio: f64,
    /// `hls_wait_keyframe`.
    pub wait_keyframe: bool,
}

/// What a frame means for segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The segment that was open ends before it, and is so long, in milliseconds.
    pub closed: Option<Millis>,
    /// Where the frame belongs.
    pub place: Place,
}

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: no segment can begin with it.
    Nowhere,
    /// Into the open segment.
    Same,
    /// It begins a segment.
    New {
        /// Whether time or decoding start anew with it.
        discontinuity: bool,
    },
}

/// Decides frame by frame. It follows one stream over all of its publishes.
#[derive(Debug)]
pub struct Cutter {
    rules: Rules,
    clock: Clock,
    /// When the open segment began.
    start: Option<Millis>,
    /// The end of what is in it, as far as it is known, for sound and pictures.
    sides: [Side; 2],
    /// When frames began to be waited with for a keyframe.
    waiting: Option<Millis>,
    expects_video: bool,
    last_video: Option<Millis>,
    breaks: bool,
    full: bool,
    /// Added to the nominal length.
    deviation: Millis,
}

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    last: Option<Millis>,
    step: Millis,
}

impl Cutter {
    /// At the beginning of a stream.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            clock: Clock::new(Jitter::Off),
            start: None,
            sides: [Side::default(); 2],
            waiting: None,
            expects_video: false,
            last_video: None,
            breaks: false,
            full: false,
            deviation: 0,
        }
    }

    /// The next segment has nothing to do with this one: another publish, another decoder configuration. The
    /// open one ends before the next frame.
    pub fn break_off(&mut self) {
        self.breaks = true;
    }

    /// Whether [`break_off`](Self::break_off) waits for a segment to begin.
    pub fn is_broken_off(&self) -> bool {
        self.breaks
    }

    /// The open segment has become too big: it ends before the next frame, whatever that is.
    pub fn fill_up(&mut self) {
        self.full = true;
    }

    /// Whether the stream announces video: then segments wait for a keyframe.
    pub fn expect_video(&mut self, expected: bool) {
        self.expects_video = expected;
        self.last_video = None;
    }

    /// Makes this segment longer or shorter than its nominal length, in milliseconds.
    pub fn deviate(&mut self, by: Millis) {
        self.deviation = by;
    }

    /// What a coded frame means. Metadata and headers are not asked about.
    pub fn next(&mut self, kind: FrameKind, dts: Millis) -> Cut {
        if self.clock.next(kind, dts).jumped {
            self.breaks = true;
            self.last_video = self.last_video.map(|_| dts);
            self.waiting = None;
        }
        let mut closed = if self.breaks { self.end() } else { None };
        if self.start.is_none() && !self.may_begin(kind, dts) {
            return Cut { closed, place: Place::Nowhere };
        }
        let place = match self.start {
            None => Place::New { discontinuity: std::mem::take(&mut self.breaks) },
            Some(start) if self.is_over(kind, dts, dts - start) => {
                closed = Some(dts - start);
                Place::New { discontinuity: false }
            }
            Some(_) => Place::Same,
        };
        if place != Place::Same {
            self.start = Some(dts);
            self.waiting = None;
            self.full = false;
        }
        if kind.is_video() {
            self.last_video = Some(dts);
        }
        self.sides[usize::from(kind.is_video())].note(dts);
        Cut { closed, place }
    }

    /// Ends the open segment: how long it is, taking a last frame to be as long as the one before it.
    pub fn end(&mut self) -> Option<Millis> {
        let start = self.start.take()?;
        self.full = false;
        let ends = std::mem::take(&mut self.sides).map(|side| side.last.map(|last| last + side.step));
        let end = ends.into_iter().flatten().max().unwrap_or(start);
        Some((end - start).max(0))
    }

    /// Whether a segment can begin with the frame.
    fn may_begin(&mut self, kind: FrameKind, dts: Millis) -> bool {
        match kind {
            FrameKind::Keyframe => true,
            _ if !self.rules.wait_keyframe => true,
            FrameKind::Audio if self.expects_video => dts - *self.waiting.get_or_insert(dts) > VIDEO_GONE,
            FrameKind::Audio => true,
            _ => false,
        }
    }

    /// Whether the open segment, `length` long before the frame, is complete without it.
    fn is_over(&self, kind: FrameKind, dts: Millis, length: Millis) -> bool {
        let Rules { fragment, audio_ratio, wait_keyframe } = self.rules;
        if length < MIN_SEGMENT || self.full {
            return self.full;
        }
        let is_long = length >= fragment + self.deviation;
        let without_video = self.last_video.is_none_or(|last| dts - last > VIDEO_GONE);
        let is_place = match kind {
            FrameKind::Keyframe => is_long,
            FrameKind::Audio => {
                let long_of_audio = length as f64 >= fragment as f64 * audio_ratio;
                long_of_audio && (without_video || !wait_keyframe)
            }
            _ => is_long && !wait_keyframe,
        };
        is_place || length >= MAX_SEGMENT.max(3 * fragment)
    }
}

impl Side {
    fn note(&mut self, dts: Millis) {
        if let Some(step) = self.last.map(|last| dts - last).filter(|&step| step > 0) {
            self.step = step;
        }
        self.last = Some(self.last.map_or(dts, |last| last.max(dts)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Audio, Keyframe, Video};
    use proptest::prelude::*;

    const RULES: Rules = Rules { fragment: 4000, audio_ratio: 2.0, wait_keyframe: true };

    /// Segments as start, length and whether they break with what was before.
    fn segments(
        cutter: &mut Cutter,
        frames: impl IntoIterator<Item = (FrameKind, Millis)>,
    ) -> Vec<(Millis, Millis, bool)> {
        let mut segments = Vec::new();
        for (kind, dts) in frames {
            let cut = cutter.next(kind, dts);
            if let (Some(length), Some(open)) = (cut.closed, segments.last_mut()) {
                let (_, unknown, _): &mut (Millis, Millis, bool) = open;
                *unknown = length;
            }
            if let Place::New { discontinuity } = cut.place {
                segments.push((dts, 0, discontinuity));
            }
        }
        if let (Some(length), Some(open)) = (cutter.end(), segments.last_mut()) {
            open.1 = length;
        }
        segments
    }

    fn video(from: Millis, to: Millis, gop: Millis) -> impl Iterator<Item = (FrameKind, Millis)> {
        (from..to).step_by(40).map(move |dts| (if (dts - from) % gop == 0 { Keyframe } else { Video }, dts))
    }

    #[track_caller]
    fn check(
        rules: Rules,
        frames: impl IntoIterator<Item = (FrameKind, Millis)>,
        expected: &[(Millis, Millis, bool)],
    ) {
        assert_eq!(segments(&mut Cutter::new(rules), frames), expected);
    }

    #[test]
    fn at_the_first_keyframe_after_the_nominal_length() {
        check(RULES, video(0, 10_000, 2000), &[(0, 4000, false), (4000, 4000, false), (8000, 2000, false)]);
        check(RULES, video(0, 14_000, 6000), &[(0, 6000, false), (6000, 6000, false), (12_000, 2000, false)]);
        let anywhere = Rules { wait_keyframe: false, ..RULES };
        check(anywhere, video(0, 8080, 60_000), &[(0, 4000, false), (4000, 4000, false), (8000, 80, false)]);
    }

    #[test]
    fn sound_alone_at_the_ratio() {
        let sound = (0..20_000).step_by(20).map(|dts| (Audio, dts));
        check(RULES, sound, &[(0, 8000, false), (8000, 8000, false), (16_000, 4000, false)]);
    }

    #[test]
    fn a_long_gop_stays_whole_and_an_endless_one_does_not() {
        let gop = video(0, 120_000, 60_000).flat_map(|(kind, dts)| [(kind, dts), (Audio, dts + 10)]);
        // The last sound ends ten milliseconds after the last picture.
        check(RULES, gop, &[(0, 60_000, false), (60_000, 60_010, false)]);
        check(RULES, video(0, 100_000, 1_000_000), &[(0, 90_000, false), (90_000, 10_000, false)]);
    }

    #[test]
    fn what_is_full_ends_before_the_next_frame() {
        let mut cutter = Cutter::new(RULES);
        for (kind, dts) in video(0, 400, 60_000) {
            assert_eq!(cutter.next(kind, dts).closed, None);
        }
        cutter.fill_up();
        let cut = Cut { closed: Some(400), place: Place::New { discontinuity: false } };
        assert_eq!(cutter.next(Video, 400), cut);
        assert_eq!(cutter.next(Video, 440).place, Place::Same);
    }

    #[test]
    fn nothing_begins_before_the_first_keyframe() {
        let mut cutter = Cutter::new(RULES);
        cutter.expect_video(true);
        let frames = [(Audio, 0), (Video, 0), (Audio, 20), (Keyframe, 40), (Audio, 41), (Video, 80)];
        assert_eq!(segments(&mut cutter, frames), [(40, 80, false)]);
        // Video was announced, but never comes.
        let mut cutter = Cutter::new(RULES);
        cutter.expect_video(true);
        let sound = (0..20_000).step_by(100).map(|dts| (Audio, dts));
        assert_eq!(segments(&mut cutter, sound), [(10_100, 8000, false), (18_100, 1900, false)]);
    }

    #[test]
    fn sound_goes_on_when_the_pictures_have_gone() {
        let frames = video(0, 4000, 2000).chain((4000..32_000).step_by(20).map(|dts| (Audio, dts)));
        check(
            RULES,
            frames,
            &[(0, 13_980, false), (13_980, 8000, false), (21_980, 8000, false), (29_980, 2020, false)],
        );
    }

    #[test]
    fn jumps_and_breaks_are_discontinuities() {
        let frames =
            video(0, 3000, 1000).chain(video(3_600_000, 3_601_000, 1000)).chain(video(0, 1000, 1000));
        check(RULES, frames, &[(0, 3000, false), (3_600_000, 1000, true), (0, 1000, true)]);
        let mut cutter = Cutter::new(RULES);
        assert_eq!(segments(&mut cutter, video(0, 1000, 1000)), [(0, 1000, false)]);
        cutter.break_off();
        let again = [(Video, 1000), (Keyframe, 1040), (Video, 1080)];
        assert_eq!(segments(&mut cutter, again), [(1040, 80, true)]);
    }

    #[test]
    fn one_picture_a_second_and_a_hundred_and_twenty() {
        let slow = (0..20).map(|n| (Keyframe, n * 1000));
        check(
            RULES,
            slow,
            &[4000; 5]
                .map(|length| length)
                .iter()
                .enumerate()
                .map(|(n, &length)| (n as Millis * 4000, length, false))
                .collect::<Vec<_>>(),
        );
        let fast = (0..960).map(|n| (if n % 240 == 0 { Keyframe } else { Video }, n * 1000 / 120));
        check(RULES, fast, &[(0, 4000, false), (4000, 3999, false)]);
    }

    proptest! {
        #[test]
        fn lengths_add_up(frames in proptest::collection::vec((0..3, -100..2000i64), 0..200), wait_keyframe in any::<bool>()) {
            let mut dts = 0;
            let frames: Vec<_> = frames.into_iter().map(|(kind, step)| {
                dts = (dts + step).max(0);
                ([Audio, Keyframe, Video][kind as usize], dts)
            }).collect();
            let segments = segments(&mut Cutter::new(Rules { wait_keyframe, ..RULES }), frames.clone());
            for pair in segments.windows(2) {
                prop_assert!(pair[1].2 || pair[0].0 + pair[0].1 == pair[1].0, "{pair:?}");
            }
            prop_assert!(segments.iter().all(|&(_, length, _)| (0..=MAX_SEGMENT + 2000).contains(&length)));
        }
    }
}
