//! A file, or a part of one, as the body of an answer.
//!
//! Files are read by threads of their own, a piece at a time and only when the peer has taken the one before;
//! a disk that hangs keeps those who read from it, and no task that serves sockets. Bounded: a body holds one
//! piece of [`PIECE`], and [`READERS`] threads read at a time, for the whole server; the others wait their turn.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::Semaphore;

/// What is read at once: a segment of HLS in a few steps.
const PIECE: u64 = 128 * 1024;

/// Threads that may read at a time; the runtime has 512 for everybody, and DNS needs some.
const READERS: usize = 64;

static TURNS: Semaphore = Semaphore::const_new(READERS);

/// Runs something that waits for a disk, when it is its turn.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let turn = TURNS.acquire().await.map_err(io::Error::other)?;
    let work = move || {
        // Held to its end, even if nobody waits for it any more.
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The bytes of an answer that lie in a file, behind some that do not.
pub(crate) struct Pieces {
    /// Sent first.
    front: Bytes,
    file: Arc<File>,
    at: u64,
    /// Bytes of the file still to be read.
    left: u64,
    reading: Option<Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>>,
}

impl Pieces {
    /// `front`, then `len` bytes of `file` from `at` on. That the file has them must have been looked up.
    pub(crate) fn new(front: Bytes, file: Arc<File>, at: u64, len: u64) -> Self {
        Self { front, file, at, left: len, reading: None }
    }

    pub(super) fn left(&self) -> u64 {
        self.front.len() as u64 + self.left
    }

    /// The next piece, `None` behind the last. A file that has become shorter is an error: what was promised
    /// cannot be sent any more.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if !self.front.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.front))));
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (file, at, len) = (&self.file, self.at, self.left.min(PIECE) as usize);
        let reading = self.reading.get_or_insert_with(|| {
            let file = file.clone();
            Box::pin(on_disk(move || read(&file, at, len)))
        });
        let read = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        if let Ok(piece) = &read {
            self.at += piece.len() as u64;
            self.left -= piece.len() as u64;
        }
        Poll::Ready(Some(read))
    }
}

/// Exactly `len` bytes.
fn read(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; len];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::session::http::Reply;

    fn file(name: &str, len: usize) -> (Arc<File>, Vec<u8>) {
        let content: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
        let path = std::env::temp_dir().join(format!("millstream-{}-{name}", std::process::id()));
        std::fs::write(&path, &content).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        (Arc::new(file), content)
    }

    #[tokio::test]
    async fn a_part_of_a_file_behind_what_comes_first() {
        let (file, content) = file("part", 3 * PIECE as usize);
        let (at, len) = (1000, 2 * PIECE + 5);
        let body = Reply::File(Pieces::new("front".into(), file, at as u64, len));
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(5 + len));
        let sent = body.collect().await.unwrap().to_bytes();
        assert_eq!(sent, [b"front", &content[at..at + len as usize]].concat());
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_an_error() {
        let (file, _) = file("short", 100);
        let body = Reply::File(Pieces::new(Bytes::new(), file, 0, 101));
        assert!(body.collect().await.is_err());
    }
}
