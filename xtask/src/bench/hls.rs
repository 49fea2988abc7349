//! `cargo xtask bench hls`: viewers of HLS at the server's own HTTP port, which serves from memory, and in turn at an
//! nginx that serves the very same files from disk while the server writes them.
//!
//! Both run all the time, so that both have the same work beside; each one's processor time is its own. The server's
//! includes reading the publisher and cutting segments, which nginx is spared.

use super::{Places, media, prepare};
use crate::background::{Background, wait};
use crate::sh::{Outcome, command, on_path, with_descriptors};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const HELP: &str = "cargo xtask bench hls [--clients 2000] [--rounds 3] [--seconds 8]";

/// Fixed ports below the range that the kernel hands out by itself.
const RTMP: u16 = 24_020;
const OURS: u16 = 24_021;
const NGINX: u16 = 24_022;

/// Time in which the first playlists are asked for, before measuring begins.
const WARMUP: u64 = 4;

/// Measures in turn, prints each round and the medians.
pub(super) fn run(words: &[String]) -> Outcome {
    let Some([clients, rounds, seconds]) = options(words)? else {
        println!("{HELP}");
        return Ok(());
    };
    if !on_path("nginx") {
        return Err("nginx is needed to compare with (apt-get install nginx)".into());
    }
    let places = prepare()?;
    let media = media(&places, 1000)?;
    let dir = places.dir.join("hls");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    std::fs::create_dir_all(dir.join("html")).map_err(|e| format!("{}: {e}", dir.display()))?;
    let server = start(&dir, "millstream", &places.server, &ours(&dir, clients))?;
    server.await_port(OURS)?;
    let nginx = start(&dir, "nginx", Path::new("nginx"), &nginx(&dir, clients))?;
    nginx.await_port(NGINX)?;
    let length = (1 + u64::from(2 * rounds)) * (u64::from(seconds) + WARMUP + 2) + 30;
    let url = format!("rtmp://127.0.0.1:{RTMP}/live/s");
    let mut publish = command(
        &places.loadgen.to_string_lossy(),
        &["publish", "--url", &url, "--streams", "1", "--seconds", &length.to_string(), "--file"],
    );
    publish.arg(&media).stdout(Stdio::null());
    let _publisher = Background::start(publish)?;
    await_file(&dir.join("html/live/s.m3u8"))?;

    let mut costs = [vec![], vec![]];
    for _ in 0..rounds {
        for (who, (port, program)) in [(OURS, &server), (NGINX, &nginx)].into_iter().enumerate() {
            let line = measure(&places, port, &tree(program.pid()), clients, seconds)?;
            println!("{:<11}{line}", ["millstream", "nginx"][who]);
            costs[who].push(number(&line, "cpu_s_per_gbit")?);
        }
    }
    let [ours, nginx] = costs.map(median);
    println!("\nmillstream {ours:.4}, nginx {nginx:.4} s per Gbit: {:.2}", ours / nginx);
    Ok(())
}

/// Clients, rounds, seconds; `None` when only help was asked for.
fn options(words: &[String]) -> Outcome<Option<[u32; 3]>> {
    let mut values = [2000, 3, 8];
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let names = ["--clients", "--rounds", "--seconds"];
        let Some(place) = names.iter().position(|name| name == word) else {
            return if matches!(word.as_str(), "-h" | "--help") { Ok(None) } else { Err(HELP.into()) };
        };
        let value = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        values[place] = value.ok_or_else(|| format!("{word} wants a number above 0"))?;
    }
    Ok(Some(values))
}

/// Starts one of the two with this configuration; what it says goes to a file beside that.
fn start(dir: &Path, name: &str, program: &Path, configuration: &str) -> Outcome<Background> {
    let (conf, log) = (dir.join(format!("{name}.conf")), dir.join(format!("{name}.log")));
    std::fs::write(&conf, configuration).map_err(|e| format!("{}: {e}", conf.display()))?;
    let fail = |e: std::io::Error| format!("{}: {e}", log.display());
    let out = std::fs::File::create(&log).map_err(fail)?;
    let mut server = with_descriptors(program);
    server.arg("-c").arg(&conf).stderr(out.try_clone().map_err(fail)?).stdout(out);
    Background::start(server)
}

fn ours(dir: &Path, clients: u32) -> String {
    let dir = dir.display();
    format!(
        "listen 127.0.0.1:{RTMP};
max_connections {};
daemon off;
pid \"{dir}/millstream.pid\";
srs_log_tank console;
srs_log_level warn;
http_server {{ enabled on; listen 127.0.0.1:{OURS}; dir \"{dir}/html\"; }}
vhost __defaultVhost__ {{
    hls {{ enabled on; hls_path \"{dir}/html\"; hls_fragment 2; hls_window 20; hls_storage both; }}
}}
",
        clients + 100
    )
}

/// What its documentation recommends for files: a worker per core, sendfile, open files kept; but for playlists,
/// which are replaced all the time.
fn nginx(dir: &Path, clients: u32) -> String {
    let dir = dir.display();
    format!(
        "user root;
worker_processes auto;
worker_rlimit_nofile {};
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx-errors.log error;
events {{ worker_connections {}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 1000000;
    open_file_cache max=1000 inactive=20s;
    types {{ video/mp2t ts; application/vnd.apple.mpegurl m3u8; }}
    server {{
        listen 127.0.0.1:{NGINX};
        root {dir}/html;
        location ~ \\.m3u8$ {{ open_file_cache off; }}
    }}
}}
",
        2 * clients + 1000,
        2 * clients + 1000
    )
}

/// Waits, for thirty seconds at most, until there is such a file.
fn await_file(file: &Path) -> Outcome {
    let end = Instant::now() + Duration::from_secs(30);
    while !file.exists() {
        if Instant::now() > end {
            return Err(format!("{} does not appear", file.display()));
        }
        wait(Instant::now() + Duration::from_millis(100));
    }
    Ok(())
}

/// A process and its children, as loadgen wants them.
fn tree(pid: u32) -> String {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().map(str::to_owned);
    std::iter::once(pid.to_string()).chain(children).collect::<Vec<_>>().join(",")
}

/// One window; loadgen's line.
fn measure(places: &Places, port: u16, pids: &str, clients: u32, seconds: u32) -> Outcome<String> {
    let words = format!(
        "hls --url http://127.0.0.1:{port}/live/s.m3u8 --clients {clients} --seconds {seconds} --warmup {WARMUP} \
         --every-ms 1000 --server-pid {pids}"
    );
    let words = words.split_whitespace().collect::<Vec<_>>();
    let out = with_descriptors(&places.loadgen).args(words).stderr(Stdio::inherit()).output();
    let out = out.map_err(|e| format!("loadgen: {e}"))?;
    let line = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if out.status.success() { Ok(line) } else { Err(format!("loadgen: {}", out.status)) }
}

fn number(line: &str, key: &str) -> Outcome<f64> {
    let (_, rest) = line.split_once(&format!("\"{key}\":")).ok_or_else(|| format!("no {key} in {line}"))?;
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    rest[..end].parse().map_err(|_| format!("{key} is no number in {line}"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
