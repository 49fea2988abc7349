//! Elementary streams to frames: what a publisher would have sent for the same pictures and sound.
//!
//! For every way in that brings coded pictures and sound without a container's headers: transport streams, RTP.
//! [`Pictures`] takes access units of H.264 or H.265, [`Sound`] frames of AAC or MP3. What comes out are FLV
//! bodies: a decoder configuration where one begins to hold, then coded frames with lengths of four bytes. H.265
//! comes in the form of Enhanced RTMP, because FLV itself has no number for it.
//!
//! Both are state of one track and know no time of their own: whoever feeds them has unwrapped the sender's clock.
//! Bounded by the access unit that was given, and parameter sets by [`crate::nal::ParameterSets`].

use bytes::Bytes;

use crate::codec::mp3;
use crate::frame::{Frame, FrameKind, Millis};
use crate::nal::{Family, Kind, ParameterSets};

/// Pictures of one track, access unit by access unit.
///
/// The first to come out has its parameter sets, wherever those came from. An access unit counts as a keyframe if
/// it has an IDR or IRAP slice, or an SPS: encoders without IDR repeat that where decoding can start.
#[derive(Debug)]
pub struct Pictures {
    family: Family,
    sets: ParameterSets,
    /// The sets that the last decoder configuration was made from.
    announced: Option<ParameterSets>,
}

impl Pictures {
    /// A track without parameter sets yet.
    pub fn new(family: Family) -> Self {
        Self { family, sets: ParameterSets::new(family), announced: None }
    }

    /// Takes in a parameter set that came beside the track, as in SDP; anything else is ignored.
    pub fn note(&mut self, unit: &[u8]) {
        self.sets.note(unit);
    }

    /// One access unit, its units in order and without start codes or lengths; `cts` is presentation minus
    /// decoding time, in milliseconds. Gives at most a header and a frame: nothing for one without a slice, and
    /// nothing before the first keyframe that has all parameter sets.
    pub fn take<'a>(
        &mut self,
        units: impl Iterator<Item = &'a [u8]> + Clone,
        dts: Millis,
        cts: i32,
        mut put: impl FnMut(Frame),
    ) {
        let (mut key, mut picture, mut len) = (false, false, 0);
        for unit in units.clone() {
            len += 4 + unit.len();
            match self.family.kind(unit) {
                Kind::Delimiter => {}
                Kind::RandomAccess => (key, picture) = (true, true),
                Kind::Sps => {
                    key = true;
                    self.sets.note(unit);
                }
                Kind::Vps | Kind::Pps => self.sets.note(unit),
                Kind::Other => picture = true,
            }
        }
        if !picture {
            return;
        }
        if key && self.announced.as_ref() != Some(&self.sets) {
            let Some(record) = self.sets.record() else { return };
            self.announced = Some(self.sets.clone());
            put(Frame { kind: FrameKind::VideoHeader, dts, payload: self.header(&record).into() });
        }
        if self.announced.is_none() {
            return;
        }
        let mut body = self.frame_head(key, cts);
        body.reserve(len);
        for unit in units {
            let kind = self.family.kind(unit);
            // The decoder configuration has those of a keyframe. Others may change in between.
            if kind != Kind::Delimiter && !(key && kind.is_parameter_set()) {
                body.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                body.extend_from_slice(unit);
            }
        }
        let kind = if key { FrameKind::Keyframe } else { FrameKind::Video };
        put(Frame { kind, dts, payload: body.into() });
    }

    fn header(&self, record: &[u8]) -> Vec<u8> {
        let head: &[u8] = match self.family {
            Family::Avc => &[0x17, 0, 0, 0, 0],
            Family::Hevc => b"\x90hvc1",
        };
        [head, record].concat()
    }

    /// What stands before the units of a frame.
    fn frame_head(&self, key: bool, cts: i32) -> Vec<u8> {
        let frame_type = if key { 0x10 } else { 0x20 };
        let [_, cts @ ..] = cts.to_be_bytes();
        let head: &[u8] = match self.family {
            Family::Avc => &[frame_type | 7, 1],
            Family::Hevc => &[0x80 | frame_type | 1, b'h', b'v', b'c', b'1'],
        };
        [head, &cts].concat()
    }
}

/// Sound of one track, frame by frame.
#[derive(Debug, Default)]
pub struct Sound {
    /// The configuration that was announced last.
    announced: Option<Bytes>,
}

