//! Metrics for Prometheus: names, values, and how many there may be.

use crate::harness::api::{ask, code};
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::{Player, Publisher};
use crate::harness::http::{Http, Raw};
use crate::harness::media::{FlvViewer, Viewer, avc};
use crate::harness::server::{Conf, Ports, Server, await_port};
use crate::harness::{PATIENCE, SOON, pause, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

/// A server with an exporter, and where that listens.
fn start(more: &str) -> (Server, SocketAddr) {
    let port = Ports::free().api;
    let exporter = format!("exporter {{ enabled on; listen 127.0.0.1:{port}; {more} }}");
    // Times as published, so that the test may choose them freely.
    let conf = Conf::vhost("play { time_jitter off; }").global(&exporter);
    let (server, addr) = (Server::start(&conf), (Ipv4Addr::LOCALHOST, port).into());
    await_port(addr);
    (server, addr)
}

/// A page of metrics, taken apart as Prometheus does.
struct Page {
    /// Value by name and labels as written.
    samples: BTreeMap<String, f64>,
    /// Type by the name it is said of.
    types: BTreeMap<String, String>,
}

impl Page {
    /// Reads the page; whatever Prometheus would not take is a failure.
    #[track_caller]
    fn read(addr: SocketAddr) -> Self {
        let answer = ask(addr, "GET", "/metrics");
        assert_eq!(answer.head.status, 200, "{}", answer.text);
        assert_eq!(answer.head.header("content-type"), Some("text/plain; charset=utf-8"));
        let (mut samples, mut types, mut helped) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for line in answer.text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap();
                assert!(!text.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
                let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
                assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        let page = Self { samples, types };
        for name in page.names() {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| page.types.contains_key(*family)).unwrap_or(&name);
            assert!(page.types.contains_key(family) && helped.contains(family), "no type or help: {name}");
            assert_eq!(page.types[family] == "counter", name.ends_with("_total"), "{name}");
        }
        page
    }

    /// Names without labels.
    fn names(&self) -> BTreeSet<String> {
        self.samples.keys().map(|series| series.split('{').next().unwrap_or("").to_owned()).collect()
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples.keys()))
    }

    /// All series of that name.
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fits = move |series: &&str| series.split('{').next() == Some(name);
        self.samples.keys().map(String::as_str).filter(fits)
    }
}

