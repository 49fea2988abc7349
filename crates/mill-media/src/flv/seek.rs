//! Where to go on in a file when somebody wants the rest of it: pseudo-streaming by byte offset.
//!
//! Players take offsets from the index of a file, or guess them from a duration; so the offset may be anywhere.
//! What is sent begins with the file header and the sequence headers from the beginning of the file, and goes
//! on with the keyframe that begins at the offset, or the last one before it. Times stay those of the file.
//!
//! A tag is recognised by its own size, which stands behind it once more. From the offset on the next tag is
//! searched for, and from there the sizes lead back to the keyframe. Bounded by [`WINDOW`] and the constants
//! beside it, whatever the file says.

use std::ops::Range;

use crate::flv::TAG_HEADER_LEN;
use crate::flv::demux::MAX_TAG;
use crate::flv::tag::classify;
use crate::frame::FrameKind;

/// How far behind an offset a tag must begin, in bytes: the largest tag, and some.
pub const WINDOW: u64 = MAX_TAG as u64 + 64;

/// What is looked at of a body: enough to know a header or keyframe, with a FourCC.
const LOOK: u64 = 8;

/// Tags at the beginning among which the sequence headers are.
const MAX_HEADERS: usize = 32;

/// Tags from a frame back to its keyframe: a minute of video and audio at 120 frames a second.
const MAX_BACK: usize = 10_000;

/// What is read at once while a tag is searched for, in bytes.
const STEP: u64 = 64 << 10;

/// The longest header of a file, and the largest sequence header that is repeated, in bytes.
const MAX_HEAD: u64 = 64 << 10;

/// What is sent instead of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    /// File header and sequence headers: sent first.
    pub front: Vec<u8>,
    /// Where the rest begins, in bytes.
    pub at: u64,
}

/// What to send to somebody who wants a file of `len` bytes from `offset` on; `read` gives ranges of it, whole
/// or fails. `None`: it is no FLV file that begins in the usual way, or has no tag behind the offset.
///
/// # Errors
/// Those of `read`.
pub fn rest<E>(
    len: u64,
    offset: u64,
    mut read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Option<Rest>, E> {
    let mut file = File { len, read: &mut read };
    let Some(Head { mut front, first, headers }) = file.head()? else { return Ok(None) };
    let Some(tag) = file.tag_from(offset.max(first))? else { return Ok(None) };
    let at = file.keyframe(tag, first)?;
    for header in headers.into_iter().filter(|header| header.start < at) {
        front.extend_from_slice(&(file.read)(header)?);
    }
    Ok(Some(Rest { front, at }))
}

struct File<'r, R> {
    len: u64,
    read: &'r mut R,
}

struct Head {
    front: Vec<u8>,
    /// Where the first tag begins.
    first: u64,
    /// The first sequence header of each kind.
    headers: Vec<Range<u64>>,
}

/// The beginning of a tag.
struct Tag {
    at: u64,
    /// Where the next one begins.
    end: u64,
    kind: Option<FrameKind>,
    /// The size field in front of it.
    before: u64,
}

impl<E, R: FnMut(Range<u64>) -> Result<Vec<u8>, E>> File<'_, R> {
    fn head(&mut self) -> Result<Option<Head>, E> {
        if self.len < 13 {
            return Ok(None);
        }
        let start = (self.read)(0..9)?;
        let first = u64::from(u32::from_be_bytes([start[5], start[6], start[7], start[8]])) + 4;
        if &start[..3] != b"FLV" || !(13..=MAX_HEAD).contains(&first) || first > self.len {
            return Ok(None);
        }
        let front = (self.read)(0..first)?;
        let mut headers: Vec<(bool, Range<u64>)> = Vec::new();
        let mut at = first;
        for _ in 0..MAX_HEADERS {
            let Some(tag) = self.tag(at)? else { break };
            at = tag.end;
            let Some(kind) = tag.kind.filter(|kind| kind.is_header() && *kind != FrameKind::Metadata) else {
                continue;
            };
            let known = headers.iter().any(|(audio, _)| *audio == kind.is_audio());
            if !known && tag.end - tag.at <= MAX_HEAD {
                headers.push((kind.is_audio(), tag.at..tag.end));
            }
        }
        Ok(Some(Head { front, first, headers: headers.into_iter().map(|(_, header)| header).collect() }))
    }

    /// The tag at that place, if there is a whole one.
    fn tag(&mut self, at: u64) -> Result<Option<Tag>, E> {
        if at + (TAG_HEADER_LEN + 4) as u64 > self.len {
            return Ok(None);
        }
        let start = (self.read)(at - 4..(at + TAG_HEADER_LEN as u64 + LOOK).min(self.len))?;
        let (before, header) = start.split_at(4);
        let before = u64::from(u32::from_be_bytes([before[0], before[1], before[2], before[3]]));
        let Some(size) = announced(header) else { return Ok(None) };
        let end = at + size + 4;
        if end > self.len {
            return Ok(None);
        }
        let behind = (self.read)(end - 4..end)?;
        if behind != (size as u32).to_be_bytes() {
            return Ok(None);
        }
        let body = &header[TAG_HEADER_LEN..];
        let body = &body[..body.len().min(size as usize - TAG_HEADER_LEN)];
        Ok(Some(Tag { at, end, kind: classify(header[0] & 0x1f, body), before }))
    }

    /// The first tag that begins at `from` or behind it.
    fn tag_from(&mut self, from: u64) -> Result<Option<Tag>, E> {
        let end = self.len.min(from.saturating_add(WINDOW));
        let mut at = from;
        while at < end {
            // Steps overlap by what is looked at of a tag's header.
            let bytes = (self.read)(at..self.len.min(at + STEP + TAG_HEADER_LEN as u64))?;
            for (i, header) in bytes.windows(TAG_HEADER_LEN).take(STEP as usize).enumerate() {
                if announced(header).is_some()
                    && let Some(tag) = self.tag(at + i as u64)?
                {
                    return Ok(Some(tag));
                }
            }
            at += STEP;
        }
        Ok(None)
    }

    /// Where the keyframe begins that `tag` needs: at it or before it. Without one, at `tag` itself.
    fn keyframe(&mut self, tag: Tag, first: u64) -> Result<u64, E> {
        let from = tag.at;
        let mut tag = tag;
        for _ in 0..MAX_BACK {
            if tag.kind == Some(FrameKind::Keyframe) {
                return Ok(tag.at);
            }
            if tag.at == first || tag.before > tag.at - first {
                break;
            }
            match self.tag(tag.at - 4 - tag.before)? {
                Some(previous) if previous.end == tag.at => tag = previous,
                _ => break,
            }
        }
        Ok(from)
    }
}

