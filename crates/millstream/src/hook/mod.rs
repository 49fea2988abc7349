//! Callbacks: an operator's web server decides who may connect, publish and play, and hears when they end.
//!
//! What begins is asked in the task of the peer who wants it ([`Hooks::ask`], [`Hooks::begin`]): all URLs in
//! order, the first no decides. What ends is put in line ([`queue`]) and told until it is heard. The two meet in
//! two places. Whoever begins gets a [`Farewell`], whose drop puts the end in line: so it is told exactly when
//! the beginning may have been heard, however the session ends. And a publish is asked only after the end of
//! the one before it was told.
//!
//! A session tells the events of the vhost as configured when it began, so that whoever heard the beginning
//! hears the end.

mod client;
mod counters;
mod event;
mod queue;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mill_config::model::Vhost;
use mill_hub::StreamId;
use reqwest::Url;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

pub(crate) use client::Failure;
pub(crate) use counters::Stats;
pub(crate) use event::{Action, Recording, Segmented, Subject};

use crate::clients::Peer;
use crate::identity::Identity;
use crate::metrics::Histogram;
use crate::tasks::Tasks;
use client::{Caller, Shown};
use counters::Counters;
use queue::{Item, Queue, Receipt, Wait};

/// A GET that nobody waits for, by the name of its directive.
const NOTIFY: &str = "on_hls_notify";

/// How long such a GET may take: SRS's number.
const FETCH: Duration = Duration::from_secs(10);

/// And how many run at a time.
const MAX_FETCHES: usize = 64;

/// The callbacks of one server.
#[derive(Debug)]
pub(crate) struct Hooks {
    caller: Caller,
    queue: Queue,
    counters: Counters,
    /// Together with a number it makes ids that no other run has given.
    run: u64,
    events: AtomicU64,
    fetches: Arc<Semaphore>,
}

impl Hooks {
    /// `run` must differ from run to run.
    pub(crate) fn new(run: u64) -> Arc<Self> {
        Arc::new(Self {
            caller: Caller::default(),
            queue: Queue::default(),
            counters: Counters::default(),
            run,
            events: AtomicU64::new(0),
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
        })
    }

