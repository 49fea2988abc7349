//! Child processes with deadlines: started, listened to, and ended with the value that holds them.

use super::{SOON, pause};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A child whose output is collected while it runs.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

/// How a child ended, and what it had said.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Finished {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Both outputs, for texts that may appear on either.
    pub(crate) fn text(&self) -> String {
        self.stdout() + &self.stderr()
    }
}

impl Process {
    /// Starts the command. A program that is not installed is a failure with advice.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with_input(command, Stdio::null())
    }

    /// The same with a standard input of the caller's.
    #[track_caller]
    pub(crate) fn start_with_input(command: &mut Command, input: Stdio) -> Self {
        let name = program_name(command);
        let child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(e) => panic!("cannot start {name}: {e}. `cargo xtask setup` installs what the tests need"),
        };
        let stdout = Collected::from(child.stdout.take().expect("stdout is piped"));
        let stderr = Collected::from(child.stderr.take().expect("stderr is piped"));
        Self { name, child, stdout, stderr }
    }

    /// Runs the command to its end; longer than `deadline` is a failure.
    #[track_caller]
    pub(crate) fn run(command: &mut Command, deadline: Duration) -> Finished {
        Self::start(command).finish(deadline)
    }

    /// Waits for the child's own end.
    #[track_caller]
    pub(crate) fn finish(mut self, deadline: Duration) -> Finished {
        let Some(status) = self.wait(deadline) else {
            let said = self.said();
            panic!("{} did not end within {deadline:?}. It said:\n{said}", self.name);
        };
        Finished { status, stdout: self.stdout.end(), stderr: self.stderr.end() }
    }

    /// The exit status, if there is one within the deadline.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + deadline;
        loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => return Some(status),
                None if Instant::now() >= end => return None,
                None => pause(),
            }
        }
    }

    /// Whether the child has not ended yet.
    pub(crate) fn alive(&mut self) -> bool {
        self.wait(Duration::ZERO).is_none()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has said so far, standard output first.
    pub(crate) fn said(&self) -> String {
        self.stdout.text() + &self.stderr.text()
    }

    /// Sends a signal; a child that is gone already does not mind.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Not reaped yet (we hold the Child), so this number cannot belong to anybody else.
        let _ = kill_process(pid.expect("a child has a process id"), signal);
    }

    /// Asks politely, then does not ask.
    pub(crate) fn end(&mut self) {
        if self.alive() {
            self.signal(Signal::TERM);
            if self.wait(Duration::from_secs(5)).is_none() {
                self.signal(Signal::KILL);
                self.wait(SOON);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn program_name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// An output that a thread of its own reads, so that the child never waits for us.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(mut output: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                into.lock().expect("no holder panics").extend_from_slice(&buffer[..n]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no holder panics")).into_owned()
    }

    /// All of it, after the child has ended.
    fn end(&mut self) -> Vec<u8> {
        // A grandchild may keep the pipe open for ever: what is there after a moment is all.
        let end = Instant::now() + Duration::from_secs(2);
        while !self.reader.is_finished() && Instant::now() < end {
            pause();
        }
        std::mem::take(&mut self.bytes.lock().expect("no holder panics"))
    }
}
