//! What a driver does with this crate, on a disk in memory and with ffmpeg as the judge.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "tests write files for ffmpeg")]

mod dash;
mod disk;
mod dvr;
mod hds;
mod hls;
mod outside;
