//! An RTMP connection: one task that drives the protocol's state machine over a socket.
//!
//! The task owns the connection. It brings the peer to a request, and hands it to [`publish`] or [`play`];
//! when those come back the peer may ask again. The peer's end, an error and a server that stops are all
//! the same: the task's values are dropped, which unpublishes and leaves. Bounded by the protocol's limits
//! ([`mill_rtmp::chunk::Limits`]), its time limits, and reads of at most [`MAX_READ`] bytes.

pub(crate) mod bandcheck;
mod collect;
mod play;
mod publish;
pub(crate) mod socket;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use mill_config::model::Vhost;
use mill_hub::StreamId;
use mill_media::amf0::Object;
use mill_rtmp::command::{Connect, code};
use mill_rtmp::session::server::{ConnectReply, Event, Options, Session};
use mill_rtmp::url;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tracing::{info, warn};

use super::Context;
use super::admit::{Refusal, Request};
use crate::clients::{Kind, Peer};
use crate::hook::Goodbye;
use crate::identity;
use crate::log::Redacted;
use crate::relay::via::Via;
pub(crate) use collect::Publishers;
use socket::{MAX_READ, Socket};

/// A peer that takes nothing of an answer for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the peer has gone: {0}")]
    Gone(io::Error),
    #[error("{0}")]
    Protocol(#[from] mill_rtmp::Error),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    NoTest(#[from] bandcheck::Refused),
    #[error("no message for {0:?}")]
    Silent(Duration),
    #[error("nobody has watched for {0:?}")]
    Idle(Duration),
    #[error("no origin has taken the stream for too long")]
    OriginLost,
    #[error("the peer does not read")]
    NotReading,
    #[error("no origin has the stream")]
    Lost,
    #[error("redirected")]
    Redirected,
    #[error("the duration asked for in play has passed")]
    DurationOver,
}

