//! What packagers of DASH and HDS have in common: one task per stream, from the taps of its publishes through a
//! packager into memory, and from there onto the disk.
//!
//! ```text
//! tap ──► task: Format ──► actions ──► Section of the shelf ──► viewers
//!                            └───────► Writer (a task) ──► disk
//! ```
//!
//! A task begins with the first publish of its stream and outlives it: segments stay where they are, and the next
//! publish goes on with their numbers. It ends when nobody has published for [`Task::rest`], when the output is
//! switched off, and with the server; what then stands on the disk stays there unless it is to be deleted, and is
//! where the next task goes on, in this run or another.
//!
//! Viewers are served from memory whatever the disk does; the writer reports a failing disk and tries again. Bounded:
//! what waits in the tap by [`WAITING`], the open segment by its packager, complete ones by the shelf, what waits for
//! the disk by the writer, tasks by publishers and [`MAX_IDLE`].

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mill_config::model::{Snapshot, Vhost};
use mill_hub::{StreamId, Tap, TapOptions, Tapped};
use mill_media::frame::{Frame, Millis};
use mill_packager::action::{Action, Close};
use mill_packager::path::{self, StreamName};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, info, warn};

use super::disk::Disk;
use super::shelf::{Body, Caching, File, Full, Section, Shelf, Show, url_of};
use super::writer::{Job, Writer};
use crate::attach::Source;
use crate::clients::Kind;
use crate::metrics::Metrics;
use crate::reload::Config;
use crate::tasks::Tasks;

/// What may wait for the task, 32 MiB and any time: whoever sends a film faster than it plays loses nothing.
const WAITING: TapOptions = TapOptions { from_gop: true, max_bytes: 32 << 20, max_time: Millis::MAX };

/// The task looks so often for frames.
const STEP: Duration = Duration::from_millis(50);

/// Publishes of one stream that may wait for the task; each has ended when the next begins.
const MAX_FEEDS: usize = 4;

/// Streams without a publisher whose segments are still served from memory; those that began first end first.
const MAX_IDLE: usize = 1000;

/// How long a beginning waits for the disk that has the old index.
const DISK: Duration = Duration::from_secs(10);

/// Largest index that is read: some days of segments.
const MAX_INDEX: u64 = 16 << 20;

/// One of the formats.
pub(crate) trait Format: Sized + Send + 'static {
    /// In log lines and metrics.
    const NAME: &'static str;

    /// What its viewers are.
    const VIEWERS: Kind;

    /// Its block.
    type Conf: Clone + Send + Sync + 'static;

    /// The block of a vhost.
    fn conf(vhost: &Vhost) -> &Self::Conf;

    /// What the task must know of a block.
    fn rules(conf: &Self::Conf) -> Rules<'_>;

    /// Whether packaging goes on as it is under the other block.
    fn goes_on_under(old: &Self::Conf, new: &Self::Conf) -> bool;

    /// A packager. Fails if the stream's name makes no file names.
    fn new(conf: &Self::Conf, name: StreamName) -> Result<Self, path::Error>;

    /// The file that tells where to go on.
    fn index_path(&self) -> &str;

    /// What stands in it now, if there is a segment.
    fn index(&self) -> Option<Bytes>;

    /// Goes on with what stood in it; false if that is none of ours.
    fn resume(&mut self, index: &[u8]) -> bool;

    /// The files of everything there is, but for the index.
    fn files(&self) -> Vec<String>;

    /// What a file is for players, and for caches.
    fn kind(conf: &Self::Conf, path: &str) -> (&'static str, Caching);

    /// Takes a frame, which came at `now`, milliseconds since 1970.
    fn push(&mut self, frame: &Frame, now: i64);

    /// The publish ends.
    fn end(&mut self, now: i64);

    /// The next thing to do.
    fn poll_action(&mut self) -> Option<Action>;

    /// All of it has been done.
    fn done(&mut self) {}

    /// Deletes everything; a publish may go on.
    fn dispose(&mut self);
}

/// What the task must know of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) enabled: bool,
    /// Directory of all files.
    pub(crate) path: &'a str,
    /// Everything is deleted after this time without input; never if zero.
    pub(crate) dispose: Duration,
    /// How much of the stream there is for players.
    pub(crate) window: Duration,
}

/// One format's streams of a server.
pub(crate) struct Channels<F: Format> {
    shelf: Shelf,
    disk: Disk,
    figures: Figures,
    table: Mutex<HashMap<StreamId, Channel<F>>>,
}

