//! The configuration in force, as everybody reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use mill_config::Tree;
use mill_config::model::{Snapshot, Vhost};

/// The configuration in force. Whoever makes a decision loads it; what lives long keeps a [`Follow`]. Cheap to
/// clone; clones are the same.
#[derive(Clone)]
pub(crate) struct Config {
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// The directives it was read from.
    tree: Arc<ArcSwap<Tree>>,
    /// How often it was replaced.
    epoch: Arc<AtomicU64>,
}

impl Config {
    pub(crate) fn new(snapshot: Snapshot, tree: Tree) -> Self {
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        Self { snapshot, tree: Arc::new(ArcSwap::from_pointee(tree)), epoch: Arc::default() }
    }

    /// For a look of a few instructions.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// For a look that may take longer.
    pub(crate) fn load_full(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The directives, for those who show them.
    pub(crate) fn tree(&self) -> Arc<Tree> {
        self.tree.load_full()
    }

    /// Only a reload does this: what it changes beside the value is in [`super::Reloader`].
    pub(super) fn replace(&self, snapshot: Arc<Snapshot>, tree: Tree) {
        self.tree.store(Arc::new(tree));
        self.snapshot.store(snapshot);
        // After the value: who sees the number sees the value.
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

/// A long-lived session's view of its vhost. To ask for news costs one load of a counter.
#[derive(Debug)]
pub(crate) struct Follow {
    vhost: String,
    seen: Option<u64>,
}

impl Follow {
    /// The vhost of that exact name.
    pub(crate) fn new(vhost: &str) -> Self {
        Self { vhost: vhost.to_owned(), seen: None }
    }

    /// The vhost as it is now, if the configuration was replaced since the last call, and at the first one.
    pub(crate) fn news(&mut self, config: &Config) -> Option<Arc<Vhost>> {
        let epoch = config.epoch.load(Ordering::Acquire);
        if self.seen == Some(epoch) {
            return None;
        }
        self.seen = Some(epoch);
        config.load().vhosts.iter().find(|vhost| vhost.name == self.vhost).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot
    }

    #[test]
    fn news_come_once() {
        let config = Config::new(
            snapshot("listen 1; vhost a { chunk_size 1000; } vhost __defaultVhost__ { }"),
            Tree::default(),
        );
        let mut follow = Follow::new("a");
        assert_eq!(follow.news(&config).unwrap().chunk_size, 1000);
        assert!(follow.news(&config).is_none());
        config.replace(Arc::new(snapshot("listen 1; vhost a { chunk_size 2000; }")), Tree::default());
        assert_eq!(follow.news(&config).unwrap().chunk_size, 2000);
        assert!(follow.news(&config).is_none());
        config.replace(Arc::new(snapshot("listen 1; vhost __defaultVhost__ { }")), Tree::default());
        assert!(follow.news(&config).is_none(), "a vhost that is gone has no news, and no substitute");
    }
}
