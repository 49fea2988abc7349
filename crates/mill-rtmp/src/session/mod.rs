//! The order of things: [`server::Session`] and [`client::Session`] over one connection each.
//!
//! Both are driven the same way. Nothing happens between calls:
//!
//! ```text
//! loop {
//!     wait for one of: bytes from the socket, session.deadline(), own business
//!     session.handle_input(now, &mut buf)?  or  session.handle_timeout(now)?
//!     while let Some(event) = session.poll_event() { act, answer questions }
//!     repeat from handle_input, without waiting, while events came
//!     write session.take_output()
//! }
//! ```
//!
//! `handle_input` may leave complete messages in the buffer: it stops at a question to the driver, at
//! [`MAX_EVENTS`] events nobody has fetched and at [`MAX_OUTPUT`] bytes nobody has sent. So nothing is
//! overtaken, and a peer that floods us only fills its own socket. Hence "repeat while events came", and
//! call it again after output was sent. An error ends the session; output written before is still good.
//!
//! The link they share owns the chunk reader, the bytes to send and the acknowledgements.

pub mod client;
pub mod event;
mod link;
pub mod server;

#[cfg(test)]
mod tests;

/// Events waiting for the driver before input is left alone: enough for everything in one socket read of
/// small messages, a few kilobytes of memory.
pub const MAX_EVENTS: usize = 64;

/// Bytes waiting to be sent before input is left alone. Answers are small; only a peer that asks and asks
/// and does not read comes near.
pub const MAX_OUTPUT: usize = 64 * 1024;
