//! The graceful end (SIGQUIT): nobody new comes, and who is here is served until it leaves.

use crate::harness::client::{Player, Publisher};
use crate::harness::http::{Http, Raw};
use crate::harness::media::{FlvViewer, Viewer, avc};
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};
use rustix::process::Signal;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PATIENT: &str = "grace_start_wait 1000; grace_final_wait 300;";

fn server(lines: &str) -> Server {
    // Settings of the end are taken from a reload too: the file it was started with says something else.
    let conf = Conf::vhost("publish { normal_timeout 60000; }");
    let server = Server::start(&conf.clone().global("grace_start_wait 60000; grace_final_wait 60000;"));
    server.reload(&conf.global(lines));
    server
}

fn show(server: &Server) -> (Publisher, Player, FlvViewer) {
    let mut publisher = Publisher::start(server, "live/s");
    publisher.headers(0);
    publisher.send(9, 0, &avc(true, 0, 100));
    let (mut rtmp, mut flv) = (Player::start(server, "live/s"), FlvViewer::open(server, "/live/s.flv"));
    rtmp.until_serial(0);
    flv.until_serial(0);
    (publisher, rtmp, flv)
}

fn told(server: &Server, what: &str) {
    wait_until(what, SOON, || server.log().contains(what));
}

fn closed(server: &Server) {
    let open =
        || [server.rtmp_addr(), server.http_addr()].iter().any(|addr| TcpStream::connect(addr).is_ok());
    wait_until("the listeners are closed", SOON, || !open());
}

#[track_caller]
fn ends_well(server: &mut Server, deadline: Duration) {
    let status = server.wait(deadline).unwrap_or_else(|| panic!("still there after {deadline:?}"));
    assert_eq!(status.code(), Some(0));
    told(server, "srs terminated");
}

#[test]
pub(crate) fn clients_are_seen_off() {
    let mut server = server(PATIENT);
    let (mut publisher, mut rtmp, mut flv) = show(&server);
    server.signal(Signal::QUIT);
    told(&server, "sig=3, user start gracefully quit");
    // For a moment everything is as it was.
    let mut late = Player::start(&server, "live/s");
    late.until_serial(0);
    closed(&server);
    // Those who are here are served on, and a reload does not open the doors again.
    assert!(server.reload_file().contains("the server is about to end"));
    publisher.send(9, 40, &avc(true, 1, 100));
    for viewer in [&mut rtmp, &mut late] {
        viewer.until_serial(1);
    }
    flv.until_serial(1);
    assert!(TcpStream::connect(server.rtmp_addr()).is_err());
    assert!(server.wait(Duration::from_millis(1500)).is_none(), "ended under its clients");
    told(&server, "graceful quit waits for 4 clients");
    // The publisher leaves. Players who stay would wait for nothing.
    drop(publisher);
    assert!(rtmp.is_closed(SOON) && late.is_closed(SOON));
    flv.rest();
    ends_well(&mut server, SOON);
}

#[test]
fn without_clients_it_takes_no_longer_than_its_two_waits() {
    let mut server = server(PATIENT);
    // Neither of them publishes or plays.
    let _mute = Raw::connect(server.rtmp_addr());
    let _api = Http::connect(server.http_addr());
    let begun = Instant::now();
    server.signal(Signal::QUIT);
    ends_well(&mut server, Duration::from_secs(10));
    assert!(begun.elapsed() >= Duration::from_millis(1300), "{:?}", begun.elapsed());
}

#[test]
pub(crate) fn nobody_is_waited_for_longer_than_the_limit() {
    let mut server = server("grace_start_wait 10; grace_final_wait 10; grace_drain_wait 1000;");
    let (publisher, ..) = show(&server);
    server.signal(Signal::QUIT);
    ends_well(&mut server, Duration::from_secs(10));
    assert!(server.log().contains("graceful quit waits no longer than 1s for 1 clients"), "{}", server.log());
    drop(publisher);
}

#[test]
fn sigterm_hurries_it() {
    let mut server = server("grace_start_wait 10; grace_final_wait 300;");
    let (_publisher, _rtmp, _flv) = show(&server);
    server.signal(Signal::QUIT);
    closed(&server);
    server.signal(Signal::TERM);
    ends_well(&mut server, Duration::from_secs(10));
    assert!(server.log().contains("sig=15, user terminate program, fast quit"), "{}", server.log());
}

#[test]
pub(crate) fn sigterm_may_be_graceful_too() {
    let mut server = server(&format!("{PATIENT} force_grace_quit on;"));
    let (publisher, ..) = show(&server);
    server.signal(Signal::TERM);
    told(&server, "sig=15, user start gracefully quit");
    closed(&server);
    assert!(server.alive());
    drop(publisher);
    ends_well(&mut server, SOON);
}

#[test]
fn sigint_is_never_graceful() {
    let mut server = server("force_grace_quit on; grace_start_wait 60000;");
    let (_publisher, ..) = show(&server);
    server.signal(Signal::INT);
    ends_well(&mut server, Duration::from_secs(5));
    assert!(server.log().contains("cleanup for quit signal fast=1, grace=0"), "{}", server.log());
}
