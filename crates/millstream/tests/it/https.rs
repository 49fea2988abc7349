//! HTTPS: the API and live streams over TLS, certificates that change under a running server, and everything
//! that is not a proper handshake.

use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{decode, probe, publish_both, tool};
use crate::harness::http::{End, Got, Http, Raw};
use crate::harness::media::{FlvViewer, Receive, Viewer, avc, avc_header, for_a_while, serial};
use crate::harness::process::Process;
use crate::harness::server::{Folder, Ports, Server, await_port, binary, local};
use crate::harness::tls::Pair;
use crate::harness::{Noise, PATIENCE, SOON, wait_until};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server with both plain and both TLS listeners.
struct Secure {
    server: Server,
    pair: Pair,
    tls: Ports,
}

/// The two `https` blocks for files in a folder.
fn conf(dir: &Path, tls: Ports) -> [String; 2] {
    [tls.api, tls.http].map(|port| {
        let dir = dir.display();
        format!("https {{ enabled on; listen 127.0.0.1:{port}; key \"{dir}/server.key\"; cert \"{dir}/server.crt\"; }}")
    })
}

/// A whole configuration with both blocks.
fn text(ports: Ports, dir: &Path, tls: Ports) -> String {
    let [api, http] = conf(dir, tls);
    format!(
        "listen 127.0.0.1:{}; daemon off; srs_log_tank console; pid \"{}/srs.pid\";
         http_api {{ enabled on; listen 127.0.0.1:{}; {api} }}
         http_server {{ enabled on; listen 127.0.0.1:{}; {http} }}
         exporter {{ enabled on; listen 127.0.0.1:{}; }}
         vhost __defaultVhost__ {{ http_remux {{ enabled on; }} publish {{ normal_timeout 60000; }} }}",
        ports.rtmp,
        dir.display(),
        ports.api,
        ports.http,
        tls.rtmp
    )
}

impl Secure {
    fn start() -> Self {
        Self::with(Pair::new())
    }

    fn with(pair: Pair) -> Self {
        let tls = Ports::free();
        let server = Server::start_with(|command, ports, dir| {
            pair.write(dir);
            std::fs::write(dir.join("srs.conf"), text(ports, dir, tls)).unwrap();
            command.args(["-c", "srs.conf"]);
        });
        for port in [tls.http, tls.api] {
            await_port(local(port));
        }
        Self { server, pair, tls }
    }

    fn https(&self) -> SocketAddr {
        local(self.tls.http)
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.tls.http)
    }

    fn viewer(&self, path: &str) -> FlvViewer {
        FlvViewer::new(Http::get_tls(self.https(), &self.pair, path))
    }
}

/// A stream with one group of pictures, serials 0 to 4.
fn live(server: &Server) -> Publisher {
    let mut publisher = Publisher::start(server, "live/s");
    publisher.send(9, 0, &avc_header());
    for n in 0..5 {
        publisher.send(9, 40 * n, &avc(n == 0, n, 200));
    }
    publisher
}

#[track_caller]
fn curl(args: &str) -> String {
    let run = Process::run(&mut tool("curl", &format!("-sS --max-time 20 {args}")), PATIENCE);
    assert!(run.status.success(), "curl {args}: {}", run.text());
    run.stdout()
}

#[test]
fn the_api_answers_on_both_tls_ports() {
    let secure = Secure::start();
    for port in [secure.tls.api, secure.tls.http] {
        let said = curl(&format!("-k --http2 -i https://127.0.0.1:{port}/api/v1/versions"));
        assert!(said.starts_with("HTTP/2 200"), "{said}");
        assert!(said.contains("\"version\":\"3.0.170\""), "{said}");
    }
    // Verified, with TLS 1.2, two requests on one connection.
    let cert = secure.server.dir().join("server.crt");
    let url = format!("https://127.0.0.1:{}/api/v1/versions", secure.tls.api);
    let said = curl(&format!("--cacert {} --tls-max 1.2 {url} {url}", cert.display()));
    assert_eq!(said.matches("\"code\":0").count(), 2, "{said}");
    assert!(
        curl(&format!("-k https://127.0.0.1:{}/api/v1/summaries", secure.tls.api)).contains("cpus_online")
    );
}

