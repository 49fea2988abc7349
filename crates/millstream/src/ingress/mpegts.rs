//! `mpegts_over_udp`: transport streams in datagrams.
//!
//! One task has the socket and all its senders, who are told apart by their addresses. A sender's datagrams are put in
//! order, taken apart into frames, these put in order and given to a push of its own, which begins with the first frame that decoding can
//! start at. A push that fails is begun again, at such a frame, after a pause that grows; two senders whose `output`
//! is the same name follow each other that way: the second goes on air when the first has fallen silent.
//!
//! There is no end in such a stream. Who has been silent for [`SILENCE`] is forgotten and its publish ends; the next
//! datagram begins another one.
//!
//! Bounded: senders by [`MAX_SENDERS`], what waits in one by `ts::datagram`, `ts::demux` and [`crate::relay::push`].
//! A newcomer to a full house takes the place of somebody who has nothing on air, so that noise from made-up addresses
//! keeps nobody out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_media::frame::{Frame, FrameKind};
use mill_media::interleave::Interleave;
use mill_media::ts::datagram::{Counts, Datagrams};
use mill_media::ts::demux::{Demuxer, Event, Trouble};
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use super::figures::Here;
use super::{Entrance, output};
use crate::log::{self, Throttle};
use crate::relay::client::Options;
use crate::relay::push::Push;
use crate::relay::target::Target;
use crate::session::Context;

/// Senders at one address. Each may hold some megabytes.
const MAX_SENDERS: usize = 64;

/// A sender that is silent for so long is gone. Even a stream without pictures has its tables several times a second.
const SILENCE: Duration = Duration::from_secs(3);

/// Between two looks at who is silent.
const LOOK: Duration = Duration::from_millis(100);

/// How long a datagram may wait for those before it, when no others come.
const LATE: Duration = Duration::from_millis(200);

/// Sound begins without the pictures that the tables promise after so long.
const PICTURES: Duration = Duration::from_secs(5);

/// Pauses between two attempts to publish: the first, doubled up to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// What a stranger could cause by the thousand is logged this often.
const REPORT: Duration = Duration::from_secs(10);

/// The longest datagram there is, in bytes.
const DATAGRAM: usize = 65_536;

/// Takes datagrams for as long as it is run.
pub(super) async fn receive(ctx: Arc<Context>, entrance: Entrance, socket: Arc<UdpSocket>) {
    let mut senders = Senders { ctx, entrance, known: HashMap::new(), report: Throttle::new(REPORT) };
    let mut buffer = vec![0; DATAGRAM];
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((len, peer)) => senders.take(peer, &buffer[..len]),
                // Of an earlier datagram of ours, of which there are none, or a want of memory.
                Err(e) => debug!("{}: {e}", entrance.address),
            },
            _ = look.tick() => senders.look(),
        }
    }
}

/// Everybody who sends to one socket.
struct Senders {
    ctx: Arc<Context>,
    entrance: Entrance,
    known: HashMap<SocketAddr, Sender>,
    report: Throttle,
}

impl Senders {
    fn take(&mut self, peer: SocketAddr, datagram: &[u8]) {
        let now = Instant::now();
        if !self.known.contains_key(&peer) {
            let Some(sender) = self.admit(peer, now) else {
                return self.ctx.ingress.datagrams("refused", 1);
            };
            self.known.insert(peer, sender);
        }
        self.ctx.ingress.datagrams("taken", 1);
        if let Some(sender) = self.known.get_mut(&peer) {
            log::under(sender.id, || sender.take(datagram, now));
        }
    }

    /// Somebody new, if there is room and a place to publish to.
    fn admit(&mut self, peer: SocketAddr, now: Instant) -> Option<Sender> {
        if self.known.len() >= MAX_SENDERS {
            let idle = self.known.iter().filter(|(_, sender)| sender.push.is_none());
            let Some(idle) = idle.min_by_key(|(_, sender)| sender.last).map(|(peer, _)| *peer) else {
                if self.report.allows() {
                    warn!("{peer} is refused: {MAX_SENDERS} senders are on air here");
                }
                return None;
            };
            self.known.remove(&idle);
        }
        let caster = self.entrance.settings(&self.ctx)?;
        let (ip, port) = (peer.ip().to_canonical().to_string(), peer.port().to_string());
        match output::target(&caster.output, &[("ip", &ip), ("port", &port)], "") {
            Ok(target) => Some(Sender::new(self.ctx.clone(), peer, target, now)),
            Err(e) => {
                if self.report.allows() {
                    warn!("{peer} is refused: {e}");
                }
                None
            }
        }
    }

    fn look(&mut self) {
        let now = Instant::now();
        self.known.retain(|_, sender| {
            let mut goes_on = true;
            log::under(sender.id, || goes_on = sender.goes_on(now));
            goes_on
        });
    }
}

