//! Which stream a URL means: the mount templates of `http_remux`.
//!
//! A template is a path with `[app]` and `[stream]` in it, with `[vhost]` or a host in front; its ending
//! names the format. A request matches if it has as many levels as the template and each level fits. The
//! vhost comes from the query (`vhost`, then `domain`), else from the Host header, as in SRS.

use hyper::Request;
use hyper::header::HOST;
use mill_config::model::{DEFAULT_VHOST, Snapshot};

use super::live::Format;
use crate::clients::Kind;
use crate::relay::via::Via;
use crate::session::admit;

/// Longest path that is looked at: a vhost, app and stream of a file name's length each.
const MAX_PATH: usize = 1024;

/// What a request asks to play, if its vhost offers live streams at that path, and in what format.
pub(super) fn find<B>(config: &Snapshot, request: &Request<B>) -> Option<(admit::Request, Format)> {
    let uri = request.uri();
    let host = requested_host(request)?;
    let vhost = config.vhost(&host)?;
    let remux = &vhost.http_remux;
    if !remux.enabled || uri.path().len() > MAX_PATH {
        return None;
    }
    let format = Format::of(&remux.mount)?;
    let template = path_template(&remux.mount, &vhost.name, &host)?;
    let (app, name) = matched(template, uri.path())?;
    let param = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let (kind, via) = (Kind::HttpPlay, Via::default());
    Some((admit::Request { kind, vhost: host, app, name, param, via, args: None }, format))
}

/// The vhost a request asks for: by its query, else by its host.
pub(super) fn requested_host<B>(request: &Request<B>) -> Option<String> {
    if let Some(host) = parameter(request, "vhost").or_else(|| parameter(request, "domain")) {
        return decode(host);
    }
    if let Some(host) = request.uri().host() {
        return Some(host.to_owned());
    }
    let Some(host) = request.headers().get(HOST) else { return Some(String::new()) };
    let host = host.to_str().ok()?;
    // Without the port; an IPv6 address keeps its brackets.
    let end = host.rfind(':').filter(|&at| !host[at..].contains(']')).unwrap_or(host.len());
    Some(host[..end].to_owned())
}

/// A parameter of the query, as it stands there.
pub(super) fn parameter<'r, B>(request: &'r Request<B>, name: &str) -> Option<&'r str> {
    let mut pairs = request.uri().query().unwrap_or("").split('&');
    pairs.find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name).map(|(_, value)| value))
}

/// The template without its host, if it is for that host.
fn path_template<'a>(mount: &'a str, vhost: &str, host: &str) -> Option<&'a str> {
    if mount.starts_with('/') {
        return Some(mount);
    }
    let (front, _) = mount.split_once('/')?;
    let fits = matches!(front, "[vhost]" | DEFAULT_VHOST) || front == vhost || front == host;
    fits.then(|| &mount[front.len()..])
}

/// App and stream name, if `path` fits `template`.
pub(super) fn matched(template: &str, path: &str) -> Option<(String, String)> {
    let (mut app, mut name) = (String::new(), String::new());
    let mut levels = path.split('/');
    for pattern in template.split('/') {
        fit(pattern, &decode(levels.next()?)?, &mut app, &mut name)?;
    }
    if levels.next().is_some() || name.is_empty() {
        return None;
    }
    Some((app, name))
}

/// Fits one level of a path to one level of a template, which has at most one variable per level.
fn fit(pattern: &str, level: &str, app: &mut String, name: &mut String) -> Option<()> {
    if level == "." || level == ".." {
        return None;
    }
    for (variable, value) in [("[app]", app), ("[stream]", name)] {
        if let Some((before, behind)) = pattern.split_once(variable) {
            let found = level.strip_prefix(before)?.strip_suffix(behind)?;
            if found.is_empty() {
                return None;
            }
            *value = found.to_owned();
            return Some(());
        }
    }
    (pattern == level).then_some(())
}

