//! The packets of all tracks of one sender, to frames.
//!
//! ```text
//! RTP ─► reorder ─► depacketize ─► access unit ─► times ─► FLV body ─┐
//! RTCP ─────────────► timeline ──────────────────────┘               ├─► merged by time ─► frames
//! the other track ───────────────────────────────────────────────────┘
//! ```
//!
//! The first track of pictures and the first of sound are carried. Frames come out with rising times for each track,
//! and for both together as far as waiting [`HOLD`] for the other track can achieve.
//!
//! Bounded: packets by [`crate::reorder`], access units by [`crate::payload`], frames that wait for the other track
//! by [`MAX_WAITING`] and [`MAX_WAITING_BYTES`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mill_media::codec::{avc, hevc};
use mill_media::es::{Pictures, Sound};
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_media::nal::{Family, Kind};

use crate::clock::{Micros, Moment, Timeline};
use crate::order::DecodeOrder;
use crate::packet::{Malformed, Packet};
use crate::payload::{Coding, Content, Depacketizer, Unit, Unsupported, opus_head};
use crate::reorder::{Counts, Reorder};
use crate::rtcp::{self, Report, SenderReport};
use crate::sdp::Media;

/// How long a frame waits for an earlier one of the other track.
pub const HOLD: Duration = Duration::from_millis(300);

/// A track that has brought nothing for so long is not waited for.
const ABSENT: Duration = Duration::from_secs(1);

/// Frames that may wait, of all tracks together.
pub const MAX_WAITING: usize = 512;

/// Their bytes.
pub const MAX_WAITING_BYTES: usize = 16 << 20;

/// How long after the last goodbye it is over: RTP may be on its way still, or another source of the same sender.
pub const GOODBYE: Duration = Duration::from_millis(500);

/// How often receiver reports are due (RFC 3550, 6.2: at least five seconds apart).
pub const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Units further than this from the packet that completed them belong to a clock that is gone, in seconds.
const MAX_DISTANCE: i64 = 10;

/// What arrives from one sender.
#[derive(Debug)]
pub struct Receiver {
    timeline: Timeline,
    /// As in the description; `None` for those that are not carried.
    tracks: Vec<Option<Track>>,
    merge: Merge,
    ssrc: u32,
    name: String,
    next_report: Instant,
}

#[derive(Debug)]
struct Track {
    payload_type: u8,
    clock_rate: u32,
    reorder: Reorder,
    depacketizer: Depacketizer,
    writer: Writer,
    /// The last sender report and when it came.
    report: Option<(SenderReport, Instant)>,
    /// It came before the first packet and is not on the timeline yet.
    report_waits: bool,
    last: Millis,
    malformed: u64,
    /// When its source has said goodbye.
    ended: Option<Instant>,
}

/// Makes FLV bodies.
#[derive(Debug)]
enum Writer {
    Pictures {
        family: Family,
        order: DecodeOrder,
        pictures: Pictures,
        sps: Bytes,
    },
    Aac {
        config: Bytes,
        sound: Sound,
    },
    Mp3(Sound),
    /// The first byte of the body.
    G711(u8),
    Opus {
        channels: u8,
        announced: bool,
    },
}

/// A track to receive.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// As it was described.
    pub media: &'a Media,
    /// How long a packet that is missing is waited for; zero where the transport keeps the order.
    pub wait: Duration,
}

/// Which tracks of a description are carried: the first of pictures and the first of sound that can be, by their
/// places; and why others are not.
pub fn choose(media: &[Media]) -> (Vec<usize>, Vec<(usize, Unsupported)>) {
    let (mut chosen, mut refused) = (Vec::new(), Vec::new());
    let (mut video, mut audio) = (false, false);
    for (track, media) in media.iter().enumerate() {
        match Depacketizer::new(media) {
            Ok(depacketizer) => {
                let taken = if depacketizer.coding().is_video() { &mut video } else { &mut audio };
                if std::mem::replace(taken, true) {
                    refused.push((track, Unsupported::Format("a second track of a kind".to_owned())));
                } else {
                    chosen.push(track);
                }
            }
            Err(why) => refused.push((track, why)),
        }
    }
    (chosen, refused)
}

