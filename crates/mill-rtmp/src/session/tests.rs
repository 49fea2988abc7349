//! Golden answers (written out by a second implementation), every rule of identification, publishing and
//! playing, our client against our server, and noise in every state.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use mill_media::amf0::{Object, Value};
use proptest::prelude::*;

use super::{
    client::{self, Goal, Status},
    server::{self, ConnectReply, Event, Style},
    *,
};
use crate::{
    Error,
    chunk::{Limits, Reader, writer},
    command::{Command, Play, Publish, code},
    handshake::{Form, Schema},
    message::{Control, Message, UserControl, types},
};

/// A clock that only tests can read.
#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

const REPLY: ConnectReply<'_> = ConnectReply {
    window_ack_size: 2_500_000,
    in_ack_size: 0,
    peer_bandwidth: 2_500_000,
    chunk_size: 60_000,
    signature: "SRS",
    server: "Test/1",
    version: "1",
    license: "MIT",
    url: "u",
    server_ip: "10.0.0.1",
    pid: 42,
    connection_id: "abc",
    caps_ex: 2,
};

/// A server session and everything that is needed to talk to it.
struct Peer {
    session: server::Session,
    now: Instant,
    input: BytesMut,
    /// Reads what the server says.
    reader: Reader,
    /// Our chunk size.
    chunk_size: usize,
}

impl Peer {
    /// Behind the handshake.
    fn new() -> Self {
        let now = start();
        let session = server::Session::new(server::Options::default(), 1, now);
        let reader = Reader::new(Limits::MEDIA);
        let mut peer = Self { session, now, input: BytesMut::new(), reader, chunk_size: 128 };
        peer.input.put_u8(3);
        peer.input.put_bytes(0, 2 * 1536);
        peer.feed();
        assert_eq!(peer.session.take_output().len(), 3073);
        peer
    }

    /// Behind connect.
    fn connected() -> Self {
        let mut peer = Self::new();
        peer.connect(Object::new());
        peer.session.accept_connect(peer.now, &REPLY);
        peer.answers();
        peer
    }

    fn connect(&mut self, object: Object) {
        let object = object.with("app", "live").with("tcUrl", "rtmp://h/live");
        self.command(&Command { object: object.into(), ..Command::new("connect", 1.0, []) });
        assert!(matches!(self.session.poll_event(), Some(Event::Connect(_))));
    }

    /// Publishing, in the order of `style`.
    fn publishing(style: Style) -> Self {
        let mut peer = Self::connected();
        for name in match style {
            Style::Fmle => &["releaseStream", "FCPublish", "createStream"][..],
            Style::Haivision => &["createStream", "FCPublish"][..],
            Style::Flash => &["createStream"][..],
        } {
            peer.call(name, 2.0);
        }
        peer.command(&Command::new("publish", 5.0, ["s".into(), "live".into()]));
        assert!(matches!(peer.session.poll_event(), Some(Event::Publish { style: s, .. }) if s == style));
        peer.session.accept_publish();
        peer.answers();
        peer
    }

    fn playing() -> Self {
        let mut peer = Self::connected();
        peer.call("play", 0.0);
        assert!(matches!(peer.session.poll_event(), Some(Event::Play(_))));
        peer.session.accept_play();
        peer.answers();
        peer
    }

    fn feed(&mut self) {
        self.try_feed().unwrap();
    }

    fn try_feed(&mut self) -> Result<(), Error> {
        self.session.handle_input(self.now, &mut self.input)
    }

    fn message(&mut self, message_type: u8, timestamp: u32, payload: &[u8]) {
        let (chunk_stream, size) = (writer::media_chunk_stream(message_type), self.chunk_size);
        writer::write_message(&mut self.input, chunk_stream, message_type, 1, timestamp, payload, size);
    }

    fn command(&mut self, command: &Command) {
        let mut payload = Vec::new();
        command.write(&mut payload);
        self.message(types::COMMAND, 0, &payload);
        self.feed();
    }

    /// A command with one argument, the stream name.
    fn call(&mut self, name: &str, transaction_id: f64) {
        self.command(&Command::new(name, transaction_id, ["s".into()]));
    }

    /// What the server has said since, as messages.
    fn said(&mut self) -> Vec<Message> {
        let mut bytes = BytesMut::from(self.session.take_output());
        std::iter::from_fn(|| self.reader.read(&mut bytes).unwrap()).collect()
    }

    /// The commands among it, as `name tid stream argument` of the last argument.
    fn answers(&mut self) -> Vec<String> {
        let commands = self.said().into_iter().filter(|message| message.message_type == types::COMMAND);
        commands.map(|message| brief(&message)).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }
}

