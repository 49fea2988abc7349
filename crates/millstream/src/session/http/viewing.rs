//! Viewers of HLS, DASH and HDS. They fetch files, so nothing but their asking says that they are there: a session is
//! what holds them together (`hls_ctx`, `dash_ctx`, `hds_ctx`).
//!
//! The first playlist or manifest a viewer asks for takes it down the road of [`admit`], like a viewer of any other
//! protocol. The answer names everything with the id of its session: a playlist leads to itself under it, a manifest
//! has it behind the names of its segments and says where it is to be fetched again. A session is a client: listed,
//! counted, told to callback servers, ended by whoever may end clients. It is a task that holds what admission gave, and
//! ends when no file was asked for under its id for a while ([`Rules::silence`]). Nothing is noted for a viewer
//! who was not let in: it is asked about again each time it comes. An id that is not known (the server was
//! started again) goes down the road too and stays. One that was ended is refused for as long as it would have
//! lasted.
//!
//! Players that fetch the manifest again where they had it first (ffmpeg) are known by where they come from and what they
//! call themselves, as long as all that admission looks at is the same ([`Name::From`]).
//!
//! Where viewers are checked at all, files are given to sessions only, and what former streams have left on the
//! disk to nobody ([`keeps`]); else to anybody. Bounded by [`MAX_SESSIONS`]; one that is never used ends after
//! [`UNUSED`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
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
use crate::output::{dash, hds};
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

/// Parameters of ours in the queries of viewers.
const PARAMETERS: [&str; 3] = ["hls_ctx", "dash_ctx", "hds_ctx"];

/// The sessions of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sessions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// Makes [`Name::From`].
    hasher: RandomState,
    counts: [Gauge; 3],
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<Key, Arc<Session>>,
    count: usize,
    /// Ended by somebody, and until when they stay so.
    ended: HashMap<Key, Instant>,
}

/// A session is one of a stream, in one format.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    stream: StreamId,
    kind: Kind,
    name: Name,
}

/// By what a session is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    /// The id in its URLs.
    Id(String),
    /// Where it comes from: address, program, page and query.
    From(u64),
}

#[derive(Debug)]
struct Session {
    id: String,
    state: Mutex<State>,
    traffic: Arc<Traffic>,
}

#[derive(Debug)]
struct State {
    last: Instant,
    used: bool,
    /// It fetches its manifest under its id, so whoever asks without one is another.
    follows: bool,
}

/// How a session stands.
enum Known {
    Running(Arc<Session>),
    Ended,
    No,
}

/// What the block of a format says about its viewers.
struct Rules {
    name: &'static str,
    /// What the id stands behind in a query.
    parameter: &'static str,
    has_sessions: bool,
    /// Whether files are asked for under the id too.
    marks_files: bool,
    /// How long a session lasts without a request.
    silence: Duration,
}

impl Rules {
    fn of(vhost: &Vhost, kind: Kind) -> Self {
        let Vhost { hls, dash, hds, .. } = vhost;
        // Two windows, or as often as a player that lives has asked by then.
        let (place, name, has_sessions, marks_files, silence) = match kind {
            Kind::DashPlay => (1, "dash", dash.ctx, true, dash.fragment * 4),
            Kind::HdsPlay => (2, "hds", hds.ctx, true, hds.window * 2),
            _ => (0, "hls", hls.ctx, hls.ts_ctx, hls.window * 2),
        };
        Self {
            name,
            parameter: PARAMETERS[place],
            has_sessions,
            marks_files,
            silence: silence.max(MIN_SILENCE),
        }
    }
}

/// A file that names others, each viewer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    /// Of HLS.
    Playlist,
    /// Of DASH; players fetch it again and again.
    Manifest,
    /// Of HDS; players fetch it once.
    F4m,
}

impl Index {
    fn of(content_type: &str) -> Option<Self> {
        match content_type {
            PLAYLIST => Some(Self::Playlist),
            dash::MANIFEST => Some(Self::Manifest),
            hds::MANIFEST => Some(Self::F4m),
            _ => None,
        }
    }
}

