//! The life of the server on one page: prepare, bind, run, end.
//!
//! What can go wrong at the start goes wrong before anything is accepted: the log, the working directory,
//! the limit of open files and every address are checked first, and the process leaves with the exit code
//! SRS has for it. From then on only a signal ends it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mill_config::model::Snapshot;
use mill_hub::Hub;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::clients::Clients;
use crate::fanout::Fanout;
use crate::identity::Identity;
use crate::listen::{self, Connections};
use crate::metrics::Metrics;
use crate::session::http::Door;
use crate::session::{Context, http, rtmp};
use crate::stats::{self, Process};
use crate::system::System;
use crate::tasks::Tasks;
use crate::tls::{self, Certificates};
use crate::{demo, heartbeat, identity, log, pithy};

/// Descriptors that are not connections: listeners, log, event queues, files being read.
const OWN_DESCRIPTORS: u64 = 128;

/// How long tasks may take to let go of what they hold when the server ends.
const DRAIN: Duration = Duration::from_secs(2);

/// What the command line came to.
pub(crate) struct Startup {
    pub(crate) snapshot: Snapshot,
    /// Features that are configured but do not exist yet.
    pub(crate) planned: Vec<&'static str>,
    /// Worker threads; one per core if not said.
    pub(crate) threads: Option<usize>,
    /// Publish the test clip.
    pub(crate) demo: bool,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Prepare(io::Error),
    #[error(
        "max_connections {wanted} needs {OWN_DESCRIPTORS} descriptors more, but the limit of open files is {limit}: \
         lower max_connections or raise the limit (ulimit -n)"
    )]
    Descriptors { wanted: u64, limit: u64 },
    #[error("https: {0}")]
    Certificate(#[from] tls::Error),
    #[error("{0}")]
    Bind(io::Error),
}

impl Error {
    /// SRS's number modulo 256.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Prepare(_) | Self::Descriptors { .. } | Self::Certificate(_) => 255,
            Self::Bind(_) => 234,
        }
    }
}

