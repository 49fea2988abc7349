//! Whatever strangers send to whatever port: their connection ends, nobody else is affected, the server lives.

use crate::harness::client::{Player, Publisher};
use crate::harness::http::{Got, Http, Raw};
use crate::harness::media::{FlvViewer, Viewer, avc, avc_header, for_a_while};
use crate::harness::server::{Conf, Server};
use crate::harness::{Noise, SOON};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A stream that goes on while strangers misbehave, and viewers who must not notice.
struct Bystanders {
    publisher: Publisher,
    rtmp: Player,
    flv: FlvViewer,
    sent: u32,
}

impl Bystanders {
    fn new(server: &Server) -> Self {
        let mut publisher = Publisher::start(server, "live/s");
        publisher.send(9, 0, &avc_header());
        let rtmp = Player::start(server, "live/s");
        let flv = FlvViewer::open(server, "/live/s.flv");
        Self { publisher, rtmp, flv, sent: 0 }
    }

    /// A few frames from end to end.
    #[track_caller]
    fn assert_undisturbed(&mut self) {
        for _ in 0..10 {
            self.publisher.send(9, 40 * self.sent, &avc(self.sent.is_multiple_of(5), self.sent, 1000));
            self.sent += 1;
        }
        self.rtmp.until_serial(self.sent - 1);
        self.flv.until_serial(self.sent - 1);
    }
}

/// Every port that the server listens on.
fn doors(server: &Server) -> Vec<SocketAddr> {
    let ports = server.ports();
    let all = [ports.rtmp, ports.http, ports.api].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    // The API is configured but need not be there yet; whoever does listen must stand it.
    let open = |addr: &SocketAddr| TcpStream::connect(addr).is_ok();
    all.into_iter().filter(open).collect()
}

#[test]
fn garbage_on_every_port() {
    let mut server = Server::plain();
    let mut bystanders = Bystanders::new(&server);
    let mut noise = Noise::new(2);
    let doors = doors(&server);
    assert!(doors.len() >= 2);
    for round in 0..150 {
        for door in &doors {
            let mut raw = Raw::connect(*door);
            let length = 1 + (noise.next() % 6000) as usize;
            let mut bytes = noise.bytes(length);
            match round % 6 {
                // A plausible beginning takes the rest further in.
                0 => bytes[0] = 3,
                1 => bytes.splice(0..0, b"GET ".iter().copied()).for_each(drop),
                2 => bytes.splice(0..0, b"POST /live/s.flv HTTP/1.1\r\n".iter().copied()).for_each(drop),
                3 => bytes.splice(0..0, [0xf3, 0xff, 0xff]).for_each(drop),
                _ => {}
            }
            raw.send(&bytes);
            if round % 2 == 0 {
                raw.finish_sending();
                assert!(
                    raw.receive_to_end(SOON).is_some(),
                    "round {round}: {door} holds on to a dead client"
                );
            }
        }
        if round % 30 == 0 {
            bystanders.assert_undisturbed();
        }
    }
    bystanders.assert_undisturbed();
    assert!(server.alive());
    assert!(!server.log().contains("panicked"), "a task panicked");
}

