//! From a fragmented file to a classic one: index in front, payload behind it, seekable, starting at 0.
//!
//! [`Scan`] reads a file that [`fragment`](crate::mp4::fragment) wrote. It asks for byte ranges, so it runs
//! over a file of any length, and looks at headers only. A file whose writer was killed ends anywhere; the
//! scan ends with the last fragment that is whole. [`Scan::finish`] gives a [`Plan`]: a header to write, and
//! ranges of the old file to copy behind it.
//!
//! Memory: about four bytes for each sample, for ten hours of 30 frames a second with AAC some 12 MB, and
//! the same once more in the plan. [`MAX_SAMPLES`] bounds it.

use std::ops::Range;

use crate::frame::Millis;
use crate::mp4::MOVIE_TIMESCALE;
use crate::mp4::boxes::{Fields, HEADER, Tables, Writer, child, children, write_moov};
use crate::mp4::fragment::{IS_NOT_SYNC, RUN_FLAGS};
use crate::mp4::track::{Media, Track};

/// Samples of a file, all tracks together: sixty hours of 30 pictures and 47 frames of sound a second.
pub const MAX_SAMPLES: usize = 1 << 24;

/// The largest `moov` or `moof` looked at, in bytes. A fragment of a second has one of a few kilobytes.
const MAX_HEAD: u64 = 16 << 20;

/// The latest time looked at, in ticks of any track: some ninety years. Sums with it do not overflow.
const MAX_TIME: u64 = 1 << 48;

/// Header of a box with a 64-bit size.
const LONG_HEADER: usize = 16;

/// Why there is nothing to finalise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No whole fragment.
    #[error("no whole MP4 fragment in the file")]
    Nothing,
}

/// Reads the structure of a fragmented file, piece by piece.
#[derive(Debug)]
pub struct Scan {
    len: u64,
    at: u64,
    state: State,
    tracks: Vec<Table>,
    copies: Vec<Range<u64>>,
    /// Bytes of payload in `copies`.
    payload: u64,
    samples: usize,
}

#[derive(Debug)]
enum State {
    /// At the header of a box.
    Header,
    /// At the content of a box of this kind and length.
    Content([u8; 4], usize),
    /// Behind a `moof`, whose runs wait for their `mdat`; `moof` is where it began.
    Data { moof: u64, runs: Vec<Run> },
    /// Behind the last whole fragment.
    End,
}

/// The samples of one track in one fragment.
#[derive(Debug)]
struct Run {
    track: usize,
    /// From the beginning of the `moof`.
    offset: u64,
    samples: Vec<Entry>,
    dts: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    duration: u32,
    size: u32,
    key: bool,
    cts: i32,
}

impl Scan {
    /// Of a file of this length in bytes.
    pub fn new(len: u64) -> Self {
        Self {
            len,
            at: 0,
            state: State::Header,
            tracks: Vec::new(),
            copies: Vec::new(),
            payload: 0,
            samples: 0,
        }
    }

    /// The bytes it must be given next; `None` when it has seen enough.
    pub fn wants(&self) -> Option<Range<u64>> {
        let want = match self.state {
            State::Header | State::Data { .. } if self.len - self.at < HEADER as u64 => return None,
            State::Header | State::Data { .. } => (LONG_HEADER as u64).min(self.len - self.at),
            State::Content(_, len) => len as u64,
            State::End => return None,
        };
        Some(self.at..self.at + want)
    }

    /// Takes the bytes it wanted. Fewer mean that the file is shorter than was said, which ends it.
    pub fn give(&mut self, bytes: &[u8]) {
        let wanted = self.wants().map_or(0, |range| range.end - range.start);
        if (bytes.len() as u64) < wanted || self.step(bytes).is_none() {
            self.state = State::End;
        }
    }

