//! The typed, immutable value running code holds: no text, no look-up of directives.
//!
//! One file per block. The `block!` macro turns a list of fields into the struct, its reading and its
//! comparison; names tie the fields to the rows of the table, where defaults, units and ranges are. A feature
//! that lands adds a file and one line in the block around it.

mod access;
mod caster;
mod cluster;
mod dash;
mod dvr;
mod exporter;
mod forward;
mod global;
mod hds;
mod hls;
mod http;
mod http_hooks;
mod http_remux;
mod http_static;
mod log;
mod monitor;
mod play;
mod programs;
mod publish;
mod secret;
mod vhost;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::access::{Bandcheck, Network, Refer, Rule, Security, Who};
pub use self::caster::{CasterProtocol, StreamCaster};
pub use self::cluster::{Cluster, Mode, Order, Protocol};
pub use self::dash::Dash;
pub use self::dvr::{Dvr, DvrPlan};
pub use self::exporter::Exporter;
pub use self::forward::{Destination, Forward};
pub use self::global::Global;
pub use self::hds::Hds;
pub use self::hls::{Hls, HlsOnError, HlsStorage};
pub use self::http::{Auth, HttpApi, HttpServer, Https, RawApi};
pub use self::http_hooks::HttpHooks;
pub use self::http_remux::HttpRemux;
pub use self::http_static::HttpStatic;
pub use self::log::{Format, Level, Log, Tank};
pub use self::monitor::{Heartbeat, Stats};
pub use self::play::{Play, TimeJitter};
pub use self::programs::{Engine, Exec, Flag, Ingest, IngestInput, InputKind, Transcode};
pub use self::publish::Publish;
pub use self::secret::Secret;
pub use self::vhost::Vhost;
pub use crate::value::BadDestination;

use crate::diff::Changes;
use crate::spec::{self, Effect, Kind, Row, Unit};
use crate::value;
use crate::view::View;

/// Name of the vhost that serves all names that have none of their own.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// A whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What stands outside all blocks.
    pub global: Global,
    /// Where the log goes, and how much of it.
    pub log: Log,
    /// `http_api`.
    pub http_api: HttpApi,
    /// `http_server`.
    pub http_server: HttpServer,
    /// `heartbeat`.
    pub heartbeat: Heartbeat,
    /// `stats`.
    pub stats: Stats,
    /// `exporter`.
    pub exporter: Exporter,
    /// Each `stream_caster` that is enabled; their addresses differ.
    pub stream_casters: Vec<StreamCaster>,
    /// All vhosts in the order of the file, disabled ones too; names differ.
    pub vhosts: Vec<Arc<Vhost>>,
}

impl Snapshot {
    /// What runs when no configuration is given at all: foreground, log on the console, RTMP on port 1935,
    /// API on 1985, HTTP on 8080, and a default vhost that offers its streams as HTTP-FLV too.
    #[must_use]
    pub fn built_in() -> Self {
        let text = crate::BUILT_IN;
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        crate::load(Some(("built-in", text.as_bytes())), [], &mut no_files)
            .expect("the embedded configuration is valid; a test loads it")
            .snapshot
    }

    /// The vhost of that exact name, else the default one. One that is disabled is returned as it is: its
    /// clients are refused, not sent to the default vhost.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&Arc<Vhost>> {
        let find = |name: &str| self.vhosts.iter().find(|vhost| vhost.name == name);
        find(name).or_else(|| find(DEFAULT_VHOST))
    }

    /// Takes over from the `running` configuration what only a restart can change, so that this value says what
    /// is in force. [`diff`](crate::diff()) against the file still finds it.
    pub fn hold_back(&mut self, running: &Self) {
        let rows = spec::root();
        let inside = |name| spec::find(rows, name).map_or(&[][..], Row::rows);
        self.global.hold_fields(&running.global, rows);
        self.log.hold_fields(&running.log, rows);
        self.http_api.hold_fields(&running.http_api, inside("http_api"));
        self.http_server.hold_fields(&running.http_server, inside("http_server"));
        for vhost in &mut self.vhosts {
            if let Some(before) = running.vhosts.iter().find(|before| before.name == vhost.name) {
                Arc::make_mut(vhost).hold_fields(before, inside("vhost"));
            }
        }
    }

    /// Reads the tree. It must have passed the check; a tree that did not gives defaults here and there, no
    /// panic.
    pub(crate) fn read(root: &View<'_>) -> Self {
        // A name that comes twice was warned of; the first one counts.
        let mut names = HashSet::new();
        let first = root.blocks("vhost").filter(|view| names.insert(view.head()));
        let vhosts = first.map(|view| Arc::new(Vhost::read(&view))).collect();
        let mut http_api = HttpApi::read(&root.block("http_api"));
        let http_server = HttpServer::read(&root.block("http_server"));
        // One plain port for both means one for TLS too, unless the file says otherwise.
        let given = root.block("http_api").block("https").given("listen").is_some();
        if http_api.listen == http_server.listen && !given {
            http_api.https.listen = http_server.https.listen;
        }
        let casters = root.blocks("stream_caster").filter(|view| view.is_on("enabled"));
        Self {
            global: Global::read(root),
            log: Log::read(root),
            http_api,
            http_server,
            heartbeat: Heartbeat::read(&root.block("heartbeat")),
            stats: Stats::read(&root.block("stats")),
            exporter: Exporter::read(&root.block("exporter")),
            stream_casters: casters.map(|view| StreamCaster::read(&view)).collect(),
            vhosts,
        }
    }
}