fn brief(message: &Message) -> String {
    let command = Command::parse(&message.payload).unwrap();
    let last = match command.arguments.last() {
        Some(Value::Object(info)) => info.get("code").and_then(Value::as_str).unwrap_or("{}").to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Undefined) => "undefined".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{} {} {} {last}", command.name, command.transaction_id, message.stream_id)
}

/// How many bytes `bytes` and `expected` have in common, readable when it goes wrong.
#[track_caller]
fn check_golden(bytes: &[u8], expected: &[u8]) {
    let at = bytes.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(at, None, "{:?}\n{:?}", Bytes::copy_from_slice(bytes), Bytes::copy_from_slice(expected));
    assert_eq!(bytes.len(), expected.len());
}

#[test]
fn answer_to_connect() {
    let mut peer = Peer::new();
    peer.connect(Object::new().with("objectEncoding", 3.0));
    assert!(peer.session.take_output().is_empty(), "nothing before it was accepted");
    peer.session.accept_connect(peer.now, &REPLY);
    check_golden(&peer.session.take_output(), include_bytes!("../../testdata/connect_reply.bin"));
    assert_eq!(peer.session.chunk_size(), 60_000);
}

#[test]
fn answers_to_an_fmle_publisher() {
    let mut peer = Peer::connected();
    peer.call("releaseStream", 2.0);
    peer.call("FCPublish", 3.0);
    peer.call("createStream", 4.0);
    let mut output = BytesMut::new();
    assert!(peer.session.poll_output(&mut output));
    peer.command(&Command::new("publish", 5.0, ["s?k=v".into(), "live".into()]));
    let publish = Publish { stream_name: "s?k=v".to_owned(), publish_type: "live".to_owned() };
    assert_eq!(peer.events(), [Event::Publish { publish, style: Style::Fmle }]);
    assert!(peer.session.take_output().is_empty(), "nothing before it was accepted");
    peer.session.accept_publish();
    peer.call("FCUnpublish", 6.0);
    assert!(peer.session.poll_output(&mut output));
    assert!(!peer.session.poll_output(&mut output));
    check_golden(&output, include_bytes!("../../testdata/publish_fmle.bin"));
}

#[test]
fn answers_to_a_player() {
    let mut peer = Peer::connected();
    peer.call("createStream", 2.0);
    let mut output = BytesMut::new();
    peer.session.poll_output(&mut output);
    let name = Value::from("s?k=v");
    peer.command(&Command::new("play", 3.0, [name, (-2.0).into(), 5000.0.into(), 0.0.into()]));
    let play = Play { stream_name: "s?k=v".to_owned(), start: -2.0, duration: 5000.0, reset: false };
    assert_eq!(peer.events(), [Event::Play(play)]);
    assert!(peer.session.take_output().is_empty(), "nothing before it was accepted");
    peer.session.accept_play();
    for paused in [true, false] {
        peer.command(&Command::new("pause", 0.0, [paused.into(), 7.0.into()]));
        assert_eq!(peer.events(), [Event::Pause(paused)]);
    }
    peer.call("seek", 7.0);
    peer.call("deleteStream", 0.0);
    peer.session.poll_output(&mut output);
    check_golden(&output, include_bytes!("../../testdata/play.bin"));
}

#[test]
fn connect_tells_who_the_client_is() {
    let mut peer = Peer::new();
    peer.call("FCSubscribe", 1.0);
    assert!(peer.answers().is_empty(), "before connect nothing is answered");
    let object = Object::new()
        .with("app", "live")
        .with("tcUrl", "rtmp://h/live")
        .with("pageUrl", "p")
        .with("swfUrl", "s")
        .with("flashVer", "f")
        .with("objectEncoding", 3.0);
    let args = Object::new().with("token", "t");
    let command = Command { object: object.into(), ..Command::new("connect", 1.0, [args.clone().into()]) };
    let mut payload = vec![0];
    command.write(&mut payload);
    peer.message(types::COMMAND_AMF3, 0, &payload);
    peer.feed();
    let Some(Event::Connect(connect)) = peer.session.poll_event() else { panic!("no connect") };
    assert_eq!(connect.tc_url, "rtmp://h/live");
    assert_eq!((&*connect.app, &*connect.page_url, &*connect.swf_url), ("live", "p", "s"));
    assert_eq!((&*connect.flash_ver, connect.object_encoding), ("f", 3.0));
    assert_eq!(connect.args, Some(args));
    assert_eq!(connect.enhanced, Default::default());
}

#[test]
fn connect_needs_a_tc_url() {
    for object in [Object::new().with("app", "live").into(), Value::Null] {
        let mut peer = Peer::new();
        let mut payload = Vec::new();
        Command { object, ..Command::new("connect", 1.0, []) }.write(&mut payload);
        peer.message(types::COMMAND, 0, &payload);
        let error = peer.try_feed().unwrap_err();
        assert_eq!((error.code(), error), (2005, Error::NoTcUrl));
    }
}

