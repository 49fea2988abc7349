//! Edge play: the streams of an edge vhost come from its origins, as long as somebody watches them.
//!
//! ```text
//!  admit::play ─► Edge::supply ─► Pull (a task per stream) ─► Roster ─► Upstream … Upstream     (whoever has it first)
//!                                    └─ Intake ─► Publisher ─► viewers, outputs
//! ```
//!
//! Watching is what starts a pull, whoever watches in whatever format; all viewers share it. The pull is the publisher
//! of the stream here: it claims the name when the first frame has come and keeps it while it changes origins, so
//! viewers stay connected, on one timeline (the hub's correction), and outputs go on. Callbacks of publishers do not
//! hear of it. It asks one origin after the other without waiting for the answers ([`origins`]), and the first that
//! sends sound or pictures is the source until it fails or somebody else is faster when it is quiet: after [`QUIET`]
//! the others are asked too, and after [`SILENT`] more it is itself asked anew. It ends when nobody has watched for
//! `pull_linger`, or when no origin has given anything for `pull_give_up`: then [`Supply::lost`] tells the viewers, who
//! are sent away.
//!
//! The table has the pull of each stream; a pull takes itself out under its lock, when it sees there that nobody
//! watches, so a newcomer finds either a pull that will see it or none. A task that is cut off takes itself out too.
//! The configuration is read each time origins are asked. Bounded: a pull has one connection to each origin at most;
//! pulls by the streams that are watched.

mod keep;
pub(crate) mod origins;
pub(crate) mod token;
mod upstream;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use mill_config::model::{DEFAULT_VHOST, Protocol, Snapshot, Vhost};
use mill_hub::{Stream, StreamId};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::client::Error;
use super::introduction;
use super::target::Server;
use super::via::Via;
use crate::attach::{Arranged, Attached, Source};
use crate::clients::{self, Kind, Peer, Traffic};
use crate::log::Redacted;
use crate::session::Context;
use crate::session::admit::{self, Request};
use crate::session::intake::Intake;
use keep::Kept;
use origins::{Origins, Roster};
use upstream::{Upstream, Wanted};

/// When a source has sent nothing for so long the others are asked too: it may hang, or have lost the publisher to
/// one of them.
const QUIET: Duration = Duration::from_secs(1);

/// Where that happens again and again it is the publisher who rests, and asking anew brings the same frames again: each
/// time the patience is doubled, up to this.
const MAX_QUIET: Duration = Duration::from_secs(40);

/// A source that is quiet has failed after so much longer; SRS's time.
const SILENT: Duration = Duration::from_secs(5);

/// A source that has sent for so long is a good one, and its longest gap is usual for the stream.
const PROVEN: Duration = Duration::from_secs(10);

/// Somebody publishes the stream here, at the edge itself; looked at again after this time.
const BUSY: Duration = Duration::from_secs(1);

/// The pulls of a server.
pub(crate) struct Edge {
    ctx: Weak<Context>,
    origins: Arc<Origins>,
    table: Mutex<HashMap<StreamId, Supply>>,
    /// What viewers keep who have no connection.
    kept: Mutex<HashMap<StreamId, Kept>>,
}

/// What a viewer holds of a pull: nothing where streams are published here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supply(Option<watch::Receiver<bool>>);

impl Supply {
    /// Waits until there is no hope of the stream; for ever where it is published here. May be dropped while it waits.
    pub(crate) async fn lost(&self) {
        let Some(mut lost) = self.0.clone() else { return std::future::pending().await };
        // A pull that is gone without a word is as lost.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    fn is(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Some(a), Some(b)) if a.same_channel(b))
    }
}

impl Edge {
    pub(crate) fn new(ctx: Weak<Context>, origins: Arc<Origins>) -> Self {
        Self { ctx, origins, table: Mutex::default(), kept: Mutex::default() }
    }

