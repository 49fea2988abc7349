//! Entrances of other protocols.

use std::net::SocketAddr;

use super::{Auth, Field};
use crate::view::View;

super::block! {
    /// `stream_caster`, one that is enabled.
    pub struct StreamCaster {
        /// What is spoken there.
        protocol: CasterProtocol = "caster",
        /// Template of the RTMP URL that its streams are published to.
        output: String = "output",
        /// Where it listens.
        listen: SocketAddr = "listen",
        /// The first local port for RTP; 0 for none given.
        rtp_port_min: u32 = "rtp_port_min",
        /// The port after the last local one for RTP; 0 for none given.
        rtp_port_max: u32 = "rtp_port_max",
        /// Who may push, where RTSP is spoken.
        auth: Auth = "auth",
    }
}

/// What is spoken at an entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CasterProtocol {
    /// MPEG transport streams in UDP datagrams.
    MpegTs,
    /// RTSP, by those who announce and record.
    Rtsp,
    /// FLV as the body of an HTTP POST.
    Flv,
    /// GB/T 28181.
    Gb28181,
}

impl CasterProtocol {
    /// Whether its datagrams come to the address it listens on; else connections do.
    #[must_use]
    pub fn is_udp(self) -> bool {
        self == Self::MpegTs
    }
}

impl Field for CasterProtocol {
    fn read(view: &View<'_>, name: &str) -> Self {
        match view.word(name) {
            "rtsp" => Self::Rtsp,
            "flv" => Self::Flv,
            "gb28181" => Self::Gb28181,
            _ => Self::MpegTs,
        }
    }
}
