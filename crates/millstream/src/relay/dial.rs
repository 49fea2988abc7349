//! Connections to other servers: names, sockets, TLS.
//!
//! Names are looked up by the system's resolver, on threads that may wait, [`MAX_LOOKUPS`] at a time. The
//! certificates of the system are read with the first connection over TLS. Everything is bounded by the time the
//! caller gives, shared fairly by the addresses of a name.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

use super::client::Error;
use super::target::Server;
use crate::listen::tls;

/// Threads that may wait for the resolver: it can take half a minute when its servers are away.
const MAX_LOOKUPS: usize = 16;

/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// The shortest time the kernel lets pass between two looks at a silent line.
const SILENCE: Duration = Duration::from_secs(1);

/// How long the line of a stream that comes in may be dead.
pub(super) const LISTENING: Duration = Duration::from_millis(1500);

/// Makes connections. One per server.
pub(crate) struct Dialer {
    lookups: Arc<Semaphore>,
    tls: OnceCell<TlsConnector>,
    /// Makes handshakes differ; not a secret.
    seed: AtomicU64,
}

impl Dialer {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            tls: OnceCell::new(),
            seed: AtomicU64::new(seed),
        }
    }

    /// Another number for each handshake.
    pub(super) fn seed(&self) -> u64 {
        self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }

    /// Connects, TLS included where it is wanted; at most `limit` for all of it. `ca` is the file of the certificates
    /// that are trusted then, empty for those of the system; it is read for each connection.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Connect`], [`Error::Tls`] or [`Error::Timeout`].
    pub(crate) async fn connect(
        &self,
        server: &Server,
        ca: &Path,
        limit: Duration,
    ) -> Result<Transport, Error> {
        let deadline = Instant::now() + limit;
        let late = |phase| move |_| Error::Timeout { phase, limit };
        let lookup = timeout_at(deadline, self.lookup(&server.host, server.port));
        let addresses = lookup.await.map_err(late("name look-up"))??;
        let socket = first_of(&addresses, deadline, limit).await?;
        // Without it TCP would wait for more before each last piece of a write.
        socket.set_nodelay(true).map_err(Error::Connect)?;
        if !server.tls {
            return Ok(Transport::Plain(socket));
        }
        let handshake = async {
            let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
            self.tls(ca).await?.connect(name, socket).await
        };
        // Its state is large.
        let shaken = timeout_at(deadline, Box::pin(handshake)).await.map_err(late("TLS handshake"))?;
        Ok(Transport::Tls(Box::new(shaken.map_err(Error::Tls)?)))
    }

    /// The addresses of a name, in the resolver's order.
    pub(crate) async fn lookup(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let permit = self.lookups.clone().acquire_owned().await.expect("never closed");
        let name = host.to_owned();
        let look = move || {
            // Held by the thread: who waits may give up before it does.
            let _permit = permit;
            let found = (&*name, port).to_socket_addrs()?;
            Ok(found.take(MAX_ADDRESSES).collect())
        };
        let found = tokio::task::spawn_blocking(look).await.map_err(io::Error::other);
        found.flatten().map_err(Error::Name)
    }

    async fn tls(&self, ca: &Path) -> io::Result<TlsConnector> {
        if !ca.as_os_str().is_empty() {
            let ca = ca.to_owned();
            let roots =
                tokio::task::spawn_blocking(move || tls::roots(&ca)).await.map_err(io::Error::other)?;
            return roots.map(connector).map_err(io::Error::other);
        }
        let system = self
            .tls
            .get_or_init(|| async {
                let roots = tokio::task::spawn_blocking(system_roots)
                    .await
                    .unwrap_or_else(|_| RootCertStore::empty());
                connector(roots)
            })
            .await;
        Ok(system.clone())
    }

    /// Trusts these certificates and not those of the system.
    #[cfg(test)]
    pub(super) fn trusting(certificates: &[rustls::pki_types::CertificateDer<'static>]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        Self { tls: OnceCell::new_with(Some(connector(roots))), ..Self::new(1) }
    }
}

fn connector(roots: RootCertStore) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// The certificates this machine trusts. Reads files.
fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |e| format!(": {e}"));
        warn!("this machine trusts no certificate, so no connection over TLS can be made{why}");
    }
    roots
}

/// Connects to the first address that answers. Each may take its share of the time that is left.
async fn first_of(addresses: &[SocketAddr], deadline: Instant, limit: Duration) -> Result<TcpStream, Error> {
    let mut last = Error::Name(io::ErrorKind::NotFound.into());
    for (at, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / (addresses.len() - at) as u32;
        last = match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(e)) => Error::Connect(e),
            Err(_) => Error::Timeout { phase: "connect", limit },
        };
    }
    Err(last)
}

/// A connection to another server. Dropping it closes it.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Notices soon that the other side has vanished without a word: it is gone when it has confirmed nothing of what it
    /// was sent for `patience`, or taken nothing. For who only listens, it is asked for a sign of life after
    /// [`SILENCE`].
    pub(crate) fn watch_line(&self, patience: Duration) -> io::Result<()> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let socket = SockRef::from(socket);
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE).with_retries(2);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(patience))
    }

    /// Address of the other side.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(socket) => socket.peer_addr(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
