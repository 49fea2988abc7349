//! Another machine as far as the network can tell: a network namespace at the end of a cable that can be cut.

use super::process::{Finished, Process};
use super::{SOON, ffmpeg::tool};
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Ends with this value, and the cable with it. What runs in it must have ended before.
pub(crate) struct Namespace {
    name: String,
    net: [u8; 3],
}

impl Namespace {
    /// `None`, with a loud word, where this machine does not let us.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let number = pid.wrapping_mul(16).wrapping_add(n);
        let net = [10, 192 + (number >> 8) as u8 % 64, number as u8];
        let namespace = Self { name: format!("ms{pid}-{n}"), net };
        match namespace.lay() {
            Ok(()) => Some(namespace),
            Err(why) => {
                #[expect(clippy::print_stderr, reason = "nobody shall take this for a test that has passed")]
                {
                    eprintln!("NOT TESTED: no network namespace can be made here (that takes root): {why}");
                }
                None
            }
        }
    }

    fn lay(&self) -> Result<(), String> {
        let (name, [a, b, c]) = (&self.name, self.net);
        run(&format!("netns add {name}"))?;
        run(&format!("link add {name} type veth peer name eth0 netns {name}"))?;
        run(&format!("addr add {a}.{b}.{c}.1/24 dev {name}"))?;
        run(&format!("-n {name} addr add {a}.{b}.{c}.2/24 dev eth0"))?;
        for link in [format!("link set {name} up"), format!("-n {name} link set eth0 up")] {
            run(&link)?;
        }
        run(&format!("-n {name} link set lo up"))
    }

    /// Its address, for us.
    pub(crate) fn address(&self) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, 2)
    }

    /// The same program, to be run there.
    pub(crate) fn inside(&self, command: &Command) -> Command {
        let mut there = tool("ip", &format!("netns exec {}", self.name));
        there.arg(command.get_program()).args(command.get_args());
        there
    }

    /// Nothing passes any more, and no side is told.
    #[track_caller]
    pub(crate) fn cut(&self) {
        run(&format!("-n {} link set eth0 down", self.name)).expect("a cable can be cut");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with its end.
        let _ = run(&format!("netns del {}", self.name));
        let _ = run(&format!("link del {}", self.name));
    }
}

fn run(words: &str) -> Result<(), String> {
    let run: Finished = Process::run(&mut tool("ip", words), SOON);
    if run.status.success() { Ok(()) } else { Err(format!("ip {words}: {}", run.text().trim())) }
}
