//! Transport packets to frames.
//!
//! Feed bytes as they come, then take [`Event`]s until there is none. Frames come out as FLV bodies, the way a
//! publisher would have sent them: a decoder configuration made from the parameter sets in the stream, then coded
//! frames. H.265 comes in the form of Enhanced RTMP.
//!
//! - **Loss.** A gap in a track's counter leaves out the frame it fell into, and is told. Lost framing is found
//!   again at the next two sync bytes that stand 188 bytes apart.
//! - **Tracks.** The first program of the PAT; in it the first track of video and the first of audio that can be
//!   carried. Others are told once. A new PMT may change them.
//! - **Beginning.** Video begins with the first access unit that has its parameter sets, sound with the first whole
//!   frame; [`crate::es`] makes frames of both.
//! - **Time.** Unwrapped over 33 bits, for both tracks together. The frames of a sound packet follow each other by
//!   their samples. A jump of the sender's clock stays a jump.
//!
//! Bounded: a PES packet by [`MAX_UNIT`], parameter sets in [`crate::nal::ParameterSets`], sections by 1 KiB, sound
//! that waits for its rest by 8 KiB. What was fed and not yet taken is the caller's to bound.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::adts;
use crate::codec::mp3;
use crate::es::{self, Pictures};
use crate::flv::demux::MAX_TAG;
use crate::frame::{Frame, Millis};
use crate::nal::{Family, Units};
use crate::time::{TICKS_PER_MS, Ticks, UnwrapTicks};
use crate::ts::packet::{self, Packet, SYNC};
use crate::ts::pes::{self, Pes};
use crate::ts::psi::{self, Sections};
use crate::ts::{Coding, pid};

/// The longest PES packet, in bytes; as for an FLV tag.
pub const MAX_UNIT: usize = MAX_TAG;

/// The longest sound frame that is waited for, in bytes; ADTS allows no longer one.
const MAX_SOUND: usize = adts::MAX_FRAME;

/// What came out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame. Its time is the sender's, in milliseconds; pictures come in the order of decoding.
    Frame(Frame),
    /// Something was left out. The demuxer goes on.
    Trouble(Trouble),
}

/// Why something was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Bytes between two packets that were none.
    #[error("{0} bytes without packets")]
    LostSync(usize),
    /// Packets of that track are missing, and with them one frame or more.
    #[error("packets missing on PID {0}")]
    Gap(u16),
    /// A PES packet that cannot be read, or has no time.
    #[error("damaged PES packet on PID {0}")]
    Damaged(u16),
    /// A PES packet of more than [`MAX_UNIT`].
    #[error("PES packet on PID {0} longer than {MAX_UNIT} bytes")]
    TooLong(u16),
    /// A track in a form that is not understood. Told once for each.
    #[error("tracks of stream type {0:#04x} are not carried")]
    Unsupported(u8),
    /// A track whose packets are encrypted. Told once for each PMT.
    #[error("PID {0} is scrambled")]
    Scrambled(u16),
}

/// One track.
#[derive(Debug)]
struct Track {
    pid: u16,
    coding: Coding,
    counter: Option<u8>,
    /// The PES packet that is being put together; empty between two.
    pes: Vec<u8>,
    told_scrambled: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Video(Pictures),
    Sound(Sound),
}

/// Takes one stream of packets apart.
#[derive(Debug, Default)]
pub struct Demuxer {
    buffer: BytesMut,
    /// The last packet was where it had to be, so the next is where the buffer begins.
    synced: bool,
    /// Bytes thrown away since the last packet.
    skipped: usize,
    pat: Sections,
    pmt: Sections,
    pmt_pid: Option<u16>,
    video: Option<Track>,
    audio: Option<Track>,
    told: Vec<u8>,
    out: Output,
}

/// Where the tracks put what they find.
#[derive(Debug, Default)]
struct Output {
    events: VecDeque<Event>,
    time: UnwrapTicks,
}

