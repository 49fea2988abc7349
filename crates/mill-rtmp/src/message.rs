//! Messages: what chunks carry, before anybody asks what it means.
//!
//! A [`Message`] is immutable and cheap to clone. [`Control`] and [`UserControl`] are the protocol's own
//! messages as values; [`Aggregate`] takes a message apart that carries several. Nothing here has state.

use bytes::{Buf, Bytes, BytesMut};

use crate::{Error, chunk::writer};

/// Message types (RTMP 1.0 §5.4, §6.2, §7.1).
pub mod types {
    /// Set Chunk Size (RTMP 1.0 §5.4.1).
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message (§5.4.2).
    pub const ABORT: u8 = 2;
    /// Acknowledgement (§5.4.3).
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control (§6.2).
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size (§5.4.4).
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth (§5.4.5).
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio (§7.1.4); the payload is the body of an FLV audio tag.
    pub const AUDIO: u8 = 8;
    /// Video (§7.1.5); the payload is the body of an FLV video tag.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3 (§7.1.2); in practice one byte and then AMF0.
    pub const DATA_AMF3: u8 = 15;
    /// Command in AMF3 (§7.1.1); in practice one byte and then AMF0.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0 (§7.1.2); the payload is the body of an FLV script tag.
    pub const DATA: u8 = 18;
    /// Command in AMF0 (§7.1.1).
    pub const COMMAND: u8 = 20;
    /// Aggregate (§7.1.6).
    pub const AGGREGATE: u8 = 22;
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One of [`types`], or something unknown.
    pub message_type: u8,
    /// Milliseconds, all 32 bits of the wire: wraps after 49.7 days.
    pub timestamp: u32,
    /// Message stream: 0 for the connection itself, 1 for the stream that createStream answered.
    pub stream_id: u32,
    /// The content; messages from [`crate::chunk::Reader`] are never empty. May be a piece of the buffer it
    /// was read into and keep all of that alive: copy what is kept for long.
    pub payload: Bytes,
}

impl Message {
    /// The big-endian number a control message starts with.
    pub(crate) fn u32(&self) -> Result<u32, Error> {
        self.numbers().map(|[number]| number)
    }

    fn is_media(&self) -> bool {
        matches!(self.message_type, types::AUDIO | types::VIDEO)
    }

    /// The AMF0 of a command or data message: AMF3 ones have a byte in front.
    pub(crate) fn amf0(&self) -> Bytes {
        match self.message_type {
            types::DATA_AMF3 | types::COMMAND_AMF3 => self.payload.slice(1.min(self.payload.len())..),
            _ => self.payload.clone(),
        }
    }

    fn numbers<const N: usize>(&self) -> Result<[u32; N], Error> {
        let mut rest = &self.payload[..];
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = rest.try_get_u32().map_err(|_| Error::Message { message_type: self.message_type })?;
        }
        Ok(numbers)
    }
}

/// A protocol control message, as far as sessions deal with it; Abort and incoming Set Chunk Size are the
/// chunk reader's. All travel on chunk stream 2, message stream 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The sender's chunk size from now on, in bytes.
    SetChunkSize(u32),
    /// The sender's count of received bytes, modulo 2^32.
    Acknowledgement(u32),
    /// After so many bytes the sender expects an acknowledgement.
    WindowAckSize(u32),
    /// The sender limits what its peer sends unacknowledged.
    SetPeerBandwidth {
        /// In bytes.
        size: u32,
        /// 0 hard, 1 soft, 2 dynamic.
        limit_type: u8,
    },
    /// Streams and pings.
    User(UserControl),
}

/// User control events (RTMP 1.0 §7.1.7). `u32`s are message stream ids unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserControl {
    /// 0: the stream can be used.
    StreamBegin(u32),
    /// 1: playback of the stream has ended.
    StreamEof(u32),
    /// 2: no more data for now.
    StreamDry(u32),
    /// 3: how much the client buffers.
    SetBufferLength {
        /// Message stream.
        stream_id: u32,
        /// In milliseconds.
        millis: u32,
    },
    /// 4: the stream is a recording.
    StreamIsRecorded(u32),
    /// 6: asks for a [`UserControl::PingResponse`] with the same number.
    PingRequest(u32),
    /// 7: answer to a ping.
    PingResponse(u32),
    /// Any other; the number of the event.
    Other(u16),
}

