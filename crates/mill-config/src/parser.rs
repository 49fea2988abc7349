//! Tokens to the tree of directives, includes spliced in.
//!
//! Accepts what SRS 3.0 accepted. After a mistake it goes on at the next `;`, `}` or line end, so that all
//! mistakes of all files are found in one go; a tree that came with errors is for nothing else. Files are
//! read by the closure handed in. Every dimension an input could blow up has a limit.

use std::io;
use std::sync::Arc;

use crate::lexer::{Fault, Kind, Lexer, Token};
use crate::report::{Diagnostic, Report, quoted};
use crate::source::Span;
use crate::spec;
use crate::tree::{Directive, Word};

/// Text of all files together, in bytes, each include counted each time. A thousand times a large
/// configuration; keeps an `include` of a recording or a device from filling the memory.
pub const MAX_TOTAL_BYTES: usize = 4 << 20;

/// Includes of one load. Bounds what many includes of empty files can cost.
pub const MAX_INCLUDES: usize = 1000;

/// Files including files. Each level is a level of recursion here; people use one.
pub const MAX_INCLUDE_DEPTH: usize = 16;

/// Blocks within blocks. The deepest directive stands in four; the tree is later walked by recursion.
pub const MAX_NESTING: usize = 32;

/// How files named by `include` are read. Names are handed over as written: SRS takes them relative to the
/// working directory, not to the including file.
pub(crate) type Read<'a> = dyn FnMut(&str) -> io::Result<Vec<u8>> + 'a;

/// Parses a file and all it includes. Errors and warnings go to the report.
pub(crate) fn parse(name: &str, bytes: &[u8], read: &mut Read<'_>, report: &mut Report) -> Vec<Directive> {
    let mut parser = Parser { read, report, files: Vec::new(), bytes: 0, includes: 0 };
    parser.file(name, bytes, None, 0)
}

struct Parser<'a> {
    read: &'a mut Read<'a>,
    report: &'a mut Report,
    /// The file being read and those that include it, outermost first.
    files: Vec<String>,
    bytes: usize,
    includes: usize,
}

/// A block whose `}` has not come yet. A nameless `{` gets a frame too, so that its `}` is not taken for
/// another's.
struct Frame {
    head: Option<(Word, Vec<Word>)>,
    open: Span,
    body: Vec<Directive>,
}

impl<'a> Parser<'a> {
    fn file(
        &mut self,
        name: &str,
        bytes: &[u8],
        included_at: Option<Span>,
        nesting: usize,
    ) -> Vec<Directive> {
        self.bytes += bytes.len();
        if self.bytes > MAX_TOTAL_BYTES {
            let message = format!("{} takes the configuration above {MAX_TOTAL_BYTES} bytes", quoted(name));
            self.report.add(Diagnostic::error(included_at, message));
            return Vec::new();
        }
        // SRS takes bytes as they come. We need text to point into; what is not UTF-8 becomes U+FFFD.
        let text: Arc<str> = String::from_utf8_lossy(bytes).into();
        let source = self.report.sources.add(name, Arc::clone(&text));
        if let Err(error) = str::from_utf8(bytes) {
            let at = error.valid_up_to();
            let span = Span { source, start: at, end: at + '\u{fffd}'.len_utf8() };
            let message = "not UTF-8: read with a replacement character";
            self.report.add(Diagnostic::warning(span, message));
        }
        self.files.push(name.to_owned());
        let body = self.directives(&text, source, nesting);
        self.files.pop();
        body
    }

    fn directives(&mut self, text: &str, source: usize, nesting: usize) -> Vec<Directive> {
        let mut lexer = Lexer::new(text);
        let mut frames: Vec<Frame> = Vec::new();
        let mut root = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        // After an open quote the braces of its line are lost: complaining about their partners would
        // mislead.
        let mut braces_known = true;
        loop {
            let Token { kind, text, range } = match lexer.next() {
                Ok(token) => token,
                Err(fault) => {
                    if matches!(fault, Fault::OpenQuote(_)) {
                        words.clear();
                        braces_known = false;
                    }
                    self.fault(fault, source);
                    continue;
                }
            };
            let span = Span { source, start: range.start, end: range.end };
            match kind {
                // Empty quotes add nothing, as in SRS.
                Kind::Word if text.is_empty() => {}
                Kind::Word => words.push(Word { text: text.to_owned(), span }),
                Kind::Semicolon if words.is_empty() => {
                    let message = "a directive needs a name before `;`";
                    self.report.add(Diagnostic::error(span, message));
                }
                Kind::Semicolon | Kind::Close | Kind::End if !words.is_empty() => {
                    if kind != Kind::Semicolon {
                        self.missing_semicolon(&words, kind);
                    }
                    let nesting = nesting + frames.len();
                    let body = frames.last_mut().map_or(&mut root, |frame| &mut frame.body);
                    self.leaf(&mut words, span, nesting, body);
                }
                _ => {}
            }
            match kind {
                Kind::Open => {
                    if nesting + frames.len() == MAX_NESTING {
                        let message = format!("blocks are nested more than {MAX_NESTING} deep");
                        self.report.add(Diagnostic::error(span, message));
                        return root;
                    }
                    let head = self.head(&mut words, span);
                    frames.push(Frame { head, open: span, body: Vec::new() });
                }
                Kind::Close => match frames.pop() {
                    Some(Frame { head: Some((name, args)), body, .. }) => {
                        let parent = frames.last_mut().map_or(&mut root, |frame| &mut frame.body);
                        parent.push(Directive { name, args, body: Some(body) });
                    }
                    Some(_) => {}
                    None if braces_known => {
                        self.report.add(Diagnostic::error(span, "`}` closes no block"));
                    }
                    None => {}
                },
                Kind::End => {
                    for frame in frames.iter().filter(|_| braces_known) {
                        let span = frame.head.as_ref().map_or(frame.open, |(name, _)| name.span);
                        let message = "this block is never closed";
                        self.report.add(Diagnostic::error(span, message).help("add `}` at its end"));
                    }
                    return root;
                }
                Kind::Word | Kind::Semicolon => {}
            }
        }
    }

