//! The client's end of a connection: plays or publishes one stream.
//!
//! ```text
//! handshake ─► connect ─► releaseStream, FCPublish, createStream ─► publish ─► publishing
//!                    └──► createStream ──────────────────────────► play ────► playing
//! ```
//!
//! Publishers speak in the order of FMLE, which every server understands. A redirect is told, not
//! followed: the connection is the driver's. Until media flows the server has [`Options::timeout`]; what
//! it may send is bounded by [`Limits`], and waiting events by [`super::MAX_EVENTS`]. Output is not
//! bounded here: whoever calls [`Session::send_media`] must see that it is sent.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mill_media::amf0::{Object, Value};

pub use super::event::{ClientEvent as Event, Status};
use super::link::{self, Link};
use crate::{
    Error,
    chunk::{Limits, limits, writer},
    command::{Command, Connect, Enhanced, Play, Publish, code},
    handshake,
    message::{Control, Message, UserControl, types},
};

/// Transaction of connect.
const CONNECT: f64 = 1.0;
/// Transactions of a publisher's first commands; SRS needs an answer number, nobody else looks.
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
/// Transaction of createStream.
const CREATE_STREAM: f64 = 4.0;
/// Transaction of publish and play: no answer but onStatus is wanted.
const START: f64 = 5.0;
/// Transaction of FCUnpublish.
const FC_UNPUBLISH: f64 = 6.0;

/// How much a player says it buffers, in milliseconds, as SRS does.
const BUFFER_LENGTH: u32 = 1000;

/// What a client is there for.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// Receive a stream.
    Play(Play),
    /// Send a stream.
    Publish(Publish),
}

impl Goal {
    /// Plays `stream_name` (with its parameters) live.
    pub fn play(stream_name: impl Into<String>) -> Self {
        Self::Play(Play { stream_name: stream_name.into(), start: -2.0, duration: -1.0, reset: true })
    }

    /// Publishes `stream_name` (with its parameters) live.
    pub fn publish(stream_name: impl Into<String>) -> Self {
        Self::Publish(Publish { stream_name: stream_name.into(), publish_type: "live".to_owned() })
    }
}

/// How to behave towards the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What connect says.
    pub connect: Connect,
    /// What to do then.
    pub goal: Goal,
    /// Our chunk size, in bytes; brought into 128 to 16777215. 128 is not announced.
    pub chunk_size: u32,
    /// After half of so many bytes the server shall acknowledge; 0: not sent.
    pub window_ack_size: u32,
    /// From the start until media flows.
    pub timeout: Duration,
}

impl Options {
    /// Like SRS: `tc_url` is `rtmp://vhost[:port]/app`, `app` the same app again.
    pub fn new(tc_url: impl Into<String>, app: impl Into<String>, goal: Goal) -> Self {
        Self {
            connect: Connect {
                tc_url: tc_url.into(),
                app: app.into(),
                page_url: String::new(),
                swf_url: String::new(),
                flash_ver: "WIN 15,0,0,239".to_owned(),
                object_encoding: 0.0,
                args: None,
                enhanced: Enhanced::default(),
            },
            goal,
            chunk_size: 60_000,
            window_ack_size: 2_500_000,
            timeout: Duration::from_secs(30),
        }
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Session {
    link: Link<Event>,
    state: State,
    options: Options,
    started: Instant,
    /// What createStream answered.
    stream_id: u32,
}

#[derive(Debug)]
enum State {
    Handshake(handshake::Client),
    /// connect was sent.
    Connecting,
    /// createStream was sent.
    Creating,
    /// publish or play was sent.
    Starting,
    Running,
    Closed,
}

impl Session {
    /// A session for a connection just made; its first output is there at once. `seed` fills the
    /// handshake; any value will do.
    pub fn new(options: Options, seed: u64, now: Instant) -> Self {
        let limits = match options.goal {
            Goal::Play(_) => Limits::MEDIA,
            Goal::Publish(_) => Limits::COMMANDS,
        };
        let mut link = Link::new(limits);
        let mut handshake = handshake::Client::new(seed);
        // An empty input cannot be wrong, and the handshake has just begun.
        let _ = handshake.handle_input(&mut BytesMut::new(), &mut link.output);
        Self {
            link,
            state: State::Handshake(handshake),
            options,
            started: now,
            stream_id: writer::MEDIA_STREAM,
        }
    }

    /// Reads as much of `input` as can be dealt with now; see [`super`] for when something is left.
    ///
    /// # Errors
    /// Whatever ends the session; it must not be fed again.
    pub fn handle_input(&mut self, _now: Instant, input: &mut BytesMut) -> Result<(), Error> {
        let before = input.len();
        let result = self.read(input);
        self.link.count(before - input.len());
        result
    }

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.link.events.pop_front()
    }

    /// All bytes to be sent; empty if there are none.
    pub fn take_output(&mut self) -> Bytes {
        self.link.take_output()
    }

    /// Appends all bytes to be sent to `out`. `false` if there were none.
    pub fn poll_output(&mut self, out: &mut BytesMut) -> bool {
        self.link.poll_output(out)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if not before; none once media may flow.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running | State::Closed => None,
            _ => Some(self.started + self.options.timeout),
        }
    }