impl Output {
    fn trouble(&mut self, trouble: Trouble) {
        self.events.push_back(Event::Trouble(trouble));
    }
}

impl Demuxer {
    /// A demuxer somewhere in a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes of the stream; they may end anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What comes next; `None` until more bytes come.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None is not its end")]
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.out.events.pop_front() {
                return Some(event);
            }
            if !self.find_packet() {
                return None;
            }
            self.take_packet();
        }
    }

    /// Whether the tables declare a track of video that can be carried.
    pub fn has_video(&self) -> bool {
        self.video.is_some()
    }

    /// Whether they declare a track of sound.
    pub fn has_audio(&self) -> bool {
        self.audio.is_some()
    }

    /// The stream has ended: what waited for a next packet may come out now.
    pub fn finish(&mut self) {
        for track in [&mut self.video, &mut self.audio].into_iter().flatten() {
            track.end_unit(&mut self.out);
        }
    }

    /// Makes the buffer begin with a whole packet.
    fn find_packet(&mut self) -> bool {
        if self.synced && self.buffer.first().is_some_and(|&byte| byte != SYNC) {
            self.synced = false;
        }
        while !self.synced {
            let start = self.buffer.iter().position(|&byte| byte == SYNC).unwrap_or(self.buffer.len());
            self.skip(start);
            // One sync byte may be anything; two in their places are packets.
            match self.buffer.get(packet::LEN) {
                Some(&SYNC) => {
                    self.synced = true;
                    let skipped = std::mem::take(&mut self.skipped);
                    if skipped > 0 {
                        self.out.trouble(Trouble::LostSync(skipped));
                    }
                }
                Some(_) => self.skip(1),
                None => return false,
            }
        }
        self.buffer.len() >= packet::LEN
    }

    fn skip(&mut self, len: usize) {
        self.buffer.advance(len);
        self.skipped += len;
    }

    fn take_packet(&mut self) {
        let bytes = self.buffer.split_to(packet::LEN);
        let Some(packet) = bytes.first_chunk().and_then(Packet::parse) else { return };
        if packet.pid == pid::PAT {
            let Some(payload) = packet.payload else { return };
            let mut found = None;
            self.pat.feed(packet.starts, payload, |section| found = psi::read_pat(section).or(found));
            if found.is_some() && found != self.pmt_pid {
                self.pmt_pid = found;
                self.pmt = Sections::default();
            }
        } else if Some(packet.pid) == self.pmt_pid {
            let Some(payload) = packet.payload else { return };
            let mut tracks = None;
            self.pmt
                .feed(packet.starts, payload, |section| tracks = psi::read_pmt(section).or(tracks.take()));
            if let Some(tracks) = tracks {
                self.choose(&tracks);
            }
        } else {
            let tracks = [&mut self.video, &mut self.audio];
            if let Some(track) = tracks.into_iter().flatten().find(|track| track.pid == packet.pid) {
                track.take(&packet, &mut self.out);
            }
        }
    }

    /// Follows what the PMT declares. Tracks that stay as they are go on undisturbed.
    fn choose(&mut self, tracks: &[(u8, u16)]) {
        let (mut video, mut audio) = (None, None);
        for &(stream_type, pid) in tracks {
            match Coding::from_stream_type(stream_type) {
                Some(coding) if coding.is_video() => video = video.or(Some((coding, pid))),
                Some(coding) => audio = audio.or(Some((coding, pid))),
                None if self.told.contains(&stream_type) => {}
                None => {
                    self.told.push(stream_type);
                    self.out.trouble(Trouble::Unsupported(stream_type));
                }
            }
        }
        for (place, wanted) in [(&mut self.video, video), (&mut self.audio, audio)] {
            if place.as_ref().map(|track| (track.coding, track.pid)) == wanted {
                continue;
            }
            if let Some(track) = place {
                track.end_unit(&mut self.out);
            }
            *place = wanted.map(|(coding, pid)| Track::new(coding, pid));
        }
    }
}

