//! Blocks about the server itself: figures, reports, protection.

use super::Effect::{AtOnce, NeedsRestart, RebindsListener};
use super::Kind::{BoolOff, BoolOn, Endpoint, Float, Int, List, Text};
use super::Status::{Ignored, Implemented, Planned};
use super::Unit::{Percent, Plain, Seconds};
use super::{Row, Status, row};

pub(super) const BREAKER: Status = Planned("circuit breaker");
pub(super) const CLOUD: Status = Ignored("services of one cloud vendor are not supported");

pub(super) const THREADS: &[Row] = &[
    row("interval", Int(Seconds), "5", Ignored("there are no threads to tune"), NeedsRestart, "Interval of the thread statistics."),
];

pub(super) const CIRCUIT_BREAKER: &[Row] = &[
    row("enabled", BoolOn, "on", BREAKER, AtOnce, "Shed load when the processor is busy."),
    row("high_threshold", Int(Percent), "90", BREAKER, AtOnce, "Processor load from which the server saves work.").clamped(0.0, 100.0),
    row("high_pulse", Int(Plain), "2", BREAKER, AtOnce, "Seconds in a row above it."),
    row("critical_threshold", Int(Percent), "95", BREAKER, AtOnce, "Processor load from which it saves more.").clamped(0.0, 100.0),
    row("critical_pulse", Int(Plain), "1", BREAKER, AtOnce, "Seconds in a row above it."),
    row("dying_threshold", Int(Percent), "99", BREAKER, AtOnce, "Processor load from which new work is refused.").clamped(0.0, 100.0),
    row("dying_pulse", Int(Plain), "5", BREAKER, AtOnce, "Seconds in a row above it."),
];

pub(super) const HEARTBEAT: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, AtOnce, "POST a report periodically."),
    row("interval", Float(Seconds), "9.9", Implemented, AtOnce, "Time between reports, in whole seconds: a fraction is dropped.").clamped(1.0, i32::MAX as f64),
    row("url", Text, "http://127.0.0.1:8085/api/v1/servers", Implemented, AtOnce, "Where the report goes."),
    row("device_id", Text, "", Implemented, AtOnce, "Name of this machine in the report.").example("my-srs-device"),
    row("summaries", BoolOff, "off", Implemented, AtOnce, "Add the figures of the API's summaries."),
    row("ports", BoolOff, "off", Implemented, AtOnce, "Add the ports listened on."),
];

pub(super) const STATS: &[Row] = &[
    row("enabled", BoolOn, "on", Implemented, AtOnce, "Collect figures of the machine."),
    row("network", Int(Plain), "0", Implemented, AtOnce, "Which local address is reported, as an index into their list; beyond its end counting goes on from the beginning.").strict(0.0, i32::MAX as f64),
    row("disk", List, "", Implemented, AtOnce, "Disks whose figures are reported, named as in `/proc/diskstats`.").example("sda sdb"),
];

pub(super) const EXPORTER: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RebindsListener, "Serve metrics at `/metrics`."),
    row("listen", Endpoint, "9972", Implemented, RebindsListener, "Endpoint of the exporter."),
    row("label", Text, "", Implemented, AtOnce, "Label of `srs_build_info`.").example("cn-beijing"),
    row("tag", Text, "", Implemented, AtOnce, "Another label of `srs_build_info`.").example("cn-edge"),
];

pub(super) const TENCENTCLOUD_CLS: &[Row] = &[
    row("enabled", BoolOff, "off", CLOUD, NeedsRestart, "Send logs to the cloud vendor."),
    row("stat_heartbeat", BoolOn, "on", CLOUD, NeedsRestart, "Include heartbeats."),
    row("stat_streams", BoolOn, "on", CLOUD, NeedsRestart, "Include streams."),
    row("debug_logging", BoolOff, "off", CLOUD, NeedsRestart, "Log what is sent."),
    row("heartbeat_ratio", Int(Plain), "1", CLOUD, NeedsRestart, "Share of heartbeats sent."),
    row("streams_ratio", Int(Plain), "1", CLOUD, NeedsRestart, "Share of stream records sent."),
    row("label", Text, "", CLOUD, NeedsRestart, "Label of the records.").example("cn-beijing"),
    row("tag", Text, "", CLOUD, NeedsRestart, "Tag of the records.").example("cn-edge"),
    row("secret_id", Text, "", CLOUD, NeedsRestart, "Account.").example("id"),
    row("secret_key", Text, "", CLOUD, NeedsRestart, "Its secret.").example("key"),
    row("endpoint", Text, "", CLOUD, NeedsRestart, "Service address.").example("cls.example.com"),
    row("topic_id", Text, "", CLOUD, NeedsRestart, "Log topic.").example("topic"),
];

pub(super) const TENCENTCLOUD_APM: &[Row] = &[
    row("enabled", BoolOff, "off", CLOUD, NeedsRestart, "Send traces to the cloud vendor."),
    row("team", Text, "", CLOUD, NeedsRestart, "Team of the account.").example("team"),
    row("token", Text, "", CLOUD, NeedsRestart, "Its token.").example("token"),
    row("endpoint", Text, "", CLOUD, NeedsRestart, "Service address.").example("apm.example.com"),
    row("service_name", Text, "srs-server", CLOUD, NeedsRestart, "Name of the service in the traces."),
    row("debug_logging", BoolOff, "off", CLOUD, NeedsRestart, "Log what is sent."),
];
