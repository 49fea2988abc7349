//! Publishers of an edge: their streams are at home at an origin, and are brought there.
//!
//! An edge lets a publisher in when an origin has said yes ([`agree`]), and tells it no when all of them are away or one
//! of them refuses. From then on the stream is published here as everywhere: players of this edge get it at once, not
//! from the origin back. A task like that of a forward brings it to the origin ([`super::forward`]). If the origin
//! goes, the task goes on with the next, from the running GOP on, and neither the publisher nor players here
//! notice; if none takes the stream for `push_give_up`, the publisher is told and sent away.
//!
//! Bounded: what waits as [`super::feed`] says, the agreement by [`AGREE`], a single origin by [`CONNECT`] and [`BEGIN`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::{Cluster, Protocol, Vhost};
use mill_hub::StreamId;
use mill_rtmp::command::code;
use tracing::{info, warn};

use super::client::{Error, Options, Outgoing};
use super::dial::Dialer;
use super::edge::origins::Origins;
use super::forward::{Forwards, called_vhost};
use super::target::{Server, Target};
use super::via::Via;
use crate::hook::Subject;
use crate::session::admit::Refusal;

/// A publisher hears yes or no within this time, whatever origins do.
const AGREE: Duration = Duration::from_secs(10);

/// For name and connection of one origin: there are others.
const CONNECT: Duration = Duration::from_secs(3);

/// For its yes.
const BEGIN: Duration = Duration::from_secs(5);

/// An origin that confirms or takes nothing for so long is gone, whatever the line looks like: viewers behind it have
/// no picture. Longer than for streams that come in, because another connection begins with the whole GOP again.
const LINE: Duration = Duration::from_secs(2);

/// A connection that has lasted so long counts as an origin that takes the stream; one that says yes and closes
/// does not.
const SETTLED: Duration = Duration::from_secs(5);

/// The way of a stream to its origin.
pub(crate) struct Uplink {
    origins: Arc<Origins>,
    conf: Cluster,
    stream: StreamId,
    /// At the origin of the moment.
    target: Target,
    /// The vhost at the origin, and the publisher's parameters.
    vhost: String,
    param: String,
    /// The connection that was made before the publisher was let in.
    agreed: Option<Outgoing>,
    connected: Instant,
    /// Since when no origin takes the stream.
    without: Option<Instant>,
}

/// An origin has said yes.
pub(crate) struct Agreed {
    pub(super) uplink: Box<Uplink>,
    pub(super) options: Options,
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agreed({})", self.uplink)
    }
}

/// Asks the origins of an edge, one after the other, whether they take a stream.
///
/// # Errors
/// What the publisher is told.
pub(crate) async fn agree(
    shared: &Forwards,
    vhost: &Vhost,
    subject: &Subject<'_>,
    via: &Via,
) -> Result<Agreed, Refusal> {
    let stream = subject.stream;
    let mark = shared.mark(stream);
    if !via.allows(&mark) {
        return Err(Refusal::Circle);
    }
    let mut args = super::introduction(vhost.cluster.debug_srs_upnode, subject.peer.id);
    via.tell(&mark, &mut args);
    let options = Options {
        connect: CONNECT,
        begin: BEGIN,
        chunk_size: vhost.chunk_size,
        args: Some(args),
        ..Options::default()
    };
    let order = shared.origins.in_order(&vhost.cluster, Protocol::Rtmp, stream);
    let Some(first) = order.first() else { return Err(Refusal::NoOrigin) };
    let there = vhost.cluster.vhost.replace("[vhost]", &called_vhost(stream, subject.peer));
    let target = Target::new(first.clone(), &there, &stream.app, &stream.name, subject.param);
    let mut uplink = Box::new(Uplink {
        origins: shared.origins.clone(),
        conf: vhost.cluster.clone(),
        stream: stream.clone(),
        target,
        vhost: there,
        param: subject.param.to_owned(),
        agreed: None,
        connected: Instant::now(),
        without: None,
    });
    let deadline = Instant::now() + AGREE;
    for server in order {
        // In a box: it is large, and this is part of the publisher's task.
        let asked = Box::pin(uplink.reach(server, &shared.dialer, &options));
        match tokio::time::timeout_at(deadline.into(), asked).await {
            Ok(Ok(out)) => {
                info!("edge publish url {uplink}, stream={stream}");
                uplink.agreed = Some(out);
                return Ok(Agreed { uplink, options });
            }
            Ok(Err(Error::Refused(status))) => {
                warn!("edge publish to {uplink}: the origin refuses: {} {}", status.code, status.description);
                let busy = status.code == code::PUBLISH_BAD_NAME;
                return Err(if busy { Refusal::BusyOrigin } else { Refusal::Origin });
            }
            Ok(Err(e)) => warn!("edge publish to {uplink}: code={} : {e}", e.code()),
            Err(_) => break,
        }
    }
    Err(Refusal::NoOrigin)
}

impl Uplink {
    /// A connection to the origin of the moment; the first time the one that was agreed.
    pub(super) async fn open(&mut self, dialer: &Dialer, options: &Options) -> Result<Outgoing, Error> {
        if let Some(out) = self.agreed.take() {
            return Ok(out);
        }
        let order = self.origins.in_order(&self.conf, Protocol::Rtmp, &self.stream);
        let Some(server) = order.into_iter().next() else { return Err(Error::Closed) };
        self.reach(server, dialer, options).await
    }

    /// A connection has ended, and the stream has not.
    pub(super) fn broke(&mut self, now: Instant) {
        if now.duration_since(self.connected) >= SETTLED {
            self.without = None;
        }
        self.without.get_or_insert(now);
        self.origins.lost(&self.target.server);
    }

    /// Whether the publisher has gone on without an origin for too long.
    pub(super) fn gives_up(&self, now: Instant) -> bool {
        self.without.is_some_and(|since| now.duration_since(since) >= self.conf.push_give_up)
    }

    async fn reach(&mut self, server: Server, dialer: &Dialer, options: &Options) -> Result<Outgoing, Error> {
        self.target = Target::new(server, &self.vhost, &self.stream.app, &self.stream.name, &self.param);
        let opened = Outgoing::open(dialer, &self.target, options).await;
        let opened = opened.and_then(|out| out.watch_line(LINE).map(|()| out).map_err(Error::Connect));
        match &opened {
            Ok(_) => {
                self.connected = Instant::now();
                self.origins.found(&self.target.server);
            }
            // It is there, and may say yes to other streams.
            Err(Error::Refused(_)) => {}
            Err(_) => self.origins.lost(&self.target.server),
        }
        opened
    }
}

/// Where it goes now, without secrets.
impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}
