//! Edges: streams that come from an origin while somebody watches them, whatever happens to the origins.

use crate::harness::api;
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Guest, Player, Publisher};
use crate::harness::ffmpeg::{probe, publish_both};
use crate::harness::http::{End, Http};
use crate::harness::media::{FlvViewer, Receive, Viewer, aac, avc, avc_header, kind, serial};
use crate::harness::server::{Conf, Server, free_port, local, moved, shipped};
use crate::harness::target::{Came, Does, Target};
use crate::harness::tls::Pair;
use crate::harness::{SOON, pause, wait_until};
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// An edge of these origins. Nothing lingers unless said.
fn edge_of(origins: &str, lines: &str) -> Conf {
    let cluster = format!("cluster {{ mode remote; origin {origins}; {lines} }}");
    Conf::vhost(&format!("publish {{ normal_timeout 60000; }} {cluster}"))
}

fn origin() -> Server {
    Server::start(&Conf::vhost("publish { normal_timeout 60000; }"))
}

fn at(server: &Server) -> String {
    server.rtmp_addr().to_string()
}

/// The log is written by a thread of its own.
#[track_caller]
fn await_log(server: &Server, line: &str) {
    wait_until(&format!("{line} in the log"), SOON, || server.log().contains(line));
}

/// Players, edges among them.
fn players(server: &Server) -> usize {
    api::clients(server).iter().filter(|client| api::text(client, "type") == "Play").count()
}

#[track_caller]
fn await_players(server: &Server, count: usize) {
    wait_until(&format!("{count} players"), SOON, || players(server) == count);
}

fn send(publisher: &mut Publisher, serials: std::ops::Range<u32>) {
    for n in serials {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 300));
        publisher.send(8, 40 * n, &aac(n));
    }
}

/// Somebody who accepts connections and, once spoken to, does nothing but this with them.
fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            std::thread::spawn(move || {
                let mut taken = [0; 4096];
                let _ = socket.read(&mut taken).and_then(|_| socket.write_all(says));
                while matches!(socket.read(&mut taken), Ok(n) if n > 0) {}
            });
        }
    });
    address
}

/// A port nobody listens on.
fn nobody() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[test]
fn viewers_of_all_kinds_share_one_pull() {
    let origin = origin();
    let edge = Server::start(&edge_of(&at(&origin), "pull_linger 0;"));
    let mut publisher = Publisher::live(&origin, "live/s");
    let mut first = Player::start(&edge, "live/s?token=x");
    first.until_serial(4);
    let mut second = FlvViewer::open(&edge, "/live/s.flv");
    second.of(FrameKind::VideoHeader);
    second.until_serial(4);
    send(&mut publisher, 5..8);
    first.until_serial(7);
    second.until_serial(7);
    assert_eq!(players(&origin), 1, "one pull for both");
    await_log(&edge, "source url=/live/s, is_edge=1");
    await_log(&edge, "edge pull connected, url=/live/s?token=***");
    // The first player's parameters are what the origin sees.
    await_log(&origin, "param=?token=");

    let clients = api::clients(&edge);
    assert_eq!(clients.len(), 2, "the pull is no client: {clients:?}");
    let rtmp = clients.iter().find(|client| !api::text(client, "tcUrl").ends_with("127.0.0.1/live")).unwrap();
    let streams = api::get(&edge, "streams/");
    let stream = &api::list(&streams, "streams")[0];
    assert_eq!(stream["publish"]["active"], true);
    assert_eq!(stream["publish"]["cid"], rtmp["id"], "as in SRS: the first player");
    assert!(stream["recv_bytes"].as_u64().unwrap() > 1000, "{stream}");

    drop(first);
    await_players(&edge, 1);
    send(&mut publisher, 8..10);
    second.until_serial(9);
    drop(second);
    await_players(&origin, 0);
    wait_until("the edge forgets the stream", SOON, || {
        api::list(&api::get(&edge, "streams/"), "streams").is_empty()
    });
    // And once more.
    let mut again = FlvViewer::open(&edge, "/live/s.flv");
    again.frame();
}

