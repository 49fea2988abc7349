//! Writes the servers' configuration and the plan that loadgen's `pair` reads.

use super::Places;
use super::options::Options;
use crate::sh::Outcome;
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
    put(&conf, &configuration(options.clients))?;
    let plan = places.dir.join("plan.conf");
    put(&plan, &sections(places, options, &conf)?)?;
    Ok(plan)
}

fn put(file: &Path, text: &str) -> Outcome {
    std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

/// What an operator would run: SRS's defaults, HTTP-FLV switched on, a log that is not measured.
fn configuration(clients: u32) -> String {
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
    }}
}}
",
        clients + 500
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
