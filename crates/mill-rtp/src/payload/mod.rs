//! Payload formats: packets in order to access units and frames of sound.
//!
//! | format | source | carried |
//! |---|---|---|
//! | H.264 | RFC 6184 | single units, STAP-A, FU-A: packetization modes 0 and 1 |
//! | H.265 | RFC 7798 | single units, AP, FU; not with decoding order numbers |
//! | AAC | RFC 3640 | every form of AU headers; not interleaved |
//! | AAC | RFC 6416 | LATM with its configuration in the description, one program and layer |
//! | G.711 | RFC 3551 | at 8 kHz, one channel: FLV has no more |
//! | Opus | RFC 7587 | |
//! | MP3 | RFC 2250 | layer III |
//!
//! Everything else is refused when it is announced. After a loss the access unit it fell into is left out, and of a
//! track of pictures everything up to the next one that decoding can start from.

mod aac;
mod latm;
mod mpa;
mod video;

use std::collections::VecDeque;

use bytes::Bytes;
use mill_media::codec::opus;
use mill_media::nal::Family;

use crate::packet::Packet;
use crate::sdp::Media;

/// The longest access unit, in bytes.
pub const MAX_UNIT: usize = 8 << 20;

/// NAL units in an access unit.
pub const MAX_NAL_UNITS: usize = 1024;

/// The longest frame of sound, in bytes: what the lengths of AAC can say.
pub const MAX_SOUND: usize = 8 << 10;

/// What comes out of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// On the track's clock, as on the wire.
    pub timestamp: u32,
    /// The coded media.
    pub content: Content,
    /// Pictures were left out before this one, which starts anew.
    pub resumes: bool,
}

/// Coded media without any framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// NAL units of one access unit, in order.
    Picture(Vec<Bytes>),
    /// One frame of sound.
    Sound(Bytes),
}

/// Why a track cannot be carried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A format nobody here knows, or that RTMP has no place for.
    #[error("{0} is not carried")]
    Format(String),
    /// A known format in a form that is not understood.
    #[error("{format}: {what}")]
    Form {
        /// The format.
        format: &'static str,
        /// What about it.
        what: &'static str,
    },
}

/// How the frames of a track are to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coding {
    /// Pictures; parameter sets that came in the description.
    Video(Family, Vec<Bytes>),
    /// AAC with its AudioSpecificConfig.
    Aac(Bytes),
    /// G.711; the number of the law in FLV.
    G711(u8),
    /// Opus with so many channels.
    Opus(u8),
    /// MP3.
    Mp3,
}

/// Takes the packets of one track apart.
#[derive(Debug)]
pub struct Depacketizer {
    coding: Coding,
    form: Form,
    units: VecDeque<Unit>,
}

#[derive(Debug)]
enum Form {
    Video(video::Assembler),
    Aac(aac::Reader),
    Latm(latm::Reader),
    Mpa(mpa::Reader),
    /// One frame in each packet.
    Plain,
}

impl Depacketizer {
    /// For a track as it was announced.
    ///
    /// # Errors
    /// If it cannot be carried.
    pub fn new(media: &Media) -> Result<Self, Unsupported> {
        let (coding, form) = match media.encoding.as_str() {
            "H264" => video::avc(media)?,
            "H265" | "HEVC" => video::hevc(media)?,
            "MPEG4-GENERIC" => aac::open(media)?,
            "MP4A-LATM" => latm::open(media)?,
            "PCMA" | "PCMU" => {
                if (media.clock_rate, media.channels) != (8000, 1) {
                    let what = "FLV has it at 8 kHz with one channel only";
                    return Err(Unsupported::Form { format: "G.711", what });
                }
                (Coding::G711(if media.encoding == "PCMA" { 7 } else { 8 }), Form::Plain)
            }
            // Always announced with two channels; what is sent, a parameter tells (RFC 7587, 6.1).
            "OPUS" => {
                let stereo = media.parameter("sprop-stereo") == Some("1");
                (Coding::Opus(if stereo { 2 } else { 1 }), Form::Plain)
            }
            "MPA" => (Coding::Mp3, Form::Mpa(mpa::Reader::default())),
            "" => return Err(Unsupported::Format(format!("payload type {}", media.payload_type))),
            other => return Err(Unsupported::Format(other.to_owned())),
        };
        Ok(Self { coding, form, units: VecDeque::new() })
    }

    /// How the frames are coded.
    pub fn coding(&self) -> &Coding {
        &self.coding
    }

    /// Takes the next packet in order; `after_loss` says that some before it are missing.
    pub fn push(&mut self, packet: &Packet, after_loss: bool) {
        let units = &mut self.units;
        match &mut self.form {
            Form::Video(assembler) => assembler.push(packet, after_loss, units),
            Form::Aac(reader) => reader.push(packet, after_loss, units),
            Form::Latm(reader) => reader.push(packet, after_loss, units),
            Form::Mpa(reader) => reader.push(packet, after_loss, units),
            Form::Plain if packet.payload.is_empty() || packet.payload.len() > MAX_SOUND => {}
            Form::Plain => {
                let content = Content::Sound(packet.payload.clone());
                units.push_back(Unit { timestamp: packet.timestamp, content, resumes: false });
            }
        }
    }

    /// What is complete.
    pub fn pop(&mut self) -> Option<Unit> {
        self.units.pop_front()
    }

    /// Access units left out because something before them was lost.
    pub fn skipped(&self) -> u64 {
        match &self.form {
            Form::Video(assembler) => assembler.skipped(),
            _ => 0,
        }
    }
}

impl Coding {
    /// Whether it is pictures.
    pub fn is_video(&self) -> bool {
        matches!(self, Self::Video(..))
    }
}

/// Bytes as descriptions write configurations.
fn hex_bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

/// The `OpusHead` for so many channels (RFC 7845, 5.1).
pub(crate) fn opus_head(channels: u8) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend_from_slice(&[0, 0]);
    head.extend_from_slice(&opus::SAMPLE_RATE.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    head
}

#[cfg(test)]
mod tests;
