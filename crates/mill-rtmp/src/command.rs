//! Commands: a name, a transaction and AMF0 values (RTMP 1.0 §7.2).
//!
//! [`Command`] is the general form, both ways. The typed forms know one command each and are lenient in
//! what they read: SRS's rules decide what may be missing. Bounded by the length of the message a command
//! came in, by [`MAX_ARGUMENTS`] and by the limits of [`mill_media::amf0`].

use mill_media::amf0::{Object, Value};

use crate::Error;

/// Arguments kept of one command; `publish` and `play`, the longest, have five.
pub const MAX_ARGUMENTS: usize = 16;

/// Codes of onStatus and of the answers to connect (RTMP 1.0 §7.2, Flash's NetStatusEvent).
pub mod code {
    /// connect was accepted.
    pub const CONNECT_SUCCESS: &str = "NetConnection.Connect.Success";
    /// connect was refused; also the code of a redirect.
    pub const CONNECT_REJECTED: &str = "NetConnection.Connect.Rejected";
    /// Publishing has started.
    pub const PUBLISH_START: &str = "NetStream.Publish.Start";
    /// Somebody else publishes under this name.
    pub const PUBLISH_BAD_NAME: &str = "NetStream.Publish.BadName";
    /// Publishing was refused.
    pub const PUBLISH_DENIED: &str = "NetStream.Publish.Denied";
    /// What was going on cannot go on.
    pub const FAILED: &str = "NetStream.Failed";
    /// Publishing has ended.
    pub const UNPUBLISH_SUCCESS: &str = "NetStream.Unpublish.Success";
    /// The play list was emptied.
    pub const PLAY_RESET: &str = "NetStream.Play.Reset";
    /// Playing has started.
    pub const PLAY_START: &str = "NetStream.Play.Start";
    /// Playing was refused.
    pub const PLAY_FAILED: &str = "NetStream.Play.Failed";
    /// There is no such stream.
    pub const PLAY_STREAM_NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
    /// Paused.
    pub const PAUSE_NOTIFY: &str = "NetStream.Pause.Notify";
    /// Going on.
    pub const UNPAUSE_NOTIFY: &str = "NetStream.Unpause.Notify";
}

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its name.
    pub name: String,
    /// Number the answer repeats; 0 wants no answer.
    pub transaction_id: f64,
    /// The command object: null except for `connect` and its answer.
    pub object: Value,
    /// What follows, at most [`MAX_ARGUMENTS`].
    pub arguments: Vec<Value>,
}

impl Command {
    /// A command without command object.
    pub fn new(name: &str, transaction_id: f64, arguments: impl Into<Vec<Value>>) -> Self {
        Self { name: name.to_owned(), transaction_id, object: Value::Null, arguments: arguments.into() }
    }

    /// `onStatus` with an information object (RTMP 1.0 §7.2.2).
    pub fn on_status(info: Object) -> Self {
        Self::new("onStatus", 0.0, [info.into()])
    }

    /// Reads the AMF0 of a command message. A transaction id or object that is not there counts as 0 and
    /// null; arguments end at the first one that cannot be read, as SRS ignores what it does not know.
    ///
    /// # Errors
    /// [`Error::Amf0`] if name, transaction id or object are damaged, [`Error::Field`] without a name.
    pub fn parse(mut input: &[u8]) -> Result<Self, Error> {
        let Value::String(name) = Value::parse(&mut input)? else {
            return Err(Error::Field { command: "(unknown)", field: "a name" });
        };
        let transaction_id = next(&mut input)?.and_then(|value| value.as_number()).unwrap_or_default();
        let object = next(&mut input)?.unwrap_or(Value::Null);
        let mut arguments = Vec::new();
        while let Ok(Some(argument)) = next(&mut input)
            && arguments.len() < MAX_ARGUMENTS
        {
            arguments.push(argument);
        }
        Ok(Self { name, transaction_id, object, arguments })
    }

