//! Carries out the actions of one recording, on a thread that may wait for the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use mill_config::model;
use mill_packager::action::{Action, Close};
use mill_packager::path::{TEMPORARY, Template, directory, numbered, temporary};
use tracing::{info, warn};

use super::Recordings;
use super::journal::{self, Entry};
use super::unfinished::Unfinished;
use crate::attach::Source;
use crate::hook::Recording;
use crate::session::admit::stream_url;

/// Bytes put together into one write.
const ENOUGH: usize = 256 * 1024;

/// Temporary names tried for a file.
const MAX_NAMES: u32 = 1000;

pub(super) struct Writer {
    shared: Arc<Recordings>,
    source: Arc<Source>,
    root: String,
    fsync: bool,
    open: Option<Open>,
    complete: Vec<Unfinished>,
}

/// The file being written.
struct Open {
    file: File,
    entry: Entry,
    /// Appended and not written yet.
    buffer: Vec<u8>,
}

impl Open {
    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Recordings>, source: &Arc<Source>, conf: &model::Dvr) -> Self {
        let root = Template::new(conf.path.as_str()).root().to_owned();
        Self { shared, source: source.clone(), root, fsync: conf.fsync, open: None, complete: Vec::new() }
    }

    /// The file being written.
    pub(super) fn path(&self) -> Option<&str> {
        self.open.as_ref().map(|open| open.entry.temporary())
    }

    /// The files that were closed since the last call.
    pub(super) fn complete(&mut self) -> Vec<Unfinished> {
        std::mem::take(&mut self.complete)
    }

    /// The file being written, as it is.
    pub(super) fn give_up(&mut self) -> Option<Unfinished> {
        self.open.take().map(|open| Unfinished::left(open.entry))
    }

    /// Does all of it, or stops where it fails.
    pub(super) fn carry_out(&mut self, actions: Vec<Action>) -> io::Result<()> {
        for action in actions {
            self.apply(action)?;
        }
        self.open.as_mut().map_or(Ok(()), Open::flush)
    }

    fn apply(&mut self, action: Action) -> io::Result<()> {
        if let Action::Create { path } = action {
            self.open = Some(self.create(&path)?);
            return Ok(());
        }
        let nothing_open = || io::Error::other("no file is open");
        match action {
            Action::Append(bytes) => {
                let open = self.open.as_mut().ok_or_else(nothing_open)?;
                open.buffer.extend_from_slice(&bytes);
                if open.buffer.len() >= ENOUGH {
                    open.flush()?;
                }
            }
            Action::Patch { offset, bytes } => {
                let open = self.open.as_mut().ok_or_else(nothing_open)?;
                open.flush()?;
                open.file.write_all_at(&bytes, offset)?;
            }
            Action::Sync => {
                let open = self.open.as_mut().ok_or_else(nothing_open)?;
                open.flush()?;
                if self.fsync {
                    open.file.sync_data()?;
                }
            }
            Action::Close(close) => self.close(close)?,
            Action::LeftOut(why) => {
                warn!("dvr stream {}: not in the file: {why}", stream_url(self.source.stream()));
            }
            // Told when it has its name.
            Action::Recorded(_) => {}
            other => debug_assert!(false, "{other:?} is not of recordings"),
        }
        Ok(())
    }

    /// Creates a file under that temporary name, or one like it that nobody has.
    fn create(&self, wanted: &str) -> io::Result<Open> {
        let path = wanted.strip_suffix(TEMPORARY).unwrap_or(wanted);
        fs::create_dir_all(Path::new(".").join(directory(path)))?;
        for n in 1..MAX_NAMES {
            let name = temporary(&if n == 1 { path.to_owned() } else { numbered(path, n) });
            if Path::new(&name).try_exists()? || Path::new(&[&name, ".done"].concat()).try_exists()? {
                continue;
            }
            // First, so that there is never a file that nobody knows of.
            let entry = Entry::begin(&self.root, self.recording(), name.clone(), self.fsync)?;
            match OpenOptions::new().write(true).create_new(true).open(&name) {
                Ok(file) => {
                    info!("dvr stream {} to file {path}", stream_url(self.source.stream()));
                    return Ok(Open { file, entry, buffer: Vec::new() });
                }
                Err(e) => {
                    entry.forget();
                    if e.kind() != io::ErrorKind::AlreadyExists {
                        return Err(io::Error::new(e.kind(), format!("{name}: {e}")));
                    }
                }
            }
        }
        Err(io::Error::other(format!("{wanted}: {MAX_NAMES} files have names like that")))
    }

    fn close(&mut self, close: Close) -> io::Result<()> {
        // Until it is safe it stays the open file, which is given up if this fails.
        let open = self.open.as_mut().ok_or_else(|| io::Error::other("no file is open"))?;
        open.flush()?;
        if self.fsync {
            open.file.sync_data()?;
        }
        let Some(Open { entry, .. }) = self.open.take() else { return Ok(()) };
        match close {
            Close::Keep { to, .. } | Close::Finalise { to, .. } => {
                self.complete.push(Unfinished::closed(entry, to));
            }
            Close::Discard { .. } | Close::Replace { .. } => {
                let _ = fs::remove_file(entry.temporary());
                entry.forget();
            }
        }
        Ok(())
    }

    /// What will be told of a file that begins now.
    fn recording(&self) -> Recording {
        let Source { peer, param, .. } = &*self.source;
        Recording {
            event: self.shared.hooks.event_id(),
            client: peer.id,
            ip: peer.ip.to_canonical().to_string(),
            stream: self.source.stream().clone(),
            param: param.clone(),
            cwd: journal::cwd(),
            file: String::new(),
        }
    }
}
