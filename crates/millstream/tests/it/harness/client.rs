//! RTMP clients that do as they are told: any message, any chunk size, any order of commands.
//!
//! They are built on mill-rtmp's chunks and commands but not on its client session, which would refuse most
//! of what the tests are about. That both ends share the chunk code hides nothing for long: ffmpeg and
//! rtmpdump talk to the same server in the other tests.

use super::SOON;
use super::http::{Got, Raw};
use super::media::{Receive, aac, aac_header, avc, avc_header, kind};
use super::server::Server;
use bytes::BytesMut;
use mill_media::amf0::{Object, Value};
use mill_media::flv::demux::Tag;
use mill_rtmp::chunk::{Limits, Reader, writer};
use mill_rtmp::command::{Command, Play, Publish};
use mill_rtmp::handshake;
use mill_rtmp::message::{Control, Message, UserControl, types};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How a client was turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The code of the status that said so; empty when none came.
    pub(crate) code: String,
    /// Whether the server then closed the connection.
    pub(crate) closed: bool,
}

/// One connection after a successful `connect`.
struct Connection {
    raw: Raw,
    input: BytesMut,
    reader: Reader,
    chunk_size: usize,
    /// Media that came while something else was waited for.
    media: VecDeque<Tag>,
    /// User control messages, likewise.
    user: VecDeque<UserControl>,
    /// Statuses, likewise.
    statuses: VecDeque<(String, String)>,
    /// The Window Ack Size that the server told.
    window: Option<u32>,
    /// Acknowledgements that came.
    acknowledged: u32,
    closed: bool,
}

impl Connection {
    /// Handshake and connect.
    #[track_caller]
    fn open(server: &Server, tc_url: &str, app: &str) -> Result<Self, Refused> {
        Self::open_from(server, tc_url, app, "")
    }

    /// The same from a web page.
    #[track_caller]
    fn open_from(server: &Server, tc_url: &str, app: &str, page_url: &str) -> Result<Self, Refused> {
        let mut connection = Self {
            raw: Raw::connect(server.rtmp_addr()),
            input: BytesMut::new(),
            reader: Reader::new(Limits::MEDIA),
            chunk_size: 128,
            media: VecDeque::new(),
            user: VecDeque::new(),
            statuses: VecDeque::new(),
            window: None,
            acknowledged: 0,
            closed: false,
        };
        connection.shake_hands();
        let object = Object::new()
            .with("app", app)
            .with("flashVer", "test")
            .with("tcUrl", tc_url)
            .with("pageUrl", page_url)
            .with("objectEncoding", 0.0);
        let mut connect = Command::new("connect", 1.0, []);
        connect.object = object.into();
        connection.call(0, &connect);
        connection.await_command(|command| match command.name.as_str() {
            "_result" if command.transaction_id == 1.0 => Some(()),
            _ => None,
        })?;
        Ok(connection)
    }

    #[track_caller]
    fn shake_hands(&mut self) {
        let mut handshake = handshake::Client::new(7);
        let mut output = BytesMut::new();
        while !handshake.handle_input(&mut self.input, &mut output).expect("the server shakes hands") {
            self.raw.send(&output.split());
            assert!(self.fill(SOON), "no handshake");
        }
        self.raw.send(&output);
    }

    /// Reads what there is; `false` when nothing came in time or the connection is closed.
    fn fill(&mut self, deadline: Duration) -> bool {
        match self.raw.receive(deadline) {
            Got::Bytes(bytes) => self.input.extend_from_slice(&bytes),
            Got::Closed => {
                self.closed = true;
                return false;
            }
            Got::Silence => return false,
        }
        true
    }

