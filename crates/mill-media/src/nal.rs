//! NAL units: between the lengths of FLV and MP4 and the start codes of MPEG-2 systems, and the parameter sets
//! among them.
//!
//! Slices are lent, never copied; only parameter sets are, because they outlive the frame they came in. A
//! frame's units are walked by an iterator, so that a frame of a million tiny units costs time and no memory.

use bytes::Bytes;

use crate::codec::{VideoCodec, avc, hevc};

/// Stands before each unit in a byte stream (H.264 annex B, H.265 annex B), in the form that is right anywhere.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Parameter sets of a stream, all together: as much as a decoder configuration may have.
const MAX_SETS_LEN: usize = 64 * 1024;

/// Parameter sets of a stream; the two codecs have no more than 256 of a kind.
const MAX_SETS: usize = 512;

/// The codecs that come in NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
}

/// What a unit is, as far as a container must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Access unit delimiter.
    Delimiter,
    /// Video parameter set.
    Vps,
    /// Sequence parameter set.
    Sps,
    /// Picture parameter set.
    Pps,
    /// A slice of a picture that decoding can start at: IDR, or any IRAP of H.265.
    RandomAccess,
    /// Everything else.
    Other,
}

impl Kind {
    /// Whether it is a parameter set.
    pub fn is_parameter_set(self) -> bool {
        matches!(self, Self::Vps | Self::Sps | Self::Pps)
    }
}

impl Family {
    /// The family of a codec, if it has one.
    pub fn of(codec: VideoCodec) -> Option<Self> {
        match codec {
            VideoCodec::Avc => Some(Self::Avc),
            VideoCodec::Hevc => Some(Self::Hevc),
            _ => None,
        }
    }

    /// What a unit is (H.264 table 7-1, H.265 table 7-1).
    pub fn kind(self, unit: &[u8]) -> Kind {
        let Some(&header) = unit.first() else { return Kind::Other };
        match self {
            Self::Avc => match header & 31 {
                5 => Kind::RandomAccess,
                avc::SPS => Kind::Sps,
                avc::PPS => Kind::Pps,
                9 => Kind::Delimiter,
                _ => Kind::Other,
            },
            Self::Hevc => match header >> 1 & 63 {
                16..=23 => Kind::RandomAccess,
                hevc::VPS => Kind::Vps,
                hevc::SPS => Kind::Sps,
                hevc::PPS => Kind::Pps,
                35 => Kind::Delimiter,
                _ => Kind::Other,
            },
        }
    }

    /// An access unit delimiter that says nothing about the pictures behind it.
    pub fn delimiter(self) -> &'static [u8] {
        match self {
            Self::Avc => &[0x09, 0xf0],
            Self::Hevc => &[0x46, 0x01, 0x50],
        }
    }

    fn parameter_set_id(self, unit: &[u8]) -> Option<u32> {
        match self {
            Self::Avc => avc::parameter_set_id(unit),
            Self::Hevc => hevc::parameter_set_id(unit),
        }
    }
}

/// The units of one frame, in order; none of them is empty.
#[derive(Debug, Clone)]
pub struct Units<'a> {
    rest: &'a [u8],
    /// Bytes of the length before each unit; 0 for start codes.
    length_size: usize,
}

impl<'a> Units<'a> {
    /// The units of a frame whose lengths have `length_size` bytes. Some encoders send start codes instead, and
    /// are understood. `None` if it is neither: a length leads beyond the end.
    pub fn new(frame: &'a [u8], length_size: u8) -> Option<Self> {
        let by_length = Self { rest: frame, length_size: length_size.clamp(1, 4).into() };
        let mut walk = by_length.clone();
        while walk.step().is_some() {}
        if walk.rest.is_empty() {
            return Some(by_length);
        }
        let zeros = frame.iter().take_while(|&&byte| byte == 0).count();
        (zeros >= 2 && frame.get(zeros) == Some(&1)).then(|| Self::byte_stream(frame))
    }

    /// The units between the start codes of a byte stream; what stands before the first is left out.
    pub fn byte_stream(bytes: &'a [u8]) -> Self {
        let start = find_start_code(bytes).map_or(bytes.len(), |at| at + 3);
        Self { rest: &bytes[start..], length_size: 0 }
    }

