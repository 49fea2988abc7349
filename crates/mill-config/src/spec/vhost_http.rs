//! `vhost.http_static`, `vhost.http_remux` and `vhost.http_hooks`.

use super::Effect::{AtOnce, NewSessions};
use super::Kind::{BoolOff, BoolOn, Float, List, Path, Text};
use super::Status::Implemented;
use super::Unit::Seconds;
use super::{Row, row};

pub(super) const STATIC: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, AtOnce, "Serve files of this vhost."),
    row("mount", Text, "[vhost]/", Implemented, AtOnce, "Host and path they are found at; `[vhost]` is the name of this vhost."),
    row("dir", Path, "./objs/nginx/html", Implemented, AtOnce, "Directory they lie in; it may contain `[vhost]`."),
    row("follow_links", BoolOff, "off", Implemented, AtOnce, "Follow symbolic links that lead out of `dir`; those within it always are."),
];

pub(super) const REMUX: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, AtOnce, "Serve live streams over HTTP."),
    row("mount", Text, "[vhost]/[app]/[stream].flv", Implemented, NewSessions, "Where they are found; the ending chooses the format: `.flv`, `.ts`, `.mp3`, `.aac`."),
    row("fast_cache", Float(Seconds), "0", Implemented, NewSessions, "Sound kept for new listeners of `.mp3` and `.aac`; 0 for none."),
    row("drop_if_not_match", BoolOn, "on", Implemented, NewSessions, "Leave out tracks the FLV header does not announce."),
    row("has_audio", BoolOn, "on", Implemented, NewSessions, "Announce audio in the FLV header."),
    row("has_video", BoolOn, "on", Implemented, NewSessions, "Announce video in the FLV header."),
    row("guess_has_av", BoolOn, "on", Implemented, NewSessions, "Announce what the stream has, instead of the two above."),
];

pub(super) const HOOKS: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, NewSessions, "Call back; all URLs of an event are called."),
    row("on_connect", List, "", Implemented, NewSessions, "A client connects; may be refused.").example("http://127.0.0.1:8085/api/v1/clients"),
    row("on_close", List, "", Implemented, NewSessions, "A client leaves.").example("http://127.0.0.1:8085/api/v1/clients"),
    row("on_publish", List, "", Implemented, NewSessions, "A client publishes; may be refused.").example("http://127.0.0.1:8085/api/v1/streams"),
    row("on_unpublish", List, "", Implemented, NewSessions, "A client stops publishing.").example("http://127.0.0.1:8085/api/v1/streams"),
    row("on_play", List, "", Implemented, NewSessions, "A client plays; may be refused.").example("http://127.0.0.1:8085/api/v1/sessions"),
    row("on_stop", List, "", Implemented, NewSessions, "A client stops playing.").example("http://127.0.0.1:8085/api/v1/sessions"),
    row("on_dvr", List, "", Implemented, NewSessions, "A recording is complete.").example("http://127.0.0.1:8085/api/v1/dvrs"),
    row("on_hls", List, "", Implemented, NewSessions, "An HLS segment is complete.").example("http://127.0.0.1:8085/api/v1/hls"),
    row("on_hls_notify", List, "", Implemented, NewSessions, "The same as a GET of one of these, for a cache to fetch the segment.").example("http://127.0.0.1:8085/api/v1/hls/[app]/[stream]/[ts_url][param]"),
    row("timeout", Float(Seconds), "30", Implemented, NewSessions, "Longest time from one call to its whole answer.").clamped(0.1, 300.0),
];
