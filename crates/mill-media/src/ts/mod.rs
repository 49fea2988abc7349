//! MPEG-2 transport streams (ISO/IEC 13818-1): packets of 188 bytes in which pictures, sound and tables take
//! turns.
//!
//! ```text
//!  frame ─ mux ─► PES ─► packets ─►   …wire…   ─► packets ─► PES ─ demux ─► frame
//!                 PAT, PMT ──┘                       └──► PAT, PMT: which packets are what
//! ```
//!
//! One program with at most one track of video and one of audio. Numbers of programs, packets and streams are
//! those SRS uses. Carried are H.264, H.265, AAC and MP3; there is no common way for anything else.

pub mod datagram;
pub mod demux;
pub mod mux;
mod packet;
mod pes;
mod psi;
#[cfg(test)]
mod tests;

pub use packet::LEN as PACKET_LEN;

/// Packet identifiers (2.4.3.3) of what we write.
mod pid {
    pub(super) const PAT: u16 = 0;
    pub(super) const PMT: u16 = 0x1001;
    pub(super) const VIDEO: u16 = 0x100;
    pub(super) const AAC: u16 = 0x101;
    pub(super) const MP3: u16 = 0x102;
}

/// How a track is coded, as `stream_type` says it (2.4.4.9, table 2-34).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Coding {
    Avc,
    Hevc,
    Aac,
    /// MPEG-1 layer III.
    Mp3,
    /// Layer III at the lower rates of MPEG-2.
    Mp3Low,
}

impl Coding {
    fn stream_type(self) -> u8 {
        match self {
            Self::Avc => 0x1b,
            Self::Hevc => 0x24,
            Self::Aac => 0x0f,
            Self::Mp3 => 0x03,
            Self::Mp3Low => 0x04,
        }
    }

    fn from_stream_type(stream_type: u8) -> Option<Self> {
        [Self::Avc, Self::Hevc, Self::Aac, Self::Mp3, Self::Mp3Low]
            .into_iter()
            .find(|coding| coding.stream_type() == stream_type)
    }

    fn is_video(self) -> bool {
        matches!(self, Self::Avc | Self::Hevc)
    }

    fn pid(self) -> u16 {
        match self {
            Self::Avc | Self::Hevc => pid::VIDEO,
            Self::Aac => pid::AAC,
            Self::Mp3 | Self::Mp3Low => pid::MP3,
        }
    }
}