/// The way to a stream's task.
struct Channel<F: Format> {
    feeds: mpsc::Sender<Feed<F>>,
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
struct Feed<F: Format> {
    tap: Tap,
    conf: F::Conf,
    /// Where its directory is found over HTTP.
    url: String,
    stop: oneshot::Receiver<()>,
}

impl<F: Format> Channels<F> {
    pub(crate) fn new(shelf: &Shelf, metrics: &Metrics) -> Self {
        let figures = Figures::default();
        let (name, title) = (F::NAME, F::NAME.to_uppercase());
        let named = |figure: &str| format!("millstream_{name}_{figure}");
        let counters = [
            ("segments", format!("{title} segments completed"), &figures.segments),
            ("bytes", format!("Bytes of completed {title} segments"), &figures.bytes),
            ("failures", format!("Times {title} could not be made or written"), &figures.failures),
            ("lost_frames", format!("Frames that no {title} segment has"), &figures.lost),
        ];
        for (figure, help, counter) in counters {
            metrics.register(&named(figure), &help, counter.clone());
        }
        let help = format!("Streams with {title} in memory");
        metrics.register(&named("streams"), &help, figures.streams.clone());
        Self { shelf: shelf.clone(), disk: Disk::default(), figures, table: Mutex::default() }
    }

    /// Gives a publish to its stream's task, which is started if there is none.
    fn feed(self: &Arc<Self>, tasks: &Tasks, config: &Config, stream: &StreamId, feed: Feed<F>) {
        let mut feed = Some(feed);
        let mut table = self.table.lock();
        if let Some(channel) = table.get_mut(stream) {
            channel.idle = None;
            match feed.take().map(|feed| channel.feeds.try_send(feed)) {
                Some(Err(mpsc::error::TrySendError::Closed(back))) => feed = Some(back),
                Some(Err(mpsc::error::TrySendError::Full(_))) => {
                    return error!(
                        "{} stream {stream}: too many publishes wait, this one is left out",
                        F::NAME
                    );
                }
                _ => return,
            }
        }
        let (feeds, receiver) = mpsc::channel(MAX_FEEDS);
        if let Some(feed) = feed {
            let _ = feeds.try_send(feed);
        }
        let end = Arc::new(Notify::new());
        table.insert(stream.clone(), Channel { feeds, idle: None, end: end.clone() });
        let task = Task {
            shared: self.clone(),
            tasks: tasks.clone(),
            config: config.clone(),
            stream: stream.clone(),
            feeds: receiver,
            end,
            pack: None,
            input: Instant::now(),
        };
        tasks.spawn(tasks.next_id(), task.run());
    }

    /// A reload has changed these vhosts: where the output is off now, streams that nobody publishes end too.
    pub(crate) fn refresh(&self, config: &Snapshot, changed: impl Fn(&str) -> bool) {
        let on = |name: &str| {
            let vhost = config.vhosts.iter().find(|vhost| vhost.name == name);
            vhost.is_some_and(|vhost| vhost.enabled && F::rules(F::conf(vhost)).enabled)
        };
        for (stream, channel) in &*self.table.lock() {
            if changed(&stream.vhost) && !on(&stream.vhost) {
                channel.end.notify_one();
            }
        }
    }

    /// The server ends: tasks end with what they are about.
    pub(crate) fn close(&self) {
        self.table.lock().clear();
    }

    /// Nobody publishes the stream. Of too many like that the first ends.
    fn rest(&self, stream: &StreamId) {
        let mut table = self.table.lock();
        if let Some(channel) = table.get_mut(stream) {
            channel.idle = Some(Instant::now());
        }
        let idle = || table.values().filter(|channel| channel.idle.is_some());
        if idle().count() > MAX_IDLE {
            idle().min_by_key(|channel| channel.idle).inspect(|first| first.end.notify_one());
        }
    }
}

/// The output of one publish; dropping it ends its last segment.
pub(crate) struct Running<F: Format> {
    conf: F::Conf,
    _stop: oneshot::Sender<()>,
}

impl<F: Format> Running<F> {
    /// What should run beside a publish after a change: the old one if it may go on, another or none.
    pub(crate) fn settled(
        running: Option<Self>,
        shared: &Arc<Channels<F>>,
        tasks: &Tasks,
        source: &Source,
        config: &Config,
    ) -> Option<Self> {
        let snapshot = config.load_full();
        let name = &source.stream().vhost;
        let vhost = snapshot.vhosts.iter().find(|vhost| vhost.name == *name && vhost.enabled);
        let wanted = vhost.map(|vhost| F::conf(vhost)).filter(|conf| F::rules(conf).enabled);
        // If another begins, the old one is dropped first: its last segment ends before the new one's first begins.
        let goes_on = |running: &Self| wanted.is_some_and(|conf| F::goes_on_under(&running.conf, conf));
        if let Some(running) = running.filter(goes_on) {
            return Some(running);
        }
        let conf = wanted?.clone();
        let tap = source.outlet.tap(WAITING)?;
        let (stop, stopped) = oneshot::channel();
        let url = url_of(&snapshot, name, F::rules(&conf).path);
        shared.feed(tasks, config, source.stream(), Feed { tap, conf: conf.clone(), url, stop: stopped });
        Some(Self { conf, _stop: stop })
    }
}

impl<F: Format> fmt::Debug for Running<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(F::NAME).finish_non_exhaustive()
    }
}

