//! How segments are called in a playlist, and which file a URI stands for.

use std::fmt::Write as _;

use crate::path::check;

/// The places names are relative to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The directory of everything (`hls_path`), with its slash.
    pub(crate) root: &'a str,
    /// The directory of the playlist, with its slash.
    pub(crate) playlist: &'a str,
    /// `hls_entry_prefix`.
    pub(crate) prefix: &'a str,
}

impl Names<'_> {
    /// The URI of a file below the root: relative to the playlist, or behind the prefix. As in SRS, a prefix
    /// that ends with a slash stands for the playlist's directory, any other for the root.
    pub(crate) fn uri(&self, path: &str) -> String {
        let path = path.strip_prefix(self.root).unwrap_or(path);
        let base = self.playlist.strip_prefix(self.root).unwrap_or(self.playlist);
        match self.prefix {
            "" => encode(&relative(base, path)),
            prefix if prefix.ends_with('/') => [prefix, &encode(&relative(base, path))].concat(),
            prefix => [prefix, "/", &encode(path)].concat(),
        }
    }

    /// The file of a URI that [`uri`](Self::uri) made; `None` for any other.
    pub(crate) fn file(&self, uri: &str) -> Option<String> {
        let base = self.playlist.strip_prefix(self.root)?;
        let (base, rest) = match self.prefix {
            "" => (base, uri),
            prefix if prefix.ends_with('/') => (base, uri.strip_prefix(prefix)?),
            prefix => ("", uri.strip_prefix(prefix)?.strip_prefix('/')?),
        };
        let mut rest = decode(rest)?;
        let mut base = base.trim_end_matches('/');
        while let Some(after) = rest.strip_prefix("../") {
            if base.is_empty() {
                return None;
            }
            base = &base[..base.rfind('/').unwrap_or(0)];
            rest = after.to_owned();
        }
        check(&rest).ok()?;
        let slash = if base.is_empty() { "" } else { "/" };
        Some([self.root, base, slash, &rest].concat())
    }
}

/// The way from a directory to a file, both below the same root.
fn relative(directory: &str, path: &str) -> String {
    let (mut directory, mut path) = (directory, path);
    while let (Some((left, rest)), Some((right, after))) = (directory.split_once('/'), path.split_once('/')) {
        if left != right {
            break;
        }
        (directory, path) = (rest, after);
    }
    let up = directory.matches('/').count();
    ["../".repeat(up).as_str(), path].concat()
}

/// A path as it may stand in a URI (RFC 3986, 3.3): anything but unreserved characters and slashes in percent.
pub(crate) fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(byte.into())
            }
            _ => write!(out, "%{byte:02X}").expect("a string takes all"),
        }
    }
    out
}

/// The reverse.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(playlist: &str, prefix: &str, path: &str, uri: &str) {
        let names = Names { root: "html/", playlist, prefix };
        assert_eq!(names.uri(path), uri);
        assert_eq!(names.file(uri).as_deref(), Some(path));
    }

    #[test]
    fn both_ways() {
        check("html/live/", "", "html/live/av-6.ts", "av-6.ts");
        check("html/live/", "", "html/live/av/6.ts", "av/6.ts");
        check("html/live/", "", "html/ts/av-6.ts", "../ts/av-6.ts");
        check("html/a/b/", "", "html/6.ts", "../../6.ts");
        check("html/", "", "html/live/6.ts", "live/6.ts");
        check("html/live/", "http://cdn", "html/live/av-6.ts", "http://cdn/live/av-6.ts");
        check("html/live/", "http://cdn/x/", "html/live/av-6.ts", "http://cdn/x/av-6.ts");
        check("html/live/", "", "html/live/ä #?%:1.ts", "%C3%A4%20%23%3F%25%3A1.ts");
    }

    #[test]
    fn no_other_file() {
        let names = Names { root: "html/", playlist: "html/live/", prefix: "" };
        for uri in [
            "../../etc/passwd",
            "/etc/passwd",
            "a/../../../x",
            "%2e%2e/%2e%2e/x",
            "..",
            "a%",
            "a%zz",
            "%ff",
            "",
        ] {
            assert_eq!(names.file(uri), None, "{uri}");
        }
        assert_eq!(names.file("../a%2Fb.ts").as_deref(), Some("html/a/b.ts"));
        assert_eq!(Names { prefix: "http://a", ..names }.file("http://b/x.ts"), None);
    }

    proptest! {
        #[test]
        fn any_uri_stays_below_the_root(uri in "(\\.\\./|%2e|%2f|/|\\.|[a-z]|\\PC){0,8}") {
            let names = Names { root: "html/", playlist: "html/live/x/", prefix: "" };
            if let Some(path) = names.file(&uri) {
                prop_assert!(super::check(path.strip_prefix("html/").unwrap()).is_ok(), "{path}");
            }
        }
    }
}
