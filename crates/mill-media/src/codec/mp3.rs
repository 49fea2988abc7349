//! MP3: the header before each frame.

/// What a frame header says (ISO/IEC 11172-3, 2.4.1.3; ISO/IEC 13818-3 for the lower rates, and MPEG 2.5 by
/// custom).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// 1 to 3; MP3 is 3.
    pub layer: u8,
    /// In Hz, 8000 to 48000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples in the frame, for each channel.
    pub samples: u16,
    /// Bytes of the whole frame, header included. `None` for layers other than III, and where the bit rate is
    /// free and only the next header shows the end.
    pub len: Option<usize>,
}

impl FrameHeader {
    /// Bytes of a header.
    pub const LEN: usize = 4;

    /// Reads the header at the beginning of a frame; `None` if there is none.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let &[0xff, version_layer, rates, mode] = frame.first_chunk()? else { return None };
        // The last of the eleven sync bits, then version, layer and protection.
        if version_layer & 0xe0 != 0xe0 {
            return None;
        }
        let layer = 4 - (version_layer >> 1 & 3);
        let divisor = match version_layer >> 3 & 3 {
            _ if layer == 4 => return None,
            3 => 1, // MPEG 1
            2 => 2, // MPEG 2
            0 => 4, // MPEG 2.5
            _ => return None,
        };
        let rate = [44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))?;
        let sample_rate = rate / divisor;
        let samples = match (layer, divisor) {
            (1, _) => 384,
            (3, 2 | 4) => 576,
            _ => 1152,
        };
        const KBPS: [u32; 16] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0];
        const KBPS_LOW: [u32; 16] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0];
        let table = if divisor == 1 { KBPS } else { KBPS_LOW };
        let kbps = table[usize::from(rates >> 4)];
        let padding = u32::from(rates >> 1 & 1);
        let len = u32::from(samples) / 8 * kbps * 1000 / sample_rate + padding;
        const MONO: u8 = 3;
        Some(Self {
            layer,
            sample_rate,
            channels: if mode >> 6 == MONO { 1 } else { 2 },
            samples,
            len: (layer == 3 && kbps > 0).then_some(len as usize),
        })
    }
}

/// Samples for each channel in a run of whole layer III frames, and their rate in Hz. `None` where that cannot
/// be counted.
pub fn count_samples(mut frames: &[u8]) -> Option<(u32, u32)> {
    let mut total = 0;
    let mut rate = None;
    while !frames.is_empty() {
        let header = FrameHeader::parse(frames)?;
        if *rate.get_or_insert(header.sample_rate) != header.sample_rate {
            return None;
        }
        total += u32::from(header.samples);
        frames = frames.get(header.len?..)?;
    }
    Some((total, rate?))
}
