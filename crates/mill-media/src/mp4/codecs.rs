//! How a track is named to players: the `codecs` parameter (RFC 6381), with the forms its codecs define.

use std::fmt::Write as _;

use crate::codec::{aac, av1};
use crate::mp4::boxes::{HEADER, child};
use crate::mp4::track::{Media, Track};

/// Bytes of the fixed part of a sample entry, box header included (8.5.2, 12.1.3, 12.2.3).
const VISUAL: usize = HEADER + 78;
const AUDIO: usize = HEADER + 28;

/// Where in an audio sample entry channels are counted.
const CHANNELS: usize = HEADER + 16;

impl Track {
    /// Its name, such as `avc1.64001f`, `hvc1.1.6.L93.B0` or `mp4a.40.2`. Where the configuration is too short
    /// for the whole name it is the format alone.
    pub fn codecs(&self) -> String {
        let format = self.format();
        let mut name: String = format.iter().copied().map(char::from).collect();
        let fixed = if self.media == Media::Audio { AUDIO } else { VISUAL };
        let config = |kind| child(self.entry().get(fixed..)?, kind);
        let rest = match &format {
            b"avc1" => config(b"avcC").and_then(avc),
            b"hvc1" | b"hev1" => config(b"hvcC").and_then(hevc),
            b"av01" => config(b"av1C").and_then(av1),
            b"mp4a" => config(b"esds").and_then(mpeg4_audio),
            // Opus and whatever else needs no more; players know it in small letters.
            _ => return name.to_ascii_lowercase(),
        };
        name.extend(rest);
        name
    }

    /// Channels of sound; 0 for pictures, and where nobody said.
    pub fn channels(&self) -> u16 {
        if self.media != Media::Audio {
            return 0;
        }
        let field = self.entry().get(CHANNELS..).and_then(|rest| rest.first_chunk());
        field.map_or(0, |&field| u16::from_be_bytes(field))
    }
}

/// Profile, constraints and level of the record (ISO/IEC 14496-15, annex E.2).
fn avc(record: &[u8]) -> Option<String> {
    let &[_, profile, constraints, level] = record.first_chunk()?;
    Some(format!(".{profile:02x}{constraints:02x}{level:02x}"))
}

/// Annex E.3: space and profile, compatibility with its bits turned round, tier and level, and the bytes of
/// constraints up to the last that says something.
fn hevc(record: &[u8]) -> Option<String> {
    let &[_, general, c0, c1, c2, c3, k0, k1, k2, k3, k4, k5, level] = record.first_chunk()?;
    let space = ["", "A", "B", "C"][usize::from(general >> 6)];
    let tier = if general & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([c0, c1, c2, c3]).reverse_bits();
    let mut name = format!(".{space}{}.{compatibility:X}.{tier}{level}", general & 31);
    let constraints = [k0, k1, k2, k3, k4, k5];
    let said = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..said] {
        write!(name, ".{byte:X}").expect("a string takes all");
    }
    Some(name)
}

/// AV1 Codec ISO Media File Format Binding, section 5: profile, level and tier, bit depth.
fn av1(record: &[u8]) -> Option<String> {
    let av1::DecoderConfig { profile, level, .. } = av1::DecoderConfig::parse(record)?;
    let flags = *record.get(2)?;
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (true, true) => 12,
        (true, false) => 10,
        (false, _) => 8,
    };
    Some(format!(".{profile}.{level:02}{tier}.{depth:02}"))
}

