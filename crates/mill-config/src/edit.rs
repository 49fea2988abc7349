//! Small changes of a configuration's text, for remote control.
//!
//! Only what changes is written anew: comments, blank lines, quotes and the order of everything else stay. What
//! is written reads back as what was meant, or the change is refused. Files that the text includes are not
//! looked into: whoever edits loads the result and sees whether it says what it should.

use std::ops::Range;

use crate::lexer::{Kind, Lexer, Token};
use crate::tree::write_word;

/// A change of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Gives a directive outside all blocks these arguments; adds it at the end if it is not there.
    Set {
        /// Its name.
        name: String,
        /// At least one.
        args: Vec<String>,
    },
    /// Adds an empty vhost.
    CreateVhost {
        /// Its name.
        name: String,
    },
    /// Gives a vhost another name.
    RenameVhost {
        /// Its name.
        name: String,
        /// Its new one.
        new: String,
    },
    /// Removes a vhost with all that is in it.
    DeleteVhost {
        /// Its name.
        name: String,
    },
    /// Gives `dvr_apply` of a vhost these arguments; adds it to its `dvr`, which must be there.
    SetDvrApply {
        /// Its name.
        name: String,
        /// At least one.
        args: Vec<String>,
    },
    /// Switches a vhost on or off.
    EnableVhost {
        /// Its name.
        name: String,
        /// On or off.
        on: bool,
    },
}

/// Why a text was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It is not a whole configuration.
    #[error("the file cannot be read as directives")]
    Syntax,
    /// There is no such vhost in this file; it may be in one that is included.
    #[error("the file itself has no such vhost")]
    NoVhost,
    /// There is no such block in this file; it may be in one that is included.
    #[error("the file itself has no such block")]
    NoBlock,
    /// There is one of the new name.
    #[error("the file has such a vhost already")]
    Exists,
    /// A word that cannot be written: empty, or with both kinds of quotes.
    #[error("a word of it cannot be written in a configuration")]
    Unwritable,
}

/// The text with the change in it.
///
/// # Errors
/// If the change cannot be made; see [`EditError`].
pub fn edit(text: &str, edit: &Edit) -> Result<String, EditError> {
    let items = scan(text)?;
    let vhost = |name: &str| items.iter().find(|item| item.name == "vhost" && item.first(text) == Some(name));
    let found = |name: &str| vhost(name).ok_or(EditError::NoVhost);
    let write = |word: &str| write_word(word).ok_or(EditError::Unwritable);
    let free = |name: &str| vhost(name).map_or(Ok(()), |_| Err(EditError::Exists));
    match edit {
        Edit::Set { name, args } => {
            let words: Result<Vec<String>, EditError> =
                [name].into_iter().chain(args).map(|w| write(w)).collect();
            let line = format!("{};", words?.join(" "));
            Ok(match items.iter().find(|item| item.name == name) {
                Some(item) => replaced(text, item.start..item.end, &line),
                None => appended(text, &line),
            })
        }
        Edit::CreateVhost { name } => {
            free(name)?;
            Ok(appended(text, &format!("vhost {} {{\n}}", write(name)?)))
        }
        Edit::RenameVhost { name, new } => {
            let range = found(name)?.args.first().cloned().ok_or(EditError::NoVhost)?;
            free(new)?;
            Ok(replaced(text, range, &write(new)?))
        }
        Edit::DeleteVhost { name } => Ok(replaced(text, whole_lines(text, found(name)?), "")),
        Edit::SetDvrApply { name, args } => {
            let dvr = found(name)?.inside.iter().find(|item| item.name == "dvr").ok_or(EditError::NoBlock)?;
            let words: Result<Vec<String>, EditError> = args.iter().map(|word| write(word)).collect();
            let line = format!("dvr_apply {};", words?.join(" "));
            match (dvr.inside.iter().find(|item| item.name == "dvr_apply"), dvr.open) {
                (Some(given), _) => Ok(replaced(text, given.start..given.end, &line)),
                (None, Some(open)) => Ok(replaced(text, open..open, &format!("\n        {line}"))),
                (None, None) => Err(EditError::NoBlock),
            }
        }
        Edit::EnableVhost { name, on } => {
            let vhost = found(name)?;
            let line = format!("enabled {};", if *on { "on" } else { "off" });
            let given = vhost.inside.iter().find(|item| item.name == "enabled");
            Ok(match (given, vhost.open) {
                (Some(given), _) => replaced(text, given.start..given.end, &line),
                (None, Some(open)) => replaced(text, open..open, &format!("\n    {line}")),
                // `vhost a;`
                (None, None) => replaced(text, vhost.end - 1..vhost.end, &format!(" {{\n    {line}\n}}")),
            })
        }
    }
}

