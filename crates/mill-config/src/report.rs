//! What is wrong with a configuration, collected first and drawn together afterwards.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::source::{Sources, Span};

/// More findings than this are counted, not kept: nobody reads further, and a file of semicolons must not
/// fill the memory with complaints about each.
pub const MAX_FINDINGS: usize = 200;

/// Words quoted in a message are cut after this many characters.
const MAX_QUOTED_CHARS: usize = 60;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration is used, though perhaps not as its author meant.
    Warning,
}

/// One finding before it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Diagnostic {
    severity: Severity,
    message: String,
    span: Option<Span>,
    label: String,
    help: String,
}

impl Diagnostic {
    pub(crate) fn error(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, span.into(), message.into())
    }

    pub(crate) fn warning(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span.into(), message.into())
    }

    fn new(severity: Severity, span: Option<Span>, message: String) -> Self {
        Self { severity, message, span, label: String::new(), help: String::new() }
    }

    /// A few words under the marked text.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// One line below: what to write instead.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// Everything found in one load, in the order of the texts.
///
/// `Display` draws all findings without colour; [`Report::render`] can colour them; [`Report::iter`] gives
/// one line each, for a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub(crate) sources: Sources,
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    /// The text could not be read as directives, so nobody has looked at what they say.
    pub(crate) unread: bool,
}

/// One finding of a [`Report`]; `Display` gives `file:line:column: message`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// File or environment variable it stands in; empty if it concerns the configuration as a whole.
    pub source: &'a str,
    /// Line, from 1; 0 if it concerns the configuration as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 if it concerns the configuration as a whole.
    pub column: usize,
    /// What is wrong.
    pub message: &'a str,
    /// What to write instead; may be empty.
    pub help: &'a str,
}

impl Report {
    /// Keeps a finding, unless the very same was kept already (an environment variable reaches every vhost).
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.contains(&diagnostic) {
            return;
        }
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        // An error pushes out a warning, so a refused file never shows warnings only.
        if self.diagnostics.len() < MAX_FINDINGS {
            self.diagnostics.push(diagnostic);
        } else if diagnostic.severity == Severity::Error
            && let Some(last) = self.diagnostics.iter().rposition(|d| d.severity == Severity::Warning)
        {
            self.diagnostics.remove(last);
            self.diagnostics.push(diagnostic);
        }
    }

    /// Brings the findings into the order of the texts; those without a place come last.
    pub(crate) fn sort(&mut self) {
        let place = |d: &Diagnostic| d.span.map_or((usize::MAX, 0), |span| (span.source, span.start));
        self.diagnostics.sort_by_key(place);
    }

    /// Number of errors, including those beyond [`MAX_FINDINGS`].
    #[must_use]
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Number of warnings, including those beyond [`MAX_FINDINGS`].
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Whether the mistakes are those of syntax: then nothing was looked at beyond it.
    #[must_use]
    pub fn is_syntax(&self) -> bool {
        self.unread
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Whether further findings are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= MAX_FINDINGS
    }

    /// The findings kept, in the order of the texts.
    pub fn iter(&self) -> impl Iterator<Item = Finding<'_>> {
        self.diagnostics.iter().map(|diagnostic| {
            let Diagnostic { severity, message, span, help, .. } = diagnostic;
            let place = span.map(|span| self.sources.position(span));
            Finding {
                severity: *severity,
                source: span.and_then(|span| self.sources.get(span.source)).map_or("", |s| s.name.as_str()),
                line: place.map_or(0, |place| place.line),
                column: place.map_or(0, |place| place.column),
                message,
                help,
            }
        })
    }

    /// Draws every finding with the text it is about, `colour` with terminal colours.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut drawn: Vec<String> =
            self.diagnostics.iter().map(|d| renderer.render(&[self.group(d)])).collect();
        let beyond = self.errors + self.warnings - self.diagnostics.len();
        if beyond > 0 {
            drawn.push(format!("and {beyond} more"));
        }
        drawn.join("\n\n")
    }

    /// One finding as annotate-snippets wants it. Only the line concerned is handed over: drawing stays cheap
    /// however long the file is.
    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&diagnostic.message));
        if let Some(span) = diagnostic.span
            && let Some(source) = self.sources.get(span.source)
        {
            let text = &*source.text;
            let line_start = text[..span.start].rfind('\n').map_or(0, |lf| lf + 1);
            let line_end = text[span.start..].find('\n').map_or(text.len(), |lf| span.start + lf);
            let line = &text[line_start..line_end];
            if line.is_empty() {
                group = group.element(Origin::path(&source.name).line(self.sources.position(span).line));
            } else {
                let marked = (span.start - line_start)..(span.end.min(line_end) - line_start);
                let mut annotation = AnnotationKind::Primary.span(marked);
                if !diagnostic.label.is_empty() {
                    annotation = annotation.label(&diagnostic.label);
                }
                let line_number = self.sources.position(span).line;
                let snippet = Snippet::source(line).line_start(line_number).path(&source.name);
                group = group.element(snippet.annotation(annotation));
            }
        }
        if !diagnostic.help.is_empty() {
            group = group.element(Level::HELP.message(&diagnostic.help));
        }
        group
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}:{}: ", self.source, self.line, self.column)?;
        }
        f.write_str(self.message)?;
        if !self.help.is_empty() {
            write!(f, " ({})", self.help)?;
        }
        Ok(())
    }
}

/// A word of the configuration inside a message: in backticks, cut if long, without control characters.
pub(crate) fn quoted(word: &str) -> String {
    let shown: String = word.chars().take(MAX_QUOTED_CHARS).collect();
    let dots = if shown.len() < word.len() { "…" } else { "" };
    format!("`{}{dots}`", shown.replace(char::is_control, "\u{fffd}"))
}
