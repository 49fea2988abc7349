//! Which origin is asked first, and how they are.
//!
//! A pull has a [`Roster`] of its own: every origin of its vhost, with the time at which it may be asked (again). The
//! first comes at once, each other one [`STAGGER`] later or as soon as one before it has failed; one that failed
//! comes again after a pause that grows. What is known of an origin's connections is shared by all pulls: who could
//! not be reached lately comes last. Bounded by the origins configured.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mill_config::model::{Cluster, Order, Protocol};
use mill_hub::StreamId;
use parking_lot::Mutex;
use tracing::error;

use super::super::backoff::Backoff;
use super::super::target::Server;

/// Head start of an origin before the next one is asked too. An origin that has the stream answers in a few
/// milliseconds and the time to it; one that is silent must not cost a viewer three seconds.
pub(super) const STAGGER: Duration = Duration::from_millis(700);

/// How long an origin that could not be reached comes last.
const DOWN: Duration = Duration::from_secs(10);

/// Origins known to be unreachable; more are not remembered. Lists have some dozens.
const MAX_DOWN: usize = 1000;

/// What all pulls know, and publishers of edges.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    next: AtomicUsize,
    /// Until when they come last.
    down: Mutex<HashMap<Server, Instant>>,
}

impl Origins {
    /// The origins of a vhost in the order in which a stream asks them.
    pub(super) fn roster(&self, conf: &Cluster, protocol: Protocol, stream: &StreamId) -> Roster {
        Roster::new(self.in_order(conf, protocol, stream), Instant::now())
    }

    /// The same, for who asks one after the other.
    pub(crate) fn in_order(&self, conf: &Cluster, protocol: Protocol, stream: &StreamId) -> Vec<Server> {
        let mut servers: Vec<Server> = Vec::new();
        for text in &conf.origins {
            match parse(text, protocol) {
                Ok(server) if servers.contains(&server) => {}
                Ok(server) => servers.push(server),
                Err(e) => error!("edge: origin {text}: {e}"),
            }
        }
        match conf.order {
            Order::RoundRobin if !servers.is_empty() => {
                let first = self.next.fetch_add(1, Ordering::Relaxed) % servers.len();
                servers.rotate_left(first);
            }
            Order::RoundRobin => {}
            // The highest of a stream's own numbers for them: an origin that goes takes only its own streams along.
            Order::Hash => servers.sort_by_cached_key(|server| std::cmp::Reverse(weight(stream, server))),
        }
        let now = Instant::now();
        let down = self.down.lock();
        servers.sort_by_key(|server| down.get(server).is_some_and(|until| *until > now));
        drop(down);
        servers
    }

    /// An origin could not be reached.
    pub(crate) fn lost(&self, server: &Server) {
        let now = Instant::now();
        let mut down = self.down.lock();
        if down.len() >= MAX_DOWN {
            down.retain(|_, until| *until > now);
        }
        if down.len() < MAX_DOWN {
            down.insert(server.clone(), now + DOWN);
        }
    }

    /// An origin has answered.
    pub(crate) fn found(&self, server: &Server) {
        self.down.lock().remove(server);
    }
}

/// Reads an item of the list.
pub(super) fn parse(text: &str, protocol: Protocol) -> Result<Server, mill_rtmp::Error> {
    match protocol {
        Protocol::Rtmp => Server::parse(text),
        Protocol::Flv => Server::parse_with_port(text, 80),
        Protocol::Flvs => Server::parse_with_port(text, 443).map(|server| Server { tls: true, ..server }),
    }
}

fn weight(stream: &StreamId, server: &Server) -> u64 {
    // Without keys: the same on all edges, as long as they are of one build.
    let mut hasher = DefaultHasher::new();
    (stream, server).hash(&mut hasher);
    hasher.finish()
}

/// The origins of one pull, and when each is due.
pub(super) struct Roster(Vec<Entry>);

struct Entry {
    server: Server,
    /// `None` while it is being asked.
    due: Option<Instant>,
    backoff: Backoff,
    /// In a row.
    failures: u32,
}

impl Roster {
    fn new(servers: Vec<Server>, now: Instant) -> Self {
        let entry = |(at, server): (usize, Server)| {
            let due = Some(now + STAGGER * at as u32);
            Entry { backoff: Backoff::new(at as u64), server, due, failures: 0 }
        };
        Self(servers.into_iter().enumerate().map(entry).collect())
    }

