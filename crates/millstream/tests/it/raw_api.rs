//! Remote control: reload, query and update over `/api/v1/raw`, as transactions.

use crate::harness::client::{Player, Publisher};
use crate::harness::http::Http;
use crate::harness::media::{Viewer, avc};
use crate::harness::server::{Ports, Server};
use crate::harness::{SOON, wait_until};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

/// A file as people write them: with comments, quotes and an order of their own.
fn text(ports: Ports, raw: &str) -> String {
    let Ports { rtmp, http, api } = ports;
    format!(
        "# our station\nlisten 127.0.0.1:{rtmp}; # the old encoders\n\ndaemon off; srs_log_tank console;\n\
         auto_reload_for_docker off;\n\
         pid \"./my objs/srs.pid\";\nhttp_api {{\n    enabled on;\n    listen 127.0.0.1:{api};\n    raw_api {{ {raw} }}\n}}\n\
         http_server {{ enabled on; listen 127.0.0.1:{http}; dir './my html'; }}\n\
         vhost __defaultVhost__ {{ # all others\n    publish {{ normal_timeout 60000; }}\n}}\n"
    )
}

const ALL: &str = "enabled on; allow_reload on; allow_query on; allow_update on;";

/// With that file.
fn server(raw: &str) -> Server {
    Server::start_with(|command, ports, dir| {
        std::fs::write(dir.join("srs.conf"), text(ports, raw)).unwrap();
        command.args(["-c", "srs.conf"]);
    })
}

fn call_at(addr: SocketAddr, query: &str) -> (u16, String) {
    let mut body = Http::get(addr, &format!("/api/v1/raw?{query}"));
    let status = body.head.status;
    (status, String::from_utf8(body.read_to_end(SOON)).unwrap())
}

#[track_caller]
fn call(server: &Server, query: &str) -> String {
    let (status, answer) = call_at((Ipv4Addr::LOCALHOST, server.ports().api).into(), query);
    assert_eq!(status, 200, "{query}: {answer}");
    answer
}

