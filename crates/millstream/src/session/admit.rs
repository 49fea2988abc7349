//! The one road by which anybody comes to publish or play, whatever the protocol.
//!
//! identify → vhost → page → on_connect → address → name → page of the kind → on_publish or on_play → the
//! stream → place among the clients. The road is walked in the peer's own task, before the peer is told
//! "accepted"; a slow callback server keeps only that peer waiting. What it gives out is all there is to
//! leaving: dropping a [`Publishing`] or [`Playing`] unpublishes or stops playing, and tells the callback
//! servers.

use std::sync::Arc;
use std::time::Duration;

use mill_config::model::{self, HttpRemux, Snapshot, Vhost};
use mill_hub::{Publisher, StreamId, StreamOptions, TimeJitter, Watch};
use mill_media::amf0::Object;
use mill_media::frame::Millis;

use super::Context;
use crate::attach::{Arranged, Attached, Source};
use crate::clients::{Kind, Peer, Presence};
use crate::fanout::Pace;
use crate::hook::{Action, Failure, Farewell, Subject};
use crate::relay::edge::{self, Supply};
use crate::relay::uplink;
use crate::relay::via::Via;
use crate::session::access;

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
    /// The servers the stream has come through, if it comes from one.
    pub(crate) via: Via,
    /// What an RTMP client says in the second argument of connect.
    pub(crate) args: Option<Arc<Object>>,
}

/// A publisher who was let in. What it holds goes in this order: the name is free before anybody hears
/// that the publisher has left.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) publisher: Publisher,
    /// What runs beside it; ends with the publisher.
    pub(crate) attached: Attached,
    pub(crate) presence: Presence,
}

/// A viewer who was let in.
#[derive(Debug)]
pub(crate) struct Playing {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) watch: Watch,
    /// Tells when there is no hope of the stream.
    pub(crate) supply: Supply,
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
    /// It is busy with itself.
    #[error("this server has sent the stream on: it goes in a circle")]
    Circle,
    /// An edge asked the origin.
    #[error("the origin does not accept the client")]
    Origin,
    /// Neither here nor at a coworker.
    #[error("no origin has the stream")]
    Nowhere,
    #[error("this page may not")]
    Referer,
    #[error("this address may not")]
    Denied,
    #[error("only some addresses may")]
    NotAllowed,
    #[error("the vhost has no access rules")]
    NoRules,
    /// Of an edge's stream.
    #[error("the stream already has a publisher at the origin")]
    BusyOrigin,
    #[error("no origin answers")]
    NoOrigin,
    /// With SRS's number for what went wrong; the peer hears no more than that.
    #[error("refused")]
    Callback(u32),
}

impl Refusal {
    /// SRS's number for it.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::NoVhost | Self::VhostDisabled => 2014,
            Self::NoName => 2051,
            Self::Busy | Self::Circle | Self::BusyOrigin => 1028,
            Self::Origin => 3067,
            Self::Nowhere => 3090,
            Self::NoOrigin => 1018,
            Self::Referer => 2015,
            Self::Denied => 1053,
            Self::NotAllowed | Self::NoRules => 1054,
            Self::Callback(code) => code,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Callback(failure.code())
    }
}

/// Lets a publisher in and claims the name for it.
pub(crate) async fn publish(ctx: &Context, peer: &Peer, request: Request) -> Result<Publishing, Refusal> {
    let Admitted { vhost, stream, mut farewell } = admit(ctx, peer, &request).await?;
    let Ok(publisher) = ctx.hub.publish(&stream, stream_options(&vhost)) else {
        // It was never on air.
        farewell.iter_mut().for_each(Farewell::cancel);
        let circle = !request.via.allows(&ctx.outputs.forwards.mark(&stream));
        return Err(if circle { Refusal::Circle } else { Refusal::Busy });
    };
    let Request { param, via, .. } = request;
    let presence = enter(ctx, peer, request.kind, stream.clone()).bids(farewell);
    let confirmed = match confirm(ctx, &vhost) {
        Ok(vhost) => {
            let subject = Subject { peer, stream: &stream, param: &param };
            arrange(ctx, &vhost, &subject, &via).await.map(|arranged| (vhost, arranged))
        }
        Err(refusal) => Err(refusal),
    };
    let (vhost, arranged) = match confirmed {
        Ok(confirmed) => confirmed,
        Err(refusal) => {
            // The name is free before anybody hears that it is over.
            drop(publisher);
            return Err(refusal);
        }
    };
    publisher.stream().reconfigure(&stream_options(&vhost));
    let source = Source { outlet: publisher.outlet(), peer: peer.clone(), param, via };
    let attached = ctx.outputs.begin(&ctx.config, &vhost, source, arranged);
    Ok(Publishing { vhost, publisher, attached, presence })
}

/// Speaks with other servers about a publisher: they may know a reason why not.
async fn arrange(
    ctx: &Context,
    vhost: &Vhost,
    subject: &Subject<'_>,
    via: &Via,
) -> Result<Arranged, Refusal> {
    let forwards = &ctx.outputs.forwards;
    let answer = forwards.ask(vhost, subject).await.map_err(Refusal::Callback)?;
    let origin = match vhost.cluster.is_edge() {
        true => Some(uplink::agree(forwards, vhost, subject, via).await?),
        false => None,
    };
    Ok(Arranged { answer, origin })
}

