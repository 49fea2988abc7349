//! A live stream as an endless HTTP response.
//!
//! The response head goes out at once, whether or not somebody publishes; the body begins with the publish and
//! ends with it. A shard writes; this task only reads, to notice when the peer goes. Over TLS it writes too.
//!
//! A stream that has nothing a format carries (`.aac` of MP3, or of pictures alone) is 404 if that is known when
//! the request comes; else the body ends, whole but empty, as soon as it is.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use mill_config::model::HttpRemux;
use mill_hub::{Lane, Tracks, Watch, WireFormat};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tracing::{debug, info};

use super::reply::{self, Reply};
use crate::clients::{Presence, Traffic};
use crate::fanout::{Ended, Pace};
use crate::identity;
use crate::relay::edge::Supply;
use crate::session::Context;
use crate::session::admit::{self, Playing};
use crate::wire::{Body, Declare, FlvTags, SoundCodec, SoundFrames, TsPackets};

/// A viewer has nothing to say after its request. One that says more than this is not a viewer.
const MAX_CHATTER: usize = 64 * 1024;

/// A peer that does not take a few hundred bytes by then takes nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What hyper has not taken yet of a live stream over HTTP/2; more lies in hyper, up to the peer's window.
const H2_BUFFER: usize = 64 * 1024;

/// SRS's number for a viewer whose stream has no more for it.
const STREAM_OVER: u32 = 4040;

/// What live streams come in over HTTP: the ending of the mount template says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Flv,
    Ts,
    Aac,
    Mp3,
}

impl Format {
    const ALL: [Self; 4] = [Self::Flv, Self::Ts, Self::Aac, Self::Mp3];

    /// The format of a mount template.
    pub(super) fn of(mount: &str) -> Option<Self> {
        let (_, ending) = mount.rsplit_once('.')?;
        Self::ALL.into_iter().find(|format| format.ending() == ending)
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Flv => "flv",
            Self::Ts => "ts",
            Self::Aac => "aac",
            Self::Mp3 => "mp3",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Flv => "video/x-flv",
            Self::Ts => "video/MP2T",
            Self::Aac => "audio/x-aac",
            Self::Mp3 => "audio/mpeg",
        }
    }

    /// How a vhost's viewers get it.
    fn wire(self, conf: &HttpRemux, body: Body) -> Arc<dyn WireFormat> {
        match self {
            Self::Flv => {
                let tracks = Tracks { audio: conf.has_audio, video: conf.has_video };
                let fixed = Declare::Fixed { tracks, only: conf.drop_if_not_match };
                let declare = if conf.guess_has_av { Declare::Real } else { fixed };
                Arc::new(FlvTags { body, declare })
            }
            Self::Ts => Arc::new(TsPackets { body }),
            Self::Aac => Arc::new(SoundFrames { body, codec: SoundCodec::Aac }),
            Self::Mp3 => Arc::new(SoundFrames { body, codec: SoundCodec::Mp3 }),
        }
    }
}

/// A request for a live stream that was admitted.
pub(super) struct Request {
    pub(super) playing: Playing,
    pub(super) format: Format,
    pub(super) body: Body,
    pub(super) cors: bool,
}

/// The answer to HEAD.
pub(super) fn head(format: Format) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Serves one viewer to its end.
pub(super) async fn serve(ctx: Arc<Context>, request: Request, socket: TcpStream) {
    let (reader, mut writer) = socket.into_split();
    let Request { format, body, cors, .. } = request;
    let viewing = match Viewing::begin(&ctx, request) {
        Ok(viewing) => viewing,
        // Boxed: the others need no room for it.
        Err(nothing) => return Box::pin(refuse(&mut writer, &nothing.head(cors))).await,
    };
    let traffic = viewing.traffic().clone();
    let Viewing { lane, pace, .. } = &viewing;
    let greeting = response_head(format, body, cors);
    let seat = ctx.fanout.join(lane.clone(), Arc::new(writer), greeting, *pace, traffic.clone());
    let ended = tokio::select! {
        ended = seat.ended() => ended,
        () = until_gone(&reader) => Ended::Failed,
        () = hopeless(&viewing.supply) => Ended::Failed,
    };
    report(&ctx, ended, traffic.sent(), seat.skips());
}

/// The same over TLS: no shard can write there, so this task does both.
pub(super) async fn serve_tls(ctx: Arc<Context>, request: Request, stream: TlsStream<TcpStream>) {
    let Request { format, body, cors, .. } = request;
    match Viewing::begin(&ctx, request) {
        Ok(viewing) => deliver(&ctx, viewing, stream, response_head(format, body, cors)).await,
        Err(nothing) => refuse(&mut { stream }, &nothing.head(cors)).await,
    }
}

