//! Media: real files, hand-made frames with a serial number inside, and viewers that take them apart.

use super::http::{Body, End, Http};
use super::server::Server;
use super::{SOON, pause};
use bytes::Bytes;
use mill_media::flv::demux::{Demuxer, Tag};
use mill_media::flv::tag::classify;
use mill_media::frame::FrameKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Ten seconds of a real encoder's H.264 and AAC.
pub(crate) const BBB: &str = "bbb.flv";
/// The same with B-frames, so with composition times.
pub(crate) const AVATAR: &str = "avatar.flv";

/// A file of the repository's test media.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mill-media/testdata").join(name)
}

/// All tags of a file.
pub(crate) fn tags(path: &Path) -> Vec<Tag> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(&bytes)
}

/// All tags of a stream.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Tag> {
    let mut demuxer = Demuxer::new();
    demuxer.feed(bytes);
    std::iter::from_fn(|| demuxer.next().expect("the bytes are FLV")).collect()
}

/// What a tag is.
pub(crate) fn kind(tag: &Tag) -> Option<FrameKind> {
    classify(tag.tag_type, &tag.body)
}

/// A decoder configuration that a real encoder sent.
fn real_header(kind: FrameKind) -> Bytes {
    static HEADERS: OnceLock<Vec<Tag>> = OnceLock::new();
    let tags = HEADERS.get_or_init(|| tags(&file(BBB)));
    let tag = tags.iter().find(|tag| self::kind(tag) == Some(kind)).expect("the file has both headers");
    tag.body.clone()
}

/// H.264 decoder configuration, as a tag body.
pub(crate) fn avc_header() -> Bytes {
    real_header(FrameKind::VideoHeader)
}

/// AAC decoder configuration, as a tag body.
pub(crate) fn aac_header() -> Bytes {
    real_header(FrameKind::AudioHeader)
}

/// A made-up H.264 frame: right on the outside, a serial number and filling inside.
pub(crate) fn avc(key: bool, serial: u32, size: usize) -> Bytes {
    let nal = 5 + size;
    let mut body = vec![if key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    body.extend((nal as u32).to_be_bytes());
    body.push(if key { 0x65 } else { 0x41 });
    body.extend(serial.to_be_bytes());
    body.resize(body.len() + size, 0xa5);
    body.into()
}

/// A made-up AAC frame with a serial number.
pub(crate) fn aac(serial: u32) -> Bytes {
    let mut body = vec![0xaf, 1];
    body.extend(serial.to_be_bytes());
    body.resize(64, 0x5a);
    body.into()
}

/// The serial number of a frame made by [`avc`] or [`aac`].
#[track_caller]
pub(crate) fn serial(tag: &Tag) -> u32 {
    let at = if tag.tag_type == 8 { 2 } else { 10 };
    let bytes = tag.body.get(at..at + 4).expect("the frame is long enough");
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

/// Somebody who receives a stream, whatever the protocol.
pub(crate) trait Receive {
    /// The next tag, header or frame; `None` when none came in time or the stream is over.
    fn next(&mut self, deadline: Duration) -> Option<Tag>;
}

/// What every receiver can be asked for; failing to get it in time is a failure of the test.
pub(crate) trait Viewer: Receive {
    /// The next tag that is a coded frame, not a header.
    #[track_caller]
    fn frame(&mut self) -> Tag {
        self.find("a frame", |tag| kind(tag).is_some_and(|kind| !kind.is_header()))
    }

    /// The next tag of this kind; others before it are skipped.
    #[track_caller]
    fn of(&mut self, wanted: FrameKind) -> Tag {
        self.find(&format!("{wanted:?}"), |tag| kind(tag) == Some(wanted))
    }

    /// The first tag that fits.
    #[track_caller]
    fn find(&mut self, what: &str, mut fits: impl FnMut(&Tag) -> bool) -> Tag {
        let end = Instant::now() + SOON;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.next(left) {
                Some(tag) if fits(&tag) => return tag,
                Some(_) => {}
                None => panic!("the viewer did not get {what}"),
            }
        }
    }

    /// Everything up to the frame with this serial number.
    #[track_caller]
    fn until_serial(&mut self, wanted: u32) -> Vec<Tag> {
        let mut all = Vec::new();
        self.find(&format!("frame {wanted}"), |tag| {
            all.push(tag.clone());
            kind(tag).is_some_and(|kind| !kind.is_header()) && serial(tag) == wanted
        });
        all
    }
}

impl<R: Receive + ?Sized> Viewer for R {}

/// A viewer over HTTP-FLV.
pub(crate) struct FlvViewer {
    body: Body,
    start: Vec<u8>,
    demuxer: Demuxer,
}

impl FlvViewer {
    /// Asks with HTTP/1.1 and expects to be served.
    #[track_caller]
    pub(crate) fn open(server: &Server, path: &str) -> Self {
        Self::new(Http::get(server.http_addr(), path))
    }

    /// An answer to be read as FLV.
    #[track_caller]
    pub(crate) fn new(body: Body) -> Self {
        assert_eq!(body.head.status, 200, "{:?}", body.head);
        assert_eq!(body.head.header("content-type"), Some("video/x-flv"));
        Self { body, start: Vec::new(), demuxer: Demuxer::new() }
    }

    /// The flags of the FLV header: 4 audio, 1 video.
    #[track_caller]
    pub(crate) fn flags(&mut self) -> u8 {
        let end = Instant::now() + SOON;
        while self.start.len() < 13 {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && self.read(left), "no FLV header, only {:?}", self.start);
        }
        assert_eq!(&self.start[..4], b"FLV\x01");
        assert_eq!(&self.start[5..13], &[0, 0, 0, 9, 0, 0, 0, 0]);
        self.start[4]
    }

    /// How the answer ended, if it has.
    pub(crate) fn ended(&self) -> Option<End> {
        self.body.ended()
    }

    /// Whether something has come after the answer's head.
    pub(crate) fn began(&mut self, deadline: Duration) -> bool {
        !self.start.is_empty() || self.read(deadline)
    }

    /// Our end of the connection.
    pub(crate) fn local_port(&self) -> u16 {
        self.body.local_port()
    }

    /// Reads all tags until the server ends the answer.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<Tag>, End) {
        let mut tags = Vec::new();
        let end = Instant::now() + SOON;
        while let Some(tag) = self.next(end.saturating_duration_since(Instant::now())) {
            tags.push(tag);
        }
        let Some(end) = self.ended() else { panic!("the answer did not end within {SOON:?}") };
        (tags, end)
    }

    fn read(&mut self, deadline: Duration) -> bool {
        let bytes = self.body.read(deadline);
        let missing = 13 - self.start.len().min(13);
        self.start.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        self.demuxer.feed(&bytes);
        !bytes.is_empty()
    }
}

impl Receive for FlvViewer {
    fn next(&mut self, deadline: Duration) -> Option<Tag> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(tag) = self.demuxer.next().expect("the body is FLV") {
                return Some(tag);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.read(left) {
                return None;
            }
        }
    }
}

/// Does `step` until it returns `true` or the time is over, where time itself is what is tested.
pub(crate) fn for_a_while(duration: Duration, mut step: impl FnMut() -> bool) {
    let end = Instant::now() + duration;
    while Instant::now() < end && !step() {
        pause();
    }
}
