//! Frames of a stream as samples of an MP4 track.
//!
//! A [`Source`] is made of a sequence header (or of the first coded frame, where the codec has none) and
//! then takes the frames of its track. Another header that describes the same gives an equal [`Track`]; one
//! that does not says that the file cannot go on.
//!
//! Video counts in milliseconds as its source does. Audio counts in samples of sound: its frames have a fixed
//! length, and as long as the timestamps of the stream tell the same within [`TOLERANCE`] they follow one
//! another without a gap; where they do not, the track jumps to what they tell.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{AudioCodec, VideoCodec, aac, av1, avc, hevc, mp3, opus};
use crate::flv::tag::{AudioTag, Packet, VideoTag};
use crate::frame::{Frame, FrameKind, Millis};
use crate::mp4::boxes::Writer;

/// How far timestamps of audio, which are rounded to milliseconds and often those of arrival, may be from a
/// gapless sequence of frames. More than that can be heard.
pub const TOLERANCE: Millis = 30;

/// Ticks per second of video.
const VIDEO_TIMESCALE: u32 = 1000;

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// Pictures of this size in pixels, 0 if unknown.
    Video {
        /// In pixels.
        width: u16,
        /// In pixels.
        height: u16,
    },
    /// Sound.
    Audio,
}

/// One track of a file, as its header describes it. Equal tracks can be continued by one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What it carries.
    pub media: Media,
    /// Ticks per second of its times.
    pub timescale: u32,
    /// The sample entry (8.5.2), a whole box.
    entry: Vec<u8>,
}

impl Track {
    /// Puts together what was read from a file.
    pub(crate) fn new(media: Media, timescale: u32, entry: Vec<u8>) -> Self {
        Self { media, timescale, entry }
    }

    pub(crate) fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// The type of its samples, such as `avc1` or `mp4a`.
    pub fn format(&self) -> [u8; 4] {
        self.entry.get(4..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
    }
}

/// One access unit in its track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Decoding time in the track's timescale.
    pub dts: i64,
    /// Presentation minus decoding time, likewise.
    pub cts: i32,
    /// How long it lasts, likewise, where the coding says so.
    pub duration: Option<u32>,
    /// Whether a decoder can start here.
    pub key: bool,
    /// What a decoder gets.
    pub data: Bytes,
}

/// Why a stream's track cannot be put into MP4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// No binding to MP4 exists, or none is written here.
    #[error("video codec {0:?} in MP4")]
    Video(VideoCodec),
    /// Likewise.
    #[error("audio codec {0:?} in MP4")]
    Audio(AudioCodec),
    /// The sequence header cannot be read.
    #[error("damaged sequence header")]
    Header,
}

/// Turns the frames of one track into samples.
#[derive(Debug, Clone)]
pub struct Source {
    track: Track,
    coding: Coding,
    codec: Codec,
    /// The first time the next sample can have, as no two have the same.
    earliest: i64,
    /// When sound goes on without a gap.
    next: Option<i64>,
}

/// What the frames of the track are coded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Video(VideoCodec),
    Audio(AudioCodec),
}

/// What has to be known of a codec to make samples.
#[derive(Debug, Clone, Copy)]
enum Coding {
    /// Length-prefixed NAL units; lengths of so many bytes.
    Nal { length_size: u8 },
    /// Whole access units.
    Video,
    /// Frames of so many samples.
    Fixed(u32),
    /// Each packet says how long it is.
    Opus,
}

impl Source {
    /// Reads what describes a track: a sequence header, or a coded frame of MP3 or headerless Opus. `None`
    /// for frames that describe nothing.
    pub fn new(frame: &Frame) -> Option<Result<Self, Unsupported>> {
        match frame.kind {
            FrameKind::VideoHeader => VideoTag::parse(&frame.payload).map(|tag| Self::video(&tag)),
            FrameKind::AudioHeader | FrameKind::Audio => {
                let tag = AudioTag::parse(&frame.payload)?;
                let coded =
                    matches!(tag.codec, AudioCodec::Mp3 | AudioCodec::Opus) && tag.packet == Packet::Coded;
                let described = frame.kind == FrameKind::AudioHeader || (coded && !tag.data.is_empty());
                (tag.track == 0 && described).then(|| Self::audio(&tag))
            }
            _ => None,
        }
    }

