//! Forwards: what other servers get, whatever they do, and that nobody else notices.

use crate::harness::api;
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{decode, probe, publish_both};
use crate::harness::media::{FlvViewer, Viewer, aac, avc, for_a_while, kind, serial};
use crate::harness::server::{Conf, Folder, Server, free_port};
use crate::harness::target::{Came, Does, QUIET, Target};
use crate::harness::tls::Pair;
use crate::harness::{SOON, pause, wait_until};
use mill_media::amf0::Value;
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use serde_json::Value as Json;
use std::time::{Duration, Instant};

/// The default vhost forwards like this, and is patient with hand-made publishers.
pub(crate) fn forwarding(lines: &str) -> Conf {
    Conf::vhost(&format!("publish {{ normal_timeout 60000; }} forward {{ enabled on; {lines} }}"))
}

fn to(targets: &[&Target]) -> Conf {
    let addresses: Vec<String> = targets.iter().map(|target| target.address()).collect();
    forwarding(&format!("destination {};", addresses.join(" ")))
}

fn is_frame(tag: &Tag) -> bool {
    kind(tag).is_some_and(|kind| !kind.is_header())
}

fn serials(came: &Came) -> Vec<u32> {
    came.tags.iter().filter(|tag| is_frame(tag) && tag.tag_type == 9).map(serial).collect()
}

fn kinds(came: &Came) -> Vec<FrameKind> {
    came.tags.iter().filter_map(kind).collect()
}

/// The forwards of a server, as the API tells.
pub(crate) fn forwards(server: &Server) -> Vec<Json> {
    api::list(&api::get(server, "forwards"), "forwards").to_vec()
}

/// Waits for the only forward to be like this.
#[track_caller]
fn await_forward(server: &Server, what: &str, mut like: impl FnMut(&Json) -> bool) -> Json {
    let mut last = Json::Null;
    wait_until(what, SOON, || {
        last = forwards(server).first().cloned().unwrap_or_default();
        like(&last)
    });
    last
}

/// Waits until so many servers are sent to.
#[track_caller]
fn await_sending(server: &Server, count: usize) {
    wait_until(&format!("{count} servers are sent to"), SOON, || {
        forwards(server).iter().filter(|shown| shown["state"] == "sending").count() == count
    });
}

/// Sends frames of 40 ms with a keyframe every ten.
fn send(publisher: &mut Publisher, serials: std::ops::Range<u32>) {
    for n in serials {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 300));
    }
}

#[test]
fn another_server_has_the_stream_as_it_was_published() {
    let target = Target::start();
    let server = Server::start(&to(&[&target]));
    let mut publisher = Publisher::start(&server, "live/s?token=x&vhost=nowhere.example");
    await_sending(&server, 1);
    publisher.metadata(&[("width", 320.0)]);
    publisher.headers(0);
    send(&mut publisher, 0..25);
    publisher.send(8, 1000, &aac(0));
    let came =
        target.wait_until("the last frame", |came| came[0].tags.iter().any(|tag| tag.timestamp == 1000));
    let came = &came[0];
    let connect = came.connect.as_ref().unwrap();
    assert_eq!(connect.tc_url, format!("rtmp://{}/live", target.address()));
    assert_eq!((&*connect.app, &*connect.flash_ver), ("live", "WIN 15,0,0,239"));
    let said = |key: &str| connect.args.as_ref().unwrap().get(key).cloned();
    assert_eq!(said("srs_sig"), Some(Value::from("SRS")));
    assert_eq!(said("srs_pid"), Some(Value::from(f64::from(server.pid()))));
    assert_eq!(came.stream, "s?token=x");
    let first: Vec<FrameKind> = kinds(came).into_iter().take(4).collect();
    let headers = [FrameKind::Metadata, FrameKind::AudioHeader, FrameKind::VideoHeader];
    assert!(headers.iter().all(|header| first.contains(header)), "{first:?}");
    assert_eq!(serials(came), (0..25).collect::<Vec<_>>());
    assert!(
        came.tags
            .iter()
            .filter(|tag| is_frame(tag) && tag.tag_type == 9)
            .enumerate()
            .all(|(n, tag)| tag.timestamp == 40 * n as u32 && tag.body == avc(n % 10 == 0, n as u32, 300))
    );
    let shown =
        await_forward(&server, "its bytes are counted", |shown| shown["send_bytes"].as_u64() > Some(7000));
    assert_eq!(
        (&shown["state"], &shown["connections"], &shown["lost"]),
        (&"sending".into(), &1.into(), &0.into())
    );
    assert_eq!((&shown["app"], &shown["stream"], &shown["error"]), (&"live".into(), &"s".into(), &"".into()));
    let url = format!("rtmp://{}/live/s?token=***", target.address());
    assert_eq!(shown["url"], url);
    assert!(!server.log().contains("token=x"));

    publisher.unpublish();
    target.wait_until("leave is taken", |came| came[0].left && came[0].closed);
    wait_until("the API forgets it", SOON, || forwards(&server).is_empty());
}

