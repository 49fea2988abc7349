//! RTMP as a value: bytes in, events out, both ends of a connection.
//!
//! Nothing here knows a socket, a clock, a thread or a random source. A driver reads bytes, hands them in
//! together with the time, takes events and bytes out, and answers the few events that are questions.
//!
//! | module | owns | source |
//! |---|---|---|
//! | [`handshake`] | the 3 × 1536 bytes at the start, simple and digest form | RTMP 1.0 §5.2; the digest form was never published |
//! | [`chunk`] | cutting messages into chunks and putting them together | RTMP 1.0 §5.3 |
//! | [`message`] | protocol and user control, aggregates | RTMP 1.0 §5.4, §6.2, §7.1 |
//! | [`command`] | connect, publish, play, onStatus … | RTMP 1.0 §7.2, Enhanced RTMP v2 |
//! | [`session`] | the order in which all of that happens | RTMP 1.0 §7.3 and what encoders really do |
//! | [`bandcheck`] | SRS's bandwidth test | what SRS 3.0 does |
//! | [`url`] | which vhost, app and stream a client means | the URL habits of SRS |
//!
//! What a peer may cost is bounded in one place, [`chunk::limits`], and for the sessions in [`session`].

pub mod bandcheck;
pub mod chunk;
pub mod command;
mod error;
pub mod handshake;
pub mod message;
mod seed;
pub mod session;
pub mod url;

pub use error::Error;
