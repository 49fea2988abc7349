//! Opus: the identification header, and how long a packet lasts.

/// The only rate an Opus decoder needs to know, in Hz: whatever was recorded, this is what timing counts
/// in (RFC 7845, section 4).
pub const SAMPLE_RATE: u32 = 48_000;

/// Channels announced by an `OpusHead` (RFC 7845, section 5.1); `None` if it is none.
pub fn channels(head: &[u8]) -> Option<u8> {
    let [_version, channels, ..] = head.strip_prefix(b"OpusHead")? else { return None };
    Some(*channels)
}

/// An `OpusHead` (RFC 7845, section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// Of the decoded sound.
    pub channels: u8,
    /// Samples at 48 kHz to drop from the beginning.
    pub pre_skip: u16,
    /// What was recorded, in Hz; 0 if unknown.
    pub input_rate: u32,
    /// In 1/256 dB.
    pub gain: i16,
    /// The mapping family and, unless it is 0, its table.
    pub mapping: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads a header; `None` if it is cut short or none.
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let (fixed, mapping) = head.strip_prefix(b"OpusHead")?.split_first_chunk::<10>()?;
        let &[_version, channels, s0, s1, r0, r1, r2, r3, g0, g1] = fixed;
        // Family 0 has no table; the others have two numbers and one for each channel (5.1.1).
        let len = if mapping.first()? == &0 { 1 } else { 3 + usize::from(channels) };
        Some(Self {
            channels,
            pre_skip: u16::from_le_bytes([s0, s1]),
            input_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            gain: i16::from_le_bytes([g0, g1]),
            mapping: mapping.get(..len)?,
        })
    }

    /// What can be told of a stream without header from one of its packets.
    pub fn guess(packet: &[u8]) -> Self {
        let stereo = packet.first().is_none_or(|toc| toc & 4 != 0);
        Self { channels: if stereo { 2 } else { 1 }, pre_skip: 0, input_rate: 0, gain: 0, mapping: &[0] }
    }
}

/// How long a packet lasts, in samples at [`SAMPLE_RATE`] (RFC 6716, section 3.1); `None` if it is none.
pub fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 63),
    };
    // 120 ms is the longest a packet may be (3.4, R5).
    Some(frame * frames).filter(|duration| (1..=5760).contains(duration))
}