#[test]
fn whoever_comes_late_begins_with_a_keyframe() {
    let target = Target::start();
    target.go_away();
    let server = Server::start(&to(&[&target]));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..25);
    let waiting = await_forward(&server, "it waits", |shown| shown["state"] == "waiting");
    assert!(api::text(&waiting, "error").contains("no connection"), "{waiting}");
    target.come_back();
    let came =
        target.wait_until("the running group", |came| came.iter().any(|came| serials(came).len() >= 5));
    let came = came.iter().find(|came| !came.tags.is_empty()).unwrap();
    assert_eq!(serials(came), (20..25).collect::<Vec<_>>());
    assert!(kinds(came)[..2].iter().all(|kind| kind.is_header()), "{:?}", kinds(came));
    await_forward(&server, "the error is forgotten", |shown| shown["error"] == "");
}

#[test]
fn the_vhost_that_was_called_is_told() {
    let target = Target::start();
    let address = target.address();
    let port = target.port();
    let vhost = |name: &str| format!("vhost {name} {{ forward {{ enabled on; destination {address}; }} }}");
    let server = Server::start(&to(&[&target]).vhosts(&vhost("a.com")));
    let told = |tc_url: &str| {
        let before = target.came().len();
        let app = tc_url.rsplit_once('/').unwrap().1;
        let _publisher = Publisher::ask_at(&server, tc_url, app, "s?k=v").unwrap();
        let came =
            target.wait_until("the publish", |came| came.len() > before && !came[before].stream.is_empty());
        let came = came[before].clone();
        (came.connect.unwrap().tc_url, came.stream)
    };
    let expected = |host: &str| (format!("rtmp://{host}/live"), "s?k=v".to_owned());
    assert_eq!(told("rtmp://127.0.0.1/live"), expected(&address));
    assert_eq!(told("rtmp://some.name/live"), expected(&format!("some.name:{port}")));
    assert_eq!(told("rtmp://127.0.0.1/live?vhost=a.com"), expected(&format!("a.com:{port}")));
}

#[test]
fn urls_have_templates() {
    let target = Target::start();
    let address = target.address();
    let server = Server::start(&forwarding(&format!(
        "destination rtmp://{address}/to-[app]/[vhost]-[stream]?k=[stream];"
    )));
    let _publisher = Publisher::start(&server, "live/s?own=1");
    let came = target.wait_until("the publish", |came| came.iter().any(|came| !came.stream.is_empty()));
    assert_eq!(came[0].connect.as_ref().unwrap().tc_url, format!("rtmp://{address}/to-live"));
    assert_eq!(came[0].stream, "__defaultVhost__-s?k=s");
    // A key of somebody's account is nobody's business.
    server.reload(&forwarding(&format!("destination rtmp://{address}/app/SECRET-KEY;")));
    let came = target.wait_until("the other one", |came| came.iter().any(|came| came.stream == "SECRET-KEY"));
    assert_eq!(came.last().unwrap().connect.as_ref().unwrap().app, "app");
    assert_eq!(forwards(&server)[0]["url"], format!("rtmp://{address}/app/***"));
    assert!(!server.log().contains("SECRET-KEY"), "{}", server.log());
}

