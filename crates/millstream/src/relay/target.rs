//! Which server and which stream is meant.

use std::fmt;

use mill_rtmp::url::{self, DEFAULT_PORT, DEFAULT_VHOST, TLS_PORT};

use crate::log::Redacted;

/// A server that speaks RTMP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// Name or address, an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// RTMP over TLS.
    pub(crate) tls: bool,
}

impl Server {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`, as lists of servers in a configuration have them.
    ///
    /// # Errors
    /// [`mill_rtmp::Error::Url`].
    pub(crate) fn parse(text: &str) -> Result<Self, mill_rtmp::Error> {
        url::resolve(&format!("rtmp://{text}/"), "").map(|target| Self::of(&target))
    }

    /// The same where another port goes without saying.
    pub(crate) fn parse_with_port(text: &str, port: u16) -> Result<Self, mill_rtmp::Error> {
        // Nobody has two ports.
        Self::parse(&format!("{text}:{port}")).or_else(|_| Self::parse(text))
    }

    /// The server of a URL.
    pub(crate) fn of(target: &url::Target) -> Self {
        let host = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, port: target.port, tls: target.schema == "rtmps" }
    }

    fn schema(&self) -> &'static str {
        if self.tls { "rtmps" } else { "rtmp" }
    }

    /// The port, with a colon, unless it goes without saying.
    fn port_suffix(&self) -> String {
        let usual = if self.tls { TLS_PORT } else { DEFAULT_PORT };
        if self.port == usual { String::new() } else { format!(":{}", self.port) }
    }

    fn host_in_url(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

/// `host:port`.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host_in_url(), self.port)
    }
}

/// A stream on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) server: Server,
    /// What connect says. The vhost stands where the host would: that is how SRS tells it.
    pub(crate) tc_url: String,
    pub(crate) app: String,
    /// Name with parameters; these may hold secrets.
    pub(crate) stream: String,
}

impl Target {
    /// Reads the URL of a stream, `rtmp://` or `rtmps://`, with the vhost in any of SRS's spellings.
    ///
    /// # Errors
    /// [`mill_rtmp::Error::Url`] if it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, mill_rtmp::Error> {
        let problem = |problem| mill_rtmp::Error::Url { part: "URL", problem };
        let (tc_url, stream) = url::split(text).ok_or_else(|| problem("names no app and stream"))?;
        let parsed = url::resolve(tc_url, stream)?;
        if !matches!(&*parsed.schema, "rtmp" | "rtmps") {
            return Err(problem("neither rtmp:// nor rtmps://"));
        }
        Ok(Self::new(Server::of(&parsed), &parsed.vhost, &parsed.app, &parsed.stream, &parsed.param))
    }

    /// A stream on `server`; `param` has its question mark or is empty, and may name a vhost, which does not count.
    pub(crate) fn new(server: Server, vhost: &str, app: &str, name: &str, param: &str) -> Self {
        let host = if vhost == DEFAULT_VHOST || vhost == server.host {
            server.host_in_url()
        } else {
            vhost.to_owned()
        };
        let tc_url = format!("{}://{host}{}/{app}", server.schema(), server.port_suffix());
        Self { server, tc_url, app: app.to_owned(), stream: format!("{name}{}", url::without_vhost(param)) }
    }

    /// Where a redirect points: to another server, for the same stream. SRS takes no more of it.
    ///
    /// # Errors
    /// [`mill_rtmp::Error::Url`] if it points nowhere.
    pub(crate) fn redirected(&self, redirect: &str) -> Result<Self, mill_rtmp::Error> {
        let server = Server::of(&url::resolve(redirect, "")?);
        Ok(Self { server, ..self.clone() })
    }
}

/// The URL without secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, app, stream, .. } = self;
        write!(f, "{}://{server}/{app}/{}", server.schema(), Redacted(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> [String; 4] {
        let target = Target::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
        [target.server.to_string(), target.tc_url, target.app, target.stream]
    }

    #[test]
    fn urls_say_where_and_what() {
        assert_eq!(parsed("rtmp://h/live/s"), ["h:1935", "rtmp://h/live", "live", "s"]);
        assert_eq!(parsed("rtmp://h:1936/live/s?k=v"), ["h:1936", "rtmp://h:1936/live", "live", "s?k=v"]);
        assert_eq!(parsed("rtmps://h/live/s"), ["h:443", "rtmps://h/live", "live", "s"]);
        assert_eq!(
            parsed("rtmp://10.0.0.1/live?vhost=a.com/s"),
            ["10.0.0.1:1935", "rtmp://a.com/live", "live", "s"]
        );
        assert_eq!(
            parsed("rtmp://10.0.0.1:1936/live/s?k=v&vhost=a.com"),
            ["10.0.0.1:1936", "rtmp://a.com:1936/live", "live", "s?k=v"]
        );
        assert_eq!(parsed("rtmp://[::1]:1936/live/s"), ["[::1]:1936", "rtmp://[::1]:1936/live", "live", "s"]);
        for wrong in ["http://h/live/s", "rtmp://h/live", "rtmp://h:0/live/s", "rtmp:///live/s", "nonsense"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn servers_of_lists() {
        let server = |text: &str| Server::parse(text).map(|server| (server.host, server.port)).ok();
        assert_eq!(server("a.com"), Some(("a.com".into(), 1935)));
        assert_eq!(server("10.0.0.1:19350"), Some(("10.0.0.1".into(), 19350)));
        assert_eq!(server("[::1]:1"), Some(("::1".into(), 1)));
        assert_eq!(server("a.com:port"), None);
        assert_eq!(server(""), None);
        let web = |text: &str| Server::parse_with_port(text, 80).map(|server| server.to_string()).ok();
        assert_eq!(web("a.com").as_deref(), Some("a.com:80"));
        assert_eq!(web("a.com:8080").as_deref(), Some("a.com:8080"));
        assert_eq!(web("[::1]").as_deref(), Some("[::1]:80"));
        assert_eq!(web("[::1]:8080").as_deref(), Some("[::1]:8080"));
    }

    #[test]
    fn the_default_vhost_is_not_told() {
        let at = |vhost| Target::new(Server::parse("o:1936").unwrap(), vhost, "live", "s", "?vhost=x&k=v");
        assert_eq!(at(DEFAULT_VHOST).tc_url, "rtmp://o:1936/live");
        assert_eq!(at("a.com").tc_url, "rtmp://a.com:1936/live");
        assert_eq!(at("a.com").stream, "s?k=v");
    }

    #[test]
    fn a_redirect_changes_the_server_alone() {
        let target = Target::parse("rtmp://h/live/s?token=x&vhost=a.com").unwrap();
        let there = target.redirected("rtmp://10.0.0.9:22935/other/t?k=v").unwrap();
        assert_eq!(there.server.to_string(), "10.0.0.9:22935");
        assert_eq!((&there.tc_url, &there.stream), (&target.tc_url, &target.stream));
        assert_eq!(there.to_string(), "rtmp://10.0.0.9:22935/live/s?token=***");
        assert!(target.redirected("nowhere").is_err());
    }
}
