//! What the first bytes of a tag body say, for RTMP messages and FLV tags alike (FLV 10.1 E.4.2, E.4.3;
//! Enhanced RTMP v2 "Enhanced Audio" and "Enhanced Video").
//!
//! [`classify`] is asked once for everything a publisher sends. It is tolerant on purpose: a body nobody
//! here understands is still passed on as a frame, because the player may understand it.

use crate::codec::{AudioCodec, VideoCodec};
use crate::flv::script;
use crate::frame::FrameKind;

/// What a message or tag of type `tag_type` with this body is to delivery. `None` if it is nothing to
/// deliver: an empty body, a type other than 8, 9 and 18, or data other than the stream's metadata.
///
/// AMF3 data (RTMP message type 15) is type 18 after its first byte; taking that off is the caller's part.
pub fn classify(tag_type: u8, body: &[u8]) -> Option<FrameKind> {
    match tag_type {
        8 => AudioTag::parse(body).map(|tag| tag.kind()),
        9 => VideoTag::parse(body).map(|tag| tag.kind()),
        18 => script::is_metadata(body).then_some(FrameKind::Metadata),
        _ => None,
    }
}

/// The role of a tag's data within its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packet {
    /// Decoder configuration.
    Header,
    /// Coded audio or video.
    Coded,
    /// The track's sequence ends.
    End,
    /// Commands, colour and channel information, packet types unknown here, headers cut short.
    Other,
}

/// The body of a video tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoTag<'a> {
    /// How the data is coded.
    pub codec: VideoCodec,
    /// What the data is.
    pub packet: Packet,
    /// Whether the publisher marked it as a key frame (frame type 1, or 4 "generated").
    pub key: bool,
    /// Presentation minus decoding time in milliseconds, a signed 24-bit number on the wire; 0 where the
    /// codec or packet type carries none.
    pub cts: i32,
    /// The track in a multitrack tag, for several tracks the first; 0, the default track, elsewhere.
    pub track: u8,
    /// What follows the tag's own header: the configuration record, the NAL units, …
    pub data: &'a [u8],
}

impl<'a> VideoTag<'a> {
    /// Takes a body apart; `None` only for an empty one. Whatever is cut short or unknown comes out as
    /// [`Packet::Other`].
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (&first, data) = body.split_first()?;
        let frame_type = first >> 4 & 7;
        let tag = Self {
            codec: VideoCodec::Other,
            packet: Packet::Other,
            key: matches!(frame_type, 1 | 4),
            cts: 0,
            track: 0,
            data,
        };
        let enhanced = first & 0x80 != 0;
        // Frame type 5 is a command instead of a picture; its one byte is no packet type.
        Some(match (enhanced, frame_type) {
            (true, 5) => tag,
            (true, _) => tag.enhanced(first & 15),
            (false, 5) => Self { codec: legacy_video(first & 15), ..tag },
            (false, _) => tag.legacy(first & 15),
        })
    }

    /// What the tag is to delivery.
    ///
    /// Only the default track makes headers and keyframes: a stream has one video header and one place
    /// to start from, and a second track must not take them over. A header or keyframe without data is
    /// neither.
    pub fn kind(&self) -> FrameKind {
        match self.packet {
            _ if self.track != 0 || self.data.is_empty() => FrameKind::Video,
            Packet::Header => FrameKind::VideoHeader,
            Packet::Coded if self.key => FrameKind::Keyframe,
            _ => FrameKind::Video,
        }
    }

    /// E.4.3.1: a codec number; codecs with a configuration record add packet type and composition time.
    fn legacy(self, codec: u8) -> Self {
        let codec = legacy_video(codec);
        if !matches!(codec, VideoCodec::Avc | VideoCodec::Hevc | VideoCodec::Av1) {
            return Self { codec, packet: Packet::Coded, ..self };
        }
        let Some((&[packet, cts @ ..], data)) = self.data.split_first_chunk::<4>() else {
            return Self { codec, ..self };
        };
        match packet {
            0 => Self { codec, packet: Packet::Header, data, ..self },
            1 => Self { codec, packet: Packet::Coded, cts: signed(cts), data, ..self },
            2 => Self { codec, packet: Packet::End, data, ..self },
            _ => Self { codec, data, ..self },
        }
    }

    /// ExVideoTagHeader and the beginning of ExVideoTagBody.
    fn enhanced(self, packet_type: u8) -> Self {
        const MULTITRACK: u8 = 6;
        let Some(ex) = ExHeader::parse(packet_type, MULTITRACK, self.data) else { return self };
        let codec = match &ex.fourcc {
            b"avc1" => VideoCodec::Avc,
            b"hvc1" => VideoCodec::Hevc,
            b"vvc1" => VideoCodec::Vvc,
            b"av01" => VideoCodec::Av1,
            b"vp08" => VideoCodec::Vp8,
            b"vp09" => VideoCodec::Vp9,
            _ => VideoCodec::Other,
        };
        let tag = Self { codec, track: ex.track, data: ex.data, ..self };
        match ex.packet_type {
            // 5 is a header in the words of MPEG-2 TS: state a newcomer needs just as well.
            0 | 5 => Self { packet: Packet::Header, ..tag },
            1 if matches!(codec, VideoCodec::Avc | VideoCodec::Hevc | VideoCodec::Vvc) => {
                match ex.data.split_first_chunk() {
                    Some((&cts, data)) => Self { packet: Packet::Coded, cts: signed(cts), data, ..tag },
                    None => tag,
                }
            }
            1 | 3 => Self { packet: Packet::Coded, ..tag },
            2 => Self { packet: Packet::End, ..tag },
            _ => tag,
        }
    }
}

