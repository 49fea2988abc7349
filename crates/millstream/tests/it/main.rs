//! The whole server as its users meet it: the real binary on free ports, driven by ffmpeg, rtmpdump, curl and
//! by clients that may send anything. Each file is one behaviour; `harness` is everything around the server.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;

mod api;
mod api_auth;
mod api_system;
mod busy;
mod chunk_sizes;
mod config_cli;
mod demo;
mod enhanced;
mod gop_cache;
mod heartbeat;
mod hostile;
mod httpflv;
mod https;
mod kick;
mod metrics;
mod pause;
mod publish_play;
mod publish_timeout;
mod shutdown;
mod slow_viewer;
mod statistics_lines;
mod timestamps;
mod tracks;
mod vhost;
