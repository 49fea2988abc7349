//! What runs beside a stream on behalf of its vhost: recordings, HLS, DASH, HDS and whatever else takes frames, and programs.
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
use mill_packager::{dash, hds};
use parking_lot::Mutex;
use tracing::warn;

use crate::child::{Beside, Children};
use crate::clients::Peer;
use crate::output::dvr::{self, Recordings};
use crate::output::hls;
use crate::output::package::{self, Channels};
use crate::relay::forward::{self, Forwards};
use crate::relay::uplink::Agreed;
use crate::relay::via::Via;
use crate::reload::Config;
use crate::tasks::Tasks;

/// What was arranged with other servers before a publisher was let in.
#[derive(Default)]
pub(crate) struct Arranged {
    /// What the backend of forwards said.
    pub(crate) answer: Option<forward::Answer>,
    /// The origin that takes the stream of an edge.
    pub(crate) origin: Option<Agreed>,
}

/// A publish, as outputs see it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) outlet: Outlet,
    pub(crate) peer: Peer,
    /// Parameters with their question mark, or empty.
    pub(crate) param: String,
    /// The servers it has come through.
    pub(crate) via: Via,
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
    dash: Arc<Channels<dash::Packager>>,
    hds: Arc<Channels<hds::Packager>>,
    pub(crate) forwards: Arc<Forwards>,
    children: Children,
    hls: Arc<hls::Channels>,
}

/// What runs beside one publish.
struct Entry {
    source: Arc<Source>,
    /// What the API wants, whatever `dvr_apply` says.
    record: Option<bool>,
    recording: Option<dvr::Running>,
    dash: Option<package::Running<dash::Packager>>,
    hds: Option<package::Running<hds::Packager>>,
    forwards: Vec<forward::Running>,
    /// The way to the origin, on an edge.
    uplink: Option<forward::Running>,
    /// What the backend of forwards said.
    answer: Option<forward::Answer>,
    asking: Option<forward::Asking>,
    programs: Beside,
    hls: Option<hls::Running>,
}

impl Entry {
    /// Starts what should run and does not, ends what runs and should not.
    fn settle(&mut self, config: &Config, outputs: &Outputs) {
        let snapshot = &*config.load_full();
        let name = &self.source.stream().vhost;
        let vhost = snapshot.vhosts.iter().find(|vhost| vhost.name == *name && vhost.enabled);
        self.settle_forwards(vhost, outputs);
        self.programs.settle(snapshot, vhost.map(|vhost| &**vhost), &self.source);
        self.settle_recording(vhost, snapshot, outputs);
        self.settle_hls(vhost, config, outputs);
        let (tasks, source) = (&outputs.tasks, &self.source);
        self.dash = package::Running::settled(self.dash.take(), &outputs.dash, tasks, source, config);
        self.hds = package::Running::settled(self.hds.take(), &outputs.hds, tasks, source, config);
    }

    fn settle_hls(&mut self, vhost: Option<&Arc<Vhost>>, config: &Config, outputs: &Outputs) {
        let wanted = vhost.filter(|vhost| vhost.hls.enabled);
        let goes_on = match (&self.hls, wanted) {
            (Some(running), Some(vhost)) => running.conf().goes_on_under(&vhost.hls),
            (None, None) => true,
            _ => false,
        };
        if goes_on {
            return;
        }
        self.hls = None;
        self.hls = wanted
            .and_then(|vhost| hls::Running::start(&outputs.hls, &outputs.tasks, &self.source, vhost, config));
    }

