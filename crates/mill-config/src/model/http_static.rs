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

impl HttpStatic {
    /// The host the mount of that vhost is for, `None` for all, and its path, which begins with a slash.
    #[must_use]
    pub fn mounted(&self, vhost: &str) -> (Option<String>, String) {
        let mount = self.mount.replace("[vhost]", vhost);
        let (host, path) = mount.split_at(mount.find('/').unwrap_or(mount.len()));
        let host = (!host.is_empty() && host != super::DEFAULT_VHOST).then(|| host.to_owned());
        (host, if path.is_empty() { "/" } else { path }.to_owned())
    }

    /// The directory of that vhost's files.
    #[must_use]
    pub fn directory(&self, vhost: &str) -> PathBuf {
        // A name of letters, digits and dots, as the configuration's check wants it.
        self.dir.to_str().map_or_else(|| self.dir.clone(), |dir| dir.replace("[vhost]", vhost).into())
    }
}
