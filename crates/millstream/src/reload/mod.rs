//! Another configuration takes the place of the running one.
//!
//! One task, the [`Reloader`], owns the change. A signal, the [`watch`] over the file and the API ask it in the
//! same way and get the same [`Outcome`]. It reads, checks and compares the whole configuration; then it does
//! everything that can fail: bind new addresses, open a new log. Only then anything changes, and from there on
//! nothing fails. Whatever was wrong before leaves the server as it was, and the log says what, with the place.
//!
//! Sessions that are not concerned never notice. [`Plan`] says what has to be done beside exchanging the value;
//! a directive that is not named there is read where it is needed, by the next connection, request or tick.
//! What only a restart can change keeps its old value, and every reload says so again.
//!
//! Disks are waited for on threads of their own, at most [`DISK`]; requests wait in a queue of [`MAX_WAITING`].

mod config;
pub(crate) mod watch;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mill_config::model::Snapshot;
use mill_config::spec::Effect;
use mill_config::{Change, Edit, EditError, Loaded, Report, Severity, diff};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

pub(crate) use self::config::{Config, Follow};

use crate::clients::{CUT, Kind};
use crate::conf::{Problem, Source};
use crate::listen::listeners::Listeners;
use crate::listen::tls;
use crate::process::{self, Manager};
use crate::session::Context;
use crate::session::admit;
use crate::tasks::Tasks;
use crate::{log, server};

/// Requests that may wait. Each reads the newest file, so more would only repeat.
const MAX_WAITING: usize = 16;

/// How long a disk may take before the reload is given up.
const DISK: Duration = Duration::from_secs(30);

/// Mistakes that are told to the API; the log has them all.
const MAX_TOLD: usize = 10;

/// Who asks for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    FileChange,
    Api,
}

impl Cause {
    fn describe(self) -> &'static str {
        match self {
            Self::Signal => "signo=1",
            Self::FileChange => "the file has changed",
            Self::Api => "by the API",
        }
    }
}

/// How far a reload has come: SRS's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// There was none yet.
    Init = 0,
    Parsing = 10,
    /// Everything was read; the content is being checked.
    Transforming = 20,
    Applying = 30,
    Finished = 90,
}

/// What became of a reload, as SRS's `reload-fetch` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Changes with each reload.
    pub(crate) rid: String,
    /// Where it stands or has ended.
    pub(crate) state: State,
    /// SRS's number of the mistake; 0 for none.
    pub(crate) err: u32,
    pub(crate) msg: String,
}

enum Request {
    Reload(Cause, oneshot::Sender<Outcome>),
    Update(Edit, oneshot::Sender<Outcome>),
    Close(oneshot::Sender<()>),
}

/// The way to ask for a reload. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    requests: mpsc::Sender<Request>,
    last: Arc<Mutex<Outcome>>,
}

/// The other end of [`Handle`].
pub(crate) struct Requests {
    requests: mpsc::Receiver<Request>,
    last: Arc<Mutex<Outcome>>,
}

pub(crate) fn channel() -> (Handle, Requests) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let none = Outcome { rid: String::new(), state: State::Init, err: 0, msg: String::new() };
    let last = Arc::new(Mutex::new(none));
    (Handle { requests: sender, last: last.clone() }, Requests { requests: receiver, last })
}

impl Handle {
    /// Reads the configuration again and waits for what becomes of it.
    pub(crate) async fn reload(&self, cause: Cause) -> Outcome {
        self.request(|reply| Request::Reload(cause, reply)).await
    }

    /// The same without waiting.
    pub(crate) fn ask(&self, cause: Cause) {
        // In a full queue there is one behind the running reload, and that will read what we would.
        let _ = self.requests.try_send(Request::Reload(cause, oneshot::channel().0));
    }

    /// Makes a change in the file and in the running configuration, or in neither.
    pub(crate) async fn update(&self, edit: Edit) -> Outcome {
        self.request(|reply| Request::Update(edit, reply)).await
    }

    /// What became of the last reload, or how far it has come.
    pub(crate) fn last(&self) -> Outcome {
        self.last.lock().clone()
    }

    /// Listens no more, and changes nothing any more: the server is about to end.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.requests.send(Request::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn request(&self, request: impl FnOnce(oneshot::Sender<Outcome>) -> Request) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let _ = self.requests.send(request(reply)).await;
        // Nobody answers once the server ends.
        outcome.await.unwrap_or_else(|_| Failure::Quitting.outcome(self.last().rid))
    }
}

