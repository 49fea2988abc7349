//! The registry of streams by name.
//!
//! It holds each stream weakly: a stream lives as long as somebody publishes or watches it, and takes
//! itself out when dropped. So the registry is bounded by the connections there are, not by the names
//! anybody ever asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::publisher::Publisher;
use crate::stream::{Stream, StreamOptions, Watch};

/// The identity of a stream. The port a client came by is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Name of the vhost as configured.
    pub vhost: String,
    /// Application, possibly of several levels.
    pub app: String,
    /// Stream name.
    pub name: String,
}

impl fmt::Display for StreamId {
    /// `vhost/app/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.vhost, self.app, self.name)
    }
}

/// Somebody else publishes that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream already has a publisher")]
pub struct Busy;

/// All streams of a server. Cheap to clone; clones are the same hub.
#[derive(Debug, Clone, Default)]
pub struct Hub(Arc<Registry>);

#[derive(Debug, Default)]
pub(crate) struct Registry {
    streams: Mutex<HashMap<StreamId, Weak<Stream>>>,
    skips: AtomicU64,
}

impl Registry {
    /// Takes a dropped stream out, unless its name has already been taken again.
    pub(crate) fn forget(&self, id: &StreamId) {
        let mut streams = self.streams.lock();
        if streams.get(id).is_some_and(|s| s.strong_count() == 0) {
            streams.remove(id);
        }
    }

    pub(crate) fn count_skip(&self) {
        self.skips.fetch_add(1, Ordering::Relaxed);
    }
}

impl Hub {
    /// Claims a name for a publisher.
    ///
    /// # Errors
    /// [`Busy`] if it has one; that one is not disturbed.
    pub fn publish(&self, id: &StreamId, options: StreamOptions) -> Result<Publisher, Busy> {
        let stream = self.stream(id);
        if stream.begin(options) { Ok(Publisher::new(stream)) } else { Err(Busy) }
    }

    /// Begins to watch a name, published or not.
    pub fn watch(&self, id: &StreamId) -> Watch {
        Watch::new(self.stream(id))
    }

    /// Times a slow viewer of any stream was moved to a newer place.
    pub fn skips(&self) -> u64 {
        self.0.skips.load(Ordering::Relaxed)
    }

    /// The stream of that name, if it is published or watched.
    pub fn find(&self, id: &StreamId) -> Option<Arc<Stream>> {
        self.0.streams.lock().get(id).and_then(Weak::upgrade)
    }

    /// All streams that are published or watched, in no order.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.0.streams.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn stream(&self, id: &StreamId) -> Arc<Stream> {
        let mut streams = self.0.streams.lock();
        if let Some(stream) = streams.get(id).and_then(Weak::upgrade) {
            return stream;
        }
        let stream = Arc::new(Stream::new(id.clone(), Arc::downgrade(&self.0)));
        streams.insert(id.clone(), Arc::downgrade(&stream));
        stream
    }
}
