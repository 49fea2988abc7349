//! The tables that say which packets are what: program association and program map (2.4.4).

use bytes::BytesMut;

use crate::ts::{Coding, pid};

/// The one program we write.
const PROGRAM: u16 = 1;

/// The longest section of these tables, in bytes, header included (2.4.4.5, 2.4.4.9).
const MAX_SECTION: usize = 1024;

const PAT_ID: u8 = 0;
const PMT_ID: u8 = 2;

/// Which tracks a program has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) audio: Option<Coding>,
    pub(super) video: Option<Coding>,
}

impl Program {
    /// The track whose packets carry the clock; with nothing to carry yet it is where video would be.
    pub(super) fn pcr_pid(&self) -> u16 {
        self.video.or(self.audio).map_or(pid::VIDEO, Coding::pid)
    }

    fn tracks(&self) -> impl Iterator<Item = Coding> {
        self.audio.into_iter().chain(self.video)
    }
}

/// The section of a PAT with one program.
pub(super) fn pat() -> Vec<u8> {
    let mut body = PROGRAM.to_be_bytes().to_vec();
    body.extend_from_slice(&(0xe000 | pid::PMT).to_be_bytes());
    section(PAT_ID, 0, &body)
}

/// The section of a PMT.
pub(super) fn pmt(program: &Program, version: u8) -> Vec<u8> {
    let mut body = (0xe000 | program.pcr_pid()).to_be_bytes().to_vec();
    body.extend_from_slice(&0xf000u16.to_be_bytes());
    for track in program.tracks() {
        body.push(track.stream_type());
        body.extend_from_slice(&(0xe000 | track.pid()).to_be_bytes());
        body.extend_from_slice(&0xf000u16.to_be_bytes());
    }
    section(PMT_ID, version, &body)
}

/// A section with its header and checksum. Stream and program number happen to be the same, 1.
fn section(table: u8, version: u8, body: &[u8]) -> Vec<u8> {
    let len = 5 + body.len() + 4;
    let mut section = vec![table];
    section.extend_from_slice(&(0xb000 | len as u16).to_be_bytes());
    section.extend_from_slice(&PROGRAM.to_be_bytes());
    const CURRENT: u8 = 1;
    section.extend_from_slice(&[0xc0 | (version & 31) << 1 | CURRENT, 0, 0]);
    section.extend_from_slice(body);
    let checksum = crc32(&section);
    section.extend_from_slice(&checksum.to_be_bytes());
    section
}

/// The checksum of sections (annex A): over a section with its checksum it is 0.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = (byte as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(u32::MAX, |crc, &byte| crc << 8 ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)])
}

/// Puts the sections of one PID together; at most one at a time, and at most [`MAX_SECTION`] bytes.
#[derive(Debug, Default)]
pub(super) struct Sections {
    bytes: BytesMut,
}

impl Sections {
    /// Takes the payload of a packet; gives the sections that end in it.
    ///
    /// A lost packet shows itself in the checksum.
    pub(super) fn feed(&mut self, starts: bool, payload: &[u8], mut take: impl FnMut(&[u8])) {
        let mut payload = payload;
        if starts {
            // pointer_field: bytes of the section before.
            let Some((&pointer, rest)) = payload.split_first() else { return };
            let Some((before, rest)) = rest.split_at_checked(pointer.into()) else { return };
            if !self.bytes.is_empty() {
                self.bytes.extend_from_slice(before);
                self.cut(&mut take);
            }
            self.bytes.clear();
            payload = rest;
        } else if self.bytes.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(payload);
        self.cut(&mut take);
    }

    fn cut(&mut self, take: &mut impl FnMut(&[u8])) {
        const STUFFING: u8 = 0xff;
        while let Some(&[table, high, low]) = self.bytes.first_chunk() {
            let len = 3 + usize::from(u16::from_be_bytes([high & 15, low]));
            if table == STUFFING || len > MAX_SECTION {
                return self.bytes.clear();
            }
            if self.bytes.len() < len {
                return;
            }
            let section = self.bytes.split_to(len);
            if crc32(&section) == 0 {
                take(&section);
            }
        }
    }
}

/// What stands between the header of a section that is in force and its checksum.
fn body(section: &[u8], table: u8) -> Option<&[u8]> {
    let (&[id, _, _, _, _, version, ..], rest) = section.split_first_chunk::<8>()?;
    let current = version & 1 == 1;
    let body = rest.split_last_chunk::<4>()?.0;
    (id == table && current).then_some(body)
}

/// PID of the PMT of the first program in a PAT.
pub(super) fn read_pat(section: &[u8]) -> Option<u16> {
    let programs = body(section, PAT_ID)?;
    programs.chunks_exact(4).find_map(|entry| {
        let program = u16::from_be_bytes([entry[0], entry[1]]);
        // Program 0 is where the network describes itself.
        (program != 0).then(|| u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
    })
}

/// `stream_type` and PID of each track in a PMT.
pub(super) fn read_pmt(section: &[u8]) -> Option<Vec<(u8, u16)>> {
    let mut rest = body(section, PMT_ID)?;
    let mut tracks = Vec::new();
    let (&[_, _, high, low], after) = rest.split_first_chunk()?;
    let descriptors = usize::from(u16::from_be_bytes([high & 15, low]));
    rest = after.get(descriptors..)?;
    while let Some((&[stream_type, pid_high, pid_low, high, low], after)) = rest.split_first_chunk() {
        tracks.push((stream_type, u16::from_be_bytes([pid_high & 0x1f, pid_low])));
        let descriptors = usize::from(u16::from_be_bytes([high & 15, low]));
        rest = after.get(descriptors..)?;
    }
    Some(tracks)
}
