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
    }
}
