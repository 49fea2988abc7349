//! What the table says about one directive, for a terminal.

use std::fmt::Write as _;

use crate::generate::{effect, shape, status};
use crate::report::quoted;
use crate::spec::{self, Entry, Kind, Range};
use crate::suggest;

/// Of more directives of one name the paths are listed only, besides one at the root.
const MOST_IN_FULL: usize = 5;

/// Nothing of that name; says so, with what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnknownDirective {
    message: String,
}

/// Explains a directive: its full path (`vhost.play.gop_cache`), the end of one (`play.gop_cache`), its bare
/// name, or the name of a variable that sets it.
///
/// A name that many blocks have gives the list of their paths.
///
/// # Errors
/// If there is no such directive; the message names those that are near.
pub fn explain(name: &str) -> Result<String, UnknownDirective> {
    let entries = spec::entries();
    let name = name.trim_matches('.');
    let is_meant =
        |entry: &Entry| entry.path() == name || entry.env_names().iter().any(|variable| variable == name);
    let (ending, bare) = (format!(".{name}"), !name.contains('.'));
    let meant: Vec<&Entry> = entries.iter().filter(|entry| is_meant(entry)).collect();
    let others: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.path().ends_with(&ending) && (bare || meant.is_empty()))
        .collect();
    let mut texts: Vec<String> = meant.iter().map(|entry| in_full(entry, &entries)).collect();
    if meant.len() + others.len() <= MOST_IN_FULL {
        texts.extend(others.iter().map(|entry| in_full(entry, &entries)));
    } else if !others.is_empty() {
        let paths: Vec<String> = others.iter().map(|entry| format!("    {}\n", entry.path())).collect();
        texts.push(format!("Directives of that name in blocks:\n{}", paths.concat()));
    }
    if texts.is_empty() { Err(unknown(&entries, name)) } else { Ok(texts.join("\n")) }
}

fn unknown(entries: &[Entry], name: &str) -> UnknownDirective {
    let mut near = Vec::new();
    let paths: Vec<String> = entries.iter().map(Entry::path).collect();
    let whole = suggest::nearest(name, paths.iter().map(String::as_str));
    near.extend(whole.map(str::to_owned));
    // A block may be right where the name is not, and the other way round.
    let (scope, last) = name.rsplit_once('.').unwrap_or(("", name));
    let ending = format!(".{scope}");
    let in_scope = |entry: &&Entry| {
        let of = entry.scope.join(".");
        of == scope || of.ends_with(&ending)
    };
    let nearest = |names: Vec<&'static str>| suggest::nearest(last, names);
    let inside = nearest(entries.iter().filter(in_scope).map(|entry| entry.row.name).collect());
    let anywhere = nearest(entries.iter().map(|entry| entry.row.name).collect());
    near.extend(inside.filter(|_| !scope.is_empty()).map(|name| format!("{scope}.{name}")));
    near.extend(anywhere.map(str::to_owned));
    let mut seen = Vec::new();
    near.retain(|name| {
        let new = !seen.contains(name);
        seen.push(name.clone());
        new
    });
    let mut message = format!("there is no directive {}", quoted(name));
    if !near.is_empty() {
        let near: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(message, "; did you mean {}?", near.join(" or "));
    }
    UnknownDirective { message }
}

fn in_full(entry: &Entry, entries: &[Entry]) -> String {
    let row = entry.row;
    let mut text = format!("{}\n    {}\n\n", entry.path(), row.doc);
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {name:<12} {value}");
    };
    line("value", &shape(row));
    if matches!(row.kind, Kind::Int(_) | Kind::Float(_)) && row.range != spec::ANY_NUMBER {
        let Range { strict, .. } = row.range;
        line("outside that", if strict { "the configuration is refused" } else { "the nearest is used" });
    }
    if !row.is_block() {
        line(
            "default",
            match (row.default, row.inherits, row.required) {
                (_, true, _) => "that of the same name outside all blocks",
                (_, _, true) => "none: it is required",
                ("", ..) => "none",
                (default, ..) => default,
            },
        );
        line("reload", effect(row.effect));
    }
    if !row.example.is_empty() {
        line("example", &format!("{} {}", row.name, row.example));
    }
    let variables = entry.env_names();
    if !variables.is_empty() {
        line("environment", &variables.join(", "));
    }
    line("state", &status(row.status).unwrap_or_else(|| "works".to_owned()));
    let inside: Vec<&str> = {
        let path = entry.path();
        entries.iter().filter(|inner| inner.scope.join(".") == path).map(|inner| inner.row.name).collect()
    };
    if !inside.is_empty() {
        line("inside", &inside.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_there_is_to_know() {
        let expected = "\
max_connections
    Limit of RTMP, HTTP API and HTTP connections together; further ones are closed at once.

    value        whole number, at least 1
    outside that the configuration is refused
    default      1000
    reload       at once
    environment  SRS_MAX_CONNECTIONS
    state        works
";
        assert_eq!(explain("max_connections").unwrap(), expected);
    }

    #[test]
    fn by_path_ending_name_or_variable() {
        let whole = explain("vhost.play.gop_cache").unwrap();
        for name in ["play.gop_cache", "gop_cache", "SRS_VHOST_PLAY_GOP_CACHE"] {
            assert_eq!(explain(name).unwrap(), whole, "{name}");
        }
        assert_eq!(explain("SRS_LOG_TANK").unwrap(), explain("srs_log_tank").unwrap());
    }

    #[test]
    fn every_directive_can_be_asked_for() {
        for entry in spec::entries() {
            let text = explain(&entry.path()).unwrap();
            assert!(text.contains(entry.row.doc), "{}:\n{text}", entry.path());
        }
    }

    #[test]
    fn a_name_of_several_blocks() {
        let text = explain("chunk_size").unwrap();
        assert!(text.starts_with("chunk_size\n") && text.contains("\nvhost.chunk_size\n"), "{text}");
        let text = explain("enabled").unwrap();
        assert!(text.contains("    vhost.hls.enabled\n") && !text.contains("default"), "{text}");
        let text = explain("listen").unwrap();
        assert!(text.starts_with("listen\n") && text.contains("    http_api.listen\n"), "{text}");
    }

    #[test]
    fn blocks_list_what_is_inside() {
        let text = explain("http_api.https").unwrap();
        assert!(text.contains("enabled, listen, key, cert"), "{text}");
    }

    #[test]
    fn near_names_are_offered() {
        let message = |name: &str| explain(name).unwrap_err().to_string();
        assert!(message("gop_cash").contains("did you mean `gop_cache`?"), "{}", message("gop_cash"));
        assert!(message("vhost.play.gop_cash").contains("`vhost.play.gop_cache`"));
        assert!(message("play.gop_cash").contains("`play.gop_cache`"), "{}", message("play.gop_cash"));
        assert_eq!(message("zzzzzzzz"), "there is no directive `zzzzzzzz`");
        assert!(message(&"x".repeat(100_000)).len() < 200);
    }
}
