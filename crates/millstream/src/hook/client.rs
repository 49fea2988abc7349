//! One call: a POST to a callback server, and what its answer means.
//!
//! Calls share one client with a pool of kept-alive connections. Names are resolved on threads for blocking
//! work, so neither that nor a connect holds up anybody but the caller. Bounded: the time of a call by the
//! vhost's `timeout`, the answer by [`MAX_ANSWER`], idle connections by [`MAX_IDLE`] and [`IDLE`].

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use mill_config::model::HttpHooks;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url, redirect};
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::identity;
use crate::log::Redacted;

/// An answer says yes or no; SRS's own servers answer `0`. Some frameworks add a debugging page.
const MAX_ANSWER: usize = 64 * 1024;

/// Connections kept for each callback server. A burst of openings takes more, and gives them back.
const MAX_IDLE: usize = 32;

/// Shorter than the five seconds after which common servers hang up, so that few calls meet a connection
/// that is just being closed.
const IDLE: Duration = Duration::from_secs(4);

/// Carries the id of an event: the same in every attempt to deliver it, and at every URL.
const EVENT_ID: HeaderName = HeaderName::from_static("x-millstream-event-id");

/// Why a call came to nothing, or to a no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("that is no URL")]
    Url,
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("status {0}")]
    Status(u16),
    #[error("the answer is neither 0 nor an object")]
    Body,
    #[error("the answer's code is not the number 0")]
    Code,
    /// Earlier events of the stream cannot be delivered, so this one, which comes later, is not tried.
    #[error("earlier events of the stream are not delivered yet")]
    Away,
}

impl Failure {
    /// SRS's number for it.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::Url => 3007,
            Self::Unreachable(_) | Self::Away => 1018,
            Self::Timeout(_) => 1011,
            Self::Broken(_) => 4025,
            Self::Status(_) => 4005,
            Self::Body => 3008,
            Self::Code => 3064,
        }
    }

    /// The server may have taken the event in although we do not know its answer.
    pub(super) fn is_unsure(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Broken(_))
    }

    /// There was no answer.
    pub(super) fn is_silence(&self) -> bool {
        self.is_unsure() || matches!(self, Self::Unreachable(_))
    }

    /// Worth another attempt: nobody answered, or somebody who says he cannot now (RFC 9110 §15).
    pub(super) fn is_passing(&self) -> bool {
        self.is_silence() || matches!(self, Self::Status(408 | 429 | 500..=599))
    }
}

/// Makes calls.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// Made with the first call, because it reads the certificates of the system.
    http: OnceCell<Client>,
}

impl Caller {
    /// Calls, and sees whether the answer is yes.
    pub(super) async fn call(
        &self,
        url: &Url,
        id: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(), Failure> {
        accepted(&self.fetch(url, id, body, timeout).await?)
    }

    /// Calls once, and once more if the connection breaks: kept-alive ones do, and no answer is no answer. Gives what
    /// a good answer holds.
    pub(super) async fn fetch(
        &self,
        url: &Url,
        id: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Vec<u8>, Failure> {
        let called = async {
            match self.post(url, id, body.clone()).await {
                Err(Failure::Broken(_)) => self.post(url, id, body).await,
                other => other,
            }
        };
        tokio::time::timeout(timeout, called).await.unwrap_or(Err(Failure::Timeout(timeout)))
    }

    /// Gets a URL and reads at most so many bytes of the answer, whatever it is.
    pub(super) async fn get(&self, url: &Url, most: usize, timeout: Duration) -> Result<(), Failure> {
        let fetched = async {
            let http = self.http.get_or_init(client).await;
            let mut answer = http.get(url.clone()).send().await.map_err(failure)?;
            let mut read = 0;
            while read < most {
                let Some(piece) = answer.chunk().await.map_err(failure)? else { break };
                read += piece.len();
            }
            Ok(())
        };
        tokio::time::timeout(timeout, fetched).await.unwrap_or(Err(Failure::Timeout(timeout)))
    }

    async fn post(&self, url: &Url, id: &str, body: Bytes) -> Result<Vec<u8>, Failure> {
        let http = self.http.get_or_init(client).await;
        let request = http.post(url.clone()).header(EVENT_ID, id).body(body);
        let request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut answer = request.send().await.map_err(failure)?;
        let status = answer.status();
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            return Err(Failure::Status(status.as_u16()));
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failure)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(Failure::Body);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// What the backend of forwards answers: `{"code":0,"data":{"urls":[…]}}`. Without `urls` there are none.
pub(super) fn urls_in(body: &[u8]) -> Result<Vec<String>, Failure> {
    accepted(body)?;
    let answer: Value = serde_json::from_slice(body).map_err(|_| Failure::Body)?;
    match answer.get("data").and_then(|data| data.get("urls")) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(urls)) => {
            let texts = urls.iter().map(|url| url.as_str().map(str::to_owned).ok_or(Failure::Body));
            texts.collect()
        }
        Some(_) => Err(Failure::Body),
    }
}

/// Whether a body says yes: `0`, or an object whose `code` is the integer 0. White space around either means
/// nothing, though SRS refuses it around `0`.
fn accepted(body: &[u8]) -> Result<(), Failure> {
    let body = body.trim_ascii();
    if body == b"0" {
        return Ok(());
    }
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else { return Err(Failure::Body) };
    match answer.get("code") {
        Some(Value::Number(code)) if code.as_i64() == Some(0) => Ok(()),
        _ => Err(Failure::Code),
    }
}

/// The innermost cause says what happened; the URL, which may hold secrets, is left out.
fn failure(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    if error.is_builder() {
        Failure::Url
    } else if error.is_connect() {
        Failure::Unreachable(cause)
    } else {
        Failure::Broken(cause)
    }
}

async fn client() -> Client {
    let build = || {
        let builder = || {
            Client::builder()
                .user_agent(identity::SERVER)
                // A redirect is an answer, and not yes.
                .redirect(redirect::Policy::none())
                .no_proxy()
                .pool_max_idle_per_host(MAX_IDLE)
                .pool_idle_timeout(IDLE)
        };
        builder().build().or_else(|e| {
            warn!("callbacks over https will fail: {}", failure(e));
            builder().tls_certs_only([]).build()
        })
    };
    let built = tokio::task::spawn_blocking(build).await;
    built.ok().and_then(Result::ok).unwrap_or_default()
}

/// A callback's URL for the log: without passwords, and without the values of its parameters.
pub(super) struct Shown<'a>(pub(super) &'a Url);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        write!(f, "{}{}", Server::of(url), url.path())?;
        match url.query() {
            Some(query) => write!(f, "{}", Redacted(&format!("?{query}"))),
            None => Ok(()),
        }
    }
}

