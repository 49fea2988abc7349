//! HTTP-FLV as HTTP: framing by version, headers for web players, life of a request around the life of the
//! stream, and everything that is not a stream.

use crate::harness::client::Publisher;
use crate::harness::http::{End, Http, Raw};
use crate::harness::media::{FlvViewer, Viewer, avc, avc_header};
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};
use std::time::Duration;

/// A stream with one group of pictures, serials 0 to 4.
fn live(server: &Server, stream: &str) -> Publisher {
    let mut publisher = Publisher::start(server, stream);
    publisher.send(9, 0, &avc_header());
    for n in 0..5 {
        publisher.send(9, 40 * n, &avc(n == 0, n, 200));
    }
    publisher
}

fn request(server: &Server, text: &str) -> crate::harness::http::Body {
    Http::request(server.http_addr(), text)
}

#[test]
fn a_new_client_gets_chunks_and_an_old_one_a_plain_body() {
    let server = Server::plain();
    let _publisher = live(&server, "live/s");

    let new = request(&server, "GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(new.chunked());
    assert_eq!(new.head.version, "HTTP/1.1");
    assert_eq!(new.head.header("content-length"), None);
    FlvViewer::new(new).until_serial(4);

    let old = request(&server, "GET /live/s.flv HTTP/1.0\r\n\r\n");
    assert!(!old.chunked());
    assert_eq!(old.head.header("content-length"), None);
    FlvViewer::new(old).until_serial(4);
}

#[test]
fn a_web_page_of_another_host_may_read_the_stream() {
    let server = Server::plain();
    let _publisher = live(&server, "live/s");
    let body = request(&server, "GET /live/s.flv HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\r\n");
    assert_eq!(body.head.status, 200);
    assert_eq!(body.head.header("access-control-allow-origin"), Some("*"));
    let methods = body.head.header("access-control-allow-methods").unwrap_or_default();
    assert!(methods == "*" || methods.contains("GET"), "{methods:?}");

    let body = request(
        &server,
        "OPTIONS /live/s.flv HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\
         Access-Control-Request-Method: GET\r\n\r\n",
    );
    assert!(matches!(body.head.status, 200 | 204), "{:?}", body.head);
    assert_eq!(body.head.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn crossdomain_off_says_nothing_to_other_pages() {
    let server = Server::start_with(|command, ports, dir| {
        let text = format!(
            "listen 127.0.0.1:{}; daemon off; srs_log_tank console; pid \"{}/srs.pid\";
             http_server {{ enabled on; listen 127.0.0.1:{}; crossdomain off; }}
             vhost __defaultVhost__ {{ http_remux {{ enabled on; }} }}",
            ports.rtmp,
            dir.display(),
            ports.http
        );
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let _publisher = live(&server, "live/s");
    let body = request(&server, "GET /live/s.flv HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\r\n");
    assert_eq!(body.head.header("access-control-allow-origin"), None);
    let body =
        request(&server, "OPTIONS /live/s.flv HTTP/1.1\r\nHost: x\r\nOrigin: http://p.example\r\n\r\n");
    assert_eq!(body.head.status, 405);
}

#[test]
fn a_request_may_come_before_the_publisher() {
    let server = Server::plain();
    // The head is there at once: `open` waits for no more.
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    assert!(!viewer.began(Duration::from_millis(200)), "a body without a stream");
    let publisher = live(&server, "live/s");
    viewer.until_serial(4);
    drop(publisher);
    assert_eq!(viewer.rest().1, End::FinalChunk);

    // Nothing of the old stream is left for the next visitor.
    let mut late = FlvViewer::open(&server, "/live/s.flv");
    assert!(!late.began(Duration::from_millis(200)), "a stream without a publisher");
}

#[test]
fn what_is_no_stream_is_not_found() {
    let server = Server::plain();
    let _publisher = live(&server, "live/s");
    for path in [
        "/",
        "/live",
        "/live/",
        "/live/s",
        "/live/s.mp4",
        "/live/s.FLV",
        "/live/s.flv/",
        "/live/x/s.flv",
        "/s.flv",
        "/nothing/here.html",
        "/%00/%ff.txt",
    ] {
        let mut body = request(&server, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(body.head.status, 404, "{path}");
        body.read_to_end(SOON);
    }
    // Doubled slashes lead to the straight path.
    let doubled = request(&server, "GET //live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((doubled.head.status, doubled.head.header("location")), (302, Some("/live/s.flv")));
    // A path that climbs is nobody's name either.
    let climbing = request(&server, "GET /live/../live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!((400..500).contains(&climbing.head.status), "{:?}", climbing.head);
    // And a query changes nothing.
    let body = request(&server, "GET /live/s.flv?token=1&x=/a.mp4 HTTP/1.1\r\nHost: x\r\n\r\n");
    FlvViewer::new(body).until_serial(4);
}

#[test]
fn a_connection_serves_on_after_a_404() {
    let server = Server::plain();
    let _publisher = live(&server, "live/s");
    let mut http = Http::connect(server.http_addr());
    for _ in 0..3 {
        http.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut body = http.answer(false);
        assert_eq!(body.head.status, 404);
        body.read_to_end(SOON);
        assert_ne!(body.ended(), Some(End::Eof), "closed after a 404");
        http = body.into_connection();
    }
    http.send(b"GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    FlvViewer::new(http.answer(false)).until_serial(4);
}

#[test]
fn a_pipelined_404_is_answered_before_the_stream() {
    let server = Server::plain();
    let _publisher = live(&server, "live/s");
    let mut http = Http::connect(server.http_addr());
    http.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut body = http.answer(false);
    assert_eq!(body.head.status, 404);
    body.read_to_end(SOON);
    FlvViewer::new(body.into_connection().answer(false)).until_serial(4);
}

#[test]
fn head_of_a_stream_has_no_body_that_never_ends() {
    let server = Server::plain();
    let _publisher = live(&server, "live/s");
    let mut http = Http::connect(server.http_addr());
    http.send(b"HEAD /live/s.flv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let body = http.answer(true);
    assert_eq!(body.head.status, 200);
    assert_eq!(body.head.header("content-type"), Some("video/x-flv"));
    // Then the connection ends, or waits for the next request, but no stream comes.
    let mut raw = Raw::connect(server.http_addr());
    raw.send(b"HEAD /live/s.flv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let all = raw.receive_to_end(SOON).expect("the connection ends as asked");
    assert!(all.ends_with(b"\r\n\r\n"), "{:?}", String::from_utf8_lossy(&all));
}

/// Whatever a viewer says after its request, it disturbs no stream, not even its own.
#[test]
fn garbage_after_the_request_does_not_disturb() {
    let server = Server::plain();
    let mut publisher = live(&server, "live/s");
    let mut other = FlvViewer::open(&server, "/live/s.flv");
    other.until_serial(4);
    let mut http = Http::connect(server.http_addr());
    http.send(b"GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n\0\xff\r\n\r\nGET / HTTP/9.9\r\n\r\n");
    let _with_garbage = http.answer(false);
    publisher.send(9, 200, &avc(false, 5, 200));
    other.until_serial(5);
}

#[test]
fn a_viewer_who_leaves_is_noticed_even_when_nothing_is_sent() {
    let server = Server::start(&Conf::default());
    let _publisher = live(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.until_serial(4);
    let port = viewer.local_port();
    drop(viewer);
    wait_until("the server closes its side too", SOON, || !half_closed(server.ports().http, port));
}

/// Whether the server still holds its end of a connection whose client is gone (CLOSE_WAIT is state 08).
fn half_closed(server: u16, client: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has this table");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is =
            |field: usize, port: u16| fields.get(field).is_some_and(|a| a.ends_with(&format!(":{port:04X}")));
        is(1, server) && is(2, client) && fields.get(3) == Some(&"08")
    })
}
