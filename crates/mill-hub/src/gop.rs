//! The running group of pictures: where a newcomer starts, and what a new lane is made from.
//!
//! A GOP starts at a keyframe, or at the first media frame of a publish. A stream without video (or
//! whose video has gone silent) has no keyframes, so there any audio frame will do, and one starts every
//! second. The rules on what counts as "without video" are SRS's (a guess after 115 audio frames).

use mill_media::frame::{Frame, FrameKind, Millis};

use crate::store::Store;

/// Audio frames since the last video frame after which the stream is taken for audio only, as in SRS:
/// about 2.7 s of AAC at 44.1 kHz.
const PURE_AUDIO: u32 = 115;

/// How often newcomers of an audio-only stream may start, in milliseconds. They receive up to this much
/// at once, so that their decoder begins without waiting.
const AUDIO_GOP: Millis = 1000;

/// A GOP larger than this is not worth sending to a newcomer, and an endless one must not fill the memory.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Where a frame stands, as far as newcomers are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Newcomers start here from now on.
    Start,
    /// Somewhere inside.
    Inside,
    /// The running GOP has grown too long to be joined: newcomers start at the next keyframe.
    Lost,
}

#[derive(Debug, Default)]
pub(crate) struct Gop {
    /// Everything since the start; empty when there is no GOP to join, or when frames are not kept.
    frames: Store,
    running: bool,
    begun: bool,
    start: Millis,
    count: usize,
    bytes: usize,
    video_seen: bool,
    audio_since_video: u32,
}

impl Gop {
    /// Takes the next frame in, keeping at most `max_frames` (of which nothing is stored unless `keep`).
    pub(crate) fn push(&mut self, frame: &Frame, keep: bool, max_frames: usize) -> Place {
        if frame.kind.is_video() {
            self.video_seen = true;
            self.audio_since_video = 0;
        } else if frame.kind == FrameKind::Audio {
            self.audio_since_video = self.audio_since_video.saturating_add(1);
        }
        if self.starts(frame) {
            self.frames.clear();
            (self.count, self.bytes, self.start) = (0, 0, frame.dts);
            (self.running, self.begun) = (true, true);
            self.store(frame, keep);
            return Place::Start;
        }
        if self.running {
            self.store(frame, keep);
            if self.count > max_frames || self.bytes > MAX_BYTES {
                self.abandon();
                return Place::Lost;
            }
        }
        Place::Inside
    }

    /// Forgets the running GOP: newcomers start anew at the next keyframe.
    pub(crate) fn abandon(&mut self) {
        self.frames = Store::default();
        self.running = false;
    }

    /// The frames since the start, for a new lane.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame> {
        self.frames.frames()
    }

    /// Media has been seen since the publisher came.
    pub(crate) fn begun(&self) -> bool {
        self.begun
    }

    fn starts(&self, frame: &Frame) -> bool {
        match frame.kind {
            FrameKind::Keyframe => true,
            FrameKind::Video => !self.begun,
            FrameKind::Audio => {
                let no_video = !self.video_seen || self.audio_since_video > PURE_AUDIO;
                let due = !self.running || frame.dts - self.start >= AUDIO_GOP;
                !self.begun || no_video && due
            }
            _ => false,
        }
    }

    fn store(&mut self, frame: &Frame, keep: bool) {
        self.count += 1;
        self.bytes += frame.payload.len();
        if keep {
            self.frames.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Audio, Keyframe, Metadata, Video, VideoHeader};
    use bytes::Bytes;

    fn places(gop: &mut Gop, frames: &[(FrameKind, Millis)]) -> Vec<Place> {
        let frame = |&(kind, dts)| Frame { kind, dts, payload: Bytes::from_static(b"0123456789") };
        frames.iter().map(|f| gop.push(&frame(f), true, 2500)).collect()
    }

    #[test]
    fn starts_at_the_first_frame_and_at_each_keyframe() {
        let mut gop = Gop::default();
        let seen = places(
            &mut gop,
            &[
                (Metadata, 0),
                (VideoHeader, 0),
                (Audio, 0),
                (Video, 10),
                (Keyframe, 20),
                (Audio, 30),
                (Video, 40),
            ],
        );
        use Place::{Inside, Start};
        assert_eq!(seen, [Inside, Inside, Start, Inside, Start, Inside, Inside]);
        assert_eq!(gop.frames().map(|frame| frame.kind).collect::<Vec<_>>(), [Keyframe, Audio, Video]);
    }

    #[test]
    fn audio_only_starts_every_second() {
        let mut gop = Gop::default();
        let seen: Vec<_> = (0..100).map(|i| places(&mut gop, &[(Audio, i * 23)])[0]).collect();
        assert_eq!(seen.iter().filter(|p| **p == Place::Start).count(), 3);
        assert!(gop.frames().count() <= 44);
    }

    #[test]
    fn silent_video_is_given_up_after_115_audio_frames() {
        let mut gop = Gop::default();
        places(&mut gop, &[(Keyframe, 0)]);
        let seen: Vec<_> = (0..116).map(|i| places(&mut gop, &[(Audio, i * 23)])[0]).collect();
        assert!(seen[..115].iter().all(|p| *p == Place::Inside));
        assert_eq!(seen[115], Place::Start);
        assert_eq!(places(&mut gop, &[(Video, 3000)]), [Place::Inside]);
        let later: Vec<_> = (0..50).map(|i| places(&mut gop, &[(Audio, 4000 + i)])[0]).collect();
        assert!(later.iter().all(|p| *p == Place::Inside), "video is back: only a keyframe starts");
    }

    #[test]
    fn an_endless_gop_is_dropped_and_the_next_keyframe_starts_anew() {
        let mut gop = Gop::default();
        let mut seen = vec![];
        for i in 0..30 {
            let kind = if i % 20 == 0 { Keyframe } else { Video };
            seen.push(gop.push(&Frame { kind, dts: i, payload: Bytes::new() }, true, 10));
        }
        assert_eq!(seen[10], Place::Lost);
        assert!(seen[11..20].iter().all(|p| *p == Place::Inside));
        assert_eq!(seen[20], Place::Start);
    }

    #[test]
    fn nothing_is_stored_without_gop_cache_but_starts_are_known() {
        let mut gop = Gop::default();
        let key = Frame { kind: Keyframe, dts: 0, payload: Bytes::from_static(b"k") };
        assert_eq!(gop.push(&key, false, 2500), Place::Start);
        assert_eq!(gop.frames().count(), 0);
    }
}
