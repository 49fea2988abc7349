//! What packagers have for viewers over HTTP: complete files in memory, by vhost and path of the URL.
//!
//! ```text
//! hls, dash, hds ──► Section::put ──► Shelf ──► session/http/shelved.rs ──► viewers
//! ```
//!
//! A packager rents a [`Section`]; what stands in it is the packager's, and goes with it. A file is put whole and
//! replaced whole, so nobody reads half of one; who is reading one keeps it. A path belongs to the section that
//! put it last. Bounded by [`MAX_BYTES`] and [`MAX_FILES`] for all sections together: what does not fit is refused, and the packager
//! sees how it goes on. What can be found on a disk as well may stand here without its bytes ([`Body::Disk`]).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mill_config::model::Snapshot;
use mill_hub::StreamId;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use crate::clients::Kind;
use crate::metrics::Metrics;

/// Bytes of all files: a minute of two hundred streams of 700 kB/s, more or less.
const MAX_BYTES: usize = 1 << 30;

/// Of these bytes, one in so many is for playlists and keys alone: a playlist must be in memory, as each viewer gets
/// its own copy of it.
const RESERVE: usize = 8;

/// Files, of any size: a day of two-second segments, or a minute of ten thousand streams.
const MAX_FILES: usize = 1 << 18;

/// How long caches on the way to a viewer may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// It changes: they ask each time whether it has, which costs no more than a head. Playlists.
    Revalidate,
    /// It never changes. Segments.
    For(Duration),
    /// It is nobody's but this viewer's. Keys.
    Never,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Memory(Bytes),
    /// In a file that nobody changes.
    Disk(PathBuf),
}

/// A file as a packager puts it.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) content_type: &'static str,
    pub(crate) caching: Caching,
    pub(crate) body: Body,
    /// Whose viewers have sessions and are let in by those; `None`: anybody may have it, and nobody counts.
    pub(crate) show: Option<Arc<Show>>,
}

/// A stream whose viewers over files have sessions.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) stream: StreamId,
    /// What its viewers are.
    pub(crate) kind: Kind,
    /// Bits a second of its largest segment so far, where players are told.
    pub(crate) bandwidth: AtomicU64,
}

/// A file as it stands.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) file: File,
    /// In whole seconds, as HTTP tells it.
    pub(crate) modified: SystemTime,
    /// A strong one, with its quotes; no other file of any run has it.
    pub(crate) etag: String,
    vhost: Arc<str>,
    section: u64,
}

impl Item {
    fn len(&self) -> usize {
        match &self.file.body {
            Body::Memory(bytes) => bytes.len(),
            Body::Disk(_) => 0,
        }
    }
}

/// There is no room for the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room in memory for files over HTTP")]
pub(crate) struct Full;

/// All files of a server. Cheap to clone; clones are the same shelf.
#[derive(Debug, Clone)]
pub(crate) struct Shelf(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_bytes: usize,
    /// Makes ETags differ from those of other runs.
    run: u64,
    next: AtomicU64,
    files: Mutex<Files>,
    figures: [Gauge; 2],
}

#[derive(Debug, Default)]
struct Files {
    /// One item for each vhost that has such a path; nearly always one.
    by_path: HashMap<String, Vec<Arc<Item>>>,
    bytes: usize,
    count: usize,
}

impl Shelf {
    /// `run` differs from run to run.
    pub(crate) fn new(run: u64, metrics: &Metrics) -> Self {
        Self::with_room(MAX_BYTES, run, metrics)
    }

    fn with_room(max_bytes: usize, run: u64, metrics: &Metrics) -> Self {
        let [bytes, files] = [Gauge::default(), Gauge::default()];
        metrics.register("millstream_shelf_bytes", "Bytes of packaged files in memory", bytes.clone());
        metrics.register("millstream_shelf_files", "Packaged files that are served", files.clone());
        let figures = [bytes, files];
        Self(Arc::new(Shared { max_bytes, run, next: AtomicU64::new(0), files: Mutex::default(), figures }))
    }

    /// Room for the files of one packager.
    pub(crate) fn section(&self, vhost: &str) -> Section {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        Section { shelf: self.clone(), vhost: vhost.into(), id, paths: HashSet::new() }
    }

    /// What stands at `path`, which is decoded and begins with a slash: the vhost's own; else that of the only
    /// vhost that has one. SRS serves one directory to all hosts, so viewers ask by any.
    pub(crate) fn find(&self, vhost: &str, path: &str) -> Option<Arc<Item>> {
        let files = self.0.files.lock();
        let items = files.by_path.get(path)?;
        let own = items.iter().find(|item| &*item.vhost == vhost);
        own.or(match &items[..] {
            [only] => Some(only),
            _ => None,
        })
        .cloned()
    }
}

