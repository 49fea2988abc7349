//! HLS: frames in; segments, playlist and keys out.
//!
//! A [`Packager`] lives as long as its stream has anything to say about HLS, over publishes: it is told of the end
//! of each by [`Packager::end`], and continues its numbers with the next. After a restart of the server it
//! takes them from the playlist the former process left. It knows nothing of containers: a [`Muxer`] of the
//! caller makes bytes of frames.
//!
//! The driver carries out [`Action`]s. What it appends to a segment it may keep in memory as well, to serve
//! it from there; [`Action::Segment`] says that it is complete. Where writing fails it calls
//! [`Packager::lost`]. Memory: sequence headers, the list, and no media but the frame at hand.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Bytes, BytesMut};
use mill_media::codec::{AudioCodec, VideoCodec};
use mill_media::flv::tag::{AudioTag, Packet, VideoTag};
use mill_media::frame::{Frame, FrameKind, Millis};

use crate::action::{Action, Close};
use crate::clock::VIDEO_GONE;
use crate::crypt::Encryptor;
use crate::cut::{Cutter, Place, Rules};
use crate::path::{self, Civil, StreamName, Template, Values, directory, temporary};
use crate::playlist::{Entry, Numbers, Playlist};
use crate::uri;

/// Shorter segments are thrown away and their number is used again: SRS's number.
const MIN_SEGMENT: Millis = 100;

/// How far the counter of `hls_ts_floor` may run ahead of the clock: SRS's number.
const MAX_AHEAD: i64 = 20;

/// By how much of a fragment a segment is lengthened for each one the counter is ahead: SRS's number.
const FLOOR_STEP: f64 = 0.3;

/// Makes bytes of frames: the container.
pub trait Muxer {
    /// Why a frame cannot be muxed.
    type Error;

    /// A sequence header, which the coded frames from here on need. The first of its kind may come inside a
    /// segment; one that replaces another comes between two.
    fn header(&mut self, frame: &Frame);

    /// A segment begins with a frame of the time `at`: what it must have to be decoded alone. `discontinuity`
    /// says that it continues nothing.
    fn begin(&mut self, at: Millis, discontinuity: bool, out: &mut BytesMut);

    /// A coded frame. On an error nothing of it has been taken; nor if false, as there is nothing in it, or for
    /// a reason that was told before.
    fn write(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<bool, Self::Error>;

    /// The segment ends: what was held back.
    fn end(&mut self, out: &mut BytesMut);

    /// The publish has ended: no header that came before is in force any more.
    fn reset(&mut self) {}
}

/// The directives of HLS, ratios and all.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `hls_fragment` in milliseconds.
    pub fragment: Millis,
    /// `hls_td_ratio`: the target duration, in fragments, as long as no segment is longer.
    pub target_ratio: f64,
    /// `hls_aof_ratio`: where sound alone is cut, in fragments.
    pub audio_ratio: f64,
    /// `hls_ts_floor`: `[timestamp]` in names counts fragments of the clock, and lengths follow it.
    pub floor: bool,
    /// `hls_window` in milliseconds.
    pub window: Millis,
    /// `hls_wait_keyframe`.
    pub wait_keyframe: bool,
    /// `hls_path`.
    pub directory: String,
    /// `hls_m3u8_file`.
    pub playlist: String,
    /// `hls_ts_file`.
    pub segment: String,
    /// `hls_entry_prefix`.
    pub prefix: String,
    /// `hls_cleanup`.
    pub cleanup: bool,
    /// Whether sound goes in: not with `hls_acodec an`.
    pub audio: bool,
    /// Whether pictures go in: not with `hls_vcodec vn`.
    pub video: bool,
    /// `hls_keys` and what belongs to it.
    pub keys: Option<Keys>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fragment: 10_000,
            target_ratio: 1.5,
            audio_ratio: 2.0,
            floor: false,
            window: 60_000,
            wait_keyframe: true,
            directory: "./objs/nginx/html".into(),
            playlist: "[app]/[stream].m3u8".into(),
            segment: "[app]/[stream]-[seq].ts".into(),
            prefix: String::new(),
            cleanup: true,
            audio: true,
            video: true,
            keys: None,
        }
    }
}