    fn fault(&mut self, fault: Fault, source: usize) {
        let (range, message) = match fault {
            Fault::OpenQuote(range) => (range, "this quote is never closed"),
            Fault::AfterQuote(range) => (range, "a blank, `;` or `{` must follow the closing quote"),
        };
        self.report.add(Diagnostic::error(Span { source, start: range.start, end: range.end }, message));
    }

    fn missing_semicolon(&mut self, words: &[Word], found: Kind) {
        let found = if found == Kind::Close { "`}`" } else { "the end of the file" };
        if let Some(last) = words.last() {
            let message = format!("`;` or `{{` expected before {found}");
            self.report.add(Diagnostic::error(last.span, message).help("add `;` here"));
        }
    }

    /// Ends a directive that has no block. `include` is replaced by what it names.
    fn leaf(&mut self, words: &mut Vec<Word>, end: Span, nesting: usize, body: &mut Vec<Directive>) {
        self.warn_if_it_spans_lines(words, Some(end));
        let mut words = words.drain(..);
        let Some(name) = words.next() else { return };
        let args: Vec<Word> = words.collect();
        if name.text != "include" {
            return body.push(Directive { name, args, body: None });
        }
        if args.is_empty() {
            self.report.add(Diagnostic::error(name.span, "`include` needs the name of a file"));
        }
        for file in args {
            body.append(&mut self.include(&file, nesting));
        }
    }

    fn include(&mut self, file: &Word, nesting: usize) -> Vec<Directive> {
        self.includes += 1;
        let refused = if self.files.contains(&file.text) {
            format!("{} includes itself", quoted(&file.text))
        } else if self.files.len() > MAX_INCLUDE_DEPTH {
            format!("files include each other more than {MAX_INCLUDE_DEPTH} deep")
        } else if self.includes > MAX_INCLUDES {
            format!("more than {MAX_INCLUDES} files are included")
        } else {
            match (self.read)(&file.text) {
                Ok(bytes) => return self.file(&file.text, &bytes, Some(file.span), nesting),
                Err(error) => format!("cannot read {}: {error}", quoted(&file.text)),
            }
        };
        self.report.add(Diagnostic::error(file.span, refused));
        Vec::new()
    }

    /// Name and arguments of a block that opens at `open`.
    fn head(&mut self, words: &mut Vec<Word>, open: Span) -> Option<(Word, Vec<Word>)> {
        // `{` on a line of its own is a matter of taste and warns nobody of anything.
        self.warn_if_it_spans_lines(words, None);
        let mut words = words.drain(..);
        let Some(name) = words.next() else {
            self.report.add(Diagnostic::error(open, "a block needs a name before `{`"));
            return None;
        };
        if name.text == "include" {
            self.report.add(Diagnostic::error(name.span, "`include` takes file names, not a block"));
        }
        Some((name, words.collect()))
    }

    /// SRS 3.0 lets a directive go on over line ends, so a forgotten `;` swallows the next directive without
    /// a word.
    fn warn_if_it_spans_lines(&mut self, words: &[Word], end: Option<Span>) {
        let Some(first) = words.first() else { return };
        let starts = words.iter().map(|word| word.span).chain(end);
        let Some((index, _)) = starts.enumerate().find(|(_, span)| {
            span.source == first.span.source && self.report.sources.on_different_lines(first.span, *span)
        }) else {
            return;
        };
        let message = format!("{} goes on over the end of its line", quoted(&first.text));
        let mut warning = Diagnostic::warning(words[index.saturating_sub(1)].span, message);
        if let Some(next) = words.get(index)
            && spec::is_known_name(&next.text)
        {
            warning = warning.label("is a `;` missing here?");
            let next = quoted(&next.text);
            warning = warning.help(format!("{next} is read as an argument of {}", quoted(&first.text)));
        }
        self.report.add(warning);
    }
}

#[cfg(test)]
mod tests;
