//! `rtsp`: cameras and encoders that push with ANNOUNCE, SETUP and RECORD.
//!
//! One task has a connection and everything that belongs to it: the session (`mill_rtp::rtsp`), the ports of its
//! tracks, the receiver that makes frames, and the publish to `output`. `ANNOUNCE rtsp://host/live/cam.sdp?token=x`
//! publishes to `output` with `live` for `[app]` and `cam` for `[stream]`, and the query as parameters of the stream. RECORD
//! is answered when that publish has been accepted, so a peer hears "OK" only for a stream that is on air.
//!
//! **Ends.** The peer tears down, hangs up, or gives no sign of life for [`Session::TIMEOUT`]; or the publish ends, as
//! it does when frames stay away longer than the vhost allows. Whichever comes first takes all else with it: what is
//! here belongs to this task. PAUSE, and goodbye on all tracks, end the publish alone: the peer may record again, or
//! has to go within [`SETUP_TIME`](mill_rtp::rtsp::session::SETUP_TIME).
//!
//! **A server that takes the stream slowly** holds the peer up: with [`MAX_UNSENT`] bytes in line nothing is read.
//! Over TCP the peer then waits, over UDP the kernel drops datagrams, which counts as loss.
//!
//! Bounded: requests, packets and frames by `mill_rtp`, datagrams by the kernel's buffers, answers by [`MAX_ANSWERS`],
//! the publish by [`MAX_UNSENT`] and [`crate::relay::client`].

mod ports;

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mill_config::model::StreamCaster;
use mill_rtp::auth::{Challenge, Credentials};
use mill_rtp::receiver::{self, Receiver, Wanted};
use mill_rtp::reorder::Counts;
use mill_rtp::rtsp::message::{self, Status};
use mill_rtp::rtsp::session::{End, Event, Options, Path, Session};
use mill_rtp::sdp::{Description, Media};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use self::ports::{Datagram, Pair};
use super::{Entrance, output};
use crate::identity;
use crate::log::Redacted;
use crate::relay::client::{self, Outgoing};
use crate::relay::target::Target;
use crate::session::Context;

/// How long a datagram that is missing is waited for: longer than networks reorder, shorter than anybody notices.
const REORDER_WAIT: Duration = Duration::from_millis(150);

/// Bytes for the server that is published to; while there are more, nothing is read.
const MAX_UNSENT: usize = 1 << 20;

/// Bytes of answers and reports a peer may leave unread.
const MAX_ANSWERS: usize = 256 << 10;

/// Room for one read, in bytes.
const READ: usize = 16 << 10;

/// The longest datagram there is, in bytes.
const DATAGRAM: usize = 65_536;

/// Between two updates of the metrics.
const COUNT: Duration = Duration::from_secs(1);

/// How long the last answer may take, and the peer to hear it.
const LEAVE: Duration = Duration::from_secs(2);

/// Who asks for a password says for what.
const REALM: &str = "Millstream";

/// Why a connection is over, other than by the peer's own will.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Rtsp(#[from] message::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the server it is published to: {0}")]
    Publish(#[from] client::Error),
    #[error("the peer reads no answers")]
    NotReading,
}

/// How a connection came to its end.
enum Over {
    Said(End),
    HungUp,
}

/// Serves one connection to its end.
pub(super) async fn serve(ctx: Arc<Context>, entrance: Entrance, socket: TcpStream, peer: SocketAddr) {
    let Some(caster) = entrance.settings(&ctx) else { return };
    info!("RTSP client ip={}", peer.ip().to_canonical());
    let _here = ctx.ingress.sender("rtsp");
    let began = Instant::now();
    let mut connection = Connection::new(ctx, caster, socket, peer);
    let over = connection.run().await;
    let name = connection.finish(&over).await;
    let seconds = began.elapsed().as_secs();
    match over {
        Ok(Over::HungUp) if connection.session.attempts() > 0 => warn!("RTSP {name}: {}", End::Unauthorized),
        Ok(Over::Said(End::Teardown)) => info!("RTSP {name}: torn down after {seconds} s"),
        Ok(Over::Said(end)) => warn!("RTSP {name}: {end}, after {seconds} s"),
        Ok(Over::HungUp) => info!("RTSP {name}: the peer has gone after {seconds} s"),
        Err(e) => warn!("RTSP {name}: {e}, after {seconds} s"),
    }
}

/// One peer.
struct Connection {
    ctx: Arc<Context>,
    caster: StreamCaster,
    socket: TcpStream,
    peer: SocketAddr,
    session: Session,
    input: BytesMut,
    /// Answers under way.
    output: BytesMut,
    stream: Option<Stream>,
    /// The ports of each track that comes in datagrams.
    ports: Vec<Option<Pair>>,
    publish: Option<Publish>,
    /// Numbers of ours that nobody else has.
    numbers: [u32; 8],
}