impl End {
    /// SRS's number for it.
    fn code(&self) -> u32 {
        match self {
            Self::Gone(_) => 1007,
            Self::Protocol(e) => e.code(),
            Self::Refused(refusal) => refusal.code(),
            Self::NoTest(refused) => refused.code(),
            Self::Silent(_) => 1011,
            Self::NotReading => 1009,
            Self::Lost => 2048,
            Self::Redirected => 2997,
            Self::DurationOver => 2019,
            Self::Idle(_) => 2056,
            Self::OriginLost => 1018,
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(ctx: Arc<Context>, cid: u64, socket: TcpStream, peer: SocketAddr) {
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    info!("RTMP client ip={}, fd={fd}", peer.ip());
    let begun = Instant::now();
    let mut connection = Connection::new(ctx.clone(), cid, socket, peer);
    let end = connection.run().await;
    ctx.metrics.ended(end.as_ref().err().map_or(0, End::code));
    let received = connection.peer.traffic.received();
    let seconds = begun.elapsed().as_secs_f64();
    match end {
        Ok(()) => info!("client finished. time={seconds:.1}s, received={received}"),
        Err(end @ End::Gone(_)) => {
            warn!(
                "client disconnect peer. ret={} : {end}, time={seconds:.1}s, received={received}",
                end.code()
            );
        }
        Err(end) => {
            warn!("serve error code={} : {end}, time={seconds:.1}s, received={received}", end.code());
        }
    }
}

/// One connection and where it stands.
struct Connection {
    ctx: Arc<Context>,
    /// Its URLs are known from connect on.
    peer: Peer,
    /// The servers its stream has come through, likewise.
    via: Via,
    args: Option<Arc<Object>>,
    socket: Socket,
    rtmp: Session,
    input: BytesMut,
    /// The last read took all there was.
    drained: bool,
    /// Fires at or before the time somebody waits for; armed anew only when it has to be earlier or has
    /// fired, because that costs more than a spurious tick.
    alarm: Pin<Box<Sleep>>,
    /// Told when the connection closes; there from connect on, if its vhost has callbacks.
    goodbye: Option<Box<Goodbye>>,
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    Input,
    Tick,
}

impl Connection {
    fn new(ctx: Arc<Context>, cid: u64, socket: TcpStream, peer: SocketAddr) -> Self {
        let nothing: Arc<str> = Arc::default();
        let rtmp = Session::new(Options::default(), ctx.seed ^ cid.rotate_left(32), Instant::now());
        Self {
            ctx,
            peer: Peer {
                id: cid,
                ip: peer.ip(),
                tc_url: nothing.clone(),
                page_url: nothing.clone(),
                swf_url: nothing,
                traffic: Arc::default(),
            },
            via: Via::default(),
            args: None,
            socket: Socket::new(socket),
            rtmp,
            input: BytesMut::new(),
            drained: false,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
            goodbye: None,
        }
    }

    async fn run(&mut self) -> Result<(), End> {
        loop {
            while let Some(event) = self.poll()? {
                match event {
                    Event::Connect(connect) => match self.accept_connect(connect) {
                        Some(Ok(vhost)) => return Box::pin(bandcheck::run(self, &vhost.bandcheck)).await,
                        Some(Err(refused)) => return Err(self.close(refused.into()).await),
                        None => {}
                    },
                    Event::Publish { publish, style } => Box::pin(publish::run(self, publish, style)).await?,
                    Event::Play(play) => Box::pin(play::run(self, play)).await?,
                    Event::Closed => return self.flush().await,
                    // What was on its way when publish or play ended.
                    Event::Media(_)
                    | Event::Unpublish
                    | Event::StopPlay
                    | Event::Pause(_)
                    | Event::Test(_) => {}
                }
            }
            let deadline = self.rtmp.deadline();
            if self.wait(deadline, None).await? == Waited::Tick {
                self.rtmp.handle_timeout(Instant::now())?;
            }
        }
    }

    /// The next event that needs no waiting.
    fn poll(&mut self) -> Result<Option<Event>, End> {
        if let Some(event) = self.rtmp.poll_event() {
            return Ok(Some(event));
        }
        self.rtmp.handle_input(Instant::now(), &mut self.input)?;
        Ok(self.rtmp.poll_event())
    }

    /// Sends what is to be sent and waits for input, or for `until`. Input that comes before `rest` has
    /// passed is not looked at until then.
    async fn wait(&mut self, until: Option<Instant>, rest: Option<Instant>) -> Result<Waited, End> {
        if self.flush_some().await? && !self.input.is_empty() {
            // Input may have been left alone only because of unsent output.
            return Ok(Waited::Input);
        }
        if self.input.is_empty() {
            // An empty rest still keeps the whole block.
            self.input = BytesMut::new();
        }
        if let Some(rest) = rest
            && self.socket.park().map_err(End::Gone)?
        {
            self.alarm.as_mut().reset(rest.into());
            self.alarm.as_mut().await;
            return match self.socket.read_parked(&mut self.input) {
                Ok(n) => self.took(n).map(|()| Waited::Input),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    Ok(Waited::Tick)
                }
                Err(e) => Err(End::Gone(e)),
            };
        }
        if let Some(until) = until {
            let until = until.into();
            if self.alarm.is_elapsed() || self.alarm.deadline() > until {
                self.alarm.as_mut().reset(until);
            }
        }
        tokio::select! {
            read = self.socket.read(&mut self.input) => {
                self.took(read.map_err(End::Gone)?)?;
                Ok(Waited::Input)
            }
            () = &mut self.alarm, if until.is_some() => Ok(Waited::Tick),
        }
    }

    /// Accounts for a read of `n` bytes.
    fn took(&mut self, n: usize) -> Result<(), End> {
        if n == 0 {
            return Err(End::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        self.peer.traffic.add_received(n);
        self.drained = n < MAX_READ;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.flush_some().await.map(|_| ())
    }

    /// Sends all output; whether there was any.
    async fn flush_some(&mut self) -> Result<bool, End> {
        let mut output = self.rtmp.take_output();
        let any = !output.is_empty();
        while !output.is_empty() {
            match self.socket.try_write(&output) {
                Ok(n) => {
                    self.peer.traffic.add_sent(n);
                    output.advance(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let writable = tokio::time::timeout(WRITE_TIMEOUT, self.socket.writable()).await;
                    writable.map_err(|_| End::NotReading)?.map_err(End::Gone)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(End::Gone(e)),
            }
        }
        Ok(any)
    }

    /// Answers connect; `Some` if the vhost is there for bandwidth tests: whether the peer may have one.
    fn accept_connect(&mut self, connect: Box<Connect>) -> Option<Result<Arc<Vhost>, bandcheck::Refused>> {
        let config = self.ctx.config.load();
        let target = url::resolve(&connect.tc_url, "");
        if let Ok(t) = &target {
            info!(
                "connect app, tcUrl={}, pageUrl={}, swfUrl={}, schema={}, vhost={}, port={}, app={}, args={}",
                Redacted(&connect.tc_url),
                Redacted(&connect.page_url),
                Redacted(&connect.swf_url),
                t.schema,
                t.vhost,
                t.port,
                t.app,
                if connect.args.is_some() { "(obj)" } else { "null" },
            );
        }
        // Whether the vhost exists is decided at publish or play, as clients of SRS expect.
        let vhost = target.as_ref().ok().and_then(|t| config.vhost(&t.vhost).cloned());
        let chunk_size = vhost.as_ref().map_or(config.global.chunk_size, |v| v.chunk_size);
        let server_ip = self.socket.local_addr().map(|a| a.ip().to_string()).unwrap_or_default();
        let reply = ConnectReply {
            window_ack_size: vhost.as_ref().map_or(2_500_000, |v| v.out_ack_size),
            in_ack_size: vhost.as_ref().map_or(0, |v| v.in_ack_size),
            chunk_size,
            server: identity::SERVER,
            version: identity::SRS_VERSION,
            server_ip: &server_ip,
            pid: std::process::id(),
            connection_id: &self.peer.id.to_string(),
            ..ConnectReply::default()
        };
        let test = vhost.clone().filter(|vhost| vhost.enabled && vhost.bandcheck.enabled);
        let test =
            test.map(|vhost| self.ctx.bandcheck.admit(&vhost.bandcheck, &connect.tc_url).map(|()| vhost));
        match test {
            None => self.rtmp.accept_connect(Instant::now(), &reply),
            Some(Ok(_)) => self.rtmp.accept_test(&reply),
            Some(Err(_)) => self.rtmp.reject_test(&reply),
        }
        self.via = Via::of(connect.args.as_ref());
        // Only an origin that is asked needs it.
        let traverses = |vhost: &Arc<Vhost>| vhost.cluster.is_edge() && vhost.cluster.token_traverse;
        self.args = connect.args.filter(|_| vhost.as_ref().is_some_and(traverses)).map(Arc::new);
        self.peer.tc_url = connect.tc_url.into();
        self.peer.page_url = connect.page_url.into();
        self.peer.swf_url = connect.swf_url.into();
        if let (Some(vhost), Ok(t)) = (vhost, target) {
            self.is_about(vhost, t.app, String::new());
        }
        test
    }

    /// Which stream the peer means.
    fn request(&self, stream_name: &str, kind: Kind) -> Result<Request, End> {
        let t = url::resolve(&self.peer.tc_url, stream_name)?;
        info!(
            "client identified, type={}, vhost={}, app={}, stream={}, param={}",
            kind.name(),
            t.vhost,
            t.app,
            t.stream,
            Redacted(&t.param)
        );
        let via = self.via.clone();
        Ok(Request {
            kind,
            vhost: t.vhost,
            app: t.app,
            name: t.stream,
            param: t.param,
            via,
            args: self.args.clone(),
        })
    }

    /// Notes what to say of the connection when it closes.
    fn is_about(&mut self, vhost: Arc<Vhost>, app: String, name: String) {
        let stream = StreamId { vhost: vhost.name.clone(), app, name };
        match &mut self.goodbye {
            // Not by a new value: the old one would be told.
            Some(goodbye) => (goodbye.vhost, goodbye.stream) = (vhost, stream),
            None if !vhost.http_hooks.enabled => {}
            None => {
                let (hooks, peer) = (self.ctx.hooks.clone(), self.peer.clone());
                self.goodbye = Some(Box::new(Goodbye { hooks, peer, vhost, stream }));
            }
        }
    }

    /// Takes a request through admission, in time for a peer that leaves meanwhile: what it sends stays in
    /// its socket, but that it hangs up is seen.
    async fn admit<T>(
        &mut self,
        asked: Request,
        admission: impl AsyncFnOnce(&Context, &Peer, Request) -> Result<T, Refusal>,
    ) -> Result<Result<T, Refusal>, End> {
        let before = self.goodbye.as_ref().map(|left| (left.vhost.clone(), left.stream.clone()));
        if let Some(vhost) = self.ctx.config.load().vhost(&asked.vhost).cloned() {
            self.is_about(vhost, asked.app.clone(), asked.name.clone());
        }
        let (ctx, peer) = (&*self.ctx, &self.peer);
        // In a box: a call is large, and this is part of the task for as long as it plays.
        let walk = Box::pin(async {
            if let Some((vhost, stream)) = before {
                ctx.hooks.settle(&vhost, &stream).await;
            }
            admission(ctx, peer, asked).await
        });
        tokio::select! {
            admitted = walk => Ok(admitted),
            _ = self.socket.gone() => Err(End::Gone(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Tells a publisher why not, in words its software understands, before the connection closes.
    async fn refuse_publish(&mut self, refusal: Refusal) -> End {
        let busy = matches!(refusal, Refusal::Busy | Refusal::Circle | Refusal::BusyOrigin);
        let code = if busy { code::PUBLISH_BAD_NAME } else { code::PUBLISH_DENIED };
        self.rtmp.reject_publish(code, &refusal.to_string());
        self.close(refusal.into()).await
    }

    /// The same for a player.
    async fn refuse_play(&mut self, refusal: Refusal) -> End {
        let code = if matches!(refusal, Refusal::NoName | Refusal::Nowhere) {
            code::PLAY_STREAM_NOT_FOUND
        } else {
            code::PLAY_FAILED
        };
        self.rtmp.reject_play(code, &refusal.to_string());
        self.close(refusal.into()).await
    }

    /// Sends what is left to say, if the peer still listens, and gives the reason for the end.
    async fn close(&mut self, end: End) -> End {
        let _ = self.flush().await;
        linger(self).await;
        end
    }
}

/// Lets the peer read the last words: closing a socket with unread input resets it and takes them away.
async fn linger(connection: &mut Connection) {
    const PATIENCE: Duration = Duration::from_millis(500);
    let _ = connection.socket.shutdown();
    let drain = async {
        while matches!(connection.socket.read(&mut connection.input).await, Ok(n) if n > 0) {
            connection.input.clear();
        }
    };
    let _ = tokio::time::timeout(PATIENCE, drain).await;
}