/// What the value of one directive, or one block, becomes.
pub(crate) trait Field: PartialEq + Clone {
    /// Reads the directive of that name.
    fn read(view: &View<'_>, name: &str) -> Self;

    /// Notes what differs; a block goes into its fields.
    fn compare(&self, new: &Self, name: &'static str, changes: &mut Changes) {
        if self != new {
            changes.note(name);
        }
    }

    /// Becomes `running` where only a restart changes the directive of that name; a block goes into its fields.
    fn hold(&mut self, running: &Self, name: &str, rows: &'static [Row]) {
        if spec::find(rows, name).is_some_and(|row| row.effect == Effect::NeedsRestart) {
            *self = running.clone();
        }
    }
}

impl Field for bool {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.is_on(name)
    }
}

impl Field for u32 {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.number(name) as u32
    }
}

impl Field for f64 {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.number(name)
    }
}

/// The unit is the row's.
impl Field for Duration {
    fn read(view: &View<'_>, name: &str) -> Self {
        let number = view.number(name).max(0.0);
        match view.row(name).kind {
            Kind::Int(Unit::Millis) | Kind::Float(Unit::Millis) => Duration::from_secs_f64(number / 1000.0),
            _ => Duration::from_secs_f64(number),
        }
    }
}

impl Field for String {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.text(name).to_owned()
    }
}

impl Field for Vec<String> {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.list(name).into_iter().map(str::to_owned).collect()
    }
}

impl Field for PathBuf {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.text(name).into()
    }
}

impl Field for SocketAddr {
    fn read(view: &View<'_>, name: &str) -> Self {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        value::endpoint(view.text(name)).unwrap_or(nowhere)
    }
}

impl Field for Vec<SocketAddr> {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.list(name).into_iter().filter_map(|text| value::endpoint(text).ok()).collect()
    }
}

/// Defines a block: `field: Type = "directive"`. A word in parentheses after the name is a field for the
/// argument of the block's head.
macro_rules! block {
    (
        $(#[$meta:meta])*
        pub struct $block:ident $(($(#[$head_meta:meta])* $head:ident))? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $block {
            $($(#[$head_meta])* pub $head: String,)?
            $($(#[$field_meta])* pub $field: $type,)+
        }

        impl $block {
            pub(crate) fn read(view: &$crate::view::View<'_>) -> Self {
                Self {
                    $($head: view.head().to_owned(),)?
                    $($field: $crate::model::Field::read(view, $name),)+
                }
            }

            pub(crate) fn compare_fields(&self, new: &Self, changes: &mut $crate::diff::Changes) {
                $($crate::model::Field::compare(&self.$field, &new.$field, $name, changes);)+
            }

            pub(crate) fn hold_fields(&mut self, running: &Self, rows: &'static [$crate::spec::Row]) {
                $($crate::model::Field::hold(&mut self.$field, &running.$field, $name, rows);)+
            }
        }

        impl $crate::model::Field for $block {
            fn read(view: &$crate::view::View<'_>, name: &str) -> Self {
                Self::read(&view.block(name))
            }

            fn compare(&self, new: &Self, name: &'static str, changes: &mut $crate::diff::Changes) {
                changes.inside(name, |changes| self.compare_fields(new, changes));
            }

            fn hold(&mut self, running: &Self, name: &str, rows: &'static [$crate::spec::Row]) {
                let rows = $crate::spec::find(rows, name).map_or(&[][..], $crate::spec::Row::rows);
                self.hold_fields(running, rows);
            }
        }
    };
}
pub(crate) use block;

#[cfg(test)]
mod tests;