#[test]
fn a_server_killed_and_started_again_has_the_stream_within_seconds() {
    let mut slave = Server::plain();
    let slave_port = slave.ports().rtmp;
    let master = Server::start(&forwarding(&format!("destination 127.0.0.1:{slave_port};")));
    let _encoder = publish_both(&master.rtmp("live/s"));
    let sound = probe(&slave.rtmp("live/s"), 60);
    assert_eq!(sound.codecs.len(), 2);
    sound.assert_sound();
    let mut viewer = FlvViewer::open(&master, "/live/s.flv");
    viewer.of(FrameKind::Keyframe);
    for _ in 0..2 {
        slave.kill();
        slave.start_again();
        let begun = Instant::now();
        let mut player = Player::start(&slave, "live/s");
        player.of(FrameKind::VideoHeader);
        player.of(FrameKind::Keyframe);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    decode(&slave.rtmp("live/s"), 2);
    // Who watches at the source saw nothing of it.
    assert!(viewer.ended().is_none());
    viewer.frame();
}

#[test]
fn refusals_are_told_and_tried_again() {
    let refusing = Target::with(|_| Does::Refuse("NetStream.Publish.BadName"));
    let other = Target::start();
    let server = Server::start(&to(&[&refusing, &other]));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..5);
    other.wait_for(1);
    refusing.wait_until("more attempts", |came| came.len() >= 3);
    let shown = forwards(&server);
    let refused = shown.iter().find(|shown| shown["connections"] == 0).unwrap();
    assert!(api::text(refused, "error").contains("NetStream.Publish.BadName"), "{refused}");
    refusing.does(|_| Does::Take);
    let came = refusing.wait_for(1);
    assert_eq!(serials(came.last().unwrap()), [0, 1, 2, 3, 4]);
    assert_eq!(other.came().len(), 1, "the other one did not notice");
}

#[test]
fn whatever_a_server_does_it_gets_the_stream_again() {
    let does = |number: usize| match number {
        0 => Does::Die(3000),
        1 => Does::Babble,
        2 => Does::Die(0),
        3 => Does::Refuse("NetStream.Publish.Denied"),
        _ => Does::Take,
    };
    let target = Target::with(does);
    let server = Server::start(&to(&[&target]));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut n = 0;
    let came = target.wait_until("it has the stream", |came| {
        send(&mut publisher, n..n + 1);
        n += 1;
        came.len() == 5 && serials(&came[4]).len() > 3
    });
    let last = serials(&came[4]);
    assert_eq!(last[0] % 10, 0, "begins with a keyframe: {last:?}");
    assert!(last.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{last:?}");
    assert!(kinds(&came[4])[0].is_header());
}

#[test]
fn a_redirect_is_followed() {
    let there = Target::start();
    let url = format!("rtmp://{}/live/s", there.address());
    let target = Target::with(move |_| Does::Redirect(url.clone()));
    let server = Server::start(&to(&[&target]));
    let mut publisher = Publisher::start(&server, "live/s?k=v");
    publisher.headers(0);
    send(&mut publisher, 0..3);
    assert_eq!(there.wait_for(1)[0].stream, "s?k=v");
    // Two that send each other around are given up, and tried again later.
    let (one, two) = (Target::start(), Target::start());
    let urls = [&one, &two].map(|target| format!("rtmp://{}/live/s", target.address()));
    one.does(move |_| Does::Redirect(urls[1].clone()));
    let url = format!("rtmp://{}/live/s", one.address());
    two.does(move |_| Does::Redirect(url.clone()));
    server.reload(&to(&[&one]));
    let shown = await_forward(&server, "it is told", |shown| shown["error"] != "");
    assert!(api::text(&shown, "error").contains("redirected"), "{shown}");
}

#[test]
fn a_slow_server_costs_the_source_nothing() {
    let slow = Target::with(|_| Does::Stall);
    let quick = Target::start();
    let conf = to(&[&slow, &quick]).and_vhost("play { queue_length 1; }");
    let server = Server::start(&measured(conf));
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    await_sending(&server, 2);
    publisher.headers(0);
    let mut viewer = Player::start(&server, "live/s");
    // More than any socket holds, in a minute of media.
    let size = 40_000;
    for n in 0..1500 {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, size));
        if n % 10 == 9 {
            viewer.until_serial(n);
            wait_until("the quick one has it", SOON, || quick.last().is_some_and(|tag| serial(&tag) == n));
        }
    }
    assert_eq!(serials(&quick.came()[0]), (0..1500).collect::<Vec<_>>());
    assert!(server.rss_kb() < 200_000, "{} KB", server.rss_kb());

    slow.read_on();
    let mut n = 1500;
    let came = slow.wait_until("the slow one goes on", |came| {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 100));
        n += 1;
        came[0].tags.last().is_some_and(|tag| is_frame(tag) && serial(tag) >= 1500)
    });
    let got = serials(&came[0]);
    let gap = got.windows(2).position(|pair| pair[0] + 1 != pair[1]).expect("some frames are left out");
    assert_eq!(got[gap + 1] % 10, 0, "after the gap comes a keyframe");
    assert_eq!(came.len(), 1, "it is still the same connection");
    assert!(metric(&server, "millstream_forward_lost_frames_total") > 100.0);
    assert!(forwards(&server).iter().any(|shown| shown["lost"].as_u64() > Some(100)));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let target = Target::with(|number| if number == 0 { Does::Mute } else { Does::Take });
    let server = Server::start(&to(&[&target]));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..3);
    let shown = await_forward(&server, "it is told", |shown| shown["error"] != "");
    assert!(api::text(&shown, "error").contains("handshake"), "{shown}");
    assert_eq!(serials(&target.wait_for(1)[1]), [0, 1, 2]);
}

