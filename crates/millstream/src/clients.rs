//! Who publishes and plays here right now.
//!
//! Everybody whom admission has let in is in this table until the guard that admission gave out
//! ([`Presence`]) is dropped, however the session ends. The API, the statistics and a reload read it; no
//! session ever waits for it. A client's id is the id of its task, its log lines and its callbacks. Bounded
//! by `max_connections`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mill_hub::StreamId;
use parking_lot::Mutex;

/// Bytes of one connection. Each counter has one writer, so that counting is a load and a store.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    /// What of both was put to the account of those who have left, when an earlier client of the connection left.
    settled: Mutex<(u64, u64)>,
}

impl Traffic {
    pub(crate) fn add_received(&self, n: usize) {
        self.received.store(self.received() + n as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_sent(&self, n: usize) {
        self.sent.store(self.sent() + n as u64, Ordering::Relaxed);
    }

    /// Bytes read and written that are in no account yet.
    fn unsettled(&self) -> (u64, u64) {
        let settled = self.settled.lock();
        (self.received() - settled.0, self.sent() - settled.1)
    }

    /// The same; from now on they are.
    fn settle(&self) -> (u64, u64) {
        let mut settled = self.settled.lock();
        let now = (self.received(), self.sent());
        let before = std::mem::replace(&mut *settled, now);
        (now.0 - before.0, now.1 - before.1)
    }

    /// Bytes read from the peer.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes written to the peer.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// What a client does, in the words of SRS's API and log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Play,
    HttpPlay,
    FmlePublish,
    FlashPublish,
    HaivisionPublish,
}

impl Kind {
    /// SRS 3.0's name for it; players of all protocols have the same.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Play | Self::HttpPlay => "Play",
            Self::FmlePublish => "fmle-publish",
            Self::FlashPublish => "flash-publish",
            Self::HaivisionPublish => "haivision-publish",
        }
    }

    pub(crate) fn publishes(self) -> bool {
        matches!(self, Self::FmlePublish | Self::FlashPublish | Self::HaivisionPublish)
    }
}

/// A connection, and what its peer said about itself.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) ip: IpAddr,
    /// The URL the peer says it has connected to, with its parameters; may contain secrets.
    pub(crate) tc_url: Arc<str>,
    /// The web page it says it runs in.
    pub(crate) page_url: Arc<str>,
    pub(crate) swf_url: Arc<str>,
    pub(crate) traffic: Arc<Traffic>,
}

/// Somebody who was let in.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) kind: Kind,
    pub(crate) stream: StreamId,
    /// Parameters of the stream with the question mark, or empty; may contain secrets.
    pub(crate) param: String,
    pub(crate) since: Instant,
}

/// All clients of a server. Cheap to clone; clones are the same table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    present: BTreeMap<u64, Arc<Client>>,
    /// Bytes received from and sent to those who have left.
    departed: (u64, u64),
}

impl Clients {
    /// Notes that a client is here, until the guard is dropped.
    pub(crate) fn enter(&self, client: Client) -> Presence {
        let client = Arc::new(client);
        self.0.lock().present.insert(client.peer.id, client.clone());
        Presence { client, clients: self.clone() }
    }

    /// The client of that id.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.0.lock().present.get(&id).cloned()
    }

    /// All clients by id.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.0.lock().present.values().cloned().collect()
    }

    /// How many clients there are, and the bytes received from and sent to all there ever were.
    pub(crate) fn moved(&self) -> (usize, u64, u64) {
        let table = self.0.lock();
        let (mut received, mut sent) = table.departed;
        for client in table.present.values() {
            let (r, s) = client.peer.traffic.unsettled();
            (received, sent) = (received + r, sent + s);
        }
        (table.present.len(), received, sent)
    }
}

/// A client's place in the table.
#[derive(Debug)]
pub(crate) struct Presence {
    client: Arc<Client>,
    clients: Clients,
}

impl Presence {
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut table = self.clients.0.lock();
        table.present.remove(&self.client.peer.id);
        let (received, sent) = self.client.peer.traffic.settle();
        table.departed.0 += received;
        table.departed.1 += sent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_there_as_long_as_its_guard() {
        let clients = Clients::default();
        let peer = Peer {
            id: 7,
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            tc_url: "rtmp://h/live".into(),
            page_url: "".into(),
            swf_url: "".into(),
            traffic: Arc::default(),
        };
        let stream = StreamId { vhost: "v".into(), app: "live".into(), name: "s".into() };
        let param = String::new();
        let client = Client {
            peer: peer.clone(),
            kind: Kind::Play,
            stream: stream.clone(),
            param,
            since: Instant::now(),
        };
        let presence = clients.enter(client);
        assert_eq!(clients.get(7).unwrap().stream, presence.client().stream);
        presence.client().peer.traffic.add_sent(5);
        assert_eq!(clients.moved(), (1, 0, 5));
        let traffic = presence.client().peer.traffic.clone();
        drop(presence);
        assert!(clients.get(7).is_none() && clients.all().is_empty());
        assert_eq!(clients.moved(), (0, 0, 5));

        // The same connection once more: what it moved before is not counted twice.
        traffic.add_received(2);
        let peer = Peer { traffic, ..peer };
        let client = Client { peer, kind: Kind::Play, stream, param: String::new(), since: Instant::now() };
        let presence = clients.enter(client);
        assert_eq!(clients.moved(), (1, 2, 5));
        drop(presence);
        assert_eq!(clients.moved(), (0, 2, 5));
    }
}