/// Owns the running configuration and what is listened on.
pub(crate) struct Reloader {
    pub(crate) source: Source,
    /// Features that the running configuration asks for and that do not exist yet.
    pub(crate) planned: Vec<&'static str>,
    pub(crate) listeners: Listeners,
    pub(crate) process: process::Settings,
    /// Hears when a reload begins and ends.
    pub(crate) manager: Manager,
    pub(crate) tasks: Tasks,
    pub(crate) context: Arc<Context>,
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] Problem),
    #[error("the disk has not answered for {DISK:?}")]
    Disk,
    #[error("{0}")]
    Descriptors(server::Error),
    #[error("{0}")]
    Bind(io::Error),
    #[error("https: {0}")]
    Certificate(tls::Error),
    #[error("{0}")]
    Process(process::Error),
    #[error("{0}")]
    Edit(#[from] EditError),
    #[error("there is no file, or it is not text")]
    NoFile,
    #[error("`{0}` is also set elsewhere, in an included file or in the environment, and that counts")]
    Overruled(String),
    #[error("the file cannot be written: {0}")]
    Write(io::Error),
    #[error("the server is about to end")]
    Quitting,
}

impl Failure {
    fn code(&self) -> u32 {
        match self {
            // SRS's numbers: an address that cannot be bound; a parameter of the raw API; a bad configuration.
            Self::Bind(_) => 1002,
            Self::Edit(_) => 1063,
            _ => 1023,
        }
    }

    fn state(&self) -> State {
        match self {
            Self::Config(Problem::Invalid(report)) if !report.is_syntax() => State::Transforming,
            Self::Descriptors(_)
            | Self::Bind(_)
            | Self::Certificate(_)
            | Self::Process(_)
            | Self::Write(_) => State::Applying,
            _ => State::Parsing,
        }
    }

    /// In few words for the API; the log has it all.
    fn outcome(&self, rid: String) -> Outcome {
        let what = match self {
            Self::Config(Problem::Invalid(report)) => {
                let mut told: Vec<String> = errors(report).take(MAX_TOLD).collect();
                if report.errors() > told.len() {
                    told.push(format!("and {} more", report.errors() - told.len()));
                }
                told.join("; ")
            }
            other => other.to_string(),
        };
        let err = self.code();
        Outcome { rid, state: self.state(), err, msg: format!("code={err} : {what}") }
    }

    /// Says everything that is wrong, a line each.
    fn log(&self) {
        let (code, state) = (self.code(), self.state() as u32);
        match self {
            Self::Config(Problem::Invalid(report)) => {
                for error in errors(report) {
                    error!("reload config: {error}");
                }
                let count = report.errors();
                error!(
                    "reload config failed, code={code}, state={state}: {count} mistake(s), nothing was changed"
                );
            }
            other => error!("reload config failed, code={code}, state={state}: {other}; nothing was changed"),
        }
    }
}

fn errors(report: &Report) -> impl Iterator<Item = String> {
    report.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.to_string())
}

impl Reloader {
    /// Serves requests until the task is ended.
    pub(crate) async fn run(mut self, mut requests: Requests) {
        let mut quitting = false;
        while let Some(request) = requests.requests.recv().await {
            let (edit, reply) = match request {
                Request::Reload(cause, reply) => {
                    info!("reload config, {}", cause.describe());
                    (None, reply)
                }
                Request::Update(edit, reply) => {
                    info!("reload config, by an update of the API");
                    (Some(edit), reply)
                }
                Request::Close(reply) => {
                    quitting = true;
                    self.listeners.close(&self.tasks);
                    let _ = reply.send(());
                    continue;
                }
            };
            let reload = Reload { rid: rid(&self.tasks), last: requests.last.clone() };
            reload.note(State::Parsing);
            self.manager.reloading();
            let ended = if quitting { Err(Failure::Quitting) } else { self.reload(&reload, edit).await };
            self.manager.ready();
            self.context.metrics.reloaded(ended.is_ok());
            // Who asked may have gone.
            let _ = reply.send(reload.finish(ended));
        }
    }

    /// All of it or nothing; gives what waits for a restart.
    async fn reload(&mut self, reload: &Reload, edit: Option<Edit>) -> Result<Vec<String>, Failure> {
        let source = self.source.clone();
        let (loaded, text) = match edit {
            None => (on_disk(move || source.load()).await??, None),
            Some(edit) => {
                let (loaded, text) = on_disk(move || edited(&source, &edit)).await??;
                (loaded, Some(text))
            }
        };
        reload.note(State::Applying);
        self.apply(loaded, text).await
    }

