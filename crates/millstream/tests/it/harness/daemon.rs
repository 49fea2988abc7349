//! A server in the background: not our child, known by its pid file only.

use super::process::{Finished, Process};
use super::{SOON, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;

/// Ends with the value.
pub(crate) struct Daemon(Pid);

impl Daemon {
    /// Runs the launcher to its end. `Err` is a launcher that reports failure.
    #[track_caller]
    pub(crate) fn launch(command: &mut Command, pid_file: &Path) -> Result<Self, Finished> {
        // Containers keep servers in the foreground, and the tests may run in one.
        command.env("SRS_DISABLE_DAEMON_FOR_DOCKER", "off");
        Self::launch_as_is(command, pid_file)
    }

    /// The same, where it matters whether this is a container.
    #[track_caller]
    pub(crate) fn launch_as_is(command: &mut Command, pid_file: &Path) -> Result<Self, Finished> {
        let launcher = Process::run(command, SOON);
        if launcher.status.success() { Ok(Self::of(pid_file)) } else { Err(launcher) }
    }

    /// The one that has written this file.
    #[track_caller]
    pub(crate) fn of(pid_file: &Path) -> Self {
        let text = std::fs::read_to_string(pid_file).expect("the pid file is there when the launcher ends");
        let pid = text.parse().ok().and_then(Pid::from_raw);
        Self(pid.unwrap_or_else(|| panic!("the pid file holds {text:?}")))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// Whether it runs: somebody else has to reap it, so it may be there for a while after its end.
    pub(crate) fn alive(&self) -> bool {
        self.stat().is_some_and(|stat| stat.first().is_some_and(|state| state != "Z"))
    }

    /// The fields of its `stat` from the state on: state, parent, group, session, terminal.
    pub(crate) fn stat(&self) -> Option<Vec<String>> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        Some(fields.split_whitespace().map(str::to_owned).collect())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.0, signal);
    }

    /// Ends it as an operator would, and waits.
    #[track_caller]
    pub(crate) fn end(&self) {
        self.signal(Signal::TERM);
        wait_until("the daemon ends", SOON, || !self.alive());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.alive() {
            self.signal(Signal::TERM);
        }
    }
}
