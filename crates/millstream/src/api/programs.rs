//! `/api/v1/programs`: the programs of `ingest`, `transcode` and `exec`, and how they are doing. SRS has no such
//! resource. Their arguments are not shown: URLs with secrets are among them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked};
use crate::child::{Label, Status};

#[derive(Serialize, ToSchema)]
pub(super) struct Programs {
    programs: Vec<Program>,
}

/// Something that is run for as long as it is wanted.
#[derive(Serialize, ToSchema)]
struct Program {
    /// `ingest`, `transcode` or `exec`.
    #[serde(rename = "type")]
    kind: &'static str,
    vhost: String,
    /// Of the stream it runs for; empty for ingests.
    app: String,
    stream: String,
    /// The engine, the ingest or the number of the `publish` line.
    name: String,
    /// `starting`, `running`, `waiting` for its next start, or `stopping`.
    state: &'static str,
    /// Its process; 0 while there is none.
    pid: u32,
    /// Milliseconds it has been in this state.
    alive: u64,
    /// How often it was started.
    starts: u64,
    /// How often it has ended by itself, or could not be started.
    ends: u64,
    /// How it ended last, or why it could not be started.
    last: String,
    /// Processor cores it used over the last three seconds.
    cpu: f64,
    /// Resident memory in kilobytes.
    mem_kbyte: u64,
    /// Where it says what it does, or empty.
    log: String,
}

impl Program {
    fn of(label: Label, status: Status) -> Self {
        let (app, stream) = label.stream.map(|stream| (stream.app, stream.name)).unwrap_or_default();
        Self {
            kind: label.kind.name(),
            vhost: label.vhost,
            app,
            stream,
            name: label.name,
            state: status.state.name(),
            pid: status.pid,
            alive: u64::try_from(status.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            starts: status.starts,
            ends: status.ends,
            last: status.last,
            cpu: (status.cpu * 1000.0).round() / 1000.0,
            mem_kbyte: status.memory / 1024,
            log: status.log.display().to_string(),
        }
    }
}

pub(super) fn get(asked: &Asked<'_>) -> Answer {
    let programs =
        asked.ctx.children.all().into_iter().map(|(_, label, status)| Program::of(label, status)).collect();
    Answer::ok(asked.ctx, &Programs { programs })
}
