//! The two headers of a chunk, as they lie on the wire (RTMP 1.0 §5.3.1). No state, no decisions.

use bytes::{BufMut, BytesMut};

/// A timestamp field with this value says that four more bytes follow (RTMP 1.0 §5.3.1.3).
pub(super) const EXTENDED: u32 = 0xFF_FFFF;

/// How much of the message header a chunk repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderType {
    /// Everything, with an absolute timestamp.
    Full,
    /// All but the message stream; the timestamp is a difference.
    SameStream,
    /// Only a timestamp difference.
    SameLength,
    /// Nothing.
    Nothing,
}

/// The headers of one chunk, without the extended timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) header_type: HeaderType,
    /// 2 to 65599.
    pub(super) chunk_stream: u32,
    /// Timestamp or difference, in milliseconds; 0 without one.
    pub(super) time: u32,
    /// Message length in bytes and message type, types 0 and 1.
    pub(super) length_and_type: Option<(u32, u8)>,
    /// Message stream, type 0.
    pub(super) stream_id: Option<u32>,
}

impl Header {
    /// Reads the headers at the start of `bytes`. `None`: not complete yet. Also says how long they are.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, rest) = bytes.split_first()?;
        let (chunk_stream, rest) = match first & 0x3F {
            0 => rest.split_first().map(|(&id, rest)| (64 + u32::from(id), rest))?,
            1 => {
                rest.split_first_chunk().map(|(&id, rest)| (64 + u32::from(u16::from_le_bytes(id)), rest))?
            }
            id => (u32::from(id), rest),
        };
        let mut header = Self {
            header_type: match first >> 6 {
                0 => HeaderType::Full,
                1 => HeaderType::SameStream,
                2 => HeaderType::SameLength,
                _ => HeaderType::Nothing,
            },
            chunk_stream,
            time: 0,
            length_and_type: None,
            stream_id: None,
        };
        let mut rest = rest;
        if header.header_type != HeaderType::Nothing {
            let (time, tail) = rest.split_first_chunk()?;
            header.time = u24(*time);
            rest = tail;
        }
        if matches!(header.header_type, HeaderType::Full | HeaderType::SameStream) {
            let (&[a, b, c, message_type], tail) = rest.split_first_chunk()?;
            header.length_and_type = Some((u24([a, b, c]), message_type));
            rest = tail;
        }
        if header.header_type == HeaderType::Full {
            // The only little-endian number of the protocol.
            let (&id, tail) = rest.split_first_chunk()?;
            header.stream_id = Some(u32::from_le_bytes(id));
            rest = tail;
        }
        Some((header, bytes.len() - rest.len()))
    }
}

impl HeaderType {
    /// 0 to 3, as on the wire.
    pub(super) fn number(self) -> u8 {
        self as u8
    }
}

/// Length of what [`write_full`] writes, without the extended timestamp.
pub(super) const FULL_SIZE: usize = 12;

/// A header of type 0 on a chunk stream from 2 to 63.
pub(super) fn write_full(
    out: &mut BytesMut,
    chunk_stream: u8,
    message_type: u8,
    stream_id: u32,
    time: u32,
    length: usize,
) {
    out.put_u8(chunk_stream);
    out.put_uint(u64::from(time.min(EXTENDED)), 3);
    out.put_uint(length as u64, 3);
    out.put_u8(message_type);
    out.put_u32_le(stream_id);
}

/// A header of type 3 on a chunk stream from 2 to 63.
pub(super) fn write_nothing(out: &mut BytesMut, chunk_stream: u8) {
    out.put_u8(HeaderType::Nothing.number() << 6 | chunk_stream);
}

fn u24([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}
