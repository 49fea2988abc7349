//! Files of packagers over HTTP: from the [`Shelf`](crate::output::shelf::Shelf), whole or in part, and only if the
//! client has not got them (RFC 9110, 13 and 14).

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use mill_config::model::Snapshot;
use tracing::warn;

use super::pieces::{self, Pieces};
use super::reply::{self, Reply};
use super::{Connection, mount, ondemand, viewing};
use crate::output::shelf::{Body, Caching, Item};

/// Longest path that is looked at.
const MAX_PATH: usize = 4096;

/// The answer, if there is such a file.
pub(super) async fn answer<B>(
    connection: &Connection,
    config: &Snapshot,
    request: &Request<B>,
) -> Option<Response<Reply>> {
    let path = request.uri().path();
    if path.len() > MAX_PATH {
        return None;
    }
    let path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    let host = mount::requested_host(request)?;
    let vhost = config.vhost(&host);
    let name = vhost.map_or("", |vhost| vhost.name.as_str());
    let item = match (connection.ctx.shelf.find(name, &path), vhost) {
        (Some(item), _) => item,
        (None, Some(vhost)) => ondemand::fetch(connection, config, request, vhost, &path).await?,
        (None, None) => return None,
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(reply::not_allowed("GET, HEAD, OPTIONS"));
    }
    let viewer = match &item.file.show {
        Some(show) => match viewing::enter(connection, config, request, &item, show).await {
            Ok(viewer) => viewer,
            Err(answer) => return Some(answer),
        },
        None => None,
    };
    if let Some(vhost) = vhost {
        ondemand::keep(connection, config, request, vhost);
    }
    if let (Some(viewer), Body::Memory(text)) = (&viewer, &item.file.body)
        && let Some(own) = viewer.own(item.file.content_type, text)
    {
        return Some(own);
    }
    let answer = serve(&item, request.method(), request.headers()).await;
    if let (Some(viewer), Some(answer)) = (viewer, &answer) {
        viewer.count(answer.body().size_hint().exact().unwrap_or(0) as usize);
    }
    answer
}

/// Where the bytes are for this answer.
enum Content {
    Memory(Bytes),
    File(Arc<File>, u64),
}

impl Content {
    /// `None` if the file is not where it should be.
    async fn of(item: &Item) -> Option<Self> {
        let path = match &item.file.body {
            Body::Memory(bytes) => return Some(Self::Memory(bytes.clone())),
            Body::Disk(path) => path.clone(),
        };
        let opened = pieces::on_disk(move || {
            let file = File::open(&path).inspect_err(|e| warn!("{}: {e}", path.display()))?;
            let len = file.metadata()?.len();
            Ok((file, len))
        });
        let (file, len) = opened.await.ok()?;
        Some(Self::File(Arc::new(file), len))
    }

    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, len) => *len,
        }
    }

    fn part(self, range: Range<u64>) -> Reply {
        match self {
            Self::Memory(bytes) => Reply::Whole(bytes.slice(range.start as usize..range.end as usize)),
            Self::File(file, _) => {
                Reply::File(Pieces::new(Bytes::new(), file, range.start, range.end - range.start))
            }
        }
    }
}

/// `None` if the file is not where it should be.
async fn serve(item: &Arc<Item>, method: &Method, asked: &HeaderMap) -> Option<Response<Reply>> {
    if is_known(item, asked) {
        return Some(describe(item, StatusCode::NOT_MODIFIED, Reply::default()));
    }
    let content = Content::of(item).await?;
    let len = content.len();
    // A range of a HEAD means nothing (14.2).
    let wanted = if method == Method::GET { part(item, asked, len) } else { Part::Whole };
    Some(match wanted {
        Part::Whole => describe(item, StatusCode::OK, content.part(0..len)),
        Part::Of(range) => {
            let tells = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            with_range(describe(item, StatusCode::PARTIAL_CONTENT, content.part(range)), &tells)
        }
        Part::Nothing => {
            let text = reply::text(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "text/plain; charset=utf-8",
                "Range Not Satisfiable\n",
            );
            with_range(text, &format!("bytes */{len}"))
        }
    })
}

fn describe(item: &Item, status: StatusCode, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let caching = match item.file.caching {
        Caching::Revalidate => "no-cache".to_owned(),
        Caching::For(time) => format!("max-age={}", time.as_secs()),
        Caching::Never => "no-store".to_owned(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(item.file.content_type));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    for (name, value) in [
        (header::CACHE_CONTROL, caching),
        (header::ETAG, item.etag.clone()),
        (header::LAST_MODIFIED, httpdate::fmt_http_date(item.modified)),
    ] {
        headers.insert(name, HeaderValue::try_from(value).expect("printable"));
    }
    response
}

fn with_range(mut response: Response<Reply>, range: &str) -> Response<Reply> {
    let value = HeaderValue::try_from(range).expect("printable");
    response.headers_mut().insert(header::CONTENT_RANGE, value);
    response
}

/// Whether the client has this very file (RFC 9110, 13.1.2 and 13.1.3).
fn is_known(item: &Item, asked: &HeaderMap) -> bool {
    let mut tags = asked.get_all(header::IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        let listed = tags.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let mut listed = listed.map(|tag| tag.trim().trim_start_matches("W/"));
        return listed.any(|tag| tag == "*" || tag == item.etag);
    }
    let date = asked.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    // A second is coarse: what changes more often may have changed within it.
    item.file.caching != Caching::Revalidate && date.is_some_and(|date| item.modified <= date)
}

/// What a client wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Of(Range<u64>),
    /// Nothing of what it wants is there.
    Nothing,
}

