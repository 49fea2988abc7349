//! The `millstream` program: arguments in, exit code out. Everything else is in the modules below,
//! whose order is that of ARCHITECTURE.md.

mod api;
mod attach;
mod child;
mod cli;
mod clients;
mod conf;
mod fanout;
mod hook;
mod identity;
mod ingress;
mod listen;
mod log;
mod metrics;
mod output;
mod process;
mod relay;
mod reload;
mod server;
mod session;
mod system;
mod tasks;
mod wire;

use std::process::ExitCode;

/// Many small allocations of many sizes on many threads are what a stream of messages is.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    child::run_if_keeper().unwrap_or_else(cli::run)
}
