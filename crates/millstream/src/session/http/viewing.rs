//! Viewers of HLS. They fetch files, so nothing but their asking says that they are there: a session is what holds
//! them together (`hls_ctx`).
//!
//! The first playlist a viewer asks for takes it down the road of [`admit`], like a viewer of any other protocol;
//! the answer leads to the same playlist under the id of its session. A session is a client: listed, counted,
//! told to callback servers, ended by whoever may end clients. It is a task that holds what admission gave, and
//! ends when no file was asked for under its id for two windows of the playlist. Nothing is noted for a viewer
//! who was not let in: it is asked about again each time it comes. An id that is not known (the server was
//! started again) goes down the road too and stays. One that was ended is refused for as long as it would have
//! lasted.
//!
//! Where viewers are checked at all, files are given to sessions only, and what former streams have left on the
//! disk to nobody ([`keeps`]); else to anybody. Bounded by [`MAX_SESSIONS`]; one that is never used ends after
//! [`UNUSED`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{self, Path};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use mill_config::model::{Snapshot, Vhost};
use mill_hub::StreamId;
use mill_packager::path::TEMPORARY;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tracing::{info, warn};

use super::Connection;
use super::reply::{self, Reply};
use crate::clients::{Kind, Traffic};
use crate::identity;
use crate::metrics::Metrics;
use crate::output::hls::{PLAYLIST, key_directory};
use crate::output::shelf::{Item, Show};
use crate::relay::via::Via;
use crate::session::admit::{self, Playing};

/// Sessions at a time, some kilobytes each.
const MAX_SESSIONS: usize = 65_536;

/// A viewer who was sent to its playlist asks for it by then, or is none.
const UNUSED: Duration = Duration::from_secs(30);

/// The shortest time without a request after which a viewer has gone.
const MIN_SILENCE: Duration = Duration::from_secs(10);

/// Ids of sessions that were ended by somebody.
const MAX_ENDED: usize = 10_000;

/// Letters of an id.
const ID_LEN: usize = 8;

/// Longest id of a viewer's own making.
const MAX_ID: usize = 64;

const PARAMETER: &str = "hls_ctx";

/// The sessions of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sessions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    count: Gauge,
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<Key, Arc<Session>>,
    /// Ended by somebody, and until when they stay so.
    ended: HashMap<Key, Instant>,
}

/// An id is one of a stream.
type Key = (StreamId, String);

#[derive(Debug)]
struct Session {
    state: Mutex<State>,
    traffic: Arc<Traffic>,
}

#[derive(Debug)]
struct State {
    last: Instant,
    used: bool,
}

/// How a session stands.
enum Known {
    Running(Arc<Session>),
    Ended,
    No,
}

impl Sessions {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let count = Gauge::default();
        metrics.register("millstream_hls_viewers", "Sessions of HLS viewers", count.clone());
        Self(Arc::new(Shared { table: Mutex::default(), count }))
    }

    fn find(&self, key: &Key) -> Known {
        let mut table = self.0.table.lock();
        if let Some(session) = table.running.get(key) {
            return Known::Running(session.clone());
        }
        match table.ended.get(key) {
            Some(&until) if until > Instant::now() => Known::Ended,
            Some(_) => {
                table.ended.remove(key);
                Known::No
            }
            None => Known::No,
        }
    }

    fn is_full(&self) -> bool {
        self.0.table.lock().running.len() >= MAX_SESSIONS
    }

    /// The session of somebody who was let in, and the guard that takes it out of the table. If there is one by now,
    /// that is it.
    fn begin(
        &self,
        key: Key,
        traffic: Arc<Traffic>,
        used: bool,
        silence: Duration,
    ) -> (Arc<Session>, Option<Guard>) {
        let mut table = self.0.table.lock();
        if let Some(session) = table.running.get(&key) {
            return (session.clone(), None);
        }
        let session = Arc::new(Session { state: Mutex::new(State { last: Instant::now(), used }), traffic });
        table.running.insert(key.clone(), session.clone());
        self.0.count.set(table.running.len() as i64);
        let guard = Guard { sessions: self.clone(), key, session: session.clone(), silence, ended: true };
        (session, Some(guard))
    }
}

/// A session's place in the table.
struct Guard {
    sessions: Sessions,
    key: Key,
    session: Arc<Session>,
    /// How long it lasts without a request.
    silence: Duration,
    /// Not by itself.
    ended: bool,
}