    /// `text` is the file's new content, if it gets one.
    async fn apply(&mut self, loaded: Loaded, text: Option<String>) -> Result<Vec<String>, Failure> {
        let Loaded { mut snapshot, warnings, planned, tree } = loaded;
        let running = self.context.config.load_full();
        let changes = diff(&running, &snapshot);
        snapshot.hold_back(&running);
        let snapshot = Arc::new(snapshot);

        // What can fail.
        server::reserve_descriptors(u64::from(snapshot.global.max_connections))
            .map_err(Failure::Descriptors)?;
        let listeners = self.listeners.prepare(&snapshot, |_| None).map_err(Failure::Bind)?;
        let (process, source, conf) = (self.process.clone(), self.source.clone(), snapshot.clone());
        let context = self.context.clone();
        let (certificates, settings) = on_disk(move || {
            let certificates = context.certificates.prepare(&conf).map_err(Failure::Certificate)?;
            let settings = process.prepare(&conf).map_err(Failure::Process)?;
            text.map_or(Ok(()), |text| source.replace(text.as_bytes())).map_err(Failure::Write)?;
            Ok::<_, Failure>((certificates, settings))
        })
        .await??;

        // What cannot. The value first: whoever comes from now on is treated by it.
        self.context.config.replace(snapshot.clone(), tree);
        let (process, context) = (self.process.clone(), self.context.clone());
        let in_force = tokio::task::spawn_blocking(move || {
            context.certificates.commit(certificates);
            process.commit(settings);
        });
        if let Err(e) = in_force.await {
            error!("reload config: log, pid file or certificate: {e}");
        }
        self.context.connections.set_limit(snapshot.global.max_connections as usize);
        self.listeners.commit(listeners, &self.tasks, &self.context);
        Plan::of(&changes, &snapshot).carry_out(&self.context, &self.tasks, &snapshot).await;

        for warning in warnings.iter() {
            warn!("reload config: {warning}");
        }
        if planned != self.planned {
            server::report_planned(&planned);
            self.planned = planned;
        }
        Ok(report(&changes))
    }
}

/// The file's text with the change in it, and what comes of it.
fn edited(source: &Source, edit: &Edit) -> Result<(Loaded, String), Failure> {
    let text = source.text()?.ok_or(Failure::NoFile)?;
    let text = String::from_utf8(text).map_err(|_| Failure::NoFile)?;
    let text = mill_config::edit(&text, edit)?;
    let loaded = source.check(Some(text.as_bytes()))?;
    // The first of several counts, and the environment before all.
    if let Edit::Set { name, args } = edit
        && !loaded.tree.first(name).is_some_and(|node| node.args().eq(args.iter().map(String::as_str)))
    {
        return Err(Failure::Overruled(name.clone()));
    }
    Ok((loaded, text))
}

/// Runs what waits for a disk where nobody else waits.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    match tokio::time::timeout(DISK, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) | Err(_) => Err(Failure::Disk),
    }
}

/// A line for each block that has changed; gives the directives that wait for a restart.
fn report(changes: &[Change]) -> Vec<String> {
    let mut waiting = Vec::new();
    let mut told = BTreeSet::new();
    for change in changes {
        if change.effect == Effect::NeedsRestart {
            warn!("reload {}: needs a restart, the running value stays", change.path);
            waiting.push(change.path.clone());
        } else if told.insert((&change.vhost, item(change))) {
            match &change.vhost {
                Some(vhost) => info!("vhost {vhost} reload {} success", item(change)),
                None => info!("reload {} success", item(change)),
            }
        }
    }
    waiting
}

/// The directive or block a change belongs to: outermost, but inside the vhost.
fn item(change: &Change) -> &str {
    let path = change.path.strip_prefix("vhost.").unwrap_or(&change.path);
    path.split('.').next().unwrap_or(path)
}

/// What a reload has to do beside exchanging the value: the vhosts concerned, for each kind of doing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan<'a> {
    /// Their clients are ended.
    ended: BTreeSet<&'a str>,
    /// Their viewers over HTTP are.
    http_ended: BTreeSet<&'a str>,
    /// Their live streams and viewers get other settings.
    tuned: BTreeSet<&'a str>,
    /// Their viewers of a format in files are.
    files_ended: BTreeSet<(&'a str, Kind)>,
    /// What runs beside their live streams begins, ends, or begins anew.
    attached: BTreeSet<&'a str>,
}

