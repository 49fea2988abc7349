//! `/api/v1/vhosts/`: the vhosts that have had a client.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked, Kbps};
use crate::clients::{StreamEntry, VhostEntry};
use crate::session::Context;

/// SRS's number for a vhost nobody knows.
const NO_VHOST: u32 = 2014;

#[derive(Serialize, ToSchema)]
pub(super) struct Vhosts {
    vhosts: Vec<Vhost>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneVhost {
    vhost: Vhost,
}

/// A vhost since its first client.
#[derive(Serialize, ToSchema)]
struct Vhost {
    id: String,
    name: String,
    enabled: bool,
    /// Publishers and viewers now.
    clients: usize,
    /// Streams that have a client.
    streams: usize,
    /// Bytes sent to all its clients so far.
    send_bytes: u64,
    /// Bytes received from all its clients so far.
    recv_bytes: u64,
    kbps: Kbps,
    hls: Hls,
}

#[derive(Serialize, ToSchema)]
struct Hls {
    enabled: bool,
    /// Seconds; only where HLS is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<f64>,
}

pub(super) fn get(asked: &Asked<'_>) -> Answer {
    let ctx = asked.ctx;
    ctx.clients.settle();
    let (mut vhosts, streams) = (ctx.clients.vhosts(), ctx.clients.streams());
    if asked.rest.is_empty() {
        vhosts.sort_by(|a, b| a.id.cmp(&b.id));
        let vhosts = vhosts.iter().map(|entry| describe(ctx, entry, &streams)).collect();
        return Answer::ok(ctx, &Vhosts { vhosts });
    }
    match vhosts.iter().find(|entry| entry.id == asked.rest) {
        Some(entry) => Answer::ok(ctx, &OneVhost { vhost: describe(ctx, entry, &streams) }),
        None => Answer::code(NO_VHOST),
    }
}

fn describe(ctx: &Context, entry: &VhostEntry, streams: &[Arc<StreamEntry>]) -> Vhost {
    let config = ctx.config.load();
    // The exact name: the fallback to the default vhost is for clients.
    let conf = config.vhosts.iter().find(|vhost| vhost.name == entry.name);
    let of_it = || streams.iter().filter(|stream| stream.stream.vhost == entry.name);
    let bytes = entry.account.bytes();
    Vhost {
        id: entry.id.clone(),
        name: entry.name.clone(),
        enabled: conf.is_some_and(|vhost| vhost.enabled),
        clients: of_it().map(|stream| stream.clients()).sum(),
        streams: of_it().count(),
        send_bytes: bytes.sent,
        recv_bytes: bytes.received,
        kbps: entry.account.kbps().into(),
        hls: Hls {
            enabled: conf.is_some_and(|vhost| vhost.hls.enabled),
            fragment: conf.filter(|vhost| vhost.hls.enabled).map(|vhost| vhost.hls.fragment.as_secs_f64()),
        },
    }
}
