//! H.265: configuration record, picture size, names of profiles and levels.

use crate::bits::{Bits, unescape};
use crate::codec::{UNKNOWN, split_sized};

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;

/// An HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderConfig<'a> {
    /// `general_profile_idc`.
    pub profile: u8,
    /// `general_level_idc`, thirty times the level.
    pub level: u8,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// Video parameter sets, whole NAL units; empty ones left out.
    pub vps: Vec<&'a [u8]>,
    /// Sequence parameter sets, likewise.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets, likewise.
    pub pps: Vec<&'a [u8]>,
}

impl<'a> DecoderConfig<'a> {
    /// Reads a record. The version is not looked at: encoders older than the standard write 0. `None` if
    /// it is cut short or names a length of three bytes, which does not exist.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (fixed, mut rest) = record.split_first_chunk::<23>()?;
        let length_size = (fixed[21] & 3) + 1;
        let (mut vps, mut sps, mut pps) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..fixed[22] {
            let (&[kind, count @ ..], after) = rest.split_first_chunk::<3>()?;
            rest = after;
            let units = split_sized(&mut rest, u16::from_be_bytes(count).into())?;
            match kind & 63 {
                VPS => vps.extend(units),
                SPS => sps.extend(units),
                PPS => pps.extend(units),
                _ => {}
            }
        }
        (length_size != 3).then_some(Self {
            profile: fixed[1] & 31,
            level: fixed[12],
            length_size,
            vps,
            sps,
            pps,
        })
    }
}

/// Width and height in pixels of the pictures a sequence parameter set describes, inside the conformance
/// window; `sps` is the whole NAL unit. `None` if it cannot be read. (H.265 7.3.2.2.1, 7.4.3.2.1)
pub fn picture_size(sps: &[u8]) -> Option<(u32, u32)> {
    let (&[kind, _], payload) = sps.split_first_chunk()?;
    if kind >> 1 & 63 != SPS {
        return None;
    }
    let payload = unescape(payload);
    let mut bits = Bits::new(&payload);
    bits.skip(4)?; // sps_video_parameter_set_id
    let sub_layers = bits.read(3)? as usize;
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.ue()?; // sps_seq_parameter_set_id
    let (unit_x, unit_y) = match bits.ue()? {
        1 => (2, 2),
        2 => (2, 1),
        3 => {
            bits.skip(1)?; // separate_colour_plane_flag
            (1, 1)
        }
        _ => (1, 1),
    };
    let (width, height) = (bits.ue()?, bits.ue()?);
    let [left, right, top, bottom] =
        if bits.flag()? { [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?].map(u64::from) } else { [0; 4] };
    let width = u64::from(width).checked_sub((left + right) * unit_x)?;
    let height = u64::from(height).checked_sub((top + bottom) * unit_y)?;
    Some((width.try_into().ok()?, height.try_into().ok()?))
}

/// H.265 7.3.3 with `profilePresentFlag` 1; `sub_layers` is `sps_max_sub_layers_minus1`.
fn skip_profile_tier_level(bits: &mut Bits, sub_layers: usize) -> Option<()> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    bits.skip(PROFILE + LEVEL)?;
    let mut present = 0;
    for _ in 0..sub_layers {
        present += PROFILE * usize::from(bits.flag()?) + LEVEL * usize::from(bits.flag()?);
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers))?;
    }
    bits.skip(present)
}

/// The name of a `general_profile_idc` as SRS shows it.
pub fn profile_name(profile: u8) -> &'static str {
    match profile {
        1 => "Main",
        2 => "Main10",
        3 => "Main Still Picture",
        4 => "Rext",
        _ => UNKNOWN,
    }
}

/// The name of a `general_level_idc` as SRS shows it: 1 to 6.2, anything else `Other`.
pub fn level_name(level: u8) -> String {
    match level {
        30 | 60 | 90 | 120 | 150 | 180 => (level / 30).to_string(),
        63 | 93 | 123 | 153 | 156 | 183 | 186 => format!("{}.{}", level / 30, level % 30 / 3),
        _ => UNKNOWN.to_owned(),
    }
}
