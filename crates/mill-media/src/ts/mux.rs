//! Frames to transport packets.
//!
//! A [`Muxer`] is the state of one endless stream: codecs, parameter sets, counters, clocks. Each frame becomes
//! whole packets at once; nothing is held back.
//!
//! - **Tables.** PAT and PMT declare the tracks there really are. They stand before each keyframe, twice a second
//!   in between, and wherever the tracks change, then with another version. [`Muxer::write_tables`] puts them at
//!   the beginning of a segment; counters run on across segments.
//! - **Video.** Each access unit begins with a delimiter. Before a keyframe all parameter sets are repeated: those
//!   of the decoder configuration, and those that came in band since.
//! - **Sound.** One PES packet a frame, ADTS before AAC. Times are counted in samples.
//! - **Clock.** PCR is the stream's time; presentation and decoding are [`LEAD`] later. It travels with video, or
//!   with sound where there is no video, at least every 80 ms as far as there are frames. A jump of the timeline
//!   is marked as a discontinuity.
//!
//! Bounded: one frame is put together in a buffer that is reused, and parameter sets are limited in
//! [`crate::nal::ParameterSets`].

use bytes::BytesMut;

use crate::adts;
use crate::codec::{AudioCodec, VideoCodec, aac, mp3};
use crate::flv::tag::{AudioTag, Packet, VideoTag};
use crate::frame::{Frame, FrameKind, Millis};
use crate::nal::{Family, Kind, ParameterSets, START_CODE, Units};
use crate::time::{SampleClock, TICKS_PER_MS, Ticks};
use crate::ts::packet::{self, Adaptation, Counter};
use crate::ts::psi::{self, Program};
use crate::ts::{Coding, pes, pid};

/// How much later than the clock frames are to be decoded: what interleaving and transport may take.
pub const LEAD: Ticks = 200 * TICKS_PER_MS;

/// By how much counted samples may be away from their stamps.
const COUNTED: Ticks = 500 * TICKS_PER_MS;

/// Longest time between two pairs of tables: players that join through a dumb relay wait for them.
const TABLES_EVERY: Ticks = 500 * TICKS_PER_MS;

/// The clock goes with each frame of its own track, if so much has passed.
const PCR_STEP: Ticks = 20 * TICKS_PER_MS;

/// After so much it gets a packet of its own. The standard asks for 100 ms (2.7.2).
const PCR_EVERY: Ticks = 80 * TICKS_PER_MS;

/// Tracks may be interleaved this unevenly; a larger step back is a jump of the timeline.
const BACK: Ticks = 1000 * TICKS_PER_MS;

/// A larger step forward is a jump too, and not a slow stream.
const AHEAD: Ticks = 10_000 * TICKS_PER_MS;

/// Composition times beyond this are damage: it is longer than any reordering of pictures.
const MAX_CTS: Millis = 10_000;

/// The longest MP3 body: what a PES length can say. A frame has 1441 bytes at most.
const MAX_MP3: usize = 60_000;

/// `stream_id`s of PES packets, the first of their kind (2.4.3.7, table 2-22).
const VIDEO_STREAM: u8 = 0xe0;
const AUDIO_STREAM: u8 = 0xc0;

/// Why a frame was left out. Each reason is given once, and then the same frames are left out silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is no common way to carry this codec.
    #[error("MPEG-TS does not carry {} video", .0.name())]
    Video(VideoCodec),
    /// There is no common way to carry this codec.
    #[error("MPEG-TS does not carry {} audio", .0.name())]
    Audio(AudioCodec),
    /// Video that came before its decoder configuration, or with one that cannot be read.
    #[error("video without a decoder configuration")]
    NoVideoConfig,
    /// AAC that came before its decoder configuration, or with one ADTS has no words for.
    #[error("AAC without a decoder configuration that ADTS can express")]
    NoAudioConfig,
    /// A frame that cannot be taken apart into NAL units.
    #[error("damaged video frame")]
    DamagedVideo,
    /// An audio frame longer than its length field can say.
    #[error("audio frame too long")]
    LongAudio,
}

/// The video track.
#[derive(Debug)]
struct Video {
    sets: ParameterSets,
    length_size: u8,
}