    fn settle_recording(&mut self, vhost: Option<&Arc<Vhost>>, config: &Snapshot, outputs: &Outputs) {
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

impl Entry {
    /// The same for its forwards: what goes on is not touched.
    fn settle_forwards(&mut self, vhost: Option<&Arc<Vhost>>, outputs: &Outputs) {
        let vhost = vhost.filter(|vhost| vhost.forward.enabled);
        let Some(vhost) = vhost else {
            (self.asking, self.answer) = (None, None);
            return self.forwards.clear();
        };
        let conf = &vhost.forward;
        let wanted = match &self.answer {
            _ if conf.backend.is_empty() => {
                self.asking = None;
                &conf.destinations
            }
            Some(answer) if answer.backend == conf.backend => {
                self.asking = None;
                &answer.destinations
            }
            _ => return self.ask(vhost, outputs),
        };
        self.forwards.retain(|running| running.goes_on_under(conf, wanted));
        for destination in wanted {
            if !self.forwards.iter().any(|running| running.goes_to(destination)) {
                let (shared, source) = (&outputs.forwards, &self.source);
                let running = forward::Running::start(shared, &outputs.tasks, source, vhost, destination);
                self.forwards.extend(running);
            }
        }
    }

    /// A reload has brought a backend. Until it answers, all stays as it is.
    fn ask(&mut self, vhost: &Arc<Vhost>, outputs: &Outputs) {
        if self.asking.as_ref().is_some_and(|asking| asking.backend == vhost.forward.backend) {
            return;
        }
        let (table, conf, client) = (outputs.clone(), vhost.clone(), self.source.peer.id);
        let answered = move |answer: forward::Answer| table.answered(client, &conf, answer);
        let (shared, source) = (&outputs.forwards, &self.source);
        self.asking = Some(forward::Asking::start(shared, &outputs.tasks, source, vhost, answered));
    }
}

/// A stream that is sent to another server.
pub(crate) struct Forwarded {
    pub(crate) stream: StreamId,
    pub(crate) client: u64,
    /// `forward`, or `origin` for a publisher of an edge.
    pub(crate) kind: &'static str,
    pub(crate) status: forward::Status,
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
    pub(crate) fn new(
        tasks: &Tasks,
        recordings: Recordings,
        hls: hls::Channels,
        dash: Channels<dash::Packager>,
        hds: Channels<hds::Packager>,
        forwards: Forwards,
        children: &Children,
    ) -> Self {
        Self {
            table: Arc::default(),
            recordings: Arc::new(recordings),
            hls: Arc::new(hls),
            dash: Arc::new(dash),
            hds: Arc::new(hds),
            forwards: Arc::new(forwards),
            tasks: tasks.apart(),
            children: children.clone(),
        }
    }

    /// Tasks for what has to be finished after the sessions.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// A publish has begun.
    pub(crate) fn begin(
        &self,
        config: &Config,
        vhost: &Vhost,
        source: Source,
        arranged: Arranged,
    ) -> Attached {
        let client = source.peer.id;
        let programs = Beside::new(&self.children, source.stream());
        let source = Arc::new(source);
        let Arranged { answer, origin } = arranged;
        let uplink =
            origin.map(|agreed| forward::Running::up(&self.forwards, &self.tasks, &source, vhost, agreed));
        let watched = uplink.as_ref().map(forward::Running::watched);
        let mut entry = Entry {
            source,
            record: None,
            recording: None,
            dash: None,
            hds: None,
            hls: None,
            forwards: Vec::new(),
            uplink,
            answer,
            asking: None,
            programs,
        };
        let mut table = self.table.lock();
        entry.settle(config, self);
        table.insert(client, entry);
        Attached { outputs: self.clone(), client, watched }
    }

    /// These vhosts were changed by a reload, which has exchanged the configuration.
    pub(crate) fn refresh(&self, config: &Config, vhosts: &BTreeSet<&str>) {
        let mut table = self.table.lock();
        for entry in table.values_mut() {
            if vhosts.contains(entry.source.stream().vhost.as_str()) {
                entry.settle(config, self);
            }
        }
        drop(table);
        self.hls.refresh(&config.load(), |vhost| vhosts.contains(vhost));
        self.dash.refresh(&config.load(), |vhost| vhosts.contains(vhost));
        self.hds.refresh(&config.load(), |vhost| vhosts.contains(vhost));
    }

    /// Begins or ends the recording of a running publish until it ends; `false` if there is no such publish.
    pub(crate) fn record(&self, config: &Config, stream: &StreamId, on: bool) -> bool {
        let mut table = self.table.lock();
        let Some(entry) = table.values_mut().find(|entry| entry.source.stream() == stream) else {
            return false;
        };
        entry.record = Some(on);
        entry.settle(config, self);
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

    /// A backend has answered, for a publish that may have ended or been given another one since.
    fn answered(&self, client: u64, vhost: &Arc<Vhost>, answer: forward::Answer) {
        let mut table = self.table.lock();
        let Some(entry) = table.get_mut(&client) else { return };
        if entry.asking.as_ref().is_some_and(|asking| asking.backend == answer.backend) {
            entry.answer = Some(answer);
            entry.settle_forwards(Some(vhost), self);
        }
    }

    /// The streams that are sent to other servers.
    pub(crate) fn forwarded(&self) -> Vec<Forwarded> {
        let table = self.table.lock();
        let all = table.iter().flat_map(|(&client, entry)| {
            let of_kind = move |kind, running: &forward::Running| Forwarded {
                stream: entry.source.stream().clone(),
                client,
                kind,
                status: running.status(),
            };
            let up = entry.uplink.iter().map(move |running| of_kind("origin", running));
            up.chain(entry.forwards.iter().map(move |running| of_kind("forward", running)))
        });
        all.collect()
    }

    /// The publishes are over: waits until outputs have finished what they had begun.
    pub(crate) async fn finish(&self, patience: Duration) {
        self.hls.close();
        self.dash.close();
        self.hds.close();
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
    watched: Option<forward::Watched>,
}

impl Attached {
    /// Whether the publish has to end: no origin takes it any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.watched.as_ref().is_some_and(forward::Watched::is_lost)
    }
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