    /// The next message of any kind.
    #[track_caller]
    fn message(&mut self, deadline: Duration) -> Option<Message> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(message) = self.reader.read(&mut self.input).expect("the server sends chunks") {
                return Some(message);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.fill(left) {
                return None;
            }
        }
    }

    /// Takes one message in: media, events and statuses go to their queues, commands are returned.
    #[track_caller]
    fn step(&mut self, deadline: Duration) -> Option<Step> {
        let message = self.message(deadline)?;
        match message.message_type {
            types::AUDIO | types::VIDEO | types::DATA => {
                let Message { message_type, timestamp, payload, .. } = message;
                let tag = Tag { tag_type: message_type, timestamp, body: payload };
                // Players are also told things that are no media, as data messages.
                if message_type != types::DATA || kind(&tag).is_some() {
                    self.media.push_back(tag);
                }
            }
            types::COMMAND => {
                let command = Command::parse(&message.payload).expect("the server sends AMF0");
                if command.name == "onStatus" {
                    let info = command.info().expect("a status has an object");
                    let text = |key| info.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
                    self.statuses.push_back((text("level"), text("code")));
                }
                return Some(Step::Command(command));
            }
            _ => match Control::parse(&message) {
                Ok(Some(Control::User(event))) => self.user.push_back(event),
                Ok(Some(Control::WindowAckSize(size))) => self.window = Some(size),
                Ok(Some(Control::Acknowledgement(_))) => self.acknowledged += 1,
                _ => {}
            },
        }
        Some(Step::Taken)
    }

    /// Waits for a command; an error status or the end of the connection before it is a refusal.
    #[track_caller]
    fn await_command<T>(&mut self, mut wanted: impl FnMut(&Command) -> Option<T>) -> Result<T, Refused> {
        let end = Instant::now() + SOON;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.step(left) {
                Some(Step::Command(command)) => {
                    if let Some(found) = wanted(&command) {
                        return Ok(found);
                    }
                    let info =
                        |key| command.info().and_then(|info| info.get(key)?.as_str()).unwrap_or_default();
                    if info("level") == "error" {
                        return Err(Refused { code: info("code").to_string(), closed: self.is_closed(SOON) });
                    }
                }
                Some(Step::Taken) => {}
                None if self.closed => return Err(Refused { code: String::new(), closed: true }),
                None => panic!("the server said nothing that was waited for"),
            }
        }
    }

    /// Waits for a status with this code; panics when it does not come.
    #[track_caller]
    fn await_status(&mut self, code: &str) {
        let end = Instant::now() + SOON;
        loop {
            while let Some((_, found)) = self.statuses.pop_front() {
                if found == code {
                    return;
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(self.step(left).is_some(), "no {code}");
        }
    }

    /// Waits for a user control event; panics when it does not come.
    #[track_caller]
    fn await_user(&mut self, wanted: UserControl) {
        let end = Instant::now() + SOON;
        loop {
            while let Some(found) = self.user.pop_front() {
                if found == wanted {
                    return;
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(self.step(left).is_some(), "no {wanted:?}");
        }
    }

    /// Whether the server closes within the deadline; media on the way is thrown away.
    fn is_closed(&mut self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        while !self.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.fill(left);
            self.input.clear();
        }
        self.closed
    }

    fn send(
        &mut self,
        chunk_stream: u8,
        message_type: u8,
        stream: u32,
        timestamp: u32,
        payload: &[u8],
    ) -> bool {
        let mut out = BytesMut::new();
        writer::write_message(
            &mut out,
            chunk_stream,
            message_type,
            stream,
            timestamp,
            payload,
            self.chunk_size,
        );
        self.raw.send(&out)
    }

    fn control(&mut self, control: Control) {
        let mut out = BytesMut::new();
        control.write(&mut out);
        self.raw.send(&out);
    }

    fn call(&mut self, stream: u32, command: &Command) {
        let mut body = Vec::new();
        command.write(&mut body);
        self.send(writer::COMMAND, types::COMMAND, stream, 0, &body);
    }

    #[track_caller]
    fn create_stream(&mut self) -> Result<(), Refused> {
        self.call(0, &Command::new("createStream", 4.0, []));
        self.await_command(|command| {
            (command.name == "_result" && command.transaction_id == 4.0).then_some(())
        })
    }
}

enum Step {
    Command(Command),
    Taken,
}

/// `app/stream` as the two things clients say.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').expect("app/stream")
}

fn tc_url(server: &Server, app: &str) -> String {
    server.rtmp(app)
}

/// A client that has said hello and nothing else.
pub(crate) struct Guest(Connection);

impl Guest {
    #[track_caller]
    pub(crate) fn start(server: &Server, app: &str) -> Self {
        Self::from_page(server, app, "")
    }

    /// One that comes from a web page.
    #[track_caller]
    pub(crate) fn from_page(server: &Server, app: &str, page_url: &str) -> Self {
        let tc_url = tc_url(server, app);
        Self(Connection::open_from(server, &tc_url, app, page_url).expect("connect is always accepted"))
    }

    /// Plays, if the server lets it.
    #[track_caller]
    pub(crate) fn play(self, stream: &str) -> Result<Player, Refused> {
        Player::on(self.0, stream)
    }

    /// Publishes, if the server lets it.
    #[track_caller]
    pub(crate) fn publish(self, stream: &str) -> Result<Publisher, Refused> {
        let mut publisher = Publisher { connection: self.0, stream: stream.to_string() };
        publisher.publish()?;
        Ok(publisher)
    }

    /// Talks of nothing that matters; whether the server closes within the deadline.
    pub(crate) fn babble(&mut self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        while Instant::now() < end {
            self.0.call(0, &Command::new("nothing", 9.0, []));
            if self.0.is_closed(Duration::from_millis(50)) {
                return true;
            }
        }
        false
    }

    /// Whether the server closes within the deadline.
    pub(crate) fn is_closed(&mut self, deadline: Duration) -> bool {
        self.0.is_closed(deadline)
    }

    /// Says that it wants to publish, and does not wait for an answer.
    #[track_caller]
    pub(crate) fn ask_to_publish(mut self, stream: &str) -> Publisher {
        self.0.create_stream().expect("createStream is always accepted");
        let publish = Publish { stream_name: stream.into(), publish_type: "live".into() };
        self.0.call(writer::MEDIA_STREAM, &publish.command(5.0));
        Publisher { connection: self.0, stream: stream.to_string() }
    }
}

/// A publisher that sends what it is told to.
pub(crate) struct Publisher {
    connection: Connection,
    stream: String,
}

impl Publisher {
    /// Publishes; a refusal is a failure of the test.
    #[track_caller]
    pub(crate) fn start(server: &Server, path: &str) -> Self {
        Self::ask(server, path).unwrap_or_else(|refused| panic!("publishing {path}: {refused:?}"))
    }

    /// The same, with headers and five frames of each track sent: serials 0 to 4, 40 ms apart.
    #[track_caller]
    pub(crate) fn live(server: &Server, path: &str) -> Self {
        let mut publisher = Self::start(server, path);
        publisher.headers(0);
        for n in 0..5 {
            publisher.send(types::VIDEO, 40 * n, &avc(n == 0, n, 500));
            publisher.send(types::AUDIO, 40 * n, &aac(n));
        }
        publisher
    }

    /// As [`Publisher::start`], with a chunk size from the beginning; otherwise it is the protocol's 128.
    #[track_caller]
    pub(crate) fn with_chunk_size(server: &Server, path: &str, size: usize) -> Self {
        let mut publisher = Self::start(server, path);
        publisher.set_chunk_size(size);
        publisher
    }

    /// Publishes, if the server lets it.
    #[track_caller]
    pub(crate) fn ask(server: &Server, path: &str) -> Result<Self, Refused> {
        let (app, stream) = split(path);
        Self::ask_at(server, &tc_url(server, app), app, stream)
    }

    /// Publishes with a connect of the caller's making, if the server lets it.
    #[track_caller]
    pub(crate) fn ask_at(server: &Server, tc_url: &str, app: &str, stream: &str) -> Result<Self, Refused> {
        let connection = Connection::open(server, tc_url, app)?;
        let mut publisher = Self { connection, stream: stream.to_string() };
        publisher.publish()?;
        Ok(publisher)
    }

    /// What FMLE, OBS and ffmpeg say.
    #[track_caller]
    fn publish(&mut self) -> Result<(), Refused> {
        let name = || [Value::from(self.stream.as_str())];
        self.connection.call(0, &Command::new("releaseStream", 2.0, name()));
        self.connection.call(0, &Command::new("FCPublish", 3.0, name()));
        self.connection.create_stream()?;
        let publish = Publish { stream_name: self.stream.clone(), publish_type: "live".into() };
        self.connection.call(writer::MEDIA_STREAM, &publish.command(5.0));
        // onFCPublish carries the same code but promises nothing.
        self.connection.await_command(|command| {
            let code = command.info()?.get("code")?.as_str()?;
            (command.name == "onStatus" && code == "NetStream.Publish.Start").then_some(())
        })
    }

    /// Sends a message: type 8 audio, 9 video, 18 data.
    #[track_caller]
    pub(crate) fn send(&mut self, message_type: u8, timestamp: u32, body: &[u8]) {
        assert!(self.try_send(message_type, timestamp, body), "the server closed the publisher");
    }

    /// The same; `false` when the server has closed the connection.
    pub(crate) fn try_send(&mut self, message_type: u8, timestamp: u32, body: &[u8]) -> bool {
        let chunk_stream = writer::media_chunk_stream(message_type);
        self.connection.send(chunk_stream, message_type, writer::MEDIA_STREAM, timestamp, body)
    }

    /// Sends the decoder configurations of both tracks.
    #[track_caller]
    pub(crate) fn headers(&mut self, timestamp: u32) {
        self.send(types::VIDEO, timestamp, &avc_header());
        self.send(types::AUDIO, timestamp, &aac_header());
    }

    /// Sends `@setDataFrame onMetaData` with these numbers.
    #[track_caller]
    pub(crate) fn metadata(&mut self, numbers: &[(&str, f64)]) {
        let object = numbers.iter().fold(Object::new(), |object, (key, value)| object.with(*key, *value));
        let mut body = Vec::new();
        for value in [Value::from("@setDataFrame"), Value::from("onMetaData"), Value::EcmaArray(object)] {
            value.write(&mut body);
        }
        self.send(types::DATA, 0, &body);
    }

    /// Announces another chunk size and uses it from now on.
    pub(crate) fn set_chunk_size(&mut self, size: usize) {
        self.connection.control(Control::SetChunkSize(size as u32));
        self.connection.chunk_size = size;
    }

    /// Takes leave of the stream but not of the server, and waits until the server agrees.
    #[track_caller]
    pub(crate) fn unpublish(&mut self) {
        let name = [Value::from(self.stream.as_str())];
        self.connection.call(0, &Command::new("FCUnpublish", 6.0, name));
        self.connection.await_status("NetStream.Unpublish.Success");
    }

    /// Waits until the server says this, unasked.
    #[track_caller]
    pub(crate) fn is_told(&mut self, code: &str) {
        self.connection.await_status(code);
    }

    /// Publishes another stream on the same connection.
    #[track_caller]
    pub(crate) fn publish_again(&mut self, stream: &str) {
        self.stream = stream.to_string();
        self.publish().unwrap_or_else(|refused| panic!("publishing {stream}: {refused:?}"));
    }

    /// Sends `onMetaData` with these texts.
    #[track_caller]
    pub(crate) fn metadata_texts(&mut self, texts: &[(&str, &str)]) {
        let object = texts.iter().fold(Object::new(), |object, (key, value)| object.with(*key, *value));
        let mut body = Vec::new();
        for value in [Value::from("@setDataFrame"), Value::from("onMetaData"), Value::EcmaArray(object)] {
            value.write(&mut body);
        }
        self.send(types::DATA, 0, &body);
    }

    /// Acknowledgements that come until the server has been silent for this long.
    #[track_caller]
    pub(crate) fn acknowledgements(&mut self, silence: Duration) -> u32 {
        while self.connection.step(silence).is_some() {}
        self.connection.acknowledged
    }

    /// Sends bytes as they are; `false` when the server has closed the connection.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.connection.raw.send(bytes)
    }

    /// Whether the server closes within the deadline.
    pub(crate) fn is_closed(&mut self, deadline: Duration) -> bool {
        self.connection.is_closed(deadline)
    }
}

