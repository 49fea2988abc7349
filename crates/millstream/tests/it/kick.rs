//! Cutting clients off over the API.

use crate::harness::api::{ask, clients, code, get, list, text};
use crate::harness::client::{Player, Publisher};
use crate::harness::media::{FlvViewer, Receive, Viewer, avc};
use crate::harness::server::Server;
use crate::harness::{SOON, wait_until};
use serde_json::Value;
use std::time::Instant;

/// Kicks the only client that fits.
#[track_caller]
fn kick(server: &Server, fits: impl Fn(&Value) -> bool) {
    let all = clients(server);
    let [victim] = all.iter().filter(|client| fits(client)).collect::<Vec<_>>()[..] else {
        panic!("not one: {all:?}")
    };
    let id = text(victim, "id");
    let answer = ask(server.api_addr(), "DELETE", &format!("/api/v1/clients/{id}")).json();
    assert_eq!(code(&answer), 0);
    assert!(answer["server"].is_string());
    wait_until("it is listed no more", SOON, || code(&get(server, &format!("clients/{id}"))) == 2049);
    assert_eq!(code(&ask(server.api_addr(), "DELETE", &format!("/api/v1/clients/{id}")).json()), 2049);
    let line = format!("[{id}][0] serve error code=1070 ");
    wait_until("the log says so under its id", SOON, || server.log().contains(&line));
}

/// Whether the answer ends within the deadline.
fn ends(viewer: &mut FlvViewer) -> bool {
    let end = Instant::now() + SOON;
    while viewer.ended().is_none() && Instant::now() < end {
        viewer.next(end.saturating_duration_since(Instant::now()));
    }
    viewer.ended().is_some()
}

#[test]
fn a_publisher_may_come_back_at_once() {
    let server = Server::plain();
    let mut publisher = Publisher::live(&server, "live/s");
    let mut player = Player::start(&server, "live/s");
    player.until_serial(4);
    kick(&server, |client| client["publish"] == true);
    assert!(publisher.is_closed(SOON));
    let mut again = Publisher::live(&server, "live/s");
    again.send(9, 1000, &avc(true, 100, 500));
    player.until_serial(100);
}

#[test]
fn players_of_both_kinds() {
    let server = Server::plain();
    let mut publisher = Publisher::live(&server, "live/s");
    let mut stays = Player::start(&server, "live/s");
    let mut rtmp = Player::start(&server, "live/s");
    let mut http = FlvViewer::open(&server, "/live/s.flv");
    stays.until_serial(4);
    rtmp.until_serial(4);
    http.until_serial(4);
    let all = clients(&server);
    let is = |client: &Value, n: usize| client["id"] == all[n]["id"];
    kick(&server, |client| is(client, 2));
    assert!(rtmp.is_closed(SOON));
    kick(&server, |client| is(client, 3));
    assert!(ends(&mut http));
    publisher.send(9, 200, &avc(false, 5, 500));
    stays.until_serial(5);
    assert_eq!(list(&get(&server, "streams/"), "streams")[0]["clients"], 2);
}

#[test]
fn somebody_who_waits_for_a_publisher() {
    let server = Server::plain();
    let mut http = FlvViewer::open(&server, "/live/nobody.flv");
    wait_until("it is there", SOON, || clients(&server).len() == 1);
    kick(&server, |_| true);
    assert!(ends(&mut http));
    wait_until("the stream is gone", SOON, || list(&get(&server, "streams/"), "streams").is_empty());
}

#[test]
fn with_jsonp() {
    let server = Server::plain();
    let mut publisher = Publisher::live(&server, "live/s");
    let id = text(&clients(&server)[0], "id").to_owned();
    let path = format!("/api/v1/clients/{id}?callback=f&method=DELETE");
    let answer = ask(server.api_addr(), "GET", &path);
    assert!(answer.text.starts_with(r#"f({"code":0,"server":"#), "{}", answer.text);
    assert!(publisher.is_closed(SOON));
}

/// Only clients can be cut off: not the API's own connections, nor whatever else has an id.
#[test]
fn nothing_but_clients() {
    let server = Server::plain();
    let _publisher = Publisher::live(&server, "live/s");
    let id: u64 = text(&clients(&server)[0], "id").parse().unwrap();
    for other in (100..id).chain(id + 1..id + 20) {
        assert_eq!(code(&ask(server.api_addr(), "DELETE", &format!("/api/v1/clients/{other}")).json()), 2049);
    }
    assert_eq!(clients(&server).len(), 1);
    assert_eq!(code(&get(&server, "versions")), 0);
}
