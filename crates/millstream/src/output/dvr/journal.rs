//! What is begun and not yet told: a small file per recording, from before its first byte until its `on_dvr`
//! was heard.
//!
//! They stand together in one folder below the root of `dvr_path`, so the next start finds what a crash has left
//! without looking through an archive. A line each: first who is recorded and under which temporary name; then the
//! names the file was to get, of which the last counts. A line without its end is none. Whoever works on a recording
//! holds a lock on its entry, which the kernel takes back from a process that dies: two servers with one root do
//! not repair each other's running recordings.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mill_hub::StreamId;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tracing::warn;

use crate::hook::Recording;

/// Below the root of `dvr_path`.
const FOLDER: &str = ".millstream";

/// Entries one start looks at.
const MAX_ENTRIES: usize = 100_000;

/// Longest entry: names have a few thousand bytes.
const MAX_LEN: u64 = 1 << 20;

/// A recording that is begun. Dropping it leaves it to the next start.
#[derive(Debug)]
pub(super) struct Entry {
    /// Locked.
    file: File,
    path: PathBuf,
    /// What on_dvr will say, but for the file's name.
    recording: Recording,
    temporary: String,
    named: Option<String>,
    fsync: bool,
}

impl Entry {
    /// Writes down that `temporary` is begun on behalf of `recording`, below `root`.
    pub(super) fn begin(
        root: &str,
        recording: Recording,
        temporary: String,
        fsync: bool,
    ) -> io::Result<Self> {
        let folder = Path::new(".").join(root).join(FOLDER);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", recording.event));
        // It has the publisher's parameters, and there may be a secret among them.
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let StreamId { vhost, app, name } = &recording.stream;
        let line = json!({
            "event": recording.event, "client_id": recording.client, "ip": recording.ip, "vhost": vhost, "app": app,
            "stream": name, "param": recording.param, "fsync": fsync, "temporary": temporary,
        });
        let mut this = Self { file, path, recording, temporary, named: None, fsync };
        if let Err(e) = this.append(&line) {
            this.forget();
            return Err(e);
        }
        Ok(this)
    }

    pub(super) fn temporary(&self) -> &str {
        &self.temporary
    }

    pub(super) fn fsync(&self) -> bool {
        self.fsync
    }

    pub(super) fn stream(&self) -> &StreamId {
        &self.recording.stream
    }

    /// The name the file was last to get.
    pub(super) fn named(&self) -> Option<&str> {
        self.named.as_deref()
    }

    /// Writes down the name it is to get.
    pub(super) fn name(&mut self, file: &str) -> io::Result<()> {
        if self.named.as_deref() != Some(file) {
            self.append(&json!({ "file": file }))?;
            self.named = Some(file.to_owned());
        }
        Ok(())
    }

    /// What is to be told of the complete file.
    pub(super) fn recording(&self, file: String) -> Recording {
        Recording { file, ..self.recording.clone() }
    }

    /// Everybody knows.
    pub(super) fn forget(self) {
        if let Err(e) = fs::remove_file(&self.path) {
            warn!("{} stays, the recording will be told again: {e}", self.path.display());
        }
    }

    fn append(&mut self, line: &Value) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        if self.fsync { self.file.sync_data() } else { Ok(()) }
    }

    /// Reads an entry; `None` if it is not whole: nothing was begun then.
    fn read(mut file: File, path: PathBuf) -> io::Result<Option<Self>> {
        let mut text = Vec::new();
        (&mut file).take(MAX_LEN).read_to_end(&mut text)?;
        let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let mut next = || serde_json::from_slice::<Value>(lines.next()?).ok();
        let Some(first) = next() else { return Ok(None) };
        let text = |key: &str| first[key].as_str().map(str::to_owned);
        let (Some(event), Some(vhost), Some(app), Some(name), Some(temporary)) =
            (text("event"), text("vhost"), text("app"), text("stream"), text("temporary"))
        else {
            return Ok(None);
        };
        let named =
            std::iter::from_fn(next).filter_map(|line| Some(line["file"].as_str()?.to_owned())).last();
        let recording = Recording {
            event,
            client: first["client_id"].as_u64().unwrap_or(0),
            ip: text("ip").unwrap_or_default(),
            stream: StreamId { vhost, app, name },
            param: text("param").unwrap_or_default(),
            cwd: cwd(),
            file: String::new(),
        };
        let fsync = first["fsync"].as_bool().unwrap_or(true);
        Ok(Some(Self { file, path, recording, temporary, named, fsync }))
    }
}

/// The working directory, as on_dvr tells it.
pub(super) fn cwd() -> String {
    std::env::current_dir().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What was begun below a root and nobody works on.
pub(super) fn left(root: &str) -> Vec<Entry> {
    let folder = Path::new(".").join(root).join(FOLDER);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path()).take(MAX_ENTRIES);
    let paths = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths
        .filter_map(|path| {
            let file = OpenOptions::new().read(true).append(true).open(&path).ok()?;
            // Somebody is at work on it.
            flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
            match Entry::read(file, path.clone()) {
                Ok(Some(entry)) => Some(entry),
                Ok(None) => {
                    let _ = fs::remove_file(&path);
                    None
                }
                Err(e) => {
                    warn!("{}: {e}", path.display());
                    None
                }
            }
        })
        .collect()
}
