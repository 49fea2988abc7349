//! Publishers who fall silent are closed after the times of the configuration, and those who go on are not.
//! Here time itself is the subject, so these tests take seconds.

use crate::harness::SOON;
use crate::harness::client::{Player, Publisher};
use crate::harness::http::End;
use crate::harness::media::{FlvViewer, Viewer, avc, for_a_while};
use crate::harness::server::{Conf, Server};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(2000);
const NORMAL: Duration = Duration::from_millis(1600);

fn server() -> Server {
    Server::start(&Conf::vhost("publish { firstpkt_timeout 2000; normal_timeout 1600; }"))
}

#[test]
fn a_publisher_who_never_sends_is_closed_after_the_first_packet_timeout() {
    let server = server();
    let start = Instant::now();
    let mut publisher = Publisher::start(&server, "live/s");
    assert!(publisher.is_closed(SOON), "still open after {SOON:?}");
    let took = start.elapsed();
    assert!(took >= FIRST.mul_f32(0.9), "closed after {took:?} already");
    assert!(took < FIRST + NORMAL + Duration::from_secs(5), "closed only after {took:?}");
    // And the name is free.
    assert!(Publisher::ask(&server, "live/s").is_ok());
}

#[test]
fn a_publisher_who_falls_silent_is_closed_after_the_normal_timeout() {
    let server = server();
    let mut publisher = Publisher::start(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    publisher.headers(0);
    publisher.send(9, 0, &avc(true, 0, 100));
    viewer.until_serial(0);
    let start = Instant::now();
    assert!(publisher.is_closed(SOON), "still open after {SOON:?}");
    let took = start.elapsed();
    assert!(took >= NORMAL.mul_f32(0.5), "closed after {took:?} already");
    assert!(took < FIRST + NORMAL * 2 + Duration::from_secs(5), "closed only after {took:?}");
    assert_eq!(viewer.rest().1, End::FinalChunk);
    assert!(Publisher::ask(&server, "live/s").is_ok());
}

#[test]
fn a_publisher_who_goes_on_is_left_alone() {
    let server = server();
    let mut publisher = Publisher::start(&server, "live/s");
    let mut player = Player::start(&server, "live/s");
    publisher.headers(0);
    // Four times the shortest timeout, with pauses of a quarter of it.
    let (mut n, mut last) = (0, Instant::now() - NORMAL);
    for_a_while(NORMAL * 4, || {
        if last.elapsed() > NORMAL / 4 {
            publisher.send(9, 40 * n, &avc(n == 0, n, 100));
            (n, last) = (n + 1, Instant::now());
        }
        false
    });
    player.until_serial(n - 1);
    assert!(!publisher.is_closed(Duration::from_millis(1)));
}

#[test]
fn a_publisher_who_only_trickles_bytes_is_closed_too() {
    let server = server();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    // The beginning of a long message, and then now and then a byte of it.
    assert!(publisher.raw(&[6, 0, 0, 0, 0, 100, 0, 9, 1, 0, 0, 0]));
    let mut last = Instant::now();
    let mut closed = false;
    for_a_while(SOON, || {
        if last.elapsed() > NORMAL / 4 {
            last = Instant::now();
            closed = !publisher.raw(&[0]);
        }
        closed
    });
    assert!(closed, "a byte now and then kept the publisher alive for {SOON:?}");
}

#[test]
fn a_publisher_nobody_watches_is_closed_if_the_vhost_says_so() {
    let server = Server::start(&Conf::vhost("publish { kickoff_for_idle 1; }"));
    let start = Instant::now();
    let mut publisher = Publisher::start(&server, "live/s");
    let mut closed = false;
    for_a_while(SOON, || {
        closed = !publisher.try_send(9, 0, &avc(true, 0, 100));
        closed
    });
    assert!(closed, "still open after {SOON:?}");
    assert!(start.elapsed() >= Duration::from_millis(900), "closed after {:?} already", start.elapsed());
}
