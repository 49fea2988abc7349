//! MPEG-TS over HTTP.
//!
//! Tables and parameter sets stand in the log, before each keyframe, so a newcomer needs nothing of its own; one
//! that starts between two frames gets the tables as they last stood. Counters are the log's: all viewers have
//! the same bytes.

use bytes::{Bytes, BytesMut};
use mill_hub::{Barren, FormatKey, WireFormat, Writer};
use mill_media::frame::Frame;
use mill_media::ts::PACKET_LEN;
use mill_media::ts::mux::Muxer;
use tracing::warn;

use super::{Body, Patience};

/// Transport packets, those of each frame in one chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TsPackets {
    pub(crate) body: Body,
}

impl WireFormat for TsPackets {
    fn key(&self) -> FormatKey {
        FormatKey { name: "ts", variant: self.body.variant() }
    }

    fn writer(&self) -> Box<dyn Writer> {
        Box::new(TsWriter { body: self.body, muxer: Muxer::new(), patience: Patience::default() })
    }

    fn finish(&self) -> Option<Bytes> {
        Some(self.body.end())
    }
}

struct TsWriter {
    body: Body,
    muxer: Muxer,
    patience: Patience,
}

impl Writer for TsWriter {
    fn room(&self, payload: usize) -> usize {
        // Tables, clock, the headers of a frame and its last packet's stuffing; then four bytes in each packet.
        6 * PACKET_LEN + payload + payload / 32
    }

    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Barren> {
        let before = out.len();
        if let Err(unfit) = self.body.wrap(out, |out| self.muxer.write(frame, out)) {
            warn!("left out of .ts: {unfit}");
        }
        if self.muxer.is_hopeless() {
            return Err(Barren);
        }
        self.patience.note(frame, out.len() > before)
    }

    fn open(&mut self, log: &mut BytesMut) -> bool {
        self.body.wrap(log, |log| self.muxer.write_tables(log));
        true
    }

    fn headers(&mut self, _: &mut dyn Iterator<Item = Frame>, out: &mut BytesMut) {
        self.body.wrap(out, |out| self.muxer.repeat_tables(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mill_media::frame::{FrameKind, Millis};

    fn frame(kind: FrameKind, dts: Millis, payload: &'static [u8]) -> Frame {
        Frame { kind, dts, payload: Bytes::from_static(payload) }
    }

    const AVC: &[u8] =
        b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x05\x67\x42\xc0\x1e\xda\x01\0\x04\x68\xce\x0f\xc8";

    #[test]
    fn a_frame_is_one_chunk_of_whole_packets() {
        let mut writer = TsPackets { body: Body::Chunked }.writer();
        let mut out = BytesMut::new();
        writer.write(&frame(FrameKind::VideoHeader, 0, AVC), &mut out).unwrap();
        assert!(out.is_empty(), "a chunk of nothing would end the response");
        assert!(writer.open(&mut out));
        assert_eq!(out.len(), 10 + 2 * PACKET_LEN + 2);
        let key = frame(FrameKind::Keyframe, 0, b"\x17\x01\0\0\0\0\0\0\x02\x65a");
        writer.write(&key, &mut out).unwrap();
        assert_eq!(out.len(), 10 + 2 * PACKET_LEN + 2 + 10 + PACKET_LEN + 2);
        let mut own = BytesMut::new();
        writer.headers(&mut std::iter::empty(), &mut own);
        assert_eq!(own, out[..10 + 2 * PACKET_LEN + 2]);
    }

    #[test]
    fn nothing_that_can_be_carried() {
        let mut writer = TsPackets { body: Body::Bare }.writer();
        let mut out = BytesMut::new();
        let mut write = |kind, dts, payload| writer.write(&frame(kind, dts, payload), &mut out);
        assert_eq!(write(FrameKind::Keyframe, 0, b"\x91av01pictures"), Ok(()));
        assert_eq!(write(FrameKind::Keyframe, 10_001, b"\x91av01pictures"), Err(Barren));
        assert_eq!(write(FrameKind::Keyframe, 20_000, b"\x91av01pictures"), Err(Barren));
        assert_eq!(write(FrameKind::Audio, 20_000, b"\x2f\xff\xfb\x90\x64mp3"), Ok(()), "but sound");
    }
}
