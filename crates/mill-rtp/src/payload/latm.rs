//! AAC as RFC 6416 sends it: AudioMuxElements, one after the other, their configuration in the description.
//!
//! Carried is what encoders make: one program, one layer, frames of any length (ISO/IEC 14496-3, 1.7.3).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mill_media::bits::Bits;
use mill_media::codec::aac::DecoderConfig;

use super::{Coding, Form, MAX_SOUND, Unit, Unsupported, aac, hex_bytes};
use crate::packet::Packet;
use crate::sdp::Media;

#[derive(Debug)]
pub(super) struct Reader {
    /// Frames in an element.
    frames: u32,
    duration: u32,
    /// An element that comes in several packets.
    element: BytesMut,
}

pub(super) fn open(media: &Media) -> Result<(Coding, Form), Unsupported> {
    let unsupported = |what| Err(Unsupported::Form { format: "LATM", what });
    if media.parameter("cpresent").is_none_or(|present| present != "0") {
        return unsupported("the configuration is in the stream");
    }
    let config = media.parameter("config").unwrap_or_default();
    let Some(bytes) = hex_bytes(config) else { return unsupported("no configuration") };
    let Some((frames, config)) = mux_config(&bytes) else { return unsupported("several programs or layers") };
    let duration = aac::duration(&config, media.clock_rate);
    Ok((Coding::Aac(config), Form::Latm(Reader { frames, duration, element: BytesMut::new() })))
}

/// Frames in an element and the AudioSpecificConfig, of a StreamMuxConfig (table 1.42).
fn mux_config(bytes: &[u8]) -> Option<(u32, Bytes)> {
    let mut bits = Bits::new(bytes);
    const SIMPLE: u32 = 0b01; // audioMuxVersion 0, allStreamsSameTimeFraming 1
    (bits.read(2)? == SIMPLE).then_some(())?;
    let frames = bits.read(6)? + 1;
    (bits.read(4)? == 0 && bits.read(3)? == 0).then_some(())?; // numProgram, numLayer
    // The config ends somewhere in the middle of a byte, behind which only what this reader ignores follows.
    let start = bits.position();
    let mut config = Vec::new();
    let mut rest = bits.clone();
    while start + 8 * (config.len() + 1) <= 8 * bytes.len() && config.len() < 64 {
        config.push(rest.read(8)? as u8);
    }
    let parsed = DecoderConfig::parse(&config)?;
    // Only the explicit forms of SBR need more than the first two bytes.
    if !parsed.sbr {
        config.truncate(2);
        config[1] &= 0xf8;
    }
    Some((frames, config.into()))
}

impl Reader {
    pub(super) fn push(&mut self, packet: &Packet, after_loss: bool, out: &mut VecDeque<Unit>) {
        if after_loss {
            self.element.clear();
        }
        if self.element.len() + packet.payload.len() > MAX_SOUND {
            self.element.clear();
            return;
        }
        self.element.extend_from_slice(&packet.payload);
        if packet.marker {
            let element = self.element.split().freeze();
            let _ = self.take(element, packet.timestamp, out);
        }
    }

    /// PayloadLengthInfo and PayloadMux of each frame (tables 1.44 and 1.45); `None` where a length leads too far.
    fn take(&self, mut element: Bytes, mut timestamp: u32, out: &mut VecDeque<Unit>) -> Option<()> {
        for _ in 0..self.frames {
            if element.is_empty() {
                break;
            }
            let full = element.iter().take_while(|&&byte| byte == 255).count();
            let len = 255 * full + usize::from(*element.get(full)?);
            if full + 1 + len > element.len() {
                return None;
            }
            let _ = element.split_to(full + 1);
            aac::put(element.split_to(len), timestamp, out);
            timestamp = timestamp.wrapping_add(self.duration);
        }
        Some(())
    }
}
