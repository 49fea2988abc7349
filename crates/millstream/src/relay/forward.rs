//! Forwards: copies of a published stream for other servers, a task per destination.
//!
//! ```text
//! tap ──► task ──► Outgoing ──► the other server
//!          ▲  └── lost or refused: a pause, then another connection and another tap
//! ```
//!
//! A connection begins with metadata, decoder configurations and the running GOP, so that viewers over there have a
//! picture at once. The tap is taken when the server has said yes and read in small pieces: what a slow server does
//! not take yet stands in line there, and is left out up to the next keyframe when there is too much of it. The
//! publisher and other destinations never notice.
//!
//! The task owns connection and tap. A server that vanishes is tried again for as long as the stream is published;
//! whoever publishes ends all of it, and a reload ends single ones: both by dropping [`Running`]. Then what is in
//! line is sent, for as long as [`Outgoing::close`] allows.
//!
//! Bounded: what waits as [`super::feed`] says, attempts by [`Backoff`],
//! destinations of a backend by [`MAX_DESTINATIONS`], circles by [`Via`](super::via::Via).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::{self, DEFAULT_VHOST, Destination, Vhost};
use mill_hub::{StreamId, TapOptions};
use mill_media::amf0::Object;
use mill_rtmp::url;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::client::{self, Outgoing};
use super::dial::Dialer;
use super::edge::origins::Origins;
use super::feed::{Meter, feed, waiting};
use super::target::{Server, Target};
use super::uplink::{Agreed, Uplink};
use super::via;
use crate::attach::Source;
use crate::clients::Peer;
use crate::hook::{Hooks, Subject};
use crate::identity::Identity;
use crate::log::Redacted;
use crate::metrics::Metrics;
use crate::tasks::Tasks;

/// Destinations that are taken from a backend's answer.
const MAX_DESTINATIONS: usize = 32;

/// A connection that has lasted so long was a good one: if it breaks, the next is tried soon.
const GOOD: Duration = Duration::from_secs(10);

/// What a server says of its reasons is shown up to here, in bytes.
const MAX_REASON: usize = 256;

/// What all forwards of a server share.
pub(crate) struct Forwards {
    pub(super) dialer: Arc<Dialer>,
    /// Those of edges.
    pub(super) origins: Arc<Origins>,
    hooks: Arc<Hooks>,
    identity: Arc<Identity>,
    /// A number of this start that no other has.
    run: u64,
    figures: Figures,
}

/// For Prometheus.
#[derive(Default, Clone)]
struct Figures {
    running: Gauge,
    sending: Gauge,
    failures: Counter,
    bytes: Counter,
    lost: Counter,
}

impl Forwards {
    pub(crate) fn new(
        dialer: Arc<Dialer>,
        origins: Arc<Origins>,
        hooks: Arc<Hooks>,
        identity: Arc<Identity>,
        run: u64,
        metrics: &Metrics,
    ) -> Self {
        let figures = Figures::default();
        metrics.register(
            "millstream_forwards",
            "Destinations that streams are to be sent to",
            figures.running.clone(),
        );
        metrics.register(
            "millstream_forwards_sending",
            "Destinations that streams are sent to now",
            figures.sending.clone(),
        );
        metrics.register(
            "millstream_forward_failures",
            "Connections to destinations that failed, were refused or broke",
            figures.failures.clone(),
        );
        metrics.register("millstream_forward_bytes", "Bytes sent to destinations", figures.bytes.clone());
        metrics.register(
            "millstream_forward_lost_frames",
            "Frames left out because a destination was too slow",
            figures.lost.clone(),
        );
        Self { dialer, origins, hooks, identity, run, figures }
    }

    /// The mark of a stream's vhost, on the way of what it has sent on.
    pub(crate) fn mark(&self, stream: &StreamId) -> String {
        via::mark(self.run, &stream.vhost)
    }

