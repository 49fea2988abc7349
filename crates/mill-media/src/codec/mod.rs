//! Codecs by name, and what their configuration records say about a stream.
//!
//! A stream never fails here: what cannot be read is shown as unknown, with the name `Other` and 0 for
//! numbers. The names are SRS's where SRS has one, because its API clients compare them.

pub mod aac;
pub mod av1;
pub mod avc;
pub mod hevc;
pub mod mp3;
pub mod opus;
#[cfg(test)]
mod tests;

use crate::flv::tag::{AudioTag, Packet, VideoTag};

/// The name of anything without one.
const UNKNOWN: &str = "Other";

/// How video is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// Sorenson H.263, FLV codec 2.
    H263,
    /// Screen video, versions 1 and 2, FLV codecs 3 and 6.
    Screen,
    /// On2 VP6, with or without alpha, FLV codecs 4 and 5.
    Vp6,
    /// H.264, FLV codec 7 or FourCC `avc1`.
    Avc,
    /// H.265, codec 12 by custom of SRS and others, or FourCC `hvc1`.
    Hevc,
    /// H.266, FourCC `vvc1`.
    Vvc,
    /// AV1, codec 13 by custom, or FourCC `av01`.
    Av1,
    /// VP8, FourCC `vp08`.
    Vp8,
    /// VP9, FourCC `vp09`.
    Vp9,
    /// A number or FourCC nobody here knows; passed through.
    Other,
}

impl VideoCodec {
    /// The name in API answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avc => "H264",
            Self::Hevc => "HEVC",
            Self::Vvc => "VVC",
            Self::Av1 => "AV1",
            Self::Vp6 => "VP6",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H263 | Self::Screen | Self::Other => UNKNOWN,
        }
    }
}

/// How audio is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// AAC, FLV format 10 or FourCC `mp4a`.
    Aac,
    /// MPEG-1/2 layer III, formats 2 and 14 or FourCC `.mp3`.
    Mp3,
    /// Opus, FourCC `Opus`, or format 13 by custom of SRS.
    Opus,
    /// FLAC, FourCC `fLaC`.
    Flac,
    /// Dolby Digital, FourCC `ac-3`.
    Ac3,
    /// Dolby Digital Plus, FourCC `ec-3`.
    Eac3,
    /// Anything else (PCM, G.711, Speex, Nellymoser, …); passed through.
    Other,
}

impl AudioCodec {
    /// The name in API answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Opus => "Opus",
            Self::Flac => "FLAC",
            Self::Ac3 => "AC3",
            Self::Eac3 => "EAC3",
            Self::Other => UNKNOWN,
        }
    }
}

/// What is known about the video of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoInfo {
    /// How it is coded.
    pub codec: VideoCodec,
    /// Profile by name, `Other` if unknown.
    pub profile: String,
    /// Level by name, `Other` if unknown.
    pub level: String,
    /// In pixels, cropping applied; 0 if unknown.
    pub width: u32,
    /// In pixels, cropping applied; 0 if unknown.
    pub height: u32,
}

/// What is known about the audio of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioInfo {
    /// How it is coded.
    pub codec: AudioCodec,
    /// Of the decoded sound, in Hz; 0 if unknown.
    pub sample_rate: u32,
    /// Of the decoded sound; 0 if unknown.
    pub channels: u8,
    /// AAC profile by name, `Other` for all else.
    pub profile: String,
}

