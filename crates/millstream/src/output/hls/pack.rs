//! One stream under one configuration: its packager, its files in memory, and the way to the disk.
//!
//! Where a pack goes on, in this order: from the one before it, after a reload; from the playlist on the disk,
//! as far as its segments are there; from the numbers this process remembers. A stream that has none of these and
//! may have had some (in memory alone, or with a playlist nobody can read) takes the seconds since 1970: they are
//! beyond whatever a former process has counted, as long as segments last a second. So does one whose files
//! `hls_dispose` deletes, playlist and all. Any other stream of the disk without a playlist is new and begins at 0.
//!
//! Viewers get a playlist when the disk has it: who was shown a number will not see another segment of that number after
//! a `kill -9`. But they do not wait for a disk that is slow ([`AHEAD`]).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use mill_config::model::{self, HlsStorage};
use mill_hub::StreamId;
use mill_media::frame::{Frame, Millis};
use mill_media::ts::mux::Unfit;
use mill_packager::action::{Action, Close};
use mill_packager::hls::{self, FileKind, Keys, Options, Packager, Segment};
use mill_packager::path::{self, StreamName};
use mill_packager::playlist::{Numbers, served};
use tracing::{debug, error, info, warn};

use super::ts::Ts;
use super::{Channels, Conf, key_directory};
use crate::attach::Source;
use crate::clients::Kind;
use crate::hook::Segmented;
use crate::identity;
use crate::output::clock::{civil, zone};
use crate::output::shelf::{Body, Caching, File, Full, Section, Show};
use crate::output::writer::{Job, Writer};
use crate::session::admit::stream_url;
use crate::tasks::Tasks;

/// A segment that is still being made: ninety seconds of 20 Mbit/s.
pub(super) const MAX_OPEN: usize = 256 << 20;

/// How long a beginning waits for the disk that has the old playlist.
pub(super) const DISK: Duration = Duration::from_secs(10);

/// How long a playlist waits for the disk before viewers get it. One that has waited in vain is waited for no more.
const AHEAD: Duration = Duration::from_secs(1);

/// Largest playlist that is read: some days of segments.
const MAX_PLAYLIST: u64 = 16 << 20;

/// What players take the files for.
pub(crate) const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const SEGMENT: &str = "video/MP2T";
const KEY: &str = "application/octet-stream";

/// Why something of a stream is in no segment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Frame(#[from] hls::Error<Unfit>),
    #[error("a segment is larger than {MAX_OPEN} bytes and is given up")]
    Large,
    #[error(transparent)]
    Full(#[from] Full),
}

pub(super) struct Pack {
    shared: Arc<Channels>,
    conf: Conf,
    show: Arc<Show>,
    packager: Packager<Ts>,
    section: Section,
    /// What is served until the first segment under a new configuration is complete.
    former: Option<Section>,
    /// Without one everything is in memory alone.
    writer: Option<Writer>,
    /// A playlist on its way to the disk, and its place there.
    list: Option<(Bytes, u64)>,
    /// The place of one that has waited in vain.
    late: u64,
    open: Vec<Bytes>,
    len: usize,
    zone: jiff::tz::TimeZone,
}

impl Pack {
    /// The old one if it does what `conf` says, or another that goes on where it stopped.
    pub(super) async fn ready(
        old: Option<Self>,
        shared: &Arc<Channels>,
        tasks: &Tasks,
        stream: &StreamId,
        conf: Conf,
    ) -> Result<Self, path::Error> {
        let old = match old {
            Some(pack) if pack.conf.goes_on_under(&conf) => return Ok(Self { conf, ..pack }),
            old => old,
        };
        let hls = &conf.vhost.hls;
        let name =
            StreamName { vhost: stream.vhost.clone(), app: stream.app.clone(), stream: stream.name.clone() };
        let packager =
            Packager::new(options(&conf), name, Ts::new(!hls.dts_directly), Box::new(identity::random))?;
        let on_disk = hls.storage == HlsStorage::Disk;
        let show = Show { stream: stream.clone(), kind: Kind::HlsPlay, bandwidth: 0.into() };
        let mut pack = Self {
            shared: shared.clone(),
            show: Arc::new(show),
            packager,
            section: shared.shelf.section(&stream.vhost),
            former: None,
            writer: on_disk.then(|| {
                Writer::start(&shared.disk, tasks, format!("hls stream {stream}"), &shared.figures.failures)
            }),
            list: None,
            late: 0,
            open: Vec::new(),
            len: 0,
            zone: zone(conf.utc),
            conf,
        };
        match old {
            Some(old) => pack.succeed(old).await,
            None if on_disk => pack.resume(stream).await,
            None => pack.packager.start_at(shared.recall(stream).unwrap_or_else(by_the_clock)),
        }
        Ok(pack)
    }

