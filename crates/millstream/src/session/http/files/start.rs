//! The rest of a file from a place on, for players that seek by the URL: `?start=`.
//!
//! In FLV the number is an offset in bytes, in MP4 a time in seconds, as web servers have had it for both.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use mill_media::{flv, mp4};

use super::kind;

/// What is sent instead of a whole file.
pub(super) struct Start {
    /// Sent first.
    pub(super) front: Bytes,
    /// Then the file from here on.
    pub(super) at: u64,
    /// So many bytes of it.
    pub(super) len: u64,
}

pub(super) enum Found {
    /// Nothing was asked for that this file has.
    Whole,
    From(Start),
    BehindTheEnd,
}

/// Finds what `start` asks for in a file of `len` bytes. Waits for the disk.
pub(super) fn find(name: &Path, file: &File, len: u64, start: &str) -> io::Result<Found> {
    let read = |range: Range<u64>| {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).map(|()| bytes)
    };
    if kind::is_flv(name) {
        let offset = match start.parse::<u64>() {
            Ok(0) | Err(_) => return Ok(Found::Whole),
            Ok(offset) if offset >= len => return Ok(Found::BehindTheEnd),
            Ok(offset) => offset,
        };
        return Ok(match flv::seek::rest(len, offset, read)? {
            Some(rest) => Found::From(Start { front: rest.front.into(), at: rest.at, len: len - rest.at }),
            None => Found::Whole,
        });
    }
    if kind::is_mp4(name) {
        let start = match start.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds.is_finite() => (seconds * 1000.0) as u64,
            _ => return Ok(Found::Whole),
        };
        return Ok(match mp4::seek::rest(len, start, read)? {
            mp4::seek::Found::Rest(rest) => {
                let (at, len) = (rest.payload.start, rest.payload.end - rest.payload.start);
                Found::From(Start { front: rest.front.into(), at, len })
            }
            mp4::seek::Found::BehindTheEnd => Found::BehindTheEnd,
            mp4::seek::Found::Whole => Found::Whole,
        });
    }
    Ok(Found::Whole)
}
