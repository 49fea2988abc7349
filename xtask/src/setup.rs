//! Installs the programs that the tests drive the server with.
//!
//! On Debian as root this is one bounded, silent `apt-get`; anywhere else it says what is missing and
//! fails, because a test that skips itself for want of ffmpeg tests nothing.

use crate::sh::{Outcome, command, on_path, run_quietly};
use std::collections::BTreeSet;

/// Program and the Debian package it comes in.
const NEEDED: &[(&str, &str)] = &[
    ("ffmpeg", "ffmpeg"),
    ("ffprobe", "ffmpeg"),
    ("rtmpdump", "rtmpdump"),
    ("curl", "curl"),
    ("chromium", "chromium"),
];

/// Longer than any healthy mirror needs, shorter than a CI's patience.
const PATIENCE_S: &str = "420";

/// Installs what is missing, or says what to install.
pub(crate) fn run() -> Outcome {
    let (programs, packages) = missing();
    if programs.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = packages.into_iter().collect();
    let (programs, wanted) = (programs.join(", "), packages.join(" "));
    if !(is_root() && on_path("apt-get")) {
        return Err(format!(
            "the tests need {programs}. Install these packages (Debian names): {wanted}\n\
             For example: sudo apt-get update && sudo apt-get install -y {wanted}"
        ));
    }
    eprintln!("installing {wanted} for the tests");
    apt_get(&["update"])?;
    apt_get(&[&["install", "-y", "--no-install-recommends"], packages.as_slice()].concat())?;
    match missing().0 {
        left if left.is_empty() => Ok(()),
        left => Err(format!("apt-get succeeded, but {} still cannot be found", left.join(", "))),
    }
}

fn missing() -> (Vec<&'static str>, BTreeSet<&'static str>) {
    NEEDED.iter().filter(|(program, _)| !on_path(program)).copied().unzip()
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

fn apt_get(args: &[&str]) -> Outcome {
    // `timeout` is part of coreutils, so of every Debian; the options keep one dead mirror or a lock held
    // by another apt from using all of it.
    let fixed = [
        PATIENCE_S,
        "apt-get",
        "-qq",
        "-o",
        "Acquire::Retries=3",
        "-o",
        "Acquire::http::Timeout=30",
        "-o",
        "DPkg::Lock::Timeout=120",
    ];
    let mut apt = command("timeout", &[&fixed, args].concat());
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    run_quietly(apt)
}
