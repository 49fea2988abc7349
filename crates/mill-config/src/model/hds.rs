//! Adobe HTTP Dynamic Streaming.

use std::time::Duration;

super::block! {
    /// `vhost.hds`.
    pub struct Hds {
        /// Make fragments and manifests.
        enabled: bool = "enabled",
        /// Length of a fragment.
        fragment: Duration = "hds_fragment",
        /// How much of the stream there is for players.
        window: Duration = "hds_window",
        /// Directory of all files.
        path: String = "hds_path",
        /// Give each viewer a session, by an id in the names in its manifest.
        ctx: bool = "hds_ctx",
    }
}

impl Hds {
    /// Whether fragments go on as they are under the other value: what differs is looked at when it is needed.
    #[must_use]
    pub fn goes_on_under(&self, new: &Self) -> bool {
        *self == Self { ctx: self.ctx, ..new.clone() }
    }
}
