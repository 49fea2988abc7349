//! AAC: the AudioSpecificConfig.

use crate::bits::Bits;
use crate::codec::UNKNOWN;

/// Audio object type of spectral band replication (ISO/IEC 14496-3, table 1.17).
const SBR: u8 = 5;
/// Audio object type of parametric stereo, which includes SBR.
const PS: u8 = 29;

/// What an AudioSpecificConfig says (ISO/IEC 14496-3, 1.6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderConfig {
    /// Audio object type of the core: 1 Main, 2 LC, 3 SSR, 4 LTP, …
    pub object: u8,
    /// Whether it says that spectral band replication is there: HE-AAC.
    pub sbr: bool,
    /// Whether it says that parametric stereo is there as well: HE-AAC v2.
    pub ps: bool,
    /// Sample rate of the decoded sound in Hz; with SBR that is usually twice the core's.
    pub sample_rate: u32,
    /// Channels of the decoded sound; 0 if the config does not tell.
    pub channels: u8,
    /// Sample rate of the core in Hz: what a frame's duration is counted in.
    pub core_rate: u32,
    /// Samples of the core in a frame, 1024 or 960, for each channel.
    pub frame_samples: u16,
}

impl DecoderConfig {
    /// Reads a config; both ways to announce SBR are understood, the explicit one before the core's own
    /// config and the compatible one behind it. `None` without a valid object type and sample rate.
    pub fn parse(config: &[u8]) -> Option<Self> {
        let bits = &mut Bits::new(config);
        let object = object_type(bits)?;
        let sample_rate = sample_rate(bits)?;
        let channels = channels(bits.read(4)?);
        let mut this = Self {
            object,
            sbr: false,
            ps: false,
            sample_rate,
            channels,
            core_rate: sample_rate,
            frame_samples: 1024,
        };
        // The rest only adds to this. Where it cannot be read, this still holds.
        this.read_extensions(bits);
        if this.ps && this.channels == 1 {
            this.channels = 2;
        }
        (this.object != 0).then_some(this)
    }

    /// The name as SRS shows it.
    pub fn profile_name(&self) -> &'static str {
        match self.object {
            _ if self.ps => "HEv2",
            _ if self.sbr => "HE",
            1 => "Main",
            2 => "LC",
            3 => "SSR",
            _ => UNKNOWN,
        }
    }

    fn read_extensions(&mut self, bits: &mut Bits) -> Option<()> {
        if matches!(self.object, SBR | PS) {
            self.ps = self.object == PS;
            self.sbr = true;
            self.sample_rate = sample_rate(bits)?;
            self.object = object_type(bits)?;
        }
        // Other cores have configs of other shapes.
        if !matches!(self.object, 1..=4) {
            return None;
        }
        self.read_general_audio(bits)?;
        const SBR_FOLLOWS: u32 = 0x2b7;
        const PS_FOLLOWS: u32 = 0x548;
        if self.sbr || bits.read(11)? != SBR_FOLLOWS || object_type(bits)? != SBR {
            return None;
        }
        if bits.flag()? {
            self.sample_rate = sample_rate(bits)?;
            self.sbr = true;
            self.ps = bits.read(11)? == PS_FOLLOWS && bits.flag()?;
        }
        Some(())
    }

    /// GASpecificConfig (4.4.1) of the object types 1 to 4.
    fn read_general_audio(&mut self, bits: &mut Bits) -> Option<()> {
        let short_frames = bits.flag()?;
        if short_frames {
            self.frame_samples = 960;
        }
        let depends_on_core_coder = bits.flag()?;
        if depends_on_core_coder {
            bits.skip(14)?; // coreCoderDelay
        }
        bits.skip(1)?; // extensionFlag
        if self.channels == 0 {
            self.channels = program_channels(bits)?;
            // The rest of that element is not read, so what follows it cannot be found.
            return None;
        }
        Some(())
    }
}

/// GetAudioObjectType (1.6.2.1): five bits, 31 leads to six more.
fn object_type(bits: &mut Bits) -> Option<u8> {
    let object = match bits.read(5)? {
        31 => 32 + bits.read(6)?,
        object => object,
    };
    object.try_into().ok()
}

/// Sample rates in Hz by `samplingFrequencyIndex` (table 1.18).
pub const RATES: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// `samplingFrequencyIndex`, or 24 bits of Hz after index 15.
fn sample_rate(bits: &mut Bits) -> Option<u32> {
    match bits.read(4)? as usize {
        15 => bits.read(24),
        index => RATES.get(index).copied(),
    }
}

/// Channels by `channelConfiguration` (table 1.19); 0 sends to the program config element.
pub(crate) const CHANNELS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8, 0];

fn channels(configuration: u32) -> u8 {
    CHANNELS[configuration as usize & 15]
}

/// Channels of a program_config_element (4.5.2.1): front, side and back elements of one or two each, and
/// the low frequency ones.
fn program_channels(bits: &mut Bits) -> Option<u8> {
    bits.skip(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
    let full = bits.read(4)? + bits.read(4)? + bits.read(4)?;
    let low_frequency = bits.read(2)? as u8;
    bits.skip(3 + 4)?; // num_assoc_data_elements, num_valid_cc_elements
    for mixdown_bits in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(mixdown_bits)?;
        }
    }
    let mut channels = low_frequency;
    for _ in 0..full {
        let is_pair = bits.flag()?;
        bits.skip(4)?; // element_tag_select
        channels += 1 + u8::from(is_pair);
    }
    Some(channels)
}
