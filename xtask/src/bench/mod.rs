//! `cargo xtask bench`: the release server beside the least that the kernel itself asks for.
//!
//! Everything is measured by `bench/loadgen`; this module only prepares the servers and the media, runs
//! loadgen's `pair` once per section and draws what came out. One run pairs all servers in rotated order,
//! because figures of different runs on a shared machine cannot be compared.
//! Results: `target/bench/results.jsonl` (one line per measurement) and `results.svg`.

mod chart;
mod hls;
mod options;
mod plan;
mod result;
mod sections;

use crate::sh::{Outcome, cargo, command, on_path, run_quietly, target_dir, with_descriptors};
use options::Options;
use sections::{Section, Who};
use std::path::{Path, PathBuf};

/// Everything a run needs to know about this machine.
pub(crate) struct Places {
    /// The measuring program.
    pub(crate) loadgen: PathBuf,
    /// The server under test.
    pub(crate) server: PathBuf,
    /// Where plans, configurations and results go.
    pub(crate) dir: PathBuf,
}

/// Builds, measures, reports.
pub(crate) fn run(words: &[String]) -> Outcome {
    if words.first().is_some_and(|word| word == "micro") {
        return micro(&words[1..]);
    }
    if words.first().is_some_and(|word| word == "hls") {
        return hls::run(&words[1..]);
    }
    let Some(options) = Options::parse(words)? else {
        println!("{}", options::help());
        return Ok(());
    };
    let places = prepare()?;
    let plan = plan::write(&places, &options)?;
    let results = places.dir.join("results.jsonl");
    if results.exists() {
        std::fs::remove_file(&results).map_err(|e| format!("{}: {e}", results.display()))?;
    }

    for section in &options.sections {
        let media = media(&places, section.kbps)?;
        pair(&places, &options, &plan, section, &media, &results)?;
    }

    let mut text = std::fs::read_to_string(&results).map_err(|e| format!("no results: {e}"))?;
    for line in result::memory_of_one_more(&result::parse(&text)) {
        println!("{line}");
        text += &format!("{line}\n");
    }
    std::fs::write(&results, &text).map_err(|e| format!("{}: {e}", results.display()))?;
    let svg = places.dir.join("results.svg");
    std::fs::write(&svg, chart::draw(&result::parse(&text)))
        .map_err(|e| format!("{}: {e}", svg.display()))?;
    println!("\n{}\n{}", results.display(), svg.display());
    Ok(())
}

/// Criterion's benchmarks of the pure crates and the hub; `words` are for criterion.
fn micro(words: &[String]) -> Outcome {
    let mut bench = cargo(&["bench", "--manifest-path", "bench/micro/Cargo.toml"]);
    bench.arg("--target-dir").arg(target_dir().join("micro")).arg("--").args(words);
    crate::sh::run(bench)
}

/// Builds both programs in release mode.
pub(crate) fn prepare() -> Outcome<Places> {
    let target = target_dir();
    let dir = target.join("bench");
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    eprintln!("building the server and loadgen");
    run_quietly(cargo(&["build", "--release", "--package", "millstream"]))?;
    let loadgen_target = target.join("loadgen");
    let mut build = cargo(&["build", "--release", "--manifest-path", "bench/loadgen/Cargo.toml"]);
    build.arg("--target-dir").arg(&loadgen_target);
    run_quietly(build)?;
    Ok(Places {
        loadgen: loadgen_target.join("release/loadgen"),
        server: target.join("release/millstream"),
        dir,
    })
}

/// A minute at a constant rate with a keyframe every two seconds, unless it is there from an earlier run.
pub(crate) fn media(places: &Places, kbps: u32) -> Outcome<PathBuf> {
    let file = places.dir.join(format!("{kbps}k.flv"));
    if file.exists() {
        return Ok(file);
    }
    if !on_path("ffmpeg") {
        return Err("ffmpeg is needed for the media file: `cargo xtask setup`".into());
    }
    eprintln!("making media of {kbps} kbit/s");
    // Written beside and renamed, so that an interrupted run leaves no half of a file to measure with.
    let part = file.with_extension("part.flv");
    let (size, sound) = if kbps < 500 { ("640x360", 48) } else { ("1280x720", 96) };
    let picture = kbps * 98 / 100 - sound;
    let options = format!(
        "-hide_banner -v error -y \
        -f lavfi -i testsrc2=size={size}:rate=25 \
        -f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=44100 -t 60 \
        -c:v libx264 -preset veryfast -profile:v main -bf 0 \
        -x264-params keyint=50:min-keyint=50:scenecut=0:nal-hrd=cbr:force-cfr=1:threads=1 \
        -b:v {picture}k -minrate {picture}k -maxrate {picture}k -bufsize {picture}k -pix_fmt yuv420p \
        -c:a aac -b:a {sound}k -ac 2 -flags +bitexact -fflags +bitexact"
    );
    let mut ffmpeg = command("ffmpeg", &options.split_whitespace().collect::<Vec<_>>());
    ffmpeg.arg(&part);
    run_quietly(ffmpeg)?;
    std::fs::rename(&part, &file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(file)
}

/// One section on its servers, printed by loadgen as a table.
fn pair(
    places: &Places,
    options: &Options,
    plan: &Path,
    section: &Section,
    media: &Path,
    results: &Path,
) -> Outcome {
    println!("\n## {}: {}", section.name, section.about);
    // The servers that loadgen starts inherit the limit of open files, and each viewer is one.
    let mut loadgen = match (section.who, plan::loadgen_cores()) {
        (Who::Only(&["threads-1", ..]), Some(cores)) => {
            let mut pinned = with_descriptors(Path::new("taskset"));
            pinned.args(["-c", &cores]).arg(&places.loadgen);
            pinned
        }
        _ => with_descriptors(&places.loadgen),
    };
    loadgen.args(["pair", "--label", section.name]);
    loadgen.args(["--test", section.test, "--protos", section.protos, "--clients", &options.counts(section)]);
    loadgen.args(["--rounds", &options.rounds.to_string(), "--calm", "0.5", "--calm-wait", "30"]);
    if !section.extra.contains(&"--seconds") {
        loadgen.args(["--seconds", &options.seconds.to_string()]);
    }
    loadgen.args(section.extra);
    loadgen.arg("--plan").arg(plan).arg("--file").arg(media).arg("--out").arg(results);
    match section.who {
        Who::Floor(floor) => {
            loadgen.args(["--base", floor, "--only", &format!("{},{floor}", options.servers().join(","))])
        }
        Who::Servers => loadgen.args(["--only", &options.servers().join(",")]),
        Who::Only(servers) => {
            // More threads than cores would show nothing.
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let sensible = |server: &&str| match server.strip_prefix("threads-").map(str::parse) {
                Some(Ok(threads)) => {
                    let threads: usize = threads;
                    cores >= threads
                }
                _ => true,
            };
            let servers: Vec<_> = servers.iter().copied().filter(sensible).collect();
            loadgen.args(["--base", servers[0], "--only", &servers.join(",")])
        }
    };
    crate::sh::run(loadgen)
}
