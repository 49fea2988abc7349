//! H.264: configuration record, picture size, names of profiles and levels.

use h264_reader::nal::sps::{ChromaFormat, ChromaInfo, PicOrderCntType, ProfileIdc, SeqParameterSet};
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, ByteReader};

use crate::bits::{Bits, unescape};
use crate::codec::{UNKNOWN, join_sized, split_sized};

pub(crate) const SPS: u8 = 7;
pub(crate) const PPS: u8 = 8;

/// An AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderConfig<'a> {
    /// `AVCProfileIndication`, the `profile_idc` of the stream.
    pub profile: u8,
    /// `AVCLevelIndication`, ten times the level.
    pub level: u8,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// Sequence parameter sets, whole NAL units; empty ones left out.
    pub sps: Vec<&'a [u8]>,
    /// Picture parameter sets, likewise. May be empty: some encoders send them only in band.
    pub pps: Vec<&'a [u8]>,
    /// What follows the sets: chroma format and bit depths of the High profiles, or nothing.
    pub ext: &'a [u8],
}

impl<'a> DecoderConfig<'a> {
    /// Reads a record. Version and reserved bits are not looked at, and what follows the sets neither.
    /// `None` if it is cut short, has no SPS, or names a length of three bytes, which does not exist.
    pub fn parse(record: &'a [u8]) -> Option<Self> {
        let (&[_, profile, _, level, length, sps_count], mut rest) = record.split_first_chunk()?;
        let length_size = (length & 3) + 1;
        let sps = split_sized(&mut rest, (sps_count & 31).into())?;
        let (&pps_count, mut rest) = rest.split_first()?;
        let pps = split_sized(&mut rest, pps_count.into())?;
        (length_size != 3 && !sps.is_empty()).then_some(Self {
            profile,
            level,
            length_size,
            sps,
            pps,
            ext: rest,
        })
    }
}

/// The record for these parameter sets, whole NAL units of at most 65535 bytes, before frames with lengths of
/// four bytes. `None` without SPS or PPS, or with more than there is room for.
pub fn record(sps: &[&[u8]], pps: &[&[u8]]) -> Option<Vec<u8>> {
    let first = *sps.first()?;
    let &[_, profile, compatibility, level] = first.first_chunk()?;
    if sps.len() > 31 || pps.is_empty() {
        return None;
    }
    let mut record = vec![1, profile, compatibility, level, 0xff];
    join_sized(&mut record, [0xe0 | sps.len() as u8], sps)?;
    join_sized(&mut record, [u8::try_from(pps.len()).ok()?], pps)?;
    if !matches!(profile, 66 | 77 | 88) {
        // The profiles above Main also say how samples are coded.
        let mut bits = BitReader::new(ByteReader::skipping_h264_header(first));
        bits.skip(24, "profile, constraints, level").ok()?;
        bits.read_ue("seq_parameter_set_id").ok()?;
        let chroma = ChromaInfo::read(&mut bits, ProfileIdc::from(profile)).ok()?;
        let format = match chroma.chroma_format {
            ChromaFormat::Monochrome => 0,
            ChromaFormat::YUV422 => 2,
            ChromaFormat::YUV444 => 3,
            _ => 1,
        };
        record.extend_from_slice(&[
            0xfc | format,
            0xf8 | chroma.bit_depth_luma_minus8 & 7,
            0xf8 | chroma.bit_depth_chroma_minus8 & 7,
            0,
        ]);
    }
    Some(record)
}

/// The id of a parameter set within its kind; `unit` is the whole NAL unit. `None` if it is none, or cannot be
/// read.
pub(crate) fn parameter_set_id(unit: &[u8]) -> Option<u32> {
    let (&header, payload) = unit.split_first()?;
    let payload = unescape(&payload[..payload.len().min(16)]);
    let mut bits = Bits::new(&payload);
    match header & 31 {
        SPS => bits.skip(24)?,
        PPS => {}
        _ => return None,
    }
    bits.ue()
}

/// Width and height in pixels of the pictures a sequence parameter set describes, cropping applied;
/// `sps` is the whole NAL unit. `None` if it cannot be read.
///
/// Reading stops once the size is known: size, level and VUI of real encoders contradict each other often
/// enough.
pub fn picture_size(sps: &[u8]) -> Option<(u32, u32)> {
    if sps.first()? & 31 != SPS {
        return None;
    }
    let mut bits = BitReader::new(ByteReader::skipping_h264_header(sps));
    let profile = ProfileIdc::from(bits.read::<8, u8>("profile_idc").ok()?);
    bits.skip(16, "constraint_flags, level_idc").ok()?;
    bits.read_ue("seq_parameter_set_id").ok()?;
    let chroma = ChromaInfo::read(&mut bits, profile).ok()?;
    bits.read_ue("log2_max_frame_num_minus4").ok()?;
    skip_picture_order(&mut bits).ok()?;
    Size::read(&mut bits).ok()?.pixels(&chroma)
}

/// How many pictures may be decoded before one and shown after it, 0 to 16; `sps` is the whole NAL unit. `None` if
/// the set does not say.
pub fn reorder_depth(sps: &[u8]) -> Option<u8> {
    const BASELINE: u8 = 66;
    if sps.first()? & 31 != SPS {
        return None;
    }
    let set = SeqParameterSet::from_bits(BitReader::new(ByteReader::skipping_h264_header(sps))).ok()?;
    // Baseline has no B slices, and type 2 means that both orders are the same (8.2.1.3).
    if u8::from(set.profile_idc) == BASELINE || matches!(set.pic_order_cnt, PicOrderCntType::TypeTwo) {
        return Some(0);
    }
    let restrictions = set.vui_parameters?.bitstream_restrictions?;
    u8::try_from(restrictions.max_num_reorder_frames.min(16)).ok()
}

