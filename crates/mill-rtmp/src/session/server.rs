//! The server's end of a connection.
//!
//! ```text
//! handshake ─► connect? ─► identify ─► publish? ─► publishing ─┐
//!                             ▲   └──► play? ────► playing ────┤
//!               └─► testing      └──────── unpublish, closeStream ┘
//! ```
//!
//! `?` marks a question to the driver ([`Event::Connect`], [`Event::Publish`], [`Event::Play`]): input
//! rests until it was answered, and a client hears "started" only after it was accepted. All other answers
//! are given here. The commands and their answers are those of SRS, with which encoders were tested.
//!
//! Bounded: what a client may send by [`Limits::COMMANDS`] until its publish was accepted, its time by
//! [`Options`], its createStreams by [`MAX_CREATE_STREAM`], waiting events and output by
//! [`super::MAX_EVENTS`] and [`super::MAX_OUTPUT`]. A session that plays holds a few hundred bytes.

use std::{
    mem,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mill_media::amf0::{Object, Value};

pub use super::event::{ServerEvent as Event, Style};
use super::link::{self, Link};
use crate::{
    Error,
    chunk::{Limits, writer},
    command::{Command, Connect, Enhanced, Play, Publish, code},
    handshake,
    message::{Control, Message, UserControl, types},
};

/// createStream may be sent so often before publish or play; the next one closes (2055), as SRS does.
pub const MAX_CREATE_STREAM: u8 = 3;

/// Commands of a bandwidth test have names of at most so many bytes; others are not told.
const MAX_TEST_NAME: usize = 64;

/// Bandwidth a client is told it may use, in bytes; all clients ignore it.
const PEER_BANDWIDTH: u32 = 2_500_000;

/// What Flash Player shows as the client's id. Nobody reads it, everybody expects it.
const CLIENT_ID: &str = "ASAICiss";

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// From the start to `connect`, and from the answer to it to publish or play.
    pub identify: Duration,
    /// From the end of one publish or play to the next.
    pub idle: Duration,
    /// From a redirect to the client's leaving.
    pub redirect: Duration,
}

impl Default for Options {
    /// The times of SRS: 30 s, 180 s, 3 s.
    fn default() -> Self {
        Self {
            identify: Duration::from_secs(30),
            idle: Duration::from_secs(180),
            redirect: Duration::from_secs(3),
        }
    }
}

/// What the answer to connect says.
#[derive(Debug, Clone, Copy)]
pub struct ConnectReply<'a> {
    /// After half of so many bytes the client shall acknowledge (`out_ack_size`); 0: not sent.
    pub window_ack_size: u32,
    /// After half of so many bytes we acknowledge, even if the client does not ask (`in_ack_size`); 0: only
    /// if it asks.
    pub in_ack_size: u32,
    /// Told to the client, in bytes.
    pub peer_bandwidth: u32,
    /// Our chunk size from now on, in bytes; brought into 128 to 16777215.
    pub chunk_size: u32,
    /// `srs_sig`.
    pub signature: &'a str,
    /// `srs_server`: name and version.
    pub server: &'a str,
    /// `srs_version`.
    pub version: &'a str,
    /// `srs_license`.
    pub license: &'a str,
    /// `srs_url`.
    pub url: &'a str,
    /// `srs_server_ip`: address of this side of the socket.
    pub server_ip: &'a str,
    /// `srs_pid`: process id.
    pub pid: u32,
    /// `srs_id`: id of the connection.
    pub connection_id: &'a str,
    /// `capsEx` for clients that ask: see [`Enhanced::caps_ex`].
    pub caps_ex: u32,
}

impl Default for ConnectReply<'_> {
    fn default() -> Self {
        Self {
            window_ack_size: 2_500_000,
            in_ack_size: 0,
            peer_bandwidth: PEER_BANDWIDTH,
            chunk_size: 60_000,
            signature: "SRS",
            server: concat!("Millstream/", env!("CARGO_PKG_VERSION")),
            version: env!("CARGO_PKG_VERSION"),
            license: "MIT",
            url: "",
            server_ip: "",
            pid: 0,
            connection_id: "",
            caps_ex: 0,
        }
    }
}

/// One client.
#[derive(Debug)]
pub struct Session {
    link: Link<Event>,
    state: State,
    deadline: Option<Deadline>,
    options: Options,
    proxied: Option<Ipv4Addr>,
    handshake: Option<handshake::Form>,
}