/// A player that can do more than watch.
pub(crate) struct Player {
    connection: Connection,
}

impl Player {
    /// Plays; a refusal is a failure of the test.
    #[track_caller]
    pub(crate) fn start(server: &Server, path: &str) -> Self {
        Self::ask(server, path).unwrap_or_else(|refused| panic!("playing {path}: {refused:?}"))
    }

    /// Plays, if the server lets it.
    #[track_caller]
    pub(crate) fn ask(server: &Server, path: &str) -> Result<Self, Refused> {
        let (app, stream) = split(path);
        Self::ask_at(server, &tc_url(server, app), app, stream)
    }

    /// Plays with a connect of the caller's making, if the server lets it.
    #[track_caller]
    pub(crate) fn ask_at(server: &Server, tc_url: &str, app: &str, stream: &str) -> Result<Self, Refused> {
        Self::on(Connection::open(server, tc_url, app)?, stream)
    }

    #[track_caller]
    fn on(mut connection: Connection, stream: &str) -> Result<Self, Refused> {
        connection.create_stream()?;
        let play = Play { stream_name: stream.into(), start: -2.0, duration: -1.0, reset: true };
        connection.call(writer::MEDIA_STREAM, &play.command(5.0));
        connection.await_command(|command| {
            let code = command.info()?.get("code")?.as_str()?;
            (code == "NetStream.Play.Start").then_some(())
        })?;
        Ok(Self { connection })
    }

