//! `vhost.dvr`.

use super::Effect::{AtOnce, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Float, Int, List, Path, Word};
use super::Otherwise::{ReadAs, Refused};
use super::Status::Implemented;
use super::Unit::Seconds;
use super::{Row, row};

pub(super) const DVR: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Record streams."),
    row("dvr_apply", List, "all", Implemented, AtOnce, "Which ones: `all`, or `app/stream` items."),
    row("dvr_plan", Word(&["session", "segment"], Refused), "session", Implemented, RestartsComponent, "One file per publication, or files of a certain length."),
    row("dvr_path", Path, "./objs/nginx/html/[app]/[stream].[timestamp].flv", Implemented, RestartsComponent, "Files, `.flv` or `.mp4`."),
    row("dvr_duration", Int(Seconds), "30", Implemented, RestartsComponent, "Length of a file (segment)."),
    row("dvr_wait_keyframe", BoolOn, "on", Implemented, RestartsComponent, "Begin files at keyframes (segment)."),
    row("time_jitter", Word(&["full", "zero", "off"], ReadAs("off")), "full", Implemented, RestartsComponent, "Timestamps, as in `play`."),
    row("dvr_flush", Float(Seconds), "1", Implemented, RestartsComponent, "How much of a recording a crash may cost.").clamped(0.1, 60.0),
    row("dvr_fsync", BoolOn, "on", Implemented, RestartsComponent, "What is flushed survives a power failure too, not just the end of the process."),
];
