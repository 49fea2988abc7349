//! Which directory a URL is looked for in: the mounts of `http_static`, then `http_server.dir`.
//!
//! A mount is a path with a host or `[vhost]` in front, or without for all hosts. That with the longest path
//! wins, at the same length one with a host; there is no falling back from one to another. A mount at `/` for
//! all hosts takes the place of `http_server.dir`. All as in SRS.

use std::path::PathBuf;

use mill_config::model::{Snapshot, Vhost};

use super::name::Name;

/// A directory, and what is wanted from it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) follow_links: bool,
    /// Relative to the directory.
    pub(super) name: Name,
}

/// Looks for `name`, asked for at `host`.
pub(super) fn find(config: &Snapshot, host: &str, name: &Name) -> Option<Place> {
    let asked = config.vhost(host).map(|vhost| &vhost.name);
    let enabled = config.vhosts.iter().filter(|vhost| vhost.enabled && vhost.http_static.enabled);
    let mounts = enabled.filter_map(|vhost| {
        let (front, at) = mount(vhost)?;
        let fits = match &front {
            None => true,
            Some(front) => front == host || Some(front) == asked,
        };
        let below = name.below(&at).filter(|_| fits)?;
        Some((at.depth(), front.is_some(), vhost, below))
    });
    if let Some((_, _, vhost, name)) = mounts.max_by_key(|(depth, of_host, ..)| (*depth, *of_host)) {
        let files = &vhost.http_static;
        let dir = files.directory(&vhost.name);
        return Some(Place { dir, follow_links: files.follow_links, name });
    }
    let server = &config.http_server;
    Some(Place { dir: server.dir.clone(), follow_links: server.follow_links, name: name.clone() })
}

/// Host, if it is for one, and path of a vhost's mount.
fn mount(vhost: &Vhost) -> Option<(Option<String>, Name)> {
    let (host, path) = vhost.http_static.mounted(&vhost.name);
    Some((host, Name::parse(&path)?))
}
