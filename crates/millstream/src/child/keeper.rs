//! The process between the server and a program, so that no program outlives the server.
//!
//! ```text
//! server ──socket──► keeper: this binary ──► this binary once more, which becomes the program
//! ```
//!
//! The keeper's standard input is a socket. The server writes one [`Order`]; the keeper answers in lines what
//! became of it ([`Word`]). When the socket closes, whether because the server wants an end or because it is
//! gone itself, be it by SIGKILL, the keeper ends the program's process group: SIGTERM, again at [`AGAIN`], SIGKILL
//! at [`STOP`]. Should the keeper itself be killed, the kernel kills the program: between keeper and program the
//! second start of this binary asks for that signal and then becomes the program, which neither a fork nor
//! `unsafe` is needed for.
//!
//! The program gets its arguments as they are, no shell; `/dev/null` as input; no other descriptor of ours. What
//! it says goes to a log of bounded size ([`super::paper`]) or to files of its own.
//!
//! Why so: docs/decisions/0050-programs-have-a-keeper.md.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::{self, PipeReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, wait,
};
use rustix::stdio::dup2_stdin;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::paper::Paper;

/// Marks the keeper.
pub(super) const KEEPER: &str = "--keeper-of-a-program";

/// Marks what becomes the program; behind it the keeper's process id, the program and its arguments.
const BECOME: &str = "--become";

/// This very binary, even if its file has been replaced meanwhile.
pub(super) const SELF: &str = "/proc/self/exe";

/// How long a program has after SIGTERM, until it is killed.
pub(crate) const STOP: Duration = Duration::from_secs(3);

/// When SIGTERM comes a second time: ffmpeg, when it waits for input, only heeds that.
const AGAIN: Duration = Duration::from_millis(700);

/// How long is waited for what the program has left: words in its log, and processes. Somebody who has left its
/// group may live for ever.
const REST: Duration = Duration::from_millis(500);

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// With a slash a path, else a name to look for in PATH.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
    /// Made before the start, so that there is a place for the result; empty for none.
    pub(crate) directory: PathBuf,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sink {
    Null,
    /// A log of bounded size; outputs of the same name share it.
    Log(PathBuf),
    /// The end of a file of any size.
    File(PathBuf),
}

/// What the keeper tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// The program runs, under this process id, which is that of its group too.
    Runs(u32),
    /// It could not be started.
    Failed(String),
    /// Its log cannot be written.
    Unlogged(String),
    /// It has ended.
    Ended(End),
}

/// How a program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The command that starts a keeper on a socket.
pub(super) fn command(socket: OwnedFd) -> Command {
    let mut command = Command::new(SELF);
    command.arg0("mill-keeper").arg(KEEPER).stdin(Stdio::from(socket));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // The terminal's Ctrl-C is for the server, which then tells us.
    command.process_group(0);
    // These are between a service manager and the server alone.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command
}

/// Does what this process was started for, if it was started by ourselves.
pub(crate) fn run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        KEEPER => Some(keep()),
        BECOME => Some(turn_into(arguments)),
        _ => None,
    }
}

