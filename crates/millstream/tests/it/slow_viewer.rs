//! A viewer that stops reading costs nobody else anything: the server's memory stays bounded, other viewers
//! miss no frame, and when it reads again it goes on at a keyframe.

use crate::harness::SOON;
use crate::harness::api::ask;
use crate::harness::client::{Player, Publisher};
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Viewer, avc, kind, serial};
use crate::harness::server::{Conf, Ports, Server, await_port, local};
use crate::harness::tls::Pair;
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use std::time::Instant;

/// Frames in a group of pictures, which lasts a second.
const GROUP: u32 = 25;
/// With this size a group is eight megabytes.
const FRAME: usize = 320_000;
/// 160 megabytes in all: were they kept for the slow viewer, nobody could overlook it.
const GROUPS: u32 = 20;
/// What the server may grow by. It keeps the running group and `queue_length` (here one second) for
/// newcomers and laggards, so two groups, and some more while one replaces the other.
const GROWTH_KB: u64 = 64 << 10;

fn send_group(publisher: &mut Publisher, group: u32) {
    for n in group * GROUP..(group + 1) * GROUP {
        publisher.send(9, 40 * n, &avc(n % GROUP == 0, n, FRAME));
    }
}

/// Plays out the story with a slow viewer of either kind; returns what it saw in the end.
fn story(server: &Server, slow: &mut impl Viewer, publisher: &mut Publisher) -> Vec<Tag> {
    let mut other = Player::start(server, "live/s");
    send_group(publisher, 0);
    // Both have begun.
    other.until_serial(GROUP - 1);
    let mut seen = vec![slow.of(FrameKind::Keyframe)];

    let before = server.rss_kb();
    let mut most = before;
    for group in 1..GROUPS {
        send_group(publisher, group);
        let tags = other.until_serial((group + 1) * GROUP - 1);
        let serials: Vec<u32> = tags.iter().map(serial).collect();
        assert_eq!(serials, (group * GROUP..(group + 1) * GROUP).collect::<Vec<_>>(), "the other viewer");
        most = most.max(server.rss_kb());
    }
    assert!(most < before + GROWTH_KB, "the server grew from {before} kB to {most} kB");

    // It reads again: first what was under way to it, then, after a hole, a keyframe of today.
    let end = Instant::now() + SOON;
    let mut group = GROUPS;
    loop {
        let tag = slow.frame();
        let last = serial(seen.last().unwrap());
        let resumed = serial(&tag) != last + 1;
        seen.push(tag);
        if resumed {
            return seen;
        }
        assert!(Instant::now() < end, "it has not come to the hole yet, at frame {last}");
        if last.is_multiple_of(GROUP) {
            send_group(publisher, group);
            other.until_serial((group + 1) * GROUP - 1);
            group += 1;
        }
    }
}

#[track_caller]
fn assert_resumed_at_a_keyframe(seen: &[Tag]) {
    let [.., before, after] = seen else { panic!("too few frames: {}", seen.len()) };
    assert_eq!(kind(after), Some(FrameKind::Keyframe), "went on at frame {}", serial(after));
    assert!(serial(after) > serial(before), "{} follows {}", serial(after), serial(before));
    assert!(after.timestamp > before.timestamp, "time goes back");
    assert_eq!(after.body, avc(true, serial(after), FRAME));
}

fn server() -> Server {
    let exporter = format!("exporter {{ enabled on; listen 127.0.0.1:{}; }}", Ports::free().api);
    Server::start(&Conf::vhost("play { queue_length 1; }").global(&exporter))
}

/// Operators see that somebody missed something.
#[track_caller]
fn assert_counted(server: &Server) {
    let metrics = ask(server.api_addr(), "GET", "/metrics").text;
    let skips = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"millstream_viewer_skips_total{reason="lagged"} "#));
    assert!(skips.is_some_and(|skips| skips != "0"), "{skips:?}");
}

#[test]
fn a_slow_rtmp_player_costs_nobody_anything() {
    let server = server();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &crate::harness::media::avc_header());
    let mut slow = Player::start(&server, "live/s");
    let seen = story(&server, &mut slow, &mut publisher);
    assert_resumed_at_a_keyframe(&seen);
    assert_counted(&server);
}

#[test]
fn a_slow_http_viewer_costs_nobody_anything() {
    let server = server();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &crate::harness::media::avc_header());
    let mut slow = FlvViewer::open(&server, "/live/s.flv");
    let seen = story(&server, &mut slow, &mut publisher);
    assert_resumed_at_a_keyframe(&seen);
    assert_counted(&server);
}

#[test]
fn a_slow_viewer_over_tls_costs_nobody_anything() {
    let (pair, port) = (Pair::new(), Ports::free().http);
    let server = Server::start_with(|command, ports, dir| {
        pair.write(dir);
        let https =
            format!("https {{ enabled on; listen 127.0.0.1:{port}; key server.key; cert server.crt; }}");
        let conf = Conf::vhost("play { queue_length 1; }").text(ports, dir);
        std::fs::write(dir.join("srs.conf"), conf.replace("dir \"", &format!("{https} dir \""))).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    await_port(local(port));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &crate::harness::media::avc_header());
    let mut slow = FlvViewer::new(Http::get_tls(local(port), &pair, "/live/s.flv"));
    let seen = story(&server, &mut slow, &mut publisher);
    assert_resumed_at_a_keyframe(&seen);
}