    /// `None` where the file is torn, foreign or damaged.
    fn step(&mut self, bytes: &[u8]) -> Option<()> {
        match std::mem::replace(&mut self.state, State::End) {
            State::Header => {
                let (kind, header, len) = box_header(bytes)?;
                let end = self.at.checked_add(len).filter(|&end| end <= self.len)?;
                if matches!(&kind, b"moov" | b"moof") && len <= MAX_HEAD && header == HEADER {
                    self.at += header as u64;
                    self.state = State::Content(kind, (len as usize) - header);
                } else {
                    self.at = end;
                    self.state = State::Header;
                }
            }
            State::Content(kind, len) => {
                let bytes = &bytes[..len];
                let start = self.at - HEADER as u64;
                self.at += len as u64;
                if &kind == b"moov" {
                    // A second one would belong to another file.
                    if !self.tracks.is_empty() {
                        return None;
                    }
                    self.tracks = children(bytes)
                        .filter(|(kind, _)| kind == b"trak")
                        .map(|(_, trak)| read_trak(trak).map(Table::new))
                        .collect::<Option<_>>()?;
                    self.state = State::Header;
                } else {
                    let runs = children(bytes)
                        .filter(|(kind, _)| kind == b"traf")
                        .map(|(_, traf)| read_traf(traf, self.tracks.len()))
                        .collect::<Option<_>>()?;
                    self.state = State::Data { moof: start, runs };
                }
            }
            State::Data { moof, runs } => {
                let (kind, header, len) = box_header(bytes)?;
                let end = self.at.checked_add(len).filter(|&end| end <= self.len)?;
                if &kind != b"mdat" {
                    return None;
                }
                self.take_fragment(moof, &runs, self.at + header as u64..end)?;
                self.at = end;
                self.state = State::Header;
            }
            State::End => {}
        }
        Some(())
    }

    /// Adds a fragment whose payload is `data`; `None` if it is not laid out as ours are.
    fn take_fragment(&mut self, moof: u64, runs: &[Run], data: Range<u64>) -> Option<()> {
        let mut at = data.start;
        let samples: usize = runs.iter().map(|run| run.samples.len()).sum();
        if self.samples + samples > MAX_SAMPLES {
            return None;
        }
        for run in runs {
            let fits = moof.checked_add(run.offset)? == at && self.tracks[run.track].goes_on_at(run.dts);
            at = run.samples.iter().try_fold(at, |at, entry| at.checked_add(entry.size.into()))?;
            if !fits {
                return None;
            }
        }
        if at != data.end {
            return None;
        }
        for run in runs {
            let offset = self.payload + (moof + run.offset - data.start);
            self.tracks[run.track].push(offset, run);
        }
        self.samples += samples;
        self.payload += data.end - data.start;
        match self.copies.last_mut() {
            Some(last) if last.end == data.start => last.end = data.end,
            _ => self.copies.push(data),
        }
        Some(())
    }

    /// The plan of the classic file.
    pub fn finish(self) -> Result<Plan, Error> {
        let mut tracks = self.tracks;
        tracks.retain(|table| table.count() > 0);
        let start = tracks.iter().map(Table::first_shown).min().ok_or(Error::Nothing)?;
        for table in &mut tracks {
            table.delay = (table.first_shown() - start).max(0) as u64;
        }
        // How long the header is depends on whether offsets have 64 bits, and the other way round.
        let mut header = write_header(&tracks, self.payload, 0, false);
        let long = header.len() as u64 + self.payload > u32::MAX.into();
        if long {
            header = write_header(&tracks, self.payload, 0, true);
        }
        let header = write_header(&tracks, self.payload, header.len() as u64, long);
        let duration = tracks.iter().map(Table::presented).max().unwrap_or(0) as Millis;
        Ok(Plan { header, copies: self.copies, duration, samples: self.samples })
    }
}

/// How to write a classic file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it begins with: everything but the payload.
    pub header: Vec<u8>,
    /// What follows, as ranges of the fragmented file.
    pub copies: Vec<Range<u64>>,
    /// Of the file, in milliseconds.
    pub duration: Millis,
    /// Of all tracks together.
    pub samples: usize,
}

impl Plan {
    /// Bytes of the whole file.
    pub fn len(&self) -> u64 {
        self.header.len() as u64 + self.copies.iter().map(|range| range.end - range.start).sum::<u64>()
    }

    /// Never: there is always a header.
    pub fn is_empty(&self) -> bool {
        self.header.is_empty()
    }
}

/// Kind, length of the header and of the whole box.
fn box_header(bytes: &[u8]) -> Option<([u8; 4], usize, u64)> {
    let mut fields = Fields(bytes);
    let size = fields.u32()?;
    let kind = fields.u32()?.to_be_bytes();
    let (header, len) = if size == 1 { (LONG_HEADER, fields.u64()?) } else { (HEADER, size.into()) };
    (len >= header as u64).then_some((kind, header, len))
}

