//! A socket whose peer must take each answer in time.
//!
//! hyper waits for a peer that does not read for as long as the kernel does, and the kernel is content with a
//! byte now and then; so a list of thousands of clients could stay in memory for days. Here the time runs from
//! the first write the socket would not take until everything was taken.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// An answer that has not been taken by then is given up: some megabytes at a slow modem's rate.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

/// A socket, and how long its peer may take for what is written.
pub(super) struct Patient<S> {
    socket: S,
    limit: Duration,
    /// Runs while there is something the peer has not taken; in a box, for most never need it.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(socket: S, limit: Duration) -> Self {
        Self { socket, limit, alarm: None }
    }

    pub(super) fn into_inner(self) -> S {
        self.socket
    }

    /// Lets the time run while the socket is not ready.
    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let limit = self.limit;
            ready!(self.alarm.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Who writes flushes when nothing is left to write: then everything was taken.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        let polled = self.watch(cx, polled);
        if let Poll::Ready(Ok(())) = polled {
            self.alarm = None;
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_a_byte_now_and_then_takes_too_long() {
        let (ours, mut theirs) = duplex(64);
        let mut socket = Patient::new(ours, Duration::from_millis(200));
        let written = async {
            socket.write_all(&[0; 1 << 20]).await?;
            socket.flush().await
        };
        let peer = async {
            while theirs.read(&mut [0; 8]).await.is_ok() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let ended = tokio::select! {
            ended = written => ended,
            () = peer => panic!("it was given all the time it wanted"),
        };
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn each_answer_has_its_own_time() {
        let (ours, mut theirs) = duplex(64);
        let mut socket = Patient::new(ours, ANSWER);
        for _ in 0..2 {
            let mut read = [0; 128];
            let (written, taken) = tokio::join!(socket.write_all(&[1; 128]), theirs.read_exact(&mut read));
            assert!(written.is_ok() && taken.is_ok() && socket.alarm.is_some(), "it had to wait");
            socket.flush().await.unwrap();
            assert!(socket.alarm.is_none(), "everything was taken");
        }
    }
}
