//! The life of the server on one page: prepare, bind, run, end.
//!
//! What can go wrong at the start goes wrong before anything is accepted: the log, the working directory,
//! the limit of open files and every address are checked first, and the process leaves with the exit code
//! SRS has for it. From then on only a signal ends it: at once, or after its clients have left.

mod heartbeat;
mod quit;
pub(crate) mod signals;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mill_config::Tree;
use mill_config::model::Snapshot;
use mill_hub::Hub;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{error, info, warn};

use crate::attach::Outputs;
use crate::child::{self, Children, Ingests, LocalSessions};
use crate::cli::demo;
use crate::clients::Clients;
use crate::clients::{pithy, stats};
use crate::conf::Source;
use crate::fanout::Fanout;
use crate::hook::Hooks;
use crate::identity::Identity;
use crate::ingress::Figures;
use crate::listen::Connections;
use crate::listen::listeners::Listeners;
use crate::listen::tls::{self, Certificates};
use crate::metrics::Metrics;
use crate::output::dvr::Recordings;
use crate::output::hls;
use crate::output::package::Channels;
use crate::output::shelf::Shelf;
use crate::process::{self, Daemon, Inherited, Process};
use crate::relay::coworkers::Coworkers;
use crate::relay::dial::Dialer;
use crate::relay::edge::Edge;
use crate::relay::edge::origins::Origins;
use crate::relay::forward::Forwards;
use crate::reload::{self, Config, Reloader};
use crate::session::Context;
use crate::session::http::Sessions;
use crate::session::rtmp::Publishers;
use crate::system::System;
use crate::tasks::Tasks;
use crate::{identity, log};
use signals::{Signals, Told};

/// Descriptors that are not connections: listeners, log, event queues, files being read.
const OWN_DESCRIPTORS: u64 = 128;

/// Descriptors of programs: a socket and a process each.
const PROGRAM_DESCRIPTORS: u64 = 2 * child::MAX as u64;

/// How long tasks may take to let go of what they hold when the server ends.
const DRAIN: Duration = Duration::from_secs(2);

/// How long outputs may take to finish their files when the server ends.
const LAST_FILES: Duration = Duration::from_secs(10);

/// How long programs may take to end when the server ends: what their keepers give them, and a little.
const LAST_PROGRAMS: Duration = Duration::from_secs(5);

/// How long callbacks that are still to be delivered may take when the server ends.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// What the command line came to.
pub(crate) struct Startup {
    pub(crate) snapshot: Snapshot,
    /// The directives it was read from.
    pub(crate) tree: Tree,
    /// Features that are configured but do not exist yet.
    pub(crate) planned: Vec<&'static str>,
    /// Where both came from, and come from when they are read again.
    pub(crate) source: Source,
    /// Worker threads; one per core if not said.
    pub(crate) threads: Option<usize>,
    /// Publish the test clip.
    pub(crate) demo: bool,
    /// The launcher to tell when we serve, if there is one.
    pub(crate) daemon: Option<Daemon>,
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
    #[error("{0}")]
    Process(#[from] process::Error),
}

impl Error {
    /// SRS's number modulo 256.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Prepare(_) | Self::Descriptors { .. } | Self::Certificate(_) => 255,
            Self::Bind(_) => 234,
            Self::Process(e) => (e.code() % 256) as u8,
        }
    }
}

/// Runs the server until a signal ends it.
pub(crate) fn run(startup: Startup) -> Result<(), Error> {
    // First of all, while the descriptors handed over are the only ones.
    let sockets = Inherited::from_environment();
    let snapshot = &startup.snapshot;
    std::env::set_current_dir(&snapshot.global.work_dir).map_err(|e| {
        let dir = snapshot.global.work_dir.display();
        Error::Prepare(io::Error::new(e.kind(), format!("work_dir {dir}: {e}")))
    })?;
    let log = log::init(&snapshot.log, snapshot.global.utc_time).map_err(Error::Prepare)?;
    // The exit code and standard error tell whoever started us; the log, whoever looks later.
    run_logged(startup, sockets, &log.control()).inspect_err(|e| error!("{e}"))
}

