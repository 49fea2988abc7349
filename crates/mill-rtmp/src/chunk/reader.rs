//! Chunks to messages.
//!
//! The reader owns, per chunk stream, the last header and the unfinished message. Bytes stay in the
//! caller's buffer until they can be used: a message that lies whole in one chunk is cut out of that buffer
//! without a copy; any other is put together in a buffer of its own, which grows as bytes come and is given
//! away with the message. After `None` the caller's buffer holds less than
//! [`MAX_WAIT_IN_BUFFER`](limits::MAX_WAIT_IN_BUFFER) + 18 bytes. Everything else is bounded by [`limits`].
//!
//! The two messages addressed to the reader itself, Set Chunk Size and Abort, take effect before the next
//! chunk and are not passed on (RTMP 1.0 §5.4.1, §5.4.2).
//!
//! Encoders do not follow §5.3.1 to the letter, and what they do is accepted: a chunk stream that begins
//! with a header of type 1, and extended timestamps that are or are not repeated on headers of type 3.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};

use super::{
    header::{EXTENDED, Header, HeaderType},
    limits::{self, Limits},
};
use crate::{
    Error,
    message::{Message, types},
};

/// Puts together the messages of one peer.
#[derive(Debug)]
pub struct Reader {
    streams: Vec<ChunkStream>,
    /// The chunk whose payload comes next, and how much of it is missing.
    open: Option<OpenChunk>,
    chunk_size: usize,
    limits: Limits,
    /// Bytes in all unfinished messages.
    unfinished: usize,
}

#[derive(Debug, Clone, Copy)]
struct OpenChunk {
    /// Index into `streams`.
    stream: usize,
    /// Bytes.
    missing: usize,
}

/// What is remembered of one chunk stream.
#[derive(Debug)]
struct ChunkStream {
    id: u32,
    message_type: u8,
    /// In the middle of a message: a header was read, the last byte was not.
    in_message: bool,
    time: Time,
    length: u32,
    stream_id: u32,
    /// What has arrived of the message.
    payload: BytesMut,
}

/// The clock of a chunk stream; all additions wrap, the wire value is kept whole (SRS cuts it to 31 bits).
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    /// Of the current message, in milliseconds.
    now: u32,
    /// The last timestamp field: what a header of type 3 repeats.
    field: u32,
    /// That field was written in the extended form.
    extended: bool,
    /// That field was a difference and not a time.
    relative: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(Limits::COMMANDS)
    }
}

impl Reader {
    /// A reader with the chunk size every connection starts with.
    pub fn new(limits: Limits) -> Self {
        Self {
            streams: Vec::new(),
            open: None,
            chunk_size: limits::DEFAULT_CHUNK_SIZE,
            limits,
            unfinished: 0,
        }
    }

    /// Changes what the peer may send from the next message on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The peer's chunk size, in bytes.
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// Gives back memory that is not needed between messages.
    pub fn shrink(&mut self) {
        self.streams.shrink_to_fit();
    }