#[test]
fn ffmpeg_plays_over_tls() {
    let secure = Secure::start();
    let _encoder = publish_both(&secure.server.rtmp("live/s"));
    let url = secure.url("live/s.flv");
    let found = probe(&url, 150);
    let mut codecs = found.codecs.clone();
    codecs.sort();
    assert_eq!(codecs, ["aac", "h264"]);
    found.assert_sound();
    decode(&url, 2);
}

#[test]
fn a_viewer_over_tls_sees_what_a_plain_one_sees_and_ends_with_the_publish() {
    let secure = Secure::start();
    // Before the publisher: it waits.
    let early = secure.viewer("/live/s.flv");
    let mut publisher = live(&secure.server);
    let mut viewers = [early, secure.viewer("/live/s.flv"), FlvViewer::open(&secure.server, "/live/s.flv")];
    for n in 5..300 {
        publisher.send(9, 40 * n, &avc(n % 25 == 0, n, 3000));
    }
    let all: Vec<Vec<Vec<u8>>> = viewers
        .iter_mut()
        .map(|viewer| viewer.until_serial(299).into_iter().map(|tag| tag.body.to_vec()).collect())
        .collect();
    assert_eq!(all[1].len(), 301, "the sequence header and every frame");
    assert!(all[0] == all[1] && all[1] == all[2], "they differ");
    publisher.unpublish();
    for viewer in &mut viewers {
        let (rest, end) = viewer.rest();
        assert!(rest.is_empty(), "{} tags more", rest.len());
        assert_eq!(end, End::FinalChunk);
    }
    wait_until("the log says so", SOON, || {
        secure.server.log().matches("stream ended, ret=4040").count() == 3
    });
}

#[test]
fn an_old_client_gets_a_plain_body_until_the_close() {
    let secure = Secure::start();
    let mut publisher = live(&secure.server);
    let mut http = Http::connect_tls(secure.https(), &secure.pair);
    // A request that is answered, then one that takes the connection over.
    http.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut answer = http.answer(false);
    assert_eq!(answer.head.status, 404);
    answer.read_to_end(SOON);
    let mut http = answer.into_connection();
    http.send(b"GET /live/s.flv HTTP/1.0\r\n\r\n");
    let body = http.answer(false);
    assert!(!body.chunked());
    let mut viewer = FlvViewer::new(body);
    viewer.until_serial(4);
    publisher.unpublish();
    // Closed in the way of TLS, so that the end is no cut.
    assert_eq!(viewer.rest().1, End::Eof);
}

#[test]
fn viewers_over_tls_are_clients_and_their_leaving_is_noticed() {
    let secure = Secure::start();
    let _publisher = live(&secure.server);
    let metrics = || curl(&format!("http://{}/metrics", secure.server.api_addr()));
    let whole =
        "millstream_stream_video_frames_total{vhost=\"__defaultVhost__\",app=\"live\",stream=\"s\"} 5\n";
    wait_until("everything was read", SOON, || metrics().contains(whole));
    let mut viewer = secure.viewer("/live/s.flv");
    viewer.until_serial(4);
    let clients = |n: u32| {
        let url = format!("-k https://127.0.0.1:{}/api/v1/summaries", secure.tls.api);
        wait_until(&format!("{n} clients"), SOON, || curl(&url).contains(&format!("\"conn_srs\":{n}}}")));
    };
    clients(2);
    let count = "millstream_first_byte_seconds_count 1\n";
    wait_until("its first media was counted", SOON, || metrics().contains(count));
    drop(viewer);
    wait_until("the log says so", SOON, || secure.server.log().contains("client disconnect peer, ret=1007"));
    clients(1);
}

