//! Who publishes and plays here right now.
//!
//! Everybody whom admission has let in is in this table until the guard that admission gave out
//! ([`Presence`]) is dropped, however the session ends. The API, the statistics and a reload read it; no
//! session ever waits for it. A client's id is the id of its task, its log lines and its callbacks. Bounded
//! by `max_connections`.
//!
//! A stream is in the table while it has a client, so the last to leave takes it out; a vhost from its
//! first client on, so there are no more than were ever configured. Both keep the bytes of clients that
//! have left ([`crate::clients::stats`]).

pub(crate) mod pithy;
pub(crate) mod stats;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use mill_hub::StreamId;
use parking_lot::Mutex;

use crate::hook::Farewell;
use crate::identity::Identity;
use stats::{Account, Bytes, FrameRate, Kbps, Rates};

/// SRS's number for a client that was cut off by us, whatever it did.
pub(crate) const CUT: u32 = 1070;

/// Bytes of one connection. Each counter has one writer, so that counting is a load and a store.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    /// What has been put on the accounts; a connection may serve one client after the other.
    settled_received: AtomicU64,
    settled_sent: AtomicU64,
}

impl Traffic {
    pub(crate) fn add_received(&self, n: usize) {
        self.received.store(self.received() + n as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_sent(&self, n: usize) {
        self.sent.store(self.sent() + n as u64, Ordering::Relaxed);
    }

    /// Bytes read from the peer.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes written to the peer.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// What has come since the last call. Whoever calls at the same time, each byte is given out once.
    fn settle(&self) -> Bytes {
        let news =
            |now: u64, settled: &AtomicU64| now.saturating_sub(settled.fetch_max(now, Ordering::Relaxed));
        Bytes {
            received: news(self.received(), &self.settled_received),
            sent: news(self.sent(), &self.settled_sent),
        }
    }
}

/// What a client does, in the words of SRS's API and log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Play,
    HttpPlay,
    HlsPlay,
    DashPlay,
    HdsPlay,
    FmlePublish,
    FlashPublish,
    HaivisionPublish,
}

impl Kind {
    /// SRS 3.0's name for it; players of all its protocols have the same, and it knows no viewers of files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Play | Self::HttpPlay => "Play",
            Self::HlsPlay => "hls-play",
            Self::DashPlay => "dash-play",
            Self::HdsPlay => "hds-play",
            Self::FmlePublish => "fmle-publish",
            Self::FlashPublish => "flash-publish",
            Self::HaivisionPublish => "haivision-publish",
        }
    }

    /// Its protocol has a connect of its own, which callback servers hear of.
    pub(crate) fn connects(self) -> bool {
        self.protocol() != Protocol::Http
    }

    pub(crate) fn publishes(self) -> bool {
        matches!(self, Self::FmlePublish | Self::FlashPublish | Self::HaivisionPublish)
    }

    /// How it is connected.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::HttpPlay | Self::HlsPlay | Self::DashPlay | Self::HdsPlay => Protocol::Http,
            Self::Play | Self::FmlePublish | Self::FlashPublish | Self::HaivisionPublish => Protocol::Rtmp,
        }
    }
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Rtmp,
    Http,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Rtmp, Self::Http];

    /// In the labels of metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Http => "http",
        }
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
    pub(crate) since: Instant,
    /// The accounts its bytes go to.
    pub(crate) place: Arc<StreamEntry>,
    rates: Mutex<Rates>,
}

impl Client {
    /// Puts what it has received and sent since the last time on the accounts.
    pub(crate) fn settle(&self) {
        let news = self.peer.traffic.settle();
        if news == Bytes::default() {
            return;
        }
        let vhost = &self.place.vhost;
        let accounts = [
            &self.place.account,
            &vhost.account,
            &vhost.totals.server,
            &vhost.totals.of(self.kind.protocol()).account,
        ];
        for account in accounts {
            account.add(news);
        }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes { received: self.peer.traffic.received(), sent: self.peer.traffic.sent() }
    }

    pub(crate) fn sample(&self, now: Instant) {
        self.rates.lock().sample(now, self.bytes());
    }

    /// Its rates over the last sample, 30 s and five minutes.
    pub(crate) fn kbps(&self) -> [Kbps; 3] {
        let rates = self.rates.lock();
        [rates.last(), rates.window(), rates.long()]
    }
}

