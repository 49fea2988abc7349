//! Everything a change must pass: formatting, clippy and documentation without a warning, then the tests.

use crate::setup;
use crate::sh::{self, Outcome, cargo};

/// Runs the steps in order of price; the first failure ends it.
pub(crate) fn run() -> Outcome {
    sh::run(cargo(&["fmt", "--all", "--check"]))?;
    sh::run(cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    sh::run(doc)?;
    setup::run()?;
    sh::run(cargo(&["test", "--workspace"]))
}
