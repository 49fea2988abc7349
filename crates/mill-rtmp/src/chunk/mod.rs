//! Chunks: messages cut to pieces so that a long one does not hold up a short one (RTMP 1.0 §5.3).
//!
//! [`Reader`] owns the state of every chunk stream of one peer and the unfinished messages; [`limits`]
//! bounds both. [`writer`] is a function: it keeps no state, because every message we send starts with a
//! complete header. That costs a few bytes per message and buys that the same bytes suit every player.

mod header;
pub mod limits;
mod reader;
pub mod writer;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use reader::Reader;
