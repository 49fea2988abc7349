//! One connection that pushes a stream.
//!
//! ```text
//! OPTIONS ─► ANNOUNCE? ─► SETUP, once for each track ─► RECORD? ─► recording ─► TEARDOWN
//!               │            │ over UDP: Setup?            ▲          │
//!               401, 415     461, 453                      └─ PAUSE ──┘
//! ```
//!
//! `?` marks a question to the driver ([`Event::Announced`], [`Event::Setup`], [`Event::Record`]): input rests until it was answered, and
//! the peer hears "OK" only after that. Everything else is answered here.
//!
//! **Who it is** is asked at ANNOUNCE, if credentials are wanted; what follows on the same connection belongs to the
//! same session and needs no other answer.
//!
//! **Time.** A peer has [`SETUP_TIME`] until it records, then [`Session::TIMEOUT`] between two signs of life:
//! requests, interleaved packets, or datagrams the driver tells of ([`Session::touch`]). When it pauses, or its stream
//! has ended otherwise ([`Session::rest`]), it has [`SETUP_TIME`] again.
//!
//! Bounded: input by [`super::message`], tracks by [`crate::sdp::MAX_MEDIA`], waiting events by [`MAX_EVENTS`], wrong
//! passwords by [`MAX_ATTEMPTS`], questions that are answered with no by [`MAX_REFUSALS`]. Waiting output is answers
//! alone: a driver writes it out before it feeds more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::message::{self, Error, Input, Reader, Request, Status};
use crate::auth::Challenge;
use crate::sdp::{Description, Media};

/// Events that wait to be taken; input rests meanwhile.
pub const MAX_EVENTS: usize = 256;

/// Wrong answers to a challenge; the last one closes.
pub const MAX_ATTEMPTS: u32 = 3;

/// How often a peer may ask for what it cannot have; the last time closes. More than the tracks of a camera and the
/// transports it tries for each.
pub const MAX_REFUSALS: u32 = 16;

/// From the start of a connection to RECORD, and from PAUSE to the next.
pub const SETUP_TIME: Duration = Duration::from_secs(30);

const METHODS: &str = "OPTIONS, ANNOUNCE, SETUP, RECORD, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// How a session behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The session's id: nobody else's, and nobody's to guess.
    pub id: String,
    /// What `Server` says.
    pub server: String,
    /// Who may push; anybody if this is `None`.
    pub challenge: Option<Challenge>,
    /// Whether media may come as datagrams.
    pub udp: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Asked: may such a stream come? Answer with [`Session::accept_announce`] or [`Session::reject`].
    Announced {
        /// What it is to be called, as the peer wrote it.
        uri: String,
        /// What it consists of.
        description: Description,
    },
    /// Asked: may this track come from these ports? Answer with [`Session::accept_setup`] or [`Session::reject`].
    Setup {
        /// Which track of the description.
        track: usize,
        /// The peer's ports for RTP and RTCP.
        client: (u16, u16),
    },
    /// Asked: may it begin? Answer with [`Session::accept_record`] or [`Session::reject`].
    Record,
    /// A packet came on the connection itself.
    Packet {
        /// Which track.
        track: usize,
        /// RTCP, not RTP.
        control: bool,
        /// The packet.
        payload: Bytes,
    },
    /// The peer rests: the publish ends, until it records again.
    Paused,
    /// The session is over. The connection is to be closed once the answer is written.
    Ended(End),
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The peer has said so.
    #[error("torn down")]
    Teardown,
    /// It has asked again and again for what it cannot have.
    #[error("refused too often")]
    Refused,
    /// It has not been able to say who it is.
    #[error("wrong name or password")]
    Unauthorized,
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Silent,
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    options: Options,
    reader: Reader,
    state: State,
    /// The request whose answer is up to the driver.
    asked: Option<Asked>,
    media: Vec<Media>,
    /// How each track comes, once it was set up.
    tracks: Vec<Option<Path>>,
    attempts: u32,
    refusals: u32,
    events: VecDeque<Event>,
    output: BytesMut,
    deadline: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is known yet.
    New,
    /// Described; tracks are being set up.
    Ready,
    Recording,
    Over,
}

/// How a track comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// In datagrams.
    Udp,
    /// On these channels, RTP and RTCP.
    Interleaved(u8, u8),
}

