//! FLV as a file: a head that tells duration, size and keyframes, and what is left of a torn one.
//!
//! The numbers of a head are known when the file is complete, so room for them is kept from the beginning:
//! [`head`] gives the same number of bytes for the same metadata whatever the [`Summary`] says, and is written
//! twice. The keyframe index has a fixed size too: when it is full, every second entry goes.
//!
//! [`Scan`] reads a file whose writer was killed. It asks for byte ranges, looks at the beginning of each
//! tag, and says where the last whole one ends and what the head should be.

use std::ops::Range;

use bytes::BytesMut;

use crate::amf0::{Object, Value};
use crate::flv::TAG_HEADER_LEN;
use crate::flv::mux;
use crate::flv::script::Metadata;
use crate::flv::tag::classify;
use crate::frame::{FrameKind, Millis};
use crate::time::Unwrap;

/// Keyframes in the index: a place every ten seconds of an hour and a half; longer files have them further
/// apart. Takes 18 bytes each in the file.
pub const MAX_KEYFRAMES: usize = 512;

/// Metadata kept in a file, in bytes. Encoders send some hundred.
pub const MAX_METADATA: usize = 256 << 10;

/// Members of the head that are ours to fill in, in the order they are written, last of all.
const OURS: [&str; 4] = ["duration", "filesize", "keyframes", "spacer"];

/// What is known about the tags of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the file.
    pub len: u64,
    first: Option<Millis>,
    audio: Side,
    video: Side,
    keyframes: Vec<(u64, Millis)>,
    /// One keyframe in two to the power of this is kept.
    thinned: u32,
    seen: u64,
}

/// What is known about the tags of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Side {
    last: Option<Millis>,
    step: Millis,
}

impl Side {
    fn note(&mut self, dts: Millis) {
        // Several tags of one time say nothing about how long the last frame lasts.
        if let Some(step) = self.last.map(|last| dts - last).filter(|&step| step > 0) {
            self.step = step;
        }
        self.last = Some(dts);
    }

    fn end(&self) -> Option<Millis> {
        self.last.map(|last| last + self.step)
    }
}

impl Summary {
    /// Notes a tag that begins at byte `position`, with the time it has in the file. Metadata counts for
    /// nothing but its length.
    pub fn note(&mut self, kind: FrameKind, dts: Millis, position: u64, len: usize) {
        self.len = position + (TAG_HEADER_LEN + len + 4) as u64;
        if kind == FrameKind::Metadata {
            return;
        }
        self.first = Some(self.first.map_or(dts, |first| first.min(dts)));
        if kind.is_audio() {
            self.audio.note(dts)
        } else {
            self.video.note(dts)
        }
        if kind == FrameKind::Keyframe {
            if self.seen.is_multiple_of(1 << self.thinned) {
                self.keyframes.push((position, dts));
            }
            self.seen += 1;
            if self.keyframes.len() > MAX_KEYFRAMES {
                let mut index = 0;
                self.keyframes.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.thinned += 1;
            }
        }
    }

    /// From the first tag to the end of the last, taking a last frame to be as long as the one before it.
    pub fn duration(&self) -> Millis {
        let end = self.audio.end().max(self.video.end());
        end.zip(self.first).map_or(0, |(end, first)| end - first)
    }

    /// Whether there is anything to play.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

/// File header and script tag for a file of this metadata. Members of it that describe a file are replaced;
/// metadata of more than [`MAX_METADATA`] is left out.
pub fn head(metadata: &Object, summary: &Summary) -> Vec<u8> {
    let seconds = |millis: Millis| Value::Number(millis as f64 / 1000.0);
    let keyframes = &summary.keyframes;
    let positions = keyframes.iter().map(|&(position, _)| Value::Number(position as f64)).collect();
    let times = keyframes.iter().map(|&(_, time)| seconds(time)).collect();
    let index = Object::new()
        .with("filepositions", Value::StrictArray(positions))
        .with("times", Value::StrictArray(times));
    let mut object = if written(metadata).len() > MAX_METADATA { Object::new() } else { metadata.clone() };
    OURS.iter().for_each(|key| drop(object.remove(key)));
    object.set("duration", seconds(summary.duration()));
    object.set("filesize", summary.len as f64);
    let full = written(&object).len() + INDEX_LEN + SPACER_LEN;
    // An index of less than two is none: ffmpeg complains of it.
    if keyframes.len() > 1 {
        object.set("keyframes", index);
    }
    let spare = full - written(&object).len() - SPACER_LEN;
    object.set("spacer", spacer(spare));
    let body = written(&object);

    let mut out = BytesMut::new();
    // As long as nothing is known, both may come.
    let flag = |side: Side| summary.is_empty() || side.last.is_some();
    out.extend_from_slice(&mux::file_header(flag(summary.audio), flag(summary.video)));
    mux::write_tag(&mut out, 18, 0, &body).expect("metadata and index are far smaller than a tag");
    out.to_vec()
}

fn written(object: &Object) -> Vec<u8> {
    let mut body = Vec::new();
    Value::from("onMetaData").write(&mut body);
    Value::from(object.clone()).write(&mut body);
    body
}

/// Bytes of a number: a marker and a double.
const NUMBER: usize = 9;

/// Bytes of a full `keyframes`: key, marker, twice a key with marker and count, numbers, end.
const INDEX_LEN: usize = 11 + 1 + (15 + 5) + (7 + 5) + 2 * NUMBER * MAX_KEYFRAMES + 3;

/// Bytes of a `spacer` with an empty string in it: key, marker and count, string.
const SPACER_LEN: usize = 8 + 5 + 3;

/// Something of no meaning that takes so many bytes more than [`SPACER_LEN`]. One long string would do, but
/// some readers have little room for strings.
fn spacer(len: usize) -> Value {
    let mut values = vec![Value::from(" ".repeat(len % NUMBER))];
    values.resize(1 + len / NUMBER, Value::Number(0.0));
    Value::StrictArray(values)
}

/// Bytes of the file header, without the size of the tag before the first.
const FILE_HEADER: u64 = 9;

/// How much of a body says what it is.
const BEGINNING: usize = 32;

/// The largest script tag read as the head.
const MAX_HEAD: usize = 1 << 20;

/// Reads the structure of a file, piece by piece.
#[derive(Debug)]
pub struct Scan {
    len: u64,
    /// Where the size of the previous tag stands; 0 before the file header.
    at: u64,
    /// Bytes wanted from there.
    want: usize,
    /// The tag that ends at `at`, not noted until its size is found there.
    pending: Option<Pending>,
    /// Where the last whole tag ends.
    whole: u64,
    head: Option<Head>,
    time: Unwrap,
    summary: Summary,
    done: bool,
}

#[derive(Debug)]
struct Pending {
    kind: Option<FrameKind>,
    timestamp: u32,
    position: u64,
    len: usize,
    head: Option<Object>,
}

#[derive(Debug)]
struct Head {
    metadata: Object,
    end: u64,
}

impl Scan {
    /// Of a file of this length in bytes.
    pub fn new(len: u64) -> Self {
        Self {
            len,
            at: 0,
            want: FILE_HEADER as usize,
            pending: None,
            whole: 0,
            head: None,
            time: Unwrap::new(),
            summary: Summary::default(),
            done: false,
        }
    }

