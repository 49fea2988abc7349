//! URLs: which vhost, app and stream a client means.
//!
//! A client names a stream with the tcUrl of connect and the name in publish or play. SRS lets the vhost
//! hide in either, in several spellings, and users rely on that: `live?vhost=v`, `live...vhost...v`,
//! `live,vhost,v`, all of them in the app or in the stream. [`resolve`] follows SRS 3.0, except that a name
//! with `,` `=` `&` or `...` stays whole unless one of these spellings is in it.
//!
//! Names become file names and parts of log lines: whatever could leave a folder or forge a line is
//! refused, and everything is bounded in length.

use crate::Error;

#[cfg(test)]
mod tests;

/// Port of RTMP.
pub const DEFAULT_PORT: u16 = 1935;
/// Port of RTMP over TLS (`rtmps://`).
pub const TLS_PORT: u16 = 443;
/// App of a URL without one.
pub const DEFAULT_APP: &str = "__defaultApp__";
/// The vhost that serves unknown names.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// Longest vhost, app and stream name, in bytes: host names have at most 255, paths of files 4096.
pub const MAX_NAME: usize = 1024;
/// Longest tcUrl and longest stream name with parameters, in bytes: parameters carry tokens.
pub const MAX_URL: usize = 8192;

/// What a client means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `rtmp`, or what else stood before `://`.
    pub schema: String,
    /// Host of the tcUrl.
    pub host: String,
    /// Port of the tcUrl, or [`DEFAULT_PORT`]; with the schema `rtmps`, [`TLS_PORT`].
    pub port: u16,
    /// The vhost asked for: that of the stream, else that of the app, else the host. Not yet looked up.
    pub vhost: String,
    /// Application; never empty, may have several levels.
    pub app: String,
    /// Stream name; empty if the client named none (2051). May have several levels.
    pub stream: String,
    /// Parameters from their `?` on, or empty: those of the stream, else those of the app.
    pub param: String,
}

/// Finds out what `tc_url` and `stream_name` mean. An empty `stream_name` is good for looking up the vhost
/// at connect.
///
/// # Errors
/// [`Error::Url`] without schema, host or a usable port, for names that are too long, have control
/// characters or have a part that is `.` or `..`.
pub fn resolve(tc_url: &str, stream_name: &str) -> Result<Target, Error> {
    for (part, text) in [("tcUrl", tc_url), ("stream name", stream_name)] {
        refuse(text.len() > MAX_URL, part, "too long")?;
    }
    let (schema, rest) = tc_url.split_once("://").unwrap_or_default();
    refuse(schema.is_empty(), "tcUrl", "no schema")?;
    let (authority, app) = rest.find(['/', '?']).map_or((rest, ""), |at| {
        let (authority, app) = rest.split_at(at);
        (authority, app.strip_prefix('/').unwrap_or(app))
    });
    let (host, port) = split_port(authority)?;
    let port = port.unwrap_or(if schema == "rtmps" { TLS_PORT } else { DEFAULT_PORT });
    let host = without(host, &['/', ' ', '\r', '\n', '\t']);
    refuse(host.is_empty(), "tcUrl", "no host")?;

    let app = Part::parse(app);
    let stream = Part::parse(stream_name);
    let vhost = stream.vhost.or(app.vhost).unwrap_or(&host);
    let param = stream.param.or(app.param).unwrap_or_default();
    let target = Target {
        schema: schema.to_owned(),
        port,
        vhost: without(vhost, &['/', ' ', '\r', '\n', '\t']),
        app: Some(clean(app.name)).filter(|app| !app.is_empty()).unwrap_or_else(|| DEFAULT_APP.to_owned()),
        stream: clean(stream.name),
        param: if param == "?vhost=__defaultVhost__" { String::new() } else { param.to_owned() },
        host,
    };
    target.check()?;
    Ok(target)
}

