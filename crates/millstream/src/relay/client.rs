//! RTMP towards another server: plays or publishes one stream.
//!
//! [`Incoming`] and [`Outgoing`] are a connection each and the state machine of `mill_rtmp` on it. They belong to
//! one task, which drives them by awaiting their methods; those that say so may be dropped while they wait.
//! Dropping a value closes the connection; [`Outgoing::close`] takes leave first.
//!
//! Bounded: until media flows by [`Options::connect`] and [`Options::begin`], redirects by [`MAX_REDIRECTS`], a
//! server that takes nothing by [`WRITE_TIMEOUT`], the last words by [`LEAVE`]. Input is bounded by the session
//! (`mill_rtmp::session`), output by its owner: [`Outgoing::put`] appends, [`Outgoing::flush`] comes back when all
//! is sent.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use mill_media::amf0::Object;
use mill_media::frame::FrameKind;
use mill_rtmp::command::Connect;
use mill_rtmp::message::Message;
use mill_rtmp::session::client::{Event, Goal, Options as SessionOptions, Session, Status};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::dial::{Dialer, Transport};
use super::target::Target;
use crate::session::rtmp::socket::poll_block;

/// Redirects that are followed for one connection: an origin that does not know the stream names one that does.
pub(crate) const MAX_REDIRECTS: usize = 3;

/// A server that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the last words may take.
const LEAVE: Duration = Duration::from_secs(2);

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the name cannot be resolved: {0}")]
    Name(io::Error),
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
    #[error("{phase} not finished within {limit:?}")]
    Timeout { phase: &'static str, limit: Duration },
    /// It is there, and has nothing of the stream.
    #[error("no media for {0:?}")]
    Silent(Duration),
    #[error("{0}")]
    Protocol(mill_rtmp::Error),
    #[error("the server refuses: {} {}", .0.code, .0.description)]
    Refused(Status),
    /// To this server, for the same stream.
    #[error("redirected to {}", .0.server)]
    Redirected(Box<Target>),
    #[error("redirected more than {MAX_REDIRECTS} times")]
    Redirects,
    #[error("the server has closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    #[error("the server takes nothing")]
    NotReading,
    #[error("the server answers with status {0}")]
    Status(u16),
    #[error("{0}")]
    Flv(#[from] mill_media::flv::demux::Error),
    #[error("too much that is neither sound nor pictures")]
    NoMedia,
}

impl Error {
    /// SRS's number for it.
    pub(crate) fn code(&self) -> u32 {
        match self {
            Self::Name(_) => 1066,
            Self::Connect(_) | Self::Tls(_) | Self::Timeout { phase: "connect" | "name look-up", .. } => 1018,
            Self::Timeout { .. } | Self::Silent(_) => 1011,
            Self::Protocol(e) => e.code(),
            Self::Refused(_) | Self::Closed | Self::Broken(_) => 1007,
            Self::Redirected(_) | Self::Redirects => 2997,
            Self::NotReading => 1009,
            Self::Status(404) => 2048,
            Self::Status(_) => 4005,
            Self::Flv(_) | Self::NoMedia => 3036,
        }
    }
}

impl From<mill_rtmp::Error> for Error {
    fn from(error: mill_rtmp::Error) -> Self {
        match error {
            mill_rtmp::Error::Timeout { phase, limit } => Self::Timeout { phase, limit },
            other => Self::Protocol(other),
        }
    }
}

/// How to behave.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// For name, connection and TLS.
    pub(crate) connect: Duration,
    /// From then until media flows.
    pub(crate) begin: Duration,
    /// Our chunk size, in bytes.
    pub(crate) chunk_size: u32,
    /// The second argument of connect: what an SRS says of itself.
    pub(crate) args: Option<Object>,
    pub(crate) page_url: String,
    pub(crate) swf_url: String,
    /// File of the certificates to trust over TLS; empty for those of the system.
    pub(crate) ca: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            begin: Duration::from_secs(10),
            chunk_size: 60_000,
            args: None,
            page_url: String::new(),
            swf_url: String::new(),
            ca: PathBuf::new(),
        }
    }
}

impl Options {
    fn session(&self, target: &Target, goal: Goal) -> SessionOptions {
        let mut options = SessionOptions::new(&*target.tc_url, &*target.app, goal);
        options.connect.page_url.clone_from(&self.page_url);
        options.connect.swf_url.clone_from(&self.swf_url);
        options.connect.args.clone_from(&self.args);
        options.chunk_size = self.chunk_size;
        options.timeout = self.begin;
        options
    }
}

/// Plays a stream of another server.
pub(crate) struct Incoming(Link);

impl Incoming {
    /// Connects and asks for the stream; comes back when the server has said yes. An SRS says yes to every stream,
    /// and only then redirects.
    ///
    /// # Errors
    /// [`Error::Redirected`] is for the caller to follow, at most [`MAX_REDIRECTS`] times.
    pub(crate) async fn open(dialer: &Dialer, target: &Target, options: &Options) -> Result<Self, Error> {
        let goal = Goal::play(&*target.stream);
        Link::open(dialer, target, goal, options).await.map(Self)
    }

