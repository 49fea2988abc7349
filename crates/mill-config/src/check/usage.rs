//! Which of the directives given ask for something that is not there.

use crate::report::{Diagnostic, Report, quoted};
use crate::spec::{self, Kind, Row, Status};
use crate::tree::{self, Directive};
use crate::value;

/// Features asked for that do not exist yet, each once, sorted. Warns of what is ignored for good.
pub(super) fn planned(tree: &[Directive], report: &mut Report) -> Vec<&'static str> {
    let mut features = Vec::new();
    block(spec::root(), tree, &mut features, report);
    features.sort_unstable();
    features.dedup();
    features
}

fn block(rows: &'static [Row], body: &[Directive], features: &mut Vec<&'static str>, report: &mut Report) {
    for directive in body {
        let Some(row) = spec::find(rows, &directive.name.text) else { continue };
        let waits = row.waits.iter().filter(|(word, _)| *word == directive.first());
        features.extend(waits.map(|(_, feature)| feature));
        match row.status {
            Status::Planned(feature) if asks_for_something(row, directive) => features.push(feature),
            Status::Ignored(reason) => {
                if differs_from_default(row, directive) {
                    let message = format!("{} is ignored: {reason}", quoted(row.name));
                    report.add(Diagnostic::warning(directive.name.span, message));
                }
                continue;
            }
            _ => {}
        }
        // What stands in a block that is switched off asks for nothing.
        if switch_of(row.rows(), directive.children()) != Some(false) {
            block(row.rows(), directive.children(), features, report);
        }
    }
}

/// State of a block's `enabled`, if it has one.
fn switch_of(rows: &'static [Row], body: &[Directive]) -> Option<bool> {
    let row = spec::find(rows, "enabled")?;
    let given = tree::find(body, "enabled").map_or("", Directive::first);
    Some(value::switch(row.kind, if given.is_empty() { row.default } else { given }))
}

/// Switches ask when on, numbers and choices when not at their defaults, blocks by their switch (one without
/// a switch is only as good as what is in it), all else by being there.
fn asks_for_something(row: &Row, directive: &Directive) -> bool {
    match row.kind {
        Kind::BoolOn | Kind::BoolOff => {
            !directive.args.is_empty() && value::switch(row.kind, directive.first())
        }
        Kind::Int(_) | Kind::Float(_) | Kind::Word(..) => differs_from_default(row, directive),
        Kind::Block(rows) => switch_of(rows, directive.children()).unwrap_or(false),
        Kind::Text | Kind::Path | Kind::List | Kind::Endpoint | Kind::Endpoints => !directive.args.is_empty(),
        Kind::Map => !directive.children().is_empty(),
    }
}

fn differs_from_default(row: &Row, directive: &Directive) -> bool {
    let given = directive.first();
    match row.kind {
        _ if row.is_block() => {
            let any = || {
                directive.children().iter().any(|child| {
                    spec::find(row.rows(), &child.name.text)
                        .is_some_and(|row| differs_from_default(row, child))
                })
            };
            switch_of(row.rows(), directive.children()).unwrap_or_else(any)
        }
        _ if given.is_empty() => false,
        Kind::BoolOn | Kind::BoolOff => {
            value::switch(row.kind, given) != value::switch(row.kind, row.default)
        }
        Kind::Int(_) | Kind::Float(_) => {
            value::number_in_range(row, given) != value::number_in_range(row, row.default)
        }
        _ => given != row.default,
    }
}
