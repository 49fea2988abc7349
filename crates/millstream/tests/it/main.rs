//! The whole server as its users meet it: the real binary on free ports, driven by ffmpeg, rtmpdump, curl and
//! by clients that may send anything. Each file is one behaviour; `harness` is everything around the server.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;

mod access;
mod api;
mod api_auth;
mod api_system;
mod bad_viewers;
mod bandwidth;
mod busy;
mod casters;
mod chunk_sizes;
mod cluster;
mod conf_examples;
mod config_cli;
mod daemon;
mod dash;
mod dash_viewers;
mod demo;
mod documents;
mod dvr;
mod dvr_disk;
mod edge;
mod edge_publish;
mod enhanced;
mod files;
mod forward;
mod gop_cache;
mod hds;
mod heartbeat;
mod hls;
mod hls_viewers;
mod hooks;
mod hostile;
mod http2;
mod httpflv;
mod https;
mod httpsound;
mod httpts;
mod kick;
mod log;
mod many_publishers;
mod metrics;
mod origin_cluster;
mod pause;
mod players;
mod programs;
mod programs_examples;
mod programs_reload;
mod publish_play;
mod publish_timeout;
mod quit;
mod raw_api;
mod reload;
mod reload_effects;
mod reload_storm;
mod rtsp;
mod shutdown;
mod slow_viewer;
mod statistics_lines;
mod systemd;
mod timestamps;
mod tracks;
mod vhost;
