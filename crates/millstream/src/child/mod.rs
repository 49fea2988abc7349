//! Programs that run beside the server, on behalf of `ingest`, `transcode` and `exec`.
//!
//! ```text
//! configuration ──► ingest: all vhosts          ┐
//! publish ────────► beside: transcode, exec     ┴──► Job ──► Running: one task ──► keeper ──► program
//! ```
//!
//! A [`Job`] is a command to be run again and again while its [`Running`] lives: the task starts it, waits for its
//! end, pauses and starts it anew. Pauses grow while it fails at once, so a missing program or a camera that is off
//! costs a line in the log now and then. Dropping [`Running`] ends the program in the background: whoever drops it,
//! the end of a publish or a reload, does not wait. A job for the end of a publish runs once, for [`ONCE`] at most. [`Children::finish`] waits at the end of the server; and if the
//! server does not get that far, the keepers see that it is gone ([`keeper`]).
//!
//! Bounded: [`MAX`] programs at a time, the size of their logs, the time each step may take.

mod beside;
mod ingest;
mod keeper;
mod kept;
mod lineage;
mod paper;
mod sessions;
mod words;

use std::collections::{BTreeMap, HashSet};
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mill_config::Snapshot;
use mill_hub::StreamId;
use mill_packager::path::Civil;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Metric;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, oneshot};
use tracing::{error, info, warn};

pub(crate) use self::beside::Beside;
pub(crate) use self::ingest::Ingests;
pub(crate) use self::keeper::run as run_if_keeper;
use self::keeper::{End, Order, STOP, Sink};
use self::kept::Kept;
use self::lineage::{Family, Lineage};
pub(crate) use self::sessions::LocalSessions;
use self::words::BadWord;
use crate::metrics::Metrics;
use crate::output::clock::civil;
use crate::tasks::Tasks;

/// Programs at a time. Each has a keeper, and two descriptors of the server.
pub(crate) const MAX: usize = 512;

/// The pause after an end, as in SRS, and the longest one: it doubles while programs fail at once.
const PAUSE: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(60)];

/// Who has run that long has not failed at once.
const WELL: Duration = Duration::from_secs(10);

/// How long a program waits for one before it that still makes the same stream: what that one has to end.
const MAKE_WAY: Duration = Duration::from_secs(STOP.as_secs() + BY_ITSELF.as_secs());

/// How long a program has to end by itself when the stream that it plays has ended.
const BY_ITSELF: Duration = Duration::from_secs(2);

/// How long a program may run that is started when a publish has ended.
const ONCE: Duration = Duration::from_secs(60);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// How often processor time and memory are looked at.
const STEP: Duration = Duration::from_secs(3);

/// On whose behalf a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ingest,
    Transcode,
    Exec,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Ingest, Self::Transcode, Self::Exec];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Transcode => "transcode",
            Self::Exec => "exec",
        }
    }
}

/// Something to be run for as long as it is wanted.
struct Job {
    label: Label,
    /// What the streams have come through that it makes.
    lineage: Lineage,
    /// Makes the command of the next start, by the configuration of that time.
    prepare: Prepare,
}

type Prepare = Box<dyn Fn(&Snapshot) -> Result<Prepared, BadWord> + Send + Sync>;

/// What is to be told about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    pub(crate) vhost: String,
    /// Of the stream it runs for; ingests run for none.
    pub(crate) stream: Option<StreamId>,
    /// The engine, the ingest, the number of the `publish` line, or that of the `unpublish` line with that word.
    pub(crate) name: String,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, vhost, stream, name } = self;
        write!(f, "{} ", kind.name())?;
        match stream {
            Some(stream) => write!(f, "{stream}")?,
            None => write!(f, "{vhost}")?,
        }
        if name.is_empty() { Ok(()) } else { write!(f, " {name}") }
    }
}

/// A command that can be started.
struct Prepared {
    order: Order,
    /// The streams of this server it makes.
    makes: HashSet<StreamId>,
}

/// The log with this name, where the configuration has logs.
fn log(config: &Snapshot, parts: &[&str]) -> Sink {
    match &*config.global.ff_log_dir {
        "" | "/dev/null" => Sink::Null,
        dir => Sink::Log(Path::new(dir).join(words::log_name(parts))),
    }
}

