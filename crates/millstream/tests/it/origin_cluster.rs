//! Origins that send players to the one that has the stream.

use crate::harness::api;
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{probe, publish_both};
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Viewer};
use crate::harness::server::{Conf, Server, shipped};
use crate::harness::{SOON, wait_until};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// The log is written by a thread of its own.
#[track_caller]
fn await_log(server: &Server, line: &str) {
    wait_until(&format!("{line} in the log"), SOON, || server.log().contains(line));
}

/// An origin with these coworkers.
fn origin(coworkers: &str) -> Conf {
    let cluster = format!("cluster {{ mode local; origin_cluster on; coworkers {coworkers}; }}");
    Conf::vhost(&format!("publish {{ normal_timeout 60000; }} {cluster}"))
}

fn plain() -> Conf {
    Conf::vhost("publish { normal_timeout 60000; }")
}

fn api_of(server: &Server) -> String {
    server.api_addr().to_string()
}

fn address(backend: &Backend) -> String {
    backend.url("").trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn edge_of(origins: &[&Server], lines: &str) -> Server {
    let list: Vec<String> = origins.iter().map(|origin| origin.rtmp_addr().to_string()).collect();
    Server::start(&Conf::vhost(&format!("cluster {{ mode remote; origin {}; {lines} }}", list.join(" "))))
}

/// What a coworker answers that knows an origin at this port.
fn found(port: u16) -> String {
    format!(
        r#"{{"code":0,"data":{{"query":{{}},"origin":{{"ip":"127.0.0.1","port":{port},"vhost":"v","api":"","routers":[]}}}}}}"#
    )
}

#[test]
fn an_edge_is_sent_to_the_origin_that_has_the_stream() {
    let there = Server::start(&plain());
    let here = Server::start(&origin(&api_of(&there)));
    let _publisher = Publisher::live(&there, "live/s");
    let edge = edge_of(&[&here], "");
    Player::start(&edge, "live/s?k=v").until_serial(4);
    await_log(&edge, &format!("redirects to {}", there.rtmp_addr()));
    await_log(&edge, &format!("edge pull connected, url=/live/s?k=***, server={}", there.rtmp_addr()));
    // The parameters go along.
    await_log(&there, "param=?k=");
    // Who knows nothing of redirects is closed, after the message.
    assert!(Player::start(&here, "live/s").is_closed(SOON));
    await_log(&here, "code=2997 : redirected");
}

#[test]
fn a_viewer_over_http_is_sent_there_too() {
    let there = Server::start(&plain());
    let here = Server::start(&origin(&api_of(&there)));
    let _publisher = Publisher::live(&there, "live/s");
    let answer = Http::get(here.http_addr(), "/live/s.flv?k=v");
    assert_eq!(answer.head.status, 302);
    let expected = format!("http://{}/live/s.flv?k=v", there.http_addr());
    assert_eq!(answer.head.header("location"), Some(&*expected));
    // And edges follow.
    let list = here.http_addr();
    let edge =
        Server::start(&Conf::vhost(&format!("cluster {{ mode remote; protocol flv; origin {list}; }}")));
    FlvViewer::open(&edge, "/live/s.flv").until_serial(4);
}

#[test]
fn a_stream_that_is_here_is_served_here() {
    let here = Server::start(&origin("127.0.0.1:1"));
    let _publisher = Publisher::live(&here, "live/s");
    Player::start(&here, "live/s").until_serial(4);
}

#[test]
fn a_stream_that_nobody_has() {
    let there = Server::start(&plain());
    // Itself among them: SRS's examples have it so.
    let here = Server::start_with(|command, ports, dir| {
        let list = format!("127.0.0.1:{} {} 127.0.0.1:1", ports.api, there.api_addr());
        let file = dir.join("srs.conf");
        std::fs::write(&file, origin(&list).text(ports, dir)).unwrap();
        command.arg("-c").arg(file);
    });
    assert!(Player::start(&here, "live/s").is_closed(SOON));
    await_log(&here, "code=3090 : no origin has the stream");
    await_log(&here, "coworker 127.0.0.1:1: no connection");
}

#[test]
fn coworkers_that_are_slow_or_wrong_take_bounded_time() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let wrong = Backend::with(|_| Answer::Say(200, "<html>".into()));
    let endless = Backend::with(|_| Answer::Say(200, "x".repeat(1 << 20)));
    let list = [silent.local_addr().unwrap().to_string(), address(&wrong), address(&endless)].join(" ");
    let here = Server::start(&origin(&list));
    let asked = Instant::now();
    assert!(Player::start(&here, "live/s").is_closed(SOON));
    assert!(asked.elapsed() < Duration::from_secs(15));
    await_log(&here, "the answer not finished within 2s");
    await_log(&here, "is not that of an origin");
    // One that knows is heard at once, whoever else is asked.
    let there = Server::start(&plain());
    let _publisher = Publisher::live(&there, "live/s");
    here.reload(&origin(&format!("{list} {}", api_of(&there))));
    Player::start(&edge_of(&[&here], ""), "live/s").until_serial(4);
}