    /// Ends a session whose deadline has passed; before that, nothing happens.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.deadline().is_none_or(|at| now < at) {
            return Ok(());
        }
        let phase = match self.state {
            State::Handshake(_) => "handshake",
            State::Connecting => "connect",
            State::Creating => "createStream",
            _ => "publish or play",
        };
        self.state = State::Closed;
        Err(Error::Timeout { phase, limit: self.options.timeout })
    }

    /// Appends a media message to the output: audio (type 8), video (9) or data (18), `timestamp` in
    /// milliseconds. Nothing happens unless [`Event::Publishing`] came.
    pub fn send_media(&mut self, message_type: u8, timestamp: u32, payload: &[u8]) {
        if let (State::Running, Goal::Publish(_)) = (&self.state, &self.options.goal) {
            self.link.send_media(self.stream_id, message_type, timestamp, payload);
        }
    }

    /// Takes leave: the driver closes once the output is sent.
    pub fn close(&mut self) {
        if let State::Starting | State::Running = self.state {
            match &self.options.goal {
                Goal::Publish(publish) => {
                    let name = publish.stream_name.as_str().into();
                    self.call(writer::COMMAND, 0, &Command::new("FCUnpublish", FC_UNPUBLISH, [name]));
                }
                Goal::Play(_) => {
                    self.call(writer::DATA, self.stream_id, &Command::new("closeStream", 0.0, []));
                }
            }
            let stream = Value::Number(self.stream_id.into());
            self.call(writer::COMMAND, 0, &Command::new("deleteStream", 0.0, [stream]));
        }
        self.state = State::Closed;
    }

    /// Messages received, control messages included.
    pub fn messages_received(&self) -> u64 {
        self.link.messages()
    }

    /// Bytes taken from the input since the start, handshake included.
    pub fn bytes_received(&self) -> u64 {
        self.link.received()
    }

    /// Bytes waiting to be sent.
    pub fn output_len(&self) -> usize {
        self.link.output.len()
    }

    fn read(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        if let State::Handshake(handshake) = &mut self.state {
            if !handshake.handle_input(input, &mut self.link.output)? {
                return Ok(());
            }
            self.call(writer::COMMAND, 0, &self.options.connect.command());
            self.state = State::Connecting;
        }
        while !matches!(self.state, State::Closed) && self.link.has_room() {
            let Some(message) = self.link.read(input)? else { break };
            self.handle_message(message)?;
        }
        if let State::Closed = self.state {
            input.clear();
        }
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Error> {
        match message.message_type {
            types::COMMAND | types::COMMAND_AMF3 => self.handle_command(&Command::parse(&message.amf0())?),
            _ => {
                if let Goal::Play(_) = self.options.goal {
                    self.link.events.extend(link::into_media(message).map(Event::Media));
                }
            }
        }
        Ok(())
    }

    fn handle_command(&mut self, command: &Command) {
        let answers = |transaction_id| command.transaction_id == transaction_id;
        match (&self.state, command.name.as_str()) {
            (State::Connecting, "_result") if answers(CONNECT) => {
                self.link.events.push_back(Event::Connected);
                self.create_stream();
            }
            (State::Creating, "_result") if answers(CREATE_STREAM) => {
                self.stream_id = command.number(0).map_or(writer::MEDIA_STREAM, |id| id as u32);
                self.start();
            }
            (State::Connecting, "_error") if answers(CONNECT) => self.rejected(command),
            (State::Creating, "_error") if answers(CREATE_STREAM) => self.rejected(command),
            // Servers also answer releaseStream and FCPublish with errors, and mean nothing by it.
            (_, "_result" | "_error") => {}
            _ => self.handle_status(command),
        }
    }

    /// onStatus, and whatever else carries an information object with a level.
    fn handle_status(&mut self, command: &Command) {
        let Some(info) = command.info() else { return };
        let status = Status::parse(info);
        match (status.level.as_str(), status.code.as_str(), &self.state) {
            ("", ..) => {}
            ("error", ..) => self.rejected(command),
            (_, code::PUBLISH_START, State::Starting) => self.running(Event::Publishing),
            (_, code::PLAY_START, State::Starting) => self.running(Event::Playing),
            _ => self.link.events.push_back(Event::Status(status)),
        }
    }

    fn create_stream(&mut self) {
        if self.options.window_ack_size > 0 {
            self.link.send_control(Control::WindowAckSize(self.options.window_ack_size));
        }
        if self.options.chunk_size > limits::MIN_CHUNK_SIZE {
            self.link.set_chunk_size(self.options.chunk_size);
        }
        if let Goal::Publish(publish) = &self.options.goal {
            let name = Value::from(publish.stream_name.as_str());
            let release = Command::new("releaseStream", RELEASE_STREAM, [name.clone()]);
            self.call(writer::COMMAND, 0, &release);
            self.call(writer::COMMAND, 0, &Command::new("FCPublish", FC_PUBLISH, [name]));
        }
        self.call(writer::COMMAND, 0, &Command::new("createStream", CREATE_STREAM, []));
        self.state = State::Creating;
    }

    fn start(&mut self) {
        let stream_id = self.stream_id;
        match &self.options.goal {
            Goal::Publish(publish) => self.call(writer::DATA, stream_id, &publish.command(START)),
            Goal::Play(play) => {
                self.call(writer::DATA, stream_id, &play.command(START));
                let event = UserControl::SetBufferLength { stream_id, millis: BUFFER_LENGTH };
                self.link.send_control(Control::User(event));
            }
        }
        self.state = State::Starting;
    }

    fn running(&mut self, event: Event) {
        self.link.events.push_back(event);
        self.state = State::Running;
    }

    fn rejected(&mut self, command: &Command) {
        let info = command.info();
        let redirect = info.and_then(|info| {
            let ex = info.get("ex")?.as_object()?;
            // `redirect` alone is what early SRS 3.0 sent.
            ex.get("redirect2").or_else(|| ex.get("redirect"))?.as_str().map(str::to_owned)
        });
        let status = info.map(Status::parse).unwrap_or_default();
        self.link.events.push_back(Event::Rejected { status, redirect });
        self.state = State::Closed;
    }

    fn call(&mut self, chunk_stream: u8, stream_id: u32, command: &Command) {
        self.link.send_command(chunk_stream, stream_id, command);
    }
}

impl Status {
    fn parse(info: &Object) -> Self {
        let text = |key| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { level: text("level"), code: text("code"), description: text("description") }
    }
}
