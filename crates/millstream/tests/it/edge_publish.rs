//! Publishers of an edge: their streams come to an origin, whatever origins do.

use crate::harness::api;
use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{probe, publish_both};
use crate::harness::http::End;
use crate::harness::media::{FlvViewer, Receive, Viewer, avc, kind, serial};
use crate::harness::server::{Conf, Server, free_port};
use crate::harness::target::{Came, Does, Target};
use crate::harness::{SOON, wait_until};
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use std::time::Duration;

/// An edge of these origins.
fn edge(origins: &str, lines: &str) -> Conf {
    Conf::vhost(&format!(
        "publish {{ normal_timeout 60000; }} cluster {{ mode remote; origin {origins}; {lines} }}"
    ))
}

fn of(targets: &[&Target]) -> Conf {
    let addresses: Vec<String> = targets.iter().map(|target| target.address()).collect();
    edge(&addresses.join(" "), "")
}

fn serials(came: &Came) -> Vec<u32> {
    let is_frame = |tag: &&Tag| tag.tag_type == 9 && kind(tag).is_some_and(|kind| !kind.is_header());
    came.tags.iter().filter(is_frame).map(serial).collect()
}

/// Sends frames of 40 ms with a keyframe every ten.
fn send(publisher: &mut Publisher, serials: std::ops::Range<u32>) {
    for n in serials {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 300));
    }
}

/// Sends on and on until the target has a frame of a new connection.
#[track_caller]
fn until_it_comes(target: &Target, publisher: &mut Publisher, n: &mut u32, connections: usize) -> Came {
    let came = target.wait_until("the stream comes", |came| {
        send(publisher, *n..*n + 1);
        *n += 1;
        came.len() >= connections && serials(&came[connections - 1]).len() > 2
    });
    came[connections - 1].clone()
}

#[test]
fn a_stream_is_at_the_origin_and_here() {
    let origin = Server::plain();
    let conf = edge(&format!("127.0.0.1:{}", origin.ports().rtmp), "");
    let edge = Server::start(&conf);
    let _encoder = publish_both(&edge.rtmp("live/s"));
    for server in [&origin, &edge] {
        for url in [server.rtmp("live/s"), server.http("live/s.flv")] {
            let probe = probe(&url, 60);
            assert_eq!(probe.codecs.len(), 2, "{url}");
            probe.assert_sound();
        }
    }
    let shown = api::list(&api::get(&edge, "forwards"), "forwards")[0].clone();
    assert_eq!((&shown["kind"], &shown["state"]), (&"origin".into(), &"sending".into()));
    // Another edge's publisher hears what the origin says.
    let other = Server::start(&conf);
    assert_eq!(Publisher::ask(&other, "live/s").err().unwrap().code, "NetStream.Publish.BadName");
    assert!(api::list(&api::get(&other, "streams/"), "streams").is_empty());
}

#[test]
fn the_origin_hears_names_and_parameters() {
    let origin = Target::start();
    let (address, port) = (origin.address(), origin.port());
    let vhosts = format!(
        "vhost a.com {{ cluster {{ mode remote; origin {address}; debug_srs_upnode off; vhost up.[vhost]; }} }}"
    );
    let server = Server::start(&of(&[&origin]).vhosts(&vhosts));
    let mut publisher = Publisher::start(&server, "live/s?token=x");
    send(&mut publisher, 0..3);
    let came = origin.wait_for(1)[0].clone();
    let connect = came.connect.unwrap();
    assert_eq!((connect.tc_url, came.stream), (format!("rtmp://{address}/live"), "s?token=x".into()));
    assert!(connect.args.unwrap().get("srs_server").is_some());

    let app = "live?vhost=a.com";
    let _other = Publisher::ask_at(&server, &server.rtmp(app), app, "t").unwrap();
    let came = origin.wait_until("the other one", |came| came.len() == 2 && !came[1].stream.is_empty());
    let connect = came[1].connect.clone().unwrap();
    assert_eq!((connect.tc_url, &*came[1].stream), (format!("rtmp://up.a.com:{port}/live"), "t"));
    assert!(connect.args.unwrap().get("srs_server").is_none());
    assert!(!server.log().contains("token=x"));

    publisher.unpublish();
    origin.wait_until("leave is taken", |came| came[0].left && came[0].closed);
}

#[test]
fn a_publisher_hears_what_origins_say() {
    let origin = Target::start();
    let away = format!("127.0.0.1:{}", free_port());
    let server = Server::start(&edge(&format!("{away} {}", origin.address()), ""));
    for (says, hears) in [
        ("NetStream.Publish.BadName", "NetStream.Publish.BadName"),
        ("NetStream.Publish.Denied", "NetStream.Publish.Denied"),
        ("NetStream.Publish.Rejected", "NetStream.Publish.Denied"),
    ] {
        origin.does(move |_| Does::Refuse(says));
        let refused = Publisher::ask(&server, "live/s").err().unwrap();
        assert_eq!((&*refused.code, refused.closed), (hears, true), "{says}");
    }
    // The name is free at once, and whoever answers is asked.
    origin.does(|_| Does::Take);
    let publisher = Publisher::start(&server, "live/s");
    drop(publisher);
    wait_until("it has left", SOON, || api::list(&api::get(&server, "streams/"), "streams").is_empty());
    origin.go_away();
    let refused = Publisher::ask(&server, "live/s").err().unwrap();
    assert_eq!(refused.code, "NetStream.Publish.Denied");
    wait_until("it is said why", SOON, || server.log().contains("no origin answers"));
}