    /// Appends the AMF0 of the command.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Not through `Value`, which would have to own a copy of the name.
        Value::from(self.name.as_str()).write(out);
        Value::Number(self.transaction_id).write(out);
        self.object.write(out);
        self.arguments.iter().for_each(|argument| argument.write(out));
    }

    /// The string argument at `index`.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.as_str()
    }

    /// The numeric argument at `index`.
    pub fn number(&self, index: usize) -> Option<f64> {
        self.arguments.get(index)?.as_number()
    }

    /// The argument at `index` as a truth value: encoders write booleans and numbers.
    pub fn flag(&self, index: usize) -> Option<bool> {
        let value = self.arguments.get(index)?;
        value.as_bool().or_else(|| value.as_number().map(|number| number != 0.0))
    }

    /// The information object of an onStatus, `_result` or `_error`: the last object among the arguments.
    pub fn info(&self) -> Option<&Object> {
        self.arguments.iter().rev().find_map(Value::as_object)
    }
}

/// The next value, or `None` at the end.
fn next(input: &mut &[u8]) -> Result<Option<Value>, Error> {
    if input.is_empty() {
        return Ok(None);
    }
    Ok(Some(Value::parse(input)?))
}

/// What a client says of itself (RTMP 1.0 §7.2.1.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// `tcUrl`: the only thing application and vhost come from.
    pub tc_url: String,
    /// `app`, for logs; empty if not sent.
    pub app: String,
    /// `pageUrl`: the page with the player, for the refer check; empty if not sent.
    pub page_url: String,
    /// `swfUrl`; empty if not sent.
    pub swf_url: String,
    /// `flashVer`: name of the client software; empty if not sent.
    pub flash_ver: String,
    /// `objectEncoding`: 0 or 3; 0 if not sent.
    pub object_encoding: f64,
    /// The second object, if there is one: what an SRS edge says of itself, or tokens.
    pub args: Option<Object>,
    /// Enhanced RTMP, if the client speaks it.
    pub enhanced: Enhanced,
}

/// What a client says of codecs beyond the FLV ones (Enhanced RTMP v2, "Enhancing NetConnection connect
/// Command"). The lists tell nothing a relay needs, so only what must be answered is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Enhanced {
    /// `fourCcList`: codecs it can handle, "*" for all. Enhanced RTMP v1.
    pub fourcc_list: Option<Vec<String>>,
    /// `videoFourCcInfoMap`: per video codec what it can do, see [`fourcc_info`].
    pub video_fourcc_info: Option<Object>,
    /// `audioFourCcInfoMap`: the same for audio.
    pub audio_fourcc_info: Option<Object>,
    /// `capsEx`: bits of 1 reconnect, 2 multitrack, 4 ModEx, 8 nanosecond offsets.
    pub caps_ex: Option<u32>,
}

/// Bits of the FourCC info maps (Enhanced RTMP v2, `FourCcInfoMask`).
pub mod fourcc_info {
    /// Can decode.
    pub const DECODE: u32 = 1;
    /// Can encode.
    pub const ENCODE: u32 = 2;
    /// Can pass on.
    pub const FORWARD: u32 = 4;
}

