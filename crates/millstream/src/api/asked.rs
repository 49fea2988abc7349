//! What a request asks: its method, the path behind the route, its parameters.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use hyper::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;

use crate::session::Context;

/// Longest function name of a JSONP request.
const MAX_CALLBACK: usize = 128;

/// A request on its way to a handler.
pub(crate) struct Asked<'a> {
    pub(crate) ctx: &'a Arc<Context>,
    /// The method meant: with JSONP it may be another than that of the request.
    pub(crate) method: Method,
    pub(crate) uri: &'a Uri,
    /// What the path has behind the route's own: an id, or nothing.
    pub(crate) rest: &'a str,
    pub(crate) query: &'a Query<'a>,
    pub(crate) headers: &'a HeaderMap,
    /// Our end of the connection.
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

/// The parameters of a URL, percent-decoded.
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let decode = |text: &'a str| percent_decode_str(text).decode_utf8_lossy();
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// The value of the first parameter of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| Cow::Borrowed(&**value))
    }

    /// The same; empty if there is none.
    pub(crate) fn text(&self, name: &str) -> Cow<'_, str> {
        self.get(name).unwrap_or_default()
    }

    /// The part of a list of `all` that `start` and `count` ask for, if they are there. A count that is no
    /// number, or 0, is 10, as in SRS.
    pub(crate) fn page(&self, all: usize) -> Option<Range<usize>> {
        const USUAL: usize = 10;
        if self.get("start").is_none() && self.get("count").is_none() {
            return None;
        }
        let start = self.number("start").unwrap_or(0).min(all);
        let count = self.number("count").filter(|&count| count > 0).unwrap_or(USUAL);
        Some(start..start.saturating_add(count).min(all))
    }

    /// A parameter that is a whole number; `None` for anything else.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }
}

/// The method meant. A script tag knows GET alone, so a JSONP request may name another as a parameter.
pub(super) fn method(method: &Method, query: &Query<'_>, jsonp: bool) -> Method {
    match &*query.text("method") {
        _ if !jsonp || *method != Method::GET => method.clone(),
        "PUT" => Method::PUT,
        "POST" => Method::POST,
        "DELETE" => Method::DELETE,
        _ => Method::GET,
    }
}

/// Whether a name may be called in an answer that a page runs as its own: as in SRS 6, letters, digits,
/// `_`, `.` and `-`, so that nobody can make us write a program.
pub(super) fn is_safe_name(name: &str) -> bool {
    let safe = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
    name.len() <= MAX_CALLBACK && name.bytes().all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        let query = Query::new("a=1&b=%e4%bd%a0%26&a=2&flag&=x&c=%ff");
        assert_eq!(query.text("a"), "1");
        assert_eq!(query.number("a"), Some(1));
        assert_eq!(query.text("b"), "你&");
        assert_eq!(query.text("flag"), "");
        assert!(query.get("flag").is_some() && query.get("none").is_none());
        assert_eq!(query.text("c"), "\u{fffd}");
        assert_eq!(query.number("b"), None);
    }

    #[test]
    fn pages_stay_within_the_list() {
        let page = |text| Query::new(text).page(25);
        assert_eq!(page(""), None);
        assert_eq!(page("start=20"), Some(20..25));
        assert_eq!(page("count=1"), Some(0..1));
        assert_eq!(page("count=0&start=3"), Some(3..13));
        assert_eq!(page("start=99&count=99999999999999999999"), Some(25..25));
        assert_eq!(page("start=-1&count=18446744073709551615"), Some(0..25));
    }

    #[test]
    fn only_jsonp_changes_the_method() {
        let query = Query::new("method=DELETE");
        assert_eq!(method(&Method::GET, &query, true), Method::DELETE);
        assert_eq!(method(&Method::GET, &query, false), Method::GET);
        assert_eq!(method(&Method::POST, &query, true), Method::POST);
        assert_eq!(method(&Method::GET, &Query::new("method=delete"), true), Method::GET);
    }

    #[test]
    fn names_that_could_be_programs_are_not_called() {
        assert!(is_safe_name("jQuery_1.cb-2"));
        for bad in ["alert(1)//", "a b", "a;b", "<script>", "ü", "a\n", &"a".repeat(129)] {
            assert!(!is_safe_name(bad), "{bad}");
        }
    }
}
