//! SIGTERM and SIGINT end the server at once and cleanly, whoever is connected.

use crate::harness::SOON;
use crate::harness::client::{Player, Publisher};
use crate::harness::http::Raw;
use crate::harness::media::{FlvViewer, Viewer, avc};
use crate::harness::server::Server;
use rustix::process::Signal;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);

fn ends_cleanly_on(signal: Signal) {
    let mut server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    publisher.send(9, 0, &avc(true, 0, 100));
    let mut rtmp = Player::start(&server, "live/s");
    let mut flv = FlvViewer::open(&server, "/live/s.flv");
    let mut waiting = FlvViewer::open(&server, "/live/nobody.flv");
    rtmp.until_serial(0);
    flv.until_serial(0);
    // In the middle of a handshake, and of a request.
    let mut half = Raw::connect(server.rtmp_addr());
    half.send(&[3, 0, 0]);
    let mut slow = Raw::connect(server.http_addr());
    slow.send(b"GET /");

    server.signal(signal);
    let status = server.wait(LIMIT).unwrap_or_else(|| panic!("still running {LIMIT:?} after {signal:?}"));
    assert_eq!(status.code(), Some(0), "{status}: {}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());

    assert!(rtmp.is_closed(SOON) && publisher.is_closed(SOON));
    flv.rest();
    waiting.rest();
    assert!(half.receive_to_end(SOON).is_some() && slow.receive_to_end(SOON).is_some());
}

#[test]
fn sigterm_ends_it() {
    ends_cleanly_on(Signal::TERM);
}

#[test]
fn sigint_ends_it() {
    ends_cleanly_on(Signal::INT);
}

#[test]
fn the_ports_are_free_afterwards() {
    let mut server = Server::plain();
    let (rtmp, http) = (server.rtmp_addr(), server.http_addr());
    let _player = Player::start(&server, "live/s");
    server.signal(Signal::TERM);
    assert!(server.wait(LIMIT).is_some());
    for addr in [rtmp, http] {
        assert!(std::net::TcpStream::connect(addr).is_err(), "{addr} still answers");
    }
}
