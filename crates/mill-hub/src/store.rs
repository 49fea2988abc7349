//! Frames kept for later in as little memory as they can be: copied, end to end, into pieces of moderate
//! size, with a few bytes beside each frame.
//!
//! A frame's payload is a slice of the buffer it was read into, and keeping it would keep all of that:
//! the copy costs a hundredth of what the read did. Owned by the stream's [`crate::gop::Gop`], which bounds it.

use bytes::{BufMut, Bytes, BytesMut};
use mill_media::frame::{Frame, FrameKind, Millis};

/// The first piece: a thousand slow streams should not be a thousand times mostly empty.
const MIN_PIECE: usize = 4 * 1024;

/// The largest.
const MAX_PIECE: usize = 64 * 1024;

/// Frames in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: Vec<Entry>,
    /// All but the last are full.
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    dts: Millis,
    len: u32,
    kind: FrameKind,
}

impl Store {
    /// Forgets all frames. Room for their number stays: the next GOP is seldom longer.
    pub(crate) fn clear(&mut self) {
        self.entries.shrink_to_fit();
        self.entries.clear();
        self.pieces = Vec::new();
        self.bytes = 0;
    }

    pub(crate) fn push(&mut self, frame: &Frame) {
        // Payloads have at most the 24 bits of a message's length.
        let Ok(len) = u32::try_from(frame.payload.len()) else { return };
        self.entries.push(Entry { dts: frame.dts, len, kind: frame.kind });
        let mut rest = &frame.payload[..];
        while !rest.is_empty() {
            if self.pieces.last().is_none_or(|piece| piece.len() == piece.capacity()) {
                let size = (self.bytes / 8).next_multiple_of(MIN_PIECE).clamp(MIN_PIECE, MAX_PIECE);
                self.pieces.push(Vec::with_capacity(size));
            }
            let Some(piece) = self.pieces.last_mut() else { return };
            let (now, later) = rest.split_at(rest.len().min(piece.capacity() - piece.len()));
            piece.extend_from_slice(now);
            self.bytes += now.len();
            rest = later;
        }
    }

    /// The frames, copied out again.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame> {
        let mut pieces = self.pieces.iter().map(Vec::as_slice);
        let mut piece: &[u8] = &[];
        self.entries.iter().map(move |entry| {
            let mut payload = BytesMut::with_capacity(entry.len as usize);
            while payload.len() < entry.len as usize {
                if piece.is_empty() {
                    piece = pieces.next().expect("there are as many bytes as the entries say");
                }
                let (now, later) = piece.split_at(piece.len().min(entry.len as usize - payload.len()));
                payload.put_slice(now);
                piece = later;
            }
            Frame { kind: entry.kind, dts: entry.dts, payload: Bytes::from(payload) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(dts: Millis, len: usize) -> Frame {
        let payload = (0..len).map(|i| (i as Millis * 7 + dts) as u8).collect::<Vec<_>>().into();
        Frame { kind: FrameKind::Video, dts, payload }
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        let sizes = [10, 0, MIN_PIECE - 10, 1, MIN_PIECE + 5, 3 * MAX_PIECE, 700, 0];
        let frames: Vec<_> = sizes.iter().zip(0..).map(|(&len, dts)| frame(dts, len)).collect();
        let mut store = Store::default();
        for round in 0..2 {
            frames.iter().for_each(|frame| store.push(frame));
            assert!(store.frames().eq(frames.iter().cloned()), "round {round}");
            store.clear();
            assert_eq!(store.frames().count(), 0);
        }
    }

    #[test]
    fn little_is_kept_beside_the_bytes() {
        let mut store = Store::default();
        (0..140).for_each(|i| store.push(&frame(i, 370)));
        let kept: usize = store.pieces.iter().map(Vec::capacity).sum();
        assert!(kept < 140 * 370 + 8 * 1024, "{kept}");
        assert!(size_of::<Entry>() <= 16);
    }
}