impl Shared {
    fn put(&self, path: &str, item: Item) -> Result<(), Full> {
        let mut files = self.files.lock();
        let old =
            files.by_path.get(path).and_then(|items| items.iter().position(|old| old.vhost == item.vhost));
        let replaced = old.map_or(0, |at| files.by_path[path][at].len());
        let bytes = files.bytes - replaced + item.len();
        let count = files.count + usize::from(old.is_none());
        let max_bytes = match item.file.caching {
            Caching::For(_) => self.max_bytes - self.max_bytes / RESERVE,
            Caching::Revalidate | Caching::Never => self.max_bytes,
        };
        if bytes > max_bytes || count > MAX_FILES {
            return Err(Full);
        }
        let items = files.by_path.entry(path.to_owned()).or_default();
        match old {
            Some(at) => items[at] = Arc::new(item),
            None => items.push(Arc::new(item)),
        }
        self.note(&mut files, bytes, count);
        Ok(())
    }

    fn take(&self, path: &str, section: u64) {
        let mut files = self.files.lock();
        let Some(items) = files.by_path.get_mut(path) else { return };
        let Some(at) = items.iter().position(|item| item.section == section) else { return };
        let taken = items.swap_remove(at);
        if items.is_empty() {
            files.by_path.remove(path);
        }
        let (bytes, count) = (files.bytes - taken.len(), files.count - 1);
        self.note(&mut files, bytes, count);
    }

    fn note(&self, files: &mut Files, bytes: usize, count: usize) {
        (files.bytes, files.count) = (bytes, count);
        self.figures[0].set(bytes as i64);
        self.figures[1].set(count as i64);
    }
}

/// The files of one packager; dropping it takes them away.
#[derive(Debug)]
pub(crate) struct Section {
    shelf: Shelf,
    vhost: Arc<str>,
    id: u64,
    paths: HashSet<String>,
}

impl Section {
    /// Puts a file at `path`, which begins with a slash and is not percent-encoded. If there is no room, what
    /// stood there stays.
    pub(crate) fn put(&mut self, path: &str, file: File) -> Result<(), Full> {
        let shared = &self.shelf.0;
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let item = Item {
            file,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(since_1970.as_secs()),
            etag: format!("\"{:x}-{number:x}\"", shared.run),
            vhost: self.vhost.clone(),
            section: self.id,
        };
        shared.put(path, item)?;
        self.paths.insert(path.to_owned());
        Ok(())
    }

    /// Takes a file away, if it is this section's.
    pub(crate) fn remove(&mut self, path: &str) {
        self.paths.remove(path);
        self.shelf.0.take(path, self.id);
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        for path in &self.paths {
            self.shelf.0.take(path, self.id);
        }
    }
}

