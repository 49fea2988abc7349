//! The file that holds our process id and is locked as long as we run.
//!
//! The lock is SRS's, an advisory record lock, so neither starts where the other runs. The kernel gives it
//! back however the process ends; a file that was left behind stops nobody. At an orderly end the file is
//! removed, while the lock is still held: whoever opened it in between sees that it is gone, and begins anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use tracing::info;

/// In its place no file is made.
const NONE: &str = "/dev/null";

/// The file may be removed between our opening and locking it, each time by a server that ends just then.
const ATTEMPTS: usize = 10;

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the pid file {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("a server is already running, pid={pid}: the pid file {} is locked", path.display())]
    Running { path: PathBuf, pid: String },
}

impl Error {
    /// SRS's number.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::File { .. } => 1034,
            Self::Running { .. } => 1035,
        }
    }
}

/// The file, locked. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct PidFile(Option<(PathBuf, File)>);

impl PidFile {
    /// Makes the file, with the folders around it, and locks it. Relative paths must stay valid: the working
    /// directory has been changed to already.
    ///
    /// # Errors
    /// If it cannot be written, or somebody else holds the lock.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        if path == Path::new(NONE) {
            return Ok(Self(None));
        }
        let failed = |source| Error::File { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        for _ in 0..ATTEMPTS {
            let mut file = open(path).map_err(failed)?;
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => {
                    return Err(Error::Running { path: path.to_owned(), pid: holder(file) });
                }
                Err(e) => return Err(failed(e.into())),
            }
            if !is_at(&file, path) {
                continue;
            }
            let pid = std::process::id();
            file.set_len(0).and_then(|()| write!(file, "{pid}")).map_err(failed)?;
            info!("write pid={pid} to {} success!", path.display());
            return Ok(Self(Some((path.to_owned(), file))));
        }
        Err(failed(io::Error::other("it vanishes again and again")))
    }
}

impl PidFile {
    /// Whether that name is this file's, however it is spelled. To lock it again would succeed, as record locks
    /// belong to the process, and to close it then would give the lock away.
    pub(super) fn is_for(&self, path: &Path) -> bool {
        match &self.0 {
            None => path == Path::new(NONE),
            Some((own, file)) => own == path || is_at(file, path),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Not that of a successor, if somebody has put one in its place.
        if let Some((path, file)) = &self.0
            && is_at(file, path)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

/// Whether the file is still what bears that name.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |a: std::fs::Metadata, b: std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    file.metadata().is_ok_and(|file| std::fs::metadata(path).is_ok_and(|at| same(file, at)))
}

/// What the one who holds the lock has written, if that is a number.
fn holder(file: File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    let number = read.is_ok() && !text.is_empty() && text.trim().bytes().all(|b| b.is_ascii_digit());
    if number { text.trim().to_owned() } else { "unknown".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Record locks belong to the process, so who else would be refused is shown with the real program:
    // tests/it/daemon.rs.

    #[test]
    fn a_stale_file_is_taken_over_and_removed_at_the_end() {
        let path = std::env::temp_dir().join(format!("millstream-{}.d/deep/srs.pid", std::process::id()));
        let folder = path.parent().unwrap();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, "123456789").unwrap();
        let file = PidFile::lock(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());

        // A successor's file stays.
        let file = PidFile::lock(&path).unwrap();
        assert!(file.is_for(&path) && file.is_for(&folder.join("../deep/srs.pid")));
        assert!(!file.is_for(&folder.join("other.pid")) && !file.is_for(Path::new(NONE)));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "7").unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "7");
        std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }

    #[test]
    fn no_file_where_none_is_wanted_or_can_be() {
        drop(PidFile::lock(Path::new(NONE)).unwrap());
        assert!(Path::new(NONE).exists());
        assert_eq!(PidFile::lock(Path::new("/proc/no/such.pid")).unwrap_err().code(), 1034);
    }
}
