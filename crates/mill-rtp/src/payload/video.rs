//! H.264 (RFC 6184) and H.265 (RFC 7798): NAL units in packets, put together to access units.
//!
//! An access unit ends with the packet that is marked, or where the timestamp changes. Parameter sets that come in
//! packets of their own, marked or with an earlier timestamp, wait for the picture they belong to.
//!
//! **After a loss** the access unit that lacks something is left out, and then all that cannot be decoded without
//! what is missing: up to the next IDR, IRAP or SPS. A stream that has none, because it refreshes its pictures piece
//! by piece, goes on after [`PATIENCE`] seconds.
//!
//! Bounded: an access unit by [`MAX_UNIT`] and [`MAX_NAL_UNITS`].

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use mill_media::nal::{Family, Kind};

use super::{Coding, Content, Form, MAX_NAL_UNITS, MAX_UNIT, Unit, Unsupported};
use crate::packet::Packet;
use crate::sdp::Media;

/// How long a keyframe is waited for, in seconds of the stream.
const PATIENCE: u32 = 10;

/// What a packet of H.264 holds, by the type in its first byte (RFC 6184, 5.2).
mod avc_type {
    pub(super) const STAP_A: u8 = 24;
    pub(super) const FU_A: u8 = 28;
}

/// What a packet of H.265 holds, by the type in its first byte (RFC 7798, 4.4).
mod hevc_type {
    pub(super) const AP: u8 = 48;
    pub(super) const FU: u8 = 49;
}

pub(super) fn avc(media: &Media) -> Result<(Coding, Form), Unsupported> {
    if media.parameter("packetization-mode").is_some_and(|mode| mode == "2") {
        return Err(Unsupported::Form { format: "H.264", what: "interleaved (packetization mode 2)" });
    }
    let sets = sets(media, &["sprop-parameter-sets"]);
    Ok((Coding::Video(Family::Avc, sets), Form::Video(Assembler::new(Family::Avc, media.clock_rate))))
}

pub(super) fn hevc(media: &Media) -> Result<(Coding, Form), Unsupported> {
    let numbered = |name| media.parameter(name).is_some_and(|value| value != "0");
    if numbered("sprop-max-don-diff") || numbered("sprop-depack-buf-nalus") {
        return Err(Unsupported::Form { format: "H.265", what: "with decoding order numbers" });
    }
    let sets = sets(media, &["sprop-vps", "sprop-sps", "sprop-pps"]);
    Ok((Coding::Video(Family::Hevc, sets), Form::Video(Assembler::new(Family::Hevc, media.clock_rate))))
}

/// Parameter sets of a description. What cannot be read is left out: most senders repeat them in band.
fn sets(media: &Media, names: &[&str]) -> Vec<Bytes> {
    let values = names.iter().filter_map(|name| media.parameter(name));
    let sets = values.flat_map(|value| value.split(',')).filter_map(|set| {
        let set = set.trim().trim_end_matches('=');
        STANDARD_NO_PAD.decode(set).ok()
    });
    let sets = sets.map(|set| without_start_code(set.into()));
    sets.filter(|set| !set.is_empty()).take(16).collect()
}

/// A unit without the start code that some encoders leave before it.
fn without_start_code(mut unit: Bytes) -> Bytes {
    let zeros = unit.iter().take_while(|&&byte| byte == 0).count();
    if zeros >= 2 && unit.get(zeros) == Some(&1) {
        unit.advance(zeros + 1);
    }
    unit
}

/// Puts access units together.
#[derive(Debug)]
pub(super) struct Assembler {
    family: Family,
    /// In ticks.
    patience: i32,
    timestamp: u32,
    units: Vec<Bytes>,
    len: usize,
    /// The unit that comes in pieces, from its header on; empty between two.
    fragment: BytesMut,
    /// Whether there is a slice among the units.
    picture: bool,
    /// Something of this access unit is missing.
    damaged: bool,
    /// Packets before the first slice of this access unit are missing.
    torn: bool,
    /// Nothing can be decoded until a keyframe comes; with the time it began, once that is known.
    lost: Option<Option<u32>>,
    skipped: u64,
}