fn keep() -> ExitCode {
    // So that `killall millstream` does not mean us.
    let _ = rustix::thread::set_name(c"mill-keeper");
    // The first process of a container may be the server, which asks only after its own children.
    let _ = set_child_subreaper(Some(getpid()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve())) {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve() -> io::Result<()> {
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    // The program must not have it.
    dup2_stdin(File::open("/dev/null")?)?;
    let socket = std::os::unix::net::UnixStream::from(input);
    socket.set_nonblocking(true)?;
    let (reader, writer) = UnixStream::from_std(socket)?.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let order: Order = serde_json::from_str(&line)?;
    // A service manager tells everybody: then we still end the program in good order.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let over = async move {
        tokio::select! {
            () = closed(reader) => {}
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let mut teller = Teller(writer);
    match start(&order) {
        Ok(started) => attend(started, over, &mut teller).await,
        Err(e) => teller.tell(&Word::Failed(e.to_string())).await,
    }
}

/// Returns when the other end of the socket is closed.
async fn closed(mut reader: BufReader<OwnedReadHalf>) {
    let mut rest = [0];
    while matches!(reader.read(&mut rest).await, Ok(1..)) {}
}

/// Waits for the program's end, and brings it about when it is `over`.
async fn attend(started: Started, over: impl Future<Output = ()>, teller: &mut Teller) -> io::Result<()> {
    let Started { program, mut dead, mut complaints, written } = started;
    teller.tell(&Word::Runs(program.as_raw_nonzero().get().unsigned_abs())).await?;
    let mut over = std::pin::pin!(async {
        over.await;
        for (signal, pause) in [(Signal::TERM, AGAIN), (Signal::TERM, STOP - AGAIN)] {
            let _ = kill_process_group(program, signal);
            tokio::time::sleep(pause).await;
        }
        let _ = kill_process_group(program, Signal::KILL);
        std::future::pending().await
    });
    let end = loop {
        if let (Some(end), _) = reap(program) {
            break end;
        }
        tokio::select! {
            _ = dead.recv() => {}
            () = &mut over => {}
            Some(complaint) = complaints.recv() => teller.tell(&Word::Unlogged(complaint)).await?,
        }
    };
    // What it has left behind. While one of them lives the number belongs to their group.
    let _ = kill_process_group(program, Signal::KILL);
    let rest = async {
        let _ = written.await;
        // One that has left the group may be the last to go on for ever.
        while reap(program).1 {
            dead.recv().await;
        }
    };
    let _ = tokio::time::timeout(REST, rest).await;
    teller.tell(&Word::Ended(end)).await
}

/// Asks everybody who has ended how, so that nobody waits to be asked: the program, and those whose parents have
/// ended before them. Gives how the program has ended, if it has, and whether others live.
fn reap(program: Pid) -> (Option<End>, bool) {
    let mut end = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == program => {
                let code = status.exit_status().map(End::Code);
                end = Some(code.unwrap_or_else(|| End::Signal(status.terminating_signal().unwrap_or(0))));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return (end, true),
            Err(_) => return (end, false),
        }
    }
}

/// Writes to the server; a server that is gone needs no word.
struct Teller(OwnedWriteHalf);

impl Teller {
    async fn tell(&mut self, word: &Word) -> io::Result<()> {
        let line = serde_json::to_string(word)? + "\n";
        let _ = tokio::io::AsyncWriteExt::write_all(&mut self.0, line.as_bytes()).await;
        Ok(())
    }
}

/// A program that runs.
struct Started {
    /// It leads the group of the same number.
    program: Pid,
    /// Speaks when somebody has ended.
    dead: tokio::signal::unix::Signal,
    /// What the log says when it cannot be written.
    complaints: mpsc::Receiver<String>,
    /// Resolves when all that was said is written.
    written: oneshot::Receiver<()>,
}

fn start(order: &Order) -> io::Result<Started> {
    if !order.directory.as_os_str().is_empty() {
        folder(&order.directory)?;
    }
    let (complain, complaints) = mpsc::channel(1);
    let (done, written) = oneshot::channel::<()>();
    let (word, theirs) = std::os::unix::net::UnixStream::pair()?;
    let mut command = Command::new(SELF);
    command.arg0(&order.program).arg(BECOME).arg(std::process::id().to_string()).arg(&order.program);
    command.args(&order.arguments).stdin(OwnedFd::from(theirs)).process_group(0);
    let log = outputs(order, &mut command)?;
    let dead = signal(SignalKind::child())?;
    let mut child = command.spawn()?;
    // It holds the other end of the socket.
    drop(command);
    if let Some((pipe, path)) = log {
        // The thread may wait for a disk; the keeper does not.
        std::thread::spawn(move || {
            Paper::new(path).fill(pipe, |e| _ = complain.try_send(e.to_string()));
            drop(done);
        });
    }
    let refused = io::read_to_string(word)?;
    if !refused.is_empty() {
        child.wait()?;
        return Err(io::Error::other(refused));
    }
    let program = Pid::from_child(&child);
    Ok(Started { program, dead, complaints, written })
}

/// Opens what the program writes to; gives the pipe to the log, if it has one.
fn outputs(order: &Order, command: &mut Command) -> io::Result<Option<(PipeReader, PathBuf)>> {
    let (reader, writer) = io::pipe()?;
    let mut log = None;
    let mut open = |sink: &Sink| {
        Ok::<Stdio, io::Error>(match sink {
            Sink::Null => Stdio::null(),
            Sink::File(path) => {
                let file = File::options().create(true).append(true).open(path);
                file.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?.into()
            }
            Sink::Log(path) => {
                log = Some(path.clone());
                writer.try_clone()?.into()
            }
        })
    };
    command.stdout(open(&order.stdout)?);
    command.stderr(open(&order.stderr)?);
    Ok(log.map(|path| (reader, path)))
}

/// Makes a folder and those around it.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).create(path);
    made.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// Becomes the program. Standard input is a socket to the keeper, which reads there why it did not work: the
/// socket closes by itself when it did.
fn turn_into(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let failed = (|| {
        let keeper = arguments.next().and_then(|id| Pid::from_raw(id.to_str()?.parse().ok()?));
        let program = arguments.next().unwrap_or_default();
        let word = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        dup2_stdin(File::open("/dev/null")?)?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != keeper {
            // It was killed before the kernel knew.
            return Err(io::Error::other("the keeper is gone"));
        }
        let e = Command::new(&program).args(arguments).exec();
        File::from(word).write_all(explain(&program, &e).as_bytes())?;
        Err::<(), _>(e)
    })();
    if failed.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Why a program cannot be run, in words that name it.
fn explain(program: &OsStr, e: &io::Error) -> String {
    format!("{}: {e}", program.to_string_lossy())
}
