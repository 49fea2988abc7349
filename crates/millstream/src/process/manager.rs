//! systemd's protocol: the service manager is told when we serve, reload, stop, and that we are alive.
//!
//! One datagram per message to the socket named by `NOTIFY_SOCKET`; nobody answers, and a manager that does
//! not read loses messages instead of holding us up. Without the variable nothing is sent.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use super::inherited;

/// Whether a service manager has started this very process and waits for its word, so that it must not give
/// way to a daemon.
pub(super) fn waits_for_us() -> bool {
    let started_us = variable("SYSTEMD_EXEC_PID").is_some_and(|pid| is_own(&pid));
    inherited::announced() || (started_us && variable("NOTIFY_SOCKET").is_some())
}

/// The way to the service manager. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    /// How often it wants to hear that we are alive.
    watchdog: Option<Duration>,
}

impl Manager {
    /// What the environment says; a manager that cannot be reached is warned of and then ignored.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = variable("NOTIFY_SOCKET") else { return Self::default() };
        match connect(&name) {
            Ok(socket) => {
                let ours = variable("WATCHDOG_PID").is_none_or(|pid| is_own(&pid));
                let limit = variable("WATCHDOG_USEC").filter(|_| ours);
                let limit = limit.and_then(|text| text.parse().ok()).filter(|limit| *limit > 1);
                // Half the limit, as systemd advises.
                Self {
                    socket: Some(Arc::new(socket)),
                    watchdog: limit.map(|l: u64| Duration::from_micros(l / 2)),
                }
            }
            Err(e) => {
                warn!("the service manager at {name} cannot be told anything: {e}");
                Self::default()
            }
        }
    }

    /// Everything is bound: dependent services may start.
    pub(crate) fn ready(&self) {
        self.send("READY=1");
    }

    /// A reload begins; [`ready`](Self::ready) says that it is over.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The end has begun.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Says again and again that we are alive, if the manager wants to hear it: it ends a server whose tasks
    /// do not run any more. For a task of its own.
    pub(crate) async fn watchdog(self) {
        let Some(every) = self.watchdog else { return };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(e) = socket.send(message.as_bytes())
        {
            debug!("the service manager does not take {message:?}: {e}");
        }
    }
}

/// A path, or after `@` a name in the abstract namespace.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_own(pid: &str) -> bool {
    pid.parse() == Ok(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_and_a_full_manager_holds_nobody_up() {
        let name = format!("millstream-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let theirs = UnixDatagram::bind_addr(&address).unwrap();
        let socket = connect(&format!("@{name}")).unwrap();
        let manager = Manager { socket: Some(Arc::new(socket)), watchdog: None };
        manager.ready();
        manager.reloading();
        let mut buffer = [0; 100];
        let mut received = || {
            let len = theirs.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).into_owned()
        };
        assert_eq!(received(), "READY=1");
        let text = received();
        let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
        // More than any socket keeps.
        (0..100_000).for_each(|_| manager.stopping());
        Manager::default().ready();
    }
}