impl Track {
    fn new(coding: Coding, pid: u16) -> Self {
        let content = match coding {
            Coding::Avc => Content::Video(Pictures::new(Family::Avc)),
            Coding::Hevc => Content::Video(Pictures::new(Family::Hevc)),
            Coding::Aac | Coding::Mp3 | Coding::Mp3Low => Content::Sound(Sound::new(coding)),
        };
        Self { pid, coding, counter: None, pes: Vec::new(), told_scrambled: false, content }
    }

    fn take(&mut self, packet: &Packet<'_>, out: &mut Output) {
        let Some(payload) = packet.payload else { return };
        if packet.scrambled {
            if !std::mem::replace(&mut self.told_scrambled, true) {
                out.trouble(Trouble::Scrambled(self.pid));
            }
            return;
        }
        let last = self.counter.replace(packet.counter);
        if !packet.adaptation.discontinuity {
            // A packet may be sent twice (2.4.3.3).
            if last == Some(packet.counter) {
                return;
            }
            if last.is_some_and(|last| (last + 1) & 15 != packet.counter) {
                self.lose();
                out.trouble(Trouble::Gap(self.pid));
            }
        }
        if packet.starts {
            self.end_unit(out);
        } else if self.pes.is_empty() {
            // The beginning of this one was lost, or it is what follows a unit's announced end.
            return;
        }
        self.pes.extend_from_slice(payload);
        if self.pes.len() > MAX_UNIT {
            self.lose();
            out.trouble(Trouble::TooLong(self.pid));
        } else if pes::announced_len(&self.pes).is_some_and(|len| self.pes.len() >= len) {
            self.end_unit(out);
        }
    }

    /// What was begun cannot be completed.
    fn lose(&mut self) {
        self.pes = Vec::new();
        if let Content::Sound(sound) = &mut self.content {
            sound.lose();
        }
    }

    /// The PES packet is complete, as far as anybody can tell.
    fn end_unit(&mut self, out: &mut Output) {
        if self.pes.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.pes);
        let announced = pes::announced_len(&bytes);
        bytes.truncate(announced.unwrap_or(bytes.len()));
        let whole = announced.is_none_or(|len| bytes.len() == len);
        let taken = match Pes::parse(&bytes).filter(|_| whole) {
            Some(pes) => match &mut self.content {
                Content::Video(pictures) => take_pictures(pictures, &pes, out),
                Content::Sound(sound) => sound.take(&pes, out),
            },
            None => Err(Unreadable),
        };
        if taken.is_err() {
            if let Content::Sound(sound) = &mut self.content {
                sound.lose();
            }
            out.trouble(Trouble::Damaged(self.pid));
        }
        // The next one is about as long.
        bytes.clear();
        self.pes = bytes;
    }
}

/// A PES packet whose content is not what was declared.
struct Unreadable;

/// One access unit in each PES packet.
fn take_pictures(pictures: &mut Pictures, pes: &Pes<'_>, out: &mut Output) -> Result<(), Unreadable> {
    let Pes { pts: Some(pts), dts, payload } = *pes else { return Err(Unreadable) };
    let decode = out.time.next(dts.unwrap_or(pts));
    // From here on only their distance counts, which is small in either direction.
    let shown = out.time.clone().next(pts);
    let cts = millis(shown) - millis(decode);
    let units = Units::byte_stream(payload);
    pictures.take(units, millis(decode), cts as i32, |frame| out.events.push_back(Event::Frame(frame)));
    Ok(())
}

/// Frames of AAC or MP3: any number in a PES packet, and any of them may go on in the next.
#[derive(Debug)]
struct Sound {
    coding: Coding,
    /// The track is of layer I or II, which shares its stream type with MP3.
    other_layer: bool,
    /// A frame that has begun.
    rest: Vec<u8>,
    /// Time of the next frame, if it is not stamped.
    next: Option<Ticks>,
    frames: es::Sound,
}

