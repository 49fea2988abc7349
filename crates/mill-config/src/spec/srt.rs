//! SRT: the server, and its part of a vhost.

use super::Effect::{NewSessions, RebindsListener};
use super::Kind::{BoolOff, BoolOn, Endpoint, Int, Text};
use super::Status::Planned;
use super::Unit::{Bytes, Millis, Plain};
use super::{Row, Status, row};

pub(super) const SRT: Status = Planned("SRT");

pub(super) const SERVER: &[Row] = &[
    row("enabled", BoolOff, "off", SRT, RebindsListener, "Serve SRT."),
    row("listen", Endpoint, "10080", SRT, RebindsListener, "UDP endpoint."),
    row("maxbw", Int(Bytes), "-1", SRT, NewSessions, "Limit of the sending rate per second; -1 for none.").clamped(-1.0, i32::MAX as f64),
    row("mss", Int(Bytes), "1500", SRT, NewSessions, "Largest packet on the wire."),
    row("latency", Int(Millis), "120", SRT, NewSessions, "Both latencies below, where not given."),
    row("recvlatency", Int(Millis), "120", SRT, NewSessions, "Time a receiver waits for lost packets."),
    row("peerlatency", Int(Millis), "0", SRT, NewSessions, "Least such time asked of the peer."),
    row("connect_timeout", Int(Millis), "3000", SRT, NewSessions, "Limit of the handshake."),
    row("peer_idle_timeout", Int(Millis), "10000", SRT, NewSessions, "A peer silent for this long is gone."),
    row("sendbuf", Int(Bytes), "12058624", SRT, NewSessions, "Send buffer (8192 × 1472)."),
    row("recvbuf", Int(Bytes), "12058624", SRT, NewSessions, "Receive buffer (8192 × 1472)."),
    row("payloadsize", Int(Bytes), "1316", SRT, NewSessions, "Payload of a packet."),
    row("default_app", Text, "live", SRT, NewSessions, "App of a stream id that names none."),
    row("sei_filter", BoolOn, "on", SRT, NewSessions, "Drop SEI of incoming video."),
    row("mix_correct", BoolOn, "on", SRT, NewSessions, "Interleave audio and video by time."),
    row("tlpktdrop", BoolOn, "on", SRT, NewSessions, "Drop packets that come too late."),
    row("tsbpdmode", BoolOn, "on", SRT, NewSessions, "Deliver by time stamp."),
    row("passphrase", Text, "", SRT, NewSessions, "Secret for encryption; empty for none.").example("at-least-ten-characters"),
    row("pbkeylen", Int(Plain), "0", SRT, NewSessions, "Key length in bytes: 0, 16, 24 or 32.").clamped(0.0, 32.0),
];

pub(super) const VHOST: &[Row] = &[
    row("enabled", BoolOff, "off", SRT, NewSessions, "Serve SRT in this vhost."),
    row("srt_to_rtmp", BoolOn, "on", SRT, NewSessions, "Offer SRT streams to players of other protocols.").aliases(&["SRS_VHOST_SRT_TO_RTMP"]),
];