/// Lets a viewer in.
pub(crate) async fn play(ctx: &Context, peer: &Peer, request: Request) -> Result<Playing, Refusal> {
    let Admitted { vhost, stream, farewell } = admit(ctx, peer, &request).await?;
    let (watch, supply) = watch(ctx, &vhost, &stream, peer, &request);
    let presence = enter(ctx, peer, request.kind, stream).bids(farewell);
    let mut playing = Playing { vhost, watch, supply, presence };
    playing.vhost = confirm(ctx, &playing.vhost)?;
    Ok(playing)
}

/// Begins to watch a stream, as everybody must who brings it to viewers: on an edge this is what gets it from the
/// origin, and it is kept for as long as the watch is held.
pub(crate) fn watch(
    ctx: &Context,
    vhost: &Vhost,
    stream: &StreamId,
    viewer: &Peer,
    request: &Request,
) -> (Watch, Supply) {
    let watch = ctx.hub.watch(stream);
    let supply = ctx.edge.supply(vhost, watch.stream(), viewer, request);
    (watch, supply)
}

/// Somebody who may do what it asked for, whom the callback servers know of.
struct Admitted {
    vhost: Arc<Vhost>,
    stream: StreamId,
    farewell: Option<Farewell>,
}

/// The part of the road that publishers and viewers share.
async fn admit(ctx: &Context, peer: &Peer, request: &Request) -> Result<Admitted, Refusal> {
    let (vhost, stream) = identify(&ctx.config.load(), request)?;
    let publishes = request.kind.publishes();
    let subject = Subject { peer, stream: &stream, param: &request.param };
    access::from_any_page(&vhost.refer, &peer.page_url)?;
    if request.kind.connects() {
        ctx.hooks.ask(&vhost, Action::Connect, &subject).await?;
    }
    access::from_address(&vhost.security, publishes, peer.ip)?;
    if stream.name.is_empty() {
        return Err(Refusal::NoName);
    }
    access::from_page(&vhost.refer, publishes, &peer.page_url)?;
    // Two edges that are each other's origin would watch each other for ever.
    if !publishes && vhost.cluster.is_edge() && !request.via.allows(&ctx.outputs.forwards.mark(&stream)) {
        return Err(Refusal::Circle);
    }
    if vhost.cluster.is_edge() && vhost.cluster.token_traverse {
        edge::token::ask(&ctx.dialer, &vhost, peer, request).await?;
    }
    let action = if publishes { Action::Publish } else { Action::Play };
    let farewell = ctx.hooks.begin(&vhost, action, &subject).await?;
    Ok(Admitted { vhost, stream, farewell })
}

fn identify(config: &Snapshot, request: &Request) -> Result<(Arc<Vhost>, StreamId), Refusal> {
    let vhost = config.vhost(&request.vhost).ok_or(Refusal::NoVhost)?;
    if !vhost.enabled {
        return Err(Refusal::VhostDisabled);
    }
    let stream = StreamId { vhost: vhost.name.clone(), app: request.app.clone(), name: request.name.clone() };
    Ok((vhost.clone(), stream))
}

/// Looks at the vhost once more, now that the client is in the table. A reload first exchanges the
/// configuration and then treats the clients it finds: who was not there yet sees the new value here.
fn confirm(ctx: &Context, admitted: &Vhost) -> Result<Arc<Vhost>, Refusal> {
    let config = ctx.config.load();
    match config.vhosts.iter().find(|vhost| vhost.name == admitted.name) {
        Some(vhost) if vhost.enabled => Ok(vhost.clone()),
        Some(_) => Err(Refusal::VhostDisabled),
        None => Err(Refusal::NoVhost),
    }
}

fn enter(ctx: &Context, peer: &Peer, kind: Kind, stream: StreamId) -> Presence {
    ctx.clients.enter(peer.clone(), kind, stream)
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
        sound_cache: sound_cache(&vhost.http_remux),
        reduce_sequence_header: play.reduce_sequence_header,
    }
}

/// How much sound is kept for new viewers: nothing where nobody can listen to sound alone.
fn sound_cache(remux: &HttpRemux) -> Millis {
    let sound_only = [".aac", ".mp3"].iter().any(|ending| remux.mount.ends_with(ending));
    let kept = if remux.enabled && sound_only { remux.fast_cache } else { Duration::ZERO };
    Millis::try_from(kept.as_millis()).unwrap_or(Millis::MAX)
}

/// What the vhost says about delivery to somebody who plays.
pub(crate) fn pace(vhost: &Vhost) -> Pace {
    let longest = if vhost.min_latency { Duration::ZERO } else { vhost.play.mw_latency };
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
        let (param, via) = (String::new(), Via::default());
        let request = Request { kind: Kind::Play, vhost, app, name, param, via, args: None };
        identify(config, &request).map(|(_, stream)| stream)
    }

    #[test]
    fn vhosts_decide() {
        let both =
            config("listen 1935; vhost a.com { } vhost off.com { enabled off; } vhost __defaultVhost__ { }");
        assert_eq!(identified(&both, "a.com", "s").unwrap().to_string(), "a.com/live/s");
        assert_eq!(stream_url(&identified(&both, "10.0.0.1", "s").unwrap()), "/live/s");
        assert_eq!(identified(&both, "off.com", "s").unwrap_err(), Refusal::VhostDisabled);
        let strict = config("listen 1935; vhost a.com { }");
        assert_eq!(identified(&strict, "b.com", "s").unwrap_err(), Refusal::NoVhost);
    }
}