impl Connect {
    /// Reads a `connect` command.
    ///
    /// # Errors
    /// [`Error::NoTcUrl`].
    pub fn parse(command: Command) -> Result<Self, Error> {
        let (Value::Object(mut object) | Value::EcmaArray(mut object)) = command.object else {
            return Err(Error::NoTcUrl);
        };
        let mut text = |key| match object.remove(key) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let (tc_url, app) = (text("tcUrl"), text("app"));
        if tc_url.is_empty() {
            return Err(Error::NoTcUrl);
        }
        Ok(Self {
            tc_url,
            app,
            page_url: text("pageUrl"),
            swf_url: text("swfUrl"),
            flash_ver: text("flashVer"),
            object_encoding: object.get("objectEncoding").and_then(Value::as_number).unwrap_or_default(),
            args: command.arguments.into_iter().next().and_then(into_object),
            enhanced: Enhanced {
                fourcc_list: match object.remove("fourCcList") {
                    Some(Value::StrictArray(names)) => {
                        Some(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                    }
                    _ => None,
                },
                video_fourcc_info: object.remove("videoFourCcInfoMap").and_then(into_object),
                audio_fourcc_info: object.remove("audioFourCcInfoMap").and_then(into_object),
                caps_ex: object.get("capsEx").and_then(Value::as_number).map(|bits| bits as u32),
            },
        })
    }

    /// The command, in the form SRS uses towards other servers; always transaction 1.
    pub fn command(&self) -> Command {
        let mut object = Object::new()
            .with("app", self.app.as_str())
            .with("flashVer", self.flash_ver.as_str())
            .with("swfUrl", self.swf_url.as_str())
            .with("tcUrl", self.tc_url.as_str())
            .with("fpad", false)
            .with("capabilities", 239.0)
            .with("audioCodecs", 3575.0)
            .with("videoCodecs", 252.0)
            .with("videoFunction", 1.0)
            .with("pageUrl", self.page_url.as_str())
            .with("objectEncoding", self.object_encoding);
        self.enhanced.write(&mut object);
        Command {
            name: "connect".to_owned(),
            transaction_id: 1.0,
            object: object.into(),
            arguments: self.args.clone().map(Value::from).into_iter().collect(),
        }
    }
}

impl Enhanced {
    /// What a server answers that passes on every codec: each property the client has sent, since a client
    /// that did not send one does not look for it. `caps_ex` is the server's own.
    pub fn answer(&self, caps_ex: u32) -> Self {
        let all = || Object::new().with("*", f64::from(fourcc_info::FORWARD));
        Self {
            fourcc_list: self.fourcc_list.as_ref().map(|_| vec!["*".to_owned()]),
            video_fourcc_info: self.video_fourcc_info.as_ref().map(|_| all()),
            audio_fourcc_info: self.audio_fourcc_info.as_ref().map(|_| all()),
            caps_ex: self.caps_ex.map(|_| caps_ex),
        }
    }

    /// Sets the properties in a command object.
    pub fn write(&self, object: &mut Object) {
        if let Some(names) = &self.fourcc_list {
            object.set(
                "fourCcList",
                Value::StrictArray(names.iter().map(|name| name.as_str().into()).collect()),
            );
        }
        if let Some(info) = &self.video_fourcc_info {
            object.set("videoFourCcInfoMap", info.clone());
        }
        if let Some(info) = &self.audio_fourcc_info {
            object.set("audioFourCcInfoMap", info.clone());
        }
        if let Some(bits) = self.caps_ex {
            object.set("capsEx", f64::from(bits));
        }
    }
}

fn into_object(value: Value) -> Option<Object> {
    match value {
        Value::Object(object) | Value::EcmaArray(object) => Some(object),
        _ => None,
    }
}

/// `publish` (RTMP 1.0 §7.2.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Name as the client sent it, parameters included; may be empty.
    pub stream_name: String,
    /// "live", "record" or "append"; SRS takes all as live. "live" if not sent.
    pub publish_type: String,
}

impl Publish {
    /// Reads a `publish` command.
    ///
    /// # Errors
    /// [`Error::Field`] without a stream name.
    pub fn parse(command: &Command) -> Result<Self, Error> {
        let name = command.text(0).ok_or(Error::Field { command: "publish", field: "a stream name" })?;
        Ok(Self { stream_name: name.to_owned(), publish_type: command.text(1).unwrap_or("live").to_owned() })
    }

    /// The command.
    pub fn command(&self, transaction_id: f64) -> Command {
        let arguments = [self.stream_name.as_str().into(), self.publish_type.as_str().into()];
        Command::new("publish", transaction_id, arguments)
    }
}

/// `play` (RTMP 1.0 §7.2.2.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// Name as the client sent it, parameters included; may be empty.
    pub stream_name: String,
    /// Where to start: seconds, −1 live, −2 live or recorded. SRS ignores it. −2 if not sent.
    pub start: f64,
    /// How much to play; positive values are taken as milliseconds by SRS. −1 (all) if not sent.
    pub duration: f64,
    /// Whether to empty the play list first. `true` if not sent.
    pub reset: bool,
}