/// With metrics.
fn measured(conf: Conf) -> Conf {
    conf.global(&format!("exporter {{ enabled on; listen 127.0.0.1:{}; }}", free_port()))
}

/// The value of a metric without labels.
#[track_caller]
fn metric(server: &Server, name: &str) -> f64 {
    let answer = api::ask(server.api_addr(), "GET", "/metrics").text;
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().unwrap()
}

#[test]
fn a_stream_does_not_go_in_circles() {
    let server = Server::plain();
    let port = server.ports().rtmp;
    // To itself, under its own name and under others.
    server.reload(&forwarding(&format!(
        "destination 127.0.0.1:{port} rtmp://127.0.0.1:{port}/[app]/[stream]-x rtmp://127.0.0.1:{port}/[app]2/[stream];"
    )));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..5);
    let names = || {
        let answer = api::get(&server, "streams/");
        let mut names: Vec<String> = api::list(&answer, "streams")
            .iter()
            .map(|stream| format!("{}/{}", api::text(stream, "app"), api::text(stream, "name")))
            .collect();
        names.sort();
        names
    };
    wait_until("there is one copy of each name", SOON, || names() == ["live/s", "live/s-x", "live2/s"]);
    wait_until("the circle is noticed", SOON, || {
        forwards(&server).iter().any(|shown| api::text(shown, "error").contains("circle"))
    });
    wait_until("it is said why copies are not sent on", SOON, || {
        server.log().contains("come through this vhost before")
    });
    for_a_while(QUIET, || false);
    assert_eq!(names().len(), 3);
    Player::start(&server, "live/s-x").until_serial(4);
}

#[test]
pub(crate) fn a_reload_starts_and_stops_single_ones() {
    let [a, b, c] = [Target::start(), Target::start(), Target::start()];
    let server = Server::start(&to(&[&a, &b]));
    let mut publisher = Publisher::start(&server, "live/s");
    await_sending(&server, 2);
    publisher.headers(0);
    send(&mut publisher, 0..12);
    for target in [&a, &b] {
        target.wait_until("the frames", |came| came.iter().any(|came| serials(came).contains(&11)));
    }
    server.reload(&to(&[&b, &c]));
    a.wait_until("leave is taken", |came| came[0].closed);
    c.wait_until("the running group", |came| came.iter().any(|came| serials(came) == [10, 11]));
    send(&mut publisher, 12..15);
    for target in [&b, &c] {
        target.wait_until("what came then", |came| came.iter().any(|came| serials(came).contains(&14)));
    }
    assert_eq!(serials(&b.came()[0]), (0..15).collect::<Vec<_>>());
    assert_eq!([a.came().len(), b.came().len(), c.came().len()], [1, 1, 1]);

    server.reload(&Conf::vhost("publish { normal_timeout 60000; }"));
    for target in [&b, &c] {
        target.wait_until("leave is taken", |came| came[0].closed && came[0].left);
    }
    assert!(forwards(&server).is_empty());
    server.reload(&to(&[&a]));
    a.wait_until("it comes back", |came| came.len() == 2 && serials(&came[1]).contains(&14));
    send(&mut publisher, 15..16);
    a.wait_until("and goes on", |came| serials(&came[1]).contains(&15));
}