impl Guard {
    /// Returns when the viewer has gone.
    async fn until_silent(&mut self) {
        loop {
            let end = {
                let state = self.session.state.lock();
                state.last + if state.used { self.silence } else { UNUSED }
            };
            let now = Instant::now();
            if end <= now {
                self.ended = false;
                return;
            }
            // Its first use may bring the end nearer.
            tokio::time::sleep_until(end.min(now + self.silence).into()).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut table = self.sessions.0.table.lock();
        table.running.remove(&self.key);
        self.sessions.0.count.set(table.running.len() as i64);
        if !self.ended {
            return;
        }
        if table.ended.len() >= MAX_ENDED {
            table.ended.retain(|_, until| *until > now);
        }
        if table.ended.len() < MAX_ENDED {
            table.ended.insert(self.key.clone(), now + self.silence.max(UNUSED));
        }
    }
}

impl Session {
    fn touch(&self) {
        *self.state.lock() = State { last: Instant::now(), used: true };
    }
}

/// Somebody who may have the file.
pub(super) struct Viewer {
    session: Arc<Session>,
    id: String,
    /// Whether files are asked for under its id too.
    marks_files: bool,
}

impl Viewer {
    /// Its own copy of the playlist.
    pub(super) fn playlist(&self, text: &[u8]) -> Response<Reply> {
        let text = String::from_utf8_lossy(text);
        let text = if self.marks_files { marked(&text, &self.id) } else { text.into_owned() };
        self.count(text.len());
        private(text)
    }

    /// It is being sent so many bytes.
    pub(super) fn count(&self, bytes: usize) {
        // The lock makes this the only writer at a time.
        let _state = self.session.state.lock();
        self.session.traffic.add_sent(bytes);
    }
}

/// Lets somebody have a file of the show, with a session or without; `Err` is the answer instead.
pub(super) async fn enter<B>(
    connection: &Connection,
    config: &Snapshot,
    request: &Request<B>,
    item: &Item,
    show: &Show,
) -> Result<Option<Viewer>, Response<Reply>> {
    let stream = &show.stream;
    let vhost = config.vhosts.iter().find(|vhost| vhost.name == stream.vhost).ok_or_else(reply::not_found)?;
    let is_playlist = item.file.content_type == PLAYLIST;
    if !vhost.hls.ctx || !is_playlist && !vhost.hls.ts_ctx {
        return Ok(None);
    }
    let (id, query) = split(request.uri().query().unwrap_or(""));
    let Some(id) = id else {
        if !is_playlist {
            return if checks(vhost) { Err(forbidden()) } else { Ok(None) };
        }
        let id = new_id();
        // Whoever only looks whether it is there is no viewer yet.
        if request.method() != Method::HEAD {
            begin(connection, vhost, request, (stream.clone(), id.clone()), &query, false).await?;
        }
        return Err(private(master(request.uri().path(), &id, &query, show)));
    };
    let key = (stream.clone(), id);
    let session = match connection.ctx.sessions.find(&key) {
        Known::Running(session) => session,
        Known::Ended => {
            let text = format!("HLS stream {} is EOF", key.1);
            return Err(reply::text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text));
        }
        Known::No if !is_playlist && !checks(vhost) => return Ok(None),
        Known::No if key.1.len() > MAX_ID || !key.1.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            return Err(forbidden());
        }
        Known::No => begin(connection, vhost, request, key.clone(), &query, true).await?,
    };
    session.touch();
    Ok(Some(Viewer { session, id: key.1, marks_files: vhost.hls.ts_ctx }))
}

/// Whether a viewer of the vhost may be refused.
fn checks(vhost: &Vhost) -> bool {
    let hooks = vhost.http_hooks.enabled && !vhost.http_hooks.on_play.is_empty();
    hooks || vhost.security.enabled || vhost.refer.enabled
}

/// Whether a file of the disk is not for everybody: a list, segment or key below the directories of a vhost whose
/// viewers have sessions because they are checked. By its name alone, as nobody knows any more whose it was.
pub(super) fn keeps(config: &Snapshot, file: &Path) -> bool {
    let guards = |vhost: &&Arc<Vhost>| vhost.enabled && vhost.hls.enabled && vhost.hls.ctx && checks(vhost);
    let mut guarded = config.vhosts.iter().filter(guards).map(|vhost| &vhost.hls).peekable();
    if guarded.peek().is_none() {
        return false;
    }
    let Ok(file) = path::absolute(file) else { return true };
    let name = file.file_name().map_or_else(Default::default, |name| name.to_string_lossy());
    let ending = ending(name.strip_suffix(TEMPORARY).unwrap_or(&name));
    let is_of = |directory: &str, template: &str| {
        let is_below = path::absolute(directory).is_ok_and(|directory| file.starts_with(directory));
        is_below && self::ending(template) == ending
    };
    guarded.any(|hls| {
        let is_media = || is_of(&hls.path, &hls.ts_file) || is_of(key_directory(hls), &hls.key_file);
        is_of(&hls.path, &hls.m3u8_file) || hls.ts_ctx && is_media()
    })
}

