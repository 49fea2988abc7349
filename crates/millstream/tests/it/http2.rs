//! HTTP/2: by ALPN over TLS and by prior knowledge, for files, the API and live streams; and who abuses it.

use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{probe_file, publish_both, tool};
use crate::harness::http::{Got, Raw};
use crate::harness::media::{avc, avc_header};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Ports, Server, await_port, local};
use crate::harness::tls::Pair;
use crate::harness::{PATIENCE, SOON, wait_until};
use std::time::Instant;

/// A server with HTTPS, and a file of some megabytes.
fn start() -> (Server, String, Pair) {
    let (pair, tls) = (Pair::new(), Ports::free());
    let server = Server::start_with(|command, ports, dir| {
        pair.write(dir);
        let https = format!(
            "https {{ enabled on; listen 127.0.0.1:{}; key ./server.key; cert ./server.crt; }}",
            tls.http
        );
        let text = Conf::vhost("publish { normal_timeout 60000; }").text(ports, dir);
        std::fs::write(
            dir.join("srs.conf"),
            text.replace("http_server {", &format!("http_server {{ {https}")),
        )
        .unwrap();
        std::fs::create_dir_all(dir.join("html")).unwrap();
        std::fs::write(dir.join("html/large.bin"), vec![7; 3_000_000]).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    await_port(local(tls.http));
    (server, format!("https://127.0.0.1:{}", tls.http), pair)
}

#[track_caller]
fn curl(args: &str) -> String {
    let run = Process::run(&mut tool("curl", &format!("-sS --max-time 30 {args}")), PATIENCE);
    assert!(run.status.success(), "curl {args}: {}", run.text());
    run.stdout()
}

#[test]
fn files_and_the_api() {
    let (server, tls, _) = start();
    let plain = server.http("");
    for (how, base) in [("-k --http2", format!("{tls}/")), ("--http2-prior-knowledge", plain.clone())] {
        let figures = "-o /dev/null -w %{http_version}:%{http_code}:%{size_download}";
        assert_eq!(curl(&format!("{how} {figures} {base}large.bin")), "2:200:3000000");
        assert_eq!(curl(&format!("{how} {figures} -r 5-9 {base}large.bin")), "2:206:5");
        assert_eq!(curl(&format!("{how} {figures} -I {base}large.bin")), "2:200:0");
        assert_eq!(curl(&format!("{how} {figures} {base}nothing")), "2:404:10");
        assert!(curl(&format!("{how} {base}api/v1/versions")).contains("3.0.170"));
    }
    // Many at once, in one connection. (Without TLS, curl 7 begins them before it knows what is spoken.)
    let many = format!("{tls}/large.bin ").repeat(40);
    let outputs = "-o /dev/null ".repeat(40);
    let said = curl(&format!("-k --http2 --parallel --parallel-max 40 -w %{{http_code}}, {outputs} {many}"));
    assert_eq!(said, "200,".repeat(40));
    // Who does not ask for it gets HTTP/1.
    assert!(curl(&format!("-k --http1.1 -i {tls}/large.bin -r 0-0")).starts_with("HTTP/1.1 206"));
    assert!(curl(&format!("-i {plain}large.bin -r 0-0")).starts_with("HTTP/1.1 206"));
}

/// HLS with its sessions, each request of a player in one connection.
#[test]
fn playlists_and_segments() {
    let hls = "publish { normal_timeout 60000; } hls { enabled on; hls_fragment 1; hls_path ./html; }";
    let server = Server::start(&Conf::vhost(hls));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    crate::hls::show(&mut publisher, 0, 4000);
    let how = "--http2-prior-knowledge";
    let list = server.http("live/s.m3u8");
    let code = "-o /dev/null -w %{http_version}:%{http_code}";
    wait_until("a playlist", SOON, || curl(&format!("{how} {code} -I {list}")) == "2:200");
    let master = curl(&format!("{how} {list}"));
    let path = master.lines().last().unwrap();
    let text = curl(&format!("{how} {}", server.http(&path[1..])));
    let segment =
        text.lines().find(|line| line.starts_with("s-0.ts?hls_ctx=")).unwrap_or_else(|| panic!("{text}"));
    let segment = server.http(&format!("live/{segment}"));
    assert_eq!(curl(&format!("{how} {code}:%{{size_download}} -r 0-187 {segment}")), "2:206:188");
    let known = curl(&format!("{how} -I {segment}"));
    let tag = known.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap_or_else(|| panic!("{known}"));
    assert_eq!(curl(&format!("{how} {code} -H If-None-Match:{} {segment}", tag.trim())), "2:304");
}

#[test]
fn live_streams() {
    let (server, tls, _) = start();
    let _encoder = publish_both(&server.rtmp("live/s"));
    for (how, url) in
        [("-k --http2", format!("{tls}/live/s.flv")), ("--http2-prior-knowledge", server.http("live/s.flv"))]
    {
        let copy = server.dir().join("copy.flv");
        let _ = std::fs::remove_file(&copy);
        let mut viewer = Process::start(tool("curl", &format!("-sS {how} -o")).arg(&copy).arg(&url));
        wait_until("some seconds have come", PATIENCE, || {
            std::fs::metadata(&copy).is_ok_and(|file| file.len() > 200_000)
        });
        let clients = curl(&format!("http://{}/api/v1/clients/", server.api_addr()));
        assert!(clients.contains("\"publish\":false"), "a viewer over HTTP/2 is a client: {clients}");
        // It can be cut off, without its connection.
        let id =
            clients.split("{\"id\":\"").skip(1).find(|client| client.contains("\"publish\":false")).unwrap();
        let id = id.split('"').next().unwrap();
        assert!(
            curl(&format!("-X DELETE http://{}/api/v1/clients/{id}", server.api_addr()))
                .contains("\"code\":0")
        );
        assert!(viewer.wait(SOON).is_some(), "the response has ended");
        let found = probe_file(&copy);
        let mut codecs = found.codecs.clone();
        codecs.sort();
        assert_eq!(codecs, ["aac", "h264"]);
    }
}

#[test]
fn a_live_stream_ends_with_its_publish() {
    let (server, tls, _) = start();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    let url = format!("{tls}/live/s.flv");
    let (copy, head) = (server.dir().join("copy"), server.dir().join("head"));
    let args = format!("-sS -N -k --http2 -o {} -D {} {url}", copy.display(), head.display());
    let mut viewer = Process::start(&mut tool("curl", &args));
    wait_until("the viewer is there", SOON, || server.log().contains("http: play flv stream"));
    wait_until("its answer has begun", SOON, || {
        std::fs::read_to_string(&head).is_ok_and(|head| head.contains("200"))
    });
    let len = || std::fs::metadata(&copy).map_or(0, |file| file.len());
    // Who waits begins at the newest keyframe there is.
    publisher.send(9, 0, &avc(true, 0, 2000));
    wait_until("the first picture is there", SOON, || len() > 2000);
    for n in 1..100 {
        publisher.send(9, 40 * n, &avc(n % 25 == 0, n, 2000));
    }
    wait_until("nothing is left out", PATIENCE, || len() > 200_000);
    drop(publisher);
    let status = viewer.wait(PATIENCE).expect("the body ends");
    assert!(status.success(), "whole: {}", viewer.said());
}

#[test]
fn certificates_change_under_http2_too() {
    let (server, tls, old) = start();
    let new = Pair::new();
    let trusts = |pair: &Pair| {
        let file = server.dir().join("trusted.crt");
        std::fs::write(&file, &pair.cert).unwrap();
        let args = format!("-sS --http2 -o /dev/null -w %{{http_version}} --cacert {}", file.display());
        let run = Process::run(tool("curl", &args).arg(format!("{tls}/large.bin")), PATIENCE);
        run.status.success() && run.stdout() == "2"
    };
    assert!(trusts(&old) && !trusts(&new));
    new.write(server.dir());
    wait_until("the new certificate is served", SOON, || trusts(&new));
    assert!(!trusts(&old));
}

/// A frame (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Preface and empty settings.
fn hello(server: &Server) -> Raw {
    let mut raw = Raw::connect(server.http_addr());
    assert!(raw.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat()));
    raw
}

/// GET / of host x: from the static table, and a literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'x'];

#[test]
fn who_resets_all_its_requests_is_cut_off() {
    let (server, ..) = start();
    let mut raw = hello(&server);
    let mut sent = 0;
    let end = Instant::now() + PATIENCE;
    // Until it closes, which the harness sees as bytes nobody takes or an end.
    loop {
        let burst = (0..100).flat_map(|n| {
            let stream = 2 * (sent + n) + 1;
            [frame(1, 5, stream, GET), frame(3, 0, stream, &8u32.to_be_bytes())].concat()
        });
        let burst: Vec<u8> = burst.collect();
        sent += 100;
        if !raw.send(&burst) || raw.receive(std::time::Duration::from_millis(1)) == Got::Closed {
            break;
        }
        assert!(sent < 1_000_000 && Instant::now() < end, "{sent} requests were begun and reset");
    }
    assert!(
        curl(&format!("-o /dev/null -w %{{http_code}} {}", server.http("large.bin"))) == "200",
        "the others are served"
    );
}

#[test]
fn who_asks_for_nothing_is_told_to_go() {
    let (server, ..) = start();
    let mut raws = [hello(&server), Raw::connect(server.http_addr())];
    raws[1].send(b"PRI * HTTP/2.0\r\n");
    for raw in &mut raws {
        assert!(raw.receive_to_end(PATIENCE).is_some(), "it is still connected");
    }
}

#[test]
fn garbage_behind_the_preface_ends_the_connection() {
    let (server, ..) = start();
    let mut noise = crate::harness::Noise::new(7);
    for _ in 0..50 {
        let mut raw = hello(&server);
        raw.send(&noise.bytes(2000));
        raw.finish_sending();
        assert!(raw.receive_to_end(PATIENCE).is_some());
    }
    // Headers larger than may be.
    let mut raw = hello(&server);
    let field = [&[0x40, 1, b'a', 0x7f, 0x81, 0x7e], &[b'v'; 16_256][..]].concat();
    let large = [GET, &field, &field].concat();
    let mut frames = Vec::new();
    for (n, piece) in large.chunks(16_000).enumerate() {
        let last = (n + 1) * 16_000 >= large.len();
        frames.extend(frame(
            if n == 0 { 1 } else { 9 },
            u8::from(n == 0) | if last { 4 } else { 0 },
            1,
            piece,
        ));
    }
    raw.send(&frames);
    raw.finish_sending();
    let said = raw.receive_to_end(PATIENCE).expect("an end");
    assert!(!said.windows(4).any(|bytes| bytes == [7; 4]), "no file for it");
    assert!(curl(&format!("-o /dev/null -w %{{http_code}} {}", server.http("large.bin"))) == "200");
}