#[derive(Debug)]
enum State {
    Handshake(handshake::Server),
    /// Waiting for connect.
    Connect,
    /// Asked: connect.
    Connecting(Box<Connecting>),
    /// Waiting for publish or play.
    Identify(Identify),
    /// Asked: publish.
    AskedPublish(Style),
    /// Asked: play.
    AskedPlay,
    Publishing(Style),
    Playing,
    /// A bandwidth test.
    Testing,
    /// Sent elsewhere; waiting for it to leave.
    Redirected,
    Closed,
}

/// What the answer to connect repeats.
#[derive(Debug)]
struct Connecting {
    transaction_id: f64,
    object_encoding: f64,
    enhanced: Enhanced,
}

#[derive(Debug, Default)]
struct Identify {
    /// How many streams were created.
    created: u8,
    /// What the commands so far say of a publisher.
    style: Option<Style>,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    phase: &'static str,
    limit: Duration,
}

impl Session {
    /// A session for a connection just accepted. `seed` fills the handshake; any value will do.
    pub fn new(options: Options, seed: u64, now: Instant) -> Self {
        let mut session = Self {
            link: Link::new(Limits::COMMANDS),
            state: State::Handshake(handshake::Server::new(seed)),
            deadline: None,
            options,
            proxied: None,
            handshake: None,
        };
        session.set_deadline(now, "connect", options.identify);
        session
    }

    /// Reads as much of `input` as can be dealt with now; see [`super`] for when something is left.
    ///
    /// # Errors
    /// Whatever ends the session; it must not be fed again.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Error> {
        let before = input.len();
        let result = self.read(now, input);
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