impl Receiver {
    /// For tracks as they were described, in that order; `None` for those that are not to be received. Our own
    /// reports are made by `ssrc` under `name`.
    pub fn new(wanted: &[Option<Wanted<'_>>], ssrc: u32, name: impl Into<String>, now: Instant) -> Self {
        let rates = wanted.iter().map(|wanted| wanted.as_ref().map_or(1, |wanted| wanted.media.clock_rate));
        let tracks: Vec<_> = wanted.iter().map(|wanted| wanted.as_ref().and_then(Track::new)).collect();
        Self {
            timeline: Timeline::new(now, rates),
            merge: Merge::new(tracks.iter().map(|track| track.as_ref().map(|_| now)).collect()),
            tracks,
            ssrc,
            name: name.into(),
            next_report: now + REPORT_INTERVAL,
        }
    }

    /// A packet of RTP came for a track.
    pub fn handle_rtp(&mut self, track: usize, bytes: Bytes, now: Instant) {
        let Some(Some(state)) = self.tracks.get_mut(track) else { return };
        match Packet::parse(bytes) {
            Ok(packet) if packet.payload_type == state.payload_type => state.reorder.push(packet, now),
            Ok(_) | Err(Malformed) => state.malformed += 1,
        }
        self.advance(track, now);
    }

    /// A packet of RTCP came for a track.
    pub fn handle_rtcp(&mut self, track: usize, bytes: &[u8], now: Instant) {
        let Some(Some(state)) = self.tracks.get_mut(track) else { return };
        for report in rtcp::parse(bytes) {
            let known = state.reorder.ssrc();
            match report {
                Report::Sender(report) if known.is_none_or(|known| known == report.ssrc) => {
                    state.report = Some((report, now));
                    state.report_waits = known.is_none();
                    if known.is_some() {
                        self.timeline.report(track, report.ntp, report.rtp);
                    }
                }
                Report::Bye(sources) if known.is_some_and(|known| sources.contains(&known)) => {
                    state.ended.get_or_insert(now);
                }
                Report::Sender(_) | Report::Bye(_) => {}
            }
        }
    }

    /// The next frame. Times are in milliseconds since somewhere before the beginning.
    pub fn poll_frame(&mut self, now: Instant) -> Option<Frame> {
        for track in 0..self.tracks.len() {
            self.advance(track, now);
        }
        self.merge.pop(now)
    }

    /// Reports to send now, each for the track it is about; empty unless it is time.
    pub fn poll_reports(&mut self, now: Instant) -> Vec<(usize, BytesMut)> {
        let mut reports = Vec::new();
        if now < self.next_report {
            return reports;
        }
        self.next_report = now + REPORT_INTERVAL;
        for (track, state) in self.tracks.iter_mut().enumerate() {
            let Some(state) = state else { continue };
            let Some(mut block) = state.reorder.report() else { continue };
            if let Some((report, came)) = state.report {
                block.last_report = (report.ntp >> 16) as u32;
                block.since_report = (now.saturating_duration_since(came).as_secs_f64() * 65_536.0) as u32;
            }
            let mut out = BytesMut::new();
            rtcp::write_receiver_report(self.ssrc, &block, &self.name, &mut out);
            reports.push((track, out));
        }
        reports
    }

    /// When something is due even if nothing arrives.
    pub fn deadline(&self) -> Instant {
        let reorder = self.tracks.iter().flatten().filter_map(|track| track.reorder.deadline());
        let due = reorder.chain(self.merge.deadline()).chain(self.over_at());
        due.fold(self.next_report, Instant::min)
    }

    /// Whether every track that has brought anything has said goodbye, [`GOODBYE`] ago.
    pub fn ended(&self, now: Instant) -> bool {
        self.over_at().is_some_and(|over| over <= now)
    }

    fn over_at(&self) -> Option<Instant> {
        let heard = self.tracks.iter().flatten().filter(|track| track.reorder.ssrc().is_some());
        let goodbyes: Option<Vec<_>> = heard.map(|track| track.ended).collect();
        goodbyes?.into_iter().max().map(|last| last + GOODBYE)
    }

    /// What happened to the packets of all tracks.
    pub fn counts(&self) -> Counts {
        let counts = self.tracks.iter().flatten().map(|track| {
            let counts = track.reorder.counts();
            Counts { stray: counts.stray + track.malformed, ..counts }
        });
        counts.fold(Counts::default(), Counts::and)
    }

    /// Access units left out because something before them was lost.
    pub fn skipped(&self) -> u64 {
        self.tracks.iter().flatten().map(|track| track.depacketizer.skipped()).sum()
    }

    /// Takes a track's packets in order as far as that goes.
    fn advance(&mut self, track: usize, now: Instant) {
        let Some(Some(state)) = self.tracks.get_mut(track) else { return };
        while let Some(next) = state.reorder.pop(now) {
            let moment = self.timeline.place(track, next.packet.timestamp, next.arrived, next.begins);
            if moment.jumped {
                state.begin_again();
            }
            if std::mem::take(&mut state.report_waits)
                && let Some((report, _)) = state.report.filter(|(report, _)| report.ssrc == next.packet.ssrc)
            {
                self.timeline.report(track, report.ntp, report.rtp);
            }
            state.depacketizer.push(&next.packet, next.after_loss || moment.jumped);
            while let Some(unit) = state.depacketizer.pop() {
                let Some(ticks) = state.ticks(&unit, &next.packet, moment) else { continue };
                let time = |ticks| self.timeline.time(track, ticks);
                if unit.resumes {
                    state.forget_order();
                }
                state.write(unit.content, ticks, time, |frame| self.merge.push(track, frame, now));
            }
        }
    }
}

impl Track {
    fn new(wanted: &Wanted<'_>) -> Option<Self> {
        let media = wanted.media;
        let depacketizer = Depacketizer::new(media).ok()?;
        let writer = match depacketizer.coding().clone() {
            Coding::Video(family, sets) => {
                let (mut order, mut pictures) = (DecodeOrder::new(media.clock_rate), Pictures::new(family));
                for set in &sets {
                    pictures.note(set);
                    order.expect(reorder_depth(family, set).unwrap_or(0));
                }
                Writer::Pictures { family, order, pictures, sps: Bytes::new() }
            }
            Coding::Aac(config) => Writer::Aac { config, sound: Sound::new() },
            Coding::Mp3 => Writer::Mp3(Sound::new()),
            // Of 16 bits when decoded, one channel; the rate is in the format (FLV 10.1, E.4.2.1).
            Coding::G711(law) => Writer::G711(law << 4 | 2),
            Coding::Opus(channels) => Writer::Opus { channels, announced: false },
        };
        Some(Self {
            payload_type: media.payload_type,
            clock_rate: media.clock_rate,
            reorder: Reorder::new(wanted.wait, media.clock_rate),
            depacketizer,
            writer,
            report: None,
            report_waits: false,
            last: 0,
            malformed: 0,
            ended: None,
        })
    }

