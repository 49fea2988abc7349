//! Connections and what they turn out to be.
//!
//! Each protocol drives its peer to a request (publish or play), takes it through [`admit`], and only then
//! tells the peer that it was accepted.

mod access;
pub(crate) mod admit;
pub(crate) mod http;
pub(crate) mod intake;
pub(crate) mod rtmp;

use std::sync::Arc;

use mill_hub::Hub;

use crate::attach::Outputs;
use crate::child::{Children, Ingests};
use crate::clients::Clients;
use crate::clients::stats::Usage;
use crate::fanout::Fanout;
use crate::hook::Hooks;
use crate::identity::Identity;
use crate::ingress::Figures;
use crate::listen::Connections;
use crate::listen::tls::Certificates;
use crate::metrics::Metrics;
use crate::output::shelf::Shelf;
use crate::relay::coworkers::Coworkers;
use crate::relay::dial::Dialer;
use crate::relay::edge::Edge;
use crate::reload::{self, Config};
use crate::system::System;
use crate::tasks::Tasks;

/// What every session may use. One per server.
pub(crate) struct Context {
    /// The configuration in force; a session reads it when it makes a decision.
    pub(crate) config: Config,
    /// Changes it.
    pub(crate) reload: reload::Handle,
    pub(crate) identity: Arc<Identity>,
    pub(crate) tasks: Tasks,
    pub(crate) hub: Hub,
    pub(crate) fanout: Fanout,
    pub(crate) clients: Clients,
    pub(crate) hooks: Arc<Hooks>,
    /// What runs beside streams.
    pub(crate) outputs: Outputs,
    /// What they have for viewers over HTTP.
    pub(crate) shelf: Shelf,
    /// Viewers of HLS.
    pub(crate) sessions: http::Sessions,
    /// Programs: all of them, and those that bring streams.
    pub(crate) children: Children,
    pub(crate) ingests: Ingests,
    pub(crate) bandcheck: rtmp::bandcheck::Gate,
    /// How many publish, for the pace of their reads.
    pub(crate) publishers: rtmp::Publishers,
    pub(crate) connections: Arc<Connections>,
    pub(crate) system: System,
    pub(crate) certificates: Certificates,
    pub(crate) usage: Usage,
    pub(crate) metrics: Metrics,
    /// Gets the streams of edges.
    pub(crate) edge: Edge,
    /// Knows which other origin has a stream.
    pub(crate) coworkers: Coworkers,
    /// Makes connections to other servers.
    pub(crate) dialer: Arc<Dialer>,
    /// What stream casters count.
    pub(crate) ingress: Figures,
    /// Makes handshakes differ; not a secret.
    pub(crate) seed: u64,
}