/// Runs the server until a signal ends it.
pub(crate) fn run(startup: Startup) -> Result<(), Error> {
    let snapshot = &startup.snapshot;
    std::env::set_current_dir(&snapshot.global.work_dir).map_err(|e| {
        let dir = snapshot.global.work_dir.display();
        Error::Prepare(io::Error::new(e.kind(), format!("work_dir {dir}: {e}")))
    })?;
    let _log = log::init(&snapshot.log, snapshot.global.utc_time).map_err(Error::Prepare)?;
    info!("{}, speaks as SRS/{}", identity::SERVER, identity::SRS_VERSION);
    report_planned(&startup.planned);
    reserve_descriptors(u64::from(snapshot.global.max_connections))?;

    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let workers = startup.threads.unwrap_or_else(cores);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(Error::Prepare)?;
    let ended = runtime.block_on(serve(startup, workers));
    // A task that did not let go in time must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// Binds everything, then accepts; returns when a signal said so and everything was let go.
async fn serve(startup: Startup, workers: usize) -> Result<(), Error> {
    let Startup { snapshot, demo, .. } = startup;
    let mut signals = Signals::new().map_err(Error::Prepare)?;
    let certificates = Certificates::new().map_err(|e| Error::Prepare(io::Error::other(e)))?;
    certificates.load(&snapshot)?;
    let listeners = Listeners::bind(&snapshot).map_err(Error::Bind)?;
    let seed = RandomState::new().hash_one(std::process::id());
    let tasks = Tasks::new(seed);
    let max_connections = snapshot.global.max_connections as usize;
    let identity = Arc::new(Identity::new(std::process::id(), seed));
    let metrics = Metrics::new();
    let context = Arc::new(Context {
        process: Process::new(),
        identity: identity.clone(),
        tasks: tasks.clone(),
        hub: Hub::default(),
        fanout: Fanout::new(tasks.clone(), workers, metrics.first_byte()),
        metrics,
        clients: Clients::new(identity),
        connections: Arc::new(Connections::new(max_connections)),
        system: System::new(),
        certificates,
        seed,
        config: ArcSwap::from_pointee(snapshot),
    });
    listeners.accept(&tasks, &context);
    tasks.spawn(tasks.next_id(), System::watch(context.clone()));
    tasks.spawn(tasks.next_id(), Certificates::watch(context.clone()));
    tasks.spawn(tasks.next_id(), heartbeat::run(context.clone()));
    tasks.spawn(tasks.next_id(), stats::run(context.clone()));
    tasks.spawn(tasks.next_id(), pithy::run(context.clone()));
    if demo {
        tasks.spawn(tasks.next_id(), demo::publish(context.config.load_full()));
    }

    let name = signals.end().await;
    info!("sig={name}, user terminate program, fast quit");
    let left = tasks.end(DRAIN).await;
    if left > 0 {
        warn!("{left} tasks did not end in time");
    }
    info!("millstream terminated");
    Ok(())
}

/// Everything that is listened on, bound before the first connection is accepted.
struct Listeners {
    rtmp: Vec<TcpListener>,
    http: Vec<(Door, TcpListener)>,
    https: Vec<(Door, TcpListener)>,
}

impl Listeners {
    fn bind(snapshot: &Snapshot) -> io::Result<Self> {
        let mut rtmp = Vec::new();
        for &address in &snapshot.global.listen {
            rtmp.push(bind("RTMP", address)?);
        }
        let mut http = Vec::new();
        let (api, delivery) = (&snapshot.http_api, &snapshot.http_server);
        if delivery.enabled {
            http.push((Door::Delivery, bind("HTTP-Server", delivery.listen)?));
        }
        // The delivery server answers the API's paths too, so one port may be both.
        if api.enabled && !(delivery.enabled && api.listen == delivery.listen) {
            http.push((Door::Api, bind("HTTP-API", api.listen)?));
        }
        if snapshot.exporter.enabled {
            http.push((Door::Exporter, bind("Exporter", snapshot.exporter.listen)?));
        }
        let mut https = Vec::new();
        let (api_tls, delivery_tls) = (&api.https, &delivery.https);
        if delivery_tls.enabled {
            https.push((Door::Delivery, bind("HTTPS-Server", delivery_tls.listen)?));
        }
        if api_tls.enabled && !(delivery_tls.enabled && api_tls.listen == delivery_tls.listen) {
            https.push((Door::Api, bind("HTTPS-API", api_tls.listen)?));
        }
        Ok(Self { rtmp, http, https })
    }

    fn accept(self, tasks: &Tasks, context: &Arc<Context>) {
        let connections = &context.connections;
        for listener in self.rtmp {
            let context = context.clone();
            let serve = move |cid, socket, peer| rtmp::serve(context.clone(), cid, socket, peer);
            let accepting = listen::accept(listener, tasks.clone(), connections.clone(), serve);
            tasks.spawn(tasks.next_id(), accepting);
        }
        for (door, listener) in self.http {
            let context = context.clone();
            let serve = move |cid, socket, peer| http::serve(context.clone(), cid, door, socket, peer);
            let accepting = listen::accept(listener, tasks.clone(), connections.clone(), serve);
            tasks.spawn(tasks.next_id(), accepting);
        }
        for (door, listener) in self.https {
            let context = context.clone();
            let serve = move |cid, socket, peer| http::serve_tls(context.clone(), cid, door, socket, peer);
            let accepting = listen::accept(listener, tasks.clone(), connections.clone(), serve);
            tasks.spawn(tasks.next_id(), accepting);
        }
    }
}

fn bind(what: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = listen::bind(address)?;
    info!("{what} listen at tcp://{address}, fd={}", listener.as_raw_fd());
    Ok(listener)
}

/// Features whose absence lets people in who were meant to stay out.
const GUARDS: [&str; 3] = ["HTTP callbacks", "referer check", "security"];

/// One line that names what was configured and does not exist yet; those that guard access come a second
/// time, as an error.
fn report_planned(planned: &[&str]) {
    if !planned.is_empty() {
        warn!("configured but not available yet: {}", planned.join(", "));
    }
    let open: Vec<&str> = planned.iter().copied().filter(|feature| GUARDS.contains(feature)).collect();
    if !open.is_empty() {
        error!("access is NOT restricted: {} is configured but not available yet", open.join(", "));
    }
}

/// Makes room for the connections the configuration allows.
fn reserve_descriptors(connections: u64) -> Result<(), Error> {
    let wanted = connections + OWN_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        let limit = limit.maximum.or(limit.current).unwrap_or(0);
        Error::Descriptors { wanted: connections, limit }
    })
}

/// The signals operators send.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    usr1: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for a signal that ends the server; gives its number.
    async fn end(&mut self) -> i32 {
        loop {
            tokio::select! {
                _ = self.term.recv() => return 15,
                _ = self.int.recv() => return 2,
                _ = self.quit.recv() => return 3,
                // Unhandled they would kill the process under its viewers.
                _ = self.hup.recv() => warn!("SIGHUP: reload is not available yet; the configuration stays"),
                _ = self.usr1.recv() => warn!("SIGUSR1: reopening the log is not available yet"),
            }
        }
    }
}