    /// The clock is another one from here on.
    fn begin_again(&mut self) {
        self.report = None;
        self.ended = None;
        self.forget_order();
    }

    /// Pictures from here on are not compared with those before.
    fn forget_order(&mut self) {
        if let Writer::Pictures { order, .. } = &mut self.writer {
            order.reset();
        }
    }

    /// When a unit is shown, on the track's clock, told from the packet that completed it.
    fn ticks(&self, unit: &Unit, packet: &Packet, moment: Moment) -> Option<i64> {
        let distance = i64::from(unit.timestamp.wrapping_sub(packet.timestamp) as i32);
        let near = distance.abs() <= MAX_DISTANCE * i64::from(self.clock_rate);
        near.then_some(moment.ticks + distance)
    }

    fn write(&mut self, content: Content, ticks: i64, time: impl Fn(i64) -> Micros, put: impl FnMut(Frame)) {
        match (&mut self.writer, content) {
            (Writer::Pictures { family, order, pictures, sps }, Content::Picture(units)) => {
                let set = units.iter().find(|unit| family.kind(unit) == Kind::Sps && *unit != sps);
                if let Some(set) = set {
                    order.expect(reorder_depth(*family, set).unwrap_or(0));
                    *sps = Bytes::copy_from_slice(set);
                }
                let times = order.next(ticks);
                let (decode, show) = (millis(time(times.decode)), millis(time(times.show)));
                self.last = self.last.max(decode);
                let cts = (show - self.last).clamp(0, i64::from(i16::MAX));
                pictures.take(units.iter().map(|unit| &unit[..]), self.last, cts as i32, put);
            }
            (writer, Content::Sound(frame)) => {
                self.last = self.last.max(millis(time(ticks)));
                writer.sound(&frame, self.last, put);
            }
            _ => {}
        }
    }
}

impl Writer {
    fn sound(&mut self, frame: &[u8], dts: Millis, mut put: impl FnMut(Frame)) {
        let mut write = |kind, parts: &[&[u8]]| put(Frame { kind, dts, payload: parts.concat().into() });
        match self {
            Self::Aac { config, sound } => sound.take_aac(config, frame, dts, put),
            Self::Mp3(sound) => sound.take_mp3(frame, dts, put),
            Self::G711(first) => write(FrameKind::Audio, &[&[*first], frame]),
            Self::Opus { channels, announced } => {
                // Enhanced RTMP: sound format 9, packet types 0 and 1, FourCC.
                if !std::mem::replace(announced, true) {
                    write(FrameKind::AudioHeader, &[b"\x90Opus", &opus_head(*channels)]);
                }
                write(FrameKind::Audio, &[b"\x91Opus", frame]);
            }
            Self::Pictures { .. } => {}
        }
    }
}

fn reorder_depth(family: Family, unit: &[u8]) -> Option<usize> {
    let depth = match family {
        Family::Avc => avc::reorder_depth(unit),
        Family::Hevc => hevc::reorder_depth(unit),
    };
    depth.map(usize::from)
}

/// The nearest millisecond.
fn millis(time: Micros) -> Millis {
    (time + 500).div_euclid(1000)
}

/// Puts the frames of several tracks into the order of their times.
#[derive(Debug)]
struct Merge {
    lines: Vec<Line>,
    count: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Line {
    frames: VecDeque<(Frame, Instant)>,
    /// When the last frame came; before the first, when waiting began. `None` if nothing is to come.
    heard: Option<Instant>,
}

impl Merge {
    /// For tracks that are waited for from then on.
    fn new(tracks: Vec<Option<Instant>>) -> Self {
        let lines = tracks.into_iter().map(|heard| Line { frames: VecDeque::new(), heard });
        Self { lines: lines.collect(), count: 0, bytes: 0 }
    }