    /// Bytes reserved for unfinished messages.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.streams.iter().map(|stream| stream.payload.capacity()).sum()
    }

    /// Everything on the heap.
    #[cfg(test)]
    pub(crate) fn heap_size(&self) -> usize {
        self.streams.capacity() * size_of::<ChunkStream>() + self.room()
    }

    /// Takes the next complete message out of `input`. `None`: more bytes are needed.
    ///
    /// # Errors
    /// Whatever breaks the chunk stream or a limit. The reader is of no use afterwards.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        while let Some(message) = self.read_any(input)? {
            match message.message_type {
                types::SET_CHUNK_SIZE => self.set_chunk_size(message.u32()?)?,
                types::ABORT => self.abort(message.u32()?),
                _ => return Ok(Some(message)),
            }
        }
        Ok(None)
    }

    fn read_any(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            let chunk = match self.open.take() {
                Some(chunk) => chunk,
                None => match self.begin_chunk(input)? {
                    Some(chunk) => chunk,
                    None => return Ok(None),
                },
            };
            let stream = &mut self.streams[chunk.stream];
            let whole = chunk.missing == stream.length as usize;
            if whole && input.len() < chunk.missing && chunk.missing <= limits::MAX_WAIT_IN_BUFFER {
                self.open = Some(chunk);
                return Ok(None);
            }
            let payload = if whole && input.len() >= chunk.missing {
                input.split_to(chunk.missing).freeze()
            } else {
                let piece = &input[..chunk.missing.min(input.len())];
                let missing = chunk.missing - piece.len();
                self.unfinished += piece.len();
                if self.unfinished > self.limits.unfinished {
                    let limit = self.limits.unfinished;
                    return Err(Error::Limit { what: "bytes of unfinished messages", limit });
                }
                stream.append(piece);
                let taken = piece.len();
                input.advance(taken);
                if missing > 0 {
                    self.open = Some(OpenChunk { missing, ..chunk });
                    return Ok(None);
                }
                if stream.payload.len() < stream.length as usize {
                    continue;
                }
                self.unfinished -= stream.payload.len();
                mem::take(&mut stream.payload).freeze()
            };
            stream.in_message = false;
            // Messages without content exist in the wild and mean nothing.
            if !payload.is_empty() {
                return Ok(Some(stream.message(payload)));
            }
        }
    }

    /// Takes the headers of a chunk and settles what they mean for its chunk stream.
    fn begin_chunk(&mut self, input: &mut BytesMut) -> Result<Option<OpenChunk>, Error> {
        let Some((header, size)) = Header::parse(input) else { return Ok(None) };
        let known = self.streams.iter().position(|stream| stream.id == header.chunk_stream);
        let fresh = known.is_none_or(|index| !self.streams[index].in_message);
        let startable = match header.header_type {
            HeaderType::Full => fresh,
            HeaderType::SameStream => true,
            HeaderType::SameLength | HeaderType::Nothing => known.is_some(),
        };
        if !startable {
            let header_type = header.header_type.number();
            return Err(Error::ChunkStart { chunk_stream: header.chunk_stream, header_type });
        }
        let mut time = known.map_or(Time::default(), |index| self.streams[index].time);
        let Some(extended) = time.advance(&header, fresh, &input[size..]) else { return Ok(None) };
        input.advance(size + extended);

        let index = match known {
            Some(index) => index,
            None => self.add_stream(header.chunk_stream)?,
        };
        let stream = &mut self.streams[index];
        stream.time = time;
        if let Some((length, message_type)) = header.length_and_type {
            if !fresh && length != stream.length {
                let was = stream.length;
                return Err(Error::LengthChanged { chunk_stream: stream.id, was, now: length });
            }
            (stream.length, stream.message_type) = (length, message_type);
        }
        if let Some(id) = header.stream_id {
            stream.stream_id = id;
        }
        if fresh && stream.length as usize > self.limits.message {
            return Err(Error::Limit { what: "bytes of a message", limit: self.limits.message });
        }
        stream.in_message = true;
        let missing = self.chunk_size.min(stream.length as usize - stream.payload.len());
        Ok(Some(OpenChunk { stream: index, missing }))
    }

    fn add_stream(&mut self, id: u32) -> Result<usize, Error> {
        if self.streams.len() == limits::MAX_CHUNK_STREAMS {
            return Err(Error::Limit { what: "chunk streams", limit: limits::MAX_CHUNK_STREAMS });
        }
        self.streams.push(ChunkStream {
            id,
            message_type: 0,
            in_message: false,
            time: Time::default(),
            length: 0,
            stream_id: 0,
            payload: BytesMut::new(),
        });
        Ok(self.streams.len() - 1)
    }

    fn set_chunk_size(&mut self, size: u32) -> Result<(), Error> {
        if size < limits::MIN_CHUNK_SIZE || size > i32::MAX as u32 {
            return Err(Error::ChunkSize { size });
        }
        self.chunk_size = (size as usize).min(limits::MAX_MESSAGE_SIZE);
        Ok(())
    }

    fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == chunk_stream) {
            self.unfinished -= stream.payload.len();
            stream.payload = BytesMut::new();
            stream.in_message = false;
        }
    }
}

impl ChunkStream {
    fn append(&mut self, piece: &[u8]) {
        let have = self.payload.len();
        if self.payload.capacity() - have < piece.len() {
            let missing = self.length as usize - have;
            let room = missing.min(piece.len().max(have).max(limits::MAX_RESERVED_AHEAD));
            // Not `reserve`, which rounds up: the hub may keep this buffer for long.
            let mut grown = BytesMut::with_capacity(have + room);
            grown.extend_from_slice(&self.payload);
            self.payload = grown;
        }
        self.payload.extend_from_slice(piece);
    }

    fn message(&self, payload: Bytes) -> Message {
        Message {
            message_type: self.message_type,
            timestamp: self.time.now,
            stream_id: self.stream_id,
            payload,
        }
    }
}

impl Time {
    /// Takes in the time of a chunk; `rest` is what follows its header, `fresh` says that the chunk begins
    /// a message. Returns how long the extended timestamp there is. `None`: more bytes are needed.
    fn advance(&mut self, header: &Header, fresh: bool, rest: &[u8]) -> Option<usize> {
        let bare = header.header_type == HeaderType::Nothing;
        if !bare {
            self.field = header.time;
            self.extended = header.time == EXTENDED;
            self.relative = header.header_type != HeaderType::Full;
        } else if !fresh {
            return self.repeated_field(rest);
        }
        if self.extended {
            self.field = u32::from_be_bytes(*rest.first_chunk()?);
        }
        // A message that begins with type 3 repeats the last difference, even if that was a full time
        // (RTMP 1.0 §5.3.1.2.4); but if it brings an extended full time of its own, it means that one.
        let add = self.relative || (bare && !self.extended);
        self.now = if add { self.now.wrapping_add(self.field) } else { self.field };
        Some(if self.extended { 4 } else { 0 })
    }

    /// In the middle of a message some senders repeat the extended timestamp and some do not: if the next
    /// four bytes are not the timestamp, they are payload.
    fn repeated_field(&self, rest: &[u8]) -> Option<usize> {
        if !self.extended {
            return Some(0);
        }
        let seen = &rest[..rest.len().min(4)];
        let repeats = [self.field, self.now].iter().any(|time| time.to_be_bytes().starts_with(seen));
        match (repeats, seen.len()) {
            (true, 4) => Some(4),
            (true, _) => None,
            (false, _) => Some(0),
        }
    }
}
