//! HLS: one task per stream, from the taps of its publishes through [`mill_packager::hls`] into memory, and from
//! there onto the disk.
//!
//! ```text
//! tap ──► task: Pack ──► actions ──► Section of the shelf ──► viewers
//!                          └───────► Writer (a task) ──► disk ──► on_hls, on_hls_notify
//! ```
//!
//! A task begins with the first publish of its stream and outlives it: segments stay where they are, and the
//! next publish goes on with their numbers. It ends when nobody has published for [`Task::rest`], when HLS is
//! switched off, and with the server; what then stands on the disk stays there unless `hls_dispose` deletes it,
//! and is where the next task goes on, in this run or another ([`pack`]).
//!
//! Viewers are served from memory whatever the disk does; it is given a second to have a playlist before they do. A failing disk, or a frame that cannot be carried, is
//! answered as `hls_on_error` says. Bounded: what waits in the tap by [`WAITING`], the open segment by
//! [`pack::MAX_OPEN`], complete ones by the shelf, what waits for the disk by the writer, tasks by publishers and
//! [`MAX_IDLE`].

mod pack;
mod ts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::{self, HlsOnError, Snapshot, Vhost};
use mill_hub::{StreamId, Tap, TapOptions, Tapped};
use mill_media::frame::{Frame, FrameKind, Millis};
use mill_packager::playlist::Numbers;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, info, warn};

pub(crate) use self::pack::PLAYLIST;
use self::pack::{DISK, Pack};
use super::disk::Disk;
use super::shelf::Shelf;
use crate::attach::Source;
use crate::hook::Hooks;
use crate::metrics::Metrics;
use crate::reload::Config;
use crate::tasks::Tasks;

/// What may wait for the task, 32 MiB and any time: whoever sends a film faster than it plays loses nothing.
const WAITING: TapOptions = TapOptions { from_gop: true, max_bytes: 32 << 20, max_time: Millis::MAX };

/// The task looks so often for frames.
const STEP: Duration = Duration::from_millis(50);

/// Publishes of one stream that may wait for the task; each has ended when the next begins.
const MAX_FEEDS: usize = 16;

/// Streams without a publisher whose segments are still served from memory; those that began first end first.
const MAX_IDLE: usize = 1000;

/// Streams whose numbers are remembered though their segments are gone.
const MAX_REMEMBERED: usize = 10_000;

/// Between two log lines about frames of one publish that cannot be carried.
const COMPLAIN: Duration = Duration::from_secs(10);

/// The HLS of a server.
pub(crate) struct Channels {
    hooks: Arc<Hooks>,
    shelf: Shelf,
    disk: Disk,
    figures: Figures,
    cwd: String,
    table: Mutex<Table>,
    /// The sessions' tasks: to end a publisher, if `hls_on_error` says so.
    sessions: Tasks,
}

#[derive(Default)]
struct Table {
    channels: HashMap<StreamId, Channel>,
    remembered: HashMap<StreamId, Numbers>,
}

/// The way to a stream's task.
struct Channel {
    feeds: mpsc::Sender<Feed>,
    /// Since when nobody publishes.
    idle: Option<Instant>,
    /// Tells the task to end before its time. It takes itself out of the table when all is on the disk, so the next
    /// finds what it needs to go on.
    end: Arc<Notify>,
}

/// For Prometheus.
#[derive(Default, Clone)]
struct Figures {
    streams: Gauge,
    segments: Counter,
    bytes: Counter,
    failures: Counter,
    lost: Counter,
}

/// A publish to be packaged.
struct Feed {
    tap: Tap,
    source: Arc<Source>,
    conf: Conf,
    stop: oneshot::Receiver<()>,
}

/// What a publish is packaged by.
#[derive(Clone)]
struct Conf {
    vhost: Arc<Vhost>,
    /// Where `hls_path` is found over HTTP.
    url: String,
    /// And the directory of the keys.
    key_url: String,
    utc: bool,
}