    /// Delivers what is put in line, until it is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.queue.run(&self.caller, &self.counters).await;
    }

    /// Delivers what is still in line when everything has ended, for at most `patience`.
    pub(crate) async fn flush(&self, patience: Duration) {
        self.queue.flush(&self.caller, &self.counters, patience).await;
    }

    /// How long calls take, in seconds.
    pub(crate) fn latency(&self) -> Histogram {
        self.counters.latency()
    }

    /// How it is going.
    pub(crate) fn stats(&self) -> Stats {
        self.counters.stats()
    }

    /// Asks whether `subject` may do what `action` says. Without URLs everybody may.
    pub(crate) async fn ask(
        &self,
        vhost: &Vhost,
        action: Action,
        subject: &Subject<'_>,
    ) -> Result<(), Failure> {
        let conf = &vhost.http_hooks;
        if action.urls(conf).is_empty() {
            return Ok(());
        }
        let (id, body) = (self.event_id(), subject.body(action));
        for url in client::urls(action, conf) {
            let url = url.ok_or(Failure::Url)?;
            self.call(action, &url, &id, body.clone(), conf.timeout).await?;
        }
        Ok(())
    }

    /// Asks the backend of the vhost's forwards where a stream is to be sent.
    pub(crate) async fn forward(
        &self,
        vhost: &Vhost,
        subject: &Subject<'_>,
        identity: &Identity,
    ) -> Result<Vec<String>, Failure> {
        let url = Url::parse(&vhost.forward.backend).map_err(|_| Failure::Url)?;
        let (begun, id, body) = (Instant::now(), self.event_id(), subject.forward_body(identity));
        let answer = self.caller.fetch(&url, &id, body, vhost.http_hooks.timeout).await;
        let urls = answer.and_then(|body| client::urls_in(&body));
        self.counters.called(begun.elapsed(), &urls.as_ref().map(|_| ()).map_err(Failure::clone));
        match &urls {
            Ok(urls) => debug!("callback on_forward to {}: {} destinations", Shown(&url), urls.len()),
            Err(failure) => report("on_forward", &url, failure),
        }
        urls
    }

    /// The same for what has an end, which is told when the guard is dropped: if the server said yes, and if
    /// nobody knows what it said. `None` if nobody wants to hear of the end.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        vhost: &Arc<Vhost>,
        action: Action,
        subject: &Subject<'_>,
    ) -> Result<Option<Farewell>, Failure> {
        if action == Action::Publish {
            self.settle_publish(vhost, subject.stream).await?;
        }
        let mut farewell = self.farewell(vhost, action, subject);
        let called = self.ask(vhost, action, subject).await;
        if let (Err(failure), Some(farewell)) = (&called, &mut farewell)
            && !failure.is_unsure()
        {
            farewell.cancel();
        }
        called.map(|()| farewell)
    }

    fn farewell(
        self: &Arc<Self>,
        vhost: &Arc<Vhost>,
        action: Action,
        subject: &Subject<'_>,
    ) -> Option<Farewell> {
        let action = action.end();
        if action.urls(&vhost.http_hooks).is_empty() {
            return None;
        }
        let body = subject.body(action);
        let told =
            Told { hooks: self.clone(), vhost: vhost.clone(), action, line: line(subject.stream), body };
        Some(Farewell(Some(Box::new(told))))
    }

    /// Waits, within the vhost's `timeout`, until what `stream` has in line is told; for a peer that has just
    /// left that stream and asks for something else.
    pub(crate) async fn settle(&self, vhost: &Vhost, stream: &StreamId) {
        let (conf, stream) = (&vhost.http_hooks, line(stream));
        for action in [Action::Unpublish, Action::Stop] {
            for url in client::urls(action, conf).flatten() {
                let _ = self.queue.settle(&stream, &url, Wait::All, conf.timeout).await;
            }
        }
    }

    /// Waits until the end of the stream's last publish is told to those who are to be asked about the next.
    async fn settle_publish(&self, vhost: &Vhost, stream: &StreamId) -> Result<(), Failure> {
        let (conf, line) = (&vhost.http_hooks, line(stream));
        for url in client::urls(Action::Publish, conf).flatten() {
            let settled = self.queue.settle(&line, &url, Wait::Publish, conf.timeout).await;
            settled.inspect_err(|failure| report(Action::Publish.name(), &Shown(&url), failure))?;
        }
        Ok(())
    }

    async fn call(
        &self,
        action: Action,
        url: &Url,
        id: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let called = self.caller.call(url, id, body, timeout).await;
        self.counters.called(begun.elapsed(), &called);
        match &called {
            Ok(()) => debug!("callback {} to {}", action.name(), Shown(url)),
            Err(failure) => report(action.name(), &Shown(url), failure),
        }
        called
    }

    /// Puts an event in line for each of its URLs.
    fn tell(&self, vhost: &Vhost, action: Action, line: &Arc<str>, body: &Bytes) {
        self.tell_as(self.event_id().into(), vhost, action, line, body, None);
    }

    /// Tells of a recording in line with the rest of its stream, under the id it was given when it began, so
    /// that whoever hears of it twice, over a crash, can tell. `through` is called when all have heard of it,
    /// at once if nobody wants to.
    pub(crate) fn recorded(
        &self,
        vhost: Option<&Vhost>,
        recording: &Recording,
        through: Box<dyn FnOnce() + Send>,
    ) {
        let urls = vhost.map_or(0, |vhost| client::urls(Action::Dvr, &vhost.http_hooks).flatten().count());
        let Some(vhost) = vhost.filter(|_| urls > 0) else { return through() };
        let (id, line, body) = (recording.event.as_str().into(), line(&recording.stream), recording.body());
        self.tell_as(id, vhost, Action::Dvr, &line, &body, Some(Arc::new(Receipt::new(urls, through))));
    }

    /// Tells of a segment, in line with the rest of its stream, and has caches fetch it.
    pub(crate) fn segmented(self: &Arc<Self>, vhost: &Vhost, segment: &Segmented, tasks: &Tasks) {
        self.tell(vhost, Action::Hls, &line(&segment.stream), &segment.body());
        let conf = &vhost.http_hooks;
        for template in conf.on_hls_notify.iter().filter(|_| conf.enabled) {
            let Ok(url) = Url::parse(&segment.notified(template)) else {
                report(NOTIFY, &template, &Failure::Url);
                continue;
            };
            let Ok(permit) = self.fetches.clone().try_acquire_owned() else {
                warn!("client callback {NOTIFY} left out: {MAX_FETCHES} are running, url={}", Shown(&url));
                continue;
            };
            let (hooks, most) = (self.clone(), vhost.hls.nb_notify as usize);
            tasks.spawn(tasks.next_id(), async move {
                let _permit = permit;
                match hooks.caller.get(&url, most, FETCH).await {
                    Ok(()) => debug!("callback {NOTIFY} to {}", Shown(&url)),
                    Err(failure) => report(NOTIFY, &Shown(&url), &failure),
                }
            });
        }
    }

    fn tell_as(
        &self,
        id: Arc<str>,
        vhost: &Vhost,
        action: Action,
        line: &Arc<str>,
        body: &Bytes,
        receipt: Option<Arc<Receipt>>,
    ) {
        let conf = &vhost.http_hooks;
        for url in client::urls(action, conf).flatten() {
            let item = Item {
                id: id.clone(),
                action: action.name(),
                url,
                body: body.clone(),
                timeout: conf.timeout,
                ends_publish: action == Action::Unpublish,
                receipt: receipt.clone(),
            };
            self.queue.add(line, item, &self.counters);
        }
    }

    /// An id that no other event has, in no run.
    pub(crate) fn event_id(&self) -> String {
        format!("{:016x}-{}", self.run, self.events.fetch_add(1, Ordering::Relaxed))
    }
}

