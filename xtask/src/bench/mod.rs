//! `cargo xtask bench`: the release server beside the least that the kernel itself asks for.
//!
//! Everything is measured by `bench/loadgen`; this module only prepares the servers and the media, runs
//! loadgen's `pair` once per test and draws what came out. One run pairs all servers in rotated order,
//! because figures of different runs on a shared machine cannot be compared.
//! Results: `target/bench/results.jsonl` (one line per measurement) and `results.svg`.

mod chart;
mod options;
mod plan;
mod result;

use crate::sh::{Outcome, cargo, command, on_path, run_quietly, target_dir};
use options::Options;
use std::path::{Path, PathBuf};

/// Everything a run needs to know about this machine.
struct Places {
    /// The measuring program.
    loadgen: PathBuf,
    /// The server under test.
    server: PathBuf,
    /// A stream of one megabit a second.
    media: PathBuf,
    /// Where plans, configurations and results go.
    dir: PathBuf,
}

/// Builds, measures, reports.
pub(crate) fn run(words: &[String]) -> Outcome {
    let Some(options) = Options::parse(words)? else {
        println!("{}", options::HELP);
        return Ok(());
    };
    let places = prepare()?;
    let plan = plan::write(&places, &options)?;
    let results = places.dir.join("results.jsonl");
    if results.exists() {
        std::fs::remove_file(&results).map_err(|e| format!("{}: {e}", results.display()))?;
    }

    for test in &options.tests {
        pair(&places, &options, &plan, test, &results)?;
    }

    let text = std::fs::read_to_string(&results).map_err(|e| format!("no results: {e}"))?;
    let svg = places.dir.join("results.svg");
    std::fs::write(&svg, chart::draw(&result::parse(&text)))
        .map_err(|e| format!("{}: {e}", svg.display()))?;
    println!("\n{}\n{}", results.display(), svg.display());
    Ok(())
}

/// Builds both programs in release mode and makes the media file unless it is there from an earlier run.
fn prepare() -> Outcome<Places> {
    let target = target_dir();
    let dir = target.join("bench");
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    eprintln!("building the server and loadgen");
    run_quietly(cargo(&["build", "--release", "--package", "millstream"]))?;
    let loadgen_target = target.join("loadgen");
    let mut build = cargo(&["build", "--release", "--manifest-path", "bench/loadgen/Cargo.toml"]);
    build.arg("--target-dir").arg(&loadgen_target);
    run_quietly(build)?;
    let media = dir.join("t1m.flv");
    if !media.exists() {
        make_media(&media)?;
    }
    Ok(Places {
        loadgen: loadgen_target.join("release/loadgen"),
        server: target.join("release/millstream"),
        media,
        dir,
    })
}

/// The command of `bench/loadgen/README.md`: a constant megabit a second, a keyframe every two seconds.
fn make_media(file: &Path) -> Outcome {
    if !on_path("ffmpeg") {
        return Err("ffmpeg is needed for the media file: `cargo xtask setup`".into());
    }
    eprintln!("making one minute of media");
    // Written beside and renamed, so that an interrupted run leaves no half of a file to measure with.
    let part = file.with_extension("part.flv");
    let options = "-hide_banner -v error -y \
        -f lavfi -i testsrc2=size=1280x720:rate=25 \
        -f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=44100 -t 60 \
        -c:v libx264 -preset veryfast -profile:v main -bf 0 \
        -x264-params keyint=50:min-keyint=50:scenecut=0:nal-hrd=cbr:force-cfr=1:threads=1 \
        -b:v 900k -minrate 900k -maxrate 900k -bufsize 900k -pix_fmt yuv420p \
        -c:a aac -b:a 96k -ac 2 -flags +bitexact -fflags +bitexact";
    let mut ffmpeg = command("ffmpeg", &options.split_whitespace().collect::<Vec<_>>());
    ffmpeg.arg(&part);
    run_quietly(ffmpeg)?;
    std::fs::rename(&part, file).map_err(|e| format!("{}: {e}", file.display()))
}

/// One test on all servers of the plan, printed by loadgen as a table.
fn pair(places: &Places, options: &Options, plan: &Path, test: &str, results: &Path) -> Outcome {
    let many = options.clients.to_string();
    // What the count means: players, publishers, connections under way; for latency, one player shows
    // whether anything waits on purpose and many show what the load adds. The floors publish nothing and
    // send the first frame only with the next batch: nothing to learn from them about delay and storms.
    let (counts, base) = match test {
        "play" => (many, Some("floor-350")),
        "publish" => ("1,100".to_string(), Some("sink")),
        "latency" => (format!("1,{many}"), None),
        _ => ("32".to_string(), None),
    };
    // loadgen and the servers it starts inherit the limit of open files, and each viewer is one.
    let mut loadgen = command("sh", &["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$@\"", "sh"]);
    loadgen.arg(&places.loadgen).arg("pair");
    loadgen.args(["--test", test, "--protos", "rtmp,flv", "--clients", &counts]);
    loadgen.args(["--rounds", &options.rounds.to_string(), "--seconds", &options.seconds.to_string()]);
    loadgen.args(["--calm", "0.5", "--calm-wait", "30"]);
    loadgen.arg("--plan").arg(plan).arg("--file").arg(&places.media).arg("--out").arg(results);
    match base {
        Some(base) => loadgen.args(["--base", base]),
        None => loadgen.args(["--only", &options.servers().join(",")]),
    };
    crate::sh::run(loadgen)
}
