//! An HTTP connection, of the API or of the delivery server.
//!
//! hyper speaks HTTP/1 for both, and HTTP/2 ([`h2`]); who answers a request is in [`dispatch`]. A request for a live stream is different: its handler stays pending and
//! tells the connection's task, which takes the socket out of hyper and seats it in a shard of the fan-out
//! ([`live`]). That is possible on fresh, kept-alive and pipelined connections alike, because hyper writes
//! nothing for a request whose handler has not answered.
//!
//! Bounded: header size and number by hyper's limits below, the time for a request head and between
//! requests by [`IDLE`], the time for an answer by [`patience::ANSWER`]; bodies of requests are not read.

mod auth;
mod dispatch;
mod files;
mod h2;
mod live;
mod mount;
mod ondemand;
mod patience;
mod pieces;
mod players;
pub(crate) mod reply;
mod shelved;
mod viewing;

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tracing::{debug, info};

use super::Context;
use crate::listen::tls;
use dispatch::Answer;
use patience::Patient;
pub(crate) use reply::Reply;
pub(crate) use viewing::Sessions;

/// A connection that has not sent a whole request head in this time is closed; SRS's idle time.
const IDLE: Duration = Duration::from_secs(15);

/// Request line and headers of a request together may have so many bytes: room for long signed URLs.
const MAX_HEAD: usize = 16 * 1024;

/// Headers a request may have.
const MAX_HEADERS: usize = 64;

/// Which service the listener has that a connection came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// `http_api`.
    Api,
    /// `http_server`.
    Delivery,
    /// Both, on one address.
    Both,
    /// `exporter`.
    Exporter,
}

/// Serves one connection to its end.
pub(crate) async fn serve(ctx: Arc<Context>, cid: u64, door: Door, socket: TcpStream, peer: SocketAddr) {
    info!("HTTP client ip={}", peer.ip());
    let local = socket.local_addr().unwrap_or(peer);
    // Boxed, both: what hyper needs is larger by far than what a viewer needs, and goes first.
    if h2::is_announced(&socket).await {
        let connection = Arc::new(Connection { ctx, cid, door, local, peer, to_live: Mutex::default() });
        return Box::pin(h2::serve(connection, socket)).await;
    }
    let conversation = Box::pin(converse(ctx.clone(), cid, door, local, peer, socket));
    if let Some((request, socket)) = conversation.await {
        Box::pin(live::serve(ctx, request, socket)).await;
    }
}

/// The same over TLS.
pub(crate) async fn serve_tls(ctx: Arc<Context>, cid: u64, door: Door, socket: TcpStream, peer: SocketAddr) {
    info!("HTTPS client ip={}", peer.ip());
    let local = socket.local_addr().unwrap_or(peer);
    let stream = match ctx.certificates.accept(door, socket).await {
        Ok(stream) => stream,
        Err(e) => return debug!("HTTPS client finished: {e}"),
    };
    if tls::is_h2(&stream) {
        let connection = Arc::new(Connection { ctx, cid, door, local, peer, to_live: Mutex::default() });
        return Box::pin(h2::serve(connection, stream)).await;
    }
    let conversation = Box::pin(converse(ctx.clone(), cid, door, local, peer, stream));
    if let Some((request, stream)) = conversation.await {
        Box::pin(live::serve_tls(ctx, request, stream)).await;
    }
}

/// Lets hyper answer requests, until there are no more or one wants a live stream: then the socket is given
/// back with it.
async fn converse<S>(
    ctx: Arc<Context>,
    cid: u64,
    door: Door,
    local: SocketAddr,
    peer: SocketAddr,
    socket: S,
) -> Option<(live::Request, S)>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (to_live, live) = oneshot::channel();
    let to_live = Mutex::new(Some(to_live));
    let connection = Arc::new(Connection { ctx, cid, door, local, peer, to_live });
    // Boxed, because each future around it would have room for it twice.
    let service = service_fn(move |request| Box::pin(handle(connection.clone(), request)));
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Patient::new(socket, patience::ANSWER)), service);
    let request = tokio::select! {
        biased;
        Ok(request) = live => request,
        ended = poll_fn(|cx| http.poll_without_shutdown(cx)) => {
            match ended {
                Ok(()) => debug!("HTTP client finished"),
                Err(e) => debug!("HTTP client finished: {e}"),
            }
            return None;
        }
    };
    // hyper has flushed every earlier response by now: it reads no further request before.
    Some((request, http.into_parts().io.into_inner().into_inner()))
}

/// What the handlers of a connection's requests share.
struct Connection {
    ctx: Arc<Context>,
    cid: u64,
    door: Door,
    local: SocketAddr,
    peer: SocketAddr,
    /// Where the request that takes the connection over goes; empty once there was one, and for HTTP/2.
    to_live: Mutex<Option<oneshot::Sender<live::Request>>>,
}

async fn handle(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<hyper::Response<Reply>, Infallible> {
    log_request(&request);
    match dispatch::answer(&connection, &request).await {
        Answer::Whole(response) => Ok(response),
        Answer::Live(request) => {
            if let Some(to_live) = connection.to_live.lock().take() {
                let _ = to_live.send(*request);
            }
            // The socket is taken out of hyper, and this future is dropped with it.
            pending().await
        }
    }
}

fn log_request<B>(request: &Request<B>) {
    info!("HTTP {} {}", request.method(), crate::log::Redacted(&request.uri().to_string()));
}
