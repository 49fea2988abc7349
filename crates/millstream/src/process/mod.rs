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
use std::sync::Arc;

use mill_config::model::{Global, Snapshot};
use parking_lot::Mutex;

pub(crate) use self::daemon::Daemon;
pub(crate) use self::inherited::Inherited;
pub(crate) use self::manager::Manager;

use self::parent::{Orphan, Parent};
use self::pid_file::PidFile;
use crate::log;

/// Whether this configuration asks for a daemon, here and now: not in a container, whose first process must
/// stay, and not where a service manager waits for this very process.
pub(crate) fn wants_daemon(global: &Global) -> bool {
    let container = global.disable_daemon_for_docker && in_container(global);
    global.daemon && !container && !manager::waits_for_us()
}

/// Whether this is a container, or is to be taken for one.
pub(crate) fn in_container(global: &Global) -> bool {
    global.in_docker || container::detected()
}

/// Why the process cannot stand as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    PidFile(#[from] pid_file::Error),
    #[error("{0}")]
    Orphan(#[from] Orphan),
    #[error("{0}")]
    Log(io::Error),
}

impl Error {
    /// SRS's number.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::PidFile(e) => e.code(),
            Self::Orphan(_) => Orphan::CODE,
            // A configuration that cannot be used.
            Self::Log(_) => 1023,
        }
    }
}

/// The standing of a server. Dropping it, and all [`Settings`], removes the pid file.
pub(crate) struct Process {
    parent: Parent,
    daemon: Option<Daemon>,
    manager: Manager,
    pid_file: Arc<Mutex<PidFile>>,
}

impl Process {
    /// Takes the pid file, remembers the parent, and finds the service manager.
    ///
    /// # Errors
    /// If another server holds the pid file, it cannot be written, or there is no parent to follow.
    pub(crate) fn begin(global: &Global, daemon: Option<Daemon>) -> Result<Self, Error> {
        let parent = Parent::to_follow(global.asprocess)?;
        let pid_file = PidFile::lock(&global.pid)?;
        Ok(Self {
            parent,
            daemon,
            manager: Manager::from_environment(),
            pid_file: Arc::new(Mutex::new(pid_file)),
        })
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

    /// What of the process follows the configuration.
    pub(crate) fn settings(&self, log: &log::Control) -> Settings {
        Settings { log: log.clone(), pid_file: self.pid_file.clone() }
    }

    /// The way to the service manager.
    pub(crate) fn manager(&self) -> &Manager {
        &self.manager
    }
}

/// What of the process follows the configuration: the log and the pid file. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Settings {
    log: log::Control,
    pid_file: Arc<Mutex<PidFile>>,
}

/// New values that are not in force yet. Dropping them gives back what was opened and locked for them.
pub(crate) struct Prepared {
    log: log::Prepared,
    pid_file: Option<PidFile>,
}

impl Settings {
    /// Opens and locks what the new values need. Blocks for the disk.
    ///
    /// # Errors
    /// If a file cannot be opened, or another server holds the pid file; then nothing has changed.
    pub(crate) fn prepare(&self, conf: &Snapshot) -> Result<Prepared, Error> {
        let same = self.pid_file.lock().is_for(&conf.global.pid);
        let pid_file = if same { None } else { Some(PidFile::lock(&conf.global.pid)?) };
        let log = self.log.prepare(&conf.log, conf.global.utc_time).map_err(Error::Log)?;
        Ok(Prepared { log, pid_file })
    }

    /// Takes the new values. Removes the pid file that is not used any more, so it may wait for the disk too.
    pub(crate) fn commit(&self, prepared: Prepared) {
        self.log.commit(prepared.log);
        if let Some(new) = prepared.pid_file {
            *self.pid_file.lock() = new;
        }
    }
}
