//! A block of the tree seen through its rows: what is not given has the row's default.
//!
//! The first directive of a name counts, as in SRS. Values are read leniently; what that means was said
//! before, by the check.

use crate::spec::{self, Kind, Row};
use crate::tree::{self, Directive, Word};
use crate::value;

/// A block, or the place of one that is not there.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    rows: &'static [Row],
    directive: Option<&'a Directive>,
    body: &'a [Directive],
    /// The root's directives, for rows that inherit.
    root: &'a [Directive],
}

impl<'a> View<'a> {
    pub(crate) fn root(tree: &'a [Directive]) -> Self {
        Self { rows: spec::root(), directive: None, body: tree, root: tree }
    }

    /// The row of that name. Names come from our own code, so one that is not in the table is a slip of ours;
    /// every one of them is asked for by the tests that load an empty configuration.
    pub(crate) fn row(&self, name: &str) -> &'static Row {
        spec::find(self.rows, name)
            .expect("a name asked for by the model or the check has a row in the table")
    }

    /// The block itself; `None` if it is not in the configuration.
    pub(crate) fn directive(&self) -> Option<&'a Directive> {
        self.directive
    }

    /// The first directive of that name, if it is there.
    pub(crate) fn given(&self, name: &str) -> Option<&'a Directive> {
        tree::find(self.body, name)
    }

    /// The argument of the block's own head; empty if there is none.
    pub(crate) fn head(&self) -> &'a str {
        self.directive.map_or("", Directive::first)
    }

    /// The first argument, else the default; empty if there is neither.
    pub(crate) fn text(&self, name: &str) -> &'a str {
        self.words(name).first().map_or(self.default(name), |word| word.text.as_str())
    }

    /// All arguments, else the default's.
    pub(crate) fn list(&self, name: &str) -> Vec<&'a str> {
        match self.words(name) {
            [] => self.default(name).split_whitespace().collect(),
            words => words.iter().map(|word| word.text.as_str()).collect(),
        }
    }

    /// Each directive of that name, for rows that repeat.
    pub(crate) fn each(&self, name: &str) -> impl Iterator<Item = &'a Directive> + use<'a> {
        let row = self.row(name);
        self.body.iter().filter(|directive| directive.is(row.name))
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        value::switch(self.row(name).kind, self.text(name))
    }

    /// A number within its range; what is none is the default.
    pub(crate) fn number(&self, name: &str) -> f64 {
        let row = self.row(name);
        let read = |text| value::number_in_range(row, text);
        read(self.text(name)).or_else(|| read(self.default(name))).unwrap_or(row.range.min)
    }

    /// One of a few words; an unknown one is read as the table says. Empty if there is none and no default.
    pub(crate) fn word(&self, name: &str) -> &'a str {
        let text = self.text(name);
        match self.row(name).kind {
            Kind::Word(words, spec::Otherwise::ReadAs(other))
                if !text.is_empty() && !words.contains(&text) =>
            {
                other
            }
            _ => text,
        }
    }

    /// The first block of that name, or its empty place.
    pub(crate) fn block(&self, name: &str) -> View<'a> {
        self.blocks(name).next().unwrap_or(View {
            rows: self.row(name).rows(),
            directive: None,
            body: &[],
            root: self.root,
        })
    }

    /// All blocks of that name.
    pub(crate) fn blocks(&self, name: &str) -> impl Iterator<Item = View<'a>> + use<'a> {
        let Self { body, root, .. } = *self;
        let row = self.row(name);
        let named = body.iter().filter(|directive| directive.is(row.name));
        named.map(move |directive| View {
            rows: row.rows(),
            directive: Some(directive),
            body: directive.children(),
            root,
        })
    }

    fn words(&self, name: &str) -> &'a [Word] {
        let given = self.given(name).map_or(&[][..], |directive| &directive.args);
        if given.is_empty() && self.row(name).inherits {
            return tree::find(self.root, name).map_or(&[], |directive| &directive.args);
        }
        given
    }

    fn default(&self, name: &str) -> &'static str {
        let row = self.row(name);
        if row.inherits {
            spec::find(spec::root(), name).map_or("", |root| root.default)
        } else {
            row.default
        }
    }
}
