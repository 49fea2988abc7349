//! Who answers a request: [`answer`] has the order.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, Version, header};
use mill_config::model::Snapshot;
use tracing::warn;

use super::{Connection, Door, auth, files, live, mount, players, reply, shelved};
use crate::api;
use crate::clients::{Peer, Traffic};
use crate::metrics;
use crate::relay::coworkers::{self, Registry};
use crate::relay::via::{self, Via};
use crate::session::admit::{self, Playing};
use crate::session::http::Reply;
use crate::wire::Body;

/// What becomes of a request.
pub(super) enum Answer {
    /// hyper sends this.
    Whole(Response<Reply>),
    /// A stream without an end, outside of hyper.
    Live(Box<live::Request>),
}

impl From<Response<Reply>> for Answer {
    fn from(response: Response<Reply>) -> Self {
        Self::Whole(response)
    }
}

/// A request on its way.
struct Asked<'a> {
    connection: &'a Connection,
    config: &'a Snapshot,
    request: &'a Request<Incoming>,
    /// Whether the answer names who may use it from other origins.
    cors: bool,
}

/// Answers a request. Whoever knows its path first does; nobody is asked behind that.
pub(super) async fn answer(connection: &Connection, request: &Request<Incoming>) -> Answer {
    let config = connection.ctx.config.load_full();
    let crossdomain = allows_origins(&config, connection.door, request.uri().path());
    let cors = crossdomain && request.headers().contains_key(header::ORIGIN);
    let asked = &Asked { connection, config: &config, request, cors };
    let found = if request.method() == Method::OPTIONS {
        reply::options(crossdomain).into()
    } else if connection.door == Door::Exporter {
        exporter(asked).await
    } else if let Some(answer) = api(asked).await {
        answer
    } else if let Some(answer) = live_stream(asked).await {
        answer
    } else if let Some(response) = shelved::answer(connection, &config, request).await {
        response.into()
    } else if let Some(response) = files::answer(&config, request).await {
        response.into()
    } else if let Some(response) = players::answer(request).filter(|_| config.http_server.players) {
        response.into()
    } else {
        reply::not_found().into()
    };
    match found {
        Answer::Whole(response) => reply::finish(response, cors).into(),
        live @ Answer::Live(_) => live,
    }
}

fn allows_origins(config: &Snapshot, door: Door, path: &str) -> bool {
    match door {
        Door::Exporter => false,
        _ if api::owns(door, path) => config.http_api.crossdomain,
        _ => config.http_server.crossdomain,
    }
}

/// The listener of the metrics has nothing else.
async fn exporter(asked: &Asked<'_>) -> Answer {
    let answer = match (asked.request.method(), asked.request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => metrics::serve(&asked.connection.ctx).await,
        (_, "/metrics") => reply::not_allowed("GET, HEAD"),
        _ => reply::not_found(),
    };
    answer.into()
}

/// The API, where the door is its.
async fn api(asked: &Asked<'_>) -> Option<Answer> {
    let Asked { connection, config, request, .. } = asked;
    if !api::owns(connection.door, request.uri().path()) {
        return None;
    }
    if !auth::permits(&config.http_api.auth, request.uri().path(), request.headers()) {
        return Some(auth::challenge().into());
    }
    let answer = api::answer(&connection.ctx, connection.local, connection.peer, request).await;
    Some(answer.into())
}

/// A live stream at its mount.
async fn live_stream(asked: &Asked<'_>) -> Option<Answer> {
    let Asked { connection, config, request, cors } = asked;
    let (mut wanted, format) = mount::find(config, request)?;
    if let Some(via) = request.headers().get(via::HEADER).and_then(|value| value.to_str().ok()) {
        wanted.via = Via::parse(via);
    }
    if request.method() == Method::HEAD {
        return Some(live::head(format).into());
    }
    if request.method() != Method::GET {
        return Some(reply::not_allowed("GET, HEAD, OPTIONS").into());
    }
    let body = if request.version() == Version::HTTP_11 { Body::Chunked } else { Body::Bare };
    let peer = connection.describe(&wanted, request);
    let playing = match admit::play(&connection.ctx, &peer, wanted).await {
        Ok(playing) => playing,
        Err(refusal) => {
            connection.ctx.metrics.ended(refusal.code());
            warn!("serve error code={} : {refusal}", refusal.code());
            return Some(reply::refused(refusal).into());
        }
    };
    if let Some(elsewhere) = elsewhere(asked, &playing).await {
        return Some(elsewhere.into());
    }
    // A reload that came in between has ended all viewers it found; this one it could not find.
    if !playing.vhost.http_remux.enabled {
        return Some(reply::not_found().into());
    }
    Some(Answer::Live(Box::new(live::Request { playing, format, body, cors: *cors })))
}

/// Where a viewer finds a stream that another origin has; `None`: it waits here for a publisher.
async fn elsewhere(asked: &Asked<'_>, playing: &Playing) -> Option<Response<Reply>> {
    let Asked { connection, request, .. } = asked;
    if !coworkers::wanted(&playing.vhost, playing.watch.stream()) {
        return None;
    }
    let client = playing.presence.client();
    let host = client.peer.tc_url.split('/').nth(2).unwrap_or_default();
    let origin = connection.ctx.coworkers.find(&playing.vhost, &client.stream, host).await?;
    let path = request.uri().path_and_query()?;
    Some(reply::found(&format!("http://{}{path}", origin.http?)))
}

impl Connection {
    /// Who wants to play, in the terms of an RTMP client.
    pub(super) fn describe<B>(&self, asked: &admit::Request, request: &Request<B>) -> Peer {
        let traffic = Traffic::default();
        traffic.add_received(head_size(request));
        let page_url = request.headers().get(header::REFERER).and_then(|value| value.to_str().ok());
        // Over HTTP/2 there may be several viewers in a connection, each with a task of its own.
        let alone = request.version() != Version::HTTP_2;
        Peer {
            id: if alone { self.cid } else { self.ctx.tasks.next_id() },
            ip: self.peer.ip(),
            tc_url: format!("rtmp://{}/{}", asked.vhost, asked.app).into(),
            page_url: page_url.unwrap_or_default().into(),
            swf_url: Arc::default(),
            traffic: Arc::new(traffic),
        }
    }
}

/// The size of a request's head as most clients write it; hyper does not tell.
fn head_size<B>(request: &Request<B>) -> usize {
    let line = request.method().as_str().len() + request.uri().to_string().len() + " HTTP/1.1\r\n".len() + 1;
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    line + headers.sum::<usize>() + 2
}
