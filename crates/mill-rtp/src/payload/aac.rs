//! AAC as RFC 3640 sends it: AU headers, then the frames they describe, or one piece of a large one.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use mill_media::adts;
use mill_media::bits::Bits;
use mill_media::codec::aac::{DecoderConfig, RATES};

use super::{Coding, Content, Form, MAX_SOUND, Unit, Unsupported, hex_bytes};
use crate::packet::Packet;
use crate::sdp::Media;

/// Frames in a packet.
const MAX_FRAMES: usize = 64;

/// How AU headers are laid out (3.2.1.1, 4.1): bits of each field.
#[derive(Debug, Clone, Copy, Default)]
struct Layout {
    size: usize,
    index: usize,
    index_delta: usize,
    cts_delta: usize,
    dts_delta: usize,
    random_access: usize,
    stream_state: usize,
    auxiliary_size: usize,
    /// Bytes of each frame, where all are equally long and no header says so.
    constant_size: usize,
}

#[derive(Debug)]
pub(super) struct Reader {
    layout: Layout,
    /// Ticks from one frame to the next.
    duration: u32,
    /// A frame that comes in pieces, and its whole length.
    fragment: Option<(BytesMut, usize)>,
}

pub(super) fn open(media: &Media) -> Result<(Coding, Form), Unsupported> {
    let unsupported = |what| Err(Unsupported::Form { format: "AAC", what });
    if media.parameter("mode").is_some_and(|mode| mode.to_ascii_uppercase().contains("CELP")) {
        return unsupported("CELP is not AAC");
    }
    let Some(config) = config(media) else { return unsupported("no configuration that can be read") };
    let duration = duration(&config, media.clock_rate);
    let bits = |name| media.number(name).unwrap_or(0).min(32) as usize;
    let mut layout = Layout {
        size: bits("sizelength"),
        index: bits("indexlength"),
        index_delta: bits("indexdeltalength"),
        cts_delta: bits("ctsdeltalength"),
        dts_delta: bits("dtsdeltalength"),
        random_access: bits("randomaccessindication").min(1),
        stream_state: bits("streamstateindication"),
        auxiliary_size: bits("auxiliarydatasizelength"),
        constant_size: media.number("constantsize").unwrap_or(0) as usize,
    };
    // Some senders leave out what their mode means anyway (3.3.6).
    if layout.size == 0 && layout.constant_size == 0 {
        layout = Layout { size: 13, index: 3, index_delta: 3, ..layout };
    }
    Ok((Coding::Aac(config), Form::Aac(Reader { layout, duration, fragment: None })))
}

/// The AudioSpecificConfig of a description: what it says, or what rate and channels come to.
fn config(media: &Media) -> Option<Bytes> {
    let told = media.parameter("config").and_then(|hex| hex_bytes(hex.trim_matches('"')));
    if let Some(told) = told.filter(|told| told.len() <= 64 && DecoderConfig::parse(told).is_some()) {
        return Some(told.into());
    }
    const LC: u16 = 2;
    let rate = RATES.iter().position(|&rate| rate == media.clock_rate)?;
    let channels = u16::from(media.channels.clamp(1, 7));
    Some(Bytes::copy_from_slice(&(LC << 11 | (rate as u16) << 7 | channels << 3).to_be_bytes()))
}

/// How long a frame lasts on the track's clock.
pub(super) fn duration(config: &[u8], clock_rate: u32) -> u32 {
    DecoderConfig::parse(config).map_or(1024, |config| {
        let ticks =
            u64::from(config.frame_samples) * u64::from(clock_rate) / u64::from(config.core_rate.max(1));
        ticks as u32
    })
}

impl Reader {
    pub(super) fn push(&mut self, packet: &Packet, after_loss: bool, out: &mut VecDeque<Unit>) {
        if after_loss {
            self.fragment = None;
        }
        // A packet whose headers lead nowhere is as good as lost.
        if self.take(packet, out).is_none() {
            self.fragment = None;
        }
    }

    fn take(&mut self, packet: &Packet, out: &mut VecDeque<Unit>) -> Option<()> {
        let (sizes, mut data) = self.headers(packet.payload.clone())?;
        if let [size] = sizes[..]
            && size > data.len()
        {
            return self.take_fragment(size, &data, packet, out);
        }
        self.fragment = None;
        let mut timestamp = packet.timestamp;
        for size in sizes {
            if size > data.len() {
                return None;
            }
            put(data.split_to(size), timestamp, out);
            timestamp = timestamp.wrapping_add(self.duration);
        }
        Some(())
    }

    /// The sizes of the frames, and the bytes behind all headers.
    fn headers(&self, mut payload: Bytes) -> Option<(Vec<usize>, Bytes)> {
        let layout = &self.layout;
        let header = layout.size
            + layout.index
            + layout.cts_delta.min(1)
            + layout.dts_delta.min(1)
            + layout.random_access
            + layout.stream_state;
        let mut sizes = Vec::new();
        if header > 0 {
            if payload.len() < 2 {
                return None;
            }
            let bits = usize::from(payload.get_u16());
            let section = bits.div_ceil(8);
            if section > payload.len() {
                return None;
            }
            let section = payload.split_to(section);
            let mut reader = Bits::new(&section);
            while reader.position() < bits && sizes.len() < MAX_FRAMES {
                let index = if sizes.is_empty() { layout.index } else { layout.index_delta };
                let size = reader.read(layout.size)? as usize;
                reader.read(index)?;
                for delta in [layout.cts_delta, layout.dts_delta] {
                    if delta > 0 && reader.read(1)? == 1 {
                        reader.read(delta)?;
                    }
                }
                reader.read(layout.random_access)?;
                reader.read(layout.stream_state)?;
                sizes.push(if layout.size == 0 { layout.constant_size } else { size });
            }
        }
        if layout.auxiliary_size > 0 {
            let mut reader = Bits::new(&payload);
            let auxiliary = reader.read(layout.auxiliary_size)? as usize;
            let section = (reader.position() + auxiliary).div_ceil(8);
            if section > payload.len() {
                return None;
            }
            payload.advance(section);
        }
        if header == 0 {
            sizes = vec![layout.constant_size; (payload.len() / layout.constant_size).min(MAX_FRAMES)];
        }
        Some((sizes, payload))
    }

    /// A piece of a frame that did not fit into a packet (3.2.3): all pieces have the same time and the whole's size.
    fn take_fragment(
        &mut self,
        size: usize,
        piece: &[u8],
        packet: &Packet,
        out: &mut VecDeque<Unit>,
    ) -> Option<()> {
        if size > MAX_SOUND {
            return None;
        }
        let (bytes, whole) = self.fragment.get_or_insert_with(|| (BytesMut::new(), size));
        if *whole != size || bytes.len() + piece.len() > size {
            return None;
        }
        bytes.extend_from_slice(piece);
        if bytes.len() == size {
            let frame = self.fragment.take()?.0.freeze();
            put(frame, packet.timestamp, out);
        }
        Some(())
    }
}

/// Passes a frame on, without the ADTS header that some senders leave before it.
pub(super) fn put(mut frame: Bytes, timestamp: u32, out: &mut VecDeque<Unit>) {
    if let Some((_, layout)) = adts::Header::parse(&frame)
        && layout.frame == frame.len()
    {
        frame.advance(layout.header);
    }
    if !frame.is_empty() && frame.len() <= MAX_SOUND {
        out.push_back(Unit { timestamp, content: Content::Sound(frame), resumes: false });
    }
}
