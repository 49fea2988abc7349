//! The log.

use std::path::PathBuf;

use super::Field;
use crate::view::View;

super::block! {
    /// `srs_log_…`.
    pub struct Log {
        /// Where it goes.
        tank: Tank = "srs_log_tank",
        /// The file, if it goes to one; relative to the working directory.
        file: PathBuf = "srs_log_file",
        /// Least severe level that is logged: `srs_log_level_v2`, else `srs_log_level`.
        level: Level = "srs_log_level",
        /// Layout of its lines.
        format: Format = "srs_log_format",
    }
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tank {
    /// Standard output.
    Console,
    /// A file.
    File,
}

/// Layout of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SRS's.
    Plain,
    /// One JSON object.
    Json,
}

/// Log levels in usual words, most talkative first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `verbose` in SRS 3.
    Trace,
    /// `info` in SRS 3.
    Debug,
    /// `trace` in SRS 3, the default.
    Info,
    /// `warn`.
    Warn,
    /// `error`.
    Error,
}

impl Field for Tank {
    fn read(view: &View<'_>, name: &str) -> Self {
        // SRS 6.0: who says that this is a container wants the log where containers have it.
        let unsaid = view.given(name).is_none() && view.is_on("in_docker");
        if unsaid || view.word(name) == "console" { Tank::Console } else { Tank::File }
    }
}

impl Field for Format {
    fn read(view: &View<'_>, name: &str) -> Self {
        if view.word(name) == "json" { Format::Json } else { Format::Plain }
    }
}

impl Field for Level {
    fn read(view: &View<'_>, name: &str) -> Self {
        match (view.word("srs_log_level_v2"), view.word(name)) {
            ("trace", _) | ("", "verbose") => Level::Trace,
            ("debug", _) | ("", "info") => Level::Debug,
            ("warn", _) | ("", "warn") => Level::Warn,
            ("error", _) | ("", "error") => Level::Error,
            _ => Level::Info,
        }
    }
}