#[test]
fn circles_have_an_end() {
    // An origin whose coworker says: go there, and there is where the player comes from.
    let here = Server::start(&plain());
    let port = here.ports().rtmp;
    let liar = Backend::with(move |_| Answer::Say(200, found(port)));
    here.reload(&origin(&address(&liar)));
    let edge = edge_of(&[&here], "pull_give_up 2;");
    assert!(Player::start(&edge, "live/s").is_closed(SOON));
    await_log(&edge, "redirected more than 3 times");
}

/// `origin_cluster`, `coworkers`.
#[test]
pub(crate) fn a_reload_counts_for_the_next_player() {
    let there = Server::start(&plain());
    let _publisher = Publisher::live(&there, "live/s");
    let here = Server::start(&plain());
    let edge = edge_of(&[&here], "pull_linger 0;");
    here.reload(&origin("127.0.0.1:1"));
    assert!(Player::start(&here, "live/s").is_closed(SOON));
    here.reload(&origin(&api_of(&there)));
    Player::start(&edge, "live/s").until_serial(4);
}

#[test]
fn origins_tell_where_they_deliver() {
    let there = Server::start(&plain());
    let ask = |stream: &str| {
        let path = format!("/api/v1/clusters?vhost=v&ip=h&app=live&stream={stream}&coworker=10.0.0.9:1985");
        api::ask(there.api_addr(), "POST", &path).json()
    };
    let _publisher = Publisher::live(&there, "live/s");
    let origin = &ask("s")["data"]["origin"];
    assert_eq!(origin["ip"], "10.0.0.9", "listens on the loopback only, so the name the other has for it");
    assert_eq!(origin["port"], there.ports().rtmp);
    assert_eq!(origin["http"], format!("10.0.0.9:{}", there.ports().http));
    assert!(ask("other")["data"]["origin"].is_null());
}

/// The files of `conf/`, with their servers where the test has them.
#[test]
fn the_examples_of_an_origin_cluster() {
    let plain = |text: String| {
        let text = text.replace("19350", "1935").replace("19351", "1935").replace("19352", "1935");
        text.replace("9090", "1985").replace("9091", "1985").replace("9092", "1985")
    };
    let with = |coworkers: &str, api: &str| {
        let text =
            std::fs::read_to_string(shipped().join(format!("origin.cluster.server{api}.conf"))).unwrap();
        let line = text.lines().find(|line| line.contains("coworkers ")).unwrap().to_owned();
        let coworkers = coworkers.to_owned();
        move |text: String| plain(text.replace(&line, &format!("coworkers {coworkers};")))
    };
    // Each knows those that were started before it; the last one knows both.
    let c = Server::example("origin.cluster.serverC.conf", with("127.0.0.1:1", "C"));
    let b = Server::example("origin.cluster.serverB.conf", with(&api_of(&c), "B"));
    let a =
        Server::example("origin.cluster.serverA.conf", with(&format!("{} {}", api_of(&b), api_of(&c)), "A"));
    let edge = Server::example("origin.cluster.edge.conf", |text| {
        let line = text.lines().find(|line| line.contains("origin  ")).unwrap().to_owned();
        text.replace(&line, &format!("origin {};", a.rtmp_addr()))
    });
    for (server, name) in [(&a, "live/a"), (&b, "live/b"), (&c, "live/c")] {
        let _encoder = publish_both(&server.rtmp(name));
        probe(&edge.rtmp(name), 60).assert_sound();
    }
}

/// SRS 3 takes the question as it stands and answers with the host of `coworker`: nothing in it may be encoded that
/// need not be.
#[test]
fn the_question_is_one_that_srs_understands() {
    let coworker =
        Backend::with(|_| Answer::Say(200, r#"{"code":0,"data":{"query":{},"origin":null}}"#.into()));
    let here = Server::start(&origin(&address(&coworker)));
    assert!(Player::start(&here, "live/s-1_a.b").is_closed(SOON));
    let calls = coworker.calls();
    let expected = format!(
        "/api/v1/clusters?vhost=__defaultVhost__&ip=127.0.0.1&app=live&stream=s-1_a.b&coworker={}",
        address(&coworker)
    );
    assert_eq!(
        (calls.len(), calls[0].method.as_str(), calls[0].path.as_str()),
        (1, "POST", expected.as_str())
    );
}
