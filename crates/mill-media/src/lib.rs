//! The vocabulary of Millstream: frames, codecs, AMF0 values and containers.
//!
//! Nothing here knows a network, a file, a clock or a runtime. A protocol crate turns bytes into
//! [`frame::Frame`]s of this crate, the hub passes them on, and whoever delivers them turns them into
//! bytes again. The payload of a frame is always the body of an FLV tag, because RTMP and HTTP-FLV are
//! the bulk of the traffic and a codec nobody here understands must still pass through untouched.

pub mod adts;
pub mod amf0;
pub mod bits;
pub mod codec;
pub mod es;
pub mod flv;
pub mod frame;
pub mod interleave;
pub mod mp4;
pub mod nal;
pub mod time;
pub mod ts;
