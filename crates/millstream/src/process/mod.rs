//! How the server stands in its system: foreground or daemon, the pid file, the parent process, the service
//! manager.
//!
//! Nothing here knows streams. Whoever starts the server is told how that ended: by the exit code, by the
//! message on standard error, and systemd by its protocol.

mod container;
pub(crate) mod daemon;
mod inherited;
mod manager;
mod parent;
mod pid_file;

use std::io;

use mill_config::model::Global;

pub(crate) use self::daemon::Daemon;
pub(crate) use self::inherited::Inherited;
pub(crate) use self::manager::Manager;

use self::parent::{Orphan, Parent};
use self::pid_file::PidFile;

/// Whether this configuration asks for a daemon, here and now: not in a container, whose first process must
/// stay, and not where a service manager waits for this very process.
pub(crate) fn wants_daemon(global: &Global) -> bool {
    let container = global.in_docker || container::detected();
    global.daemon && !(container && global.disable_daemon_for_docker) && !manager::waits_for_us()
}

/// Why the process cannot stand as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    PidFile(#[from] pid_file::Error),
    #[error("{0}")]
    Orphan(#[from] Orphan),
}

impl Error {
    /// SRS's number.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::PidFile(e) => e.code(),
            Self::Orphan(_) => Orphan::CODE,
        }
    }
}

/// The standing of a server. Dropping it removes the pid file.
pub(crate) struct Process {
    parent: Parent,
    daemon: Option<Daemon>,
    manager: Manager,
    _pid_file: PidFile,
}

impl Process {
    /// Takes the pid file, remembers the parent, and finds the service manager.
    ///
    /// # Errors
    /// If another server holds the pid file, it cannot be written, or there is no parent to follow.
    pub(crate) fn begin(global: &Global, daemon: Option<Daemon>) -> Result<Self, Error> {
        let parent = Parent::to_follow(global.asprocess)?;
        let pid_file = PidFile::lock(&global.pid)?;
        Ok(Self { parent, daemon, manager: Manager::from_environment(), _pid_file: pid_file })
    }

    /// Tells everybody who waits for it that the server serves, and lets a daemon go.
    ///
    /// # Errors
    /// If the standard streams cannot be let go.
    pub(crate) fn serving(&mut self) -> io::Result<()> {
        self.manager.ready();
        self.daemon.take().map_or(Ok(()), Daemon::serving)
    }

    /// Returns when the parent that is to be followed is gone; never, if there is none.
    pub(crate) async fn orphaned(&self) {
        self.parent.gone().await;
    }

    /// The way to the service manager.
    pub(crate) fn manager(&self) -> &Manager {
        &self.manager
    }
}
