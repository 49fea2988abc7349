//! MPEG audio (RFC 2250, 3.5): whole frames, or one piece of a frame, behind four bytes.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use mill_media::codec::mp3::FrameHeader;

use super::{Content, MAX_SOUND, Unit};
use crate::packet::Packet;

/// Ticks in a second, for whatever the sample rate is (RFC 3551, 4.5.13).
const CLOCK_RATE: u64 = 90_000;

#[derive(Debug, Default)]
pub(super) struct Reader {
    /// A frame whose rest is still to come, and its time.
    rest: BytesMut,
    timestamp: u32,
}

impl Reader {
    pub(super) fn push(&mut self, packet: &Packet, after_loss: bool, out: &mut VecDeque<Unit>) {
        if after_loss {
            self.rest.clear();
        }
        let Some(&[_, _, o0, o1]) = packet.payload.first_chunk() else { return };
        let mut data = packet.payload.clone();
        data.advance(4);
        if u16::from_be_bytes([o0, o1]) > 0 {
            if self.rest.is_empty() || self.rest.len() + data.len() > MAX_SOUND {
                self.rest.clear();
                return;
            }
            self.rest.extend_from_slice(&data);
            data = self.rest.split().freeze();
        } else {
            self.rest.clear();
            self.timestamp = packet.timestamp;
        }
        self.take(data, out);
    }

    fn take(&mut self, mut data: Bytes, out: &mut VecDeque<Unit>) {
        while let Some(header) = FrameHeader::parse(&data) {
            let Some(len) = header.len.filter(|&len| len <= MAX_SOUND) else { return };
            if len > data.len() {
                self.rest.extend_from_slice(&data);
                return;
            }
            let content = Content::Sound(data.split_to(len));
            out.push_back(Unit { timestamp: self.timestamp, content, resumes: false });
            let duration = u64::from(header.samples) * CLOCK_RATE / u64::from(header.sample_rate);
            self.timestamp = self.timestamp.wrapping_add(duration as u32);
        }
    }
}
