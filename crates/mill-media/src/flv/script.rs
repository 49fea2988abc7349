//! `onMetaData`: what an encoder says about its stream, and what players are told instead.

use bytes::Bytes;

use crate::amf0::{self, Object, Value};

const ON_META_DATA: &str = "onMetaData";
/// RTMP publishers put this in front to have the server keep the data for later players.
const SET_DATA_FRAME: &str = "@setDataFrame";

/// Why a data message is not metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message is damaged.
    #[error(transparent)]
    Amf0(#[from] amf0::Error),
    /// The message has another name: text, cue points and the like, which are not delivered.
    #[error("data message is not onMetaData")]
    NotMetadata,
    /// The message describes nothing.
    #[error("onMetaData without content")]
    Empty,
}

/// Whether a script tag or data message calls itself metadata; what it contains is not looked at.
pub(crate) fn is_metadata(body: &[u8]) -> bool {
    content(body).is_ok()
}

/// The metadata of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The members as the encoder sent them; in them at least one.
    pub object: Object,
}

impl Metadata {
    /// Reads the body of a script tag or RTMP data message, with or without `@setDataFrame` before
    /// `onMetaData`, its content an object or an ECMA array.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut rest = content(body)?;
        if rest.is_empty() {
            return Err(Error::Empty);
        }
        match Value::parse(&mut rest)? {
            Value::Object(object) | Value::EcmaArray(object) if !object.is_empty() => Ok(Self { object }),
            _ => Err(Error::Empty),
        }
    }

    /// The payload of the [`Metadata`](crate::frame::FrameKind::Metadata) frame for players:
    /// `onMetaData` and a plain object. What describes a file (`duration`, `filesize`) is gone, and
    /// `server` and `server_version` name us.
    pub fn normalised(&self, server: &str, version: &str) -> Bytes {
        let mut object = self.object.clone();
        object.remove("duration");
        object.remove("filesize");
        object.set("server", server);
        object.set("server_version", version);
        let mut payload = Vec::new();
        Value::from(ON_META_DATA).write(&mut payload);
        Value::from(object).write(&mut payload);
        payload.into()
    }

    /// Picture width in pixels, if announced.
    pub fn width(&self) -> Option<u32> {
        self.size("width")
    }

    /// Picture height in pixels, if announced.
    pub fn height(&self) -> Option<u32> {
        self.size("height")
    }

    /// Whether an audio codec is announced.
    pub fn has_audio(&self) -> bool {
        self.names_codec("audiocodecid")
    }

    /// Whether a video codec is announced.
    pub fn has_video(&self) -> bool {
        self.names_codec("videocodecid")
    }

    /// Whether the encoder asks for absolute time: `bravo_atc` is the string `true`.
    pub fn bravo_atc(&self) -> bool {
        self.object.get("bravo_atc").and_then(Value::as_str) == Some("true")
    }

    fn size(&self, key: &str) -> Option<u32> {
        let number = self.object.get(key)?.as_number()?;
        // The conversion saturates and makes NaN 0, so it cannot surprise.
        Some(number as u32).filter(|&size| size > 0)
    }

    /// A codec is announced by its FLV number, by a FourCC as number (Enhanced RTMP) or as text. 0 is no
    /// video codec and, for audio, a format of raw samples nobody streams: encoders mean "none".
    fn names_codec(&self, key: &str) -> bool {
        match self.object.get(key) {
            Some(Value::Number(id)) => *id > 0.0,
            Some(Value::String(fourcc)) => !fourcc.is_empty(),
            _ => false,
        }
    }
}

/// What follows the name or names at the beginning of a body.
fn content(body: &[u8]) -> Result<&[u8], Error> {
    let mut rest = body;
    let mut name = Value::parse(&mut rest)?;
    if name.as_str() == Some(SET_DATA_FRAME) {
        name = Value::parse(&mut rest)?;
    }
    if name.as_str() == Some(ON_META_DATA) { Ok(rest) } else { Err(Error::NotMetadata) }
}