#[test]
fn who_does_not_speak_tls_is_told_or_closed() {
    let secure = Secure::start();
    let body = Http::get(secure.https(), "/live/s.flv");
    assert_eq!(body.head.status, 400);
    let said = { body }.read_to_end(SOON);
    assert!(String::from_utf8_lossy(&said).contains("use https"));

    let mut noise = Noise::new(7);
    for length in [1, 5, 100, 5000] {
        let mut garbage = noise.bytes(length);
        // Not a letter, and like a handshake in every second case.
        garbage[0] = if length % 2 == 0 { 0x16 } else { 0x80 };
        let mut raw = Raw::connect(secure.https());
        raw.send(&garbage);
        raw.finish_sending();
        assert!(raw.receive_to_end(SOON).is_some(), "{length} bytes of garbage keep the connection");
    }
    // A handshake that stops in the middle, one of a client that trusts somebody else.
    let stranger = Pair::new();
    let mut raw = Raw::connect_tls(secure.https(), &stranger);
    assert!(!raw.send(b"GET / HTTP/1.1\r\n\r\n"), "an unknown certificate is not trusted");
    drop(raw);
    let versions = Http::get_tls(secure.https(), &secure.pair, "/api/v1/versions");
    assert_eq!(versions.head.status, 200, "the server goes on");
}

#[test]
fn a_peer_that_shakes_no_hands_is_closed() {
    let secure = Secure::start();
    let mut silent = Raw::connect(secure.https());
    let mut slow = Raw::connect(secure.https());
    slow.send(&[0x16, 3, 1]);
    assert!(silent.receive_to_end(SOON).is_some(), "a silent peer stays");
    assert!(slow.receive_to_end(SOON).is_some(), "a peer with half a handshake stays");
}

#[test]
fn a_request_without_an_end_is_closed_over_tls_too() {
    let secure = Secure::start();
    let mut raw = Raw::connect_tls(secure.https(), &secure.pair);
    raw.send(b"GET /live/s.flv HTTP/1.1\r\nX: ");
    assert!(raw.receive_to_end(SOON).is_some());
}

