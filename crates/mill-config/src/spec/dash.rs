//! `vhost.dash` and `vhost.hds`.

use super::Effect::RestartsComponent;
use super::Kind::{BoolOff, BoolOn, Float, Int, Path};
use super::Status::Planned;
use super::Unit::{Plain, Seconds};
use super::{Row, Status, row};

pub(super) const MPEG_DASH: Status = Planned("DASH");
pub(super) const ADOBE_HDS: Status = Planned("HDS");

pub(super) const DASH: &[Row] = &[
    row("enabled", BoolOff, "off", MPEG_DASH, RestartsComponent, "Write fragments and manifests."),
    row("dash_fragment", Float(Seconds), "30", MPEG_DASH, RestartsComponent, "Length of a fragment."),
    row("dash_update_period", Float(Seconds), "150", MPEG_DASH, RestartsComponent, "How often players fetch the manifest."),
    row("dash_timeshift", Float(Seconds), "300", MPEG_DASH, RestartsComponent, "How far players may go back."),
    row("dash_path", Path, "./objs/nginx/html", MPEG_DASH, RestartsComponent, "Directory of all files."),
    row("dash_mpd_file", Path, "[app]/[stream].mpd", MPEG_DASH, RestartsComponent, "Manifest."),
    row("dash_window_size", Int(Plain), "5", MPEG_DASH, RestartsComponent, "Fragments in the manifest."),
    row("dash_cleanup", BoolOn, "on", MPEG_DASH, RestartsComponent, "Delete fragments that left the manifest."),
    row("dash_dispose", Int(Seconds), "120", MPEG_DASH, RestartsComponent, "Delete everything after this time without input and at the end; 0 for never."),
];

pub(super) const HDS: &[Row] = &[
    row("enabled", BoolOff, "off", ADOBE_HDS, RestartsComponent, "Write fragments and manifests."),
    row("hds_fragment", Float(Seconds), "10", ADOBE_HDS, RestartsComponent, "Length of a fragment."),
    row("hds_window", Float(Seconds), "60", ADOBE_HDS, RestartsComponent, "Length of the manifest."),
    row("hds_path", Path, "./objs/nginx/html", ADOBE_HDS, RestartsComponent, "Directory of all files."),
];
