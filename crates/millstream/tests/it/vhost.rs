//! Which vhost a client means, and how it hears that there is none.

use crate::harness::client::{Player, Publisher, Refused};
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Receive, Viewer, avc, avc_header, serial};
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
        ("live&vhost=a.com", "s"),
        ("live?vhost=a.com/_definst_", "s"),
        ("live/_definst_?vhost=a.com", "s"),
        ("live", "s?vhost=a.com"),
        ("live", "s...vhost...a.com"),
        ("live", "s,vhost,a.com"),
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

/// Host and query of a client, and the vhost it comes to; `None` for a refusal.
type Way = (&'static str, &'static str, Option<u32>);

const DEFAULT: u32 = 1;
const NAMED: u32 = 2;
const ADDRESS: u32 = 3;

#[rustfmt::skip]
const WAYS: &[Way] = &[
    ("a.com", "", Some(NAMED)),
    ("nobody.com", "", Some(DEFAULT)),
    ("A.com", "", Some(DEFAULT)),
    ("sub.a.com", "", Some(DEFAULT)),
    // An address is a name like any other.
    ("10.0.0.1", "", Some(ADDRESS)),
    ("10.0.0.2", "", Some(DEFAULT)),
    ("[::1]", "", Some(DEFAULT)),
    // The parameter comes before the host, wherever it stands among others.
    ("nobody.com", "?vhost=a.com", Some(NAMED)),
    ("10.0.0.1", "?k=v&vhost=a.com", Some(NAMED)),
    ("a.com", "?vhost=10.0.0.1&k=v", Some(ADDRESS)),
    ("a.com", "?vhost=nobody.com", Some(DEFAULT)),
    ("a.com", "?vhost=__defaultVhost__", Some(DEFAULT)),
    ("a.com", "?xvhost=10.0.0.1", Some(NAMED)),
    // What is switched off is not replaced by the default.
    ("off.com", "", None),
    ("a.com", "?vhost=off.com", None),
    ("off.com", "?vhost=a.com", Some(NAMED)),
];

#[test]
fn rtmp_and_http_go_by_the_same_rules() {
    let server = Server::start(&Conf::default().vhosts(&format!(
        "vhost a.com {{ {REMUX} }} vhost 10.0.0.1 {{ {REMUX} }} vhost off.com {{ enabled off; {REMUX} }}"
    )));
    let _streams = [("live", DEFAULT), ("live?vhost=a.com", NAMED), ("live?vhost=10.0.0.1", ADDRESS)]
        .map(|(app, number)| publish(&server, app, "s", number));
    let seen = |viewer: Option<&mut dyn Receive>| viewer.map(|viewer| serial(&viewer.frame()));
    for (host, query, expected) in WAYS {
        let tc_url = format!("rtmp://{host}:{}/live{query}", server.ports().rtmp);
        let app = format!("live{query}");
        let mut player = Player::ask_at(&server, &tc_url, &app, "s").ok();
        assert_eq!(seen(player.as_mut().map(|p| p as _)), *expected, "RTMP, in the app: {host} {query}");
        let tc_url = format!("rtmp://{host}:{}/live", server.ports().rtmp);
        let mut player = Player::ask_at(&server, &tc_url, "live", &format!("s{query}")).ok();
        assert_eq!(seen(player.as_mut().map(|p| p as _)), *expected, "RTMP, in the stream: {host} {query}");
        // The name is taken where it leads to, and nowhere else.
        let taken = Publisher::ask_at(&server, &tc_url, "live", &format!("s{query}")).is_err();
        assert!(taken, "publish: {host} {query}");

        let request = format!("GET /live/s.flv{query} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let body = Http::request(server.http_addr(), &request);
        let mut viewer = (body.head.status == 200).then(|| FlvViewer::new(body));
        assert_eq!(seen(viewer.as_mut().map(|v| v as _)), *expected, "HTTP: {host} {query}");
    }
}

#[test]
fn a_default_vhost_that_is_off_serves_nobody() {
    let server = Server::start(&Conf::vhost("enabled off;").vhosts(&format!("vhost a.com {{ {REMUX} }}")));
    let _named = publish(&server, "live?vhost=a.com", "s", NAMED);
    assert_told(Player::ask(&server, "live/s").err(), "NetStream.Play.");
    assert_eq!(Http::get(server.http_addr(), "/live/s.flv").head.status, 404);
    FlvViewer::open(&server, "/live/s.flv?vhost=a.com").frame();
}
