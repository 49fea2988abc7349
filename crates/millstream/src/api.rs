//! The HTTP API, as far as it exists: which versions run here.
//!
//! `/api/v1/versions` is also answered on the delivery port, where SRS has it too.

use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::identity;
use crate::session::http::{Reply, reply};

/// Answers a request for anything below the API's root.
pub(crate) fn answer<B>(request: &Request<B>) -> Response<Reply> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::not_allowed("GET, HEAD, OPTIONS");
    }
    let body = match request.uri().path() {
        "/api/" => json!({ "code": 0, "urls": { "v1": "the api version 1.0" } }),
        "/api/v1/" => json!({ "code": 0, "urls": { "versions": "the version of the server" } }),
        "/api/v1/versions" => versions(),
        _ => return reply::not_found(),
    };
    reply::text(StatusCode::OK, "application/json", body.to_string())
}

/// `version` is that of SRS whose interfaces we speak, because scripts compare it; `server` is our own.
fn versions() -> Value {
    let mut numbers = identity::SRS_VERSION.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    let (major, minor, revision) = (number(), number(), number());
    json!({
        "code": 0,
        "server": identity::SERVER,
        "data": { "major": major, "minor": minor, "revision": revision, "version": identity::SRS_VERSION }
    })
}
