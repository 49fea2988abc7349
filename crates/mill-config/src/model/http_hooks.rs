//! Callbacks to a web server.

use std::time::Duration;

super::block! {
    /// `vhost.http_hooks`. All URLs of an event are called, in the order given.
    pub struct HttpHooks {
        /// Call back.
        enabled: bool = "enabled",
        /// A client says what it wants; may be refused.
        on_connect: Vec<String> = "on_connect",
        /// A connection ends.
        on_close: Vec<String> = "on_close",
        /// A client publishes; may be refused.
        on_publish: Vec<String> = "on_publish",
        /// A client has stopped publishing.
        on_unpublish: Vec<String> = "on_unpublish",
        /// A client plays; may be refused.
        on_play: Vec<String> = "on_play",
        /// A client has stopped playing.
        on_stop: Vec<String> = "on_stop",
        /// A recording is complete.
        on_dvr: Vec<String> = "on_dvr",
        /// An HLS segment is complete.
        on_hls: Vec<String> = "on_hls",
        /// The same as a GET, with `[app]`, `[stream]`, `[ts_url]` and `[param]` put in.
        on_hls_notify: Vec<String> = "on_hls_notify",
        /// Longest time from one call to its whole answer.
        timeout: Duration = "timeout",
    }
}
