//! HTTP/1 requests to other servers, by hyper, on connections of the [`Dialer`](super::dial::Dialer).
//!
//! Whoever asks drives the connection too, so nothing is left behind when it gives up. Bounded: heads by
//! [`MAX_HEAD`]; time and bodies are the caller's.

use std::io;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming as Body;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;

use super::client::Error;
use super::dial::Transport;
use super::target::Server;
use super::via::HEADER;
use crate::identity;

/// The head of a response has some hundred bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Moves the bytes of a response; must be awaited beside its body.
pub(super) type Connection = Pin<Box<http1::Connection<TokioIo<Transport>, Empty<Bytes>>>>;

/// Sends a request without body, for the servers in `via`, and waits for the head of the response. May be dropped while it waits.
pub(super) async fn ask(
    transport: Transport,
    method: Method,
    server: &Server,
    path: &str,
    via: &str,
) -> Result<(Response<Body>, Connection), Error> {
    let via = Some(via).filter(|via| !via.is_empty());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, server.to_string())
        .header(USER_AGENT, identity::SERVER)
        .header(ACCEPT, "*/*");
    if let Some(via) = via {
        request = request.header(HEADER, via);
    }
    let request = request.body(Empty::new()).map_err(|e| Error::Broken(io::Error::other(e)))?;
    let http = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(transport)).await;
    let (mut sender, connection) = http.map_err(broken)?;
    let mut connection = Box::pin(connection);
    tokio::select! {
        biased;
        response = sender.send_request(request) => Ok((response.map_err(broken)?, connection)),
        ended = &mut connection => Err(ended.err().map_or(Error::Closed, broken)),
    }
}

/// The innermost cause says what happened.
pub(super) fn broken(error: hyper::Error) -> Error {
    if error.is_incomplete_message() {
        return Error::Closed;
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Error::Broken(io::Error::other(cause.to_string()))
}