    /// Asks the vhost's backend where a stream goes; nothing if it has none.
    ///
    /// # Errors
    /// SRS's number for what went wrong: the stream must not be published.
    pub(crate) async fn ask(&self, vhost: &Vhost, subject: &Subject<'_>) -> Result<Option<Answer>, u32> {
        let conf = &vhost.forward;
        if !conf.enabled || conf.backend.is_empty() {
            return Ok(None);
        }
        let urls =
            self.hooks.forward(vhost, subject, &self.identity).await.map_err(|failure| failure.code())?;
        if urls.len() > MAX_DESTINATIONS {
            warn!("forward: the backend names {} destinations, only {MAX_DESTINATIONS} are used", urls.len());
        }
        let mut destinations = Vec::new();
        for url in urls.iter().take(MAX_DESTINATIONS) {
            let destination = Destination::parse(url).map_err(|e| {
                warn!("forward: the backend names {}, which is no destination: {e}", Redacted(url));
                UNUSABLE
            })?;
            destinations.push(destination);
        }
        Ok(Some(Answer { backend: conf.backend.clone(), destinations }))
    }
}

/// SRS's number for a URL of a backend that cannot be used.
const UNUSABLE: u32 = 1030;

/// What a backend said of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Who said it.
    pub(crate) backend: String,
    pub(crate) destinations: Vec<Destination>,
}

/// A backend that a reload has brought is being asked; dropping it gives up.
pub(crate) struct Asking {
    pub(crate) backend: String,
    _stop: oneshot::Sender<()>,
}

impl Asking {
    /// Asks until there is an answer, and hands it on.
    pub(crate) fn start(
        shared: &Arc<Forwards>,
        tasks: &Tasks,
        source: &Arc<Source>,
        vhost: &Arc<Vhost>,
        answered: impl FnOnce(Answer) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (shared, source, conf) = (shared.clone(), source.clone(), vhost.clone());
        let id = tasks.next_id();
        let ask = async move {
            let mut backoff = Backoff::new(id);
            loop {
                let subject = Subject { peer: &source.peer, stream: source.stream(), param: &source.param };
                match shared.ask(&conf, &subject).await {
                    Ok(answer) => return answer.map(answered),
                    // A backend has more to do than a server that was restarted.
                    Err(_) => tokio::time::sleep(backoff.pause() * 10).await,
                }
            }
        };
        tasks.spawn(id, async move {
            tokio::select! {
                _ = ask => {}
                _ = stopped => {}
            }
        });
        Self { backend: vhost.forward.backend.clone(), _stop: stop }
    }
}

/// How a forward stands.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    /// Where to, without secrets.
    pub(crate) url: String,
    pub(crate) state: State,
    /// Connections that were accepted.
    pub(crate) connections: u64,
    /// Bytes sent over all of them.
    pub(crate) sent: u64,
    /// Frames left out because the server was too slow.
    pub(crate) lost: u64,
    /// Why the last connection failed or broke; empty while all is well.
    pub(crate) error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Sending,
    /// For the next attempt.
    Waiting,
    /// No origin has taken it for too long: the publisher is to be sent away.
    Lost,
}

impl State {
    /// In the API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::Lost => "lost",
        }
    }
}

/// A forward that runs; dropping it ends it.
pub(crate) struct Running {
    /// `None`: to the origins of an edge.
    destination: Option<Destination>,
    ca: PathBuf,
    status: Arc<Mutex<Status>>,
    _stop: oneshot::Sender<()>,
}

impl Running {
    /// `None` if there is no way to send the stream there.
    pub(crate) fn start(
        shared: &Arc<Forwards>,
        tasks: &Tasks,
        source: &Arc<Source>,
        vhost: &Vhost,
        destination: &Destination,
    ) -> Option<Self> {
        let stream = source.stream();
        let mark = shared.mark(stream);
        if !source.via.allows(&mark) {
            warn!("forward stream {stream}: it has come through this vhost before, so it is not sent on");
            return None;
        }
        let target = match target(destination, source) {
            Ok(target) => target,
            Err(e) => {
                warn!("forward stream {stream}: no destination: {e}");
                return None;
            }
        };
        let url = shown(destination, &target);
        let id = tasks.next_id();
        let mut args = super::introduction(vhost.cluster.debug_srs_upnode, id);
        source.via.tell(&mark, &mut args);
        let running =
            Self::spawn(shared, tasks, id, source, vhost, Way::To(target), url, options(vhost, args));
        Some(Self { destination: Some(destination.clone()), ..running })
    }

