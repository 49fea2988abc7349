//! HTTP/2 (RFC 9113): by ALPN over TLS, or by prior knowledge on a plain connection.
//!
//! hyper speaks it, and each request has a task of its own. Files, playlists and the API are answered as over
//! HTTP/1. A live stream is a body without an end; its viewer's task writes it ([`live::serve_h2`]).
//!
//! Bounded: requests at a time by [`MAX_STREAMS`], what is ready for a peer that does not take it by [`SEND`] each,
//! the headers of a request as over HTTP/1, bodies of requests, which are not read, by [`WINDOW`], resets by what
//! hyper and h2 count (CVE-2023-44487). A connection without a request for [`IDLE`] is told to go, and one whose
//! peer has taken nothing of some answer for [`ANSWER`] is cut.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::dispatch::{self, Answer};
use super::patience::ANSWER;
use super::reply::{self, Reply};
use super::{Connection, IDLE, MAX_HEAD, live, log_request};
use crate::tasks::Tasks;

/// Requests of a connection that are answered at the same time: browsers have a few for each thing on a page.
const MAX_STREAMS: u32 = 64;

/// What one answer may have ready that its peer has not taken: a fraction of a second on a fast line.
const SEND: usize = 256 * 1024;

/// What a peer may send of the bodies of its requests, each and all together.
const WINDOW: u32 = 64 * 1024;

/// How often it is looked at who takes nothing.
const LOOK: Duration = Duration::from_secs(5);

/// What a client that knows that we speak HTTP/2 begins with (3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// Whether a plain connection begins as HTTP/2 does. Nothing is taken from the socket. A client that sends those
/// bytes one by one is taken for one of HTTP/1, which refuses it.
pub(super) async fn is_announced(socket: &TcpStream) -> bool {
    let mut start = [0; PREFACE.len()];
    matches!(timeout(IDLE, socket.peek(&mut start)).await, Ok(Ok(_)) if start == PREFACE)
}

/// Answers the requests of a connection to its end.
pub(super) async fn serve<S>(connection: Arc<Connection>, socket: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let open = Open::default();
    let (tasks, answering) = (connection.ctx.tasks.clone(), open.clone());
    let service = service_fn(move |request| {
        let ticket = answering.enter();
        Box::pin(handle(connection.clone(), request, ticket))
    });
    let http = http2::Builder::new(Requests(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(SEND)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .serve_connection(TokioIo::new(socket), service);
    let mut http = pin!(http);
    let mut leaving = None;
    loop {
        tokio::select! {
            ended = http.as_mut() => {
                match ended {
                    Ok(()) => debug!("HTTP/2 client finished"),
                    Err(e) => debug!("HTTP/2 client finished: {e}"),
                }
                return;
            }
            () = sleep(LOOK) => {}
        }
        let now = Instant::now();
        if open.waits_for_the_peer_since(now - ANSWER) {
            return debug!("HTTP/2 client takes nothing");
        }
        if !open.is_idle_since(now - IDLE) {
            continue;
        }
        match leaving {
            // The end of the last answer may still be on its way.
            None if open.was_used() => http.as_mut().graceful_shutdown(),
            Some(since) if now - since < ANSWER => {}
            _ => return debug!("HTTP/2 client asks for nothing"),
        }
        leaving = leaving.or(Some(now));
    }
}

async fn handle(
    connection: Arc<Connection>,
    request: Request<Incoming>,
    ticket: Ticket,
) -> Result<Response<Watched>, Infallible> {
    log_request(&request);
    let response = match dispatch::answer(&connection, &request).await {
        Answer::Whole(response) => response,
        Answer::Live(live) => {
            let cors = live.cors;
            reply::finish(live::serve_h2(&connection.ctx, *live).await, cors)
        }
    };
    let response = if *request.method() == Method::HEAD { without_body(response) } else { response };
    Ok(response.map(|body| Watched { body, ticket }))
}

/// hyper sends bodies here whatever the method.
fn without_body(mut response: Response<Reply>) -> Response<Reply> {
    if let Some(len) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    }
    response.map(|_| Reply::default())
}

/// Starts the tasks of requests.
#[derive(Clone)]
struct Requests(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Requests {
    fn execute(&self, request: F) {
        self.0.spawn(self.0.next_id(), request);
    }
}

/// The requests of a connection that are being answered.
#[derive(Clone)]
struct Open(Arc<Mutex<State>>);

struct State {
    next: u64,
    /// For each, since when what it has given is not taken; `None` while the peer waits for us.
    requests: HashMap<u64, Option<Instant>>,
    /// When the last of them ended.
    idle: Instant,
}

impl Default for Open {
    fn default() -> Self {
        let state = State { next: 0, requests: HashMap::new(), idle: Instant::now() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Open {
    fn enter(&self) -> Ticket {
        let mut state = self.0.lock();
        let id = state.next;
        state.next += 1;
        state.requests.insert(id, None);
        Ticket { open: self.clone(), id }
    }

    fn is_idle_since(&self, time: Instant) -> bool {
        let state = self.0.lock();
        state.requests.is_empty() && state.idle < time
    }

    fn was_used(&self) -> bool {
        self.0.lock().next > 0
    }

    fn waits_for_the_peer_since(&self, time: Instant) -> bool {
        self.0.lock().requests.values().flatten().any(|&since| since < time)
    }
}

/// A request in the table.
struct Ticket {
    open: Open,
    id: u64,
}

impl Ticket {
    fn note(&self, given: bool) {
        if let Some(since) = self.open.0.lock().requests.get_mut(&self.id) {
            *since = given.then(Instant::now);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.open.0.lock();
        state.requests.remove(&self.id);
        state.idle = Instant::now();
    }
}

/// A body whose peer is watched: hyper asks for more only when there is room for it.
struct Watched {
    body: Reply,
    ticket: Ticket,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.ticket.note(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn who_takes_nothing_is_noticed() {
        let open = Open::default();
        let mut body = Watched { body: Reply::from("x"), ticket: open.enter() };
        // A moment behind everything that happens here.
        let later = Instant::now() + ANSWER;
        assert!(!open.waits_for_the_peer_since(later), "nothing was given yet");
        assert!(!open.is_idle_since(later), "it waits for us");
        let mut poll = || Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        let before = Instant::now();
        assert!(matches!(poll(), Poll::Ready(Some(Ok(_)))));
        assert!(open.waits_for_the_peer_since(later) && !open.waits_for_the_peer_since(before));
        assert!(matches!(poll(), Poll::Ready(None)), "asked for more: what was given is taken");
        assert!(!open.waits_for_the_peer_since(later));
        let before = Instant::now();
        drop(body);
        assert!(open.is_idle_since(later) && !open.is_idle_since(before));
    }
}
