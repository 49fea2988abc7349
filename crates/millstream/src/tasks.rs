//! The only place that starts tasks.
//!
//! Every task has a context id of its own, which its log lines carry, and belongs to the server. A task holds nothing
//! that its `Drop` would not give back (a publisher, a seat, a permit), so ending it is dropping it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::log;

/// The tasks of one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tasks {
    next_id: Arc<AtomicU64>,
    running: TaskTracker,
    handles: Arc<Mutex<Handles>>,
}

#[derive(Default)]
struct Handles {
    /// `None` for a task that is just being started.
    by_id: HashMap<u64, Option<AbortHandle>>,
    /// The server ends: nothing starts any more.
    closed: bool,
}

impl Tasks {
    /// Ids start at a number between 100 and 1099 taken from `seed`, as in SRS: so ids of two runs are
    /// seldom the same.
    pub(crate) fn new(seed: u64) -> Self {
        let next_id = Arc::new(AtomicU64::new(100 + seed % 1000));
        Self { next_id, running: TaskTracker::new(), handles: Arc::default() }
    }

    /// Tasks of their own, with ids from the same row: they end after those here.
    pub(crate) fn apart(&self) -> Self {
        Self { next_id: self.next_id.clone(), running: TaskTracker::new(), handles: Arc::default() }
    }

    /// An id for a task that is to be spawned.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a task under an id from [`Tasks::next_id`]; drops it if the server is ending.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub(crate) fn spawn(&self, id: u64, task: impl Future<Output = ()> + Send + 'static) {
        {
            let mut handles = self.handles.lock();
            if handles.closed {
                return;
            }
            let taken = handles.by_id.insert(id, None);
            debug_assert!(taken.is_none(), "task id {id} is used twice");
        }
        let entry = Entry { handles: self.handles.clone(), id };
        let task = log::with_cid(id, async move {
            let _entry = entry;
            task.await;
        });
        // Not under the lock: a runtime that shuts down drops the task right here.
        let spawned = tokio::spawn(self.running.track_future(task));
        let mut handles = self.handles.lock();
        if handles.closed {
            spawned.abort();
        } else if let Some(handle) = handles.by_id.get_mut(&id) {
            *handle = Some(spawned.abort_handle());
        }
    }

    /// Ends one task where it waits; what it holds is dropped soon after. `false` if there is none.
    pub(crate) fn cut(&self, id: u64) -> bool {
        let handles = self.handles.lock();
        let Some(Some(handle)) = handles.by_id.get(&id) else { return false };
        handle.abort();
        true
    }

    /// Waits until all tasks have ended by themselves, at most `patience`; then ends the rest and gives how many
    /// those were. Until then tasks may be started.
    pub(crate) async fn finish(&self, patience: Duration) -> usize {
        self.running.close();
        let _ = tokio::time::timeout(patience, self.running.wait()).await;
        let left = self.running.len();
        self.end(Duration::ZERO).await;
        left
    }

    /// Ends all tasks and waits until they have, at most `patience`; gives how many have not.
    pub(crate) async fn end(&self, patience: Duration) -> usize {
        let handles = {
            let mut handles = self.handles.lock();
            handles.closed = true;
            std::mem::take(&mut handles.by_id)
        };
        for handle in handles.into_values().flatten() {
            handle.abort();
        }
        self.running.close();
        let _ = tokio::time::timeout(patience, self.running.wait()).await;
        self.running.len()
    }
}

/// A task's place in the table.
struct Entry {
    handles: Arc<Mutex<Handles>>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.handles.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ending_drops_what_tasks_hold_and_forgets_them() {
        let tasks = Tasks::new(0);
        let held = Arc::new(());
        for _ in 0..10 {
            let held = held.clone();
            tasks.spawn(tasks.next_id(), async move {
                std::future::pending::<()>().await;
                drop(held);
            });
        }
        assert_eq!(tasks.end(Duration::from_secs(5)).await, 0);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(tasks.handles.lock().by_id.is_empty());
    }

    #[tokio::test]
    async fn cutting_ends_one_task_only() {
        let tasks = Tasks::new(0);
        let (ended, wait) = tokio::sync::oneshot::channel::<()>();
        let (first, second) = (tasks.next_id(), tasks.next_id());
        tasks.spawn(first, async move {
            std::future::pending::<()>().await;
            drop(ended);
        });
        tasks.spawn(second, std::future::pending());
        assert!(tasks.cut(first));
        assert!(wait.await.is_err(), "what it held was dropped");
        assert_eq!(tasks.running.len(), 1);
        assert!(!tasks.cut(first + 2));
        assert_eq!(tasks.end(Duration::from_secs(5)).await, 0);
    }
}
