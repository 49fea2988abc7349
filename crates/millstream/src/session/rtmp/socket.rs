//! The socket of an RTMP peer: in the runtime's event queue, or parked outside of it.
//!
//! Bytes are read into a buffer of the thread and copied to a block of exactly their size, of which messages
//! are then slices. The stream keeps the messages of a GOP and with them their blocks: so it keeps what
//! was sent and nothing else, and a peer that is silent costs no buffer.
//!
//! A parked socket wakes nobody when bytes come; its owner looks after it when it sees fit.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The most that one read takes: a keyframe of a fat stream in few reads.
pub(super) const MAX_READ: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_READ].into());
}

/// One socket. Dropping it closes it, once a shard that writes to it has let go as well.
pub(super) struct Socket(State);

enum State {
    Open(OwnedReadHalf, Arc<OwnedWriteHalf>),
    Parked(std::net::TcpStream),
    /// A change between the two failed.
    Lost,
}

impl Socket {
    pub(super) fn new(socket: TcpStream) -> Self {
        let (reader, writer) = socket.into_split();
        Self(State::Open(reader, Arc::new(writer)))
    }

    /// Waits for input and appends it to `input`; gives how many bytes came, 0 at the end. Cancel safe.
    pub(super) async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        let (reader, _) = self.open()?;
        poll_fn(|cx| poll_block(Pin::new(&mut *reader), cx, input)).await
    }

    /// Takes the socket out of the event queue. `false`: somebody else still uses it.
    pub(super) fn park(&mut self) -> io::Result<bool> {
        self.0 = match mem::replace(&mut self.0, State::Lost) {
            State::Open(reader, writer) => match Arc::try_unwrap(writer) {
                Ok(writer) => {
                    let whole = reader.reunite(writer).map_err(io::Error::other)?;
                    State::Parked(whole.into_std()?)
                }
                Err(shared) => State::Open(reader, shared),
            },
            other => other,
        };
        Ok(matches!(self.0, State::Parked(_)))
    }

    /// Reads a parked socket as [`Self::read`] does, without waiting.
    pub(super) fn read_parked(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        let State::Parked(socket) = &mut self.0 else { return Err(io::ErrorKind::WouldBlock.into()) };
        SCRATCH.with_borrow_mut(|scratch| {
            let n = socket.read(scratch)?;
            append(input, &scratch[..n]);
            Ok(n)
        })
    }

    /// Writes what the socket takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            State::Open(_, writer) => writer.try_write(bytes),
            State::Parked(socket) => (&*socket).write(bytes),
            State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Waits until it takes bytes again. Cancel safe.
    pub(super) async fn writable(&mut self) -> io::Result<()> {
        self.open()?.1.writable().await
    }

    /// Waits until the peer has closed, without reading what it sent before. Nobody sends urgent data over
    /// RTMP; with it comes that news. Cancel safe.
    pub(super) async fn gone(&mut self) -> io::Result<()> {
        self.open()?.0.ready(Interest::PRIORITY).await.map(|_| ())
    }

    /// The half that a shard writes to.
    pub(super) fn writer(&mut self) -> io::Result<Arc<OwnedWriteHalf>> {
        Ok(self.open()?.1.clone())
    }

    /// Address of our side.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            State::Open(reader, _) => reader.local_addr(),
            State::Parked(socket) => socket.local_addr(),
            State::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn shutdown(&self) -> io::Result<()> {
        let how = std::net::Shutdown::Write;
        match &self.0 {
            State::Open(reader, _) => socket2::SockRef::from(reader.as_ref()).shutdown(how),
            State::Parked(socket) => socket.shutdown(how),
            State::Lost => Ok(()),
        }
    }

    /// Both halves, back in the event queue.
    fn open(&mut self) -> io::Result<(&mut OwnedReadHalf, &Arc<OwnedWriteHalf>)> {
        if let State::Parked(_) = self.0
            && let State::Parked(socket) = mem::replace(&mut self.0, State::Lost)
        {
            let (reader, writer) = TcpStream::from_std(socket)?.into_split();
            self.0 = State::Open(reader, Arc::new(writer));
        }
        match &mut self.0 {
            State::Open(reader, writer) => Ok((reader, writer)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Reads once and appends that to `input`, in a block of exactly that size; gives how many bytes came, 0 at the end.
pub(crate) fn poll_block(
    reader: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut read = ReadBuf::new(scratch);
        ready!(reader.poll_read(cx, &mut read))?;
        append(input, read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

/// Adds to what is left of earlier input, in a block of exactly that size.
fn append(input: &mut BytesMut, bytes: &[u8]) {
    let mut block = BytesMut::with_capacity(input.len() + bytes.len());
    block.extend_from_slice(input);
    block.extend_from_slice(bytes);
    *input = block;
}
