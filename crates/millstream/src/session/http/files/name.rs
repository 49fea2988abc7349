//! From the path of a URL to the name of a file below a directory.
//!
//! The path is cut at its slashes first and each level decoded once, so nothing that is decoded can become a
//! slash. What no honest URL has is refused, not repaired: levels that climb, names that begin with a dot
//! (journals and what editors and version control leave), backslashes, control characters, other slashes.
//! Several slashes in a row are one, but the client is sent to the straight path: who decides by paths before us knows no other.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Longest path that is looked at: as Linux.
const MAX_PATH: usize = 4096;

/// Longest name of a file: as Linux.
const MAX_NAME: usize = 255;

/// The one name with a dot in front that is there to be seen (RFC 8615): certificates are asked for with it.
const WELL_KNOWN: &str = ".well-known";

/// What is written with a percent sign: all but what RFC 3986, 2.3, calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The levels of a path, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    levels: Vec<OsString>,
    /// The path ends in a slash, or is one.
    pub(super) is_dir: bool,
    /// It was written with more slashes than it needs.
    pub(super) is_crooked: bool,
}

impl Name {
    /// `None` for what cannot be the name of a file that is served.
    pub(super) fn parse(path: &str) -> Option<Self> {
        if path.len() > MAX_PATH {
            return None;
        }
        let rest = path.strip_prefix('/')?;
        let levels =
            rest.split('/').filter(|level| !level.is_empty()).map(level).collect::<Option<Vec<_>>>()?;
        let hidden = |(depth, level): (usize, &OsString)| {
            level.as_bytes().starts_with(b".") && !(depth == 0 && level == WELL_KNOWN)
        };
        if levels.iter().enumerate().any(hidden) {
            return None;
        }
        let is_crooked = rest.starts_with('/') || rest.contains("//");
        Some(Self { levels, is_dir: rest.is_empty() || rest.ends_with('/'), is_crooked })
    }

    /// What is behind `front`, if it begins with that.
    pub(super) fn below(&self, front: &Self) -> Option<Self> {
        let levels = self.levels.strip_prefix(front.levels.as_slice())?.to_vec();
        Some(Self { levels, is_dir: self.is_dir, is_crooked: false })
    }

    /// How many levels it has.
    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// The file that is meant, relative to the directory; the index of a directory.
    pub(super) fn file(&self) -> PathBuf {
        let index = self.is_dir.then_some(OsStr::new("index.html"));
        self.levels.iter().map(OsString::as_os_str).chain(index).collect()
    }

    /// The path as it should be written, as that of a directory or of a file.
    pub(super) fn path(&self, is_dir: bool) -> String {
        let levels = self.levels.iter().map(|level| percent_encode(level.as_bytes(), RESERVED).to_string());
        let path = levels.collect::<Vec<_>>().join("/");
        // One slash in front, whatever was asked: two would name another host.
        if is_dir && !path.is_empty() { format!("/{path}/") } else { format!("/{path}") }
    }
}

fn level(encoded: &str) -> Option<OsString> {
    let decoded: Vec<u8> = percent_decode_str(encoded).collect();
    let unfit = |&byte: &u8| byte.is_ascii_control() || matches!(byte, b'/' | b'\\');
    if decoded.len() > MAX_NAME || decoded.iter().any(unfit) {
        return None;
    }
    Some(OsString::from_vec(decoded))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn file(path: &str) -> Option<String> {
        Name::parse(path).map(|name| name.file().to_str().unwrap().to_owned())
    }

    #[test]
    fn paths_and_files() {
        for (path, expected) in [
            ("/", "index.html"),
            ("/a.flv", "a.flv"),
            ("/live/a%20b.ts", "live/a b.ts"),
            ("/live/", "live/index.html"),
            ("//live///x", "live/x"),
            ("/live//", "live/index.html"),
            ("/%252e%252e/x", "%2e%2e/x"),
            ("/a..b/c.", "a..b/c."),
            ("/.well-known/acme-challenge/x", ".well-known/acme-challenge/x"),
            ("/%e4%b8%ad.mp4", "中.mp4"),
        ] {
            assert_eq!(file(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_refused() {
        for path in [
            "",
            "x",
            "/..",
            "/../x",
            "/x/../y",
            "/.",
            "/./x",
            "/%2e%2e/x",
            "/%2E./x",
            "/.%2e/",
            "/.git/config",
            "/x/.well-known/y",
            "/%2egit",
            "/live/.millstream/journal",
            "/a%2fb",
            "/a%2F..%2Fb",
            "/a\\b",
            "/..\\x",
            "/a%5cb",
            "/%00",
            "/x%00.flv",
            "/a%0ab",
            "/%7f",
            "*",
            "http://a/b",
        ] {
            assert_eq!(file(path), None, "{path}");
        }
        assert_eq!(file(&format!("/{}", "x".repeat(MAX_NAME + 1))), None);
        assert_eq!(file(&"/x".repeat(MAX_PATH)), None);
    }

    #[test]
    fn directories_are_written_without_a_host() {
        let crooked = Name::parse("//evil.com//a b").unwrap();
        assert!(crooked.is_crooked && !Name::parse("/a/b/").unwrap().is_crooked);
        assert_eq!(
            (crooked.path(true), crooked.path(false)),
            ("/evil.com/a%20b/".into(), "/evil.com/a%20b".into())
        );
        for root in ["/", "//", "///"] {
            assert_eq!(Name::parse(root).unwrap().path(true), "/");
        }
    }

    #[test]
    fn what_is_below() {
        let name = |path| Name::parse(path).unwrap();
        assert_eq!(name("/hls/a/b").below(&name("/hls/")), Some(name("/a/b")));
        assert_eq!(name("/hls/").below(&name("/hls/")), Some(name("/")));
        assert_eq!(name("/hlsx/a").below(&name("/hls/")), None);
    }

    proptest! {
        /// Whatever is asked, the file is below the directory, by name.
        #[test]
        fn nothing_climbs(path in r"/?([./\\%0-9a-fA-F\x00x]|\.\.|%2e|%2f|%5c|%25|%00|//){0,40}") {
            if let Some(name) = Name::parse(&path) {
                let file = name.file();
                let inside = |c: Component<'_>| match c {
                    Component::Normal(name) => (!name.as_bytes().starts_with(b".") || name == WELL_KNOWN)
                        && !name.as_bytes().iter().any(|b| matches!(b, 0 | b'\\')),
                    _ => false,
                };
                prop_assert!(file.components().all(inside), "{path:?} is {file:?}");
                prop_assert!(Path::new("/root").join(&file).starts_with("/root"));
                let straight = name.path(name.is_dir);
                prop_assert!(!straight.contains("//"), "{straight}");
                let again = Name::parse(&straight).unwrap();
                prop_assert!(!again.is_crooked && again.file() == file, "{straight}");
            }
        }
    }
}