#[test]
pub(crate) fn a_backend_says_where_to() {
    let [a, b] = [Target::start(), Target::start()];
    let backend = Backend::start();
    let urls = |urls: &[String]| {
        Answer::Say(200, serde_json::json!({"code": 0, "data": {"urls": urls}}).to_string())
    };
    let both = [format!("rtmp://{}/x/one?k=v", a.address()), format!("rtmp://{}/y/two", b.address())];
    let first = both.clone();
    backend.answers(move |_| urls(&first));
    let conf = |path: &str| {
        // What is given beside it does not count.
        forwarding(&format!("destination 127.0.0.1:1; backend {};", backend.url(path)))
    };
    let server = Server::start(&conf("first"));
    let mut publisher = Publisher::start(&server, "live/s?token=1");
    publisher.headers(0);
    send(&mut publisher, 0..3);
    let (at_a, at_b) = (a.wait_for(1), b.wait_for(1));
    assert_eq!((&*at_a[0].connect.as_ref().unwrap().app, &*at_a[0].stream), ("x", "one?k=v"));
    assert_eq!((&*at_b[0].connect.as_ref().unwrap().app, &*at_b[0].stream), ("y", "two"));
    let call = backend.calls()[0].clone();
    assert_eq!((&*call.method, &*call.path), ("POST", "/first"));
    let keys: Vec<String> = call.json().keys().cloned().collect();
    let expected =
        ["action", "server_id", "service_id", "client_id", "ip", "vhost", "app", "tcUrl", "stream", "param"];
    assert_eq!(keys, expected);
    let fields = ["action", "ip", "vhost", "app", "stream", "param"].map(|key| call.field(key));
    assert_eq!(fields, ["on_forward", "127.0.0.1", "__defaultVhost__", "live", "s", "?token=1"]);
    assert_eq!(call.field("client_id"), forwards(&server)[0]["cid"]);

    // A reload brings another one: it is asked until it answers, and who stays does not notice.
    backend.forget();
    let only = [both[1].clone()];
    backend.answers(move |_| Answer::Say(500, String::new()));
    server.reload(&conf("second"));
    backend.wait_for(1);
    assert_eq!(forwards(&server).len(), 2, "until then all stays");
    backend.answers(move |_| urls(&only));
    a.wait_until("leave is taken", |came| came[0].closed);
    send(&mut publisher, 3..4);
    b.wait_until("it goes on", |came| serials(&came[0]).contains(&3));
    assert_eq!(b.came().len(), 1);
}

