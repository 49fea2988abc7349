//! `vhost.dvr`.

use super::Effect::{AtOnce, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Int, List, Path, Word};
use super::Otherwise::{ReadAs, Refused};
use super::Status::Planned;
use super::Unit::Seconds;
use super::{Row, Status, row};

pub(super) const RECORDING: Status = Planned("DVR");

pub(super) const DVR: &[Row] = &[
    row("enabled", BoolOff, "off", RECORDING, RestartsComponent, "Record streams."),
    row("dvr_apply", List, "all", RECORDING, AtOnce, "Which ones: `all`, or `app/stream` items."),
    row("dvr_plan", Word(&["session", "segment"], Refused), "session", RECORDING, RestartsComponent, "One file per publication, or files of a certain length."),
    row("dvr_path", Path, "./objs/nginx/html/[app]/[stream].[timestamp].flv", RECORDING, RestartsComponent, "Files, `.flv` or `.mp4`."),
    row("dvr_duration", Int(Seconds), "30", RECORDING, RestartsComponent, "Length of a file (segment)."),
    row("dvr_wait_keyframe", BoolOn, "on", RECORDING, RestartsComponent, "Begin files at keyframes (segment)."),
    row("time_jitter", Word(&["full", "zero", "off"], ReadAs("off")), "full", RECORDING, RestartsComponent, "Timestamps, as in `play`."),
];
