//! Prints the messages in what one side of a connection has sent:
//!
//! ```text
//! messages < captured-client-bytes
//! ```
//!
//! Such a file comes out of a packet capture with "follow TCP stream", saved raw and one way.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    error::Error,
    io::{self, Read},
};

use bytes::{Buf, BytesMut};
use mill_rtmp::{
    chunk::{Limits, Reader},
    command::Command,
    message::{Control, Message, types},
};

/// C0, C1, C2, or S0, S1, S2.
const HANDSHAKE: usize = 1 + 1536 + 1536;

fn main() -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let mut input = BytesMut::from(&bytes[..]);
    if input.len() < HANDSHAKE || input[0] != 3 {
        return Err("this does not start with a handshake".into());
    }
    input.advance(HANDSHAKE);

    let mut reader = Reader::new(Limits::MEDIA);
    while let Some(message) = reader.read(&mut input)? {
        println!("{:>10} ms  stream {}  {}", message.timestamp, message.stream_id, describe(&message));
    }
    println!("chunk size {}, {} bytes left", reader.chunk_size(), input.len());
    Ok(())
}

fn describe(message: &Message) -> String {
    match message.message_type {
        types::COMMAND => match Command::parse(&message.payload) {
            Ok(command) => format!(
                "{}({}) {:?} {:?}",
                command.name, command.transaction_id, command.object, command.arguments
            ),
            Err(error) => format!("damaged command: {error}"),
        },
        types::DATA => match mill_media::amf0::parse_all(&message.payload) {
            Ok(values) => format!("data {values:?}"),
            Err(error) => format!("damaged data: {error}"),
        },
        types::AUDIO => media("audio", message),
        types::VIDEO => media("video", message),
        other => match Control::parse(message) {
            Ok(Some(control)) => format!("{control:?}"),
            _ => media(&format!("type {other}"), message),
        },
    }
}

/// Length and the first bytes, which tell codec and kind.
fn media(name: &str, message: &Message) -> String {
    let start: Vec<String> = message.payload.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}, {} bytes: {}", message.payload.len(), start.join(" "))
}
