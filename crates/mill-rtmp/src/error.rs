//! Everything that can end an RTMP connection from this side, with the number SRS users know it by.

use std::time::Duration;

/// Why a connection cannot go on. Every variant ends the connection; the state machine that returned it
/// must not be fed again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The first byte is not RTMP's: another protocol on this port, or RTMPE.
    #[error("the connection starts with byte {first:#04x} and not as plain RTMP")]
    NotRtmp {
        /// That byte.
        first: u8,
    },
    /// A proxy header longer than [`crate::handshake::PROXY_HEADER_MAX`].
    #[error("proxy header of {length} bytes")]
    ProxyHeader {
        /// Announced length in bytes.
        length: usize,
    },
    /// A chunk header that needs an earlier one of its chunk stream, or starts a message inside another.
    #[error("chunk stream {chunk_stream}: header of type {header_type} where none may be")]
    ChunkStart {
        /// Chunk stream id.
        chunk_stream: u32,
        /// Header type 0 to 3.
        header_type: u8,
    },
    /// A message announced another length half way.
    #[error("chunk stream {chunk_stream}: message length changed from {was} to {now} half way")]
    LengthChanged {
        /// Chunk stream id.
        chunk_stream: u32,
        /// Length the message began with, in bytes.
        was: u32,
        /// Length announced later, in bytes.
        now: u32,
    },
    /// A chunk size outside what a peer may set.
    #[error("peer sets a chunk size of {size}")]
    ChunkSize {
        /// The size, in bytes.
        size: u32,
    },
    /// A peer wants more of something than it may have; see [`crate::chunk::limits`] and [`crate::session`].
    #[error("{what}: more than {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// A control message too short for its type.
    #[error("damaged message of type {message_type}")]
    Message {
        /// RTMP message type.
        message_type: u8,
    },
    /// An aggregate message whose items do not fit it.
    #[error("aggregate message damaged at byte {offset}")]
    Aggregate {
        /// Where in the message.
        offset: usize,
    },
    /// AMF0 that cannot be read in a command.
    #[error("command: {source}")]
    Amf0 {
        /// What is wrong with it.
        #[from]
        source: mill_media::amf0::Error,
    },
    /// A command without something it must have.
    #[error("command {command} without {field}")]
    Field {
        /// Name of the command.
        command: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// `connect` without `tcUrl`.
    #[error("connect without tcUrl")]
    NoTcUrl,
    /// A URL or stream name that names nothing this server can have.
    #[error("{part} of the URL: {problem}")]
    Url {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A client that keeps creating streams and neither publishes nor plays.
    #[error("neither publish nor play after {streams} createStream")]
    Identify {
        /// How many it created.
        streams: u8,
    },
    /// The peer did not get on within its time.
    #[error("{phase} not finished within {limit:?}")]
    Timeout {
        /// What it should have finished.
        phase: &'static str,
        /// How long it had.
        limit: Duration,
    },
}

impl Error {
    /// The number SRS logs for this; scripts in the field look for it.
    pub fn code(&self) -> u32 {
        match self {
            Self::Timeout { .. } => 1011,
            Self::NotRtmp { .. } => 2000,
            Self::ChunkStart { .. } => 2001,
            Self::Amf0 { source: mill_media::amf0::Error::Marker { .. } } => 2004,
            Self::Amf0 { .. } | Self::Field { .. } => 2003,
            Self::NoTcUrl => 2005,
            Self::Url { .. } => 2006,
            Self::Message { .. } => 2007,
            Self::ChunkSize { .. } => 2010,
            Self::LengthChanged { .. } | Self::Limit { .. } => 2013,
            Self::Aggregate { .. } => 2024,
            Self::ProxyHeader { .. } => 2054,
            Self::Identify { .. } => 2055,
        }
    }
}
