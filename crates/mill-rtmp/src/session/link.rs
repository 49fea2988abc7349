//! What both ends of a connection have in common: chunks in, chunks out, counting and pings.
//!
//! A [`Link`] owns the chunk reader, the events and the bytes on their way to the driver, and answers what
//! needs no decision: pings at once, acknowledgements when half the window has come in (RTMP 1.0 §5.4.3).

use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};

use super::{MAX_EVENTS, MAX_OUTPUT};
use crate::{
    Error,
    chunk::{
        Limits, Reader, limits,
        writer::{self, write_message},
    },
    command::Command,
    message::{Aggregate, Control, Message, UserControl, types},
};

#[derive(Debug)]
pub(super) struct Link<Event> {
    reader: Reader,
    /// An aggregate message that is not taken apart completely.
    aggregate: Option<Box<Aggregate>>,
    pub(super) events: VecDeque<Event>,
    pub(super) output: BytesMut,
    /// Our own chunk size, as the peer knows it.
    chunk_size: usize,
    messages: u64,
    received: u64,
    acknowledged: u64,
    /// After half of so many bytes the peer wants an acknowledgement; 0 never.
    window: u32,
}

impl<Event> Link<Event> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            reader: Reader::new(limits),
            aggregate: None,
            events: VecDeque::new(),
            output: BytesMut::new(),
            chunk_size: limits::DEFAULT_CHUNK_SIZE,
            messages: 0,
            received: 0,
            acknowledged: 0,
            window: 0,
        }
    }

    /// Neither too many events nor too much output is waiting.
    pub(super) fn has_room(&self) -> bool {
        self.events.len() < MAX_EVENTS && self.output.len() < MAX_OUTPUT
    }

    /// The next message that is not about the connection itself; aggregates come as what is in them.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            if let Some(aggregate) = &mut self.aggregate {
                if let Some(message) = aggregate.next().transpose()? {
                    return Ok(Some(message));
                }
                self.aggregate = None;
            }
            if !self.has_room() {
                return Ok(None);
            }
            let Some(message) = self.reader.read(input)? else { return Ok(None) };
            self.messages += 1;
            if message.message_type == types::AGGREGATE {
                self.aggregate = Some(Box::new(Aggregate::new(message)));
                continue;
            }
            match Control::parse(&message)? {
                None => return Ok(Some(message)),
                Some(Control::WindowAckSize(size)) => self.set_window(size),
                Some(Control::User(UserControl::PingRequest(number))) => {
                    self.send_control(Control::User(UserControl::PingResponse(number)));
                }
                Some(_) => {}
            }
        }
    }

    /// Counts what was taken from the socket's bytes, and acknowledges if it is time.
    pub(super) fn count(&mut self, taken: usize) {
        self.received += taken as u64;
        let due = u64::from(self.window / 2).max(1);
        if self.window > 0 && self.received - self.acknowledged >= due {
            self.acknowledged = self.received;
            self.send_control(Control::Acknowledgement(self.received as u32));
        }
    }

    /// Asks for acknowledgements as if the peer had; 0 changes nothing.
    pub(super) fn set_window(&mut self, size: u32) {
        if size > 0 {
            self.window = size;
        }
    }

    /// Changes our chunk size and tells the peer.
    pub(super) fn set_chunk_size(&mut self, size: u32) {
        let size = size.clamp(limits::MIN_CHUNK_SIZE, limits::MAX_MESSAGE_SIZE as u32);
        self.send_control(Control::SetChunkSize(size));
        self.chunk_size = size as usize;
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.reader.set_limits(limits);
    }

    pub(super) fn send_control(&mut self, control: Control) {
        control.write(&mut self.output);
    }

    pub(super) fn send_command(&mut self, chunk_stream: u8, stream_id: u32, command: &Command) {
        let mut payload = Vec::new();
        command.write(&mut payload);
        self.send(chunk_stream, types::COMMAND, stream_id, 0, &payload);
    }

    pub(super) fn send_media(&mut self, stream_id: u32, message_type: u8, timestamp: u32, payload: &[u8]) {
        self.send(writer::media_chunk_stream(message_type), message_type, stream_id, timestamp, payload);
    }

    fn send(&mut self, chunk_stream: u8, message_type: u8, stream_id: u32, timestamp: u32, payload: &[u8]) {
        write_message(
            &mut self.output,
            chunk_stream,
            message_type,
            stream_id,
            timestamp,
            payload,
            self.chunk_size,
        );
    }

    pub(super) fn take_output(&mut self) -> Bytes {
        mem::take(&mut self.output).freeze()
    }

    pub(super) fn poll_output(&mut self, out: &mut BytesMut) -> bool {
        let some = !self.output.is_empty();
        out.extend_from_slice(&mem::take(&mut self.output));
        some
    }

    /// Gives back what a connection that hardly sends does not need.
    pub(super) fn shrink(&mut self) {
        self.reader.shrink();
        self.events.shrink_to_fit();
    }

    /// Everything on the heap.
    #[cfg(test)]
    pub(super) fn heap_size(&self) -> usize {
        let events = self.events.capacity() * size_of::<Event>();
        self.reader.heap_size() + events + self.output.capacity()
    }

    pub(super) fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }
}

/// The media of `message`: audio, video or data, with data in AMF3 turned into data in AMF0.
pub(super) fn into_media(message: Message) -> Option<Message> {
    let message = match message.message_type {
        types::AUDIO | types::VIDEO | types::DATA => message,
        types::DATA_AMF3 => Message { message_type: types::DATA, payload: message.amf0(), ..message },
        _ => return None,
    };
    (!message.payload.is_empty()).then_some(message)
}
