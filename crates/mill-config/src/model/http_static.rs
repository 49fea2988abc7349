//! Files over HTTP.

use std::path::PathBuf;

super::block! {
    /// `vhost.http_static`.
    pub struct HttpStatic {
        /// Serve files of the vhost.
        enabled: bool = "enabled",
        /// Template of the host and path they are found at, with `[vhost]`.
        mount: String = "mount",
        /// Template of the directory they lie in, with `[vhost]`; relative to the working directory.
        dir: PathBuf = "dir",
        /// Follow symbolic links that lead out of `dir`.
        follow_links: bool = "follow_links",
    }
}
