//! Messages to chunks: one header of type 0, then headers of type 3. Types 1 and 2 are never written, so
//! a message can be written once and sent to every player, whatever that player got before.
//!
//! A timestamp of 16777215 ms and more goes into the extended field, which is repeated on every header of
//! type 3: that is what Flash Player, librtmp and FFmpeg expect (RTMP 1.0 §5.3.1.3).

use bytes::{BufMut, BytesMut};

use super::{header, limits::MAX_MESSAGE_SIZE};
use crate::message::types;

/// Chunk stream of protocol and user control messages (RTMP 1.0 §5.4 demands it).
pub const CONTROL: u8 = 2;
/// Chunk stream of `connect`, `createStream` and all `_result`s.
pub const COMMAND: u8 = 3;
/// Chunk stream of publish, play, onStatus, and of data sent to players.
pub const DATA: u8 = 5;
/// Chunk stream of video.
pub const VIDEO: u8 = 6;
/// Chunk stream of audio.
pub const AUDIO: u8 = 7;

/// The message stream all media travels on: createStream never answers anything but 1.
pub const MEDIA_STREAM: u32 = 1;

/// Chunk stream for a media message: fixed ids, whatever the publisher used.
pub fn media_chunk_stream(message_type: u8) -> u8 {
    match message_type {
        types::AUDIO => AUDIO,
        types::VIDEO => VIDEO,
        _ => DATA,
    }
}

/// Appends one message to `out`.
///
/// `chunk_stream` is 2 to 63, `timestamp` in milliseconds, `chunk_size` at least 1 and the one last told to
/// the peer. A payload longer than [`MAX_MESSAGE_SIZE`] cannot be expressed: nothing is written.
pub fn write_message(
    out: &mut BytesMut,
    chunk_stream: u8,
    message_type: u8,
    stream_id: u32,
    timestamp: u32,
    payload: &[u8],
    chunk_size: usize,
) {
    debug_assert!((2..64).contains(&chunk_stream), "chunk stream {chunk_stream} needs another header form");
    if payload.len() > MAX_MESSAGE_SIZE {
        return;
    }
    out.reserve(written_len(payload.len(), timestamp, chunk_size));
    let (first, mut rest) = payload.split_at(payload.len().min(chunk_size));
    header::write_full(out, chunk_stream, message_type, stream_id, timestamp, payload.len());
    write_extended(out, timestamp);
    out.put_slice(first);
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.len().min(chunk_size.max(1)));
        header::write_nothing(out, chunk_stream);
        write_extended(out, timestamp);
        out.put_slice(piece);
        rest = tail;
    }
}

/// How many bytes [`write_message`] appends for a payload of `length` bytes.
pub fn written_len(length: usize, timestamp: u32, chunk_size: usize) -> usize {
    let extended = if timestamp >= header::EXTENDED { 4 } else { 0 };
    let chunks = length.div_ceil(chunk_size.max(1)).max(1);
    header::FULL_SIZE + extended + (chunks - 1) * (1 + extended) + length
}

fn write_extended(out: &mut BytesMut, timestamp: u32) {
    if timestamp >= header::EXTENDED {
        out.put_u32(timestamp);
    }
}
