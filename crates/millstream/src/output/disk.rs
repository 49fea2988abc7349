//! Threads that may wait for a disk, so that no task does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Threads of one kind of output that may wait for disks at a time; the runtime has 512 for everybody.
const THREADS: usize = 64;

/// Threads that may wait for a disk. Cheap to clone.
#[derive(Clone)]
pub(super) struct Disk {
    permits: Arc<Semaphore>,
    running: TaskTracker,
}

impl Default for Disk {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(THREADS)), running: TaskTracker::new() }
    }
}

impl Disk {
    /// Runs `work` on such a thread, to its end even if nobody waits any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = self.permits.clone().acquire_owned().await;
        let work = move || {
            let _permit = permit;
            work()
        };
        self.running.spawn_blocking(work).await.map_err(io::Error::other)?
    }

    /// Runs something short when there is time.
    pub(super) fn later(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.running.spawn_blocking(work));
    }

    /// Waits for what is running.
    pub(super) async fn settle(&self, patience: Duration) {
        self.running.close();
        let _ = tokio::time::timeout(patience, self.running.wait()).await;
    }
}
