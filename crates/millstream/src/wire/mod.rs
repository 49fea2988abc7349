//! The wire formats viewers can be given: how a frame looks on each of them.
//!
//! This is where the hub's frames meet the protocols. Each format writes a frame once per stream; what it
//! writes is the same for every viewer. The HTTP formats end their viewers' responses with the publish, and
//! before that when the stream has nothing for them ([`Patience`]).

mod flv;
mod rtmp;
mod sound;
mod ts;

use bytes::{BufMut, Bytes, BytesMut};
use mill_hub::Barren;
use mill_media::frame::{Frame, FrameKind, Millis};

pub(crate) use flv::{Declare, FlvTags};
pub(crate) use rtmp::RtmpChunks;
pub(crate) use sound::{SoundCodec, SoundFrames};
pub(crate) use ts::TsPackets;

/// The time a frame carries on the wire, in milliseconds modulo 2^32. Metadata always says zero: ffmpeg takes
/// script data with a time for a subtitle track.
fn timestamp(frame: &Frame) -> u32 {
    if frame.kind == FrameKind::Metadata { 0 } else { frame.dts as u32 }
}

/// How the body of an endless HTTP response is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// In chunks (HTTP/1.1; RFC 9112, 7.1), one for each frame.
    Chunked,
    /// As it is, to the end of the connection (HTTP/1.0).
    Bare,
}

impl Body {
    /// Distinguishes formats that differ in this only.
    fn variant(self) -> u32 {
        u32::from(self == Self::Chunked)
    }

    /// Begins a chunk of `len` bytes.
    fn open(self, len: usize, out: &mut BytesMut) {
        if self == Self::Chunked {
            out.put_slice(format!("{len:x}\r\n").as_bytes());
        }
    }

    fn close(self, out: &mut BytesMut) {
        if self == Self::Chunked {
            out.put_slice(b"\r\n");
        }
    }

    /// Appends a whole chunk.
    fn put(self, data: &[u8], out: &mut BytesMut) {
        self.open(data.len(), out);
        out.put_slice(data);
        self.close(out);
    }

    /// Appends what `write` writes as one chunk, if it is anything; less than 4 GiB.
    fn wrap<T>(self, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        if self == Self::Bare {
            return write(out);
        }
        // Only afterwards it is known how much it was: room for the size, with zeros in front.
        const SIZE: usize = 8;
        let start = out.len();
        out.put_slice(b"00000000\r\n");
        let written = write(out);
        let len = out.len() - start - SIZE - 2;
        if len == 0 {
            out.truncate(start);
        } else {
            out[start..start + SIZE].copy_from_slice(format!("{:08x}", len as u32).as_bytes());
            self.close(out);
        }
        written
    }

    /// What comes last.
    fn end(self) -> Bytes {
        Bytes::from_static(if self == Self::Chunked { b"0\r\n\r\n" } else { b"" })
    }
}

/// How long viewers stay with a stream that has nothing their format carries.
#[derive(Debug, Default)]
struct Patience {
    since: Option<Millis>,
}

impl Patience {
    /// Time of the stream, in milliseconds. Encoders that begin with one track only have the other soon.
    const LONGEST: Millis = 10_000;

    /// Takes note of a frame, and whether it was `carried`.
    fn note(&mut self, frame: &Frame, carried: bool) -> Result<(), Barren> {
        if frame.kind.is_header() {
            return Ok(());
        }
        let since = *self.since.get_or_insert(frame.dts);
        // A jump of the timeline begins anew.
        if carried || frame.dts < since {
            self.since = Some(frame.dts);
            return Ok(());
        }
        if frame.dts - since > Self::LONGEST { Err(Barren) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn frame(kind: FrameKind) -> Frame {
        Frame { kind, dts: 0x0102_0304, payload: Bytes::from_static(&[0x17, 1, 0, 0, 0, 9]) }
    }

    #[test]
    fn chunks_of_a_size_not_known_before() {
        let mut out = BytesMut::from("x");
        Body::Chunked.wrap(&mut out, |out| out.put_bytes(b'a', 0x1f));
        assert_eq!(out, format!("x0000001f\r\n{}\r\n", "a".repeat(0x1f)));
        Body::Chunked.wrap(&mut out, |_| ());
        assert_eq!(out.len(), 1 + 10 + 0x1f + 2, "an empty chunk would be the last");
        out.clear();
        Body::Bare.wrap(&mut out, |out| out.put_slice(b"abc"));
        assert_eq!(&out[..], b"abc");
    }

    #[test]
    fn patience_ends_and_begins_anew() {
        let mut patience = Patience::default();
        let mut note =
            |dts, carried| patience.note(&Frame { dts, ..frame(FrameKind::Video) }, carried).is_ok();
        assert!(note(5000, false) && note(15_000, false) && !note(15_001, false) && !note(16_000, false));
        assert!(note(17_000, true) && note(27_000, false) && !note(27_001, false));
        assert!(note(0, false) && note(10_000, false) && !note(10_001, false));
    }
}