    /// Sees to it that a stream somebody watches comes from an origin, if its vhost is an edge. Call it after
    /// [`mill_hub::Hub::watch`]; the first viewer's parameters are those the origin sees.
    pub(crate) fn supply(
        &self,
        vhost: &Vhost,
        stream: &Arc<Stream>,
        viewer: &Peer,
        request: &Request,
    ) -> Supply {
        if !vhost.cluster.is_edge() || vhost.cluster.origins.is_empty() {
            return Supply::default();
        }
        let Some(ctx) = self.ctx.upgrade() else { return Supply::default() };
        let (tell, lost) = watch::channel(false);
        let supply = Supply(Some(lost));
        {
            let mut table = self.table.lock();
            if let Some(running) = table.get(stream.id()) {
                return running.clone();
            }
            table.insert(stream.id().clone(), supply.clone());
        }
        let id = ctx.tasks.next_id();
        let pull = Pull {
            stream: stream.clone(),
            supply: supply.clone(),
            asked: called(&request.vhost, stream.id()),
            via: request.via.clone(),
            param: request.param.clone(),
            viewer: viewer.id,
            over_http: request.kind.protocol() == clients::Protocol::Http,
            id,
            quiet: QUIET,
            publish: None,
            left: false,
            ctx: ctx.clone(),
        };
        info!("edge change from 0 to state 100 (play). url={}", admit::stream_url(stream.id()));
        ctx.tasks.spawn(id, pull.run(tell));
        supply
    }
}

/// The vhost for `[vhost]`: where the default one was called by a name, that name, as in SRS.
fn called(host: &str, stream: &StreamId) -> String {
    let is_name = !host.is_empty() && host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    if stream.vhost == DEFAULT_VHOST && is_name { host.to_owned() } else { stream.vhost.clone() }
}

/// One stream on its way here.
struct Pull {
    ctx: Arc<Context>,
    stream: Arc<Stream>,
    supply: Supply,
    /// The vhost its first viewer asked for, and the parameters.
    asked: String,
    param: String,
    /// The edges its first viewer stands for.
    via: Via,
    viewer: u64,
    over_http: bool,
    id: u64,
    /// Patience with a source that sends nothing.
    quiet: Duration,
    /// The claim of the name, once something has come.
    publish: Option<Publish>,
    /// It is not in the table any more.
    left: bool,
}

/// What is held from the first frame to the end.
struct Publish {
    intake: Intake,
    /// What runs beside it.
    _attached: Attached,
    traffic: Arc<Traffic>,
    _supply: crate::clients::Supply,
}

/// Why a pull ends.
enum End {
    /// Nobody watches.
    Deserted,
    /// No origin gives anything.
    GivenUp(Duration),
    /// The vhost is no edge any more, or gone.
    NoEdge,
}

impl Pull {
    async fn run(mut self, tell: watch::Sender<bool>) {
        loop {
            let end = Box::pin(self.serve()).await;
            // The name is free before the next pull of this stream may begin.
            self.publish = None;
            if !self.leave(matches!(end, End::Deserted)) {
                continue;
            }
            let url = admit::stream_url(self.stream.id());
            match end {
                End::Deserted => info!("edge change from 101 to state 0 (init): nobody plays {url}"),
                End::NoEdge => info!("edge: the vhost of {url} is no edge any more"),
                End::GivenUp(after) => {
                    warn!(
                        "edge: no origin has given anything of {url} for {after:?}, its players are sent away"
                    );
                }
            }
            if !matches!(end, End::Deserted) {
                self.stream.dismiss();
            }
            break;
        }
        let _ = tell.send(true);
    }

    /// Leaves the table, unless somebody watches again whom a deserted pull would fail.
    fn leave(&mut self, deserted: bool) -> bool {
        let mut table = self.ctx.edge.table.lock();
        if deserted && self.stream.viewers() > 0 {
            return false;
        }
        table.remove(self.stream.id());
        self.left = true;
        true
    }

