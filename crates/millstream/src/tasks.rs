//! The only place that starts tasks.
//!
//! Every task has a context id, which its log lines carry, and belongs to the server. A task holds nothing
//! that its `Drop` would not give back (a publisher, a seat, a permit), so ending it is dropping it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::log;

/// The tasks of one server. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    running: TaskTracker,
    handles: Arc<Mutex<Handles>>,
}

#[derive(Default)]
struct Handles {
    next: u64,
    /// `None` for a task that is just being started.
    by_key: HashMap<u64, Option<AbortHandle>>,
    /// The server ends: nothing starts any more.
    closed: bool,
}

impl Tasks {
    /// Starts a task whose log lines carry `cid`; drops it if the server is ending.
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub(crate) fn spawn(&self, cid: u64, task: impl Future<Output = ()> + Send + 'static) {
        let key = {
            let mut handles = self.handles.lock();
            if handles.closed {
                return;
            }
            let key = handles.next;
            handles.next += 1;
            handles.by_key.insert(key, None);
            key
        };
        let entry = Entry { handles: self.handles.clone(), key };
        let task = log::with_cid(cid, async move {
            let _entry = entry;
            task.await;
        });
        // Not under the lock: a runtime that shuts down drops the task right here.
        let spawned = tokio::spawn(self.running.track_future(task));
        let mut handles = self.handles.lock();
        if handles.closed {
            spawned.abort();
        } else if let Some(handle) = handles.by_key.get_mut(&key) {
            *handle = Some(spawned.abort_handle());
        }
    }

    /// Ends all tasks and waits until they have, at most `patience`; gives how many have not.
    pub(crate) async fn end(&self, patience: Duration) -> usize {
        let handles = {
            let mut handles = self.handles.lock();
            handles.closed = true;
            std::mem::take(&mut handles.by_key)
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
    key: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.handles.lock().by_key.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ending_drops_what_tasks_hold_and_forgets_them() {
        let tasks = Tasks::default();
        let held = Arc::new(());
        for _ in 0..10 {
            let held = held.clone();
            tasks.spawn(1, async move {
                std::future::pending::<()>().await;
                drop(held);
            });
        }
        assert_eq!(tasks.end(Duration::from_secs(5)).await, 0);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(tasks.handles.lock().by_key.is_empty());
    }
}
