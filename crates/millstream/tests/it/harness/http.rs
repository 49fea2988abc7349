//! A small blocking HTTP client that shows what a real one hides: how a body is framed and how it ends.

use super::SOON;
use super::tls::Pair;
use rustls::ClientConnection;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A bare socket with deadlines; also for everything that is not HTTP at all.
pub(crate) struct Raw {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Bytes(Vec<u8>),
    /// The peer closed, orderly or by a reset.
    Closed,
    /// Nothing within the deadline.
    Silence,
}

impl Raw {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, SOON).expect("the server accepts connections");
        stream.set_write_timeout(Some(SOON)).expect("a socket takes a timeout");
        stream.set_nodelay(true).expect("a socket takes nodelay");
        Self { stream, tls: None }
    }

    /// The same over TLS, to a server with this certificate. The handshake happens with the first bytes.
    #[track_caller]
    pub(crate) fn connect_tls(addr: SocketAddr, pair: &Pair) -> Self {
        Self { tls: Some(Box::new(pair.client())), ..Self::connect(addr) }
    }

    /// Sends all of it; `false` when the peer does not want it any more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        match &mut self.tls {
            None => self.stream.write_all(bytes).is_ok(),
            Some(tls) => {
                self.stream.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
                let mut stream = rustls::Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(bytes).and_then(|()| stream.flush()).is_ok()
            }
        }
    }

    /// Our end of the connection.
    pub(crate) fn local_port(&self) -> u16 {
        self.stream.local_addr().expect("a connected socket has an address").port()
    }

    /// No more will be sent.
    pub(crate) fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// What arrives first within the deadline.
    pub(crate) fn receive(&mut self, deadline: Duration) -> Got {
        let mut buffer = [0; 64 << 10];
        let deadline = deadline.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(deadline)).expect("a socket takes a timeout");
        let read = match &mut self.tls {
            None => self.stream.read(&mut buffer),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(&mut buffer),
        };
        match read {
            Ok(0) => Got::Closed,
            Ok(n) => Got::Bytes(buffer[..n].to_vec()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Got::Silence,
            Err(e) if e.kind() == ErrorKind::Interrupted => Got::Silence,
            Err(_) => Got::Closed,
        }
    }

    /// Reads until the peer closes; `None` when it has not by the deadline.
    pub(crate) fn receive_to_end(&mut self, deadline: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + deadline;
        let mut all = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.receive(left) {
                Got::Bytes(bytes) => all.extend(bytes),
                Got::Closed => return Some(all),
                Got::Silence => {}
            }
        }
        None
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By the empty chunk that HTTP/1.1 asks for.
    FinalChunk,
    /// After as many bytes as were announced.
    Length,
    /// By the end of the connection.
    Eof,
}

/// How the bytes of a body are told from what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Chunked,
    Length(usize),
    ToEof,
}

/// A connection to an HTTP server, good for several requests.
pub(crate) struct Http {
    raw: Raw,
    unread: Vec<u8>,
}

/// Status and headers of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) version: String,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
}

impl Head {
    /// A header's value, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Http {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self { raw: Raw::connect(addr), unread: Vec::new() }
    }

    /// The same over TLS, to a server with this certificate.
    #[track_caller]
    pub(crate) fn connect_tls(addr: SocketAddr, pair: &Pair) -> Self {
        Self { raw: Raw::connect_tls(addr, pair), unread: Vec::new() }
    }

    /// `GET path` over TLS; returns once the head is there.
    #[track_caller]
    pub(crate) fn get_tls(addr: SocketAddr, pair: &Pair, path: &str) -> Body {
        let mut http = Self::connect_tls(addr, pair);
        http.send(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes());
        http.answer(false)
    }

    /// `GET path` with HTTP/1.1 on a new connection; returns once the head is there.
    #[track_caller]
    pub(crate) fn get(addr: SocketAddr, path: &str) -> Body {
        Self::request(addr, &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
    }

    /// Any request on a new connection.
    #[track_caller]
    pub(crate) fn request(addr: SocketAddr, text: &str) -> Body {
        let mut http = Self::connect(addr);
        http.send(text.as_bytes());
        http.answer(false)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        assert!(self.raw.send(bytes), "the server does not take the request");
    }

    /// Waits for the head of the next answer. `to_head` says that it answers a HEAD and has no body.
    #[track_caller]
    pub(crate) fn answer(mut self, to_head: bool) -> Body {
        let end = Instant::now() + SOON;
        let length = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let so_far = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(Instant::now() < end, "no answer within {SOON:?}, only {so_far:?}");
            match self.raw.receive(end.saturating_duration_since(Instant::now())) {
                Got::Bytes(bytes) => self.unread.extend(bytes),
                Got::Closed => panic!("closed instead of an answer, after {so_far:?}"),
                Got::Silence => {}
            }
        };
        let rest = self.unread.split_off(length);
        let mut head = parse_head(&String::from_utf8_lossy(&self.unread));
        if to_head || matches!(head.status, 204 | 304) {
            head.framing = Framing::Length(0);
        }
        self.unread = rest;
        Body { left: head.framing, head, http: self, ended: None }
    }
}

