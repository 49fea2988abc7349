//! Writes the servers' configuration and the plan that loadgen's `pair` reads.

use super::Places;
use super::options::Options;
use super::sections::{BESIDE, Section, WATCHING};
use crate::sh::{Outcome, on_path};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Fixed ports below the range that the kernel hands out by itself.
const RTMP: u16 = 24_010;
const HTTP: u16 = 24_011;
const FLOOR: u16 = 24_090;
const SINK: u16 = 24_091;

/// The delay of the floor: SRS's default `mw_latency`, which the server keeps too.
const BATCH_MS: u32 = 350;

/// Writes both files into the bench folder; returns the plan's.
pub(super) fn write(places: &Places, options: &Options) -> Outcome<PathBuf> {
    let conf = places.dir.join("millstream.conf");
    put(&conf, &configuration(connections(options), ""))?;
    put(&places.dir.join("queue-3.conf"), &configuration(connections(options), "queue_length 3;"))?;
    let plan = places.dir.join("plan.conf");
    put(&plan, &sections(places, options, &conf)?)?;
    Ok(plan)
}

fn put(file: &Path, text: &str) -> Outcome {
    std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

/// The most connections that any section asks for at a time.
fn connections(options: &Options) -> u32 {
    let of = |section: &Section| {
        let most = options.counts(section).split(',').filter_map(|n| n.parse().ok()).max().unwrap_or(0u32);
        // `pairs` has as many publishers as players.
        let beside = [("--beside", BESIDE), ("--watching", WATCHING)];
        let beside =
            beside.iter().filter(|(word, _)| section.extra.contains(word)).map(|(_, n)| n).sum::<u32>();
        2 * most.min(1000) + most + beside
    };
    options.sections.iter().map(|section| of(section)).max().unwrap_or(0)
}

/// Cores for the load generator where there are enough to keep it away from the server's; the lower half is
/// the server's.
pub(super) fn loadgen_cores() -> Option<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores >= 4 && on_path("taskset")).then(|| format!("{}-{}", cores / 2, cores - 1))
}

/// What an operator would run: SRS's defaults, HTTP-FLV switched on, a log that is not measured.
fn configuration(connections: u32, play: &str) -> String {
    format!(
        "listen              127.0.0.1:{RTMP};
max_connections     {};
daemon              off;
pid                 ./millstream.pid;
srs_log_tank        console;
srs_log_level       warn;
http_server {{
    enabled         on;
    listen          127.0.0.1:{HTTP};
    dir             ./html;
}}
vhost __defaultVhost__ {{
    http_remux {{
        enabled     on;
        mount       [vhost]/[app]/[stream].flv;
    }}
    play {{
        gop_cache   on;
        {play}
    }}
}}
",
        connections + 500
    )
}

fn sections(places: &Places, options: &Options, conf: &Path) -> Outcome<String> {
    let (dir, loadgen) = (places.dir.display(), places.loadgen.display());
    let threads = options.threads.map(|n| format!(" --threads {n}")).unwrap_or_default();
    // The floor speaks HTTP only. Its RTMP line gives it to the RTMP table as well: what the kernel asks
    // for a gigabit does not depend on the few bytes of framing in it.
    let mut plan = format!(
        "[millstream]
cmd = {server} -c {conf}{threads}
cwd = {dir}
port = {RTMP}
publish = rtmp://127.0.0.1:{RTMP}/live/s
rtmp = rtmp://127.0.0.1:{RTMP}/live/s
flv = http://127.0.0.1:{HTTP}/live/s.flv
api = http://127.0.0.1:{HTTP}/api/v1/versions
waiting = http://127.0.0.1:{HTTP}/live/waiting{{i}}.flv

[floor-{BATCH_MS}]
cmd = {loadgen} limit-server --port {FLOOR} --interval-ms {BATCH_MS} --file {{file}}
port = {FLOOR}
rtmp = http://127.0.0.1:{FLOOR}/live/s.flv
flv = http://127.0.0.1:{FLOOR}/live/s.flv

[sink]
cmd = {loadgen} limit-sink --port {SINK}
port = {SINK}
publish = rtmp://127.0.0.1:{SINK}/live/s
",
        server = places.server.display(),
        conf = conf.display(),
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pin = loadgen_cores().map(|_| format!("taskset -c 0-{} ", cores / 2 - 1)).unwrap_or_default();
    let variants = [
        ("threads-1", format!("{pin}{} -c {} --threads 1", places.server.display(), conf.display())),
        ("threads-2", format!("{pin}{} -c {} --threads 2", places.server.display(), conf.display())),
        ("threads-4", format!("{pin}{} -c {} --threads 4", places.server.display(), conf.display())),
        ("queue-3", format!("{} -c {dir}/queue-3.conf{threads}", places.server.display())),
    ];
    for (name, cmd) in variants {
        let _ = write!(
            plan,
            "
[{name}]
cmd = {cmd}
cwd = {dir}
port = {RTMP}
publish = rtmp://127.0.0.1:{RTMP}/live/s
rtmp = rtmp://127.0.0.1:{RTMP}/live/s
flv = http://127.0.0.1:{HTTP}/live/s.flv
"
        );
    }
    for (name, file) in &options.others {
        let lines = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let lines = lines.lines().filter(|line| !line.trim_start().starts_with('['));
        let _ = write!(plan, "\n[{name}]\n");
        lines.for_each(|line| {
            let _ = writeln!(plan, "{line}");
        });
    }
    Ok(plan)
}