fn read_trak(trak: &[u8]) -> Option<Track> {
    let tkhd = child(trak, b"tkhd")?;
    // The last eight bytes in either version.
    let mut size = Fields(tkhd.get(tkhd.len().checked_sub(8)?..)?);
    let (width, height) = ((size.u32()? >> 16) as u16, (size.u32()? >> 16) as u16);
    let mdia = child(trak, b"mdia")?;
    let mut mdhd = Fields(child(mdia, b"mdhd")?);
    let version = mdhd.u32()? >> 24;
    mdhd.skip(if version == 1 { 16 } else { 8 })?;
    let timescale = mdhd.u32()?;
    let media = match child(mdia, b"hdlr")?.get(8..12)? {
        b"vide" => Media::Video { width, height },
        b"soun" => Media::Audio,
        _ => return None,
    };
    let stsd = child(child(child(mdia, b"minf")?, b"stbl")?, b"stsd")?;
    let entry = stsd.get(8..).filter(|entry| !entry.is_empty())?;
    (timescale > 0).then(|| Track::new(media, timescale, entry.to_vec()))
}

fn read_traf(traf: &[u8], tracks: usize) -> Option<Run> {
    let mut tfhd = Fields(child(traf, b"tfhd")?);
    tfhd.skip(4)?;
    let track = (tfhd.u32()? as usize).checked_sub(1).filter(|&track| track < tracks)?;
    let mut tfdt = Fields(child(traf, b"tfdt")?);
    let dts = if tfdt.u32()? >> 24 == 1 { tfdt.u64()? } else { tfdt.u32()?.into() };
    let mut trun = Fields(child(traf, b"trun")?);
    if trun.u32()? & 0xff_ffff != RUN_FLAGS {
        return None;
    }
    let count = trun.u32()? as usize;
    let offset = trun.u32()?.into();
    if count == 0 || trun.0.len() != count.checked_mul(16)? {
        return None;
    }
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let (duration, size) = (trun.u32()?, trun.u32()?);
        let key = trun.u32()? & IS_NOT_SYNC == 0;
        samples.push(Entry { duration, size, key, cts: trun.u32()? as i32 });
    }
    Some(Run { track, offset, samples, dts })
}

/// The index of one track, in the form it is written.
#[derive(Debug)]
struct Table {
    track: Track,
    /// Runs of equal durations: count and ticks.
    durations: Vec<(u32, u32)>,
    /// Runs of equal composition times.
    offsets: Vec<(u32, i32)>,
    /// Numbers of the key samples, from 1; not kept while all are.
    keys: Option<Vec<u32>>,
    sizes: Vec<u32>,
    /// Runs of chunks with equally many samples: number of the first chunk, samples.
    runs: Vec<(u32, u32)>,
    /// Where each chunk begins in the payload.
    chunks: Vec<u64>,
    first_dts: u64,
    /// Time and length of the last sample; its length is not among `durations` yet.
    last: Option<(u64, u32)>,
    first_pts: i64,
    /// By how much it begins after the file, in [`MOVIE_TIMESCALE`].
    delay: u64,
}

impl Table {
    fn new(track: Track) -> Self {
        Self {
            track,
            durations: Vec::new(),
            offsets: Vec::new(),
            keys: None,
            sizes: Vec::new(),
            runs: Vec::new(),
            chunks: Vec::new(),
            first_dts: 0,
            last: None,
            first_pts: i64::MAX,
            delay: 0,
        }
    }

    fn count(&self) -> usize {
        self.sizes.len()
    }

    /// Whether the next run may begin there: time only grows, by what a table can say.
    fn goes_on_at(&self, dts: u64) -> bool {
        dts < MAX_TIME && self.last.is_none_or(|(last, _)| dts >= last && dts - last <= u32::MAX.into())
    }

    fn push(&mut self, offset: u64, run: &Run) {
        let count = run.samples.len() as u32;
        self.chunks.push(offset);
        if self.runs.last().is_none_or(|&(_, samples)| samples != count) {
            self.runs.push((self.chunks.len() as u32, count));
        }
        let mut dts = run.dts;
        for entry in &run.samples {
            match self.last {
                Some((last, _)) => extend(&mut self.durations, (dts - last) as u32),
                None => self.first_dts = dts,
            }
            self.last = Some((dts, entry.duration));
            self.first_pts = self.first_pts.min(dts as i64 + i64::from(entry.cts));
            extend(&mut self.offsets, entry.cts);
            self.sizes.push(entry.size);
            let number = self.sizes.len() as u32;
            match &mut self.keys {
                Some(keys) if entry.key => keys.push(number),
                None if !entry.key => self.keys = Some((1..number).collect()),
                _ => {}
            }
            dts += u64::from(entry.duration);
        }
    }

    /// When its first sample is shown, in [`MOVIE_TIMESCALE`], rounded: the source may have counted in that.
    fn first_shown(&self) -> i64 {
        let scale = i64::from(self.track.timescale);
        (self.first_pts * i64::from(MOVIE_TIMESCALE) + scale / 2).div_euclid(scale)
    }

