//! Documents name what is there.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A constant in `docs/limits.md` is one of a file beside it.
#[test]
fn limits_are_where_the_list_says() {
    let text = std::fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let mut found = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let (what, place) = row.trim_end_matches('|').rsplit_once('|').unwrap();
        let mut folder = PathBuf::new();
        let mut code = String::new();
        for file in quoted(place).filter(|word| word.ends_with(".rs")) {
            // A second name without a folder is in that of the first.
            let file = match file.split_once('/') {
                Some(("millstream", rest)) => Path::new("millstream/src").join(rest),
                Some((_, rest)) if rest.starts_with("src/") => PathBuf::from(file),
                _ => folder.join(file),
            };
            let whole = root().join("crates").join(&file);
            code +=
                &std::fs::read_to_string(&whole).unwrap_or_else(|e| panic!("{}: {e}: {row}", file.display()));
            folder = file.parent().unwrap().to_owned();
        }
        for name in quoted(what) {
            let name = name.split([' ', ':']).next().unwrap();
            let constant = name.len() > 2 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            if constant && !["SO_REUSEPORT", "TCP_USER_TIMEOUT"].contains(&name) {
                found += 1;
                assert!(code.contains(&format!("const {name}: ")), "{name} is not there: {row}");
            }
        }
    }
    assert!(found > 60, "only {found} constants");
}