/// How segments are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// `hls_fragments_per_key`.
    pub segments: u64,
    /// `hls_key_file_path`.
    pub directory: String,
    /// `hls_key_file`.
    pub file: String,
    /// `hls_key_url`.
    pub url: String,
}

/// Where sixteen random bytes come from, twice for each key: out of the system's generator, nothing less.
pub type Random = Box<dyn FnMut() -> [u8; 16] + Send>;

/// What a file in the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Media.
    Segment,
    /// Sixteen bytes.
    Key,
}

/// A complete segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub sequence: u64,
    /// Its file.
    pub path: String,
    /// As it stands in the playlist.
    pub uri: String,
    /// In milliseconds.
    pub duration: Millis,
    /// The file of the playlist.
    pub playlist: String,
}

/// Why a frame was left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// It begins a segment that can have no name.
    #[error(transparent)]
    Path(#[from] path::Error),
    /// It cannot be muxed. The policy of `hls_on_error` is the caller's.
    #[error("frame cannot be muxed: {0}")]
    Mux(E),
}

/// Packs one stream.
pub struct Packager<M> {
    options: Options,
    name: StreamName,
    muxer: M,
    random: Random,
    cutter: Cutter,
    list: Playlist,
    playlist_path: String,
    segment: Template,
    key: Template,
    /// Sequence headers in force, to tell a repetition from a change.
    headers: [Option<Bytes>; 2],
    codecs: (Option<AudioCodec>, Option<VideoCodec>),
    /// Whether there was a keyframe that the next pictures may refer to.
    refers: bool,
    /// Whether sound is left out until pictures can begin a segment, and the header it then needs.
    muted: bool,
    held: Option<Frame>,
    open: Option<Open>,
    /// The key in force and its file.
    current_key: Option<([u8; 16], String, String)>,
    /// The counter of `hls_ts_floor`.
    floor: Option<i64>,
    actions: VecDeque<Action>,
}

/// The segment being written.
struct Open {
    path: String,
    time: Civil,
    timestamp: Option<i64>,
    discontinuity: bool,
    has_keyframe: bool,
    /// Nothing but what a segment begins with.
    is_empty: bool,
    /// When its newest picture came.
    last_video: Millis,
    encryption: Option<Encryption>,
}

struct Encryption {
    encryptor: Encryptor,
    attributes: String,
    file: String,
}

impl<M> fmt::Debug for Packager<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are nobody's business.
        f.debug_struct("Packager").field("playlist", &self.playlist_path).finish_non_exhaustive()
    }
}

impl<M: Muxer> Packager<M> {
    /// A packager for a stream. Fails if its name makes no file names.
    pub fn new(options: Options, name: StreamName, muxer: M, random: Random) -> Result<Self, path::Error> {
        let playlist_path =
            Template::below(&options.directory, &options.playlist).fill(&Values::new(&name))?;
        let segment = Template::below(&options.directory, &options.segment);
        let trial = Values {
            time: Some(Civil::default()),
            seq: Some(u64::MAX),
            timestamp: Some(i64::MAX),
            duration: Some(i64::MAX),
            ..Values::new(&name)
        };
        segment.fill(&trial)?;
        let (key_directory, key_file) =
            options.keys.as_ref().map_or(("", "-"), |keys| (&keys.directory, &keys.file));
        let key = Template::below(key_directory, key_file);
        key.fill(&trial)?;
        let rules = Rules {
            fragment: options.fragment,
            audio_ratio: options.audio_ratio,
            wait_keyframe: options.wait_keyframe,
        };
        let target = (options.fragment as f64 * options.target_ratio) as Millis;
        Ok(Self {
            cutter: Cutter::new(rules),
            list: Playlist::new(options.window, target),
            playlist_path,
            segment,
            key,
            headers: [None, None],
            codecs: (None, None),
            refers: false,
            muted: false,
            held: None,
            open: None,
            current_key: None,
            floor: None,
            actions: VecDeque::new(),
            options,
            name,
            muxer,
            random,
        })
    }