/// The task of one stream.
struct Task<F: Format> {
    shared: Arc<Channels<F>>,
    tasks: Tasks,
    config: Config,
    stream: StreamId,
    feeds: mpsc::Receiver<Feed<F>>,
    end: Arc<Notify>,
    pack: Option<Pack<F>>,
    /// When the last frame came.
    input: Instant,
}

impl<F: Format> Task<F> {
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
            pack.finish().await;
        }
    }

    /// Takes the stream out of the table, unless somebody has just begun to publish it.
    fn leave(&mut self) -> bool {
        let mut table = self.shared.table.lock();
        let leaves = self.feeds.is_empty();
        if leaves {
            table.remove(&self.stream);
        }
        leaves
    }

    /// How long the task stays after the last frame: until files are to be deleted, or viewers have had time to
    /// fetch what was there.
    fn rest(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(60);
        self.look(|rules| match rules.dispose {
            Duration::ZERO => (rules.window * 3).max(LEAST),
            dispose => dispose,
        })
        .unwrap_or(LEAST)
    }

    /// Asks the block as it is now.
    fn look<T>(&self, ask: impl FnOnce(Rules) -> T) -> Option<T> {
        let config = self.config.load();
        let vhost = config.vhosts.iter().find(|vhost| vhost.name == self.stream.vhost)?;
        Some(ask(F::rules(F::conf(vhost))))
    }

    /// After how much time without input files are deleted.
    fn disposes(&self) -> Duration {
        self.look(|rules| rules.dispose).unwrap_or_default()
    }

    /// Packages one publish to its end.
    async fn publish(&mut self, feed: Feed<F>) {
        let Feed { mut tap, conf, url, mut stop } = feed;
        self.input = Instant::now();
        let pack = Pack::ready(self.pack.take(), &self.shared, &self.tasks, &self.stream, conf, url);
        let pack = match pack.await {
            Ok(pack) => self.pack.insert(pack),
            Err(e) => return error!("{} stream {}: left out: {e}", F::NAME, self.stream),
        };
        let mut taken = Vec::new();
        loop {
            let rest = {
                let config = self.config.load();
                let vhost = config.vhosts.iter().find(|vhost| vhost.name == self.stream.vhost);
                vhost.map_or(Duration::ZERO, |vhost| F::rules(F::conf(vhost)).dispose)
            };
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
                    // Sends nothing, and may go on later.
                    pack.dispose();
                    self.input = Instant::now();
                    continue;
                }
            };
            if !taken.is_empty() {
                self.input = Instant::now();
            }
            for tapped in taken.drain(..) {
                pack.take(tapped);
            }
            if !open {
                return pack.end();
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Deletes everything, if the block says so.
    fn dispose(&mut self) {
        let disposes = self.disposes() > Duration::ZERO;
        if let Some(pack) = self.pack.as_mut().filter(|_| disposes) {
            pack.dispose();
        }
    }
}

/// A packager and the places of its files.
struct Pack<F: Format> {
    shared: Arc<Channels<F>>,
    stream: StreamId,
    conf: F::Conf,
    url: String,
    packager: F,
    show: Arc<Show>,
    section: Section,
    /// What is served until the first segment under a new configuration is complete.
    former: Option<Section>,
    writer: Writer,
    open: Vec<Bytes>,
}

impl<F: Format> Pack<F> {
    /// The old one if it does what `conf` says, or another that goes on where it stopped.
    async fn ready(
        old: Option<Self>,
        shared: &Arc<Channels<F>>,
        tasks: &Tasks,
        stream: &StreamId,
        conf: F::Conf,
        url: String,
    ) -> Result<Self, path::Error> {
        let old = match old {
            Some(pack) if pack.url == url && F::goes_on_under(&pack.conf, &conf) => {
                return Ok(Self { conf, ..pack });
            }
            old => old,
        };
        let name =
            StreamName { vhost: stream.vhost.clone(), app: stream.app.clone(), stream: stream.name.clone() };
        let mut pack = Self {
            packager: F::new(&conf, name)?,
            show: Arc::new(Show { stream: stream.clone(), kind: F::VIEWERS, bandwidth: 0.into() }),
            section: shared.shelf.section(&stream.vhost),
            former: None,
            writer: Writer::start(
                &shared.disk,
                tasks,
                format!("{} stream {stream}", F::NAME),
                &shared.figures.failures,
            ),
            shared: shared.clone(),
            stream: stream.clone(),
            open: Vec::new(),
            conf,
            url,
        };
        match old {
            Some(old) => pack.succeed(old).await,
            None => pack.resume().await,
        }
        Ok(pack)
    }