    /// The chunk size that the server announced.
    pub(crate) fn chunk_size(&self) -> usize {
        self.connection.reader.chunk_size()
    }

    /// The window that the server told, in which it wants acknowledgements.
    pub(crate) fn window(&self) -> Option<u32> {
        self.connection.window
    }

    /// Pauses or goes on, and waits until the server agrees.
    #[track_caller]
    pub(crate) fn pause(&mut self, on: bool) {
        let arguments = [Value::from(on), Value::from(0.0)];
        self.connection.call(writer::MEDIA_STREAM, &Command::new("pause", 0.0, arguments));
        let (code, event) = match on {
            true => ("NetStream.Pause.Notify", UserControl::StreamEof(writer::MEDIA_STREAM)),
            false => ("NetStream.Unpause.Notify", UserControl::StreamBegin(writer::MEDIA_STREAM)),
        };
        self.connection.user.clear();
        self.connection.await_status(code);
        self.connection.await_user(event);
    }

    /// Sends a ping and waits for its answer.
    #[track_caller]
    pub(crate) fn ping(&mut self, number: u32) {
        self.connection.control(Control::User(UserControl::PingRequest(number)));
        self.connection.await_user(UserControl::PingResponse(number));
    }

    /// Calls a command with a transaction and waits for its `_result`.
    #[track_caller]
    pub(crate) fn ask_for(&mut self, name: &str) {
        self.connection.call(writer::MEDIA_STREAM, &Command::new(name, 9.0, [Value::from(true)]));
        let answer = self.connection.await_command(|command| {
            (command.name == "_result" && command.transaction_id == 9.0).then_some(())
        });
        assert_eq!(answer, Ok(()), "{name}");
    }

    /// Whether the server closes within the deadline; what it sends before is thrown away.
    pub(crate) fn is_closed(&mut self, deadline: Duration) -> bool {
        self.connection.is_closed(deadline)
    }
}

impl Receive for Player {
    fn next(&mut self, deadline: Duration) -> Option<Tag> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(tag) = self.connection.media.pop_front() {
                return Some(tag);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.connection.step(left)?;
        }
    }
}
