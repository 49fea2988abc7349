//! Transport packets (2.4.3.2 to 2.4.3.5).

use bytes::{BufMut, BytesMut};

use crate::time::Ticks;

/// Bytes of a packet.
pub const LEN: usize = 188;

/// The first byte of each packet.
pub(super) const SYNC: u8 = 0x47;

/// Bytes before adaptation field and payload.
const HEADER_LEN: usize = 4;

/// The 33 bits of a time stamp.
pub(super) const STAMP_MASK: u64 = (1 << 33) - 1;

/// `continuity_counter` of one PID: four bits that count packets with payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter(u8);

impl Counter {
    /// Before the first packet, which has 0.
    pub(super) const fn new() -> Self {
        Self(15)
    }

    fn next(&mut self) -> u8 {
        self.0 = (self.0 + 1) & 15;
        self.0
    }
}

/// What an adaptation field says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Adaptation {
    /// Time or counter do not go on from before.
    pub(super) discontinuity: bool,
    /// Decoding can start with the unit that begins here.
    pub(super) random_access: bool,
    /// The program's clock.
    pub(super) pcr: Option<Ticks>,
}

impl Adaptation {
    const PCR_LEN: usize = 6;

    /// Bytes of the field without stuffing, its length included; 0 if it has nothing to say.
    fn len(&self) -> usize {
        match self {
            Self { pcr: Some(_), .. } => 2 + Self::PCR_LEN,
            Self { discontinuity: false, random_access: false, .. } => 0,
            _ => 2,
        }
    }

    /// Appends a field of `len` bytes in all, filled up with stuffing.
    fn write(&self, len: usize, out: &mut BytesMut) {
        out.put_u8((len - 1) as u8);
        // A field of one byte is only its length, which is then 0.
        if len == 1 {
            return;
        }
        let flag = |set: bool, bit: u8| u8::from(set) << bit;
        out.put_u8(flag(self.discontinuity, 7) | flag(self.random_access, 6) | flag(self.pcr.is_some(), 4));
        let mut used = 2;
        if let Some(pcr) = self.pcr {
            // 33 bits of 90 kHz, six reserved ones, nine of 27 MHz.
            let base = pcr as u64 & STAMP_MASK;
            out.put_uint(base << 15 | 0x7e00, Self::PCR_LEN);
            used += Self::PCR_LEN;
        }
        out.put_bytes(0xff, len - used);
    }
}

fn write_header(out: &mut BytesMut, pid: u16, starts: bool, control: u8, counter: u8) {
    out.put_u8(SYNC);
    out.put_u16(u16::from(starts) << 14 | pid);
    out.put_u8(control << 4 | counter);
}

const ADAPTATION_ONLY: u8 = 2;
const PAYLOAD_ONLY: u8 = 1;
const BOTH: u8 = 3;

/// Appends the packets of one PES packet, which is not empty; `first` goes with the first of them. The last is
/// filled up.
pub(super) fn write_payload(
    out: &mut BytesMut,
    pid: u16,
    counter: &mut Counter,
    first: Adaptation,
    mut data: &[u8],
) {
    let mut adaptation = first;
    let mut starts = true;
    while !data.is_empty() {
        let room = LEN - HEADER_LEN;
        let len = adaptation.len().max(room.saturating_sub(data.len()));
        write_header(out, pid, starts, if len == 0 { PAYLOAD_ONLY } else { BOTH }, counter.next());
        if len > 0 {
            adaptation.write(len, out);
        }
        let (now, later) = data.split_at(data.len().min(room - len));
        out.put_slice(now);
        (data, starts, adaptation) = (later, false, Adaptation::default());
    }
}

/// Appends one packet without payload.
pub(super) fn write_adaptation(out: &mut BytesMut, pid: u16, counter: &Counter, adaptation: Adaptation) {
    write_header(out, pid, false, ADAPTATION_ONLY, counter.0);
    adaptation.write(LEN - HEADER_LEN, out);
}

/// Appends one packet with a whole section (2.4.4), which has to fit.
pub(super) fn write_section(out: &mut BytesMut, pid: u16, counter: u8, section: &[u8]) {
    write_header(out, pid, true, PAYLOAD_ONLY, counter);
    out.put_u8(0); // pointer_field
    out.put_slice(section);
    out.put_bytes(0xff, LEN - HEADER_LEN - 1 - section.len());
}

impl Counter {
    /// The next number, for a packet written by [`write_section`].
    pub(super) fn advance(&mut self) -> u8 {
        self.next()
    }

    /// The number of the last packet.
    pub(super) fn last(self) -> u8 {
        self.0
    }
}

/// A packet taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) pid: u16,
    /// A PES packet or section begins in the payload.
    pub(super) starts: bool,
    pub(super) scrambled: bool,
    pub(super) counter: u8,
    pub(super) adaptation: Adaptation,
    /// `None` for a packet that has none by its header; the counter does not count it.
    pub(super) payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// Takes a packet apart. `None` if it contradicts itself or is marked as damaged.
    pub(super) fn parse(bytes: &'a [u8; LEN]) -> Option<Self> {
        let [sync, high, low, flags, rest @ ..] = bytes;
        let damaged = high & 0x80 != 0;
        if *sync != SYNC || damaged {
            return None;
        }
        let mut packet = Self {
            pid: u16::from_be_bytes([high & 0x1f, *low]),
            starts: high & 0x40 != 0,
            scrambled: flags & 0xc0 != 0,
            counter: flags & 15,
            adaptation: Adaptation::default(),
            payload: None,
        };
        let mut rest = &rest[..];
        let control = flags >> 4 & 3;
        if control & ADAPTATION_ONLY != 0 {
            let (&len, after) = rest.split_first()?;
            let (field, after) = after.split_at_checked(len.into())?;
            packet.adaptation = read_adaptation(field);
            rest = after;
        }
        if control & PAYLOAD_ONLY != 0 {
            packet.payload = Some(rest);
        }
        Some(packet)
    }
}

/// Reads an adaptation field behind its length.
fn read_adaptation(field: &[u8]) -> Adaptation {
    let Some((&flags, rest)) = field.split_first() else { return Adaptation::default() };
    let pcr = rest
        .first_chunk()
        .filter(|_| flags & 0x10 != 0)
        .map(|&[a, b, c, d, e, _]| Ticks::from(u32::from_be_bytes([a, b, c, d])) << 1 | Ticks::from(e >> 7));
    Adaptation { discontinuity: flags & 0x80 != 0, random_access: flags & 0x40 != 0, pcr }
}
