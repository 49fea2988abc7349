//! The unique handle of whoever publishes a stream.

use std::sync::Arc;

use bytes::Bytes;
use mill_media::frame::FrameKind;

use crate::stream::Stream;
use crate::tap::Outlet;

/// The one publisher of a stream. Dropping it unpublishes, however its owner ends.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
}

impl Publisher {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        Self { stream }
    }

    /// The stream published.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// This publish, for those who run beside it.
    pub fn outlet(&self) -> Outlet {
        Outlet::new(self.stream.clone(), self.stream.publishes())
    }

    /// Hands in one frame. `timestamp` is the wire's, in milliseconds modulo 2^32.
    ///
    /// Viewers hear of it with the next [`Self::wake`], so that a read full of small messages wakes them once.
    pub fn push(&mut self, kind: FrameKind, timestamp: u32, payload: Bytes) {
        self.stream.push(kind, timestamp, payload);
    }

    /// Tells the readers of all lanes that there is something new.
    pub fn wake(&mut self) {
        self.stream.wake();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stream.end();
    }
}
