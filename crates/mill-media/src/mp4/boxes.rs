//! Boxes as bytes: a writer that fills in sizes, a reader of children, and the `moov` both kinds of file
//! share.

use crate::mp4::MOVIE_TIMESCALE;
use crate::mp4::track::{Media, Track};

/// Bytes of a box header with a 32-bit size.
pub(crate) const HEADER: usize = 8;

/// The unity matrix of `mvhd` and `tkhd` (8.2.2.2).
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// Language `und` in three times five bits (8.4.2.3).
const UNDETERMINED: u16 = 0x55c4;

/// Grows a box tree. Boxes written here stay far below 4 GiB, so sizes have 32 bits.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) out: Vec<u8>,
}

impl Writer {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn zeros(&mut self, count: usize) {
        self.out.resize(self.out.len() + count, 0);
    }

    /// A box with what `fill` puts into it.
    pub(crate) fn atom(&mut self, kind: &[u8; 4], fill: impl FnOnce(&mut Self)) {
        let start = self.out.len();
        self.u32(0);
        self.bytes(kind);
        fill(self);
        let len = (self.out.len() - start) as u32;
        self.out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }

    /// A box with version and flags (4.2).
    pub(crate) fn full(&mut self, kind: &[u8; 4], version: u8, flags: u32, fill: impl FnOnce(&mut Self)) {
        self.atom(kind, |w| {
            w.u32(u32::from(version) << 24 | flags);
            fill(w);
        });
    }
}

/// The boxes in `bytes`, whole ones only, as kind and content. Boxes with a 64-bit size do not occur among
/// those read this way, and end it.
pub(crate) fn children(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (size, rest) = bytes.split_first_chunk()?;
        let (kind, _) = rest.split_first_chunk()?;
        let len = u32::from_be_bytes(*size) as usize;
        let (atom, after) = bytes.split_at_checked(len)?;
        let content = atom.get(HEADER..)?;
        bytes = after;
        Some((*kind, content))
    })
}

/// The first box of a kind among those in `bytes`.
pub(crate) fn child<'a>(bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    children(bytes).find(|(kind, _)| kind == wanted).map(|(_, content)| content)
}

/// Fields in the order they stand; past the end every read is `None`.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*value))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }

    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }
}

/// Times and tables of a track in a `moov`.
pub(crate) trait Tables {
    /// Of the whole presentation of the track, in [`MOVIE_TIMESCALE`].
    fn presented(&self) -> u64;
    /// Of the samples, in the track's timescale.
    fn duration(&self) -> u64;
    /// The edit list, whole box, if there is one.
    fn write_edits(&self, w: &mut Writer);
    /// What follows `stsd` in `stbl`.
    fn write_tables(&self, w: &mut Writer);
}

/// `moov` without samples, for what comes in fragments.
pub(crate) struct Empty;

impl Tables for Empty {
    fn presented(&self) -> u64 {
        0
    }

    fn duration(&self) -> u64 {
        0
    }

    fn write_edits(&self, _: &mut Writer) {}

    fn write_tables(&self, w: &mut Writer) {
        for kind in [b"stts", b"stsc", b"stco"] {
            w.full(kind, 0, 0, |w| w.u32(0));
        }
        w.full(b"stsz", 0, 0, |w| w.u64(0));
    }
}

/// Writes `moov` (8.2.1). Track ids count from 1 in the order of `tracks`.
pub(crate) fn write_moov<T: Tables>(w: &mut Writer, tracks: &[(&Track, T)], fragmented: bool) {
    let duration = tracks.iter().map(|(_, tables)| tables.presented()).max().unwrap_or(0);
    w.atom(b"moov", |w| {
        w.full(b"mvhd", 1, 0, |w| {
            w.zeros(16); // creation and modification time: not known here
            w.u32(MOVIE_TIMESCALE);
            w.u64(duration);
            w.u32(0x1_0000); // rate 1
            w.u16(0x100); // volume 1
            w.zeros(10);
            MATRIX.iter().for_each(|&value| w.u32(value));
            w.zeros(24);
            w.u32(tracks.len() as u32 + 1);
        });
        for (index, (track, tables)) in tracks.iter().enumerate() {
            w.atom(b"trak", |w| write_trak(w, index as u32 + 1, track, tables));
        }
        if fragmented {
            w.atom(b"mvex", |w| {
                for id in 1..=tracks.len() as u32 {
                    // Description 1; durations, sizes and flags stand in each fragment.
                    w.full(b"trex", 0, 0, |w| [id, 1, 0, 0, 0].iter().for_each(|&value| w.u32(value)));
                }
            });
        }
    });
}

fn write_trak(w: &mut Writer, id: u32, track: &Track, tables: &impl Tables) {
    const ENABLED_IN_MOVIE: u32 = 3;
    w.full(b"tkhd", 1, ENABLED_IN_MOVIE, |w| {
        w.zeros(16);
        w.u32(id);
        w.u32(0);
        w.u64(tables.presented());
        w.zeros(8);
        let (width, height) = match track.media {
            Media::Video { width, height } => (width, height),
            Media::Audio => (0, 0),
        };
        w.u32(0); // layer, alternate group
        w.u16(if track.media == Media::Audio { 0x100 } else { 0 }); // volume
        w.u16(0);
        MATRIX.iter().for_each(|&value| w.u32(value));
        w.u32(u32::from(width) << 16);
        w.u32(u32::from(height) << 16);
    });
    tables.write_edits(w);
    w.atom(b"mdia", |w| {
        w.full(b"mdhd", 1, 0, |w| {
            w.zeros(16);
            w.u32(track.timescale);
            w.u64(tables.duration());
            w.u16(UNDETERMINED);
            w.u16(0);
        });
        let (handler, name): (_, &[u8]) = match track.media {
            Media::Video { .. } => (b"vide", b"VideoHandler\0"),
            Media::Audio => (b"soun", b"SoundHandler\0"),
        };
        w.full(b"hdlr", 0, 0, |w| {
            w.u32(0);
            w.bytes(handler);
            w.zeros(12);
            w.bytes(name);
        });
        w.atom(b"minf", |w| {
            match track.media {
                Media::Video { .. } => w.full(b"vmhd", 0, 1, |w| w.zeros(8)),
                Media::Audio => w.full(b"smhd", 0, 0, |w| w.zeros(4)),
            }
            w.atom(b"dinf", |w| {
                w.full(b"dref", 0, 0, |w| {
                    w.u32(1);
                    w.full(b"url ", 0, 1, |_| {}); // in this file
                });
            });
            w.atom(b"stbl", |w| {
                w.full(b"stsd", 0, 0, |w| {
                    w.u32(1);
                    w.bytes(track.entry());
                });
                tables.write_tables(w);
            });
        });
    });
}