impl Sessions {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counts = ["HLS", "DASH", "HDS"].map(|format| {
            let count = Gauge::default();
            let name = format!("millstream_{}_viewers", format.to_lowercase());
            metrics.register(&name, &format!("Sessions of {format} viewers"), count.clone());
            count
        });
        Self(Arc::new(Shared { table: Mutex::default(), hasher: RandomState::new(), counts }))
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
        self.0.table.lock().count >= MAX_SESSIONS
    }

    /// The session of somebody who was let in, and the guard that takes it out of the table. If there is one by now,
    /// that is it.
    fn begin(
        &self,
        newcomer: Newcomer,
        traffic: Arc<Traffic>,
        silence: Duration,
    ) -> (Arc<Session>, Option<Guard>) {
        let Newcomer { stream, kind, id, from, used } = newcomer;
        let mut table = self.0.table.lock();
        let names = [Some(Name::Id(id.clone())), from.map(Name::From)];
        let key = |name| Key { stream: stream.clone(), kind, name };
        let keys: Vec<Key> = names.into_iter().flatten().map(key).collect();
        let goes_on = |key: &&Key| match table.running.get(key) {
            Some(session) => matches!(key.name, Name::Id(_)) || !session.follows(),
            None => false,
        };
        if let Some(session) = keys.iter().find(goes_on).and_then(|key| table.running.get(key)) {
            return (session.clone(), None);
        }
        let state = Mutex::new(State { last: Instant::now(), used, follows: false });
        let session = Arc::new(Session { id, state, traffic });
        for key in &keys {
            table.running.insert(key.clone(), session.clone());
        }
        table.count += 1;
        self.count(kind).inc();
        let guard = Guard { sessions: self.clone(), keys, session: session.clone(), silence, ended: true };
        (session, Some(guard))
    }

    fn count(&self, kind: Kind) -> &Gauge {
        let place = match kind {
            Kind::DashPlay => 1,
            Kind::HdsPlay => 2,
            _ => 0,
        };
        &self.0.counts[place]
    }
}

/// Who is to be let in.
struct Newcomer {
    stream: StreamId,
    kind: Kind,
    id: String,
    /// If it may come again without its id.
    from: Option<u64>,
    /// Whether it gets what it wants at once.
    used: bool,
}

/// A session's place in the table.
struct Guard {
    sessions: Sessions,
    /// Of one stream and kind.
    keys: Vec<Key>,
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
        table.count -= 1;
        if let Some(key) = self.keys.first() {
            self.sessions.count(key.kind).dec();
        }
        for key in &self.keys {
            // Somebody else may come from there by now.
            if table.running.get(key).is_none_or(|session| !Arc::ptr_eq(session, &self.session)) {
                continue;
            }
            table.running.remove(key);
            if !self.ended {
                continue;
            }
            if table.ended.len() >= MAX_ENDED {
                table.ended.retain(|_, until| *until > now);
            }
            if table.ended.len() < MAX_ENDED {
                table.ended.insert(key.clone(), now + self.silence.max(UNUSED));
            }
        }
    }
}

impl Session {
    fn touch(&self) {
        let mut state = self.state.lock();
        (state.last, state.used) = (Instant::now(), true);
    }

    fn follows(&self) -> bool {
        self.state.lock().follows
    }
}

/// Somebody who may have the file.
pub(super) struct Viewer {
    session: Arc<Session>,
    rules: Rules,
    index: Option<Index>,
    /// What it asked for without its id: the last level of the path, and the query.
    file: String,
    query: String,
}

impl Viewer {
    /// Its own copy of a file that names others; `None` if this is none.
    pub(super) fn own(&self, content_type: &'static str, text: &[u8]) -> Option<Response<Reply>> {
        // First of all: a segment is no text, and large.
        let index = self.index?;
        let text = String::from_utf8_lossy(text);
        let mark = format!("{}={}", self.rules.parameter, self.session.id);
        let text = match index {
            Index::Playlist if !self.rules.marks_files => text.into_owned(),
            Index::Playlist => marked(&text, &mark),
            Index::Manifest => {
                let and = if self.query.is_empty() { "" } else { "&" };
                let here = escaped(&format!("{}?{mark}{and}{}", self.file, self.query));
                let marked = marked_attributes(&text, &[" initialization=", " media="], &mark);
                marked.replacen("</BaseURL>", &format!("</BaseURL>\n  <Location>{here}</Location>"), 1)
            }
            Index::F4m => marked_attributes(&text, &[" url="], &mark),
        };
        self.count(text.len());
        Some(private(content_type, text))
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
    let index = Index::of(item.file.content_type);
    let rules = Rules::of(vhost, show.kind);
    if !rules.has_sessions || index.is_none() && !rules.marks_files {
        return Ok(None);
    }
    let (id, query) = split(request.uri().query().unwrap_or(""), rules.parameter);
    let newcomer = |id, from, used| Newcomer { stream: stream.clone(), kind: show.kind, id, from, used };
    let session = match (id, index) {
        (Some(id), _) => {
            let key = Key { stream: stream.clone(), kind: show.kind, name: Name::Id(id.clone()) };
            let session = match connection.ctx.sessions.find(&key) {
                Known::Running(session) => session,
                Known::Ended => return Err(over(&rules, &id)),
                Known::No if index.is_none() && !checks(vhost) => return Ok(None),
                Known::No if id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    return Err(forbidden());
                }
                Known::No => begin(connection, vhost, request, newcomer(id, None, true), &query).await?,
            };
            session.state.lock().follows |= index.is_some();
            session
        }
        (None, None) => return if checks(vhost) { Err(forbidden()) } else { Ok(None) },
        (None, Some(Index::Playlist)) => {
            let id = new_id();
            // Whoever only looks whether it is there is no viewer yet.
            if request.method() != Method::HEAD {
                begin(connection, vhost, request, newcomer(id.clone(), None, false), &query).await?;
            }
            return Err(private(PLAYLIST, master(request.uri().path(), &id, &query, show)));
        }
        (None, Some(_)) if request.method() == Method::HEAD => return Ok(None),
        (None, Some(Index::F4m)) => {
            begin(connection, vhost, request, newcomer(new_id(), None, true), &query).await?
        }
        (None, Some(Index::Manifest)) => {
            let from = from(connection, request, &query);
            let key = Key { stream: stream.clone(), kind: show.kind, name: Name::From(from) };
            match connection.ctx.sessions.find(&key) {
                Known::Running(session) if !session.follows() => session,
                Known::Ended => return Err(over(&rules, "of this player")),
                _ => begin(connection, vhost, request, newcomer(new_id(), Some(from), true), &query).await?,
            }
        }
    };
    session.touch();
    let file = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Some(Viewer { session, rules, index, file, query }))
}