    /// Waits for audio, video or data, and appends what has come to `into`. May be dropped while it waits.
    ///
    /// # Errors
    /// As [`Self::open`]: servers also redirect, refuse and end a stream later.
    pub(crate) async fn receive(&mut self, into: &mut Vec<Message>) -> Result<(), Error> {
        let before = into.len();
        loop {
            while let Some(event) = self.0.poll()? {
                match event {
                    Event::Media(message) => into.push(message),
                    Event::Rejected { status, redirect } => return Err(self.0.rejected(status, redirect)),
                    Event::Connected | Event::Publishing | Event::Playing | Event::Status(_) => {}
                }
            }
            if into.len() > before {
                return Ok(());
            }
            self.0.turn().await?;
        }
    }

    /// See [`Transport::watch_line`].
    pub(crate) fn watch_line(&self, patience: Duration) -> io::Result<()> {
        self.0.transport.watch_line(patience)
    }

    /// Address of the server.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.0.transport.peer_addr()
    }

    /// Bytes received since the connection was made.
    pub(crate) fn received(&self) -> u64 {
        self.0.received
    }
}

/// Publishes a stream to another server.
pub(crate) struct Outgoing(Link);

impl Outgoing {
    /// Connects and asks to publish; comes back when the server has said yes. Redirects are followed.
    ///
    /// # Errors
    /// Whatever is in the way.
    pub(crate) async fn open(dialer: &Dialer, target: &Target, options: &Options) -> Result<Self, Error> {
        let mut target = target.clone();
        for _ in 0..=MAX_REDIRECTS {
            let goal = Goal::publish(&*target.stream);
            match Link::open(dialer, &target, goal, options).await {
                Ok(link) => return Ok(Self(link)),
                Err(Error::Redirected(there)) => target = *there,
                Err(e) => return Err(e),
            }
        }
        Err(Error::Redirects)
    }

    /// Appends a frame to what is to be sent. `timestamp` in milliseconds modulo 2^32, `payload` an FLV tag body.
    pub(crate) fn put(&mut self, kind: FrameKind, timestamp: u32, payload: &[u8]) {
        self.put_message(kind.tag_type(), timestamp, payload);
    }

    /// The same for a message of type 8, 9 or 18 as it came from elsewhere.
    pub(crate) fn put_message(&mut self, message_type: u8, timestamp: u32, payload: &[u8]) {
        self.0.rtmp.send_media(message_type, timestamp, payload);
    }

    /// Bytes that are not sent yet.
    pub(crate) fn unsent(&self) -> usize {
        self.0.output.len() + self.0.rtmp.output_len()
    }

    /// Sends all of it, in as few writes as there can be, and hears what the server says meanwhile. May be dropped
    /// while it waits.
    ///
    /// # Errors
    /// The publish is over.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        loop {
            self.listen()?;
            if self.unsent() == 0 && self.0.flushed {
                return Ok(());
            }
            self.0.turn().await?;
        }
    }

    /// Waits for the server to end the publish. For when there is nothing to send: what the server says is not heard
    /// otherwise. May be dropped while it waits.
    pub(crate) async fn ended(&mut self) -> Error {
        loop {
            if let Err(e) = self.listen() {
                return e;
            }
            if let Err(e) = self.0.turn().await {
                return e;
            }
        }
    }

    /// Sends what is left, tells the server that it is over and closes.
    pub(crate) async fn close(mut self) {
        let leave = async {
            self.flush().await?;
            self.0.rtmp.close();
            while self.unsent() > 0 || !self.0.flushed {
                self.0.turn().await?;
            }
            self.0.transport.shutdown().await.map_err(Error::Broken)
        };
        // Whoever leaves does not care.
        let _ = tokio::time::timeout(LEAVE, leave).await;
    }

    /// See [`Transport::watch_line`].
    pub(crate) fn watch_line(&self, patience: Duration) -> io::Result<()> {
        self.0.transport.watch_line(patience)
    }

    /// Address of the server.
    #[cfg(test)]
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.0.transport.peer_addr()
    }

    /// Bytes sent since the connection was made.
    pub(crate) fn sent(&self) -> u64 {
        self.0.sent
    }

    fn listen(&mut self) -> Result<(), Error> {
        while let Some(event) = self.0.poll()? {
            if let Event::Rejected { status, redirect } = event {
                return Err(self.0.rejected(status, redirect));
            }
        }
        Ok(())
    }
}

/// Asks a server whether it accepts a client who says of itself what `connect` says, and goes.
///
/// # Errors
/// [`Error::Refused`], or there is no answer within `limit`.
pub(crate) async fn knock(
    dialer: &Dialer,
    transport: Transport,
    connect: Connect,
    limit: Duration,
) -> Result<(), Error> {
    let mut options = SessionOptions::new("", "", Goal::play(""));
    let target = Target::parse("rtmp://nobody/app/stream")?;
    (options.connect, options.timeout) = (connect, limit);
    let session = Session::new(options, dialer.seed(), Instant::now());
    Link::new(transport, session, &target).until(|event| *event == Event::Connected).await
}

