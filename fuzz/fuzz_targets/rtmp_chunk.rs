//! The chunk reader, fed with anything in pieces of any length: no panic, nothing beyond its limits, and
//! the same messages whatever the pieces.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mill_rtmp::{
    chunk::{Limits, Reader, limits},
    message::Message,
};

// The first byte says how long the pieces are; the rest is the input.
fuzz_target!(|data: &[u8]| {
    let Some((&length, bytes)) = data.split_first() else { return };
    let at_once = read(bytes, bytes.len().max(1));
    let in_pieces = read(bytes, usize::from(length).max(1));
    assert_eq!(at_once, in_pieces);
});

/// All messages, and whether they ended with an error.
fn read(bytes: &[u8], length: usize) -> (Vec<Message>, bool) {
    let mut reader = Reader::new(Limits::COMMANDS);
    let (mut input, mut messages) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(length) {
        input.extend_from_slice(piece);
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => {
                    assert!(message.payload.len() <= Limits::COMMANDS.message);
                    messages.push(message);
                }
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
        assert!(input.len() < limits::MAX_WAIT_IN_BUFFER + 18);
    }
    (messages, false)
}
