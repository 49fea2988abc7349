//! HTTP Live Streaming.

use std::time::Duration;

use super::Field;
use crate::view::View;

super::block! {
    /// `vhost.hls`.
    pub struct Hls {
        /// Write segments and playlists.
        enabled: bool = "enabled",
        /// Length of a segment.
        fragment: Duration = "hls_fragment",
        /// Target duration before the first long segment, in segment lengths.
        td_ratio: f64 = "hls_td_ratio",
        /// Length of a segment of sound alone, in segment lengths.
        aof_ratio: f64 = "hls_aof_ratio",
        /// Length of the playlist.
        window: Duration = "hls_window",
        /// What follows a failure.
        on_error: HlsOnError = "hls_on_error",
        /// Where segments are kept.
        storage: HlsStorage = "hls_storage",
        /// Directory of all files.
        path: String = "hls_path",
        /// Template of the playlist below it.
        m3u8_file: String = "hls_m3u8_file",
        /// Template of the segments below it.
        ts_file: String = "hls_ts_file",
        /// Cut at multiples of the segment length on the clock.
        ts_floor: bool = "hls_ts_floor",
        /// Put before the segments' names in the playlist.
        entry_prefix: String = "hls_entry_prefix",
        /// Sound announced in segments; `an` for none.
        acodec: String = "hls_acodec",
        /// Pictures announced in segments; `vn` for none.
        vcodec: String = "hls_vcodec",
        /// Delete segments that left the playlist.
        cleanup: bool = "hls_cleanup",
        /// Delete everything after this time without input and at the end; zero for never.
        dispose: Duration = "hls_dispose",
        /// Bytes read of the answer to `on_hls_notify`.
        nb_notify: u32 = "hls_nb_notify",
        /// Cut at keyframes only.
        wait_keyframe: bool = "hls_wait_keyframe",
        /// Follow the timestamps of sound instead of counting its samples.
        dts_directly: bool = "hls_dts_directly",
        /// Encrypt with AES-128.
        keys: bool = "hls_keys",
        /// Segments of one key.
        fragments_per_key: u32 = "hls_fragments_per_key",
        /// Template of the keys.
        key_file: String = "hls_key_file",
        /// Directory of the keys; that of `hls_path` if empty.
        key_file_path: String = "hls_key_file_path",
        /// Put before the keys' names in the playlist.
        key_url: String = "hls_key_url",
        /// Give each viewer a session, by an id in its playlist URL.
        ctx: bool = "hls_ctx",
        /// And in its segment URLs.
        ts_ctx: bool = "hls_ts_ctx",
    }
}

impl Hls {
    /// Whether segments go on as they are under the other value: what differs is looked at when it is needed.
    #[must_use]
    pub fn goes_on_under(&self, new: &Self) -> bool {
        let Self { on_error, dispose, nb_notify, ctx, ts_ctx, .. } = *self;
        *self == Self { on_error, dispose, nb_notify, ctx, ts_ctx, ..new.clone() }
    }
}

/// What follows a failure to make or write a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HlsOnError {
    /// The rest of the publish has no HLS.
    Ignore,
    /// The publisher is dropped.
    Disconnect,
    /// It is tried on.
    Continue,
}

impl Field for HlsOnError {
    fn read(view: &View<'_>, name: &str) -> Self {
        match view.word(name) {
            "ignore" => Self::Ignore,
            "continue" => Self::Continue,
            _ => Self::Disconnect,
        }
    }
}

/// Where segments and playlists are kept. They are served from memory in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HlsStorage {
    /// On the disk too.
    Disk,
    /// In memory alone.
    Ram,
}

impl Field for HlsStorage {
    fn read(view: &View<'_>, name: &str) -> Self {
        match view.word(name) {
            "ram" => Self::Ram,
            _ => Self::Disk,
        }
    }
}