    /// Goes on where a pack under another configuration stopped.
    async fn succeed(&mut self, mut old: Self) {
        let (text, numbers) = (old.packager.playlist(), old.packager.numbers());
        if let Some(writer) = &old.writer {
            writer.finish().await;
        }
        let places = |conf: &Conf| {
            let model::Hls { path, m3u8_file, ts_file, entry_prefix, storage, .. } = conf.vhost.hls.clone();
            (conf.url.clone(), path, m3u8_file, ts_file, entry_prefix, storage)
        };
        let stays = places(&old.conf) == places(&self.conf);
        if stays && text.is_some_and(|text| self.packager.resume(&text)) {
            std::mem::swap(&mut self.section, &mut old.section);
            self.show = old.show;
        } else {
            self.packager.start_at(numbers);
            self.former = Some(old.section);
        }
    }

    /// Goes on where a former process stopped, or a former task of this one.
    async fn resume(&mut self, stream: &StreamId) {
        let playlist = self.packager.playlist_path().to_owned();
        let read = self.shared.disk.run(move || read(&playlist));
        let text = tokio::time::timeout(DISK, read).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        let recalled = self.shared.recall(stream);
        let text = match text {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let disposes = self.conf.vhost.hls.dispose > Duration::ZERO;
                let numbers = recalled.or_else(|| disposes.then(by_the_clock));
                return numbers.map_or((), |numbers| self.packager.start_at(numbers));
            }
            Err(e) => {
                warn!(
                    "hls stream {stream}: {}: {e}; its numbers go on by the clock",
                    self.packager.playlist_path()
                );
                return self.packager.start_at(recalled.unwrap_or_else(by_the_clock));
            }
        };
        if !self.packager.resume(&text) {
            warn!("hls stream {stream}: {} is no playlist of ours", self.packager.playlist_path());
            return self.packager.start_at(recalled.unwrap_or_else(by_the_clock));
        }
        let numbers = self.packager.numbers();
        if let Some(recalled) = recalled.filter(|recalled| recalled.sequence > numbers.sequence) {
            // The disk was not taking files.
            self.packager.give_up();
            return self.packager.start_at(recalled);
        }
        let (files, retired) = (owned(self.packager.files()), owned(self.packager.retired_files()));
        let look = move || {
            let is_there = |(_, file): &(FileKind, String)| Path::new(file).is_file();
            let are_listed = !files.is_empty() && files.iter().all(is_there);
            Ok(are_listed.then(|| files.into_iter().chain(retired.into_iter().filter(is_there)).collect()))
        };
        let found: Option<Vec<_>> = self.shared.disk.run(look).await.unwrap_or(None);
        let Some(files) = found else {
            info!("hls stream {stream}: segments of the old playlist are gone, their numbers go on");
            return self.packager.give_up();
        };
        info!("hls stream {stream}: goes on with segment {}", numbers.sequence);
        for (kind, file) in files {
            let body = Body::Disk(Path::new(&file).into());
            let kind = match kind {
                FileKind::Segment => SEGMENT,
                FileKind::Key => KEY,
            };
            let _ = self.put(&file, kind, body);
        }
        self.show_list(&text.into());
    }

    /// Takes a frame; on an error it is left out.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), Error> {
        Ok(self.packager.push(frame, civil(&self.zone))?)
    }

    /// The publish ends.
    pub(super) fn end(&mut self) {
        self.packager.end();
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.packager.numbers()
    }

    pub(super) fn has_files(&self) -> bool {
        self.packager.playlist().is_some()
    }

    /// Whether the disk has failed since the last call.
    pub(super) fn disk_has_failed(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::has_failed)
    }

    /// Deletes everything.
    pub(super) fn dispose(&mut self) {
        self.packager.dispose();
        while let Some(action) = self.packager.poll_action() {
            if let Action::Remove { path } = action {
                self.remove(path);
            }
        }
        (self.open, self.len, self.list) = (Vec::new(), 0, None);
    }

    /// Waits for the disk; files in memory go.
    pub(super) async fn finish(self) {
        let Self { section, writer, .. } = self;
        drop(section);
        if let Some(writer) = writer {
            writer.finish().await;
        }
    }

    /// Does what the packager says. On an error the open segment is given up, and the next begins anew.
    pub(super) fn carry_out(&mut self, source: &Arc<Source>) -> Result<(), Error> {
        while let Some(action) = self.packager.poll_action() {
            let done = self.apply(action, source);
            if done.is_err() {
                self.packager.lost();
                (self.open, self.len) = (Vec::new(), 0);
                return done;
            }
        }
        Ok(())
    }

    fn apply(&mut self, action: Action, source: &Arc<Source>) -> Result<(), Error> {
        match action {
            Action::Create { .. } | Action::Close(Close::Discard { .. }) => {
                (self.open, self.len) = (Vec::new(), 0);
            }
            Action::Append(bytes) => {
                self.len += bytes.len();
                self.open.push(bytes);
                if self.len > MAX_OPEN {
                    return Err(Error::Large);
                }
            }
            Action::Close(Close::Replace { to, .. }) => {
                let mut content = Vec::with_capacity(self.len);
                std::mem::take(&mut self.open).iter().for_each(|bytes| content.extend_from_slice(bytes));
                self.keep(&to, SEGMENT, content.into())?;
            }
            Action::Replace { path, content } if path == self.packager.playlist_path() => {
                let job = Job::Write { path, content: content.clone() };
                let place = self.writer.as_ref().map_or(0, |writer| writer.push(job));
                self.list = Some((content, place));
            }
            Action::Replace { path, content } => self.keep(&path, KEY, content)?,
            Action::Remove { path } => self.remove(path),
            Action::Segment(segment) => self.tell(segment, source),
            other => debug_assert!(false, "{other:?} is not of HLS"),
        }
        Ok(())
    }

    /// Viewers get the newest playlist, when the disk has it.
    pub(super) async fn publish_list(&mut self) {
        let Some((text, place)) = self.list.take() else { return };
        if let Some(writer) = self.writer.as_ref().filter(|writer| writer.is_over(self.late))
            && tokio::time::timeout(AHEAD, writer.until_over(place)).await.is_err()
        {
            self.late = place;
        }
        self.show_list(&text);
    }

    fn show_list(&mut self, text: &Bytes) {
        let path = self.packager.playlist_path().to_owned();
        let mut shown = self.put(&path, PLAYLIST, Body::Memory(served(text)));
        if shown.is_err() && self.writer.is_some() {
            shown = self.put(&path, PLAYLIST, Body::Disk(Path::new(&path).into()));
        }
        if let Err(e) = shown {
            error!("hls stream {}: {path}: {e}", self.show.stream);
        }
        self.former = None;
    }

    /// Puts a file where it is served from, and in line for the disk.
    fn keep(&mut self, path: &str, kind: &'static str, content: Bytes) -> Result<(), Full> {
        let Some(writer) = &self.writer else {
            return self.put(path, kind, Body::Memory(content));
        };
        writer.push(Job::Write { path: path.to_owned(), content: content.clone() });
        // If there is no room, it will be read from the disk.
        let kept = self.put(path, kind, Body::Memory(content));
        kept.or_else(|Full| self.put(path, kind, Body::Disk(Path::new(path).into())))
    }

    fn put(&mut self, path: &str, kind: &'static str, body: Body) -> Result<(), Full> {
        let Some(url) = self.url(path) else { return Ok(()) };
        let caching = match kind {
            PLAYLIST => Caching::Revalidate,
            SEGMENT => Caching::For(self.conf.vhost.hls.window.max(Duration::from_secs(1))),
            _ => Caching::Never,
        };
        self.section.put(&url, File { content_type: kind, caching, body, show: Some(self.show.clone()) })
    }

    fn remove(&mut self, path: String) {
        if let Some(url) = self.url(&path) {
            self.section.remove(&url);
        }
        if let Some(writer) = &self.writer {
            writer.push(Job::Remove { path });
        }
    }

    /// Where a file is found over HTTP.
    fn url(&self, path: &str) -> Option<String> {
        let hls = &self.conf.vhost.hls;
        let places = [(hls.path.as_str(), &self.conf.url), (key_directory(hls), &self.conf.key_url)];
        places.into_iter().find_map(|(directory, url)| {
            let below = path.strip_prefix(directory)?;
            let below = if directory.ends_with('/') { below } else { below.strip_prefix('/')? };
            Some([url, below].concat())
        })
    }

    /// A segment is complete: tells of it when it is where it should be.
    fn tell(&mut self, segment: Segment, source: &Arc<Source>) {
        let Segment { sequence, duration, .. } = segment;
        debug!("hls stream {} segment {sequence}, {duration} ms", stream_url(&self.show.stream));
        let figures = &self.shared.figures;
        figures.segments.inc();
        figures.bytes.inc_by(self.len as u64);
        let bits = self.len as u64 * 8 * 1000 / u64::try_from(duration).unwrap_or(1).max(1);
        self.show.bandwidth.fetch_max(bits, Ordering::Relaxed);
        self.len = 0;
        let event = self.event(segment, source);
        let (shared, vhost) = (self.shared.clone(), self.conf.vhost.clone());
        let tell = move || shared.hooks.segmented(&vhost, &event, &shared.sessions);
        match &self.writer {
            Some(writer) => _ = writer.push(Job::Tell(Box::new(tell))),
            None => tell(),
        }
    }

    fn event(&self, segment: Segment, source: &Source) -> Segmented {
        let root = self.conf.vhost.hls.path.trim_end_matches('/');
        let m3u8_url = segment.playlist.strip_prefix(root).unwrap_or(&segment.playlist);
        let m3u8_url = m3u8_url.trim_start_matches('/').to_owned();
        let is_absolute = segment.uri.starts_with("http://") || segment.uri.starts_with("https://");
        let url = match path::directory(&m3u8_url) {
            directory if !is_absolute => [directory, &segment.uri].concat(),
            _ => segment.uri.clone(),
        };
        Segmented {
            client: source.peer.id,
            ip: source.peer.ip.to_canonical().to_string(),
            stream: self.show.stream.clone(),
            param: source.param.clone(),
            duration: segment.duration,
            cwd: self.shared.cwd.clone(),
            file: segment.path,
            uri: segment.uri,
            url,
            m3u8: segment.playlist,
            m3u8_url,
            sequence: segment.sequence,
        }
    }
}

