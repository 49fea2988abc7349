//! SRS configuration text to a checked, typed, comparable snapshot.
//!
//! [`load`] is the way in: it parses a file (with what it includes), rewrites old names, puts the environment
//! on top, checks everything against the table in [`spec`] and reads the typed [`Snapshot`]. All mistakes
//! come back together in one [`Report`] that shows the lines concerned. [`diff`] tells what a reload changes.
//!
//! The crate touches no file and no environment: both are handed in. No input makes it panic.

mod check;
mod diff;
mod edit;
mod env;
mod explain;
pub mod ffmpeg;
mod generate;
mod legacy;
mod lexer;
pub mod model;
mod parser;
mod report;
mod source;
pub mod spec;
mod suggest;
mod tree;
mod value;
mod view;

use std::io;

pub use crate::diff::{Change, diff};
pub use crate::edit::{Edit, EditError, edit};
pub use crate::explain::{UnknownDirective, explain};
pub use crate::generate::{full_conf, reference_markdown};
pub use crate::model::{DEFAULT_VHOST, Snapshot, Vhost};
pub use crate::parser::{MAX_INCLUDE_DEPTH, MAX_INCLUDES, MAX_NESTING, MAX_TOTAL_BYTES};
pub use crate::report::{Finding, MAX_FINDINGS, Report, Severity};
pub use crate::tree::{Node, Tree};

use crate::report::Diagnostic;
use crate::source::Span;

/// The configuration of [`Snapshot::built_in`], as text; for a server that wants the environment on top of
/// it.
pub const BUILT_IN: &str = include_str!("builtin.conf");

/// What the environment builds on when there is no file.
const ENV_ONLY: &str = include_str!("env_only.conf");

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The typed values.
    pub snapshot: Snapshot,
    /// What is odd, though harmless.
    pub warnings: Report,
    /// Features the configuration asks for that do not exist yet, each once, sorted: for one line at the
    /// start.
    pub planned: Vec<&'static str>,
    /// The directives themselves, for those who show them.
    pub tree: Tree,
}

/// Loads a configuration.
///
/// `file` is the name, for messages, and the content of the main file; `None` is SRS's environment-only mode:
/// foreground, log on the console, an empty default vhost, and everything else from `env`. Of `env` only
/// non-empty variables that start with `SRS_` are looked at. `read` reads the files named by `include`,
/// relative to the working directory.
///
/// # Errors
///
/// Everything that is wrong, and everything odd beside it: all mistakes of syntax, or if there are none, all
/// mistakes of content.
pub fn load(
    file: Option<(&str, &[u8])>,
    env: impl IntoIterator<Item = (String, String)>,
    read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>,
) -> Result<Loaded, Report> {
    let mut report = Report::default();
    let loaded = try_load(file, env, read, &mut report);
    report.sort();
    match loaded {
        Some((snapshot, planned, tree)) if report.errors() == 0 => {
            Ok(Loaded { snapshot, warnings: report, planned, tree })
        }
        _ => Err(report),
    }
}

/// The steps of [`load`]. Syntax errors end it early: half a tree would only raise questions of content that
/// are none.
fn try_load(
    file: Option<(&str, &[u8])>,
    env: impl IntoIterator<Item = (String, String)>,
    read: &mut parser::Read<'_>,
    report: &mut Report,
) -> Option<(Snapshot, Vec<&'static str>, Tree)> {
    let (name, bytes) = file.unwrap_or(("environment", ENV_ONLY.as_bytes()));
    let mut tree = parser::parse(name, bytes, read, report);
    if tree.is_empty() && report.errors() == 0 {
        report.add(Diagnostic::error(Span::default(), "the configuration is empty"));
    }
    if report.errors() > 0 {
        report.unread = true;
        return None;
    }
    legacy::rewrite(&mut tree, report);
    env::apply(env, &mut tree, report);
    let planned = check::check(&tree, file.is_some(), report);
    (report.errors() == 0).then(|| (Snapshot::read(&view::View::root(&tree)), planned, Tree(tree)))
}
