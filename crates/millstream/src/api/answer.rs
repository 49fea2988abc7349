//! What the API answers: JSON in SRS's form, a bare code, or one of HTTP's own answers.
//!
//! A failure is HTTP 200 with `{"code":N}` and nothing else. A success is an envelope (`code`, `server`)
//! around the members of the resource's own struct, in the order of its fields; what SRS has added to the
//! envelope since (`service`, `pid`) follows at the end.

use std::io;

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode, Uri};
use serde::Serialize;

use super::route::Methods;
use crate::session::Context;
use crate::session::http::{Reply, reply};

/// SRS's number for a path that climbs.
pub(super) const UNCLEAN_PATH: u32 = 4002;
/// For a JSONP function whose name is none.
pub(super) const JSONP: u32 = 4058;

/// An answer before it is sent.
pub(crate) struct Answer {
    body: Body,
    last: bool,
}

enum Body {
    Json(Vec<u8>),
    /// Everything that is not JSON, complete.
    Http(Box<Response<Reply>>),
}

/// What surrounds every good answer.
#[derive(Serialize)]
struct Envelope<'a, T> {
    code: u32,
    server: &'a str,
    #[serde(flatten)]
    resource: &'a T,
    service: &'a str,
    pid: &'a str,
}

#[derive(Serialize)]
struct Code {
    code: u32,
}

impl Answer {
    /// A good answer: the members of `resource` in the envelope.
    pub(crate) fn ok(ctx: &Context, resource: &impl Serialize) -> Self {
        let identity = &ctx.identity;
        Self::json(&Envelope {
            code: 0,
            server: &identity.server,
            resource,
            service: &identity.service,
            pid: &identity.pid,
        })
    }

    /// A bare number: what went wrong, or 0.
    pub(crate) fn code(code: u32) -> Self {
        Self::json(&Code { code })
    }

    /// Any JSON, without the envelope.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::new(Body::Json(to_json(value)))
    }

    /// An answer that is HTTP's own affair. JSONP does not touch it.
    pub(crate) fn http(response: Response<Reply>) -> Self {
        Self::new(Body::Http(Box::new(response)))
    }

    pub(super) fn not_found() -> Self {
        Self::http(reply::not_found())
    }

    pub(super) fn not_allowed(methods: Methods) -> Self {
        Self::http(reply::not_allowed(methods.names()))
    }

    /// To the same place with a slash at the end of the path, as clients of SRS know it.
    pub(super) fn redirect(uri: &Uri) -> Self {
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        Self::http(reply::redirect(&format!("{}/{query}", uri.path())))
    }

    /// The connection is closed behind it.
    pub(super) fn last(self) -> Self {
        Self { last: true, ..self }
    }

    fn new(body: Body) -> Self {
        Self { body, last: false }
    }

    /// As HTTP; JSON becomes a call of `callback` if there is one.
    pub(super) fn respond(self, callback: Option<&str>) -> Response<Reply> {
        let mut response = match (self.body, callback) {
            (Body::Http(response), _) => *response,
            (Body::Json(json), None) => reply::text(StatusCode::OK, "application/json", json),
            (Body::Json(json), Some(name)) => {
                let mut call = Vec::with_capacity(name.len() + json.len() + 2);
                call.extend_from_slice(name.as_bytes());
                call.push(b'(');
                call.extend_from_slice(&json);
                call.push(b')');
                reply::text(StatusCode::OK, "text/javascript", call)
            }
        };
        let headers = response.headers_mut();
        // Names of streams are strangers' words: no browser shall take them for a page.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.last {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// JSON as SRS writes it: members in the order of the fields, floats with two decimals.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, TwoDecimals);
    // Our own structs into memory: nothing of that can fail.
    if value.serialize(&mut serializer).is_err() {
        return b"{}".to_vec();
    }
    out
}

struct TwoDecimals;

impl serde_json::ser::Formatter for TwoDecimals {
    fn write_f32<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        write!(writer, "{value:.2}")
    }

    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_floats_have_two_decimals() {
        #[derive(Serialize)]
        struct Inner {
            fragment: f64,
            count: u32,
        }
        #[derive(Serialize)]
        struct Resource {
            zebra: Vec<Inner>,
            apple: f64,
        }
        let resource = Resource { zebra: vec![Inner { fragment: 10.0, count: 3 }], apple: 0.456 };
        let whole = Envelope { code: 0, server: "s", resource: &resource, service: "x", pid: "1" };
        assert_eq!(
            String::from_utf8(to_json(&whole)).unwrap(),
            r#"{"code":0,"server":"s","zebra":[{"fragment":10.00,"count":3}],"apple":0.46,"service":"x","pid":"1"}"#
        );
    }

    #[test]
    fn redirects_keep_the_query() {
        let response = Answer::redirect(&"/api/v1/streams?x=1".parse().unwrap()).respond(Some("f"));
        assert_eq!(response.status(), StatusCode::FOUND);
        assert_eq!(response.headers()[header::LOCATION], "/api/v1/streams/?x=1");
    }

    #[test]
    fn jsonp_is_a_call() {
        let response = Answer::code(0).respond(Some("f"));
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript");
    }
}