/// The body of an audio tag, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioTag<'a> {
    /// How the data is coded.
    pub codec: AudioCodec,
    /// What the data is.
    pub packet: Packet,
    /// Sample rate the first byte declares, in Hz: 5512, 11025, 22050 or 44100, or what the format
    /// fixes. 0 for Enhanced RTMP. AAC always declares 44100 and means what its configuration says.
    pub sample_rate: u32,
    /// Channels the first byte declares, 1 or 2; 0 for Enhanced RTMP.
    pub channels: u8,
    /// As in [`VideoTag::track`].
    pub track: u8,
    /// What follows the tag's own header: the AudioSpecificConfig, the coded frame, …
    pub data: &'a [u8],
}

impl<'a> AudioTag<'a> {
    /// Takes a body apart; `None` only for an empty one. Whatever is cut short or unknown comes out as
    /// [`Packet::Other`].
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (&first, data) = body.split_first()?;
        let format = first >> 4;
        let tag = Self {
            codec: AudioCodec::Other,
            packet: Packet::Other,
            sample_rate: 0,
            channels: 0,
            track: 0,
            data,
        };
        Some(if format == 9 { tag.enhanced(first & 15) } else { tag.legacy(format, first & 15) })
    }

    /// What the tag is to delivery; only the default track makes headers, as in [`VideoTag::kind`].
    pub fn kind(&self) -> FrameKind {
        if self.packet == Packet::Header && self.track == 0 && !self.data.is_empty() {
            FrameKind::AudioHeader
        } else {
            FrameKind::Audio
        }
    }

    /// E.4.2.1: format, rate, size and channels; AAC adds a packet type.
    fn legacy(self, format: u8, flags: u8) -> Self {
        let sample_rate = match format {
            4 => 16_000,
            5 | 7 | 8 | 14 => 8_000,
            11 => 16_000,
            _ => [5_512, 11_025, 22_050, 44_100][usize::from(flags >> 2)],
        };
        let tag = Self { sample_rate, channels: 1 + (flags & 1), ..self };
        let coded = |codec| Self { codec, packet: Packet::Coded, ..tag };
        match (format, self.data) {
            (10, [packet, data @ ..]) => {
                let packet = match packet {
                    0 => Packet::Header,
                    1 => Packet::Coded,
                    _ => Packet::Other,
                };
                Self { codec: AudioCodec::Aac, packet, data, ..tag }
            }
            (10, []) => Self { codec: AudioCodec::Aac, ..tag },
            (2 | 14, _) => coded(AudioCodec::Mp3),
            (13, _) => coded(AudioCodec::Opus),
            _ => coded(AudioCodec::Other),
        }
    }

    /// ExAudioTagHeader.
    fn enhanced(self, packet_type: u8) -> Self {
        const MULTITRACK: u8 = 5;
        let Some(ex) = ExHeader::parse(packet_type, MULTITRACK, self.data) else { return self };
        let codec = match &ex.fourcc {
            b"mp4a" => AudioCodec::Aac,
            b".mp3" => AudioCodec::Mp3,
            b"Opus" => AudioCodec::Opus,
            b"fLaC" => AudioCodec::Flac,
            b"ac-3" => AudioCodec::Ac3,
            b"ec-3" => AudioCodec::Eac3,
            _ => AudioCodec::Other,
        };
        let packet = match ex.packet_type {
            0 => Packet::Header,
            1 => Packet::Coded,
            2 => Packet::End,
            _ => Packet::Other,
        };
        Self { codec, packet, track: ex.track, data: ex.data, ..self }
    }
}

