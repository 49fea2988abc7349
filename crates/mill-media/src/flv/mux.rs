//! Tags out: the bytes around a frame's payload.
//!
//! The pieces come as small arrays so that a payload shared by many viewers need not be copied to be
//! framed: file header once, then tag header, payload and [`previous_tag_size`] for each tag.

use bytes::{BufMut, BytesMut};

use crate::flv::{MAX_BODY, TAG_HEADER_LEN};

/// A body longer than [`MAX_BODY`] cannot become a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a body of {len} bytes does not fit into an FLV tag")]
pub struct TooLarge {
    /// Length of the body in bytes.
    pub len: usize,
}

/// The file header (E.2) and the size of the tag before the first (E.3), which is 0.
pub fn file_header(has_audio: bool, has_video: bool) -> [u8; 13] {
    let flags = u8::from(has_audio) << 2 | u8::from(has_video);
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// The tag header (E.4.1) before a body of `len` bytes; at most [`MAX_BODY`], higher bits are lost.
///
/// `timestamp` is in milliseconds, from [`Millis`](crate::frame::Millis) by `as u32`. Its top bit is not
/// written: the field is signed, and a player would read a negative time after 24.8 days.
pub fn tag_header(tag_type: u8, len: usize, timestamp: u32) -> [u8; TAG_HEADER_LEN] {
    let [_, l2, l1, l0] = (len as u32).to_be_bytes();
    let [t3, t2, t1, t0] = (timestamp & 0x7fff_ffff).to_be_bytes();
    [tag_type, l2, l1, l0, t2, t1, t0, t3, 0, 0, 0]
}

/// The four bytes after a body of `len` bytes, with which a reader can step backwards (E.3).
pub fn previous_tag_size(len: usize) -> [u8; 4] {
    ((len + TAG_HEADER_LEN) as u32).to_be_bytes()
}

/// Appends a whole tag: header, body and its size.
pub fn write_tag(out: &mut BytesMut, tag_type: u8, timestamp: u32, body: &[u8]) -> Result<(), TooLarge> {
    let len = body.len();
    if len > MAX_BODY {
        return Err(TooLarge { len });
    }
    out.reserve(TAG_HEADER_LEN + len + 4);
    out.put_slice(&tag_header(tag_type, len, timestamp));
    out.put_slice(body);
    out.put_slice(&previous_tag_size(len));
    Ok(())
}