#[track_caller]
fn parse_head(text: &str) -> Head {
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let mut words = status_line.split(' ');
    let version = words.next().unwrap_or_default().to_string();
    let status = words.next().and_then(|s| s.parse().ok());
    let Some(status) = status else { panic!("not an HTTP status line: {status_line:?}") };
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
        .collect();
    let value = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let framing = if value("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        Framing::Chunked
    } else if let Some(length) = value("content-length") {
        Framing::Length(length.parse().expect("Content-Length is a number"))
    } else {
        Framing::ToEof
    };
    Head { version, status, headers, framing }
}

/// An answer whose body is still coming.
pub(crate) struct Body {
    pub(crate) head: Head,
    http: Http,
    left: Framing,
    ended: Option<End>,
}

impl Body {
    /// Whether the body is framed in chunks.
    pub(crate) fn chunked(&self) -> bool {
        self.head.framing == Framing::Chunked
    }

    /// Whether it is what a packager has, and no file on the disk: tags of files have a dot.
    pub(crate) fn is_packaged(&self) -> bool {
        self.head.status == 200 && self.head.header("etag").is_some_and(|tag| !tag.contains('.'))
    }

    pub(crate) fn local_port(&self) -> u16 {
        self.http.raw.local_port()
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&self) -> Option<End> {
        self.ended
    }

    /// The next bytes of the body, without framing; empty at its end or when nothing came in time.
    #[track_caller]
    pub(crate) fn read(&mut self, deadline: Duration) -> Vec<u8> {
        let end = Instant::now() + deadline;
        while self.ended.is_none() {
            let bytes = self.take_body();
            if !bytes.is_empty() || self.ended.is_some() {
                return bytes;
            }
            match self.http.raw.receive(end.saturating_duration_since(Instant::now())) {
                Got::Bytes(bytes) => self.http.unread.extend(bytes),
                Got::Closed => self.ended = Some(End::Eof),
                Got::Silence if Instant::now() >= end => break,
                Got::Silence => {}
            }
        }
        Vec::new()
    }

    /// The rest of the body; panics when it does not end in time.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self, deadline: Duration) -> Vec<u8> {
        let end = Instant::now() + deadline;
        let mut all = Vec::new();
        while self.ended.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the body did not end within {deadline:?} ({} bytes came)", all.len());
            all.extend(self.read(left));
        }
        all
    }

    /// The connection, for the next request; the body must have been read.
    pub(crate) fn into_connection(mut self) -> Http {
        self.take_body();
        assert!(self.ended.is_some() && self.ended != Some(End::Eof), "the connection is not free");
        self.http
    }

    /// Body bytes among what has arrived; sets `ended` when they are the last.
    #[track_caller]
    fn take_body(&mut self) -> Vec<u8> {
        let unread = &mut self.http.unread;
        match &mut self.left {
            Framing::ToEof => std::mem::take(unread),
            Framing::Length(left) => {
                let n = unread.len().min(*left);
                *left -= n;
                if *left == 0 {
                    self.ended = Some(End::Length);
                }
                unread.drain(..n).collect()
            }
            Framing::Chunked => {
                let mut body = Vec::new();
                while self.ended.is_none()
                    && let Some(line) = unread.windows(2).position(|w| w == b"\r\n")
                {
                    let size = std::str::from_utf8(&unread[..line]).unwrap_or_default();
                    let Ok(size) = usize::from_str_radix(size, 16) else {
                        panic!("{size:?} stands where a chunk's size must be")
                    };
                    let whole = line + 2 + size + 2;
                    if unread.len() < whole {
                        break;
                    }
                    assert_eq!(&unread[whole - 2..whole], b"\r\n", "a chunk ends with CRLF");
                    body.extend_from_slice(&unread[line + 2..whole - 2]);
                    unread.drain(..whole);
                    if size == 0 {
                        self.ended = Some(End::FinalChunk);
                    }
                }
                body
            }
        }
    }
}
