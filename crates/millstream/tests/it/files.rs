//! Files over HTTP: what is served, in part or whole, and that nothing else is, in whatever spelling.

use crate::harness::ffmpeg::{AAC, AUDIO, H264, VIDEO, decode_file, make, pictures, probe, probe_file, tool};
use crate::harness::http::{Body, Http, Raw};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Server};
use crate::harness::{PATIENCE, SOON};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;

const SECRET: &str = "the secret of this machine";

/// A server with some files in its directory, and a secret beside that.
fn start(conf: &Conf) -> Server {
    let server = Server::start(conf);
    fs::write(server.dir().join("secret.txt"), SECRET).unwrap();
    let html = server.dir().join("html");
    fs::create_dir_all(html.join("dir/.millstream")).unwrap();
    fs::create_dir_all(html.join("empty")).unwrap();
    fs::write(html.join("index.html"), "the index").unwrap();
    fs::write(html.join("dir/index.html"), "index of dir").unwrap();
    fs::write(html.join("digits.bin"), "0123456789").unwrap();
    fs::write(html.join("dir/.millstream/journal"), SECRET).unwrap();
    fs::write(html.join(".htpasswd"), SECRET).unwrap();
    symlink("../secret.txt", html.join("out.txt")).unwrap();
    symlink("..", html.join("up")).unwrap();
    symlink("digits.bin", html.join("within.bin")).unwrap();
    server
}

fn ask(server: &Server, path: &str, headers: &str) -> Body {
    let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n");
    Http::request(server.http_addr(), &head)
}

/// Status and body.
fn got(server: &Server, path: &str, headers: &str) -> (u16, String) {
    let mut body = ask(server, path, headers);
    (body.head.status, String::from_utf8_lossy(&body.read_to_end(SOON)).into_owned())
}

fn status(server: &Server, path: &str, headers: &str) -> u16 {
    ask(server, path, headers).head.status
}

#[test]
fn files_directories_and_what_is_not_there() {
    let server = start(&Conf::default());
    let at = |path| got(&server, path, "");
    assert_eq!(at("/"), (200, "the index".into()));
    assert_eq!(at("/?x=1"), (200, "the index".into()));
    assert_eq!(at("/dir/"), (200, "index of dir".into()));
    assert_eq!(at("/within.bin"), (200, "0123456789".into()), "a link that stays below");
    for missing in ["/nothing", "/empty/", "/digits.bin/", "/digits.bin/x", "/dir/nothing/"] {
        assert_eq!(at(missing), (404, "Not Found\n".into()), "{missing}");
    }
    for (path, location) in [
        ("/dir", "/dir/"),
        ("/dir?a=b", "/dir/?a=b"),
        ("//dir", "/dir"),
        ("//digits.bin?a", "/digits.bin?a"),
        ("/dir//", "/dir/"),
    ] {
        let body = ask(&server, path, "");
        assert_eq!((body.head.status, body.head.header("location")), (302, Some(location)), "{path}");
    }
    let index = ask(&server, "/", "Origin: http://page.example\r\n").head;
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(index.header("access-control-allow-origin"), Some("*"));
    assert_eq!(index.header("x-content-type-options"), Some("nosniff"));
    for (name, expected) in
        [("a.ts", "video/MP2T"), ("a.m3u8", "application/vnd.apple.mpegurl"), ("A.FLV", "video/x-flv")]
    {
        fs::write(server.dir().join("html").join(name), "x").unwrap();
        let head = ask(&server, &format!("/{name}"), "").head;
        assert_eq!(head.header("content-type"), Some(expected), "{name}");
        assert_eq!(head.header("cache-control").is_some(), name.ends_with("m3u8"), "{name}");
    }
}

