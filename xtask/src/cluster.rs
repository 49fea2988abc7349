//! `cargo xtask cluster`: three origins and three edges of ours on this machine, under load, while origins are killed.
//!
//! Publishers connect to the edges, which bring their streams to the origins; viewers watch at the next edge, which
//! gets them from there. Every stream so crosses two edges and an origin. First comes what one server more costs a
//! viewer in delay. Each [`KILL`] an origin is killed and
//! started again. `bench/loadgen` publishes, watches and counts viewers that got nothing for three seconds. Then
//! comes the same in short rounds, and what each edge holds after them: descriptors, threads, memory.

use crate::background::{Background, wait};
use crate::bench;
use crate::sh::{Outcome, command};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const HELP: &str = "cargo xtask cluster [--streams 300] [--viewers 3000] [--seconds 120] [--rounds 50] [--kbps 200]

  three origins, three edges; origins are killed in turn; viewers without media for three seconds are counted";

/// Time from one kill to the next.
const KILL: Duration = Duration::from_secs(15);

/// How long a killed origin is away.
const AWAY: Duration = Duration::from_secs(2);

/// Origins listen from here on, edges behind them.
const FIRST_PORT: u16 = 29_350;

struct Options {
    streams: u32,
    viewers: u32,
    seconds: u64,
    rounds: u32,
    kbps: u32,
}

/// Builds, runs, reports.
pub(crate) fn run(words: &[String]) -> Outcome {
    let Some(options) = Options::parse(words)? else {
        println!("{HELP}");
        return Ok(());
    };
    let places = bench::prepare()?;
    let media = bench::media(&places, options.kbps)?;
    let dir = places.dir.join("cluster");
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let start = |number: u16| Server::start(&places.server, &dir, number);
    let mut servers = (0..6).map(start).collect::<Outcome<Vec<Server>>>()?;
    let load = |streams: u32, viewers: u32, seconds: u64, name: &str| {
        Load::start(&places.loadgen, &media, streams, viewers, seconds, name)
    };

    let held =
        |servers: &[Server]| servers[3..].iter().map(Server::held).collect::<Vec<String>>().join(" · ");
    hop(&places.loadgen, &media)?;
    println!("edges at the start: {}", held(&servers));
    let running = load(options.streams / 3, options.viewers / 3, options.seconds, "show")?;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut next = Instant::now() + KILL;
    let mut origin = 0;
    while Instant::now() + KILL < end {
        wait(next);
        servers[origin].restart(&places.server)?;
        println!("origin {origin} was killed and started again");
        origin = (origin + 1) % 3;
        next += KILL;
    }
    running.finish()?;
    println!("edges after it: {}", held(&servers));

    for round in 1..=options.rounds {
        load(30, 60, 3, &format!("round{round}"))?.finish_quietly()?;
        if round % 10 == 0 || round == options.rounds {
            wait(Instant::now() + Duration::from_secs(4));
            println!("edges after {round} rounds: {}", held(&servers));
        }
    }
    Ok(())
}

/// What one server more on the way costs: the delay from a publisher at an origin to a viewer there, and to one at an edge.
fn hop(loadgen: &Path, media: &Path) -> Outcome {
    let url = |port: u16| format!("rtmp://127.0.0.1:{port}/live/hop");
    for (who, port) in [("the origin", FIRST_PORT), ("an edge", FIRST_PORT + 3)] {
        let (from, to, file) = (url(FIRST_PORT), url(port), media.display());
        let words = format!("latency --publish-url {from} --url {to} --file {file}");
        let out = command(&loadgen.to_string_lossy(), &words.split(' ').collect::<Vec<_>>()).output();
        let out = out.map_err(|e| format!("{}: {e}", loadgen.display()))?;
        println!("delay to a viewer at {who}: {}", String::from_utf8_lossy(&out.stdout).trim());
    }
    Ok(())
}

impl Options {
    fn parse(words: &[String]) -> Outcome<Option<Self>> {
        let mut options = Self { streams: 300, viewers: 3000, seconds: 120, rounds: 50, kbps: 200 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if matches!(word.as_str(), "-h" | "--help") {
                return Ok(None);
            }
            let value = words.next().ok_or_else(|| format!("{word} wants a number"))?;
            let number: u32 = value.parse().map_err(|_| format!("{word} wants a number, not {value:?}"))?;
            match word.as_str() {
                "--streams" => options.streams = number,
                "--viewers" => options.viewers = number,
                "--seconds" => options.seconds = number.into(),
                "--rounds" => options.rounds = number,
                "--kbps" => options.kbps = number,
                _ => return Err(format!("there is no option {word}\n\n{HELP}")),
            }
        }
        Ok(Some(options))
    }
}