#[test]
fn what_srs_exports() {
    let (server, exporter) = start("label cn-beijing; tag cn-edge;");
    let mut publisher = Publisher::live(&server, "live/s");
    let mut player = Player::start(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    player.until_serial(4);
    viewer.until_serial(4);
    publisher.send(9, 200, &avc(false, 5, 500));
    player.until_serial(5);
    viewer.until_serial(5);

    let page = Page::read(exporter);
    for (name, kind) in [
        ("srs_node_uname_info", "gauge"),
        ("srs_build_info", "gauge"),
        ("srs_cpu_percent", "gauge"),
        ("srs_memory", "gauge"),
        ("srs_send_bytes_total", "counter"),
        ("srs_receive_bytes_total", "counter"),
        ("srs_streams", "gauge"),
        ("srs_clients", "gauge"),
        ("srs_clients_total", "counter"),
        ("srs_clients_errs_total", "counter"),
    ] {
        assert_eq!(page.types[name], kind, "{name}");
        assert_eq!(page.of(name).count(), 1, "{name}");
    }
    let build = page.of("srs_build_info").next().unwrap();
    let labels = build.split('{').nth(1).unwrap().trim_end_matches('}');
    let names: Vec<&str> = labels.split("\",").map(|label| label.split('=').next().unwrap()).collect();
    let expected = ["server", "service", "pid", "build_date", "major", "version", "code", "label", "tag"];
    assert_eq!(names, expected, "{build}");
    assert!(build.contains(&format!("pid=\"{}\"", server.pid())) && build.contains("label=\"cn-beijing\""));
    let uname = page.of("srs_node_uname_info").next().unwrap();
    assert!(uname.contains("sysname=\"Linux\""), "{uname}");
    assert_eq!(page.value("srs_streams"), 1.0);
    assert_eq!((page.value("srs_clients"), page.value("srs_clients_total")), (3.0, 3.0));
    assert_eq!(page.value("srs_clients_errs_total"), 0.0);
    let memory = page.value("srs_memory");
    assert!((memory / server.rss_kb() as f64 - 1.0).abs() < 0.5, "{memory} KB");
    assert!(page.value("srs_receive_bytes_total") > 3_000.0 && page.value("srs_send_bytes_total") > 6_000.0);

    // The same page on the API's port.
    assert_eq!(Page::read(server.api_addr()).names(), page.names());
    assert_eq!(ask(exporter, "GET", "/api/v1/clients/").head.status, 404);
    assert_eq!(ask(exporter, "POST", "/metrics").head.status, 405);
}

#[test]
fn switched_off() {
    let server = Server::plain();
    assert_eq!(code(&ask(server.api_addr(), "GET", "/metrics").json()), 1090);
}

#[test]
fn what_happens_is_counted() {
    let (server, exporter) = start("");
    let mut publisher = Publisher::live(&server, "live/s");
    for n in 1..4 {
        publisher.send(9, 2000 * n, &avc(true, 10 * n, 500));
    }
    let stream = |name: &str| {
        format!("millstream_stream_{name}{{vhost=\"__defaultVhost__\",app=\"live\",stream=\"s\"}}")
    };
    // Who comes before there is media waits for the publisher, and not for the server.
    wait_until("everything was read", SOON, || {
        Page::read(exporter).samples.get(&stream("video_frames_total")) == Some(&8.0)
    });
    let mut player = Player::start(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    player.until_serial(30);
    viewer.until_serial(30);
    // The bytes are with a viewer a moment before they are counted.
    wait_until("first bytes are counted", SOON, || {
        Page::read(exporter).value("millstream_first_byte_seconds_count") == 2.0
    });
    let page = Page::read(exporter);
    assert_eq!(page.value(&stream("video_frames_total")), 8.0);
    assert_eq!(page.value(&stream("audio_frames_total")), 5.0);
    assert_eq!(page.value(&stream("keyframes_total")), 4.0);
    assert_eq!(page.value(&stream("keyframe_interval_seconds")), 2.0);
    assert_eq!((page.value(&stream("viewers")), page.value(&stream("live"))), (2.0, 1.0));
    assert_eq!(page.value("millstream_clients{protocol=\"rtmp\",role=\"viewer\"}"), 1.0);
    assert_eq!(page.value("millstream_clients{protocol=\"http\",role=\"viewer\"}"), 1.0);
    assert_eq!(page.value("millstream_lanes"), 2.0);
    assert!(page.value("millstream_lane_bytes") > 500.0);
    // Two for the clients of RTMP, one of HTTP, one for the metrics, some for listeners and the rest.
    assert!((10.0..60.0).contains(&page.value("process_open_fds")), "{}", page.value("process_open_fds"));
    let sum = |name: &str| -> f64 { page.of(name).map(|series| page.value(series)).sum() };
    assert_eq!(sum("millstream_send_bytes_total"), page.value("srs_send_bytes_total"));
    assert_eq!(sum("millstream_receive_bytes_total"), page.value("srs_receive_bytes_total"));

    wait_until("there are rates", SOON, || {
        publisher.send(9, 10_000, &avc(false, 99, 5000));
        pause();
        let page = Page::read(exporter);
        page.value(&stream("frames_per_second")) > 1.0
            && page.value(&stream("receive_bits_per_second")) > 1000.0
            && page.value(&stream("send_bits_per_second")) > 1000.0
    });

    // Somebody who speaks no RTMP ends with an error; a stream that ends takes its series along.
    let mut wrong = Raw::connect(server.rtmp_addr());
    wrong.send(b"GET / HTTP/1.1\r\n\r\n");
    assert!(wrong.receive_to_end(SOON).is_some());
    drop((publisher, player));
    viewer.rest();
    drop(viewer);
    wait_until("the series of the stream are gone", SOON, || {
        Page::read(exporter).of("millstream_stream_live").next().is_none()
    });
    wait_until("all ends are counted", SOON, || {
        let page = Page::read(exporter);
        let ends = |code: u32| {
            let series = format!("millstream_connection_ends_total{{code=\"{code}\"}}");
            page.samples.get(&series).copied().unwrap_or(0.0)
        };
        ends(4040) == 1.0 && ends(1007) >= 2.0 && ends(2000) == 1.0
    });
    let after = Page::read(exporter);
    assert_eq!((after.value("srs_clients_errs_total"), after.value("srs_clients_total")), (1.0, 3.0));
    assert!(after.value("srs_send_bytes_total") >= page.value("srs_send_bytes_total"));
}

#[test]
fn callbacks_refusals_and_reloads_are_counted() {
    let backend = Backend::with(|call| match &*call.action() {
        "on_play" => Answer::no(),
        _ => Answer::yes(),
    });
    let port = Ports::free().api;
    let exporter: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    let conf = |more: &str| {
        let global = format!("exporter {{ enabled on; listen 127.0.0.1:{port}; }} {more}");
        Conf::vhost(&backend.hooks("")).global(&global)
    };
    let server = Server::start(&conf(""));
    await_port(exporter);
    let publisher = Publisher::start(&server, "live/s");
    assert_eq!(Http::get(server.http_addr(), "/live/s.flv").head.status, 403);
    backend.expect(&["on_connect", "on_publish", "on_play"]);

    let page = Page::read(exporter);
    assert_eq!(page.value("millstream_callbacks_total{result=\"accepted\"}"), 2.0);
    assert_eq!(page.value("millstream_callbacks_total{result=\"refused\"}"), 1.0);
    assert_eq!(page.value("millstream_callbacks_total{result=\"unanswered\"}"), 0.0);
    assert_eq!(page.value("millstream_callback_seconds_count"), 3.0);
    assert_eq!(page.value("millstream_connection_ends_total{code=\"3008\"}"), 1.0);
    assert_eq!(page.value("srs_clients_errs_total"), 1.0);
    let told = ask(server.api_addr(), "GET", "/api/v1/callbacks").json();
    assert_eq!((&told["data"]["calls"], &told["data"]["refusals"]), (&3.into(), &1.into()));

    // Whoever has to go because its vhost does is counted like one that is kicked.
    let gone = |enabled: &str| {
        conf("")
            .vhosts(&format!("vhost gone.com {{ enabled {enabled}; publish {{ normal_timeout 60000; }} }}"))
    };
    server.reload(&gone("on"));
    let app = "live?vhost=gone.com";
    let _cut = Publisher::ask_at(&server, &server.rtmp(app), app, "s").unwrap();
    server.reload(&gone("off"));
    assert_eq!(Page::read(exporter).value("millstream_connection_ends_total{code=\"1070\"}"), 1.0);

    // A server that is away: its events wait, and are seen to.
    backend.go_away();
    drop(publisher);
    wait_until("they wait", SOON, || {
        let page = Page::read(exporter);
        page.value("millstream_callbacks_waiting") >= 1.0
            && page.value("millstream_callback_retries_total") >= 1.0
            && page.value("millstream_callbacks_total{result=\"unanswered\"}") >= 1.0
    });

    server.reload(&conf("chunk_size 4096;"));
    let wrong = conf("nonsense on;").text(server.ports(), server.dir());
    assert!(server.try_reload(&wrong).contains("failed"));
    wait_until("both reloads are counted", SOON, || {
        let page = Page::read(exporter);
        page.value("millstream_reloads_total{result=\"applied\"}") == 3.0
            && page.value("millstream_reloads_total{result=\"refused\"}") == 1.0
    });
}

/// Names of streams are strangers' words: there are never more series than the server allows.
#[test]
fn series_are_bounded() {
    let (server, exporter) = start("");
    let ask_for = |name: &str| {
        let mut viewer = Raw::connect(server.http_addr());
        let request = format!("GET /live/{name}.flv HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(viewer.send(request.as_bytes()));
        viewer
    };
    let hostile = ask_for("a%22%5C%7D%20b");
    let long = ask_for(&"x".repeat(300));
    let waits = |count: f64| {
        wait_until("all streams are there", PATIENCE, || Page::read(exporter).value("srs_streams") == count);
    };
    waits(2.0);
    let page = Page::read(exporter);
    assert_eq!(page.value("millstream_streams_unlabelled"), 1.0, "a name may be too long");
    let escaped = r#"millstream_stream_live{vhost="__defaultVhost__",app="live",stream="a\"\\} b"}"#;
    assert_eq!(page.value(escaped), 0.0);
    drop((hostile, long));
    let viewers: Vec<Raw> = (0..230).map(|n| ask_for(&format!("s{n}"))).collect();
    waits(230.0);
    let page = Page::read(exporter);
    assert_eq!(page.of("millstream_stream_viewers").count(), 200);
    assert_eq!(page.value("millstream_streams_unlabelled"), 30.0);
    assert_eq!(page.value("srs_clients"), 230.0);
    drop(viewers);
    waits(0.0);
}

#[test]
fn connections_beyond_the_limit_are_counted() {
    let port = Ports::free().api;
    let exporter: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    let server = Server::start_with(|command, ports, dir| {
        let conf = Conf::default()
            .global(&format!("exporter {{ enabled on; listen 127.0.0.1:{port}; }}"))
            .text(ports, dir)
            .replace("max_connections 1500;", "max_connections 20;");
        let file = dir.join("srs.conf");
        std::fs::write(&file, conf).unwrap();
        command.arg("-c").arg(file);
    });
    await_port(exporter);
    let value = |text: &str, name: &str| -> u32 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    };
    // One connection for all questions, so that there is room for them.
    let mut kept = Some(Http::connect(exporter));
    let mut scrape = || {
        let mut http = kept.take().expect("it is put back");
        http.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut answer = http.answer(false);
        let text = String::from_utf8(answer.read_to_end(SOON)).unwrap();
        kept = Some(answer.into_connection());
        text
    };
    assert_eq!(value(&scrape(), "millstream_connections_refused_total"), 0);
    let held: Vec<Raw> = (0..30).map(|_| Raw::connect(server.rtmp_addr())).collect();
    let mut text = String::new();
    wait_until("some are refused", SOON, || {
        text = scrape();
        value(&text, "millstream_connections_refused_total") >= 11
    });
    let value = |name| value(&text, name);
    assert!(
        (1..=20).contains(&value("millstream_connections")) && value("millstream_connections_limit") == 20
    );
    drop(held);
}

/// Every metric the dashboard asks for exists.
#[test]
fn the_dashboard_knows_only_what_there_is() {
    let (server, exporter) = start("");
    let mut publisher = Publisher::live(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.until_serial(4);
    publisher.unpublish();
    viewer.rest();
    publisher.publish_again("s");
    wait_until("an end was counted", SOON, || {
        Page::read(exporter).of("millstream_connection_ends_total").next().is_some()
    });
    let names = Page::read(exporter).names();

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/grafana/millstream.json");
    let text = std::fs::read_to_string(file).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let asked: BTreeSet<&str> = text
        .split(|c: char| !is_word(c))
        .filter(|word| ["srs_", "millstream_", "process_"].iter().any(|start| word.starts_with(start)))
        .collect();
    assert!(asked.len() > 20, "{asked:?}");
    for name in asked {
        assert!(names.contains(name), "{name} is not among {names:#?}");
    }
}

#[test]
pub(crate) fn the_exporter_comes_moves_and_goes_and_reloads_are_counted() {
    let server = Server::plain();
    let with = |port: u16, labels: &str| {
        let block = format!("exporter {{ enabled on; listen 127.0.0.1:{port}; {labels} }}");
        server.reload(&Conf::default().global(&block));
    };
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answers = |port: u16| std::net::TcpStream::connect(at(port)).is_ok();
    let (first, second) = (Ports::free().api, Ports::free().api);
    let info = |port: u16, label: &str, tag: &str| {
        let page = Page::read(at(port));
        let name = page.samples.keys().find(|name| name.starts_with("srs_build_info{")).unwrap();
        assert!(name.contains(&format!("label=\"{label}\"")), "{name}");
        assert!(name.contains(&format!("tag=\"{tag}\"")), "{name}");
    };
    with(first, "label a; tag b;");
    info(first, "a", "b");
    with(first, "label c; tag d;");
    info(first, "c", "d");
    server.try_reload("nonsense");
    with(second, "");
    wait_until("the first address is closed", SOON, || !answers(first));
    let page = Page::read(at(second));
    assert_eq!(page.value("millstream_reloads_total{result=\"applied\"}"), 3.0);
    assert_eq!(page.value("millstream_reloads_total{result=\"refused\"}"), 1.0);
    server.reload(&Conf::default());
    wait_until("the exporter is gone", SOON, || !answers(second));
}
