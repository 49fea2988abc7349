//! Text to tokens, by the rules of SRS 3.0.
//!
//! Blank, tab, CR and LF separate and mean nothing else. A word runs up to one of them, `;` or `{`; so `}`,
//! `#` and quotes are special only where a token starts. Inside quotes everything is literal, line feeds too,
//! and there are no escapes. A comment ends at LF.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare or quoted word; [`Token::text`] is what it says.
    Word,
    Semicolon,
    Open,
    Close,
    End,
}

/// A token, the text it stands for (without quotes) and where it is (with quotes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) range: Range<usize>,
}

/// What can go wrong in a token. The lexer goes on behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The quote at this range is never closed; lexing goes on with the next line.
    OpenQuote(Range<usize>),
    /// Something other than a separator follows a closing quote; lexing goes on behind it.
    AfterQuote(Range<usize>),
}

/// Hands out tokens one by one, [`Kind::End`] for ever after the last.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        // SRS takes a byte order mark for part of the first name; editors add it unasked, so it is skipped.
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at }
    }

    pub(crate) fn next(&mut self) -> Result<Token<'a>, Fault> {
        self.skip_blanks_and_comments();
        let kind = match self.text.as_bytes().get(self.at) {
            None => return Ok(self.token(Kind::End, 0)),
            Some(b';') => Kind::Semicolon,
            Some(b'{') => Kind::Open,
            Some(b'}') => Kind::Close,
            Some(quote @ (b'"' | b'\'')) => return self.quoted(*quote),
            Some(_) => {
                let len = self.word_len(self.at);
                return Ok(self.token(Kind::Word, len));
            }
        };
        Ok(self.token(kind, 1))
    }

    fn token(&mut self, kind: Kind, len: usize) -> Token<'a> {
        let range = self.at..self.at + len;
        self.at = range.end;
        Token { kind, text: &self.text[range.clone()], range }
    }

    fn quoted(&mut self, quote: u8) -> Result<Token<'a>, Fault> {
        let start = self.at;
        let inside = &self.text[start + 1..];
        let Some(len) = inside.bytes().position(|b| b == quote) else {
            self.at = inside.find('\n').map_or(self.text.len(), |lf| start + 1 + lf);
            return Err(Fault::OpenQuote(start..start + 1));
        };
        self.at = start + 1 + len + 1;
        match self.word_len(self.at) {
            0 => Ok(Token { kind: Kind::Word, text: &inside[..len], range: start..self.at }),
            surplus => {
                let fault = Fault::AfterQuote(self.at..self.at + surplus);
                self.at += surplus;
                Err(fault)
            }
        }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += blanks;
            if !rest[blanks..].starts_with('#') {
                return;
            }
            self.at += rest[blanks..].find('\n').unwrap_or(rest.len() - blanks);
        }
    }

    /// How far a word reaches from `start`. All delimiters are ASCII, so the end is a character boundary.
    fn word_len(&self, start: usize) -> usize {
        let rest = &self.text[start..];
        rest.find([' ', '\t', '\r', '\n', ';', '{']).unwrap_or(rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as they are, punctuation as itself, faults as `!`.
    fn lex(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text);
        let mut out = Vec::new();
        loop {
            match lexer.next() {
                Ok(Token { kind: Kind::End, .. }) => return out,
                Ok(Token { kind: Kind::Word, text, .. }) => out.push(format!("<{text}>")),
                Ok(token) => out.push(token.text.to_owned()),
                Err(fault) => out.push(format!("!{fault:?}")),
            }
        }
    }

    #[test]
    fn words_end_at_blanks_semicolons_and_open_braces_only() {
        assert_eq!(lex("listen 1935;"), ["<listen>", "<1935>", ";"]);
        assert_eq!(lex("a\tb\r\nc{d"), ["<a>", "<b>", "<c>", "{", "<d>"]);
        assert_eq!(lex("on;}"), ["<on>", ";", "}"]);
        assert_eq!(lex("on}"), ["<on}>"]);
    }

    #[test]
    fn comments_start_at_a_token_start_and_end_at_lf() {
        assert_eq!(lex("a#b # c; \"\r d\n;#end"), ["<a#b>", ";"]);
        assert_eq!(lex("#a\n#b\n x;"), ["<x>", ";"]);
    }

    #[test]
    fn quotes_are_literal_and_special_only_at_a_token_start() {
        assert_eq!(lex("\"a;{}#'\nb\" 'c\"d';"), ["<a;{}#'\nb>", "<c\"d>", ";"]);
        assert_eq!(lex("a\"b c\"d"), ["<a\"b>", "<c\"d>"]);
        assert_eq!(lex("'' \"\""), ["<>", "<>"]);
    }

    #[test]
    fn faults_leave_a_place_to_go_on() {
        assert_eq!(lex("\"a\"b c;"), ["!AfterQuote(3..4)", "<c>", ";"]);
        assert_eq!(lex("\"a\\\"b\";"), ["!AfterQuote(4..6)", ";"]);
        assert_eq!(lex("\"a\"} \"b\"#;"), ["!AfterQuote(3..4)", "!AfterQuote(8..9)", ";"]);
        assert_eq!(lex("x 'a;\ny;"), ["<x>", "!OpenQuote(2..3)", "<y>", ";"]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_utf8_passes() {
        assert_eq!(lex("\u{feff}лист \"直播\";"), ["<лист>", "<直播>", ";"]);
    }
}