    /// Takes off one length and its unit; `None` without moving at the end, or where the length is wrong.
    fn step(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_at_checked(self.length_size)?;
        let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(unit)
    }

    fn step_to_start_code(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = find_start_code(self.rest).unwrap_or(self.rest.len());
        let unit = &self.rest[..end];
        self.rest = self.rest.get(end + 3..).unwrap_or_default();
        // Zeros before the next start code belong to it; a unit itself never ends in one.
        let filling = unit.iter().rev().take_while(|&&byte| byte == 0).count();
        Some(&unit[..unit.len() - filling])
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let unit = if self.length_size == 0 { self.step_to_start_code() } else { self.step() }?;
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    }
}

/// Where the next `00 00 01` begins.
fn find_start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&last) = bytes.get(at + 2) {
        match last {
            0 => at += 1,
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => return Some(at),
            // Neither this byte nor the two before it can be the beginning.
            _ => at += 3,
        }
    }
    None
}

/// The parameter sets in force, each kept until another one of its kind and id replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSets {
    family: Family,
    /// In the order decoders need them: by kind, then as they came.
    sets: Vec<Set>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    kind: Kind,
    id: u32,
    unit: Bytes,
}

impl ParameterSets {
    /// None yet.
    pub fn new(family: Family) -> Self {
        Self { family, sets: Vec::new(), bytes: 0 }
    }

    /// Those of a decoder configuration, and the size of the lengths in its frames.
    pub fn from_record(family: Family, record: &[u8]) -> Option<(Self, u8)> {
        let mut sets = Self::new(family);
        let length_size = match family {
            Family::Avc => {
                let config = avc::DecoderConfig::parse(record)?;
                config.sps.iter().chain(&config.pps).for_each(|unit| sets.note(unit));
                config.length_size
            }
            Family::Hevc => {
                let config = hevc::DecoderConfig::parse(record)?;
                let units = config.vps.iter().chain(&config.sps).chain(&config.pps);
                units.for_each(|unit| sets.note(unit));
                config.length_size
            }
        };
        Some((sets, length_size))
    }

    /// The codec they belong to.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Takes a unit in if it is a parameter set. One that cannot be read, or for which there is no room, is not
    /// kept.
    pub fn note(&mut self, unit: &[u8]) {
        let kind = self.family.kind(unit);
        if !kind.is_parameter_set() {
            return;
        }
        let Some(id) = self.family.parameter_set_id(unit) else { return };
        let known = self.sets.iter().position(|set| set.kind == kind && set.id == id);
        let replaced = known.map_or(0, |at| self.sets[at].unit.len());
        if self.bytes - replaced + unit.len() > MAX_SETS_LEN || unit.len() > usize::from(u16::MAX) {
            return;
        }
        match known {
            Some(at) if self.sets[at].unit == unit => return,
            Some(at) => self.sets[at].unit = Bytes::copy_from_slice(unit),
            None if self.sets.len() == MAX_SETS => return,
            None => {
                let at = self.sets.partition_point(|set| set.kind <= kind);
                self.sets.insert(at, Set { kind, id, unit: Bytes::copy_from_slice(unit) });
            }
        }
        self.bytes = self.bytes - replaced + unit.len();
    }