/// A question that is open.
#[derive(Debug)]
struct Asked {
    sequence: Option<String>,
    about: About,
}

#[derive(Debug)]
enum About {
    Announce,
    Setup { track: usize, client: (u16, u16) },
    Record,
}

impl Session {
    /// What the peer is told it may stay silent, and what it is granted beyond that.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// A connection that was accepted `now`.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            options,
            reader: Reader::default(),
            state: State::New,
            asked: None,
            media: Vec::new(),
            tracks: Vec::new(),
            attempts: 0,
            refusals: 0,
            events: VecDeque::new(),
            output: BytesMut::new(),
            deadline: now + SETUP_TIME,
        }
    }

    /// Takes what it can of the input: all of it, unless a question is open or events wait.
    ///
    /// # Errors
    /// If the peer speaks no RTSP. The connection is to be closed; a last answer may wait.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Error> {
        while self.asked.is_none() && self.events.len() < MAX_EVENTS && self.state != State::Over {
            let item = match self.reader.next(input) {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) => {
                    message::write_response(Status::BadRequest, None, &[], &mut self.output);
                    return Err(error);
                }
            };
            self.touch(now);
            match item {
                Input::Request(request) => self.handle_request(now, &request),
                Input::Packet { channel, payload } => self.handle_packet(channel, payload),
                Input::Response => {}
            }
        }
        Ok(())
    }

    /// The peer has shown otherwise that it is there.
    pub fn touch(&mut self, now: Instant) {
        if self.state == State::Recording {
            self.deadline = now + Self::TIMEOUT;
        }
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Bytes for the peer; empty if there are none.
    pub fn take_output(&mut self) -> BytesMut {
        self.output.split()
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ends the session if its time is up.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.deadline && self.state != State::Over {
            self.end(End::Silent);
        }
    }

    /// The stream may be set up.
    pub fn accept_announce(&mut self) {
        let Some(Asked { sequence, .. }) = self.asked.take() else { return };
        self.state = State::Ready;
        self.answer_session(sequence.as_deref(), &[]);
    }

    /// Wrong names or passwords so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How a track comes; `None` if it was not set up.
    pub fn path(&self, track: usize) -> Option<Path> {
        self.tracks.get(track).copied().flatten()
    }

    /// The track may come to this port and the next one.
    pub fn accept_setup(&mut self, port: u16) {
        let Some(Asked { sequence, about: About::Setup { track, client } }) = self.asked.take() else {
            return;
        };
        self.tracks[track] = Some(Path::Udp);
        let transport = format!(
            "RTP/AVP/UDP;unicast;client_port={}-{};server_port={port}-{};mode=record",
            client.0,
            client.1,
            port + 1
        );
        self.answer_session(sequence.as_deref(), &[("Transport", &transport)]);
    }

    /// The stream may begin.
    pub fn accept_record(&mut self, now: Instant) {
        let Some(Asked { sequence, .. }) = self.asked.take() else { return };
        self.state = State::Recording;
        self.touch(now);
        self.answer_session(sequence.as_deref(), &[]);
    }

    /// What was asked may not be.
    pub fn reject(&mut self, status: Status) {
        if let Some(Asked { sequence, .. }) = self.asked.take() {
            self.answer(status, sequence.as_deref(), &[]);
            self.refusals += 1;
            if self.refusals == MAX_REFUSALS {
                self.end(End::Refused);
            }
        }
    }

    /// The stream has ended, as the driver has seen; the peer may record again.
    pub fn rest(&mut self, now: Instant) {
        if self.state == State::Recording {
            self.state = State::Ready;
            self.deadline = now + SETUP_TIME;
        }
    }

    /// Sends a packet of RTCP to the peer, if the track comes over the connection.
    pub fn send_control(&mut self, track: usize, payload: &[u8]) {
        if let Some(Some(Path::Interleaved(_, channel))) = self.tracks.get(track) {
            message::write_packet(*channel, payload, &mut self.output);
        }
    }

    fn handle_request(&mut self, now: Instant, request: &Request) {
        let sequence = request.header("CSeq");
        if sequence.is_none() {
            return self.answer(Status::BadRequest, None, &[]);
        }
        let session =
            request.header("Session").map(|value| value.split(';').next().unwrap_or_default().trim());
        if session.is_some_and(|session| session != self.options.id) {
            return self.answer(Status::SessionNotFound, sequence, &[]);
        }
        let status = match (request.method.as_str(), self.state) {
            ("OPTIONS", _) => return self.answer(Status::Ok, sequence, &[("Public", METHODS)]),
            ("GET_PARAMETER" | "SET_PARAMETER", _) => return self.answer_session(sequence, &[]),
            ("ANNOUNCE", State::New) => return self.announce(request),
            ("SETUP", State::Ready) => match self.setup(request) {
                Ok(()) => return,
                Err(status) => status,
            },
            ("RECORD", State::Ready) if self.tracks.iter().any(Option::is_some) => {
                self.ask(sequence, About::Record);
                return self.events.push_back(Event::Record);
            }
            // Some senders say it twice.
            ("RECORD", State::Recording) => return self.answer_session(sequence, &[]),
            ("PAUSE", State::Recording) => {
                self.rest(now);
                self.events.push_back(Event::Paused);
                return self.answer_session(sequence, &[]);
            }
            ("TEARDOWN", _) => {
                self.answer(Status::Ok, sequence, &[]);
                return self.end(End::Teardown);
            }
            ("ANNOUNCE" | "SETUP" | "RECORD" | "PAUSE", _) => Status::NotValidInThisState,
            _ => return self.answer(Status::MethodNotAllowed, sequence, &[("Allow", METHODS)]),
        };
        self.answer(status, sequence, &[]);
    }

    fn announce(&mut self, request: &Request) {
        let sequence = request.header("CSeq");
        if let Some(challenge) = &self.options.challenge {
            let given = request.header("Authorization");
            if !given.is_some_and(|given| challenge.accepts(given, &request.method)) {
                let [digest, basic] = challenge.headers();
                let headers = [("WWW-Authenticate", &digest[..]), ("WWW-Authenticate", &basic)];
                self.answer(Status::Unauthorized, sequence, &headers);
                self.attempts += u32::from(given.is_some());
                if self.attempts == MAX_ATTEMPTS {
                    self.end(End::Unauthorized);
                }
                return;
            }
        }
        let Some(description) = Description::parse(&request.body) else {
            return self.answer(Status::BadRequest, sequence, &[]);
        };
        self.attempts = 0;
        self.media.clone_from(&description.media);
        self.tracks = vec![None; self.media.len()];
        self.ask(sequence, About::Announce);
        self.events.push_back(Event::Announced { uri: request.uri.clone(), description });
    }

    fn setup(&mut self, request: &Request) -> Result<(), Status> {
        let track = self.track_of(&request.uri).ok_or(Status::NotFound)?;
        let sequence = request.header("CSeq");
        let offers = request.header("Transport").ok_or(Status::BadRequest)?;
        for offer in offers.split(',').take(8) {
            match Transport::parse(offer) {
                Some(Transport::Interleaved(wanted)) => {
                    let (rtp, rtcp) = self.channels(track, wanted);
                    self.tracks[track] = Some(Path::Interleaved(rtp, rtcp));
                    let transport = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp};mode=record");
                    self.answer_session(sequence, &[("Transport", &transport)]);
                    return Ok(());
                }
                Some(Transport::Udp(client)) if self.options.udp => {
                    self.ask(sequence, About::Setup { track, client });
                    self.events.push_back(Event::Setup { track, client });
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(Status::UnsupportedTransport)
    }

    /// Which track a URL means: by its `control`, absolute or behind the URL of the stream; by a number at its end, as
    /// in `streamid=1`; or the only one there is. Some put the query of the stream's URL behind all that.
    fn track_of(&self, uri: &str) -> Option<usize> {
        let whole = uri.trim_end_matches('/');
        let cut = whole.rfind(['?', '/']).filter(|&at| whole[at..].starts_with('?'));
        let path = whole[..cut.unwrap_or(whole.len())].trim_end_matches('/');
        let by_control = |uri: &str| {
            self.media.iter().position(|media| {
                let control = media.control.as_deref().unwrap_or_default().trim_matches('/');
                let behind = uri.strip_suffix(control).is_some_and(|before| before.ends_with('/'));
                !control.is_empty() && control != "*" && (control == uri || behind)
            })
        };
        by_control(whole).or_else(|| by_control(path)).or_else(|| {
            if let [_] = self.media[..] {
                return Some(0);
            }
            let last = path.rsplit('/').next()?;
            let digits = last.len() - last.bytes().rev().take_while(u8::is_ascii_digit).count();
            let number: usize = last[digits..].parse().ok()?;
            (number < self.media.len()).then_some(number)
        })
    }

    /// The channels a track wants, unless another one has them.
    fn channels(&self, track: usize, wanted: Option<(u8, u8)>) -> (u8, u8) {
        let others = || self.tracks.iter().enumerate().filter(|(other, _)| *other != track);
        let free = |channel: u8| {
            others().all(
                |(_, path)| !matches!(path, Some(Path::Interleaved(a, b)) if *a == channel || *b == channel),
            )
        };
        let wanted = wanted.filter(|&(rtp, rtcp)| rtp != rtcp && free(rtp) && free(rtcp));
        // There are 256 channels for at most 16 tracks.
        wanted.unwrap_or_else(|| {
            let rtp = (0..=254).step_by(2).find(|&rtp| free(rtp) && free(rtp + 1)).unwrap_or(254);
            (rtp, rtp + 1)
        })
    }

    fn handle_packet(&mut self, channel: u8, payload: Bytes) {
        // Some senders do not wait for the answer to RECORD; before it, nothing is taken.
        if self.state != State::Recording {
            return;
        }
        let found = self.tracks.iter().enumerate().find_map(|(track, path)| match path {
            Some(Path::Interleaved(rtp, rtcp)) if [*rtp, *rtcp].contains(&channel) => {
                Some((track, channel == *rtcp))
            }
            _ => None,
        });
        if let Some((track, control)) = found {
            self.events.push_back(Event::Packet { track, control, payload });
        }
    }

    fn ask(&mut self, sequence: Option<&str>, about: About) {
        self.asked = Some(Asked { sequence: sequence.map(str::to_owned), about });
    }

    /// Says OK, with the session's id.
    fn answer_session(&mut self, sequence: Option<&str>, headers: &[(&str, &str)]) {
        let session = format!("{};timeout={}", self.options.id, Self::TIMEOUT.as_secs());
        let headers: Vec<_> =
            [("Session", &session[..])].into_iter().chain(headers.iter().copied()).collect();
        self.answer(Status::Ok, sequence, &headers);
    }

    fn answer(&mut self, status: Status, sequence: Option<&str>, headers: &[(&str, &str)]) {
        let server = [("Server", &self.options.server[..])];
        let headers: Vec<_> = headers.iter().copied().chain(server).collect();
        message::write_response(status, sequence, &headers, &mut self.output);
    }

    fn end(&mut self, why: End) {
        self.state = State::Over;
        self.events.push_back(Event::Ended(why));
    }
}

/// One offer of a `Transport` header (12.39).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp((u16, u16)),
    Interleaved(Option<(u8, u8)>),
}

impl Transport {
    /// `RTP/AVP;unicast;client_port=5000-5001`, `RTP/AVP/TCP;interleaved=0-1`; `None` for what is not possible here.
    fn parse(offer: &str) -> Option<Self> {
        let mut words = offer.split(';').map(str::trim);
        let profile = words.next()?.to_ascii_uppercase();
        let (mut ports, mut channels, mut multicast) = (None, None, false);
        for word in words {
            match word.split_once('=') {
                Some(("client_port", pair)) => ports = numbers::<u16>(pair, u16::checked_add),
                Some(("interleaved", pair)) => channels = numbers::<u8>(pair, u8::checked_add),
                _ => multicast |= word.eq_ignore_ascii_case("multicast"),
            }
        }
        match profile.as_str() {
            "RTP/AVP/TCP" => Some(Self::Interleaved(channels)),
            "RTP/AVP" | "RTP/AVP/UDP" if !multicast => ports.filter(|&(rtp, _)| rtp > 0).map(Self::Udp),
            _ => None,
        }
    }
}

/// `4-5`, or `4` and the next.
fn numbers<T: std::str::FromStr + Copy + From<u8>>(pair: &str, add: fn(T, T) -> Option<T>) -> Option<(T, T)> {
    let (first, second) = pair.split_once('-').unwrap_or((pair, ""));
    let first = first.trim().parse().ok()?;
    let second = second.trim().parse().ok().or_else(|| add(first, 1.into()))?;
    Some((first, second))
}

#[cfg(test)]
mod tests;
