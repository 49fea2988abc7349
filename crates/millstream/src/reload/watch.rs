//! Notices that the configuration file has changed, however its editor writes: in place, by renaming another
//! file over it, or by exchanging a link, as Kubernetes does with its `..data`.
//!
//! The folder is watched, not the file, because a file that is replaced takes its watches with it. A burst of
//! changes is one change.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::{Cause, Handle};

/// No further change for so long: the editor is done.
const QUIET: Duration = Duration::from_millis(200);

/// A file that changes all the time is read after so long all the same, and not more often.
const IMPATIENT: Duration = Duration::from_secs(3);

/// The link that Kubernetes moves when files of a config map change.
const CONFIG_MAP: &str = "..data";

/// Room for the events of one read; the kernel keeps what does not fit for the next.
const EVENTS: usize = 4096;

/// Asks for a reload whenever `file` changes, until the task is ended.
pub(crate) async fn run(file: PathBuf, reload: Handle) {
    let mut watcher = match Watcher::new(&file) {
        Ok(watcher) => watcher,
        Err(e) => return warn!("inotify: {} is not watched: {e}", file.display()),
    };
    info!("inotify: auto reload watches {}", file.display());
    loop {
        if let Err(e) = watcher.changed().await {
            return warn!("inotify: {} is watched no more: {e}", file.display());
        }
        reload.reload(Cause::FileChange).await;
        sleep(QUIET).await;
    }
}

struct Watcher {
    inotify: AsyncFd<OwnedFd>,
    file: PathBuf,
    name: OsString,
}

impl Watcher {
    fn new(file: &Path) -> io::Result<Self> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // Written and closed, moved here, or a link made here.
        let changes = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE;
        inotify::add_watch(&inotify, folder, changes | WatchFlags::ONLYDIR)?;
        #[expect(
            deprecated,
            reason = "only unsound for types that lie about their descriptor; this one owns it"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { inotify, file: file.to_owned(), name })
    }

    /// Waits until the file has changed and seems to be finished.
    async fn changed(&mut self) -> io::Result<()> {
        while !self.event().await? {}
        let patience = Instant::now() + IMPATIENT;
        let mut quiet = Instant::now() + QUIET;
        loop {
            match timeout_at(quiet.min(patience), self.event()).await {
                Ok(Ok(true)) => quiet = Instant::now() + QUIET,
                Ok(Ok(false)) => {}
                Ok(Err(e)) => return Err(e),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Waits for events; whether one of them concerns the file.
    async fn event(&self) -> io::Result<bool> {
        let mut ready = self.inotify.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut events = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        let (mut ours, mut created) = (false, None);
        loop {
            match events.next() {
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "its folder is gone"));
                }
                Ok(event) => {
                    let name =
                        event.file_name().map_or(OsStr::new(""), |name| OsStr::from_bytes(name.to_bytes()));
                    if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                        ours = true;
                    } else if name == self.name || name == CONFIG_MAP {
                        match event.events().contains(ReadFlags::CREATE) {
                            true => created = Some(self.file.with_file_name(name)),
                            false => ours = true,
                        }
                    }
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    ready.clear_ready();
                    break;
                }
                Err(e) => return Err(e.into()),
            }
        }
        // A file just made is empty still, and the end of its writing will be told. A link is complete.
        if let Some(path) = created.filter(|_| !ours) {
            ours = tokio::task::spawn_blocking(move || path.is_symlink()).await.unwrap_or(false);
        }
        Ok(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn noticed(watcher: &mut Watcher) -> bool {
        matches!(tokio::time::timeout(Duration::from_secs(10), watcher.changed()).await, Ok(Ok(())))
    }

    #[tokio::test]
    async fn every_way_to_write_a_file_is_noticed_once() {
        let folder = std::env::temp_dir().join(format!("millstream-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("srs.conf");
        fs::write(&file, "a").unwrap();
        let mut watcher = Watcher::new(&file).unwrap();

        fs::write(&file, "b").unwrap();
        assert!(noticed(&mut watcher).await, "in place");
        fs::write(folder.join("srs.conf.swp"), "c").unwrap();
        fs::rename(folder.join("srs.conf.swp"), &file).unwrap();
        assert!(noticed(&mut watcher).await, "renamed into place");
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("elsewhere", &file).unwrap();
        assert!(noticed(&mut watcher).await, "a link");
        std::os::unix::fs::symlink("v1", folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join(CONFIG_MAP)).unwrap();
        assert!(noticed(&mut watcher).await, "a config map");

        // Others' files are none of ours.
        fs::write(folder.join("other.conf"), "d").unwrap();
        assert!(!watcher.event().await.unwrap());
        fs::remove_dir_all(&folder).unwrap();
        let end = tokio::time::timeout(Duration::from_secs(10), watcher.changed()).await.unwrap();
        assert!(end.is_err(), "without its folder there is nothing to watch");
    }
}