    /// All of them, in the order decoders need them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.sets.iter().map(|set| &set.unit[..])
    }

    /// Bytes of all of them.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The decoder configuration that holds them, for frames with lengths of four bytes. `None` while a kind is
    /// missing.
    pub fn record(&self) -> Option<Vec<u8>> {
        let of = |kind| {
            let units = self.sets.iter().filter(|set| set.kind == kind);
            units.map(|set| &set.unit[..]).collect::<Vec<_>>()
        };
        match self.family {
            Family::Avc => avc::record(&of(Kind::Sps), &of(Kind::Pps)),
            Family::Hevc => hevc::record(&of(Kind::Vps), &of(Kind::Sps), &of(Kind::Pps)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(frame: &[u8], length_size: u8) -> Option<Vec<&[u8]>> {
        Units::new(frame, length_size).map(Iterator::collect)
    }

    #[test]
    fn lengths() {
        assert_eq!(units(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c", 4), Some(vec![&b"ab"[..], b"c"]));
        assert_eq!(units(b"\x02ab\x01c", 1), Some(vec![&b"ab"[..], b"c"]));
        assert_eq!(units(b"\0\x02ab", 2), Some(vec![&b"ab"[..]]));
        assert_eq!(units(b"", 4), Some(vec![]));
        assert_eq!(units(b"\0\0\0\x03ab", 4), None);
        assert_eq!(units(b"\0\0\0\x02ab\0", 4), None);
    }

    #[test]
    fn start_codes_where_lengths_should_be() {
        let frame = b"\0\0\0\x01\x67abc\0\0\x01\x68d\0\0\0\0\x01\x65ef\0\0";
        assert_eq!(units(frame, 4), Some(vec![&b"\x67abc"[..], b"\x68d", b"\x65ef"]));
        // A unit of one byte begins like a start code, and its length still fits.
        assert_eq!(units(b"\0\0\0\x01\x09\0\0\0\x02\x65a", 4), Some(vec![&b"\x09"[..], b"\x65a"]));
    }

    #[test]
    fn sets_are_kept_by_kind_and_id() {
        let mut sets = ParameterSets::new(Family::Avc);
        // ue(v): 1 is id 0, 010 is id 1.
        let (sps, pps0, pps1): (&[u8], &[u8], &[u8]) = (b"\x67\x64\0\x1e\xac", b"\x68\xe8", b"\x68\x50");
        for unit in [pps0, sps, pps1, b"\x65slice", b"\x06sei", pps0] {
            sets.note(unit);
        }
        assert_eq!(sets.iter().collect::<Vec<_>>(), [sps, pps0, pps1]);
        sets.note(b"\x68\xee");
        assert_eq!(sets.iter().collect::<Vec<_>>(), [sps, b"\x68\xee", pps1]);
        assert_eq!(sets.len(), 9);
    }

    #[test]
    fn sets_are_bounded() {
        let mut sets = ParameterSets::new(Family::Avc);
        let mut large = vec![0xff; 40_000];
        large[0] = 0x68;
        sets.note(&large);
        large[1] = 0x5f;
        sets.note(&large);
        assert_eq!(sets.len(), 40_000, "a second one of that size does not fit");
    }

    #[test]
    fn records_are_those_of_real_encoders() {
        let records = [
            (Family::Avc, "0142c028ffe100196742c028da01e0089f97011000000300100000030320f1832a01000468ce0fc8"),
            (
                Family::Avc,
                "017a0020ffe1001a677a0020b6cb402b030f3780880000030008000003019078c19501000468ce0fc8fefafa00",
            ),
        ];
        for (family, hex) in records {
            let bytes: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect();
            let (sets, length_size) = ParameterSets::from_record(family, &bytes).unwrap();
            assert_eq!((sets.record().as_ref(), length_size), (Some(&bytes), 4));
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(0u8..4, 0..200), size in 0u8..6) {
            if let Some(found) = units(&noise, size) {
                prop_assert!(found.iter().all(|unit| !unit.is_empty()));
            }
            for family in [Family::Avc, Family::Hevc] {
                let mut sets = ParameterSets::new(family);
                for kind in 0..=255 {
                    sets.note(&[&[kind], &noise[..]].concat());
                }
                sets.record();
                ParameterSets::from_record(family, &noise);
            }
        }

        #[test]
        fn a_byte_stream_gives_back_its_units(
            sent in proptest::collection::vec(proptest::collection::vec(2u8.., 1..20), 1..10),
            short in any::<bool>(),
        ) {
            let mut stream = Vec::new();
            for unit in &sent {
                stream.extend_from_slice(if short { &START_CODE[1..] } else { &START_CODE });
                stream.extend_from_slice(unit);
            }
            prop_assert_eq!(Units::byte_stream(&stream).collect::<Vec<_>>(), sent);
        }
    }
}
