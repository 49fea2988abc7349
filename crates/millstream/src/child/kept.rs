//! A program under its keeper, seen from the server.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tracing::warn;

use super::keeper::{self, End, Order, STOP, Word};

/// One line of the keeper; errors have paths in them.
const MAX_WORD: u64 = 16 << 10;

/// How long a keeper may take to start a program.
const START: Duration = Duration::from_secs(10);

/// How long it may take beyond [`STOP`] to end one.
const LATE: Duration = Duration::from_secs(2);

/// A running program. Dropping it closes the socket, upon which the keeper ends the program by itself; the runtime
/// reaps the keeper.
pub(super) struct Kept {
    pub(super) pid: u32,
    words: Words,
    _hold: OwnedWriteHalf,
    keeper: Child,
}

impl Kept {
    /// Starts a program; returns when it runs.
    ///
    /// # Errors
    /// If it cannot be started, with its name in the text.
    pub(super) async fn start(order: &Order) -> io::Result<Self> {
        let started = tokio::time::timeout(START, Self::try_start(order)).await;
        started.unwrap_or_else(|_| Err(io::Error::other(format!("it did not start within {START:?}"))))
    }

    async fn try_start(order: &Order) -> io::Result<Self> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        // A fork waits for pages to be mapped, an exec for a disk.
        let spawned = tokio::task::spawn_blocking(move || {
            tokio::process::Command::from(keeper::command(OwnedFd::from(theirs))).spawn()
        });
        let keeper = spawned.await.map_err(io::Error::other)??;
        let (reader, mut hold) = UnixStream::from_std(ours)?.into_split();
        let line = serde_json::to_string(order)? + "\n";
        hold.write_all(line.as_bytes()).await?;
        let mut words = Words(BufReader::new(reader));
        match words.next().await? {
            Word::Runs(pid) => Ok(Self { pid, words, _hold: hold, keeper }),
            Word::Failed(why) => Err(io::Error::other(why)),
            other => Err(io::Error::other(format!("its keeper said {other:?}"))),
        }
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Errors
    /// If its keeper has gone without a word; then the kernel has killed the program.
    pub(super) async fn ended(&mut self) -> io::Result<End> {
        let ended = loop {
            match self.words.next().await? {
                Word::Ended(end) => break end,
                Word::Unlogged(why) => warn!("process {}: its log is not written: {why}", self.pid),
                other => return Err(io::Error::other(format!("its keeper said {other:?}"))),
            }
        };
        self.keeper.wait().await?;
        Ok(ended)
    }

    /// Ends the program and waits until it is gone.
    pub(super) async fn stop(self) {
        let Self { pid, mut words, _hold: hold, mut keeper } = self;
        drop(hold);
        let gone = async {
            while words.next().await.is_ok() {}
            keeper.wait().await
        };
        if tokio::time::timeout(STOP + LATE, gone).await.is_err() {
            warn!("process {pid} does not end, not even by SIGKILL");
            let _ = keeper.start_kill();
        }
    }
}

/// What the keeper says.
struct Words(BufReader<OwnedReadHalf>);

impl Words {
    async fn next(&mut self) -> io::Result<Word> {
        let mut line = String::new();
        (&mut self.0).take(MAX_WORD).read_line(&mut line).await?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its keeper is gone"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}
