//! FLV over HTTP.

use bytes::{BufMut, Bytes, BytesMut};
use mill_hub::{Barren, FormatKey, Tracks, WireFormat, Writer};
use mill_media::flv::mux;
use mill_media::frame::Frame;

use super::{Body, timestamp};

/// Which tracks the header of an FLV file declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declare {
    /// Those the stream has.
    Real,
    /// Those the configuration names (`guess_has_av off`); `only` also leaves frames of others out.
    Fixed { tracks: Tracks, only: bool },
}

/// FLV tags.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlvTags {
    pub(crate) body: Body,
    pub(crate) declare: Declare,
}

impl FlvTags {
    fn carries(&self, frame: &Frame) -> bool {
        match self.declare {
            Declare::Fixed { tracks, only: true } => {
                (tracks.audio || !frame.kind.is_audio()) && (tracks.video || !frame.kind.is_video())
            }
            _ => true,
        }
    }
}

impl WireFormat for FlvTags {
    fn key(&self) -> FormatKey {
        let declare = match self.declare {
            Declare::Real => 0,
            Declare::Fixed { tracks, only } => {
                1 << 3 | u32::from(only) << 2 | u32::from(tracks.audio) << 1 | u32::from(tracks.video)
            }
        };
        FormatKey { name: "flv", variant: declare << 1 | self.body.variant() }
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(*self)
    }

    fn preamble(&self, tracks: Tracks, out: &mut BytesMut) {
        let tracks = match self.declare {
            Declare::Real => tracks,
            Declare::Fixed { tracks, .. } => tracks,
        };
        self.body.put(&mux::file_header(tracks.audio, tracks.video), out);
    }

    fn finish(&self) -> Option<Bytes> {
        Some(self.body.end())
    }
}

impl Writer for FlvTags {
    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
        if !self.carries(frame) {
            return Ok(());
        }
        let body = frame.payload.len();
        let tail = mux::previous_tag_size(body);
        let head = mux::tag_header(frame.kind.tag_type(), body, timestamp(frame));
        self.body.open(head.len() + body + tail.len(), out);
        out.put_slice(&head);
        out.put_slice(&frame.payload);
        out.put_slice(&tail);
        self.body.close(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::frame;
    use mill_media::frame::FrameKind;

    #[test]
    fn a_tag_is_one_http_chunk() {
        let mut format = FlvTags { body: Body::Chunked, declare: Declare::Real };
        let mut out = BytesMut::new();
        format.preamble(Tracks { audio: true, video: true }, &mut out);
        assert_eq!(&out[..], b"d\r\nFLV\x01\x05\0\0\0\x09\0\0\0\0\r\n");
        out.clear();
        format.write(&frame(FrameKind::Keyframe), &mut out).unwrap();
        // Chunk of 21 bytes: tag header (type, size, time with its high byte last, stream id), body, size.
        let mut expected = b"15\r\n\x09\0\0\x06\x02\x03\x04\x01\0\0\0".to_vec();
        expected.extend_from_slice(&[0x17, 1, 0, 0, 0, 9, 0, 0, 0, 17]);
        expected.extend_from_slice(b"\r\n");
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn metadata_has_no_time() {
        let mut out = BytesMut::new();
        FlvTags { body: Body::Bare, declare: Declare::Real }
            .write(&frame(FrameKind::Metadata), &mut out)
            .unwrap();
        assert_eq!(out[4..8], [0; 4]);
    }

    #[test]
    fn declared_tracks_decide_what_is_carried() {
        let tracks = Tracks { audio: false, video: true };
        let mut format = FlvTags { body: Body::Bare, declare: Declare::Fixed { tracks, only: true } };
        let mut out = BytesMut::new();
        format.write(&frame(FrameKind::Audio), &mut out).unwrap();
        assert!(out.is_empty());
        format.write(&frame(FrameKind::Metadata), &mut out).unwrap();
        assert!(!out.is_empty());
        out.clear();
        format.preamble(Tracks { audio: true, video: true }, &mut out);
        assert_eq!(out[4], 1);
    }

    #[test]
    fn formats_that_differ_in_bytes_have_different_keys() {
        let fixed = |audio, only| Declare::Fixed { tracks: Tracks { audio, video: true }, only };
        let all =
            [Declare::Real, fixed(true, true), fixed(true, false), fixed(false, true), fixed(false, false)];
        let mut keys: Vec<_> = all
            .iter()
            .flat_map(|&declare| {
                [Body::Chunked, Body::Bare].map(|body| FlvTags { body, declare }.key().variant)
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 10);
    }
}