#[test]
fn a_stream_lingers_for_those_who_come_back() {
    let origin = origin();
    let edge = Server::start(&edge_of(&at(&origin), "pull_linger 600;"));
    let mut publisher = Publisher::live(&origin, "live/s");
    Player::start(&edge, "live/s").until_serial(4);
    await_players(&edge, 0);
    send(&mut publisher, 5..7);
    Player::start(&edge, "live/s").until_serial(6);
    assert_eq!(origin.log().matches("type=Play").count(), 1, "the same pull");
}

#[test]
fn viewers_wait_for_the_publisher() {
    let origin = origin();
    let edge = Server::start(&edge_of(&at(&origin), ""));
    let mut player = Player::start(&edge, "live/s");
    await_players(&origin, 1);
    assert_eq!(api::list(&api::get(&edge, "streams/"), "streams")[0]["publish"]["active"], false);
    let mut publisher = Publisher::live(&origin, "live/s");
    player.until_serial(4);
    // A publisher who comes back is the same stream for them.
    drop(publisher);
    wait_until("the origin has noticed", SOON, || players(&origin) == api::clients(&origin).len());
    publisher = Publisher::live(&origin, "live/s");
    send(&mut publisher, 5..8);
    player.until_serial(7);
}

/// Publishes to both origins the same serials, a bit apart in time, until told otherwise; gives what each viewer got
/// before and after the first origin was killed.
fn failover(protocol: &str, address: impl Fn(&Server) -> String) {
    let mut origins = [origin(), origin()];
    let list = format!("{} {}", address(&origins[0]), address(&origins[1]));
    let edge = Server::start(&edge_of(&list, &format!("protocol {protocol};")));
    let mut publishers = [Publisher::live(&origins[0], "live/s"), Publisher::live(&origins[1], "live/s")];
    let mut player = Player::start(&edge, "live/s");
    let mut viewer = FlvViewer::open(&edge, "/live/s.flv");
    player.until_serial(4);
    viewer.until_serial(4);
    let from = usize::from(players(&origins[0]) == 0);
    send(&mut publishers[from], 5..20);
    let mut before = player.until_serial(19);
    viewer.until_serial(19);

    origins[from].kill();
    let killed = Instant::now();
    // What the other one has published ends at 4; its headers come again.
    let mut after = vec![player.of(FrameKind::VideoHeader)];
    let other = &mut publishers[1 - from];
    send(other, 20..40);
    after.extend(player.until_serial(39));
    viewer.of(FrameKind::VideoHeader);
    viewer.until_serial(39);
    assert!(killed.elapsed() < SOON);
    assert_eq!(players(&edge), 2, "nobody had to come back");

    before.extend(after);
    let media = before.iter().filter(|tag| kind(tag).is_some_and(|kind| !kind.is_header()));
    let video: Vec<&Tag> = media.filter(|tag| tag.tag_type == 9).collect();
    for pair in video.windows(2) {
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!(step < 1000, "{} after {}: one timeline", pair[1].timestamp, pair[0].timestamp);
    }
}

#[test]
fn an_origin_is_killed_and_viewers_are_fed_by_another() {
    failover("rtmp", at);
}

#[test]
fn the_same_over_http_flv() {
    failover("flv", |origin| origin.http_addr().to_string());
}

#[test]
fn an_origin_that_comes_back_is_found_again() {
    let mut origin = origin();
    let edge = Server::start(&edge_of(&at(&origin), ""));
    let publisher = Publisher::live(&origin, "live/s");
    let mut player = Player::start(&edge, "live/s");
    player.until_serial(4);
    origin.kill();
    drop(publisher);
    wait_until("the edge notices", SOON, || edge.log().contains("again in"));
    origin.start_again();
    let mut publisher = Publisher::live(&origin, "live/s");
    send(&mut publisher, 5..9);
    player.until_serial(8);
}