impl Channels {
    pub(crate) fn new(hooks: Arc<Hooks>, shelf: Shelf, sessions: &Tasks, metrics: &Metrics) -> Self {
        let figures = Figures::default();
        metrics.register("millstream_hls_streams", "Streams with HLS in memory", figures.streams.clone());
        metrics.register("millstream_hls_segments", "HLS segments completed", figures.segments.clone());
        metrics.register("millstream_hls_bytes", "Bytes of completed HLS segments", figures.bytes.clone());
        metrics.register(
            "millstream_hls_failures",
            "Times HLS could not be made or written",
            figures.failures.clone(),
        );
        metrics.register("millstream_hls_lost_frames", "Frames that no segment has", figures.lost.clone());
        let cwd = std::env::current_dir().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
        let (disk, table) = (Disk::default(), Mutex::default());
        Self { hooks, shelf, disk, figures, cwd, table, sessions: sessions.clone() }
    }

    /// Gives a publish to its stream's task, which is started if there is none.
    fn feed(self: &Arc<Self>, tasks: &Tasks, config: &Config, feed: Feed) {
        let stream = feed.source.stream().clone();
        let mut feed = Some(feed);
        let mut table = self.table.lock();
        if let Some(channel) = table.channels.get_mut(&stream) {
            channel.idle = None;
            match feed.take().map(|feed| channel.feeds.try_send(feed)) {
                Some(Err(mpsc::error::TrySendError::Closed(back))) => feed = Some(back),
                Some(Err(mpsc::error::TrySendError::Full(_))) => {
                    return error!("hls stream {stream}: too many publishes wait, this one has no HLS");
                }
                _ => return,
            }
        }
        let (feeds, receiver) = mpsc::channel(MAX_FEEDS);
        if let Some(feed) = feed {
            let _ = feeds.try_send(feed);
        }
        let end = Arc::new(Notify::new());
        table.channels.insert(stream.clone(), Channel { feeds, idle: None, end: end.clone() });
        let task = Task {
            shared: self.clone(),
            tasks: tasks.clone(),
            config: config.clone(),
            stream,
            feeds: receiver,
            end,
            pack: None,
            input: Instant::now(),
        };
        tasks.spawn(tasks.next_id(), task.run());
    }

    /// A reload has changed these vhosts: where HLS is off now, streams that nobody publishes end too.
    pub(crate) fn refresh(&self, config: &Snapshot, changed: impl Fn(&str) -> bool) {
        let on = |name: &str| {
            let vhost = config.vhosts.iter().find(|vhost| vhost.name == name);
            vhost.is_some_and(|vhost| vhost.enabled && vhost.hls.enabled)
        };
        for (stream, channel) in &self.table.lock().channels {
            if changed(&stream.vhost) && !on(&stream.vhost) {
                channel.end.notify_one();
            }
        }
    }

    /// The server ends: tasks end with what they are about.
    pub(crate) fn close(&self) {
        self.table.lock().channels.clear();
    }

    /// Numbers of a stream whose task has ended.
    fn recall(&self, stream: &StreamId) -> Option<Numbers> {
        self.table.lock().remembered.get(stream).copied()
    }

    fn remember(&self, stream: &StreamId, numbers: Numbers) {
        let mut table = self.table.lock();
        if table.remembered.len() >= MAX_REMEMBERED {
            // Any other: the clock stands in for it (`pack`).
            let any = table.remembered.keys().next().cloned();
            any.and_then(|any| table.remembered.remove(&any));
        }
        table.remembered.insert(stream.clone(), numbers);
    }

    /// Nobody publishes the stream. Of too many like that the first ends.
    fn rest(&self, stream: &StreamId) {
        let mut table = self.table.lock();
        if let Some(channel) = table.channels.get_mut(stream) {
            channel.idle = Some(Instant::now());
        }
        let idle = || table.channels.values().filter(|channel| channel.idle.is_some());
        if idle().count() > MAX_IDLE {
            idle().min_by_key(|channel| channel.idle).inspect(|first| first.end.notify_one());
        }
    }
}

/// HLS of one publish; dropping it ends its last segment.
pub(crate) struct Running {
    conf: model::Hls,
    _stop: oneshot::Sender<()>,
}

