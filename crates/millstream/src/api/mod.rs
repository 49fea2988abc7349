//! The HTTP API: SRS's paths, field names, types and units.
//!
//! [`ROUTES`] is the whole of it, one line per resource; a resource is a file of this folder with a struct
//! for its answer and a function that fills it. Everything that does not depend on the resource is done
//! here: which route, which method, JSONP. CORS headers and OPTIONS are the connection's
//! ([`crate::session::http`]). Handlers only read shared state, under locks that no session waits for, and
//! nothing a request says is kept. Bodies of requests are not read.

mod about;
pub(crate) mod answer;
pub(crate) mod asked;
mod callbacks;
mod clients;
mod clusters;
mod dvrs;
mod echo;
mod forwards;
mod index;
mod openapi;
mod programs;
mod raw;
mod route;
mod streams;
pub(crate) mod system;
mod versions;
mod vhosts;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::{Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clients::stats;
use crate::metrics;
use crate::session::Context;
use crate::session::http::{Door, Reply};
pub(crate) use answer::Answer;
pub(crate) use asked::Asked;
use asked::Query;
use openapi::{bare, data, enveloped, failure, open, redirect};
use route::Methods::{Any, Get, GetDelete};
use route::{Found, Route, later, now};

/// All resources, in the order in which the index names them. The path of one that ends in `/` is also the
/// beginning of those of its items.
#[rustfmt::skip] // one resource, one line
pub(crate) static ROUTES: &[Route] = &[
    now("/api/", Get, index::api, "the versions of the API").shape(enveloped::<index::Api>),
    now("/api/v1/", Get, index::v1, "the resources of version 1").shape(enveloped::<index::V1>),
    now("/api/v1/versions", Get, versions::get, "the version of the server").shape(enveloped::<versions::Versions>),
    now("/api/v1/summaries", Get, system::summaries, "the figures of server and machine in short").shape(data::<system::Summaries>),
    now("/api/v1/rusages", Get, system::rusages, "the resources the server has used").shape(data::<system::Rusages>),
    now("/api/v1/self_proc_stats", Get, system::self_proc_stats, "the state of the server's process").shape(data::<system::SelfProcStats>),
    now("/api/v1/system_proc_stats", Get, system::system_proc_stats, "the time of the machine's processors").shape(data::<system::SystemProcStats>),
    now("/api/v1/meminfos", Get, system::meminfos, "the memory of the machine").shape(data::<system::Meminfos>),
    now("/api/v1/authors", Get, about::authors, "license and authors").shape(data::<about::Authors>),
    now("/api/v1/features", Get, about::features, "what the server can do, and when it was built").shape(data::<about::Features>),
    now("/api/v1/tests/requests", Get, echo::requests, "the request as the server understands it").shape(data::<echo::Echo>),
    now("/api/v1/tests/errors", Get, echo::errors, "always the error 100").shape(failure),
    now("/api/v1/tests/redirects", Get, echo::redirects, "always a redirect to tests/errors").shape(redirect),
    now("/api/v1/requests", Get, index::v1, "as in SRS, this list once more").shape(enveloped::<index::V1>),
    now("/api/v1/vhosts/", Get, vhosts::get, "the vhosts, or one of them").shape(enveloped::<vhosts::Vhosts>).item(enveloped::<vhosts::OneVhost>),
    now("/api/v1/streams/", Get, streams::get, "the streams, or one of them").shape(enveloped::<streams::Streams>).item(enveloped::<streams::OneStream>).query(&["start", "count"]),
    now("/api/v1/clients/", GetDelete, clients::answer, "the clients by start and count, or one of them; DELETE cuts it off").shape(enveloped::<clients::Clients>).item(enveloped::<clients::OneClient>).query(&["start", "count"]),
    now("/api/v1/dvrs", Any, dvrs::answer, "the recordings; POST and DELETE begin and end that of a running stream").shape(enveloped::<dvrs::Dvrs>).query(&["vhost", "app", "stream"]),
    now("/api/v1/forwards", Get, forwards::get, "where streams are sent to, and how that goes").shape(enveloped::<forwards::Forwards>),
    now("/api/v1/programs", Get, programs::get, "the programs beside the server: ingests, transcoders, exec").shape(enveloped::<programs::Programs>),
    later("/api/v1/raw", Get, raw::get, "the configuration: reload, query, update").shape(open::<raw::Raw>).query(&["rpc", "scope", "value", "param", "data", "vhost"]),
    now("/api/v1/clusters", Any, clusters::answer, "where a stream is published").shape(bare::<clusters::Clusters>).query(&["vhost", "ip", "app", "stream", "coworker"]),
    now("/api/v1/callbacks", Get, callbacks::get, "how the callbacks are doing").shape(data::<callbacks::Callbacks>),
    now("/api/v1/openapi.json", Get, openapi::get, "this API, described for machines"),
    later("/metrics", Get, metrics::answer, "the metrics for Prometheus"),
];

/// Most resources that are no lists are one object under this name.
#[derive(Serialize)]
pub(crate) struct Data<T> {
    pub(crate) data: T,
}

/// Rates over 30 s as the API writes them.
#[derive(Serialize, ToSchema)]
struct Kbps {
    /// kbit/s received from clients.
    recv_30s: u64,
    /// kbit/s sent to clients.
    send_30s: u64,
}

impl From<stats::Kbps> for Kbps {
    fn from(kbps: stats::Kbps) -> Self {
        Self { recv_30s: kbps.received.round() as u64, send_30s: kbps.sent.round() as u64 }
    }
}

/// Whether a path belongs to the API at that door. The delivery port answers for versions only, unless it
/// is the API's port too.
pub(crate) fn owns(door: Door, path: &str) -> bool {
    match door {
        Door::Api => true,
        Door::Exporter => false,
        Door::Delivery => path == "/api/v1/versions",
        Door::Both => path.starts_with("/api/") || matches!(path, "/api" | "/metrics"),
    }
}

/// Answers a request whose path is the API's.
pub(crate) async fn answer<B>(
    ctx: &Arc<Context>,
    local: SocketAddr,
    peer: SocketAddr,
    request: &Request<B>,
) -> Response<Reply> {
    let query = Query::new(request.uri().query().unwrap_or(""));
    let callback = query.get("callback").filter(|name| !name.is_empty());
    if callback.as_deref().is_some_and(|name| !asked::is_safe_name(name)) {
        return Answer::code(answer::JSONP).last().respond(None);
    }
    let method = asked::method(request.method(), &query, callback.is_some());
    let answer = match route::find(ROUTES, request.uri().path()) {
        Found::Unclean => Answer::code(answer::UNCLEAN_PATH).last(),
        Found::Nothing => Answer::not_found(),
        Found::Slash => Answer::redirect(request.uri()),
        Found::Route(route, rest) if route.methods.allow(&method) => {
            let headers = request.headers();
            let asked = Asked { ctx, method, uri: request.uri(), rest, query: &query, headers, local, peer };
            route.handler.call(&asked).await
        }
        Found::Route(route, _) => Answer::not_allowed(route.methods),
    };
    answer.respond(callback.as_deref())
}
