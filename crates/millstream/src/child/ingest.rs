//! The ingests of all vhosts: they run from the start of the server, whoever publishes and plays.
//!
//! After a reload those go on whose words are the same; a change of one stops and starts that one.

use std::net::SocketAddr;

use mill_config::Snapshot;
use mill_config::model::{Engine, Ingest, IngestInput};
use mill_rtmp::url;
use parking_lot::Mutex;

use super::beside::{directory, reached};
use super::keeper::Order;
use super::lineage::{Lineage, streams_here};
use super::words::{BadWord, Values};
use super::{Children, Job, Kind, Label, Prepared, Running, log, now};

/// The ingests of one server.
pub(crate) struct Ingests {
    children: Children,
    /// `None`: nothing runs any more.
    running: Mutex<Option<List>>,
}

/// What is wanted, and runs unless it cannot be started.
type List = Vec<(Wanted, Option<Running>)>;

/// One engine of an ingest.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    vhost: String,
    id: String,
    /// The number of the engine, where there are several.
    number: Option<usize>,
    input: IngestInput,
    ffmpeg: String,
    engine: Engine,
    /// For `[port]`.
    at: SocketAddr,
}

impl Ingests {
    pub(crate) fn new(children: &Children) -> Self {
        Self { children: children.clone(), running: Mutex::new(Some(Vec::new())) }
    }

    /// Starts what should run and does not, ends what runs and should not.
    pub(crate) fn settle(&self, config: &Snapshot) {
        let mut running = self.running.lock();
        let Some(running) = running.as_mut() else { return };
        let mut wanted = wanted(config);
        running.retain(|(runs, _)| {
            let place = wanted.iter().position(|wanted| wanted == runs);
            place.map(|place| wanted.remove(place)).is_some()
        });
        for wanted in wanted {
            let job = wanted.job();
            running.push((wanted, self.children.start(job)));
        }
    }

    /// Ends all of them, and starts none any more.
    pub(crate) fn close(&self) {
        let running = self.running.lock().take();
        drop(running);
    }
}

fn wanted(config: &Snapshot) -> Vec<Wanted> {
    let Some(at) = config.global.listen.first().map(|at| reached(*at)) else { return Vec::new() };
    let mut wanted = Vec::new();
    for vhost in config.vhosts.iter().filter(|vhost| vhost.enabled) {
        for Ingest { id, input, ffmpeg, engines } in &vhost.ingest {
            for (number, engine) in engines.iter().enumerate() {
                wanted.push(Wanted {
                    vhost: vhost.name.clone(),
                    id: id.clone(),
                    number: (engines.len() > 1).then_some(number),
                    input: input.clone(),
                    ffmpeg: ffmpeg.clone(),
                    engine: engine.clone(),
                    at,
                });
            }
        }
    }
    wanted
}

impl Wanted {
    fn job(&self) -> Job {
        let this = self.clone();
        let number = self.number.map(|number| format!("/{}", number + 1)).unwrap_or_default();
        Job {
            label: Label {
                kind: Kind::Ingest,
                vhost: self.vhost.clone(),
                stream: None,
                name: format!("{}{number}", self.id),
            },
            lineage: Lineage::default(),
            prepare: Box::new(move |config| this.prepare(config)),
        }
    }

    fn prepare(&self, config: &Snapshot) -> Result<Prepared, BadWord> {
        let named = vec![("vhost", self.vhost.clone()), ("port", self.at.port().to_string())];
        let output = Values { named, time: now(config) }.output(&self.engine.output)?;
        let ingest = Ingest {
            id: self.id.clone(),
            input: self.input.clone(),
            ffmpeg: self.ffmpeg.clone(),
            engines: Vec::new(),
        };
        let target = output.rsplit_once('/').and_then(|(left, right)| url::resolve(left, right).ok());
        let log = match &target {
            Some(to) => log(config, &["ffmpeg-ingest", &self.vhost, &to.app, &to.stream]),
            None => log(config, &["ffmpeg-ingest", &self.vhost, &self.id]),
        };
        Ok(Prepared {
            makes: streams_here(config, &output),
            order: Order {
                program: self.ffmpeg.clone(),
                arguments: ingest.arguments(&self.engine, &config.global.ff_log_level, &output),
                stdout: log.clone(),
                stderr: log,
                directory: directory(&output),
            },
        })
    }
}
