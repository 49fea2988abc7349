//! What clients do beside publishing and playing: pause, ping, ask odd questions, publish once more.

use crate::harness::client::{Player, Publisher};
use crate::harness::media::{Receive, Viewer, avc, kind, serial};
use crate::harness::server::Server;
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use std::time::Duration;

fn send(publisher: &mut Publisher, serials: std::ops::Range<u32>) {
    for n in serials {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 500));
    }
}

#[test]
fn a_paused_player_gets_nothing_and_then_goes_on() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut player = Player::start(&server, "live/s");
    let mut witness = Player::start(&server, "live/s");
    send(&mut publisher, 0..5);
    player.until_serial(4);

    player.pause(true);
    send(&mut publisher, 5..25);
    witness.until_serial(24);
    // The pause was confirmed before these were published, so not one of them may come.
    let uninvited = player.next(Duration::from_millis(300));
    assert_eq!(uninvited, None, "delivered while paused");

    player.pause(false);
    send(&mut publisher, 25..35);
    let tags = player.until_serial(34);
    let frames: Vec<&Tag> = tags.iter().filter(|tag| kind(tag).is_some_and(|k| !k.is_header())).collect();
    // Where it goes on is the server's choice, if a decoder can follow: right behind what it had, or at a
    // keyframe.
    let first = frames[0];
    assert!(serial(first) == 5 || kind(first) == Some(FrameKind::Keyframe), "went on at {}", serial(first));
    for pair in frames.windows(2) {
        assert_eq!(serial(pair[1]), serial(pair[0]) + 1, "a hole");
        assert!(pair[0].timestamp < pair[1].timestamp);
    }
}

#[test]
fn a_ping_is_answered_though_the_stream_is_silent() {
    let server = Server::plain();
    // No publisher at all.
    let mut player = Player::start(&server, "live/s");
    player.ping(0x0102_0304);
    // And with one, while media flows.
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..5);
    player.ping(7);
    player.until_serial(4);
    player.pause(true);
    player.ping(8);
}

#[test]
fn a_question_of_a_player_is_answered_and_changes_nothing() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut player = Player::start(&server, "live/s");
    for name in ["receiveAudio", "seek", "getStreamLength"] {
        player.ask_for(name);
    }
    send(&mut publisher, 0..5);
    player.until_serial(4);
}

#[test]
fn one_connection_publishes_one_stream_after_another() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/a");
    let mut first = Player::start(&server, "live/a");
    let mut second = Player::start(&server, "live/b");
    publisher.headers(0);
    send(&mut publisher, 0..5);
    first.until_serial(4);

    publisher.unpublish();
    publisher.publish_again("b");
    publisher.headers(0);
    send(&mut publisher, 10..15);
    second.until_serial(14);

    // The same name again, and the first player is still there.
    publisher.unpublish();
    publisher.publish_again("a");
    publisher.headers(0);
    send(&mut publisher, 20..25);
    first.until_serial(24);
    assert!(Publisher::ask(&server, "live/b").is_ok(), "b is free again");
}
