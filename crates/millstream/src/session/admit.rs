//! The one road by which anybody comes to publish or play, whatever the protocol.
//!
//! identify → vhost → name → place among the clients → the stream. (Referer, access rules and callbacks
//! take their place in [`admit`].) The road is walked in the peer's own task, before the peer is told
//! "accepted". What it gives out is all there is to leaving: dropping a [`Publishing`] or [`Playing`]
//! unpublishes or stops playing.

use std::sync::Arc;

use mill_config::model::{self, Snapshot, Vhost};
use mill_hub::{Publisher, StreamId, StreamOptions, TimeJitter, Watch};

use super::Context;
use crate::clients::{Kind, Peer, Presence};
use crate::fanout::Pace;

/// What somebody asks for. The names are those of the URL.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    /// The host or vhost of the URL.
    pub(crate) vhost: String,
    pub(crate) app: String,
    pub(crate) name: String,
    /// Parameters with the question mark, or empty.
    pub(crate) param: String,
}

/// A publisher who was let in. What it holds goes in this order: the name is free before anybody hears
/// that the publisher has left.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) publisher: Publisher,
    pub(crate) presence: Presence,
}

/// A viewer who was let in.
#[derive(Debug)]
pub(crate) struct Playing {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) watch: Watch,
    pub(crate) presence: Presence,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no such vhost, and no default vhost")]
    NoVhost,
    #[error("the vhost is disabled")]
    VhostDisabled,
    #[error("the stream has no name")]
    NoName,
    #[error("the stream already has a publisher")]
    Busy,
}

impl Refusal {
    /// SRS's number for it.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::NoVhost | Self::VhostDisabled => 2014,
            Self::NoName => 2051,
            Self::Busy => 1028,
        }
    }
}

/// Lets a publisher in and claims the name for it.
pub(crate) async fn publish(ctx: &Context, peer: &Peer, request: Request) -> Result<Publishing, Refusal> {
    let (vhost, stream) = admit(ctx, peer, &request).await?;
    let publisher = ctx.hub.publish(&stream, stream_options(&vhost)).map_err(|_| Refusal::Busy)?;
    let presence = enter(ctx, peer, request, stream);
    Ok(Publishing { vhost, publisher, presence })
}

/// Lets a viewer in.
pub(crate) async fn play(ctx: &Context, peer: &Peer, request: Request) -> Result<Playing, Refusal> {
    let (vhost, stream) = admit(ctx, peer, &request).await?;
    let watch = ctx.hub.watch(&stream);
    let presence = enter(ctx, peer, request, stream);
    Ok(Playing { vhost, watch, presence })
}

/// The part of the road that publishers and viewers share.
async fn admit(ctx: &Context, _peer: &Peer, request: &Request) -> Result<(Arc<Vhost>, StreamId), Refusal> {
    let config = ctx.config.load_full();
    identify(&config, request)
}

fn identify(config: &Snapshot, request: &Request) -> Result<(Arc<Vhost>, StreamId), Refusal> {
    let vhost = config.vhost(&request.vhost).ok_or(Refusal::NoVhost)?;
    if !vhost.enabled {
        return Err(Refusal::VhostDisabled);
    }
    if request.name.is_empty() {
        return Err(Refusal::NoName);
    }
    let stream = StreamId { vhost: vhost.name.clone(), app: request.app.clone(), name: request.name.clone() };
    Ok((vhost.clone(), stream))
}

fn enter(ctx: &Context, peer: &Peer, request: Request, stream: StreamId) -> Presence {
    let Request { kind, param, .. } = request;
    ctx.clients.enter(peer.clone(), kind, stream, param)
}

/// What the vhost says about a stream somebody publishes.
pub(crate) fn stream_options(vhost: &Vhost) -> StreamOptions {
    let play = &vhost.play;
    StreamOptions {
        jitter: match play.time_jitter {
            model::TimeJitter::Full => TimeJitter::Full,
            model::TimeJitter::Zero => TimeJitter::Zero,
            model::TimeJitter::Off => TimeJitter::Off,
        },
        mix_correct: play.mix_correct,
        atc: play.atc,
        atc_auto: play.atc_auto,
        gop_cache: play.gop_cache,
        gop_cache_max_frames: play.gop_cache_max_frames as usize,
        queue_length: i64::try_from(play.queue_length.as_millis()).unwrap_or(i64::MAX),
        reduce_sequence_header: play.reduce_sequence_header,
    }
}

/// What the vhost says about delivery to somebody who plays.
pub(crate) fn pace(vhost: &Vhost) -> Pace {
    let longest = if vhost.min_latency { std::time::Duration::ZERO } else { vhost.play.mw_latency };
    Pace { longest, shortest: vhost.play.send_min_interval }
}

/// The stream as SRS writes it in its log: the default vhost is left out.
pub(crate) fn stream_url(stream: &StreamId) -> String {
    if stream.vhost == model::DEFAULT_VHOST {
        format!("/{}/{}", stream.app, stream.name)
    } else {
        stream.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Snapshot {
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot
    }

    fn identified(config: &Snapshot, vhost: &str, name: &str) -> Result<StreamId, Refusal> {
        let [vhost, app, name] = [vhost, "live", name].map(str::to_owned);
        let request = Request { kind: Kind::Play, vhost, app, name, param: String::new() };
        identify(config, &request).map(|(_, stream)| stream)
    }

    #[test]
    fn vhosts_decide() {
        let both =
            config("listen 1935; vhost a.com { } vhost off.com { enabled off; } vhost __defaultVhost__ { }");
        assert_eq!(identified(&both, "a.com", "s").unwrap().to_string(), "a.com/live/s");
        assert_eq!(stream_url(&identified(&both, "10.0.0.1", "s").unwrap()), "/live/s");
        assert_eq!(identified(&both, "off.com", "s").unwrap_err(), Refusal::VhostDisabled);
        assert_eq!(identified(&both, "a.com", "").unwrap_err(), Refusal::NoName);
        let strict = config("listen 1935; vhost a.com { }");
        assert_eq!(identified(&strict, "b.com", "s").unwrap_err(), Refusal::NoVhost);
    }
}