#[test]
fn enhanced_rtmp_is_answered_to_who_asks() {
    let mut peer = Peer::new();
    let list = Value::StrictArray(vec!["hvc1".into(), "av01".into()]);
    let map = Object::new().with("hvc1", 1.0);
    peer.connect(Object::new().with("fourCcList", list).with("videoFourCcInfoMap", map).with("capsEx", 15.0));
    peer.session.accept_connect(peer.now, &REPLY);
    let messages = peer.said();
    let result = messages.iter().find(|message| message.message_type == types::COMMAND).unwrap();
    let result = Command::parse(&result.payload).unwrap();
    let properties = result.object.as_object().unwrap();
    assert_eq!(properties.get("fourCcList"), Some(&Value::StrictArray(vec!["*".into()])));
    assert_eq!(properties.get("videoFourCcInfoMap"), Some(&Object::new().with("*", 4.0).into()));
    assert_eq!(properties.get("audioFourCcInfoMap"), None);
    assert_eq!(properties.get("capsEx"), Some(&Value::Number(2.0)));
}

#[test]
fn connect_can_be_refused() {
    let mut peer = Peer::new();
    peer.connect(Object::new());
    peer.session.reject_connect(code::CONNECT_REJECTED, "no");
    assert_eq!(peer.answers(), ["_error 1 0 NetConnection.Connect.Rejected"]);
    peer.call("createStream", 2.0);
    assert!(peer.answers().is_empty() && peer.input.is_empty(), "nothing is read any more");
}

#[test]
fn a_bandwidth_test_takes_the_place_of_a_stream() {
    use crate::bandcheck as say;
    let mut peer = Peer::new();
    peer.connect(Object::new());
    peer.session.send_test(&say::command(say::START_PLAY, Object::new()));
    peer.session.accept_test(&REPLY);
    assert_eq!(peer.session.chunk_size(), 128, "not announced, so as it was");
    assert_eq!(peer.session.deadline(), None);
    let expected = ["_result 1 0 NetConnection.Connect.Success"];
    assert_eq!(peer.answers(), expected, "neither onBWDone nor a step before its time");
    for name in ["createStream", say::STARTING_PLAY, &"x".repeat(65), "publish"] {
        peer.call(name, 2.0);
    }
    let expected = ["createStream", say::STARTING_PLAY, "publish"].map(|name| Event::Test(name.to_owned()));
    assert_eq!(peer.events(), expected);
    assert!(peer.answers().is_empty());
    peer.session.send_test(&say::data(say::PLAYING, 3));
    let messages = peer.said();
    let command = Command::parse(&messages[0].payload).unwrap();
    assert_eq!((command.name.as_str(), command.info().unwrap().iter().count()), (say::PLAYING, 3));

    let mut peer = Peer::new();
    peer.connect(Object::new());
    peer.session.reject_test(&REPLY);
    assert_eq!(peer.answers(), ["onStatus 0 0 NetConnection.Connect.Rejected"]);
    peer.call("createStream", 2.0);
    assert!(peer.answers().is_empty() && peer.events().is_empty());
}

#[test]
fn nothing_is_read_while_a_question_is_open() {
    let mut peer = Peer::new();
    peer.connect(Object::new());
    assert_eq!(peer.session.deadline(), None, "the client's time rests");
    peer.call("createStream", 2.0);
    assert!(!peer.input.is_empty());
    assert!(peer.session.take_output().is_empty());
    peer.session.accept_connect(peer.now, &REPLY);
    peer.feed();
    assert_eq!(peer.answers().last().unwrap(), "_result 2 0 1");
}

#[test]
fn commands_before_publish_and_play() {
    let mut peer = Peer::connected();
    for name in ["_checkbw", "FCSubscribe", "deleteStream", "setPeerInfo", "publish"] {
        peer.call(name, 3.0);
        assert_eq!(peer.answers(), ["_result 3 0 null"], "{name}");
    }
    for name in ["releaseStream", "FCPublish", "FCUnpublish"] {
        peer.call(name, 4.0);
        assert_eq!(peer.answers(), ["_result 4 0 undefined"], "{name}");
    }
    peer.message(types::VIDEO, 0, &[0x17, 0]);
    peer.message(types::DATA, 0, &[2, 0, 0]);
    peer.call("createStream", 5.0);
    assert_eq!(peer.answers(), ["_result 5 0 1"]);
    peer.call("getStreamLength", 6.0);
    assert!(peer.answers().is_empty());
    assert!(peer.events().is_empty());
}

