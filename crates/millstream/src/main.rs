//! The `millstream` program: arguments in, exit code out. Everything else is in the modules below,
//! whose order is that of ARCHITECTURE.md.

mod api;
mod cli;
mod clients;
mod demo;
mod fanout;
mod heartbeat;
mod identity;
mod listen;
mod log;
mod metrics;
mod pithy;
mod server;
mod session;
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
    cli::run()
}
