//! Programs that the server runs: stand-ins for ffmpeg, and who is there according to `/proc`.

use super::api;
use super::server::Server;
use super::{SOON, wait_until};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// For a vhost: publishers that send nothing stay, however long a busy machine takes.
pub(crate) const SILENT: &str = "publish { firstpkt_timeout 600000; normal_timeout 600000; }";

/// A script that notes its arguments and stays until it is ended.
pub(crate) struct StandIn(PathBuf);

impl StandIn {
    /// `name` in the folder of a server, or of one to come.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self::that(dir, name, "exec sleep 1000")
    }

    /// The same, doing something else when it has noted its arguments. What it has noted them in is `$0.said`.
    pub(crate) fn that(dir: &Path, name: &str, does: &str) -> Self {
        let path = dir.join(name);
        let script = format!(
            "#!/bin/sh\nline=\nfor word in \"$@\"; do line=\"$line|$word\"; done\n\
             printf '%s\\n' \"$line\" >> \"$0.said\"\n{does}\n"
        );
        std::fs::write(&path, script).expect("a script can be written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("and made executable");
        Self(path)
    }

    /// A line for each start: the arguments, a bar before each.
    pub(crate) fn said(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.with_extension("said")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until it has been started so often.
    #[track_caller]
    pub(crate) fn starts(&self, count: usize) -> Vec<String> {
        wait_until(&format!("{count} starts of {}", self.0.display()), SOON, || self.said().len() >= count);
        self.said()
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Living {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// `Z` for one that has ended and nobody has asked how.
    pub(crate) state: char,
    pub(crate) name: String,
}

/// All processes of the machine.
fn all() -> Vec<Living> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let mut rest = rest.split_whitespace();
        let state = rest.next()?.chars().next()?;
        Some(Living { pid, parent: rest.next()?.parse().ok()?, state, name: name.to_owned() })
    };
    std::fs::read_dir("/proc").expect("/proc is there").filter_map(read).collect()
}

/// Those that work in this folder and have not ended: the server there, and whatever it has started.
pub(crate) fn living(dir: &Path) -> Vec<Living> {
    let dir = dir.canonicalize().expect("the folder is there");
    let works_there = |process: &Living| {
        std::fs::read_link(format!("/proc/{}/cwd", process.pid)).is_ok_and(|cwd| cwd == dir)
    };
    all().into_iter().filter(|process| process.state != 'Z' && works_there(process)).collect()
}

/// Children of a process that have ended and nobody has asked how.
fn zombies(parent: u32) -> Vec<Living> {
    all().into_iter().filter(|process| process.state == 'Z' && process.parent == parent).collect()
}

/// Waits until this process has asked all its children that have ended how.
#[track_caller]
pub(crate) fn await_no_zombies(parent: u32) {
    wait_until("nobody waits to be asked", SOON, || zombies(parent).is_empty());
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is there").count()
}

/// Only the server is left of those in its folder.
#[track_caller]
pub(crate) fn await_alone(server: &Server) {
    wait_until("no program is left", SOON, || {
        living(server.dir()).iter().all(|process| process.pid == server.pid())
    });
}

/// What the API says about programs.
#[track_caller]
pub(crate) fn programs(server: &Server) -> Vec<Value> {
    api::list(&api::get(server, "programs"), "programs").to_vec()
}

/// Waits until the API says that so many run, and no others are there.
#[track_caller]
pub(crate) fn await_running(server: &Server, count: usize) -> Vec<Value> {
    let all_run = |all: &[Value]| all.len() == count && all.iter().all(|one| one["state"] == "running");
    wait_until(&format!("{count} programs run"), SOON, || all_run(&programs(server)));
    programs(server)
}

/// The process ids of programs, in their order.
pub(crate) fn pids(programs: &[Value]) -> Vec<u64> {
    programs.iter().filter_map(|program| program["pid"].as_u64()).collect()
}
