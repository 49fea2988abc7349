//! The committed files that are written from the table say what the table says.
//!
//! `MILL_UPDATE=1 cargo test -p mill-config --test generated` writes them anew.

// The crate is pure, this test is not: it compares files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::path::Path;

fn check(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var("MILL_UPDATE").is_ok() {
        std::fs::write(&path, expected).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let hint = "run `MILL_UPDATE=1 cargo test -p mill-config --test generated`";
    assert!(committed == expected, "{} is not what the table says: {hint}", path.display());
}

#[test]
fn full_conf_is_up_to_date() {
    check("conf/full.conf", &mill_config::full_conf());
}

#[test]
fn the_reference_is_up_to_date() {
    check("docs/configuration.md", &mill_config::reference_markdown());
}