/// A sound frame's place in its bytes, and how long it lasts.
struct SoundFrame {
    header: usize,
    len: usize,
    samples: u32,
    rate: u32,
    format: Format,
}

enum Format {
    Aac(adts::Header),
    Mp3,
}

impl Sound {
    fn new(coding: Coding) -> Self {
        Self { coding, other_layer: false, rest: Vec::new(), next: None, frames: es::Sound::new() }
    }

    fn lose(&mut self) {
        self.rest.clear();
        self.next = None;
    }

    fn take(&mut self, pes: &Pes<'_>, out: &mut Output) -> Result<(), Unreadable> {
        if self.is_other_layer(pes.payload, out) {
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.rest);
        // The stamp is for the first frame that begins in this packet.
        let (stamped_from, mut stamp) = (bytes.len(), pes.pts);
        bytes.extend_from_slice(pes.payload);
        let (mut at, mut result) = (0, Ok(()));
        loop {
            let rest = &bytes[at..];
            let known = match self.parse(rest) {
                Some(frame) if frame.len <= rest.len() => frame,
                Some(_) => break,
                None if rest.len() < adts::HEADER_LEN => break,
                None => {
                    // Not where a frame begins.
                    result = Err(Unreadable);
                    let next = (1..rest.len()).find(|&skip| rest[skip] == 0xff).unwrap_or(rest.len());
                    at += next;
                    continue;
                }
            };
            if at >= stamped_from
                && let Some(pts) = stamp.take()
            {
                self.next = Some(out.time.next(pts));
            }
            let frame = &rest[known.header..known.len];
            at += known.len;
            // The rest of a frame whose beginning had no time.
            let Some(time) = self.next else { continue };
            self.next = Some(time + (u64::from(known.samples) * 90_000 / u64::from(known.rate)) as Ticks);
            self.put(&known.format, frame, time, out);
        }
        bytes.drain(..at);
        if bytes.len() > MAX_SOUND {
            bytes.clear();
        }
        self.rest = bytes;
        result
    }

    /// Whether this is sound that FLV has no number for; told once.
    fn is_other_layer(&mut self, payload: &[u8], out: &mut Output) -> bool {
        if self.coding == Coding::Aac || !self.rest.is_empty() {
            return false;
        }
        let other = mp3::FrameHeader::parse(payload).is_some_and(|header| header.layer != 3);
        if other && !std::mem::replace(&mut self.other_layer, true) {
            out.trouble(Trouble::Unsupported(self.coding.stream_type()));
        }
        other
    }

    fn put(&mut self, format: &Format, frame: &[u8], time: Ticks, out: &mut Output) {
        let put = |frame| out.events.push_back(Event::Frame(frame));
        match format {
            Format::Aac(header) => self.frames.take_aac(&header.config(), frame, millis(time), put),
            Format::Mp3 => self.frames.take_mp3(frame, millis(time), put),
        }
    }

    /// The frame that begins here; `None` if there is none, or one that cannot be carried on its own.
    fn parse(&self, bytes: &[u8]) -> Option<SoundFrame> {
        if self.coding == Coding::Aac {
            let (header, layout) = adts::Header::parse(bytes)?;
            return (layout.blocks == 1).then_some(SoundFrame {
                header: layout.header,
                len: layout.frame,
                samples: 1024,
                rate: header.sample_rate(),
                format: Format::Aac(header),
            });
        }
        let header = mp3::FrameHeader::parse(bytes)?;
        Some(SoundFrame {
            header: 0,
            len: header.len?,
            samples: header.samples.into(),
            rate: header.sample_rate,
            format: Format::Mp3,
        })
    }
}

/// The nearest millisecond.
fn millis(time: Ticks) -> Millis {
    (time + TICKS_PER_MS / 2).div_euclid(TICKS_PER_MS)
}
