//! An RTP packet (RFC 3550, 5.1).

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 12;

/// One packet. What stands between its header and its payload (contributing sources, extensions) is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// For pictures: the last packet of one. For sound: it follows silence, or a fragment ends.
    pub marker: bool,
    /// Which format of the session description, 0 to 127.
    pub payload_type: u8,
    /// Counts packets; wraps.
    pub sequence: u16,
    /// In ticks of the format's clock; wraps, and begins anywhere.
    pub timestamp: u32,
    /// The source the numbers belong to.
    pub ssrc: u32,
    /// The coded media in the form of its payload format.
    pub payload: Bytes,
}

/// Bytes that are no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RTP packet")]
pub struct Malformed;

impl Packet {
    /// Reads a whole packet: one datagram, or one interleaved block.
    ///
    /// # Errors
    /// If it is of another version, or shorter than its own lengths.
    pub fn parse(mut bytes: Bytes) -> Result<Self, Malformed> {
        let &[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] =
            bytes.first_chunk::<HEADER_LEN>().ok_or(Malformed)?;
        if first >> 6 != 2 {
            return Err(Malformed);
        }
        let (padded, extended, sources) = (first & 0x20 != 0, first & 0x10 != 0, usize::from(first & 15));
        let mut start = HEADER_LEN + 4 * sources;
        if extended {
            let &[_, _, l0, l1] = bytes.get(start..).and_then(<[u8]>::first_chunk).ok_or(Malformed)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
        }
        let padding = if padded { usize::from(bytes[bytes.len() - 1]) } else { 0 };
        if start + padding > bytes.len() || padded && padding == 0 {
            return Err(Malformed);
        }
        bytes.truncate(bytes.len() - padding);
        let mut payload = bytes.split_off(start);
        if payload.len() < start + padding {
            // What is left out must not wait beside so little.
            payload = Bytes::copy_from_slice(&payload);
        }
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload,
        })
    }

    /// Appends the packet to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(HEADER_LEN + self.payload.len());
        out.put_u8(0x80);
        out.put_u8(u8::from(self.marker) << 7 | self.payload_type & 0x7f);
        out.put_u16(self.sequence);
        out.put_u32(self.timestamp);
        out.put_u32(self.ssrc);
        out.put_slice(&self.payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_stands_before_and_behind_the_payload_is_left_out() {
        // Two contributing sources, an extension of one word, three bytes of padding.
        let bytes = b"\xb2\xe0\x12\x34\0\0\0\x05\0\0\0\x07srcAsrcB\xbe\xde\0\x01extnmedia\0\0\x03";
        let packet = Packet::parse(Bytes::from_static(bytes)).unwrap();
        let expected = Packet {
            marker: true,
            payload_type: 96,
            sequence: 0x1234,
            timestamp: 5,
            ssrc: 7,
            payload: Bytes::from_static(b"media"),
        };
        assert_eq!(packet, expected);
    }

    #[test]
    fn what_is_left_out_is_not_kept() {
        let bytes = [&b"\x90\x60\0\0\0\0\0\0\0\0\0\0\xbe\xde\x3c\0"[..], &[0; 4 * 0x3c00], b"media"].concat();
        let bytes = Bytes::from(bytes);
        let packet = Packet::parse(bytes.clone()).unwrap();
        assert_eq!(&packet.payload[..], b"media");
        assert!(bytes.is_unique());
    }

    #[test]
    fn lengths_that_lead_nowhere() {
        for bytes in [
            &b"\x80\x60\0\0\0\0\0\0\0\0\0"[..],
            b"\x40\x60\0\0\0\0\0\0\0\0\0\0",
            b"\x81\x60\0\0\0\0\0\0\0\0\0\0",
            b"\x90\x60\0\0\0\0\0\0\0\0\0\0\xbe\xde\0\x01",
            b"\xa0\x60\0\0\0\0\0\0\0\0\0\0ab\x04",
            b"\xa0\x60\0\0\0\0\0\0\0\0\0\0ab\0",
        ] {
            assert_eq!(Packet::parse(Bytes::from_static(bytes)), Err(Malformed));
        }
    }

    proptest! {
        #[test]
        fn another_reader_sees_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..64), version in any::<bool>()) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut().filter(|_| version) {
                *first = *first & 0x3f | 0x80;
            }
            let ours = Packet::parse(bytes.clone().into());
            match rtp_types::RtpPacket::parse(&bytes) {
                Ok(theirs) => {
                    let ours = ours.unwrap();
                    prop_assert_eq!(ours.sequence, theirs.sequence_number());
                    prop_assert_eq!(ours.timestamp, theirs.timestamp());
                    prop_assert_eq!(ours.ssrc, theirs.ssrc());
                    prop_assert_eq!(ours.marker, theirs.marker_bit());
                    prop_assert_eq!(ours.payload_type, theirs.payload_type());
                    prop_assert_eq!(&ours.payload[..], theirs.payload());
                }
                Err(_) => prop_assert!(ours.is_err()),
            }
        }

        #[test]
        fn what_is_written_is_read(
            marker in any::<bool>(), payload_type in 0u8..128, sequence in any::<u16>(),
            timestamp in any::<u32>(), ssrc in any::<u32>(), payload in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let packet = Packet { marker, payload_type, sequence, timestamp, ssrc, payload: payload.into() };
            let mut out = BytesMut::new();
            packet.write(&mut out);
            prop_assert_eq!(Packet::parse(out.freeze()), Ok(packet));
        }
    }
}
