//! Environment variables over the file.
//!
//! Every directive has the name `SRS_` + its path in capitals, dots as underscores. A value goes into the
//! tree in the place of what the file says, before the check, so it is checked and reported like the file. A
//! name inside a block that may come several times (`vhost` above all) applies to each of them.

use std::collections::{BTreeMap, HashMap};

use crate::report::{Diagnostic, Report, quoted};
use crate::source::Span;
use crate::spec::{self, Entry, Row};
use crate::suggest;
use crate::tree::{self, Directive, Word};

const PREFIX: &str = "SRS_";

/// Read by the command line, not here; and one that SRS reads outside its configuration.
const NOT_DIRECTIVES: &[&str] = &["SRS_CONFIG_FILE", "SRS_ENV_ONLY", "SRS_DEVICE_IP"];

/// Set by container platforms for a service that happens to be called `srs`.
const OF_PLATFORMS: &[&str] = &["SRS_SERVICE_", "SRS_PORT"];

/// Puts the variables into the tree. Those that do not start with `SRS_` and empty ones are none of ours.
pub(crate) fn apply(
    variables: impl IntoIterator<Item = (String, String)>,
    tree: &mut Vec<Directive>,
    report: &mut Report,
) {
    // Sorted, so that the same environment always gives the same report.
    let ours: BTreeMap<String, String> = variables
        .into_iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty())
        .filter(|(name, _)| !NOT_DIRECTIVES.contains(&name.as_str()))
        .collect();
    if ours.is_empty() {
        return;
    }
    let known: HashMap<String, Entry> = spec::entries()
        .into_iter()
        .flat_map(|entry| entry.env_names().into_iter().map(move |name| (name, entry.clone())))
        .collect();
    for (name, value) in ours {
        match known.get(&name) {
            Some(entry) => set(&name, value, entry, tree, report),
            None if OF_PLATFORMS.iter().any(|prefix| name.starts_with(prefix)) => {}
            None => {
                let message = format!("the environment variable {} sets nothing", quoted(&name));
                let nearest = suggest::nearest(&name, known.keys().map(String::as_str));
                let help = nearest.map_or_else(String::new, |nearest| format!("did you mean `{nearest}`?"));
                // Without its value: that may be a secret of somebody else's.
                report.add(Diagnostic::warning(None, message).help(help));
            }
        }
    }
}

fn set(name: &str, value: String, entry: &Entry, tree: &mut Vec<Directive>, report: &mut Report) {
    let source = report.sources.add(name, value.as_str());
    let word = |start: usize, text: &str| Word {
        text: text.to_owned(),
        span: Span { source, start, end: start + text.len() },
    };
    let args = if entry.row.takes_many() {
        let starts = value.split(' ').scan(0, |next, part| {
            let start = *next;
            *next += part.len() + 1;
            Some((start, part))
        });
        starts.filter(|(_, part)| !part.is_empty()).map(|(start, part)| word(start, part)).collect()
    } else {
        vec![word(0, &value)]
    };
    let whole = Span { source, start: 0, end: value.len() };
    let name = Word { text: entry.row.name.to_owned(), span: whole };
    let directive = Directive { name, args, body: None };
    if place(tree, spec::root(), &entry.scope, &directive) == 0 {
        let message = format!("there is no block for `{}` to be set in", entry.path());
        report.add(Diagnostic::warning(whole, message));
    }
}

/// Puts the directive into every block of that path; single blocks are made if missing. Returns how many.
fn place(body: &mut Vec<Directive>, rows: &'static [Row], scope: &[&str], directive: &Directive) -> usize {
    let Some((outer, scope)) = scope.split_first() else {
        tree::replace(body, directive.clone());
        return 1;
    };
    let row = spec::find(rows, outer);
    let inner = row.map_or(&[][..], Row::rows);
    if row.is_some_and(|row| row.repeats) {
        let blocks = body.iter_mut().filter(|block| block.is(outer));
        blocks.map(|block| place(block.children_mut(), inner, scope, directive)).sum()
    } else {
        let name = Word { text: (*outer).to_owned(), span: directive.name.span };
        place(tree::block_mut(body, &name).children_mut(), inner, scope, directive)
    }
}

#[cfg(test)]
mod tests;
