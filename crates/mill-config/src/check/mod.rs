//! Whether a configuration makes sense: every name and value against the table here, what several directives
//! must agree on in [`rules`]. Everything is looked at, so that all mistakes are reported together.

mod rules;
mod usage;

use std::collections::HashSet;

use crate::report::{Diagnostic, Report, quoted};
use crate::source::Span;
use crate::spec::{self, Kind, Otherwise, Row};
use crate::suggest;
use crate::tree::{Directive, Word};
use crate::value;
use crate::view::View;

/// Checks a tree; returns the features it asks for that do not exist yet. Without `needs_listen` (everything
/// comes from the environment) it is only odd to listen nowhere.
pub(crate) fn check(tree: &[Directive], needs_listen: bool, report: &mut Report) -> Vec<&'static str> {
    Checker { report }.block(spec::root(), false, tree, "");
    let root = View::root(tree);
    rules::check(&root, needs_listen, report);
    usage::planned(tree, report)
}

struct Checker<'a> {
    report: &'a mut Report,
}

impl Checker<'_> {
    fn error(&mut self, span: Span, message: String) {
        self.report.add(Diagnostic::error(span, message));
    }

    fn warning(&mut self, span: Span, message: String) {
        self.report.add(Diagnostic::warning(span, message));
    }

    fn block(&mut self, rows: &'static [Row], open: bool, body: &[Directive], path: &str) {
        let mut seen = HashSet::new();
        for directive in body {
            let name = directive.name.text.as_str();
            let Some(row) = spec::find(rows, name) else {
                self.unknown(rows, open, directive, path);
                continue;
            };
            if !seen.insert(name) && !row.repeats {
                let message = format!("{} was given before: the first one counts", quoted(name));
                self.warning(directive.name.span, message);
                continue;
            }
            self.shape(row, directive);
            match row.kind {
                Kind::Block(rows) => {
                    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                    self.block(rows, row.open, directive.children(), &path);
                }
                Kind::List | Kind::Endpoints => directive.args.iter().for_each(|arg| self.value(row, arg)),
                _ => directive.args.iter().take(1).for_each(|arg| self.value(row, arg)),
            }
        }
    }

    fn unknown(&mut self, rows: &'static [Row], open: bool, directive: &Directive, path: &str) {
        let name = directive.name.text.as_str();
        let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
        let message = format!("unknown directive {}{place}", quoted(name));
        let near = || suggest::nearest(name, rows.iter().map(|row| row.name));
        let elsewhere = || {
            let entry = spec::entries().into_iter().find(|entry| entry.row.name == name)?;
            let scope = entry.scope.join(".");
            let place =
                if scope.is_empty() { "outside all blocks".to_owned() } else { format!("in `{scope}`") };
            Some(format!("`{name}` belongs {place}"))
        };
        // The search is not cheap; beyond the limit nobody sees what it finds.
        let help = if self.report.is_full() {
            String::new()
        } else {
            near().map(|near| format!("did you mean `{near}`?")).or_else(elsewhere).unwrap_or_default()
        };
        let span = directive.name.span;
        self.report.add(if open {
            Diagnostic::warning(span, message + ": ignored").help(help)
        } else {
            Diagnostic::error(span, message).help(help)
        });
    }

    /// Blocks where none belong, arguments nobody reads.
    fn shape(&mut self, row: &Row, directive: &Directive) {
        let name = quoted(row.name);
        if !row.is_block() && !directive.children().is_empty() {
            self.warning(directive.name.span, format!("{name} takes no block: what is in it is ignored"));
        }
        let read = match row.kind {
            Kind::Block(_) | Kind::Map => usize::from(row.repeats),
            _ if row.takes_many() => usize::MAX,
            _ => 1,
        };
        // Arguments on later lines were warned of by the parser, with a better reason.
        if let Some(surplus) = directive.args.get(read)
            && !self.report.sources.on_different_lines(directive.name.span, surplus.span)
        {
            let count = if read == 0 { "no argument" } else { "one argument" };
            self.warning(surplus.span, format!("{name} takes {count}: {} is ignored", quoted(&surplus.text)));
        }
    }

    fn value(&mut self, row: &Row, Word { text, span }: &Word) {
        let (name, given, span) = (quoted(row.name), quoted(text), *span);
        match row.kind {
            Kind::BoolOn | Kind::BoolOff => {
                if text != "on" && text != "off" {
                    let read_as = if value::switch(row.kind, text) { "on" } else { "off" };
                    self.warning(span, format!("{name} is `on` or `off`: {given} is read as `{read_as}`"));
                }
            }
            Kind::Int(_) | Kind::Float(_) => self.number(row, text, span),
            Kind::Word(words, otherwise) if !words.contains(&text.as_str()) => match otherwise {
                Otherwise::Refused => {
                    self.error(span, format!("{name} is one of {}: {given} is not", listed(words)));
                }
                Otherwise::ReadAs(other) => {
                    let message = format!("{name} is one of {}: {given} is read as `{other}`", listed(words));
                    self.warning(span, message);
                }
            },
            Kind::Endpoint | Kind::Endpoints => {
                if let Err(error) = value::endpoint(text) {
                    let message = format!("{given} is no endpoint: {error}");
                    let help = if spec::is_known_name(text) {
                        "is a `;` missing before it?"
                    } else {
                        "write `1935`, `192.0.2.1:1935` or `[2001:db8::1]:1935`"
                    };
                    self.report.add(Diagnostic::error(span, message).help(help));
                }
            }
            Kind::Word(..) | Kind::Text | Kind::Path | Kind::List | Kind::Map | Kind::Block(_) => {}
        }
    }

    fn number(&mut self, row: &Row, text: &str, span: Span) {
        let (name, given) = (quoted(row.name), quoted(text));
        let Some(number) = value::number(row, text) else {
            let kind = if matches!(row.kind, Kind::Int(_)) { "a whole number" } else { "a number" };
            return self.error(span, format!("{name} is {kind}: {given} is none"));
        };
        let (range, read) = (row.range, number.value);
        let used = read.clamp(range.min, range.max);
        if used != read {
            let message = format!("{name} is from {} to {}: ", range.min, range.max);
            if range.strict {
                self.error(span, message + &format!("{given} is not"));
            } else {
                self.warning(span, message + &format!("{used} is used for {given}"));
            }
        } else if number.surplus {
            self.warning(span, format!("{given} is not quite a number: read as {used}"));
        }
    }
}

/// `` `a`, `b` or `c` ``
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