/// What was announced.
struct Stream {
    target: Target,
    media: Vec<Media>,
    /// Places of the tracks that are carried.
    chosen: Vec<usize>,
}

/// A stream on air.
struct Publish {
    ctx: Arc<Context>,
    receiver: Receiver,
    outgoing: Outgoing,
    counted: (Counts, u64),
    counted_at: Instant,
}

/// What the task was woken by.
enum Woken {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Datagram(usize, Datagram),
    Published(Result<(), client::Error>),
    Time,
}

impl Connection {
    fn new(ctx: Arc<Context>, caster: StreamCaster, socket: TcpStream, peer: SocketAddr) -> Self {
        let numbers = random();
        let id = format!("{:08x}{:08x}", numbers[0], numbers[1]);
        let auth = &caster.auth;
        let challenge = auth.enabled.then(|| {
            let credentials =
                Credentials { username: auth.username.clone(), password: auth.password.reveal().to_owned() };
            Challenge::new(
                credentials,
                REALM,
                numbers[2..6].iter().map(|n| format!("{n:08x}")).collect::<String>(),
            )
        });
        let udp = caster.rtp_port_max > caster.rtp_port_min;
        let options = Options { id, server: identity::SERVER.to_owned(), challenge, udp };
        Self {
            ctx,
            caster,
            socket,
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            session: Session::new(options, Instant::now()),
            input: BytesMut::new(),
            output: BytesMut::new(),
            stream: None,
            ports: Vec::new(),
            publish: None,
            numbers,
        }
    }

    async fn run(&mut self) -> Result<Over, Error> {
        let mut datagram = Vec::new();
        loop {
            let handled = self.handle_input().await;
            self.output.unsplit(self.session.take_output());
            if let Some(end) = handled? {
                return Ok(Over::Said(end));
            }
            if self.output.len() > MAX_ANSWERS {
                return Err(Error::NotReading);
            }
            self.pass_on().await;
            if datagram.is_empty() && self.ports.iter().any(Option::is_some) {
                datagram = vec![0; DATAGRAM];
            }
            match self.wait(&mut datagram).await {
                Woken::Read(read) => {
                    if read? == 0 {
                        return Ok(Over::HungUp);
                    }
                }
                Woken::Written(written) => {
                    written?;
                }
                Woken::Datagram(track, Datagram { control, len }) => {
                    let now = Instant::now();
                    self.session.touch(now);
                    if let Some(publish) = &mut self.publish {
                        publish.take(track, control, Bytes::copy_from_slice(&datagram[..len]), now);
                    }
                }
                Woken::Published(published) => published?,
                Woken::Time => self.session.handle_timeout(Instant::now()),
            }
        }
    }

    /// Waits for the next thing to do.
    async fn wait(&mut self, datagram: &mut [u8]) -> Woken {
        let Self { socket, input, output, ports, publish, session, .. } = self;
        let (mut read, mut write) = socket.split();
        let unsent = publish.as_ref().map_or(0, |publish| publish.outgoing.unsent());
        let receiver = publish.as_ref().map(|publish| publish.receiver.deadline());
        let deadline = receiver.into_iter().fold(session.deadline(), Instant::min);
        let reads = unsent < MAX_UNSENT;
        input.reserve(READ);
        tokio::select! {
            result = read.read_buf(input), if reads => Woken::Read(result),
            result = write.write_buf(output), if !output.is_empty() => Woken::Written(result),
            (track, came) = receive(ports, datagram), if reads => Woken::Datagram(track, came),
            result = drive(publish) => Woken::Published(result),
            () = sleep_until(deadline.into()) => Woken::Time,
        }
    }

    /// Takes what has come on the connection, as far as that goes.
    async fn handle_input(&mut self) -> Result<Option<End>, Error> {
        loop {
            let now = Instant::now();
            self.session.handle_input(now, &mut self.input)?;
            let Some(event) = self.session.poll_event() else { return Ok(None) };
            match event {
                Event::Announced { uri, description } => self.announced(&uri, description),
                Event::Setup { track, client } => self.setup(track, client),
                Event::Record => self.record().await,
                Event::Packet { track, control, payload } => {
                    if let Some(publish) = &mut self.publish {
                        publish.take(track, control, payload, now);
                    }
                }
                Event::Paused => self.unpublish().await,
                Event::Ended(end) => return Ok(Some(end)),
            }
        }
    }

