//! TLS for the HTTP listeners: certificates that change under running listeners, and the handshake.
//!
//! Each door has one certificate and one rustls configuration that asks for it at every handshake, so a new
//! certificate is a pointer swapped: connections that are open keep theirs. The files are looked at in
//! intervals, on a thread that serves no socket; a pair that does not fit together is not taken, and the old
//! one stays. At the start wrong files are an error that ends the server.
//!
//! HTTP/2 is offered by ALPN ([`is_h2`]).
//!
//! Bounded: [`MAX_PEM`] for a file, [`HANDSHAKE`] for a handshake, rustls's 256 remembered sessions a door.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mill_config::model::{Https, Snapshot};
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::session::Context;
use crate::session::http::Door;

/// What a client and we agree on for HTTP/2 (RFC 9113, 3.2).
const H2: &[u8] = b"h2";

/// A peer that has not finished its handshake by then is closed.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(3);

/// A chain of certificates has some kilobytes.
const MAX_PEM: u64 = 1024 * 1024;

/// A certificate that ends within this time is warned of.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("{}: holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    #[error("the certificate {} and the key {} cannot be used: {source}", cert.display(), key.display())]
    Unfit { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

/// The certificates of both doors. One per server.
pub(crate) struct Certificates {
    provider: Arc<CryptoProvider>,
    api: Slot,
    delivery: Slot,
}

impl Certificates {
    /// None yet: until one is loaded, handshakes fail.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (api, delivery) = (Slot::new(&provider)?, Slot::new(&provider)?);
        Ok(Self { provider, api, delivery })
    }

    /// Loads what the configuration asks for, without using it yet. Reads files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub(crate) fn prepare(&self, snapshot: &Snapshot) -> Result<Prepared, Error> {
        let loaded = |conf: &Https| {
            let read = || -> Result<Loaded, Error> {
                let stamp = Stamp::of(conf);
                let certificate = load(conf, &self.provider)?;
                Ok(Loaded { certificate, conf: conf.clone(), stamp })
            };
            conf.enabled.then(read).transpose()
        };
        let (api, delivery) = (&snapshot.http_api.https, &snapshot.http_server.https);
        Ok(Prepared { api: loaded(api)?, delivery: loaded(delivery)? })
    }

    /// Uses what was loaded from the next handshake on. Waits for a look at the files that is under way.
    pub(crate) fn commit(&self, prepared: Prepared) {
        for (slot, loaded) in [(&self.api, prepared.api), (&self.delivery, prepared.delivery)] {
            let Some(Loaded { certificate, conf, stamp }) = loaded else { continue };
            let mut state = slot.state.lock();
            slot.take(certificate, &conf, &mut state);
            (state.taken, state.failed) = (Some(stamp), None);
        }
    }

    /// Keeps up with the files for as long as it is run.
    pub(crate) async fn watch(ctx: Arc<Context>) {
        loop {
            sleep(LOOK).await;
            let ctx = ctx.clone();
            let look = move || ctx.certificates.refresh(&ctx.config.load());
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }

    /// Takes files that have changed. Reads files.
    pub(crate) fn refresh(&self, snapshot: &Snapshot) {
        for (slot, conf) in self.wanted(snapshot) {
            slot.refresh(conf, &self.provider);
        }
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// If the peer does something else, or nothing in time: there is nobody to talk to.
    pub(crate) async fn accept(&self, door: Door, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.slot(door).config.clone());
        let handshake = async {
            let mut first = [0];
            if socket.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
                return Err(refuse_plain(&socket));
            }
            acceptor.accept(socket).await
        };
        // Its state is large, and not needed any more afterwards.
        let handshake = Box::pin(timeout(HANDSHAKE, handshake));
        handshake.await.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no handshake"))?
    }

    fn slot(&self, door: Door) -> &Slot {
        if door == Door::Api { &self.api } else { &self.delivery }
    }

    fn wanted<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = (&'a Slot, &'a Https)> {
        let all = [(&self.api, &snapshot.http_api.https), (&self.delivery, &snapshot.http_server.https)];
        all.into_iter().filter(|(_, conf)| conf.enabled)
    }
}

/// Certificates that are not in use yet.
pub(crate) struct Prepared {
    api: Option<Loaded>,
    delivery: Option<Loaded>,
}

struct Loaded {
    certificate: CertifiedKey,
    conf: Https,
    stamp: Stamp,
}

/// Says what is wrong to somebody who speaks HTTP without TLS, in words a person sees.
fn refuse_plain(socket: &TcpStream) -> io::Error {
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\
        Content-Length: 32\r\n\r\nThis port speaks TLS: use https\n";
    // Unread input would reset the connection, and the answer with it.
    let _ = socket.try_read(&mut [0; 4096]);
    let _ = socket.try_write(ANSWER);
    io::Error::new(io::ErrorKind::InvalidData, "plain HTTP on a port for TLS")
}

/// The certificate of one door.
struct Slot {
    resolver: Arc<Resolver>,
    config: Arc<ServerConfig>,
    state: Mutex<State>,
}

