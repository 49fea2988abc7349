//! `/api/v1/forwards`: where streams are sent to, and how that goes. SRS has no such resource.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked};
use crate::attach::Forwarded;

#[derive(Serialize, ToSchema)]
pub(super) struct Forwards {
    forwards: Vec<Forward>,
}

/// A published stream on its way to another server.
#[derive(Serialize, ToSchema)]
struct Forward {
    vhost: String,
    app: String,
    stream: String,
    /// The id of the client that publishes.
    cid: String,
    /// `forward`, or `origin`: a publisher of an edge, whose stream is brought to the origin.
    kind: &'static str,
    /// Where to. Values of parameters, and stream names that are not made of its own, are not shown.
    url: String,
    /// `connecting`, `sending`, `waiting` for the next attempt, or `lost`: no origin has taken it for too long.
    state: &'static str,
    /// Connections that were accepted.
    connections: u64,
    /// Bytes sent over all of them.
    send_bytes: u64,
    /// Frames left out because the other server was too slow.
    lost: u64,
    /// Why the last connection failed or broke; empty while all is well.
    error: String,
}

impl From<Forwarded> for Forward {
    fn from(forwarded: Forwarded) -> Self {
        let Forwarded { stream, client, kind, status } = forwarded;
        Self {
            vhost: stream.vhost,
            app: stream.app,
            stream: stream.name,
            cid: client.to_string(),
            kind,
            url: status.url,
            state: status.state.name(),
            connections: status.connections,
            send_bytes: status.sent,
            lost: status.lost,
            error: status.error,
        }
    }
}

pub(super) fn get(asked: &Asked<'_>) -> Answer {
    let mut forwarded = asked.ctx.outputs.forwarded();
    forwarded.sort_by(|a, b| (&a.stream, &a.status.url).cmp(&(&b.stream, &b.status.url)));
    Answer::ok(asked.ctx, &Forwards { forwards: forwarded.into_iter().map(Forward::from).collect() })
}
