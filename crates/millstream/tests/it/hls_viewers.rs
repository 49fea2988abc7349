//! Viewers of HLS: let in, counted and ended like all others, though they only fetch files.

use crate::harness::api;
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Publisher;
use crate::harness::http::Http;
use crate::harness::media::{aac, avc};
use crate::harness::playlist::Playlist;
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};

const LIST: &str = "/live/s.m3u8";

/// A session lasts two windows without a request: so long that no machine is too busy to ask in time.
fn conf(more: &str) -> Conf {
    conf_with_window(600, more)
}

fn conf_with_window(seconds: u32, more: &str) -> Conf {
    Conf::vhost("publish { normal_timeout 60000; }").and_vhost(&format!(
        "hls {{ enabled on; hls_fragment 1; hls_window {seconds}; hls_path ./html; {more} }}"
    ))
}

/// Status and body.
#[track_caller]
fn get(server: &Server, path: &str) -> (u16, String) {
    let mut answer = Http::get(server.http_addr(), path);
    let body = answer.read_to_end(SOON);
    (answer.head.status, String::from_utf8_lossy(&body).into_owned())
}

/// A stream with segments in its list.
#[track_caller]
fn publish(server: &Server) -> Publisher {
    let mut publisher = Publisher::start(server, "live/s");
    publisher.headers(0);
    show(&mut publisher, 0, 4);
    wait_until("a list of three", SOON, || {
        let list = std::fs::read_to_string(server.dir().join("html/live/s.m3u8"));
        list.is_ok_and(|list| list.contains("s-2.ts"))
    });
    // Tags of files have a dot.
    wait_until("viewers get it from memory", SOON, || {
        let head = api::ask(server.http_addr(), "HEAD", LIST).head;
        head.status == 200 && head.header("etag").is_none_or(|tag| !tag.contains('.'))
    });
    publisher
}

fn show(publisher: &mut Publisher, from: u32, to: u32) {
    for n in from * 25..to * 25 {
        publisher.send(9, n * 40, &avc(n % 25 == 0, 0x1111_1100 + n, 300));
        publisher.send(8, n * 40, &aac(n));
    }
}

/// The path a viewer is sent to.
#[track_caller]
fn sent_to(server: &Server, path: &str) -> String {
    let (status, text) = get(server, path);
    assert_eq!(status, 200, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "#EXTM3U"), "{text}");
    assert!(lines[1].starts_with("#EXT-X-STREAM-INF:BANDWIDTH="), "{text}");
    lines[2].to_owned()
}

fn viewers(server: &Server) -> Vec<serde_json::Value> {
    api::clients(server).into_iter().filter(|client| client["type"] == "hls-play").collect()
}

