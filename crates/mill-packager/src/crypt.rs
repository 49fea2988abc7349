//! AES-128 of whole segments (RFC 8216, 4.3.2.4): CBC with PKCS#7 padding.

use aes::Aes128;
use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use bytes::BytesMut;

const BLOCK: usize = 16;

/// Encrypts one segment as it is written.
pub(crate) struct Encryptor {
    cbc: cbc::Encryptor<Aes128>,
    /// Less than a block, waiting for the rest of it.
    rest: BytesMut,
}

impl Encryptor {
    pub(crate) fn new(key: &[u8; BLOCK], iv: &[u8; BLOCK]) -> Self {
        Self { cbc: cbc::Encryptor::new(key.into(), iv.into()), rest: BytesMut::new() }
    }

    /// The encryption of what is whole so far.
    pub(crate) fn write(&mut self, plain: &[u8]) -> BytesMut {
        self.rest.extend_from_slice(plain);
        let whole = self.rest.len() / BLOCK * BLOCK;
        let mut out = self.rest.split_to(whole);
        for block in out.chunks_exact_mut(BLOCK) {
            self.cbc.encrypt_block(block.try_into().expect("chunks of a block"));
        }
        out
    }

    /// What remains, padded: one block, always.
    pub(crate) fn finish(mut self) -> BytesMut {
        let missing = BLOCK - self.rest.len() % BLOCK;
        self.write(&[missing as u8; BLOCK][..missing])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_the_standard() {
        // NIST SP 800-38A, F.2.1, two blocks of it in uneven pieces.
        let key = *b"\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c";
        let iv = std::array::from_fn(|n| n as u8);
        let plain = b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a\
            \xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac\x45\xaf\x8e\x51";
        let mut encryptor = Encryptor::new(&key, &iv);
        let mut out = encryptor.write(&plain[..5]);
        assert!(out.is_empty());
        out.extend_from_slice(&encryptor.write(&plain[5..30]));
        out.extend_from_slice(&encryptor.write(&plain[30..]));
        assert_eq!(
            out[..],
            b"\x76\x49\xab\xac\x81\x19\xb2\x46\xce\xe9\x8e\x9b\x12\xe9\x19\x7d\
            \x50\x86\xcb\x9b\x50\x72\x19\xee\x95\xdb\x11\x3a\x91\x76\x78\xb2"[..]
        );
        assert_eq!(encryptor.finish().len(), 16);
    }
}