    /// Goes on with what an origin has agreed to take.
    pub(crate) fn up(
        shared: &Arc<Forwards>,
        tasks: &Tasks,
        source: &Arc<Source>,
        vhost: &Vhost,
        agreed: Agreed,
    ) -> Self {
        let Agreed { uplink, options } = agreed;
        let url = uplink.to_string();
        Self::spawn(shared, tasks, tasks.next_id(), source, vhost, Way::Up(uplink), url, options)
    }

    #[expect(clippy::too_many_arguments, reason = "what both kinds have in common")]
    fn spawn(
        shared: &Arc<Forwards>,
        tasks: &Tasks,
        id: u64,
        source: &Arc<Source>,
        vhost: &Vhost,
        way: Way,
        url: String,
        options: client::Options,
    ) -> Self {
        let status = Arc::new(Mutex::new(Status {
            url: url.clone(),
            state: State::Connecting,
            connections: 0,
            sent: 0,
            lost: 0,
            error: String::new(),
        }));
        let (stop, stopped) = oneshot::channel();
        let task = Task {
            shared: shared.clone(),
            source: source.clone(),
            way,
            url,
            options,
            waiting: waiting(vhost),
            status: status.clone(),
            backoff: Backoff::new(id),
        };
        tasks.spawn(id, task.run(stopped));
        Self { destination: None, ca: vhost.forward.ca.clone(), status, _stop: stop }
    }

    /// Whether it sends there.
    pub(crate) fn goes_to(&self, destination: &Destination) -> bool {
        self.destination.as_ref() == Some(destination)
    }

    /// Whether it goes on as it is under this configuration.
    pub(crate) fn goes_on_under(&self, conf: &model::Forward, wanted: &[Destination]) -> bool {
        let destination = self.destination.as_ref();
        destination.is_some_and(|to| wanted.contains(to) && (!to.tls || self.ca == conf.ca))
    }

    /// Which publishers may ask at any time: whether the origins are lost.
    pub(crate) fn watched(&self) -> Watched {
        Watched(self.status.clone())
    }

    pub(crate) fn status(&self) -> Status {
        self.status.lock().clone()
    }
}

/// A look at the origin's end of a publish.
#[derive(Debug, Clone)]
pub(crate) struct Watched(Arc<Mutex<Status>>);

impl Watched {
    /// No origin has taken the stream for too long.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.lock().state == State::Lost
    }
}

fn options(vhost: &Vhost, args: Object) -> client::Options {
    client::Options {
        chunk_size: vhost.chunk_size,
        args: Some(args),
        ca: vhost.forward.ca.clone(),
        ..client::Options::default()
    }
}

