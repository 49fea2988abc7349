//! RTSP 1.0 (RFC 2326): the side that streams are pushed to.
//!
//! [`message`] cuts what a connection brings into requests and interleaved packets, [`session`] is the order in which
//! they may come.

pub mod message;
pub mod session;
