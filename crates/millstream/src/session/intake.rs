//! From the messages of an RTMP publisher, or the tags of an FLV stream, to the hub's frames.
//!
//! Metadata is passed on in our name; other script data is not passed on, as in SRS. Bounded: [`MAX_HEADER`].

use bytes::Bytes;
use mill_hub::Publisher;
use mill_media::flv::script::Metadata;
use mill_media::flv::tag;
use mill_media::frame::FrameKind;
use mill_rtmp::message::types;
use tracing::{debug, info, warn};

use crate::identity;

/// Metadata and decoder configurations are given to every newcomer and repeated at every keyframe, so they must
/// be small. Real ones have some hundred bytes, with ICC profiles a few thousand.
const MAX_HEADER: usize = 64 * 1024;

/// A publisher, and what is made of messages on their way to it.
pub(crate) struct Intake {
    pub(crate) publisher: Publisher,
    /// Say in the log what the decoder configuration of pictures says.
    pub(crate) parse_sps: bool,
    /// Messages nobody could place.
    strange: u64,
}

impl Intake {
    pub(crate) fn new(publisher: Publisher, parse_sps: bool) -> Self {
        Self { publisher, parse_sps, strange: 0 }
    }

    /// Takes a message or tag of type 8, 9 or 18; viewers hear of it with the next wake of the publisher.
    pub(crate) fn take(&mut self, message_type: u8, timestamp: u32, payload: Bytes) {
        if message_type == types::DATA {
            return self.take_data(timestamp, &payload);
        }
        match tag::classify(message_type, &payload) {
            Some(kind) => {
                if kind.is_header() && payload.len() > MAX_HEADER {
                    warn!("{}B decoder configuration left out, more than {MAX_HEADER}", payload.len());
                    return;
                }
                if kind.is_header() {
                    self.describe(kind, &payload);
                }
                self.publisher.push(kind, timestamp, payload);
            }
            None => self.strange += 1,
        }
    }

    /// Metadata is passed on in our name; other script data is not passed on, as in SRS.
    fn take_data(&mut self, timestamp: u32, payload: &[u8]) {
        if payload.len() > MAX_HEADER {
            return warn!("{}B script data left out, more than {MAX_HEADER}", payload.len());
        }
        match Metadata::parse(payload) {
            Ok(metadata) => {
                info!(
                    "got metadata, width={}, height={}, audio={}, video={}",
                    metadata.width().unwrap_or(0),
                    metadata.height().unwrap_or(0),
                    metadata.has_audio(),
                    metadata.has_video()
                );
                let payload = metadata.normalised(identity::SERVER, identity::VERSION);
                self.publisher.push(FrameKind::Metadata, timestamp, payload);
            }
            Err(e) => debug!("script data left out: {e}"),
        }
    }

    fn describe(&self, kind: FrameKind, payload: &Bytes) {
        let bytes = payload.len();
        if kind == FrameKind::AudioHeader {
            match mill_media::codec::audio_info(payload) {
                Some(a) => info!(
                    "{bytes}B audio sh, codec({}, profile={}, {}channels, {}HZ)",
                    a.codec.name(),
                    a.profile,
                    a.channels,
                    a.sample_rate
                ),
                None => warn!("{bytes}B audio sh, not understood; passed on as it is"),
            }
        } else if kind == FrameKind::VideoHeader && self.parse_sps {
            match mill_media::codec::video_info(payload) {
                Some(v) => info!(
                    "{bytes}B video sh, codec({}, profile={}, level={}, {}x{})",
                    v.codec.name(),
                    v.profile,
                    v.level,
                    v.width,
                    v.height
                ),
                None => warn!("{bytes}B video sh, not understood; passed on as it is"),
            }
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if self.strange > 0 {
            warn!("{} messages were neither audio, video nor metadata and were left out", self.strange);
        }
    }
}
