//! Where to go on in a file when somebody wants the rest of it: pseudo-streaming by time.
//!
//! What is sent is a file of its own: the head of the old one with tables that begin at the keyframe at the time or before
//! it, and the payload from there on, as it lies in the file. All tracks begin where that keyframe does.
//!
//! For files with one `moov` and whole tables (ISO/IEC 14496-12, 8.5 to 8.7), wherever it stands; what comes in fragments is
//! not cut. Bounded by [`MAX_MOOV`] and [`MAX_BOXES`], whatever the file says.

use std::ops::Range;

use crate::mp4::boxes::{Fields, HEADER, Writer, child, children};

/// The largest `moov` that is read, in bytes: ten hours of video and audio.
pub const MAX_MOOV: u64 = 16 << 20;

/// Boxes looked at in a file outside of `moov`.
pub const MAX_BOXES: usize = 1000;

/// The longest delay an edit list is kept for, as a part of the timescale: pictures that are reordered.
const MAX_DELAY: u64 = 2;

/// What is sent instead of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    /// Sent first.
    pub front: Vec<u8>,
    /// Then these bytes of the file.
    pub payload: Range<u64>,
}

/// What becomes of a request for the rest of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It can be sent.
    Rest(Rest),
    /// Its beginning lies behind the end.
    BehindTheEnd,
    /// The file is not one that can be cut.
    Whole,
}

