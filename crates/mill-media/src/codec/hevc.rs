//! H.265: configuration record, picture size, names of profiles and levels.

use crate::bits::{Bits, unescape};
use crate::codec::{UNKNOWN, join_sized, split_sized};

pub(crate) const VPS: u8 = 32;
pub(crate) const SPS: u8 = 33;
pub(crate) const PPS: u8 = 34;

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
/// window; `sps` is the whole NAL unit. `None` if it cannot be read.
pub fn picture_size(sps: &[u8]) -> Option<(u32, u32)> {
    Sps::parse(sps).map(|sps| (sps.width, sps.height))
}

/// How many pictures may be decoded before one and shown after it, 0 to 16; `sps` is the whole NAL unit. `None` if
/// it cannot be read.
pub fn reorder_depth(sps: &[u8]) -> Option<u8> {
    Sps::parse(sps)?.reorder_depth
}

/// The record for these parameter sets, whole NAL units of at most 65535 bytes, before frames with lengths of
/// four bytes. `None` if the first SPS cannot be read or a kind is missing.
pub fn record(vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let first = *sps.first()?;
    let fields = Sps::parse(first)?;
    if vps.is_empty() || pps.is_empty() {
        return None;
    }
    // The general part of profile_tier_level has the record's own layout.
    let payload = unescape(first.get(2..)?);
    let general = payload.get(1..13)?;
    const NESTED: u8 = 1;
    let (sub_layers, nested) = ((payload[0] >> 1 & 7) + 1, payload[0] & NESTED);
    let mut record = vec![1];
    record.extend_from_slice(general);
    record.extend_from_slice(&[0xf0, 0]); // min_spatial_segmentation_idc: not said
    record.push(0xfc); // parallelismType: not said
    record.push(0xfc | fields.chroma_format as u8 & 3);
    record.push(0xf8 | fields.bit_depth_luma_minus8 as u8 & 7);
    record.push(0xf8 | fields.bit_depth_chroma_minus8 as u8 & 7);
    record.extend_from_slice(&[0, 0]); // avgFrameRate: not said
    record.push(sub_layers << 3 | nested << 2 | 3);
    record.push(3);
    for (kind, units) in [(VPS, vps), (SPS, sps), (PPS, pps)] {
        const COMPLETE: u8 = 0x80;
        record.push(COMPLETE | kind);
        join_sized(&mut record, u16::try_from(units.len()).ok()?.to_be_bytes(), units)?;
    }
    Some(record)
}

/// The id of a parameter set within its kind; `unit` is the whole NAL unit. `None` if it is none, or cannot be
/// read.
pub(crate) fn parameter_set_id(unit: &[u8]) -> Option<u32> {
    match unit.first()? >> 1 & 63 {
        VPS => Some(u32::from(unit.get(2)? >> 4)),
        SPS => Sps::parse(unit).map(|sps| sps.id),
        PPS => Bits::new(&unescape(unit.get(2..unit.len().min(16))?)).ue(),
        _ => None,
    }
}

/// What is read of a sequence parameter set (H.265 7.3.2.2.1, 7.4.3.2.1).
struct Sps {
    id: u32,
    chroma_format: u32,
    bit_depth_luma_minus8: u32,
    bit_depth_chroma_minus8: u32,
    width: u32,
    height: u32,
    reorder_depth: Option<u8>,
}

impl Sps {
    fn parse(sps: &[u8]) -> Option<Self> {
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
        let id = bits.ue()?;
        let chroma_format = bits.ue()?;
        let (unit_x, unit_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            3 => {
                bits.skip(1)?; // separate_colour_plane_flag
                (1, 1)
            }
            _ => (1, 1),
        };
        let (width, height) = (bits.ue()?, bits.ue()?);
        let [left, right, top, bottom] = if bits.flag()? {
            [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?].map(u64::from)
        } else {
            [0; 4]
        };
        let width = u64::from(width).checked_sub((left + right) * unit_x)?;
        let height = u64::from(height).checked_sub((top + bottom) * unit_y)?;
        Some(Self {
            id,
            chroma_format,
            bit_depth_luma_minus8: bits.ue().unwrap_or(0),
            bit_depth_chroma_minus8: bits.ue().unwrap_or(0),
            width: width.try_into().ok()?,
            height: height.try_into().ok()?,
            reorder_depth: reorder_pictures(&mut bits, sub_layers),
        })
    }
}

/// `sps_max_num_reorder_pics` of all sub-layers together, from behind the bit depths.
fn reorder_pictures(bits: &mut Bits, sub_layers: usize) -> Option<u8> {
    bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
    // Either for each sub-layer or for the highest only, which is the last in any case.
    let count = if bits.flag()? { sub_layers + 1 } else { 1 };
    let mut depth = 0;
    for _ in 0..count {
        bits.ue()?; // sps_max_dec_pic_buffering_minus1
        depth = bits.ue()?;
        bits.ue()?; // sps_max_latency_increase_plus1
    }
    Some(depth.min(16) as u8)
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
