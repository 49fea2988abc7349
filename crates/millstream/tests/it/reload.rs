//! Another configuration under running streams: all of it or nothing, and nobody who is not concerned notices.

use crate::harness::client::{Player, Publisher};
use crate::harness::http::{Http, Raw};
use crate::harness::media::{FlvViewer, Receive, Viewer, avc, serial};
use crate::harness::server::{Conf, Ports, Server};
use crate::harness::{SOON, wait_until};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

const REMUX: &str = "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }";

/// A publisher may be silent for as long as a busy machine takes for the steps of a test. On vhosts of their own
/// tests are quick enough.
fn base() -> Conf {
    Conf::vhost("publish { normal_timeout 60000; }")
}

/// A stream with a viewer of each kind.
struct Show {
    publisher: Publisher,
    rtmp: Player,
    flv: FlvViewer,
    sent: u32,
}

impl Show {
    #[track_caller]
    fn begin(server: &Server) -> Self {
        Self::at(server, "")
    }

    /// On another vhost, by `?vhost=`.
    #[track_caller]
    fn at(server: &Server, vhost: &str) -> Self {
        let query = if vhost.is_empty() { String::new() } else { format!("?vhost={vhost}") };
        let app = format!("live{query}");
        let tc_url = server.rtmp(&app);
        let mut publisher = Publisher::ask_at(server, &tc_url, &app, "s").unwrap();
        publisher.headers(0);
        let rtmp = Player::ask_at(server, &tc_url, &app, "s").unwrap();
        let flv = FlvViewer::open(server, &format!("/live/s.flv{query}"));
        let mut show = Self { publisher, rtmp, flv, sent: 0 };
        show.goes_on();
        show
    }

    /// What is published arrives, in one piece.
    #[track_caller]
    fn goes_on(&mut self) {
        for _ in 0..3 {
            self.publisher.send(9, 40 * self.sent, &avc(self.sent.is_multiple_of(2), self.sent, 200));
            self.sent += 1;
        }
        for viewer in [&mut self.rtmp as &mut dyn Receive, &mut self.flv] {
            let numbers: Vec<u32> = viewer
                .until_serial(self.sent - 1)
                .iter()
                .filter(|tag| tag.tag_type == 9 && tag.body[1] == 1)
                .map(serial)
                .collect();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole: {numbers:?}");
        }
    }

    #[track_caller]
    fn assert_over(mut self) {
        assert!(self.publisher.is_closed(SOON), "the publisher");
        assert!(self.rtmp.is_closed(SOON), "the player");
        self.flv.rest();
    }
}

fn answers(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_ok()
}

fn text(server: &Server, conf: &Conf) -> String {
    conf.text(server.ports(), server.dir())
}

/// Defect 1 of the fact sheet: SRS ends without a word.
#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_told_with_its_place() {
    let conf = base();
    let mut server = Server::start(&conf);
    let mut show = Show::begin(&server);
    let good = text(&server, &conf);

    let mistakes = good.replace(
        "vhost __defaultVhost__ {",
        "nonsense on;\nvhost __defaultVhost__ {\n enabled off; gop_cach on;",
    );
    let log = server.try_reload(&mistakes.replace("max_connections 1500", "max_connections 0"));
    for part in [
        "srs.conf:2:17: ",
        "unknown directive `nonsense`",
        "unknown directive `gop_cach`",
        "code=1023, state=20",
        "3 mistake(s)",
    ] {
        assert!(log.contains(part), "{part} in {log}");
    }
    let log = server.try_reload(&good.replace("daemon off;", "daemon off; }"));
    assert!(log.contains("state=10") && log.contains("closes no block"), "{log}");
    std::fs::remove_file(server.dir().join("srs.conf")).unwrap();
    let log = server.reload_file();
    assert!(log.contains("reload config failed") && log.contains("srs.conf: No such file"), "{log}");
    assert!(server.try_reload("").contains("the configuration is empty"));

    assert!(server.alive());
    show.goes_on();
    Player::start(&server, "live/s");
    server.reload(&conf);
    show.goes_on();
}