/// One callback server: scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Server(String);

impl Server {
    pub(super) fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        Self(format!("{}://{host}:{port}", url.scheme()))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URLs of an event that can be read; the check of the configuration has looked at them.
pub(super) fn urls(action: super::Action, conf: &HttpHooks) -> impl Iterator<Item = Option<Url>> {
    action.urls(conf).iter().map(|text| Url::parse(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_srs_reads_them() {
        let read = |body: &str| accepted(body.as_bytes());
        for yes in [
            "0",
            "0\n",
            " \r\n0\t",
            r#"{"code":0}"#,
            r#"{"code":0,"data":{"a":1}}"#,
            "{\"code\":0}\n",
            r#" {"code": 0 }"#,
        ] {
            assert_eq!(read(yes), Ok(()), "{yes:?}");
        }
        for no in
            [r#"{"code":"0"}"#, r#"{"code":0.0}"#, "{}", r#"{"code":1}"#, r#"{"code":null}"#, r#"{"Code":0}"#]
        {
            assert_eq!(read(no), Err(Failure::Code), "{no:?}");
        }
        for no in
            ["", "ok", "1", "[0]", "null", "true", "\"0\"", "00", "0 0", "{\"code\":0", "-0", "\u{feff}0"]
        {
            assert_eq!(read(no), Err(Failure::Body), "{no:?}");
        }
        assert_eq!(accepted(b"\xff\xfe"), Err(Failure::Body));
    }

    #[test]
    fn destinations_of_a_forward_are_read() {
        let read = |body: &str| urls_in(body.as_bytes());
        let urls = ["rtmp://a/live/s".to_owned(), "rtmp://b/live/s?k=v".to_owned()];
        let two = r#"{"code":0,"data":{"urls":["rtmp://a/live/s","rtmp://b/live/s?k=v"]}}"#;
        assert_eq!(read(two), Ok(urls.to_vec()));
        for none in ["0", r#"{"code":0}"#, r#"{"code":0,"data":{}}"#, r#"{"code":0,"data":{"urls":[]}}"#] {
            assert_eq!(read(none), Ok(Vec::new()), "{none}");
        }
        assert_eq!(read(r#"{"code":1,"data":{"urls":["a"]}}"#), Err(Failure::Code));
        for bad in [r#"{"code":0,"data":{"urls":"a"}}"#, r#"{"code":0,"data":{"urls":[1]}}"#, "[]", ""] {
            assert_eq!(read(bad), Err(Failure::Body), "{bad}");
        }
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        let shown = |url: &str| Shown(&Url::parse(url).unwrap()).to_string();
        assert_eq!(shown("http://user:pass@h/x?token=abc&k"), "http://h:80/x?token=***&***");
        assert_eq!(shown("https://h:8443"), "https://h:8443/");
    }
}
