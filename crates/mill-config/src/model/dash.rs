//! MPEG-DASH.

use std::time::Duration;

super::block! {
    /// `vhost.dash`.
    pub struct Dash {
        /// Make segments and manifests.
        enabled: bool = "enabled",
        /// Length of a segment.
        fragment: Duration = "dash_fragment",
        /// How often players fetch the manifest.
        update_period: Duration = "dash_update_period",
        /// How far players may go back.
        timeshift: Duration = "dash_timeshift",
        /// Directory of all files.
        path: String = "dash_path",
        /// Template of the manifest below it.
        mpd_file: String = "dash_mpd_file",
        /// Segments in the manifest; 0 for as many as [`timeshift`](Self::timeshift) wants.
        window_size: u32 = "dash_window_size",
        /// Delete segments that left the manifest.
        cleanup: bool = "dash_cleanup",
        /// Delete everything after this time without input and at the end; zero for never.
        dispose: Duration = "dash_dispose",
        /// Give each viewer a session, by an id in the names in its manifest.
        ctx: bool = "dash_ctx",
    }
}

impl Dash {
    /// Whether segments go on as they are under the other value: what differs is looked at when it is needed.
    #[must_use]
    pub fn goes_on_under(&self, new: &Self) -> bool {
        *self == Self { dispose: self.dispose, ctx: self.ctx, ..new.clone() }
    }
}