    /// Of the samples, in the track's timescale.
    fn duration(&self) -> u64 {
        let (last, length) = self.last.unwrap_or_default();
        last - self.first_dts + u64::from(length)
    }

    /// From the beginning of the file to the end of the track, in [`MOVIE_TIMESCALE`].
    fn presented(&self) -> u64 {
        self.delay + self.in_movie(self.duration())
    }

    /// From the first decoding time to the first presentation.
    fn skipped(&self) -> u64 {
        (self.first_pts - self.first_dts as i64).max(0) as u64
    }

    fn in_movie(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * u128::from(MOVIE_TIMESCALE) / u128::from(self.track.timescale)) as u64
    }
}

/// Counts a value in a list of runs.
fn extend<T: PartialEq>(runs: &mut Vec<(u32, T)>, value: T) {
    match runs.last_mut() {
        Some((count, last)) if *last == value => *count += 1,
        _ => runs.push((1, value)),
    }
}

/// A track and where its payload lies in the new file.
struct Placed<'a> {
    table: &'a Table,
    /// Bytes of the file before the payload.
    base: u64,
    /// Whether offsets need 64 bits.
    long: bool,
}

impl Tables for Placed<'_> {
    fn presented(&self) -> u64 {
        self.table.presented()
    }

    fn duration(&self) -> u64 {
        self.table.duration()
    }

    fn write_edits(&self, w: &mut Writer) {
        const NORMAL_RATE: u32 = 0x1_0000;
        let Table { delay, .. } = *self.table;
        w.atom(b"edts", |w| {
            w.full(b"elst", 1, 0, |w| {
                w.u32(if delay > 0 { 2 } else { 1 });
                if delay > 0 {
                    w.u64(delay);
                    w.u64(u64::MAX); // nothing is shown
                    w.u32(NORMAL_RATE);
                }
                w.u64(self.table.in_movie(self.duration()));
                w.u64(self.table.skipped());
                w.u32(NORMAL_RATE);
            });
        });
    }

    fn write_tables(&self, w: &mut Writer) {
        let table = self.table;
        let last = table.last.map_or(0, |(_, length)| length);
        w.full(b"stts", 0, 0, |w| {
            // The length of the last sample is its own, or one more of the run before.
            let mut durations = table.durations.clone();
            extend(&mut durations, last);
            w.u32(durations.len() as u32);
            for (count, duration) in durations {
                w.u32(count);
                w.u32(duration);
            }
        });
        if table.offsets.iter().any(|&(_, offset)| offset != 0) {
            w.full(b"ctts", 1, 0, |w| {
                w.u32(table.offsets.len() as u32);
                for &(count, offset) in &table.offsets {
                    w.u32(count);
                    w.u32(offset as u32);
                }
            });
        }
        if let Some(keys) = &table.keys {
            w.full(b"stss", 0, 0, |w| {
                w.u32(keys.len() as u32);
                keys.iter().for_each(|&key| w.u32(key));
            });
        }
        w.full(b"stsc", 0, 0, |w| {
            w.u32(table.runs.len() as u32);
            for &(first, samples) in &table.runs {
                w.u32(first);
                w.u32(samples);
                w.u32(1);
            }
        });
        w.full(b"stsz", 0, 0, |w| {
            w.u32(0);
            w.u32(table.sizes.len() as u32);
            table.sizes.iter().for_each(|&size| w.u32(size));
        });
        let offsets = table.chunks.iter().map(|chunk| self.base + chunk);
        w.full(if self.long { b"co64" } else { b"stco" }, 0, 0, |w| {
            w.u32(table.chunks.len() as u32);
            match self.long {
                true => offsets.for_each(|offset| w.u64(offset)),
                false => offsets.for_each(|offset| w.u32(offset as u32)),
            }
        });
    }
}

/// Everything before the payload. `base` is how long that is, which does not change its length.
fn write_header(tracks: &[Table], payload: u64, base: u64, long: bool) -> Vec<u8> {
    let mut w = Writer::default();
    w.atom(b"ftyp", |w| {
        w.bytes(b"isom");
        w.u32(512);
        w.bytes(b"isomiso2mp41");
    });
    let tracks: Vec<_> = tracks.iter().map(|table| (&table.track, Placed { table, base, long })).collect();
    write_moov(&mut w, &tracks, false);
    if long {
        w.u32(1);
        w.bytes(b"mdat");
        w.u64(payload + LONG_HEADER as u64);
    } else {
        w.u32((payload + HEADER as u64) as u32);
        w.bytes(b"mdat");
    }
    w.out
}
