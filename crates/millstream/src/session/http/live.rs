//! A live stream as an endless HTTP response.
//!
//! The response head goes out at once, whether or not somebody publishes; the body begins with the
//! publish and ends with it. A shard writes; this task only reads, to notice when the peer goes. Over TLS it
//! writes too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderValue};
use mill_config::model::HttpRemux;
use mill_hub::Tracks;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info};

use super::reply::{self, Reply};
use crate::fanout::Ended;
use crate::identity;
use crate::session::Context;
use crate::session::admit::{self, Playing};
use crate::wire::{Declare, FlvTags};

const CONTENT_TYPE: &str = "video/x-flv";

/// A viewer has nothing to say after its request. One that says more than this is not a viewer.
const MAX_CHATTER: usize = 64 * 1024;

/// A request for a live stream that was admitted.
pub(super) struct Request {
    pub(super) playing: Playing,
    pub(super) format: FlvTags,
    pub(super) cors: bool,
}

/// The wire format for a vhost's viewers.
pub(super) fn format(conf: &HttpRemux, chunked: bool) -> FlvTags {
    let declare = if conf.guess_has_av {
        Declare::Real
    } else {
        let tracks = Tracks { audio: conf.has_audio, video: conf.has_video };
        Declare::Fixed { tracks, only: conf.drop_if_not_match }
    };
    FlvTags { chunked, declare }
}

/// The answer to HEAD.
pub(super) fn head() -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    reply::finish(response, false)
}

/// Serves one viewer to its end.
pub(super) async fn serve(ctx: Arc<Context>, request: Request, socket: TcpStream) {
    let Request { playing: Playing { vhost, watch, presence }, format, cors } = request;
    let traffic = &presence.client().peer.traffic;
    info!("http: play flv stream url={}", admit::stream_url(watch.stream().id()));
    let greeting = response_head(format.chunked, cors);
    let pace = admit::pace(&vhost);
    drop(vhost);
    let (reader, writer) = socket.into_split();
    let lane = watch.stream().lane(Arc::new(format));
    let seat = ctx.fanout.join(lane, Arc::new(writer), greeting, pace, traffic.clone());
    let ended = tokio::select! {
        ended = seat.ended() => ended,
        () = until_gone(&reader) => Ended::Failed,
    };
    report(&ctx, ended, traffic.sent(), seat.skips());
}

/// The same over TLS: no shard can write there, so this task does both.
pub(super) async fn serve_tls(ctx: Arc<Context>, request: Request, stream: TlsStream<TcpStream>) {
    let Request { playing: Playing { vhost, watch, presence }, format, cors } = request;
    let traffic = &presence.client().peer.traffic;
    info!("https: play flv stream url={}", admit::stream_url(watch.stream().id()));
    let greeting = response_head(format.chunked, cors);
    let pace = admit::pace(&vhost);
    drop(vhost);
    let (mut reader, writer) = tokio::io::split(stream);
    let lane = watch.stream().lane(Arc::new(format));
    let skips = AtomicU32::new(0);
    let ended = tokio::select! {
        ended = ctx.fanout.deliver(lane, writer, greeting, pace, traffic, &skips) => ended,
        () = until_silent(&mut reader) => Ended::Failed,
    };
    report(&ctx, ended, traffic.sent(), skips.into_inner());
}

fn report(ctx: &Context, ended: Ended, sent: u64, skips: u32) {
    ctx.metrics.ended(if ended == Ended::Stream { 4040 } else { 1007 });
    match ended {
        Ended::Stream => info!("http: stream ended, ret=4040, sent={sent}, skips={skips}"),
        _ => info!("http: client disconnect peer, ret=1007, sent={sent}, skips={skips}"),
    }
}

fn response_head(chunked: bool, cors: bool) -> Bytes {
    // HTTP/1.1 as the version of this server, also towards a client of 1.0 (RFC 9110, 2.5).
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {CONTENT_TYPE}\r\nCache-Control: no-cache\r\nServer: {}\r\n",
        identity::SERVER
    );
    if chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    }
    if cors {
        for (name, value) in reply::CORS {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    head.into()
}

/// Resolves when the peer has closed, or talks.
async fn until_gone(reader: &OwnedReadHalf) {
    let mut heard = 0;
    while heard <= MAX_CHATTER {
        if reader.readable().await.is_err() {
            return;
        }
        let mut chatter = [0; 1024];
        match reader.try_read(&mut chatter) {
            Ok(0) => return,
            Ok(n) => heard += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
    debug!("http: viewer sent more than {MAX_CHATTER} bytes");
}

/// The same for a peer behind TLS.
async fn until_silent(reader: &mut (impl AsyncRead + Unpin)) {
    let mut heard = 0;
    while heard <= MAX_CHATTER {
        match reader.read(&mut [0; 256]).await {
            Ok(0) | Err(_) => return,
            Ok(n) => heard += n,
        }
    }
    debug!("https: viewer sent more than {MAX_CHATTER} bytes");
}