impl<'a> Plan<'a> {
    /// The one place that knows which part of the server stands for which block. Something new that runs on
    /// behalf of a block (an HLS output, a forward, an ingest) gets a set above and a line here, so that a
    /// change of its block concerns it alone.
    fn of(changes: &'a [Change], new: &'a Snapshot) -> Self {
        let mut plan = Self::default();
        for change in changes {
            let Some(name) = change.vhost.as_deref() else {
                if change.path == "listen" {
                    // Programs beside streams may have lost the port they play from.
                    plan.attached.extend(new.vhosts.iter().map(|vhost| vhost.name.as_str()));
                }
                continue;
            };
            let vhost = new.vhosts.iter().find(|vhost| vhost.name == name && vhost.enabled);
            match (item(change), vhost) {
                (_, None) => plan.ended.insert(name),
                ("play" | "min_latency", Some(_)) => plan.tuned.insert(name),
                ("http_remux", Some(vhost)) => {
                    // How much sound a live stream keeps depends on it.
                    plan.tuned.insert(name);
                    !vhost.http_remux.enabled && plan.http_ended.insert(name)
                }
                ("dvr" | "forward" | "exec" | "transcode", Some(_)) => plan.attached.insert(name),
                (format @ ("hls" | "dash" | "hds"), Some(vhost)) => {
                    plan.attached.insert(name);
                    let (enabled, viewers) = match format {
                        "hls" => (vhost.hls.enabled, Kind::HlsPlay),
                        "dash" => (vhost.dash.enabled, Kind::DashPlay),
                        _ => (vhost.hds.enabled, Kind::HdsPlay),
                    };
                    !enabled && plan.files_ended.insert((name, viewers))
                }
                _ => false,
            };
        }
        plan
    }

    async fn carry_out(self, context: &Context, tasks: &Tasks, new: &Snapshot) {
        let tuned = |name: &str| {
            self.tuned.contains(name).then(|| new.vhosts.iter().find(|vhost| vhost.name == name)).flatten()
        };
        if !self.tuned.is_empty() {
            for stream in context.hub.streams() {
                if let Some(vhost) = tuned(&stream.id().vhost) {
                    stream.reconfigure(&admit::stream_options(vhost));
                }
            }
            context.fanout.repace(|stream| tuned(&stream.vhost).map(|vhost| admit::pace(vhost)));
        }
        // Programs start by it from now on; of those that bring streams, only what has changed does.
        context.children.adopt(context.config.load_full());
        context.ingests.settle(new);
        let attached: BTreeSet<&str> = self.attached.union(&self.ended).copied().collect();
        if !attached.is_empty() {
            context.outputs.refresh(&context.config, &attached);
        }
        if self.ended.is_empty() && self.http_ended.is_empty() && self.files_ended.is_empty() {
            return;
        }
        for client in context.clients.all() {
            let (vhost, url) = (&client.stream.vhost, admit::stream_url(&client.stream));
            let reason = if self.ended.contains(vhost.as_str()) {
                "removed/disabled"
            } else if client.kind == Kind::HttpPlay && self.http_ended.contains(vhost.as_str()) {
                "offers nothing over HTTP"
            } else if self.files_ended.contains(&(vhost.as_str(), client.kind)) {
                "has no such output"
            } else {
                continue;
            };
            let id = client.peer.id;
            log::under(id, || info!("vhost {vhost} {reason}, close client url={url}"));
            if tasks.cut(id) {
                context.metrics.ended(CUT);
            }
            // There may be thousands.
            tokio::task::yield_now().await;
        }
    }
}

/// A running reload, and where the world sees how far it is.
struct Reload {
    rid: String,
    last: Arc<Mutex<Outcome>>,
}

impl Reload {
    fn note(&self, state: State) {
        *self.last.lock() = Outcome { rid: self.rid.clone(), state, err: 0, msg: String::new() };
    }

    fn finish(self, ended: Result<Vec<String>, Failure>) -> Outcome {
        let outcome = match ended {
            Ok(waiting) => {
                info!("reload config success.");
                let msg = match waiting.is_empty() {
                    true => String::new(),
                    false => format!("needs a restart: {}", waiting.join(", ")),
                };
                Outcome { rid: self.rid, state: State::Finished, err: 0, msg }
            }
            Err(failure) => {
                failure.log();
                failure.outcome(self.rid)
            }
        };
        *self.last.lock() = outcome.clone();
        outcome
    }
}

/// Seven letters and digits, like SRS's; different for each reload.
fn rid(tasks: &Tasks) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Multiplied by an odd number, ids that follow each other look different and stay so.
    let mut number = (time.as_nanos() as u64 ^ tasks.next_id()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut rid = String::new();
    for _ in 0..7 {
        rid.push(char::from(DIGITS[(number % 36) as usize]));
        number /= 36;
    }
    rid
}

#[cfg(test)]
mod tests;
