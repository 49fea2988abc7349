//! This server as a client of others: what it takes from them and gives to them.
//!
//! - [`target`]: which server and which stream is meant.
//! - [`dial`]: names, connections, TLS.
//! - [`client`]: RTMP on such a connection: [`Incoming`](client::Incoming) plays, [`Outgoing`](client::Outgoing)
//!   publishes; whoever drives one owns it and waits for it.
//! - [`flv`]: HTTP-FLV, on [`web`].
//! - [`edge`]: streams that come from an origin while somebody watches them.
//! - [`coworkers`]: which other origin has a stream.
//! - [`forward`]: copies of a published stream for other servers; [`via`] keeps them from going in circles.
//! - [`uplink`]: the same for publishers of an edge, whose streams are at home at the origin.
//! - [`push`]: the same as a handle that takes frames and never waits, with a task behind it.
//!
//! ```text
//! let target = Target::parse("rtmp://example.com/live/stream?token=x")?;
//! let push = Push::start(&ctx.tasks, &ctx.dialer, target, client::Options::default());
//! push.put(kind, timestamp, payload)?;          // an error says why it has ended; start another one
//! drop(push);                                   // sends what is in line, takes leave
//! ```

pub(crate) mod backoff;
pub(crate) mod client;
pub(crate) mod coworkers;
pub(crate) mod dial;
pub(crate) mod edge;
mod feed;
mod flv;
pub(crate) mod forward;
mod introduce;
pub(crate) mod push;
pub(crate) mod target;
pub(crate) mod uplink;
pub(crate) mod via;
mod web;

pub(crate) use introduce::introduction;

#[cfg(test)]
mod tests;