impl Running {
    /// `None` if the publish has ended.
    pub(crate) fn start(
        shared: &Arc<Channels>,
        tasks: &Tasks,
        source: &Arc<Source>,
        vhost: &Arc<Vhost>,
        config: &Config,
    ) -> Option<Self> {
        let tap = source.outlet.tap(WAITING)?;
        let (stop, stopped) = oneshot::channel();
        let conf = Conf::of(vhost, &config.load());
        shared.feed(tasks, config, Feed { tap, source: source.clone(), conf, stop: stopped });
        Some(Self { conf: vhost.hls.clone(), _stop: stop })
    }

    pub(crate) fn conf(&self) -> &model::Hls {
        &self.conf
    }
}

impl Conf {
    fn of(vhost: &Arc<Vhost>, config: &Snapshot) -> Self {
        let hls = &vhost.hls;
        Self {
            url: super::shelf::url_of(config, &vhost.name, &hls.path),
            key_url: super::shelf::url_of(config, &vhost.name, key_directory(hls)),
            vhost: vhost.clone(),
            utc: config.global.utc_time,
        }
    }

    fn goes_on_under(&self, new: &Self) -> bool {
        let same = (&self.url, &self.key_url, self.utc) == (&new.url, &new.key_url, new.utc);
        same && self.vhost.hls.goes_on_under(&new.vhost.hls)
    }
}

/// Where keys are; SRS takes the first `hls_path` of the process if there is none.
pub(crate) fn key_directory(hls: &model::Hls) -> &str {
    if hls.key_file_path.is_empty() { &hls.path } else { &hls.key_file_path }
}

/// The task of one stream.
struct Task {
    shared: Arc<Channels>,
    tasks: Tasks,
    config: Config,
    stream: StreamId,
    feeds: mpsc::Receiver<Feed>,
    end: Arc<Notify>,
    pack: Option<Pack>,
    /// When the last frame came.
    input: Instant,
}

/// Why a publish is not packaged any further.
#[derive(PartialEq, Eq)]
enum End {
    Over,
    /// By `hls_on_error`; its frames are still taken, so that nothing piles up.
    GivenUp,
}

impl Task {
    async fn run(mut self) {
        self.shared.figures.streams.inc();
        let _counted = Counted(self.shared.figures.streams.clone());
        loop {
            let rest = self.rest();
            tokio::select! {
                biased;
                () = self.end.notified() => {}
                feed = self.feeds.recv() => match feed {
                    Some(feed) => {
                        self.publish(feed).await;
                        self.shared.rest(&self.stream);
                        continue;
                    }
                    None => break,
                },
                () = tokio::time::sleep_until((self.input + rest).into()) => {}
            }
            // Whoever begins to publish meanwhile does not wait longer for a disk that hangs.
            let _ = tokio::time::timeout(DISK, self.finish()).await;
            if self.leave() {
                break;
            }
        }
        self.finish().await;
    }

    /// Deletes what is to be deleted, and waits for the disk.
    async fn finish(&mut self) {
        self.dispose();
        if let Some(pack) = self.pack.take() {
            self.shared.remember(&self.stream, pack.numbers());
            pack.finish().await;
        }
    }

    /// Takes the stream out of the table, unless somebody has just begun to publish it.
    fn leave(&mut self) -> bool {
        let mut table = self.shared.table.lock();
        let leaves = self.feeds.is_empty();
        if leaves {
            table.channels.remove(&self.stream);
        }
        leaves
    }

    /// How long the task stays after the last frame: until files are to be deleted, or viewers have had time to
    /// fetch what was in the playlist.
    fn rest(&self) -> Duration {
        let conf = self.conf();
        match conf {
            Some(conf) if conf.dispose > Duration::ZERO => conf.dispose,
            Some(conf) => (conf.window * 3).max(Duration::from_secs(60)),
            None => Duration::from_secs(60),
        }
    }

    /// The block as it is now.
    fn conf(&self) -> Option<model::Hls> {
        let config = self.config.load();
        let vhost = config.vhosts.iter().find(|vhost| vhost.name == self.stream.vhost)?;
        Some(vhost.hls.clone())
    }

    /// Packages one publish to its end.
    async fn publish(&mut self, feed: Feed) {
        let Feed { tap, source, conf, stop } = feed;
        self.input = Instant::now();
        match Pack::ready(self.pack.take(), &self.shared, &self.tasks, &self.stream, conf).await {
            Ok(pack) => self.pack = Some(pack),
            Err(e) => return error!("hls stream {}: no HLS: {e}", self.stream),
        }
        self.follow(tap, &source, stop).await;
    }

