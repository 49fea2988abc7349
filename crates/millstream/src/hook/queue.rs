//! Events that nobody waits for: what has ended is told in order, and until it is heard.
//!
//! There is one line of events for each stream and callback server. Its head is called until the server
//! answers; then comes the next. So a stream's events arrive in order and at least once (an event whose answer
//! got lost comes again, with the same id), a server that is away loses nothing, and one server's trouble is
//! nobody else's.
//!
//! Whoever ends puts events in, from a `Drop` if need be: that takes a lock for an instant and never waits. One
//! task takes them out ([`Queue::run`]). It may be dropped at any time; what it was doing is still in line, and
//! [`Queue::flush`] goes on from there when the server ends.
//!
//! Bounded: all events by [`MAX_WAITING`] and those of one line by [`MAX_LINE`], their age by [`UNHEARD`] and
//! [`UNWANTED`], calls at a time by [`MAX_CALLS`]. What is given up is counted and logged as an error.
//! Everything comes in through `Queue::add` and goes out through `Queue::done`: a journal on disk would hang there.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::sync::{Notify, Semaphore, watch};
use tracing::{debug, error, info, warn};

use super::client::{Caller, Failure, Server, Shown};
use super::counters::Counters;

/// Memory for all waiting events, in bytes: some hundred thousand events.
const MAX_WAITING: usize = 64 << 20;

/// Memory for the waiting events of one stream and server, so that one stream cannot take all of it.
const MAX_LINE: usize = 16 << 20;

/// What an event takes beside its text.
const OVERHEAD: usize = 512;

/// Events are kept for so long while their server does not answer at all.
const UNHEARD: Duration = Duration::from_secs(3600);

/// An event is tried for so long while its server answers that it cannot (5xx): it may be the event.
const UNWANTED: Duration = Duration::from_secs(120);

/// Calls to one server at a time. More would only hit a server that has just come back.
const MAX_CALLS: usize = 16;

/// The pause after a first failure; it doubles up to the second.
const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// Of a flood of events that cannot be kept, each so many-th is logged.
const LOG_LOST_EVERY: u64 = 1000;

/// A stream and a callback server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    stream: Arc<str>,
    server: Server,
}

/// One event for one URL.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: Arc<str>,
    pub(super) action: &'static str,
    pub(super) url: Url,
    pub(super) body: Bytes,
    pub(super) timeout: Duration,
    /// It ends a publish: the next one is not told before.
    pub(super) ends_publish: bool,
    /// Who wants to know when it is through.
    pub(super) receipt: Option<Arc<Receipt>>,
}

/// Tells once that an event is through, whatever the number of its URLs. An event that is still in line when the
/// process ends is not through.
pub(super) struct Receipt {
    open: AtomicUsize,
    through: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Receipt {
    /// For an event of so many URLs, at least one.
    pub(super) fn new(urls: usize, through: Box<dyn FnOnce() + Send>) -> Self {
        Self { open: AtomicUsize::new(urls), through: Mutex::new(Some(through)) }
    }

    fn sign(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let through = self.through.lock().take();
            if let Some(through) = through {
                through();
            }
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

impl Item {
    fn cost(&self) -> usize {
        self.body.len() + self.url.as_str().len() + OVERHEAD
    }
}

/// How far a line has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Events that are through: answered, or given up.
    done: u64,
    /// Attempts that met nobody.
    silences: u64,
    /// Attempts that were answered with "not now".
    delays: u64,
}

#[derive(Debug)]
struct Line {
    /// With the times they came.
    items: VecDeque<(Instant, Arc<Item>)>,
    cost: usize,
    /// Events that have ever come.
    added: u64,
    /// `added` after the last one that ends a publish.
    publish: u64,
    progress: watch::Sender<Progress>,
    /// Somebody waits for this line: try again now.
    hurry: Arc<Notify>,
}

/// All lines of a server.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: HashMap<Key, Line>,
    /// Lines that nobody works on yet.
    idle: Vec<Key>,
    cost: usize,
    /// By server, as named in the configuration.
    servers: HashMap<Server, Arc<ServerState>>,
}

/// What all lines to one server share.
#[derive(Debug)]
struct ServerState {
    calls: Semaphore,
    /// Whether the last attempt met nobody; so that the log says once when a server goes and comes.
    away: Mutex<bool>,
}

/// Which events somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// All that are in line.
    All,
    /// Those up to the last end of a publish.
    Publish,
}