/// A server of the cluster. 0 to 2 are origins, 3 to 5 edges.
struct Server {
    /// Only [`Server::restart`] leaves it without.
    running: Option<Background>,
    conf: PathBuf,
    log: PathBuf,
    port: u16,
}

impl Server {
    fn start(program: &Path, dir: &Path, number: u16) -> Outcome<Self> {
        let port = FIRST_PORT + number;
        let origins: Vec<String> = (0..3).map(|n| format!("127.0.0.1:{}", FIRST_PORT + n)).collect();
        let cluster = match number {
            0..3 => String::new(),
            _ => format!("cluster {{ mode remote; origin {}; }}", origins.join(" ")),
        };
        let conf = dir.join(format!("{number}.conf"));
        let text = format!(
            "listen 127.0.0.1:{port};\nmax_connections 8000;\ndaemon off;\nsrs_log_tank console;\n\
             pid \"{}/{number}.pid\";\nvhost __defaultVhost__ {{\n    {cluster}\n}}\n",
            dir.display()
        );
        std::fs::write(&conf, text).map_err(|e| format!("{}: {e}", conf.display()))?;
        let log = dir.join(format!("{number}.log"));
        let mut server = Self { running: None, conf, log, port };
        server.go(program)?;
        Ok(server)
    }

    fn go(&mut self, program: &Path) -> Outcome {
        let fail = |e: std::io::Error| format!("{}: {e}", self.log.display());
        let out = File::options().create(true).append(true).open(&self.log).map_err(fail)?;
        let mut server = command(&program.to_string_lossy(), &[Path::new("-c"), &self.conf]);
        server.stderr(out.try_clone().map_err(fail)?).stdout(out);
        let running = Background::start(server)?;
        running.await_port(self.port).map_err(|e| format!("{e}, see {}", self.log.display()))?;
        self.running = Some(running);
        Ok(())
    }

    fn restart(&mut self, program: &Path) -> Outcome {
        if let Some(running) = self.running.take() {
            running.kill();
        }
        wait(Instant::now() + AWAY);
        self.go(program)
    }

    /// What it holds now.
    fn held(&self) -> String {
        let pid = self.running.as_ref().map_or(0, Background::pid);
        let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("?").trim();
        format!("{} descriptors, {} threads, {memory}", count("fd"), count("task"))
    }
}

/// Publishers at each edge, viewers of their streams at the next.
struct Load {
    publishers: Vec<Child>,
    viewers: Vec<Child>,
}

impl Load {
    fn start(
        loadgen: &Path,
        media: &Path,
        streams: u32,
        viewers: u32,
        seconds: u64,
        name: &str,
    ) -> Outcome<Self> {
        let spawn = |words: &str| {
            let mut command = command(&loadgen.to_string_lossy(), &words.split(' ').collect::<Vec<_>>());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
            command.spawn().map_err(|e| format!("{}: {e}", loadgen.display()))
        };
        let url =
            |edge: u16, of: u16| format!("rtmp://127.0.0.1:{}/live/{name}-{of}-{{i}}", FIRST_PORT + 3 + edge);
        let publish = |edge: u16| {
            let (url, file, length) = (url(edge, edge), media.display(), seconds + 8);
            spawn(&format!("publish --url {url} --file {file} --streams {streams} --seconds {length}"))
        };
        let publishers = (0..3).map(publish).collect::<Outcome<_>>()?;
        wait(Instant::now() + Duration::from_secs(2 + u64::from(streams) / 50));
        let watch = |edge: u16| {
            let url = url(edge, (edge + 1) % 3);
            spawn(&format!(
                "play --url {url} --clients {viewers} --streams {streams} --seconds {seconds} --stall-ms 3000"
            ))
        };
        let viewers = (0..3).map(watch).collect::<Outcome<_>>()?;
        Ok(Self { publishers, viewers })
    }

    /// Waits for the end and prints what loadgen has counted.
    fn finish(self) -> Outcome {
        for (who, children) in [("viewers", self.viewers), ("publishers", self.publishers)] {
            for child in children {
                println!("{who}: {}", said(child)?);
            }
        }
        Ok(())
    }

    /// The same; what it prints only if somebody had nothing to see.
    fn finish_quietly(self) -> Outcome {
        for child in self.viewers {
            let text = said(child)?;
            if !text.contains("\"stalled\":0") {
                println!("viewers: {text}");
            }
        }
        self.publishers.into_iter().try_for_each(|child| said(child).map(|_| ()))
    }
}

fn said(child: Child) -> Outcome<String> {
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