/// The time as the configuration writes it.
fn now(config: &Snapshot) -> Civil {
    let zone = if config.global.utc_time { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() };
    civil(&zone)
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Running,
    /// Between two runs.
    Waiting,
    Stopping,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopping => "stopping",
        }
    }
}

/// What is known about a job.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// Of the program that runs; 0 while none does.
    pub(crate) pid: u32,
    /// Since when it is wanted.
    pub(crate) wanted: Instant,
    /// Since when it has been in this state.
    pub(crate) since: Instant,
    /// Starts that succeeded.
    pub(crate) starts: u64,
    /// Ends that were none of our doing, and starts that failed.
    pub(crate) ends: u64,
    /// How it ended last, or why it could not be started; empty if neither has happened.
    pub(crate) last: String,
    /// Its log, if it has one.
    pub(crate) log: PathBuf,
    /// Cores used over the last look; of the program itself, without its children.
    pub(crate) cpu: f64,
    /// Resident memory.
    pub(crate) memory: u64,
    sample: Option<Sample>,
}

impl Status {
    /// Of a job that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Starting,
            pid: 0,
            wanted: now,
            since: now,
            starts: 0,
            ends: 0,
            last: String::new(),
            log: PathBuf::new(),
            cpu: 0.0,
            memory: 0,
            sample: None,
        }
    }
}

/// One look at a process.
#[derive(Debug, Clone, Copy)]
struct Sample {
    pid: u32,
    time: Instant,
    ticks: u64,
}

/// A job in the table.
struct Entry {
    label: Label,
    status: Mutex<Status>,
}

impl Entry {
    fn enter(&self, state: State, pid: u32) {
        let mut status = self.status.lock();
        (status.state, status.pid, status.since) = (state, pid, Instant::now());
        if pid == 0 {
            (status.cpu, status.memory, status.sample) = (0.0, 0, None);
        }
    }
}

/// All programs of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Children(Arc<Shared>);

struct Shared {
    /// Outlive the sessions' tasks.
    tasks: Tasks,
    sessions: LocalSessions,
    /// The configuration in force.
    config: Mutex<Arc<Snapshot>>,
    /// By the id of the job's task.
    table: Mutex<BTreeMap<u64, Arc<Entry>>>,
    places: Arc<Semaphore>,
    family: Family,
    figures: Figures,
    /// The server ends.
    closed: AtomicBool,
}

type ByKind<M> = Metric<Vec<(&'static str, &'static str)>, M>;

#[derive(Default)]
struct Figures {
    running: ByKind<Gauge>,
    starts: ByKind<Counter>,
    failures: ByKind<Counter>,
    cpu: ByKind<Gauge<f64, std::sync::atomic::AtomicU64>>,
    memory: ByKind<Gauge>,
}

fn by(kind: Kind) -> Vec<(&'static str, &'static str)> {
    vec![("type", kind.name())]
}

