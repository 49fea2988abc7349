//! One publisher per name: the second is told why and closed, the first notices nothing, and the name is free
//! at once when the first has left.

use crate::harness::SOON;
use crate::harness::client::{Player, Publisher, Refused};
use crate::harness::http::{End, Http};
use crate::harness::media::{FlvViewer, Viewer, aac, avc, kind, serial};
use crate::harness::server::Server;
use mill_media::frame::FrameKind;

/// One group of pictures with sound, serials from `first`, at these media times.
fn send_group(publisher: &mut Publisher, first: u32, time: u32) {
    for n in 0..5 {
        publisher.send(9, time + 40 * n, &avc(n == 0, first + n, 500));
        publisher.send(8, time + 40 * n, &aac(first + n));
    }
}

#[test]
fn a_second_publisher_is_refused_and_the_first_undisturbed() {
    let server = Server::plain();
    let mut first = Publisher::start(&server, "live/s");
    first.headers(0);
    let mut player = Player::start(&server, "live/s");

    let refused = Publisher::ask(&server, "live/s").err();
    assert_eq!(refused, Some(Refused { code: "NetStream.Publish.BadName".into(), closed: true }));
    // Not only once.
    assert!(Publisher::ask(&server, "live/s").is_err());

    send_group(&mut first, 0, 0);
    assert_eq!(serial(&player.of(FrameKind::Keyframe)), 0);
    player.until_serial(4);
}

#[test]
fn the_name_is_free_at_once_and_rtmp_players_stay() {
    let server = Server::plain();
    let mut player = Player::start(&server, "live/s");
    let mut last = None;
    for round in 0..4u32 {
        // Each encoder begins its clock anew; the second round's even lies before the first's.
        let mut publisher =
            Publisher::ask(&server, "live/s").unwrap_or_else(|r| panic!("round {round}: {r:?}"));
        let time = [5000, 0, 60_000, 0][round as usize];
        publisher.headers(time);
        send_group(&mut publisher, round * 100, time);
        // Headers of the new publisher come before its frames.
        let config = player.of(FrameKind::VideoHeader);
        assert_eq!(config.body, crate::harness::media::avc_header());
        for tag in player.until_serial(round * 100 + 4) {
            if matches!(kind(&tag), Some(FrameKind::Keyframe | FrameKind::Video)) {
                assert!(last.is_none_or(|last| last <= tag.timestamp), "{last:?} then {}", tag.timestamp);
                last = Some(tag.timestamp);
            }
        }
        match round % 2 {
            // Once with the words encoders say, once by hanging up.
            0 => publisher.unpublish(),
            _ => drop(publisher),
        }
        if round % 2 == 1 {
            // Hanging up reaches the server a moment later; the next round must not race with it.
            crate::harness::wait_until("the name is free", SOON, || {
                Publisher::ask(&server, "live/probe").is_ok()
            });
        }
    }
}

#[test]
fn an_http_viewer_is_ended_properly_when_the_publisher_leaves() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send_group(&mut publisher, 0, 0);

    let mut modern = FlvViewer::open(&server, "/live/s.flv");
    let mut old = FlvViewer::new(Http::request(server.http_addr(), "GET /live/s.flv HTTP/1.0\r\n\r\n"));
    modern.until_serial(4);
    old.until_serial(4);
    publisher.unpublish();

    assert_eq!(modern.rest().1, End::FinalChunk);
    assert_eq!(old.rest().1, End::Eof);
}

#[test]
fn an_http_viewer_gets_the_last_frame_before_the_end() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    publisher.headers(0);
    send_group(&mut publisher, 0, 0);
    viewer.until_serial(4);
    // More than one write's worth, and gone in the same moment.
    for group in 1..20 {
        send_group(&mut publisher, group * 100, group * 200);
    }
    drop(publisher);
    let (tags, end) = viewer.rest();
    assert_eq!(end, End::FinalChunk);
    assert_eq!(tags.last().map(serial), Some(1904), "{} tags", tags.len());
}
