//! The digest form of the handshake, which Flash Player asks for before it plays H.264.
//!
//! Pure functions that fill one packet each; where the digest goes is [`super::digest`]'s business.
//! The key block stays random: it only matters for RTMPE, and no peer of plain RTMP looks at it.

use super::{
    Packet,
    digest::{self, CLIENT_KEY, CLIENT_TEXT, DIGEST_SIZE, SERVER_KEY, SERVER_TEXT, Schema},
};
use crate::seed::Filler;

/// Version of the Flash Player our C1 claims to be, as SRS does towards other servers.
const CLIENT_VERSION: [u8; 4] = [0x80, 0x00, 0x07, 0x02];
/// Version of the Flash Media Server our S1 claims to be.
const SERVER_VERSION: [u8; 4] = [0x01, 0x00, 0x05, 0x04];

/// C1, always in schema 1.
pub(super) fn client_packet(filler: &mut Filler) -> Packet {
    let mut c1 = packet(CLIENT_VERSION, filler);
    digest::sign(&mut c1, Schema::One, &CLIENT_KEY[..CLIENT_TEXT]);
    c1
}

/// S1, in the schema of the client's C1.
pub(super) fn server_packet(schema: Schema, filler: &mut Filler) -> Packet {
    let mut s1 = packet(SERVER_VERSION, filler);
    digest::sign(&mut s1, schema, &SERVER_KEY[..SERVER_TEXT]);
    s1
}

/// The digest in C1, if it has one.
pub(super) fn client_digest(c1: &Packet) -> Option<(Schema, [u8; DIGEST_SIZE])> {
    digest::find(c1, &CLIENT_KEY[..CLIENT_TEXT])
}

/// The digest in S1, if it has one.
pub(super) fn server_digest(s1: &Packet) -> Option<(Schema, [u8; DIGEST_SIZE])> {
    digest::find(s1, &SERVER_KEY[..SERVER_TEXT])
}

/// S2 for the digest of C1, or C2 for the digest of S1.
pub(super) fn answer(key: &[u8], other: &[u8; DIGEST_SIZE], filler: &mut Filler) -> Packet {
    let mut answer = [0; _];
    filler.fill(&mut answer);
    digest::sign_answer(&mut answer, key, other);
    answer
}

/// Time zero, a version that is not zero (that is what tells this form from the simple one), random bytes.
fn packet(version: [u8; 4], filler: &mut Filler) -> Packet {
    let mut packet = [0; _];
    filler.fill(&mut packet[8..]);
    packet[4..8].copy_from_slice(&version);
    packet
}
