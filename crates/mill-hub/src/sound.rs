//! The last seconds of sound: what newcomers of formats of sound alone start with (`fast_cache`).
//!
//! Kept as frames and not as a lane's bytes, so that the first viewer has it as well, in whatever form. Copies:
//! a slice would keep the publisher's read buffer with the pictures in it. Bounded by the time asked for and by
//! [`MAX_BYTES`].

use std::collections::VecDeque;

use bytes::Bytes;
use mill_media::frame::{Frame, FrameKind, Millis};

/// However long it is asked for: eight minutes at 256 kbit/s.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Sound {
    span: Millis,
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Sound {
    /// Keeps `span` milliseconds; 0 for nothing.
    pub(crate) fn new(span: Millis) -> Self {
        Self { span, ..Self::default() }
    }

    /// Takes the next frame in; of a decoder configuration, whether it merely `repeated` the one before.
    pub(crate) fn push(&mut self, frame: &Frame, repeated: bool) {
        if self.span <= 0 {
            return;
        }
        match frame.kind {
            FrameKind::AudioHeader if !repeated => {
                // What is older needs another configuration.
                self.frames.clear();
                self.bytes = 0;
            }
            FrameKind::Audio => {
                let payload = Bytes::copy_from_slice(&frame.payload);
                self.bytes += payload.len();
                self.frames.push_back(Frame { payload, ..frame.clone() });
                self.trim(frame.dts);
            }
            _ => {}
        }
    }

    /// Oldest first.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    fn trim(&mut self, now: Millis) {
        let recent = now.saturating_sub(self.span)..=now;
        while let Some(front) = self.frames.front() {
            if recent.contains(&front.dts) && self.bytes <= MAX_BYTES {
                return;
            }
            self.bytes -= front.payload.len();
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Audio, AudioHeader, Keyframe};

    fn push(sound: &mut Sound, kind: FrameKind, dts: Millis, len: usize) {
        sound.push(&Frame { kind, dts, payload: vec![0; len].into() }, false);
    }

    fn times(sound: &Sound) -> Vec<Millis> {
        sound.frames().map(|frame| frame.dts).collect()
    }

    #[test]
    fn so_many_milliseconds_are_kept() {
        let mut sound = Sound::new(100);
        for n in 0..10 {
            push(&mut sound, Keyframe, 40 * n, 1000);
            push(&mut sound, Audio, 40 * n, 10);
        }
        assert_eq!(times(&sound), [280, 320, 360]);
        assert_eq!(sound.bytes, 30);
        push(&mut sound, Audio, 5, 10);
        assert_eq!(times(&sound), [5], "a jump back leaves nothing that could be in order");
        push(&mut sound, AudioHeader, 10, 2);
        assert!(times(&sound).is_empty(), "another configuration");
    }

    #[test]
    fn bytes_are_bounded_and_nothing_is_kept_unasked() {
        let mut sound = Sound::new(Millis::MAX);
        for n in 0..40 {
            push(&mut sound, Audio, n, 1024 * 1024);
        }
        assert_eq!(sound.frames().count(), 16);
        let mut sound = Sound::default();
        push(&mut sound, Audio, 0, 10);
        assert!(times(&sound).is_empty());
    }
}