    fn announced(&mut self, uri: &str, description: Description) {
        let named = name(uri).and_then(|Name { app, stream, query }| {
            output::target(&self.caster.output, &[("app", &app), ("stream", &stream)], query)
                .map_err(|e| e.to_string())
        });
        let target = match named {
            Ok(target) => target,
            Err(e) => {
                warn!("RTSP announce {}: {e}", Redacted(uri));
                return self.session.reject(Status::NotFound);
            }
        };
        let (chosen, refused) = receiver::choose(&description.media);
        if !refused.is_empty() {
            let refused = refused.iter().map(|(track, why)| format!("track {track} is left out: {why}"));
            warn!("RTSP announce {}: {}", Redacted(uri), refused.collect::<Vec<_>>().join("; "));
        }
        if chosen.is_empty() {
            return self.session.reject(Status::UnsupportedMediaType);
        }
        let formats: Vec<_> = chosen.iter().map(|&track| &description.media[track].encoding[..]).collect();
        info!("RTSP announce {} as {target}: {}", Redacted(uri), formats.join(", "));
        self.ports = description.media.iter().map(|_| None).collect();
        self.stream = Some(Stream { target, media: description.media, chosen });
        self.session.accept_announce();
    }

    fn setup(&mut self, track: usize, client: (u16, u16)) {
        let range = self.caster.rtp_port_min..self.caster.rtp_port_max;
        let reports = SocketAddr::new(self.peer.ip(), client.1);
        let ip = self.socket.local_addr().map(|local| local.ip().to_canonical());
        // Given back first: a peer may ask for the same track again.
        self.ports[track] = None;
        let pair = ip.ok().and_then(|ip| Pair::bind(ip, range.clone(), self.numbers[6], reports));
        match pair {
            Some(pair) => {
                self.session.accept_setup(pair.port);
                self.ports[track] = Some(pair);
            }
            None => {
                warn!(
                    "RTSP setup: no pair of ports is free in rtp_port_min {} to rtp_port_max {}",
                    range.start, range.end
                );
                self.session.reject(Status::NotEnoughBandwidth);
            }
        }
    }

    async fn record(&mut self) {
        let Some(stream) = &self.stream else { return self.session.reject(Status::NotValidInThisState) };
        let opened =
            Box::pin(Outgoing::open(&self.ctx.dialer, &stream.target, &client::Options::default())).await;
        let outgoing = match opened {
            Ok(outgoing) => outgoing,
            Err(e) => {
                warn!("RTSP publish to {}: {e}", stream.target);
                let refused = matches!(e, client::Error::Refused(_));
                return self.session.reject(if refused { Status::Forbidden } else { Status::Unavailable });
            }
        };
        let wanted = |track: usize| {
            let wait = match self.session.path(track)? {
                Path::Udp => REORDER_WAIT,
                Path::Interleaved(..) => Duration::ZERO,
            };
            stream.chosen.contains(&track).then_some(Wanted { media: &stream.media[track], wait })
        };
        let wanted: Vec<_> = (0..stream.media.len()).map(wanted).collect();
        let now = Instant::now();
        info!("RTSP publishes to {}", stream.target);
        self.publish = Some(Publish {
            ctx: self.ctx.clone(),
            receiver: Receiver::new(&wanted, self.numbers[7], REALM, now),
            outgoing,
            counted: Default::default(),
            counted_at: now,
        });
        self.session.accept_record(now);
    }

    /// Gives the publish what is complete, and the peer its reports.
    async fn pass_on(&mut self) {
        let Some(publish) = &mut self.publish else { return };
        let now = Instant::now();
        publish.pass_on(now);
        for (track, report) in publish.receiver.poll_reports(now) {
            match &self.ports[track] {
                Some(pair) => pair.report(&report),
                None => self.session.send_control(track, &report),
            }
        }
        self.output.unsplit(self.session.take_output());
        if publish.receiver.ended(now) {
            info!("RTSP: goodbye on all tracks");
            self.session.rest(now);
            self.unpublish().await;
        }
    }

    /// The stream is over; the connection may go on.
    async fn unpublish(&mut self) {
        if let Some(publish) = self.publish.take() {
            publish.end().await;
        }
    }

    /// The last answer, the end of the publish; gives what the stream was called.
    async fn finish(&mut self, over: &Result<Over, Error>) -> String {
        if matches!(over, Err(Error::Publish(_))) {
            self.publish = None;
        }
        self.unpublish().await;
        let leave = async {
            self.socket.write_all_buf(&mut self.output).await?;
            self.socket.shutdown().await?;
            // A socket that is closed with unread input takes the answer with it.
            let mut rest = [0; 4096];
            while self.socket.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(LEAVE, leave).await;
        let peer = self.peer;
        self.stream.as_ref().map_or_else(|| peer.to_string(), |stream| stream.target.to_string())
    }
}

impl Publish {
    fn take(&mut self, track: usize, control: bool, bytes: Bytes, now: Instant) {
        match control {
            true => self.receiver.handle_rtcp(track, &bytes, now),
            false => self.receiver.handle_rtp(track, bytes, now),
        }
        self.pass_on(now);
    }

