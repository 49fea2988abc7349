//! Files over HTTP: `http_server.dir` and `http_static`.
//!
//! A path becomes a name below a directory ([`name`], [`place`]), the kernel opens it there and nowhere else
//! ([`open`]), conditions and ranges decide what of it is sent ([`asked`]), and [`Pieces`] sends it. Nothing here
//! keeps anything about a file: each request looks at the disk, on threads that serve no sockets.
//!
//! There are no listings: a directory without `index.html` is not found. What is not found may still be
//! answered by somebody else.

mod asked;
mod kind;
mod name;
mod open;
mod place;
mod start;

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use mill_config::model::Snapshot;
use tracing::{debug, warn};

use self::asked::{ENCODINGS, Part, Validators, Verdict, accepts};
use self::name::Name;
use self::open::{Failure, Opened};
use self::place::Place;
use self::start::Start;
use super::mount::{self, parameter};
use super::pieces::{Pieces, on_disk};
use super::reply::{self, Reply};
use super::viewing;
use crate::log::Throttle;

/// A link that leads out of a directory is worth a line of the log, not one for each who follows it.
static REPORT: LazyLock<Throttle> = LazyLock::new(|| Throttle::new(Duration::from_secs(60)));

/// The answer to a request for a file; `None` if there is none of that name.
pub(super) async fn answer<B>(config: &Snapshot, request: &Request<B>) -> Option<Response<Reply>> {
    let name = Name::parse(request.uri().path())?;
    let host = mount::requested_host(request)?;
    let Place { dir, follow_links, name: below } = place::find(config, &host, &name)?;
    if name.is_crooked {
        return Some(redirect(&name.path(name.is_dir), request));
    }
    if below.depth() == 0 && !below.is_dir {
        return Some(redirect(&name.path(true), request));
    }
    let file = below.file();
    if viewing::keeps(config, &dir.join(&file)) {
        return None;
    }
    let wanted = Wanted {
        dir,
        follow_links,
        name: file,
        encodings: ENCODINGS
            .into_iter()
            .filter(|(_, encoding)| accepts(request.headers(), encoding))
            .collect(),
        start: parameter(request, "start").map(str::to_owned),
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let looked = on_disk(move || Ok(wanted.look())).await;
    match looked.unwrap_or_else(|e| Err(Failure::Busy(e.kind()))) {
        Ok(Found::File(found)) if is_read => Some(found.respond(request)),
        Ok(Found::File(_)) => Some(reply::not_allowed("GET, HEAD, OPTIONS")),
        // To its page, which may be there.
        Ok(Found::Directory) if !below.is_dir => Some(redirect(&name.path(true), request)),
        Ok(Found::Directory) | Err(Failure::Absent) => None,
        Ok(Found::BehindTheEnd(len)) => Some(unsatisfiable(len)),
        Err(Failure::Outside) => {
            if REPORT.allows() {
                let path = name.path(name.is_dir);
                warn!("http: {path:?} is a link out of its directory, which only follow_links on allows");
            }
            None
        }
        Err(Failure::Forbidden) => Some(reply::plain(StatusCode::FORBIDDEN, "Forbidden\n")),
        Err(Failure::Busy(e)) => {
            debug!("http: cannot open a file: {e}");
            Some(reply::plain(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n"))
        }
    }
}

/// What to look for on the disk.
struct Wanted {
    dir: PathBuf,
    follow_links: bool,
    name: PathBuf,
    encodings: Vec<(&'static str, &'static str)>,
    start: Option<String>,
}

enum Found {
    File(Box<Sent>),
    Directory,
    /// `start` is where nothing is any more; the length of the file.
    BehindTheEnd(u64),
}

/// What is to be sent.
struct Sent {
    name: PathBuf,
    file: Arc<File>,
    metadata: Metadata,
    encoding: Option<&'static str>,
    start: Option<Start>,
}

impl Wanted {
    /// Waits for the disk.
    fn look(self) -> Result<Found, Failure> {
        let (file, metadata) = match open::open(&self.dir, &self.name, self.follow_links)? {
            Opened::File(file, metadata) => (file, metadata),
            Opened::Directory => return Ok(Found::Directory),
        };
        if let Some(compressed) = self.compressed(&metadata) {
            return Ok(Found::File(Box::new(compressed)));
        }
        let failed = |e: io::Error| Failure::Busy(e.kind());
        let start = match &self.start {
            Some(start) => start::find(&self.name, &file, metadata.len(), start).map_err(failed)?,
            None => start::Found::Whole,
        };
        let start = match start {
            start::Found::Whole => None,
            start::Found::From(start) => Some(start),
            start::Found::BehindTheEnd => return Ok(Found::BehindTheEnd(metadata.len())),
        };
        Ok(Found::File(Box::new(Sent {
            name: self.name,
            file: Arc::new(file),
            metadata,
            encoding: None,
            start,
        })))
    }

    /// The same file as somebody has compressed it before, unless it has changed since.
    fn compressed(&self, plain: &Metadata) -> Option<Sent> {
        if !kind::may_be_compressed(&self.name) {
            return None;
        }
        self.encodings.iter().find_map(|(ending, encoding)| {
            let mut name = self.name.clone().into_os_string();
            name.push(".");
            name.push(ending);
            match open::open(&self.dir, Path::new(&name), self.follow_links) {
                Ok(Opened::File(file, metadata)) if metadata.modified().ok() >= plain.modified().ok() => {
                    let (name, file) = (self.name.clone(), Arc::new(file));
                    Some(Sent { name, file, metadata, encoding: Some(encoding), start: None })
                }
                _ => None,
            }
        })
    }
}

impl Sent {
    fn respond<B>(self, request: &Request<B>) -> Response<Reply> {
        let validators = self.validators();
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(header::ETAG, &validators.etag);
        set(header::LAST_MODIFIED, &httpdate::fmt_http_date(validators.modified));
        if kind::changes(&self.name) {
            set(header::CACHE_CONTROL, "no-cache");
        }
        if kind::may_be_compressed(&self.name) {
            set(header::VARY, "Accept-Encoding");
        }
        let status = match validators.judge(request.headers()) {
            Verdict::Send => None,
            Verdict::NotModified => Some(StatusCode::NOT_MODIFIED),
            Verdict::Failed => Some(StatusCode::PRECONDITION_FAILED),
        };
        if let Some(status) = status {
            return with(status, headers, Reply::default());
        }
        set(header::CONTENT_TYPE, kind::content_type(&self.name));
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        if let Some(encoding) = self.encoding {
            set(header::CONTENT_ENCODING, encoding);
        }
        let len = self.metadata.len();
        if let Some(Start { front, at, len }) = self.start {
            return with(StatusCode::OK, headers, Reply::File(Pieces::new(front, self.file, at, len)));
        }
        set(header::ACCEPT_RANGES, "bytes");
        let asked = self.range(request).filter(|_| validators.allow_range(request.headers()));
        let (status, range) = match asked.map_or(Part::All, |range| Part::parse(&range, len)) {
            Part::All => (StatusCode::OK, 0..len),
            Part::Range(range) => {
                set(header::CONTENT_RANGE, &format!("bytes {}-{}/{len}", range.start, range.end - 1));
                (StatusCode::PARTIAL_CONTENT, range)
            }
            Part::Unsatisfiable => return unsatisfiable(len),
        };
        let pieces = Pieces::new(Bytes::new(), self.file, range.start, range.end - range.start);
        with(status, headers, Reply::File(pieces))
    }

    /// What is asked for: by the header, or for MP4 by the query, as players of SRS do.
    fn range<B>(&self, request: &Request<B>) -> Option<String> {
        // A range of a HEAD means nothing (RFC 9110, 14.2).
        if request.method() != Method::GET {
            return None;
        }
        if let Some(range) = request.headers().get(header::RANGE) {
            return range.to_str().ok().map(str::to_owned);
        }
        let by_query = || parameter(request, "range").or_else(|| parameter(request, "bytes"));
        by_query().filter(|_| kind::is_mp4(&self.name)).map(|range| format!("bytes={range}"))
    }

    /// Time in nanoseconds, length and number of the file: another content has another tag.
    fn validators(&self) -> Validators {
        let Self { metadata, start, .. } = self;
        let (seconds, nanos) = (metadata.mtime(), metadata.mtime_nsec());
        let part = start.as_ref().map_or_else(String::new, |start| format!("-{:x}", start.at));
        let etag = format!("\"{seconds:x}.{nanos:x}-{:x}-{:x}{part}\"", metadata.len(), metadata.ino());
        let modified = u64::try_from(seconds).map_or(UNIX_EPOCH, |s| UNIX_EPOCH + Duration::from_secs(s));
        // A date in the future would never be reached by one that a cache has (RFC 9110, 8.8.2.1).
        Validators { etag, modified: modified.min(now()) }
    }
}

/// In whole seconds.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn with(status: StatusCode, headers: HeaderMap, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn unsatisfiable(len: u64) -> Response<Reply> {
    let mut response = reply::plain(StatusCode::RANGE_NOT_SATISFIABLE, "Range Not Satisfiable\n");
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{len}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

fn redirect<B>(path: &str, request: &Request<B>) -> Response<Reply> {
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    reply::redirect(&format!("{path}{query}"))
}