/// A stream that has a client.
#[derive(Debug)]
pub(crate) struct StreamEntry {
    /// For the API; another one when the stream comes back after all have left it.
    pub(crate) id: String,
    pub(crate) stream: StreamId,
    pub(crate) vhost: Arc<VhostEntry>,
    /// The URL its first client has connected to; may contain secrets.
    pub(crate) tc_url: Arc<str>,
    pub(crate) since: Instant,
    pub(crate) account: Account,
    pub(crate) frame_rate: FrameRate,
    /// Publishers and viewers.
    clients: AtomicUsize,
    /// Whether it comes from another server.
    supplies: AtomicUsize,
    /// The client that publishes; 0 for none, ids are larger.
    publisher: AtomicU64,
}

impl StreamEntry {
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// The client that publishes it.
    pub(crate) fn publisher(&self) -> Option<u64> {
        Some(self.publisher.load(Ordering::Relaxed)).filter(|&id| id != 0)
    }
}

/// A vhost that has had a client.
#[derive(Debug)]
pub(crate) struct VhostEntry {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) account: Account,
    totals: Arc<Totals>,
}

/// What all clients together came to.
#[derive(Debug)]
struct Totals {
    server: Account,
    protocols: [ProtocolTotals; Protocol::ALL.len()],
}

/// What the clients of one protocol came to.
#[derive(Debug)]
pub(crate) struct ProtocolTotals {
    pub(crate) account: Account,
    /// Publishers since the start.
    pub(crate) publishers: AtomicU64,
    /// Viewers since the start.
    pub(crate) viewers: AtomicU64,
}

impl Totals {
    fn new(now: Instant) -> Self {
        let protocols = Protocol::ALL.map(|_| ProtocolTotals {
            account: Account::new(now),
            publishers: AtomicU64::new(0),
            viewers: AtomicU64::new(0),
        });
        Self { server: Account::new(now), protocols }
    }

    fn of(&self, protocol: Protocol) -> &ProtocolTotals {
        &self.protocols[protocol as usize]
    }
}

/// All clients of a server. Cheap to clone; clones are the same table.
#[derive(Debug, Clone)]
pub(crate) struct Clients(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    identity: Arc<Identity>,
    totals: Arc<Totals>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    clients: BTreeMap<u64, Arc<Client>>,
    /// What comes from other servers; no clients of ours.
    supplies: Vec<Arc<Client>>,
    streams: HashMap<StreamId, Arc<StreamEntry>>,
    vhosts: BTreeMap<String, Arc<VhostEntry>>,
}

impl Clients {
    pub(crate) fn new(identity: Arc<Identity>) -> Self {
        let totals = Arc::new(Totals::new(Instant::now()));
        Self(Arc::new(Shared { identity, totals, table: Mutex::default() }))
    }

    /// Notes that a client is here, until the guard is dropped.
    pub(crate) fn enter(&self, peer: Peer, kind: Kind, stream: StreamId) -> Presence {
        let now = Instant::now();
        let mut table = self.0.table.lock();
        let place = self.0.place(&mut table, &stream, &peer, now);
        place.clients.fetch_add(1, Ordering::Relaxed);
        let totals = self.0.totals.of(kind.protocol());
        if kind.publishes() {
            place.publisher.store(peer.id, Ordering::Relaxed);
            totals.publishers.fetch_add(1, Ordering::Relaxed);
        } else {
            totals.viewers.fetch_add(1, Ordering::Relaxed);
        }
        let rates = Mutex::new(Rates::new(now));
        let client = Arc::new(Client { peer, kind, stream, since: now, place, rates });
        table.clients.insert(client.peer.id, client.clone());
        Presence { client, clients: self.clone(), farewell: None }
    }

    /// Notes that a stream comes from another server, until the guard is dropped: what that sends goes on the
    /// accounts of the stream. As in SRS the API shows `cid`, a viewer, as the publisher.
    pub(crate) fn supply(&self, peer: Peer, kind: Kind, stream: StreamId, cid: u64) -> Supply {
        let now = Instant::now();
        let mut table = self.0.table.lock();
        let place = self.0.place(&mut table, &stream, &peer, now);
        place.supplies.fetch_add(1, Ordering::Relaxed);
        place.publisher.store(cid, Ordering::Relaxed);
        let rates = Mutex::new(Rates::new(now));
        let client = Arc::new(Client { peer, kind, stream, since: now, place, rates });
        table.supplies.push(client.clone());
        Supply { client, clients: self.clone(), cid }
    }

