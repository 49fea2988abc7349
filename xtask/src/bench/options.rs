//! The words after `cargo xtask bench`.

use crate::sh::Outcome;
use std::path::PathBuf;

pub(super) const HELP: &str = "cargo xtask bench [OPTIONS]

  --clients N        players (1000)
  --rounds N         runs of each measurement; the median counts (3)
  --seconds N        length of each measuring window (8)
  --threads N        worker threads of the server (as many as there are cores)
  --tests LIST       of play,publish,latency,storm (all)
  --other NAME=FILE  one more server; FILE holds the lines of its section in loadgen's plan
                     (cmd, port, publish, rtmp, flv: see bench/loadgen/README.md). May be repeated.";

/// All tests, in the order in which they run.
const TESTS: &[&str] = &["play", "publish", "latency", "storm"];

/// What is to be measured, and how long.
pub(super) struct Options {
    pub(super) clients: u32,
    pub(super) rounds: u32,
    pub(super) seconds: u32,
    pub(super) threads: Option<u32>,
    pub(super) tests: Vec<String>,
    pub(super) others: Vec<(String, PathBuf)>,
}

impl Options {
    /// `None` when only help was asked for.
    pub(super) fn parse(words: &[String]) -> Outcome<Option<Self>> {
        let mut options = Self {
            clients: 1000,
            rounds: 3,
            seconds: 8,
            threads: None,
            tests: TESTS.iter().map(|t| t.to_string()).collect(),
            others: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(flag) = words.next() {
            if matches!(flag.as_str(), "-h" | "--help") {
                return Ok(None);
            }
            let value =
                words.next().ok_or_else(|| format!("{flag} needs a value, or is unknown\n\n{HELP}"))?;
            match flag.as_str() {
                "--clients" => options.clients = number(flag, value)?,
                "--rounds" => options.rounds = number(flag, value)?,
                "--seconds" => options.seconds = number(flag, value)?,
                "--threads" => options.threads = Some(number(flag, value)?),
                "--tests" => options.tests = tests(value)?,
                "--other" => options.others.push(other(value)?),
                _ => return Err(format!("there is no option {flag:?}\n\n{HELP}")),
            }
        }
        Ok(Some(options))
    }

    /// Names of the real servers, which publish and play; the floors do only one of the two.
    pub(super) fn servers(&self) -> Vec<&str> {
        let others = self.others.iter().map(|(name, _)| name.as_str());
        std::iter::once("millstream").chain(others).collect()
    }
}

fn number(flag: &str, value: &str) -> Outcome<u32> {
    match value.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("{flag} {value:?}: a whole number above 0 is needed")),
    }
}

fn tests(list: &str) -> Outcome<Vec<String>> {
    list.split(',')
        .map(|t| match TESTS.contains(&t) {
            true => Ok(t.to_string()),
            false => Err(format!("--tests {t:?}: one of {}", TESTS.join(", "))),
        })
        .collect()
}

fn other(value: &str) -> Outcome<(String, PathBuf)> {
    let (name, file) = value.split_once('=').ok_or_else(|| format!("--other {value:?}: NAME=FILE"))?;
    Ok((name.to_string(), PathBuf::from(file)))
}
