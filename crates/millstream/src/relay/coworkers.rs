//! The origin cluster: which other origin has a stream that is not here.
//!
//! [`Registry`] is what a vhost with `origin_cluster on` asks. [`Coworkers`] is SRS's answer to it: the HTTP APIs of
//! the other origins, each asked at `/api/v1/clusters`, all at the same time; the first that has the stream counts. A
//! server that is its own coworker says that it has not, so nothing goes in circles. Bounded: [`ANSWER`] for each of
//! at most [`MAX_ASKED`] coworkers, [`MAX_ANSWER`] for what it says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http_body_util::BodyExt;
use hyper::Method;
use mill_config::model::Vhost;
use mill_hub::{Stream, StreamId};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use tracing::{info, warn};

use super::client::Error;
use super::dial::Dialer;
use super::target::Server;
use super::web;

/// From the connection to the whole answer, which takes an origin a millisecond.
const ANSWER: Duration = Duration::from_secs(2);

/// An answer has some hundred bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Coworkers asked for one player.
const MAX_ASKED: usize = 64;

/// Port of the API.
const API_PORT: u16 = 1985;

/// An origin that has a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) rtmp: Server,
    /// Where it delivers over HTTP; an SRS does not say.
    pub(crate) http: Option<Server>,
}

/// Knows where streams are.
pub(crate) trait Registry: Send + Sync {
    /// The origin that has the stream; `None` if nobody says so in time. `host` is the one the player has called.
    fn find<'a>(
        &'a self,
        vhost: &'a Vhost,
        stream: &'a StreamId,
        host: &'a str,
    ) -> BoxFuture<'a, Option<Origin>>;
}

/// Whether a player of this stream is to be sent elsewhere.
pub(crate) fn wanted(vhost: &Vhost, stream: &Stream) -> bool {
    vhost.cluster.origin_cluster && !vhost.cluster.is_edge() && !stream.is_live()
}

/// SRS's registry: everybody is asked.
pub(crate) struct Coworkers(Arc<Dialer>);

impl Coworkers {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self(dialer)
    }

    async fn ask(&self, coworker: &str, query: &str) -> Result<Option<Origin>, Error> {
        let server = Server::parse_with_port(coworker, API_PORT)?;
        let transport = self.0.connect(&server, Path::new(""), ANSWER).await?;
        let path = format!("/api/v1/clusters?{query}&coworker={}", encoded(coworker));
        let (response, mut connection) = web::ask(transport, Method::POST, &server, &path, "").await?;
        if !response.status().is_success() {
            return Err(Error::Status(response.status().as_u16()));
        }
        let mut body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
        let mut text = Vec::new();
        let mut open = true;
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                _ = &mut connection, if open => {
                    open = false;
                    continue;
                }
            };
            match frame {
                Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(e)) => return Err(Error::Broken(std::io::Error::other(e))),
                None => break,
            }
        }
        parse(&text)
            .ok_or_else(|| Error::Broken(std::io::Error::other("the answer is not that of an origin")))
    }
}

impl Registry for Coworkers {
    fn find<'a>(
        &'a self,
        vhost: &'a Vhost,
        stream: &'a StreamId,
        host: &'a str,
    ) -> BoxFuture<'a, Option<Origin>> {
        Box::pin(async move {
            let StreamId { vhost: name, app, name: stream } = stream;
            let [name, host, app, stream] = [name, host, app, stream].map(encoded);
            let query = &format!("vhost={name}&ip={host}&app={app}&stream={stream}");
            let ask = |coworker: &'a String| async move {
                let limit = ANSWER;
                let late = |_| Err(Error::Timeout { phase: "the answer", limit });
                (coworker, tokio::time::timeout(limit, self.ask(coworker, query)).await.unwrap_or_else(late))
            };
            let mut asked: FuturesUnordered<_> =
                vhost.cluster.coworkers.iter().take(MAX_ASKED).map(ask).collect();
            while let Some((coworker, answer)) = asked.next().await {
                match answer {
                    Ok(Some(origin)) => {
                        info!("rtmp: stream is at {}, says coworker {coworker}", origin.rtmp);
                        return Some(origin);
                    }
                    Ok(None) => {}
                    Err(e) => warn!("cluster: coworker {coworker}: {e}"),
                }
            }
            None
        })
    }
}

/// SRS 3 takes values as they stand and puts `coworker` into its answer, so only what would end a value is encoded.
fn encoded(text: impl AsRef<str>) -> String {
    const VALUE: &AsciiSet =
        &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'>').add(b'?');
    utf8_percent_encode(text.as_ref(), VALUE).to_string()
}

/// Reads an answer: `Some(None)` says that the stream is not there, `None` that nothing can be understood.
fn parse(text: &[u8]) -> Option<Option<Origin>> {
    #[derive(Deserialize)]
    struct Answer {
        code: i64,
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        origin: Option<Found>,
    }
    #[derive(Deserialize)]
    struct Found {
        ip: String,
        port: u16,
        http: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(text).ok()?;
    if answer.code != 0 {
        return None;
    }
    // SRS skips what names no server.
    let Some(found) = answer.data.origin.filter(|found| !found.ip.is_empty() && found.port > 0) else {
        return Some(None);
    };
    // A name or an address, and nothing of a URL around it.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_".contains(&byte);
    if !found.ip.bytes().all(plain) {
        return None;
    }
    let ip = if found.ip.contains(':') { format!("[{}]", found.ip) } else { found.ip };
    let rtmp = Server::parse(&format!("{ip}:{}", found.port)).ok()?;
    let http = found.http.and_then(|text| Server::parse(&text).ok());
    Some(Some(Origin { rtmp, http }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_origins() {
        let read = |origin: &str| {
            let text = format!(r#"{{"code":0,"data":{{"query":{{"ip":"h"}},"origin":{origin}}}}}"#);
            parse(text.as_bytes())
                .map(|found| found.map(|o| (o.rtmp.to_string(), o.http.map(|h| h.to_string()))))
        };
        // Captured from SRS 3.
        let srs = r#"{"ip":"10.0.0.9","port":22935,"vhost":"__defaultVhost__","api":"127.0.0.1:22985","routers":["127.0.0.1:22985"]}"#;
        assert_eq!(read(srs), Some(Some(("10.0.0.9:22935".into(), None))));
        let ours = r#"{"ip":"::1","port":1935,"http":"10.0.0.9:8080"}"#;
        assert_eq!(read(ours), Some(Some(("[::1]:1935".into(), Some("10.0.0.9:8080".into())))));
        for nowhere in ["null", r#"{"ip":"","port":1935}"#, r#"{"ip":"h","port":0}"#] {
            assert_eq!(read(nowhere), Some(None), "{nowhere}");
        }
        for wrong in [r#"{"ip":"h","port":70000}"#, r#"{"ip":"a b/c\n","port":1}"#, "[]", "7"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for wrong in ["", "{}", r#"{"code":1,"data":{"origin":null}}"#, "<html>"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
