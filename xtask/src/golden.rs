//! Rewrites what tests compare with: `conf/full.conf`, the reference of directives, captured texts.
//!
//! A test that finds `MILL_UPDATE` set writes its expected file instead of comparing. Which files those
//! are is the tests' own knowledge; `git diff` shows what became of it.

use crate::sh::{self, Outcome, cargo};

/// Runs the tests in updating mode: all of them, or those that the words choose as for `cargo test`.
pub(crate) fn run(words: &[String]) -> Outcome {
    let mut args = vec!["test"];
    if words.is_empty() {
        args.push("--workspace");
    }
    args.extend(words.iter().map(String::as_str));
    let mut tests = cargo(&args);
    tests.env("MILL_UPDATE", "1");
    sh::run(tests)
}
