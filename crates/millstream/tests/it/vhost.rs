//! Which vhost a client means, and how it hears that there is none.

use crate::harness::client::{Player, Publisher, Refused};
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Viewer, avc, avc_header, serial};
use crate::harness::server::{Conf, Server};

const REMUX: &str = "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }";

fn three_vhosts() -> Server {
    Server::start(
        &Conf::default()
            .vhosts(&format!("vhost a.com {{ {REMUX} }} vhost off.com {{ enabled off; {REMUX} }}")),
    )
}

/// Neither default vhost nor one for 127.0.0.1.
fn strict() -> Server {
    Server::start(&Conf::default().without_default_vhost().vhosts(&format!("vhost a.com {{ {REMUX} }}")))
}

fn publish(server: &Server, app: &str, stream: &str, number: u32) -> Publisher {
    let mut publisher = Publisher::ask_at(server, &server.rtmp(app), app, stream)
        .unwrap_or_else(|refused| panic!("{app} / {stream}: {refused:?}"));
    publisher.send(9, 0, &avc_header());
    publisher.send(9, 0, &avc(true, number, 100));
    publisher
}

/// Told why, in a code of the right kind, and closed.
#[track_caller]
fn assert_told(refused: Option<Refused>, kind: &str) {
    let refused = refused.expect("refused");
    assert!(refused.closed, "{refused:?}");
    let known = refused.code.starts_with(kind) || refused.code.starts_with("NetConnection.Connect.");
    assert!(known, "{refused:?}");
}

#[test]
fn every_way_to_name_a_vhost_leads_to_it() {
    let server = three_vhosts();
    // The same app and stream on two vhosts are two streams.
    let _default = publish(&server, "live", "s", 1);
    let _named = publish(&server, "live?vhost=a.com", "s", 2);
    for (app, stream) in [
        ("live?vhost=a.com", "s"),
        ("live...vhost...a.com", "s"),
        ("live,vhost,a.com", "s"),
        ("live", "s?vhost=a.com"),
        ("live", "s?k=v&vhost=a.com&z=1"),
        ("live?vhost=off.com", "s?vhost=a.com"),
    ] {
        let player = Player::ask_at(&server, &server.rtmp(app), app, stream);
        let mut player = player.unwrap_or_else(|refused| panic!("{app} / {stream}: {refused:?}"));
        assert_eq!(serial(&player.frame()), 2, "{app} / {stream}");
    }
    let by_host = format!("rtmp://a.com:{}/live", server.ports().rtmp);
    let mut player = Player::ask_at(&server, &by_host, "live", "s").unwrap();
    assert_eq!(serial(&player.frame()), 2, "{by_host}");
    // Names that are nobody's fall back to the default vhost.
    for app in ["live", "live?vhost=zzz.com", "live?vhost=A.COM", "live/_definst_"] {
        let mut player = Player::ask_at(&server, &server.rtmp(app), app, "s").unwrap();
        assert_eq!(serial(&player.frame()), 1, "{app}");
    }
}

#[test]
fn http_viewers_name_a_vhost_by_host_or_query() {
    let server = three_vhosts();
    let _default = publish(&server, "live", "s", 1);
    let _named = publish(&server, "live?vhost=a.com", "s", 2);
    for (host, path, number) in [
        ("127.0.0.1", "/live/s.flv", 1),
        ("unknown.com", "/live/s.flv", 1),
        ("a.com", "/live/s.flv", 2),
        ("a.com:8080", "/live/s.flv", 2),
        ("127.0.0.1", "/live/s.flv?vhost=a.com", 2),
        ("127.0.0.1", "/live/s.flv?k=v&domain=a.com", 2),
    ] {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut viewer = FlvViewer::new(Http::request(server.http_addr(), &text));
        assert_eq!(serial(&viewer.frame()), number, "{host} {path}");
    }
}

#[test]
fn a_disabled_vhost_refuses_and_says_so() {
    let server = three_vhosts();
    let app = "live?vhost=off.com";
    let tc_url = server.rtmp(app);
    assert_told(Publisher::ask_at(&server, &tc_url, app, "s").err(), "NetStream.Publish.");
    assert_told(Player::ask_at(&server, &tc_url, app, "s").err(), "NetStream.Play.");
    let answer = Http::request(server.http_addr(), "GET /live/s.flv HTTP/1.1\r\nHost: off.com\r\n\r\n");
    assert!((400..500).contains(&answer.head.status), "{:?}", answer.head);
}

#[test]
fn an_unknown_vhost_is_refused_and_told_so_when_there_is_no_default() {
    let server = strict();
    assert_told(Publisher::ask(&server, "live/s").err(), "NetStream.Publish.");
    assert_told(Player::ask(&server, "live/s").err(), "NetStream.Play.");
    let answer = Http::get(server.http_addr(), "/live/s.flv");
    assert!((400..500).contains(&answer.head.status), "{:?}", answer.head);

    let _publisher = publish(&server, "live?vhost=a.com", "s", 3);
    let mut player = Player::ask_at(&server, &server.rtmp("live?vhost=a.com"), "live", "s").unwrap();
    assert_eq!(serial(&player.frame()), 3);
}
