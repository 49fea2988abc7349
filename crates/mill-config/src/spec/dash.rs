//! `vhost.dash` and `vhost.hds`.

use super::Effect::{AtOnce, NewSessions, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Float, Int, Path};
use super::Status::Implemented;
use super::Unit::{Plain, Seconds};
use super::{Row, row};

pub(super) const DASH: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Make segments and manifests."),
    row("dash_fragment", Float(Seconds), "30", Implemented, RestartsComponent, "Length of a segment.").clamped(0.1, 3600.0),
    row("dash_update_period", Float(Seconds), "150", Implemented, RestartsComponent, "How often players fetch the manifest; a segment's length at most, as it names each.").clamped(0.2, 3600.0),
    row("dash_timeshift", Float(Seconds), "300", Implemented, RestartsComponent, "How far players may go back; four segments at least.").clamped(0.0, 604800.0),
    row("dash_path", Path, "./objs/nginx/html", Implemented, RestartsComponent, "Directory of all files."),
    row("dash_mpd_file", Path, "[app]/[stream].mpd", Implemented, RestartsComponent, "Manifest."),
    row("dash_window_size", Int(Plain), "0", Implemented, RestartsComponent, "Segments in the manifest, if fewer than `dash_timeshift` wants; 0 for no such limit.").clamped(0.0, 100000.0),
    row("dash_cleanup", BoolOn, "on", Implemented, RestartsComponent, "Delete segments that left the manifest."),
    row("dash_dispose", Int(Seconds), "120", Implemented, AtOnce, "Delete everything after this time without input and at the end; 0 for never."),
    row("dash_ctx", BoolOn, "on", Implemented, NewSessions, "Give each viewer a session, by an id in the names in its manifest: it is let in, counted and can be ended like any other client."),
];

pub(super) const HDS: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Make fragments and manifests."),
    row("hds_fragment", Float(Seconds), "10", Implemented, RestartsComponent, "Length of a fragment.").clamped(0.1, 3600.0),
    row("hds_window", Float(Seconds), "60", Implemented, RestartsComponent, "How much of the stream there is for players; three fragments at least.").clamped(0.0, 604800.0),
    row("hds_path", Path, "./objs/nginx/html", Implemented, RestartsComponent, "Directory of all files."),
    row("hds_ctx", BoolOn, "on", Implemented, NewSessions, "Give each viewer a session, as `dash_ctx` does."),
];