/// One address that sends.
struct Sender {
    ctx: Arc<Context>,
    /// What its log lines carry.
    id: u64,
    peer: SocketAddr,
    target: Target,
    datagrams: Datagrams,
    counted: Counts,
    demuxer: Demuxer,
    frames: Interleave,
    last: Instant,
    /// Since when there are frames and none of them was one to start at.
    begun: Option<Instant>,
    /// Decoder configurations, for a publish that begins later; one of each kind.
    headers: Vec<Frame>,
    push: Option<Push>,
    /// The log knows of it: not before it has something to publish, for anybody can send a datagram in any name.
    told: bool,
    /// When to try again, and how long to wait the next time.
    retry: (Instant, Duration),
    _here: Here,
}

impl Sender {
    fn new(ctx: Arc<Context>, peer: SocketAddr, target: Target, now: Instant) -> Self {
        Self {
            id: ctx.tasks.next_id(),
            peer,
            target,
            datagrams: Datagrams::new(),
            counted: Counts::default(),
            demuxer: Demuxer::new(),
            frames: Interleave::new(),
            last: now,
            begun: None,
            headers: Vec::new(),
            push: None,
            told: false,
            retry: (now, BACKOFF.0),
            _here: ctx.ingress.sender("mpegts_over_udp"),
            ctx,
        }
    }

    fn take(&mut self, datagram: &[u8], now: Instant) {
        self.last = now;
        let Self { datagrams, demuxer, .. } = self;
        datagrams.take(datagram, |bytes| demuxer.feed(bytes));
        self.pass_on(now, false);
    }

    /// What has to be done without a datagram; `false` once the sender is gone.
    fn goes_on(&mut self, now: Instant) -> bool {
        let silence = now.duration_since(self.last);
        let gone = silence >= SILENCE;
        if gone || silence >= LATE && self.datagrams.is_waiting() {
            let Self { datagrams, demuxer, .. } = self;
            datagrams.flush(|bytes| demuxer.feed(bytes));
            if gone {
                demuxer.finish();
            }
            self.pass_on(now, gone);
        }
        if gone && self.told {
            info!("MPEG-TS client ip={} is silent and gone", self.peer);
        }
        !gone
    }

    /// Everything that has come out of the stream.
    fn pass_on(&mut self, now: Instant, gone: bool) {
        while let Some(event) = self.demuxer.next() {
            match event {
                Event::Frame(frame) => {
                    self.frames.expect(self.demuxer.has_video(), self.demuxer.has_audio());
                    self.frames.put(frame);
                }
                Event::Trouble(trouble) => {
                    debug!("{trouble}");
                    self.ctx.ingress.trouble(reason(trouble));
                }
            }
        }
        if gone {
            self.frames.finish();
        }
        while let Some(frame) = self.frames.next() {
            self.put(frame, now);
        }
        let (counts, before) = (self.datagrams.counts(), self.counted);
        self.counted = counts;
        self.ctx.ingress.datagrams("reordered", counts.reordered - before.reordered);
        self.ctx.ingress.datagrams("late", counts.late - before.late);
        self.ctx.ingress.datagrams("strange", counts.strange - before.strange);
    }

    fn put(&mut self, frame: Frame, now: Instant) {
        if frame.kind.is_header() {
            self.headers.retain(|header| header.kind != frame.kind);
            self.headers.push(frame.clone());
        }
        if let Some(push) = &self.push {
            if push.is_accepted() {
                self.retry.1 = BACKOFF.0;
            }
            if push.put(frame.kind, frame.dts as u32, frame.payload.clone()).is_ok() {
                return;
            }
            // It has said why.
            self.push = None;
            self.retry = (now + self.retry.1, (self.retry.1 * 2).min(BACKOFF.1));
        }
        let begun = *self.begun.get_or_insert(now);
        let alone = !self.demuxer.has_video() || now.duration_since(begun) >= PICTURES;
        let starts = frame.kind == FrameKind::Keyframe || frame.kind == FrameKind::Audio && alone;
        if starts && now >= self.retry.0 {
            self.begin(&frame);
        }
    }

    fn begin(&mut self, first: &Frame) {
        if !std::mem::replace(&mut self.told, true) {
            info!("MPEG-TS client ip={}, for {}", self.peer, self.target);
        }
        let Context { tasks, dialer, .. } = &*self.ctx;
        let push = Push::start(tasks, dialer, self.target.clone(), Options::default());
        for frame in self.headers.iter().chain([first]) {
            // One that has ended at once says so at the next frame.
            let _ = push.put(frame.kind, first.dts as u32, frame.payload.clone());
        }
        self.push = Some(push);
    }
}

fn reason(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::LostSync(_) => "sync",
        Trouble::Gap(_) => "gap",
        Trouble::Damaged(_) => "damaged",
        Trouble::TooLong(_) => "too_long",
        Trouble::Unsupported(_) => "unsupported",
        Trouble::Scrambled(_) => "scrambled",
    }
}