impl Sound {
    /// A track that has announced nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A raw frame of AAC and the AudioSpecificConfig that holds for it: where that is another one than before,
    /// a header comes out first.
    pub fn take_aac(&mut self, config: &[u8], frame: &[u8], dts: Millis, mut put: impl FnMut(Frame)) {
        if self.announced.as_deref() != Some(config) {
            self.announced = Some(Bytes::copy_from_slice(config));
            put(Frame { kind: FrameKind::AudioHeader, dts, payload: [&[0xaf, 0], config].concat().into() });
        }
        put(Frame { kind: FrameKind::Audio, dts, payload: [&[0xaf, 1], frame].concat().into() });
    }

    /// A frame of MP3, which has a header of its own; nothing if it begins with none.
    pub fn take_mp3(&mut self, frame: &[u8], dts: Millis, mut put: impl FnMut(Frame)) {
        const MP3: u8 = 2 << 4;
        const SIXTEEN_BITS: u8 = 2;
        let Some(header) = mp3::FrameHeader::parse(frame) else { return };
        let rate = match header.sample_rate {
            0..=11_025 => 1,
            11_026..=24_000 => 2,
            _ => 3,
        };
        let flags = MP3 | rate << 2 | SIXTEEN_BITS | (header.channels - 1);
        put(Frame { kind: FrameKind::Audio, dts, payload: [&[flags], frame].concat().into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::tag::classify;

    const SPS: &[u8] = b"\x67\x42\xc0\x1e\xda";
    const PPS: &[u8] = b"\x68\xce\x0f\xc8";

    fn take(pictures: &mut Pictures, units: &[&[u8]], dts: Millis, cts: i32) -> Vec<Frame> {
        let mut frames = Vec::new();
        pictures.take(units.iter().copied(), dts, cts, |frame| frames.push(frame));
        for frame in &frames {
            assert_eq!(classify(frame.kind.tag_type(), &frame.payload), Some(frame.kind));
        }
        frames
    }

    #[test]
    fn pictures_begin_with_a_keyframe_and_its_configuration() {
        let mut track = Pictures::new(Family::Avc);
        assert_eq!(take(&mut track, &[b"\x41inter"], 0, 0), [], "nothing to start from");
        assert_eq!(take(&mut track, &[b"\x65key"], 0, 0), [], "no parameter sets");
        let frames = take(&mut track, &[b"\x09\xf0", SPS, PPS, b"\x65key"], 40, 80);
        let [header, key] = &frames[..] else { panic!("{frames:?}") };
        assert_eq!((header.kind, header.dts), (FrameKind::VideoHeader, 40));
        assert_eq!(key.payload, b"\x17\x01\0\0\x50\0\0\0\x04\x65key"[..]);
        let frames = take(&mut track, &[SPS, PPS, b"\x65key"], 80, 0);
        assert_eq!(frames.len(), 1, "the configuration is known");
        let frames = take(&mut track, &[b"\x06sei", b"\x41inter"], 120, -40);
        assert_eq!(frames[0].payload, b"\x27\x01\xff\xff\xd8\0\0\0\x04\x06sei\0\0\0\x06\x41inter"[..]);
    }

    #[test]
    fn parameter_sets_may_come_beside_the_track() {
        let mut track = Pictures::new(Family::Avc);
        track.note(SPS);
        track.note(PPS);
        let kinds: Vec<_> = take(&mut track, &[b"\x65key"], 0, 0).iter().map(|frame| frame.kind).collect();
        assert_eq!(kinds, [FrameKind::VideoHeader, FrameKind::Keyframe]);
        track.note(b"\x68\xee");
        assert_eq!(take(&mut track, &[b"\x41inter"], 40, 0).len(), 1, "told with the next keyframe");
        assert_eq!(take(&mut track, &[b"\x65key"], 80, 0).len(), 2);
    }

    #[test]
    fn sound_announces_what_changes() {
        let (mut track, mut frames) = (Sound::new(), Vec::new());
        for (config, dts) in [(b"\x12\x10", 0), (b"\x12\x10", 23), (b"\x11\x90", 46)] {
            track.take_aac(config, b"aac", dts, |frame| frames.push((frame.kind, frame.dts)));
        }
        use FrameKind::{Audio, AudioHeader};
        assert_eq!(frames, [(AudioHeader, 0), (Audio, 0), (Audio, 23), (AudioHeader, 46), (Audio, 46)]);
    }

    #[test]
    fn mp3_says_its_rate_in_each_frame() {
        let mut frames = Vec::new();
        for frame in [&b"\xff\xfb\x90\x64"[..], b"\xff\xf3\x80\xc4", b"none"] {
            Sound::new().take_mp3(frame, 0, |frame| frames.push(frame.payload[0]));
        }
        assert_eq!(frames, [0x2f, 0x2a], "44.1 kHz stereo, 22.05 kHz mono");
    }
}
