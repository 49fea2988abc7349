//! `vhost.cluster` and `vhost.forward`: streams from and to other servers.

use super::Effect::{NeedsRestart, NewSessions, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Float, List, Path, Text, Word};
use super::Otherwise::ReadAs;
use super::Status::Implemented;
use super::Unit::Seconds;
use super::{Row, row};

pub(super) const CLUSTER: &[Row] = &[
    row("mode", Word(&["local", "remote"], ReadAs("local")), "local", Implemented, NeedsRestart, "`remote`: an edge, which gets streams from its origin and brings them there; `local`: an origin."),
    row("origin", List, "", Implemented, NewSessions, "Origins of an edge, `host[:port]`, asked in turn.").example("127.0.0.1:1935 localhost:1935"),
    row("protocol", Word(&["rtmp", "flv", "flvs"], ReadAs("rtmp")), "rtmp", Implemented, NewSessions, "Protocol towards the origin: RTMP, or HTTP-FLV without or with TLS."),
    row("follow_client", BoolOff, "off", Implemented, NewSessions, "Use the protocol of the first player towards the origin."),
    row("token_traverse", BoolOff, "off", Implemented, NewSessions, "Ask the origin before a client is accepted."),
    row("vhost", Text, "[vhost]", Implemented, NewSessions, "Vhost at the origin."),
    row("origin_order", Word(&["round_robin", "hash"], ReadAs("round_robin")), "round_robin", Implemented, NewSessions, "Which origin of an edge is asked first: the next one for each stream, or always the same one for a stream."),
    row("pull_linger", Float(Seconds), "3", Implemented, NewSessions, "How long an edge keeps a stream after its last player has gone."),
    row("pull_give_up", Float(Seconds), "60", Implemented, NewSessions, "Players of an edge are sent away when no origin has given anything of the stream for so long; 0 lets them wait, as SRS does."),
    row("push_give_up", Float(Seconds), "30", Implemented, NewSessions, "A publisher of an edge is sent away when no origin has taken its stream for so long.").clamped(1.0, 3600.0),
    row("debug_srs_upnode", BoolOn, "on", Implemented, NewSessions, "Tell the origin our version, process and connection id."),
    row("origin_cluster", BoolOff, "off", Implemented, NewSessions, "Send players on to the origin that has the stream."),
    row("coworkers", List, "", Implemented, NewSessions, "HTTP APIs of the other origins, `host:port`.").example("127.0.0.1:9091 127.0.0.1:9092"),
];

pub(super) const FORWARD: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Send copies."),
    row("destination", List, "", Implemented, RestartsComponent, "Servers that all get every stream: `host[:port]`, or a URL of `rtmp` or `rtmps`, in whose path `[vhost]`, `[app]` and `[stream]` are replaced.").example("127.0.0.1:1936 rtmps://cdn.example.com/[app]/[stream]"),
    row("backend", Text, "", Implemented, RestartsComponent, "URL asked for the destinations of each stream, instead of `destination`.").example("http://127.0.0.1:8085/api/v1/forward"),
    row("ca", Path, "", Implemented, RestartsComponent, "File of certificates, in PEM form, that are trusted for `rtmps`; those of the system if not given.").example("./conf/ca.pem"),
];
