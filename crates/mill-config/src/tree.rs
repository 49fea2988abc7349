//! The untyped tree of directives, and its way back to text.

use crate::source::Span;

/// A name or an argument. Two words are equal when their texts are, wherever they stand and however they were
/// quoted.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// `name args…;` or `name args… { body }`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Directive {
    pub(crate) name: Word,
    pub(crate) args: Vec<Word>,
    /// `None` for a directive that ended with `;`.
    pub(crate) body: Option<Vec<Directive>>,
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Directive {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.text == name
    }

    /// All arguments.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.args.iter().map(|word| word.text.as_str()).collect()
    }

    /// The first argument; empty if there is none.
    pub(crate) fn first(&self) -> &str {
        self.args.first().map_or("", |word| word.text.as_str())
    }

    pub(crate) fn children(&self) -> &[Directive] {
        self.body.as_deref().unwrap_or_default()
    }

    pub(crate) fn children_mut(&mut self) -> &mut Vec<Directive> {
        self.body.get_or_insert_default()
    }

    /// What to mark when the value is the matter: the first argument, else the name.
    pub(crate) fn value_span(&self) -> Span {
        self.args.first().map_or(self.name.span, |word| word.span)
    }
}

/// The first directive of that name is the one that counts, as in SRS.
pub(crate) fn find<'a>(body: &'a [Directive], name: &str) -> Option<&'a Directive> {
    body.iter().find(|directive| directive.is(name))
}

/// Puts a directive in the place of all others of its name.
pub(crate) fn replace(body: &mut Vec<Directive>, directive: Directive) {
    body.retain(|other| other.name != directive.name);
    body.push(directive);
}

/// The block of that name, made if it is not there; `name` tells where a new one comes from.
pub(crate) fn block_mut<'a>(body: &'a mut Vec<Directive>, name: &Word) -> &'a mut Directive {
    let index = body.iter().position(|directive| directive.name == *name).unwrap_or_else(|| {
        body.push(Directive { name: name.clone(), args: Vec::new(), body: None });
        body.len() - 1
    });
    &mut body[index]
}

/// The directives of a configuration, with old names replaced and the environment put over them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree(pub(crate) Vec<Directive>);

impl Tree {
    /// What stands outside all blocks, in order.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.0.iter().map(Node)
    }

    /// The first directive of that name outside all blocks: the one that counts.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Node<'_>> {
        find(&self.0, name).map(Node)
    }

    /// The first vhost of that name.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<Node<'_>> {
        self.nodes().find(|node| node.name() == "vhost" && node.args().next() == Some(name))
    }
}

/// One directive of a [`Tree`].
#[derive(Clone, Copy, Debug)]
pub struct Node<'a>(&'a Directive);

impl<'a> Node<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        &self.0.name.text
    }

    /// Its arguments; for a block, those of its head.
    pub fn args(self) -> impl Iterator<Item = &'a str> {
        self.0.args.iter().map(|word| word.text.as_str())
    }

    /// What is in its block.
    pub fn children(self) -> impl Iterator<Item = Node<'a>> {
        self.0.children().iter().map(Node)
    }

    /// The first directive of that name in its block.
    #[must_use]
    pub fn child(self, name: &str) -> Option<Node<'a>> {
        find(self.0.children(), name).map(Node)
    }
}

/// Writes a word so that the lexer reads the same one back, with quotes only if it needs them. `None` for a
/// word the grammar cannot express: an empty one, or one that needs quotes and holds both kinds.
pub(crate) fn write_word(word: &str) -> Option<String> {
    let delimiter = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | ';' | '{');
    if word.is_empty() {
        None
    } else if !word.starts_with(['"', '\'', '#', '}', '\u{feff}']) && !word.contains(delimiter) {
        Some(word.to_owned())
    } else if !word.contains('"') {
        Some(format!("\"{word}\""))
    } else if !word.contains('\'') {
        Some(format!("'{word}'"))
    } else {
        None
    }
}

/// Writes directives one to a line, indented by four blanks a level. `None` as in [`write_word`].
#[cfg(test)]
pub(crate) fn write(body: &[Directive]) -> Option<String> {
    fn level(body: &[Directive], indent: usize, out: &mut String) -> Option<()> {
        for Directive { name, args, body } in body {
            out.push_str(&" ".repeat(4 * indent));
            out.push_str(&write_word(&name.text)?);
            for arg in args {
                out.push(' ');
                out.push_str(&write_word(&arg.text)?);
            }
            match body {
                None => out.push_str(";\n"),
                Some(body) => {
                    out.push_str(" {\n");
                    level(body, indent + 1, out)?;
                    out.push_str(&" ".repeat(4 * indent));
                    out.push_str("}\n");
                }
            }
        }
        Some(())
    }
    let mut out = String::new();
    level(body, 0, &mut out)?;
    Some(out)
}
