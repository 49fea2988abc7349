//! Tags in: a byte stream cut into tags as it arrives.
//!
//! Feed what came, then take tags until there is none; the buffer then holds at most one incomplete tag.
//! Bodies are slices of the buffer, not copies. After an error the stream has lost its framing and is at
//! its end: every further call returns the same error.

use bytes::{Buf, Bytes, BytesMut};

use crate::flv::TAG_HEADER_LEN;

/// The largest body accepted, in bytes. A key frame of 4K video at 100 Mbit/s stays below four million;
/// a peer that announces more is broken, or wants our memory.
pub const MAX_TAG: usize = 8 << 20;

/// The longest file header accepted, in bytes. E.2 has nine and lets later versions grow.
const MAX_FILE_HEADER: usize = 1024;

/// Bytes of the file header in version 1 (E.2).
const FILE_HEADER_LEN: usize = 9;

/// Bytes of the field before each tag with the size of the previous one (E.3).
const PREVIOUS_TAG_SIZE_LEN: usize = 4;

/// A tag as it stands in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The first byte: 8 audio, 9 video, 18 script data; anything else passes through unjudged.
    pub tag_type: u8,
    /// Decoding time in milliseconds, not yet unwrapped.
    pub timestamp: u32,
    /// What [`classify`](crate::flv::tag::classify) and the codecs read.
    pub body: Bytes,
}

/// Why bytes are not FLV. Offsets count from the beginning of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file header is not one.
    #[error("not an FLV stream")]
    NotFlv,
    /// A tag announces more than [`MAX_TAG`].
    #[error("FLV tag at byte {offset} announces {len} bytes, more than {MAX_TAG}")]
    TooLarge {
        /// Where the tag begins.
        offset: u64,
        /// What it announces, in bytes.
        len: usize,
    },
}

/// Cuts one stream into tags.
#[derive(Debug, Default)]
pub struct Demuxer {
    buffer: BytesMut,
    /// Bytes of the stream taken out of the buffer so far.
    offset: u64,
    /// Whether the file header is behind us.
    started: bool,
    failed: Option<Error>,
}

impl Demuxer {
    /// A demuxer at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where a socket may read into directly: appending to it is feeding.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether everything fed has come out: the stream may end here. The size behind the last tag may be missing.
    pub fn is_between_tags(&self) -> bool {
        self.started && self.buffer.len() <= PREVIOUS_TAG_SIZE_LEN
    }

    /// The next tag; `None` until more bytes come.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None is not its end")]
    pub fn next(&mut self) -> Result<Option<Tag>, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.take().inspect_err(|&error| self.failed = Some(error))
    }

    fn take(&mut self) -> Result<Option<Tag>, Error> {
        if !self.started && !self.skip_file_header()? {
            return Ok(None);
        }
        // What the field before a tag says about the previous one is often wrong and never needed.
        let Some(header) = self.buffer.get(PREVIOUS_TAG_SIZE_LEN..PREVIOUS_TAG_SIZE_LEN + TAG_HEADER_LEN)
        else {
            return Ok(None);
        };
        let tag_type = header[0];
        let len = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        let timestamp = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        if len > MAX_TAG {
            return Err(Error::TooLarge { offset: self.offset + PREVIOUS_TAG_SIZE_LEN as u64, len });
        }
        let whole = PREVIOUS_TAG_SIZE_LEN + TAG_HEADER_LEN + len;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        self.skip(whole - len);
        self.offset += len as u64;
        Ok(Some(Tag { tag_type, timestamp, body: self.buffer.split_to(len).freeze() }))
    }

    fn skip_file_header(&mut self) -> Result<bool, Error> {
        // Refused at the first wrong byte: nothing else may be waiting for the ninth.
        if !b"FLV".starts_with(&self.buffer[..self.buffer.len().min(3)]) {
            return Err(Error::NotFlv);
        }
        let Some(header) = self.buffer.first_chunk::<FILE_HEADER_LEN>() else { return Ok(false) };
        let len = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) as usize;
        if !(FILE_HEADER_LEN..=MAX_FILE_HEADER).contains(&len) {
            return Err(Error::NotFlv);
        }
        if self.buffer.len() < len {
            return Ok(false);
        }
        self.skip(len);
        self.started = true;
        Ok(true)
    }

    fn skip(&mut self, len: usize) {
        self.buffer.advance(len);
        self.offset += len as u64;
    }
}
