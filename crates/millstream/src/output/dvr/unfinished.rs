//! From a temporary file to a recording, in steps of which each may be the last of this process.
//!
//! ```text
//! P.tmp ──── made whole ───► P.tmp.done ──── gets a name nobody has ───► P
//!      (MP4: as P.tmp.new)              (written down before)
//! ```
//!
//! Whoever comes later sees by the files alone how far it got: `.done` is complete and has no name yet; without it
//! and `.tmp` the last name written down is the file's. Nothing recorded is ever replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use mill_media::flv;
use mill_media::frame::Millis;
use mill_media::mp4::classic;
use mill_packager::dvr;
use mill_packager::path::{TEMPORARY, directory, numbered};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::journal::Entry;
use crate::hook::Recording;

/// Names tried for a file: after these many of the same name somebody should look.
const MAX_NAMES: u32 = 10_000;

/// A file that is not a recording yet. Dropping it leaves it to the next start.
#[derive(Debug)]
pub(super) struct Unfinished {
    entry: Entry,
    /// The name it should have; if unknown, that of its temporary name.
    to: Option<String>,
    /// Its end may be missing, and its head is that of an open file.
    torn: bool,
}

/// A recording that has its name.
pub(super) struct Whole {
    pub(super) path: String,
    pub(super) bytes: u64,
}

impl Unfinished {
    /// A file that was closed as it should be.
    pub(super) fn closed(entry: Entry, to: String) -> Self {
        Self { entry, to: Some(to), torn: false }
    }

    /// A file that was left as it was.
    pub(super) fn left(entry: Entry) -> Self {
        Self { entry, to: None, torn: true }
    }

    pub(super) fn temporary(&self) -> &str {
        self.entry.temporary()
    }

    pub(super) fn recording(&self, file: String) -> Recording {
        self.entry.recording(file)
    }

    /// Everybody knows.
    pub(super) fn forget(self) {
        self.entry.forget();
    }

    /// Does what is left to do; `None` if there is nothing to play in it, and then it is gone. What has failed may
    /// be tried again.
    pub(super) fn finish(&mut self) -> io::Result<Option<Whole>> {
        let temporary = self.temporary().to_owned();
        let done = [&temporary, ".done"].concat();
        if !exists(&done)? {
            if !exists(&temporary)? {
                let named = self.entry.named().map(str::to_owned);
                return Ok(
                    named.and_then(|path| Some(Whole { bytes: fs::metadata(&path).ok()?.len(), path }))
                );
            }
            let Some(duration) = self.make_whole(&temporary)? else {
                fs::remove_file(&temporary)?;
                return Ok(None);
            };
            let to = self.to.clone().unwrap_or_else(|| dvr::repaired(&temporary, duration));
            self.entry.name(&to)?;
            match is_mp4(&temporary) {
                true => fs::rename([&temporary, ".new"].concat(), &done)?,
                false => fs::rename(&temporary, &done)?,
            }
        }
        if is_mp4(&temporary) && exists(&temporary)? {
            fs::remove_file(&temporary)?;
        }
        let bytes = fs::metadata(&done)?.len();
        let first = self.entry.named().map_or_else(|| dvr::repaired(&temporary, 0), str::to_owned);
        let names = (2..MAX_NAMES).map(|n| numbered(&first, n));
        for path in std::iter::once(first.clone()).chain(names) {
            self.entry.name(&path)?;
            if rename_to_new(&done, &path)? {
                if self.entry.fsync() {
                    File::open(Path::new(".").join(directory(&path)))?.sync_all()?;
                }
                return Ok(Some(Whole { path, bytes }));
            }
        }
        Err(io::Error::other(format!("{first}: {MAX_NAMES} files have names like that")))
    }

    /// Gives its duration if it is known, or 0; `None` if there is nothing to play. A classic MP4 is made beside the
    /// file, an FLV file in its place.
    fn make_whole(&self, temporary: &str) -> io::Result<Option<Millis>> {
        if is_mp4(temporary) {
            return make_classic(temporary, self.entry.fsync());
        }
        if !self.torn {
            return Ok(Some(0));
        }
        let mut file = OpenOptions::new().read(true).write(true).open(temporary)?;
        let mut scan = flv::file::Scan::new(file.metadata()?.len());
        while let Some(wanted) = scan.wants() {
            scan.give(&read(&mut file, &wanted)?);
        }
        let Some(repair) = scan.finish() else { return Ok(None) };
        file.set_len(repair.len)?;
        if let Some(head) = repair.head {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&head)?;
        }
        if self.entry.fsync() {
            file.sync_all()?;
        }
        Ok(Some(repair.duration))
    }
}

fn make_classic(from: &str, fsync: bool) -> io::Result<Option<Millis>> {
    let mut file = File::open(from)?;
    let mut scan = classic::Scan::new(file.metadata()?.len());
    while let Some(wanted) = scan.wants() {
        scan.give(&read(&mut file, &wanted)?);
    }
    let plan = match scan.finish() {
        Ok(plan) if !plan.is_empty() => plan,
        // Killed before its first fragment.
        Ok(_) | Err(classic::Error::Nothing) => return Ok(None),
    };
    let mut out = File::create([from, ".new"].concat())?;
    out.write_all(&plan.header)?;
    for range in &plan.copies {
        file.seek(SeekFrom::Start(range.start))?;
        let copied = io::copy(&mut (&mut file).take(range.end - range.start), &mut out)?;
        if copied < range.end - range.start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if fsync {
        out.sync_all()?;
    }
    Ok(Some(plan.duration))
}

fn read(file: &mut File, range: &Range<u64>) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    file.take(range.end - range.start).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_mp4(temporary: &str) -> bool {
    temporary.strip_suffix(TEMPORARY).is_some_and(|path| path.ends_with(".mp4"))
}

fn exists(path: &str) -> io::Result<bool> {
    Path::new(path).try_exists()
}

/// Renames unless somebody has that name; `false` then.
fn rename_to_new(from: &str, to: &str) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Some file systems do not know how: then nobody else should be at work there.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if exists(to)? => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => fs::rename(from, to).map(|()| true),
        Err(e) => Err(e.into()),
    }
}