/// The size of the tag that these bytes begin, header included; `None` if they begin none.
fn announced(header: &[u8]) -> Option<u64> {
    let is_tag = matches!(header[0] & 0x1f, 8 | 9 | 18) && header[8..11] == [0, 0, 0];
    let size = u64::from(u32::from_be_bytes([0, header[1], header[2], header[3]]));
    (is_tag && size <= MAX_TAG as u64).then_some(size + TAG_HEADER_LEN as u64)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::flv::mux;

    const VIDEO_HEADER: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x64];
    const AUDIO_HEADER: &[u8] = &[0xaf, 0, 0x12, 0x10];

    /// Headers, then GOPs of a keyframe, sound and nine frames; and where the keyframes are.
    fn file() -> (Vec<u8>, Vec<u64>) {
        let mut out = BytesMut::from(&mux::file_header(true, true)[..]);
        let write = |out: &mut BytesMut, tag_type, time, body: &[u8]| {
            mux::write_tag(out, tag_type, time, body).unwrap();
        };
        write(&mut out, 18, 0, b"\x02\x00\x0aonMetaData\x03\x00\x00\x09");
        write(&mut out, 9, 0, VIDEO_HEADER);
        write(&mut out, 8, 0, AUDIO_HEADER);
        let mut keyframes = Vec::new();
        for time in 0..60u32 {
            let key = time.is_multiple_of(10);
            if key {
                keyframes.push(out.len() as u64);
            }
            let mut body = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
            body.resize(if key { 900 } else { 90 }, 0x09);
            write(&mut out, 9, time * 40, &body);
            write(&mut out, 8, time * 40, &[0xaf, 1, 0x21, 0x10, 0x04]);
        }
        (out.to_vec(), keyframes)
    }

    fn rest_of(file: &[u8], offset: u64) -> Option<Rest> {
        let read = |range: Range<u64>| {
            file.get(range.start as usize..range.end as usize).map(<[u8]>::to_vec).ok_or("beyond the file")
        };
        rest(file.len() as u64, offset, read).unwrap()
    }

    #[test]
    fn from_the_keyframe_at_or_before_the_offset() {
        let (file, keyframes) = file();
        let header = rest_of(&file, keyframes[2]).unwrap();
        assert_eq!(header.at, keyframes[2]);
        let mut expected = BytesMut::from(&mux::file_header(true, true)[..]);
        mux::write_tag(&mut expected, 9, 0, VIDEO_HEADER).unwrap();
        mux::write_tag(&mut expected, 8, 0, AUDIO_HEADER).unwrap();
        assert_eq!(header.front, expected);
        for offset in keyframes[1]..=keyframes[3] {
            let rest = rest_of(&file, offset).unwrap();
            let before = *keyframes.iter().rfind(|&&at| at <= offset).unwrap();
            // Within the last tag before a keyframe the next tag is that keyframe.
            let next = *keyframes.iter().find(|&&at| at >= offset).unwrap();
            assert!(rest.at == before || rest.at == next && next - offset <= 20, "{offset}: {}", rest.at);
        }
    }

    #[test]
    fn at_the_beginning_nothing_comes_twice() {
        let (file, keyframes) = file();
        let rest = rest_of(&file, 13).unwrap();
        assert_eq!((rest.front.len(), rest.at), (13, 13));
        assert_eq!(rest_of(&file, 1).unwrap(), rest);
        assert!(rest_of(&file, keyframes[0]).unwrap().front.len() > 13);
    }

    #[test]
    fn nothing_to_go_on_with() {
        let (file, _) = file();
        assert_eq!(rest_of(&file, file.len() as u64), None);
        assert_eq!(rest_of(&file, u64::MAX), None);
        assert_eq!(rest_of(b"FLV", 1), None);
        assert_eq!(rest_of(&[0; 1000], 100), None);
    }

    #[test]
    fn sound_alone_goes_on_at_the_next_tag() {
        let mut out = BytesMut::from(&mux::file_header(true, false)[..]);
        let mut places = Vec::new();
        for time in 0..50 {
            places.push(out.len() as u64);
            mux::write_tag(&mut out, 8, time * 20, &[0xaf, 1, 1, 2, 3, 4]).unwrap();
        }
        assert_eq!(rest_of(&out, places[20] + 1).unwrap().at, places[21]);
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_read_within_its_bounds(
            cut in 0usize..3000,
            offset in 0u64..12_000,
            damage in proptest::collection::vec((0usize..9000, any::<u8>()), 0..20),
        ) {
            let (mut file, _) = file();
            for (at, byte) in damage {
                let len = file.len();
                file[at % len] = byte;
            }
            file.truncate(file.len().saturating_sub(cut));
            if let Some(rest) = rest_of(&file, offset) {
                prop_assert!(rest.at < file.len() as u64);
            }
        }
    }
}
