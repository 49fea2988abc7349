//! Fragmented MP4 out: an init segment, then fragments of one `moof` and one `mdat` each (8.8).
//!
//! The same bytes serve recordings, HLS and DASH. A [`Fragmenter`] gathers samples until its owner wants
//! them written; a fragment is then a header of its own and the samples' data as they came, uncopied. Each
//! fragment says where its tracks are in time, so gaps need no samples. What a `Fragmenter` holds is bounded
//! by its owner, who looks at [`Fragmenter::pending_bytes`].

use bytes::Bytes;

use crate::frame::Millis;
use crate::mp4::boxes::{Empty, HEADER, Writer, write_moov};
use crate::mp4::track::{Media, Sample, Track};

/// What one fragment may hold, in bytes of samples. Offsets inside a fragment have 31 bits.
pub const MAX_FRAGMENT: usize = 1 << 30;

/// How long a sample lasts if nothing tells: the only one of its track, in milliseconds.
const SOME_DURATION: i64 = 40;

/// `styp`: what stands before the fragment where it is a segment of its own (8.16.2, and ISO/IEC 23009-1, 6.3.4.2).
pub const SEGMENT_TYPE: [u8; 20] = *b"\0\0\0\x14stypmsdh\0\0\0\0msdh";

/// Flags of a sample (8.8.3.1): depends on no other; depends on others and is no place to start.
pub(crate) const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;
/// The one bit of them a reader needs.
pub(crate) const IS_NOT_SYNC: u32 = 0x0001_0000;

/// Offset of data, and duration, size, flags and composition time of each sample (8.8.8.1).
pub(crate) const RUN_FLAGS: u32 = 0x01 | 0x100 | 0x200 | 0x400 | 0x800;
/// Offsets count from the `moof` (8.8.7.1).
const BASE_IS_MOOF: u32 = 0x02_0000;

/// `ftyp` and a `moov` that announces fragments. Track ids count from 1.
pub fn init_segment(tracks: &[Track]) -> Vec<u8> {
    let mut w = Writer::default();
    w.atom(b"ftyp", |w| {
        w.bytes(b"iso5");
        w.u32(512);
        w.bytes(b"iso5iso6mp41");
    });
    let tracks: Vec<_> = tracks.iter().map(|track| (track, Empty)).collect();
    write_moov(&mut w, &tracks, true);
    w.out
}

/// Gathers samples and lays them out in fragments.
#[derive(Debug)]
pub struct Fragmenter {
    tracks: Vec<Pending>,
    /// Of the next fragment, from 1.
    sequence: u32,
    bytes: usize,
}

#[derive(Debug)]
struct Pending {
    track: Track,
    samples: Vec<Sample>,
    /// The step to the newest sample, for one whose own end is not known yet.
    step: Option<i64>,
    /// Decoding time of the newest sample ever.
    last: Option<i64>,
}

impl Fragmenter {
    /// For a file of these tracks.
    pub fn new(tracks: Vec<Track>) -> Self {
        let pending = |track| Pending { track, samples: Vec::new(), step: None, last: None };
        Self { tracks: tracks.into_iter().map(pending).collect(), sequence: 1, bytes: 0 }
    }

    /// The beginning of the file.
    pub fn init_segment(&self) -> Vec<u8> {
        init_segment(&self.tracks.iter().map(|pending| pending.track.clone()).collect::<Vec<_>>())
    }

    /// The index of the track that carries this kind of media.
    pub fn track(&self, video: bool) -> Option<usize> {
        self.tracks.iter().position(|pending| matches!(pending.track.media, Media::Video { .. }) == video)
    }

    /// Takes a sample of the track with this index. Times must not go back, and start at 0 or later.
    pub fn push(&mut self, track: usize, sample: Sample) {
        let pending = &mut self.tracks[track];
        if let Some(last) = pending.last {
            pending.step = Some(sample.dts - last);
        }
        pending.last = Some(sample.dts);
        self.bytes += sample.data.len();
        pending.samples.push(sample);
    }

    /// Bytes of the samples waiting to be written.
    pub fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// Milliseconds from the first to the last of the samples waiting.
    pub fn pending_time(&self) -> Millis {
        let waiting = self.tracks.iter().filter_map(|pending| {
            let scale = i64::from(pending.track.timescale);
            let (first, last) = (pending.samples.first()?, pending.samples.last()?);
            Some((first.dts * 1000 / scale, last.dts * 1000 / scale))
        });
        let bounds = waiting.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        bounds.map_or(0, |(first, last)| last - first)
    }

    /// Everything that waits as one fragment: its header, then data. Nothing if nothing waits.
    pub fn flush(&mut self) -> Vec<Bytes> {
        if self.tracks.iter().all(|pending| pending.samples.is_empty()) {
            return Vec::new();
        }
        let header = self.write_header();
        let mut pieces = vec![Bytes::from(header)];
        for pending in &mut self.tracks {
            pieces.extend(pending.samples.drain(..).map(|sample| sample.data));
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes = 0;
        pieces
    }

    /// `moof` and the header of `mdat`.
    fn write_header(&self) -> Vec<u8> {
        debug_assert!(self.bytes <= MAX_FRAGMENT, "the owner flushes before");
        let mut w = Writer::default();
        // Where each run's offset stands, and how many bytes of other runs come before its own.
        let mut offsets = Vec::new();
        let mut before = 0;
        w.atom(b"moof", |w| {
            w.full(b"mfhd", 0, 0, |w| w.u32(self.sequence));
            for (index, pending) in self.tracks.iter().enumerate() {
                if pending.samples.is_empty() {
                    continue;
                }
                w.atom(b"traf", |w| {
                    w.full(b"tfhd", 0, BASE_IS_MOOF, |w| w.u32(index as u32 + 1));
                    w.full(b"tfdt", 1, 0, |w| w.u64(pending.samples[0].dts.max(0) as u64));
                    w.full(b"trun", 1, RUN_FLAGS, |w| {
                        w.u32(pending.samples.len() as u32);
                        offsets.push((w.out.len(), before));
                        w.u32(0);
                        pending.write_samples(w);
                    });
                });
                before += pending.samples.iter().map(|sample| sample.data.len()).sum::<usize>();
            }
        });
        let data = w.out.len() + HEADER;
        for (at, before) in offsets {
            w.out[at..at + 4].copy_from_slice(&((data + before) as u32).to_be_bytes());
        }
        w.u32((self.bytes + HEADER) as u32);
        w.bytes(b"mdat");
        w.out
    }
}

impl Pending {
    fn write_samples(&self, w: &mut Writer) {
        let guess = self.step.unwrap_or(SOME_DURATION * i64::from(self.track.timescale) / 1000);
        for (index, sample) in self.samples.iter().enumerate() {
            let duration = match self.samples.get(index + 1) {
                Some(next) => next.dts - sample.dts,
                None => sample.duration.map_or(guess, i64::from),
            };
            w.u32(duration.clamp(0, u32::MAX.into()) as u32);
            w.u32(sample.data.len() as u32);
            w.u32(if sample.key { SYNC } else { NOT_SYNC });
            w.u32(sample.cts as u32);
        }
    }
}
