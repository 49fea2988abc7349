//! One access unit on its way from a publisher to its viewers.
//!
//! A [`Frame`] is immutable and cheap to clone: its payload is a shared slice. It carries the body of an
//! FLV tag (Adobe FLV 10.1, annex E.4; Enhanced RTMP v2 for the FourCC codecs) exactly as the publisher
//! sent it. What kind of frame it is was decided once, at the door, by [`crate::flv::tag::classify`].

use bytes::Bytes;

/// Media time in milliseconds on a stream's own timeline, already unwrapped: it does not jump back when
/// a 24-, 31- or 32-bit wire field does.
pub type Millis = i64;

/// What a frame is, as far as delivery must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Script data `onMetaData`: the encoder's description of the stream.
    Metadata,
    /// Decoder configuration of the audio track (AAC AudioSpecificConfig, Opus head, …).
    AudioHeader,
    /// Coded audio.
    Audio,
    /// Decoder configuration of the video track (avcC, hvcC, av1C, …).
    VideoHeader,
    /// Coded video a decoder can start from.
    Keyframe,
    /// Any other video: inter frames, end of sequence, colour information.
    Video,
}

impl FrameKind {
    /// Audio or its configuration.
    pub fn is_audio(self) -> bool {
        matches!(self, Self::AudioHeader | Self::Audio)
    }

    /// Video or its configuration.
    pub fn is_video(self) -> bool {
        matches!(self, Self::VideoHeader | Self::Keyframe | Self::Video)
    }

    /// Metadata or decoder configuration: state a newcomer needs before the first coded frame.
    pub fn is_header(self) -> bool {
        matches!(self, Self::Metadata | Self::AudioHeader | Self::VideoHeader)
    }

    /// The FLV tag type and RTMP message type of such a frame: 8 audio, 9 video, 18 script data.
    pub fn tag_type(self) -> u8 {
        match self {
            Self::Metadata => 18,
            Self::AudioHeader | Self::Audio => 8,
            Self::VideoHeader | Self::Keyframe | Self::Video => 9,
        }
    }
}

/// One access unit, or one piece of configuration, with its place on the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Decoding time.
    pub dts: Millis,
    /// The FLV tag body. For [`FrameKind::Metadata`] it begins with the AMF0 string `onMetaData`.
    pub payload: Bytes,
}
