//! The wire formats viewers can be given: how a frame looks on each of them.
//!
//! This is where the hub's frames meet the protocols. Each format writes a frame once per stream; what it
//! writes is the same for every viewer.

use bytes::{BufMut, Bytes, BytesMut};
use mill_hub::{FormatKey, Tracks, WireFormat};
use mill_media::flv::mux;
use mill_media::frame::{Frame, FrameKind};
use mill_rtmp::chunk::writer;

/// RTMP messages in chunks of one size, on fixed chunk streams and message stream 1.
#[derive(Debug)]
pub(crate) struct RtmpChunks {
    pub(crate) chunk_size: usize,
}

/// The time a frame carries on the wire, in milliseconds modulo 2^32. Metadata always says zero: ffmpeg takes
/// script data with a time for a subtitle track.
fn timestamp(frame: &Frame) -> u32 {
    if frame.kind == FrameKind::Metadata { 0 } else { frame.dts as u32 }
}

/// The message stream every player is given by `createStream`.
const PLAY_STREAM: u32 = 1;

impl WireFormat for RtmpChunks {
    fn key(&self) -> FormatKey {
        FormatKey { name: "rtmp", variant: self.chunk_size as u32 }
    }

    fn write(&self, frame: &Frame, out: &mut BytesMut) {
        let message_type = frame.kind.tag_type();
        writer::write_message(
            out,
            writer::media_chunk_stream(message_type),
            message_type,
            PLAY_STREAM,
            timestamp(frame),
            &frame.payload,
            self.chunk_size,
        );
    }
}

/// Which tracks the header of an FLV file declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declare {
    /// Those the stream has.
    Real,
    /// Those the configuration names (`guess_has_av off`); `only` also leaves frames of others out.
    Fixed { tracks: Tracks, only: bool },
}

/// FLV tags, as the body of an HTTP response: bare (HTTP/1.0) or each in a chunk of its own (HTTP/1.1).
#[derive(Debug)]
pub(crate) struct FlvTags {
    pub(crate) chunked: bool,
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

    /// Begins an HTTP chunk of `len` bytes (RFC 9112, 7.1).
    fn open_chunk(&self, len: usize, out: &mut BytesMut) {
        if self.chunked {
            out.put_slice(format!("{len:x}\r\n").as_bytes());
        }
    }

    fn close_chunk(&self, out: &mut BytesMut) {
        if self.chunked {
            out.put_slice(b"\r\n");
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
        FormatKey { name: "flv", variant: declare << 1 | u32::from(self.chunked) }
    }

    fn write(&self, frame: &Frame, out: &mut BytesMut) {
        if !self.carries(frame) {
            return;
        }
        let body = frame.payload.len();
        let tail = mux::previous_tag_size(body);
        let head = mux::tag_header(frame.kind.tag_type(), body, timestamp(frame));
        self.open_chunk(head.len() + body + tail.len(), out);
        out.put_slice(&head);
        out.put_slice(&frame.payload);
        out.put_slice(&tail);
        self.close_chunk(out);
    }

    fn preamble(&self, tracks: Tracks, out: &mut BytesMut) {
        let tracks = match self.declare {
            Declare::Real => tracks,
            Declare::Fixed { tracks, .. } => tracks,
        };
        let header = mux::file_header(tracks.audio, tracks.video);
        self.open_chunk(header.len(), out);
        out.put_slice(&header);
        self.close_chunk(out);
    }

    fn finish(&self) -> Option<Bytes> {
        Some(if self.chunked { Bytes::from_static(b"0\r\n\r\n") } else { Bytes::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: FrameKind) -> Frame {
        Frame { kind, dts: 0x0102_0304, payload: Bytes::from_static(&[0x17, 1, 0, 0, 0, 9]) }
    }

    #[test]
    fn a_tag_is_one_http_chunk() {
        let format = FlvTags { chunked: true, declare: Declare::Real };
        let mut out = BytesMut::new();
        format.preamble(Tracks { audio: true, video: true }, &mut out);
        assert_eq!(&out[..], b"d\r\nFLV\x01\x05\0\0\0\x09\0\0\0\0\r\n");
        out.clear();
        format.write(&frame(FrameKind::Keyframe), &mut out);
        // Chunk of 21 bytes: tag header (type, size, time with its high byte last, stream id), body, size.
        let mut expected = b"15\r\n\x09\0\0\x06\x02\x03\x04\x01\0\0\0".to_vec();
        expected.extend_from_slice(&[0x17, 1, 0, 0, 0, 9, 0, 0, 0, 17]);
        expected.extend_from_slice(b"\r\n");
        assert_eq!(&out[..], expected);
    }

    #[test]
    fn metadata_has_no_time() {
        let mut out = BytesMut::new();
        FlvTags { chunked: false, declare: Declare::Real }.write(&frame(FrameKind::Metadata), &mut out);
        assert_eq!(out[4..8], [0; 4]);
    }

    #[test]
    fn declared_tracks_decide_what_is_carried() {
        let tracks = Tracks { audio: false, video: true };
        let format = FlvTags { chunked: false, declare: Declare::Fixed { tracks, only: true } };
        let mut out = BytesMut::new();
        format.write(&frame(FrameKind::Audio), &mut out);
        assert!(out.is_empty());
        format.write(&frame(FrameKind::Metadata), &mut out);
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
            .flat_map(|&declare| [true, false].map(|chunked| FlvTags { chunked, declare }.key().variant))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 10);
    }

    #[test]
    fn an_rtmp_message_is_a_complete_type_0_chunk() {
        let mut out = BytesMut::new();
        RtmpChunks { chunk_size: 60000 }.write(&frame(FrameKind::Keyframe), &mut out);
        assert_eq!(out[0], 6, "video travels on chunk stream 6, format 0");
        assert_eq!(&out[8..12], [1, 0, 0, 0], "message stream 1, little endian");
    }
}