    /// Goes on where a pack under another configuration stopped.
    async fn succeed(&mut self, mut old: Self) {
        old.writer.finish().await;
        let same_place = old.url == self.url
            && old.packager.index_path() == self.packager.index_path()
            && F::rules(&old.conf).path == F::rules(&self.conf).path;
        if same_place && old.packager.index().is_some_and(|index| self.packager.resume(&index)) {
            std::mem::swap(&mut self.section, &mut old.section);
        } else {
            self.former = Some(old.section);
        }
    }

    /// Goes on where a former process stopped, or a former task of this one.
    async fn resume(&mut self) {
        let path = self.packager.index_path().to_owned();
        let read = self.shared.disk.run(move || read(&path));
        let read = tokio::time::timeout(DISK, read).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        let index = match read {
            Ok(index) => index,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => return warn!("{self}: {}: {e}; begins anew", self.packager.index_path()),
        };
        if !self.packager.resume(&index) {
            return warn!("{self}: {} is none of ours; begins anew", self.packager.index_path());
        }
        info!("{self}: goes on with the segments of the last run");
        for path in self.packager.files() {
            let _ = self.put(&path, Body::Disk(Path::new(&path).into()));
        }
        let path = self.packager.index_path().to_owned();
        let _ = self.put(&path, Body::Memory(index.into()));
    }

    fn take(&mut self, tapped: Tapped) {
        match tapped {
            Tapped::Lagged { frames } => {
                error!("{self}: too slow, {frames} frames are in no segment");
                self.shared.figures.lost.inc_by(frames);
                self.packager.end(now());
            }
            Tapped::Frame(frame) => self.packager.push(&frame, now()),
        }
        self.carry_out();
    }

    fn end(&mut self) {
        self.packager.end(now());
        self.carry_out();
    }

    /// Deletes everything, if there is anything.
    fn dispose(&mut self) {
        if self.packager.index().is_some() {
            info!("{self}: files are deleted, as there is no input");
            self.packager.dispose();
            self.carry_out();
        }
    }

    /// Waits for the disk; files in memory go.
    async fn finish(self) {
        let Self { section, writer, .. } = self;
        drop(section);
        writer.finish().await;
    }

    /// Does what the packager says.
    fn carry_out(&mut self) {
        while let Some(action) = self.packager.poll_action() {
            self.apply(action);
        }
        self.packager.done();
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Create { .. } => self.open.clear(),
            Action::Append(bytes) => self.open.push(bytes),
            Action::Close(Close::Replace { to, .. }) => {
                let content = Bytes::from(std::mem::take(&mut self.open).concat());
                self.shared.figures.segments.inc();
                self.shared.figures.bytes.inc_by(content.len() as u64);
                self.keep(&to, content);
            }
            Action::Replace { path, content } => {
                self.keep(&path, content);
                if path == self.packager.index_path() {
                    self.former = None;
                }
            }
            Action::Remove { path } => {
                if let Some(url) = self.url(&path) {
                    self.section.remove(&url);
                }
                self.writer.push(Job::Remove { path });
            }
            Action::LeftOut(why) => warn!("{self}: not in it: {why}"),
            other => debug_assert!(false, "{other:?} is not of {}", F::NAME),
        }
    }

    /// Puts a file where it is served from, and in line for the disk.
    fn keep(&mut self, path: &str, content: Bytes) {
        self.writer.push(Job::Write { path: path.to_owned(), content: content.clone() });
        // If there is no room, it will be read from the disk.
        let kept = self.put(path, Body::Memory(content));
        if kept.or_else(|Full| self.put(path, Body::Disk(Path::new(path).into()))).is_err() {
            self.shared.figures.failures.inc();
            error!("{self}: {path}: {Full}");
        }
    }

    fn put(&mut self, path: &str, body: Body) -> Result<(), Full> {
        let Some(url) = self.url(path) else { return Ok(()) };
        let (content_type, caching) = F::kind(&self.conf, path);
        self.section.put(&url, File { content_type, caching, body, show: Some(self.show.clone()) })
    }

    /// Where a file is found over HTTP.
    fn url(&self, path: &str) -> Option<String> {
        let directory = F::rules(&self.conf).path;
        let below = path.strip_prefix(directory)?;
        let below = if directory.ends_with('/') { below } else { below.strip_prefix('/')? };
        Some([&self.url, below].concat())
    }
}

impl<F: Format> fmt::Display for Pack<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} stream {}", F::NAME, self.stream)
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(MAX_INDEX).read_to_end(&mut content)?;
    Ok(content)
}

/// Counts one less when it goes.
struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