fn options(conf: &Conf) -> Options {
    let hls = &conf.vhost.hls;
    let millis = |time: Duration| Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX);
    let keys = || Keys {
        segments: hls.fragments_per_key.into(),
        directory: key_directory(hls).to_owned(),
        file: hls.key_file.clone(),
        // SRS writes the path of the disk here if it is told nothing.
        url: if hls.key_url.is_empty() { conf.key_url.clone() } else { hls.key_url.clone() },
    };
    Options {
        fragment: millis(hls.fragment),
        target_ratio: hls.td_ratio,
        audio_ratio: hls.aof_ratio,
        floor: hls.ts_floor,
        window: millis(hls.window),
        wait_keyframe: hls.wait_keyframe,
        directory: hls.path.clone(),
        playlist: hls.m3u8_file.clone(),
        segment: hls.ts_file.clone(),
        prefix: hls.entry_prefix.clone(),
        cleanup: hls.cleanup,
        audio: hls.acodec != "an",
        video: hls.vcodec != "vn",
        keys: hls.keys.then(keys),
    }
}

fn owned<'a>(files: impl Iterator<Item = (FileKind, &'a str)>) -> Vec<(FileKind, String)> {
    files.map(|(kind, file)| (kind, file.to_owned())).collect()
}

/// Numbers beyond those of any process before.
fn by_the_clock() -> Numbers {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    Numbers { sequence: now, discontinuities: now, target: 0 }
}

fn read(path: &str) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_PLAYLIST).read_to_string(&mut text)?;
    Ok(text)
}