/// The part of an Enhanced RTMP v2 tag header that audio and video have in common: extensions of the
/// packet type, several tracks in one tag, FourCC.
struct ExHeader<'a> {
    packet_type: u8,
    fourcc: [u8; 4],
    track: u8,
    data: &'a [u8],
}

impl<'a> ExHeader<'a> {
    /// Reads on behind the first byte, whose low four bits are `packet_type`. `multitrack` is the packet
    /// type that announces several tracks; audio and video number it differently. `None` if it ends
    /// too soon.
    fn parse(mut packet_type: u8, multitrack: u8, mut rest: &'a [u8]) -> Option<Self> {
        const MOD_EX: u8 = 7;
        const ONE_TRACK: u8 = 0;
        const MANY_TRACKS_MANY_CODECS: u8 = 2;

        while packet_type == MOD_EX {
            let mut len = usize::from(take::<1>(&mut rest)?[0]) + 1;
            if len == 256 {
                len = usize::from(u16::from_be_bytes(take(&mut rest)?)) + 1;
            }
            rest = rest.get(len..)?;
            packet_type = take::<1>(&mut rest)?[0] & 15;
        }
        if packet_type != multitrack {
            return Some(Self { packet_type, fourcc: take(&mut rest)?, track: 0, data: rest });
        }
        let [kinds] = take(&mut rest)?;
        let (track_kind, packet_type) = (kinds >> 4, kinds & 15);
        // One FourCC for all tracks or one before each: for the first track it is the same place.
        let fourcc = take(&mut rest)?;
        let [track] = take(&mut rest)?;
        if track_kind > MANY_TRACKS_MANY_CODECS {
            return None;
        }
        if track_kind != ONE_TRACK {
            let [a, b, c] = take(&mut rest)?;
            rest = rest.get(..u32::from_be_bytes([0, a, b, c]) as usize)?;
        }
        Some(Self { packet_type, fourcc, track, data: rest })
    }
}

/// E.4.3.1, and the numbers 12 and 13 that encoders and SRS agreed on before FourCCs came.
fn legacy_video(codec: u8) -> VideoCodec {
    match codec {
        2 => VideoCodec::H263,
        3 | 6 => VideoCodec::Screen,
        4 | 5 => VideoCodec::Vp6,
        7 => VideoCodec::Avc,
        12 => VideoCodec::Hevc,
        13 => VideoCodec::Av1,
        _ => VideoCodec::Other,
    }
}

/// A signed 24-bit number, big end first.
fn signed([a, b, c]: [u8; 3]) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

/// The next `N` bytes; `rest` moves behind them.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}
