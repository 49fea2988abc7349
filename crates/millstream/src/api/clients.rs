//! `/api/v1/clients/`: who publishes and plays; DELETE cuts one off.

use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

use super::openapi::Done;
use super::{Answer, Asked, Kbps};
use crate::clients::{self, CUT};
use crate::log::{self, Redacted};
use crate::session::admit::stream_url;

/// SRS's number for a client nobody knows.
const NO_CLIENT: u32 = 2049;

/// Clients on a page if nobody says how many.
const PAGE: usize = 10;

#[derive(Serialize, ToSchema)]
pub(super) struct Clients {
    clients: Vec<Client>,
    /// All clients there are.
    total: usize,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OneClient {
    client: Client,
}

/// Somebody who publishes or plays.
#[derive(Serialize, ToSchema)]
struct Client {
    /// The number its log lines carry.
    id: String,
    /// The id of its vhost.
    vhost: String,
    /// The id of its stream.
    stream: String,
    ip: String,
    /// The web page it says it runs in; values of parameters are not shown, here and below.
    #[serde(rename = "pageUrl")]
    page_url: String,
    #[serde(rename = "swfUrl")]
    swf_url: String,
    #[serde(rename = "tcUrl")]
    tc_url: String,
    url: String,
    /// `Play`, `fmle-publish`, `flash-publish` or `haivision-publish`.
    r#type: &'static str,
    publish: bool,
    /// Seconds since it was let in.
    alive: f64,
    /// The name of its stream.
    name: String,
    /// Bytes sent to it so far.
    send_bytes: u64,
    /// Bytes received from it so far.
    recv_bytes: u64,
    kbps: Kbps,
}

pub(super) fn answer(asked: &Asked<'_>) -> Answer {
    let ctx = asked.ctx;
    let known = asked.rest.parse().ok().and_then(|id| ctx.clients.get(id));
    match known {
        Some(client) if asked.method == hyper::Method::DELETE => kick(asked, &client),
        Some(client) => Answer::ok(ctx, &OneClient { client: describe(&client) }),
        None if asked.rest.is_empty() && asked.method != hyper::Method::DELETE => list(asked),
        None => Answer::code(NO_CLIENT),
    }
}

fn list(asked: &Asked<'_>) -> Answer {
    let mut clients = asked.ctx.clients.all();
    let total = clients.len();
    // As text, like everything SRS lists.
    clients.sort_by_cached_key(|client| client.peer.id.to_string());
    let page = asked.query.page(total).unwrap_or(0..PAGE.min(total));
    let clients = clients[page].iter().map(|client| describe(client)).collect();
    Answer::ok(asked.ctx, &Clients { clients, total })
}

fn kick(asked: &Asked<'_>, client: &clients::Client) -> Answer {
    let (ctx, id) = (asked.ctx, client.peer.id);
    if !ctx.tasks.cut(id) {
        return Answer::code(NO_CLIENT);
    }
    ctx.metrics.ended(CUT);
    log::under(id, || warn!("serve error code={CUT} : kicked by {} over the API", asked.peer.ip()));
    Answer::ok(ctx, &Done {})
}

fn describe(client: &clients::Client) -> Client {
    let peer = &client.peer;
    let bytes = client.bytes();
    let [_, window, _] = client.kbps();
    Client {
        id: peer.id.to_string(),
        vhost: client.place.vhost.id.clone(),
        stream: client.place.id.clone(),
        ip: peer.ip.to_string(),
        page_url: Redacted(&peer.page_url).to_string(),
        swf_url: Redacted(&peer.swf_url).to_string(),
        tc_url: Redacted(&peer.tc_url).to_string(),
        url: stream_url(&client.stream),
        r#type: client.kind.name(),
        publish: client.kind.publishes(),
        alive: client.since.elapsed().as_secs_f64(),
        name: client.stream.name.clone(),
        send_bytes: bytes.sent,
        recv_bytes: bytes.received,
        kbps: window.into(),
    }
}
