//! AV1: configuration record, picture size, names of profiles and levels.

use crate::bits::Bits;
use crate::codec::UNKNOWN;

/// An AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format Binding, 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderConfig<'a> {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx_0`.
    pub level: u8,
    /// `configOBUs`, usually one sequence header; may be empty.
    pub obus: &'a [u8],
}

impl<'a> DecoderConfig<'a> {
    /// Reads a record; `None` if it is cut short or of another version.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        match record {
            [0x81, profile_level, _, _, obus @ ..] => {
                Some(Self { profile: profile_level >> 5, level: profile_level & 31, obus })
            }
            _ => None,
        }
    }

    /// Width and height in pixels from the first sequence header among the OBUs (AV1 5.3).
    pub fn picture_size(&self) -> Option<(u32, u32)> {
        const SEQUENCE_HEADER: u8 = 1;
        let mut rest = self.obus;
        loop {
            let (&header, after) = rest.split_first()?;
            let has_extension = header & 4 != 0;
            rest = after.get(usize::from(has_extension)..)?;
            let len = if header & 2 != 0 { leb128(&mut rest)? } else { rest.len() };
            let obu = rest.get(..len)?;
            if header >> 3 & 15 == SEQUENCE_HEADER {
                return sequence_size(obu);
            }
            rest = &rest[len..];
        }
    }
}

/// `max_frame_width` and `max_frame_height` of a sequence header (AV1 5.5.1).
fn sequence_size(obu: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(obu);
    bits.skip(3 + 1)?; // seq_profile, still_picture
    let reduced_still_picture_header = bits.flag()?;
    if reduced_still_picture_header {
        bits.skip(5)?; // seq_level_idx
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = bits.read(4)? as usize + 1;
    let height_bits = bits.read(4)? as usize + 1;
    Some((bits.read(width_bits)? + 1, bits.read(height_bits)? + 1))
}

/// From `timing_info_present_flag` to the last operating point.
fn skip_operating_points(bits: &mut Bits) -> Option<()> {
    // Bits of the two delays an operating point may carry, if there is a decoder model.
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(32 + 32)?; // num_units_in_display_tick, time_scale
        let equal_picture_interval = bits.flag()?;
        if equal_picture_interval {
            bits.ue()?; // num_ticks_per_picture_minus_1
        }
        let decoder_model_info_present = bits.flag()?;
        if decoder_model_info_present {
            delay_bits = Some(bits.read(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let initial_display_delay_present = bits.flag()?;
    for _ in 0..=bits.read(5)? {
        bits.skip(12)?; // operating_point_idc
        let level = bits.read(5)?;
        if level > 7 {
            bits.skip(1)?; // seq_tier
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if initial_display_delay_present && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Some(())
}

/// AV1 4.10.5: seven bits a byte, lowest first, at most eight bytes.
fn leb128(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0u64;
    for index in 0..8 {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return number.try_into().ok();
        }
    }
    None
}

/// The name of a `seq_profile` (AV1 A.2).
pub fn profile_name(profile: u8) -> &'static str {
    match profile {
        0 => "Main",
        1 => "High",
        2 => "Professional",
        _ => UNKNOWN,
    }
}

/// The name of a `seq_level_idx` (AV1 A.3): 2.0 to 7.3.
pub fn level_name(level: u8) -> String {
    match level {
        0..24 => format!("{}.{}", 2 + level / 4, level % 4),
        _ => UNKNOWN.to_owned(),
    }
}