#[test]
fn the_fourth_create_stream_closes() {
    let mut peer = Peer::connected();
    for _ in 0..3 {
        peer.call("createStream", 2.0);
        assert_eq!(peer.answers(), ["_result 2 0 1"]);
    }
    let mut payload = Vec::new();
    Command::new("createStream", 2.0, []).write(&mut payload);
    peer.message(types::COMMAND, 0, &payload);
    assert_eq!(peer.try_feed().unwrap_err().code(), 2055);
}

#[test]
fn play_needs_no_stream() {
    Peer::playing();
}

#[test]
fn publish_and_play_need_a_name() {
    for name in ["publish", "play"] {
        let mut peer = Peer::connected();
        peer.call("createStream", 2.0);
        let mut payload = Vec::new();
        Command::new(name, 2.0, []).write(&mut payload);
        peer.message(types::COMMAND, 0, &payload);
        assert_eq!(peer.try_feed(), Err(Error::Field { command: name, field: "a stream name" }));
    }
}

#[test]
fn haivision_hears_what_fmle_hears_and_flash_less() {
    for (style, first) in [(Style::Fmle, 2), (Style::Haivision, 2), (Style::Flash, 1)] {
        let mut peer = Peer::publishing(style);
        peer.session.accept_publish();
        assert!(peer.answers().is_empty(), "asked once, answered once");
        peer.call("FCUnpublish", 7.0);
        assert_eq!(peer.answers().len(), if first == 2 { 3 } else { 0 });
        assert_eq!(peer.events(), [Event::Unpublish]);
    }
}

#[test]
fn other_commands_of_a_publisher() {
    let mut peer = Peer::publishing(Style::Fmle);
    peer.call("deleteStream", 7.0);
    assert!(peer.answers().is_empty() && peer.events().is_empty());
    let mut peer = Peer::publishing(Style::Flash);
    peer.call("closeStream", 7.0);
    assert!(peer.answers().is_empty());
    assert_eq!(peer.events(), [Event::Unpublish]);
}

#[test]
fn a_client_may_publish_and_play_again() {
    let mut peer = Peer::publishing(Style::Fmle);
    assert_eq!(peer.session.deadline(), None);
    peer.call("FCUnpublish", 7.0);
    assert_eq!(peer.events(), [Event::Unpublish]);
    assert_eq!(peer.session.deadline(), Some(peer.now + Duration::from_secs(180)));
    peer.answers();
    peer.call("deleteStream", 8.0);
    assert_eq!(peer.answers(), ["_result 8 0 null"]);
    peer.call("play", 0.0);
    assert!(matches!(peer.events()[..], [Event::Play(_)]));
    peer.session.accept_play();
    peer.call("closeStream", 0.0);
    assert_eq!(peer.events(), [Event::StopPlay]);
    assert_eq!(peer.session.deadline(), Some(peer.now + Duration::from_secs(180)));
    peer.call("createStream", 9.0);
    peer.call("publish", 10.0);
    assert!(matches!(peer.events()[..], [Event::Publish { style: Style::Flash, .. }]));
}

#[test]
fn refused_publishers_and_players_hear_why() {
    let mut peer = Peer::connected();
    peer.call("createStream", 2.0);
    peer.call("publish", 3.0);
    peer.answers();
    peer.session.reject_publish(code::PUBLISH_BAD_NAME, "busy");
    let messages = peer.said();
    let command = Command::parse(&messages[0].payload).unwrap();
    let status = Object::new()
        .with("level", "error")
        .with("code", "NetStream.Publish.BadName")
        .with("description", "busy");
    assert_eq!(command, Command::on_status(status));
    peer.session.reject_publish(code::PUBLISH_DENIED, "again");
    assert!(peer.answers().is_empty(), "said once");

    let mut peer = Peer::connected();
    peer.call("play", 3.0);
    peer.session.reject_play(code::PLAY_STREAM_NOT_FOUND, "");
    assert_eq!(peer.answers(), ["onStatus 0 1 NetStream.Play.StreamNotFound"]);
}

#[test]
fn media_of_a_publisher() {
    let mut peer = Peer::publishing(Style::Fmle);
    let media = [
        (types::DATA, 0, &b"\x02\x00\x0d@setDataFrame"[..]),
        (types::VIDEO, u32::MAX, &[0x17; 500]),
        (types::AUDIO, 3, &[0xAF, 0]),
    ];
    for (message_type, timestamp, payload) in media {
        peer.message(message_type, timestamp, payload);
    }
    peer.message(types::DATA_AMF3, 4, b"\x00\x02\x00\x01x");
    peer.message(types::DATA_AMF3, 4, b"\x00");
    peer.message(99, 5, b"unknown");
    peer.feed();
    let media = media.into_iter().chain([(types::DATA, 4, &b"\x02\x00\x01x"[..])]);
    let expected: Vec<_> = media
        .map(|(message_type, timestamp, payload)| {
            let payload = Bytes::from_static(payload);
            Event::Media(Message { message_type, timestamp, stream_id: 1, payload })
        })
        .collect();
    assert_eq!(peer.events(), expected);
}