impl Children {
    /// The tasks of `sessions` lend their ids.
    pub(crate) fn new(sessions: LocalSessions, config: Arc<Snapshot>, metrics: &Metrics) -> Self {
        let figures = Figures::default();
        let Figures { running, starts, failures, cpu, memory } = &figures;
        for kind in Kind::ALL {
            let label = by(kind);
            _ = (running.get_or_create(&label), starts.get_or_create(&label), failures.get_or_create(&label));
            _ = (cpu.get_or_create(&label), memory.get_or_create(&label));
        }
        metrics.register(
            "millstream_programs_running",
            "Programs that run beside the server",
            running.clone(),
        );
        metrics.register("millstream_programs_starts", "Starts of such programs", starts.clone());
        metrics.register(
            "millstream_programs_failures",
            "Such programs that could not be started or ended badly by themselves",
            failures.clone(),
        );
        metrics.register("millstream_programs_cores", "Processor cores they use", cpu.clone());
        metrics.register("millstream_programs_memory_bytes", "Resident memory they use", memory.clone());
        Self(Arc::new(Shared {
            tasks: sessions.tasks.apart(),
            sessions,
            config: Mutex::new(config),
            table: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX)),
            family: Family::default(),
            figures,
            closed: AtomicBool::new(false),
        }))
    }

    /// Goes by another configuration from the next start of each program on.
    pub(crate) fn adopt(&self, config: Arc<Snapshot>) {
        *self.0.config.lock() = config;
    }

    /// The jobs and how they stand, oldest first, each with the id its log lines have.
    pub(crate) fn all(&self) -> Vec<(u64, Label, Status)> {
        let entries: Vec<_> = self.0.table.lock().iter().map(|(id, entry)| (*id, entry.clone())).collect();
        let seen = entries.iter().map(|(id, entry)| (*id, entry.label.clone(), entry.status.lock().clone()));
        seen.collect()
    }

    /// Looks at processor time and memory of all programs, for as long as it is run.
    pub(crate) async fn watch(self) {
        let mut clock = tokio::time::interval(STEP);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let entries: Vec<Arc<Entry>> = self.0.table.lock().values().cloned().collect();
            let shared = self.0.clone();
            // One look at a time; it touches `/proc` only.
            let _ = tokio::task::spawn_blocking(move || look(&entries, &shared.figures)).await;
        }
    }

    /// Nothing is started any more, and what runs should have been dropped: waits until it is gone.
    pub(crate) async fn finish(&self, patience: Duration) {
        self.0.closed.store(true, Ordering::Relaxed);
        let left = self.0.tasks.finish(patience).await;
        if left > 0 {
            warn!("{left} programs did not end in time; their keepers see to it");
        }
    }

    /// Starts a job; `None` if its words cannot be made, which is logged.
    fn start(&self, job: Job) -> Option<Running> {
        let (stop, stopped) = oneshot::channel();
        let started = self.spawn(job, |task| task.run(stopped));
        started.then_some(Running { _stop: stop })
    }

    /// Runs a job once, when the others have ended, but no longer after than they are given for that.
    fn start_once(&self, job: Job, others: Arc<[u64]>) {
        self.spawn(job, |task| task.run_once(others));
    }

    /// The jobs that run for a stream.
    fn beside(&self, stream: &StreamId) -> Arc<[u64]> {
        let table = self.0.table.lock();
        let beside = table.iter().filter(|(_, entry)| entry.label.stream.as_ref() == Some(stream));
        beside.map(|(id, _)| *id).collect()
    }

    /// Starts the task of a job; `false` if its words cannot be made, which is logged.
    fn spawn<F: Future<Output = ()> + Send>(
        &self,
        job: Job,
        run: impl FnOnce(Task) -> F + Send + 'static,
    ) -> bool {
        let label = job.label.clone();
        let config = self.0.config.lock().clone();
        let prepared = match (job.prepare)(&config) {
            Ok(prepared) => prepared,
            Err(e) => {
                error!("{label} is not started: {e}");
                return false;
            }
        };
        if label.stream.as_ref().is_some_and(|stream| self.0.family.comes_from(stream, &prepared.makes)) {
            error!("{label} is not started, code=3029: it would make the stream that its own is made from");
            return false;
        }
        let entry = Arc::new(Entry { label, status: Mutex::new(Status::new(Instant::now())) });
        let id = self.0.tasks.next_id();
        self.0.table.lock().insert(id, entry.clone());
        let listed = Listed { shared: self.0.clone(), id };
        let task = Task { shared: self.0.clone(), job, entry, pause: PAUSE[0] };
        self.0.tasks.spawn(id, async move {
            let _listed = listed;
            run(task).await;
        });
        true
    }
}

/// A job that is wanted; dropping it ends its program.
pub(crate) struct Running {
    _stop: oneshot::Sender<()>,
}

/// A job's place in the table.
struct Listed {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.table.lock().remove(&self.id);
    }
}

/// Counts one while it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The task of one job.
struct Task {
    shared: Arc<Shared>,
    job: Job,
    entry: Arc<Entry>,
    pause: Duration,
}

/// What came of one run.
enum Run {
    /// It is not wanted any more.
    Stopped,
    Ended(End),
    Failed(String),
}

