//! `vhost.publish`.

use super::Effect::{AtOnce, NewSessions};
use super::Kind::{BoolOff, BoolOn, Float, Int};
use super::Status::{Ignored, Implemented};
use super::Unit::{Millis, Seconds};
use super::{Row, row};

pub(super) const PUBLISH: &[Row] = &[
    row("mr", BoolOff, "off", Implemented, AtOnce, "Collect input before reading it, with many publishers; off: only of streams nobody watches."),
    row("mr_latency", Int(Millis), "350", Implemented, AtOnce, "The longest time it is collected; 0 for never."),
    row("firstpkt_timeout", Int(Millis), "20000", Implemented, AtOnce, "A publisher that sends nothing in this time at the start is dropped.").strict(1.0, i32::MAX as f64),
    row("normal_timeout", Int(Millis), "5000", Implemented, AtOnce, "A publisher that sends nothing for this long later on is dropped.").strict(1.0, i32::MAX as f64),
    row("parse_sps", BoolOn, "on", Implemented, AtOnce, "Read width, height and profile from the video's parameter sets."),
    row("try_annexb_first", BoolOn, "on", Ignored("the framing of video is recognised by itself"), NewSessions, "Try Annex B framing of H.264 before length prefixes."),
    row("kickoff_for_idle", Float(Seconds), "0", Implemented, AtOnce, "A publisher without players for this long is dropped; 0 for never."),
];