/// Where a stream goes: names that the destination leaves out are its own.
fn target(destination: &Destination, source: &Source) -> Result<Target, mill_rtmp::Error> {
    let Destination { tls, host, port, app, stream } = destination;
    let server = Server { host: host.clone(), port: *port, tls: *tls };
    let own = source.stream();
    let Some(app) = app else {
        let vhost = called_vhost(own, &source.peer);
        return Ok(Target::new(server, &vhost, &own.app, &own.name, &source.param));
    };
    let named = |template: &str| {
        template.replace("[vhost]", &own.vhost).replace("[app]", &own.app).replace("[stream]", &own.name)
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let tc_url = format!("rtmp://{host}:{port}/{}", named(app));
    let stream = match stream {
        Some(stream) => named(stream),
        None => format!("{}{}", own.name, url::without_vhost(&source.param)),
    };
    let asked = url::resolve(&tc_url, &stream)?;
    let vhost = if asked.vhost == asked.host { DEFAULT_VHOST } else { &*asked.vhost };
    Ok(Target::new(server, vhost, &asked.app, &asked.stream, &asked.param))
}

/// The vhost that is told: for the default one the name its publisher has called, if that was a name.
pub(super) fn called_vhost(stream: &StreamId, peer: &Peer) -> String {
    let called = url::resolve(&peer.tc_url, "").map(|asked| asked.vhost).unwrap_or_default();
    let address =
        |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() || host.is_empty();
    if stream.vhost == DEFAULT_VHOST && !address(&called) { called } else { stream.vhost.clone() }
}

/// A destination for people. A stream name that is not made of the stream's own may be a key of somebody's account.
fn shown(destination: &Destination, target: &Target) -> String {
    let url = target.to_string();
    match &destination.stream {
        Some(stream) if !stream.contains("[stream]") => match url.rfind('/') {
            Some(slash) => format!("{}/***", &url[..slash]),
            None => url,
        },
        _ => url,
    }
}

/// The task of one forward.
struct Task {
    shared: Arc<Forwards>,
    source: Arc<Source>,
    way: Way,
    /// For people.
    url: String,
    options: client::Options,
    waiting: TapOptions,
    status: Arc<Mutex<Status>>,
    backoff: Backoff,
}

/// Where a stream goes.
enum Way {
    To(Target),
    /// To one of the origins of an edge; the publisher must not go on for long without.
    Up(Box<Uplink>),
}

impl Task {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let _counted = Counted::new(&self.shared.figures.running);
        while let Err(e) = self.send(&mut stop).await {
            let pause = self.failed(&e);
            if let Way::Up(uplink) = &self.way
                && uplink.gives_up(Instant::now())
            {
                self.status.lock().state = State::Lost;
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = &mut stop => break,
            }
        }
        let Status { sent, lost, .. } = *self.status.lock();
        info!("forward of {} to {} ended, sent={sent}, lost={lost}", self.source.stream(), self.url);
    }

    /// Connects and sends until the stream ends or somebody says stop.
    async fn send(&mut self, stop: &mut oneshot::Receiver<()>) -> Result<(), client::Error> {
        self.status.lock().state = State::Connecting;
        let opened = async {
            match &mut self.way {
                Way::To(target) => Outgoing::open(&self.shared.dialer, target, &self.options).await,
                Way::Up(uplink) => uplink.open(&self.shared.dialer, &self.options).await,
            }
        };
        let mut out = tokio::select! {
            // In a box: it is large, and this is part of the task for as long as it sends.
            opened = Box::pin(opened) => opened?,
            _ = &mut *stop => return Ok(()),
        };
        let Some(mut tap) = self.source.outlet.live_tap(self.waiting.clone()) else {
            out.close().await;
            return Ok(());
        };
        if let Way::Up(uplink) = &self.way {
            self.url = uplink.to_string();
        }
        let _counted = self.connected();
        let begun = Instant::now();
        let ended = feed(&mut tap, &mut out, stop, &*self).await;
        if begun.elapsed() >= GOOD {
            self.backoff.reset();
        }
        if let (Way::Up(uplink), Err(_)) = (&mut self.way, &ended) {
            uplink.broke(Instant::now());
        }
        ended?;
        out.close().await;
        Ok(())
    }

    fn connected(&self) -> Counted {
        let mut status = self.status.lock();
        status.state = State::Sending;
        status.connections += 1;
        status.url.clone_from(&self.url);
        status.error.clear();
        info!("forward publish url {}, stream={}", self.url, self.source.stream());
        Counted::new(&self.shared.figures.sending)
    }

    /// Notes why it is not sending; gives how long to wait.
    fn failed(&mut self, error: &client::Error) -> Duration {
        self.shared.figures.failures.inc();
        let pause = self.backoff.pause();
        let mut reason = error.to_string();
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        let (stream, code) = (self.source.stream(), error.code());
        let mut status = self.status.lock();
        status.state = State::Waiting;
        if status.error == reason {
            debug!("forward of {stream} to {}: code={code} : {reason}; again in {pause:?}", self.url);
        } else {
            warn!("forward of {stream} to {}: code={code} : {reason}; tried again until it works", self.url);
            status.error = reason;
        }
        pause
    }
}

impl Meter for Task {
    fn sent(&self, bytes: u64) {
        self.shared.figures.bytes.inc_by(bytes);
        self.status.lock().sent += bytes;
    }

    fn lost(&self, frames: u64) {
        self.shared.figures.lost.inc_by(frames);
        self.status.lock().lost += frames;
        let stream = self.source.stream();
        warn!("forward of {stream} to {}: too slow, {frames} frames are left out", self.url);
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