#[test]
fn methods() {
    let server = start(&Conf::default());
    let mut http = Http::connect(server.http_addr());
    http.send(b"HEAD /digits.bin HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n");
    let body = http.answer(true);
    assert_eq!((body.head.status, body.head.header("content-length")), (200, Some("10")));
    assert_eq!(
        Http::request(server.http_addr(), "DELETE /nothing HTTP/1.1\r\nHost: x\r\n\r\n").head.status,
        404
    );
    let post = Http::request(
        server.http_addr(),
        "POST /digits.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!((post.head.status, post.head.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
}

#[test]
fn ranges_of_any_file() {
    let server = start(&Conf::default());
    let at = |range: &str| {
        let mut body = ask(&server, "/digits.bin", &format!("Range: {range}\r\n"));
        let tells = body.head.header("content-range").unwrap_or("").to_owned();
        (body.head.status, String::from_utf8(body.read_to_end(SOON)).unwrap(), tells)
    };
    let part = |text: &str, range: &str| (206, text.to_owned(), format!("bytes {range}/10"));
    assert_eq!(at("bytes=0-0"), part("0", "0-0"));
    assert_eq!(at("bytes=2-4"), part("234", "2-4"));
    assert_eq!(at("bytes=7-"), part("789", "7-9"));
    assert_eq!(at("bytes=7-99"), part("789", "7-9"));
    assert_eq!(at("bytes=-3"), part("789", "7-9"));
    assert_eq!(at("bytes=-99"), part("0123456789", "0-9"));
    for unsatisfiable in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
        assert_eq!(at(unsatisfiable), (416, "Range Not Satisfiable\n".into(), "bytes */10".into()));
    }
    for whole in ["bytes=0-1,4-5", "bytes=4-2", "lines=1-2", "bytes=x"] {
        assert_eq!(at(whole), (200, "0123456789".into(), String::new()), "{whole}");
    }
    // As players of SRS ask for parts of MP4.
    fs::write(server.dir().join("html/a.mp4"), "0123456789").unwrap();
    assert_eq!(got(&server, "/a.mp4?range=2-3", ""), (206, "23".into()));
    assert_eq!(got(&server, "/a.mp4?bytes=8-", ""), (206, "89".into()));
    assert_eq!(got(&server, "/digits.bin?range=2-3", ""), (200, "0123456789".into()));
}

#[test]
fn what_a_client_has_is_not_sent_again() {
    let server = start(&Conf::default());
    let head = ask(&server, "/digits.bin", "").head;
    let (etag, date) =
        (head.header("etag").unwrap().to_owned(), head.header("last-modified").unwrap().to_owned());
    let with = |headers: &str| status(&server, "/digits.bin", headers);
    assert_eq!(with(&format!("If-None-Match: {etag}\r\n")), 304);
    assert_eq!(with(&format!("If-None-Match: \"x\", W/{etag}\r\n")), 304);
    assert_eq!(with(&format!("If-Modified-Since: {date}\r\n")), 304);
    assert_eq!(with("If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n"), 200);
    assert_eq!(with(&format!("If-Match: {etag}\r\n")), 200);
    assert_eq!(with("If-Match: \"x\"\r\n"), 412);
    assert_eq!(with("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n"), 412);
    assert_eq!(with(&format!("If-Range: {etag}\r\nRange: bytes=0-0\r\n")), 206);
    assert_eq!(with("If-Range: \"x\"\r\nRange: bytes=0-0\r\n"), 200);
    // Another content has another tag, even within the second.
    fs::write(server.dir().join("html/digits.bin"), "9876543210").unwrap();
    assert_eq!(with(&format!("If-None-Match: {etag}\r\n")), 200);
    assert_eq!(with(&format!("If-Range: {etag}\r\nRange: bytes=0-0\r\n")), 200);
}

#[test]
fn files_compressed_before() {
    let server = start(&Conf::default());
    let html = server.dir().join("html");
    for (name, text) in
        [("a.js", "plain"), ("a.js.gz", "gzipped"), ("a.js.br", "brotli"), ("a.ts", "ts"), ("a.ts.gz", "x")]
    {
        fs::write(html.join(name), text).unwrap();
    }
    let at = |path: &str, accept: &str| {
        let mut body = ask(&server, path, &format!("Accept-Encoding: {accept}\r\n"));
        let encoding = body.head.header("content-encoding").unwrap_or("").to_owned();
        assert_eq!(body.head.header("vary").is_some(), path == "/a.js");
        (String::from_utf8(body.read_to_end(SOON)).unwrap(), encoding)
    };
    assert_eq!(at("/a.js", "gzip"), ("gzipped".into(), "gzip".into()));
    assert_eq!(at("/a.js", "gzip, br"), ("brotli".into(), "br".into()));
    assert_eq!(at("/a.js", "gzip;q=0, identity"), ("plain".into(), String::new()));
    assert_eq!(at("/a.ts", "gzip, br"), ("ts".into(), String::new()), "media is not compressed");
    // What was compressed before the file was changed is an old one.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    fs::File::options().write(true).open(html.join("a.js")).unwrap().set_modified(later).unwrap();
    assert_eq!(at("/a.js", "gzip, br"), ("plain".into(), String::new()));
}

/// No spelling of a path leads out of the directory or to a hidden file.
#[track_caller]
fn assert_closed(server: &Server, path: &[u8]) {
    let mut raw = Raw::connect(server.http_addr());
    raw.send(&[b"GET ", path, b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat());
    let said = raw.receive_to_end(SOON).expect("an answer");
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains(SECRET) && !said.contains("root:"), "{}: {said}", String::from_utf8_lossy(path));
    assert!(!said.starts_with("HTTP/1.1 5"), "{}: {said}", String::from_utf8_lossy(path));
}

