//! ADTS: the header that makes each AAC frame stand alone (ISO/IEC 14496-3, 1.A.3).
//!
//! What an AudioSpecificConfig says once is said before every frame, as far as there is room for it: four
//! object types, thirteen sample rates and seven channel configurations. SBR and PS are not announced; decoders
//! find them in the frame.

use crate::codec::aac::{CHANNELS, DecoderConfig, RATES};

/// Bytes of a header without checksum.
pub const HEADER_LEN: usize = 7;

/// The longest frame, header included, in bytes: its length has 13 bits.
pub const MAX_FRAME: usize = 0x1fff;

/// What the headers of a track have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Audio object type of the core, 1 to 4: Main, LC, SSR, LTP.
    object: u8,
    rate_index: u8,
    channel_configuration: u8,
}

/// Where a frame's parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes before the payload, a checksum included.
    pub header: usize,
    /// Bytes of the whole frame.
    pub frame: usize,
    /// AAC frames in it: 1 to 4. Nobody writes other than 1; the rest cannot be taken apart without decoding.
    pub blocks: u8,
}

impl Header {
    /// The header for frames of that configuration. `None` for an object type ADTS has no number for, or a
    /// channel layout it has none for.
    ///
    /// A rate that is not in the table becomes the nearest one: decoders play it that way anyhow. Where the
    /// configuration describes its channels itself, their number chooses the usual layout.
    pub fn new(config: &DecoderConfig) -> Option<Self> {
        let distance = |index: &usize| RATES[*index].abs_diff(config.core_rate);
        let rate_index = (0..RATES.len()).min_by_key(distance)? as u8;
        // Parametric stereo makes two channels of a core's one.
        let channels = if config.ps { 1 } else { config.channels };
        let channel_configuration = (1..8).find(|&index| CHANNELS[usize::from(index)] == channels)?;
        (1..=4).contains(&config.object).then_some(Self {
            object: config.object,
            rate_index,
            channel_configuration,
        })
    }

    /// The header before `payload` bytes of AAC; `None` if that is more than fits.
    pub fn write(&self, payload: usize) -> Option<[u8; HEADER_LEN]> {
        let len = payload.checked_add(HEADER_LEN).filter(|&len| len <= MAX_FRAME)?;
        let Self { object, rate_index, channel_configuration } = *self;
        // Of all ones, the fullness of the decoder's buffer means "variable bit rate".
        Some([
            0xff,
            0xf1, // MPEG-4, no checksum
            (object - 1) << 6 | rate_index << 2 | channel_configuration >> 2,
            channel_configuration << 6 | (len >> 11) as u8,
            (len >> 3) as u8,
            (len << 5) as u8 | 0x1f,
            0xfc, // one AAC frame
        ])
    }

    /// Reads the header at the beginning of a frame; `None` if there is none, or it contradicts itself.
    /// [`HEADER_LEN`] bytes are enough.
    pub fn parse(frame: &[u8]) -> Option<(Self, Layout)> {
        let &[0xff, sync, a, b, c, d, e] = frame.first_chunk()? else { return None };
        // Four more sync bits, MPEG-2 or 4, two bits of layer that are 0.
        if sync & 0xf6 != 0xf0 {
            return None;
        }
        let header = Self {
            object: (a >> 6) + 1,
            rate_index: a >> 2 & 15,
            channel_configuration: (a & 1) << 2 | b >> 6,
        };
        let checksum = sync & 1 == 0;
        let layout = Layout {
            header: HEADER_LEN + if checksum { 2 } else { 0 },
            frame: usize::from(b & 3) << 11 | usize::from(c) << 3 | usize::from(d >> 5),
            blocks: (e & 3) + 1,
        };
        let known_rate = usize::from(header.rate_index) < RATES.len();
        (known_rate && layout.frame > layout.header).then_some((header, layout))
    }

    /// Of the core, in Hz.
    pub fn sample_rate(&self) -> u32 {
        RATES[usize::from(self.rate_index)]
    }

    /// The AudioSpecificConfig that says the same (1.6.2.1).
    pub fn config(&self) -> [u8; 2] {
        let Self { object, rate_index, channel_configuration } = *self;
        [object << 3 | rate_index >> 1, rate_index << 7 | channel_configuration << 3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(config: &[u8]) -> Option<Header> {
        Header::new(&DecoderConfig::parse(config).unwrap())
    }

    #[test]
    fn golden_header() {
        let lc = header(&[0x12, 0x10]).unwrap();
        // As SRS writes it for this length, but for the version bit and the fullness of the buffer.
        assert_eq!(lc.write(185).unwrap(), [0xff, 0xf1, 0x50, 0x80, 0x18, 0x1f, 0xfc]);
        assert_eq!((lc.config(), lc.sample_rate()), ([0x12, 0x10], 44_100));
    }

    #[test]
    fn what_is_written_is_read() {
        for config in [[0x12, 0x10], [0x11, 0xb0], [0x13, 0x88], [0x0a, 0x10]] {
            let header = header(&config).unwrap();
            for len in [1, 7, 200, MAX_FRAME - HEADER_LEN] {
                let layout = Layout { header: HEADER_LEN, frame: len + HEADER_LEN, blocks: 1 };
                assert_eq!(Header::parse(&header.write(len).unwrap()), Some((header, layout)));
            }
            assert_eq!(header.write(MAX_FRAME), None);
            assert_eq!(header.config(), config);
        }
    }

    #[test]
    fn he_aac_is_announced_as_its_core() {
        for explicit_or_not in [&[0x2b, 0x92, 0x08, 0x00][..], &[0x13, 0x90, 0x56, 0xe5, 0xa0]] {
            let header = header(explicit_or_not).unwrap();
            assert_eq!((header.object, header.sample_rate()), (2, 22_050));
        }
        let stereo_from_one = header(&[0xeb, 0x8a, 0x08, 0x00]).unwrap();
        assert_eq!(stereo_from_one.channel_configuration, 1);
    }

    #[test]
    fn what_adts_cannot_say() {
        assert_eq!(header(&[0xf9, 0x46, 0x40]), None, "object type 42");
        assert_eq!(header(&[0x17, 0x80, 0x56, 0x22, 0x90]).unwrap().sample_rate(), 44_100, "44101 Hz");
    }

    #[test]
    fn what_is_no_header() {
        let good = header(&[0x12, 0x10]).unwrap().write(100).unwrap();
        for (at, bad) in [(0, 0xfe), (1, 0xe1), (1, 0xf3), (2, 0x7c)] {
            let mut bytes = good;
            bytes[at] = bad;
            assert_eq!(Header::parse(&bytes), None, "byte {at}");
        }
        assert_eq!(Header::parse(&good[..6]), None);
        let mut empty = good;
        (empty[3], empty[4], empty[5]) = (empty[3] & 0xfc, 0, 0xff);
        assert_eq!(Header::parse(&empty), None, "a frame without payload");
    }
}
