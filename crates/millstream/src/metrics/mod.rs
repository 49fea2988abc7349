//! Metrics for Prometheus: SRS's names, and ours beside them.
//!
//! Two kinds. What the server knows anyway (clients, streams, bytes) is read when somebody asks
//! ([`scrape`]). What only an event tells (an end and its reason, a delay, a reload) is counted here as it
//! happens; whoever has such an event registers a metric with [`Metrics::register`] and keeps the handle.
//! Names of streams are strangers' words, so their number is bounded: see [`scrape::MAX_STREAMS`].

mod scrape;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub(crate) use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::api::{Answer, Asked};
use crate::session::Context;
use crate::session::http::{Reply, reply};

/// SRS's number for metrics that are switched off.
const DISABLED: u32 = 1090;

/// Ends of connections that are nobody's mistake: said, hung up, stream over, time over, kicked.
const GOOD_ENDS: [u32; 7] = [0, 1007, 1008, 1070, 2019, 2056, 4040];

/// Seconds until a viewer of a running stream gets its first bytes of media.
const FIRST_BYTE: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

type Labels = Vec<(&'static str, String)>;

/// What is counted as it happens. One per server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    ends: Family<Labels, Counter>,
    bad_ends: Counter,
    reloads: Family<Labels, Counter>,
    first_byte: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            ends: Family::default(),
            bad_ends: Counter::default(),
            reloads: Family::default(),
            first_byte: Histogram::new(FIRST_BYTE),
        };
        metrics.register(
            "millstream_connection_ends",
            "Ends of RTMP connections and HTTP viewers by SRS's number of the reason",
            metrics.ends.clone(),
        );
        metrics.register("srs_clients_errs", "Clients that ended with an error", metrics.bad_ends.clone());
        metrics.register(
            "millstream_reloads",
            "Reloads of the configuration by result",
            metrics.reloads.clone(),
        );
        metrics.register(
            "millstream_first_byte_seconds",
            "From the request of a viewer of a running stream to its first media",
            metrics.first_byte.clone(),
        );
        for result in ["applied", "refused"] {
            let _ = metrics.reloads.get_or_create(&vec![("result", result.to_owned())]);
        }
        metrics
    }

    /// Adds a metric to those shown. Its labels must have a bounded number of values.
    pub(crate) fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.registry.lock().register(name, help, metric);
    }

    /// A connection has ended, for the reason with this number; 0 for none.
    pub(crate) fn ended(&self, code: u32) {
        self.ends.get_or_create(&vec![("code", code.to_string())]).inc();
        if !GOOD_ENDS.contains(&code) {
            self.bad_ends.inc();
        }
    }

    /// A reload was asked for, and was applied or refused.
    pub(crate) fn reloaded(&self, applied: bool) {
        let result = if applied { "applied" } else { "refused" };
        self.reloads.get_or_create(&vec![("result", result.to_owned())]).inc();
    }

    /// Where the fan-out notes how long viewers waited.
    pub(crate) fn first_byte(&self) -> Histogram {
        self.first_byte.clone()
    }
}

/// `/metrics` on the API port.
pub(crate) fn answer<'a>(asked: &'a Asked<'a>) -> BoxFuture<'a, Answer> {
    Box::pin(async move {
        if !asked.ctx.config.load().exporter.enabled {
            return Answer::code(DISABLED);
        }
        Answer::http(serve(asked.ctx).await)
    })
}

/// The metrics as an answer. Never in OpenMetrics' form, where `srs_clients` and `srs_clients_total` could
/// not be a gauge and a counter at the same time.
pub(crate) async fn serve(ctx: &Arc<Context>) -> Response<Reply> {
    reply::text(StatusCode::OK, "text/plain; charset=utf-8", classic(&write(ctx).await))
}

async fn write(ctx: &Arc<Context>) -> String {
    let mut scraped = Registry::default();
    scraped.register_collector(Box::new(scrape::Scrape::take(ctx).await));
    let mut text = String::new();
    // Into memory, with our own names: nothing of that can fail.
    let _ = encode_registry(&mut text, &scraped);
    let _ = encode_registry(&mut text, &ctx.metrics.registry.lock());
    text
}

/// From OpenMetrics to the older form: there a counter's comments name it with its ending.
fn classic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let type_line = if line.starts_with("# HELP ") { lines.peek().copied() } else { Some(line) };
        let counter = type_line
            .and_then(|line| line.strip_prefix("# TYPE "))
            .and_then(|rest| rest.strip_suffix(" counter"));
        match counter {
            Some(name) => out.push_str(&line.replacen(name, &format!("{name}_total"), 1)),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_whole_name_in_the_older_form() {
        let text = "# HELP a Help of a.\n# TYPE a counter\na_total 1\n# HELP b b.\n# TYPE b gauge\nb 2\n";
        let expected = "# HELP a_total Help of a.\n# TYPE a_total counter\na_total 1\n# HELP b b.\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(text), expected);
    }

    #[test]
    fn hanging_up_is_no_error() {
        let metrics = Metrics::new();
        for code in [0, 1007, 4040] {
            metrics.ended(code);
        }
        assert_eq!(metrics.bad_ends.get(), 0);
        metrics.ended(1011);
        assert_eq!(metrics.bad_ends.get(), 1);
    }
}
