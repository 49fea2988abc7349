//! `/api/v1/streams/`: the streams somebody publishes or watches.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use mill_media::codec;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked, Kbps};
use crate::clients::StreamEntry;
use crate::log::Redacted;
use crate::session::Context;
use crate::session::admit::stream_url;

/// SRS's number for a stream nobody knows.
const NO_STREAM: u32 = 2048;

#[derive(Serialize, ToSchema)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// All streams, if only some are listed here.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneStream {
    stream: Stream,
}

/// A stream while it has a client.
#[derive(Serialize, ToSchema)]
struct Stream {
    id: String,
    name: String,
    /// The id of its vhost.
    vhost: String,
    app: String,
    /// The server's time, milliseconds since 1970.
    live_ms: u64,
    /// Publishers and viewers now.
    clients: usize,
    /// Video frames received.
    frames: u64,
    /// Bytes sent to all its clients so far.
    send_bytes: u64,
    /// Bytes received from all its clients so far.
    recv_bytes: u64,
    kbps: Kbps,
    publish: Publish,
    video: Option<Video>,
    audio: Option<Audio>,
    /// What its first client has connected to; values of parameters are not shown.
    #[serde(rename = "tcUrl")]
    tc_url: String,
    url: String,
}

#[derive(Serialize, ToSchema)]
struct Publish {
    active: bool,
    /// The id of the client that publishes, or empty.
    cid: String,
}

#[derive(Serialize, ToSchema)]
struct Video {
    codec: &'static str,
    profile: String,
    level: String,
    /// Pixels, cropping applied; 0 if unknown.
    width: u32,
    height: u32,
}

#[derive(Serialize, ToSchema)]
struct Audio {
    codec: &'static str,
    /// Hertz of the decoded sound; 0 if unknown.
    sample_rate: u32,
    channel: u8,
    profile: String,
}

pub(super) fn get(asked: &Asked<'_>) -> Answer {
    let ctx = asked.ctx;
    ctx.clients.settle();
    let mut entries = ctx.clients.streams();
    if !asked.rest.is_empty() {
        return match entries.iter().find(|entry| entry.id == asked.rest) {
            Some(entry) => Answer::ok(ctx, &OneStream { stream: describe(ctx, entry) }),
            None => Answer::code(NO_STREAM),
        };
    }
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    // As in SRS 3 all of them, unless somebody asks for a page as in SRS 6.
    let all = entries.len();
    let page = asked.query.page(all);
    let total = page.is_some().then_some(all);
    let streams = entries[page.unwrap_or(0..all)].iter().map(|entry| describe(ctx, entry)).collect();
    Answer::ok(ctx, &Streams { streams, total })
}

fn describe(ctx: &Context, entry: &StreamEntry) -> Stream {
    let live = ctx.hub.find(&entry.stream);
    let samples = live.as_ref().map(|stream| stream.samples()).unwrap_or_default();
    let bytes = entry.account.bytes();
    let publisher = entry.publisher();
    Stream {
        id: entry.id.clone(),
        name: entry.stream.name.clone(),
        vhost: entry.vhost.id.clone(),
        app: entry.stream.app.clone(),
        live_ms: now_ms(),
        clients: entry.clients(),
        frames: live.as_ref().map_or(0, |stream| stream.counters().frames.load(Ordering::Relaxed)),
        send_bytes: bytes.sent,
        recv_bytes: bytes.received,
        kbps: entry.account.kbps().into(),
        publish: Publish {
            active: publisher.is_some() || live.is_some_and(|stream| stream.is_live()),
            cid: publisher.map(|id| id.to_string()).unwrap_or_default(),
        },
        video: samples.video.as_deref().and_then(codec::video_info).map(|info| Video {
            codec: info.codec.name(),
            profile: info.profile,
            level: info.level,
            width: info.width,
            height: info.height,
        }),
        audio: samples.audio.as_deref().and_then(codec::audio_info).map(|info| Audio {
            codec: info.codec.name(),
            sample_rate: info.sample_rate,
            channel: info.channels,
            profile: info.profile,
        }),
        tc_url: Redacted(&entry.tc_url).to_string(),
        url: stream_url(&entry.stream),
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}