/// Items as (type, time, payload).
fn aggregate(items: &[(u8, u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for &(message_type, time, payload) in items {
        out.push(message_type);
        out.put_uint(payload.len() as u64, 3);
        out.put_uint(u64::from(time & 0xFF_FFFF), 3);
        out.put_u8((time >> 24) as u8);
        out.put_bytes(0, 3);
        out.put_slice(payload);
        out.put_u32(payload.len() as u32 + 11);
    }
    out
}

#[test]
fn aggregates_are_taken_apart() {
    let mut peer = Peer::publishing(Style::Fmle);
    let items = [(9, 0x0100_0000, &b"v"[..]), (18, 7, b"x"), (8, 0x0100_0005, b"a"), (8, 1, b"")];
    peer.message(types::AGGREGATE, 1000, &aggregate(&items));
    peer.feed();
    let times: Vec<_> = peer
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Media(message) => (message.message_type, message.timestamp, message.payload),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [(9, 1000, Bytes::from("v")), (8, 1005, Bytes::from("a"))]);
}

#[test]
fn a_large_aggregate_comes_in_portions() {
    let mut peer = Peer::publishing(Style::Fmle);
    let items: Vec<_> = (0..1000).map(|time| (8, time, &b"a"[..])).collect();
    peer.message(types::AGGREGATE, 5, &aggregate(&items));
    let mut times = Vec::new();
    loop {
        peer.feed();
        let events = peer.events();
        assert!(events.len() <= MAX_EVENTS);
        if events.is_empty() {
            break;
        }
        times.extend(events.into_iter().map(|event| match event {
            Event::Media(message) => message.timestamp,
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(times, (5..1005).collect::<Vec<_>>());
}

#[test]
fn damaged_aggregates_close() {
    let whole = aggregate(&[(8, 0, b"aa"), (9, 0, b"vv")]);
    for length in 1..whole.len() {
        let mut peer = Peer::publishing(Style::Fmle);
        peer.message(types::AGGREGATE, 0, &whole[..length]);
        match peer.try_feed() {
            Err(error) => assert_eq!(error.code(), 2024, "{length}"),
            Ok(()) => assert_eq!(length, whole.len() / 2),
        }
    }
}

#[test]
fn pings_are_answered_at_once() {
    let pong = |peer: &mut Peer| {
        Control::User(UserControl::PingRequest(77)).write(&mut peer.input);
        peer.feed();
        let mut expected = BytesMut::new();
        Control::User(UserControl::PingResponse(77)).write(&mut expected);
        assert_eq!(peer.session.take_output(), expected);
    };
    pong(&mut Peer::connected());
    pong(&mut Peer::publishing(Style::Flash));
    pong(&mut Peer::playing());
}

#[test]
fn a_peer_that_does_not_listen_is_not_read() {
    let mut peer = Peer::playing();
    for _ in 0..20_000 {
        Control::User(UserControl::PingRequest(77)).write(&mut peer.input);
    }
    peer.feed();
    let waiting = peer.input.len();
    assert!(waiting > 0);
    peer.feed();
    assert_eq!(peer.input.len(), waiting);
    assert!((MAX_OUTPUT..MAX_OUTPUT + 100).contains(&peer.session.take_output().len()));
    peer.feed();
    assert!(peer.input.len() < waiting);
}

#[test]
fn acknowledgements() {
    let acknowledged = |peer: &mut Peer| {
        let is_ack = |message: &Message| message.message_type == types::ACKNOWLEDGEMENT;
        let acks = peer.said().into_iter().filter(is_ack);
        acks.map(|message| message.u32().unwrap()).collect::<Vec<_>>()
    };
    let mut peer = Peer::publishing(Style::Fmle);
    let before = peer.session.bytes_received();
    assert!(before > 3073, "the handshake counts");
    peer.message(types::AUDIO, 0, &[0; 100]);
    peer.feed();
    assert!(acknowledged(&mut peer).is_empty(), "nobody asked");

    Control::WindowAckSize(20_000).write(&mut peer.input);
    peer.feed();
    peer.message(types::AUDIO, 0, &[0; 5000]);
    peer.feed();
    let first = peer.session.bytes_received() as u32;
    assert!(acknowledged(&mut peer).is_empty(), "less than half the window");
    peer.message(types::AUDIO, 0, &[0; 5000]);
    peer.feed();
    let second = peer.session.bytes_received() as u32;
    assert_eq!(acknowledged(&mut peer), [second]);
    assert!(second - first > 5000);
    peer.message(types::AUDIO, 0, &[0; 5000]);
    peer.feed();
    assert!(acknowledged(&mut peer).is_empty(), "counted from the last one");

    let mut peer = Peer::new();
    peer.connect(Object::new());
    peer.session.accept_connect(peer.now, &ConnectReply { in_ack_size: 1000, window_ack_size: 0, ..REPLY });
    peer.call("createStream", 2.0);
    let received = peer.session.bytes_received() as u32;
    assert_eq!(acknowledged(&mut peer), [received], "the handshake alone was more than the window");
}

#[test]
fn a_slow_client_runs_out_of_time() {
    let second = Duration::from_secs(1);
    let mut session = server::Session::new(server::Options::default(), 1, start());
    let deadline = session.deadline().unwrap();
    assert_eq!(session.handle_timeout(deadline - second), Ok(()));
    let error = session.handle_timeout(deadline).unwrap_err();
    assert_eq!((error.code(), session.deadline()), (1011, None));

    let mut peer = Peer::connected();
    let deadline = peer.session.deadline().unwrap();
    assert_eq!(deadline, peer.now + Duration::from_secs(30));
    assert_eq!(peer.session.handle_timeout(deadline).unwrap_err().code(), 1011);
    assert_eq!(Peer::playing().session.deadline(), None);
    assert_eq!(Peer::publishing(Style::Flash).session.deadline(), None);
}

#[test]
fn a_redirected_player_leaves() {
    let redirected = || {
        let mut peer = Peer::playing();
        peer.session.redirect(peer.now, "rtmp://o:1/live", "rtmp://o:1/live/s");
        peer
    };
    let mut peer = redirected();
    let message = peer.said().remove(0);
    let ex = Object::new().with("code", 302.0).with("redirect", "rtmp://o:1/live");
    let info = Object::new()
        .with("level", "error")
        .with("code", "NetConnection.Connect.Rejected")
        .with("description", "RTMP 302 Redirect")
        .with("ex", ex.with("redirect2", "rtmp://o:1/live/s"));
    assert_eq!(Command::parse(&message.payload), Ok(Command::on_status(info)));
    assert_eq!(message.stream_id, 0);
    peer.call("closeStream", 0.0);
    assert_eq!(peer.events(), [Event::Closed]);

    let mut peer = redirected();
    let deadline = peer.session.deadline().unwrap();
    assert_eq!(deadline, peer.now + Duration::from_secs(3));
    assert_eq!(peer.session.handle_timeout(deadline), Ok(()));
    assert_eq!(peer.events(), [Event::Closed]);
}

#[test]
fn only_publishers_may_send_much() {
    let mut peer = Peer::connected();
    peer.message(types::VIDEO, 0, &vec![0; Limits::COMMANDS.message + 1]);
    assert!(matches!(peer.try_feed(), Err(Error::Limit { .. })));
    let mut peer = Peer::publishing(Style::Fmle);
    peer.message(types::VIDEO, 0, &vec![0; Limits::COMMANDS.message + 1]);
    peer.feed();
    assert_eq!(peer.events().len(), 1);
}

#[test]
fn a_playing_session_is_small() {
    let peer = Peer::playing();
    let size = size_of::<server::Session>() + peer.session.heap_size();
    assert!(size < 1024, "{size}");
}

/// Our client against our server, `splits` bytes at a time, with a driver that says yes to everything.
struct Pair {
    now: Instant,
    client: client::Session,
    server: server::Session,
    to_client: BytesMut,
    to_server: BytesMut,
    client_events: Vec<client::Event>,
    server_events: Vec<Event>,
}

impl Pair {
    fn new(options: client::Options) -> Self {
        let now = start();
        Self {
            now,
            client: client::Session::new(options, 7, now),
            server: server::Session::new(server::Options::default(), 8, now),
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
        }
    }

    /// Until nothing moves any more.
    fn run(&mut self, splits: &[usize], answer: impl Fn(&mut server::Session, Instant, &Event)) {
        let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
        for &split in splits.iter().cycle() {
            self.client.poll_output(&mut up);
            self.server.poll_output(&mut down);
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.to_server.unsplit(up.split_to(split.min(up.len())));
            self.to_client.unsplit(down.split_to(split.min(down.len())));
            loop {
                self.server.handle_input(self.now, &mut self.to_server).unwrap();
                let Some(event) = self.server.poll_event() else { break };
                answer(&mut self.server, self.now, &event);
                self.server_events.push(event);
            }
            self.client.handle_input(self.now, &mut self.to_client).unwrap();
            self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
        }
    }
}

fn accept(server: &mut server::Session, now: Instant, event: &Event) {
    match event {
        Event::Connect(_) => server.accept_connect(now, &REPLY),
        Event::Publish { .. } => server.accept_publish(),
        Event::Play(_) => server.accept_play(),
        _ => {}
    }
}

fn options(goal: Goal) -> client::Options {
    client::Options { chunk_size: 500, ..client::Options::new("rtmp://h/live", "live", goal) }
}

fn publish_and_leave(splits: &[usize], media: &[(u8, u32, usize)]) {
    let mut pair = Pair::new(options(Goal::publish("s?k=v")));
    assert!(pair.client.deadline().is_some());
    pair.run(splits, accept);
    assert_eq!(pair.client_events, [client::Event::Connected, client::Event::Publishing]);
    assert_eq!(pair.client.deadline(), None);
    let mut expected = Vec::new();
    for (index, &(message_type, timestamp, length)) in media.iter().enumerate() {
        let payload = Bytes::from(vec![index as u8; length]);
        pair.client.send_media(message_type, timestamp, &payload);
        expected.push(Event::Media(Message { message_type, timestamp, stream_id: 1, payload }));
    }
    pair.client.close();
    pair.run(splits, accept);
    expected.push(Event::Unpublish);
    assert!(matches!(pair.server_events[0], Event::Connect(_)));
    assert!(matches!(pair.server_events[1], Event::Publish { style: Style::Fmle, .. }));
    assert_eq!(pair.server_events[2..], expected);
}

fn play_and_leave(splits: &[usize], media: &[(u8, u32, usize)]) {
    let mut pair = Pair::new(options(Goal::play("s?k=v")));
    pair.run(splits, accept);
    let events = std::mem::take(&mut pair.client_events);
    assert_eq!(events[0], client::Event::Connected);
    assert!(matches!(&events[1], client::Event::Status(status) if status.code == code::PLAY_RESET));
    assert_eq!(events[2], client::Event::Playing);
    assert!(matches!(&events[3..], [client::Event::Media(access)] if access.message_type == types::DATA));
    let mut expected = Vec::new();
    for (index, &(message_type, timestamp, length)) in media.iter().enumerate() {
        let payload = Bytes::from(vec![index as u8; length]);
        pair.server.send_media(message_type, timestamp, &payload);
        expected.push(client::Event::Media(Message { message_type, timestamp, stream_id: 1, payload }));
    }
    pair.run(splits, accept);
    assert_eq!(pair.client_events, expected);
    pair.client.close();
    pair.run(splits, accept);
    assert_eq!(pair.server_events.last(), Some(&Event::StopPlay));
}

const MEDIA: [(u8, u32, usize); 4] = [(18, 0, 300), (9, 0, 70_000), (8, 0xFF_FFFF, 10), (9, u32::MAX, 5000)];

#[test]
fn publishing_byte_by_byte() {
    publish_and_leave(&[1], &MEDIA);
}

#[test]
fn playing_byte_by_byte() {
    play_and_leave(&[1], &MEDIA);
}

#[test]
fn the_client_tells_of_a_refusal() {
    let mut pair = Pair::new(options(Goal::publish("s")));
    pair.run(&[1000], |server, now, event| match event {
        Event::Publish { .. } => server.reject_publish(code::PUBLISH_BAD_NAME, "busy"),
        _ => accept(server, now, event),
    });
    let status = Status {
        level: "error".to_owned(),
        code: code::PUBLISH_BAD_NAME.to_owned(),
        description: "busy".to_owned(),
    };
    assert_eq!(pair.client_events[1..], [client::Event::Rejected { status, redirect: None }]);
    assert_eq!(pair.client.deadline(), None);

    let mut pair = Pair::new(options(Goal::publish("s")));
    pair.run(&[1000], |server, _, _| server.reject_connect(code::CONNECT_REJECTED, "no"));
    assert!(matches!(&pair.client_events[..], [client::Event::Rejected { .. }]));
}

#[test]
fn the_client_tells_of_a_redirect() {
    let mut pair = Pair::new(options(Goal::play("s")));
    pair.run(&[1000], |server, now, event| match event {
        Event::Play(_) => {
            server.accept_play();
            server.redirect(now, "rtmp://o/live", "rtmp://o/live/s");
        }
        _ => accept(server, now, event),
    });
    let last = pair.client_events.pop();
    let Some(client::Event::Rejected { redirect, .. }) = last else { panic!("{last:?}") };
    assert_eq!(redirect.as_deref(), Some("rtmp://o/live/s"));
}

#[test]
fn the_client_does_not_wait_for_ever() {
    let now = start();
    let mut client = client::Session::new(options(Goal::play("s")), 1, now);
    let deadline = client.deadline().unwrap();
    assert_eq!(deadline, now + Duration::from_secs(30));
    assert_eq!(client.handle_timeout(now), Ok(()));
    assert_eq!(client.handle_timeout(deadline).unwrap_err().code(), 1011);
}

#[test]
fn the_client_sends_no_media_too_early() {
    let mut client = client::Session::new(options(Goal::publish("s")), 1, start());
    assert_eq!(client.take_output().len(), 1537);
    client.send_media(types::VIDEO, 0, &[1]);
    assert!(client.take_output().is_empty());
}

/// The beginning of what FFmpeg 5.1 sent to a server of ours, in pieces of `length` bytes.
fn check_ffmpeg(length: usize) {
    let now = start();
    let mut session = server::Session::new(server::Options::default(), 1, now);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    for piece in include_bytes!("../../testdata/ffmpeg_publish.bin").chunks(length) {
        input.extend_from_slice(piece);
        loop {
            session.handle_input(now, &mut input).unwrap();
            let Some(event) = session.poll_event() else { break };
            accept(&mut session, now, &event);
            events.push(match event {
                Event::Connect(connect) => format!("connect {} {}", connect.tc_url, connect.flash_ver),
                Event::Publish { publish, style } => format!("publish {} {style:?}", publish.stream_name),
                Event::Media(media) => {
                    format!("{} {} {}", media.message_type, media.timestamp, media.payload.len())
                }
                other => format!("{other:?}"),
            });
        }
    }
    let expected = [
        "connect rtmp://127.0.0.1:29355/live FMLE/3.0 (compatible; Lavf59.27.100)",
        "publish s?k=v Fmle",
        "18 0 309",
        "9 0 50",
        "8 0 7",
        "8 0 260",
        "9 23 5397",
        "8 23 260",
        "8 46 148",
        "9 63 360",
        "8 69 188",
        "8 93 224",
    ];
    assert_eq!(events, expected);
    assert_eq!(session.handshake_form(), Some(Form::Complex(Schema::One)));
}

#[test]
fn ffmpeg_publishes() {
    for length in [1, 7, 1000, 100_000] {
        check_ffmpeg(length);
    }
}

/// Every state a server session can be in, by number.
fn peer_in(state: usize) -> Peer {
    match state {
        0 => Peer::new(),
        1 => Peer::connected(),
        2 => Peer::publishing(Style::Fmle),
        3 => Peer::publishing(Style::Flash),
        4 => Peer::playing(),
        5 => {
            let mut peer = Peer::playing();
            peer.session.redirect(peer.now, "", "");
            peer
        }
        _ => {
            let mut peer = Peer::new();
            peer.session = server::Session::new(server::Options::default(), 1, peer.now);
            peer
        }
    }
}

fn commands() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        "connect",
        "createStream",
        "publish",
        "play",
        "pause",
        "closeStream",
        "FCPublish",
        "FCUnpublish",
        "releaseStream",
        "seek",
        "_result",
        "onStatus",
    ];
    (prop::sample::select(names.to_vec()), any::<f64>(), proptest::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(name, transaction_id, tail)| {
            let mut payload = Vec::new();
            let object = Object::new().with("tcUrl", "rtmp://h/a").into();
            let command = Command { object, ..Command::new(name, transaction_id, ["s".into()]) };
            command.write(&mut payload);
            payload.extend(tail);
            payload
        })
}

proptest! {
    #[test]
    fn pairs_in_any_pieces(
        splits in proptest::collection::vec(1..5000usize, 1..10),
        media in proptest::collection::vec(
            (prop::sample::select(&[8u8, 9, 18][..]), any::<u32>(), 1..3000usize),
            0..10,
        ),
    ) {
        publish_and_leave(&splits, &media);
        play_and_leave(&splits, &media);
    }

    #[test]
    fn noise_in_every_state(
        state in 0..7usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
    ) {
        let mut peer = peer_in(state);
        peer.input.extend_from_slice(&bytes);
        let _ = peer.try_feed();
        prop_assert!(peer.session.heap_size() < 2_000_000);
    }

    #[test]
    fn well_formed_noise_in_every_state(
        state in 0..7usize,
        messages in proptest::collection::vec((1..23u8, prop_oneof![commands(), proptest::collection::vec(any::<u8>(), 1..40)]), 1..30),
    ) {
        let mut peer = peer_in(state);
        for (message_type, payload) in messages {
            peer.message(message_type, 0, &payload);
            if peer.try_feed().is_err() { break }
            for event in peer.events() {
                accept(&mut peer.session, peer.now, &event);
            }
        }
    }

    #[test]
    fn noise_for_the_client(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let mut client = client::Session::new(options(Goal::play("s")), 1, start());
        let mut input = BytesMut::new();
        input.put_u8(3);
        input.put_bytes(0, 3072);
        input.extend_from_slice(&bytes);
        let _ = client.handle_input(start(), &mut input);
    }
}
