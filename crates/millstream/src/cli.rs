//! The command line: SRS's flags, and what was added.
//!
//! SRS's exit codes are its error numbers modulo 256, and scripts check them: 255 for a bad command line or
//! configuration, 234 for an address that cannot be bound.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the log does not exist yet, or is not meant")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, Parser, Subcommand};
use mill_config::{Loaded, Report};

use crate::server::{self, Startup};
use crate::{demo, identity};

/// SRS's number for a bad configuration, 1023, as an exit code.
const INVALID: u8 = 255;

/// Live streaming server: RTMP in, RTMP and HTTP-FLV out, configured by SRS files.
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
    /// Print help
    #[arg(short = 'h', visible_short_alias = '?', long = "help", action = ArgAction::Help)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, and publish a test clip in a loop to look at
    #[command(disable_help_flag = true)]
    Demo,
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
    let source = Source::of(&arguments);
    let loaded = match source.load(overrides(&arguments)) {
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
    if !loaded.warnings.is_empty() {
        eprintln!("{}", loaded.warnings);
    }
    if arguments.test {
        println!("millstream: {source} syntax is ok");
        println!("millstream: config file is ok, test is successful");
        return ExitCode::SUCCESS;
    }
    let startup = Startup {
        snapshot: loaded.snapshot,
        planned: loaded.planned,
        threads: arguments.threads.map(usize::from),
        demo: matches!(arguments.command, Some(Command::Demo)),
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

/// Where the configuration comes from.
enum Source {
    File(PathBuf),
    Environment,
    BuiltIn,
}

impl Source {
    fn of(arguments: &Arguments) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|v: &OsString| !v.is_empty());
        if arguments.env_only || set("SRS_ENV_ONLY").is_some() {
            Self::Environment
        } else if let Some(path) = set("SRS_CONFIG_FILE").map(PathBuf::from).or(arguments.config.clone()) {
            Self::File(path)
        } else {
            Self::BuiltIn
        }
    }

    fn load(&self, overrides: Vec<(String, String)>) -> Result<Loaded, Problem> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            // What is not UTF-8 cannot be one of ours.
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let environment = environment.chain(overrides);
        let mut read = |path: &str| std::fs::read(path);
        let loaded = match self {
            Self::File(path) => {
                let text =
                    std::fs::read(path).map_err(|error| Problem::Unreadable { path: path.clone(), error })?;
                mill_config::load(Some((&path.to_string_lossy(), &text)), environment, &mut read)
            }
            Self::Environment => mill_config::load(None, environment, &mut read),
            Self::BuiltIn => {
                let text = mill_config::BUILT_IN.as_bytes();
                mill_config::load(Some(("built-in", text)), environment, &mut read)
            }
        };
        Ok(loaded?)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "the configuration file {}", path.display()),
            Self::Environment => write!(f, "the configuration from the environment"),
            Self::BuiltIn => write!(f, "the built-in configuration"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{0}")]
    Invalid(#[from] Report),
}

/// The ports of `-p` and `-x`, as variables of the environment.
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