#[test]
fn no_spelling_leads_out() {
    let server = start(&Conf::default());
    let targets = ["secret.txt", "etc/passwd"];
    let climbs = [
        "..",
        "%2e%2e",
        "%2E%2e",
        ".%2e",
        "%2e.",
        "..%2f..",
        "%2e%2e%2f",
        "..%5c",
        "..\\",
        "%252e%252e",
        "..;",
        "....//..",
        "%c0%ae%c0%ae",
        "%uff0e%uff0e",
        "..%00",
        "%00..",
        ".",
        "up",
        "dir/../..",
        "dir/%2e%2e/%2e%2e",
        "up/..",
        "dir\\..\\..",
    ];
    for target in targets {
        for climb in climbs {
            for path in [
                format!("/{climb}/{target}"),
                format!("/{climb}/{climb}/{climb}/{climb}/{climb}/{climb}/{climb}/{target}"),
                format!("/dir/{climb}/{climb}/{target}"),
                format!("/dir/{climb}%2f{climb}%2f{target}"),
                format!("//{climb}/{target}"),
                format!("http://x/{climb}/{target}"),
            ] {
                assert_closed(&server, path.as_bytes());
            }
        }
        let absolute = server.dir().join(target);
        for path in [
            format!("/{}", absolute.display()),
            absolute.display().to_string(),
            format!("/{target}"),
            format!("//{target}"),
        ] {
            assert_closed(&server, path.as_bytes());
        }
    }
    for hidden in [
        "/.htpasswd",
        "/%2ehtpasswd",
        "/dir/.millstream/journal",
        "/dir/%2emillstream/journal",
        "/out.txt",
        "/up/secret.txt",
    ] {
        assert_eq!(status(&server, hidden, ""), 404, "{hidden}");
    }
    assert_closed(&server, b"/digits.bin\0.html");
    assert_eq!(status(&server, "/digits.bin%00.html", ""), 404);
    assert_eq!(got(&server, "/digits.bin", ""), (200, "0123456789".into()), "it serves on");
    assert!(server.log().contains("follow_links"), "the log says which directive is meant");
}

#[test]
fn random_spellings_lead_nowhere_either() {
    let server = start(&Conf::default());
    let parts = prop_oneof![
        "\\PC{0,6}",
        prop::sample::select(vec![
            "..",
            "/",
            "//",
            "%2e",
            "%2f",
            "%5c",
            "\\",
            "%00",
            "%25",
            "up",
            "dir",
            "out.txt",
            "secret.txt",
            ".htpasswd",
            ".millstream",
            "journal",
            "etc/passwd",
            "\u{0}",
            "?",
            "#",
            ";",
            "index.html",
        ])
        .prop_map(str::to_owned),
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..Default::default()
    });
    let ran = runner.run(&prop::collection::vec(parts, 0..12), |parts| {
        let path: Vec<u8> =
            format!("/{}", parts.concat()).bytes().filter(|byte| !b" \r\n".contains(byte)).collect();
        assert_closed(&server, &path);
        Ok(())
    });
    ran.unwrap();
}