/// The audio track.
#[derive(Debug)]
enum Audio {
    Aac { header: adts::Header, samples: u32, rate: u32 },
    Mp3 { coding: Coding },
}

/// Turns the frames of one stream into transport packets.
#[derive(Debug)]
pub struct Muxer {
    video: Option<Video>,
    audio: Option<Audio>,
    /// What the last PMT declared, and its version.
    declared: Option<Program>,
    version: u8,
    counters: Counters,
    /// Time of the newest frame.
    newest: Option<Ticks>,
    /// Time of the last PCR.
    pcr: Option<Ticks>,
    /// The next PCR begins a new time.
    discontinuity: bool,
    /// Time of the last tables.
    tables: Option<Ticks>,
    /// Tables were the last thing written.
    fresh_tables: bool,
    sound: SampleClock,
    /// By how much pictures were ever to be shown before they are decoded, in milliseconds.
    early: Millis,
    told: Vec<Unfit>,
    /// One PES packet.
    pes: Vec<u8>,
}

#[derive(Debug)]
struct Counters {
    pat: Counter,
    pmt: Counter,
    video: Counter,
    aac: Counter,
    mp3: Counter,
}

impl Counters {
    fn of(&mut self, pid: u16) -> &mut Counter {
        match pid {
            pid::AAC => &mut self.aac,
            pid::MP3 => &mut self.mp3,
            _ => &mut self.video,
        }
    }
}

impl Default for Muxer {
    fn default() -> Self {
        Self::new()
    }
}

impl Muxer {
    /// A stream nothing is known of yet.
    pub fn new() -> Self {
        let counter = Counter::new();
        Self {
            video: None,
            audio: None,
            declared: None,
            version: 0,
            counters: Counters { pat: counter, pmt: counter, video: counter, aac: counter, mp3: counter },
            newest: None,
            pcr: None,
            discontinuity: false,
            tables: None,
            fresh_tables: false,
            sound: SampleClock::new(),
            early: 0,
            told: Vec::new(),
            pes: Vec::new(),
        }
    }

    /// Whether sound is timed by its samples alone, until its stamps are half a second away from them. To be said
    /// before the first frame.
    pub fn count_samples(&mut self, counted: bool) {
        self.sound = if counted { SampleClock::counting(COUNTED) } else { SampleClock::new() };
    }