    /// Brings the stream until there is a reason not to.
    async fn serve(&mut self) -> End {
        let stream = self.stream.clone();
        let (ctx, vhost) = (self.ctx.clone(), stream.id().vhost.clone());
        let linger =
            move || find(&ctx.config.load(), &vhost).map_or(Duration::ZERO, |vhost| vhost.cluster.linger);
        let mut deserted = std::pin::pin!(deserted(&stream, linger));
        let mut heard = Instant::now();
        let mut before: Option<Server> = None;
        let mut quiet: Option<Upstream> = None;
        loop {
            let elsewhere = async {
                // A publisher of this edge: the origin has it from here.
                while self.publish.is_none() && stream.is_live() {
                    sleep(BUSY).await;
                    heard = Instant::now();
                }
            };
            tokio::select! {
                () = elsewhere => {}
                () = &mut deserted => return End::Deserted,
            }
            let config = self.ctx.config.load_full();
            let Some(vhost) = find(&config, &stream.id().vhost).filter(|vhost| vhost.cluster.is_edge())
            else {
                return End::NoEdge;
            };
            let wanted = Arc::new(self.wanted(vhost));
            let mut roster = self.ctx.edge.origins.roster(&vhost.cluster, wanted.protocol, stream.id());
            if let Some(server) = &before {
                roster.last(server, Instant::now());
            }
            let held = quiet.take().filter(|upstream| roster.hold(&upstream.server));
            let give_up = vhost.cluster.give_up;
            let enough = async {
                match give_up.is_zero() {
                    true => std::future::pending().await,
                    false => sleep_until((heard + give_up).into()).await,
                }
            };
            let upstream = tokio::select! {
                upstream = self.search(roster, &wanted, held) => upstream,
                () = &mut deserted => return End::Deserted,
                () = enough => return End::GivenUp(give_up),
            };
            before = Some(upstream.server.clone());
            quiet = tokio::select! {
                quiet = self.feed(upstream, vhost, &mut heard) => quiet,
                () = &mut deserted => return End::Deserted,
            };
        }
    }

    fn wanted(&self, vhost: &Vhost) -> Wanted {
        let conf = &vhost.cluster;
        let protocol = match (conf.follow_client, self.over_http) {
            (false, _) => conf.protocol,
            (true, true) => Protocol::Flv,
            (true, false) => Protocol::Rtmp,
        };
        let there = conf.vhost.replace("[vhost]", &self.asked);
        let StreamId { app, name, .. } = self.stream.id();
        let mark = self.ctx.outputs.forwards.mark(self.stream.id());
        let mut args = introduction(conf.debug_srs_upnode, self.id);
        self.via.tell(&mark, &mut args);
        Wanted {
            protocol,
            vhost: there,
            app: app.clone(),
            name: name.clone(),
            param: self.param.clone(),
            via: self.via.with(&mark),
            args,
            chunk_size: vhost.chunk_size,
        }
    }

    /// Asks origins until one has the stream, or the one that is quiet goes on.
    async fn search(&self, mut roster: Roster, wanted: &Arc<Wanted>, quiet: Option<Upstream>) -> Upstream {
        type Asked = (Server, Result<Upstream, Error>);
        let mut asked: FuturesUnordered<BoxFuture<'static, Asked>> = FuturesUnordered::new();
        if roster.is_empty() {
            // The configuration names none that can be read.
            return std::future::pending().await;
        }
        if let Some(upstream) = quiet {
            asked.push(Box::pin(async {
                let server = upstream.server.clone();
                (server, upstream.go_on(SILENT).await)
            }));
        }
        loop {
            while let Some(server) = roster.take(Instant::now()) {
                let (dialer, wanted) = (self.ctx.dialer.clone(), wanted.clone());
                asked.push(Box::pin(async move {
                    let opened = Upstream::open(&dialer, &server, &wanted).await;
                    (server, opened)
                }));
            }
            let due = roster.next_due();
            let (server, opened) = tokio::select! {
                Some(answer) = asked.next() => answer,
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => continue,
            };
            let url = admit::stream_url(self.stream.id());
            match opened {
                Ok(upstream) => {
                    self.ctx.edge.origins.found(&server);
                    return upstream;
                }
                Err(e) => {
                    if let Error::Name(_) | Error::Connect(_) | Error::Tls(_) | Error::Timeout { .. } = e {
                        self.ctx.edge.origins.lost(&server);
                    }
                    let (failures, pause) = roster.failed(&server, Instant::now());
                    let code = e.code();
                    // A stream may be asked for in vain for hours.
                    if failures.is_power_of_two() {
                        warn!("edge pull {url} from {server}: code={code}: {e}; again in {pause:.1?}");
                    } else {
                        debug!("edge pull {url} from {server}: code={code}: {e}; again in {pause:.1?}");
                    }
                }
            }
        }
    }

