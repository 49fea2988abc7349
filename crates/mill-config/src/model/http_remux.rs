//! Live streams over HTTP.

use std::time::Duration;

super::block! {
    /// `vhost.http_remux`.
    pub struct HttpRemux {
        /// Offer the vhost's streams over HTTP.
        enabled: bool = "enabled",
        /// Template of their host and path, with `[vhost]`, `[app]` and `[stream]`; its ending chooses the
        /// format.
        mount: String = "mount",
        /// Sound that new viewers of `.aac` and `.mp3` get at once; zero for none.
        fast_cache: Duration = "fast_cache",
        /// Announce audio in the FLV header, unless guessed.
        has_audio: bool = "has_audio",
        /// Announce video in the FLV header, unless guessed.
        has_video: bool = "has_video",
        /// Leave out tracks the FLV header does not announce.
        drop_if_not_match: bool = "drop_if_not_match",
        /// Announce what the stream has, instead of the two above.
        guess_has_av: bool = "guess_has_av",
    }
}