impl Control {
    /// The control message in `message`; `None` for all other messages.
    ///
    /// # Errors
    /// [`Error::Message`] if it is too short.
    pub fn parse(message: &Message) -> Result<Option<Self>, Error> {
        Ok(Some(match message.message_type {
            types::SET_CHUNK_SIZE => Self::SetChunkSize(message.u32()?),
            types::ACKNOWLEDGEMENT => Self::Acknowledgement(message.u32()?),
            types::WINDOW_ACK_SIZE => Self::WindowAckSize(message.u32()?),
            types::SET_PEER_BANDWIDTH => Self::SetPeerBandwidth {
                size: message.u32()?,
                // Some peers leave the type out.
                limit_type: message.payload.get(4).copied().unwrap_or_default(),
            },
            types::USER_CONTROL => Self::User(UserControl::parse(message)?),
            _ => return Ok(None),
        }))
    }

    /// Appends the message, in one chunk.
    pub fn write(self, out: &mut BytesMut) {
        let mut payload = [0; 10];
        let (message_type, length) = match self {
            Self::SetChunkSize(size) => (types::SET_CHUNK_SIZE, put(&mut payload, 0, size)),
            Self::Acknowledgement(count) => (types::ACKNOWLEDGEMENT, put(&mut payload, 0, count)),
            Self::WindowAckSize(size) => (types::WINDOW_ACK_SIZE, put(&mut payload, 0, size)),
            Self::SetPeerBandwidth { size, limit_type } => {
                payload[4] = limit_type;
                (types::SET_PEER_BANDWIDTH, put(&mut payload, 0, size) + 1)
            }
            Self::User(event) => (types::USER_CONTROL, event.put(&mut payload)),
        };
        let payload = &payload[..length];
        writer::write_message(out, writer::CONTROL, message_type, 0, 0, payload, payload.len());
    }
}

impl UserControl {
    fn parse(message: &Message) -> Result<Self, Error> {
        let mut rest = message.payload.clone();
        let short = |_| Error::Message { message_type: message.message_type };
        let event = rest.try_get_u16().map_err(short)?;
        let mut number = || rest.try_get_u32().map_err(short);
        Ok(match event {
            0 => Self::StreamBegin(number()?),
            1 => Self::StreamEof(number()?),
            2 => Self::StreamDry(number()?),
            3 => Self::SetBufferLength { stream_id: number()?, millis: number()? },
            4 => Self::StreamIsRecorded(number()?),
            6 => Self::PingRequest(number()?),
            7 => Self::PingResponse(number()?),
            other => Self::Other(other),
        })
    }

    /// Writes the event to the front of `payload`; its length.
    fn put(self, payload: &mut [u8; 10]) -> usize {
        let (event, numbers) = match self {
            Self::StreamBegin(stream_id) => (0, [Some(stream_id), None]),
            Self::StreamEof(stream_id) => (1, [Some(stream_id), None]),
            Self::StreamDry(stream_id) => (2, [Some(stream_id), None]),
            Self::SetBufferLength { stream_id, millis } => (3, [Some(stream_id), Some(millis)]),
            Self::StreamIsRecorded(stream_id) => (4, [Some(stream_id), None]),
            Self::PingRequest(number) => (6, [Some(number), None]),
            Self::PingResponse(number) => (7, [Some(number), None]),
            Self::Other(event) => (event, [None, None]),
        };
        payload[..2].copy_from_slice(&event.to_be_bytes());
        numbers.into_iter().flatten().fold(2, |at, number| put(payload, at, number))
    }
}

/// Writes `number` at `at`; where it ends.
fn put(payload: &mut [u8; 10], at: usize, number: u32) -> usize {
    payload[at..at + 4].copy_from_slice(&number.to_be_bytes());
    at + 4
}

