//! The head of a vhost; its blocks have files of their own.

use super::Effect::{AtOnce, NewSessions, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Int};
use super::Status::{Ignored, Implemented};
use super::Unit::Bytes;
use super::{Row, access, block, cluster, dash, dvr, hls, play, process, publish, row, rtc, srt, vhost_http};

pub(super) const VHOST: &[Row] = &[
    row("enabled", BoolOn, "on", Implemented, AtOnce, "Off: its clients are refused; they are not sent to the default vhost."),
    row("chunk_size", Int(Bytes), "", Implemented, NewSessions, "Size of outgoing RTMP chunks; the root's `chunk_size` if not given.").clamped(128.0, 65536.0).inherits().example("60000"),
    row("min_latency", BoolOff, "off", Implemented, AtOnce, "Send each message at once instead of in batches."),
    row("tcp_nodelay", BoolOn, "on", Ignored("it is always on: writes are merged before the kernel sees them"), AtOnce, "TCP_NODELAY on sockets of players and publishers."),
    row("in_ack_size", Int(Bytes), "0", Implemented, NewSessions, "Acknowledge input each time this much has come; 0 to leave it to the peer."),
    row("out_ack_size", Int(Bytes), "2500000", Implemented, NewSessions, "Window told to the peer, in which it has to acknowledge; 0 to tell none."),
    block("play", play::PLAY, Implemented, AtOnce, "How players are served."),
    block("publish", publish::PUBLISH, Implemented, AtOnce, "How publishers are served."),
    block("cluster", cluster::CLUSTER, Implemented, NewSessions, "Edge and origin."),
    block("forward", cluster::FORWARD, Implemented, RestartsComponent, "Copies of all streams to other servers."),
    block("refer", access::REFER, Implemented, NewSessions, "Who may link here."),
    block("security", access::SECURITY, Implemented, NewSessions, "Who may publish and play, by address."),
    block("bandcheck", access::BANDCHECK, Implemented, NewSessions, "Bandwidth tests."),
    block("http_static", vhost_http::STATIC, Implemented, AtOnce, "Files over HTTP."),
    block("http_remux", vhost_http::REMUX, Implemented, AtOnce, "Live streams over HTTP."),
    block("http_hooks", vhost_http::HOOKS, Implemented, NewSessions, "Callbacks to a web server."),
    block("exec", process::EXEC, Implemented, RestartsComponent, "A program for each published stream."),
    block("dvr", dvr::DVR, Implemented, RestartsComponent, "Recording."),
    block("hls", hls::HLS, Implemented, RestartsComponent, "HTTP Live Streaming."),
    block("dash", dash::DASH, Implemented, RestartsComponent, "MPEG-DASH."),
    block("hds", dash::HDS, Implemented, RestartsComponent, "Adobe HTTP Dynamic Streaming.").open(),
    block("rtc", rtc::VHOST, rtc::RTC, NewSessions, "WebRTC."),
    block("srt", srt::VHOST, srt::SRT, NewSessions, "SRT."),
    block("ingest", process::INGEST, Implemented, RestartsComponent, "A program that brings a stream from elsewhere.").repeats().example("livestream"),
    block("transcode", process::TRANSCODE, Implemented, RestartsComponent, "Programs that recode streams. Its argument: none for all streams, `app` or `app/stream`.").repeats().example("live/livestream"),
];
