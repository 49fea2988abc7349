//! `vhost.play`.

use super::Effect::AtOnce;
use super::Kind::{BoolOff, BoolOn, Float, Int, Word};
use super::Otherwise::ReadAs;
use super::Status::{Ignored, Implemented};
use super::Unit::{Millis, Plain, Seconds};
use super::{Row, row};

pub(super) const PLAY: &[Row] = &[
    row("gop_cache", BoolOn, "on", Implemented, AtOnce, "Start new players with the last group of pictures, so that they see something at once."),
    row("gop_cache_max_frames", Int(Plain), "2500", Implemented, AtOnce, "A group of more frames than this is not kept."),
    row("queue_length", Int(Seconds), "30", Implemented, AtOnce, "A player further behind than this loses what it missed."),
    row("time_jitter", Word(&["full", "zero", "off"], ReadAs("off")), "full", Implemented, AtOnce, "Timestamps of a stream, the same for all its players: `full` starts at zero and never jumps, `zero` starts at zero, `off` as published."),
    row("mix_correct", BoolOff, "off", Implemented, AtOnce, "Interleave audio and video by timestamp."),
    row("atc", BoolOff, "off", Implemented, AtOnce, "Hand timestamps on as published (`time_jitter` is off then)."),
    row("atc_auto", BoolOff, "off", Implemented, AtOnce, "Switch `atc` on if the metadata has `bravo_atc`."),
    row("mw_latency", Int(Millis), "350", Implemented, AtOnce, "Longest time messages are collected into one write."),
    row("mw_msgs", Int(Plain), "8", Ignored("messages are collected by time, not by number"), AtOnce, "Number of messages collected before a write.").clamped(0.0, 128.0),
    row("send_min_interval", Float(Millis), "0", Implemented, AtOnce, "Shortest time between two writes to a player; 0 for off."),
    row("reduce_sequence_header", BoolOff, "off", Implemented, AtOnce, "Do not repeat unchanged sequence headers."),
];
