//! Opens what is below a directory, and nothing else.
//!
//! The kernel sees to that while it looks for the file (`openat2`, Linux 5.6), so no race with somebody who
//! moves directories or links about can be won: a symbolic link is followed if it stays below the directory,
//! and one that leads out of it, or is absolute, is as if it were not there. Where the kernel does not know the
//! call, or a container forbids it, no links are followed at all. `follow_links on` lifts all that.
//!
//! Only regular files and directories are opened: a pipe would wait for somebody to write, a device would act.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// How often a look-up is tried again while somebody moves directories about.
const ATTEMPTS: usize = 8;

/// What was found.
pub(super) enum Opened {
    File(File, Metadata),
    Directory,
}

/// Why nothing was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such file, or it lies elsewhere.
    Absent,
    /// A link leads out of the directory.
    Outside,
    /// The server may not read it.
    Forbidden,
    /// The system cannot at the moment.
    Busy(io::ErrorKind),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => Self::Absent,
            // A pipe nobody writes to, a device that is not there.
            Errno::NXIO | Errno::NODEV => Self::Absent,
            Errno::XDEV | Errno::LOOP => Self::Outside,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            other => Self::Busy(other.kind()),
        }
    }
}

/// Opens `name`, which has plain levels only, below `root`. Waits for the disk.
pub(super) fn open(root: &Path, name: &Path, follow_links: bool) -> Result<Opened, Failure> {
    let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let file = if follow_links { openat(&root, name, FLAGS, Mode::empty())? } else { beneath(&root, name)? };
    let file = File::from(file);
    let metadata = file.metadata().map_err(|e| Failure::Busy(e.kind()))?;
    if metadata.is_dir() {
        Ok(Opened::Directory)
    } else if metadata.is_file() {
        Ok(Opened::File(file, metadata))
    } else {
        Err(Failure::Absent)
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn beneath(root: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match openat2(root, name, FLAGS, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // What a container's filter says for a call it does not know.
            Err(Errno::NOSYS | Errno::PERM) => return step_by_step(root, name),
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Without `openat2`: level by level, and no level may be a link.
fn step_by_step(root: &OwnedFd, name: &Path) -> Result<OwnedFd, Errno> {
    let levels: Vec<&OsStr> = name
        .components()
        .map(|component| match component {
            Component::Normal(level) => Ok(level),
            _ => Err(Errno::NOENT),
        })
        .collect::<Result<_, _>>()?;
    let (last, directories) = levels.split_last().ok_or(Errno::NOENT)?;
    let mut at = root.try_clone().map_err(|_| Errno::MFILE)?;
    for level in directories {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = openat(&at, *level, flags, Mode::empty())?;
    }
    openat(&at, *last, FLAGS | OFlags::NOFOLLOW, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    fn tree(name: &str) -> PathBuf {
        let base = std::env::temp_dir().join(format!("millstream-open-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(base.join("root/dir")).unwrap();
        fs::write(base.join("secret"), "secret").unwrap();
        fs::write(base.join("root/dir/file"), "file").unwrap();
        symlink("dir/file", base.join("root/within")).unwrap();
        symlink("../dir", base.join("root/dir/round")).unwrap();
        symlink("../secret", base.join("root/out")).unwrap();
        symlink("..", base.join("root/up")).unwrap();
        symlink(base.join("root/dir/file"), base.join("root/absolute")).unwrap();
        symlink("/proc/self/root/etc/passwd", base.join("root/magic")).unwrap();
        symlink("loop", base.join("root/loop")).unwrap();
        base
    }

    fn read(opened: Result<Opened, Failure>) -> Result<String, Failure> {
        match opened? {
            Opened::Directory => Ok("directory".into()),
            Opened::File(mut file, _) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                Ok(text)
            }
        }
    }

    #[test]
    fn links_are_followed_as_long_as_they_stay_below() {
        let base = tree("links");
        let at = |name: &str| read(open(&base.join("root"), Path::new(name), false));
        assert_eq!(at("dir/file").unwrap(), "file");
        assert_eq!(at("within").unwrap(), "file");
        assert_eq!(at("dir/round/file").unwrap(), "file");
        assert_eq!(at("dir").unwrap(), "directory");
        for outside in ["out", "up/secret", "absolute", "magic", "loop"] {
            assert_eq!(at(outside), Err(Failure::Outside), "{outside}");
        }
        assert_eq!(at("none"), Err(Failure::Absent));
        assert_eq!(at("dir/file/x"), Err(Failure::Absent));
        let followed = |name: &str| read(open(&base.join("root"), Path::new(name), true));
        assert_eq!(followed("out").unwrap(), "secret");
        assert_eq!(followed("absolute").unwrap(), "file");
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn without_the_call_no_link_is_followed() {
        let base = tree("steps");
        let root = openat(CWD, base.join("root"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let at = |name: &str| step_by_step(&root, Path::new(name)).map(|_| ());
        assert_eq!(at("dir/file"), Ok(()));
        assert_eq!(at("dir"), Ok(()));
        for link in ["within", "dir/round/file", "out", "up/secret", "absolute", "magic", "loop"] {
            assert!(at(link).is_err(), "{link}");
        }
        for climbing in ["../secret", "dir/../dir/file", "/etc/passwd", ""] {
            assert_eq!(at(climbing), Err(Errno::NOENT), "{climbing}");
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn pipes_are_no_files() {
        let base = tree("pipes");
        rustix::fs::mknodat(CWD, base.join("root/pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let opened = open(&base.join("root"), Path::new("pipe"), false);
        assert!(matches!(opened, Err(Failure::Absent)));
        fs::remove_dir_all(base).unwrap();
    }
}