#[track_caller]
fn ok(server: &Server, query: &str) {
    assert_eq!(call(server, query), r#"{"code":0}"#, "{query}");
}

fn file(server: &Server) -> String {
    std::fs::read_to_string(server.dir().join("srs.conf")).unwrap()
}

#[test]
pub(crate) fn every_call_needs_its_permission() {
    let closed = server("enabled off; allow_reload on; allow_query on; allow_update on;");
    let shown = call(&closed, "rpc=raw");
    for part in [r#""code":0"#, r#""raw_api":{"enabled":false,"allow_reload":true"#, r#""crossdomain":true"#]
    {
        assert!(shown.contains(part), "{shown}");
    }
    for rpc in ["reload", "reload-fetch", "query&scope=global", "update&scope=utc_time&value=true"] {
        assert_eq!(call(&closed, &format!("rpc={rpc}")), r#"{"code":1061}"#, "{rpc}");
    }
    let open = server("enabled on; allow_query on;");
    for rpc in ["reload", "reload-fetch", "update&scope=utc_time&value=true"] {
        assert_eq!(call(&open, &format!("rpc={rpc}")), r#"{"code":1061}"#, "{rpc}");
    }
    assert!(call(&open, "rpc=query&scope=minimal").starts_with(r#"{"code":0,"minimal":{"listen":["#));
    for unknown in ["rpc=nonsense", "rpc=", ""] {
        assert_eq!(call(&open, unknown), r#"{"code":1060}"#, "{unknown}");
    }
    assert_eq!(call(&open, "rpc=query&scope=nonsense"), r#"{"code":1062}"#);
    // The port of the streams is open to everybody: no remote control there.
    assert_ne!(call_at(open.http_addr(), "rpc=raw").0, 200);
}

#[test]
fn a_reload_answers_when_it_is_done_or_says_why_not() {
    let server = server(ALL);
    let good = text(server.ports(), ALL);
    server.write(&format!("{good}vhost a.com {{ }}\n"));
    ok(&server, "rpc=reload");
    assert!(call(&server, "rpc=query&scope=vhost&vhost=a.com").contains(r#""name":"a.com","enabled":true"#));
    let fetched = call(&server, "rpc=reload-fetch");
    assert!(fetched.starts_with(r#"{"code":0,"data":{"err":0,"msg":"","state":90,"rid":""#), "{fetched}");

    server.write(&format!("{good}\nnonsense on;\n"));
    let refused = call(&server, "rpc=reload");
    for part in [r#"{"code":1023,"#, "unknown directive `nonsense`", "srs.conf:17:1"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    let failed = call(&server, "rpc=reload-fetch");
    assert!(failed.contains(r#""err":1023"#) && failed.contains(r#""state":20"#), "{failed}");
    assert_ne!(failed.split("\"rid\"").nth(1), fetched.split("\"rid\"").nth(1), "each reload has its own id");
    assert!(call(&server, "rpc=query&scope=vhost&vhost=a.com").contains(r#""enabled":true"#));
}

/// Defect 18 of the fact sheet: SRS loses quotes and comments.
#[test]
fn an_update_changes_its_place_in_the_file_and_nothing_else() {
    let server = server(ALL);
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    publisher.send(9, 0, &avc(true, 0, 100));
    let mut player = Player::start(&server, "live/s");
    let before = file(&server);

    ok(&server, "rpc=update&scope=chunk_size&value=4096");
    assert_eq!(file(&server), format!("{before}chunk_size 4096;\n"));
    assert_eq!(Player::start(&server, "live/s").chunk_size(), 4096);
    ok(&server, "rpc=update&scope=chunk_size&value=1024");
    assert_eq!(file(&server), format!("{before}chunk_size 1024;\n"));

    let (rtmp, more) = (server.ports().rtmp, Ports::free().rtmp);
    ok(&server, &format!("rpc=update&scope=listen&value=127.0.0.1:{rtmp},127.0.0.1:{more}"));
    assert!(
        file(&server).contains(&format!("listen 127.0.0.1:{rtmp} 127.0.0.1:{more}; # the old encoders\n"))
    );
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, more)).is_ok());

    ok(&server, "rpc=update&scope=vhost&value=a.com&param=create");
    assert!(Player::ask_at(&server, &server.rtmp("live?vhost=a.com"), "live", "s").is_ok());
    ok(&server, "rpc=update&scope=vhost&value=a.com&param=disable");
    assert!(Player::ask_at(&server, &server.rtmp("live?vhost=a.com"), "live", "s").is_err());
    ok(&server, "rpc=update&scope=vhost&value=a.com&param=update&data=b.com");
    ok(&server, "rpc=update&scope=vhost&value=b.com&param=enable");
    assert!(file(&server).contains("vhost b.com {\n    enabled on;\n}\n"), "{}", file(&server));
    ok(&server, "rpc=update&scope=vhost&value=b.com&param=disable");
    ok(&server, "rpc=update&scope=vhost&value=b.com&param=delete");
    let listen = format!("listen 127.0.0.1:{rtmp} 127.0.0.1:{more};");
    let expected = before.replace(&format!("listen 127.0.0.1:{rtmp};"), &listen);
    assert_eq!(file(&server), format!("{expected}chunk_size 1024;\n"));

    // Nobody has noticed, nothing is left lying about, and a fresh start reads what was written.
    publisher.send(9, 40, &avc(true, 1, 100));
    player.until_serial(1);
    assert!(!server.dir().join("srs.conf.tmp").exists());
    let conf = file(&server);
    let ports = server.ports();
    drop((publisher, player, server));
    let again = Server::again(&conf, ports);
    assert!(call(&again, "rpc=query&scope=global").contains(r#""chunk_size":1024"#));
}

#[test]
fn an_update_that_cannot_be_leaves_file_and_server_as_they_were() {
    let server = server(ALL);
    let before = file(&server);
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, Ports::free().rtmp)).unwrap();
    let listen = format!("scope=listen&value={}", taken.local_addr().unwrap());
    for (query, code) in [
        ("scope=chunk_size&value=1", 1063),
        ("scope=nonsense&value=1", 1062),
        ("value=1", 1062),
        ("scope=vhost&value=__defaultVhost__&param=delete", 1063),
        ("scope=vhost&value=a%20b%22%27&param=create", 1063),
        ("scope=vhost&value=a%0a}%0alisten&param=create", 1063),
        ("scope=pid&value=./../x.pid", 1063),
        (&listen, 1002),
    ] {
        let answer = call(&server, &format!("rpc=update&{query}"));
        assert!(answer.starts_with(&format!(r#"{{"code":{code}"#)), "{query}: {answer}");
        assert_eq!(file(&server), before, "{query}");
    }
    // What an included file says first counts; the answer says that.
    std::fs::write(server.dir().join("more.conf"), "chunk_size 2048;\n").unwrap();
    let included = format!("include more.conf;\n{before}");
    assert!(server.try_reload(&included).contains("reload config success."));
    let answer = call(&server, "rpc=update&scope=chunk_size&value=4096");
    assert!(answer.contains(r#""code":1023"#) && answer.contains("set elsewhere"), "{answer}");
    assert_eq!(file(&server), included);
}

#[test]
fn changes_at_the_same_time_are_made_one_after_the_other() {
    let server = server(ALL);
    let names: Vec<String> = (0..8).map(|n| format!("v{n}.com")).collect();
    let server = &server;
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || ok(server, &format!("rpc=update&scope=vhost&value={name}&param=create")));
        }
    });
    for name in &names {
        assert_eq!(file(server).matches(&format!("vhost {name} {{")).count(), 1, "{}", file(server));
    }
    wait_until("all are told", SOON, || server.log().matches("reload config success.").count() == 8);
    assert!(call(server, "rpc=query&scope=global").contains(r#""nb_vhosts":9"#));
}
