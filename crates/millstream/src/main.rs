//! The `millstream` program: arguments in, exit code out. Everything else is in the modules below,
//! whose order is that of ARCHITECTURE.md.

mod access;
mod api;
mod attach;
mod bandwidth;
mod child;
mod cli;
mod clients;
mod conf;
mod demo;
mod fanout;
mod heartbeat;
mod hook;
mod identity;
mod ingress;
mod listen;
mod listeners;
mod log;
mod metrics;
mod output;
mod pithy;
mod process;
mod quit;
mod relay;
mod reload;
mod server;
mod session;
mod signals;
mod stats;
mod system;
mod tasks;
mod tls;
mod wire;

use std::process::ExitCode;

/// Many small allocations of many sizes on many threads are what a stream of messages is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    child::run_if_keeper().unwrap_or_else(cli::run)
}