/// A stream's name in the queue.
fn line(stream: &StreamId) -> Arc<str> {
    stream.to_string().into()
}

/// Says that a callback server did not say yes, in the words SRS's users look for.
fn report(action: &str, url: &dyn fmt::Display, failure: &Failure) {
    warn!("client callback {action} failed, url={url}, code={} : {failure}", failure.code());
}

/// Tells the end of a publish or play when it is dropped.
#[derive(Debug)]
pub(crate) struct Farewell(Option<Box<Told>>);

#[derive(Debug)]
struct Told {
    hooks: Arc<Hooks>,
    vhost: Arc<Vhost>,
    action: Action,
    line: Arc<str>,
    body: Bytes,
}

impl Farewell {
    /// Nothing has begun, so nothing ends.
    pub(crate) fn cancel(&mut self) {
        self.0 = None;
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told.hooks.tell(&told.vhost, told.action, &told.line, &told.body);
        }
    }
}

/// Tells when a connection closes: the value lives as long as the connection, and longer than whatever
/// publishes or plays on it.
#[derive(Debug)]
pub(crate) struct Goodbye {
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) peer: Peer,
    pub(crate) vhost: Arc<Vhost>,
    /// The last stream it was about; without a name if it never was about one.
    pub(crate) stream: StreamId,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        if Action::Close.urls(&self.vhost.http_hooks).is_empty() {
            return;
        }
        let subject = Subject { peer: &self.peer, stream: &self.stream, param: "" };
        // A connection that never named a stream has a line of its own.
        let line = match self.stream.name.as_str() {
            "" => format!("client {}", self.peer.id).into(),
            _ => line(&self.stream),
        };
        self.hooks.tell(&self.vhost, Action::Close, &line, &subject.body(Action::Close));
    }
}

#[cfg(test)]
mod tests;
