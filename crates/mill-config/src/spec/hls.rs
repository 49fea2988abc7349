//! `vhost.hls`.

use super::Effect::{AtOnce, NewSessions, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Float, Int, Path, Text, Word};
use super::Otherwise::ReadAs;
use super::Status::{Ignored, Implemented};
use super::Unit::{Bytes, Plain, Seconds};
use super::{Row, Status, row};

const OLD_STORAGE: Status = Ignored("SRS itself dropped it before 3.0");

pub(super) const HLS: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Write segments and playlists."),
    row("hls_fragment", Float(Seconds), "10", Implemented, RestartsComponent, "Length of a segment.").clamped(0.1, 3600.0),
    row("hls_td_ratio", Float(Plain), "1.5", Implemented, RestartsComponent, "Target duration before the first long segment, in segment lengths.").clamped(0.1, 1000.0),
    row("hls_aof_ratio", Float(Plain), "2.0", Implemented, RestartsComponent, "Length of a segment of sound alone, in segment lengths.").clamped(0.1, 1000.0),
    row("hls_window", Float(Seconds), "60", Implemented, RestartsComponent, "Length of the playlist; three segments at least.").clamped(0.0, 604800.0),
    row("hls_on_error", Word(&["ignore", "continue", "disconnect"], ReadAs("disconnect")), "continue", Implemented, AtOnce, "On a failure: no HLS for the rest of the publish, try on, or drop the publisher."),
    row("hls_path", Path, "./objs/nginx/html", Implemented, RestartsComponent, "Directory of all files."),
    row("hls_m3u8_file", Path, "[app]/[stream].m3u8", Implemented, RestartsComponent, "Playlist."),
    row("hls_ts_file", Path, "[app]/[stream]-[seq].ts", Implemented, RestartsComponent, "Segments."),
    row("hls_ts_floor", BoolOff, "off", Implemented, RestartsComponent, "Cut at multiples of the segment length on the clock."),
    row("hls_entry_prefix", Text, "", Implemented, RestartsComponent, "Put before the segments' names in the playlist.").example("http://your-server"),
    row("hls_acodec", Word(&["aac", "mp3", "an"], ReadAs("aac")), "aac", Implemented, RestartsComponent, "`an`: segments have no sound. What they have is announced as it is."),
    row("hls_vcodec", Word(&["h264", "vn"], ReadAs("h264")), "h264", Implemented, RestartsComponent, "`vn`: segments have no pictures. What they have is announced as it is."),
    row("hls_cleanup", BoolOn, "on", Implemented, RestartsComponent, "Delete segments that left the playlist."),
    row("hls_dispose", Int(Seconds), "0", Implemented, AtOnce, "Delete everything after this time without input and at the end; 0 for never."),
    row("hls_nb_notify", Int(Bytes), "64", Implemented, NewSessions, "Bytes read of the answer to `on_hls_notify`."),
    row("hls_wait_keyframe", BoolOn, "on", Implemented, RestartsComponent, "Cut at keyframes only."),
    row("hls_dts_directly", BoolOn, "on", Implemented, RestartsComponent, "Follow the timestamps of sound; off: count its samples, until both are half a second apart."),
    row("hls_keys", BoolOn, "off", Implemented, RestartsComponent, "Encrypt with AES-128."),
    row("hls_fragments_per_key", Int(Plain), "5", Implemented, RestartsComponent, "Segments of one key.").clamped(1.0, i32::MAX as f64),
    row("hls_key_file", Path, "[app]/[stream]-[seq].key", Implemented, RestartsComponent, "Keys."),
    row("hls_key_file_path", Path, "", Implemented, RestartsComponent, "Directory of the keys; that of `hls_path` if not given.").example("./objs/nginx/html"),
    row("hls_key_url", Text, "", Implemented, RestartsComponent, "Put before the keys' names in the playlist; the path they are served at if not given.").example("https://localhost:8080"),
    row("hls_ctx", BoolOn, "on", Implemented, NewSessions, "Give each viewer a session, by an id in its playlist URL: it is let in, counted and can be ended like any other client."),
    row("hls_ts_ctx", BoolOn, "on", Implemented, NewSessions, "And in its segment URLs; where viewers are checked, segments and keys are for sessions only."),
    row("hls_storage", Word(&["disk", "ram", "both"], ReadAs("disk")), "disk", Implemented, RestartsComponent, "Where segments are kept: on the disk too, which `both` says as well, or in memory alone. They are served from memory in any case."),
    row("hls_mount", Text, "", OLD_STORAGE, RestartsComponent, "Where segments in memory were served.").example("[vhost]/[app]/[stream].m3u8"),
];
