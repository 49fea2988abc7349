//! `heartbeat`: reports to a management server, over HTTP and HTTPS.

use crate::harness::server::{Conf, Server, local};
use crate::harness::tls::Pair;
use crate::harness::{SOON, pause, wait_until};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One report as it came.
#[derive(Clone, Debug)]
struct Post {
    head: String,
    body: Value,
    at: Instant,
}

/// A management server; it ends with the value.
struct Manager {
    port: u16,
    posts: Arc<Mutex<Vec<Post>>>,
    /// What it answers with.
    status: Arc<Mutex<&'static str>>,
    stop: Arc<Mutex<bool>>,
}

impl Manager {
    fn start(tls: Option<&Pair>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = Self {
            port,
            posts: Arc::default(),
            status: Arc::new(Mutex::new("200 OK")),
            stop: Arc::default(),
        };
        let (posts, status, stop) = (this.posts.clone(), this.status.clone(), this.stop.clone());
        let tls = tls.map(Pair::server);
        std::thread::spawn(move || {
            while !*stop.lock().unwrap() {
                let Ok((stream, _)) = listener.accept() else {
                    pause();
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                let answer = *status.lock().unwrap();
                let post = match &tls {
                    None => serve(stream, answer),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                        serve(rustls::StreamOwned::new(connection, stream), answer)
                    }
                };
                posts.lock().unwrap().extend(post);
            }
        });
        this
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// Waits for so many reports in all; gives the last.
    #[track_caller]
    fn report(&self, number: usize) -> Post {
        wait_until(&format!("{number} reports"), SOON, || self.posts().len() >= number);
        self.posts()[number - 1].clone()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
    }
}

/// Reads one request and answers it.
fn serve(mut stream: impl Read + Write, status: &str) -> Option<Post> {
    let mut read = Vec::new();
    let (head, length) = loop {
        if let Some(at) = read.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..at]).into_owned();
            let field = head
                .lines()
                .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
            break (head, at + 4 + field?.trim().parse::<usize>().ok()?);
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(n) => read.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    };
    let start = head.len() + 4;
    let mut rest = vec![0; length.saturating_sub(read.len())];
    stream.read_exact(&mut rest).ok()?;
    read.extend(rest);
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 1\r\n\r\n0").as_bytes());
    let _ = stream.flush();
    Some(Post { head, body: serde_json::from_slice(&read[start..]).ok()?, at: Instant::now() })
}

#[test]
fn reports_come_at_the_start_and_then_in_intervals() {
    let manager = Manager::start(None);
    let server = Server::start(&Conf::default().global(&format!(
        "heartbeat {{ enabled on; interval 1.9; url http://127.0.0.1:{}/api/v1/servers?token=x; device_id \"my-srs-device\"; }}",
        manager.port
    )));
    let third = manager.report(3);
    let all = manager.posts();
    let gap = all[2].at - all[1].at;
    assert!(gap >= Duration::from_millis(700), "whole seconds, not {gap:?}");
    assert!(third.head.starts_with("POST /api/v1/servers"), "{}", third.head);
    assert!(third.head.to_ascii_lowercase().contains("content-type: application/json"), "{}", third.head);
    assert_eq!(third.body["device_id"], "my-srs-device");
    let ip: std::net::IpAddr = third.body["ip"].as_str().unwrap().parse().unwrap();
    assert!(!ip.is_unspecified());
    assert_eq!(third.body["pid"], server.pid().to_string());
    for absent in ["summaries", "rtmp", "http", "api"] {
        assert!(third.body.get(absent).is_none(), "{absent} was not asked for");
    }
    assert!(!server.log().contains("token=x"));
}

