//! Programs that run beside a chore and end with it.

use crate::sh::Outcome;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to end its own children and itself.
const ASKED: Duration = Duration::from_secs(5);

/// A program that was started; when dropped it is asked to end (SIGTERM), then killed, and waited for.
pub(crate) struct Background(Child);

impl Background {
    /// Starts it; its output goes where `command` says.
    pub(crate) fn start(mut command: Command) -> Outcome<Self> {
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Self).map_err(|e| format!("{}: {e}", command.get_program().display()))
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// At once, as a crash would.
    pub(crate) fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits, for twenty seconds at most, until this port of 127.0.0.1 takes connections.
    pub(crate) fn await_port(&self, port: u16) -> Outcome {
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                return Err(format!("port {port} of 127.0.0.1 does not answer"));
            }
            wait(Instant::now() + Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // One that has ended has no number any more: it may be somebody else's.
        let mut runs = matches!(self.0.try_wait(), Ok(None));
        if runs {
            let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        }
        let end = Instant::now() + ASKED;
        while runs && Instant::now() < end {
            wait(Instant::now() + Duration::from_millis(20));
            runs = matches!(self.0.try_wait(), Ok(None));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a chore waits for the clock, and serves nobody")]
pub(crate) fn wait(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
}