/// The path of the URL under which files of `directory` are found: as the file server would serve them, by a mount of
/// the vhost, by one for all hosts or by its own directory, and at `/` where it would not. Begins and ends with a slash.
pub(crate) fn url_of(config: &Snapshot, vhost: &str, directory: &str) -> String {
    let Ok(directory) = std::path::absolute(directory) else { return "/".into() };
    let below = |root: &Path, url: &str| {
        let root = std::path::absolute(root).ok()?;
        let below = directory.strip_prefix(root).ok()?.to_str()?;
        let levels =
            [url, below].into_iter().flat_map(|path| path.split('/')).filter(|level| !level.is_empty());
        Some(levels.fold("/".to_owned(), |path, level| path + level + "/"))
    };
    let mounted = |own: bool| {
        let enabled = config.vhosts.iter().filter(|vhost| vhost.enabled && vhost.http_static.enabled);
        enabled.filter(move |other| (other.name == vhost) == own).find_map(|other| {
            let (host, url) = other.http_static.mounted(&other.name);
            below(&other.http_static.directory(&other.name), &url).filter(|_| own || host.is_none())
        })
    };
    let found = mounted(true).or_else(|| mounted(false)).or_else(|| below(&config.http_server.dir, "/"));
    found.unwrap_or_else(|| "/".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> Shelf {
        Shelf::with_room(10, 7, &Metrics::new())
    }

    /// Bytes and files.
    fn held(shelf: &Shelf) -> (usize, usize) {
        let files = shelf.0.files.lock();
        (files.bytes, files.count)
    }

    fn file(body: impl Into<Bytes>) -> File {
        File {
            content_type: "text/plain",
            caching: Caching::Revalidate,
            body: Body::Memory(body.into()),
            show: None,
        }
    }

    fn read(shelf: &Shelf, vhost: &str, path: &str) -> Option<Bytes> {
        match &shelf.find(vhost, path)?.file.body {
            Body::Memory(bytes) => Some(bytes.clone()),
            Body::Disk(_) => None,
        }
    }

    #[test]
    fn a_file_is_there_until_it_is_replaced_or_its_section_goes() {
        let shelf = shelf();
        let mut section = shelf.section("a");
        section.put("/live/x.m3u8", file("one")).unwrap();
        let first = shelf.find("a", "/live/x.m3u8").unwrap();
        section.put("/live/x.m3u8", file("three")).unwrap();
        let second = shelf.find("a", "/live/x.m3u8").unwrap();
        assert_ne!(first.etag, second.etag);
        assert_eq!(read(&shelf, "a", "/live/x.m3u8").unwrap(), "three");
        section.put("/live/1.ts", file("1")).unwrap();
        section.remove("/live/1.ts");
        section.remove("/live/1.ts");
        assert!(shelf.find("a", "/live/1.ts").is_none());
        assert_eq!(held(&shelf), (5, 1));
        drop(section);
        assert!(shelf.find("a", "/live/x.m3u8").is_none());
        assert_eq!(held(&shelf), (0, 0));
        assert!(shelf.0.files.lock().by_path.is_empty());
    }

    #[test]
    fn a_successor_keeps_what_it_has_put() {
        let shelf = shelf();
        let (mut old, mut new) = (shelf.section("a"), shelf.section("a"));
        old.put("/x", file("old")).unwrap();
        new.put("/x", file("new")).unwrap();
        drop(old);
        assert_eq!(read(&shelf, "a", "/x").unwrap(), "new");
    }

    #[test]
    fn own_files_first_then_the_only_one() {
        let shelf = shelf();
        let (mut a, mut b) = (shelf.section("a"), shelf.section("b"));
        a.put("/x", file("a")).unwrap();
        assert_eq!(read(&shelf, "c", "/x").unwrap(), "a");
        b.put("/x", file("b")).unwrap();
        assert_eq!(
            (read(&shelf, "a", "/x").unwrap(), read(&shelf, "b", "/x").unwrap()),
            ("a".into(), "b".into())
        );
        assert_eq!(read(&shelf, "c", "/x"), None, "nobody knows which");
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let shelf = shelf();
        let mut section = shelf.section("a");
        section.put("/x", file("old")).unwrap();
        let all = "0123456789";
        assert_eq!(section.put("/y", file(all)), Err(Full));
        section.put("/x", file(all)).unwrap();
        assert_eq!(section.put("/y", file("y")), Err(Full));
        section.put("/x", file("new")).unwrap();
        section.put("/y", file("y")).unwrap();
        assert_eq!(held(&shelf), (4, 2));
    }

    #[test]
    fn segments_leave_room_for_playlists() {
        let shelf = shelf();
        let mut section = shelf.section("a");
        let segment = |body| File { caching: Caching::For(Duration::from_secs(1)), ..file(body) };
        section.put("/1.ts", segment("012345678")).unwrap();
        assert_eq!(section.put("/2.ts", segment("9")), Err(Full));
        section.put("/x.m3u8", file("9")).unwrap();
    }

    #[test]
    fn where_the_file_server_would_have_them() {
        let text = "listen 1; http_server { enabled on; dir ./html; }
            vhost a { http_static { enabled on; mount [vhost]/files/; dir ./mounted/[vhost]; } }
            vhost b { http_static { enabled on; mount /all; dir ./shared; } }
            vhost c { http_static { mount /off; dir ./off; } }";
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let config = mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot;
        for (vhost, directory, url) in [
            ("a", "./html", "/"),
            ("a", "html/", "/"),
            ("a", "./html/hls/a", "/hls/a/"),
            ("a", "./other", "/"),
            ("a", "./htmlx", "/"),
            ("a", "./mounted/a", "/files/"),
            ("a", "./mounted/a/x", "/files/x/"),
            ("c", "./mounted/a/x", "/"),
            ("b", "./shared/x", "/all/x/"),
            ("c", "./shared/x", "/all/x/"),
            ("c", "./off/x", "/"),
        ] {
            assert_eq!(url_of(&config, vhost, directory), url, "{vhost} {directory}");
        }
    }
}
