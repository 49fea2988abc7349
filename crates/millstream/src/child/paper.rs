//! The log of a program: everything it says, in a file that does not grow for ever.
//!
//! At [`MAX`] the file becomes `name.1`, in the place of the one before, and another is begun. A file that somebody
//! has moved or removed is made anew with the next words, so it may be rotated from outside without a word to us.
//! While it cannot be written its words are lost: the program never waits for it for that.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The size of a log at which another is begun, 8 MiB. ffmpeg says about as much in half a day.
pub(crate) const MAX: u64 = 8 << 20;

/// One read of what the program says.
const PIECE: usize = 8 << 10;

/// A log and where it is.
pub(super) struct Paper {
    path: PathBuf,
    file: Option<File>,
}

impl Paper {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Writes what comes, to its end. `complain` hears of the first failure after words that were written.
    pub(super) fn fill(&mut self, mut source: impl Read, mut complain: impl FnMut(io::Error)) {
        let mut piece = [0; PIECE];
        let mut complained = false;
        loop {
            let words = match source.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => &piece[..n],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            match self.write(words) {
                Ok(()) => complained = false,
                Err(e) => {
                    self.file = None;
                    if !std::mem::replace(&mut complained, true) {
                        complain(io::Error::new(e.kind(), format!("{}: {e}", self.path.display())));
                    }
                }
            }
        }
    }

    fn write(&mut self, words: &[u8]) -> io::Result<()> {
        let there = std::fs::metadata(&self.path).ok();
        if there.as_ref().is_some_and(|there| there.is_file() && there.len() >= MAX) {
            std::fs::rename(&self.path, older(&self.path))?;
            self.file = None;
        } else if !self.is(there.as_ref()) {
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        file.write_all(words)
    }

    /// Whether that is still the file we write to.
    fn is(&self, there: Option<&Metadata>) -> bool {
        let same = |file: &File| {
            let (ours, there) = (file.metadata().ok()?, there?);
            Some((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        self.file.as_ref().and_then(same).unwrap_or(false)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || File::options().create(true).append(true).open(path);
    match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            super::keeper::folder(path.parent().unwrap_or(Path::new(".")))?;
            open()
        }
        other => other,
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mill-paper-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_log_is_begun_anew_before_it_is_too_large() {
        let folder = Folder::new("large");
        let path = folder.0.join("sub/x.log");
        let words = vec![b'x'; 5 * MAX as usize / 2];
        Paper::new(path.clone()).fill(&*words, |e| panic!("{e}"));
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert!(size(&older(&path)) <= MAX + PIECE as u64, "{}", size(&older(&path)));
        assert!(size(&path) < MAX);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn one_that_was_moved_is_made_anew() {
        let folder = Folder::new("moved");
        let (path, elsewhere) = (folder.0.join("x.log"), folder.0.join("y.log"));
        let mut paper = Paper::new(path.clone());
        paper.fill(&b"one"[..], |e| panic!("{e}"));
        std::fs::rename(&path, &elsewhere).unwrap();
        paper.fill(&b"two"[..], |e| panic!("{e}"));
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"one");
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_told_once() {
        let folder = Folder::new("lost");
        let path = folder.0.join("x.log");
        std::fs::create_dir(&path).unwrap();
        let mut told = 0;
        Paper::new(path).fill(&vec![0; 10 * PIECE][..], |_| told += 1);
        assert_eq!(told, 1);
    }
}
