//! Callbacks: what the operator's server is told, when, in which order, and what its answers do.

use crate::harness::backend::{Answer, Backend, Call};
use crate::harness::client::{Guest, Player, Publisher};
use crate::harness::http::{Http, Raw};
use crate::harness::media::{FlvViewer, Viewer, avc, avc_header};
use crate::harness::server::{Conf, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn server(backend: &Backend) -> Server {
    server_with(backend, "")
}

fn server_with(backend: &Backend, more: &str) -> Server {
    Server::start(&Conf::vhost(&backend.hooks(more)))
}

/// Keys in order, each with the type of its value; `client_id` and the rest are looked at by their values.
#[track_caller]
fn check(call: &Call, expected: &[(&str, Value)]) {
    let json = call.json();
    let keys: Vec<&str> = json.keys().map(String::as_str).collect();
    assert_eq!(keys, expected.iter().map(|(key, _)| *key).collect::<Vec<_>>(), "{}", call.body);
    for (key, value) in expected {
        match value {
            // Any number.
            Value::Null => assert!(json[*key].is_u64(), "{key} in {}", call.body),
            value => assert_eq!(&json[*key], value, "{key} in {}", call.body),
        }
    }
}

#[test]
fn requests_and_bodies_are_those_of_srs() {
    let backend = Backend::start();
    let server = server(&backend);
    let tc_url = server.rtmp("live");
    let id = Value::Null;
    let s = |text: &str| Value::from(text);
    let who = |action: &str| {
        vec![
            ("action", s(action)),
            ("client_id", id.clone()),
            ("ip", s("127.0.0.1")),
            ("vhost", s("__defaultVhost__")),
            ("app", s("live")),
        ]
    };
    let with = |action: &str, more: &[(&'static str, Value)]| [who(action), more.to_vec()].concat();

    let mut publisher = Publisher::ask_at(&server, &tc_url, "live", "livestream?token=abc").unwrap();
    publisher.send(9, 0, &avc(true, 0, 3000));
    drop(publisher);
    let calls = backend.expect(&["on_connect", "on_publish", "on_unpublish", "on_close"]);
    let stream = [("stream", s("livestream")), ("param", s("?token=abc"))];
    check(&calls[0], &with("on_connect", &[("tcUrl", s(&tc_url)), ("pageUrl", s(""))]));
    check(&calls[1], &with("on_publish", &[&[("tcUrl", s(&tc_url))][..], &stream].concat()));
    check(&calls[2], &with("on_unpublish", &stream));
    check(&calls[3], &with("on_close", &[("send_bytes", id.clone()), ("recv_bytes", id.clone())]));
    // All of one client, of the connection's whole length, handshake included.
    assert!(calls.iter().all(|call| call.field("client_id") == calls[0].field("client_id")));
    let bytes = |key: &str| calls[3].json()[key].as_u64().unwrap();
    assert!((3073..10_000).contains(&bytes("send_bytes")) && (6073..20_000).contains(&bytes("recv_bytes")));
    for (call, path) in calls.iter().zip(["/connect", "/publish", "/unpublish", "/close"]) {
        assert_eq!((&*call.method, &*call.path), ("POST", path));
        assert_eq!(call.header("content-type"), "application/json");
        assert_eq!(call.header("content-length"), call.body.len().to_string());
        assert!(call.header("user-agent").starts_with("Millstream/"));
        assert!(call.header("host").starts_with("127.0.0.1:"));
    }
    let mut ids: Vec<&str> = calls.iter().map(Call::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == 4 && !ids.contains(&""), "{ids:?}");

    backend.forget();
    drop(Guest::from_page(&server, "live/a", "http://page/x").play("s"));
    let calls = backend.expect(&["on_connect", "on_play", "on_stop", "on_close"]);
    assert_eq!((calls[0].field("app"), calls[0].field("pageUrl")), ("live/a".into(), "http://page/x".into()));
    let keys: Vec<String> = calls[1].json().keys().cloned().collect();
    assert_eq!(keys, ["action", "client_id", "ip", "vhost", "app", "stream", "param", "pageUrl"]);
    let keys: Vec<String> = calls[2].json().keys().cloned().collect();
    assert_eq!(keys, ["action", "client_id", "ip", "vhost", "app", "stream", "param"]);
    assert_eq!(calls[1].field("param"), "");

    backend.forget();
    let viewer = Http::request(
        server.http_addr(),
        "GET /live/s.flv?k=v HTTP/1.1\r\nHost: h\r\nReferer: http://page/y\r\n\r\n",
    );
    drop(viewer);
    let calls = backend.expect(&["on_play", "on_stop"]);
    assert_eq!((calls[0].field("param"), calls[0].field("pageUrl")), ("?k=v".into(), "http://page/y".into()));
}

#[test]
fn sequences_of_events() {
    let backend = Backend::start();
    let server = server(&backend);

    drop(Guest::start(&server, "live"));
    let calls = backend.expect(&["on_close"]);
    assert_eq!(
        calls[0].field("vhost"),
        "__defaultVhost__",
        "the vhost that serves it, not the host it named"
    );
    backend.forget();

    // Publishing, playing and publishing again on one connection asks again.
    let mut publisher = Publisher::start(&server, "live/a");
    publisher.unpublish();
    publisher.publish_again("b");
    drop(publisher);
    let round = ["on_connect", "on_publish", "on_unpublish"];
    let calls = backend.expect(&[&round[..], &round, &["on_close"]].concat());
    assert_eq!((calls[1].field("stream"), calls[4].field("stream")), ("a".into(), "b".into()));
    backend.forget();

    // A name that is taken: asked, but never on air, so it never ends.
    let first = Publisher::start(&server, "live/busy");
    backend.wait_for(2);
    assert_eq!(Publisher::ask(&server, "live/busy").err().unwrap().code, "NetStream.Publish.BadName");
    backend.expect(&["on_connect", "on_publish", "on_connect", "on_publish", "on_close"]);
    drop(first);
    backend.wait_for(7);
    backend.forget();

    // Only a handshake.
    let mut raw = Raw::connect(server.rtmp_addr());
    raw.send(&[3; 1537]);
    drop(raw);

    // The no of each opening event.
    for (no, events) in [
        ("on_connect", &["on_connect", "on_close"][..]),
        ("on_publish", &["on_connect", "on_publish", "on_close"]),
    ] {
        backend.answers(move |call| if call.action() == no { Answer::no() } else { Answer::yes() });
        let refused = Publisher::ask(&server, "live/s").err().unwrap();
        assert_eq!((&*refused.code, refused.closed), ("NetStream.Publish.Denied", true));
        backend.expect(events);
        backend.forget();
    }
    for (no, events) in
        [("on_connect", &["on_connect", "on_close"][..]), ("on_play", &["on_connect", "on_play", "on_close"])]
    {
        backend.answers(move |call| if call.action() == no { Answer::no() } else { Answer::yes() });
        let refused = Player::ask(&server, "live/s").err().unwrap();
        assert_eq!((&*refused.code, refused.closed), ("NetStream.Play.Failed", true));
        backend.expect(events);
        backend.forget();
    }
    let mut refused = Http::get(server.http_addr(), "/live/s.flv");
    assert_eq!((refused.head.status, &*refused.read_to_end(SOON)), (403, &b"refused\n"[..]));
    backend.expect(&["on_play"]);
    backend.forget();

    // A no to the end of something is heard, and nothing more.
    backend.answers(|call| match &*call.action() {
        "on_unpublish" | "on_stop" | "on_close" => Answer::Say(404, "?".into()),
        _ => Answer::yes(),
    });
    drop(Publisher::start(&server, "live/s"));
    backend.expect(&["on_connect", "on_publish", "on_unpublish", "on_close"]);
    backend.forget();

    // Unpublished by silence and by a stream that has come to its end, not by hanging up.
    backend.answers(|_| Answer::yes());
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    publisher.send(9, 0, &avc(true, 0, 100));
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.until_serial(0);
    publisher.unpublish();
    viewer.rest();
    drop(publisher);
    let calls = backend.wait_for(6);
    let mut actions: Vec<String> = calls.iter().map(Call::action).collect();
    actions.sort();
    assert_eq!(actions, ["on_close", "on_connect", "on_play", "on_publish", "on_stop", "on_unpublish"]);
}

#[test]
fn answers_that_mean_yes_and_no() {
    let backend = Backend::start();
    let server = server(&backend);
    for (status, body, code) in [
        (200, "0", 0),
        (201, "0", 0),
        (200, "{\"code\":0}", 0),
        (200, "{\"code\":0,\"data\":{\"x\":1}}\n", 0),
        (200, " 0\r\n", 0),
        (200, "{\"code\":\"0\"}", 3064),
        (200, "{\"code\":0.0}", 3064),
        (200, "{}", 3064),
        (200, "{\"code\":1}", 3064),
        (200, "", 3008),
        (200, "ok", 3008),
        (200, "1", 3008),
        (200, "[0]", 3008),
        (200, "null", 3008),
        (200, "true", 3008),
        (200, "\"0\"", 3008),
        (204, "", 4005),
        (302, "0", 4005),
        (404, "0", 4005),
        (500, "{\"code\":0}", 4005),
    ] {
        let before = server.log().len();
        backend.answers(move |call| match &*call.action() {
            "on_publish" => Answer::Say(status, body.into()),
            _ => Answer::yes(),
        });
        let asked = Publisher::ask(&server, "live/s");
        assert_eq!(asked.is_ok(), code == 0, "{status} {body:?}");
        if code != 0 {
            let line = format!("serve error code={code} : refused");
            wait_until(&line, SOON, || server.log()[before..].contains(&line));
        }
        drop(asked);
        // The next one publishes the same name.
        wait_until("it is over", SOON, || backend.actions().last().is_some_and(|last| last == "on_close"));
        backend.forget();
    }
    // Nothing in the answer is shown to anybody, and endless ones are not read to their end.
    backend.answers(|_| Answer::Say(200, "0".repeat(10 << 20)));
    assert!(Publisher::ask(&server, "live/s").is_err());
}

#[test]
fn several_urls_are_called_in_order_and_the_first_no_decides() {
    let backend = Backend::start();
    let [a, b, c] = ["a", "b?key=hidden", "c"].map(|path| backend.url(path));
    let conf = format!("http_hooks {{ enabled on; on_publish {a} {b} {c}; on_unpublish {a} {b}; }}");
    let server = Server::start(&Conf::vhost(&conf));
    let paths = || backend.calls().iter().map(|call| call.path.clone()).collect::<Vec<_>>();

    drop(Publisher::start(&server, "live/s"));
    let calls = backend.wait_for(5);
    assert_eq!(paths()[..3], ["/a", "/b?key=hidden", "/c"]);
    let mut ends = paths()[3..].to_vec();
    ends.sort();
    assert_eq!(ends, ["/a", "/b?key=hidden"]);
    // One event, whoever hears it; the next is another.
    assert!(calls[..3].iter().all(|call| call.id() == calls[0].id()));
    assert_eq!(calls[3].id(), calls[4].id());
    assert_ne!(calls[0].id(), calls[3].id());

    backend.forget();
    backend.answers(|call| if call.path.starts_with("/b") { Answer::no() } else { Answer::yes() });
    assert!(Publisher::ask(&server, "live/s").is_err());
    assert_eq!(paths(), ["/a", "/b?key=hidden"], "not the third, and no on_unpublish");
    wait_until("the log names the URL", SOON, || server.log().contains("/b?key=***"));
    assert!(!server.log().contains("hidden"));
}

#[test]
fn https_callbacks_check_the_certificate() {
    let backend = Backend::tls();
    let text = backend.hooks("");
    let start = |trusted: bool| {
        Server::start_with(|command, ports, dir| {
            let file = dir.join("srs.conf");
            std::fs::write(&file, Conf::vhost(&text).text(ports, dir)).unwrap();
            command.arg("-c").arg(file);
            if trusted {
                command.env("SSL_CERT_FILE", backend.certificate());
            }
        })
    };
    let server = start(true);
    drop(Publisher::start(&server, "live/s"));
    backend.expect(&["on_connect", "on_publish", "on_unpublish", "on_close"]);
    backend.forget();

    let server = start(false);
    assert!(Publisher::ask(&server, "live/s").is_err());
    assert!(backend.calls().is_empty());
}

#[test]
fn connections_are_kept_alive_and_a_broken_one_costs_nothing() {
    let backend = Backend::start();
    let server = server(&backend);
    drop(Publisher::start(&server, "live/s"));
    let calls = backend.expect(&["on_connect", "on_publish", "on_unpublish", "on_close"]);
    assert_eq!(calls[0].connection, calls[1].connection);
    // It closes a connection instead of answering, as servers do that close idle ones.
    let first = AtomicBool::new(true);
    backend.answers(move |call| match &*call.action() {
        "on_publish" if first.swap(false, Ordering::Relaxed) => Answer::Hang,
        _ => Answer::yes(),
    });
    backend.forget();
    drop(Publisher::start(&server, "live/s"));
    let calls = backend.expect(&["on_connect", "on_publish", "on_publish", "on_unpublish", "on_close"]);
    assert_eq!(calls[1].id(), calls[2].id(), "one event, told twice");
}

#[test]
fn a_server_that_is_not_there_refuses_at_once_and_a_silent_one_after_the_timeout() {
    let backend = Backend::start();
    let server = server_with(&backend, "timeout 0.5;");
    backend.go_away();
    let begun = Instant::now();
    assert_eq!(Publisher::ask(&server, "live/s").err().unwrap().code, "NetStream.Publish.Denied");
    assert_eq!(Http::get(server.http_addr(), "/live/s.flv").head.status, 403);
    assert!(begun.elapsed() < SOON / 2);
    wait_until("1018", SOON, || server.log().contains("serve error code=1018"));

    backend.come_back();
    backend.answers(|call| match &*call.action() {
        "on_publish" => Answer::Later(Duration::from_secs(5), 200, "0".into()),
        _ => Answer::yes(),
    });
    wait_until("the on_close of the first", SOON, || backend.actions() == ["on_close"]);
    backend.forget();
    let begun = Instant::now();
    assert_eq!(Publisher::ask(&server, "live/s").err().unwrap().code, "NetStream.Publish.Denied");
    assert!((Duration::from_millis(500)..Duration::from_secs(4)).contains(&begun.elapsed()));
    wait_until("1011", SOON, || server.log().contains("serve error code=1011"));
    // It may have said yes: it hears that there is nothing.
    backend.expect(&["on_connect", "on_publish", "on_unpublish", "on_close"]);
}

#[test]
fn a_slow_server_delays_only_whom_it_is_asked_about() {
    let backend = Backend::with(|call| match &*call.field("stream") {
        "slow" => Answer::Later(Duration::from_secs(4), 200, "0".into()),
        _ => Answer::yes(),
    });
    let url = backend.url("publish");
    let server = Server::start(
        &Conf::vhost(&format!("http_hooks {{ enabled on; on_publish {url}; }}"))
            .vhosts("vhost other.com { }"),
    );
    let mut early = Publisher::start(&server, "live/early");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| Publisher::ask(&server, "live/slow").is_ok());
        wait_until("it is asked", SOON, || backend.calls().iter().any(|call| call.field("stream") == "slow"));
        let begun = Instant::now();
        for n in 0..20 {
            drop(Publisher::start(&server, &format!("live/quick{n}")));
            drop(Publisher::ask_at(&server, &server.rtmp("live?vhost=other.com"), "live", "s").unwrap());
            early.send(9, n * 40, &avc(n == 0, n, 100));
        }
        let mut viewer = Player::start(&server, "live/early");
        viewer.until_serial(19);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert!(!slow.is_finished());
        assert!(slow.join().unwrap(), "it was let in after all");
    });
}

