//! Real disks that are full, or that hang. They need root, for `mount`; a test says so where it may not.

use super::PATIENCE;
use super::ffmpeg::tool;
use super::process::Process;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of a test's own, until it is dropped.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Memory of that size under `at`; `None`, with a word, where this may not be done.
    pub(crate) fn of_memory(at: &Path, size: &str) -> Option<Self> {
        if !may_mount() {
            return None;
        }
        std::fs::create_dir_all(at).unwrap();
        let options = format!("-t tmpfs -o size={size} millstream-test");
        succeeds(tool("mount", &options).arg(at)).then(|| Self(at.to_owned()))
    }

    /// A file of 64 MB with ext4 on it, which can be made to hang.
    pub(crate) fn of_file(image: &Path, at: &Path) -> Option<Self> {
        if !may_mount() {
            return None;
        }
        std::fs::create_dir_all(at).unwrap();
        std::fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        let made = succeeds(tool("mkfs.ext4", "-q").arg(image))
            && succeeds(tool("mount", "-o loop").arg(image).arg(at));
        made.then(|| Self(at.to_owned()))
    }

    /// Takes all the room there is.
    pub(crate) fn fill(&self) -> Ballast {
        let path = self.0.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        Ballast(path)
    }

    /// Nothing is written any more, and whoever tries waits.
    pub(crate) fn hang(&self) -> Hanging<'_> {
        assert!(succeeds(tool("fsfreeze", "-f").arg(&self.0)));
        Hanging(self)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still be there.
        succeeds(tool("umount", "-l").arg(&self.0));
    }
}

/// Dropping it gives the room back.
pub(crate) struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Dropping it lets the disk go on.
pub(crate) struct Hanging<'a>(&'a Disk);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        succeeds(tool("fsfreeze", "-u").arg(&self.0.0));
    }
}

/// Who runs the tests is root, and the programs are there: they come with any Debian.
fn may_mount() -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let is_there = |program: &str| path.split(':').any(|dir| Path::new(dir).join(program).exists());
    let may = rustix::process::geteuid().is_root() && ["mkfs.ext4", "fsfreeze"].into_iter().all(is_there);
    if !may {
        not_tested("it needs root, mkfs.ext4 and fsfreeze");
    }
    may
}

fn succeeds(command: &mut Command) -> bool {
    let run = Process::run(command, PATIENCE);
    if !run.status.success() {
        not_tested(&format!("{command:?}: {}", run.text()));
    }
    run.status.success()
}

#[expect(clippy::print_stderr, reason = "a test that tests nothing must say so")]
fn not_tested(why: &str) {
    eprintln!("NOT TESTED here: {why}");
}