    fn push(&mut self, track: usize, frame: Frame, now: Instant) {
        self.count += 1;
        self.bytes += frame.payload.len();
        let line = &mut self.lines[track];
        line.heard = Some(now);
        line.frames.push_back((frame, now));
    }

    fn pop(&mut self, now: Instant) -> Option<Frame> {
        let (track, came) = self.first()?;
        let full = self.count > MAX_WAITING || self.bytes > MAX_WAITING_BYTES;
        let awaited =
            |line: &Line| line.frames.is_empty() && line.heard.is_some_and(|heard| now < heard + ABSENT);
        if !full && now < came + HOLD && self.lines.iter().any(awaited) {
            return None;
        }
        let (frame, _) = self.lines[track].frames.pop_front()?;
        self.count -= 1;
        self.bytes -= frame.payload.len();
        Some(frame)
    }

    /// The track of the earliest frame, and when that came.
    fn first(&self) -> Option<(usize, Instant)> {
        let fronts = self.lines.iter().enumerate();
        let fronts = fronts.filter_map(|(track, line)| line.frames.front().map(|front| (track, front)));
        fronts.min_by_key(|(_, (frame, _))| frame.dts).map(|(track, (_, came))| (track, *came))
    }

    fn deadline(&self) -> Option<Instant> {
        self.first().map(|(_, came)| came + HOLD)
    }
}

#[cfg(test)]
mod tests;