    /// Puts what is complete in line.
    fn pass_on(&mut self, now: Instant) {
        while let Some(frame) = self.receiver.poll_frame(now) {
            // RTMP's 32 bits start over after 49 days.
            self.outgoing.put(frame.kind, frame.dts as u32, &frame.payload);
        }
        if now.saturating_duration_since(self.counted_at) >= COUNT {
            self.counted_at = now;
            self.count();
        }
    }

    /// Adds what happened since the last time to the metrics.
    fn count(&mut self) {
        let now = (self.receiver.counts(), self.receiver.skipped());
        let before = std::mem::replace(&mut self.counted, now);
        let figures = &self.ctx.ingress;
        figures.packets("taken", now.0.packets - before.0.packets);
        figures.packets("lost", now.0.lost - before.0.lost);
        figures.packets("reordered", now.0.reordered - before.0.reordered);
        figures.packets("late", now.0.late - before.0.late);
        figures.packets("stray", now.0.stray - before.0.stray);
        figures.pictures_left_out(now.1 - before.1);
    }

    /// Takes leave of the server that was published to.
    async fn end(mut self) {
        self.pass_on(Instant::now() + receiver::HOLD);
        let (counts, skipped) = (self.receiver.counts(), self.receiver.skipped());
        let Counts { packets, lost, reordered, late, stray } = counts;
        info!(
            "RTSP received {packets} packets, {reordered} of them out of order; {lost} lost, {late} late, \
             {stray} stray, {skipped} pictures left out"
        );
        self.count();
        self.outgoing.close().await;
    }
}

/// What a URL says about a stream.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    app: String,
    stream: String,
    /// As it stands there.
    query: &'a str,
}

/// The name in a URL: `rtsp://host/live/cam.sdp` is `live` and `cam`.
fn name(uri: &str) -> Result<Name<'_>, String> {
    let path = uri.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
    let path = path.unwrap_or_default().split('#').next().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path =
        percent_decode_str(path.trim_matches('/')).decode_utf8().map_err(|_| "not UTF-8".to_owned())?;
    let path = path.strip_suffix(".sdp").unwrap_or(&path);
    match path.rsplit_once('/') {
        Some((app, stream)) if !app.is_empty() && !stream.is_empty() => {
            Ok(Name { app: app.to_owned(), stream: stream.to_owned(), query })
        }
        _ => Err("the URL is to be rtsp://host/app/stream".to_owned()),
    }
}

/// The next datagram of any track.
async fn receive(ports: &[Option<Pair>], buffer: &mut [u8]) -> (usize, Datagram) {
    poll_fn(|cx| {
        for (track, pair) in ports.iter().enumerate() {
            if let Some(pair) = pair
                && let Poll::Ready(datagram) = pair.poll_receive(cx, buffer)
            {
                return Poll::Ready((track, datagram));
            }
        }
        Poll::Pending
    })
    .await
}

/// Sends what is in line, or waits for the server to end the publish. May be dropped while it waits.
async fn drive(publish: &mut Option<Publish>) -> Result<(), client::Error> {
    match publish {
        Some(publish) if publish.outgoing.unsent() > 0 => publish.outgoing.flush().await,
        Some(publish) => Err(publish.outgoing.ended().await),
        None => pending().await,
    }
}

/// Numbers nobody can guess.
fn random() -> [u32; 8] {
    let mut bytes = [0; 32];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut bytes).expect("the system has random numbers");
    std::array::from_fn(|at| u32::from_ne_bytes(std::array::from_fn(|byte| bytes[4 * at + byte])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_app_and_stream() {
        let of = |uri| name(uri).ok();
        let named = |app: &str, stream: &str, query| {
            Some(Name { app: app.to_owned(), stream: stream.to_owned(), query })
        };
        assert_eq!(of("rtsp://h:554/live/cam.sdp"), named("live", "cam", ""));
        assert_eq!(of("rtsp://u:p@h/live/cam?token=x/y&u=%20"), named("live", "cam", "token=x/y&u=%20"));
        assert_eq!(of("RTSP://[::1]:554/live/room/cam/?x#y"), named("live/room", "cam", "x"));
        assert_eq!(of("rtsp://h/live/k%C3%BCche"), named("live", "küche", ""));
        for wrong in ["rtsp://h/cam", "rtsp://h", "*", "/live/cam", "rtsp://h/live/.sdp", "rtsp://h/live/%ff"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
