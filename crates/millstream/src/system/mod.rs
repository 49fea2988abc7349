//! Figures of this process and of the machine it runs on.
//!
//! One task looks at `/proc` in SRS's intervals, on a thread that serves no socket, and publishes what it
//! has seen as one immutable [`Figures`]; the API and the heartbeat read the newest and never wait. What
//! cannot be read (a container without some file) is missing from the figures and said once.
//!
//! Bounded: one look at a time; the figures have a fixed size.

mod address;
mod proc;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::session::Context;
pub(crate) use proc::{Figures, part};
use proc::{Own, Sampler};

/// Time from one look to the next: processor, connections and traffic. Disk and memory are looked at every
/// second time, load and network every third: 3, 6 and 9 s, as SRS does.
const STEP: Duration = Duration::from_secs(3);

/// The newest figures. One per server.
pub(crate) struct System {
    figures: watch::Sender<Arc<Figures>>,
    pub(crate) started: Instant,
    /// The command line, and where it was given.
    pub(crate) argv: String,
    pub(crate) cwd: String,
}

impl System {
    /// Nothing has been looked at yet.
    pub(crate) fn new() -> Self {
        let words: Vec<String> =
            std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        let cwd = std::env::current_dir().unwrap_or_default();
        Self {
            figures: watch::Sender::default(),
            started: Instant::now(),
            argv: words.join(" "),
            cwd: cwd.to_string_lossy().into_owned(),
        }
    }

    /// What was seen last.
    pub(crate) fn figures(&self) -> Arc<Figures> {
        self.figures.borrow().clone()
    }

    /// Waits until somebody has looked, if nobody has.
    pub(crate) async fn looked(&self) {
        let _ = self.figures.subscribe().wait_for(|figures| figures.own.time > 0).await;
    }

    /// Looks at the machine for as long as it is run.
    pub(crate) async fn watch(ctx: Arc<Context>) {
        let mut sampler = Sampler::default();
        let mut clock = tokio::time::interval(STEP);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            let stats = ctx.config.load().stats.clone();
            let own = own(&ctx);
            let look = move || {
                let figures = sampler.look(&stats, own);
                (sampler, figures)
            };
            match tokio::task::spawn_blocking(look).await {
                Ok((used, figures)) => {
                    sampler = used;
                    ctx.system.figures.send_replace(Arc::new(figures));
                }
                // It panicked, or the server ends.
                Err(_) => sampler = Sampler::default(),
            }
        }
    }
}

fn own(ctx: &Context) -> Own {
    ctx.clients.settle();
    let bytes = ctx.clients.total().bytes();
    Own { time: now_ms(), clients: ctx.clients.all().len(), received: bytes.received, sent: bytes.sent }
}

/// The addresses a peer may reach this machine at; see `stats { network }`. Asks the system: not for a task
/// that serves sockets.
pub(crate) fn addresses() -> std::io::Result<Vec<IpAddr>> {
    Ok(address::reachable(&if_addrs::get_if_addrs()?))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