    /// The file of the playlist.
    pub fn playlist_path(&self) -> &str {
        &self.playlist_path
    }

    /// The playlist as it is now, if there is a segment in it.
    pub fn playlist(&self) -> Option<String> {
        self.list.text()
    }

    /// Goes on where a former process stopped, whose playlist says `text`; false if that is none of ours. To be
    /// called before the first frame.
    pub fn resume(&mut self, text: &str) -> bool {
        let names = self.names();
        let mut list = self.list.clone();
        let resumed = list.resume(text, |uri, key| {
            names.file(uri).into_iter().chain(key.and_then(|key| self.key_file(key))).collect()
        });
        self.list = list;
        if resumed {
            self.cutter.break_off();
        }
        resumed
    }

    /// Goes on with these numbers and without segments. To be called before the first frame.
    pub fn start_at(&mut self, numbers: Numbers) {
        self.list.start_at(numbers);
        self.cutter.break_off();
    }

    /// Where another packager of the stream would go on without the segments.
    pub fn numbers(&self) -> Numbers {
        self.list.numbers()
    }

    /// Deletes the segments that were taken over: they cannot be listed any more. Numbers go on.
    pub fn give_up(&mut self) {
        let entries = self.list.clear();
        if self.options.cleanup {
            self.remove(entries);
        }
        self.cutter.break_off();
    }

    /// The files in the list: segments, and behind each the key it was encrypted with.
    pub fn files(&self) -> impl Iterator<Item = (FileKind, &str)> {
        self.list.entries().flat_map(files_of)
    }

    /// Likewise those of segments that left the list and are deleted later.
    pub fn retired_files(&self) -> impl Iterator<Item = (FileKind, &str)> {
        self.list.retired().flat_map(files_of)
    }