    /// When to call [`handle_timeout`](Self::handle_timeout), if not before. None while a question is open
    /// and while media flows: that time is the driver's.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|deadline| deadline.at)
    }

    /// Ends a session whose deadline has passed; before that, nothing happens.
    ///
    /// # Errors
    /// [`Error::Timeout`]. A redirected client that stays is no error: it is [`Event::Closed`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        match self.deadline {
            Some(Deadline { at, phase, limit }) if at <= now => {
                let redirected = matches!(self.state, State::Redirected);
                self.close();
                if redirected {
                    self.link.events.push_back(Event::Closed);
                    return Ok(());
                }
                Err(Error::Timeout { phase, limit })
            }
            _ => Ok(()),
        }
    }

    /// Answers [`Event::Connect`] with yes; without that question nothing happens.
    pub fn accept_connect(&mut self, now: Instant, reply: &ConnectReply<'_>) {
        let Some(asked) = self.connecting() else { return };
        self.send_windows(reply);
        self.link.set_chunk_size(reply.chunk_size);
        self.link.set_window(reply.in_ack_size);
        self.link.send_command(writer::COMMAND, 0, &asked.result(reply));
        self.link.send_command(writer::COMMAND, 0, &Command::new("onBWDone", 0.0, []));
        self.state = State::Identify(Identify::default());
        self.set_deadline(now, "publish or play", self.options.identify);
    }

    /// Answers [`Event::Connect`] with no; the driver closes once the output is sent.
    pub fn reject_connect(&mut self, code: &str, description: &str) {
        let Some(asked) = self.connecting() else { return };
        let info = status("error", code, description);
        let command = Command::new("_error", asked.transaction_id, [info.into()]);
        self.link.send_command(writer::COMMAND, 0, &command);
        self.close();
    }

    /// Answers [`Event::Connect`] with a bandwidth test instead of a stream: what the client commands comes as
    /// [`Event::Test`]. Its time is the driver's.
    pub fn accept_test(&mut self, reply: &ConnectReply<'_>) {
        let Some(asked) = self.connecting() else { return };
        self.send_windows(reply);
        self.link.send_command(writer::COMMAND, 0, &asked.result(reply));
        self.link.set_limits(Limits::TEST);
        self.state = State::Testing;
        self.deadline = None;
    }

    /// Answers [`Event::Connect`] with a refused bandwidth test, in SRS's words; the driver closes once the
    /// output is sent.
    pub fn reject_test(&mut self, reply: &ConnectReply<'_>) {
        if self.connecting().is_some() {
            self.send_windows(reply);
            let info = status("error", code::CONNECT_REJECTED, "bandcheck rejected");
            self.link.send_command(writer::DATA, 0, &Command::on_status(info));
            self.close();
        }
    }

    /// Says the next step of a bandwidth test.
    pub fn send_test(&mut self, command: &Command) {
        if let State::Testing = self.state {
            self.link.send_command(writer::DATA, 0, command);
        }
    }

    /// Answers [`Event::Publish`] with yes; without that question nothing happens.
    pub fn accept_publish(&mut self) {
        let State::AskedPublish(style) = self.state else { return };
        if style != Style::Flash {
            self.send_fc("onFCPublish", code::PUBLISH_START, "Started publishing stream.");
        }
        let info = status("status", code::PUBLISH_START, "Started publishing stream.");
        self.send_status(info.with("clientid", CLIENT_ID));
        self.link.set_limits(Limits::MEDIA);
        self.state = State::Publishing(style);
    }

    /// Answers [`Event::Publish`] with no, or ends a publish: an onStatus of level "error" with `code`, such
    /// as [`code::PUBLISH_BAD_NAME`]. The driver closes once the output is sent.
    pub fn reject_publish(&mut self, code: &str, description: &str) {
        self.reject(code, description);
    }

    /// Answers [`Event::Play`] with yes; without that question nothing happens. Media may follow the output
    /// of this call at once.
    pub fn accept_play(&mut self) {
        let State::AskedPlay = self.state else { return };
        self.link.send_control(Control::User(UserControl::StreamBegin(writer::MEDIA_STREAM)));
        for (code, description) in [
            (code::PLAY_RESET, "Playing and resetting stream."),
            (code::PLAY_START, "Started playing stream."),
        ] {
            let info = status("status", code, description).with("details", "stream");
            self.send_status(info.with("clientid", CLIENT_ID));
        }
        // NetStream.Data.Start, which SRS 3.0 sends as well, shows up in FFmpeg as a third stream.
        let mut payload = Vec::new();
        Value::from("|RtmpSampleAccess").write(&mut payload);
        Value::Boolean(true).write(&mut payload);
        Value::Boolean(true).write(&mut payload);
        self.link.send_media(writer::MEDIA_STREAM, types::DATA, 0, &payload);
        self.link.set_limits(Limits::COMMANDS);
        self.link.shrink();
        self.state = State::Playing;
    }

    /// Answers [`Event::Play`] with no, or ends a play: an onStatus of level "error" with `code`, such as
    /// [`code::PLAY_STREAM_NOT_FOUND`]. The driver closes once the output is sent.
    pub fn reject_play(&mut self, code: &str, description: &str) {
        self.reject(code, description);
    }

    /// Sends a player to another server: `rtmp://host:port/app`, and the same with the stream behind it.
    /// SRS edges follow, ordinary players do not. [`Event::Closed`] comes when the client has reacted or its
    /// time is over.
    pub fn redirect(&mut self, now: Instant, tc_url: &str, stream_url: &str) {
        let ex = Object::new().with("code", 302.0).with("redirect", tc_url).with("redirect2", stream_url);
        let info = status("error", code::CONNECT_REJECTED, "RTMP 302 Redirect").with("ex", ex);
        self.link.send_command(writer::DATA, 0, &Command::on_status(info));
        self.state = State::Redirected;
        self.set_deadline(now, "leaving after a redirect", self.options.redirect);
    }

    /// Appends a media message for a player to the output; a driver with a shared wire log needs it not.
    pub fn send_media(&mut self, message_type: u8, timestamp: u32, payload: &[u8]) {
        self.link.send_media(writer::MEDIA_STREAM, message_type, timestamp, payload);
    }

    /// The chunk size the client was told last, in bytes.
    pub fn chunk_size(&self) -> usize {
        self.link.chunk_size()
    }

    /// Messages received, control messages included: a publisher is alive while this moves.
    pub fn messages_received(&self) -> u64 {
        self.link.messages()
    }

    /// Bytes taken from the input since the start, handshake included.
    pub fn bytes_received(&self) -> u64 {
        self.link.received()
    }

    /// The handshake the client spoke, once it is over; for logs.
    pub fn handshake_form(&self) -> Option<handshake::Form> {
        self.handshake
    }

    /// The client's address according to a proxy in front of us; for logs.
    pub fn proxied(&self) -> Option<Ipv4Addr> {
        self.proxied
    }

    /// Everything on the heap.
    #[cfg(test)]
    pub(super) fn heap_size(&self) -> usize {
        self.link.heap_size()
    }

    fn read(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Error> {
        if let State::Handshake(handshake) = &mut self.state {
            if !handshake.handle_input(input, &mut self.link.output)? {
                return Ok(());
            }
            (self.handshake, self.proxied) = (handshake.form(), handshake.proxied());
            self.state = State::Connect;
        }
        while self.reads() && self.link.has_room() {
            let Some(message) = self.link.read(input)? else { break };
            self.handle_message(now, message)?;
        }
        if let State::Closed = self.state {
            input.clear();
        }
        Ok(())
    }

    /// No question is open.
    fn reads(&self) -> bool {
        !matches!(
            self.state,
            State::Connecting(_) | State::AskedPublish(_) | State::AskedPlay | State::Closed
        )
    }

    fn handle_message(&mut self, now: Instant, message: Message) -> Result<(), Error> {
        match message.message_type {
            types::COMMAND | types::COMMAND_AMF3 => {
                self.handle_command(now, Command::parse(&message.amf0())?)
            }
            // Media before publish was accepted, and media from players, means nothing.
            _ => {
                if let State::Publishing(_) = self.state {
                    self.link.events.extend(link::into_media(message).map(Event::Media));
                }
                Ok(())
            }
        }
    }

    fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match &mut self.state {
            State::Connect => self.connect(command),
            State::Identify(identify) => {
                let identify = mem::take(identify);
                self.identify(identify, &command)
            }
            State::Publishing(style) => {
                let style = *style;
                self.publishing(now, style, &command);
                Ok(())
            }
            State::Playing => {
                self.playing(now, &command);
                Ok(())
            }
            State::Testing => {
                if command.name.len() <= MAX_TEST_NAME {
                    self.link.events.push_back(Event::Test(command.name));
                }
                Ok(())
            }
            State::Redirected => {
                self.close();
                self.link.events.push_back(Event::Closed);
                Ok(())
            }
            State::Handshake(_)
            | State::Connecting(_)
            | State::AskedPublish(_)
            | State::AskedPlay
            | State::Closed => Ok(()),
        }
    }

    /// Whatever comes before connect is ignored.
    fn connect(&mut self, command: Command) -> Result<(), Error> {
        if command.name != "connect" {
            return Ok(());
        }
        let transaction_id = command.transaction_id;
        let connect = Connect::parse(command)?;
        self.ask(
            State::Connecting(Box::new(Connecting {
                transaction_id,
                object_encoding: connect.object_encoding,
                enhanced: connect.enhanced.clone(),
            })),
            Event::Connect(Box::new(connect)),
        );
        Ok(())
    }

    /// Finds out what the client wants, from commands in any of the orders encoders use.
    fn identify(&mut self, mut identify: Identify, command: &Command) -> Result<(), Error> {
        let transaction_id = command.transaction_id;
        match command.name.as_str() {
            "play" => {
                let play = Play::parse(command)?;
                self.ask(State::AskedPlay, Event::Play(play));
                return Ok(());
            }
            "publish" if identify.created > 0 => {
                let publish = Publish::parse(command)?;
                let style = identify.style.unwrap_or(Style::Flash);
                self.ask(State::AskedPublish(style), Event::Publish { publish, style });
                return Ok(());
            }
            "releaseStream" | "FCPublish" | "FCUnpublish" => {
                let style = if identify.created == 0 { Style::Fmle } else { Style::Haivision };
                identify.style.get_or_insert(style);
                self.send_result(0, transaction_id, Value::Undefined);
            }
            "createStream" => {
                identify.created += 1;
                if identify.created > MAX_CREATE_STREAM {
                    return Err(Error::Identify { streams: identify.created });
                }
                self.send_result(0, transaction_id, f64::from(writer::MEDIA_STREAM));
            }
            // After createStream SRS stays silent, and clients are used to that (getStreamLength).
            _ if identify.created > 0 => {}
            _ => self.send_result(0, transaction_id, Value::Null),
        }
        self.state = State::Identify(identify);
        Ok(())
    }

    fn publishing(&mut self, now: Instant, style: Style, command: &Command) {
        match (style, command.name.as_str()) {
            // Whatever a Flash publisher commands ends its publish, without an answer.
            (Style::Flash, _) => {}
            (_, "FCUnpublish") => {
                self.send_fc("onFCUnpublish", code::UNPUBLISH_SUCCESS, "Stop publishing stream.");
                self.send_result(writer::MEDIA_STREAM, command.transaction_id, Value::Undefined);
                let info = status("status", code::UNPUBLISH_SUCCESS, "Stream is now unpublished");
                self.send_status(info.with("clientid", CLIENT_ID));
            }
            _ => return,
        }
        self.finish(now, Event::Unpublish);
    }

    fn playing(&mut self, now: Instant, command: &Command) {
        match command.name.as_str() {
            "closeStream" => self.finish(now, Event::StopPlay),
            "pause" => {
                let paused = command.flag(0).unwrap_or(true);
                let stream = writer::MEDIA_STREAM;
                let (code, description, event) = match paused {
                    true => (code::PAUSE_NOTIFY, "Paused stream.", UserControl::StreamEof(stream)),
                    false => (code::UNPAUSE_NOTIFY, "Unpaused stream.", UserControl::StreamBegin(stream)),
                };
                self.send_status(status("status", code, description));
                self.link.send_control(Control::User(event));
                self.link.events.push_back(Event::Pause(paused));
            }
            _ if command.transaction_id > 0.0 => self.send_result(0, command.transaction_id, Value::Null),
            _ => {}
        }
    }

    /// Back to identify: the client may publish or play again.
    fn finish(&mut self, now: Instant, event: Event) {
        self.link.events.push_back(event);
        self.link.set_limits(Limits::COMMANDS);
        self.state = State::Identify(Identify::default());
        self.set_deadline(now, "the next publish or play", self.options.idle);
    }

    /// Puts a question to the driver. The client's time rests meanwhile.
    fn ask(&mut self, state: State, event: Event) {
        self.state = state;
        self.deadline = None;
        self.link.events.push_back(event);
    }

    fn send_windows(&mut self, reply: &ConnectReply<'_>) {
        if reply.window_ack_size > 0 {
            self.link.send_control(Control::WindowAckSize(reply.window_ack_size));
        }
        // Type 2: "dynamic".
        self.link.send_control(Control::SetPeerBandwidth { size: reply.peer_bandwidth, limit_type: 2 });
    }

    fn connecting(&mut self) -> Option<Box<Connecting>> {
        match mem::replace(&mut self.state, State::Closed) {
            State::Connecting(asked) => Some(asked),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn reject(&mut self, code: &str, description: &str) {
        if !matches!(self.state, State::Closed) {
            self.send_status(status("error", code, description));
            self.close();
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.deadline = None;
    }

    fn set_deadline(&mut self, now: Instant, phase: &'static str, limit: Duration) {
        self.deadline = Some(Deadline { at: now + limit, phase, limit });
    }

    fn send_result(&mut self, stream_id: u32, transaction_id: f64, value: impl Into<Value>) {
        let command = Command::new("_result", transaction_id, [value.into()]);
        self.link.send_command(writer::COMMAND, stream_id, &command);
    }

    fn send_status(&mut self, info: Object) {
        self.link.send_command(writer::DATA, writer::MEDIA_STREAM, &Command::on_status(info));
    }

    /// The answers FMLE wants before onStatus.
    fn send_fc(&mut self, name: &str, code: &str, description: &str) {
        let info = Object::new().with("code", code).with("description", description);
        let command = Command::new(name, 0.0, [info.into()]);
        self.link.send_command(writer::DATA, writer::MEDIA_STREAM, &command);
    }
}

impl Connecting {
    /// The `_result` of connect.
    fn result(&self, reply: &ConnectReply<'_>) -> Command {
        let mut properties =
            Object::new().with("fmsVer", "FMS/3,5,3,888").with("capabilities", 127.0).with("mode", 1.0);
        self.enhanced.answer(reply.caps_ex).write(&mut properties);
        let data = Object::new()
            .with("version", "3,5,3,888")
            .with("srs_sig", reply.signature)
            .with("srs_server", reply.server)
            .with("srs_license", reply.license)
            .with("srs_url", reply.url)
            .with("srs_version", reply.version)
            .with("srs_server_ip", reply.server_ip)
            .with("srs_pid", f64::from(reply.pid))
            .with("srs_id", reply.connection_id);
        let info = status("status", code::CONNECT_SUCCESS, "Connection succeeded")
            .with("objectEncoding", self.object_encoding)
            .with("data", Value::EcmaArray(data));
        Command {
            name: "_result".to_owned(),
            transaction_id: self.transaction_id,
            object: properties.into(),
            arguments: vec![info.into()],
        }
    }
}

fn status(level: &str, code: &str, description: &str) -> Object {
    Object::new().with("level", level).with("code", code).with("description", description)
}