impl Play {
    /// Reads a `play` command.
    ///
    /// # Errors
    /// [`Error::Field`] without a stream name.
    pub fn parse(command: &Command) -> Result<Self, Error> {
        let name = command.text(0).ok_or(Error::Field { command: "play", field: "a stream name" })?;
        Ok(Self {
            stream_name: name.to_owned(),
            start: command.number(1).unwrap_or(-2.0),
            duration: command.number(2).unwrap_or(-1.0),
            reset: command.flag(3).unwrap_or(true),
        })
    }

    /// The command; start, duration and reset are left out when they say nothing.
    pub fn command(&self, transaction_id: f64) -> Command {
        let mut arguments = vec![self.stream_name.as_str().into()];
        if self.start != -2.0 || self.duration != -1.0 || !self.reset {
            arguments.extend([self.start.into(), self.duration.into(), self.reset.into()]);
        }
        Command::new("play", transaction_id, arguments)
    }
}

#[cfg(test)]
mod tests {
    use mill_media::amf0;

    use super::*;

    fn bytes(values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        values.iter().for_each(|value| value.write(&mut out));
        out
    }

    #[test]
    fn commands_survive_the_wire() {
        let info = Object::new().with("code", code::PLAY_START);
        let connect = Connect {
            tc_url: "rtmp://h/live".to_owned(),
            app: "live".to_owned(),
            page_url: "p".to_owned(),
            swf_url: "s".to_owned(),
            flash_ver: "f".to_owned(),
            object_encoding: 3.0,
            args: Some(Object::new().with("token", "t")),
            enhanced: Enhanced {
                fourcc_list: Some(vec!["*".to_owned()]),
                video_fourcc_info: Some(Object::new().with("hvc1", 7.0)),
                audio_fourcc_info: Some(Object::new().with("Opus", 4.0)),
                caps_ex: Some(3),
            },
        };
        for command in [Command::on_status(info), Command::new("createStream", 4.0, []), connect.command()] {
            let mut out = Vec::new();
            command.write(&mut out);
            assert_eq!(Command::parse(&out), Ok(command));
        }
        assert_eq!(Connect::parse(connect.command()), Ok(connect));
        let play = Play { stream_name: "s".to_owned(), start: -1.0, duration: 5.0, reset: false };
        assert_eq!(Play::parse(&play.command(1.0)), Ok(play));
        let publish = Publish { stream_name: "s".to_owned(), publish_type: "record".to_owned() };
        assert_eq!(Publish::parse(&publish.command(1.0)), Ok(publish));
    }

    #[test]
    fn what_may_be_missing() {
        assert_eq!(Command::parse(&bytes(&["close".into()])), Ok(Command::new("close", 0.0, [])));
        let one = bytes(&["close".into(), 1.0.into(), Value::Null, "a".into()]);
        let damaged = [&one[..], &[0xFF]].concat();
        assert_eq!(Command::parse(&damaged), Ok(Command::new("close", 1.0, ["a".into()])));
        let play = Play { stream_name: "s".to_owned(), start: -2.0, duration: -1.0, reset: true };
        assert_eq!(Play::parse(&Command::new("play", 0.0, ["s".into()])), Ok(play));
    }

    #[test]
    fn what_may_not_be_damaged() {
        let code = |input: &[u8]| Command::parse(input).unwrap_err().code();
        assert_eq!(code(&[2, 0]), 2003);
        assert_eq!(code(&bytes(&[1.0.into()])), 2003);
        assert_eq!(code(&[0x11]), 2004);
        assert_eq!(code(&[&bytes(&["play".into()])[..], &[0, 1]].concat()), 2003);
        let deep =
            [&bytes(&["play".into(), 1.0.into()])[..], &[0x0A, 0, 0, 0, 1].repeat(amf0::MAX_DEPTH + 1)];
        assert_eq!(code(&deep.concat()), 2003);
    }

    #[test]
    fn arguments_are_bounded() {
        let many = bytes(&["x".into(), 0.0.into(), Value::Null]);
        let many = [&many[..], &[5; 1000]].concat();
        assert_eq!(Command::parse(&many).unwrap().arguments.len(), MAX_ARGUMENTS);
    }
}
