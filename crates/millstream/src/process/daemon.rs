//! Into the background, by starting the program a second time.
//!
//! The *launcher* is what the user has started. It has checked the configuration; it starts the same program
//! with [`FLAG`] before the other arguments, and waits. The *daemon* begins a session of its own, prepares
//! everything (log, pid file, addresses), and when it serves it says so over its standard input, which is a
//! socket to the launcher, and lets go of all standard streams. Until then these are the launcher's, so its
//! complaints are seen. If it ends before that word, the launcher ends with its exit code.
//!
//! Why not a fork: docs/decisions/0012-a-daemon-is-the-program-started-again.md.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Marks the process that is to be the daemon.
pub(crate) const FLAG: &str = "daemon-of-launcher";

/// The daemon's word.
const SERVING: u8 = 1;

/// Starts the daemon and waits until it serves.
///
/// # Errors
/// If it cannot be started at all.
pub(crate) fn launch() -> io::Result<Launched> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg0(arguments.next().unwrap_or_else(|| OsStr::new("millstream").to_owned()));
    command.arg(format!("--{FLAG}")).args(arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
    let child = command.spawn()?;
    // It holds the other end of the socket, which would otherwise never read as closed.
    drop(command);
    outcome(ours, child)
}

/// What became of the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Launched {
    /// It serves.
    Serving,
    /// It ended with this exit code; why, it has said itself.
    Failed(u8),
    /// This signal ended it.
    Killed(i32),
}

fn outcome(mut socket: UnixStream, mut child: Child) -> io::Result<Launched> {
    let mut word = [0];
    if socket.read_exact(&mut word).is_ok() && word == [SERVING] {
        return Ok(Launched::Serving);
    }
    let status = child.wait()?;
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => Launched::Failed(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => Launched::Killed(signal.unwrap_or(0)),
    })
}

/// The daemon's side of the bond with its launcher.
pub(crate) struct Daemon(());

impl Daemon {
    /// Leaves the session of whoever started the launcher: no terminal's signals reach us any more.
    ///
    /// # Errors
    /// If this process leads a group, which one that a launcher has started does not.
    pub(crate) fn detach() -> io::Result<Self> {
        rustix::process::setsid()?;
        Ok(Self(()))
    }

    /// Tells the launcher that everything is in place, and lets go of the standard streams. What is logged
    /// to the console goes on to where the launcher's output went.
    ///
    /// # Errors
    /// If there is no `/dev/null`.
    pub(crate) fn serving(self) -> io::Result<()> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        // Streams first: whoever waits for the launcher's output to end waits for this too.
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        // A launcher that was killed meanwhile needs no answer.
        let _ = rustix::io::write(io::stdin(), &[SERVING]);
        dup2_stdin(&null)?;
        Ok(())
    }
}
