//! The graceful end: nobody new comes, and who is here is served until it leaves.
//!
//! The order is SRS's: for `grace_start_wait` everything goes on, while load balancers take note; then the
//! listeners close; the clients leave; and after `grace_final_wait` the server ends. Connections that neither
//! publish nor play are not waited for, nor are players once nobody publishes: nothing would come to them any
//! more. All of it takes at most `grace_drain_wait`. SIGTERM or SIGINT in between means: now, except for the
//! final wait; a second one means that too.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::signals::{Signals, Told};
use crate::session::Context;

/// How often to look who is left.
const LOOK: Duration = Duration::from_secs(1);

/// How long a reload under way may keep the listeners from closing.
const CLOSE: Duration = Duration::from_secs(5);

/// Sees all clients off; the caller ends the server then.
pub(crate) async fn see_off(signals: &mut Signals, signal: Told, context: &Context) {
    if let Told::Quit(signo) = signal {
        info!("sig={signo}, user start gracefully quit");
    }
    let (start, limit, last) = {
        let global = &context.config.load().global;
        (global.grace_start_wait, global.grace_drain_wait, global.grace_final_wait)
    };
    info!("cleanup for quit signal fast=0, grace=1, start={}ms", start.as_millis());
    let patient = unless_hurried(signals, context, sleep(start)).await;
    // A reload that waits for a disk must not keep the server.
    if timeout(CLOSE, context.reload.close()).await.is_err() {
        warn!("a reload is still under way; the listeners stay open until it is done");
    }
    // They would publish for ever.
    context.ingests.close();
    if patient {
        unless_hurried(signals, context, drained(context, limit)).await;
    }
    unless_hurried(signals, context, sleep(last)).await;
}

/// Waits until nobody is left who is worth waiting for, or the limit has passed; zero is none.
async fn drained(context: &Context, limit: Duration) {
    let emptied = emptied(context);
    if limit.is_zero() {
        emptied.await;
    } else if timeout(limit, emptied).await.is_err() {
        warn!("graceful quit waits no longer than {limit:?} for {} clients", context.clients.all().len());
    }
}

async fn emptied(context: &Context) {
    let begun = Instant::now();
    for look in 0_u64.. {
        let clients = context.clients.all().len();
        let live = context.hub.streams().iter().any(|stream| stream.is_live());
        if clients == 0 || !live {
            return;
        }
        // After 1, 2, 4, 8, 16 seconds and from then on every 32.
        if look.is_power_of_two() && look < 32 || look % 32 == 0 {
            info!("graceful quit waits for {clients} clients, {}s", begun.elapsed().as_secs());
        }
        sleep(LOOK).await;
    }
}

/// Runs `event` to its end; `false` if a signal says that there is no time for it.
async fn unless_hurried(signals: &mut Signals, context: &Context, event: impl Future<Output = ()>) -> bool {
    let mut event = pin!(event);
    loop {
        tokio::select! {
            () = &mut event => return true,
            told = signals.next() => match told {
                Told::Quit(signo @ (2 | 15)) => {
                    info!("sig={signo}, user terminate program, fast quit");
                    return false;
                }
                other => other.obey(context),
            }
        }
    }
}