#[test]
fn garbage_after_a_good_handshake() {
    let mut server = Server::plain();
    let mut bystanders = Bystanders::new(&server);
    let mut noise = Noise::new(3);
    for round in 0..150 {
        let mut raw = Raw::connect(server.rtmp_addr());
        let mut hello = vec![3];
        hello.extend(noise.bytes(1536));
        hello[5..9].fill(0);
        assert!(raw.send(&hello));
        let mut answer = 0;
        while answer < 3073 {
            match raw.receive(SOON) {
                Got::Bytes(bytes) => answer += bytes.len(),
                other => panic!("round {round}: {other:?} instead of a handshake"),
            }
        }
        let mut rest = noise.bytes(1536);
        match round % 4 {
            // A chunk that announces the largest message there is, on many chunk streams.
            0 => {
                for id in 3..64 {
                    rest.extend([id, 0, 0, 0, 0xff, 0xff, 0xff, 20, 1, 0, 0, 0]);
                    rest.extend(noise.bytes(128));
                }
            }
            // Protocol control with absurd values.
            1 => rest.extend([2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
            // A command that nests without end.
            2 => {
                let body =
                    [&b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0"[..], &b"\x03\0\x01a".repeat(24)].concat();
                rest.extend([3, 0, 0, 0, 0, 0, body.len() as u8, 20, 0, 0, 0, 0]);
                rest.extend(body);
            }
            _ => {}
        }
        let length = (noise.next() % 4000) as usize;
        rest.extend(noise.bytes(length));
        raw.send(&rest);
        raw.finish_sending();
        assert!(raw.receive_to_end(SOON).is_some(), "round {round}: the connection stays");
    }
    bystanders.assert_undisturbed();
    assert!(server.alive());
    assert!(!server.log().contains("panicked"), "a task panicked");
}

#[test]
fn five_hundred_half_open_handshakes() {
    let server = Server::plain();
    let mut bystanders = Bystanders::new(&server);
    let before = server.rss_kb();
    let mut noise = Noise::new(5);
    let strangers: Vec<Raw> = (0..500)
        .map(|n| {
            let mut raw = Raw::connect(server.rtmp_addr());
            // Nothing, a byte, half of it, all but the last byte.
            let length = [0, 1, 700, 1536][n % 4];
            let mut hello = noise.bytes(length);
            if let Some(version) = hello.first_mut() {
                *version = 3;
            }
            assert!(raw.send(&hello));
            raw
        })
        .collect();
    bystanders.assert_undisturbed();
    // Newcomers are served as well.
    let mut player = Player::start(&server, "live/s");
    player.frame();
    bystanders.assert_undisturbed();
    let growth = server.rss_kb().saturating_sub(before);
    assert!(growth < 500 * 64, "{growth} kB for 500 strangers who said nothing");
    drop(strangers);
    bystanders.assert_undisturbed();
}

#[test]
fn beyond_max_connections_a_client_is_closed_and_the_listener_lives() {
    let conf = Conf::default();
    let server = Server::start_with(|command, ports, dir| {
        let text = conf.text(ports, dir).replace("max_connections 1500", "max_connections 20");
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let mut bystanders = Bystanders::new(&server);
    let strangers: Vec<Raw> = (0..40).map(|_| Raw::connect(server.rtmp_addr())).collect();
    let mut closed = 0;
    for mut stranger in strangers {
        // Those within the limit are waited for: their handshake may still come.
        if stranger.receive(Duration::from_millis(50)) == Got::Closed {
            closed += 1;
        }
    }
    assert!(closed >= 20, "only {closed} of 40 were turned away");
    bystanders.assert_undisturbed();
    // All of them have left: there is room again.
    crate::harness::wait_until("a newcomer is served", SOON, || Player::ask(&server, "live/s").is_ok());
}

#[test]
fn a_request_that_trickles_in_is_given_up() {
    let server = Server::plain();
    let mut bystanders = Bystanders::new(&server);
    let mut raw = Raw::connect(server.http_addr());
    raw.send(b"GET /live/s.flv HTTP/1.1\r\n");
    // One header byte now and then, for ever. The server must end it; how soon is its choice, within reason.
    let mut ended = false;
    let limit = Duration::from_secs(45);
    for_a_while(limit, || {
        bystanders.assert_undisturbed();
        ended = raw.receive(Duration::from_millis(400)) == Got::Closed || !raw.send(b"x");
        ended
    });
    assert!(ended, "a request without end was waited for longer than {limit:?}");
}

#[test]
fn an_oversized_header_is_refused() {
    let server = Server::plain();
    let mut bystanders = Bystanders::new(&server);
    let before = server.rss_kb();
    let mut raw = Raw::connect(server.http_addr());
    raw.send(b"GET /live/s.flv HTTP/1.1\r\nX: ");
    let filling = vec![b'a'; 64 << 10];
    // Sixteen megabytes, unless the server stops listening before.
    let sent = (0..256).take_while(|_| raw.send(&filling)).count();
    assert!(sent < 256, "the server took a header of 16 MB");
    let growth = server.rss_kb().saturating_sub(before);
    assert!(growth < 8 << 10, "{growth} kB for one header");
    bystanders.assert_undisturbed();
}

#[test]
fn very_many_headers_are_refused() {
    let server = Server::plain();
    let headers: String = (0..5000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let mut raw = Raw::connect(server.http_addr());
    raw.send(format!("GET /live/s.flv HTTP/1.1\r\n{headers}\r\n").as_bytes());
    let answer = raw.receive_to_end(SOON).expect("the connection ends");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    // The next one is served.
    assert_eq!(Http::get(server.http_addr(), "/nothing").head.status, 404);
}