#[test]
fn a_publisher_that_leaves_while_the_server_thinks_is_noticed() {
    let backend = Backend::with(|call| match &*call.action() {
        "on_publish" => Answer::Later(Duration::from_secs(30), 200, "0".into()),
        _ => Answer::yes(),
    });
    let server = server(&backend);
    let mut publisher = Guest::start(&server, "live").ask_to_publish("s");
    backend.wait_for(2);
    // What it sends meanwhile does not hide that it leaves.
    publisher.send(9, 0, &avc(true, 0, 5000));
    drop(publisher);
    let calls = backend.expect(&["on_connect", "on_publish", "on_unpublish", "on_close"]);
    assert_eq!(calls[2].field("stream"), "s");
    backend.forget();

    backend.answers(|_| Answer::Later(Duration::from_secs(30), 200, "0".into()));
    let mut viewer = Raw::connect(server.http_addr());
    viewer.send(b"GET /live/s.flv HTTP/1.1\r\nHost: h\r\n\r\n");
    backend.wait_for(1);
    drop(viewer);
    backend.expect(&["on_play", "on_stop"]);
}

/// Openings and ends of each client in order, each end once; gives how many clients there were.
#[track_caller]
fn check_pairs(calls: &[Call]) -> usize {
    let mut by_client: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for call in calls {
        let client = by_client.entry(call.field("client_id")).or_default();
        // Told again only because the answer was lost: the same id.
        if !client.iter().any(|(_, id)| id == call.id()) {
            client.push((call.action(), call.id().to_owned()));
        }
    }
    for (client, events) in &by_client {
        let actions: Vec<&str> = events.iter().map(|(action, _)| action.as_str()).collect();
        let publishes = ["on_connect", "on_publish", "on_unpublish", "on_close"];
        let plays = ["on_connect", "on_play", "on_stop", "on_close"];
        let refused = ["on_close"];
        assert!([&publishes[..], &plays, &refused].contains(&&actions[..]), "client {client}: {actions:?}");
    }
    by_client.len()
}

