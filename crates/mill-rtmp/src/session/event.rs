//! What sessions tell their drivers.

use crate::{
    command::{Connect, Play, Publish},
    message::Message,
};

/// What a server session tells. [`Connect`](Self::Connect), [`Publish`](Self::Publish) and
/// [`Play`](Self::Play) are questions: no input is read until they are accepted or rejected.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerEvent {
    /// The client connects.
    Connect(Box<Connect>),
    /// The client wants to publish.
    Publish {
        /// What.
        publish: Publish,
        /// In which order of commands.
        style: Style,
    },
    /// The client wants to play.
    Play(Play),
    /// The publisher sent audio (type 8), video (9) or data (18, `@setDataFrame` included).
    Media(Message),
    /// The publisher has stopped and was told so; it may publish or play again.
    Unpublish,
    /// The player has stopped; it may publish or play again.
    StopPlay,
    /// The player does not want media (`true`) or wants it again; it was told so.
    Pause(bool),
    /// The client of a bandwidth test has sent the command of this name; see [`crate::bandcheck`].
    Test(String),
    /// The session is over and the connection must be closed.
    Closed,
}

/// The three orders of commands in which publishers announce themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// releaseStream, FCPublish, createStream, publish: most encoders.
    Fmle,
    /// createStream, FCPublish, publish.
    Haivision,
    /// createStream, publish: Flash Player and minimal clients.
    Flash,
}

/// What a client session tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientEvent {
    /// The server has accepted the connection.
    Connected,
    /// Publishing has started: media may be sent.
    Publishing,
    /// Playing has started.
    Playing,
    /// Audio (type 8), video (9) or data (18) of the stream that is played.
    Media(Message),
    /// Any other onStatus.
    Status(Status),
    /// The server refuses. The session is over and the connection must be closed.
    Rejected {
        /// What it said.
        status: Status,
        /// URL of the server to try instead, if it named one (SRS's "RTMP 302").
        redirect: Option<String>,
    },
}

/// The information object of an onStatus or `_error`; fields that were not sent are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// "status", "warning" or "error".
    pub level: String,
    /// Such as "NetStream.Publish.Start"; see [`crate::command::code`].
    pub code: String,
    /// For people.
    pub description: String,
}