/// Where a request comes from: everything that admission looks at, and the player's name.
fn from<B>(connection: &Connection, request: &Request<B>, query: &str) -> u64 {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let [program, page] = [header::USER_AGENT, header::REFERER].map(header);
    connection.ctx.sessions.0.hasher.hash_one((connection.peer.ip(), program, page, query))
}

fn over(rules: &Rules, id: &str) -> Response<Reply> {
    let text = format!("{} stream {id} is EOF", rules.name.to_uppercase());
    reply::text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text)
}

/// Whether a viewer of the vhost may be refused.
fn checks(vhost: &Vhost) -> bool {
    let hooks = vhost.http_hooks.enabled && !vhost.http_hooks.on_play.is_empty();
    hooks || vhost.security.enabled || vhost.refer.enabled
}

/// Whether a file of the disk is not for everybody: a list, segment or key below the directories of a vhost whose
/// viewers have sessions because they are checked. By its name alone, as nobody knows any more whose it was.
pub(super) fn keeps(config: &Snapshot, file: &Path) -> bool {
    let guards = |vhost: &Vhost| {
        let Vhost { hls, dash, hds, .. } = vhost;
        let formats = [hls.enabled && hls.ctx, dash.enabled && dash.ctx, hds.enabled && hds.ctx];
        if vhost.enabled && checks(vhost) { formats } else { [false; 3] }
    };
    let all = config.vhosts.iter().map(|vhost| (&**vhost, guards(vhost)));
    let mut guarded = all.filter(|(_, formats)| formats.contains(&true)).peekable();
    if guarded.peek().is_none() {
        return false;
    }
    let Ok(file) = path::absolute(file) else { return true };
    let name = file.file_name().map_or_else(Default::default, |name| name.to_string_lossy());
    let name = name.strip_suffix(TEMPORARY).unwrap_or(&name);
    let ending = ending(name);
    let is_below =
        |directory: &str| path::absolute(directory).is_ok_and(|directory| file.starts_with(directory));
    let is_of = |directory: &str, template: &str| self::ending(template) == ending && is_below(directory);
    guarded.any(|(Vhost { hls, dash, hds, .. }, [by_hls, by_dash, by_hds])| {
        let is_media = || is_of(&hls.path, &hls.ts_file) || is_of(key_directory(hls), &hls.key_file);
        let is_hls = || is_of(&hls.path, &hls.m3u8_file) || hls.ts_ctx && is_media();
        let is_dash = || is_of(&dash.path, &dash.mpd_file) || is_of(&dash.path, ".m4s");
        let is_hds =
            || (matches!(ending, "f4m" | "abst") || name.contains("Seg1-Frag")) && is_below(&hds.path);
        by_hls && is_hls() || by_dash && is_dash() || by_hds && is_hds()
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
    newcomer: Newcomer,
    query: &str,
) -> Result<Arc<Session>, Response<Reply>> {
    let ctx = &connection.ctx;
    let Rules { name: format, silence, .. } = Rules::of(vhost, newcomer.kind);
    if ctx.sessions.is_full() {
        warn!("{format}: {MAX_SESSIONS} sessions are all there can be");
        return Err(reply::text(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "Full\n"));
    }
    let StreamId { vhost: name, app, name: stream } = newcomer.stream.clone();
    let param = if query.is_empty() { String::new() } else { format!("?{query}") };
    let (kind, via) = (newcomer.kind, Via::default());
    let asked = admit::Request { kind, vhost: name, app, name: stream, param, via, args: None };
    let mut peer = connection.describe(&asked, request);
    peer.id = ctx.tasks.next_id();
    let playing = admit::play(ctx, &peer, asked).await.map_err(|refusal| {
        ctx.metrics.ended(refusal.code());
        warn!("serve error code={} : {refusal}", refusal.code());
        reply::refused(refusal)
    })?;
    let url = admit::stream_url(&newcomer.stream);
    let (session, guard) = ctx.sessions.begin(newcomer, peer.traffic.clone(), silence);
    if let Some(guard) = guard {
        info!("{format}: play stream url={url}, client_id={}", peer.id);
        ctx.tasks.spawn(peer.id, last(guard, playing, format));
    }
    Ok(session)
}

/// The task of a session.
async fn last(mut guard: Guard, playing: Playing, format: &str) {
    guard.until_silent().await;
    info!("{format}: session is over, sent={}", playing.presence.client().peer.traffic.sent());
}

/// A query without the ids of sessions.
pub(super) fn without_ids(query: &str) -> String {
    let is_id = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| PARAMETERS.contains(&name));
    query.split('&').filter(|pair| !pair.is_empty() && !is_id(pair)).collect::<Vec<_>>().join("&")
}

/// The id in a query, and the rest of it.
fn split(query: &str, parameter: &str) -> (Option<String>, String) {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let id = pairs.rfind(|(name, value)| *name == parameter && !value.is_empty());
    (id.map(|(_, value)| value.to_owned()), without_ids(query))
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
         {path}?hls_ctx={id}{and}{query}\n"
    )
}