    /// The track as it stands in a file's header.
    pub fn track(&self) -> &Track {
        &self.track
    }

    /// Starts anew: the next frame need not follow the last. For the beginning of another file.
    pub fn restart(&mut self) {
        self.next = None;
        self.earliest = i64::MIN;
    }

    /// Makes a sample of a coded frame whose time is `dts` in the file; the frame's own is not looked at. `None`
    /// if it is none of this track's, or so damaged that no decoder could take it. Times only grow: a step
    /// back becomes the smallest step forward, and the presentation time is kept.
    pub fn sample(&mut self, frame: &Frame, dts: Millis) -> Option<Sample> {
        match self.coding {
            Coding::Nal { .. } | Coding::Video => self.picture(frame, dts),
            Coding::Fixed(_) | Coding::Opus => self.sound(frame, dts),
        }
    }

    fn picture(&mut self, frame: &Frame, dts: Millis) -> Option<Sample> {
        if !matches!(frame.kind, FrameKind::Keyframe | FrameKind::Video) {
            return None;
        }
        let tag = VideoTag::parse(&frame.payload)?;
        if tag.track != 0
            || tag.packet != Packet::Coded
            || tag.data.is_empty()
            || self.codec != Codec::Video(tag.codec)
        {
            return None;
        }
        let data = match self.coding {
            Coding::Nal { length_size } => nal_units(&frame.payload, tag.data, length_size)?,
            _ => frame.payload.slice_ref(tag.data),
        };
        let at = dts.max(self.earliest);
        self.earliest = at + 1;
        let cts = dts + i64::from(tag.cts) - at;
        let cts = cts.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        Some(Sample { dts: at, cts, duration: None, key: frame.kind == FrameKind::Keyframe, data })
    }

    fn sound(&mut self, frame: &Frame, dts: Millis) -> Option<Sample> {
        if frame.kind != FrameKind::Audio {
            return None;
        }
        let tag = AudioTag::parse(&frame.payload)?;
        if tag.track != 0
            || tag.packet != Packet::Coded
            || tag.data.is_empty()
            || self.codec != Codec::Audio(tag.codec)
        {
            return None;
        }
        let duration = match self.coding {
            Coding::Fixed(duration) => duration,
            _ => opus::duration(tag.data)?,
        };
        let scale = i64::from(self.track.timescale);
        let told = (dts.saturating_mul(scale).saturating_add(500)).div_euclid(1000);
        let at = match self.next {
            Some(next) if (told - next).abs() <= TOLERANCE * scale / 1000 => next,
            _ => told.max(self.earliest),
        };
        self.next = Some(at + i64::from(duration));
        self.earliest = at + 1;
        let data = frame.payload.slice_ref(tag.data);
        Some(Sample { dts: at, cts: 0, duration: Some(duration), key: true, data })
    }

