//! MP3: the header before each frame.

/// What a frame header says (ISO/IEC 11172-3, 2.4.1.3; ISO/IEC 13818-3 for the lower rates, and MPEG 2.5 by
/// custom).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// In Hz, 8000 to 48000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
}

impl FrameHeader {
    /// Reads the header at the beginning of a frame; `None` if there is none.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let &[0xff, version_layer, rates, mode] = frame.first_chunk()? else { return None };
        // The last of the eleven sync bits, then version, layer and protection.
        if version_layer & 0xe0 != 0xe0 || version_layer >> 1 & 3 == 0 {
            return None;
        }
        let divisor = match version_layer >> 3 & 3 {
            3 => 1, // MPEG 1
            2 => 2, // MPEG 2
            0 => 4, // MPEG 2.5
            _ => return None,
        };
        let rate = [44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))?;
        const MONO: u8 = 3;
        Some(Self { sample_rate: rate / divisor, channels: if mode >> 6 == MONO { 1 } else { 2 } })
    }
}