    /// Hands on what a source sends until it fails; gives it back if it is only quiet.
    async fn feed(&mut self, mut upstream: Upstream, vhost: &Vhost, heard: &mut Instant) -> Option<Upstream> {
        let url = admit::stream_url(self.stream.id());
        let mut tags = std::mem::take(&mut upstream.first);
        let peer = upstream.peer();
        if !upstream.resumed {
            let server = peer.map_or_else(|| upstream.server.to_string(), |peer| peer.to_string());
            info!("edge pull connected, url={url}{}, server={server}", Redacted(&self.param));
        }
        *heard = Instant::now();
        let (mut begun, mut longest) = (*heard, Duration::ZERO);
        loop {
            if self.publish.is_none() {
                let ip = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
                self.publish = self.claim(vhost, upstream.kind(), ip);
            }
            let Some(publish) = &mut self.publish else {
                warn!("edge: somebody else publishes {url}");
                sleep(BUSY).await;
                return None;
            };
            for tag in tags.drain(..) {
                publish.intake.take(tag.tag_type, tag.timestamp, tag.body);
            }
            publish.intake.publisher.wake();
            publish.traffic.add_received(upstream.newly_received() as usize);
            match timeout(self.quiet, upstream.receive(&mut tags)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => {
                    warn!("edge pull {url} from {} is over, code={}: {e}", upstream.server, e.code());
                    return None;
                }
                Err(_) => {
                    debug!("edge pull {url}: nothing from {} for {:?}", upstream.server, self.quiet);
                    self.quiet = (self.quiet * 2).min(MAX_QUIET);
                    return Some(upstream);
                }
            }
            longest = longest.max(heard.elapsed());
            *heard = Instant::now();
            if begun.elapsed() > PROVEN {
                self.quiet = (longest * 2).clamp(QUIET, MAX_QUIET);
                (begun, longest) = (*heard, Duration::ZERO);
            }
        }
    }

    /// Becomes the publisher; `None` if somebody else is.
    fn claim(&self, vhost: &Vhost, kind: Kind, ip: IpAddr) -> Option<Publish> {
        let id = self.stream.id();
        let publisher = self.ctx.hub.publish(id, admit::stream_options(vhost)).ok()?;
        let traffic: Arc<Traffic> = Arc::default();
        let peer = Peer {
            id: self.id,
            ip,
            tc_url: format!("rtmp://{}/{}", self.asked, id.app).into(),
            page_url: Arc::default(),
            swf_url: Arc::default(),
            traffic: traffic.clone(),
        };
        let supply = self.ctx.clients.supply(peer.clone(), kind, id.clone(), self.viewer);
        let (param, via) = (self.param.clone(), Via::default());
        let source = Source { outlet: publisher.outlet(), peer, param, via };
        let attached = self.ctx.outputs.begin(&self.ctx.config, vhost, source, Arranged::default());
        info!("edge change from 100 to state 101 (pull). url={}", admit::stream_url(id));
        let intake = Intake::new(publisher, vhost.publish.parse_sps);
        Some(Publish { intake, _attached: attached, traffic, _supply: supply })
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // The task was cut off: whoever comes next starts anew.
        self.publish = None;
        let mut table = self.ctx.edge.table.lock();
        if table.get(self.stream.id()).is_some_and(|running| running.is(&self.supply)) {
            table.remove(self.stream.id());
        }
    }
}

fn find<'a>(config: &'a Snapshot, name: &str) -> Option<&'a Arc<Vhost>> {
    config.vhosts.iter().find(|vhost| vhost.name == name && vhost.enabled)
}

/// Waits until nobody has watched for as long as `linger` says.
async fn deserted(stream: &Stream, linger: impl Fn() -> Duration) {
    loop {
        if stream.viewers() > 0 {
            stream.crowd_changed().await;
            continue;
        }
        tokio::select! {
            () = sleep(linger()) => if stream.viewers() == 0 { return },
            () = stream.crowd_changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_a_viewer_called_is_the_vhost_at_the_origin() {
        let stream = |vhost: &str| StreamId { vhost: vhost.into(), app: "live".into(), name: "s".into() };
        assert_eq!(called("a.com", &stream("a.com")), "a.com");
        assert_eq!(called("10.0.0.1", &stream(DEFAULT_VHOST)), DEFAULT_VHOST);
        assert_eq!(called("[::1]", &stream(DEFAULT_VHOST)), DEFAULT_VHOST);
        assert_eq!(called("cdn.a.com", &stream(DEFAULT_VHOST)), "cdn.a.com");
        assert_eq!(called("", &stream(DEFAULT_VHOST)), DEFAULT_VHOST);
        assert_eq!(called("whatever", &stream("a.com")), "a.com");
    }
}
