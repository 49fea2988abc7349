//! What stands outside all blocks, and the root of the table.

use super::Effect::{AtOnce, NeedsRestart, NewSessions, RebindsListener, RestartsComponent};
use super::Kind::{BoolOff, BoolOn, Endpoints, Float, Int, List, Path, Text, Word};
use super::Otherwise::{ReadAs, Refused};
use super::Status::{Ignored, Implemented, Planned};
use super::Unit::{Bytes, Millis, Plain, Seconds};
use super::{Row, Status, block, caster, http, monitor, row, rtc, srt, vhost};

const SERVER_ID: Status = Planned("server id");
const NO_CALL_HOME: Status = Ignored("this server never calls home");

/// Words of `srs_log_level`. SRS names the levels one step lower than everybody else: its `trace` is our
/// `info`.
pub(crate) const LOG_LEVELS: &[&str] = &["verbose", "info", "trace", "warn", "error"];
/// Words of `srs_log_level_v2`.
pub(crate) const LOG_LEVELS_V2: &[&str] = &["trace", "debug", "info", "warn", "error"];

pub(super) const ROOT: &[Row] = &[
    row("include", List, "", Implemented, AtOnce, "Files whose directives are put in its place; allowed in every block. Paths are relative to the working directory.").example("./conf/more.conf").repeats(),
    row("listen", Endpoints, "", Implemented, RebindsListener, "RTMP endpoints: `port`, `ip:port` or `[ipv6]:port`. Required, except when everything comes from the environment.").required().example("1935"),
    row("chunk_size", Int(Bytes), "60000", Implemented, NewSessions, "Size of outgoing RTMP chunks.").clamped(128.0, 65536.0),
    row("max_connections", Int(Plain), "1000", Implemented, AtOnce, "Limit of RTMP, HTTP API and HTTP connections together; further ones are closed at once.").strict(1.0, i32::MAX as f64),
    row("srs_log_tank", Word(&["console", "file"], ReadAs("file")), "file", Implemented, AtOnce, "Where the log goes; with `in_docker on` the default is `console`.").aliases(&["SRS_LOG_TANK"]),
    row("srs_log_level", Word(LOG_LEVELS, ReadAs("trace")), "trace", Implemented, AtOnce, "Least severe level that is logged, in the words of SRS 3.").aliases(&["SRS_LOG_LEVEL"]),
    row("srs_log_level_v2", Word(LOG_LEVELS_V2, ReadAs("info")), "", Implemented, AtOnce, "The same in usual words; wins over `srs_log_level`.").aliases(&["SRS_LOG_LEVEL_V2"]).example("info"),
    row("srs_log_file", Path, "./objs/srs.log", Implemented, AtOnce, "Log file, if the log goes to one; SIGUSR1 opens it again, for rotation.").aliases(&["SRS_LOG_FILE"]),
    row("srs_log_format", Word(&["plain", "json"], Refused), "plain", Implemented, AtOnce, "Layout of a line: SRS's, or one JSON object with `time`, `level`, `pid`, `cid` and `message`.").aliases(&["SRS_LOG_FORMAT"]),
    row("utc_time", BoolOff, "off", Implemented, AtOnce, "UTC instead of local time in the log and in file names."),
    row("work_dir", Path, "./", Implemented, NeedsRestart, "Directory all relative paths in this file are relative to."),
    row("pithy_print_ms", Int(Millis), "10000", Implemented, AtOnce, "Interval of the periodic statistics lines.").clamped(100.0, i32::MAX as f64),
    row("daemon", BoolOn, "on", Implemented, NeedsRestart, "Run in the background; the command returns when the server serves. Under systemd (`Type=notify`) it stays in the foreground."),
    row("pid", Path, "./objs/srs.pid", Implemented, AtOnce, "File that holds the process id and is locked against a second server; `/dev/null` for none."),
    row("asprocess", BoolOff, "off", Implemented, NeedsRestart, "Quit when the parent process goes away; needs `daemon off`."),
    row("in_docker", BoolOff, "off", Implemented, NeedsRestart, "Behave as in a container even if none is detected."),
    row("disable_daemon_for_docker", BoolOn, "on", Implemented, NeedsRestart, "In a container, stay in the foreground whatever `daemon` says."),
    row("inotify_auto_reload", BoolOff, "off", Implemented, NeedsRestart, "Reload when the configuration file changes."),
    row("auto_reload_for_docker", BoolOn, "on", Implemented, NeedsRestart, "In a container, switch `inotify_auto_reload` on."),
    row("force_grace_quit", BoolOff, "off", Implemented, AtOnce, "Treat SIGTERM like SIGQUIT."),
    row("grace_start_wait", Int(Millis), "2300", Implemented, AtOnce, "On SIGQUIT, time between the signal and the closing of the listeners."),
    row("grace_final_wait", Int(Millis), "3200", Implemented, AtOnce, "On SIGQUIT, time between the end of the last client and the exit."),
    row("grace_drain_wait", Int(Millis), "86400000", Implemented, AtOnce, "On SIGQUIT, longest time that clients are waited for; 0 for no limit."),
    row("empty_ip_ok", BoolOn, "on", Ignored("connections whose peer address cannot be read are always dropped silently"), AtOnce, "Silently drop connections whose peer address cannot be read."),
    row("ff_log_dir", Path, "./objs", Implemented, NewSessions, "Directory of the logs of programs; `/dev/null` for none."),
    row("ff_log_level", Text, "info", Implemented, NewSessions, "`-loglevel` of ingests."),
    row("server_id", Text, "", SERVER_ID, NeedsRestart, "Identity of this server in API and callbacks; random if not given.").example("server-1"),
    row("is_full", BoolOff, "off", Implemented, NeedsRestart, "Marks a file as a mere list of directives: with `on` it is refused."),
    row("query_latest_version", BoolOn, "off", NO_CALL_HOME, NeedsRestart, "Ask the vendor for news."),
    row("first_wait_for_qlv", Int(Seconds), "300", NO_CALL_HOME, NeedsRestart, "When to ask the vendor for news first."),
    row("tcmalloc_release_rate", Float(Plain), "0.8", Ignored("another memory allocator is used"), NeedsRestart, "How fast tcmalloc returns memory.").clamped(0.0, 10.0),
    block("threads", monitor::THREADS, Ignored("there are no threads to tune"), NeedsRestart, "Threads of the server."),
    block("circuit_breaker", monitor::CIRCUIT_BREAKER, monitor::BREAKER, AtOnce, "Shed load when the processor is busy."),
    block("heartbeat", monitor::HEARTBEAT, Implemented, AtOnce, "Report to a management server."),
    block("stats", monitor::STATS, Implemented, AtOnce, "Figures of the machine in the API."),
    block("exporter", monitor::EXPORTER, Implemented, RebindsListener, "Metrics for Prometheus."),
    block("tencentcloud_cls", monitor::TENCENTCLOUD_CLS, monitor::CLOUD, NeedsRestart, "Log service of one cloud vendor.").open(),
    block("tencentcloud_apm", monitor::TENCENTCLOUD_APM, monitor::CLOUD, NeedsRestart, "Tracing service of one cloud vendor.").open(),
    block("http_api", http::API, Implemented, RebindsListener, "HTTP API."),
    block("http_server", http::SERVER, Implemented, RebindsListener, "HTTP server for live streams and files."),
    block("stream_caster", caster::STREAM_CASTER, Implemented, RebindsListener, "Takes streams of other protocols and publishes them.").repeats(),
    block("srt_server", srt::SERVER, srt::SRT, RebindsListener, "SRT server."),
    block("rtc_server", rtc::SERVER, rtc::RTC, RebindsListener, "WebRTC server."),
    block("vhost", vhost::VHOST, Implemented, RestartsComponent, "A virtual host; `__defaultVhost__` serves all names that have none of their own.").repeats().example("__defaultVhost__"),
];
