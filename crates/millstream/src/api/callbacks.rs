//! `/api/v1/callbacks`: how the callbacks are doing. SRS has nothing like it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, Asked, Data};
use crate::hook::Stats;

/// Since the start of the server, but for `waiting`.
#[derive(Serialize, ToSchema)]
pub(super) struct Callbacks {
    /// Calls that have ended, one way or another.
    calls: u64,
    /// Of these, calls that were answered with something other than yes.
    refusals: u64,
    /// Of these, calls that were not answered at all.
    failures: u64,
    /// Calls that are made again.
    retries: u64,
    /// Events given up.
    lost: u64,
    /// Events in line now.
    waiting: u64,
    /// Milliseconds a call takes, on the average.
    mean_ms: f64,
}

pub(super) fn get(asked: &Asked<'_>) -> Answer {
    let stats = asked.ctx.hooks.stats();
    let Stats { calls, refusals, failures, retries, lost, waiting, .. } = stats;
    let data = Callbacks { calls, refusals, failures, retries, lost, waiting, mean_ms: stats.mean_ms() };
    Answer::ok(asked.ctx, &Data { data })
}
