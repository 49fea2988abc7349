//! The HTTP API: answers as SRS gives them, rules of paths and methods, and what strangers put into it.

use crate::harness::api::{ask, ask_with, clients, code, get, list, read, text};
use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{self, AAC, AUDIO};
use crate::harness::http::{Http, Raw};
use crate::harness::media::{FlvViewer, Viewer, avc};
use crate::harness::server::{Conf, Ports, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What SRS 3.0.170 answered in the same situation.
fn recorded(name: &str) -> Value {
    let file = format!("{}/testdata/srs/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// Members, their order and types are those recorded, and numbers of their order of magnitude; what we add
/// comes behind.
#[track_caller]
fn assert_like(recorded: &Value, ours: &Value, at: &str) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            let names: Vec<&String> = ours.keys().take(recorded.len()).collect();
            assert_eq!(recorded.keys().collect::<Vec<_>>(), names, "members of {at}");
            for (name, value) in recorded {
                assert_like(value, &ours[name], &format!("{at}.{name}"));
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            assert_eq!(recorded.is_empty(), ours.is_empty(), "{at}");
            for (recorded, ours) in recorded.iter().zip(ours) {
                assert_like(recorded, ours, &format!("{at}[]"));
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            assert_eq!(a.is_f64(), b.is_f64(), "{at}: {a} and {b}");
            let magnitude = |n: &serde_json::Number| n.as_f64().unwrap_or(0.0).max(1.0).log10();
            assert!((magnitude(a) - magnitude(b)).abs() < 2.0, "{at}: {a} and {b}");
        }
        (Value::String(a), Value::String(b)) => assert_eq!(a.is_empty(), b.is_empty(), "{at}: {a:?}, {b:?}"),
        (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => {}
        _ => panic!("{at}: {recorded} and {ours} are not of one kind"),
    }
}

#[test]
fn answers_are_those_of_srs() {
    let server = Server::plain();
    let video = "-f lavfi -i testsrc2=size=640x360:rate=25";
    let h264 = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 -b:v 400k -level 3";
    let url = server.rtmp("live/livestream");
    let _publisher = ffmpeg::publish(&format!("-re {video} -re {AUDIO} {h264} {AAC}"), &url);
    let stream = || get(&server, "streams/")["streams"][0].clone();
    wait_until("the stream has picture and sound", PATIENCE, || {
        stream()["video"].is_object() && stream()["audio"].is_object()
    });
    let mut rtmp = Player::start(&server, "live/livestream");
    let mut http = FlvViewer::new(Http::request(
        server.http_addr(),
        "GET /live/livestream.flv HTTP/1.1\r\nHost: 127.0.0.1\r\nReferer: http://page.example.com/a.html\r\n\r\n",
    ));
    rtmp.frame();
    http.frame();
    wait_until("there is a rate in both directions", PATIENCE, || {
        rtmp.frame();
        http.frame();
        let stream = stream();
        let kbps = &stream["kbps"];
        stream["frames"].as_u64() > Some(25)
            && kbps["recv_30s"].as_u64() > Some(100)
            && kbps["send_30s"].as_u64() > Some(100)
    });

    for name in ["versions", "vhosts/", "streams/", "clients/"] {
        assert_like(&recorded(name.trim_end_matches('/')), &get(&server, name), name);
    }
    let query =
        "clusters?vhost=__defaultVhost__&ip=1.2.3.4&app=live&stream=livestream&coworker=10.0.0.9:1985";
    let clusters = get(&server, query);
    assert_like(&recorded("clusters"), &clusters, "clusters");
    assert_eq!(clusters["data"]["query"], recorded("clusters")["data"]["query"]);
    assert_eq!(clusters["data"]["origin"]["ip"], "10.0.0.9");
    assert_eq!(clusters["data"]["origin"]["port"], server.ports().rtmp);
    assert_eq!(clusters["data"]["origin"]["api"], format!("127.0.0.1:{}", server.ports().api));
    assert_eq!(get(&server, "clusters?app=live&stream=other")["data"]["origin"], Value::Null);

    // What is the same wherever it runs.
    let stream = stream();
    assert_eq!(stream["clients"], 3);
    assert_eq!(text(&stream["publish"], "cid"), text(&clients(&server)[0], "id"));
    assert_eq!(
        stream["video"].to_string(),
        r#"{"codec":"H264","profile":"Baseline","level":"3","width":640,"height":360}"#
    );
    assert_eq!(
        stream["audio"].to_string(),
        r#"{"codec":"AAC","sample_rate":44100,"channel":2,"profile":"LC"}"#
    );
    let all = clients(&server);
    let of = |name: &str| all.iter().map(|client| client[name].to_string()).collect::<Vec<_>>();
    assert_eq!(of("type"), [r#""fmle-publish""#, r#""Play""#, r#""Play""#]);
    assert_eq!(of("publish"), ["true", "false", "false"]);
    assert_eq!(of("url"), [r#""/live/livestream""#; 3]);
    assert_eq!(of("pageUrl")[2], r#""http://page.example.com/a.html""#);
    assert_eq!(of("tcUrl")[2], r#""rtmp://127.0.0.1/live""#);

    // What one received, the others sent: publisher's bytes are the server's, and so on.
    let vhost = get(&server, "vhosts/")["vhosts"][0].clone();
    assert_eq!((vhost["clients"].clone(), vhost["streams"].clone()), (3.into(), 1.into()));
    assert_eq!(vhost["id"], stream["vhost"]);
    for (name, value) in [("stream", &stream), ("vhost", &vhost)] {
        let id = text(value, "id");
        let one = get(&server, &format!("{name}s/{id}"));
        assert_eq!(one[name]["name"], value["name"], "{one}");
    }
}

/// Two decimals cannot be seen in parsed JSON.
#[test]
fn floats_have_two_decimals() {
    let server = Server::plain();
    let _publisher = Publisher::live(&server, "live/s");
    let text = ask(server.api_addr(), "GET", "/api/v1/clients/").text;
    let alive = text.split("\"alive\":").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let (whole, decimals) = alive.split_once('.').unwrap();
    assert!(whole.parse::<u32>().is_ok() && decimals.len() == 2, "{alive}");
}

#[test]
fn paths_and_methods() {
    let server = Server::plain();
    let api = server.api_addr();
    for (path, to) in [
        ("/api/v1/streams?x=1", "/api/v1/streams/?x=1"),
        ("/api/v1/vhosts", "/api/v1/vhosts/"),
        ("/api/v1/clients", "/api/v1/clients/"),
    ] {
        let answer = ask(api, "GET", path);
        assert_eq!((answer.head.status, answer.head.header("location")), (302, Some(to)));
        assert!(answer.head.header("content-type").unwrap().starts_with("text/plain"));
    }
    let index = get(&server, "");
    for path in ["nothing", "versions/below", "requests"] {
        assert_eq!(get(&server, path)["urls"], index["urls"], "{path}");
    }
    assert!(index["urls"]["streams"].is_string() && index["tests"].is_object());
    assert!(ask(api, "GET", "/api/nothing").json()["urls"]["v1"].is_string());
    let root = ask(api, "GET", "/");
    assert_eq!((root.head.status, root.text.trim()), (404, "Not Found"));

    for path in ["vhosts/", "streams/", "versions"] {
        let refused = ask(api, "POST", &format!("/api/v1/{path}"));
        assert_eq!((refused.head.status, refused.text.trim()), (405, "Method Not Allowed"));
        assert_eq!(refused.head.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(code(&ask(api, "POST", "/api/v1/clusters?app=a&stream=b").json()), 0);
    let head = ask(api, "HEAD", "/api/v1/versions");
    assert!(head.head.status == 200 && head.text.is_empty());

    for (path, expected) in [
        ("vhosts/vid-0-0", 2014),
        ("streams/vid-0-0", 2048),
        ("clients/0", 2049),
        ("clients/x", 2049),
        ("clients/99999999999999999999999", 2049),
        ("clients/1/2", 2049),
    ] {
        assert_eq!(get(&server, path).to_string(), format!(r#"{{"code":{expected}}}"#), "{path}");
    }
    assert_eq!(code(&ask(api, "DELETE", "/api/v1/clients/").json()), 2049);
    assert_eq!(code(&ask(api, "DELETE", "/api/v1/clients/0").json()), 2049);
    assert_eq!(code(&ask(api, "GET", "/api/v1/../v1/streams/").json()), 4002);
}

#[test]
fn pages_of_clients_and_streams() {
    let server = Server::plain();
    let _publishers: Vec<_> = (0..12).map(|n| Publisher::live(&server, &format!("live/s{n}"))).collect();
    let page = |query: &str| {
        let answer = get(&server, &format!("clients/{query}"));
        assert_eq!(answer["total"], 12);
        list(&answer, "clients").iter().map(|client| text(client, "id").to_owned()).collect::<Vec<_>>()
    };
    let all = page("?count=100");
    assert_eq!(all.len(), 12);
    assert!(all.is_sorted(), "ordered as text: {all:?}");
    assert_eq!(page(""), all[..10]);
    assert_eq!(page("?start=10"), all[10..]);
    assert_eq!(page("?start=3&count=2"), all[3..5]);
    assert!(page("?start=100").is_empty());
    assert_eq!(list(&get(&server, "streams/"), "streams").len(), 12, "all, as in SRS 3");
    assert_eq!(list(&get(&server, "streams/?start=2&count=3"), "streams").len(), 3);
}

#[test]
fn jsonp_calls_functions_but_runs_no_programs() {
    let server = Server::plain();
    let api = server.api_addr();
    let answer = ask(api, "GET", "/api/v1/versions?callback=jQuery.f-1_x");
    assert_eq!(answer.head.header("content-type"), Some("text/javascript"));
    assert_eq!(answer.head.header("x-content-type-options"), Some("nosniff"));
    let inner = answer.text.strip_prefix("jQuery.f-1_x(").and_then(|rest| rest.strip_suffix(')')).unwrap();
    assert_eq!(serde_json::from_str::<Value>(inner).unwrap()["code"], 0);
    assert_eq!(ask(api, "GET", "/api/v1/clients/1?callback=f&method=DELETE").text, r#"f({"code":2049})"#);
    let refused = ask(api, "GET", "/api/v1/versions?callback=f&method=POST");
    assert_eq!((refused.head.status, refused.text.trim()), (405, "Method Not Allowed"));
    for bad in ["alert(1)//", "%3Cscript%3E", "a%0d%0aSet-Cookie:x", "a%20b", &"a".repeat(200)] {
        let answer = ask(api, "GET", &format!("/api/v1/versions?callback={bad}"));
        assert_eq!(answer.text, r#"{"code":4058}"#, "{bad}");
        assert_eq!(answer.head.header("connection"), Some("close"));
    }
}

#[test]
fn web_pages_of_other_origins() {
    let server = Server::plain();
    let origin = "Origin: http://page.example.com\r\n";
    let answer = ask_with(server.api_addr(), "GET", "/api/v1/versions", origin);
    assert_eq!(answer.head.header("access-control-allow-origin"), Some("*"));
    let options = ask_with(server.api_addr(), "OPTIONS", "/api/v1/clients/1", origin);
    assert_eq!((options.head.status, options.text.as_str()), (200, ""));
    assert!(options.head.header("access-control-allow-methods").unwrap().contains("DELETE"));
    let plain = ask(server.api_addr(), "GET", "/api/v1/versions");
    assert_eq!(plain.head.header("access-control-allow-origin"), None);
}

/// The delivery port is open to everybody: nobody must be kicked over it.
#[test]
fn the_delivery_port_tells_the_version_only() {
    let server = Server::plain();
    let publisher = Publisher::live(&server, "live/s");
    assert_eq!(code(&ask(server.http_addr(), "GET", "/api/v1/versions").json()), 0);
    let id = text(&clients(&server)[0], "id").to_owned();
    for path in ["", "clients/", "streams/", "openapi.json"] {
        assert_eq!(ask(server.http_addr(), "GET", &format!("/api/v1/{path}")).head.status, 404, "{path}");
    }
    assert_eq!(ask(server.http_addr(), "DELETE", &format!("/api/v1/clients/{id}")).head.status, 404);
    assert_eq!(ask(server.http_addr(), "GET", "/metrics").head.status, 404);
    assert_eq!(clients(&server).len(), 1);
    drop(publisher);
}

#[test]
fn one_port_for_both() {
    let server = Server::start_with(|command, ports, dir| {
        let conf = Conf::default().text(ports, dir).replace(
            &format!("http_api {{ enabled on; listen 127.0.0.1:{}; }}", ports.api),
            &format!("http_api {{ enabled on; listen 127.0.0.1:{}; }}", ports.http),
        );
        let file = dir.join("srs.conf");
        std::fs::write(&file, conf).unwrap();
        command.arg("-c").arg(file);
    });
    let _publisher = Publisher::live(&server, "live/s");
    FlvViewer::open(&server, "/live/s.flv").frame();
    let answer = ask(server.http_addr(), "GET", "/api/v1/streams/").json();
    assert_eq!(list(&answer, "streams").len(), 1);
    assert_eq!(ask(server.http_addr(), "GET", "/api/v1/streams").head.status, 302);
}

#[test]
fn a_stream_is_listed_while_somebody_is_there() {
    let server = Server::plain();
    let streams = || list(&get(&server, "streams/"), "streams").to_vec();
    assert!(streams().is_empty() && list(&get(&server, "vhosts/"), "vhosts").is_empty());

    let mut player = Player::start(&server, "live/s");
    let waiting = streams().pop().unwrap();
    assert_eq!(waiting["publish"].to_string(), r#"{"active":false,"cid":""}"#);
    assert!(waiting["video"].is_null() && waiting["audio"].is_null());

    let publisher = Publisher::live(&server, "live/s");
    player.until_serial(4);
    let running = streams().pop().unwrap();
    assert_eq!(running["id"], waiting["id"], "the id stays as long as somebody is there");
    assert_eq!((&running["clients"], &running["frames"]), (&2.into(), &5.into()));
    let received = running["recv_bytes"].as_u64().unwrap();

    drop(publisher);
    wait_until("the publisher is gone", SOON, || streams()[0]["publish"]["active"] == false);
    let left = streams().pop().unwrap();
    assert_eq!((&left["id"], &left["clients"]), (&waiting["id"], &1.into()));
    assert!(left["recv_bytes"].as_u64() >= Some(received), "what it sent stays counted");
    assert!(left["video"].is_null());

    drop(player);
    wait_until("nobody is left", SOON, || streams().is_empty());
    let vhost = get(&server, "vhosts/")["vhosts"][0].clone();
    assert_eq!((&vhost["clients"], &vhost["streams"]), (&0.into(), &0.into()));
    assert!(vhost["recv_bytes"].as_u64() >= Some(received), "{vhost}");
}

/// Bytes are those on the wire: of the handshake and all commands too.
#[test]
fn bytes_of_both_ends_agree() {
    let server = Server::plain();
    let mut publisher = Publisher::live(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.until_serial(4);
    for n in 5..50 {
        publisher.send(9, 40 * n, &avc(false, n, 10_000));
    }
    viewer.until_serial(49);
    let number = |value: &Value, name: &str| value[name].as_u64().unwrap();
    // Bytes are counted when they are written: a moment after they may have come.
    wait_until("they are counted", SOON, || number(&clients(&server)[1], "send_bytes") >= 450_000);
    let all = clients(&server);
    let (publish, play) = (&all[0], &all[1]);
    // 45 frames of 10 kB in chunks of 128 bytes, and 3 kB of handshake.
    let received = number(publish, "recv_bytes");
    assert!((453_000..470_000).contains(&received), "{received}");
    assert!((3_073..8_000).contains(&number(publish, "send_bytes")), "{publish}");
    assert!((450_000..470_000).contains(&number(play, "send_bytes")), "{play}");
    let request = "GET /live/s.flv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".len() as u64;
    assert_eq!(number(play, "recv_bytes"), request);
    let stream = get(&server, "streams/")["streams"][0].clone();
    assert_eq!(number(&stream, "recv_bytes"), received + request);
    assert_eq!(number(&stream, "send_bytes"), number(publish, "send_bytes") + number(play, "send_bytes"));
}

#[test]
fn strangers_words_stay_words() {
    let server = Server::plain();
    let names = [
        r#"a"b"#,
        r"back\slash",
        "<script>alert(1)</script>",
        "\u{1}\u{1f}\u{7f}",
        "line\r\nbreak",
        "\u{2028}你好\u{1f600}",
        "{{7*7}}%00${x}",
        "*/ f(1) /*",
    ];
    let mut held = Vec::new();
    for name in names {
        let tc_url = format!("rtmp://127.0.0.1/app{name}?token=secret&vhost=__defaultVhost__");
        held.push(Publisher::ask_at(&server, &tc_url, "app", name).ok());
    }
    assert!(held.iter().flatten().count() >= 5, "most of these are names all the same");
    let referer =
        "GET /li%22ve/s%5C%22.flv?k=secret HTTP/1.1\r\nHost: x\r\nReferer: http://\"<b>\"/?k=secret\r\n\r\n";
    let _viewer = Http::request(server.http_addr(), referer);

    let publishers = held.iter().flatten().count();
    wait_until("all are listed", SOON, || clients(&server).len() == publishers + 1);
    for path in ["clients/?count=100", "streams/", "vhosts/"] {
        let answer = ask(server.api_addr(), "GET", &format!("/api/v1/{path}"));
        answer.json();
        assert!(!answer.text.chars().any(char::is_control), "{}", answer.text);
        assert!(!answer.text.contains("secret"), "{}", answer.text);
        assert_eq!(answer.head.header("x-content-type-options"), Some("nosniff"));
    }
    let listed: Vec<String> = clients(&server).iter().map(|client| text(client, "name").to_owned()).collect();
    assert!(listed.contains(&names[0].to_owned()) && listed.contains(&names[2].to_owned()), "{listed:?}");
    // Asked for as parameters and parts of paths too.
    let path = "clusters?app=%22%3Cb%3E&stream=%00%0d%0a&ip=%ff&vhost=%5c";
    assert_eq!(get(&server, path)["data"]["query"]["stream"], "\0\r\n");
    for path in ["streams/%22%3E%3Cscript%3E", "clients/%0d%0a", "vhosts/%22%3Cb%3E"] {
        assert_ne!(code(&get(&server, path)), 0);
    }
}

#[test]
fn huge_and_slow_requests() {
    let mut server = Server::plain();
    // A body that nobody reads, announced or endless: the answer does not wait for it.
    let mut huge = Http::connect(server.api_addr());
    huge.send(b"POST /api/v1/streams/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n");
    assert_eq!(read(huge.answer(false)).head.status, 405);
    let mut flood = Raw::connect(server.api_addr());
    flood.send(b"POST /api/v1/clusters HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    let before = server.rss_kb();
    let end = Instant::now() + SOON;
    // Until the server has enough of it, or we have.
    for _ in 0..500 {
        if Instant::now() > end || !flood.send(&chunk) {
            break;
        }
    }
    assert!(server.rss_kb() < before + 16 * 1024, "the body is not kept");
    // Somebody who never finishes a request keeps nobody waiting.
    let mut slow = Raw::connect(server.api_addr());
    slow.send(b"GET /api/v1/streams/ HTTP/1.1\r\nX: ");
    assert_eq!(code(&get(&server, "streams/")), 0);
    // A path and a query of the largest size.
    let long = format!("/api/v1/clients/{}?x={}", "9".repeat(4000), "%41".repeat(2000));
    assert_eq!(code(&ask(server.api_addr(), "GET", &long).json()), 2049);
    assert!(server.alive());
}

#[test]
fn the_api_is_as_it_describes_itself() {
    let server = Server::plain();
    let _publisher = Publisher::live(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.frame();
    let document = get(&server, "openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    let first = |path: &str| {
        let name = path.trim_start_matches("/api/v1/").trim_end_matches("/{id}");
        let answer = get(&server, &format!("{name}/"));
        text(&list(&answer, name)[0], "id").to_owned()
    };
    let mut checked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let responses = &item["get"]["responses"];
        if responses.get("301").is_some() {
            assert_eq!(ask(server.api_addr(), "GET", path).head.status, 301, "{path}");
            continue;
        }
        let mut schema = responses["200"]["content"]["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let mut urls = vec![path.clone()];
        if path.ends_with("{id}") {
            urls = vec![path.replace("{id}", &first(path)), path.replace("{id}", "unknown")];
        }
        let is_raw = path == "/api/v1/raw";
        if is_raw {
            urls = vec![format!("{path}?rpc=raw"), path.clone()];
        }
        for url in urls {
            let mut answer = ask(server.api_addr(), "GET", &url).json();
            let errors: Vec<String> = validator.iter_errors(&answer).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{url}: {errors:?}\n{answer}");
            // The description is strict: one member more is wrong.
            answer["surplus"] = 1.into();
            assert!(!validator.is_valid(&answer) || is_raw && answer["code"] == 0, "{url}");
            checked += 1;
        }
    }
    let index = get(&server, "");
    for name in index["urls"].as_object().unwrap().keys().filter(|name| *name != "openapi.json") {
        let described =
            ["", "/"].iter().any(|end| document["paths"].get(format!("/api/v1/{name}{end}")).is_some());
        assert!(described, "{name} is not described");
    }
    assert!(checked >= 22, "only {checked} answers were checked");
}

/// Many clients do not make the API slow, and asking does not disturb them.
#[test]
fn a_thousand_clients() {
    const CLIENTS: usize = 1200;
    let exporter = format!("exporter {{ enabled on; listen 127.0.0.1:{}; }}", Ports::free().api);
    // The publisher is silent while all come.
    let patient = Conf::vhost("publish { normal_timeout 60000; }");
    let server = Server::start(&patient.global(&exporter));
    let mut publisher = Publisher::live(&server, "live/s");
    let request = b"GET /live/s.flv HTTP/1.1\r\nHost: x\r\n\r\n";
    let _viewers: Vec<Raw> = (0..CLIENTS)
        .map(|_| {
            let mut viewer = Raw::connect(server.http_addr());
            assert!(viewer.send(request));
            viewer
        })
        .collect();
    let mut watched = FlvViewer::open(&server, "/live/s.flv");
    wait_until("all are there", PATIENCE, || get(&server, "clients/")["total"] == CLIENTS + 2);
    for n in 0..20 {
        let begun = Instant::now();
        let all = ask(server.api_addr(), "GET", "/api/v1/clients/?count=100000");
        assert_eq!(list(&all.json(), "clients").len(), CLIENTS + 2);
        assert_eq!(ask(server.api_addr(), "GET", "/metrics").head.status, 200);
        let taken = begun.elapsed();
        assert!(taken < Duration::from_secs(3), "{taken:?}");
        publisher.send(9, 200 + 40 * n, &avc(false, 5 + n, 100));
        watched.until_serial(5 + n);
    }
}