/// 7.3.2.1.1, from `pic_order_cnt_type` to `gaps_in_frame_num_value_allowed_flag`.
fn skip_picture_order(bits: &mut impl BitRead) -> Result<(), BitReaderError> {
    match bits.read_ue("pic_order_cnt_type")? {
        0 => {
            bits.read_ue("log2_max_pic_order_cnt_lsb_minus4")?;
        }
        1 => {
            bits.skip(1, "delta_pic_order_always_zero_flag")?;
            bits.read_ue("offset_for_non_ref_pic")?;
            bits.read_ue("offset_for_top_to_bottom_field")?;
            // A count beyond the data ends the loop with the data.
            for _ in 0..bits.read_ue("num_ref_frames_in_pic_order_cnt_cycle")? {
                bits.read_ue("offset_for_ref_frame")?;
            }
        }
        _ => {}
    }
    bits.read_ue("max_num_ref_frames")?;
    bits.skip(1, "gaps_in_frame_num_value_allowed_flag")
}

/// The fields of 7.3.2.1.1 that make up the size, in the units of the bit stream.
struct Size {
    width_in_mbs: u64,
    height_in_map_units: u64,
    /// Rows of macroblocks in a map unit: 2 if pictures may be fields.
    field_factor: u64,
    /// Left, right, top, bottom.
    crop: [u64; 4],
}

impl Size {
    fn read(bits: &mut impl BitRead) -> Result<Self, BitReaderError> {
        let width_in_mbs = u64::from(bits.read_ue("pic_width_in_mbs_minus1")?) + 1;
        let height_in_map_units = u64::from(bits.read_ue("pic_height_in_map_units_minus1")?) + 1;
        let frames_only = bits.read_bit("frame_mbs_only_flag")?;
        if !frames_only {
            bits.skip(1, "mb_adaptive_frame_field_flag")?;
        }
        bits.skip(1, "direct_8x8_inference_flag")?;
        let mut crop = [0; 4];
        if bits.read_bit("frame_cropping_flag")? {
            for offset in &mut crop {
                *offset = bits.read_ue("frame_crop_offset")?.into();
            }
        }
        Ok(Self { width_in_mbs, height_in_map_units, field_factor: if frames_only { 1 } else { 2 }, crop })
    }

    /// Equations 7-13 to 7-22: a macroblock has 16 pixels, cropping counts in samples of chroma.
    fn pixels(&self, chroma: &ChromaInfo) -> Option<(u32, u32)> {
        let (unit_x, unit_y) = match chroma.chroma_format {
            _ if chroma.separate_colour_plane_flag => (1, 1),
            ChromaFormat::YUV420 => (2, 2),
            ChromaFormat::YUV422 => (2, 1),
            _ => (1, 1),
        };
        let [left, right, top, bottom] = self.crop;
        let width = (self.width_in_mbs * 16).checked_sub((left + right) * unit_x)?;
        let height = (self.height_in_map_units * self.field_factor * 16)
            .checked_sub((top + bottom) * unit_y * self.field_factor)?;
        Some((width.try_into().ok()?, height.try_into().ok()?))
    }
}

/// The name of a `profile_idc` as SRS shows it. SRS looks at this byte alone, so a constrained profile
/// has the name of the whole one.
pub fn profile_name(profile: u8) -> &'static str {
    match profile {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High(10)",
        122 => "High(422)",
        144 => "High(444)",
        244 => "High(444+Predictive)",
        _ => UNKNOWN,
    }
}

/// The name of a `level_idc` as SRS shows it: 1 to 5.1, anything else `Other`.
pub fn level_name(level: u8) -> String {
    match level {
        10 | 20 | 30 | 40 | 50 => (level / 10).to_string(),
        11..=13 | 21..=22 | 31..=32 | 41..=42 | 51 => format!("{}.{}", level / 10, level % 10),
        _ => UNKNOWN.to_owned(),
    }
}

/// What a configuration record of a High profile says behind its parameter sets (ISO/IEC 14496-15, 5.3.3.1):
/// chroma format and bit depths, out of a sequence parameter set, and no extensions of those. `None` if it
/// cannot be read.
pub fn record_extension(sps: &[u8]) -> Option<[u8; 4]> {
    let mut bits = BitReader::new(ByteReader::skipping_h264_header(sps));
    let profile = ProfileIdc::from(bits.read::<8, u8>("profile_idc").ok()?);
    bits.skip(16, "constraint_flags, level_idc").ok()?;
    bits.read_ue("seq_parameter_set_id").ok()?;
    let info = ChromaInfo::read(&mut bits, profile).ok()?;
    let format = match info.chroma_format {
        ChromaFormat::Monochrome => 0,
        ChromaFormat::YUV420 => 1,
        ChromaFormat::YUV422 => 2,
        ChromaFormat::YUV444 => 3,
        ChromaFormat::Invalid(_) => return None,
    };
    let (luma, chroma) = (info.bit_depth_luma_minus8 & 7, info.bit_depth_chroma_minus8 & 7);
    Some([0xfc | format, 0xf8 | luma, 0xf8 | chroma, 0])
}