/// The playlist with the mark in the query of all names in it.
fn marked(text: &str, mark: &str) -> String {
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
        writeln!(marked, "{before}{uri}{and}{mark}{after}").expect("a string takes all");
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

/// XML of ours with the mark as the query of what these attributes name.
fn marked_attributes(text: &str, attributes: &[&str], mark: &str) -> String {
    let mut marked = String::with_capacity(text.len() + 512);
    let mut is_name = false;
    // Quotes stand around values and nowhere else.
    for (n, piece) in text.split('"').enumerate() {
        let is_value = n % 2 == 1;
        if n > 0 {
            marked.push('"');
        }
        marked.push_str(piece);
        if is_value && is_name {
            marked.extend(["?", mark]);
        }
        is_name = !is_value && attributes.iter().any(|attribute| piece.ends_with(attribute));
    }
    marked
}

/// As text in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn private(content_type: &'static str, text: String) -> Response<Reply> {
    let mut response = reply::text(StatusCode::OK, content_type, Bytes::from(text));
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
            assert_eq!(split(query, "hls_ctx"), (id.map(str::to_owned), rest.to_owned()), "{query}");
        };
        check("", None, "");
        check("token=a", None, "token=a");
        check("hls_ctx=abc", Some("abc"), "");
        check("a=1&hls_ctx=abc&b=2", Some("abc"), "a=1&b=2");
        check("hls_ctx=&b", None, "b");
        check("xhls_ctx=1", None, "xhls_ctx=1");
        check("dash_ctx=1&hds_ctx=2&hls_ctx", None, "hls_ctx");
    }

    #[test]
    fn names_in_playlists_are_marked() {
        let text = "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"/k.key?a=1\",IV=0x00\n#EXTINF:1.0, no desc\na.ts\n#EXT-X-KEY:METHOD=NONE\nhttp://cdn/b.ts?x=1\n";
        assert_eq!(
            marked(text, "hls_ctx=id"),
            "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"/k.key?a=1&hls_ctx=id\",IV=0x00\n#EXTINF:1.0, no desc\n\
             a.ts?hls_ctx=id\n#EXT-X-KEY:METHOD=NONE\nhttp://cdn/b.ts?x=1&hls_ctx=id\n"
        );
    }

    #[test]
    fn names_in_manifests_are_marked() {
        let text = "<T timescale=\"1\" initialization=\"i-1.mp4\" media=\"$Time$.m4s\"/><R media=\"x\"/>";
        assert_eq!(
            marked_attributes(text, &[" initialization=", " media="], "d=id"),
            "<T timescale=\"1\" initialization=\"i-1.mp4?d=id\" media=\"$Time$.m4s?d=id\"/><R media=\"x?d=id\"/>"
        );
        assert_eq!(marked_attributes("none", &[" media="], "x"), "none");
    }

    #[test]
    fn ids_are_letters_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert!(a != b && a.len() == ID_LEN && a.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}