/// An address that cannot be bound is a mistake like any other, found before anything changes.
#[test]
fn what_cannot_be_bound_refuses_the_whole_reload() {
    let server = Server::start(&base());
    let mut show = Show::begin(&server);
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, Ports::free().rtmp)).unwrap();
    let new = Ports::free();
    let both = format!("127.0.0.1:{} {}", new.rtmp, taken.local_addr().unwrap());
    let conf = Conf::vhost("enabled off;").text(Ports { rtmp: server.ports().rtmp, ..new }, server.dir());
    let conf =
        conf.replace(&format!("listen 127.0.0.1:{};", server.ports().rtmp), &format!("listen {both};"));
    let log = server.try_reload(&conf);
    assert!(log.contains("code=1002, state=30") && log.contains("cannot listen at"), "{log}");
    // Neither the vhost nor one of the other addresses has changed.
    for port in [new.rtmp, new.http, new.api] {
        assert!(!answers((Ipv4Addr::LOCALHOST, port).into()), "{port}");
    }
    show.goes_on();
    Player::start(&server, "live/s");
}

/// Defect 2: SRS ends.
#[test]
fn listeners_move_back_and_forth_under_their_clients() {
    let conf = base();
    let server = Server::start(&conf);
    let mut show = Show::begin(&server);
    let mut keep_alive = Http::connect(server.http_addr());
    keep_alive.send(b"GET /api/v1/versions HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut body = keep_alive.answer(false);
    body.read_to_end(SOON);

    let (old, new) = (server.ports(), Ports::free());
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for _ in 0..3 {
        let log = server.try_reload(&conf.text(new, server.dir()));
        assert!(log.contains("reload listen success") && log.contains("reload http_server success"), "{log}");
        for (old, new) in [(old.rtmp, new.rtmp), (old.http, new.http), (old.api, new.api)] {
            assert!(answers(at(new)), "{new} is not listened on");
            wait_until("the old address is closed", SOON, || !answers(at(old)));
        }
        show.goes_on();
        server.reload(&conf);
        for (old, new) in [(old.rtmp, new.rtmp), (old.http, new.http), (old.api, new.api)] {
            assert!(answers(at(old)), "{old} is not listened on");
            wait_until("the new address is closed", SOON, || !answers(at(new)));
        }
        show.goes_on();
    }
    // A connection of the listener that was closed in between is as good as ever.
    let mut keep_alive = body.into_connection();
    keep_alive.send(b"GET /api/v1/versions HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(keep_alive.answer(false).head.status, 200);
}

#[test]
pub(crate) fn listeners_are_added_exchanged_and_shared() {
    let conf = base();
    let server = Server::start(&conf);
    let (old, more) = (server.ports(), Ports::free());
    let good = text(&server, &conf);
    let mut show = Show::begin(&server);
    let status = |port: u16, path: &str| Http::get((Ipv4Addr::LOCALHOST, port).into(), path).head.status;
    let answered = |port: u16| (status(port, "/api/v1/versions"), status(port, "/live/none.html"));

    // Several addresses, of both families where the machine has both.
    let v6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let (other, written) = match v6 {
        true => (IpAddr::from(Ipv6Addr::LOCALHOST), "[::1]"),
        false => (IpAddr::from([127, 0, 0, 2]), "127.0.0.2"),
    };
    let rtmp = format!("listen 127.0.0.1:{};", old.rtmp);
    let several = good.replace(
        &rtmp,
        &format!("listen 127.0.0.1:{} {written}:{} {written}:{};", old.rtmp, old.rtmp, more.rtmp),
    );
    let http = format!("listen 127.0.0.1:{};", old.http);
    let several = several.replace(&http, &format!("listen 127.0.0.1:{} {written}:{};", old.http, old.http));
    let log = server.try_reload(&several);
    assert!(log.contains("reload config success."), "{log}");
    for port in [old.rtmp, more.rtmp, old.http] {
        assert!(answers((other, port).into()), "{port}");
    }
    show.goes_on();

    // The two HTTP services exchange their ports, and nobody is without an answer in between.
    let (http, api) = (format!("127.0.0.1:{};", old.http), format!("127.0.0.1:{};", old.api));
    let swapped = good.replace(&http, "X").replace(&api, &http).replace('X', &api);
    assert!(server.try_reload(&swapped).contains("reload config success."));
    assert!(!answers((other, old.http).into()));
    assert_eq!(FlvViewer::new(Http::get((Ipv4Addr::LOCALHOST, old.api).into(), "/live/s.flv")).flags(), 5);
    assert_eq!(status(old.http, "/live/s.flv"), 404);
    show.goes_on();

    // Both on one port.
    let shared = good.replace(&api, &http);
    assert!(server.try_reload(&shared).contains("reload config success."));
    assert_eq!(answered(old.http), (200, 404));
    assert_eq!(FlvViewer::open(&server, "/live/s.flv").flags(), 5);
    wait_until("the port of the API is closed", SOON, || !answers((Ipv4Addr::LOCALHOST, old.api).into()));

    // From one address to all of them, and back.
    let every = if v6 { format!(" [::]:{}", old.rtmp) } else { String::new() };
    let wild = good.replace(&rtmp, &format!("listen 0.0.0.0:{}{every};", old.rtmp));
    for text in [&wild, &good] {
        assert!(server.try_reload(text).contains("reload config success."));
        assert!(answers(server.rtmp_addr()));
        show.goes_on();
    }

    // Switched off and on.
    let off = good.replace("http_api { enabled on;", "http_api { enabled off;");
    assert!(server.try_reload(&off).contains("reload http_api success"));
    wait_until("the API is off", SOON, || !answers((Ipv4Addr::LOCALHOST, old.api).into()));
    server.reload(&conf);
    assert_eq!(status(old.api, "/api/v1/versions"), 200);
    show.goes_on();
}

/// Defects 3 and 13: SRS ends when a vhost comes back, and its clients stay when it goes.
#[test]
pub(crate) fn vhosts_come_and_go_with_their_clients() {
    let conf = |vhosts: &str| base().vhosts(vhosts);
    let a = format!("vhost a.com {{ {REMUX} }}");
    let b = format!("vhost b.com {{ {REMUX} }}");
    let server = Server::start(&conf(&format!("{a} {b}")));
    let mut others = Show::begin(&server);
    let mut neighbours = Show::at(&server, "b.com");
    for round in 0..3 {
        let show = Show::at(&server, "a.com");
        let gone =
            if round % 2 == 0 { b.clone() } else { format!("{b} vhost a.com {{ enabled off; {REMUX} }}") };
        server.reload(&conf(&gone));
        show.assert_over();
        let ended = "vhost a.com removed/disabled, close client url=a.com/live/s";
        wait_until("each is told", SOON, || server.log().matches(ended).count() == 3 * (round + 1));
        others.goes_on();
        neighbours.goes_on();
        if round % 2 == 1 {
            let app = "live?vhost=a.com";
            assert!(Player::ask_at(&server, &server.rtmp(app), app, "s").is_err());
            assert!(Publisher::ask_at(&server, &server.rtmp(app), app, "s").is_err());
            assert_eq!(Http::get(server.http_addr(), "/live/s.flv?vhost=a.com").head.status, 404);
        }
        server.reload(&conf(&format!("{b} {a}")));
        Show::at(&server, "a.com").goes_on();
        others.goes_on();
        neighbours.goes_on();
    }
    // Without a default vhost unknown names are refused, and with a new one served.
    server.reload(&conf(&b).without_default_vhost());
    others.assert_over();
    assert!(Player::ask(&server, "live/s").is_err());
    neighbours.goes_on();
    server.reload(&conf(&b));
    Show::begin(&server).goes_on();
}

/// Defect 6: SRS leaks the socket, or its listener dies.
#[test]
pub(crate) fn the_limit_of_connections_changes_at_once() {
    let server = Server::start(&base());
    let limited = |limit: u32| {
        let text =
            text(&server, &base()).replace("max_connections 1500", &format!("max_connections {limit}"));
        let log = server.try_reload(&text);
        assert!(log.contains("reload max_connections success"), "{log}");
    };
    let mut show = Show::begin(&server);
    limited(1);
    show.goes_on();
    for _ in 0..5 {
        assert_eq!(Raw::connect(server.rtmp_addr()).receive_to_end(SOON), Some(Vec::new()), "closed at once");
    }
    wait_until("the refusal is told", SOON, || {
        server.log().contains("exceed connection limits, code=1074, max=1,")
    });
    limited(50);
    let _more: Vec<Player> = (0..10).map(|_| Player::start(&server, "live/s")).collect();
    show.goes_on();
}

/// Defect 15: SRS does not find a relative file again once it works elsewhere.
#[test]
pub(crate) fn a_relative_file_is_found_again_from_another_working_directory() {
    let more = |dir: &std::path::Path, vhost: &str| {
        std::fs::write(dir.join("more.conf"), format!("vhost {vhost} {{ }}\n")).unwrap();
    };
    let conf = base().global("work_dir ./objs; include more.conf;");
    let server = Server::start_with(|command, ports, dir| {
        std::fs::create_dir_all(dir.join("objs")).unwrap();
        std::fs::write(dir.join("srs.conf"), conf.text(ports, dir)).unwrap();
        more(dir, "a.com");
        command.args(["-c", "srs.conf"]);
    });
    more(server.dir(), "b.com");
    let log = server.reload_file();
    assert!(log.contains("vhost b.com reload vhost success"), "{log}");
    assert!(log.contains("reload config success."), "{log}");
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_applied() {
    let server = Server::start(&base());
    let mut show = Show::begin(&server);
    let conf = Conf::vhost("enabled off;").global("work_dir ./elsewhere;");
    for _ in 0..2 {
        let log = server.try_reload(&text(&server, &conf));
        assert!(log.contains("reload work_dir: needs a restart"), "{log}");
        assert!(log.contains("reload config success."), "{log}");
    }
    assert!(show.publisher.is_closed(SOON));
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let conf = |vhosts: &str| base().global("inotify_auto_reload on;").vhosts(vhosts);
    let server = Server::start(&conf(""));
    let mut show = Show::begin(&server);
    wait_until("the file is watched", SOON, || server.log().contains("inotify: auto reload watches"));
    let done = |count: usize| {
        wait_until("the change is noticed", SOON, || {
            server.log().matches("reload config success.").count() == count
        });
    };
    server.write(&text(&server, &conf("vhost a.com { }")));
    done(1);
    assert!(server.log().contains("vhost a.com reload vhost success"), "{}", server.log());
    // As editors do that never leave half a file behind.
    let file = server.dir().join("srs.conf");
    std::fs::write(file.with_extension("new"), text(&server, &conf(&format!("vhost b.com {{ {REMUX} }}"))))
        .unwrap();
    std::fs::rename(file.with_extension("new"), &file).unwrap();
    done(2);
    Show::at(&server, "b.com").goes_on();
    server.write("nonsense");
    wait_until("the mistake is told", SOON, || server.log().contains("reload config failed"));
    show.goes_on();
    server.write(&text(&server, &conf("vhost c.com { }")));
    done(3);
    show.goes_on();
}

/// Signals in a heap are as many reloads as it takes to have the last file.
#[test]
fn many_signals_at_once_end_with_the_last_file() {
    let server = Server::start(&base());
    let mut show = Show::begin(&server);
    for i in 0..30 {
        server.write(&text(&server, &base().vhosts(&format!("vhost v{i}.com {{ {REMUX} }}"))));
        server.signal(rustix::process::Signal::HUP);
    }
    wait_until("the last vhost is there", SOON, || {
        server.log().contains("vhost v29.com reload vhost success")
    });
    show.goes_on();
    Show::at(&server, "v29.com").goes_on();
}
