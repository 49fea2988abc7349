//! Streams of edges that are kept for viewers who come and go with each request: those of playlists.
//!
//! Each request keeps the stream for [`KEEP`] more. One task a stream holds the watch; it ends when that time has
//! passed, or when there is no hope of the stream. Bounded: [`MAX_KEPT`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use mill_config::model::Vhost;
use mill_hub::{StreamId, Watch};
use tokio::time::sleep_until;

use super::{Edge, Supply};
use crate::clients::Peer;
use crate::session::Context;
use crate::session::admit::{self, Request};

/// Players fetch playlists every few seconds; they may miss some.
const KEEP: Duration = Duration::from_secs(30);

/// Streams that strangers can have asked for: each is given up by its pull if no origin has it.
const MAX_KEPT: usize = 10_000;

/// A stream that is kept.
pub(super) struct Kept {
    until: Instant,
    supply: Supply,
}

impl Edge {
    /// Keeps a stream for somebody who asked for its playlist, and gets it if it is not there. `None` if too many are
    /// kept already.
    pub(crate) fn keep(
        &self,
        vhost: &Vhost,
        stream: &StreamId,
        viewer: &Peer,
        request: &Request,
    ) -> Option<Supply> {
        let ctx = self.ctx.upgrade()?;
        let until = Instant::now() + KEEP;
        let mut kept = self.kept.lock();
        if let Some(kept) = kept.get_mut(stream) {
            kept.until = until;
            return Some(kept.supply.clone());
        }
        if kept.len() >= MAX_KEPT {
            return None;
        }
        let (watch, supply) = admit::watch(&ctx, vhost, stream, viewer, request);
        kept.insert(stream.clone(), Kept { until, supply: supply.clone() });
        drop(kept);
        let keeper = Keeper { ctx: ctx.clone(), watch, supply: supply.clone(), left: false };
        ctx.tasks.spawn(ctx.tasks.next_id(), keeper.run());
        Some(supply)
    }
}

/// Holds the watch.
struct Keeper {
    ctx: Arc<Context>,
    watch: Watch,
    supply: Supply,
    /// It is not in the table any more.
    left: bool,
}

impl Keeper {
    async fn run(mut self) {
        let supply = self.supply.clone();
        let mut lost = std::pin::pin!(supply.lost());
        while let Some(until) = self.until() {
            tokio::select! {
                () = sleep_until(until.into()) => {}
                () = &mut lost => return,
            }
        }
    }

    /// How long the stream is kept; `None`, and out of the table, if that is over.
    fn until(&mut self) -> Option<Instant> {
        let stream = self.watch.stream().id();
        let mut kept = self.ctx.edge.kept.lock();
        let until = kept.get(stream)?.until;
        if until > Instant::now() {
            return Some(until);
        }
        kept.remove(stream);
        self.left = true;
        None
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !self.left {
            self.ctx.edge.kept.lock().remove(self.watch.stream().id());
        }
    }
}