    fn video(tag: &VideoTag) -> Result<Self, Unsupported> {
        let record = tag.data;
        let (format, config, size, coding, content): (_, _, _, _, Vec<u8>) = match tag.codec {
            VideoCodec::Avc => {
                let config = avc::DecoderConfig::parse(record).ok_or(Unsupported::Header)?;
                let size = config.sps.iter().find_map(|sps| avc::picture_size(sps));
                let coding = Coding::Nal { length_size: config.length_size };
                (b"avc1", b"avcC", size, coding, completed(&config, record))
            }
            VideoCodec::Hevc => {
                let config = hevc::DecoderConfig::parse(record).ok_or(Unsupported::Header)?;
                let size = config.sps.iter().find_map(|sps| hevc::picture_size(sps));
                // `hvc1` promises that all parameter sets are here.
                let whole = !config.vps.is_empty() && !config.sps.is_empty() && !config.pps.is_empty();
                let coding = Coding::Nal { length_size: config.length_size };
                (if whole { b"hvc1" } else { b"hev1" }, b"hvcC", size, coding, record.to_vec())
            }
            VideoCodec::Av1 => {
                let config = av1::DecoderConfig::parse(record).ok_or(Unsupported::Header)?;
                (b"av01", b"av1C", config.picture_size(), Coding::Video, record.to_vec())
            }
            codec => return Err(Unsupported::Video(codec)),
        };
        let (width, height) = size.unwrap_or((0, 0));
        let (width, height) = (width.try_into().unwrap_or(0), height.try_into().unwrap_or(0));
        let mut w = Writer::default();
        w.atom(format, |w| {
            w.zeros(6);
            w.u16(1); // data reference
            w.zeros(16);
            w.u16(width);
            w.u16(height);
            w.u32(72 << 16); // dots per inch
            w.u32(72 << 16);
            w.u32(0);
            w.u16(1); // frames in a sample
            w.zeros(32); // name of the encoder
            w.u16(24); // depth
            w.u16(0xffff);
            w.atom(config, |w| w.bytes(&content));
        });
        let track = Track::new(Media::Video { width, height }, VIDEO_TIMESCALE, w.out);
        Ok(Self { track, coding, codec: Codec::Video(tag.codec), earliest: i64::MIN, next: None })
    }

    fn audio(tag: &AudioTag) -> Result<Self, Unsupported> {
        const AAC: u8 = 0x40;
        const MPEG1_AUDIO: u8 = 0x6b;
        const MPEG2_AUDIO: u8 = 0x69;
        let (format, rate, channels, coding, content) = match tag.codec {
            AudioCodec::Aac => {
                let config = aac::DecoderConfig::parse(tag.data).ok_or(Unsupported::Header)?;
                // With SBR the decoded sound has twice the samples of the core.
                let samples = u64::from(config.frame_samples) * u64::from(config.sample_rate);
                let samples = samples / u64::from(config.core_rate.max(1));
                let coding = Coding::Fixed(u32::try_from(samples).map_err(|_| Unsupported::Header)?);
                (b"mp4a", config.sample_rate, config.channels, coding, esds(AAC, tag.data))
            }
            AudioCodec::Mp3 => {
                let header = mp3::FrameHeader::parse(tag.data).ok_or(Unsupported::Header)?;
                let (object, samples) =
                    if header.sample_rate >= 32_000 { (MPEG1_AUDIO, 1152) } else { (MPEG2_AUDIO, 576) };
                let coding = Coding::Fixed(samples);
                (b"mp4a", header.sample_rate, header.channels, coding, esds(object, &[]))
            }
            AudioCodec::Opus => {
                let head = if tag.packet == Packet::Header {
                    opus::Head::parse(tag.data).ok_or(Unsupported::Header)?
                } else {
                    opus::Head::guess(tag.data)
                };
                (b"Opus", opus::SAMPLE_RATE, head.channels, Coding::Opus, dops(&head))
            }
            codec => return Err(Unsupported::Audio(codec)),
        };
        if rate == 0 {
            return Err(Unsupported::Header);
        }
        let mut w = Writer::default();
        w.atom(format, |w| {
            w.zeros(6);
            w.u16(1); // data reference
            w.zeros(8);
            w.u16(channels.into());
            w.u16(16); // bits of a sample
            w.u32(0);
            // 16.16; what does not fit stands in the timescale and the codec's own configuration.
            w.u32(u16::try_from(rate).map_or(0, |rate| u32::from(rate) << 16));
            w.bytes(&content);
        });
        let track = Track::new(Media::Audio, rate, w.out);
        Ok(Self { track, coding, codec: Codec::Audio(tag.codec), earliest: i64::MIN, next: None })
    }
}

/// The record as files want it: with the extension that the High profiles must have and some encoders leave
/// out.
fn completed(config: &avc::DecoderConfig, record: &[u8]) -> Vec<u8> {
    let mut record = record.to_vec();
    if matches!(config.profile, 100 | 110 | 122 | 144) && config.ext.is_empty() {
        record.extend(config.sps.first().and_then(|sps| avc::record_extension(sps)).into_iter().flatten());
    }
    record
}