/// Object type of the descriptor, and for AAC that of its configuration (RFC 6381, 3.3).
fn mpeg4_audio(esds: &[u8]) -> Option<String> {
    /// Version and flags; tag, length and fields of the ES descriptor; tag and length of the next.
    const OBJECT: usize = 4 + 5 + 3 + 5;
    /// Behind it: the rest of that descriptor; tag and length of the next.
    const CONFIG: usize = OBJECT + 13 + 5;
    const AAC: u8 = 0x40;
    let object = *esds.get(OBJECT)?;
    if object != AAC {
        return Some(format!(".{object:02X}"));
    }
    let config = aac::DecoderConfig::parse(esds.get(CONFIG..)?)?;
    let object = match config {
        aac::DecoderConfig { ps: true, .. } => 29,
        aac::DecoderConfig { sbr: true, .. } => 5,
        aac::DecoderConfig { object, .. } => object,
    };
    Some(format!(".40.{object}"))
}

#[cfg(test)]
mod tests {
    use crate::frame::{Frame, FrameKind};
    use crate::mp4::track::Source;
    use bytes::Bytes;

    #[track_caller]
    fn check(kind: FrameKind, head: &[u8], record: &[u8], expected: &str) {
        let payload = Bytes::from([head, record].concat());
        let source = Source::new(&Frame { kind, dts: 0, payload }).unwrap().unwrap();
        assert_eq!(source.track().codecs(), expected);
    }

    #[test]
    fn video() {
        let header = FrameKind::VideoHeader;
        let avc = b"\x01\x64\x00\x1f\xff\xe1\0\x01\x67\x01\0\x01\x68";
        check(header, &[0x17, 0, 0, 0, 0], avc, "avc1.64001f");
        let hevc = |general: u8, compatibility: [u8; 4], constraints: [u8; 6], level: u8| {
            let mut record = vec![1, general];
            record.extend(compatibility);
            record.extend(constraints);
            record.extend([level, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0]);
            record
        };
        let main = hevc(0x01, [0x60, 0, 0, 0], [0xb0, 0, 0, 0, 0, 0], 93);
        check(header, b"\x90hvc1", &main, "hev1.1.6.L93.B0");
        // The example of the standard: profile space 1, high tier.
        let other = hevc(0x64, [0, 0, 0x10, 0x08], [0x90, 0, 1, 0, 0, 0], 120);
        check(header, b"\x90hvc1", &other, "hev1.A4.10080000.H120.90.0.1");
        let av1 = [0x81, 0x04, 0x0c, 0];
        check(header, b"\x90av01", &av1, "av01.0.04M.08");
        check(header, b"\x90av01", &[0x81, 0x2d, 0xcc, 0], "av01.1.13H.10");
    }

    #[test]
    fn sound() {
        check(FrameKind::AudioHeader, &[0xaf, 0], &[0x12, 0x10], "mp4a.40.2");
        check(FrameKind::AudioHeader, &[0xaf, 0], &[0x2b, 0x92, 0x08, 0x00], "mp4a.40.5");
        check(FrameKind::AudioHeader, &[0xaf, 0], &[0xeb, 0x8a, 0x08, 0x00], "mp4a.40.29");
        check(FrameKind::Audio, &[0x2f], &[0xff, 0xfb, 0x90, 0x64], "mp4a.6B");
        check(FrameKind::Audio, &[0x2f], &[0xff, 0xf3, 0x90, 0x64], "mp4a.69");
        check(FrameKind::Audio, b"\x91Opus", &[0xfc, 0], "opus");
    }

    #[test]
    fn channels() {
        let frame =
            |kind, payload: &'static [u8]| Frame { kind, dts: 0, payload: Bytes::from_static(payload) };
        let track = |frame: &Frame| Source::new(frame).unwrap().unwrap().track().clone();
        assert_eq!(track(&frame(FrameKind::AudioHeader, &[0xaf, 0, 0x12, 0x10])).channels(), 2);
        assert_eq!(track(&frame(FrameKind::Audio, &[0x2f, 0xff, 0xfb, 0x90, 0xc4])).channels(), 1);
        let avc = b"\x17\0\0\0\0\x01\x64\x00\x1f\xff\xe1\0\x01\x67\x01\0\x01\x68";
        assert_eq!(track(&frame(FrameKind::VideoHeader, avc)).channels(), 0);
    }
}
