//! Sound alone over HTTP: AAC in ADTS, or MP3.
//!
//! A stream whose sound is coded otherwise, or that shows no sound for a while, has nothing for these viewers:
//! their response ends. Nothing is transcoded.

use bytes::{BufMut, Bytes, BytesMut};
use mill_hub::{Barren, FormatKey, Tracks, WireFormat, Writer};
use mill_media::adts;
use mill_media::codec::{AudioCodec, aac};
use mill_media::flv::tag::{AudioTag, Packet};
use mill_media::frame::{Frame, FrameKind};
use tracing::warn;

use super::{Body, Patience};

/// What viewers asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SoundCodec {
    Aac,
    Mp3,
}

impl SoundCodec {
    fn codec(self) -> AudioCodec {
        match self {
            Self::Aac => AudioCodec::Aac,
            Self::Mp3 => AudioCodec::Mp3,
        }
    }
}

/// Frames that each stand for themselves, one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SoundFrames {
    pub(crate) body: Body,
    pub(crate) codec: SoundCodec,
}

/// An empty ID3 tag with ten bytes of padding, as SRS sends it: players take what follows for MP3.
const ID3: &[u8; 20] = b"ID3\x03\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0";

impl WireFormat for SoundFrames {
    fn key(&self) -> FormatKey {
        let name = match self.codec {
            SoundCodec::Aac => "aac",
            SoundCodec::Mp3 => "mp3",
        };
        FormatKey { name, variant: self.body.variant() }
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(SoundWriter {
            format: *self,
            header: None,
            other: false,
            told: false,
            patience: Patience::default(),
        })
    }

    fn preamble(&self, _: Tracks, out: &mut BytesMut) {
        if self.codec == SoundCodec::Mp3 {
            self.body.put(ID3, out);
        }
    }

    fn finish(&self) -> Option<Bytes> {
        Some(self.body.end())
    }

    fn sound_only(&self) -> bool {
        true
    }
}

struct SoundWriter {
    format: SoundFrames,
    /// The stream's AAC, once its configuration has come and ADTS can express it.
    header: Option<adts::Header>,
    /// The last sound was coded otherwise.
    other: bool,
    /// A warning says why frames are left out.
    told: bool,
    patience: Patience,
}

impl Writer for SoundWriter {
    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
        let written = if frame.kind.is_audio() { self.write_sound(frame, out) } else { Ok(false) };
        let carried = match written {
            Ok(carried) => carried,
            Err(why) => {
                if !std::mem::replace(&mut self.told, true) {
                    warn!("sound left out of .{}: {why}", self.format.key().name);
                }
                false
            }
        };
        if self.other { Err(Barren) } else { self.patience.note(frame, carried) }
    }

    fn headers(&mut self, _: &mut dyn Iterator<Item = Frame>, _: &mut BytesMut) {}
}

/// Why sound is left out.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the stream has {}", .0.name())]
    Other(AudioCodec),
    #[error("no decoder configuration that ADTS can express")]
    NoConfig,
    #[error("a frame too long for ADTS")]
    TooLong,
}

impl SoundWriter {
    /// Whether something was appended.
    fn write_sound(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<bool, Unfit> {
        let Some(tag) = AudioTag::parse(&frame.payload).filter(|tag| tag.track == 0) else {
            return Ok(false);
        };
        if !matches!(tag.packet, Packet::Header | Packet::Coded) || tag.data.is_empty() {
            return Ok(false);
        }
        self.other = tag.codec != self.format.codec.codec();
        if self.other {
            return Err(Unfit::Other(tag.codec));
        }
        let body = self.format.body;
        match (self.format.codec, frame.kind) {
            (SoundCodec::Mp3, FrameKind::Audio) => body.put(tag.data, out),
            (SoundCodec::Aac, FrameKind::AudioHeader) => {
                self.header = aac::DecoderConfig::parse(tag.data).and_then(|c| adts::Header::new(&c));
                return Ok(false);
            }
            (SoundCodec::Aac, FrameKind::Audio) => {
                let header = self.header.as_ref().ok_or(Unfit::NoConfig)?;
                let head = header.write(tag.data.len()).ok_or(Unfit::TooLong)?;
                body.open(head.len() + tag.data.len(), out);
                out.put_slice(&head);
                out.put_slice(tag.data);
                body.close(out);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Audio, AudioHeader, Video};
    use mill_media::frame::Millis;

    fn frame(kind: FrameKind, dts: Millis, payload: &'static [u8]) -> Frame {
        Frame { kind, dts, payload: Bytes::from_static(payload) }
    }

    fn writer(codec: SoundCodec, body: Body) -> Box<dyn Writer> {
        SoundFrames { body, codec }.writer()
    }

    #[test]
    fn aac_has_a_header_before_each_frame_and_a_chunk_around_it() {
        let mut aac = writer(SoundCodec::Aac, Body::Chunked);
        let mut out = BytesMut::new();
        aac.write(&frame(AudioHeader, 0, b"\xaf\0\x12\x10"), &mut out).unwrap();
        aac.write(&frame(Video, 0, b"\x27\x01\0\0\0picture"), &mut out).unwrap();
        assert!(out.is_empty());
        aac.write(&frame(Audio, 0, b"\xaf\x01sound"), &mut out).unwrap();
        assert_eq!(&out[..], b"c\r\n\xff\xf1\x50\x80\x01\x9f\xfcsound\r\n");
    }

    #[test]
    fn mp3_is_as_it_came_with_its_first_byte() {
        let format = SoundFrames { body: Body::Bare, codec: SoundCodec::Mp3 };
        let mut out = BytesMut::new();
        format.preamble(Tracks::default(), &mut out);
        format.writer().write(&frame(Audio, 0, b"\x2f\xff\xfb\x90\x64mp3"), &mut out).unwrap();
        assert_eq!(&out[..], b"ID3\x03\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\xff\xfb\x90\x64mp3");
    }

    #[test]
    fn sound_of_another_codec_is_none_until_it_changes() {
        let mut out = BytesMut::new();
        let mut mp3 = writer(SoundCodec::Mp3, Body::Bare);
        assert_eq!(mp3.write(&frame(AudioHeader, 0, b"\xaf\0\x12\x10"), &mut out), Err(Barren));
        assert_eq!(mp3.write(&frame(Video, 0, b"\x27\x01\0\0\0x"), &mut out), Err(Barren));
        assert_eq!(mp3.write(&frame(Audio, 0, b"\x2f\xff\xfb\x90\x64"), &mut out), Ok(()));
        let mut aac = writer(SoundCodec::Aac, Body::Bare);
        assert_eq!(aac.write(&frame(Audio, 0, b"\x2f\xff\xfb\x90\x64"), &mut out), Err(Barren));
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn pictures_alone_and_sound_without_configuration_are_none_after_a_while() {
        let mut out = BytesMut::new();
        for (kind, payload) in [(Video, &b"\x27\x01\0\0\0x"[..]), (Audio, b"\xaf\x01sound")] {
            let mut aac = writer(SoundCodec::Aac, Body::Bare);
            let ends: Vec<bool> = (0..12)
                .map(|second| aac.write(&frame(kind, second * 1000, payload), &mut out).is_err())
                .collect();
            assert_eq!(ends.iter().position(|end| *end), Some(11));
        }
        assert!(out.is_empty());
    }
}
