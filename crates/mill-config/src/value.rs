//! One argument's text to a value, as leniently as SRS reads it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::{Destination, Network};
use crate::spec::{Kind, Row};

/// A number at the head of a text, and whether more text follows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Leading {
    pub(crate) value: f64,
    pub(crate) surplus: bool,
}

/// Reads a number as `atoi` or `atof` would, by the row's kind. `None` where these give 0 for want of any
/// digit.
pub(crate) fn number(row: &Row, text: &str) -> Option<Leading> {
    let digits = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut len = usize::from(text.starts_with(['+', '-']));
    let whole = digits(&text[len..]);
    len += whole;
    let mut found = whole > 0;
    if matches!(row.kind, Kind::Float(_)) {
        if text[len..].starts_with('.') {
            let fraction = digits(&text[len + 1..]);
            if found || fraction > 0 {
                len += 1 + fraction;
                found = true;
            }
        }
        if let Some(exponent) = text[len..].strip_prefix(['e', 'E']).filter(|_| found) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let power = digits(&exponent[sign..]);
            len += if power > 0 { 1 + sign + power } else { 0 };
        }
    }
    // Rust reads all these forms; what is too large becomes infinite and is then clamped or refused.
    let value = text[..len].parse().ok().filter(|_| found)?;
    Some(Leading { value, surplus: len < text.len() })
}

/// A number by [`number`], replaced by the nearest accepted one.
pub(crate) fn number_in_range(row: &Row, text: &str) -> Option<f64> {
    number(row, text).map(|leading| leading.value.clamp(row.range.min, row.range.max))
}

/// A switch: off by the word `off` alone for those that default to on, on by the word `on` alone for the
/// others.
pub(crate) fn switch(kind: Kind, text: &str) -> bool {
    if matches!(kind, Kind::BoolOn) { text != "off" } else { text == "on" }
}

/// Why a text is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEndpoint {
    #[error("a port is a number from 1 to 65535")]
    Port,
    #[error("only a literal address can be listened on, such as 127.0.0.1, 0.0.0.0 or [::]")]
    Address,
}

/// Reads `port`, `ip:port` or `[ipv6]:port`; without an address all of IPv4 is meant.
pub(crate) fn endpoint(text: &str) -> Result<SocketAddr, BadEndpoint> {
    let (ip, port) = match text.rsplit_once(':') {
        None => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), text),
        Some((host, port)) => {
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let ip = match bracketed {
                Some(host) => host.parse().map(IpAddr::V6).ok(),
                None => host.parse().map(IpAddr::V4).ok(),
            };
            (ip.ok_or(BadEndpoint::Address)?, port)
        }
    };
    // `u16::from_str` would take a plus sign too.
    let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()));
    match port {
        Some(port) if port > 0 => Ok(SocketAddr::new(ip, port)),
        _ => Err(BadEndpoint::Port),
    }
}

/// Why a line of `allow` or `deny` is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRule {
    #[error("a rule is about `publish` or `play`")]
    Action,
    #[error("the rule does not say whom it is about")]
    Nobody,
    #[error("it is neither `all` nor an address such as 192.0.2.1 or 2001:db8::1")]
    Address,
    #[error("the length of a prefix is a number from 0 to {0}")]
    Prefix(u8),
}

/// Reads an address, or an address and the length of a prefix: `10.0.0.0/8`, `2001:db8::/32`.
pub(crate) fn network(text: &str) -> Result<Network, BadRule> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let given: IpAddr = address.parse().map_err(|_| BadRule::Address)?;
    let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let Some(length) = length else {
        let address = given.to_canonical();
        return Ok(Network { address, prefix: bits(address) });
    };
    // `u8::from_str` would take a plus sign too.
    let length = Some(length).filter(|l| l.bytes().all(|b| b.is_ascii_digit())).and_then(|l| l.parse().ok());
    let prefix = length.filter(|&length| length <= bits(given)).ok_or(BadRule::Prefix(bits(given)))?;
    // Peers with an IPv4 address are looked at as such, so the same range in IPv6's clothes is one of IPv4.
    match given.to_canonical() {
        address @ IpAddr::V4(_) if given.is_ipv6() && prefix >= 96 => {
            Ok(Network { address, prefix: prefix - 96 })
        }
        _ => Ok(Network { address: given, prefix }),
    }
}

/// Why a text is no destination of a forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDestination {
    /// Something else than `rtmp` or `rtmps` stands before `://`.
    #[error("streams are sent to `rtmp://` and `rtmps://`")]
    Scheme,
    /// The host is missing or has something in it that no host has.
    #[error("the host is none")]
    Host,
    /// What follows the colon.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// App or stream.
    #[error("app and stream are none")]
    Path,
}

/// Longest app and stream with its parameters, in bytes: parameters carry tokens.
const MAX_DESTINATION: usize = 8192;

