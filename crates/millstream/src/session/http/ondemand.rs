//! Playlists of an edge: asking for one gets the stream.
//!
//! Whoever asks for a playlist or manifest that is not there waits for it, as the stream comes from the origin and its
//! first segment is cut; whoever fetches one keeps the stream. The vhost's rules for pages and addresses are asked
//! before anything is got; callbacks hear of a viewer when its session begins. Bounded: [`WAIT`], and the streams that
//! are kept (`relay/edge/keep.rs`).

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, Request};
use mill_config::model::{Snapshot, Vhost};
use tokio::time::{Instant, sleep};

use super::{Connection, mount, viewing};
use crate::clients::Kind;
use crate::output::shelf::{Item, url_of};
use crate::relay::edge::Supply;
use crate::relay::via::Via;
use crate::session::access;
use crate::session::admit;

/// The first segment of SRS's default length, from a keyframe on, and the way to the origin. Players wait about as long.
const WAIT: Duration = Duration::from_secs(20);

/// Between two looks.
const STEP: Duration = Duration::from_millis(100);

/// Waits for a playlist that is not there yet; `None` if it is none, or does not come.
pub(super) async fn fetch<B>(
    connection: &Connection,
    config: &Snapshot,
    request: &Request<B>,
    vhost: &Vhost,
    path: &str,
) -> Option<Arc<Item>> {
    let supply = keep(connection, config, request, vhost)?;
    let until = Instant::now() + WAIT;
    let mut lost = std::pin::pin!(supply.lost());
    while Instant::now() < until {
        if let Some(item) = connection.ctx.shelf.find(&vhost.name, path) {
            return Some(item);
        }
        tokio::select! {
            () = sleep(STEP) => {}
            () = &mut lost => return None,
        }
    }
    None
}

/// Keeps the stream whose playlist is asked for, if the vhost is an edge.
pub(super) fn keep<B>(
    connection: &Connection,
    config: &Snapshot,
    request: &Request<B>,
    vhost: &Vhost,
) -> Option<Supply> {
    if !vhost.enabled || !vhost.cluster.is_edge() || request.method() != Method::GET {
        return None;
    }
    let (app, name) = playlist(config, vhost, request.uri().path())?;
    let param = viewing::without_ids(request.uri().query().unwrap_or(""));
    let param = if param.is_empty() { String::new() } else { format!("?{param}") };
    let (kind, via) = (Kind::HlsPlay, Via::default());
    let host = mount::requested_host(request).unwrap_or_default();
    let asked = admit::Request { kind, vhost: host, app, name, param, via, args: None };
    let peer = connection.describe(&asked, request);
    access::from_any_page(&vhost.refer, &peer.page_url).ok()?;
    access::from_address(&vhost.security, false, peer.ip).ok()?;
    access::from_page(&vhost.refer, false, &peer.page_url).ok()?;
    let stream =
        mill_hub::StreamId { vhost: vhost.name.clone(), app: asked.app.clone(), name: asked.name.clone() };
    connection.ctx.edge.keep(vhost, &stream, &peer, &asked)
}

/// App and stream of the playlist or manifest at `path`.
fn playlist(config: &Snapshot, vhost: &Vhost, path: &str) -> Option<(String, String)> {
    let (hls, dash, hds) = (&vhost.hls, &vhost.dash, &vhost.hds);
    let kinds = [
        (hls.enabled, &hls.path, hls.m3u8_file.as_str()),
        (dash.enabled, &dash.path, &dash.mpd_file),
        (hds.enabled, &hds.path, "[app]/[stream].f4m"),
        (hds.enabled, &hds.path, "[app]/[stream].abst"),
    ];
    kinds.into_iter().filter(|(enabled, ..)| *enabled).find_map(|(_, directory, file)| {
        let url = url_of(config, &vhost.name, directory);
        let template = format!("{url}{file}").replace("[vhost]", &vhost.name);
        mount::matched(&template, path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_playlists() {
        let text = "listen 1; http_server { dir ./html; }
            vhost a { hls { enabled on; hls_path ./html/x; hls_m3u8_file [vhost]/[app]/[stream].m3u8; } dash { enabled on; dash_path ./html; } }
            vhost b { hds { enabled on; hds_path ./html; } }";
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let config = mill_config::load(Some(("t", text.as_bytes())), [], &mut no_files).unwrap().snapshot;
        let at = |vhost: usize, path: &str| playlist(&config, &config.vhosts[vhost], path);
        let found = |app: &str, name: &str| Some((app.to_owned(), name.to_owned()));
        assert_eq!(at(0, "/x/a/live/s.m3u8"), found("live", "s"));
        assert_eq!(at(0, "/live/s.mpd"), found("live", "s"));
        for wrong in ["/live/s.m3u8", "/x/b/live/s.m3u8", "/x/a/live/s-1.ts", "/s.mpd", "/live/../s.mpd"] {
            assert_eq!(at(0, wrong), None, "{wrong}");
        }
        assert_eq!(at(1, "/live/s.mpd"), None);
        assert_eq!((at(1, "/live/s.f4m"), at(1, "/live/s.abst")), (found("live", "s"), found("live", "s")));
    }
}
