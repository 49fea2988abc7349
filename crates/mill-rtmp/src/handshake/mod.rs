//! The handshake of both sides: 1 + 1536 + 1536 bytes each way before the first chunk.
//!
//! [`Server`] and [`Client`] read from the caller's buffer and write to the caller's output. They hold
//! nothing but a phase and a generator for filler bytes: a packet is taken only when it is complete, so the
//! input buffer never needs more than [`PROXY_HEADER_MAX`] + 1540 bytes while a handshake runs.
//! Call `handle_input` with whatever has arrived until it returns `true`; what is left in the buffer then
//! belongs to the chunk reader. An error ends the connection.
//!
//! A server answers in the form, and in the digest form in the schema, of the client. Nothing the other
//! side *answers* (C2, S2) is checked: it proves nothing, and peers in the field get it wrong.

mod complex;
mod digest;
mod simple;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use bytes::{Buf, BytesMut};

use crate::{Error, seed::Filler};
pub use digest::Schema;

/// Length of C1, C2, S1 and S2.
const PACKET_SIZE: usize = 1536;
/// The only version of plain RTMP (RTMP 1.0 §5.2.2).
const VERSION: u8 = 3;
/// First byte of the header some TCP proxies put in front of C0.
const PROXY_MARK: u8 = 0xF3;
/// Longest content of a proxy header; SRS closes above (2054). It only has to hold an address.
pub const PROXY_HEADER_MAX: usize = 1024;

/// One of C1, C2, S1, S2.
type Packet = [u8; PACKET_SIZE];

/// Which handshake was spoken; for logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The published form.
    Simple,
    /// The digest form, in this schema.
    Complex(Schema),
}

/// The server's side.
#[derive(Debug, Clone)]
pub struct Server {
    filler: Filler,
    phase: ServerPhase,
    proxied: Option<Ipv4Addr>,
    form: Option<Form>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerPhase {
    /// Nothing read yet: a proxy header may come.
    Start,
    /// Waiting for C0 and C1.
    Hello,
    /// Waiting for C2.
    Answer,
    Done,
}

impl Server {
    /// `seed` makes the filler bytes; any value will do, it need not be secret.
    pub fn new(seed: u64) -> Self {
        Self { filler: Filler::new(seed), phase: ServerPhase::Start, proxied: None, form: None }
    }

    /// Reads what it can from `input`, appends what must be sent to `output`. `true` once complete.
    ///
    /// # Errors
    /// [`Error::NotRtmp`] as soon as the first byte is wrong, [`Error::ProxyHeader`] for one that is too long.
    pub fn handle_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<bool, Error> {
        loop {
            self.phase = match self.phase {
                ServerPhase::Start => match self.skip_proxy_header(input)? {
                    true => ServerPhase::Hello,
                    false => return Ok(false),
                },
                ServerPhase::Hello => {
                    check_version(input)?;
                    let Some(c1) = take_packet(input, 1) else { return Ok(false) };
                    self.answer(&c1, output);
                    ServerPhase::Answer
                }
                ServerPhase::Answer => match take_packet(input, 0) {
                    Some(_) => ServerPhase::Done,
                    None => return Ok(false),
                },
                ServerPhase::Done => return Ok(true),
            }
        }
    }

    /// The client's address as a proxy header told it. Everybody can send one: good for logs only.
    pub fn proxied(&self) -> Option<Ipv4Addr> {
        self.proxied
    }

    /// The form the client spoke, known once its C1 was read.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// `true` when there is none, or it is behind us.
    fn skip_proxy_header(&mut self, input: &mut BytesMut) -> Result<bool, Error> {
        match input[..] {
            [] => Ok(false),
            [PROXY_MARK, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length > PROXY_HEADER_MAX {
                    return Err(Error::ProxyHeader { length });
                }
                if input.len() < 3 + length {
                    return Ok(false);
                }
                input.advance(3);
                let content = input.split_to(length);
                self.proxied = content.first_chunk::<4>().map(|&ip| Ipv4Addr::from(ip));
                Ok(true)
            }
            [PROXY_MARK, ..] => Ok(false),
            _ => Ok(true),
        }
    }

    /// S0, S1 and S2 in one piece.
    fn answer(&mut self, c1: &Packet, output: &mut BytesMut) {
        let (form, s1, s2) = match complex::client_digest(c1) {
            Some((schema, digest)) => (
                Form::Complex(schema),
                complex::server_packet(schema, &mut self.filler),
                complex::answer(digest::SERVER_KEY, &digest, &mut self.filler),
            ),
            None => (Form::Simple, simple::server_packet(c1, &mut self.filler), simple::echo(c1)),
        };
        self.form = Some(form);
        output.extend_from_slice(&[VERSION]);
        output.extend_from_slice(&s1);
        output.extend_from_slice(&s2);
    }
}

/// The client's side: speaks the digest form, schema 1, and takes whatever the server answers.
#[derive(Debug, Clone)]
pub struct Client {
    filler: Filler,
    phase: ClientPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientPhase {
    /// C0 and C1 not written yet.
    Start,
    /// Waiting for S0 and S1.
    Hello,
    /// Waiting for S2.
    Answer,
    Done,
}

impl Client {
    /// `seed` makes the filler bytes; any value will do, it need not be secret.
    pub fn new(seed: u64) -> Self {
        Self { filler: Filler::new(seed), phase: ClientPhase::Start }
    }

    /// Reads what it can from `input`, appends what must be sent to `output`. `true` once complete.
    /// The first call, with an empty `input`, writes C0 and C1.
    ///
    /// # Errors
    /// [`Error::NotRtmp`] as soon as the first byte is wrong.
    pub fn handle_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<bool, Error> {
        loop {
            self.phase = match self.phase {
                ClientPhase::Start => {
                    output.extend_from_slice(&[VERSION]);
                    output.extend_from_slice(&complex::client_packet(&mut self.filler));
                    ClientPhase::Hello
                }
                ClientPhase::Hello => {
                    check_version(input)?;
                    let Some(s1) = take_packet(input, 1) else { return Ok(false) };
                    // Servers that compare C2 with S1 exist only among those without a digest.
                    let c2 = match complex::server_digest(&s1) {
                        Some((_, digest)) => complex::answer(digest::CLIENT_KEY, &digest, &mut self.filler),
                        None => simple::echo(&s1),
                    };
                    output.extend_from_slice(&c2);
                    ClientPhase::Answer
                }
                ClientPhase::Answer => match take_packet(input, 0) {
                    Some(_) => ClientPhase::Done,
                    None => return Ok(false),
                },
                ClientPhase::Done => return Ok(true),
            }
        }
    }
}

fn check_version(input: &BytesMut) -> Result<(), Error> {
    match input.first() {
        Some(&first) if first != VERSION => Err(Error::NotRtmp { first }),
        _ => Ok(()),
    }
}

/// Takes `skip` bytes and a packet, if all of it is there.
fn take_packet(input: &mut BytesMut, skip: usize) -> Option<Packet> {
    let packet = *input.get(skip..)?.first_chunk::<PACKET_SIZE>()?;
    input.advance(skip + PACKET_SIZE);
    Some(packet)
}
