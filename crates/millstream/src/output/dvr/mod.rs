//! Recordings: one task per recorded publish, from its tap through [`mill_packager::dvr`] into files.
//!
//! ```text
//! tap ──► task: Recorder ──► actions ──► thread: Writer ──► P.tmp ──► P.tmp.done ──► P ──► on_dvr
//!                                                    └── journal: what is begun and not yet told
//! ```
//!
//! The task waits for the thread, so what piles up meanwhile stands in the tap and is bounded there. When the
//! disk fails, the file is given up as after a crash ([`Unfinished`] makes it whole as soon as there is room) and
//! the recording goes on in another, after a pause. Viewers and the publisher notice nothing.
//!
//! What a crash may cost is `dvr_flush` of media and [`STEP`], for the way to the disk.

mod journal;
mod unfinished;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::{self, DvrPlan, Snapshot, TimeJitter, Vhost};
use mill_hub::{Tap, TapOptions, Tapped};
use mill_media::frame::Millis;
use mill_packager::Jitter;
use mill_packager::action::Action;
use mill_packager::dvr::{Options, Plan, Recorder};
use mill_packager::path::{StreamName, Template};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use self::unfinished::Unfinished;
use self::writer::Writer;
use super::clock::{civil, zone};
use super::disk::Disk;
use crate::attach::Source;
use crate::hook::Hooks;
use crate::log;
use crate::metrics::Metrics;
use crate::tasks::Tasks;

/// A recording looks so often for what has come: one write for many frames.
const STEP: Duration = Duration::from_millis(100);

/// What may wait for a slow disk, 32 MiB; what does not fit is left out. Not bounded in time: a file may be published
/// faster than it plays.
const WAITING: TapOptions = TapOptions { from_gop: true, max_bytes: 32 << 20, max_time: Millis::MAX };

/// The pause after a first failure; it doubles up to the second.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

/// How long the start waits for files of the last run; the rest is done beside everything else.
const RECOVERY: Duration = Duration::from_secs(10);

/// What all recordings of a server share.
pub(crate) struct Recordings {
    hooks: Arc<Hooks>,
    disk: Disk,
    figures: Figures,
}

/// For Prometheus.
#[derive(Default, Clone)]
struct Figures {
    running: Gauge,
    files: Counter,
    bytes: Counter,
    failures: Counter,
    lost: Counter,
    unfinished: Gauge,
}

impl Recordings {
    pub(crate) fn new(hooks: Arc<Hooks>, metrics: &Metrics) -> Self {
        let figures = Figures::default();
        metrics.register("millstream_dvr_running", "Publishes being recorded", figures.running.clone());
        metrics.register("millstream_dvr_files", "Recordings completed", figures.files.clone());
        metrics.register("millstream_dvr_bytes", "Bytes of completed recordings", figures.bytes.clone());
        metrics.register(
            "millstream_dvr_failures",
            "Times a recording could not be written",
            figures.failures.clone(),
        );
        metrics.register("millstream_dvr_lost_frames", "Frames that no recording has", figures.lost.clone());
        metrics.register(
            "millstream_dvr_unfinished",
            "Files that are to be made whole",
            figures.unfinished.clone(),
        );
        Self { hooks, disk: Disk::default(), figures }
    }

    /// Finishes what the last run has left below the vhosts' `dvr_path`, and tells of it. Returns when all of it is
    /// done, or after [`RECOVERY`]; what takes longer or fails is tried again beside everything else.
    pub(crate) async fn recover(self: &Arc<Self>, tasks: &Tasks, config: &Snapshot) {
        let recorded = || config.vhosts.iter().filter(|vhost| vhost.dvr.enabled);
        let mut roots: Vec<String> =
            recorded().map(|vhost| Template::new(vhost.dvr.path.as_str()).root().to_owned()).collect();
        roots.sort();
        roots.dedup();
        if roots.is_empty() {
            return;
        }
        let found =
            self.disk.run(move || Ok(roots.iter().flat_map(|root| journal::left(root)).collect::<Vec<_>>()));
        let left = match tokio::time::timeout(RECOVERY, found).await {
            Ok(Ok(left)) => left,
            _ => return error!("the disk has not answered for {RECOVERY:?}: unfinished recordings stay"),
        };
        let recovered = TaskTracker::new();
        for entry in left {
            let vhost = config.vhosts.iter().find(|vhost| vhost.name == entry.stream().vhost).cloned();
            let unfinished = Unfinished::left(entry);
            let token = recovered.token();
            self.finish(tasks, unfinished, vhost, Some(Box::new(token)));
        }
        recovered.close();
        if tokio::time::timeout(RECOVERY, recovered.wait()).await.is_err() {
            warn!("{} recordings are still being made whole", recovered.len());
        }
    }

