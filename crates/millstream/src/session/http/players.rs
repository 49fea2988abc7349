//! The player page, `/players/`: part of the program, so that there is something to look at a stream with.
//!
//! The files are the page's own and the libraries it plays with, as their authors publish them
//! (assets/players/NOTICE.txt). The page asks nobody but this server and the one whose stream it plays.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::reply::{self, Reply};

/// Scripts and styles come from here alone; streams may come from any server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self' http: https:; media-src 'self' blob: http: https:; worker-src 'self' blob:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const fn asset(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Asset {
    Asset { name, content_type, bytes }
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The name of SRS's own page is one of ours.
#[rustfmt::skip] // one file, one line
static ASSETS: &[Asset] = &[
    asset("", HTML, include_bytes!("../../../assets/players/index.html")),
    asset("index.html", HTML, include_bytes!("../../../assets/players/index.html")),
    asset("srs_player.html", HTML, include_bytes!("../../../assets/players/index.html")),
    asset("player.css", "text/css; charset=utf-8", include_bytes!("../../../assets/players/player.css")),
    asset("player.js", SCRIPT, include_bytes!("../../../assets/players/player.js")),
    asset("mpegts.js", SCRIPT, include_bytes!("../../../assets/players/mpegts.js")),
    asset("hls.light.min.js", SCRIPT, include_bytes!("../../../assets/players/hls.light.min.js")),
    asset("dash.mediaplayer.min.js", SCRIPT, include_bytes!("../../../assets/players/dash.mediaplayer.min.js")),
    asset("NOTICE.txt", "text/plain; charset=utf-8", include_bytes!("../../../assets/players/NOTICE.txt")),
];

/// The answer, if the path is one of the page's.
pub(super) fn answer<B>(request: &Request<B>) -> Option<Response<Reply>> {
    let path = request.uri().path();
    if path == "/players" {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        return Some(reply::redirect(&format!("/players/{query}")));
    }
    let name = path.strip_prefix("/players/")?;
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(reply::not_allowed("GET, HEAD, OPTIONS"));
    }
    // One build, one content.
    let etag =
        format!("\"{}-{}-{}\"", env!("CARGO_PKG_VERSION"), env!("MILLSTREAM_BUILT"), asset.bytes.len());
    let known =
        request.headers().get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == etag.as_bytes());
    let mut response = if known {
        let mut response = Response::new(Reply::default());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        reply::text(StatusCode::OK, asset.content_type, asset.bytes)
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| drop(headers.insert(name, HeaderValue::from_static(value)));
    set(header::CACHE_CONTROL, "no-cache");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::REFERRER_POLICY, "same-origin");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(path: &str) -> Option<u16> {
        answer(&Request::get(path).body(()).unwrap()).map(|response| response.status().as_u16())
    }

    #[test]
    fn its_files_and_no_others() {
        assert_eq!(status("/players"), Some(302));
        for path in ["/players/", "/players/srs_player.html?stream=x", "/players/mpegts.js"] {
            assert_eq!(status(path), Some(200), "{path}");
        }
        for path in ["/", "/players/x", "/players/../index.html", "/playersx", "/players//"] {
            assert_eq!(status(path), None, "{path}");
        }
    }

    /// What is not in the page's own folder would be asked of strangers, which its policy forbids.
    #[test]
    fn the_page_needs_nothing_else() {
        let text = |name| {
            let asset = ASSETS.iter().find(|asset| asset.name == name).unwrap();
            std::str::from_utf8(asset.bytes).unwrap()
        };
        for name in ["", "player.css", "player.js"] {
            assert!(!text(name).contains("://") || name == "player.js", "{name} names another host");
        }
        let page = text("");
        let sources = ["src=\"", "href=\""].into_iter().flat_map(|attribute| page.split(attribute).skip(1));
        let sources: Vec<&str> = sources.filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(sources.len(), 4);
        for source in sources {
            assert!(source == "data:," || ASSETS.iter().any(|asset| asset.name == source), "{source}");
        }
        for library in ["mpegts.js", "hls.light.min.js", "dash.mediaplayer.min.js"] {
            assert!(text("player.js").contains(&format!("'{library}'")), "{library}");
            assert!(text("NOTICE.txt").contains(library), "{library} has no notice");
        }
    }
}
