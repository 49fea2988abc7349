//! RTMP messages.

use bytes::BytesMut;
use mill_hub::{Barren, FormatKey, WireFormat, Writer};
use mill_media::frame::Frame;
use mill_rtmp::chunk::writer;

use super::timestamp;

/// RTMP messages in chunks of one size, on fixed chunk streams and message stream 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RtmpChunks {
    pub(crate) chunk_size: usize,
}

/// The message stream every player is given by `createStream`.
const PLAY_STREAM: u32 = 1;

impl WireFormat for RtmpChunks {
    fn key(&self) -> FormatKey {
        FormatKey { name: "rtmp", variant: self.chunk_size as u32 }
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(*self)
    }
}

impl Writer for RtmpChunks {
    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::frame;
    use mill_media::frame::FrameKind;

    #[test]
    fn an_rtmp_message_is_a_complete_type_0_chunk() {
        let mut out = BytesMut::new();
        RtmpChunks { chunk_size: 60000 }.write(&frame(FrameKind::Keyframe), &mut out).unwrap();
        assert_eq!(out[0], 6, "video travels on chunk stream 6, format 0");
        assert_eq!(&out[8..12], [1, 0, 0, 0], "message stream 1, little endian");
    }
}