#[test]
fn another_origin_takes_over_and_nobody_here_notices() {
    let [a, b] = [Target::start(), Target::start()];
    let server = Server::start(&of(&[&a, &b]));
    let mut publisher = Publisher::start(&server, "live/s");
    let (first, second) = if a.came().is_empty() { (&b, &a) } else { (&a, &b) };
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    publisher.headers(0);
    send(&mut publisher, 0..15);
    first.wait_until("the frames", |came| serials(&came[0]).contains(&14));
    first.go_away();
    let mut n = 15;
    let came = until_it_comes(second, &mut publisher, &mut n, 1);
    assert_eq!(serials(&came)[0] % 10, 0, "from a keyframe on: {:?}", serials(&came));
    assert!(came.tags.iter().take(2).all(|tag| kind(tag).is_some_and(|kind| kind.is_header())));
    // A break of it too: back to the first.
    first.come_back();
    second.go_away();
    until_it_comes(first, &mut publisher, &mut n, 2);
    let seen = viewer.until_serial(n - 1);
    let seen: Vec<u32> = seen
        .iter()
        .filter(|tag| tag.tag_type == 9)
        .filter_map(|tag| kind(tag).filter(|kind| !kind.is_header()).map(|_| serial(tag)))
        .collect();
    assert_eq!(seen, (0..n).collect::<Vec<_>>(), "the viewer here has seen all of it");
}

#[test]
fn an_origin_that_was_restarted_has_the_stream_again() {
    let mut origin = Server::plain();
    let server = Server::start(&edge(&format!("127.0.0.1:{}", origin.ports().rtmp), ""));
    let mut encoder = publish_both(&server.rtmp("live/s"));
    Player::start(&origin, "live/s").of(FrameKind::Keyframe);
    origin.kill();
    origin.start_again();
    let mut player = Player::start(&origin, "live/s");
    player.of(FrameKind::VideoHeader);
    player.of(FrameKind::Keyframe);
    assert!(encoder.alive());
}

#[test]
pub(crate) fn a_publisher_without_origins_is_sent_away_in_the_end() {
    // Says yes, and hangs up.
    let origin = Target::with(|number| if number == 0 { Does::Take } else { Does::Die(500) });
    let server = Server::start(&edge(&origin.address(), "push_give_up 3600;"));
    server.reload(&edge(&origin.address(), "push_give_up 3;"));
    let mut publisher = Publisher::start(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    publisher.headers(0);
    send(&mut publisher, 0..3);
    origin.wait_for(1);
    origin.go_away();
    origin.come_back();
    publisher.is_told("NetStream.Failed");
    assert!(publisher.is_closed(SOON));
    assert_eq!(viewer.rest().1, End::FinalChunk, "viewers here have a proper end");
    wait_until("it is said why", SOON, || {
        server.log().contains("no origin has taken the stream for too long")
    });
    assert!(origin.came().len() > 2, "it was tried again until then");
}

/// What it is slow to take waits within bounds; then it is left, and the next connection has the newest.
#[test]
fn an_origin_that_takes_nothing_is_left_and_costs_the_encoder_nothing() {
    let origin = Target::with(|number| if number == 0 { Does::Stall } else { Does::Take });
    let server = Server::start(&of(&[&origin]));
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    publisher.headers(0);
    let mut viewer = Player::start(&server, "live/s");
    // More than sockets and the line hold.
    let (size, mut n) = (40_000, 0);
    while n < 1500 {
        for n in n..n + 10 {
            publisher.send(9, 40 * n, &avc(n % 10 == 0, n, size));
        }
        n += 10;
        viewer.until_serial(n - 1);
    }
    assert!(server.rss_kb() < 200_000, "{} KB", server.rss_kb());
    let came = until_it_comes(&origin, &mut publisher, &mut n, 2);
    let first = serials(&came)[0];
    assert!(first.is_multiple_of(10) && first >= 1490, "the running group of pictures: {:?}", serials(&came));
    let shown = api::list(&api::get(&server, "forwards"), "forwards")[0].clone();
    assert!(shown["connections"].as_u64() == Some(2), "{shown}");
    viewer.until_serial(n - 1);
}

#[test]
fn who_waits_at_the_edge_sees_who_publishes_there_or_elsewhere() {
    let origin = Server::start(&Conf::vhost("publish { normal_timeout 60000; }"));
    let server = Server::start(&edge(&format!("127.0.0.1:{}", origin.ports().rtmp), ""));
    let mut viewer = Player::start(&server, "live/s");
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..25);
    viewer.until_serial(24);
    publisher.unpublish();
    drop(publisher);
    // The edge takes leave of the origin a little later.
    let mut other = None;
    wait_until("the name is free at the origin", SOON, || {
        other = Publisher::ask(&origin, "live/s").ok();
        other.is_some()
    });
    let mut publisher = other.unwrap();
    publisher.headers(0);
    let mut n = 100;
    wait_until("the viewer has it from the origin", SOON, || {
        send(&mut publisher, n..n + 1);
        n += 1;
        viewer.next(Duration::from_millis(50)).is_some_and(|tag| {
            tag.tag_type == 9 && kind(&tag).is_some_and(|kind| !kind.is_header()) && serial(&tag) >= 100
        })
    });
}

#[test]
fn an_edge_that_is_its_own_origin_refuses() {
    let server = Server::plain();
    let port = server.ports().rtmp;
    let conf = |name: &str| {
        format!("vhost {name} {{ cluster {{ mode remote; origin 127.0.0.1:{port}; vhost [vhost]; }} }}")
    };
    server.reload(&Conf::default().vhosts(&conf("edge.com")));
    let app = "live?vhost=edge.com";
    let refused = Publisher::ask_at(&server, &server.rtmp(app), app, "s").err().unwrap();
    assert_eq!(refused.code, "NetStream.Publish.BadName");
    wait_until("it is said why", SOON, || server.log().contains("goes in a circle"));
}