/// What follows the last dot.
fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// Takes a viewer down the road, and starts its session.
async fn begin<B>(
    connection: &Connection,
    vhost: &Vhost,
    request: &Request<B>,
    key: Key,
    query: &str,
    used: bool,
) -> Result<Arc<Session>, Response<Reply>> {
    let ctx = &connection.ctx;
    if ctx.sessions.is_full() {
        warn!("hls: {MAX_SESSIONS} sessions are all there can be");
        return Err(reply::text(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "Full\n"));
    }
    let StreamId { vhost: name, app, name: stream } = key.0.clone();
    let param = if query.is_empty() { String::new() } else { format!("?{query}") };
    let via = Via::default();
    let asked =
        admit::Request { kind: Kind::HlsPlay, vhost: name, app, name: stream, param, via, args: None };
    let mut peer = connection.describe(&asked, request);
    peer.id = ctx.tasks.next_id();
    let playing = admit::play(ctx, &peer, asked).await.map_err(|refusal| {
        ctx.metrics.ended(refusal.code());
        warn!("serve error code={} : {refusal}", refusal.code());
        reply::refused(refusal)
    })?;
    let url = admit::stream_url(&key.0);
    let silence = (vhost.hls.window * 2).max(MIN_SILENCE);
    let (session, guard) = ctx.sessions.begin(key, peer.traffic.clone(), used, silence);
    if let Some(guard) = guard {
        info!("hls: play stream url={url}, client_id={}", peer.id);
        ctx.tasks.spawn(peer.id, last(guard, playing));
    }
    Ok(session)
}

/// The task of a session.
async fn last(mut guard: Guard, playing: Playing) {
    guard.until_silent().await;
    info!("hls: session is over, sent={}", playing.presence.client().peer.traffic.sent());
}

/// The id in a query, and the rest of it.
fn split(query: &str) -> (Option<String>, String) {
    let mut id = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((PARAMETER, value)) if !value.is_empty() => id = Some(value.to_owned()),
            Some((PARAMETER, _)) => {}
            _ => rest.push(pair),
        }
    }
    (id, rest.join("&"))
}

/// Nobody guesses it: an id lets in.
fn new_id() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    identity::random()[..ID_LEN].iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
}

/// A playlist of one playlist: the same, under the id.
fn master(path: &str, id: &str, query: &str, show: &Show) -> String {
    let bandwidth = show.bandwidth.load(std::sync::atomic::Ordering::Relaxed).max(1);
    let and = if query.is_empty() { "" } else { "&" };
    format!(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={bandwidth}\n\
         {path}?{PARAMETER}={id}{and}{query}\n"
    )
}

/// The playlist with the id behind all names in it.
fn marked(text: &str, id: &str) -> String {
    let mut marked = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        let (before, uri, after) = match key_uri(line) {
            Some(parts) => parts,
            None if line.is_empty() || line.starts_with('#') => {
                marked.push_str(line);
                marked.push('\n');
                continue;
            }
            None => ("", line, ""),
        };
        let and = if uri.contains('?') { '&' } else { '?' };
        writeln!(marked, "{before}{uri}{and}{PARAMETER}={id}{after}").expect("a string takes all");
    }
    marked
}

/// The name of a key, and what stands around it in its line.
fn key_uri(line: &str) -> Option<(&str, &str, &str)> {
    line.strip_prefix("#EXT-X-KEY:")?;
    let from = line.find("URI=\"")? + "URI=\"".len();
    let to = from + line[from..].find('"')?;
    Some((&line[..from], &line[from..to], &line[to..]))
}

fn private(text: String) -> Response<Reply> {
    let mut response = reply::text(StatusCode::OK, PLAYLIST, Bytes::from(text));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn forbidden() -> Response<Reply> {
    reply::text(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", "Forbidden\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let check = |query: &str, id: Option<&str>, rest: &str| {
            assert_eq!(split(query), (id.map(str::to_owned), rest.to_owned()), "{query}");
        };
        check("", None, "");
        check("token=a", None, "token=a");
        check("hls_ctx=abc", Some("abc"), "");
        check("a=1&hls_ctx=abc&b=2", Some("abc"), "a=1&b=2");
        check("hls_ctx=&b", None, "b");
        check("xhls_ctx=1", None, "xhls_ctx=1");
    }

    #[test]
    fn names_in_playlists_are_marked() {
        let text = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"/k.key?a=1\",IV=0x00\n#EXTINF:1.0, no desc\na.ts\n#EXT-X-KEY:METHOD=NONE\nhttp://cdn/b.ts?x=1\n";
        assert_eq!(
            marked(text, "id"),
            "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"/k.key?a=1&hls_ctx=id\",IV=0x00\n#EXTINF:1.0, no desc\n\
             a.ts?hls_ctx=id\n#EXT-X-KEY:METHOD=NONE\nhttp://cdn/b.ts?x=1&hls_ctx=id\n"
        );
    }

    #[test]
    fn ids_are_letters_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert!(a != b && a.len() == ID_LEN && a.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