    /// When the next origin is due; `None` while all are being asked.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.iter().filter_map(|entry| entry.due).min()
    }

    /// An origin that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Server> {
        let due = self.0.iter_mut().filter(|entry| entry.due.is_some_and(|due| due <= now));
        let entry = due.min_by_key(|entry| entry.due)?;
        entry.due = None;
        Some(entry.server.clone())
    }

    /// An origin has failed: the next one need not wait any longer. Gives how often it failed in a row, and when it
    /// comes again.
    pub(super) fn failed(&mut self, server: &Server, now: Instant) -> (u32, Duration) {
        let fresh = self.0.iter_mut().filter(|entry| entry.due.is_some() && entry.failures == 0);
        if let Some(next) = fresh.min_by_key(|entry| entry.due) {
            next.due = next.due.min(Some(now));
        }
        let Some(entry) = self.0.iter_mut().find(|entry| entry.server == *server) else {
            return (1, Duration::ZERO);
        };
        let pause = entry.backoff.pause();
        entry.due = Some(now + pause);
        entry.failures += 1;
        (entry.failures, pause)
    }

    /// This one just was the source: the others first.
    pub(super) fn last(&mut self, server: &Server, now: Instant) {
        let Some(at) = self.0.iter().position(|entry| entry.server == *server) else { return };
        let entry = self.0.remove(at);
        self.0.push(entry);
        for (at, entry) in self.0.iter_mut().enumerate() {
            entry.due = Some(now + STAGGER * at as u32);
        }
    }

    /// This one is being asked already; `false` if it is not of this roster any more.
    pub(super) fn hold(&mut self, server: &Server) -> bool {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.server == *server) else { return false };
        entry.due = None;
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(lines: &str) -> Cluster {
        let text = format!("listen 1; vhost a {{ cluster {{ mode remote; {lines} }} }}");
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let snapshot = mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot;
        snapshot.vhosts[0].cluster.clone()
    }

    fn stream(n: usize) -> StreamId {
        StreamId { vhost: "a".into(), app: "live".into(), name: n.to_string() }
    }

    fn order(origins: &Origins, conf: &Cluster, n: usize) -> Vec<u16> {
        let roster = origins.roster(conf, Protocol::Rtmp, &stream(n));
        roster.0.iter().map(|entry| entry.server.port).collect()
    }

    #[test]
    fn one_after_the_other_and_the_unreachable_last() {
        let (origins, conf) = (Origins::default(), cluster("origin h:1 h:2 h:3 h:1;"));
        assert_eq!(order(&origins, &conf, 0), [1, 2, 3]);
        assert_eq!(order(&origins, &conf, 0), [2, 3, 1]);
        origins.lost(&Server::parse("h:3").unwrap());
        assert_eq!(order(&origins, &conf, 0), [1, 2, 3]);
        origins.lost(&Server::parse("h:1").unwrap());
        assert_eq!(order(&origins, &conf, 0), [2, 1, 3]);
        origins.found(&Server::parse("h:1").unwrap());
        assert_eq!(order(&origins, &conf, 0), [2, 1, 3], "third again, 3 last");
    }

    #[test]
    fn hashing_keeps_streams_where_they_are() {
        let origins = Origins::default();
        let three = cluster("origin h:1 h:2 h:3; origin_order hash;");
        let two = cluster("origin h:3 h:1; origin_order hash;");
        let mut count = [0; 4];
        for n in 0..300 {
            let first = order(&origins, &three, n)[0];
            assert_eq!(first, order(&origins, &three, n)[0]);
            count[usize::from(first)] += 1;
            if first != 2 {
                assert_eq!(order(&origins, &two, n)[0], first);
            }
        }
        assert!(count[1..].iter().all(|n| (60..140).contains(n)), "{count:?}");
    }

    #[test]
    fn a_failure_lets_the_next_one_begin() {
        let origins = Origins::default();
        let mut roster = origins.roster(&cluster("origin h:1 h:2;"), Protocol::Rtmp, &stream(0));
        let now = Instant::now();
        let first = roster.take(now).unwrap();
        assert_eq!(first.port, 1);
        assert!(roster.take(now).is_none(), "the head start");
        assert!(roster.next_due().unwrap() > now);
        assert_eq!(roster.failed(&first, now).0, 1);
        assert_eq!(roster.take(now).unwrap().port, 2);
        assert!(roster.take(now).is_none());
        assert_eq!(roster.take(now + Duration::from_secs(1)).unwrap().port, 1);
        assert!(roster.next_due().is_none());
    }

    #[test]
    fn ports_by_protocol() {
        let at = |text, protocol| parse(text, protocol).unwrap().to_string();
        assert_eq!(at("h", Protocol::Rtmp), "h:1935");
        assert_eq!(at("h", Protocol::Flv), "h:80");
        assert_eq!(at("h:8080", Protocol::Flv), "h:8080");
        assert_eq!(at("h", Protocol::Flvs), "h:443");
        assert!(parse("h", Protocol::Flvs).unwrap().tls);
    }
}