impl Queue {
    /// Puts an event at the end of the stream's line to its server.
    pub(super) fn add(&self, stream: &Arc<str>, item: Item, counters: &Counters) {
        let key = Key { stream: stream.clone(), server: Server::of(&item.url) };
        let cost = item.cost();
        let mut state = self.state.lock();
        let before = state.lines.get(&key).map(|line| line.cost);
        if state.cost + cost > MAX_WAITING || before.unwrap_or(0) + cost > MAX_LINE {
            drop(state);
            let lost = counters.lost(1);
            if lost % LOG_LOST_EVERY == 1 {
                error!("callback {} lost: too many are waiting for {}, lost={lost}", item.action, key.server);
            }
            return;
        }
        state.cost += cost;
        // A line that is there has somebody who works on it, even if it is empty for the moment.
        if before.is_none() {
            state.idle.push(key.clone());
        }
        let line = state.lines.entry(key).or_insert_with(|| Line {
            items: VecDeque::new(),
            cost: 0,
            added: 0,
            publish: 0,
            progress: watch::Sender::default(),
            hurry: Arc::default(),
        });
        line.cost += cost;
        line.added += 1;
        if item.ends_publish {
            line.publish = line.added;
        }
        line.items.push_back((Instant::now(), Arc::new(item)));
        counters.waits(1);
        drop(state);
        self.added.notify_one();
    }

    /// Waits until what the stream has in line to the server of `url` is through, hurrying it up.
    ///
    /// Gives [`Failure::Away`] when an attempt meets nobody. A wait that lasts longer than `patience`, or for an
    /// event that the server cannot take, ends well: better an event out of order than nobody on air.
    pub(super) async fn settle(
        &self,
        stream: &Arc<str>,
        url: &Url,
        wait: Wait,
        patience: Duration,
    ) -> Result<(), Failure> {
        let key = Key { stream: stream.clone(), server: Server::of(url) };
        let (target, start, mut progress) = {
            let state = self.state.lock();
            let Some(line) = state.lines.get(&key) else { return Ok(()) };
            let target = if wait == Wait::All { line.added } else { line.publish };
            if line.progress.borrow().done >= target {
                return Ok(());
            }
            line.hurry.notify_one();
            let start = *line.progress.borrow();
            (target, start, line.progress.subscribe())
        };
        let moved = |p: &Progress| p.done >= target || p.silences > start.silences || p.delays > start.delays;
        // The line goes when everything in it is through.
        let now = match tokio::time::timeout(patience, progress.wait_for(moved)).await {
            Ok(Ok(now)) => *now,
            Ok(Err(_)) => return Ok(()),
            Err(_) => start,
        };
        if now.done < target && now.silences > start.silences {
            return Err(Failure::Away);
        }
        if now.done < target {
            warn!("callbacks of {stream}: a new event overtakes those that still wait for {}", key.server);
        }
        Ok(())
    }

    /// Delivers until it is dropped.
    pub(super) async fn run(&self, caller: &Caller, counters: &Counters) {
        self.deliver(caller, counters, false).await;
    }

    /// Delivers what is left, for at most `patience`. Nobody else may be delivering.
    pub(super) async fn flush(&self, caller: &Caller, counters: &Counters, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.deliver(caller, counters, true)).await;
        let left: usize = self.state.lock().lines.values().map(|line| line.items.len()).sum();
        if left > 0 {
            counters.lost(left as u64);
            error!("{left} callbacks lost: their servers did not answer before the end");
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.lock();
        state.lines.is_empty() && state.cost == 0
    }