    /// Waits for what the disk still has to do.
    pub(crate) async fn settle(&self, patience: Duration) {
        self.disk.settle(patience).await;
    }

    /// Makes a file whole in a task of its own, until it succeeds or the server ends; `held` goes with it.
    fn finish(
        self: &Arc<Self>,
        tasks: &Tasks,
        unfinished: Unfinished,
        vhost: Option<Arc<Vhost>>,
        held: Option<Box<dyn Send>>,
    ) {
        let shared = self.clone();
        let id = tasks.next_id();
        tasks.spawn(id, async move {
            let _held = held;
            let _counted = Counted::new(&shared.figures.unfinished);
            let (mut file, mut pause) = (unfinished, BACKOFF[0]);
            loop {
                let finished = shared.disk.run(move || {
                    let finished = file.finish();
                    Ok((file, finished))
                });
                match finished.await {
                    Ok((file, Ok(whole))) => return shared.tell(file, whole, vhost.as_deref()),
                    Ok((again, Err(e))) => {
                        warn!("dvr file {} cannot be finished yet: {e}", again.temporary());
                        file = again;
                    }
                    Err(e) => return error!("dvr: {e}"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF[1]);
            }
        });
    }

    /// A file has its name, or there was nothing in it.
    fn tell(self: &Arc<Self>, file: Unfinished, whole: Option<unfinished::Whole>, vhost: Option<&Vhost>) {
        let Some(whole) = whole else { return self.disk.later(move || file.forget()) };
        self.figures.files.inc();
        self.figures.bytes.inc_by(whole.bytes);
        info!("dvr file {} complete, {}B", whole.path, whole.bytes);
        let recording = file.recording(whole.path);
        let shared = self.clone();
        let through = Box::new(move || shared.disk.later(move || file.forget()));
        self.hooks.recorded(vhost, &recording, through);
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

/// How a recording stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// The file being written; empty while there is none.
    pub(crate) file: String,
    /// Milliseconds of media in it.
    pub(crate) duration: Millis,
    /// Bytes of it.
    pub(crate) bytes: u64,
    /// Files completed before it.
    pub(crate) files: u64,
    /// Frames that are in no file because the disk did not take them.
    pub(crate) lost: u64,
    /// Why it is not being written; empty while it is.
    pub(crate) error: String,
}

/// A recording that runs; dropping it ends it, with a complete file.
pub(crate) struct Running {
    conf: model::Dvr,
    status: Arc<Mutex<Status>>,
    _stop: oneshot::Sender<()>,
}

impl Running {
    /// `None` if there is no file name for the stream, or the publish has ended.
    pub(crate) fn start(
        shared: &Arc<Recordings>,
        tasks: &Tasks,
        source: &Arc<Source>,
        vhost: &Arc<Vhost>,
        utc: bool,
    ) -> Option<Self> {
        let conf = vhost.dvr.clone();
        let id = source.stream();
        let name = StreamName { vhost: id.vhost.clone(), app: id.app.clone(), stream: id.name.clone() };
        let recorder = Recorder::new(options(&conf), &conf.path, name);
        let recorder = recorder.inspect_err(|e| error!("dvr stream {id}: not recorded: {e}")).ok()?;
        let tap = source.outlet.tap(WAITING)?;
        let (stop, stopped) = oneshot::channel();
        let status = Arc::new(Mutex::new(Status::default()));
        let task = Task {
            shared: shared.clone(),
            tasks: tasks.clone(),
            vhost: vhost.clone(),
            source: source.clone(),
            recorder,
            writer: Some(Writer::new(shared.clone(), source, &conf)),
            status: status.clone(),
            zone: zone(utc),
            retry: None,
            pause: BACKOFF[0],
        };
        tasks.spawn(tasks.next_id(), task.run(tap, stopped));
        Some(Self { conf, status, _stop: stop })
    }

    pub(crate) fn conf(&self) -> &model::Dvr {
        &self.conf
    }

    pub(crate) fn status(&self) -> Status {
        self.status.lock().clone()
    }
}

fn options(conf: &model::Dvr) -> Options {
    let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX);
    Options {
        plan: match conf.plan {
            DvrPlan::Session => Plan::Session,
            DvrPlan::Segment => Plan::Segment(millis(conf.duration)),
        },
        wait_keyframe: conf.wait_keyframe,
        jitter: match conf.time_jitter {
            TimeJitter::Full => Jitter::Full,
            TimeJitter::Zero => Jitter::Zero,
            TimeJitter::Off => Jitter::Off,
        },
        flush: millis(conf.flush),
    }
}

/// The task of one recording.
struct Task {
    shared: Arc<Recordings>,
    tasks: Tasks,
    vhost: Arc<Vhost>,
    source: Arc<Source>,
    recorder: Recorder,
    /// Away while a thread has it.
    writer: Option<Writer>,
    status: Arc<Mutex<Status>>,
    zone: jiff::tz::TimeZone,
    /// The disk has failed: tried again then.
    retry: Option<Instant>,
    pause: Duration,
}

impl Task {
    async fn run(mut self, mut tap: Tap, mut stop: oneshot::Receiver<()>) {
        let _counted = Counted::new(&self.shared.figures.running);
        let mut taken = Vec::new();
        loop {
            let open = tokio::select! {
                open = tap.next(&mut taken) => open,
                _ = &mut stop => {
                    tap.take(&mut taken);
                    false
                }
            };
            for tapped in taken.drain(..) {
                self.take(tapped);
            }
            if !open {
                self.recorder.end();
            }
            self.write().await;
            if !open {
                return;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    fn take(&mut self, tapped: Tapped) {
        let frame = match tapped {
            Tapped::Lagged { frames } => {
                let stream = self.source.stream();
                error!("dvr stream {stream}: the disk is too slow, {frames} frames are not recorded");
                self.lose(frames);
                return self.recorder.end();
            }
            Tapped::Frame(frame) => frame,
        };
        if !frame.kind.is_header() && self.retry.is_some_and(|retry| Instant::now() < retry) {
            return self.lose(1);
        }
        if let Err(e) = self.recorder.push(&frame, civil(&self.zone)) {
            self.lose(1);
            self.fail(&e.to_string());
        }
    }

    /// Has a thread do what there is to do, and waits for it.
    async fn write(&mut self) {
        let actions: Vec<Action> = std::iter::from_fn(|| self.recorder.poll_action()).collect();
        let Some(mut writer) = self.writer.take() else { return };
        if actions.is_empty() {
            self.writer = Some(writer);
            return;
        }
        let publisher = self.source.peer.id;
        let written = self.shared.disk.run(move || {
            let mut written = Ok(());
            log::under(publisher, || written = writer.carry_out(actions));
            let complete = writer.complete();
            Ok((writer, written, complete))
        });
        let (writer, written, complete) = match written.await {
            Ok(back) => back,
            // Only a panic: there is no writer any more.
            Err(e) => return self.fail(&e.to_string()),
        };
        self.writer = Some(writer);
        self.status.lock().files += complete.len() as u64;
        for file in complete {
            self.shared.finish(&self.tasks, file, Some(self.vhost.clone()), None);
        }
        match written {
            Ok(()) => self.note(),
            Err(e) => self.fail(&e.to_string()),
        }
    }

    /// The disk took it.
    fn note(&mut self) {
        let now = self.recorder.status();
        let mut status = self.status.lock();
        let (duration, bytes) = now.as_ref().map_or((0, 0), |now| (now.duration, now.bytes));
        (status.duration, status.bytes) = (duration, bytes);
        status.file = self.writer.as_ref().and_then(Writer::path).unwrap_or_default().to_owned();
        if now.is_some() && self.retry.take().is_some() {
            info!(
                "dvr stream {} is recorded again, {} frames are missing",
                self.source.stream(),
                status.lost
            );
            self.pause = BACKOFF[0];
            status.error.clear();
        }
    }

    /// The file is given up as it is; after a pause the next frame that can begins another.
    fn fail(&mut self, why: &str) {
        self.shared.figures.failures.inc();
        self.recorder.lost();
        if let Some(file) = self.writer.as_mut().and_then(Writer::give_up) {
            self.shared.finish(&self.tasks, file, Some(self.vhost.clone()), None);
        }
        error!("dvr stream {}: {why}; tried again in {:?}", self.source.stream(), self.pause);
        let mut status = self.status.lock();
        *status =
            Status { lost: status.lost, files: status.files, error: why.to_owned(), ..Status::default() };
        drop(status);
        self.retry = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(BACKOFF[1]);
    }

    fn lose(&mut self, frames: u64) {
        self.shared.figures.lost.inc_by(frames);
        self.status.lock().lost += frames;
    }
}