/// Reads the body of a video tag that tells about the stream: the header, or any coded frame where the
/// codec has no header. `None` for all others, so one may ask for every frame until there is an answer.
pub fn video_info(body: &[u8]) -> Option<VideoInfo> {
    let tag = VideoTag::parse(body)?;
    let has_header =
        !matches!(tag.codec, VideoCodec::H263 | VideoCodec::Screen | VideoCodec::Vp6 | VideoCodec::Other);
    if !tells(tag.track, tag.packet, tag.data, has_header) {
        return None;
    }
    let record = tag.data;
    // Profile and level stand at fixed places; they are known even if what follows is damaged.
    let at = |index: usize| record.get(index).copied().unwrap_or(0);
    let (profile, level, size) = match tag.codec {
        VideoCodec::Avc => {
            let size = avc::DecoderConfig::parse(record)
                .and_then(|config| config.sps.into_iter().find_map(avc::picture_size));
            (avc::profile_name(at(1)), avc::level_name(at(3)), size)
        }
        VideoCodec::Hevc => {
            let size = hevc::DecoderConfig::parse(record)
                .and_then(|config| config.sps.into_iter().find_map(hevc::picture_size));
            (hevc::profile_name(at(1) & 31), hevc::level_name(at(12)), size)
        }
        VideoCodec::Av1 => match av1::DecoderConfig::parse(record) {
            Some(config) => {
                (av1::profile_name(config.profile), av1::level_name(config.level), config.picture_size())
            }
            None => (UNKNOWN, UNKNOWN.to_owned(), None),
        },
        _ => (UNKNOWN, UNKNOWN.to_owned(), None),
    };
    let (width, height) = size.unwrap_or((0, 0));
    Some(VideoInfo { codec: tag.codec, profile: profile.to_owned(), level, width, height })
}

/// Reads the body of an audio tag that tells about the stream, as [`video_info`] does.
pub fn audio_info(body: &[u8]) -> Option<AudioInfo> {
    let tag = AudioTag::parse(body)?;
    let has_header = matches!(tag.codec, AudioCodec::Aac | AudioCodec::Opus | AudioCodec::Flac);
    if !tells(tag.track, tag.packet, tag.data, has_header) {
        return None;
    }
    let (sample_rate, channels, profile) = match tag.codec {
        AudioCodec::Aac => match aac::DecoderConfig::parse(tag.data) {
            Some(config) => (config.sample_rate, config.channels, config.profile_name()),
            None => (0, 0, UNKNOWN),
        },
        AudioCodec::Opus => (opus::SAMPLE_RATE, opus::channels(tag.data).unwrap_or(0), UNKNOWN),
        AudioCodec::Mp3 => match mp3::FrameHeader::parse(tag.data) {
            Some(header) => (header.sample_rate, header.channels, UNKNOWN),
            None => (tag.sample_rate, tag.channels, UNKNOWN),
        },
        _ => (tag.sample_rate, tag.channels, UNKNOWN),
    };
    Some(AudioInfo { codec: tag.codec, sample_rate, channels, profile: profile.to_owned() })
}

/// Whether a tag tells about the stream: its header, or coded data if its codec has none.
fn tells(track: u8, packet: Packet, data: &[u8], has_header: bool) -> bool {
    let expected = packet == Packet::Header || (packet == Packet::Coded && !has_header);
    expected && track == 0 && !data.is_empty()
}

/// Takes `count` units off `rest`, each behind its 16-bit length, as both avcC and hvcC list parameter
/// sets; empty units are left out. `None` if `rest` ends before.
fn split_sized<'a>(rest: &mut &'a [u8], count: usize) -> Option<Vec<&'a [u8]>> {
    let mut units = Vec::new();
    for _ in 0..count {
        let (&len, after) = rest.split_first_chunk()?;
        let (unit, after) = after.split_at_checked(u16::from_be_bytes(len).into())?;
        *rest = after;
        if !unit.is_empty() {
            units.push(unit);
        }
    }
    Some(units)
}

/// The reverse of [`split_sized`], behind the field that tells how many there are. `None` if a unit is longer than
/// its length can say.
fn join_sized<const N: usize>(record: &mut Vec<u8>, count: [u8; N], units: &[&[u8]]) -> Option<()> {
    record.extend_from_slice(&count);
    for unit in units {
        record.extend_from_slice(&u16::try_from(unit.len()).ok()?.to_be_bytes());
        record.extend_from_slice(unit);
    }
    Some(())
}
