//! What casters count, for the metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Metrics;

type Labels = Vec<(&'static str, &'static str)>;

/// One per server. All labels are words of ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    senders: Family<Labels, Gauge>,
    datagrams: Family<Labels, Counter>,
    troubles: Family<Labels, Counter>,
    packets: Family<Labels, Counter>,
    skipped: Counter,
}

impl Figures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let figures = Self::default();
        metrics.register(
            "millstream_caster_senders",
            "Senders at stream casters, by the caster's name",
            figures.senders.clone(),
        );
        metrics.register(
            "millstream_mpegts_datagrams",
            "Datagrams at mpegts_over_udp: taken, reordered among them, late, strange, refused",
            figures.datagrams.clone(),
        );
        metrics.register(
            "millstream_mpegts_troubles",
            "What was left out of transport streams, by the reason",
            figures.troubles.clone(),
        );
        metrics.register(
            "millstream_rtp_packets",
            "Packets of RTP at rtsp: taken, reordered among them, lost, late, stray",
            figures.packets.clone(),
        );
        metrics.register(
            "millstream_rtp_pictures_left_out",
            "Pictures left out because something they need was lost on the way",
            figures.skipped.clone(),
        );
        figures
    }

    /// A sender of this caster is here until the value is dropped.
    pub(crate) fn sender(&self, caster: &'static str) -> Here {
        let gauge = self.senders.get_or_create(&vec![("caster", caster)]).clone();
        gauge.inc();
        Here(gauge)
    }

    pub(super) fn datagrams(&self, result: &'static str, count: u64) {
        if count > 0 {
            self.datagrams.get_or_create(&vec![("result", result)]).inc_by(count);
        }
    }

    pub(super) fn packets(&self, result: &'static str, count: u64) {
        if count > 0 {
            self.packets.get_or_create(&vec![("result", result)]).inc_by(count);
        }
    }

    pub(super) fn pictures_left_out(&self, count: u64) {
        self.skipped.inc_by(count);
    }

    pub(super) fn trouble(&self, reason: &'static str) {
        self.troubles.get_or_create(&vec![("reason", reason)]).inc();
    }
}

/// One sender, counted.
#[derive(Debug)]
pub(crate) struct Here(Gauge);

impl Drop for Here {
    fn drop(&mut self) {
        self.0.dec();
    }
}