#[test]
fn a_backend_that_fails_keeps_the_stream_out() {
    let backend = Backend::start();
    let server = Server::start(&forwarding(&format!("backend {};", backend.url("x"))));
    let refused = |answer: Answer| {
        backend.answers(move |_| answer.clone());
        Publisher::ask(&server, "live/s").err().map(|refused| refused.code)
    };
    let denied = Some("NetStream.Publish.Denied".to_owned());
    for (status, body) in [
        (500, ""),
        (200, "not json"),
        (200, r#"{"code":1}"#),
        (200, r#"{"code":0,"data":{"urls":"rtmp://h/a/s"}}"#),
        (200, r#"{"code":0,"data":{"urls":["http://h/a/s"]}}"#),
    ] {
        assert_eq!(refused(Answer::Say(status, body.into())), denied, "{status} {body}");
    }
    assert_eq!(refused(Answer::Say(200, r#"{"code":0,"data":{"urls":[]}}"#.into())), None);
    assert_eq!(refused(Answer::Say(200, r#"{"code":0}"#.into())), None);
    wait_until("nobody publishes any more", SOON, || {
        api::list(&api::get(&server, "streams/"), "streams").is_empty()
    });
    backend.go_away();
    let gone = Publisher::ask(&server, "live/s").err().map(|refused| refused.code);
    assert_eq!(gone, denied);
}

#[test]
pub(crate) fn over_tls_with_a_certificate_of_ones_own() {
    let (pair, stranger, dir) = (Pair::new(), Pair::new(), Folder::new());
    let [good, bad] = ["good.pem", "bad.pem"].map(|name| dir.path().join(name));
    std::fs::write(&good, &pair.cert).unwrap();
    std::fs::write(&bad, &stranger.cert).unwrap();
    let target = Target::tls(&pair);
    let conf = |ca: &std::path::Path| {
        forwarding(&format!("destination rtmps://{}; ca \"{}\";", target.address(), ca.display()))
    };
    let server = Server::start(&conf(&bad));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..3);
    let shown = await_forward(&server, "the certificate is refused", |shown| shown["error"] != "");
    assert!(api::text(&shown, "error").contains("certificate"), "{shown}");
    assert!(target.came().iter().all(|came| came.connect.is_none()));
    server.reload(&conf(&dir.path().join("missing.pem")));
    await_forward(&server, "a missing file is told", |shown| {
        api::text(shown, "error").contains("missing.pem")
    });
    server.reload(&conf(&good));
    let came = target.wait_for(1);
    let came = came.last().unwrap();
    assert_eq!(came.connect.as_ref().unwrap().tc_url, format!("rtmps://{}/live", target.address()));
    let shown = await_forward(&server, "it sends", |shown| shown["state"] == "sending");
    assert_eq!(shown["url"], format!("rtmps://{}/live/s", target.address()));
}

#[test]
fn other_codecs_go_as_they_are() {
    let target = Target::start();
    let server = Server::start(&to(&[&target]));
    let mut publisher = Publisher::start(&server, "live/s");
    let bodies: [&[u8]; 4] = [
        b"\x90hvc1\x01\x04\x08\x00\x00\x00\x9d\x08",
        b"\x91hvc1\x00\x00\x00\x00\x00\x00\x02\x26\x01",
        b"\x90Opus\x01\x02OpusHead",
        b"\xa1hvc1\x00\x00\x28\x00\x00\x00\x02\x02\x01",
    ];
    for (n, (body, tag_type)) in bodies.iter().zip([9, 9, 8, 9]).enumerate() {
        publisher.send(tag_type, 40 * n as u32, body);
    }
    let came = target.wait_until("all of it", |came| came.iter().any(|came| came.tags.len() >= 4));
    for body in bodies {
        assert!(came[0].tags.iter().any(|tag| &*tag.body == body), "{body:02x?}");
    }
}

/// Open descriptors of a process.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

#[test]
fn a_hundred_forwards_leave_nothing_behind() {
    let target = Target::start();
    let away = format!("127.0.0.1:{}", free_port());
    let conf = forwarding(&format!("destination {} {away};", target.address()));
    let server = Server::start(&measured(conf));
    let round = |round: u32| {
        let mut publishers: Vec<Publisher> = (0..10)
            .map(|n| {
                let mut publisher = Publisher::start(&server, &format!("live/s{round}-{n}"));
                publisher.headers(0);
                send(&mut publisher, 0..5);
                publisher
            })
            .collect();
        target.wait_for((round as usize + 1) * 10);
        assert_eq!(forwards(&server).len(), 20);
        // Half of them take leave, the others just go.
        publishers.iter_mut().take(5).for_each(Publisher::unpublish);
        drop(publishers);
        wait_until("all have ended", SOON, || forwards(&server).is_empty() && target.open_connections() == 0);
    };
    round(0);
    let before = descriptors(&server);
    (1..10).for_each(round);
    wait_until("nothing is left", SOON, || {
        let gauges = ["millstream_forwards", "millstream_forwards_sending"].map(|name| metric(&server, name));
        gauges == [0.0, 0.0] && descriptors(&server) <= before + 3
    });
    pause();
    assert!(metric(&server, "millstream_forward_failures_total") >= 10.0);
}

#[test]
fn the_examples_work_together() {
    let slave = Server::example("forward.slave.conf", |text| text.replace("19350", "1935"));
    let here = format!("127.0.0.1:{}", slave.ports().rtmp);
    let master = Server::example("forward.master.conf", |text| text.replace("127.0.0.1:19350", &here));
    let _encoder = publish_both(&master.rtmp("live/livestream"));
    for server in [&master, &slave] {
        let probe = probe(&server.rtmp("live/livestream"), 60);
        assert_eq!(probe.codecs.len(), 2);
        probe.assert_sound();
    }

    let backend = Backend::start();
    let urls = format!(r#"{{"code":0,"data":{{"urls":["rtmp://{here}/live/second"]}}}}"#);
    backend.answers(move |_| Answer::Say(200, urls.clone()));
    let asked = backend.url("api/v1/forward");
    let change = |text: String| text.replace("http://127.0.0.1:8085/api/v1/forward", &asked);
    let server = Server::example("forward.backend.conf", change);
    let _encoder = publish_both(&server.rtmp("live/livestream"));
    decode(&slave.rtmp("live/second"), 2);
}
