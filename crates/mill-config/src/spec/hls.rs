//! `vhost.hls`.

use super::Effect::{AtOnce, NewSessions, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Float, Int, Path, Text, Word};
use super::Otherwise::ReadAs;
use super::Status::{Ignored, Planned};
use super::Unit::{Bytes, Plain, Seconds};
use super::{Row, Status, row};

pub(super) const HTTP_LIVE: Status = Planned("HLS");
const OLD_STORAGE: Status = Ignored("SRS itself dropped it before 3.0");

pub(super) const HLS: &[Row] = &[
    row("enabled", BoolOff, "off", HTTP_LIVE, RestartsComponent, "Write segments and playlists."),
    row("hls_fragment", Float(Seconds), "10", HTTP_LIVE, RestartsComponent, "Length of a segment."),
    row("hls_td_ratio", Float(Plain), "1.5", HTTP_LIVE, RestartsComponent, "Target duration before the first long segment, in segment lengths."),
    row("hls_aof_ratio", Float(Plain), "2.0", HTTP_LIVE, RestartsComponent, "Length of a segment without keyframes, in segment lengths."),
    row("hls_window", Float(Seconds), "60", HTTP_LIVE, RestartsComponent, "Length of the playlist."),
    row("hls_on_error", Word(&["ignore", "continue", "disconnect"], ReadAs("disconnect")), "continue", HTTP_LIVE, AtOnce, "On a failed write: stop HLS, try on, or drop the publisher."),
    row("hls_path", Path, "./objs/nginx/html", HTTP_LIVE, RestartsComponent, "Directory of all files."),
    row("hls_m3u8_file", Path, "[app]/[stream].m3u8", HTTP_LIVE, RestartsComponent, "Playlist."),
    row("hls_ts_file", Path, "[app]/[stream]-[seq].ts", HTTP_LIVE, RestartsComponent, "Segments."),
    row("hls_ts_floor", BoolOff, "off", HTTP_LIVE, RestartsComponent, "Cut at multiples of the segment length on the clock."),
    row("hls_entry_prefix", Text, "", HTTP_LIVE, RestartsComponent, "Put before the segments' names in the playlist.").example("http://your-server"),
    row("hls_acodec", Word(&["aac", "mp3", "an"], ReadAs("aac")), "aac", HTTP_LIVE, RestartsComponent, "Audio announced in segments; `an` for none."),
    row("hls_vcodec", Word(&["h264", "vn"], ReadAs("h264")), "h264", HTTP_LIVE, RestartsComponent, "Video announced in segments; `vn` for none."),
    row("hls_cleanup", BoolOn, "on", HTTP_LIVE, RestartsComponent, "Delete segments that left the playlist."),
    row("hls_dispose", Int(Seconds), "0", HTTP_LIVE, AtOnce, "Delete everything after this time without input and at the end; 0 for never."),
    row("hls_nb_notify", Int(Bytes), "64", HTTP_LIVE, NewSessions, "Bytes read of the answer to `on_hls_notify`."),
    row("hls_wait_keyframe", BoolOn, "on", HTTP_LIVE, RestartsComponent, "Cut at keyframes only."),
    row("hls_dts_directly", BoolOn, "on", HTTP_LIVE, RestartsComponent, "Use timestamps as they come."),
    row("hls_keys", BoolOn, "off", HTTP_LIVE, RestartsComponent, "Encrypt with AES-128."),
    row("hls_fragments_per_key", Int(Plain), "5", HTTP_LIVE, RestartsComponent, "Segments of one key.").clamped(1.0, i32::MAX as f64),
    row("hls_key_file", Path, "[app]/[stream]-[seq].key", HTTP_LIVE, RestartsComponent, "Keys."),
    row("hls_key_file_path", Path, "", HTTP_LIVE, RestartsComponent, "Directory of the keys; that of `hls_path` if not given.").example("./objs/nginx/html"),
    row("hls_key_url", Text, "", HTTP_LIVE, RestartsComponent, "Put before the keys' names in the playlist.").example("https://localhost:8080"),
    row("hls_ctx", BoolOn, "on", HTTP_LIVE, NewSessions, "Give each player an id in its playlist URL."),
    row("hls_ts_ctx", BoolOn, "on", HTTP_LIVE, NewSessions, "Give each player an id in its segment URLs."),
    row("hls_storage", Text, "", OLD_STORAGE, RestartsComponent, "Where segments were kept.").example("disk"),
    row("hls_mount", Text, "", OLD_STORAGE, RestartsComponent, "Where segments in memory were served.").example("[vhost]/[app]/[stream].m3u8"),
];