fn part(item: &Item, asked: &HeaderMap, len: u64) -> Part {
    let range = asked.get(header::RANGE).and_then(|value| value.to_str().ok());
    // Only of the file the client has the rest of (13.1.5).
    let same = asked.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == item.etag.as_bytes());
    range.filter(|_| same).map_or(Part::Whole, |range| wanted(range, len))
}

/// Reads a Range header; what it cannot read, and several ranges, mean the whole (14.2).
fn wanted(range: &str, len: u64) -> Part {
    let parse = || {
        let (unit, set) = range.split_once('=')?;
        let (first, last) = set.trim().split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // Beyond any file, however long.
            digits.then(|| text.parse().unwrap_or(u64::MAX - 1))
        };
        Some(match (number(first), number(last)) {
            (Some(first), Some(last)) if last < first => return None,
            (Some(first), Some(last)) => first..(last + 1).min(len),
            (Some(first), None) if last.is_empty() => first..len,
            (None, Some(last)) if first.is_empty() => len.saturating_sub(last)..len,
            _ => return None,
        })
    };
    match parse() {
        None => Part::Whole,
        Some(range) if range.is_empty() => Part::Nothing,
        Some(range) => Part::Of(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::output::shelf::{self, Shelf};

    #[test]
    fn ranges() {
        for (range, part) in [
            ("bytes=0-0", Part::Of(0..1)),
            ("bytes=10-19", Part::Of(10..20)),
            ("bytes=90-", Part::Of(90..100)),
            ("bytes=90-1000", Part::Of(90..100)),
            ("bytes=90-99999999999999999999999", Part::Of(90..100)),
            ("bytes=-10", Part::Of(90..100)),
            ("bytes=-1000", Part::Of(0..100)),
            ("Bytes=5-5", Part::Of(5..6)),
            ("bytes=100-", Part::Nothing),
            ("bytes=99999999999999999999999-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=9-8", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("items=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(wanted(range, 100), part, "{range}");
        }
    }

    fn item(caching: Caching) -> Arc<Item> {
        let shelf = Shelf::new(7, &Metrics::new());
        let body = Body::Memory(Bytes::from_static(b"0123456789"));
        let mut section = shelf.section("a");
        section.put("/x", shelf::File { content_type: "text/plain", caching, body, show: None }).unwrap();
        shelf.find("a", "/x").unwrap()
    }

    #[track_caller]
    fn status(item: &Arc<Item>, asked: &[(header::HeaderName, &str)]) -> u16 {
        status_of(item, &Method::GET, asked)
    }

    #[track_caller]
    fn status_of(item: &Arc<Item>, method: &Method, asked: &[(header::HeaderName, &str)]) -> u16 {
        let headers = asked.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(serve(item, method, &headers)).unwrap().status().as_u16()
    }

    #[test]
    fn conditions() {
        let item = item(Caching::Never);
        let tag = item.etag.as_str();
        let date = httpdate::fmt_http_date(item.modified);
        let (none, since) = (header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE);
        assert_eq!(status(&item, &[]), 200);
        assert_eq!(status(&item, &[(none.clone(), tag)]), 304);
        assert_eq!(status(&item, &[(none.clone(), &format!("\"x\", W/{tag}"))]), 304);
        assert_eq!(status(&item, &[(none.clone(), "*")]), 304);
        assert_eq!(status(&item, &[(none, "\"x\""), (since.clone(), &date)]), 200, "the tag decides");
        assert_eq!(status(&item, &[(since.clone(), &date)]), 304);
        assert_eq!(status(&item, &[(since.clone(), "Thu, 01 Jan 1970 00:00:00 GMT")]), 200);
        assert_eq!(status(&item, &[(since.clone(), "yesterday")]), 200);
        let range = (header::RANGE, "bytes=2-3");
        assert_eq!(status(&item, std::slice::from_ref(&range)), 206);
        assert_eq!(status(&item, &[range.clone(), (header::IF_RANGE, tag)]), 206);
        assert_eq!(status(&item, &[range, (header::IF_RANGE, "\"x\"")]), 200);
        assert_eq!(status(&item, &[(header::RANGE, "bytes=10-")]), 416);
        assert_eq!(status_of(&item, &Method::HEAD, &[(header::RANGE, "bytes=10-")]), 200);
        assert_eq!(status(&self::item(Caching::Revalidate), &[(since, &date)]), 200, "it changes too often");
    }
}
