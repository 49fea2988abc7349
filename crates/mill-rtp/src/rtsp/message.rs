//! Requests, responses and interleaved packets on one connection (RFC 2326, 4 to 7 and 10.12).
//!
//! Bounded: the head of a request by [`MAX_HEAD`] and [`MAX_HEADERS`], its body by [`MAX_BODY`], an interleaved
//! packet by its 16-bit length.

use std::fmt::Write;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a request line and its headers. A digest answer has some 300, a URL with a token as many.
pub const MAX_HEAD: usize = 16 << 10;

/// Headers of a request.
pub const MAX_HEADERS: usize = 64;

/// Bytes of a body: a session description has about 500.
pub const MAX_BODY: usize = 64 << 10;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A request.
    Request(Request),
    /// A packet between the requests.
    Packet {
        /// Which of the channels agreed on.
        channel: u8,
        /// The packet, RTP or RTCP.
        payload: Bytes,
    },
    /// A response; nobody asked.
    Response,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// In capitals, as the peer wrote it.
    pub method: String,
    /// What it is about: a URL, or `*`.
    pub uri: String,
    headers: Vec<(String, String)>,
    /// The body; empty if there is none.
    pub body: Bytes,
}

/// Bytes that are no RTSP. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A first line that is neither request nor response, or a header without a colon.
    #[error("not RTSP")]
    Malformed,
    /// Beyond [`MAX_HEAD`], [`MAX_HEADERS`] or [`MAX_BODY`].
    #[error("a request longer than allowed")]
    TooLong,
}

impl Request {
    /// The value of a header; `name` in any letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }
}

/// Cuts the bytes of a connection.
#[derive(Debug, Default)]
pub struct Reader {
    /// Bytes at the beginning of the input that hold no end of a head.
    scanned: usize,
    /// A request whose body is still to come, and how long that is.
    head: Option<(Option<Request>, usize)>,
}

impl Reader {
    /// Takes the next whole item off `input`; `None` until more bytes come.
    ///
    /// # Errors
    /// If what comes is no RTSP, or more than anybody needs.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Input>, Error> {
        if self.head.is_none() {
            if self.scanned == 0 {
                // Empty lines between requests keep some connections alive.
                let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                input.advance(blank);
            }
            if input.first() == Some(&b'$') {
                return Ok(take_packet(input));
            }
            let Some(head) = self.take_head(input)? else { return Ok(None) };
            self.head = Some(parse_head(&head)?);
        }
        let Some((_, len)) = &self.head else { return Ok(None) };
        if input.len() < *len {
            return Ok(None);
        }
        let body = input.split_to(*len).freeze();
        Ok(self.head.take().map(|(request, _)| match request {
            Some(request) => Input::Request(Request { body, ..request }),
            None => Input::Response,
        }))
    }

    /// The lines up to an empty one. They end with CR LF, or with LF alone.
    fn take_head(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, Error> {
        let from = self.scanned.saturating_sub(3);
        let end = input[from..].iter().enumerate().find_map(|(at, &byte)| {
            let rest = &input[from + at..];
            let ends = byte == b'\n' && (rest.get(1) == Some(&b'\n') || rest.get(1..3) == Some(b"\r\n"));
            ends.then(|| from + at + if rest[1] == b'\n' { 2 } else { 3 })
        });
        match end {
            Some(end) if end <= MAX_HEAD => {
                self.scanned = 0;
                Ok(Some(input.split_to(end)))
            }
            None if input.len() <= MAX_HEAD => {
                self.scanned = input.len();
                Ok(None)
            }
            _ => Err(Error::TooLong),
        }
    }
}

/// `$`, channel, length, packet (10.12).
fn take_packet(input: &mut BytesMut) -> Option<Input> {
    let &[_, channel, l0, l1] = input.first_chunk()?;
    let end = 4 + usize::from(u16::from_be_bytes([l0, l1]));
    if input.len() < end {
        return None;
    }
    let mut payload = input.split_to(end).freeze();
    payload.advance(4);
    Some(Input::Packet { channel, payload })
}