    /// Takes the next frame; `now` is what a segment that begins with it is named after. On an error the
    /// frame is left out, and everything else goes on.
    pub fn push(&mut self, frame: &Frame, now: Civil) -> Result<(), Error<M::Error>> {
        let wanted = if frame.kind.is_audio() { self.options.audio } else { self.options.video };
        match frame.kind {
            FrameKind::Metadata => Ok(()),
            _ if !wanted => Ok(()),
            FrameKind::AudioHeader | FrameKind::VideoHeader => {
                self.header(frame);
                Ok(())
            }
            _ if !self.note_codec(frame) => Ok(()),
            _ => self.push_coded(frame, now),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The publish ends: the segment is completed. The list stays, and goes on with the next publish.
    pub fn end(&mut self) {
        if let Some(duration) = self.cutter.end() {
            self.close(duration);
        }
        self.cutter.break_off();
        self.cutter.expect_video(false);
        self.muxer.reset();
        self.headers = [None, None];
        self.codecs = (None, None);
        (self.muted, self.held, self.refers) = (false, None, false);
    }

    /// What was to be done could not be: the open segment is given up, and so is one that was not announced yet.
    /// Their numbers are used again. Only deletions still stand.
    pub fn lost(&mut self) {
        let list = &mut self.list;
        self.actions.retain(|action| {
            if let Action::Segment(segment) = action {
                list.take_back(segment.sequence);
            }
            matches!(action, Action::Remove { .. })
        });
        if self.open.take().is_some() {
            self.muxer.end(&mut BytesMut::new());
        }
        self.break_here();
        (self.current_key, self.refers) = (None, false);
    }

    /// Deletes everything (`hls_dispose`). Numbers go on.
    pub fn dispose(&mut self) {
        self.end();
        let entries = self.list.clear();
        self.current_key = None;
        self.remove(entries);
        self.actions.push_back(Action::Remove { path: self.playlist_path.clone() });
    }

    /// A sequence header. If it takes the place of another, decoding starts anew.
    fn header(&mut self, frame: &Frame) {
        let known = &mut self.headers[usize::from(frame.kind.is_video())];
        if known.as_ref() == Some(&frame.payload) {
            return;
        }
        let is_first = known.replace(frame.payload.clone()).is_none();
        if frame.kind.is_video() {
            self.cutter.expect_video(true);
            self.refers = false;
        }
        if !is_first && self.starts_anew(frame.kind) {
            self.held = Some(frame.clone());
        } else {
            self.muxer.header(frame);
        }
    }

    /// Notes the codec of a coded frame, which changes without a header where it has none. False if the frame
    /// is no picture and no sound.
    fn note_codec(&mut self, frame: &Frame) -> bool {
        fn changed<C: PartialEq>(known: &mut Option<C>, codec: C) -> bool {
            match known {
                Some(known) if *known == codec => false,
                known => known.replace(codec).is_some(),
            }
        }
        let (coded, changed) = if frame.kind.is_audio() {
            let Some(tag) = AudioTag::parse(&frame.payload) else { return false };
            let coded = tag.packet == Packet::Coded && tag.track == 0;
            (coded, coded && changed(&mut self.codecs.0, tag.codec))
        } else {
            let Some(tag) = VideoTag::parse(&frame.payload) else { return false };
            let coded = tag.packet == Packet::Coded && tag.track == 0;
            (coded, coded && changed(&mut self.codecs.1, tag.codec))
        };
        if changed {
            // What has no header is followed by others only behind theirs, even if it is the one from before.
            if self.codecs.0.is_some_and(|codec| codec != AudioCodec::Aac) {
                self.headers[0] = None;
            }
            // A header that came just before has said so already.
            if !self.muted && !self.cutter.is_broken_off() {
                self.starts_anew(frame.kind);
            }
        }
        coded
    }

    /// What now comes of this kind cannot be decoded with what came before. Where pictures go on, the segment is
    /// kept until they can begin another, without sound: true. Otherwise it ends here: false.
    fn starts_anew(&mut self, kind: FrameKind) -> bool {
        if kind.is_audio() && self.open.as_ref().is_some_and(|open| open.has_keyframe) {
            self.muted = true;
        } else {
            self.break_here();
        }
        self.muted
    }

    /// Ends the segment, and the time without sound; what follows has nothing to do with it.
    fn break_here(&mut self) {
        self.muted = false;
        if let Some(duration) = self.cutter.end() {
            self.close(duration);
        }
        self.cutter.break_off();
        if let Some(header) = self.held.take() {
            self.muxer.header(&header);
        }
    }

    fn push_coded(&mut self, frame: &Frame, now: Civil) -> Result<(), Error<M::Error>> {
        if self.muted {
            let gone = self.open.as_ref().is_none_or(|open| frame.dts - open.last_video > VIDEO_GONE);
            match frame.kind {
                FrameKind::Keyframe => self.break_here(),
                FrameKind::Audio if gone => self.break_here(),
                FrameKind::Audio => return Ok(()),
                _ => {}
            }
        }
        // Pictures without a keyframe before them, as their header came late, are no use to anybody.
        if frame.kind == FrameKind::Video && !self.refers && self.options.wait_keyframe {
            return Ok(());
        }
        self.cutter.deviate(self.deviation(now));
        let cut = self.cutter.next(frame.kind, frame.dts);
        if let Some(duration) = cut.closed {
            self.close(duration);
        }
        match cut.place {
            Place::Nowhere => return Ok(()),
            Place::New { discontinuity } => {
                if let Err(error) = self.begin(frame.dts, discontinuity, now) {
                    self.cutter.end();
                    if discontinuity {
                        self.cutter.break_off();
                    }
                    return Err(error.into());
                }
            }
            Place::Same => {}
        }
        if let Some(open) = self.open.as_mut().filter(|_| frame.kind.is_video()) {
            open.has_keyframe |= frame.kind == FrameKind::Keyframe;
            open.last_video = frame.dts;
        }
        let mut out = BytesMut::new();
        let written = self.muxer.write(frame, &mut out);
        if matches!(written, Ok(true)) {
            self.append(out);
            self.refers |= frame.kind == FrameKind::Keyframe;
            self.open.iter_mut().for_each(|open| open.is_empty = false);
        } else if let Some(open) = self.open.take_if(|open| open.is_empty) {
            // There is no segment of nothing. The next frame that can be muxed begins one.
            self.muxer.end(&mut BytesMut::new());
            self.cutter.end();
            if open.discontinuity {
                self.cutter.break_off();
            }
            if frame.kind.is_video() {
                self.cutter.expect_video(false);
            }
            self.actions.push_back(Action::Close(Close::Discard { path: open.path }));
        }
        written.map(|_| ()).map_err(Error::Mux)
    }

    fn begin(&mut self, at: Millis, discontinuity: bool, now: Civil) -> Result<(), path::Error> {
        let timestamp = self.options.floor.then(|| self.count_floor(now));
        let sequence = self.list.next_sequence();
        // The very first has nothing before it to differ from.
        let discontinuity = discontinuity && sequence > 0;
        let values = Values { time: Some(now), timestamp, seq: Some(sequence), ..Values::new(&self.name) };
        let path = temporary(&self.segment.fill(&values)?);
        let encryption = self.encryption(sequence, now)?;
        self.actions.push_back(Action::Create { path: path.clone() });
        self.open = Some(Open {
            path,
            time: now,
            timestamp,
            discontinuity,
            has_keyframe: false,
            is_empty: true,
            last_video: at,
            encryption,
        });
        let mut out = BytesMut::new();
        self.muxer.begin(at, discontinuity, &mut out);
        self.append(out);
        Ok(())
    }

    /// The key of the segment: a new one for each group, and an initialisation vector of its own.
    fn encryption(&mut self, sequence: u64, now: Civil) -> Result<Option<Encryption>, path::Error> {
        let Some(keys) = &self.options.keys else { return Ok(None) };
        if self.current_key.is_none() || sequence.is_multiple_of(keys.segments.max(1)) {
            let values = Values { time: Some(now), seq: Some(sequence), ..Values::new(&self.name) };
            let path = self.key.fill(&values)?;
            let relative = &path[below(&keys.directory)..];
            let slash = if keys.url.is_empty() || keys.url.ends_with('/') { "" } else { "/" };
            let url = [&keys.url, slash, &uri::encode(relative)].concat();
            let key = (self.random)();
            let content = Bytes::copy_from_slice(&key);
            self.actions.push_back(Action::Replace { path: path.clone(), content });
            self.current_key = Some((key, path, url));
        }
        let Some((key, file, url)) = &self.current_key else { return Ok(None) };
        let iv = (self.random)();
        let attributes = format!("METHOD=AES-128,URI=\"{url}\",IV=0x{:032X}", u128::from_be_bytes(iv));
        Ok(Some(Encryption { encryptor: Encryptor::new(key, &iv), attributes, file: file.clone() }))
    }

    fn append(&mut self, mut out: BytesMut) {
        let Some(open) = &mut self.open else { return };
        if let Some(encryption) = &mut open.encryption {
            out = encryption.encryptor.write(&out);
        }
        if !out.is_empty() {
            self.actions.push_back(Action::Append(out.freeze()));
        }
    }

    fn close(&mut self, duration: Millis) {
        let mut out = BytesMut::new();
        self.muxer.end(&mut out);
        self.append(out);
        let Some(open) = self.open.take() else { return };
        if duration < MIN_SEGMENT {
            // Only a discontinuity makes one so short, so the next one has its own.
            self.actions.push_back(Action::Close(Close::Discard { path: open.path }));
            return;
        }
        let sequence = self.list.next_sequence();
        let values = Values {
            time: Some(open.time),
            timestamp: open.timestamp,
            seq: Some(sequence),
            duration: Some(duration),
            ..Values::new(&self.name)
        };
        // A name that was short enough when it began was tried with the longest numbers.
        let path = self.segment.fill(&values).expect("tried when the packager was made");
        let mut files = vec![path.clone()];
        let mut key = None;
        if let Some(encryption) = open.encryption {
            self.actions.push_back(Action::Append(encryption.encryptor.finish().freeze()));
            files.push(encryption.file);
            key = Some(encryption.attributes);
        }
        self.actions.push_back(Action::Close(Close::Replace { from: open.path, to: path.clone() }));
        let uri = self.names().uri(&path);
        let entry =
            Entry { sequence, uri: uri.clone(), duration, discontinuity: open.discontinuity, key, files };
        let gone = self.list.push(entry);
        let text = self.list.text().expect("a segment was just added");
        let playlist = self.playlist_path.clone();
        self.actions.push_back(Action::Replace { path: playlist.clone(), content: text.into() });
        self.actions.push_back(Action::Segment(Segment { sequence, path, uri, duration, playlist }));
        if self.options.cleanup {
            self.remove(gone);
        }
    }

    /// Deletes the files of segments, and keys that were the last to need them.
    fn remove(&mut self, entries: Vec<Entry>) {
        let mut files: Vec<_> = entries.into_iter().flat_map(|entry| entry.files).collect();
        let current = self.current_key.as_ref().map(|(_, file, _)| file.as_str());
        files.retain(|file| !self.list.needs(file) && current != Some(file));
        files.sort();
        files.dedup();
        self.actions.extend(files.into_iter().map(|path| Action::Remove { path }));
    }

    /// How much longer than its nominal length a segment should be, so that the counter follows the clock.
    fn deviation(&self, now: Civil) -> Millis {
        let Some(counter) = self.floor.filter(|_| self.options.floor) else { return 0 };
        let ahead = counter - self.fragments(now);
        (FLOOR_STEP * ahead as f64 * self.options.fragment as f64) as Millis
    }

    /// The counter that stands for `[timestamp]`.
    fn count_floor(&mut self, now: Civil) -> i64 {
        let clock = self.fragments(now);
        let next = self.floor.map_or(clock - 1, |counter| counter + 1);
        let next = if next - clock > MAX_AHEAD { clock - 1 } else { next };
        *self.floor.insert(next)
    }

    /// Fragments since 1970.
    fn fragments(&self, now: Civil) -> i64 {
        now.unix_millis.div_euclid(self.options.fragment.max(1))
    }

    /// The file of a key, by its attributes.
    fn key_file(&self, attributes: &str) -> Option<String> {
        let keys = self.options.keys.as_ref()?;
        let (_, uri) = attributes.split_once("URI=\"")?;
        let (uri, _) = uri.split_once('"')?;
        let relative = uri::decode(uri.strip_prefix(keys.url.as_str())?.trim_start_matches('/'))?;
        path::check(&relative).ok()?;
        Some([&self.key.text()[..below(&keys.directory)], &relative].concat())
    }

    fn names(&self) -> uri::Names<'_> {
        uri::Names {
            root: &self.segment.text()[..below(&self.options.directory)],
            playlist: directory(&self.playlist_path),
            prefix: &self.options.prefix,
        }
    }
}

fn files_of(entry: &Entry) -> impl Iterator<Item = (FileKind, &str)> {
    let kinds = std::iter::once(FileKind::Segment).chain(std::iter::repeat(FileKind::Key));
    kinds.zip(entry.files.iter().map(String::as_str))
}

/// Bytes of a path made by [`Template::below`] before what is below the directory.
fn below(directory: &str) -> usize {
    directory.len() + usize::from(!directory.is_empty() && !directory.ends_with('/'))
}
