//! The command line: SRS's flags, and what was added.
//!
//! SRS's exit codes are its error numbers modulo 256, and scripts check them: 255 for a bad command line or
//! configuration, 234 for an address that cannot be bound.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the log does not exist yet, or is not meant")]

mod bandwidth;
pub(crate) mod demo;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, Parser, Subcommand};

use crate::conf::Source;
use crate::identity;
use crate::process::{self, Daemon, daemon};
use crate::server::{self, Startup};

/// SRS's number for a bad configuration, 1023, as an exit code.
const INVALID: u8 = 255;

/// Live streaming server: RTMP in, RTMP and HTTP (FLV, TS, AAC, MP3) out, configured by SRS files.
///
/// Without a configuration it serves RTMP on port 1935 and HTTP-FLV on port 8080.
#[derive(Debug, Parser)]
#[command(name = "millstream", disable_version_flag = true, disable_help_flag = true)]
struct Arguments {
    /// Configuration file; SRS_CONFIG_FILE in the environment takes its place
    #[arg(short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read no file: everything comes from SRS_… variables
    #[arg(short = 'e')]
    env_only: bool,
    /// Check the configuration and leave
    #[arg(short = 't')]
    test: bool,
    /// Print the version and leave
    #[arg(short = 'v', visible_short_alias = 'V', long = "version")]
    version: bool,
    /// Print name and version and leave
    #[arg(short = 'g', visible_short_alias = 'G')]
    signature: bool,
    /// Serve RTMP on this port, in the foreground
    #[arg(short = 'p', value_name = "PORT", hide = true)]
    rtmp_port: Option<u16>,
    /// Serve HTTP on this port, in the foreground
    #[arg(short = 'x', value_name = "PORT", hide = true)]
    http_port: Option<u16>,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// How a daemon is started by its launcher
    #[arg(long = daemon::FLAG, hide = true)]
    daemon: bool,
    /// Print help
    #[arg(short = 'h', visible_short_alias = '?', long = "help", action = ArgAction::Help, global = true)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve in the foreground, and publish a test clip in a loop to look at
    #[command(disable_help_flag = true)]
    Demo,
    /// Questions about the configuration
    #[command(subcommand, disable_help_subcommand = true)]
    Config(Question),
    /// Test how much the line to a server carries
    Bandwidth {
        /// Of a vhost with bandcheck, such as "rtmp://host/app?key=K&vhost=V"
        url: String,
    },
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Tell what a directive means: value, default, reload, environment name, whether it works
    Explain {
        /// Its name (`gop_cache`), path (`vhost.play.gop_cache`) or variable (`SRS_VHOST_PLAY_GOP_CACHE`)
        #[arg(value_name = "DIRECTIVE")]
        name: String,
    },
}

/// Does what the command line says, to the end of the process.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            let _ = e.print();
            let asked = matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { INVALID.into() };
        }
    };
    if arguments.version {
        println!("{}", identity::VERSION);
        return ExitCode::SUCCESS;
    }
    if arguments.signature {
        println!("{}", identity::SERVER);
        return ExitCode::SUCCESS;
    }
    match &arguments.command {
        Some(Command::Config(Question::Explain { name })) => return explain(name),
        Some(Command::Bandwidth { url }) => return test_bandwidth(url),
        Some(Command::Demo) | None => {}
    }
    let source = Source::new(arguments.config.clone(), arguments.env_only, overrides(&arguments));
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(problem) => {
            eprintln!("{problem}");
            eprintln!("millstream: invalid config, code=1023: {source}");
            if arguments.test {
                eprintln!("millstream: test is failed");
            }
            return INVALID.into();
        }
    };
    let demo = matches!(arguments.command, Some(Command::Demo));
    let background = !arguments.test && !demo && process::wants_daemon(&loaded.snapshot.global);
    if background && !arguments.daemon {
        return launch();
    }
    if !loaded.warnings.is_empty() {
        eprintln!("{}", loaded.warnings);
    }
    if arguments.test {
        println!("millstream: {source} syntax is ok");
        println!("millstream: config file is ok, test is successful");
        return ExitCode::SUCCESS;
    }
    let daemon = match arguments.daemon.then(Daemon::detach).transpose() {
        Ok(daemon) => daemon,
        Err(e) => {
            eprintln!("millstream: only the launcher of a daemon starts it: {e}");
            return INVALID.into();
        }
    };
    let startup = Startup {
        snapshot: loaded.snapshot,
        tree: loaded.tree,
        planned: loaded.planned,
        source,
        threads: arguments.threads.map(usize::from),
        demo,
        daemon,
    };
    if startup.demo {
        println!("{}", demo::invitation(&startup.snapshot));
    }
    match server::run(startup) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("millstream: {e}");
            e.exit_code().into()
        }
    }
}

fn explain(name: &str) -> ExitCode {
    match mill_config::explain(name) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("millstream: {e}");
            INVALID.into()
        }
    }
}

fn test_bandwidth(url: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tested = match runtime {
        Ok(runtime) => runtime.block_on(bandwidth::run(url)),
        Err(e) => Err(e.into()),
    };
    match tested {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("millstream: bandwidth test: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the daemon. What went wrong in it, it has said itself, on our standard error.
fn launch() -> ExitCode {
    match daemon::launch() {
        Ok(daemon::Launched::Serving) => ExitCode::SUCCESS,
        Ok(daemon::Launched::Failed(code)) => code.into(),
        Ok(daemon::Launched::Killed(signal)) => {
            eprintln!("millstream: the daemon was ended by signal {signal}");
            INVALID.into()
        }
        Err(e) => {
            eprintln!("millstream: the daemon cannot be started: {e}");
            INVALID.into()
        }
    }
}

/// What `-p` and `-x` stand for, as variables of the environment.
fn overrides(arguments: &Arguments) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
    if let Some(port) = arguments.rtmp_port {
        set("SRS_LISTEN", port.to_string());
    }
    if let Some(port) = arguments.http_port {
        set("SRS_HTTP_SERVER_ENABLED", "on".to_owned());
        set("SRS_HTTP_SERVER_LISTEN", port.to_string());
    }
    if arguments.rtmp_port.is_some() || arguments.http_port.is_some() {
        set("SRS_DAEMON", "off".to_owned());
        set("SRS_SRS_LOG_TANK", "console".to_owned());
        set("SRS_PID", "/dev/null".to_owned());
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn srs_flags_may_be_glued() {
        let glued = Arguments::try_parse_from(["millstream", "-tc", "x.conf"]).unwrap();
        assert!(glued.test && glued.config == Some("x.conf".into()));
        assert!(Arguments::try_parse_from(["millstream", "-cx.conf"]).unwrap().config.is_some());
        assert!(Arguments::try_parse_from(["millstream", "--nonsense"]).is_err());
    }
}