    async fn deliver(&self, caller: &Caller, counters: &Counters, until_empty: bool) {
        let mut working = FuturesUnordered::new();
        {
            let mut state = self.state.lock();
            state.idle = state.lines.keys().cloned().collect();
        }
        loop {
            let idle = std::mem::take(&mut self.state.lock().idle);
            working.extend(idle.into_iter().map(|key| self.work(key, caller, counters)));
            if until_empty && working.is_empty() {
                return;
            }
            tokio::select! {
                () = self.added.notified() => {}
                Some(()) = working.next(), if !working.is_empty() => {}
            }
        }
    }

    /// Works on one line until it is empty.
    async fn work(&self, key: Key, caller: &Caller, counters: &Counters) {
        let mut backoff = BACKOFF[0];
        while let Some((since, item, hurry, server)) = self.head(&key) {
            let begun;
            let called = {
                let _permit = server.calls.acquire().await;
                begun = Instant::now();
                // In a box: a call is large, and a line may have to wait for long.
                Box::pin(caller.call(&item.url, &item.id, item.body.clone(), item.timeout)).await
            };
            counters.called(begun.elapsed(), &called);
            self.note(&key.server, &server, &called);
            let again = match &called {
                Err(failure) if failure.is_silence() => since.elapsed() < UNHEARD,
                Err(failure) if failure.is_passing() => since.elapsed() < UNWANTED,
                _ => false,
            };
            if again {
                counters.retries();
                let silence = called.is_err_and(|failure| failure.is_silence());
                self.update(&key, |progress| match silence {
                    true => progress.silences += 1,
                    false => progress.delays += 1,
                });
                let _ = tokio::time::timeout(backoff, hurry.notified()).await;
                backoff = (backoff * 2).min(BACKOFF[1]);
                continue;
            }
            backoff = BACKOFF[0];
            match called {
                Ok(()) => debug!("callback {} to {}", item.action, Shown(&item.url)),
                Err(failure) if failure.is_passing() => {
                    let lost = counters.lost(1);
                    error!(
                        "callback {} to {} given up: {failure}, lost={lost}",
                        item.action,
                        Shown(&item.url)
                    );
                }
                // Heard, and not liked: that is all there is to an end.
                Err(failure) => super::report(item.action, &Shown(&item.url), &failure),
            }
            self.done(&key, &item, counters);
        }
    }

    /// The first event of a line; ends a line without any.
    #[expect(clippy::type_complexity, reason = "taken apart at once, at the one place that calls it")]
    fn head(&self, key: &Key) -> Option<(Instant, Arc<Item>, Arc<Notify>, Arc<ServerState>)> {
        let mut state = self.state.lock();
        let line = state.lines.get(key)?;
        let Some((since, item)) = line.items.front().cloned() else {
            state.lines.remove(key);
            return None;
        };
        let hurry = line.hurry.clone();
        let server = state.servers.entry(key.server.clone()).or_insert_with(|| {
            Arc::new(ServerState { calls: Semaphore::new(MAX_CALLS), away: Mutex::default() })
        });
        Some((since, item, hurry, server.clone()))
    }

    /// Takes the first event out of its line.
    fn done(&self, key: &Key, item: &Item, counters: &Counters) {
        let mut state = self.state.lock();
        state.cost -= item.cost();
        if let Some(line) = state.lines.get_mut(key) {
            line.cost -= item.cost();
            line.items.pop_front();
        }
        drop(state);
        if let Some(receipt) = &item.receipt {
            receipt.sign();
        }
        counters.done();
        self.update(key, |progress| progress.done += 1);
    }

    fn update(&self, key: &Key, change: impl FnOnce(&mut Progress)) {
        let state = self.state.lock();
        if let Some(line) = state.lines.get(key) {
            line.progress.send_modify(change);
        }
    }

    /// Says when a server goes away and when it is back.
    fn note(&self, server: &Server, state: &ServerState, called: &Result<(), Failure>) {
        let mut away = state.away.lock();
        match called {
            Err(failure) if failure.is_silence() => {
                if !std::mem::replace(&mut *away, true) {
                    error!("callback server {server} is away, events wait for it: {failure}");
                }
            }
            _ => {
                if std::mem::take(&mut *away) {
                    info!("callback server {server} is back");
                }
            }
        }
    }
}