    async fn follow(&mut self, mut tap: Tap, source: &Arc<Source>, mut stop: oneshot::Receiver<()>) {
        let mut taken = Vec::new();
        let mut given_up = false;
        let mut complained = None;
        let mut headers: [Option<Frame>; 2] = [None, None];
        loop {
            let rest = self.conf().map_or(Duration::ZERO, |conf| conf.dispose);
            let dispose = async {
                match rest {
                    Duration::ZERO => std::future::pending().await,
                    rest => tokio::time::sleep_until((self.input + rest).into()).await,
                }
            };
            let open = tokio::select! {
                open = tap.next(&mut taken) => open,
                _ = &mut stop => {
                    tap.take(&mut taken);
                    false
                }
                () = dispose => {
                    // Sends nothing, and may go on later, by the headers it has sent.
                    self.dispose();
                    self.input = Instant::now();
                    for header in headers.iter().flatten() {
                        let _ = self.pack.as_mut().map(|pack| pack.push(header));
                    }
                    continue;
                }
            };
            let Some(pack) = &mut self.pack else { return };
            if !taken.is_empty() {
                self.input = Instant::now();
            }
            let mut failure = None;
            for tapped in taken.drain(..).filter(|_| !given_up) {
                match tapped {
                    Tapped::Lagged { frames } => {
                        error!("hls stream {}: too slow, {frames} frames are in no segment", self.stream);
                        self.shared.figures.lost.inc_by(frames);
                        pack.end();
                    }
                    Tapped::Frame(frame) => {
                        match frame.kind {
                            FrameKind::AudioHeader => headers[0] = Some(frame.clone()),
                            FrameKind::VideoHeader => headers[1] = Some(frame.clone()),
                            _ => {}
                        }
                        if let Err(e) = pack.push(&frame) {
                            self.shared.figures.lost.inc();
                            failure = Some(e.to_string());
                        }
                    }
                }
                if let Err(e) = pack.carry_out(source) {
                    failure = Some(e.to_string());
                }
            }
            if !open {
                pack.end();
                if let Err(e) = pack.carry_out(source) {
                    failure = Some(e.to_string());
                }
            }
            pack.publish_list().await;
            if pack.disk_has_failed() {
                failure.get_or_insert_with(|| "the disk has failed".into());
            }
            if let Some(why) = failure.filter(|_| !given_up) {
                self.shared.figures.failures.inc();
                if complained.is_none_or(|at: Instant| at.elapsed() > COMPLAIN) {
                    complained = Some(Instant::now());
                    warn!("hls stream {}: {why}", self.stream);
                }
                given_up = self.answer(source) == End::GivenUp;
            }
            if let Some(pack) = &mut self.pack {
                pack.publish_list().await;
            }
            if !open {
                return;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Something has failed: what `hls_on_error` says.
    fn answer(&mut self, source: &Arc<Source>) -> End {
        match self.conf().map_or(HlsOnError::Ignore, |conf| conf.on_error) {
            HlsOnError::Continue => End::Over,
            HlsOnError::Ignore => {
                warn!("hls stream {}: the rest of the publish has no HLS (hls_on_error ignore)", self.stream);
                if let Some(pack) = &mut self.pack {
                    pack.end();
                    let _ = pack.carry_out(source);
                }
                End::GivenUp
            }
            HlsOnError::Disconnect => {
                warn!("hls stream {}: the publisher is dropped (hls_on_error disconnect)", self.stream);
                self.shared.sessions.cut(source.peer.id);
                End::GivenUp
            }
        }
    }

    /// Deletes everything, if `hls_dispose` says so.
    fn dispose(&mut self) {
        let disposes = self.conf().is_some_and(|conf| conf.dispose > Duration::ZERO);
        if let Some(pack) = self.pack.as_mut().filter(|pack| disposes && pack.has_files()) {
            info!("hls stream {}: files are deleted (hls_dispose)", self.stream);
            pack.dispose();
        }
    }
}

/// Counts one less when it goes.
struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
