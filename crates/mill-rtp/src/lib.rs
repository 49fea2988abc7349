//! RTP and RTSP as values: datagrams and requests in, frames and answers out.
//!
//! Nothing here knows a socket, a clock, a thread or a random source. A driver hands in what arrived together with the
//! time, takes frames and bytes out, and answers the few events that are questions.
//!
//! | module | owns | source |
//! |---|---|---|
//! | [`packet`] | an RTP packet | RFC 3550 |
//! | [`rtcp`] | reports of senders, reports to them | RFC 3550 |
//! | [`reorder`] | packets back in order, losses counted | RFC 3550 |
//! | [`payload`] | packets to access units | RFC 6184, 7798, 3640, 6416, 3551, 7587, 2250 |
//! | [`clock`] | RTP clocks of several tracks on one timeline | RFC 3550 |
//! | [`order`] | when pictures are decoded | H.264, H.265 |
//! | [`receiver`] | all of that, for the tracks of one sender | |
//! | [`sdp`] | descriptions of streams | RFC 8866 |
//! | [`auth`] | basic and digest authentication | RFC 2617 |
//! | [`rtsp`] | requests, responses, interleaved packets, the order of all that | RFC 2326 |
//!
//! What a peer may cost is bounded where it is kept; each module names its bounds.

pub mod auth;
pub mod clock;
pub mod order;
pub mod packet;
pub mod payload;
pub mod receiver;
pub mod reorder;
pub mod rtcp;
pub mod rtsp;
pub mod sdp;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    /// Some moment to begin at; tests add to it.
    #[expect(clippy::disallowed_methods, reason = "there is no other way to come by an instant")]
    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}
