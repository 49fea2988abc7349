//! The whole server as its users meet it: the real binary on free ports, driven by ffmpeg, rtmpdump, curl and
//! by clients that may send anything. Each file is one behaviour; `harness` is everything around the server.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod harness;

mod access;
mod bandwidth;
mod busy;
mod chunk_sizes;
mod conf_examples;
mod config_cli;
mod daemon;
mod demo;
mod enhanced;
mod gop_cache;
mod hooks;
mod hostile;
mod httpflv;
mod httpsound;
mod httpts;
mod log;
mod pause;
mod publish_play;
mod publish_timeout;
mod quit;
mod raw_api;
mod reload;
mod reload_effects;
mod reload_storm;
mod shutdown;
mod slow_viewer;
mod systemd;
mod timestamps;
mod tracks;
mod vhost;