#[test]
fn a_viewer_that_talks_is_closed() {
    let secure = Secure::start();
    let _publisher = live(&secure.server);
    let mut raw = Raw::connect_tls(secure.https(), &secure.pair);
    raw.send(b"GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(matches!(raw.receive(SOON), Got::Bytes(_)));
    let mut sent = 0;
    while sent < 1 << 20 && raw.send(&[b'x'; 4096]) {
        sent += 4096;
    }
    wait_until("the viewer is closed", SOON, || {
        secure.server.log().contains("client disconnect peer, ret=1007")
    });
}

/// The certificate a new connection is given is this one.
fn gives(secure: &Secure, pair: &Pair) -> bool {
    Raw::connect_tls(secure.https(), pair).send(b"GET / HTTP/1.1\r\n\r\n")
}

#[test]
fn a_new_certificate_is_taken_while_viewers_go_on() {
    let secure = Secure::start();
    let mut publisher = live(&secure.server);
    let mut viewer = secure.viewer("/live/s.flv");
    viewer.until_serial(4);

    let next = Pair::new();
    assert!(gives(&secure, &secure.pair) && !gives(&secure, &next));
    next.write(secure.server.dir());
    wait_until("the new certificate is given out", SOON, || gives(&secure, &next));
    assert!(!gives(&secure, &secure.pair));

    // A certificate without its key is not taken, and said once.
    std::fs::write(secure.server.dir().join("server.crt"), Pair::new().cert).unwrap();
    let warned = || secure.server.log().matches("the certificate in use stays").count();
    wait_until("a warning", SOON, || warned() > 0);
    wait_until("it names both files", SOON, || secure.server.log().contains("server.crt and the key"));
    assert!(gives(&secure, &next), "the one before stays");

    // Nor none at all.
    std::fs::remove_file(secure.server.dir().join("server.key")).unwrap();
    wait_until("another warning", SOON, || secure.server.log().contains("server.key: No such file"));
    assert!(gives(&secure, &next));

    publisher.send(9, 400, &avc(true, 5, 200));
    assert_eq!(serial(viewer.until_serial(5).last().unwrap()), 5, "who was there saw nothing of all this");
    // Two blocks name the same files.
    assert!(warned() <= 4, "said once for each state and door");
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let secure = Secure::with(Pair::of_years(2020, 2021));
    wait_until("a warning", SOON, || secure.server.log().contains("server.crt has expired"));
    let said = curl(&format!("-k https://127.0.0.1:{}/api/v1/versions", secure.tls.http));
    assert!(said.contains("\"code\":0"));
}

#[test]
fn wrong_files_are_an_error_at_the_start() {
    let dir = Folder::new();
    let (ports, tls) = (Ports::free(), Ports::free());
    std::fs::write(dir.path().join("srs.conf"), text(ports, dir.path(), tls)).unwrap();
    let fails = |expected: &str| {
        let run = Process::run(binary().current_dir(dir.path()).args(["-c", "srs.conf"]), PATIENCE);
        assert_eq!(run.status.code(), Some(255), "{}", run.text());
        assert!(run.stderr().contains(expected), "{}", run.stderr());
    };
    fails("server.crt: No such file or directory");
    let (pair, other) = (Pair::new(), Pair::new());
    pair.write(dir.path());
    std::fs::write(dir.path().join("server.key"), &other.key).unwrap();
    fails("server.crt and the key");
    std::fs::write(dir.path().join("server.key"), "nothing").unwrap();
    fails("server.key: holds no private key in PEM form");
}

#[test]
fn one_port_for_api_and_streams_is_one_port_over_tls() {
    let (pair, tls) = (Pair::new(), Ports::free());
    let server = Server::start_with(|command, ports, dir| {
        pair.write(dir);
        let [_, https] = conf(dir, tls);
        let text = format!(
            "listen 127.0.0.1:{}; daemon off; srs_log_tank console; pid srs.pid;
             http_api {{ enabled on; listen 127.0.0.1:{1}; https {{ enabled on; key server.key; cert server.crt; }} }}
             http_server {{ enabled on; listen 127.0.0.1:{1}; {https} }}
             vhost __defaultVhost__ {{ http_remux {{ enabled on; }} }}",
            ports.rtmp, ports.http,
        );
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    await_port(local(tls.http));
    let _publisher = live(&server);
    FlvViewer::new(Http::get_tls(local(tls.http), &pair, "/live/s.flv")).until_serial(4);
    let body = Http::get_tls(local(tls.http), &pair, "/api/v1/summaries");
    assert_eq!(body.head.status, 200);
}

#[test]
fn a_viewer_over_tls_can_be_kicked() {
    let secure = Secure::start();
    let _publisher = live(&secure.server);
    let mut viewer = secure.viewer("/live/s.flv");
    viewer.until_serial(4);
    let api = secure.server.api_addr();
    let clients = || crate::harness::api::clients(&secure.server);
    let id = clients().iter().find(|c| c["publish"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    let answer = crate::harness::api::ask(api, "DELETE", &format!("/api/v1/clients/{id}")).json();
    assert_eq!(answer["code"], 0);
    assert_eq!(viewer.rest().1, End::Eof);
    wait_until("it is gone from the list", SOON, || clients().len() == 1);
}

#[test]
pub(crate) fn listeners_and_files_change_and_one_bad_file_refuses_all() {
    let secure = Secure::start();
    let (server, dir) = (&secure.server, secure.server.dir());
    let mut publisher = live(server);
    let mut viewer = secure.viewer("/live/s.flv");
    viewer.until_serial(4);
    let good = text(server.ports(), dir, secure.tls);

    // Other files: the API's fit, the delivery server's do not. None is taken.
    let next = Pair::new();
    std::fs::create_dir(dir.join("next")).unwrap();
    next.write(&dir.join("next"));
    let other_files = good.replace("/server.", "/next/server.");
    let (api, delivery) = other_files.rsplit_once("next/server.key").unwrap();
    let log = server.try_reload(&format!("{api}none.key{delivery}"));
    assert!(log.contains("none.key: No such file") && log.contains("state=30"), "{log}");
    let api_gives =
        |pair: &Pair| Raw::connect_tls(local(secure.tls.api), pair).send(b"GET / HTTP/1.1\r\n\r\n");
    assert!(api_gives(&secure.pair) && gives(&secure, &secure.pair), "nothing was changed");

    // Both fit.
    assert!(server.try_reload(&other_files).contains("reload config success."));
    assert!(api_gives(&next) && gives(&secure, &next));

    // Off, and on again at other ports.
    let off = good.replace("https { enabled on;", "https { enabled off;");
    assert!(server.try_reload(&off).contains("reload http_server success"));
    let answers = |port: u16| std::net::TcpStream::connect(local(port)).is_ok();
    wait_until("they are closed", SOON, || !answers(secure.tls.http) && !answers(secure.tls.api));
    let moved = Ports::free();
    assert!(server.try_reload(&text(server.ports(), dir, moved)).contains("reload config success."));
    assert!(answers(moved.http) && answers(moved.api));
    FlvViewer::new(Http::get_tls(local(moved.http), &secure.pair, "/live/s.flv")).until_serial(4);

    publisher.send(9, 400, &avc(true, 5, 200));
    assert_eq!(serial(viewer.until_serial(5).last().unwrap()), 5, "who was there saw nothing of all this");
}

#[test]
fn viewers_over_tls_get_another_pace_and_end_with_their_remux() {
    let secure = Secure::start();
    let server = &secure.server;
    let mut publisher = live(server);
    let mut viewer = secure.viewer("/live/s.flv");
    viewer.until_serial(4);
    let good = text(server.ports(), server.dir(), secure.tls);
    let slow = good.replace("publish {", "play { send_min_interval 600; mw_latency 600; } publish {");
    assert!(server.try_reload(&slow).contains("reload play success"));
    // Frames every few milliseconds arrive in heaps now.
    let (mut n, mut last, mut longest) = (5, Instant::now(), Duration::ZERO);
    for_a_while(SOON, || {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 300));
        n += 1;
        if viewer.next(Duration::from_millis(20)).is_some() {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            while viewer.next(Duration::from_millis(1)).is_some() {}
        }
        longest >= Duration::from_millis(450)
    });
    assert!(longest >= Duration::from_millis(450), "the longest silence was {longest:?}");
    let off = good.replace("http_remux { enabled on; }", "");
    assert!(server.try_reload(&off).contains("reload http_remux success"));
    assert_eq!(viewer.rest().1, End::Eof);
    assert_eq!(Http::get_tls(secure.https(), &secure.pair, "/live/s.flv").head.status, 404);
}

#[test]
fn viewers_over_tls_are_seen_off() {
    let mut secure = Secure::start();
    let mut publisher = live(&secure.server);
    let mut viewer = secure.viewer("/live/s.flv");
    viewer.until_serial(4);
    let text = text(secure.server.ports(), secure.server.dir(), secure.tls);
    let log = secure.server.try_reload(&format!("grace_start_wait 10; grace_final_wait 10; {text}"));
    assert!(log.contains("reload config success."), "{log}");
    secure.server.signal(rustix::process::Signal::QUIT);
    wait_until("it is waited for", SOON, || {
        secure.server.log().contains("graceful quit waits for 2 clients")
    });
    assert!(std::net::TcpStream::connect(secure.https()).is_err());
    publisher.send(9, 400, &avc(true, 5, 200));
    viewer.until_serial(5);
    drop(publisher);
    assert_eq!(viewer.rest().1, End::FinalChunk);
    assert_eq!(secure.server.wait(SOON).and_then(|status| status.code()), Some(0));
}
