//! A disk in memory that carries out actions as a server would.

use std::collections::BTreeMap;
use std::ops::Range;

use mill_media::flv::demux::Demuxer;
use mill_media::flv::file;
use mill_media::flv::tag::classify;
use mill_media::frame::Frame;
use mill_media::mp4::classic;
use mill_media::time::Unwrap;
use mill_packager::action::{Action, Close};
use mill_packager::dvr::Recorded;
use mill_packager::path::numbered;

/// Files by name, and what was announced.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    open: Option<String>,
    /// Length of the open file when it was last made safe.
    pub(crate) synced: usize,
    pub(crate) recorded: Vec<Recorded>,
    pub(crate) left_out: usize,
}

impl Disk {
    pub(crate) fn apply(&mut self, action: Action) {
        match action {
            Action::Create { path } => {
                assert_eq!(self.open, None, "one file at a time");
                self.files.insert(path.clone(), Vec::new());
                (self.open, self.synced) = (Some(path), 0);
            }
            Action::Append(bytes) => self.current().extend_from_slice(&bytes),
            Action::Patch { offset, bytes } => {
                let range = offset as usize..offset as usize + bytes.len();
                self.current()[range].copy_from_slice(&bytes);
            }
            Action::Sync => self.synced = self.current().len(),
            Action::Close(close) => {
                let open = self.open.take().expect("a file is open");
                match close {
                    Close::Replace { from, to } => {
                        assert_eq!(open, from);
                        let content = self.files.remove(&from).unwrap();
                        self.files.insert(to, content);
                    }
                    Close::Keep { from, to } => {
                        assert_eq!(open, from);
                        let content = self.files.remove(&from).unwrap();
                        self.insert(to, content);
                    }
                    Close::Finalise { from, to } => {
                        assert_eq!(open, from);
                        let content = self.files.remove(&from).unwrap();
                        self.insert(to, finalise(&content).expect("something to finalise").0);
                    }
                    Close::Discard { path } => {
                        assert_eq!(open, path);
                        self.files.remove(&path);
                    }
                }
            }
            Action::Replace { path, content } => drop(self.files.insert(path, content.to_vec())),
            Action::Remove { path } => drop(self.files.remove(&path)),
            Action::Recorded(recorded) => self.recorded.push(recorded),
            Action::Segment(_) => {}
            Action::LeftOut(_) => self.left_out += 1,
        }
    }

    /// The process that wrote is gone.
    pub(crate) fn crash(&mut self) {
        self.open = None;
    }

    fn insert(&mut self, mut path: String, content: Vec<u8>) {
        let taken = path.clone();
        for n in 2.. {
            if !self.files.contains_key(&path) {
                break;
            }
            path = numbered(&taken, n);
        }
        self.files.insert(path, content);
    }

    fn current(&mut self) -> &mut Vec<u8> {
        let path = self.open.as_ref().expect("a file is open");
        self.files.get_mut(path).unwrap()
    }
}

fn bytes(file: &[u8], range: Range<u64>) -> &[u8] {
    &file[range.start as usize..range.end as usize]
}

/// The classic file of a fragmented one, and its duration.
pub(crate) fn finalise(fragmented: &[u8]) -> Option<(Vec<u8>, i64)> {
    let mut scan = classic::Scan::new(fragmented.len() as u64);
    while let Some(wanted) = scan.wants() {
        scan.give(bytes(fragmented, wanted));
    }
    let plan = scan.finish().ok()?;
    let mut file = plan.header.clone();
    plan.copies.iter().for_each(|range| file.extend_from_slice(bytes(fragmented, range.clone())));
    Some((file, plan.duration))
}

/// A torn FLV file made whole.
pub(crate) fn repair(torn: &[u8]) -> Option<Vec<u8>> {
    let mut scan = file::Scan::new(torn.len() as u64);
    while let Some(wanted) = scan.wants() {
        scan.give(bytes(torn, wanted));
    }
    let repair = scan.finish()?;
    let mut file = torn[..repair.len as usize].to_vec();
    if let Some(head) = repair.head {
        file[..head.len()].copy_from_slice(&head);
    }
    Some(file)
}

/// The frames of an FLV file.
pub(crate) fn frames(flv: &[u8]) -> Vec<Frame> {
    let (mut demuxer, mut time, mut frames) = (Demuxer::new(), Unwrap::new(), Vec::new());
    demuxer.feed(flv);
    while let Some(tag) = demuxer.next().unwrap() {
        let kind = classify(tag.tag_type, &tag.body).unwrap();
        let dts = if kind == mill_media::frame::FrameKind::Metadata { 0 } else { time.next(tag.timestamp) };
        frames.push(Frame { kind, dts, payload: tag.body });
    }
    frames
}