/// The same over HTTP/2: what hyper sends in the one stream of the connection is written here, in a task of its
/// own. Such a viewer counts as a connection.
pub(super) async fn serve_h2(ctx: &Arc<Context>, request: Request) -> Response<Reply> {
    let Some(permit) = ctx.connections.admit() else {
        return reply::plain(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n");
    };
    let format = request.format;
    let viewing = match Viewing::begin(ctx, request) {
        Ok(viewing) => viewing,
        Err(nothing) => return nothing.response(),
    };
    let (ours, theirs) = tokio::io::duplex(H2_BUFFER);
    let (id, ctx) = (viewing.presence.client().peer.id, ctx.clone());
    let tasks = ctx.tasks.clone();
    let (seat, seated) = oneshot::channel();
    tasks.spawn(id, async move {
        let _permit = permit;
        let mut delivery = pin!(deliver(&ctx, viewing, ours, Bytes::new()));
        // Its first step takes a place in the stream: of a publish that begins after the answer nothing is missed.
        let begun = poll_fn(|cx| Poll::Ready(delivery.as_mut().poll(cx))).await;
        let _ = seat.send(());
        if begun.is_pending() {
            delivery.await;
        }
    });
    let _ = seated.await;
    let mut response = head(format);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    *response.body_mut() = Reply::Live(theirs);
    response
}

async fn deliver(ctx: &Context, viewing: Viewing, stream: impl AsyncRead + AsyncWrite, greeting: Bytes) {
    let (mut reader, writer) = tokio::io::split(stream);
    let traffic = viewing.traffic();
    let Viewing { lane, pace, .. } = &viewing;
    let skips = AtomicU32::new(0);
    let ended = tokio::select! {
        ended = ctx.fanout.deliver(lane.clone(), writer, greeting, *pace, traffic, &skips) => ended,
        () = until_silent(&mut reader) => Ended::Failed,
        () = hopeless(&viewing.supply) => Ended::Failed,
    };
    report(ctx, ended, traffic.sent(), skips.into_inner());
}

/// What a viewer holds while it is served.
struct Viewing {
    lane: Arc<Lane>,
    pace: Pace,
    _watch: Watch,
    supply: Supply,
    presence: Presence,
}

impl Viewing {
    /// Finds the lane; `Err` where the stream is there and has nothing in this format.
    fn begin(ctx: &Context, request: Request) -> Result<Self, Nothing> {
        let Request { playing: Playing { vhost, watch, supply, presence }, format, body, .. } = request;
        info!("http: play {} stream url={}", format.ending(), admit::stream_url(watch.stream().id()));
        let lane = watch.stream().lane(format.wire(&vhost.http_remux, body));
        if lane.is_barren() {
            info!("http: stream has nothing for .{}, ret=4040", format.ending());
            ctx.metrics.ended(STREAM_OVER);
            return Err(Nothing(format));
        }
        let pace = admit::pace(&vhost);
        Ok(Self { lane, pace, _watch: watch, supply, presence })
    }

    fn traffic(&self) -> &Arc<Traffic> {
        &self.presence.client().peer.traffic
    }
}

fn report(ctx: &Context, ended: Ended, sent: u64, skips: u32) {
    ctx.metrics.ended(if ended == Ended::Stream { STREAM_OVER } else { 1007 });
    match ended {
        Ended::Stream => info!("http: stream ended, ret=4040, sent={sent}, skips={skips}"),
        _ => info!("http: client disconnect peer, ret=1007, sent={sent}, skips={skips}"),
    }
}

fn response_head(format: Format, body: Body, cors: bool) -> Bytes {
    let framing = if body == Body::Chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
    let content_type = format.content_type();
    head_of("200 OK", &format!("Content-Type: {content_type}\r\nCache-Control: no-cache\r\n{framing}"), cors)
}

/// The stream is there and has nothing in this format.
struct Nothing(Format);

impl Nothing {
    fn text(&self) -> String {
        format!("The stream has nothing that .{} carries\n", self.0.ending())
    }

    fn response(&self) -> Response<Reply> {
        reply::plain(StatusCode::NOT_FOUND, self.text())
    }

    /// The same as bytes.
    fn head(&self, cors: bool) -> Bytes {
        let text = self.text();
        let headers =
            format!("Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", text.len());
        [&head_of("404 Not Found", &headers, cors)[..], text.as_bytes()].concat().into()
    }
}

async fn refuse(writer: &mut (impl AsyncWrite + Unpin), answer: &[u8]) {
    let all = async {
        writer.write_all(answer).await?;
        writer.shutdown().await
    };
    let _ = timeout(WRITE_TIMEOUT, all).await;
}

fn head_of(status: &str, headers: &str, cors: bool) -> Bytes {
    // HTTP/1.1 as the version of this server, also towards a client of 1.0 (RFC 9110, 2.5).
    let server = identity::SERVER;
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Server: {server}\r\n");
    if cors {
        for (name, value) in reply::CORS {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    head.into()
}

/// Resolves when a stream will not come and the viewer has had the time to be told: its lane has come to an end.
async fn hopeless(supply: &Supply) {
    supply.lost().await;
    sleep(WRITE_TIMEOUT).await;
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