/// Reads where streams are sent to: `host[:port]`, or a URL of RTMP, whole or without its end.
pub(crate) fn destination(text: &str) -> Result<Destination, BadDestination> {
    let (tls, rest) = match text.split_once("://") {
        None => (None, text),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rtmp") => (Some(false), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("rtmps") => (Some(true), rest),
        Some(_) => return Err(BadDestination::Scheme),
    };
    let (authority, path) = match (tls, rest.split_once('/')) {
        (Some(_), Some((authority, path))) => (authority, path),
        _ => (rest, ""),
    };
    let tls = tls.unwrap_or(false);
    let (host, port) = match authority.rfind(':').filter(|colon| !authority[*colon..].contains(']')) {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
        None => (authority, None),
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|rest| rest.parse::<Ipv6Addr>().is_ok()),
        None => Some(host).filter(|host| {
            let strange = |c: char| c.is_whitespace() || c.is_control() || "/?#@:[]\\".contains(c);
            !host.is_empty() && !host.contains(strange)
        }),
    };
    let host = host.ok_or(BadDestination::Host)?.to_owned();
    let port = match port {
        None if tls => Destination::TLS_PORT,
        None => 1935,
        // `u16::from_str` would take a plus sign too.
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().ok().filter(|&port| port > 0).ok_or(BadDestination::Port)?
        }
        Some(_) => return Err(BadDestination::Port),
    };
    let (app, stream) = app_and_stream(path)?;
    Ok(Destination { tls, host, port, app, stream })
}

/// Takes the path of a URL apart. The stream is its last level; parameters belong to the stream, except in SRS's
/// `app?vhost=v/stream`.
fn app_and_stream(path: &str) -> Result<(Option<String>, Option<String>), BadDestination> {
    let bad_level = |level: &str| matches!(level, "" | "." | "..");
    if path.is_empty() {
        return Ok((None, None));
    }
    if path.len() > MAX_DESTINATION || path.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(BadDestination::Path);
    }
    let names = path.find('?').unwrap_or(path.len());
    let split = path[..names].rfind('/').or_else(|| path.rfind('/'));
    let (app, stream) = match split {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    };
    let name = |text: &str| text.split('?').next().unwrap_or_default().to_owned();
    if name(app).split('/').any(bad_level) || stream.is_some_and(|stream| bad_level(&name(stream))) {
        return Err(BadDestination::Path);
    }
    Ok((Some(app.to_owned()), stream.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn read(path: &str, text: &str) -> Option<(f64, bool)> {
        let entry = spec::entries().into_iter().find(|entry| entry.path() == path).unwrap();
        number(entry.row, text).map(|leading| (leading.value, leading.surplus))
    }

    #[test]
    fn whole_numbers_are_read_like_atoi() {
        let int = |text| read("vhost.play.queue_length", text);
        assert_eq!(int("30"), Some((30.0, false)));
        assert_eq!(int("-1"), Some((-1.0, false)));
        assert_eq!(int("+7"), Some((7.0, false)));
        assert_eq!(int("10s"), Some((10.0, true)));
        assert_eq!(int("0.3"), Some((0.0, true)));
        assert_eq!(int("99999999999999999999"), Some((1e20, false)));
        for none in ["", "abc", "-", "s10", ".5", "inf", "NaN", "∞"] {
            assert_eq!(int(none), None, "{none}");
        }
    }

    #[test]
    fn fractions_are_read_like_atof() {
        let float = |text| read("vhost.hls.hls_fragment", text);
        assert_eq!(float("0.2"), Some((0.2, false)));
        assert_eq!(float(".5"), Some((0.5, false)));
        assert_eq!(float("5."), Some((5.0, false)));
        assert_eq!(float("1e3"), Some((1000.0, false)));
        assert_eq!(float("1e"), Some((1.0, true)));
        assert_eq!(float("1.5.2"), Some((1.5, true)));
        assert_eq!(float("1e999"), Some((f64::INFINITY, false)));
        for none in ["", ".", "-.", "e5", "nan", "inf", "x"] {
            assert_eq!(float(none), None, "{none}");
        }
    }

    #[test]
    fn endpoints_in_all_forms() {
        for (text, expected) in [
            ("1935", "0.0.0.0:1935"),
            ("127.0.0.1:1935", "127.0.0.1:1935"),
            ("0.0.0.0:1935", "0.0.0.0:1935"),
            ("[::]:1935", "[::]:1935"),
            ("[::1]:65535", "[::1]:65535"),
        ] {
            assert_eq!(endpoint(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", "0", "abc", "99999", "65536", "-1", "+1", "1935x", "127.0.0.1:", "[::]:0"] {
            assert_eq!(endpoint(text), Err(BadEndpoint::Port), "{text}");
        }
        for text in ["localhost:1935", "::1:1935", "[127.0.0.1]:1935", ":1935", "[::1935", "[]:1"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
        assert_eq!(endpoint("localhost:1935"), Err(BadEndpoint::Address));
    }
}
