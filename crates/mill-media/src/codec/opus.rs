//! Opus: the identification header.

/// The only rate an Opus decoder needs to know, in Hz: whatever was recorded, this is what timing counts
/// in (RFC 7845, section 4).
pub const SAMPLE_RATE: u32 = 48_000;

/// Channels announced by an `OpusHead` (RFC 7845, section 5.1); `None` if it is none.
pub fn channels(head: &[u8]) -> Option<u8> {
    let [_version, channels, ..] = head.strip_prefix(b"OpusHead")? else { return None };
    Some(*channels)
}
