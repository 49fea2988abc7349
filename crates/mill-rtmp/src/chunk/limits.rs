//! What one peer may make us hold, and why so much and not more.

/// Chunk size both sides start with, in bytes (RTMP 1.0 §5.4.1).
pub const DEFAULT_CHUNK_SIZE: usize = 128;

/// Smallest chunk size a peer may set, in bytes. The standard allows 1, but SRS closes (2010): headers
/// would outweigh the content, and no real peer does it.
pub const MIN_CHUNK_SIZE: u32 = 128;

/// Largest message, in bytes: the length field has 24 bits (RTMP 1.0 §5.3.1.2.1). A larger chunk size is
/// the same as this one, so it is taken as this one (RTMP 1.0 §5.4.1).
pub const MAX_MESSAGE_SIZE: usize = 0xFF_FFFF;

/// Chunk streams one peer may use. Encoders use fewer than ten; each costs us about 70 bytes for good.
pub const MAX_CHUNK_STREAMS: usize = 64;

/// A message that fits one chunk is left in the caller's buffer until it is complete, and then not copied,
/// up to this length in bytes; longer ones are moved out piece by piece so that buffer stays small.
pub const MAX_WAIT_IN_BUFFER: usize = 64 * 1024;

/// What is reserved for a message in advance of its bytes, at most: the announced length is a promise of
/// somebody unknown. After that, room is doubled as bytes really come. In bytes.
pub const MAX_RESERVED_AHEAD: usize = 16 * 1024;

/// How much one peer may send before it must be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest message, in bytes.
    pub message: usize,
    /// Bytes of all unfinished messages together.
    pub unfinished: usize,
}

impl Limits {
    /// For a peer we know nothing of yet, and for players: they send commands. A connect with long tokens
    /// takes a few kilobytes.
    pub const COMMANDS: Self = Self { message: 64 * 1024, unfinished: 128 * 1024 };

    /// For bandwidth tests, whose commands are as long as clients like: the fastest ones send a few hundred
    /// kilobytes in one.
    pub const TEST: Self = Self { message: 1024 * 1024, unfinished: 1024 * 1024 };

    /// For whoever may send media: what the protocol allows, and a second stream beside a huge key frame.
    pub const MEDIA: Self =
        Self { message: MAX_MESSAGE_SIZE, unfinished: MAX_MESSAGE_SIZE + 4 * 1024 * 1024 };
}