#[test]
fn a_viewer_is_a_client_as_long_as_it_asks() {
    let backend = Backend::start();
    let server = Server::start(&conf("").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    backend.forget();
    let path = sent_to(&server, "/live/s.m3u8?token=abc");
    assert!(path.starts_with("/live/s.m3u8?hls_ctx=") && path.ends_with("&token=abc"), "{path}");
    let id = path.split(['=', '&']).nth(1).unwrap();
    let play = &backend.expect(&["on_play"])[0];
    assert_eq!((play.field("stream"), play.field("param")), ("s".into(), "?token=abc".into()));

    let (_, text) = get(&server, &path);
    let list = Playlist::read(&text);
    assert!(list.segments.iter().all(|segment| segment.uri.ends_with(&format!("?hls_ctx={id}"))), "{text}");
    let mut segment = Http::get(server.http_addr(), &format!("/live/{}", list.segments[0].uri));
    let length = segment.read_to_end(SOON).len() + text.len();
    let listed = viewers(&server);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((listed[0]["name"].as_str(), listed[0]["publish"].as_bool()), (Some("s"), Some(false)));
    assert_eq!(listed[0]["send_bytes"].as_u64(), Some(length as u64));
    assert_eq!(play.field("client_id"), listed[0]["id"].as_str().unwrap());
    // Asking again is the same viewer.
    get(&server, &path);
    assert_eq!((viewers(&server).len(), backend.actions().len()), (1, 1));
}

#[test]
fn a_viewer_that_asks_no_more_is_gone() {
    let backend = Backend::start();
    let server = Server::start(&conf_with_window(3, "").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    backend.forget();
    let path = sent_to(&server, LIST);
    get(&server, &path);
    // Two windows, and ten seconds at least, without a word.
    backend.expect(&["on_play", "on_stop"]);
    wait_until("it is gone", SOON, || viewers(&server).is_empty());
    // Who comes back is let in again, and goes on with the list at once.
    Playlist::read(&get(&server, &path).1);
    backend.expect(&["on_play", "on_stop", "on_play"]);
}

/// SRS lets them in with the second request, and gives segments to everybody.
#[test]
fn who_is_denied_stays_outside() {
    let backend = Backend::with(|call| match call.action().as_str() {
        "on_play" if !call.field("param").contains("good") => Answer::no(),
        _ => Answer::yes(),
    });
    let server = Server::start(&conf("").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    for _ in 0..3 {
        assert_eq!(get(&server, LIST).0, 403);
        assert_eq!(get(&server, "/live/s.m3u8?hls_ctx=mine").0, 403);
        assert_eq!(get(&server, "/live/s-1.ts?hls_ctx=mine").0, 403);
        assert_eq!(get(&server, "/live/s-1.ts").0, 403);
        assert_eq!(get(&server, "/live/s-1.ts?hls_ctx=..%2F%00").0, 403);
    }
    assert!(viewers(&server).is_empty());
    let path = sent_to(&server, "/live/s.m3u8?t=good");
    let list = Playlist::read(&get(&server, &path).1);
    assert_eq!(get(&server, &format!("/live/{}", list.segments[0].uri)).0, 200);
    // Under another name of the host it is the same stream, and the same door.
    assert_eq!(get(&server, "/live/s.m3u8?vhost=elsewhere.com").0, 403);
    assert!(!backend.actions().contains(&"on_stop".to_owned()));
}

/// What a stream has left on the disk is no way round the door.
#[test]
fn files_of_a_former_run_are_for_nobody_where_viewers_are_checked() {
    let conf = conf("hls_keys on;").and_vhost("security { enabled on; allow publish all; deny play all; }");
    let mut server = Server::start(&conf);
    let publisher = publish(&server);
    drop(publisher);
    server.kill();
    std::fs::write(server.dir().join("html/live/s-2.ts.tmp"), "half").unwrap();
    std::fs::write(server.dir().join("html/live/page.txt"), "text").unwrap();
    server.start_again();
    for file in ["s.m3u8", "s-1.ts", "s-0.key", "s-2.ts.tmp", "s-1.ts?hls_ctx=mine", "s.m3u8?hls_ctx=mine"] {
        assert_eq!(get(&server, &format!("/live/{file}")).0, 404, "{file}");
    }
    assert_eq!(get(&server, "/live/page.txt"), (200, "text".into()), "other files are files");
    server.reload(&self::conf("hls_keys on;"));
    assert_eq!((get(&server, LIST).0, get(&server, "/live/s-1.ts").0), (200, 200), "nobody is checked");
}

#[test]
fn rules_about_addresses_hold_for_viewers_of_files() {
    let server =
        Server::start(&conf("").and_vhost("security { enabled on; allow publish all; deny play all; }"));
    let _publisher = publish(&server);
    assert_eq!((get(&server, LIST).0, get(&server, "/live/s-1.ts").0), (403, 403));
}

#[test]
fn who_is_ended_stays_so() {
    let server = Server::start(&conf(""));
    let _publisher = publish(&server);
    let path = sent_to(&server, LIST);
    get(&server, &path);
    let id = viewers(&server)[0]["id"].as_str().unwrap().to_owned();
    api::ask(server.api_addr(), "DELETE", &format!("/api/v1/clients/{id}")).json();
    wait_until("it is gone", SOON, || viewers(&server).is_empty());
    let (status, text) = get(&server, &path);
    assert!(status == 404 && text.contains("is EOF"), "{status} {text}");
    let ctx = path.split('=').nth(1).unwrap();
    assert_eq!(get(&server, &format!("/live/s-1.ts?hls_ctx={ctx}")).0, 404);
    assert_eq!(get(&server, LIST).0, 200, "as somebody else it may come back");
}

#[test]
fn without_sessions_nobody_is_counted() {
    let backend = Backend::start();
    let server = Server::start(&conf("hls_ctx off;").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    backend.forget();
    Playlist::wait(&server, LIST, "a list", |list| {
        list.segments.iter().all(|segment| !segment.uri.contains('?'))
    });
    assert!(viewers(&server).is_empty() && backend.actions().is_empty());
    // Sessions for lists alone.
    server.reload(&conf("hls_ts_ctx off;").and_vhost(&backend.hooks("")));
    let path = sent_to(&server, LIST);
    let list = Playlist::read(&get(&server, &path).1);
    assert!(list.segments.iter().all(|segment| !segment.uri.contains('?')));
    assert_eq!(get(&server, "/live/s-1.ts").0, 200);
}

/// A player that has an id of the server before goes on.
#[test]
fn ids_outlive_the_server() {
    let mut server = Server::start(&conf(""));
    let publisher = publish(&server);
    let path = sent_to(&server, LIST);
    let before = Playlist::read(&get(&server, &path).1);
    drop(publisher);
    server.kill();
    server.start_again();
    let _publisher = publish(&server);
    wait_until("it goes on", SOON, || {
        let (status, text) = get(&server, &path);
        status == 200 && Playlist::read(&text).next() > before.next()
    });
    assert_eq!(viewers(&server).len(), 1);
}

#[test]
fn keys_are_for_sessions_too() {
    let backend = Backend::start();
    let server = Server::start(&conf("hls_keys on;").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    assert_eq!(get(&server, "/live/s-0.key").0, 403);
    let path = sent_to(&server, LIST);
    let list = Playlist::read(&get(&server, &path).1);
    let key = list.segments[0].key.as_ref().unwrap().split('"').nth(1).unwrap();
    assert!(key.contains("?hls_ctx="), "{key}");
    assert_eq!(get(&server, key).0, 200);
}

/// Whoever asks for nothing but the first list leaves no trace for long, and there is a bound.
#[test]
fn a_reload_that_ends_hls_ends_its_viewers() {
    let server = Server::start(&conf(""));
    let _publisher = publish(&server);
    let path = sent_to(&server, LIST);
    get(&server, &path);
    assert_eq!(viewers(&server).len(), 1);
    server.reload(&conf("enabled off;").and_vhost(""));
    server.reload(&Conf::vhost("hls { enabled off; }"));
    wait_until("nobody watches", SOON, || viewers(&server).is_empty());
}

/// What is only looked at is not watched.
#[test]
fn a_head_is_no_viewer() {
    let server = Server::start(&conf(""));
    let _publisher = publish(&server);
    let mut http = Http::connect(server.http_addr());
    http.send(b"HEAD /live/s.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(http.answer(true).head.status, 200);
    assert!(viewers(&server).is_empty());
}

/// Answers to `hls_ctx` are read when a viewer asks: what `reload_effects.rs` shows of the two directives.
pub(crate) fn sessions_begin_with_the_next_viewer() {
    let server = Server::start(&conf("hls_ctx off;"));
    let _publisher = publish(&server);
    Playlist::wait(&server, LIST, "no session", |list| !list.segments.is_empty());
    server.reload(&conf("hls_ctx on; hls_ts_ctx on;"));
    let path = sent_to(&server, LIST);
    let marked =
        |text: &str| Playlist::read(text).segments.iter().all(|segment| segment.uri.contains("?hls_ctx="));
    assert!(marked(&get(&server, &path).1));
    server.reload(&conf("hls_ctx on; hls_ts_ctx off;"));
    assert!(!marked(&get(&server, &path).1));
}

#[test]
fn sessions_come_with_a_reload() {
    sessions_begin_with_the_next_viewer();
}