#[test]
fn mounts_of_vhosts() {
    let conf = Conf::default().vhosts(
        "vhost a.com { http_static { enabled on; mount [vhost]/; dir ./[vhost]; } }
         vhost b.com { http_static { enabled on; mount [vhost]/files/; dir ./b; } }
         vhost c.com { enabled off; http_static { enabled on; mount /off/; dir ./b; } }",
    );
    let server = start(&conf);
    for (dir, text) in [("a.com", "a"), ("b", "b")] {
        fs::create_dir(server.dir().join(dir)).unwrap();
        fs::write(server.dir().join(dir).join("x"), text).unwrap();
    }
    fs::write(server.dir().join("html/x"), "global").unwrap();
    let at = |host: &str, path: &str| {
        let mut body =
            Http::request(server.http_addr(), &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        (body.head.status, String::from_utf8(body.read_to_end(SOON)).unwrap())
    };
    assert_eq!(at("a.com:80", "/x"), (200, "a".into()));
    assert_eq!(at("other", "/x"), (200, "global".into()));
    assert_eq!(at("other", "/x?vhost=a.com"), (200, "a".into()));
    assert_eq!(at("b.com", "/files/x"), (200, "b".into()));
    assert_eq!(at("b.com", "/x"), (200, "global".into()));
    assert_eq!(at("other", "/files/x").0, 404);
    assert_eq!(at("other", "/off/x").0, 404);
    assert_eq!(at("b.com", "/files").0, 302);
}

#[test]
fn live_streams_come_before_files() {
    let server = start(&Conf::default());
    fs::create_dir(server.dir().join("html/live")).unwrap();
    fs::write(server.dir().join("html/live/s.flv"), "a file").unwrap();
    fs::write(server.dir().join("html/live/s.mp4"), "a file").unwrap();
    let live = ask(&server, "/live/s.flv", "");
    assert!(live.chunked(), "the stream, though nobody publishes");
    assert_eq!(got(&server, "/live/s.mp4", ""), (200, "a file".into()));
}

#[test]
fn a_directory_that_is_not_there_serves_nothing() {
    let server = Server::plain();
    for path in ["/", "/index.html", "/srs.conf", "/../srs.conf"] {
        assert_eq!(status(&server, path, ""), 404, "{path}");
    }
    assert!(!server.log().contains("not available yet"));
}

#[test]
fn flv_from_a_place_on() {
    let server = start(&Conf::mounting("ts", ""));
    let file = server.dir().join("html/show.flv");
    make(&format!("-t 12 {VIDEO} -t 12 {AUDIO} {H264} {AAC} -flvflags add_keyframe_index -f flv"), &file);
    let len = fs::metadata(&file).unwrap().len();
    let whole = probe(&server.http("show.flv"), 1000);
    let mut last = 0;
    for start in [1, len / 4, len / 2, len / 2 + 1, len * 3 / 4] {
        let url = server.http(&format!("show.flv?start={start}"));
        let part = probe(&url, 1000);
        part.assert_sound();
        let first = part.video().next().expect("pictures");
        assert!(whole.video().any(|packet| packet == first), "a picture of the file, at its time");
        assert!(first.dts >= last, "further on");
        last = first.dts;
        // It decodes alone, and its length is known before.
        let copy = server.dir().join("part.flv");
        let run = Process::run(tool("curl", "-sSf -o").arg(&copy).arg(&url), PATIENCE);
        assert!(run.status.success(), "{}", run.text());
        decode_file(&copy);
    }
    assert!(last > 6000, "{last}");
    assert_eq!(status(&server, &format!("/show.flv?start={len}"), ""), 416);
    for whole in ["0", "x", "-1"] {
        let head = ask(&server, &format!("/show.flv?start={whole}"), "").head;
        assert_eq!(head.header("content-length"), Some(len.to_string().as_str()), "{whole}");
    }
}

#[test]
fn mp4_from_a_time_on() {
    let server = start(&Conf::default());
    // With reordered pictures; with the head behind the payload, and in front of it.
    let coding = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 50 -bf 2 -b:v 300k";
    for (name, flags) in [("behind.mp4", ""), ("front.mp4", "-movflags +faststart")] {
        let file = server.dir().join("html").join(name);
        make(&format!("-t 12 {VIDEO} -t 12 {AUDIO} {coding} {AAC} {flags} -f mp4"), &file);
        let whole = pictures(&file);
        assert_eq!(whole.len(), 300);
        // Keyframes are two seconds apart.
        for (start, first) in [("0.001", 0), ("5.9", 100), ("11.5", 250)] {
            let copy = server.dir().join("part.mp4");
            let url = server.http(&format!("{name}?start={start}"));
            let run = Process::run(tool("curl", "-sSf -o").arg(&copy).arg(&url), PATIENCE);
            assert!(run.status.success(), "{}", run.text());
            // Which decodes it, strictly.
            assert_eq!(pictures(&copy), whole[first..], "{url}");
            let found = probe_file(&copy);
            found.assert_sound();
            let (video, audio) = (found.video().count(), found.audio().count());
            let seconds = video as f64 / 25.0;
            assert!((audio as f64 / 44_100.0 * 1024.0 - seconds).abs() < 0.1, "{url}: {video} {audio}");
        }
        assert_eq!(status(&server, &format!("/{name}?start=12.5"), ""), 416);
        let len = fs::metadata(&file).unwrap().len().to_string();
        for whole in ["0", "-3", "x", "NaN", "inf"] {
            let head = ask(&server, &format!("/{name}?start={whole}"), "").head;
            assert_eq!(head.header("content-length"), Some(len.as_str()), "{whole}");
        }
    }
}

#[test]
fn a_large_file_arrives_whole_and_a_second_answer_follows() {
    let server = start(&Conf::default());
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 251) as u8).collect();
    fs::write(server.dir().join("html/large.bin"), &content).unwrap();
    let mut http = Http::connect(server.http_addr());
    for _ in 0..2 {
        http.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut body = http.answer(false);
        assert!(body.read_to_end(PATIENCE) == content);
        http = body.into_connection();
    }
}

#[test]
fn a_pipe_is_no_file() {
    let server = start(&Conf::default());
    let pipe = server.dir().join("html/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert_eq!(status(&server, "/pipe", ""), 404, "it would wait for somebody to write");
}