/// Gives every handshake the certificate of the moment.
#[derive(Default)]
struct Resolver(ArcSwapOption<CertifiedKey>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// What is known about the files; only threads that may wait take it.
#[derive(Default)]
struct State {
    /// The files in use.
    taken: Option<Stamp>,
    /// Files that could not be used, and whether that was said.
    failed: Option<(Stamp, bool)>,
    health: Health,
}

impl Slot {
    fn new(provider: &Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let resolver = Arc::new(Resolver::default());
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver.clone());
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        Ok(Self { resolver, config: Arc::new(config), state: Mutex::default() })
    }

    fn refresh(&self, conf: &Https, provider: &CryptoProvider) {
        let mut state = self.state.lock();
        let stamp = Stamp::of(conf);
        if state.taken.as_ref() == Some(&stamp) {
            state.failed = None;
            if let Some(used) = self.resolver.0.load_full() {
                state.health = state.health.follow(Health::of(&used, provider, UnixTime::now()), conf);
            }
            return;
        }
        let known = match &state.failed {
            Some((failed, said)) if *failed == stamp => Some(*said),
            _ => None,
        };
        match (load(conf, provider), known) {
            (Ok(certificate), _) => {
                info!("https: certificate {} loaded", conf.cert.display());
                self.take(certificate, conf, &mut state);
                state.taken = Some(stamp);
                state.failed = None;
            }
            // Two files are seldom replaced in one moment: the next look decides.
            (Err(_), None) => state.failed = Some((stamp, false)),
            (Err(e), Some(false)) => {
                warn!("https: {e}; the certificate in use stays");
                state.failed = Some((stamp, true));
            }
            (Err(_), Some(true)) => {}
        }
    }

    fn take(&self, certificate: CertifiedKey, conf: &Https, state: &mut State) {
        let provider = self.config.crypto_provider();
        state.health = Health::default().follow(Health::of(&certificate, provider, UnixTime::now()), conf);
        self.resolver.0.store(Some(Arc::new(certificate)));
    }
}

/// Whether the peer speaks HTTP/2, as the handshake came to.
pub(crate) fn is_h2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

/// Two files as they were at some moment.
#[derive(PartialEq, Eq)]
struct Stamp([(PathBuf, Option<Mark>); 2]);

/// Time of change, size and number of a file: what differs once it has been written or replaced.
type Mark = (i64, i64, u64, u64);

impl Stamp {
    fn of(conf: &Https) -> Self {
        let mark = |m: Metadata| (m.mtime(), m.mtime_nsec(), m.size(), m.ino());
        let file = |path: &PathBuf| (path.clone(), std::fs::metadata(path).ok().map(mark));
        Self([file(&conf.cert), file(&conf.key)])
    }
}

/// Reads and fits together both files.
fn load(conf: &Https, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&conf.cert)?)
        .collect::<Result<_, _>>()
        .map_err(|_| Error::NoCertificate(conf.cert.clone()))?;
    if chain.is_empty() {
        return Err(Error::NoCertificate(conf.cert.clone()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&conf.key)?).map_err(|_| Error::NoKey(conf.key.clone()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| Error::Unfit {
        cert: conf.cert.clone(),
        key: conf.key.clone(),
        source,
    })
}

/// The certificates in a file, to be trusted. Reads it.
///
/// # Errors
/// If there is none.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Error::NoCertificate(path.to_owned()))?;
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(Error::NoCertificate(path.to_owned())),
        _ => Ok(roots),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let error = |source| Error::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_PEM + 1).read_to_end(&mut bytes));
    match read.map_err(error)? as u64 {
        ..=MAX_PEM => Ok(bytes),
        _ => Err(error(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"))),
    }
}

/// What a certificate's dates say. Clients refuse one that is not good; we serve it, and say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Health {
    #[default]
    Good,
    NotYet,
    EndsSoon,
    Ended,
}

impl Health {
    fn of(certificate: &CertifiedKey, provider: &CryptoProvider, now: UnixTime) -> Self {
        let Some(own) = certificate.cert.first().and_then(|der| webpki::EndEntityCert::try_from(der).ok())
        else {
            return Self::Good;
        };
        // Dates are looked at before trust, which nobody here has.
        let judge = |time| {
            let algorithms = provider.signature_verification_algorithms.all;
            let usage = webpki::KeyUsage::server_auth();
            own.verify_for_usage(algorithms, &[], &[], time, usage, None, None).err()
        };
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
        match (judge(now), judge(soon)) {
            (Some(webpki::Error::CertExpired { .. }), _) => Self::Ended,
            (Some(webpki::Error::CertNotValidYet { .. }), _) => Self::NotYet,
            (_, Some(webpki::Error::CertExpired { .. })) => Self::EndsSoon,
            _ => Self::Good,
        }
    }

    /// Says what is new, and becomes it.
    fn follow(self, now: Self, conf: &Https) -> Self {
        if self != now {
            let cert = conf.cert.display();
            match now {
                Self::Good => {}
                Self::NotYet => warn!("https: the certificate {cert} is not valid yet"),
                Self::EndsSoon => warn!("https: the certificate {cert} ends within a week"),
                Self::Ended => warn!("https: the certificate {cert} has expired"),
            }
        }
        now
    }
}

#[cfg(test)]
mod tests;