/// A directive as it stands in the text.
struct Item<'a> {
    name: &'a str,
    start: usize,
    /// Places of its arguments, with their quotes.
    args: Vec<Range<usize>>,
    /// Behind its `{`, if it has one.
    open: Option<usize>,
    /// Behind its `;` or `}`.
    end: usize,
    /// What is directly inside its block.
    inside: Vec<Item<'a>>,
}

impl Item<'_> {
    fn first<'t>(&self, text: &'t str) -> Option<&'t str> {
        let word = &text[self.args.first()?.clone()];
        let quoted = |quote: char| word.strip_prefix(quote)?.strip_suffix(quote);
        Some(quoted('"').or_else(|| quoted('\'')).unwrap_or(word))
    }
}

/// The directives outside all blocks.
fn scan(text: &str) -> Result<Vec<Item<'_>>, EditError> {
    let mut lexer = Lexer::new(text);
    let mut root = Vec::new();
    let mut open: Vec<Item<'_>> = Vec::new();
    let mut begun: Option<Item<'_>> = None;
    loop {
        let Token { kind, text, range } = lexer.next().map_err(|_| EditError::Syntax)?;
        match (kind, begun.take()) {
            // Empty quotes add nothing.
            (Kind::Word, item) if text.is_empty() => begun = item,
            (Kind::Word, None) => {
                let (start, end) = (range.start, range.end);
                begun =
                    Some(Item { name: text, start, args: Vec::new(), open: None, end, inside: Vec::new() });
            }
            (Kind::Word, Some(mut item)) => {
                item.args.push(range);
                begun = Some(item);
            }
            (Kind::Open, Some(mut item)) => {
                item.open = Some(range.end);
                open.push(item);
            }
            (Kind::Semicolon, Some(mut item)) => {
                item.end = range.end;
                open.last_mut().map_or(&mut root, |block| &mut block.inside).push(item);
            }
            (Kind::Close, None) => {
                let mut item = open.pop().ok_or(EditError::Syntax)?;
                item.end = range.end;
                open.last_mut().map_or(&mut root, |block| &mut block.inside).push(item);
            }
            (Kind::End, None) if open.is_empty() => return Ok(root),
            _ => return Err(EditError::Syntax),
        }
    }
}

fn replaced(text: &str, range: Range<usize>, new: &str) -> String {
    [&text[..range.start], new, &text[range.end..]].concat()
}

fn appended(text: &str, line: &str) -> String {
    let feed = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{feed}{line}\n")
}