/// Undoes percent-encoding. `None` for what cannot be part of a name.
fn decode(text: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
    let unfit = |c: char| c.is_control() || c == '/';
    (!decoded.chars().any(unfit)).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(mount: &str) -> Snapshot {
        let remux = format!("http_remux {{ enabled on; mount {mount}; }}");
        let text = format!(
            "listen 1935; vhost __defaultVhost__ {{ {remux} }} vhost a.com {{ {remux} }} vhost b.com {{ }}"
        );
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot
    }

    fn find_at(mount: &str, host: &str, target: &str) -> Option<String> {
        let request = Request::get(target).header(HOST, host).body(()).unwrap();
        let config = config(mount);
        let (asked, _) = find(&config, &request)?;
        let vhost = &config.vhost(&asked.vhost).unwrap().name;
        Some(format!("{vhost}/{}/{}", asked.app, asked.name))
    }

    const DEFAULT: &str = "[vhost]/[app]/[stream].flv";

    #[test]
    fn the_default_template() {
        let at = |target| find_at(DEFAULT, "127.0.0.1:8080", target);
        assert_eq!(at("/live/s.flv").unwrap(), "__defaultVhost__/live/s");
        assert_eq!(at("/live/s.flv?token=1").unwrap(), "__defaultVhost__/live/s");
        for wrong in ["/live/show/s.flv", "/s.flv", "/live/s.ts", "/live/s", "/live/.flv", "//s.flv", "/"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_vhost_comes_from_the_query_or_the_host() {
        assert_eq!(find_at(DEFAULT, "a.com:8080", "/live/s.flv").unwrap(), "a.com/live/s");
        assert_eq!(find_at(DEFAULT, "x", "/live/s.flv?vhost=a.com").unwrap(), "a.com/live/s");
        assert_eq!(find_at(DEFAULT, "x", "/live/s.flv?domain=a.com").unwrap(), "a.com/live/s");
        assert_eq!(find_at(DEFAULT, "[::1]:8080", "/live/s.flv").unwrap(), "__defaultVhost__/live/s");
        assert_eq!(find_at(DEFAULT, "b.com", "/live/s.flv"), None, "that vhost offers nothing over HTTP");
    }

    #[test]
    fn other_templates() {
        assert_eq!(find_at("/hdl/[app]-[stream].flv", "x", "/hdl/live.flv"), None);
        assert_eq!(
            find_at("/hdl/[app]/x-[stream].flv", "x", "/hdl/live/x-s.flv").unwrap(),
            "__defaultVhost__/live/s"
        );
        assert_eq!(find_at("a.com/[app]/[stream].flv", "a.com", "/live/s.flv").unwrap(), "a.com/live/s");
        assert_eq!(find_at("other.com/[app]/[stream].flv", "a.com", "/live/s.flv"), None);
    }

    #[test]
    fn the_ending_of_the_template_is_the_format() {
        for (ending, format) in
            [("flv", Format::Flv), ("ts", Format::Ts), ("aac", Format::Aac), ("mp3", Format::Mp3)]
        {
            let config = config(&format!("[vhost]/[app]/[stream].{ending}"));
            let at = |path: &str| {
                let request = Request::get(path).header(HOST, "x").body(()).unwrap();
                find(&config, &request).map(|(_, format)| format)
            };
            assert_eq!(at(&format!("/live/s.{ending}")), Some(format));
            assert_eq!(at("/live/s.mp4"), None);
        }
        assert_eq!(find_at("[vhost]/[app]/[stream].mkv", "x", "/live/s.mkv"), None, "no format of ours");
        assert_eq!(find_at("[vhost]/[app]/[stream].ts", "x", "/live/s.flv"), None, "one format to a vhost");
    }

    #[test]
    fn names_cannot_leave_their_level() {
        let at = |target| find_at(DEFAULT, "x", target);
        assert_eq!(at("/live/%e4%bd%a0.flv").unwrap(), "__defaultVhost__/live/你");
        for wrong in ["/../s.flv", "/%2e%2e/s.flv", "/live/a%2fb.flv", "/live/a%00b.flv", "/live/%ff.flv"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
