//! Copies of streams to other servers.

use std::path::PathBuf;

use super::Field;
use crate::value::{self, BadDestination};
use crate::view::View;

super::block! {
    /// `vhost.forward`.
    pub struct Forward {
        /// Send copies.
        enabled: bool = "enabled",
        /// Servers that all get every stream, as long as there is no `backend`.
        destinations: Vec<Destination> = "destination",
        /// URL asked for the destinations of each stream; empty for none.
        backend: String = "backend",
        /// File with the certificates trusted for `rtmps`; empty for those of the system.
        ca: PathBuf = "ca",
    }
}

/// A server that gets copies, and where it gets them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// `rtmps`: over TLS.
    pub tls: bool,
    /// Name or address; without the brackets of IPv6.
    pub host: String,
    /// Port, or that of the protocol: 1935, with TLS 443.
    pub port: u16,
    /// The app there, which may have `[vhost]`, `[app]` and `[stream]` in it; its own if not given.
    pub app: Option<String>,
    /// The stream there, the same, with its parameters; its own name and parameters if not given.
    pub stream: Option<String>,
}

impl Destination {
    /// Port of RTMP over TLS.
    pub const TLS_PORT: u16 = 443;

    /// Reads `host[:port]`, or `rtmp://` or `rtmps://` with `host[:port][/app[/stream[?parameters]]]`.
    ///
    /// # Errors
    /// Which part cannot be read.
    pub fn parse(text: &str) -> Result<Self, BadDestination> {
        value::destination(text)
    }
}

impl Field for Vec<Destination> {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.list(name).into_iter().filter_map(|text| Destination::parse(text).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, tls: bool, host: &str, port: u16, app: Option<&str>, stream: Option<&str>) {
        let (app, stream) = (app.map(str::to_owned), stream.map(str::to_owned));
        let expected = Destination { tls, host: host.to_owned(), port, app, stream };
        assert_eq!(Destination::parse(text), Ok(expected), "{text}");
    }

    #[test]
    fn destinations_are_hosts_or_urls() {
        check("h", false, "h", 1935, None, None);
        check("10.0.0.1:1936", false, "10.0.0.1", 1936, None, None);
        check("[::1]:1936", false, "::1", 1936, None, None);
        check("[::1]", false, "::1", 1935, None, None);
        check("rtmp://h", false, "h", 1935, None, None);
        check("rtmp://h:1936/", false, "h", 1936, None, None);
        check("rtmps://h/live", true, "h", 443, Some("live"), None);
        check("rtmp://h/live/s", false, "h", 1935, Some("live"), Some("s"));
        check("RTMPS://h:1/a/b/s?k=a/b", true, "h", 1, Some("a/b"), Some("s?k=a/b"));
        check("rtmp://h/live?vhost=v/s", false, "h", 1935, Some("live?vhost=v"), Some("s"));
        check("rtmp://h/live?vhost=v", false, "h", 1935, Some("live?vhost=v"), None);
        check("rtmp://h/[app]/[stream]_2", false, "h", 1935, Some("[app]"), Some("[stream]_2"));
    }

    #[test]
    fn others_are_none() {
        for (text, error) in [
            ("http://h/live/s", BadDestination::Scheme),
            ("", BadDestination::Host),
            (":1935", BadDestination::Host),
            ("rtmp:///live", BadDestination::Host),
            ("user:secret@h", BadDestination::Port),
            ("rtmp://user@h/live", BadDestination::Host),
            ("::1", BadDestination::Host),
            ("[::1", BadDestination::Host),
            ("[h]:1", BadDestination::Host),
            ("h/live", BadDestination::Host),
            ("h:0", BadDestination::Port),
            ("h:65536", BadDestination::Port),
            ("h:+1", BadDestination::Port),
            ("h:", BadDestination::Port),
            ("rtmp://h/live//s", BadDestination::Path),
            ("rtmp://h/../s", BadDestination::Path),
            ("rtmp://h/live/?k=v", BadDestination::Path),
            ("rtmp://h/li\u{7}ve/s", BadDestination::Path),
        ] {
            assert_eq!(Destination::parse(text), Err(error), "{text:?}");
        }
        let long = format!("rtmp://h/live/{}", "s".repeat(9000));
        assert_eq!(Destination::parse(&long), Err(BadDestination::Path));
    }
}