/// The audio and video messages inside an aggregate message (RTMP 1.0 §7.1.6), cut out one at a time, so
/// that a message of many tiny items costs nothing in advance. Items of other types are left out, the times
/// of the others are moved to the time of the aggregate. An item longer than what is left comes out as
/// [`Error::Aggregate`]; nothing follows that makes sense.
#[derive(Debug, Clone)]
pub struct Aggregate {
    message: Message,
    offset: usize,
    /// Time of the aggregate minus time of its first item.
    shift: Option<u32>,
}

impl Aggregate {
    /// `message` is of type [`types::AGGREGATE`].
    pub fn new(message: Message) -> Self {
        Self { message, offset: 0, shift: None }
    }

    /// An item is an FLV tag: type 1, size 3, time 3 + 1, stream 3, body, and its length again in 4 bytes.
    fn next_item(&mut self) -> Result<Option<Message>, Error> {
        let damaged = Error::Aggregate { offset: self.offset };
        let rest = &self.message.payload[self.offset..];
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(&[message_type, s1, s2, s3, t1, t2, t3, t0, ..]) = rest.first_chunk::<11>() else {
            return Err(damaged);
        };
        let start = self.offset + 11;
        let end = start + u32::from_be_bytes([0, s1, s2, s3]) as usize;
        if end + 4 > self.message.payload.len() {
            return Err(damaged);
        }
        self.offset = end + 4;
        let time = u32::from_be_bytes([t0, t1, t2, t3]);
        let shift = *self.shift.get_or_insert(self.message.timestamp.wrapping_sub(time));
        Ok(Some(Message {
            message_type,
            timestamp: time.wrapping_add(shift),
            stream_id: self.message.stream_id,
            payload: self.message.payload.slice(start..end),
        }))
    }
}

impl Iterator for Aggregate {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_item().transpose()? {
                Ok(item) if !item.is_media() || item.payload.is_empty() => {}
                item => return Some(item),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(message_type: u8, payload: &'static [u8]) -> Message {
        Message { message_type, timestamp: 0, stream_id: 0, payload: Bytes::from_static(payload) }
    }

    #[test]
    fn control_messages_survive_the_wire() {
        use UserControl::*;
        for control in [
            Control::Acknowledgement(u32::MAX),
            Control::WindowAckSize(2_500_000),
            Control::SetPeerBandwidth { size: 2_500_000, limit_type: 2 },
            Control::User(StreamBegin(1)),
            Control::User(StreamEof(1)),
            Control::User(StreamDry(1)),
            Control::User(SetBufferLength { stream_id: 1, millis: 3000 }),
            Control::User(StreamIsRecorded(1)),
            Control::User(PingRequest(7)),
            Control::User(PingResponse(7)),
            Control::User(Other(31)),
        ] {
            let mut bytes = BytesMut::new();
            control.write(&mut bytes);
            assert_eq!((bytes[0], &bytes[8..12]), (2, &[0; 4][..]));
            let message = crate::chunk::Reader::default().read(&mut bytes).unwrap().unwrap();
            assert_eq!(Control::parse(&message), Ok(Some(control)));
        }
    }

    #[test]
    fn short_control_messages_are_damaged() {
        for (message_type, payload) in [
            (3, &b"\0\0\0"[..]),
            (5, b""),
            (6, b"\0\0"),
            (4, b"\0"),
            (4, b"\0\x06\0\0"),
            (4, b"\0\x03\0\0\0\x01"),
        ] {
            let error = Control::parse(&message(message_type, payload)).unwrap_err();
            assert_eq!((error.code(), error), (2007, Error::Message { message_type }));
        }
    }

    #[test]
    fn what_peers_leave_out_or_add() {
        let bandwidth = Control::SetPeerBandwidth { size: 1, limit_type: 0 };
        assert_eq!(Control::parse(&message(6, b"\0\0\0\x01")), Ok(Some(bandwidth)));
        let other = Control::User(UserControl::Other(26));
        assert_eq!(Control::parse(&message(4, b"\0\x1a\x01")), Ok(Some(other)), "SWF verification");
        assert_eq!(Control::parse(&message(8, b"\0")), Ok(None));
    }

    #[test]
    fn amf3_has_a_byte_in_front() {
        assert_eq!(message(17, b"\0ab").amf0(), "ab");
        assert_eq!(message(20, b"ab").amf0(), "ab");
        assert_eq!(message(17, b"").amf0(), "");
    }
}
