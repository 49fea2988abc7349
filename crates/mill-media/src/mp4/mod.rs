//! MP4: fragmented for what is still being written, classic for what is complete (ISO/IEC 14496-12; -14 for
//! AAC and MP3, -15 for H.264 and HEVC, and the bindings of AV1 and Opus).
//!
//! [`track`] turns the frames of a stream into samples. [`fragment`] writes them as an init segment and
//! fragments, so that whatever has reached the disk can be played. [`classic`] reads such a file, torn or
//! not, and plans the same samples as one seekable file with its index in front; payload is only copied from
//! one file to the other and never read. [`seek`] plans the rest of a classic file from some time on.

pub mod classic;
pub mod fragment;
pub mod seek;
pub mod track;

mod boxes;
mod codecs;
#[cfg(test)]
mod tests;

/// Ticks per second of everything that belongs to a file and not to a track: milliseconds.
const MOVIE_TIMESCALE: u32 = 1000;
