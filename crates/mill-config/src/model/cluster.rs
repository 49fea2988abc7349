//! Edges and origins.

use std::time::Duration;

use super::Field;
use crate::view::View;

super::block! {
    /// `vhost.cluster`.
    pub struct Cluster {
        /// Where the streams of the vhost are published.
        mode: Mode = "mode",
        /// Servers an edge gets streams from, `host[:port]`.
        origins: Vec<String> = "origin",
        /// How it gets them.
        protocol: Protocol = "protocol",
        /// It gets a stream the way its first player does.
        follow_client: bool = "follow_client",
        /// The origin is asked before a client is accepted.
        token_traverse: bool = "token_traverse",
        /// Vhost at the origin; `[vhost]` stands for that of the client.
        vhost: String = "vhost",
        /// Tell the origin who we are.
        debug_srs_upnode: bool = "debug_srs_upnode",
        /// Which origin is asked first.
        order: Order = "origin_order",
        /// How long a stream is kept that nobody plays any more.
        linger: Duration = "pull_linger",
        /// How long players wait for an origin that has the stream; zero for ever.
        give_up: Duration = "pull_give_up",
        /// How long a publisher goes on without an origin that takes its stream.
        push_give_up: Duration = "push_give_up",
        /// Players of streams that are not here are sent to the origin that has them.
        origin_cluster: bool = "origin_cluster",
        /// HTTP APIs of the other origins, `host:port`.
        coworkers: Vec<String> = "coworkers",
    }
}

impl Cluster {
    /// Streams come from an origin.
    #[must_use]
    pub fn is_edge(&self) -> bool {
        self.mode == Mode::Remote
    }
}

/// Where the streams of a vhost are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Here: an origin.
    Local,
    /// Elsewhere: an edge.
    Remote,
}

impl Field for Mode {
    fn read(view: &View<'_>, name: &str) -> Self {
        if view.word(name) == "remote" { Self::Remote } else { Self::Local }
    }
}

/// How an edge gets streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RTMP.
    Rtmp,
    /// HTTP-FLV.
    Flv,
    /// HTTP-FLV over TLS.
    Flvs,
}

impl Field for Protocol {
    fn read(view: &View<'_>, name: &str) -> Self {
        match view.word(name) {
            "flv" => Self::Flv,
            "flvs" => Self::Flvs,
            _ => Self::Rtmp,
        }
    }
}

/// Which origin an edge asks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    RoundRobin,
    /// The name of the stream decides; when the list changes, few streams move.
    Hash,
}

impl Field for Order {
    fn read(view: &View<'_>, name: &str) -> Self {
        if view.word(name) == "hash" { Self::Hash } else { Self::RoundRobin }
    }
}