impl Task {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        loop {
            let begun = Instant::now();
            if self.shared.closed.load(Ordering::Relaxed) {
                return;
            }
            match self.once(&mut stop).await {
                Run::Stopped => return,
                Run::Ended(end) => self.note_end(end, begun.elapsed()),
                Run::Failed(why) => self.note_failure(&why),
            }
            self.entry.enter(State::Waiting, 0);
            tokio::select! {
                _ = &mut stop => return,
                () = tokio::time::sleep(self.pause) => {}
            }
        }
    }

    /// Also while the server ends: that is when many publishes do.
    async fn run_once(mut self, others: Arc<[u64]>) {
        let label = self.entry.label.clone();
        let begun = Instant::now();
        let still_there = || others.iter().any(|id| self.shared.table.lock().contains_key(id));
        while still_there() && begun.elapsed() < MAKE_WAY {
            tokio::time::sleep(LOOK).await;
        }
        let (hold, mut stop) = oneshot::channel();
        let over = async {
            tokio::time::sleep(ONCE).await;
            warn!("{label} has run for {ONCE:?}, which is enough");
            drop(hold);
            pending().await
        };
        let run = tokio::select! {
            run = self.once(&mut stop) => run,
            never = over => never,
        };
        let bad = match run {
            Run::Stopped | Run::Ended(End::Code(0)) => return,
            Run::Ended(end) => format!("has ended with {end}{}", self.see_log()),
            Run::Failed(why) => format!("cannot be run, code=3028: {why}"),
        };
        self.shared.figures.failures.get_or_create(&by(label.kind)).inc();
        warn!("{label} {bad}");
    }

    /// Starts the program and waits for its end.
    async fn once(&mut self, stop: &mut oneshot::Receiver<()>) -> Run {
        self.entry.enter(State::Starting, 0);
        let config = self.shared.config.lock().clone();
        let Prepared { order, makes } = match (self.job.prepare)(&config) {
            Ok(prepared) => prepared,
            Err(e) => return Run::Failed(e.to_string()),
        };
        let Ok(_place) = self.shared.places.clone().try_acquire_owned() else {
            return Run::Failed(format!("{MAX} programs run already"));
        };
        if !self.make_way(&makes, stop).await {
            return Run::Stopped;
        }
        let label = &self.entry.label;
        let _member = self.shared.family.enter(label.stream.clone(), makes, self.job.lineage);
        if let Sink::Log(path) = &order.stderr {
            self.entry.status.lock().log.clone_from(path);
        }
        let mut kept = match Kept::start(&order).await {
            Ok(kept) => kept,
            Err(e) => return Run::Failed(e.to_string()),
        };
        let _counted = Counted::new(&self.shared.figures.running.get_or_create(&by(label.kind)));
        self.shared.figures.starts.get_or_create(&by(label.kind)).inc();
        self.entry.enter(State::Running, kept.pid);
        self.entry.status.lock().starts += 1;
        info!("{label} runs, pid={}", kept.pid);
        let ended = tokio::select! {
            ended = kept.ended() => ended,
            _ = stop => {
                self.entry.enter(State::Stopping, kept.pid);
                if self.shared.sessions.hang_up(kept.pid).await {
                    let _ = tokio::time::timeout(BY_ITSELF, kept.ended()).await;
                }
                kept.stop().await;
                info!("{label} is stopped");
                return Run::Stopped;
            }
        };
        ended.map_or_else(|e| Run::Failed(e.to_string()), Run::Ended)
    }

    /// Waits until nobody else makes one of these streams, but no longer than another has to end. `false` if the
    /// job is not wanted any more.
    async fn make_way(&self, makes: &HashSet<StreamId>, stop: &mut oneshot::Receiver<()>) -> bool {
        let begun = Instant::now();
        while self.shared.family.makes(makes) && begun.elapsed() < MAKE_WAY {
            tokio::select! {
                _ = &mut *stop => return false,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        true
    }

    fn note_end(&mut self, end: End, after: Duration) {
        let label = &self.entry.label;
        let well = end == End::Code(0);
        self.pause = if well || after >= WELL { PAUSE[0] } else { self.next_pause() };
        let (seconds, pause, log) = (after.as_secs_f64(), self.pause, self.see_log());
        if well {
            info!("{label} has ended after {seconds:.1}s; again in {pause:?}");
        } else {
            self.shared.figures.failures.get_or_create(&by(label.kind)).inc();
            warn!("{label} has ended after {seconds:.1}s with {end}; again in {pause:?}{log}");
        }
        let mut status = self.entry.status.lock();
        status.ends += 1;
        status.last = end.to_string();
    }

    fn note_failure(&mut self, why: &str) {
        let label = &self.entry.label;
        self.pause = self.next_pause();
        self.shared.figures.failures.get_or_create(&by(label.kind)).inc();
        error!("{label} cannot be run, code=3028: {why}; tried again in {:?}", self.pause);
        let mut status = self.entry.status.lock();
        status.ends += 1;
        why.clone_into(&mut status.last);
    }

    /// The first one comes once, then they double.
    fn next_pause(&self) -> Duration {
        match self.entry.status.lock().ends {
            0 => PAUSE[0],
            _ => (self.pause * 2).min(PAUSE[1]),
        }
    }

    fn see_log(&self) -> String {
        let log = &self.entry.status.lock().log;
        if log.as_os_str().is_empty() { String::new() } else { format!("; see {}", log.display()) }
    }
}

/// Reads what the programs have used.
fn look(entries: &[Arc<Entry>], figures: &Figures) {
    let mut sums = Kind::ALL.map(|kind| (kind, 0.0, 0));
    for entry in entries {
        let pid = entry.status.lock().pid;
        let seen = (pid != 0).then(|| used(pid)).and_then(Result::ok);
        let mut status = entry.status.lock();
        if let Some((ticks, memory)) = seen.filter(|_| status.pid == pid) {
            let now = Sample { pid, time: Instant::now(), ticks };
            let before = status.sample.replace(now).filter(|before| before.pid == pid);
            status.cpu = before.map_or(0.0, |before| {
                let ticks = now.ticks.saturating_sub(before.ticks) as f64 / procfs::ticks_per_second() as f64;
                ticks / now.time.duration_since(before.time).as_secs_f64().max(0.001)
            });
            status.memory = memory;
        }
        for sum in sums.iter_mut().filter(|(kind, ..)| *kind == entry.label.kind) {
            (sum.1, sum.2) = (sum.1 + status.cpu, sum.2 + status.memory);
        }
    }
    for (kind, cpu, memory) in sums {
        figures.cpu.get_or_create(&by(kind)).set(cpu);
        figures.memory.get_or_create(&by(kind)).set(i64::try_from(memory).unwrap_or(i64::MAX));
    }
}

/// Processor time in ticks, and resident memory in bytes.
fn used(pid: u32) -> io::Result<(u64, u64)> {
    let process = procfs::process::Process::new(i32::try_from(pid).map_err(io::Error::other)?);
    let stat = process.and_then(|process| process.stat()).map_err(io::Error::other)?;
    Ok((stat.utime + stat.stime, stat.rss * procfs::page_size()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Clients;
    use crate::identity::Identity;
    use crate::listen::Connections;

    #[tokio::test]
    async fn there_are_no_more_than_that() {
        let mut no_files = |_: &str| Err(io::ErrorKind::NotFound.into());
        let config = mill_config::load(Some(("t", &b"listen 1935;"[..])), [], &mut no_files).unwrap();
        let sessions = LocalSessions {
            connections: Arc::new(Connections::new(1)),
            clients: Clients::new(Arc::new(Identity::new(1, 1))),
            tasks: Tasks::new(1),
        };
        let children = Children::new(sessions, Arc::new(config.snapshot), &Metrics::new());
        let prepare: Prepare = Box::new(|_| {
            let order = Order {
                program: "true".into(),
                arguments: Vec::new(),
                stdout: Sink::Null,
                stderr: Sink::Null,
                directory: PathBuf::new(),
            };
            Ok(Prepared { order, makes: HashSet::new() })
        });
        let label = Label { kind: Kind::Exec, vhost: "v".into(), stream: None, name: "1".into() };
        let _others = children.0.places.clone().try_acquire_many_owned(MAX as u32).unwrap();
        let running = children.start(Job { label, lineage: Lineage::default(), prepare });
        while children.all()[0].2.state == State::Starting {
            tokio::task::yield_now().await;
        }
        let (_, label, status) = children.all().remove(0);
        assert_eq!(
            (status.state, status.starts, &*status.last),
            (State::Waiting, 0, "512 programs run already")
        );
        assert_eq!(label.to_string(), "exec v 1");
        drop(running);
        children.finish(Duration::from_secs(20)).await;
        assert!(children.all().is_empty());
    }
}
