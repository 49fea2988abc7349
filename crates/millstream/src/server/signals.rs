//! The signals operators send.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use crate::log;
use crate::reload::Cause;
use crate::session::Context;

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// SIGTERM, SIGINT or SIGQUIT, by its number.
    Quit(i32),
    /// SIGHUP.
    Reload,
}

impl Told {
    /// Whether the server ends, but not before its clients have left.
    pub(crate) fn is_graceful(self, context: &Context) -> bool {
        let forced = || context.config.load().global.force_grace_quit;
        self == Self::Quit(3) || self == Self::Quit(15) && forced()
    }

    /// Does what does not end the server.
    pub(crate) fn obey(self, context: &Context) {
        match self {
            Self::Reload => context.reload.ask(Cause::Signal),
            Self::Quit(_) => {}
        }
    }
}

/// All of them, caught from the moment this value is made. SIGUSR1 is the log's alone and answered here.
pub(crate) struct Signals {
    log: log::Control,
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    usr1: Signal,
}

impl Signals {
    pub(crate) fn new(log: log::Control) -> io::Result<Self> {
        Ok(Self {
            log,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Told::Quit(15),
                _ = self.int.recv() => return Told::Quit(2),
                _ = self.quit.recv() => return Told::Quit(3),
                _ = self.hup.recv() => return Told::Reload,
                _ = self.usr1.recv() => {
                    self.log.reopen();
                    warn!("reopen the log file, signo=10");
                }
            }
        }
    }
}
