//! What runs beside a stream on behalf of its vhost: recordings, and whatever else takes frames.
//!
//! Admission enters a publish here when its name is claimed; the guard it gets ([`Attached`]) lives as long as
//! the publish. An output is a task that reads a tap, so it ends with the publish by itself, after the last frame,
//! and nothing has to be told to it; a reload or the API ends and starts outputs of running publishes. The
//! configuration is read under the lock of the table: a publish enters before a reload looks, or sees what it
//! brought. Bounded by the publishers there are.
//!
//! A new output is a field of [`Entry`], a line in [`Entry::settle`] and one in `reload::Plan`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mill_config::model::{Snapshot, Vhost};
use mill_hub::{Outlet, StreamId};
use parking_lot::Mutex;
use tracing::warn;

use crate::clients::Peer;
use crate::output::dvr::{self, Recordings};
use crate::reload::Config;
use crate::tasks::Tasks;

/// A publish, as outputs see it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) outlet: Outlet,
    pub(crate) peer: Peer,
    /// Parameters with their question mark, or empty.
    pub(crate) param: String,
}

impl Source {
    pub(crate) fn stream(&self) -> &StreamId {
        self.outlet.stream().id()
    }
}

/// The outputs of one server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outputs {
    /// By the id of the publisher.
    table: Arc<Mutex<HashMap<u64, Entry>>>,
    /// Outlive the sessions' tasks, for what they have to finish.
    tasks: Tasks,
    pub(crate) recordings: Arc<Recordings>,
}

/// What runs beside one publish.
struct Entry {
    source: Arc<Source>,
    /// What the API wants, whatever `dvr_apply` says.
    record: Option<bool>,
    recording: Option<dvr::Running>,
}

impl Entry {
    /// Starts what should run and does not, ends what runs and should not.
    fn settle(&mut self, config: &Snapshot, outputs: &Outputs) {
        let name = &self.source.stream().vhost;
        let vhost = config.vhosts.iter().find(|vhost| vhost.name == *name && vhost.enabled);
        let stream = self.source.stream();
        // Only where the configuration wants files at all.
        let recorded = |vhost: &Vhost| {
            vhost.dvr.enabled && self.record.unwrap_or_else(|| vhost.dvr.applies(&stream.app, &stream.name))
        };
        let wanted = vhost.filter(|vhost| recorded(vhost));
        let goes_on = match (&self.recording, wanted) {
            (Some(running), Some(vhost)) => running.conf().goes_on_under(&vhost.dvr),
            (None, None) => true,
            _ => false,
        };
        if goes_on {
            return;
        }
        // Dropped first: the old file ends before the new one begins.
        self.recording = None;
        self.recording = wanted.and_then(|vhost| {
            let utc = config.global.utc_time;
            dvr::Running::start(&outputs.recordings, &outputs.tasks, &self.source, vhost, utc)
        });
    }
}

/// What is known about the recording of a publish.
pub(crate) struct Shown {
    pub(crate) stream: StreamId,
    pub(crate) client: u64,
    /// `None`: it is not recorded.
    pub(crate) recording: Option<dvr::Status>,
}

impl Outputs {
    /// `tasks` lends its ids only.
    pub(crate) fn new(tasks: &Tasks, recordings: Recordings) -> Self {
        let tasks = tasks.apart();
        Self { table: Arc::default(), recordings: Arc::new(recordings), tasks }
    }

    /// Tasks for what has to be finished after the sessions.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// A publish has begun.
    pub(crate) fn begin(&self, config: &Config, source: Source) -> Attached {
        let client = source.peer.id;
        let mut entry = Entry { source: Arc::new(source), record: None, recording: None };
        let mut table = self.table.lock();
        entry.settle(&config.load(), self);
        table.insert(client, entry);
        Attached { outputs: self.clone(), client }
    }

    /// These vhosts were changed by a reload, which has exchanged the configuration.
    pub(crate) fn refresh(&self, config: &Snapshot, vhosts: &BTreeSet<&str>) {
        let mut table = self.table.lock();
        for entry in table.values_mut() {
            if vhosts.contains(entry.source.stream().vhost.as_str()) {
                entry.settle(config, self);
            }
        }
    }

    /// Begins or ends the recording of a running publish until it ends; `false` if there is no such publish.
    pub(crate) fn record(&self, config: &Config, stream: &StreamId, on: bool) -> bool {
        let mut table = self.table.lock();
        let Some(entry) = table.values_mut().find(|entry| entry.source.stream() == stream) else {
            return false;
        };
        entry.record = Some(on);
        entry.settle(&config.load(), self);
        true
    }

    /// The publishes, and what is recorded of them.
    pub(crate) fn recordings(&self) -> Vec<Shown> {
        let table = self.table.lock();
        let shown = table.iter().map(|(&client, entry)| Shown {
            stream: entry.source.stream().clone(),
            client,
            recording: entry.recording.as_ref().map(dvr::Running::status),
        });
        shown.collect()
    }

    /// The publishes are over: waits until outputs have finished what they had begun.
    pub(crate) async fn finish(&self, patience: Duration) {
        let left = self.tasks.finish(patience).await;
        if left > 0 {
            warn!("{left} outputs did not finish in time; the next start does");
        }
    }
}

/// A publish in the table, until it is dropped.
pub(crate) struct Attached {
    outputs: Outputs,
    client: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Not under the lock: it wakes tasks.
        let entry = self.outputs.table.lock().remove(&self.client);
        drop(entry);
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Attached").field(&self.client).finish()
    }
}