    /// Appends a frame as whole packets. Headers only teach the muxer and append nothing; so does metadata.
    ///
    /// # Errors
    /// [`Unfit`] if the frame had to be left out for a reason not given before. The muxer goes on.
    pub fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Unfit> {
        let written = match frame.kind {
            FrameKind::Metadata => Ok(()),
            kind if kind.is_video() => self.write_video(frame, out),
            _ => self.write_audio(frame, out),
        };
        match written {
            Err(unfit) if self.told.contains(&unfit) => Ok(()),
            Err(unfit) => {
                self.told.push(unfit);
                Err(unfit)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Appends PAT and PMT: at the beginning of a segment, or where players may start. Not again if they were
    /// the last thing written, nor while there is no track to declare.
    pub fn write_tables(&mut self, out: &mut BytesMut) {
        let program = self.program();
        if self.fresh_tables && self.declared == Some(program) || program == Program::default() {
            return;
        }
        if let Some(declared) = self.declared.replace(program)
            && declared != program
        {
            self.version = (self.version + 1) & 31;
            if declared.pcr_pid() != program.pcr_pid() {
                self.pcr = None;
            }
        }
        let (pat, pmt) = (self.counters.pat.advance(), self.counters.pmt.advance());
        self.put_tables(pat, pmt, out);
        self.tables = self.newest;
        self.fresh_tables = true;
    }

    /// Appends PAT and PMT as they last stood, for one viewer who starts right here: to it the next ones go on
    /// without a gap, and to all others nothing was inserted.
    pub fn repeat_tables(&self, out: &mut BytesMut) {
        self.put_tables(self.counters.pat.last(), self.counters.pmt.last(), out);
    }

    fn put_tables(&self, pat: u8, pmt: u8, out: &mut BytesMut) {
        let Some(program) = &self.declared else { return };
        packet::write_section(out, pid::PAT, pat, &psi::pat());
        packet::write_section(out, pid::PMT, pmt, &psi::pmt(program, self.version));
    }

    /// Time does not go on from here: the next clock reference says so.
    pub fn mark_discontinuity(&mut self) {
        self.discontinuity = true;
    }

    /// Whether some track so far can be carried.
    pub fn has_tracks(&self) -> bool {
        self.program() != Program::default()
    }

    /// Whether there is video and audio, and neither can be carried.
    pub fn is_hopeless(&self) -> bool {
        let told = |what: fn(&Unfit) -> bool| self.told.iter().any(what);
        !self.has_tracks()
            && told(|unfit| matches!(unfit, Unfit::Video(_)))
            && told(|unfit| matches!(unfit, Unfit::Audio(_)))
    }

    fn program(&self) -> Program {
        Program {
            audio: self.audio.as_ref().map(|audio| match audio {
                Audio::Aac { .. } => Coding::Aac,
                Audio::Mp3 { coding } => *coding,
            }),
            video: self.video.as_ref().map(|video| match video.sets.family() {
                Family::Avc => Coding::Avc,
                Family::Hevc => Coding::Hevc,
            }),
        }
    }

    fn write_video(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Unfit> {
        let Some(tag) = VideoTag::parse(&frame.payload).filter(|tag| tag.track == 0) else { return Ok(()) };
        // Commands, colour information and the like are no pictures in any codec.
        if !matches!(tag.packet, Packet::Header | Packet::Coded) {
            return Ok(());
        }
        let Some(family) = Family::of(tag.codec) else {
            if tag.packet == Packet::Header {
                self.video = None;
            }
            return Err(Unfit::Video(tag.codec));
        };
        if tag.packet == Packet::Header {
            let known = ParameterSets::from_record(family, tag.data);
            self.video = known.map(|(sets, length_size)| Video { sets, length_size });
            return if self.video.is_some() { Ok(()) } else { Err(Unfit::NoVideoConfig) };
        }
        let video = self.video.as_mut().filter(|video| video.sets.family() == family);
        let video = video.ok_or(Unfit::NoVideoConfig)?;
        let units = Units::new(tag.data, video.length_size).ok_or(Unfit::DamagedVideo)?;
        let (mut key, mut picture) = (frame.kind == FrameKind::Keyframe, false);
        for unit in units.clone() {
            match family.kind(unit) {
                Kind::Delimiter => {}
                Kind::RandomAccess => (key, picture) = (true, true),
                Kind::Other => picture = true,
                Kind::Vps | Kind::Sps | Kind::Pps => video.sets.note(unit),
            }
        }
        if !picture {
            return Ok(());
        }

        let cts = Millis::from(tag.cts);
        let pts = frame.dts + if cts.abs() <= MAX_CTS { cts } else { 0 };
        // Decoding has to come before showing. So that it goes on evenly, all pictures are decoded as much
        // earlier as the worst one has to be.
        self.early = self.early.max(frame.dts - pts);
        let dts = (frame.dts - self.early).min(pts);

        let pes = &mut self.pes;
        pes.clear();
        pes::write_header(pes, VIDEO_STREAM, ticks(pts) + LEAD, ticks(dts) + LEAD);
        put_unit(pes, family.delimiter());
        if key {
            video.sets.iter().for_each(|unit| put_unit(pes, unit));
        }
        for unit in units {
            let kind = family.kind(unit);
            if kind != Kind::Delimiter && !(key && kind.is_parameter_set()) {
                put_unit(pes, unit);
            }
        }
        self.put_pes(pid::VIDEO, ticks(frame.dts), key, out);
        Ok(())
    }

    fn write_audio(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Unfit> {
        let Some(tag) = AudioTag::parse(&frame.payload).filter(|tag| tag.track == 0) else { return Ok(()) };
        let stamp = ticks(frame.dts);
        match (tag.codec, tag.packet) {
            (_, Packet::End | Packet::Other) => Ok(()),
            (AudioCodec::Aac, Packet::Header) => {
                let config = aac::DecoderConfig::parse(tag.data);
                let known = config.and_then(|config| Some((adts::Header::new(&config)?, config)));
                self.audio = known.map(|(header, config)| Audio::Aac {
                    header,
                    samples: config.frame_samples.into(),
                    rate: config.core_rate,
                });
                if self.audio.is_some() { Ok(()) } else { Err(Unfit::NoAudioConfig) }
            }
            (AudioCodec::Aac, Packet::Coded) => {
                let Some(Audio::Aac { header, samples, rate }) = self.audio else {
                    return Err(Unfit::NoAudioConfig);
                };
                let header = header.write(tag.data.len()).ok_or(Unfit::LongAudio)?;
                let time = self.sound.next(stamp, samples, rate);
                self.put_sound(pid::AAC, time, &header, tag.data, out);
                Ok(())
            }
            (AudioCodec::Mp3, Packet::Coded) => {
                if tag.data.len() > MAX_MP3 {
                    return Err(Unfit::LongAudio);
                }
                let counted = mp3::count_samples(tag.data);
                let coding = match (counted, &self.audio) {
                    (Some((_, rate)), _) if rate < 32_000 => Coding::Mp3Low,
                    (None, Some(Audio::Mp3 { coding })) => *coding,
                    _ => Coding::Mp3,
                };
                let time = match counted {
                    Some((samples, rate)) => self.sound.next(stamp, samples, rate),
                    None => stamp,
                };
                self.audio = Some(Audio::Mp3 { coding });
                self.put_sound(pid::MP3, time, &[], tag.data, out);
                Ok(())
            }
            (codec, Packet::Header | Packet::Coded) => {
                if tag.packet == Packet::Header {
                    self.audio = None;
                }
                Err(Unfit::Audio(codec))
            }
        }
    }

    fn put_sound(&mut self, pid: u16, time: Ticks, header: &[u8], data: &[u8], out: &mut BytesMut) {
        if data.is_empty() {
            return;
        }
        self.pes.clear();
        pes::write_header(&mut self.pes, AUDIO_STREAM, time + LEAD, time + LEAD);
        self.pes.extend_from_slice(header);
        self.pes.extend_from_slice(data);
        self.put_pes(pid, time, false, out);
    }

    /// Appends the PES packet that was put together for the stream's time `time`, and before it what is due.
    fn put_pes(&mut self, pid: u16, time: Ticks, key: bool, out: &mut BytesMut) {
        let newest = *self.newest.get_or_insert(time);
        if time < newest - BACK || time > newest + AHEAD {
            self.discontinuity = true;
        }
        let newest = if self.discontinuity { time } else { time.max(newest) };
        self.newest = Some(newest);

        let stale = self.tables.is_none_or(|last| (newest - last).abs() >= TABLES_EVERY);
        if key || stale || self.declared != Some(self.program()) {
            self.write_tables(out);
        }
        let clock_pid = self.program().pcr_pid();
        let first = self.adaptation(clock_pid == pid, key, newest);
        if first.pcr.is_some() && clock_pid != pid {
            packet::write_adaptation(out, clock_pid, self.counters.of(clock_pid), first);
        }
        let first = if clock_pid == pid { first } else { Adaptation::default() };
        pes::finish(&mut self.pes);
        packet::write_payload(out, pid, self.counters.of(pid), first, &self.pes);
        self.fresh_tables = false;
    }

    /// What the packet says that is next on the clock's track: the beginning of a frame of its `own`, or a packet
    /// only for the clock.
    fn adaptation(&mut self, own: bool, key: bool, now: Ticks) -> Adaptation {
        // Sound is a place to start at where there is nothing else.
        let random_access = own && (key || self.video.is_none());
        let passed = self.pcr.map_or(Ticks::MAX, |last| now - last);
        let due = match own {
            // Who starts here should not have to wait for the clock.
            _ if self.fresh_tables || own && key => 1,
            true => PCR_STEP,
            false => PCR_EVERY,
        };
        if passed < due && !self.discontinuity {
            return Adaptation { random_access, ..Adaptation::default() };
        }
        let first_ever = self.pcr.is_none();
        self.pcr = Some(now);
        let discontinuity = std::mem::take(&mut self.discontinuity) && !first_ever;
        Adaptation { discontinuity, random_access, pcr: Some(now) }
    }
}

fn ticks(time: Millis) -> Ticks {
    time.saturating_mul(TICKS_PER_MS)
}

fn put_unit(pes: &mut Vec<u8>, unit: &[u8]) {
    pes.extend_from_slice(&START_CODE);
    pes.extend_from_slice(unit);
}
