//! `full.conf` is a configuration, and it says what the server does without it.

use mill_config::{Loaded, full_conf, load};

fn loaded(text: &str) -> Loaded {
    load(Some(("full.conf", text.as_bytes())), [], &mut |_| panic!("nothing is included"))
        .unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn it_loads_without_a_warning() {
    let Loaded { warnings, .. } = loaded(&full_conf());
    assert!(warnings.is_empty(), "{warnings}");
}

#[test]
fn it_says_what_the_defaults_are() {
    let bare = "listen 1935; vhost __defaultVhost__ {}";
    assert_eq!(loaded(&full_conf()).snapshot, loaded(bare).snapshot);
}

/// With its examples switched on and every `enabled` turned on, it is still right.
#[test]
fn its_examples_are_right_too() {
    let mut text = String::new();
    for line in full_conf().lines() {
        let trimmed = line.trim_start();
        let example =
            trimmed.strip_prefix("# ").filter(|rest| rest.ends_with(';') && !rest.starts_with("include "));
        let line = match example {
            // These cannot be on at the same time as the rest.
            Some(rest) if !rest.starts_with("hls_") || rest.starts_with("hls_key") => rest,
            Some(_) => "",
            None if trimmed.starts_with('#') => "",
            None => trimmed,
        };
        text.push_str(line);
        text.push('\n');
    }
    let text = text.replace("enabled off;", "enabled on;").replace("\ndaemon on;", "\ndaemon off;");
    let report = match load(Some(("t", text.as_bytes())), [], &mut |_| panic!("nothing is included")) {
        Ok(loaded) => loaded.warnings,
        Err(report) => report,
    };
    let unexpected: Vec<String> = report
        .iter()
        .map(|finding| finding.to_string())
        .filter(|finding| !finding.contains(" is ignored: "))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}