#[test]
fn summaries_and_ports_are_added_when_asked_for() {
    let manager = Manager::start(None);
    let server = Server::start_with(|command, ports, dir| {
        let conf = Conf::default().global(&format!(
            "heartbeat {{ enabled on; interval 0.2; url http://127.0.0.1:{}/x; summaries on; ports on; }}",
            manager.port
        ));
        std::fs::write(dir.join("srs.conf"), conf.text(ports, dir)).unwrap();
        command.args(["-c", "srs.conf"]).env("SRS_DEVICE_IP", "192.0.2.2");
    });
    let first = manager.report(1).body;
    assert_eq!(first["ip"], "192.0.2.2");
    let data = &first["summaries"]["data"];
    assert_eq!((&data["ok"], &data["self"]["pid"]), (&true.into(), &server.pid().into()));
    let ports = server.ports();
    for (name, port) in [("rtmp", ports.rtmp), ("http", ports.http), ("api", ports.api)] {
        assert_eq!(first[name], serde_json::json!([local(port).to_string()]), "{name}");
    }
    // An interval below a second is one second.
    manager.report(3);
}

#[test]
fn a_failure_is_said_once_and_its_end_too() {
    let manager = Manager::start(None);
    *manager.status.lock().unwrap() = "500 Oops";
    let server = Server::start(&Conf::default().global(&format!(
        "heartbeat {{ enabled on; interval 1; url http://127.0.0.1:{}/x; }}",
        manager.port
    )));
    manager.report(3);
    let said = |text: &str| server.log().matches(text).count();
    wait_until("a warning", SOON, || said("heartbeat: cannot report") == 1);
    *manager.status.lock().unwrap() = "200 OK";
    wait_until("the all-clear", SOON, || said("heartbeat: reports arrive again") == 1);
    assert_eq!(said("heartbeat: cannot report"), 1);
}

#[test]
fn nobody_there_is_no_harm() {
    // A port that nobody listens on: this one is free again at once.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let server = Server::start(
        &Conf::default()
            .global(&format!("heartbeat {{ enabled on; interval 1; url http://127.0.0.1:{port}/x; }}")),
    );
    wait_until("a warning", SOON, || server.log().contains("heartbeat: cannot report"));
    assert!(TcpStream::connect(server.http_addr()).is_ok());
}

#[test]
fn reports_go_over_tls_to_servers_that_are_trusted_only() {
    let (pair, stranger) = (Pair::new(), Pair::new());
    let start = |manager: &Manager| {
        Server::start_with(|command, ports, dir| {
            let conf = Conf::default().global(&format!(
                "heartbeat {{ enabled on; interval 1; url https://127.0.0.1:{}/x; device_id tls; }}",
                manager.port
            ));
            std::fs::write(dir.join("srs.conf"), conf.text(ports, dir)).unwrap();
            pair.write(dir);
            command.args(["-c", "srs.conf"]).env("SSL_CERT_FILE", dir.join("server.crt"));
        })
    };
    let manager = Manager::start(Some(&pair));
    let _server = start(&manager);
    assert_eq!(manager.report(1).body["device_id"], "tls");

    let impostor = Manager::start(Some(&stranger));
    let server = start(&impostor);
    wait_until("a warning", SOON, || server.log().contains("heartbeat: cannot report"));
    assert!(impostor.posts().is_empty());
}

#[test]
pub(crate) fn another_configuration_counts_from_the_next_report_on() {
    let (first, second) = (Manager::start(None), Manager::start(None));
    let server = Server::plain();
    let report = |lines: &str| server.reload(&Conf::default().global(lines));
    let to = |manager: &Manager, lines: &str| {
        report(&format!("heartbeat {{ enabled on; url http://127.0.0.1:{}/x; {lines} }}", manager.port));
    };
    to(&first, "interval 1; device_id a;");
    assert_eq!(first.report(1).body["device_id"], "a");
    to(&first, "interval 1; device_id b; summaries on; ports on;");
    wait_until("the report has changed", SOON, || {
        let last = first.posts().pop().unwrap().body;
        last["device_id"] == "b" && last["summaries"].is_object() && last["rtmp"].is_array()
    });
    to(&second, "interval 3600; device_id c;");
    // A long interval would be waited for, a short one is not.
    to(&second, "interval 1; device_id d;");
    wait_until("it goes to the other", SOON, || {
        second.posts().last().is_some_and(|post| post.body["device_id"] == "d")
    });
    report("heartbeat { enabled off; }");
    let sent = second.posts().len();
    let begun = Instant::now();
    wait_until("two intervals have passed", SOON, || begun.elapsed() > Duration::from_millis(2500));
    assert!(second.posts().len() <= sent + 1, "one may have been on its way");
}
