//! What a request says about the form it wants a file in: conditions, ranges, encodings (RFC 9110).

use std::ops::Range;
use std::time::SystemTime;

use hyper::header::{
    ACCEPT_ENCODING, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// What tells one state of a file from another.
pub(super) struct Validators {
    /// Strong, with its quotes.
    pub(super) etag: String,
    /// In whole seconds, as HTTP tells time.
    pub(super) modified: SystemTime,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    NotModified,
    Failed,
}

impl Validators {
    /// In the order of RFC 9110, 13.2.2.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Verdict {
        if let Some(tags) = text(headers, IF_MATCH) {
            if !self.is_among(&tags, false) {
                return Verdict::Failed;
            }
        } else if let Some(date) = date(headers, IF_UNMODIFIED_SINCE)
            && self.modified > date
        {
            return Verdict::Failed;
        }
        if let Some(tags) = text(headers, IF_NONE_MATCH) {
            if self.is_among(&tags, true) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = date(headers, IF_MODIFIED_SINCE)
            && self.modified <= date
        {
            return Verdict::NotModified;
        }
        Verdict::Send
    }

    /// Whether a range may be sent: there is no condition on it, or this is the state it is for (13.1.5).
    pub(super) fn allow_range(&self, headers: &HeaderMap) -> bool {
        match text(headers, IF_RANGE) {
            None => true,
            Some(tag) if tag.starts_with('"') => tag == self.etag,
            Some(date) => httpdate::parse_http_date(&date).is_ok_and(|date| date == self.modified),
        }
    }

    fn is_among(&self, tags: &str, weak: bool) -> bool {
        let plain = |tag: &str| {
            let tag = tag.trim();
            let strong = tag.strip_prefix("W/").filter(|_| weak);
            strong.unwrap_or(tag) == self.etag
        };
        tags.trim() == "*" || tags.split(',').any(plain)
    }
}

/// The values of a header that may come several times.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("")).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// What a Range header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything: no range, several (which a server need not send, RFC 9110, 14.2), or nonsense.
    All,
    Range(Range<u64>),
    /// Nothing that is there.
    Unsatisfiable,
}

impl Part {
    /// `value` is that of a Range header, for a file of `len` bytes.
    pub(super) fn parse(value: &str, len: u64) -> Self {
        let Some((from, to)) = value.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-'))
        else {
            return Self::All;
        };
        let range = match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => from..to.saturating_add(1).min(len),
            (Some(from), None) if to.is_empty() => from..len,
            (None, Some(last)) if from.is_empty() => len.saturating_sub(last)..len,
            _ => return Self::All,
        };
        if range.start < range.end { Self::Range(range) } else { Self::Unsatisfiable }
    }
}

/// Digits only; more than fit mean a place behind every file.
fn number(digits: &str) -> Option<u64> {
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Encodings a file may lie beside itself in, the better first: ending and name.
pub(super) const ENCODINGS: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

/// Whether the peer takes an encoding (12.5.3). What it does not name it does not get.
pub(super) fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let Some(value) = text(headers, ACCEPT_ENCODING) else { return false };
    value.split(',').any(|item| {
        let mut words = item.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = |word: &str| {
            let weight = word.strip_prefix("q=").or_else(|| word.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim().parse::<f32>().unwrap_or(0.0) <= 0.0)
        };
        named && !words.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn validators() -> Validators {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        Validators { etag: "\"a\"".into(), modified }
    }

    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    #[test]
    fn conditions() {
        use Verdict::{Failed, NotModified, Send};
        let judge = |lines: &[_]| validators().judge(&headers(lines));
        for (lines, expected) in [
            (&[][..], Send),
            (&[(IF_NONE_MATCH, "\"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "\"b\", W/\"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "*")], NotModified),
            (&[(IF_NONE_MATCH, "\"b\"")], Send),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, SAME)], Send),
            (&[(IF_MODIFIED_SINCE, SAME)], NotModified),
            (&[(IF_MODIFIED_SINCE, BEFORE)], Send),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Send),
            (&[(IF_MATCH, "\"a\"")], Send),
            (&[(IF_MATCH, "W/\"a\"")], Failed),
            (&[(IF_MATCH, "\"b\"")], Failed),
            (&[(IF_MATCH, "*"), (IF_UNMODIFIED_SINCE, BEFORE)], Send),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Failed),
            (&[(IF_UNMODIFIED_SINCE, SAME)], Send),
        ] {
            assert_eq!(judge(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_range_is_for_one_state() {
        let allowed = |value| validators().allow_range(&headers(&[(IF_RANGE, value)]));
        assert!(validators().allow_range(&HeaderMap::new()) && allowed("\"a\"") && allowed(SAME));
        assert!(!allowed("\"b\"") && !allowed("W/\"a\"") && !allowed(BEFORE) && !allowed("x"));
    }

    #[test]
    fn ranges() {
        use Part::{All, Range, Unsatisfiable};
        for (value, expected) in [
            ("bytes=0-0", Range(0..1)),
            ("bytes=0-99", Range(0..100)),
            ("bytes=10-", Range(10..100)),
            ("bytes=10-1000", Range(10..100)),
            ("bytes=99-99999999999999999999999", Range(99..100)),
            ("bytes=-5", Range(95..100)),
            ("bytes=-500", Range(0..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=5-1", All),
            ("bytes=-", All),
            ("bytes=0-1,5-6", All),
            ("bytes=a-b", All),
            ("bytes=+1-2", All),
            ("items=0-1", All),
            ("", All),
        ] {
            assert_eq!(Part::parse(value, 100), expected, "{value}");
        }
        assert_eq!(Part::parse("bytes=0-", 0), Unsatisfiable);
    }

    #[test]
    fn encodings() {
        let accepts = |value| accepts(&headers(&[(ACCEPT_ENCODING, value)]), "gzip");
        for value in ["gzip", "deflate, gzip", "br;q=1.0, GZIP;q=0.5", "gzip; q=1"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip; q=0.000", "gzip;q=x", "*", "gzipped"] {
            assert!(!accepts(value), "{value}");
        }
    }
}