/// The place of a directive, with the rest of its lines if nothing else stands there.
fn whole_lines(text: &str, item: &Item<'_>) -> Range<usize> {
    let blank = |text: &str| text.chars().all(|c| matches!(c, ' ' | '\t' | '\r'));
    let line_start = text[..item.start].rfind('\n').map_or(0, |lf| lf + 1);
    let line_end = text[item.end..].find('\n').map_or(text.len(), |lf| item.end + lf + 1);
    let alone =
        blank(&text[line_start..item.start]) && blank(text[item.end..line_end].trim_end_matches('\n'));
    if alone { line_start..line_end } else { item.start..item.end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "# a station\nlisten 1935 1936; # both\nsrs_log_file \"./my logs/srs.log\";\n\n\
                        vhost a.com { # the first\n    play { gop_cache off; }\n}\nvhost 'b.com' { enabled on; } vhost c;\n";

    fn set(name: &str, args: &[&str]) -> Edit {
        Edit::Set { name: name.into(), args: args.iter().map(|arg| (*arg).into()).collect() }
    }

    #[track_caller]
    fn check(change: &Edit, old: &str, new: &str) {
        assert!(TEXT.contains(old));
        assert_eq!(edit(TEXT, change).unwrap(), TEXT.replacen(old, new, 1));
    }

    #[test]
    fn only_what_changes_is_written_anew() {
        check(&set("listen", &["19350"]), "listen 1935 1936;", "listen 19350;");
        check(
            &set("srs_log_file", &["./a b.log"]),
            "srs_log_file \"./my logs/srs.log\";",
            "srs_log_file \"./a b.log\";",
        );
        let rename = |name: &str, new: &str| Edit::RenameVhost { name: name.into(), new: new.into() };
        check(&rename("b.com", "d.com"), "'b.com'", "d.com");
        check(&rename("c", "d e"), "vhost c;", "vhost \"d e\";");
        let enable = |name: &str, on| Edit::EnableVhost { name: name.into(), on };
        check(&enable("b.com", false), "enabled on;", "enabled off;");
        check(&enable("a.com", false), "a.com {", "a.com {\n    enabled off;");
        check(&enable("c", true), "vhost c;", "vhost c {\n    enabled on;\n}");
        let delete = |name: &str| Edit::DeleteVhost { name: name.into() };
        check(&delete("a.com"), "vhost a.com { # the first\n    play { gop_cache off; }\n}\n", "");
        check(&delete("b.com"), "vhost 'b.com' { enabled on; }", "");
    }

    #[test]
    fn dvr_apply_of_one_vhost() {
        let text =
            "vhost a { dvr { enabled on; } } vhost b { dvr { dvr_apply all; enabled on; } } vhost c { }";
        let change = |name: &str| {
            let args = ["live/x", "live/y"].map(str::to_owned).to_vec();
            edit(text, &Edit::SetDvrApply { name: name.into(), args })
        };
        let given = text.replace("dvr_apply all;", "dvr_apply live/x live/y;");
        assert_eq!(change("b"), Ok(given));
        let added = text.replacen("dvr {", "dvr {\n        dvr_apply live/x live/y;", 1);
        assert_eq!(change("a"), Ok(added));
        assert_eq!(change("c"), Err(EditError::NoBlock));
        assert_eq!(change("d"), Err(EditError::NoVhost));
    }

    #[test]
    fn what_is_new_comes_at_the_end() {
        assert_eq!(edit(TEXT, &set("chunk_size", &["128"])).unwrap(), format!("{TEXT}chunk_size 128;\n"));
        let create = Edit::CreateVhost { name: "d.com".into() };
        assert_eq!(edit("listen 1;", &create).unwrap(), "listen 1;\nvhost d.com {\n}\n");
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let vhost = |name: &str| Edit::DeleteVhost { name: name.into() };
        assert_eq!(edit(TEXT, &vhost("x")), Err(EditError::NoVhost));
        assert_eq!(edit(TEXT, &Edit::CreateVhost { name: "b.com".into() }), Err(EditError::Exists));
        let rename = Edit::RenameVhost { name: "a.com".into(), new: "c".into() };
        assert_eq!(edit(TEXT, &rename), Err(EditError::Exists));
        for bad in ["", "a b'\""] {
            assert_eq!(edit(TEXT, &set("pid", &[bad])), Err(EditError::Unwritable));
        }
        for broken in ["listen 1935", "vhost a {", "}", "a \"", ";", "{ }"] {
            assert_eq!(edit(broken, &vhost("a")), Err(EditError::Syntax), "{broken}");
        }
    }

    proptest! {
        /// Whatever is set is what the text then says, and everything else is as it was.
        #[test]
        fn an_edit_reads_back(name in "[ -~é]{1,12}", arg in "[ -~é]{1,12}", which in 0..4) {
            let change = match which {
                0 => Edit::Set { name: "pid".into(), args: vec![arg.clone()] },
                1 => Edit::CreateVhost { name: name.clone() },
                2 => Edit::RenameVhost { name: "a.com".into(), new: name.clone() },
                _ => Edit::EnableVhost { name: "a.com".into(), on: arg.len() % 2 == 0 },
            };
            let Ok(text) = edit(TEXT, &change) else { return Ok(()) };
            let items = scan(&text).unwrap();
            let has = |name: &str, first: &str| items.iter().any(|i| i.name == name && i.first(&text) == Some(first));
            match which {
                0 => prop_assert!(has("pid", &arg)),
                1 | 2 => prop_assert!(has("vhost", &name)),
                _ => prop_assert!(text.contains("a.com {\n    enabled o"), "{}", text),
            }
            prop_assert!(has("listen", "1935") && has("srs_log_file", "./my logs/srs.log") && has("vhost", "b.com"));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-c{};\"'# \n]{0,40}", on: bool) {
            let _ = edit(&text, &Edit::EnableVhost { name: "a".into(), on });
            let _ = edit(&text, &Edit::DeleteVhost { name: "a".into() });
        }
    }
}
