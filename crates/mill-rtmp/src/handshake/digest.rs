//! Where the digest lies in C1 and S1, and how it is made.
//!
//! Never published by Adobe; known from Flash Player 10 and from what servers answer. Pure functions over
//! one 1536-byte packet, nothing is kept. The packet also has a 128-byte key for a Diffie-Hellman exchange
//! that only the encrypted variant (RTMPE) uses: nobody checks it here, so it stays random.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{PACKET_SIZE, Packet};

/// Length of an HMAC-SHA256.
pub(super) const DIGEST_SIZE: usize = 32;

/// Key of the client's digest, and the first part of the key of its C2.
pub(super) const CLIENT_KEY: &[u8; 62] = b"Genuine Adobe Flash Player 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";
/// Key of the server's digest, and the first part of the key of its S2.
pub(super) const SERVER_KEY: &[u8; 68] = b"Genuine Adobe Flash Media Server 001\
    \xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57\
    \x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE";
/// How much of [`CLIENT_KEY`] signs C1: the text.
pub(super) const CLIENT_TEXT: usize = 30;
/// How much of [`SERVER_KEY`] signs S1: the text.
pub(super) const SERVER_TEXT: usize = 36;

/// Length of each of the two blocks after time and version.
const BLOCK_SIZE: usize = 764;
/// Time and version in front of the blocks.
const HEADER_SIZE: usize = 8;

/// Order of the two blocks of C1 and S1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Key block first, then the digest block.
    Zero,
    /// Digest block first, then the key block.
    One,
}

/// Finds the schema under which `packet` carries a right digest for `key`: schema 0 is tried first.
pub(super) fn find(packet: &Packet, key: &[u8]) -> Option<(Schema, [u8; DIGEST_SIZE])> {
    [Schema::Zero, Schema::One].into_iter().find_map(|schema| {
        let digest = compute(packet, schema, key);
        let at = offset(packet, schema);
        (packet[at..at + DIGEST_SIZE] == digest).then_some((schema, digest))
    })
}

/// Puts the digest where `schema` wants it and returns it.
pub(super) fn sign(packet: &mut Packet, schema: Schema, key: &[u8]) -> [u8; DIGEST_SIZE] {
    let digest = compute(packet, schema, key);
    let at = offset(packet, schema);
    packet[at..at + DIGEST_SIZE].copy_from_slice(&digest);
    digest
}

/// Ends C2 or S2: its last 32 bytes prove that the sender has seen the other side's digest.
pub(super) fn sign_answer(packet: &mut Packet, key: &[u8], digest: &[u8; DIGEST_SIZE]) {
    let key = hmac(key, &[digest]);
    let (body, tail) = packet.split_at_mut(PACKET_SIZE - DIGEST_SIZE);
    tail.copy_from_slice(&hmac(&key, &[body]));
}

/// Whether `packet` is an answer made by [`sign_answer`].
#[cfg(test)]
pub(super) fn is_answer(packet: &Packet, key: &[u8], digest: &[u8; DIGEST_SIZE]) -> bool {
    let mut copy = *packet;
    sign_answer(&mut copy, key, digest);
    copy == *packet
}

/// The digest covers the whole packet except its own 32 bytes.
fn compute(packet: &Packet, schema: Schema, key: &[u8]) -> [u8; DIGEST_SIZE] {
    let at = offset(packet, schema);
    hmac(key, &[&packet[..at], &packet[at + DIGEST_SIZE..]])
}

/// The digest block starts with four bytes whose sum, mod 728, says where behind them the digest lies.
fn offset(packet: &Packet, schema: Schema) -> usize {
    let block = match schema {
        Schema::Zero => HEADER_SIZE + BLOCK_SIZE,
        Schema::One => HEADER_SIZE,
    };
    let sum: usize = packet[block..block + 4].iter().map(|&byte| usize::from(byte)).sum();
    block + 4 + sum % (BLOCK_SIZE - 4 - DIGEST_SIZE)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_SIZE] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