#[test]
fn strangers_among_the_origins_cost_little_time() {
    let origin = origin();
    let _publisher = Publisher::live(&origin, "live/s");
    let (silent, garbage, nobody) = (stranger(b""), stranger(&[0xd7; 5000]), nobody());
    let edge = Server::start(&edge_of(&format!("{silent} {garbage} {nobody} {}", at(&origin)), ""));
    Player::start(&edge, "live/s").until_serial(4);
    await_log(&edge, &format!("from {garbage}: code=2"));
    await_log(&edge, &format!("from {nobody}: code=1018"));
}

#[test]
fn viewers_of_streams_that_nobody_has_are_sent_away() {
    let (silent, garbage) = (stranger(b""), stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let edge = Server::start(&edge_of(&format!("{silent} {garbage} {}", nobody()), "pull_give_up 1;"));
    let mut viewer = FlvViewer::open(&edge, "/live/s.flv");
    let mut player = Player::start(&edge, "live/s");
    assert!(player.is_closed(SOON));
    let (tags, end) = viewer.rest();
    assert_eq!((tags.len(), end), (0, End::FinalChunk), "a proper end");
    wait_until("the log says why", SOON, || {
        let log = edge.log();
        log.contains("no origin has given anything of /live/s for 1s")
            && log.contains("code=2048 : no origin has the stream")
    });
    assert!(api::clients(&edge).is_empty());
}

#[test]
fn viewers_over_http_have_a_proper_end_whatever_they_watch() {
    for (format, pair) in [("ts", None), ("flv", Some(Pair::new()))] {
        let mut origin = origin();
        let _publisher = Publisher::live(&origin, "live/s");
        let cluster =
            format!("cluster {{ mode remote; origin {}; pull_linger 600; pull_give_up 1; }}", at(&origin));
        let tls = free_port();
        let edge = Server::start_with(|command, ports, dir| {
            let mut text = Conf::mounting(format, "").and_vhost(&cluster).text(ports, dir);
            if let Some(pair) = &pair {
                pair.write(dir);
                let https = format!(
                    "https {{ enabled on; listen 127.0.0.1:{tls}; key ./server.key; cert ./server.crt; }}"
                );
                text = text.replace("http_server {", &format!("http_server {{ {https}"));
            }
            std::fs::write(dir.join("srs.conf"), text).unwrap();
            command.args(["-c", "srs.conf"]);
        });
        let open = |name: &str| {
            let path = format!("/live/{name}.{format}");
            match &pair {
                Some(pair) => Http::get_tls(local(tls), pair, &path),
                None => Http::get(edge.http_addr(), &path),
            }
        };
        // One who has seen something, and one who waits.
        let (mut seen, mut waiting) = (open("s"), open("nothing"));
        assert!(!seen.read(SOON).is_empty());
        origin.kill();
        for body in [&mut seen, &mut waiting] {
            body.read_to_end(SOON);
            assert_eq!(body.ended(), Some(End::FinalChunk), "{format}");
        }
    }
}

#[test]
fn redirects_in_circles_have_an_end_over_http_too() {
    let circle = stranger(b"HTTP/1.1 302 Found\r\nLocation: /live/s.flv\r\nContent-Length: 0\r\n\r\n");
    let edge = Server::start(&edge_of(&circle, "protocol flv; pull_give_up 1;"));
    assert!(Player::start(&edge, "live/s").is_closed(SOON));
    await_log(&edge, "redirected more than 3 times");
}

#[test]
fn an_origin_that_has_it_not_over_http_says_so() {
    let origin = Server::start(&Conf::mounting("ts", ""));
    let edge = Server::start(&edge_of(&origin.http_addr().to_string(), "protocol flv; pull_give_up 1;"));
    let mut player = Player::start(&edge, "live/s");
    assert!(player.is_closed(SOON));
    await_log(&edge, "code=2048: the server answers with status 404");
}

#[test]
fn what_runs_beside_a_stream_runs_on_an_edge_and_callbacks_of_publishers_do_not() {
    let origin = origin();
    let hooks = Backend::with(|_| Answer::yes());
    let url = hooks.url("/h");
    let lines = format!(
        "http_hooks {{ enabled on; on_publish {url}; on_unpublish {url}; on_play {url}; on_stop {url}; on_dvr {url}; }}
         dvr {{ enabled on; dvr_path ./rec/[stream].flv; }}"
    );
    let edge = Server::start(&edge_of(&at(&origin), "pull_linger 0;").and_vhost(&lines));
    let publisher = publish_both(&origin.rtmp("live/s"));
    let player = Player::start(&edge, "live/s");
    probe(&edge.http("live/s.flv"), 100).assert_sound();
    drop(player);
    await_players(&origin, 0);
    drop(publisher);
    let file = edge.dir().join("rec/s.flv");
    wait_until("the recording is told", SOON, || hooks.calls().iter().any(|call| call.action() == "on_dvr"));
    assert!(std::fs::metadata(&file).unwrap().len() > 10_000);
    let actions: Vec<String> = hooks.calls().iter().map(|call| call.action()).collect();
    assert!(
        actions.iter().all(|action| ["on_play", "on_stop", "on_dvr"].contains(&&**action)),
        "{actions:?}"
    );
}

#[test]
fn fifty_rounds_leave_nothing_behind() {
    let origin = origin();
    let _publisher = Publisher::live(&origin, "live/s");
    let list = format!("{} {} {}", at(&origin), stranger(b""), nobody());
    let edge = Server::start(&edge_of(&list, "pull_linger 0;"));
    let files = || std::fs::read_dir(format!("/proc/{}/fd", edge.pid())).unwrap().count();
    let mut round = |n: u32| {
        let name = if n.is_multiple_of(2) { "live/s".to_owned() } else { format!("live/nothing{n}") };
        let mut player = Player::start(&edge, &name);
        if n.is_multiple_of(2) {
            player.frame();
        }
        drop(player);
        await_players(&edge, 0);
    };
    (0..6).for_each(&mut round);
    let quiet = |what: &str| {
        wait_until(what, SOON, || {
            players(&origin) == 0 && api::list(&api::get(&edge, "streams/"), "streams").is_empty()
        });
    };
    quiet("warm");
    wait_until("sockets are closed", SOON, || !edge.log().is_empty() && files() < 40);
    let (fds, rss) = (files(), edge.rss_kb());
    (6..56).for_each(&mut round);
    quiet("all pulls are gone");
    // The question itself has a connection.
    wait_until("all sockets are closed", SOON, || files() <= fds + 2);
    assert!(edge.rss_kb() < rss + 8 * 1024, "{} KiB after {rss}", edge.rss_kb());
}

#[test]
fn the_origin_decides_who_may_come() {
    let origin = origin();
    let _publisher = Publisher::live(&origin, "live/s");
    let edge = Server::start(&edge_of(&format!("{} {}", nobody(), at(&origin)), "token_traverse on;"));
    Player::start(&edge, "live/s").until_serial(4);
    FlvViewer::open(&edge, "/live/s.flv?token=x").until_serial(4);
    wait_until("both were asked for", SOON, || edge.log().matches("edge token auth ok").count() == 2);
    let closed = Server::start(&edge_of(&nobody(), "token_traverse on;"));
    assert!(Player::ask(&closed, "live/s").is_err());
    assert_eq!(Http::get(closed.http_addr(), "/live/s.flv").head.status, 403);
    assert!(Publisher::ask(&closed, "live/s").is_err());
    wait_until("all are refused", SOON, || closed.log().matches("code=3067").count() == 3);
}

/// The origin hears the client's own connect, and what it answers counts, for those who publish too.
#[test]
fn tokens_are_checked_in_the_connect_that_the_client_has_made() {
    let checks = Target::with(|_| Does::Bar);
    let edge = Server::start(&edge_of(&checks.address(), "token_traverse on;"));
    let page = "http://a.com/page.html";
    assert!(Guest::from_page(&edge, "live?token=x", page).play("s").is_err());
    let came =
        checks.wait_until("the origin is asked", |came| came.iter().any(|came| came.connect.is_some()));
    let connect = came[0].connect.clone().unwrap();
    assert_eq!((&*connect.tc_url, &*connect.page_url), (&*edge.rtmp("live?token=x"), page));
    assert_eq!(connect.app, "live");
    assert!(connect.args.is_none_or(|args| args.get("srs_sig").is_none()), "not our own");
    assert!(Guest::from_page(&edge, "live?token=y", page).publish("s").is_err());
    wait_until("both are refused", SOON, || edge.log().matches("code=3067").count() == 2);
    assert!(!edge.log().contains("token=x"));

    checks.does(|_| Does::Take);
    drop(Guest::from_page(&edge, "live?token=z", page).publish("s").unwrap());
    let came = checks
        .wait_until("asked, and published to", |came| came.iter().any(|came| came.stream == "s?token=z"));
    let asked =
        came.iter().filter(|came| came.connect.as_ref().is_some_and(|c| c.tc_url.ends_with("token=z")));
    assert_eq!(asked.count(), 1, "{came:?}");
}

/// What the origin's log says of the next stream somebody watches.
#[track_caller]
fn arrives(edge: &Server, origin: &Server, name: &str, line: &str) {
    let before = origin.log().len();
    let _player = Player::start(edge, &format!("live/{name}"));
    wait_until(&format!("{line} in the origin's log"), SOON, || origin.log()[before..].contains(line));
}

/// `origin`, `vhost`, `debug_srs_upnode`, `protocol`, `follow_client`, `token_traverse`.
#[test]
pub(crate) fn a_reload_counts_for_the_next_pull() {
    let (a, b) = (origin(), origin());
    let recorder = Target::start();
    let edge = Server::start(&edge_of(&recorder.address(), ""));
    let introduced = |count: usize| {
        let signs = |came: &Came| came.connect.as_ref()?.args.as_ref()?.get("srs_sig").map(|_| ());
        let _player = Player::start(&edge, &format!("live/i{count}"));
        let came = recorder
            .wait_until("a pull", |came| came.iter().filter(|came| came.connect.is_some()).count() == count);
        came.iter().filter_map(signs).count()
    };
    assert_eq!(introduced(1), 1);
    edge.reload(&edge_of(&recorder.address(), "debug_srs_upnode off;"));
    assert_eq!(introduced(2), 1);
    edge.reload(&edge_of(&at(&a), "vhost cdn.example;"));
    arrives(&edge, &a, "s3", "tcUrl=rtmp://cdn.example:");
    edge.reload(&edge_of(&at(&b), ""));
    arrives(&edge, &b, "s4", "stream=s4");
    let http = b.http_addr().to_string();
    edge.reload(&edge_of(&http, "protocol flv;"));
    arrives(&edge, &b, "s5", "HTTP GET /live/s5.flv");
    edge.reload(&edge_of(&at(&b), "protocol flv; follow_client on;"));
    arrives(&edge, &b, "s6", "stream=s6");
    edge.reload(&edge_of(&nobody(), "token_traverse on;"));
    assert!(Player::ask(&edge, "live/s7").is_err());
}

/// `origin_order`.
#[test]
pub(crate) fn streams_are_spread_or_stay_where_they_are() {
    let origins = [origin(), origin()];
    let publishers = [Publisher::live(&origins[0], "live/s"), Publisher::live(&origins[1], "live/s")];
    let list = format!("{} {}", at(&origins[0]), at(&origins[1]));
    let edge = Server::start(&edge_of(&list, "pull_linger 0;"));
    let ask = |times: usize| {
        let count = |origin: &Server| origin.log().matches("type=Play").count();
        let before = [count(&origins[0]), count(&origins[1])];
        for _ in 0..times {
            Player::start(&edge, "live/s").until_serial(4);
            wait_until("the pull is over", SOON, || players(&origins[0]) + players(&origins[1]) == 0);
        }
        [count(&origins[0]) - before[0], count(&origins[1]) - before[1]]
    };
    let spread = ask(4);
    assert!(spread[0] >= 2 && spread[1] >= 2, "{spread:?}");
    edge.reload(&edge_of(&list, "pull_linger 0; origin_order hash;"));
    let home = ask(4);
    // On a busy machine the other one may be asked too.
    assert!(home[0] >= 4 || home[1] >= 4, "{home:?}");
    drop(publishers);
}

/// `pull_linger`, `pull_give_up`.
#[test]
pub(crate) fn a_reload_changes_how_long_is_waited() {
    let origin = origin();
    let _publisher = Publisher::live(&origin, "live/s");
    let edge = Server::start(&edge_of(&at(&origin), "pull_linger 600; pull_give_up 0;"));
    Player::start(&edge, "live/s").until_serial(4);
    await_players(&edge, 0);
    edge.reload(&edge_of(&at(&origin), "pull_linger 0; pull_give_up 1;"));
    // A newcomer ends the long wait, and when it leaves the new one holds.
    Player::start(&edge, "live/s").until_serial(4);
    await_players(&origin, 0);
    assert!(Player::start(&edge, "live/nothing").is_closed(SOON));
}

#[test]
fn a_slow_origin_is_not_taken_for_a_dead_one() {
    let origin = origin();
    let edge = Server::start(&edge_of(&at(&origin), ""));
    let mut publisher = Publisher::start(&origin, "live/s");
    publisher.send(9, 0, &avc_header());
    publisher.send(9, 0, &avc(true, 0, 300));
    let mut player = Player::start(&edge, "live/s");
    player.until_serial(0);
    // Longer than a silent line is trusted without a question.
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(4) {
        pause();
    }
    publisher.send(9, 4000, &avc(false, 1, 300));
    player.until_serial(1);
    assert_eq!(origin.log().matches("type=Play").count(), 1);
    assert_eq!(
        serial(&{
            publisher.send(9, 4040, &avc(false, 2, 300));
            player.next(SOON).unwrap()
        }),
        2
    );
    drop(publisher);
}

/// The files of `conf/`, with the servers they name where the test has them.
#[test]
fn the_examples_of_edges() {
    let source = Server::example("origin.conf", |text| text.replace("19350", "1935"));
    let here = source.rtmp_addr().to_string();
    let encoder = publish_both(&source.rtmp("live/livestream"));
    for name in
        ["edge.conf", "edge.token.traverse.conf", "http.flv.live.edge1.conf", "http.flv.live.edge2.conf"]
    {
        let edge = Server::example(name, |text| {
            let text = text.replace("127.0.0.1:19350", &here).replace("127.0.0.1:1935;", &format!("{here};"));
            let text = text.replace("19351", "1935").replace("19352", "1935");
            text.replace("8081", "8080").replace("8082", "8080")
        });
        probe(&edge.rtmp("live/livestream"), 60).assert_sound();
        if name.starts_with("http.flv") {
            probe(&edge.http("live/livestream.flv"), 60).assert_sound();
        }
    }
    drop(encoder);
    let transform = Server::start_with(|command, ports, dir| {
        let text = std::fs::read_to_string(shipped().join("transform.edge.conf")).unwrap();
        let text = text.replace("127.0.0.1:1935;", &format!("127.0.0.1:{};", ports.rtmp));
        let extra = format!("http_server {{ enabled on; listen 127.0.0.1:{}; }}", ports.http);
        std::fs::write(dir.join("srs.conf"), moved(&text, ports) + &extra).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let _encoder = publish_both(&transform.rtmp("live/livestream"));
    probe(&transform.rtmp("live?vhost=same.edge.srs.com/livestream"), 60).assert_sound();
}

#[test]
fn every_format_is_served_by_an_edge() {
    let origin = origin();
    let _encoder = publish_both(&origin.rtmp("live/s"));
    let cluster = format!("cluster {{ mode remote; origin {}; }}", at(&origin));
    for (format, tracks) in [("ts", 2), ("aac", 1)] {
        let edge = Server::start(&Conf::mounting(format, "").and_vhost(&cluster));
        let probe = probe(&edge.http(&format!("live/s.{format}")), 60);
        assert_eq!(probe.codecs.len(), tracks, "{format}: {probe:?}");
        probe.assert_sound();
    }
}

#[test]
fn streams_come_over_https_from_origins_whose_certificate_is_trusted() {
    let (pair, tls) = (Pair::new(), free_port());
    let origin = Server::start_with(|command, ports, dir| {
        pair.write(dir);
        let https =
            format!("https {{ enabled on; listen 127.0.0.1:{tls}; key ./server.key; cert ./server.crt; }}");
        let text = Conf::vhost("publish { normal_timeout 60000; }").text(ports, dir);
        let text = text.replace("http_server {", &format!("http_server {{ {https}"));
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let _publisher = Publisher::live(&origin, "live/s");
    let conf = edge_of(&format!("127.0.0.1:{tls}"), "protocol flvs; pull_give_up 1;");
    let edge = |trusts: bool| {
        Server::start_with(|command, ports, dir| {
            std::fs::write(dir.join("srs.conf"), conf.text(ports, dir)).unwrap();
            command.args(["-c", "srs.conf"]);
            if trusts {
                command.env("SSL_CERT_FILE", origin.dir().join("server.crt"));
            }
        })
    };
    Player::start(&edge(true), "live/s").until_serial(4);
    let other = edge(false);
    assert!(Player::start(&other, "live/s").is_closed(SOON));
    await_log(&other, "no TLS");
}

#[test]
fn an_edge_dies_and_its_viewers_are_served_by_another() {
    let origin = origin();
    let mut publisher = Publisher::live(&origin, "live/s");
    let mut edges = [(); 2].map(|()| Server::start(&edge_of(&at(&origin), "")));
    let mut player = Player::start(&edges[0], "live/s");
    player.until_serial(4);
    edges[0].kill();
    assert!(player.is_closed(SOON));
    send(&mut publisher, 5..9);
    Player::start(&edges[1], "live/s").until_serial(8);
    wait_until("the origin knows one edge", SOON, || players(&origin) == 1);
}

#[test]
fn a_playlist_that_is_asked_for_gets_the_stream() {
    let origin = origin();
    let _encoder = publish_both(&origin.rtmp("live/s"));
    let lines = "hls { enabled on; hls_fragment 1; hls_path ./html; } dash { enabled on; dash_fragment 1; dash_path ./html; } \
                 hds { enabled on; hds_fragment 1; hds_path ./html; }";
    let edge = Server::start(&edge_of(&at(&origin), "").and_vhost(lines));
    let playlist = api::read(Http::get(edge.http_addr(), "/live/s.m3u8"));
    assert_eq!(playlist.head.status, 200);
    assert!(playlist.text.starts_with("#EXTM3U"), "{}", playlist.text);
    probe(&edge.http("live/s.m3u8"), 60).assert_sound();
    let manifest = api::read(Http::get(edge.http_addr(), "/live/s.mpd"));
    assert_eq!(manifest.head.status, 200);
    assert!(manifest.text.contains("<MPD"), "{}", manifest.text);
    assert_eq!(players(&origin), 1, "one pull for all");
    // Each of them by itself.
    let edge = Server::start(&edge_of(&at(&origin), "").and_vhost(lines));
    let manifest = api::read(Http::get(edge.http_addr(), "/live/s.f4m"));
    assert_eq!(manifest.head.status, 200);
    assert!(manifest.text.contains("<manifest"), "{}", manifest.text);
}

#[test]
fn a_playlist_of_a_stream_that_nobody_has_is_not_found() {
    let edge = Server::start(
        &edge_of(&nobody(), "pull_give_up 1;").and_vhost("hls { enabled on; hls_path ./html; }"),
    );
    assert_eq!(Http::get(edge.http_addr(), "/live/s.m3u8").head.status, 404);
    assert!(api::clients(&edge).is_empty());
}

#[test]
fn an_edge_that_is_its_own_origin_notices() {
    for protocol in ["rtmp", "flv"] {
        let edge = Server::start_with(|command, ports, dir| {
            let port = if protocol == "rtmp" { ports.rtmp } else { ports.http };
            let conf =
                edge_of(&format!("127.0.0.1:{port}"), &format!("protocol {protocol}; pull_give_up 1;"));
            std::fs::write(dir.join("srs.conf"), conf.text(ports, dir)).unwrap();
            command.args(["-c", "srs.conf"]);
        });
        assert!(Player::start(&edge, "live/s").is_closed(SOON));
        await_log(&edge, "it goes in a circle");
    }
}
