//! How players are served.

use std::time::Duration;

use super::Field;
use crate::view::View;

super::block! {
    /// `vhost.play`.
    pub struct Play {
        /// Start new players with the last group of pictures.
        gop_cache: bool = "gop_cache",
        /// A group of more frames than this is not kept.
        gop_cache_max_frames: u32 = "gop_cache_max_frames",
        /// A player further behind than this loses what it missed.
        queue_length: Duration = "queue_length",
        /// What is done to timestamps.
        time_jitter: TimeJitter = "time_jitter",
        /// Interleave audio and video by timestamp.
        mix_correct: bool = "mix_correct",
        /// Hand timestamps on as published; `time_jitter` is off then.
        atc: bool = "atc",
        /// Switch `atc` on if the metadata has `bravo_atc`.
        atc_auto: bool = "atc_auto",
        /// Longest time messages are collected into one write.
        mw_latency: Duration = "mw_latency",
        /// Shortest time between two writes to a player; zero for off.
        send_min_interval: Duration = "send_min_interval",
        /// Do not repeat unchanged sequence headers.
        reduce_sequence_header: bool = "reduce_sequence_header",
    }
}

/// What is done to the timestamps of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeJitter {
    /// They start at zero and never jump.
    Full,
    /// They start at zero.
    Zero,
    /// They are as published.
    Off,
}

impl Field for TimeJitter {
    fn read(view: &View<'_>, name: &str) -> Self {
        match view.word(name) {
            "full" => TimeJitter::Full,
            "zero" => TimeJitter::Zero,
            _ => TimeJitter::Off,
        }
    }
}