impl Assembler {
    fn new(family: Family, clock_rate: u32) -> Self {
        Self {
            family,
            patience: i32::try_from(clock_rate.saturating_mul(PATIENCE)).unwrap_or(i32::MAX),
            timestamp: 0,
            units: Vec::new(),
            len: 0,
            fragment: BytesMut::new(),
            picture: false,
            damaged: false,
            torn: false,
            lost: Some(None),
            skipped: 0,
        }
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(super) fn push(&mut self, packet: &Packet, after_loss: bool, out: &mut VecDeque<Unit>) {
        if after_loss {
            // The rest of what was begun is missing; so is, perhaps, the beginning of what comes now.
            self.damaged |= self.picture || !self.fragment.is_empty();
            self.fragment.clear();
            self.lost.get_or_insert(None);
        }
        if packet.timestamp != self.timestamp {
            self.finish(out);
            self.timestamp = packet.timestamp;
        }
        self.torn |= after_loss && !self.picture;
        let taken = match self.family {
            Family::Avc => self.take_avc(packet.payload.clone()),
            Family::Hevc => self.take_hevc(packet.payload.clone()),
        };
        self.damaged |= taken.is_none();
        if packet.marker && (self.picture || self.damaged) {
            self.finish(out);
        }
    }

    /// A packet of H.264; `None` if it is not what it says it is.
    fn take_avc(&mut self, mut payload: Bytes) -> Option<()> {
        let &first = payload.first()?;
        match first & 31 {
            avc_type::STAP_A => {
                payload.advance(1);
                self.take_aggregate(payload)
            }
            avc_type::FU_A => {
                let &[_, head] = payload.first_chunk()?;
                payload.advance(2);
                let header = [first & 0xe0 | head & 0x1f];
                self.take_fragment(head, &header, payload)
            }
            1..=23 => self.take_unit(payload),
            0 => self.take_unit(without_start_code(payload)),
            _ => None,
        }
    }

    /// A packet of H.265.
    fn take_hevc(&mut self, mut payload: Bytes) -> Option<()> {
        let &[first, second] = payload.first_chunk()?;
        match first >> 1 & 63 {
            hevc_type::AP => {
                payload.advance(2);
                self.take_aggregate(payload)
            }
            hevc_type::FU => {
                let head = *payload.get(2)?;
                payload.advance(3);
                let header = [first & 0x81 | (head & 0x3f) << 1, second];
                self.take_fragment(head, &header, payload)
            }
            0 if payload.starts_with(&[0, 0]) => self.take_unit(without_start_code(payload)),
            0..=47 => self.take_unit(payload),
            _ => None,
        }
    }

    /// Units behind their lengths.
    fn take_aggregate(&mut self, mut payload: Bytes) -> Option<()> {
        while payload.len() > 2 {
            let len = usize::from(payload.get_u16());
            if len > payload.len() {
                return None;
            }
            self.take_unit(payload.split_to(len))?;
        }
        Some(())
    }

    /// A piece of a unit; `head` has the bits that say which.
    fn take_fragment(&mut self, head: u8, header: &[u8], piece: Bytes) -> Option<()> {
        let (starts, ends) = (head & 0x80 != 0, head & 0x40 != 0);
        if starts {
            // The end of the one before did not come.
            if !self.fragment.is_empty() {
                self.fragment.clear();
                return None;
            }
            self.fragment.put_slice(header);
        } else if self.fragment.is_empty() {
            return None;
        }
        if self.len + self.fragment.len() + piece.len() > MAX_UNIT {
            self.fragment.clear();
            return None;
        }
        self.fragment.put_slice(&piece);
        if !ends {
            return Some(());
        }
        let unit = self.fragment.split().freeze();
        self.take_unit(unit)
    }

    fn take_unit(&mut self, unit: Bytes) -> Option<()> {
        if unit.is_empty() {
            return Some(());
        }
        if self.units.len() == MAX_NAL_UNITS || self.len + unit.len() > MAX_UNIT {
            return None;
        }
        if self.is_slice(&unit) && !self.picture {
            self.picture = true;
            // Whole from here on, if this is the first slice of its picture.
            self.damaged |= std::mem::take(&mut self.torn) && !self.begins_picture(&unit);
        }
        self.len += unit.len();
        // A copy, for a slice would keep its whole packet, however little of that it is.
        self.units.push(Bytes::copy_from_slice(&unit));
        Some(())
    }

    fn is_slice(&self, unit: &[u8]) -> bool {
        match self.family {
            Family::Avc => matches!(unit[0] & 31, 1..=5),
            Family::Hevc => unit[0] >> 1 & 63 < 32,
        }
    }

    /// Whether a slice is the first of its picture: `first_mb_in_slice` is 0 (H.264 7.3.3), or
    /// `first_slice_segment_in_pic_flag` is set (H.265 7.3.6.1).
    fn begins_picture(&self, slice: &[u8]) -> bool {
        let header = match self.family {
            Family::Avc => 1,
            Family::Hevc => 2,
        };
        slice.get(header).is_some_and(|byte| byte & 0x80 != 0)
    }

    /// The access unit has ended. Parameter sets alone are kept for the next.
    fn finish(&mut self, out: &mut VecDeque<Unit>) {
        self.damaged |= !std::mem::take(&mut self.fragment).is_empty();
        if !self.picture && !self.damaged {
            let family = self.family;
            self.units.retain(|unit| family.kind(unit).is_parameter_set());
            self.len = self.units.iter().map(Bytes::len).sum();
            return;
        }
        let units = std::mem::take(&mut self.units);
        let damaged = std::mem::take(&mut self.damaged);
        (self.len, self.picture, self.torn) = (0, false, false);
        if damaged {
            self.skipped += 1;
            self.lost.get_or_insert(None);
            return;
        }
        let resumes = self.lost.is_some();
        if let Some(since) = self.lost {
            let since = *self.lost.insert(Some(since.unwrap_or(self.timestamp)));
            let waited = self.timestamp.wrapping_sub(since.unwrap_or(self.timestamp)) as i32;
            let starts = |unit: &Bytes| matches!(self.family.kind(unit), Kind::RandomAccess | Kind::Sps);
            if !units.iter().any(starts) && waited < self.patience {
                self.skipped += 1;
                return;
            }
            self.lost = None;
        }
        out.push_back(Unit { timestamp: self.timestamp, content: Content::Picture(units), resumes });
    }
}
