//! `cargo xtask`: the chores of this repository, in plain std Rust, so that they run wherever cargo does.
//!
//! Each command is one module with a `run` that either succeeds or says in one line what went wrong.
//! Nothing here is part of the server.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod background;
mod bench;
mod check;
mod clip;
mod cluster;
mod golden;
mod setup;
mod sh;

use std::process::ExitCode;

const HELP: &str = "cargo xtask COMMAND

  setup    install what the tests need (ffmpeg, rtmpdump, curl), or say what to install
  check    formatting, clippy and documentation without warnings, then all tests
  golden   run the tests so that they rewrite their generated files; look at the diff afterwards
  clip     make the clip of `millstream demo` anew (crates/millstream/assets/demo.flv)
  bench    pair the release server with a bare write() program: processor time per gigabit, latency, storms
           (`cargo xtask bench --help` lists its options)
  cluster  three origins and three edges under load while origins are killed: who stalls, what leaks";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    let result = match command.as_str() {
        "setup" => setup::run(),
        "check" => check::run(),
        "golden" => golden::run(&rest),
        "clip" => clip::run(),
        "bench" => bench::run(&rest),
        "cluster" => cluster::run(&rest),
        "" | "help" | "-h" | "--help" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command {other:?}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask {command}: {why}");
            ExitCode::FAILURE
        }
    }
}
