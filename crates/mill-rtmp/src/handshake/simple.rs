//! The published form of the handshake (RTMP 1.0 §5.2.2 to §5.2.4): time, four bytes, random, and an echo.
//!
//! Pure functions. The time fields carry zero, which §5.2.3 allows: it is only the origin of the
//! timestamps, and this crate has no clock.

use super::Packet;
use crate::seed::Filler;

/// S1: own time (zero), the time of C1, then random bytes.
pub(super) fn server_packet(c1: &Packet, filler: &mut Filler) -> Packet {
    let mut s1 = [0; _];
    filler.fill(&mut s1[8..]);
    s1[4..8].copy_from_slice(&c1[..4]);
    s1
}

/// C2 and S2: the packet of the other side, as it came.
pub(super) fn echo(packet: &Packet) -> Packet {
    *packet
}
