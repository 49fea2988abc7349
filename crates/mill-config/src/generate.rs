//! `conf/full.conf` and `docs/configuration.md`, written from the table.

use std::fmt::Write as _;

use crate::spec::{self, Effect, Entry, Kind, Otherwise, Row, Status, Unit};
use crate::tree;

const FULL_CONF_HEAD: &str = "\
# Every directive with its default, as a reference; not a configuration to start from.
# Directives without a default are commented out and show an example.
# Written from the table in crates/mill-config/src/spec by the tests of that crate; do not edit.
";

const REFERENCE_HEAD: &str = include_str!("reference_head.md");

/// A configuration that gives every directive its default, each with its description. It loads.
#[must_use]
pub fn full_conf() -> String {
    let mut out = FULL_CONF_HEAD.to_owned();
    write_rows(spec::root(), &mut Vec::new(), &mut out);
    out
}

fn write_rows(rows: &'static [Row], scope: &mut Vec<&'static str>, out: &mut String) {
    let indent = "    ".repeat(scope.len());
    for row in rows {
        let entry = Entry { scope: scope.clone(), row };
        if scope.is_empty() || row.is_block() {
            out.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{indent}# {}", row.doc);
        let _ = writeln!(out, "{indent}# [{}]", details(&entry).join("; "));
        let head =
            if row.repeats && !row.example.is_empty() { format!(" {}", row.example) } else { String::new() };
        match row.kind {
            Kind::Block(rows) => {
                let _ = writeln!(out, "{indent}{}{head} {{", row.name);
                scope.push(row.name);
                write_rows(rows, scope, out);
                scope.pop();
                let _ = writeln!(out, "{indent}}}");
            }
            Kind::Map => {
                let _ = writeln!(out, "{indent}{} {{\n{indent}    # {}\n{indent}}}", row.name, row.example);
            }
            _ => {
                let (mark, value) = match default_as_written(row) {
                    Some(value) => ("", value),
                    None if row.required => ("", row.example.to_owned()),
                    None => ("# ", row.example.to_owned()),
                };
                let _ = writeln!(out, "{indent}{mark}{} {value};", row.name);
            }
        }
    }
}

/// The default, quoted where the grammar asks for it; `None` if there is none.
fn default_as_written(row: &Row) -> Option<String> {
    if row.takes_many() {
        let words: Option<Vec<String>> = row.default.split_whitespace().map(tree::write_word).collect();
        return words.filter(|words| !words.is_empty()).map(|words| words.join(" "));
    }
    tree::write_word(row.default)
}

/// What there is to know besides meaning and default, in few words each.
fn details(entry: &Entry) -> Vec<String> {
    let mut details = vec![shape(entry.row)];
    if !entry.row.is_block() {
        details.push(format!("reload: {}", effect(entry.row.effect)));
    }
    details.extend(entry.env_names().first().cloned());
    details.extend(status(entry.row.status));
    details
}

/// All there is to know about every directive, as one table per block.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = REFERENCE_HEAD.to_owned();
    let entries = spec::entries();
    section("", &entries, &mut out);
    for block in entries.iter().filter(|entry| !entry.row.rows().is_empty()) {
        section(&block.path(), &entries, &mut out);
    }
    out
}

/// The table of the block at that path; the empty path is the root.
fn section(path: &str, entries: &[Entry], out: &mut String) {
    let title = if path.is_empty() { "Outside all blocks".to_owned() } else { format!("`{path}`") };
    let _ = write!(
        out,
        "\n### {title}\n\n\
         | Directive | Meaning | Value | Default | Reload | Environment | State |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for entry in entries.iter().filter(|entry| entry.scope.join(".") == path) {
        let row = entry.row;
        let default = match (row.default, row.inherits, row.required) {
            (_, true, _) => "as outside".to_owned(),
            (_, _, true) => "required".to_owned(),
            ("", ..) => "–".to_owned(),
            (default, ..) => format!("`{default}`"),
        };
        let names: Vec<String> = entry.env_names().iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {default} | {} | {} | {} |",
            row.name,
            row.doc,
            shape(row),
            effect(row.effect),
            if names.is_empty() { "–".to_owned() } else { names.join(" ") },
            status(row.status).unwrap_or_else(|| "works".to_owned()),
        );
    }
}

/// What a row takes, in words.
pub(crate) fn shape(row: &Row) -> String {
    let mut text = match row.kind {
        Kind::BoolOn | Kind::BoolOff => "`on` or `off`".to_owned(),
        Kind::Int(unit) => format!("whole number{}", self::unit(unit)),
        Kind::Float(unit) => format!("number{}", self::unit(unit)),
        Kind::Word(words, otherwise) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let others = match otherwise {
                Otherwise::Refused => String::new(),
                Otherwise::ReadAs(word) => format!("; others are read as `{word}`"),
            };
            words.join(", ") + &others
        }
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::List => "list".to_owned(),
        Kind::Endpoint => "endpoint".to_owned(),
        Kind::Endpoints => "endpoints".to_owned(),
        Kind::Map => "block of free names".to_owned(),
        Kind::Block(_) => "block".to_owned(),
    };
    if matches!(row.kind, Kind::Int(_) | Kind::Float(_)) && row.range != spec::ANY_NUMBER {
        let _ = match row.range {
            spec::Range { min, max, .. } if max == spec::ANY_NUMBER.max => write!(text, ", at least {min}"),
            spec::Range { min, max, .. } => write!(text, ", {min} to {max}"),
        };
    }
    if row.repeats {
        text.push_str(", may be repeated");
    }
    text
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Plain => "",
        Unit::Seconds => " of seconds",
        Unit::Millis => " of milliseconds",
        Unit::Bytes => " of bytes",
        Unit::Kbps => " of kbit/s",
        Unit::Bps => " of bit/s",
        Unit::Hertz => " of Hz",
        Unit::Percent => " in percent",
        Unit::Pixels => " of pixels",
    }
}

pub(crate) fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::NewSessions => "new sessions",
        Effect::AtOnce => "at once",
        Effect::RestartsComponent => "restarts the feature",
        Effect::RebindsListener => "rebinds the listener",
        Effect::NeedsRestart => "needs a restart",
    }
}

/// `None` for what works.
pub(crate) fn status(status: Status) -> Option<String> {
    match status {
        Status::Implemented => None,
        Status::Planned(feature) => Some(format!("planned ({feature})")),
        Status::Ignored(reason) => Some(format!("ignored: {reason}")),
    }
}
