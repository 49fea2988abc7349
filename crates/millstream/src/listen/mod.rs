//! Listening sockets and the loops that accept from them.
//!
//! A listener outlives every error of a single accept: running out of descriptors is waited out, a peer
//! that vanished in between is nothing. The total number of connections is bounded
//! (`max_connections`): one too many is closed at once, counted and logged (once a second at most), and the loop goes on.

pub(crate) mod listeners;
pub(crate) mod tls;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tracing::{debug, warn};

use crate::log::Throttle;
use crate::tasks::Tasks;

/// Connections the kernel may hold before we accept them: a burst of players at the start of a show.
const BACKLOG: i32 = 4096;

/// A peer that takes nothing of what it was sent for so long is cut by the kernel, whoever serves it.
const UNREAD: Duration = Duration::from_secs(30);

/// How long to wait when the process or the system is out of descriptors.
const BACKOFF: Duration = Duration::from_millis(100);

/// Strangers who are turned away, and a shortage, are logged this often; the line counts the others.
const REPORT: Duration = Duration::from_secs(1);

/// Binds a TCP listener. It may share its address with other processes that say so too (`SO_REUSEPORT`), as
/// every listener of SRS: so a new server can take over while the old one sees its clients off.
///
/// # Errors
/// If the address is in use or not ours; the message names it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = (|| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // `0.0.0.0:1935` and `[::]:1935` may both be configured.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    })();
    bound.map_err(|e: io::Error| io::Error::new(e.kind(), format!("cannot listen at {address}: {e}")))
}

/// What the kernel may hold of datagrams that we have not taken yet, in bytes: a third of a second at 50 Mbit/s. It
/// gives no more than the system allows (`net.core.rmem_max`).
const DATAGRAMS: usize = 2 << 20;

/// Binds a UDP socket, sharing its address as [`bind`] does.
///
/// # Errors
/// If the address is in use or not ours; the message names it.
pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let bound = (|| {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_recv_buffer_size(DATAGRAMS)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    })();
    bound.map_err(|e: io::Error| io::Error::new(e.kind(), format!("cannot listen at udp {address}: {e}")))
}

/// How many connections there are and may be.
#[derive(Debug)]
pub(crate) struct Connections {
    open: AtomicUsize,
    refused: AtomicU64,
    limit: AtomicUsize,
    report: Throttle,
    /// Tasks of the connections from this machine, by the other end.
    near: Mutex<HashMap<SocketAddr, u64>>,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Self {
        let (open, refused) = (AtomicUsize::new(0), AtomicU64::new(0));
        let (limit, report) = (AtomicUsize::new(limit), Throttle::new(REPORT));
        Self { open, refused, limit, report, near: Mutex::default() }
    }

    /// From now on. Who is here stays, whatever the limit.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// How many were closed because there were too many.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Those there are.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// As many as there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// The task of the connection from this machine whose other end that is.
    pub(crate) fn near(&self, peer: SocketAddr) -> Option<u64> {
        self.near.lock().get(&peer).copied()
    }

    /// Room for one more, if there is.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Permit> {
        let permit = Permit { connections: self.clone(), near: None };
        if self.open.fetch_add(1, Ordering::Relaxed) < self.limit.load(Ordering::Relaxed) {
            Some(permit)
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// One of the connections allowed; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Permit {
    connections: Arc<Connections>,
    /// The other end, if it is on this machine and noted.
    near: Option<SocketAddr>,
}

impl Permit {
    /// Notes whose it is.
    fn note(&mut self, peer: SocketAddr, local: Option<SocketAddr>, task: u64) {
        if peer.ip().is_loopback() || local.is_some_and(|local| local.ip() == peer.ip()) {
            self.connections.near.lock().insert(peer, task);
            self.near = Some(peer);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(peer) = self.near {
            self.connections.near.lock().remove(&peer);
        }
    }
}

/// Accepts for as long as it is run. `serve` runs in a task of its own for each connection.
pub(crate) async fn accept<F, T>(
    listener: Arc<TcpListener>,
    tasks: Tasks,
    connections: Arc<Connections>,
    serve: F,
) where
    F: Fn(u64, TcpStream, SocketAddr) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                prepare(&socket);
                let Some(mut permit) = connections.admit() else {
                    if connections.report.allows() {
                        let (max, refused) =
                            (connections.limit.load(Ordering::Relaxed), connections.refused());
                        warn!(
                            "exceed connection limits, code=1074, max={max}, client ip={peer} refused, refused={refused}"
                        );
                    }
                    continue;
                };
                let cid = tasks.next_id();
                permit.note(peer, socket.local_addr().ok(), cid);
                // Boxed, because each future around it would have room for it twice.
                let session = Box::pin(serve(cid, socket, peer));
                tasks.spawn(cid, async move {
                    let _permit = permit;
                    session.await;
                });
            }
            Err(e) if is_short_of_descriptors(&e) => {
                if connections.report.allows() {
                    warn!("accept: {e}; waiting");
                }
                tokio::time::sleep(BACKOFF).await;
            }
            Err(e) => debug!("accept: {e}"),
        }
    }
}

/// What every connection needs. Writes are merged before the kernel sees them, so Nagle's algorithm could
/// only add delay. And the kernel shall find out about peers that vanished without a word: a player of an
/// idle stream, to whom nothing is written, would stay for ever.
fn prepare(socket: &TcpStream) {
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    let options = SockRef::from(socket);
    let prepared = socket
        .set_nodelay(true)
        .and_then(|()| options.set_tcp_keepalive(&probes))
        .and_then(|()| options.set_tcp_user_timeout(Some(UNREAD)));
    if let Err(e) = prepared {
        debug!("socket options: {e}");
    }
}

/// The system's error number says that descriptors or memory are short.
fn is_short_of_descriptors(e: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(errno) = e.raw_os_error().map(Errno::from_raw_os_error) else { return false };
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_bound_the_connections_and_come_back() {
        let connections = Arc::new(Connections::new(2));
        let first = connections.admit().unwrap();
        let _second = connections.admit().unwrap();
        assert!(connections.admit().is_none());
        assert_eq!(connections.refused(), 1);
        drop(first);
        let third = connections.admit().unwrap();
        connections.set_limit(1);
        drop(third);
        assert!(connections.admit().is_none(), "who is here stays, nobody comes");
        connections.set_limit(2);
        assert!(connections.admit().is_some());
    }
}