/// `esds` (ISO/IEC 14496-14, 5.6; descriptors in 14496-1, 7.2.6) for an object type and its configuration.
fn esds(object: u8, config: &[u8]) -> Vec<u8> {
    const ES: u8 = 3;
    const DECODER_CONFIG: u8 = 4;
    const DECODER_SPECIFIC: u8 = 5;
    const SL_CONFIG: u8 = 6;
    /// Tag and the longest form of a length (14496-1, 8.3.3).
    const HEAD: usize = 5;
    let descriptor = |w: &mut Writer, tag: u8, len: usize| {
        w.u8(tag);
        w.bytes(&[21, 14, 7].map(|shift| 0x80 | (len >> shift) as u8 & 0x7f));
        w.u8(len as u8 & 0x7f);
    };
    let specific = if config.is_empty() { 0 } else { HEAD + config.len() };
    let decoder = 13 + specific;
    let mut w = Writer::default();
    w.full(b"esds", 0, 0, |w| {
        descriptor(w, ES, 3 + HEAD + decoder + HEAD + 1);
        w.u16(0); // id: that of the track
        w.u8(0);
        descriptor(w, DECODER_CONFIG, decoder);
        w.u8(object);
        w.u8(0x15); // audio stream
        w.zeros(3 + 4 + 4); // buffer size and bit rates are not known
        if !config.is_empty() {
            descriptor(w, DECODER_SPECIFIC, config.len());
            w.bytes(config);
        }
        descriptor(w, SL_CONFIG, 1);
        w.u8(2); // the one for MP4 files
    });
    w.out
}

/// `dOps` (Encapsulation of Opus in ISO Base Media File Format, 4.3.2).
fn dops(head: &opus::Head) -> Vec<u8> {
    let mut w = Writer::default();
    w.atom(b"dOps", |w| {
        w.u8(0);
        w.u8(head.channels);
        w.u16(head.pre_skip);
        w.u32(head.input_rate);
        w.u16(head.gain as u16);
        w.bytes(head.mapping);
    });
    w.out
}

/// NAL units with lengths before them, as MP4 wants them. Some encoders put start codes into FLV instead;
/// those are replaced. `None` if it is neither.
fn nal_units(payload: &Bytes, data: &[u8], length_size: u8) -> Option<Bytes> {
    if is_length_prefixed(data, length_size) {
        return Some(payload.slice_ref(data));
    }
    let size = usize::from(length_size);
    let mut out = BytesMut::with_capacity(data.len() + 16);
    let mut rest = after_start_code(data)?;
    loop {
        let end = (0..rest.len()).find(|&at| rest[at..].starts_with(&[0, 0, 1])).unwrap_or(rest.len());
        let unit = without_trailing_zeros(&rest[..end]);
        if !unit.is_empty() {
            if size < 4 && unit.len() >> (8 * size) != 0 {
                return None;
            }
            out.put_slice(&(unit.len() as u32).to_be_bytes()[4 - size..]);
            out.put_slice(unit);
        }
        match rest.get(end + 3..) {
            Some(next) => rest = next,
            None => return (!out.is_empty()).then(|| out.freeze()),
        }
    }
}

/// What follows the zeros and the 1 at the beginning; `None` if it does not begin so.
fn after_start_code(data: &[u8]) -> Option<&[u8]> {
    let zeros = data.iter().take_while(|&&byte| byte == 0).count();
    (zeros >= 2 && data.get(zeros) == Some(&1)).then(|| &data[zeros + 1..])
}

/// Whether lengths and units fill the data exactly.
fn is_length_prefixed(mut data: &[u8], length_size: u8) -> bool {
    while !data.is_empty() {
        let Some((length, rest)) = data.split_at_checked(length_size.into()) else { return false };
        let length = length.iter().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte));
        match rest.get(length..) {
            Some(rest) => data = rest,
            None => return false,
        }
    }
    true
}

/// Without the zeros that may follow a NAL unit in a byte stream (H.264 annex B).
fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    &unit[..unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)]
}
