//! Answers that hyper sends: everything but live streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::io::{AsyncRead, DuplexStream, ReadBuf};

use super::pieces::Pieces;
use crate::identity;
use crate::session::admit::Refusal;

/// The body of an answer.
pub(crate) enum Reply {
    /// It is in memory; what was sent of it is gone.
    Whole(Bytes),
    /// A file, or a part of one.
    File(Pieces),
    /// A live stream over HTTP/2, as far as it is written at the other end.
    Live(DuplexStream),
}

impl Default for Reply {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl<T: Into<Bytes>> From<T> for Reply {
    fn from(whole: T) -> Self {
        Self::Whole(whole.into())
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::File(pieces) => pieces.poll_next(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Self::Live(stream) => poll_live(stream, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Reply {
    fn left(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::File(pieces) => Some(pieces.left()),
            Self::Live(_) => None,
        }
    }
}

/// What one frame of HTTP/2 carries, as hyper cuts it.
const LIVE_FRAME: usize = 16 * 1024;

fn poll_live(
    stream: &mut DuplexStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
    let mut read = [0; LIVE_FRAME];
    let mut buf = ReadBuf::new(&mut read);
    let polled = ready!(Pin::new(stream).poll_read(cx, &mut buf));
    Poll::Ready(match polled {
        Ok(()) if buf.filled().is_empty() => None,
        Ok(()) => Some(Ok(Frame::data(Bytes::copy_from_slice(buf.filled())))),
        Err(e) => Some(Err(e)),
    })
}

/// The cross-origin headers of SRS, sent when a request names its origin.
pub(super) const CORS: [(&str, &str); 4] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, HEAD, PUT, DELETE, OPTIONS"),
    ("Access-Control-Expose-Headers", "Server,range,Content-Length,Content-Range"),
    (
        "Access-Control-Allow-Headers",
        "origin,range,accept-encoding,referer,Cache-Control,X-Proxy-Authorization,X-Requested-With,Content-Type",
    ),
];

/// An answer with a body of a given type.
pub(crate) fn text(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A line for people.
pub(crate) fn plain(status: StatusCode, line: impl Into<Bytes>) -> Response<Reply> {
    text(status, "text/plain; charset=utf-8", line)
}

pub(crate) fn not_found() -> Response<Reply> {
    plain(StatusCode::NOT_FOUND, "Not Found\n")
}

/// To another place of ours, as SRS says it.
pub(crate) fn redirect(location: &str) -> Response<Reply> {
    let mut response = plain(StatusCode::FOUND, format!("Redirect to {location}\n"));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The answer to somebody who was not let in.
pub(super) fn refused(refusal: Refusal) -> Response<Reply> {
    let status = match refusal {
        Refusal::NoVhost | Refusal::VhostDisabled | Refusal::NoName | Refusal::Nowhere => {
            StatusCode::NOT_FOUND
        }
        Refusal::Busy | Refusal::Circle | Refusal::BusyOrigin => StatusCode::CONFLICT,
        Refusal::Referer
        | Refusal::Denied
        | Refusal::NotAllowed
        | Refusal::NoRules
        | Refusal::Origin
        | Refusal::Callback(_) => StatusCode::FORBIDDEN,
        Refusal::NoOrigin => StatusCode::BAD_GATEWAY,
    };
    text(status, "text/plain; charset=utf-8", format!("{refusal}\n"))
}

/// Sends a client to another server.
pub(super) fn found(location: &str) -> Response<Reply> {
    let mut response = text(StatusCode::FOUND, "text/plain; charset=utf-8", "Found\n");
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// `allow` lists the methods the resource has.
pub(crate) fn not_allowed(allow: &'static str) -> Response<Reply> {
    let mut response =
        text(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "Method Not Allowed\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// The answer to OPTIONS: empty and good where cross-origin requests are allowed, else refused.
pub(super) fn options(crossdomain: bool) -> Response<Reply> {
    let status = if crossdomain { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED };
    let mut response = Response::new(Reply::default());
    *response.status_mut() = status;
    response
}

/// Adds what all answers have.
pub(super) fn finish(mut response: Response<Reply>, cors: bool) -> Response<Reply> {
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static(identity::SERVER));
    if cors {
        allow_origins(headers);
    }
    response
}

fn allow_origins(headers: &mut HeaderMap) {
    for (name, value) in CORS {
        if let Ok(name) = HeaderName::try_from(name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
