//! `stream_caster`: entrances of other protocols.

use super::Effect::{NeedsRestart, NewSessions, RebindsListener};
use super::Kind::{BoolOff, BoolOn, Endpoint, Float, Int, Text, Word};
use super::Otherwise::Refused;
use super::Status::{Implemented, Planned};
use super::Unit::{Plain, Seconds};
use super::{Row, Status, block, row};

const GB28181: Status = Planned("GB28181");

/// Protocols that are not spoken yet.
const WAITS: &[(&str, &str)] = &[("gb28181", "GB28181")];

pub(super) const STREAM_CASTER: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RebindsListener, "Open this entrance."),
    row("caster", Word(&["mpegts_over_udp", "rtsp", "flv", "gb28181"], Refused), "", Implemented, RebindsListener, "Protocol of the entrance.").example("mpegts_over_udp").waits(WAITS),
    row("output", Text, "", Implemented, NewSessions, "RTMP URL the streams are published to.").example("rtmp://127.0.0.1/live/livestream"),
    row("listen", Endpoint, "", Implemented, RebindsListener, "Endpoint.").example("8935"),
    row("rtp_port_min", Int(Plain), "0", Implemented, NewSessions, "First local RTP port (rtsp). Without a range media comes over the connection only.").clamped(0.0, 65535.0),
    row("rtp_port_max", Int(Plain), "0", Implemented, NewSessions, "Port after the last local RTP port (rtsp).").clamped(0.0, 65536.0),
    block("auth", AUTH, Implemented, NewSessions, "Basic and digest authentication of those who push (rtsp)."),
    block("sip", SIP, GB28181, NeedsRestart, "Signalling (gb28181)."),
];

const AUTH: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, NewSessions, "Ask for a user name and password (rtsp); without both of them nobody may push."),
    row("username", Text, "", Implemented, NewSessions, "User name.").example("camera"),
    row("password", Text, "", Implemented, NewSessions, "Password.").example("secret"),
];

const SIP: &[Row] = &[
    row("enabled", BoolOn, "on", GB28181, NeedsRestart, "Use the built-in SIP server."),
    row("listen", Endpoint, "5060", GB28181, NeedsRestart, "Endpoint of the SIP server."),
    row("timeout", Float(Seconds), "60", GB28181, NeedsRestart, "A device silent for this long is gone."),
    row("reinvite", Float(Seconds), "5", GB28181, NeedsRestart, "Pause before a device is invited again."),
    row("candidate", Text, "*", GB28181, NeedsRestart, "Address told to devices; `*` for the local one."),
];
