//! Certificates for tests, and the client's side of TLS.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

/// A certificate for this machine, signed by itself, and its key; both in PEM form.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::of_years(2020, 2100)
    }

    /// Valid from the beginning of one year to that of another.
    pub(crate) fn of_years(from: i32, to: i32) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).expect("an address is a name");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let cert = params.self_signed(&key).expect("a certificate can be signed").pem();
        Self { cert, key: key.serialize_pem() }
    }

    /// Writes `server.crt` and `server.key`, as a certificate program does: each complete at once.
    pub(crate) fn write(&self, dir: &Path) {
        for (name, text) in [("server.crt", &self.cert), ("server.key", &self.key)] {
            let new = dir.join(format!("{name}.new"));
            std::fs::write(&new, text).expect("a certificate can be written");
            std::fs::rename(new, dir.join(name)).expect("a certificate can be put in place");
        }
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("our own certificate")
    }

    /// A client that trusts this certificate and no other.
    pub(crate) fn client(&self) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("our own certificate is a root");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::IpAddress(IpAddr::from(Ipv4Addr::LOCALHOST).into());
        ClientConnection::new(Arc::new(config), name).expect("a client can be made")
    }

    /// A server with this certificate.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("our own key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key);
        Arc::new(config.expect("certificate and key fit"))
    }
}
