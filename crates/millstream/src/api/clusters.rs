//! `/api/v1/clusters`: whether a stream is published here, for other origins that look for it.

use std::net::{IpAddr, SocketAddr};

use mill_hub::StreamId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked};

/// SRS's answer here has no `server`.
#[derive(Serialize, ToSchema)]
pub(super) struct Clusters {
    code: u32,
    data: ClusterData,
}

#[derive(Serialize, ToSchema)]
struct ClusterData {
    query: ClusterQuery,
    origin: Option<Origin>,
}

/// What was asked.
#[derive(Serialize, ToSchema)]
struct ClusterQuery {
    ip: String,
    vhost: String,
    app: String,
    stream: String,
}

/// Where the stream is.
#[derive(Serialize, ToSchema)]
struct Origin {
    ip: String,
    port: u16,
    vhost: String,
    api: String,
    routers: Vec<String>,
    /// Where it delivers over HTTP, if it does; SRS has no such member.
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
}

pub(super) fn answer(asked: &Asked<'_>) -> Answer {
    let text = |name: &str| asked.query.text(name).into_owned();
    let query =
        ClusterQuery { ip: text("ip"), vhost: text("vhost"), app: text("app"), stream: text("stream") };
    let origin = is_live(asked, &query).then(|| origin(asked, &query));
    Answer::json(&Clusters { code: 0, data: ClusterData { query, origin } })
}

fn is_live(asked: &Asked<'_>, query: &ClusterQuery) -> bool {
    let Some(vhost) = asked.ctx.config.load().vhost(&query.vhost).cloned() else { return false };
    let stream = StreamId { vhost: vhost.name.clone(), app: query.app.clone(), name: query.stream.clone() };
    asked.ctx.hub.find(&stream).is_some_and(|stream| stream.is_live())
}

fn origin(asked: &Asked<'_>, query: &ClusterQuery) -> Origin {
    let config = asked.ctx.config.load();
    let rtmp = config.global.listen.first().copied();
    let coworker = asked.query.text("coworker");
    let host = coworker.rsplit_once(':').map_or(&*coworker, |(host, _)| host);
    let ip = match rtmp.map(|address| address.ip()).filter(|ip| is_specific(*ip)) {
        Some(ip) => ip.to_string(),
        None if !host.is_empty() => host.to_owned(),
        None => asked.local.ip().to_string(),
    };
    // A configuration without one is not read; whoever asks has come by one of them in any case.
    let api = config.http_api.listen.first().copied().unwrap_or(asked.local);
    let api = if api.ip().is_unspecified() { SocketAddr::new(asked.local.ip(), api.port()) } else { api };
    let api = api.to_string();
    let (http, port) = (&config.http_server, |address: &SocketAddr| address.port());
    let http = http.listen.first().map(port).filter(|_| http.enabled).map(|port| {
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
        format!("{host}:{port}")
    });
    Origin {
        ip,
        http,
        port: rtmp.map_or(0, |address| address.port()),
        vhost: query.vhost.clone(),
        routers: vec![api.clone()],
        api,
    }
}

/// An address others can reach.
fn is_specific(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_loopback()
}