/// Takes the URL of a stream apart into what [`resolve`] wants: tcUrl and stream name with its parameters.
///
/// The last level of the path is the stream: `rtmp://h/app/inst/stream?k=v`. A path of one level has the stream
/// behind its parameters, as old clients write it: `rtmp://h/app?vhost=v/stream`. `None` if it names no stream.
#[must_use]
pub fn split(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + "://".len();
    let path = authority + url[authority..].find('/')? + 1;
    let param = url[path..].find('?').map_or(url.len(), |at| path + at);
    let slash = match url[path..param].rfind('/') {
        Some(at) => path + at,
        None => param + url[param..].rfind('/')?,
    };
    let (tc_url, stream) = (&url[..slash], &url[slash + 1..]);
    (!stream.is_empty() && !stream.starts_with('?')).then_some((tc_url, stream))
}

/// Parameters without the vhost: what is left of them for a server that is told the vhost in the tcUrl. Begins
/// with a question mark, or is empty.
#[must_use]
pub fn without_vhost(param: &str) -> String {
    let pairs = param.trim_start_matches('?').split('&');
    let kept: Vec<_> = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with("vhost=")).collect();
    if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) }
}

impl Target {
    fn check(&self) -> Result<(), Error> {
        for (part, text) in [("vhost", &self.vhost), ("app", &self.app), ("stream name", &self.stream)] {
            refuse(text.len() > MAX_NAME, part, "too long")?;
            refuse(text.split('/').any(|level| matches!(level, "." | "..")), part, "a level of dots")?;
        }
        for (part, text) in [
            ("schema", &self.schema),
            ("host", &self.host),
            ("vhost", &self.vhost),
            ("app", &self.app),
            ("stream name", &self.stream),
            ("parameters", &self.param),
        ] {
            refuse(text.chars().any(char::is_control), part, "control characters")?;
        }
        refuse(self.vhost.is_empty(), "vhost", "empty")
    }
}

/// An app or a stream, taken apart.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    name: &'a str,
    /// With its `?`.
    param: Option<&'a str>,
    vhost: Option<&'a str>,
}

impl<'a> Part<'a> {
    fn parse(text: &'a str) -> Self {
        let (name, param) = match text.find('?') {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text, None),
        };
        // `live,vhost,v`: only then do the other separators mean anything in a name.
        let in_name = find_vhost(name);
        let name = if in_name.is_some() { until_separator(name) } else { name };
        Self {
            name: name.strip_suffix("/_definst_").unwrap_or(name),
            param,
            vhost: param.and_then(find_vhost).or(in_name),
        }
    }
}

/// What SRS 3.0 reads as `?`; longer ones first.
const SEPARATORS: [&str; 6] = ["...", "&&", "&", "=", ",", "?"];

/// The value behind a `vhost` that stands between two separators.
fn find_vhost(text: &str) -> Option<&str> {
    text.match_indices("vhost").find_map(|(at, word)| {
        let (before, behind) = (&text[..at], &text[at + word.len()..]);
        SEPARATORS.iter().find(|separator| before.ends_with(**separator))?;
        let value = SEPARATORS.iter().find_map(|separator| behind.strip_prefix(separator))?;
        let value = until_separator(value);
        let value = value.split('/').next().unwrap_or(value);
        (!value.is_empty()).then_some(value)
    })
}

fn until_separator(text: &str) -> &str {
    let end = SEPARATORS.iter().filter_map(|separator| text.find(separator)).min();
    &text[..end.unwrap_or(text.len())]
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Error> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority[bracket..].find(':').map(|at| bracket + at),
        None => authority.find(':'),
    };
    let Some(colon) = colon else { return Ok((authority, None)) };
    match authority[colon + 1..].parse() {
        Ok(port) if port > 0 => Ok((&authority[..colon], Some(port))),
        _ => Err(Error::Url { part: "tcUrl", problem: "no usable port" }),
    }
}

/// App and stream names have neither blanks nor slashes around them.
fn clean(name: &str) -> String {
    without(name, &[' ', '\r', '\n', '\t']).trim_matches('/').to_owned()
}

fn without(text: &str, chars: &[char]) -> String {
    text.chars().filter(|char| !chars.contains(char)).collect()
}

fn refuse(bad: bool, part: &'static str, problem: &'static str) -> Result<(), Error> {
    if bad { Err(Error::Url { part, problem }) } else { Ok(()) }
}