    /// The client of that id.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.0.table.lock().clients.get(&id).cloned()
    }

    /// All clients by id.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.0.table.lock().clients.values().cloned().collect()
    }

    /// All streams that have a client, in no order.
    pub(crate) fn streams(&self) -> Vec<Arc<StreamEntry>> {
        self.0.table.lock().streams.values().cloned().collect()
    }

    /// All vhosts that have had a client, by name.
    pub(crate) fn vhosts(&self) -> Vec<Arc<VhostEntry>> {
        self.0.table.lock().vhosts.values().cloned().collect()
    }

    /// Puts everything on the accounts that was counted until now.
    pub(crate) fn settle(&self) {
        for client in self.all() {
            client.settle();
        }
        let supplies = self.0.table.lock().supplies.clone();
        supplies.iter().for_each(|client| client.settle());
    }

    /// What the whole server has received and sent for its clients.
    pub(crate) fn total(&self) -> &Account {
        &self.0.totals.server
    }

    pub(crate) fn protocol(&self, protocol: Protocol) -> &ProtocolTotals {
        self.0.totals.of(protocol)
    }

    /// The accounts that belong to no vhost.
    pub(crate) fn totals(&self) -> impl Iterator<Item = &Account> {
        let protocols = self.0.totals.protocols.iter().map(|totals| &totals.account);
        std::iter::once(&self.0.totals.server).chain(protocols)
    }
}

impl Table {
    /// Takes a stream out that nobody is there for.
    fn forget(&mut self, place: &StreamEntry) {
        if place.clients() == 0 && place.supplies.load(Ordering::Relaxed) == 0 {
            self.streams.remove(&place.stream);
        }
    }
}

impl Shared {
    /// The entries of a stream and its vhost, made if they are new.
    fn place(&self, table: &mut Table, stream: &StreamId, peer: &Peer, now: Instant) -> Arc<StreamEntry> {
        if let Some(entry) = table.streams.get(stream) {
            return entry.clone();
        }
        let vhost = table.vhosts.entry(stream.vhost.clone()).or_insert_with(|| {
            Arc::new(VhostEntry {
                id: self.identity.mint(),
                name: stream.vhost.clone(),
                account: Account::new(now),
                totals: self.totals.clone(),
            })
        });
        let entry = Arc::new(StreamEntry {
            id: self.identity.mint(),
            stream: stream.clone(),
            vhost: vhost.clone(),
            tc_url: peer.tc_url.clone(),
            since: now,
            account: Account::new(now),
            frame_rate: FrameRate::default(),
            clients: AtomicUsize::new(0),
            supplies: AtomicUsize::new(0),
            publisher: AtomicU64::new(0),
        });
        table.streams.insert(stream.clone(), entry.clone());
        entry
    }
}

/// A client's place in the table.
#[derive(Debug)]
pub(crate) struct Presence {
    client: Arc<Client>,
    clients: Clients,
    /// Told when the client has gone from the table.
    farewell: Option<Farewell>,
}

