//! FLV: the container on HTTP, and the tag bodies that RTMP shares with it (Adobe, *Flash Video File
//! Format Specification* 10.1, annex E; Veovera, *Enhanced RTMP* v2 for what a FourCC names).

pub mod demux;
pub mod file;
pub mod mux;
pub mod script;
pub mod seek;
pub mod tag;

/// Bytes before the body of a tag: type, length, timestamp and stream id (E.4.1).
pub const TAG_HEADER_LEN: usize = 11;

/// The largest body a tag can announce, in bytes (E.4.1: 24-bit length).
pub const MAX_BODY: usize = (1 << 24) - 1;

#[cfg(test)]
mod tests;