    /// The bytes it must be given next; `None` when it has seen enough.
    pub fn wants(&self) -> Option<Range<u64>> {
        let end = (self.at + self.want as u64).min(self.len);
        (!self.done).then_some(self.at..end)
    }

    /// Takes the bytes it wanted, or what there was of them.
    pub fn give(&mut self, bytes: &[u8]) {
        if self.step(bytes).is_none() {
            self.done = true;
        }
    }

    /// `None` where the file is torn, foreign or damaged.
    fn step(&mut self, bytes: &[u8]) -> Option<()> {
        const FIXED: usize = 4 + TAG_HEADER_LEN;
        if self.at == 0 {
            // Our own header, whatever its flags.
            let header = bytes.first_chunk::<9>()?;
            if !header.starts_with(b"FLV\x01") || header[5..] != [0, 0, 0, 9] {
                return None;
            }
            (self.at, self.want) = (FILE_HEADER, FIXED + BEGINNING);
            return Some(());
        }
        let (size, tag) = bytes.split_first_chunk()?;
        let expected = self.pending.as_ref().map_or(0, |pending| pending.len + TAG_HEADER_LEN);
        if u32::from_be_bytes(*size) as usize != expected {
            return None;
        }
        self.commit();
        let Some((&[tag_type, l2, l1, l0, t2, t1, t0, t3, 0, 0, 0], body)) =
            tag.split_first_chunk::<TAG_HEADER_LEN>()
        else {
            return None;
        };
        let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        let position = self.at + 4;
        let end = position + (TAG_HEADER_LEN + len) as u64;
        if !matches!(tag_type, 8 | 9 | 18) || end + 4 > self.len {
            return None;
        }
        // The first tag is read whole, because it may be the head.
        let is_head = tag_type == 18 && position == FILE_HEADER + 4 && len <= MAX_HEAD;
        if is_head && body.len() < len {
            self.want = FIXED + len;
            return (bytes.len() < self.want).then_some(());
        }
        let body = &body[..body.len().min(len)];
        self.pending = Some(Pending {
            kind: if tag_type == 18 { Some(FrameKind::Metadata) } else { classify(tag_type, body) },
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            position,
            len,
            head: if is_head { Metadata::parse(body).ok().map(|metadata| metadata.object) } else { None },
        });
        (self.at, self.want) = (end, FIXED + BEGINNING);
        Some(())
    }

    /// Notes the pending tag, which has turned out to be whole.
    fn commit(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        self.whole = self.at + 4;
        if let Some(metadata) = pending.head {
            self.head = Some(Head { metadata, end: self.whole });
        }
        if let Some(kind) = pending.kind {
            let dts = match kind {
                FrameKind::Metadata => 0,
                _ => self.time.next(pending.timestamp),
            };
            self.summary.note(kind, dts, pending.position, pending.len);
        }
        self.summary.len = self.whole;
    }

    /// What to do about the file; `None` if nothing in it can be played.
    pub fn finish(self) -> Option<Repair> {
        if self.summary.is_empty() {
            return None;
        }
        // Only a head with room for its numbers can be filled in where it stands.
        let head = self.head.and_then(|found| {
            let written = head(&found.metadata, &self.summary);
            (written.len() as u64 == found.end).then_some(written)
        });
        Some(Repair { len: self.whole, head, duration: self.summary.duration() })
    }
}

/// How to make a torn file whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Bytes to keep; the rest is cut off.
    pub len: u64,
    /// What to write over the beginning. `None` if the file has no head of ours.
    pub head: Option<Vec<u8>>,
    /// Of what is kept, in milliseconds.
    pub duration: Millis,
}