/// What both have in common.
struct Link {
    transport: Transport,
    rtmp: Session,
    /// Where a redirect is measured from.
    target: Target,
    input: BytesMut,
    /// What is being written.
    output: Bytes,
    /// All written bytes were handed on; with TLS some may lie in between.
    flushed: bool,
    received: u64,
    sent: u64,
    /// When the server last took something, or had nothing to take.
    taken: Instant,
}

impl Link {
    async fn open(dialer: &Dialer, target: &Target, goal: Goal, options: &Options) -> Result<Self, Error> {
        let transport = dialer.connect(&target.server, &options.ca, options.connect).await?;
        let session = Session::new(options.session(target, goal), dialer.seed(), Instant::now());
        let mut link = Self::new(transport, session, target);
        link.until(|event| matches!(event, Event::Playing | Event::Publishing)).await.map(|()| link)
    }

    fn new(transport: Transport, rtmp: Session, target: &Target) -> Self {
        Self {
            transport,
            rtmp,
            target: target.clone(),
            input: BytesMut::new(),
            output: Bytes::new(),
            flushed: true,
            received: 0,
            sent: 0,
            taken: Instant::now(),
        }
    }

    /// Goes on until the server has said so, or the session's time is over.
    async fn until(&mut self, enough: impl Fn(&Event) -> bool) -> Result<(), Error> {
        loop {
            match self.poll()? {
                Some(event) if enough(&event) => return Ok(()),
                Some(Event::Rejected { status, redirect }) => return Err(self.rejected(status, redirect)),
                Some(_) => continue,
                None => {}
            }
            // There is one until media flows, and then it is enough.
            let deadline = self.rtmp.deadline().unwrap_or(self.taken + WRITE_TIMEOUT);
            match tokio::time::timeout_at(deadline.into(), self.turn()).await {
                Ok(turned) => turned?,
                Err(_) => self.rtmp.handle_timeout(Instant::now())?,
            }
        }
    }

    /// The next event that needs no waiting.
    fn poll(&mut self) -> Result<Option<Event>, Error> {
        if let Some(event) = self.rtmp.poll_event() {
            return Ok(Some(event));
        }
        self.rtmp.handle_input(Instant::now(), &mut self.input)?;
        Ok(self.rtmp.poll_event())
    }

    /// Sends or receives something, or waits until it can. May be dropped while it waits.
    async fn turn(&mut self) -> Result<(), Error> {
        if self.output.is_empty() {
            self.output = self.rtmp.take_output();
            self.taken = Instant::now();
            if !self.output.is_empty() && !self.input.is_empty() {
                // Input may have been left alone only because of unsent output.
                return Ok(());
            }
        }
        if self.output.is_empty() && self.flushed {
            return std::future::poll_fn(|cx| self.poll_turn(cx)).await;
        }
        let patience = self.taken + WRITE_TIMEOUT;
        let turn = std::future::poll_fn(|cx| self.poll_turn(cx));
        tokio::time::timeout_at(patience.into(), turn).await.unwrap_or(Err(Error::NotReading))
    }

    fn poll_turn(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Error>> {
        let mut moved = self.poll_send(cx)?;
        if self.input.is_empty() {
            // An empty rest would still keep its whole block.
            self.input = BytesMut::new();
        }
        match poll_block(Pin::new(&mut self.transport), cx, &mut self.input) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(Error::Closed)),
            Poll::Ready(Ok(n)) => {
                self.received += n as u64;
                moved = true;
            }
            Poll::Ready(Err(e)) => return Poll::Ready(Err(broken(e))),
            Poll::Pending => {}
        }
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Sends what the connection takes; whether it took something.
    fn poll_send(&mut self, cx: &mut std::task::Context<'_>) -> Result<bool, Error> {
        let mut moved = false;
        while !self.output.is_empty() {
            match Pin::new(&mut self.transport).poll_write(cx, &self.output) {
                Poll::Ready(Ok(n)) => {
                    self.output.advance(n);
                    self.sent += n as u64;
                    self.taken = Instant::now();
                    self.flushed = false;
                    moved = true;
                }
                Poll::Ready(Err(e)) => return Err(broken(e)),
                Poll::Pending => return Ok(moved),
            }
        }
        if !self.flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.transport).poll_flush(cx)
        {
            flushed.map_err(broken)?;
            self.flushed = true;
        }
        Ok(moved)
    }

    fn rejected(&self, status: Status, redirect: Option<String>) -> Error {
        match redirect.map(|url| self.target.redirected(&url)) {
            Some(Ok(there)) => Error::Redirected(Box::new(there)),
            Some(Err(e)) => Error::Protocol(e),
            None => Error::Refused(status),
        }
    }
}

/// A connection reset is how some servers close.
fn broken(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Closed,
        _ => Error::Broken(error),
    }
}
