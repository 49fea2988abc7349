//! HTTP-FLV of another server: one endless response, taken apart into tags.
//!
//! hyper speaks HTTP/1 on a connection of the [`Dialer`]; whoever waits for tags drives it too. Redirects are
//! followed, at most [`MAX_REDIRECTS`]. Bounded: everything up to the head of the response by the time the caller
//! gives, a tag by the demuxer. Dropping a value closes the connection.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::body::Incoming as Body;
use hyper::header::LOCATION;
use hyper::{Method, Uri};
use mill_media::flv::demux::{Demuxer, Tag};
use tokio::time::timeout;

use super::client::{Error, MAX_REDIRECTS, Options};
use super::dial::{Dialer, LISTENING};
use super::target::Server;
use super::web::{self, Connection, broken};

/// An HTTP-FLV stream of another server.
pub(crate) struct FlvStream {
    body: Body,
    /// Moves the bytes; none once it has no more of them.
    connection: Option<Connection>,
    demuxer: Demuxer,
    received: u64,
    peer: SocketAddr,
}

impl FlvStream {
    /// Asks for `path` with its query, for the servers in `via`, and comes back with the head of a response that has the stream.
    ///
    /// # Errors
    /// [`Error::Status`] for any other; whatever else is in the way.
    pub(crate) async fn open(
        dialer: &Dialer,
        server: &Server,
        path: &str,
        via: &str,
        options: &Options,
    ) -> Result<Self, Error> {
        let (mut server, mut path) = (server.clone(), path.to_owned());
        for _ in 0..=MAX_REDIRECTS {
            match Self::ask(dialer, &server, &path, via, options).await? {
                Ok(stream) => return Ok(stream),
                Err(location) => (server, path) = location.follow(server)?,
            }
        }
        Err(Error::Redirects)
    }

    async fn ask(
        dialer: &Dialer,
        server: &Server,
        path: &str,
        via: &str,
        options: &Options,
    ) -> Result<Result<Self, Location>, Error> {
        let transport = dialer.connect(server, &options.ca, options.connect).await?;
        transport.watch_line(LISTENING).map_err(Error::Connect)?;
        let peer = transport.peer_addr().map_err(Error::Connect)?;
        let limit = options.begin;
        let (response, connection) = timeout(limit, web::ask(transport, Method::GET, server, path, via))
            .await
            .map_err(|_| Error::Timeout { phase: "HTTP response", limit })??;
        let status = response.status();
        if status.is_redirection() {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            return match location.and_then(|text| text.parse().ok()) {
                Some(uri) => Ok(Err(Location(uri))),
                None => Err(Error::Status(status.as_u16())),
            };
        }
        if !status.is_success() {
            return Err(Error::Status(status.as_u16()));
        }
        let (body, demuxer) = (response.into_body(), Demuxer::new());
        Ok(Ok(Self { body, connection: Some(connection), demuxer, received: 0, peer }))
    }

    /// Waits for tags and appends what has come to `into`. May be dropped while it waits.
    ///
    /// # Errors
    /// The stream is over, or none.
    pub(crate) async fn receive(&mut self, into: &mut Vec<Tag>) -> Result<(), Error> {
        let before = into.len();
        loop {
            while let Some(tag) = self.demuxer.next()? {
                into.push(tag);
            }
            if into.len() > before {
                return Ok(());
            }
            let frame = match &mut self.connection {
                Some(connection) => tokio::select! {
                    frame = self.body.frame() => frame,
                    ended = connection => {
                        // What it had is in the body's queue.
                        self.connection = None;
                        ended.map_err(broken)?;
                        continue;
                    }
                },
                None => self.body.frame().await,
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.received += data.len() as u64;
                        self.demuxer.feed(data);
                    }
                }
                Some(Err(e)) => return Err(broken(e)),
                None => return Err(Error::Closed),
            }
        }
    }

    /// Address of the server.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Bytes of the stream received.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

/// Where a redirect points to.
struct Location(Uri);

impl Location {
    /// The server and path meant by a server that answered.
    fn follow(self, from: Server) -> Result<(Server, String), Error> {
        let path = self.0.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let Some(authority) = self.0.authority() else { return Ok((from, path)) };
        let tls = self.0.scheme_str() == Some("https");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok((Server { host, port, tls }, path))
    }
}