/// What comes after the log.
fn run_logged(mut startup: Startup, sockets: Inherited, log: &log::Control) -> Result<(), Error> {
    let snapshot = &startup.snapshot;
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
    // Before the pid file: whoever finds that may send one.
    let signals = {
        let _inside = runtime.enter();
        Signals::new(log.clone()).map_err(Error::Prepare)?
    };
    let mut process = Process::begin(&snapshot.global, startup.daemon.take())?;
    let ended = runtime.block_on(serve(startup, workers, sockets, signals, &mut process, log));
    // A task that did not let go in time must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// Binds everything, then accepts; returns when a signal said so and everything was let go.
async fn serve(
    startup: Startup,
    workers: usize,
    mut sockets: Inherited,
    mut signals: Signals,
    process: &mut Process,
    log: &log::Control,
) -> Result<(), Error> {
    let Startup { snapshot, tree, planned, source, demo, .. } = startup;
    let certificates = Certificates::new().map_err(|e| Error::Prepare(io::Error::other(e)))?;
    certificates.commit(certificates.prepare(&snapshot)?);
    let mut listeners = Listeners::default();
    let prepared = listeners.prepare(&snapshot, |address| sockets.take(address)).map_err(Error::Bind)?;
    sockets.close_rest();
    let seed = RandomState::new().hash_one(std::process::id());
    let tasks = Tasks::new(seed);
    let max_connections = snapshot.global.max_connections as usize;
    let identity = Arc::new(Identity::new(std::process::id(), seed));
    let metrics = Metrics::new();
    let hooks = Hooks::new(seed);
    metrics.register("millstream_callback_seconds", "What a callback takes", hooks.latency());
    let shelf = Shelf::new(seed, &metrics);
    let config = Config::new(snapshot, tree);
    let dialer = Arc::new(Dialer::new(seed));
    let origins: Arc<Origins> = Arc::default();
    let forwards =
        Forwards::new(dialer.clone(), origins.clone(), hooks.clone(), identity.clone(), seed, &metrics);
    let recordings = Recordings::new(hooks.clone(), &metrics);
    let connections = Arc::new(Connections::new(max_connections));
    let clients = Clients::new(identity.clone());
    let sessions =
        LocalSessions { connections: connections.clone(), clients: clients.clone(), tasks: tasks.clone() };
    let children = Children::new(sessions, config.load_full(), &metrics);
    let hls = hls::Channels::new(hooks.clone(), shelf.clone(), &tasks, &metrics);
    let (dash, hds) = (Channels::new(&shelf, &metrics), Channels::new(&shelf, &metrics));
    let outputs = Outputs::new(&tasks, recordings, hls, dash, hds, forwards, &children);
    outputs.recordings.recover(outputs.tasks(), &config.load_full()).await;
    let ingress = Figures::new(&metrics);
    let (reload, requests) = reload::channel();
    let context = Arc::new_cyclic(|context| Context {
        edge: Edge::new(context.clone(), origins),
        coworkers: Coworkers::new(dialer.clone()),
        usage: stats::Usage::new(),
        identity: identity.clone(),
        tasks: tasks.clone(),
        hub: Hub::default(),
        fanout: Fanout::new(tasks.clone(), workers, metrics.first_byte()),
        sessions: Sessions::new(&metrics),
        metrics,
        clients,
        hooks,
        outputs,
        shelf,
        ingests: Ingests::new(&children),
        children,
        bandcheck: Default::default(),
        publishers: Publishers::default(),
        connections,
        system: System::new(),
        certificates,
        dialer,
        ingress,
        seed,
        config,
        reload,
    });
    listeners.commit(prepared, &tasks, &context);
    if let Some(file) = watched(&source, &context) {
        tasks.spawn(tasks.next_id(), reload::watch::run(file, context.reload.clone()));
    }
    let reloader = Reloader {
        source,
        planned,
        listeners,
        process: process.settings(log),
        manager: process.manager().clone(),
        tasks: tasks.clone(),
        context: context.clone(),
    };
    tasks.spawn(tasks.next_id(), reloader.run(requests));
    tasks.spawn(tasks.next_id(), context.hooks.clone().run());
    tasks.spawn(tasks.next_id(), System::watch(context.clone()));
    tasks.spawn(tasks.next_id(), Certificates::watch(context.clone()));
    tasks.spawn(tasks.next_id(), heartbeat::run(context.clone()));
    tasks.spawn(tasks.next_id(), stats::run(context.clone()));
    tasks.spawn(tasks.next_id(), pithy::run(context.clone()));
    if demo {
        tasks.spawn(tasks.next_id(), demo::publish(context.clone()));
    }
    tasks.spawn(tasks.next_id(), context.children.clone().watch());
    // They publish here.
    context.ingests.settle(&context.config.load());
    tasks.spawn(tasks.next_id(), process.manager().clone().watchdog());
    process.serving().map_err(Error::Prepare)?;

    let signal = tokio::select! {
        signal = until_the_end(&mut signals, &context) => Some(signal),
        () = process.orphaned() => None,
    };
    process.manager().stopping();
    match signal {
        Some(signal) if signal.is_graceful(&context) => tokio::select! {
            () = quit::see_off(&mut signals, signal, &context) => {}
            () = process.orphaned() => warn!("asprocess: the parent process is gone, nobody is waited for"),
        },
        Some(Told::Quit(signo)) => {
            info!("sig={signo}, user terminate program, fast quit");
            info!("cleanup for quit signal fast=1, grace=0");
        }
        _ => warn!("code=1073: asprocess: the parent process is gone, fast quit"),
    }
    context.ingests.close();
    let left = tasks.end(DRAIN).await;
    if left > 0 {
        warn!("{left} tasks did not end in time");
    }
    tokio::join!(context.outputs.finish(LAST_FILES), context.children.finish(LAST_PROGRAMS));
    context.hooks.flush(LAST_CALLS).await;
    context.outputs.recordings.settle(DRAIN).await;
    info!("callbacks: {}", context.hooks.stats());
    info!("srs terminated");
    Ok(())
}

/// Waits for the signal that ends the server, and does what the others say.
async fn until_the_end(signals: &mut Signals, context: &Context) -> Told {
    loop {
        match signals.next().await {
            quit @ Told::Quit(_) => return quit,
            other => other.obey(context),
        }
    }
}

/// The file to be watched, if the configuration wants that.
fn watched(source: &Source, context: &Context) -> Option<PathBuf> {
    let global = &context.config.load().global;
    let wanted = global.inotify_auto_reload || global.auto_reload_for_docker && process::in_container(global);
    source.file().filter(|_| wanted)
}

/// One line that names what was configured and does not exist yet.
pub(crate) fn report_planned(planned: &[&str]) {
    if !planned.is_empty() {
        warn!("configured but not available yet: {}", planned.join(", "));
    }
}

/// Makes room for the connections the configuration allows.
pub(crate) fn reserve_descriptors(connections: u64) -> Result<(), Error> {
    let wanted = connections + OWN_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    // Programs need their share beside the connections, where there may be that many.
    let more = wanted + PROGRAM_DESCRIPTORS;
    let raised =
        Rlimit { current: Some(limit.maximum.map_or(more, |most| more.min(most).max(wanted))), ..limit };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        let limit = limit.maximum.or(limit.current).unwrap_or(0);
        Error::Descriptors { wanted: connections, limit }
    })
}