/// What to send to somebody who wants a file of `len` bytes from `start` milliseconds on; `read` gives ranges of it,
/// whole or fails.
///
/// # Errors
/// Those of `read`.
pub fn rest<E>(
    len: u64,
    start: u64,
    mut read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Found, E> {
    let (mut ftyp, mut moov, mut end) = (None, None, 0);
    let mut at = 0;
    for _ in 0..MAX_BOXES {
        if at + HEADER as u64 > len {
            break;
        }
        let header = read(at..(at + 16).min(len))?;
        let Some((kind, size)) = header_of(&header, len - at) else { break };
        let whole = at..at + size;
        match &kind {
            b"ftyp" if size <= 1024 => ftyp = Some(whole.clone()),
            b"moov" if size <= MAX_MOOV && moov.is_none() => moov = Some(whole.clone()),
            b"mdat" => end = whole.end,
            b"moof" => return Ok(Found::Whole),
            _ => {}
        }
        at = whole.end;
    }
    let (Some(ftyp), Some(moov)) = (ftyp, moov) else { return Ok(Found::Whole) };
    let (ftyp, moov) = (read(ftyp)?, read(moov)?);
    Ok(cut(&ftyp, &moov[HEADER..], end, start).unwrap_or(Found::Whole))
}

/// Kind and size of a box that begins here, with `left` bytes to the end of the file.
fn header_of(bytes: &[u8], left: u64) -> Option<([u8; 4], u64)> {
    let mut fields = Fields(bytes);
    let (size, kind) = (fields.u32()?, fields.u32()?.to_be_bytes());
    let size = match size {
        0 => left,
        1 => fields.u64()?,
        size => size.into(),
    };
    (size >= HEADER as u64 && size <= left).then_some((kind, size))
}

/// `None` for a file that is not understood.
fn cut(ftyp: &[u8], moov: &[u8], end: u64, start: u64) -> Option<Found> {
    let movie = Times::of(child(moov, b"mvhd")?, 4)?;
    let traks = children(moov).filter(|(kind, _)| kind == b"trak");
    let tracks = traks.map(|(_, trak)| Samples::read(trak)).collect::<Option<Vec<_>>>()?;
    // The track with keyframes decides; without one, any.
    let leader = tracks.iter().find(|track| track.sync.is_some()).or(tracks.first())?;
    let wanted = leader.ticks(start, 1000)?;
    if wanted >= leader.length()? {
        return Some(Found::BehindTheEnd);
    }
    let (_, begin) = leader.sample_at(leader.keyframe_at(wanted)?)?;
    let cuts = tracks
        .iter()
        .map(|track| track.cut(track.ticks(begin, leader.timescale)?))
        .collect::<Option<Vec<_>>>()?;
    let at = cuts.iter().filter_map(|cut| cut.chunks.first().copied()).min().filter(|at| *at < end)?;
    let removed = movie.ticks(begin, leader.timescale)?;
    // The length of the head does not depend on where the payload will be.
    let len = head(ftyp, moov, &movie, removed, &tracks, &cuts, 0, 0)?.len() as u64;
    let front = head(ftyp, moov, &movie, removed, &tracks, &cuts, len.wrapping_sub(at), end - at)?;
    Some(Found::Rest(Rest { front, payload: at..end }))
}

/// Everything in front of the payload; `shift` is added to offsets.
#[expect(clippy::too_many_arguments, reason = "it is called with the same twice")]
fn head(
    ftyp: &[u8],
    moov: &[u8],
    movie: &Times,
    removed: u64,
    tracks: &[Samples<'_>],
    cuts: &[Cut],
    shift: u64,
    payload: u64,
) -> Option<Vec<u8>> {
    let mut w = Writer::default();
    w.bytes(ftyp);
    let mut rest = tracks.iter().zip(cuts);
    let mut whole = Some(());
    w.atom(b"moov", |w| {
        for (kind, content) in children(moov) {
            match &kind {
                b"mvhd" => w.atom(&kind, |w| w.bytes(&movie.shortened(content, removed))),
                b"trak" => {
                    let written = rest
                        .next()
                        .and_then(|(track, cut)| track.write(w, content, cut, movie, removed, shift));
                    whole = whole.and(written);
                }
                _ => w.atom(&kind, |w| w.bytes(content)),
            }
        }
    });
    whole?;
    w.u32(1);
    w.bytes(b"mdat");
    w.u64(payload + 16);
    Some(w.out)
}

/// Where `mvhd`, `tkhd` and `mdhd` have their times.
struct Times {
    timescale: u64,
    duration: u64,
    /// Where the duration stands, and how many bytes it has.
    place: usize,
    wide: bool,
}

impl Times {
    /// `between`: bytes from the timescale to the duration, which in `tkhd` has the track's number in its place.
    fn of(content: &[u8], between: usize) -> Option<Self> {
        let wide = match content.first()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let mut fields = Fields(content);
        fields.skip(if wide { 20 } else { 12 })?;
        let timescale = u64::from(fields.u32()?);
        fields.skip(between - 4)?;
        let place = content.len() - fields.0.len();
        let duration = if wide { fields.u64()? } else { fields.u32()?.into() };
        Some(Self { timescale, duration, place, wide })
    }

    fn ticks(&self, time: u64, timescale: u64) -> Option<u64> {
        scale(time, timescale, self.timescale)
    }

    /// The same box with another duration.
    fn shortened(&self, content: &[u8], removed: u64) -> Vec<u8> {
        let unknown = if self.wide { u64::MAX } else { u32::MAX.into() };
        let duration = if self.duration == unknown { unknown } else { self.duration.saturating_sub(removed) };
        let mut content = content.to_vec();
        if self.wide {
            content[self.place..self.place + 8].copy_from_slice(&duration.to_be_bytes());
        } else {
            content[self.place..self.place + 4].copy_from_slice(&(duration as u32).to_be_bytes());
        }
        content
    }
}

fn scale(time: u64, from: u64, to: u64) -> Option<u64> {
    u64::try_from(u128::from(time) * u128::from(to) / u128::from(from.max(1))).ok()
}

/// The tables of a track (8.6, 8.7).
struct Samples<'a> {
    timescale: u64,
    /// Runs of samples of one duration.
    stts: Vec<(u32, u32)>,
    /// Version and flags, and runs of one composition offset, whose sign does not matter here.
    ctts: Option<(u32, Vec<(u32, u32)>)>,
    /// Numbers of keyframes, from 1; `None`: all are.
    sync: Option<Vec<u32>>,
    /// One size for all, or zero; then the sizes.
    size: u32,
    count: u32,
    sizes: &'a [u8],
    /// First chunk, samples in each, description.
    stsc: Vec<(u32, u32, u32)>,
    chunks: Vec<u64>,
}

/// Tables from some sample on.
struct Cut {
    stts: Vec<(u32, u32)>,
    ctts: Option<(u32, Vec<(u32, u32)>)>,
    sync: Option<Vec<u32>>,
    /// How many samples are left out.
    first: u32,
    stsc: Vec<(u32, u32, u32)>,
    chunks: Vec<u64>,
}

impl<'a> Samples<'a> {
    fn read(trak: &'a [u8]) -> Option<Self> {
        let mdia = child(trak, b"mdia")?;
        let timescale = Times::of(child(mdia, b"mdhd")?, 4)?.timescale;
        let stbl = child(child(mdia, b"minf")?, b"stbl")?;
        let mut stsz = Fields(child(stbl, b"stsz")?);
        stsz.skip(4)?;
        let (size, count) = (stsz.u32()?, stsz.u32()?);
        let sizes = if size == 0 { stsz.0.get(..count as usize * 4)? } else { &[] };
        let stsc = table::<3>(child(stbl, b"stsc")?)?.into_iter().map(|[a, b, c]| (a, b, c)).collect();
        let chunks = match child(stbl, b"stco") {
            Some(stco) => table::<1>(stco)?.into_iter().map(|[offset]| offset.into()).collect(),
            None => {
                let wide = table::<2>(child(stbl, b"co64")?)?;
                wide.into_iter().map(|[high, low]| u64::from(high) << 32 | u64::from(low)).collect()
            }
        };
        let runs =
            |content| Some(table::<2>(content)?.into_iter().map(|[count, value]| (count, value)).collect());
        let ctts = match child(stbl, b"ctts") {
            Some(ctts) => Some((Fields(ctts).u32()?, runs(ctts)?)),
            None => None,
        };
        let sync = match child(stbl, b"stss") {
            Some(stss) => Some(table::<1>(stss)?.into_iter().map(|[number]| number).collect()),
            None => None,
        };
        let stts = runs(child(stbl, b"stts")?)?;
        Some(Self { timescale, stts, ctts, sync, size, count, sizes, stsc, chunks })
    }

    fn ticks(&self, time: u64, timescale: u64) -> Option<u64> {
        scale(time, timescale, self.timescale)
    }

    fn length(&self) -> Option<u64> {
        self.stts
            .iter()
            .try_fold(0u64, |sum, &(count, step)| sum.checked_add(u64::from(count) * u64::from(step)))
    }

    /// The first sample that is not over at a time, from 0, and when it begins. Behind the end: how many there are.
    fn at_time(&self, time: u64) -> Option<(u32, u64)> {
        let (mut number, mut dts) = (0u32, 0u64);
        for &(count, step) in &self.stts {
            let length = u64::from(count) * u64::from(step);
            if time < dts.checked_add(length)? {
                let within = ((time - dts) / u64::from(step)) as u32;
                return Some((number + within, dts + u64::from(within) * u64::from(step)));
            }
            (number, dts) = (number.checked_add(count)?, dts + length);
        }
        Some((number, dts))
    }

    /// A sample, and when it begins.
    fn sample_at(&self, wanted: u32) -> Option<(u32, u64)> {
        let (mut number, mut dts) = (0u32, 0u64);
        for &(count, step) in &self.stts {
            if wanted - number < count {
                return Some((wanted, dts + u64::from(wanted - number) * u64::from(step)));
            }
            (number, dts) = (number + count, dts.checked_add(u64::from(count) * u64::from(step))?);
        }
        None
    }

    /// The keyframe at that time or before it, from 0.
    fn keyframe_at(&self, time: u64) -> Option<u32> {
        let (sample, _) = self.at_time(time)?;
        match &self.sync {
            Some(sync) => sync.iter().rfind(|&&number| number <= sample + 1).or(sync.first())?.checked_sub(1),
            None => Some(sample),
        }
    }

    fn size_of(&self, sample: u32) -> Option<u64> {
        if self.size > 0 {
            return Some(self.size.into());
        }
        let at = sample as usize * 4;
        Some(u32::from_be_bytes(self.sizes.get(at..at + 4)?.try_into().ok()?).into())
    }

    fn cut(&self, time: u64) -> Option<Cut> {
        let first = self.at_time(time)?.0.min(self.count);
        let (mut stsc, mut chunks) = (Vec::new(), Vec::new());
        if first < self.count {
            let (chunk, before, entry) = self.chunk_of(first)?;
            let skipped = (first - before..first)
                .try_fold(0u64, |sum, sample| sum.checked_add(self.size_of(sample)?))?;
            chunks = self.chunks.get(chunk as usize..)?.to_vec();
            chunks[0] = chunks[0].checked_add(skipped)?;
            let (_, each, description) = self.stsc[entry];
            stsc.push((1, each - before, description));
            let next = self.stsc.get(entry + 1).map(|&(first, ..)| first);
            if before > 0 && chunks.len() > 1 && next != Some(chunk + 2) {
                stsc.push((2, each, description));
            }
            let later = self.stsc[entry + 1..].iter();
            stsc.extend(later.map(|&(first, each, description)| (first - chunk, each, description)));
        }
        let sync = self.sync.as_ref().map(|sync| {
            sync.iter().filter_map(|number| number.checked_sub(first)).filter(|&number| number > 0).collect()
        });
        let ctts = self.ctts.as_ref().map(|(head, runs)| (*head, behind(runs, first)));
        Some(Cut { stts: behind(&self.stts, first), ctts, sync, first, stsc, chunks })
    }

    /// The chunk that has a sample, from 0; how many samples it has before that; and its entry of the table.
    fn chunk_of(&self, sample: u32) -> Option<(u32, u32, usize)> {
        let mut number = 0u32;
        for (entry, &(first, each, _)) in self.stsc.iter().enumerate() {
            let first = first.checked_sub(1)?;
            let end = match self.stsc.get(entry + 1) {
                Some(&(next, ..)) => next.checked_sub(1)?,
                None => u32::try_from(self.chunks.len()).ok()?,
            };
            let samples = end.checked_sub(first)?.checked_mul(each)?;
            if sample - number < samples {
                let within = sample - number;
                return Some((first + within / each, within % each, entry));
            }
            number = number.checked_add(samples)?;
        }
        None
    }

    /// The `trak` with other tables.
    fn write(
        &self,
        w: &mut Writer,
        trak: &[u8],
        cut: &Cut,
        movie: &Times,
        removed: u64,
        shift: u64,
    ) -> Option<()> {
        let header = Times::of(child(trak, b"tkhd")?, 8)?;
        let media = Times::of(child(child(trak, b"mdia")?, b"mdhd")?, 4)?;
        let gone = scale(removed, movie.timescale, media.timescale)?;
        w.atom(b"trak", |w| {
            for (kind, content) in children(trak) {
                match &kind {
                    b"tkhd" => w.atom(&kind, |w| w.bytes(&header.shortened(content, removed))),
                    b"edts" => self.write_edits(w, content, removed),
                    b"mdia" => w.atom(&kind, |w| self.write_media(w, content, &media, gone, cut, shift)),
                    _ => w.atom(&kind, |w| w.bytes(content)),
                }
            }
        });
        Some(())
    }

    /// An edit that delays all pictures a little, because they are reordered, holds for the rest too. Others are about a beginning that
    /// is gone.
    fn write_edits(&self, w: &mut Writer, edts: &[u8], removed: u64) {
        let edit = || {
            let elst = child(edts, b"elst")?;
            let mut fields = Fields(elst);
            let wide = fields.u32()? >> 24 == 1;
            let one = fields.u32()? == 1;
            let duration = if wide { fields.u64()? } else { fields.u32()?.into() };
            let delay = if wide { fields.u64()? } else { fields.u32()?.into() };
            (one && delay <= self.timescale / MAX_DELAY).then_some((duration, delay))
        };
        let Some((duration, delay)) = edit() else { return };
        w.atom(b"edts", |w| {
            w.full(b"elst", 1, 0, |w| {
                w.u32(1);
                w.u64(duration.saturating_sub(removed));
                w.u64(delay);
                w.u32(0x1_0000);
            });
        });
    }

    fn write_media(&self, w: &mut Writer, mdia: &[u8], media: &Times, gone: u64, cut: &Cut, shift: u64) {
        for (kind, content) in children(mdia) {
            match &kind {
                b"mdhd" => w.atom(&kind, |w| w.bytes(&media.shortened(content, gone))),
                b"minf" => w.atom(&kind, |w| {
                    for (kind, content) in children(content) {
                        match &kind {
                            b"stbl" => w.atom(&kind, |w| self.write_tables(w, content, cut, shift)),
                            _ => w.atom(&kind, |w| w.bytes(content)),
                        }
                    }
                }),
                _ => w.atom(&kind, |w| w.bytes(content)),
            }
        }
    }

    /// Descriptions and the tables that players need; groups of samples, which count from a beginning that is gone, are left out.
    fn write_tables(&self, w: &mut Writer, stbl: &[u8], cut: &Cut, shift: u64) {
        let runs = |w: &mut Writer, runs: &[(u32, u32)]| {
            w.u32(runs.len() as u32);
            runs.iter().for_each(|&(count, value)| {
                w.u32(count);
                w.u32(value);
            });
        };
        if let Some(stsd) = child(stbl, b"stsd") {
            w.atom(b"stsd", |w| w.bytes(stsd));
        }
        w.full(b"stts", 0, 0, |w| runs(w, &cut.stts));
        if let Some((head, offsets)) = &cut.ctts {
            w.atom(b"ctts", |w| {
                w.u32(*head);
                runs(w, offsets);
            });
        }
        if let Some(sync) = &cut.sync {
            w.full(b"stss", 0, 0, |w| {
                w.u32(sync.len() as u32);
                sync.iter().for_each(|&number| w.u32(number));
            });
        }
        w.full(b"stsc", 0, 0, |w| {
            w.u32(cut.stsc.len() as u32);
            for &(first, each, description) in &cut.stsc {
                w.u32(first);
                w.u32(each);
                w.u32(description);
            }
        });
        w.full(b"stsz", 0, 0, |w| {
            w.u32(self.size);
            w.u32(self.count - cut.first);
            w.bytes(self.sizes.get(cut.first as usize * 4..).unwrap_or_default());
        });
        w.full(b"co64", 0, 0, |w| {
            w.u32(cut.chunks.len() as u32);
            cut.chunks.iter().for_each(|offset| w.u64(offset.wrapping_add(shift)));
        });
    }
}

/// The entries of a table: version and flags, a count, and so many times `N` numbers.
fn table<const N: usize>(content: &[u8]) -> Option<Vec<[u32; N]>> {
    let mut fields = Fields(content);
    fields.skip(4)?;
    let count = fields.u32()? as usize;
    let bytes = fields.0.get(..count.checked_mul(4 * N)?)?;
    let number = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Some(bytes.chunks_exact(4 * N).map(|entry| std::array::from_fn(|i| number(&entry[4 * i..]))).collect())
}

/// Runs without their first `skipped` samples.
fn behind(runs: &[(u32, u32)], mut skipped: u32) -> Vec<(u32, u32)> {
    let left = runs.iter().filter_map(|&(count, value)| {
        let gone = count.min(skipped);
        skipped -= gone;
        (count > gone).then_some((count - gone, value))
    });
    left.collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::mp4::classic::Scan;
    use crate::mp4::fragment::Fragmenter;
    use crate::mp4::track::{Media, Sample, Track};

    /// Two seconds at 25 pictures a second with a keyframe every ten, and sound; each sample says which it is.
    fn file() -> Vec<u8> {
        let video = Track::new(Media::Video { width: 16, height: 16 }, 1000, b"\0\0\0\x08avc1".to_vec());
        let sound = Track::new(Media::Audio, 1000, b"\0\0\0\x08mp4a".to_vec());
        let mut fragmenter = Fragmenter::new(vec![video, sound]);
        let mut whole = fragmenter.init_segment();
        for n in 0..50u8 {
            let sample = |data: Vec<u8>, key| Sample {
                dts: 40 * i64::from(n),
                cts: 80,
                duration: Some(40),
                key,
                data: Bytes::from(data),
            };
            fragmenter.push(
                0,
                sample(vec![b'v'; 3 + usize::from(n)].into_iter().chain([n]).collect(), n % 10 == 0),
            );
            fragmenter.push(1, sample(vec![b's', n], true));
            if n % 7 == 6 {
                whole.extend(fragmenter.flush().concat());
            }
        }
        whole.extend(fragmenter.flush().concat());
        let mut scan = Scan::new(whole.len() as u64);
        while let Some(wanted) = scan.wants() {
            scan.give(&whole[wanted.start as usize..wanted.end as usize]);
        }
        let plan = scan.finish().unwrap();
        let payload = plan.copies.iter().flat_map(|range| &whole[range.start as usize..range.end as usize]);
        plan.header.iter().chain(payload).copied().collect()
    }

    fn found(file: &[u8], start: u64) -> Found {
        let read = |range: Range<u64>| {
            file.get(range.start as usize..range.end as usize).map(<[u8]>::to_vec).ok_or("beyond")
        };
        rest(file.len() as u64, start, read).unwrap()
    }

    fn sent(file: &[u8], start: u64) -> Vec<u8> {
        let Found::Rest(Rest { front, payload }) = found(file, start) else { panic!("{start}") };
        [&front, &file[payload.start as usize..payload.end as usize]].concat()
    }

    /// The samples of each track as the tables of a file say.
    fn samples(file: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let moov = child(file, b"moov").unwrap();
        let traks = children(moov).filter(|(kind, _)| kind == b"trak");
        let samples = |trak| {
            let table = Samples::read(trak).unwrap();
            let mut all = Vec::new();
            let mut number = 0;
            for (i, &chunk) in table.chunks.iter().enumerate() {
                let each = table.stsc.iter().rfind(|(first, ..)| *first as usize <= i + 1).unwrap().1;
                let mut at = chunk as usize;
                for _ in 0..each {
                    let size = table.size_of(number).unwrap() as usize;
                    all.push(file[at..at + size].to_vec());
                    (at, number) = (at + size, number + 1);
                }
            }
            assert_eq!(number, table.count);
            all
        };
        traks.map(|(_, trak)| samples(trak)).collect()
    }

    #[test]
    fn the_rest_is_the_same_samples_from_a_keyframe_on() {
        let file = file();
        let whole = samples(&file);
        assert_eq!((whole[0].len(), whole[1].len()), (50, 50));
        for (start, first) in
            [(0, 0), (1, 0), (399, 0), (400, 10), (401, 10), (1000, 20), (1600, 40), (1999, 40)]
        {
            let rest = samples(&sent(&file, start));
            assert_eq!(rest[0], whole[0][first..], "{start}");
            assert_eq!(rest[1], whole[1][first..], "{start}");
        }
        assert_eq!(found(&file, 2000), Found::BehindTheEnd);
        // The rest of a rest, too.
        assert_eq!(samples(&sent(&sent(&file, 400), 400))[0], whole[0][20..]);
    }

    #[test]
    fn times_and_keyframes_follow() {
        let rest = sent(&file(), 1000);
        let moov = child(&rest, b"moov").unwrap();
        assert_eq!(Times::of(child(moov, b"mvhd").unwrap(), 4).unwrap().duration, 2000 - 800);
        let track = Samples::read(child(moov, b"trak").unwrap()).unwrap();
        assert_eq!((track.length(), track.sync), (Some(1200), Some(vec![1, 11, 21])));
    }

    #[test]
    fn what_cannot_be_cut_is_sent_whole() {
        for noise in [&b""[..], b"\0\0\0\x08ftyp", &[0; 100]] {
            assert_eq!(found(noise, 1000), Found::Whole);
        }
        let mut fragmented = file();
        fragmented.extend(b"\0\0\0\x08moof");
        assert_eq!(found(&fragmented, 1000), Found::Whole);
    }

    proptest! {
        #[test]
        fn damage_is_no_danger(
            damage in proptest::collection::vec((0usize..2600, any::<u8>()), 1..30),
            start in 0u64..3000,
            cut in 0usize..3000,
        ) {
            let mut file = file();
            file.truncate(file.len().saturating_sub(cut).max(1));
            for (at, byte) in damage {
                let len = file.len();
                file[at % len] = byte;
            }
            if let Found::Rest(Rest { payload, .. }) = found(&file, start) {
                prop_assert!(payload.start < payload.end && payload.end <= file.len() as u64);
            }
        }
    }
}
