//! The texts a configuration was read from, and spans that point into them.
//!
//! A source is a file, an included file, or one environment variable (its name stands for the file name), so
//! that every diagnostic can show where its text came from in the same way.

use std::sync::Arc;

/// A byte range inside one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) source: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One named text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
}

/// All texts of one load, addressed by [`Span::source`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sources(Vec<Source>);

/// A position as people count it: both numbers start at 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Sources {
    /// Adds a text. Control characters of the name are replaced: it goes to terminals and logs.
    pub(crate) fn add(&mut self, name: &str, text: impl Into<Arc<str>>) -> usize {
        let name = name.replace(char::is_control, "\u{fffd}");
        self.0.push(Source { name, text: text.into() });
        self.0.len() - 1
    }

    pub(crate) fn get(&self, source: usize) -> Option<&Source> {
        self.0.get(source)
    }

    /// Where a span starts; the first character of a text that is not there is as good as any.
    pub(crate) fn position(&self, span: Span) -> Position {
        let before = self.get(span.source).and_then(|source| source.text.get(..span.start)).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |lf| lf + 1);
        Position {
            line: 1 + before.bytes().filter(|b| *b == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }

    /// Whether a line feed lies between the starts of two spans of one text.
    pub(crate) fn on_different_lines(&self, first: Span, second: Span) -> bool {
        first.source != second.source
            || self
                .get(first.source)
                .and_then(|source| source.text.get(first.start..second.start))
                .is_some_and(|between| between.contains('\n'))
    }
}