/// A request without its body, or `None` for a response; and how long the body is.
fn parse_head(head: &[u8]) -> Result<(Option<Request>, usize), Error> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let mut request = Request::default();
    let mut words = first.split_whitespace();
    let is_response = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(version), Some(_), _, _) if version.starts_with("RTSP/") => true,
        (Some(method), Some(uri), Some(version), None) if version.starts_with("RTSP/1.") => {
            method.clone_into(&mut request.method);
            uri.clone_into(&mut request.uri);
            false
        }
        _ => return Err(Error::Malformed),
    };
    for line in lines.filter(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            // Goes on from the line before.
            let (_, value) = request.headers.last_mut().ok_or(Error::Malformed)?;
            value.push(' ');
            value.push_str(line.trim());
            continue;
        }
        let (name, value) = line.split_once(':').ok_or(Error::Malformed)?;
        if request.headers.len() == MAX_HEADERS {
            return Err(Error::TooLong);
        }
        request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let body = match request.header("Content-Length") {
        Some(length) => length.parse().map_err(|_| Error::Malformed)?,
        None => 0,
    };
    if body > MAX_BODY {
        return Err(Error::TooLong);
    }
    Ok(((!is_response).then_some(request), body))
}

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 400: the request cannot be understood.
    BadRequest,
    /// 401: a name and password are asked for.
    Unauthorized,
    /// 403: not here.
    Forbidden,
    /// 404: no such track.
    NotFound,
    /// 405: a method that is not spoken here.
    MethodNotAllowed,
    /// 415: nothing in the description can be carried.
    UnsupportedMediaType,
    /// 453: no ports are left.
    NotEnoughBandwidth,
    /// 454: another session is meant.
    SessionNotFound,
    /// 455: not now.
    NotValidInThisState,
    /// 461: no transport that is possible here.
    UnsupportedTransport,
    /// 503: the server the stream is for cannot be reached.
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorized => "401 Unauthorized",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::UnsupportedMediaType => "415 Unsupported Media Type",
            Self::NotEnoughBandwidth => "453 Not Enough Bandwidth",
            Self::SessionNotFound => "454 Session Not Found",
            Self::NotValidInThisState => "455 Method Not Valid in This State",
            Self::UnsupportedTransport => "461 Unsupported Transport",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// Appends a response without a body. `sequence` is the request's `CSeq`, if it had one.
pub fn write_response(status: Status, sequence: Option<&str>, headers: &[(&str, &str)], out: &mut BytesMut) {
    // Writing to memory does not fail.
    let _ = write!(out, "RTSP/1.0 {}\r\n", status.line());
    let headers = sequence.map(|sequence| ("CSeq", sequence)).into_iter().chain(headers.iter().copied());
    for (name, value) in headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an interleaved packet; longer ones than 65535 bytes are left out.
pub fn write_packet(channel: u8, payload: &[u8], out: &mut BytesMut) {
    let Ok(len) = u16::try_from(payload.len()) else { return };
    let [l0, l1] = len.to_be_bytes();
    out.extend_from_slice(&[b'$', channel, l0, l1]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything in `bytes`, fed in pieces of that size.
    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Input>, Error> {
        let (mut reader, mut input, mut found) = (Reader::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            input.extend_from_slice(piece);
            while let Some(item) = reader.next(&mut input)? {
                found.push(item);
            }
        }
        Ok(found)
    }

    #[test]
    fn requests_packets_and_bodies_in_any_pieces() {
        let bytes = b"\r\nOPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n$\x01\0\x03abc\
            ANNOUNCE rtsp://h/a RTSP/1.0\nCSEQ:2\nX: a\n b\nContent-length: 4\n\nv=0\n$\0\0\0RTSP/1.0 200 OK\r\n\r\n";
        let whole = read(bytes, bytes.len()).unwrap();
        let [Input::Request(options), packet, Input::Request(announce), empty, Input::Response] = &whole[..]
        else {
            panic!("{whole:?}")
        };
        assert_eq!((options.method.as_str(), options.header("cseq")), ("OPTIONS", Some("1")));
        assert_eq!(*packet, Input::Packet { channel: 1, payload: Bytes::from_static(b"abc") });
        assert_eq!((announce.header("CSeq"), announce.header("x")), (Some("2"), Some("a b")));
        assert_eq!(announce.body, b"v=0\n"[..]);
        assert_eq!(*empty, Input::Packet { channel: 0, payload: Bytes::new() });
        for piece in [1, 2, 7] {
            assert_eq!(read(bytes, piece).as_ref(), Ok(&whole));
        }
    }

    #[test]
    fn what_is_no_rtsp() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"OPTIONS *\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\nno colon\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\n goes on\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
        ] {
            assert_eq!(read(bytes, 100), Err(Error::Malformed), "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(read(&[b'a'; MAX_HEAD + 1], 1000), Err(Error::TooLong));
        let headers = format!("OPTIONS * RTSP/1.0\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(read(headers.as_bytes(), 1000), Err(Error::TooLong));
        assert_eq!(read(b"A * RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n", 100), Err(Error::TooLong));
    }

    #[test]
    fn responses() {
        let mut out = BytesMut::new();
        write_response(Status::Ok, Some("7"), &[("Session", "abc")], &mut out);
        write_packet(3, b"xy", &mut out);
        assert_eq!(out, &b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nSession: abc\r\n\r\n$\x03\0\x02xy"[..]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lines in proptest::collection::vec("(OPTIONS \\* RTSP/1.0|CSeq: [0-9]|\\$..|[ -~]{0,8})(\r\n|\n){1,2}", 0..12),
            piece in 1usize..9,
        ) {
            let bytes = lines.concat();
            let whole = read(bytes.as_bytes(), bytes.len().max(1));
            prop_assert_eq!(read(bytes.as_bytes(), piece), whole);
        }

        #[test]
        fn anything_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, 16);
        }
    }
}