impl Presence {
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Tells callback servers when it ends.
    pub(crate) fn bids(mut self, farewell: Option<Farewell>) -> Self {
        self.farewell = farewell;
        self
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let (id, place) = (self.client.peer.id, &self.client.place);
        {
            let mut table = self.clients.0.table.lock();
            table.clients.remove(&id);
            if self.client.kind.publishes() {
                // Its successor may have come already.
                let _ = place.publisher.compare_exchange(id, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
            place.clients.fetch_sub(1, Ordering::Relaxed);
            table.forget(place);
        }
        self.client.settle();
    }
}

/// A stream that comes from another server.
#[derive(Debug)]
pub(crate) struct Supply {
    client: Arc<Client>,
    clients: Clients,
    cid: u64,
}

impl Drop for Supply {
    fn drop(&mut self) {
        let place = &self.client.place;
        {
            let mut table = self.clients.0.table.lock();
            table.supplies.retain(|client| !Arc::ptr_eq(client, &self.client));
            let _ = place.publisher.compare_exchange(self.cid, 0, Ordering::Relaxed, Ordering::Relaxed);
            place.supplies.fetch_sub(1, Ordering::Relaxed);
            table.forget(place);
        }
        self.client.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Clients {
        Clients::new(Arc::new(Identity::new(1000, 7)))
    }

    fn peer(id: u64) -> Peer {
        Peer {
            id,
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            tc_url: "rtmp://h/live".into(),
            page_url: "".into(),
            swf_url: "".into(),
            traffic: Arc::default(),
        }
    }

    fn stream(name: &str) -> StreamId {
        StreamId { vhost: "v".into(), app: "live".into(), name: name.into() }
    }

    fn enter(clients: &Clients, id: u64, kind: Kind) -> Presence {
        clients.enter(peer(id), kind, stream("s"))
    }

    #[test]
    fn a_client_is_there_as_long_as_its_guard() {
        let clients = clients();
        let presence = enter(&clients, 7, Kind::Play);
        assert_eq!(clients.get(7).unwrap().stream, presence.client().stream);
        drop(presence);
        assert!(clients.get(7).is_none() && clients.all().is_empty());
    }

    #[test]
    fn a_stream_is_there_as_long_as_anybody() {
        let clients = clients();
        let viewer = enter(&clients, 200, Kind::HttpPlay);
        let id = clients.streams()[0].id.clone();
        let publisher = enter(&clients, 201, Kind::FmlePublish);
        let entry = clients.streams()[0].clone();
        assert_eq!((entry.clients(), entry.publisher(), &entry.id), (2, Some(201), &id));
        drop(publisher);
        assert_eq!((entry.clients(), entry.publisher()), (1, None));
        drop(viewer);
        assert!(clients.streams().is_empty());
        assert_eq!(clients.vhosts().len(), 1, "a vhost stays");
        let _again = enter(&clients, 202, Kind::Play);
        assert_ne!(clients.streams()[0].id, id);
    }

    #[test]
    fn a_publisher_that_leaves_late_does_not_hide_the_next() {
        let clients = clients();
        let old = enter(&clients, 200, Kind::FmlePublish);
        let _new = enter(&clients, 201, Kind::FmlePublish);
        drop(old);
        assert_eq!(clients.streams()[0].publisher(), Some(201));
    }

    #[test]
    fn accounts_keep_what_clients_sent_that_have_left() {
        let clients = clients();
        let stays = enter(&clients, 200, Kind::Play);
        let leaves = enter(&clients, 201, Kind::FmlePublish);
        leaves.client().peer.traffic.add_received(1000);
        clients.settle();
        leaves.client().peer.traffic.add_received(500);
        drop(leaves);
        stays.client().peer.traffic.add_sent(30);
        clients.settle();
        clients.settle();
        let expected = Bytes { received: 1500, sent: 30 };
        assert_eq!(clients.streams()[0].account.bytes(), expected);
        assert_eq!(clients.vhosts()[0].account.bytes(), expected);
        assert_eq!(clients.total().bytes(), expected);
        assert_eq!(clients.protocol(Protocol::Rtmp).account.bytes(), expected);
        assert_eq!(clients.protocol(Protocol::Http).account.bytes(), Bytes::default());
    }

    #[test]
    fn a_supply_is_no_client_and_keeps_its_stream() {
        let clients = clients();
        let viewer = enter(&clients, 200, Kind::Play);
        let supply = clients.supply(peer(300), Kind::Play, stream("s"), 200);
        supply.client.peer.traffic.add_received(70);
        clients.settle();
        let entry = clients.streams()[0].clone();
        assert_eq!((entry.clients(), entry.publisher()), (1, Some(200)));
        assert_eq!((clients.all().len(), entry.account.bytes().received), (1, 70));
        drop(viewer);
        assert_eq!((entry.clients(), entry.publisher()), (0, Some(200)), "the first viewer may leave");
        assert_eq!(clients.streams().len(), 1);
        drop(supply);
        assert_eq!(entry.publisher(), None);
        assert!(clients.streams().is_empty());
    }

    #[test]
    fn one_connection_after_the_other_counts_once() {
        let clients = clients();
        let peer = peer(300);
        let first = clients.enter(peer.clone(), Kind::FmlePublish, stream("a"));
        peer.traffic.add_received(100);
        drop(first);
        let _second = clients.enter(peer.clone(), Kind::FmlePublish, stream("b"));
        peer.traffic.add_received(1);
        clients.settle();
        assert_eq!(clients.streams()[0].account.bytes().received, 1);
        assert_eq!(clients.total().bytes().received, 101);
    }
}
