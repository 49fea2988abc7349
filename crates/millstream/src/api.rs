//! The HTTP API, as far as it exists: which versions run here.
//!
//! `/api/v1/versions` is also answered on the delivery port, where SRS has it too.

mod raw;

use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::identity;
use crate::session::Context;
use crate::session::http::{Door, Reply, reply};

/// Answers a request for anything below the API's root.
pub(crate) async fn answer<B>(ctx: &Context, door: Door, request: &Request<B>) -> Response<Reply> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::not_allowed("GET, HEAD, OPTIONS");
    }
    let body = match request.uri().path() {
        "/api/" => json!({ "code": 0, "urls": { "v1": "the api version 1.0" } }),
        "/api/v1/" => json!({ "code": 0, "urls": { "versions": "the version of the server" } }),
        "/api/v1/versions" => versions(),
        "/api/v1/raw" if door != Door::Delivery => {
            let query = request.uri().query().unwrap_or("");
            raw::call(ctx, &|name| parameter(query, name)).await
        }
        _ => return reply::not_found(),
    };
    reply::text(StatusCode::OK, "application/json", body.to_string())
}

/// The value of the first parameter of that name, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
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
