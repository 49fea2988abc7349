//! PES packets: one frame with its times (2.4.3.6, 2.4.3.7).

use crate::time::Ticks;
use crate::ts::packet::STAMP_MASK;

/// Bytes before the optional header: start code, stream id, length.
const FIXED_LEN: usize = 6;

/// Begins a PES packet; [`finish`] puts its length in.
pub(super) fn write_header(out: &mut Vec<u8>, stream_id: u8, pts: Ticks, dts: Ticks) {
    const PTS_ONLY: u8 = 2;
    const PTS_AND_DTS: u8 = 3;
    // '10', not scrambled, and a frame begins right behind the header.
    const FLAGS: u8 = 0x84;
    out.extend_from_slice(&[0, 0, 1, stream_id, 0, 0, FLAGS]);
    if pts == dts {
        out.extend_from_slice(&[PTS_ONLY << 6, 5]);
        out.extend_from_slice(&stamp(PTS_ONLY, pts));
    } else {
        out.extend_from_slice(&[PTS_AND_DTS << 6, 10]);
        out.extend_from_slice(&stamp(PTS_AND_DTS, pts));
        out.extend_from_slice(&stamp(1, dts));
    }
}

/// Puts the length into a PES packet that begins `pes` and is complete. Too long for the field is 0, "until the
/// next begins", which only video may say.
pub(super) fn finish(pes: &mut [u8]) {
    let len = u16::try_from(pes.len().saturating_sub(FIXED_LEN)).unwrap_or(0);
    if let Some(field) = pes.get_mut(4..FIXED_LEN) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// A time stamp: four bits of prefix, then 3, 15 and 15 bits, each group behind it a marker.
fn stamp(prefix: u8, time: Ticks) -> [u8; 5] {
    let time = time as u64 & STAMP_MASK;
    let [a, b] = ((time >> 15 << 1) as u16 | 1).to_be_bytes();
    let [c, d] = ((time << 1) as u16 | 1).to_be_bytes();
    [prefix << 4 | (time >> 30 << 1) as u8 | 1, a, b, c, d]
}

/// Bytes of the whole PES packet that begins here, once its header is there; `None` too if it does not say.
pub(super) fn announced_len(pes: &[u8]) -> Option<usize> {
    let &[_, _, _, _, high, low] = pes.first_chunk::<FIXED_LEN>()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    (len > 0).then_some(FIXED_LEN + len)
}

/// A PES packet taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pes<'a> {
    /// 33 bits.
    pub(super) pts: Option<u64>,
    /// 33 bits; only where it differs from the PTS.
    pub(super) dts: Option<u64>,
    pub(super) payload: &'a [u8],
}

impl<'a> Pes<'a> {
    /// Takes a PES packet of picture or sound apart; `None` if it is none.
    pub(super) fn parse(pes: &'a [u8]) -> Option<Self> {
        let (&[0, 0, 1, _, _, _, marker, flags, len], rest) = pes.split_first_chunk::<9>()? else {
            return None;
        };
        let (header, payload) = rest.split_at_checked(len.into())?;
        if marker & 0xc0 != 0x80 {
            return None;
        }
        let pts = header.first_chunk().filter(|_| flags & 0x80 != 0);
        let dts = header.get(5..).and_then(<[u8]>::first_chunk).filter(|_| flags & 0xc0 == 0xc0);
        let read = |stamp: Option<&[u8; 5]>| stamp.map(read_stamp);
        // A stamp whose markers are wrong is none at all: the header is damaged.
        match (read(pts), read(dts)) {
            (Some(None), _) | (_, Some(None)) => None,
            (pts, dts) => Some(Self { pts: pts.flatten(), dts: dts.flatten(), payload }),
        }
    }
}

fn read_stamp(&[a, b, c, d, e]: &[u8; 5]) -> Option<u64> {
    let markers = a & c & e & 1 == 1;
    let time = u64::from(a >> 1 & 7) << 30
        | u64::from(u16::from_be_bytes([b, c]) >> 1) << 15
        | u64::from(u16::from_be_bytes([d, e]) >> 1);
    markers.then_some(time)
}
