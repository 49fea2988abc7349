//! `http_api.auth`: who may use the API.

use crate::harness::ffmpeg::tool;
use crate::harness::http::{Body, Http};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Server, await_port};
use crate::harness::{PATIENCE, SOON, wait_until};
use std::net::SocketAddr;

fn server(auth: &str) -> Server {
    let server = Server::start_with(|command, ports, dir| {
        let conf = Conf::default().text(ports, dir);
        let conf =
            conf.replace("http_api { enabled on;", &format!("http_api {{ enabled on; auth {{ {auth} }}"));
        std::fs::write(dir.join("srs.conf"), conf).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    await_port(server.api_addr());
    server
}

fn ask(addr: SocketAddr, path: &str, headers: &str) -> Body {
    Http::request(addr, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
}

const CONF: &str = "enabled on; username admin; password pa:ss;";
/// `admin:pa:ss`.
const RIGHT: &str = "Authorization: Basic YWRtaW46cGE6c3M=\r\n";
/// `admin:pa`.
const WRONG: &str = "Authorization: Basic YWRtaW46cGE=\r\n";

#[test]
fn the_api_asks_on_both_ports() {
    let server = server(CONF);
    for addr in [server.api_addr(), server.http_addr()] {
        for headers in ["", WRONG, "Authorization: Basic\r\n", "Authorization: Bearer x\r\n"] {
            let body = ask(addr, "/api/v1/versions", headers);
            assert_eq!(body.head.status, 401, "{headers}");
            let scheme = body.head.header("www-authenticate").unwrap_or_default();
            assert!(scheme.starts_with("Basic "), "{scheme}");
            let said = { body }.read_to_end(SOON);
            assert!(!String::from_utf8_lossy(&said).contains("server"), "nothing is given away");
        }
        let body = ask(addr, "/api/v1/versions", RIGHT);
        assert_eq!(body.head.status, 200);
    }
    for path in ["/api/", "/api", "/api/v1/summaries?callback=x", "/api/v1/unknown", "/api/v1/tests/errors"] {
        assert_eq!(ask(server.api_addr(), path, "").head.status, 401, "{path}");
    }
    let log = server.log();
    assert!(!log.contains("pa:ss") && !log.contains("YWRtaW46"), "secrets in the log");
}

#[test]
fn curl_gets_in_with_name_and_password() {
    let server = server(CONF);
    let url = format!("http://127.0.0.1:{}/api/v1/summaries", server.ports().api);
    let run = |user: &str| {
        let mut command = tool("curl", "-sS -o /dev/null -w %{http_code} --max-time 20");
        Process::run(command.args(["-u", user, &url]), PATIENCE).stdout()
    };
    assert_eq!(run("admin:pa:ss"), "200");
    assert_eq!(run("admin:x"), "401");
}

#[test]
fn what_is_not_the_api_stays_open() {
    let server = server(CONF);
    let options = "OPTIONS /api/v1/versions HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\r\n";
    assert_eq!(Http::request(server.api_addr(), options).head.status, 200);
    assert_eq!(ask(server.api_addr(), "/", "").head.status, 404, "SRS 3 has nothing there");
    assert_eq!(ask(server.http_addr(), "/live/s.flv", "").head.status, 200, "streams ask nobody");
}

#[test]
fn no_password_lets_nobody_in() {
    let server = server("enabled on; username admin;");
    // `admin:`.
    let empty = "Authorization: Basic YWRtaW46\r\n";
    assert_eq!(ask(server.api_addr(), "/api/v1/versions", empty).head.status, 401);
    wait_until("a warning", SOON, || server.log().contains("lets nobody in"));
}

#[test]
pub(crate) fn name_and_password_change_with_the_next_request() {
    let server = Server::plain();
    let conf = Conf::default().text(server.ports(), server.dir());
    let with = |auth: &str| {
        let new = format!("http_api {{ enabled on; auth {{ {auth} }}");
        let log = server.try_reload(&conf.replace("http_api { enabled on;", &new));
        assert!(log.contains("reload config success."), "{log}");
    };
    let status = |headers: &str| ask(server.api_addr(), "/api/v1/versions", headers).head.status;
    assert_eq!(status(""), 200);
    with(CONF);
    assert_eq!([status(""), status(WRONG), status(RIGHT)], [401, 401, 200]);
    with("enabled on; username admin; password pa;");
    assert_eq!([status(RIGHT), status(WRONG)], [401, 200]);
    with("enabled on; username other; password pa;");
    assert_eq!(status(WRONG), 401);
    with("enabled off; username other; password pa;");
    assert_eq!(status(""), 200);
}
