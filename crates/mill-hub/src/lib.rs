//! The heart of the server: streams, the one publisher of each, and the bytes their viewers read.
//!
//! ```text
//!  Publisher ─► Stream { timeline, headers, running GOP } ─► Lane (one per wire format) ─► Reader (one per shard)
//! ```
//!
//! - A [`Hub`] knows every stream that somebody publishes or watches, and forgets it when both have gone.
//! - [`Hub::publish`] gives out the one [`Publisher`] of a name. Dropping it unpublishes.
//! - [`Hub::watch`] gives a [`Watch`]: it keeps the stream alive and counts as a viewer until it is dropped.
//! - A [`Lane`] holds a stream in one wire format, written once whoever watches. It lives as long as
//!   somebody holds it, and is made from the running GOP when the first viewer of that format comes.
//! - A [`Reader`] reads a lane for a group of viewers. The lane never waits for it: who falls behind by
//!   more than the vhost's `queue_length` is told so by [`Lagged`] and starts again at a join point.
//! - A [`Tap`] gives the frames of one publish to an output that wants frames and not bytes; it is had from the
//!   publish's [`Outlet`], ends with the publish, and is waited for as little.
//!
//! The hub names no protocol, file, HTTP call or configuration: wire formats come in behind
//! [`WireFormat`] and [`Writer`], settings as a [`StreamOptions`]. It owns no task, socket or clock; time is the media
//! time of the frames. Its locks are plain mutexes around a few instructions, taken in the order
//! hub, stream, lane or tap, and never held across an await. One thing takes longer: the first viewer of a format
//! has the running GOP copied into its new lane while the publisher waits.

mod gop;
mod hub;
mod lane;
mod log;
mod publisher;
mod sound;
mod store;
mod stream;
mod tap;
#[cfg(test)]
mod tests;
mod timeline;

pub use hub::{Busy, Hub, StreamId};
pub use lane::{Barren, FormatKey, Lane, Reader, WireFormat, Writer};
pub use log::{Batch, Join, Lagged};
pub use publisher::Publisher;
pub use stream::{Counters, Samples, Stream, StreamOptions, Tracks, Watch};
pub use tap::{Outlet, Tap, TapOptions, Tapped};
pub use timeline::TimeJitter;
