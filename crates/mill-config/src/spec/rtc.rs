//! WebRTC: the server, and its part of a vhost.

use super::Effect::{AtOnce, NewSessions, RebindsListener};
use super::Kind::{BoolOff, BoolOn, Endpoint, Float, Int, List, Text, Word};
use super::Otherwise::ReadAs;
use super::Status::Planned;
use super::Unit::{Bps, Plain, Seconds};
use super::{Row, Status, block, row};

pub(super) const RTC: Status = Planned("WebRTC");

pub(super) const SERVER: &[Row] = &[
    row("enabled", BoolOff, "off", RTC, RebindsListener, "Serve WebRTC."),
    row("listen", Endpoint, "8000", RTC, RebindsListener, "UDP endpoint of the media."),
    block("tcp", TCP, RTC, RebindsListener, "Media over TCP."),
    row("protocol", Word(&["udp", "tcp", "all"], ReadAs("udp")), "udp", RTC, NewSessions, "Transports offered to clients."),
    row("candidate", List, "*", RTC, NewSessions, "Addresses told to clients; `*` for the local ones, `$NAME` for an environment variable."),
    row("use_auto_detect_network_ip", BoolOn, "on", RTC, NewSessions, "Offer the local addresses where `candidate` is `*`."),
    row("ip_family", Word(&["ipv4", "ipv6", "all"], ReadAs("ipv4")), "ipv4", RTC, NewSessions, "Local addresses that are offered."),
    row("api_as_candidates", BoolOn, "on", RTC, NewSessions, "Offer the host name of the API request too."),
    row("resolve_api_domain", BoolOn, "on", RTC, NewSessions, "Resolve that name to an address first."),
    row("keep_api_domain", BoolOff, "off", RTC, NewSessions, "Offer the name besides the address."),
    row("ecdsa", BoolOn, "on", RTC, NewSessions, "ECDSA instead of RSA certificates."),
    row("encrypt", BoolOn, "on", RTC, NewSessions, "Encrypt media."),
    row("reuseport", Int(Plain), "1", RTC, RebindsListener, "Sockets that share the UDP endpoint."),
    row("merge_nalus", BoolOff, "off", RTC, NewSessions, "Send the NAL units of a picture as one."),
    block("black_hole", BLACK_HOLE, RTC, NewSessions, "Copy of all plain packets, for debugging."),
];

const TCP: &[Row] = &[
    row("enabled", BoolOff, "off", RTC, RebindsListener, "Serve media over TCP."),
    row("listen", Endpoint, "8000", RTC, RebindsListener, "TCP endpoint."),
];

const BLACK_HOLE: &[Row] = &[
    row("enabled", BoolOff, "off", RTC, NewSessions, "Send the copy."),
    row("addr", Text, "", RTC, NewSessions, "Where to.").example("127.0.0.1:10000"),
];

pub(super) const VHOST: &[Row] = &[
    row("enabled", BoolOff, "off", RTC, NewSessions, "Serve WebRTC in this vhost."),
    row("rtmp_to_rtc", BoolOff, "off", RTC, NewSessions, "Offer streams of other protocols to WebRTC players."),
    row("rtc_to_rtmp", BoolOff, "off", RTC, NewSessions, "Offer WebRTC streams to players of other protocols."),
    row("nack", BoolOn, "on", RTC, NewSessions, "Repeat lost packets."),
    row("nack_no_copy", BoolOn, "on", RTC, NewSessions, "Keep packets for repetition without copying."),
    row("twcc", BoolOn, "on", RTC, NewSessions, "Transport-wide congestion control."),
    row("keep_bframe", BoolOff, "off", RTC, NewSessions, "Keep B-frames, which browsers show badly."),
    row("keep_avc_nalu_sei", BoolOn, "on", RTC, NewSessions, "Keep SEI of H.264."),
    row("stun_timeout", Int(Seconds), "30", RTC, NewSessions, "A peer silent for this long is gone."),
    row("stun_strict_check", BoolOff, "off", RTC, NewSessions, "Check STUN user names strictly."),
    row("dtls_role", Word(&["active", "passive"], ReadAs("passive")), "passive", RTC, NewSessions, "Our side of the DTLS handshake."),
    row("dtls_version", Word(&["auto", "dtls1.0", "dtls1.2"], ReadAs("auto")), "auto", RTC, NewSessions, "DTLS version."),
    row("drop_for_pt", Int(Plain), "0", RTC, NewSessions, "Drop packets of this payload type, for tests; 0 for none."),
    row("pli_for_rtmp", Float(Seconds), "6", RTC, NewSessions, "How often a keyframe is asked for when a stream is remuxed."),
    row("opus_bitrate", Int(Bps), "48000", RTC, NewSessions, "Bit rate of Opus made from AAC."),
    row("aac_bitrate", Int(Bps), "48000", RTC, AtOnce, "Bit rate of AAC made from Opus."),
];