#[test]
fn a_server_that_is_away_for_a_while_misses_nothing() {
    const STREAMS: usize = 10;
    const VIEWERS: usize = 20;
    let backend = Backend::start();
    let bystander = Backend::start();
    let other = format!("vhost other.com {{ {} }}", bystander.hooks(""));
    let server = Server::start(&Conf::vhost(&backend.hooks("")).vhosts(&other));

    let mut publishers: Vec<Publisher> =
        (0..STREAMS).map(|n| Publisher::start(&server, &format!("live/s{n}"))).collect();
    let viewers: Vec<Player> =
        (0..VIEWERS * STREAMS).map(|n| Player::start(&server, &format!("live/s{}", n % STREAMS))).collect();
    let here = 2 * STREAMS + 2 * viewers.len();
    backend.wait_for(here);
    backend.go_away();

    // Everybody leaves, and others come in vain.
    drop(viewers);
    for publisher in publishers.drain(..) {
        drop(publisher);
    }
    const IN_VAIN: usize = 500;
    for n in 0..IN_VAIN {
        assert!(Publisher::ask(&server, &format!("live/s{}", n % STREAMS)).is_err());
    }
    // Nobody else notices.
    let begun = Instant::now();
    for n in 0..20 {
        let name = format!("s{n}");
        drop(Publisher::ask_at(&server, &server.rtmp("live?vhost=other.com"), "live", &name).unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(check_pairs(&bystander.wait_for(80)), 20);

    backend.come_back();
    // Whoever comes first now is told after what was before.
    let mut again: Vec<Publisher> = Vec::new();
    wait_until("the server is back", SOON, || {
        let asked = Publisher::ask(&server, "live/s0");
        again.extend(asked.ok());
        !again.is_empty()
    });
    drop(again);
    let clients = STREAMS + VIEWERS * STREAMS;
    let closes = || backend.actions().iter().filter(|action| *action == "on_close").count();
    wait_until("everything is told", SOON, || closes() > clients + IN_VAIN);
    let calls = backend.calls();
    // Those that asked on_publish while the server came back: refused or not, they are whole.
    assert!(check_pairs(&calls) > clients + IN_VAIN);

    // On each stream one publish ends before the next begins.
    let mut on_air: HashMap<String, String> = HashMap::new();
    for call in &calls {
        let stream = || call.field("stream");
        match &*call.action() {
            "on_publish" => {
                assert_eq!(on_air.insert(stream(), call.field("client_id")), None, "{}", stream())
            }
            "on_unpublish" => assert_eq!(on_air.remove(&stream()), Some(call.field("client_id"))),
            _ => {}
        }
    }
    assert!(on_air.is_empty());
    assert_eq!(server.log().matches("is away, events wait for it").count(), 1, "said once");
    assert!(!server.log().contains("lost"), "{}", server.log());
}

#[test]
fn a_publish_is_asked_about_when_the_end_of_the_last_one_was_heard() {
    const THINKS: Duration = Duration::from_secs(1);
    let backend = Backend::with(|call| match &*call.action() {
        "on_unpublish" => Answer::Later(THINKS, 200, "0".into()),
        _ => Answer::yes(),
    });
    let server = server(&backend);
    let mut publisher = Publisher::start(&server, "live/s");
    // On the same connection, and on another one.
    publisher.unpublish();
    let begun = Instant::now();
    publisher.publish_again("s");
    assert!(begun.elapsed() > THINKS / 2, "{:?}", begun.elapsed());
    drop(publisher);
    wait_until("the end is told", SOON, || backend.actions().len() >= 6);
    let begun = Instant::now();
    drop(Publisher::start(&server, "live/s"));
    assert!(begun.elapsed() > THINKS / 2, "{:?}", begun.elapsed());
    backend.wait_for(11);

    // It is no use to wait for a server that cannot take that event.
    backend.answers(|call| match &*call.action() {
        "on_unpublish" => Answer::Say(500, "".into()),
        _ => Answer::yes(),
    });
    backend.forget();
    drop(Publisher::start(&server, "live/s"));
    backend.wait_for(3);
    drop(Publisher::start(&server, "live/s"));
    wait_until("it is said", SOON, || server.log().contains("a new event overtakes"));
}

/// A reload takes the vhost away between the yes and the beginning: who heard the beginning hears the end.
#[test]
fn a_vhost_that_goes_while_the_server_thinks_is_an_end() {
    for (action, end) in [("on_publish", "on_unpublish"), ("on_play", "on_stop")] {
        let (asked, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let backend = Backend::with({
            let (asked, go_on) = (asked.clone(), go_on.clone());
            move |call| {
                if call.action() == action {
                    asked.store(true, Ordering::Relaxed);
                    wait_until("the test goes on", PATIENCE, || go_on.load(Ordering::Relaxed));
                }
                Answer::yes()
            }
        });
        let vhost = |enabled: &str| {
            let remux = "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }";
            Conf::default()
                .vhosts(&format!("vhost gone.com {{ enabled {enabled}; {remux} {} }}", backend.hooks("")))
        };
        let server = Server::start(&vhost("on"));
        std::thread::scope(|scope| {
            let peer = scope.spawn(|| match action {
                "on_publish" => {
                    let tc_url = server.rtmp("live?vhost=gone.com");
                    assert!(Publisher::ask_at(&server, &tc_url, "live?vhost=gone.com", "s").is_err());
                }
                _ => {
                    let answer = Http::get(server.http_addr(), "/live/s.flv?vhost=gone.com");
                    assert_eq!(answer.head.status, 404);
                }
            });
            wait_until("it is asked", SOON, || asked.load(Ordering::Relaxed));
            server.reload(&vhost("off"));
            go_on.store(true, Ordering::Relaxed);
            peer.join().unwrap();
        });
        wait_until("the end is told", SOON, || backend.actions().contains(&end.to_owned()));
        let told = backend.actions().iter().filter(|told| *told == end).count();
        assert_eq!(told, 1, "{:?}", backend.actions());
    }
}

#[test]
fn a_server_that_says_it_cannot_now_is_asked_again() {
    let backend = Backend::start();
    let server = server(&backend);
    let publisher = Publisher::start(&server, "live/s");
    let tries = AtomicU32::new(0);
    backend.answers(move |call| match &*call.action() {
        "on_unpublish" if tries.fetch_add(1, Ordering::Relaxed) < 3 => Answer::Say(503, "".into()),
        _ => Answer::yes(),
    });
    drop(publisher);
    let end = ["on_unpublish", "on_unpublish", "on_unpublish", "on_unpublish", "on_close"];
    let calls = backend.expect(&[&["on_connect", "on_publish"][..], &end].concat());
    assert!(calls[2..6].iter().all(|call| call.id() == calls[2].id()));
}

#[test]
fn the_end_of_the_server_is_the_end_of_everything_and_is_told() {
    let backend = Backend::start();
    let mut server = server(&backend);
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    publisher.send(9, 0, &avc(true, 0, 100));
    let mut player = Player::start(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    player.until_serial(0);
    viewer.until_serial(0);
    let _guest = Guest::start(&server, "live");
    backend.wait_for(5);
    backend.forget();

    server.signal(Signal::TERM);
    assert_eq!(server.wait(SOON).and_then(|status| status.code()), Some(0));
    // A call that was on its way just then is made again: the same event.
    let events: BTreeSet<(String, String)> =
        backend.calls().iter().map(|call| (call.action(), call.id().to_owned())).collect();
    let actions: Vec<&str> = events.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["on_close", "on_close", "on_close", "on_stop", "on_stop", "on_unpublish"]);
    assert!(server.log().contains("lost=0, waiting=0"), "{}", server.log());
}

#[test]
fn the_end_of_the_server_waits_for_nobody_for_long() {
    let backend = Backend::start();
    let mut server = server(&backend);
    let _publisher = Publisher::start(&server, "live/s");
    backend.wait_for(2);
    backend.go_away();
    server.signal(Signal::TERM);
    assert_eq!(server.wait(Duration::from_secs(8)).and_then(|status| status.code()), Some(0));
    assert!(server.log().contains("2 callbacks lost"), "{}", server.log());
}

#[test]
fn secrets_are_not_logged() {
    let backend = Backend::with(|call| if call.action() == "on_play" { Answer::no() } else { Answer::yes() });
    let hooks =
        backend.hooks("").replace("//127.0.0.1", "//admin:PASSWORD@127.0.0.1").replace(";\n", "?k=APIKEY;\n");
    let hooks = hooks.replace("enabled on?k=APIKEY", "enabled on");
    let server = Server::start(&Conf::vhost(&hooks));
    let app = "live?user=TOKEN1";
    let publisher = Publisher::ask_at(&server, &server.rtmp(app), "live", "s?token=TOKEN2").unwrap();
    assert!(Guest::from_page(&server, "live?x=TOKEN3", "http://p/?x=TOKEN4").play("s?t=TOKEN5").is_err());
    Http::get(server.http_addr(), "/live/s.flv?token=TOKEN6");
    drop(publisher);
    let calls = backend.wait_for(8);
    assert!(calls.iter().all(|call| call.header("authorization").starts_with("Basic ")));
    assert!(calls.iter().all(|call| call.path.ends_with("?k=APIKEY")));
    backend.go_away();
    assert!(Publisher::ask(&server, "live/s?token=TOKEN7").is_err());
    wait_until("the failure is logged", SOON, || server.log().contains("is away"));
    for secret in ["TOKEN", "PASSWORD", "APIKEY", "admin"] {
        assert!(!server.log().contains(secret), "{secret}: {}", server.log());
    }
}

#[test]
fn the_example_does_what_it_says() {
    let backend = Backend::start();
    let api = backend.url("api/v1/");
    let change = |text: String| text.replace("http://127.0.0.1:8085/api/v1/", &api);
    let server = Server::example("http.hooks.callback.conf", change);
    drop(Publisher::start(&server, "live/s"));
    let calls = backend.expect(&["on_connect", "on_publish", "on_unpublish", "on_close"]);
    let paths: Vec<&str> = calls.iter().map(|call| &*call.path).collect();
    assert_eq!(paths, ["clients", "streams", "streams", "clients"].map(|path| format!("/api/v1/{path}")));
    backend.forget();
    drop(Http::get(server.http_addr(), "/live/s.flv"));
    let calls = backend.expect(&["on_play", "on_stop"]);
    assert!(calls.iter().all(|call| call.path == "/api/v1/sessions"));
}

#[test]
pub(crate) fn another_configuration_is_for_the_next_event() {
    let (backend, other) = (Backend::start(), Backend::start());
    let vhost = |lines: &str| Conf::vhost(&format!("publish {{ normal_timeout 60000; }} {lines}"));
    let server = Server::start(&vhost(""));
    let before = Publisher::start(&server, "live/a");
    server.reload(&vhost(&backend.hooks("")));
    let publisher = Publisher::start(&server, "live/b");
    let player = Player::start(&server, "live/b");
    backend.expect(&["on_connect", "on_publish", "on_connect", "on_play"]);
    // Who was asked about is told about, wherever the next event goes.
    server.reload(&vhost(&other.hooks("timeout 0.3;")));
    drop(player);
    wait_until("somebody hears that the player has left", SOON, || {
        [backend.actions(), other.actions()].concat().iter().filter(|action| *action == "on_stop").count()
            == 1
    });
    other.forget();
    let second = Publisher::start(&server, "live/c");
    other.wait_for(2);
    assert_eq!(other.actions(), ["on_connect", "on_publish"]);
    // A shorter patience.
    other.answers(|_| Answer::Later(Duration::from_secs(20), 200, "0".into()));
    let begun = Instant::now();
    assert!(Publisher::ask(&server, "live/d").is_err());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    server.reload(&vhost("http_hooks { enabled off; }"));
    drop(Publisher::start(&server, "live/e"));
    drop((before, publisher, second));
}
