//! `/api/v1/tests/…`: answers for those who test a client of the API.

use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Answer, Asked, Data};
use crate::identity;
use crate::session::http::reply;

/// What `tests/errors` fails with.
const ERROR: u32 = 100;

#[derive(Serialize, ToSchema)]
#[expect(non_snake_case, reason = "SRS's names")]
pub(super) struct Echo {
    uri: String,
    path: String,
    METHOD: String,
    /// SRS has the key twice, for the request's headers and for facts about the server; here it is both.
    #[schema(value_type = HashMap<String, String>)]
    headers: Map<String, Value>,
}

/// The request as we have understood it.
pub(super) fn requests(asked: &Asked<'_>) -> Answer {
    let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let uri = match asked.uri.scheme() {
        Some(_) => asked.uri.to_string(),
        None => format!("http://{host}{}", asked.uri),
    };
    let mut headers = headers(asked.headers);
    for (name, value) in [
        ("sigature", "Millstream"),
        ("version", identity::SRS_VERSION),
        ("link", env!("CARGO_PKG_HOMEPAGE")),
        ("time", &crate::system::now_ms().to_string()),
    ] {
        headers.insert(name.to_owned(), value.into());
    }
    let (path, method) = (asked.uri.path().to_owned(), asked.method.to_string());
    Answer::ok(asked.ctx, &Data { data: Echo { uri, path, METHOD: method, headers } })
}

/// The answer may end in a log: it shows no secrets.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let show = |(name, value): (&header::HeaderName, &HeaderValue)| {
        let secret = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name);
        let value =
            if secret { "***".into() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() };
        (name.to_string(), Value::String(value))
    };
    headers.iter().map(show).collect()
}

/// Always an error.
pub(super) fn errors(_: &Asked<'_>) -> Answer {
    Answer::code(ERROR)
}

/// Always elsewhere.
pub(super) fn redirects(_: &Asked<'_>) -> Answer {
    const TO: &str = "/api/v1/tests/errors";
    let text = format!("Redirect to {TO}\n");
    let mut response = reply::text(StatusCode::MOVED_PERMANENTLY, "text/plain; charset=utf-8", text);
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(TO));
    Answer::http(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_repeated() {
        let mut given = HeaderMap::new();
        given.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic YWRtaW46YWRtaW4="));
        given.insert(header::COOKIE, HeaderValue::from_static("session=1"));
        given.insert("x-test", HeaderValue::from_bytes(b"\xff").unwrap());
        let shown = headers(&given);
        assert_eq!((&shown["authorization"], &shown["cookie"]), (&"***".into(), &"***".into()));
        assert_eq!(shown["x-test"], "\u{fffd}");
    }
}
