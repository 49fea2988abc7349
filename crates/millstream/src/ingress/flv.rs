//! `flv`: an endless FLV as the body of an HTTP POST, chunked or not.
//!
//! `POST /live/cam.flv?token=x` publishes to `output` with `live` for `[app]` and `cam` for `[stream]`, and the query as
//! parameters of the stream. Nothing is dialled before the body has shown a tag. The sender is held up by the server it
//! is published to: not more than a tag and some kilobytes are ever here. An answer comes in every case: 200 when the
//! body has ended, or what is wrong, at once.
//!
//! A sender that vanishes or says nothing for [`SILENCE`] ends its publish. Bounded: the head by the limits of HTTP
//! below, a tag by `flv::demux`, a server that takes nothing by [`crate::relay::client`].

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use mill_media::flv::demux::{self, Demuxer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{Entrance, output};
use crate::identity;
use crate::relay::client::{self, Options, Outgoing};
use crate::relay::target::Target;
use crate::session::Context;
use crate::session::http::{Reply, reply};

/// A connection that has not sent a whole request head in this time is closed.
const HEAD: Duration = Duration::from_secs(15);

/// Request line and headers together may have so many bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Headers a request may have.
const MAX_HEADERS: usize = 64;

/// A sender that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes that are sent on as one.
const BATCH: usize = 64 * 1024;

/// How long a sender may go on sending behind an answer, so that the answer reaches it.
const LINGER: Duration = Duration::from_secs(2);

/// Why the body is not taken (any more).
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the path is /app/stream.flv")]
    Path,
    #[error("this entrance has just been closed")]
    Closed,
    #[error("{0}")]
    Output(#[from] output::Error),
    #[error("{0}")]
    Flv(#[from] demux::Error),
    #[error("the body has ended within its {0} tag")]
    Torn(&'static str),
    #[error("nothing has come for {SILENCE:?}")]
    Silent,
    /// Nobody is there to hear it.
    #[error("the sender is gone: {0}")]
    Gone(hyper::Error),
    #[error("the server it is published to: {0}")]
    Publish(#[from] client::Error),
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::Path | Self::Output(output::Error::Name(_) | output::Error::Parameters) => {
                StatusCode::NOT_FOUND
            }
            Self::Flv(demux::Error::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Flv(demux::Error::NotFlv) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Torn(_) | Self::Gone(_) => StatusCode::BAD_REQUEST,
            Self::Silent => StatusCode::REQUEST_TIMEOUT,
            Self::Publish(client::Error::Refused(status)) if status.code.ends_with("BadName") => {
                StatusCode::CONFLICT
            }
            Self::Publish(client::Error::Refused(_)) => StatusCode::FORBIDDEN,
            Self::Publish(_) | Self::Output(output::Error::Url(_)) => StatusCode::BAD_GATEWAY,
            Self::Closed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Serves one connection to its end: one request.
pub(super) async fn serve(ctx: Arc<Context>, entrance: Entrance, socket: TcpStream, peer: SocketAddr) {
    info!("FLV client ip={}", peer.ip());
    let service = service_fn(move |request| {
        let ctx = ctx.clone();
        Box::pin(async move { Ok::<_, Infallible>(answer(&ctx, entrance, request).await) })
    });
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .keep_alive(false)
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(e) = poll_fn(|cx| http.poll_without_shutdown(cx)).await {
        return debug!("FLV client finished: {e}");
    }
    linger(http.into_parts().io.into_inner()).await;
    debug!("FLV client finished");
}

/// A socket that is closed with unread input takes the answer with it.
async fn linger(mut socket: TcpStream) {
    let drain = async {
        socket.shutdown().await?;
        let mut rest = [0; 4096];
        while socket.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(LINGER, drain).await;
}

async fn answer(ctx: &Context, entrance: Entrance, request: Request<Incoming>) -> Response<Reply> {
    let path = request.uri().path().to_owned();
    let mut response = if ![Method::POST, Method::PUT].contains(request.method()) {
        reply::not_allowed("POST, PUT")
    } else {
        match take(ctx, entrance, request).await {
            Ok(tags) => {
                info!("FLV {path}: {tags} tags, the body has ended");
                reply::text(StatusCode::OK, TEXT, format!("{tags} tags\n"))
            }
            Err(e) => {
                warn!("FLV {path}: {e}");
                reply::text(e.status(), TEXT, format!("{e}\n"))
            }
        }
    };
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static(identity::SERVER));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Publishes a body to its end; gives the number of its tags.
async fn take(ctx: &Context, entrance: Entrance, request: Request<Incoming>) -> Result<u64, Error> {
    let caster = entrance.settings(ctx).ok_or(Error::Closed)?;
    let uri = request.uri();
    let target = target(&caster.output, uri.path(), uri.query().unwrap_or_default())?;
    let _here = ctx.ingress.sender("flv");
    let mut source = Source { body: request.into_body(), demuxer: Demuxer::new() };
    let Some(first) = source.next_tag().await? else { return Err(Error::Torn("first")) };
    let mut outgoing = Box::pin(Outgoing::open(&ctx.dialer, &target, &Options::default())).await?;
    outgoing.put_message(first.tag_type, first.timestamp, &first.body);
    info!("FLV is published to {target}");
    let mut tags = 1;
    let result = pass_on(&mut source, &mut outgoing, &mut tags).await;
    if !matches!(result, Err(Error::Publish(_))) {
        outgoing.close().await;
    }
    result.map(|()| tags)
}

async fn pass_on(source: &mut Source, outgoing: &mut Outgoing, tags: &mut u64) -> Result<(), Error> {
    loop {
        while let Some(tag) = source.demuxer.next()? {
            // Other types are none of RTMP's.
            if matches!(tag.tag_type, 8 | 9 | 18) {
                outgoing.put_message(tag.tag_type, tag.timestamp, &tag.body);
            }
            *tags += 1;
            if outgoing.unsent() >= BATCH {
                outgoing.flush().await?;
            }
        }
        outgoing.flush().await?;
        tokio::select! {
            more = source.read() => if !more? {
                return if source.demuxer.is_between_tags() { Ok(()) } else { Err(Error::Torn("last")) };
            },
            end = outgoing.ended() => return Err(end.into()),
        }
    }
}

/// The body of a request, being taken apart.
struct Source {
    body: Incoming,
    demuxer: Demuxer,
}

impl Source {
    /// The next tag that RTMP has a message for; `None` at the end of the body.
    async fn next_tag(&mut self) -> Result<Option<demux::Tag>, Error> {
        loop {
            if let Some(tag) = self.demuxer.next()? {
                return Ok(Some(tag));
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Takes a piece of the body; `false` at its end. May be dropped while it waits.
    async fn read(&mut self) -> Result<bool, Error> {
        match timeout(SILENCE, self.body.frame()).await {
            Err(_) => Err(Error::Silent),
            Ok(None) => Ok(false),
            Ok(Some(Err(e))) => Err(Error::Gone(e)),
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.demuxer.feed(data);
                }
                Ok(true)
            }
        }
    }
}

/// Where the stream of that path goes.
fn target(template: &str, path: &str, query: &str) -> Result<Target, Error> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8().map_err(|_| Error::Path)?;
    let (app, name) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/')).ok_or(Error::Path)?;
    let name = name.strip_suffix(".flv").unwrap_or(name);
    if app.is_empty() || name.is_empty() {
        return Err(Error::Path);
    }
    Ok(output::target(template, &[("app", app), ("stream", name)], query)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Result<String, StatusCode> {
        let target = target("rtmp://127.0.0.1:1/[app]/[stream]", path, "").map_err(|e| e.status())?;
        Ok(format!("{}/{}", target.app, target.stream))
    }

    #[test]
    fn paths_name_app_and_stream() {
        assert_eq!(at("/live/cam.flv").unwrap(), "live/cam");
        assert_eq!(at("/live/cam").unwrap(), "live/cam");
        assert_eq!(at("/live/room/cam.flv").unwrap(), "live/room/cam");
        assert_eq!(at("/live/k%C3%BCche.flv").unwrap(), "live/küche");
        for wrong in
            ["/cam.flv", "/", "/live/", "/live/.flv", "/live/a%3Fvhost=b.flv", "/live/%0a", "/live/%ff"]
        {
            assert_eq!(at(wrong), Err(StatusCode::NOT_FOUND), "{wrong}");
        }
    }
}
