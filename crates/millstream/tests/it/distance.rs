//! Servers that are far from each other: lines that take their time, lines and origins that hang, cables that are cut.
//!
//! Viewers are fed by another origin without reconnecting. How long that takes is a matter of milliseconds here; the
//! bounds leave room for a busy machine.

use crate::harness::api;
use crate::harness::client::{Player, Publisher};
use crate::harness::line::Line;
use crate::harness::media::{Receive, Viewer, aac, avc, kind, serial};
use crate::harness::namespace::Namespace;
use crate::harness::process::Process;
use crate::harness::server::{Conf, Folder, Ports, Server, await_port, binary};
use crate::harness::{SOON, wait_until};
use mill_media::flv::demux::Tag;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const FAR: Duration = Duration::from_millis(100);
const JITTER: Duration = Duration::from_millis(40);

/// Another origin is there after some three seconds at worst.
const WITHOUT: Duration = Duration::from_secs(10);

fn origin() -> Server {
    Server::start(&Conf::vhost("publish { normal_timeout 60000; }"))
}

fn edge_of(origins: &[String]) -> Server {
    let list = origins.join(" ");
    Server::start(&Conf::vhost(&format!(
        "publish {{ normal_timeout 60000; }} cluster {{ mode remote; origin {list}; }}"
    )))
}

fn at(server: &Server) -> String {
    server.rtmp_addr().to_string()
}

fn send(publisher: &mut Publisher, serials: std::ops::Range<u32>) {
    for n in serials {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 8000));
        publisher.send(8, 40 * n, &aac(n));
    }
}

fn pictures(tags: &[Tag]) -> Vec<u32> {
    let is_frame = |tag: &&Tag| tag.tag_type == 9 && kind(tag).is_some_and(|kind| !kind.is_header());
    tags.iter().filter(is_frame).map(serial).collect()
}

/// Whether somebody publishes at the server whose API is there.
fn has_a_publisher(api: SocketAddr) -> bool {
    let streams = api::ask(api, "GET", "/api/v1/streams/").json();
    api::list(&streams, "streams").iter().any(|stream| stream["publish"]["active"] == true)
}

/// Sends on, a frame at a time, until the player has one that was sent after this began.
#[track_caller]
fn until_it_is_fed(player: &mut Player, publisher: &mut Publisher, n: &mut u32) {
    let first = *n;
    let begun = Instant::now();
    wait_until("the viewer is fed", SOON, || {
        send(publisher, *n..*n + 1);
        *n += 1;
        player.next(Duration::from_millis(40)).is_some_and(|tag| {
            kind(&tag).is_some_and(|kind| !kind.is_header()) && tag.tag_type == 9 && serial(&tag) >= first
        })
    });
    assert!(begun.elapsed() < WITHOUT, "{:?}", begun.elapsed());
}

#[test]
fn streams_come_and_go_over_long_lines_without_a_loss() {
    let origin = origin();
    let line = Line::to(origin.rtmp_addr(), FAR, JITTER);
    let edge = edge_of(&[line.address()]);
    for (from, to, name) in [(&origin, &edge, "live/down"), (&edge, &origin, "live/up")] {
        let mut publisher = Publisher::live(from, name);
        let mut player = Player::start(to, name);
        let mut seen = player.until_serial(4);
        send(&mut publisher, 5..100);
        seen.extend(player.until_serial(99));
        assert_eq!(pictures(&seen), (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn a_line_that_hangs_is_left_for_another_origin() {
    let origins = [origin(), origin()];
    let lines = [0, 1].map(|at| Line::to(origins[at].rtmp_addr(), FAR, JITTER));
    let edge = edge_of(&[lines[0].address(), lines[1].address()]);
    let mut publishers = [0, 1].map(|at| Publisher::live(&origins[at], "live/s"));
    let mut player = Player::start(&edge, "live/s");
    player.until_serial(4);
    let from = usize::from(!pulls_from(&edge, &lines[0].address()));
    lines[from].hang(true);
    let mut n = 5;
    until_it_is_fed(&mut player, &mut publishers[1 - from], &mut n);
    // And back.
    lines[from].hang(false);
    lines[1 - from].hang(true);
    until_it_is_fed(&mut player, &mut publishers[from], &mut n);
    assert_eq!(api::clients(&edge).len(), 1, "nobody had to come back");
}

/// Whether an edge that has its stream has it from there.
fn pulls_from(edge: &Server, origin: &str) -> bool {
    wait_until("the edge has said", SOON, || edge.log().contains("edge pull connected"));
    edge.log().contains(&format!("server={origin}"))
}

/// Where a publisher of an edge is at home.
#[track_caller]
fn home(origins: &[&Server]) -> usize {
    let mut home = None;
    wait_until("an origin has it", SOON, || {
        home = origins.iter().position(|origin| has_a_publisher(origin.api_addr()));
        home.is_some()
    });
    home.unwrap()
}

#[test]
fn a_publisher_behind_a_line_that_hangs_goes_to_another_origin() {
    let origins = [origin(), origin()];
    let lines = [0, 1].map(|at| Line::to(origins[at].rtmp_addr(), Duration::ZERO, JITTER));
    let list = [lines[0].address(), lines[1].address()];
    let [here, there] = [edge_of(&list), edge_of(&list)];
    let mut publisher = Publisher::live(&here, "live/s");
    let from = home(&[&origins[0], &origins[1]]);
    let mut player = Player::start(&there, "live/s");
    player.until_serial(4);
    lines[from].hang(true);
    let mut n = 5;
    until_it_is_fed(&mut player, &mut publisher, &mut n);
    assert!(has_a_publisher(origins[1 - from].api_addr()));
}

/// The system goes on to answer for a program that hangs.
#[test]
fn an_origin_that_hangs_is_left_for_another() {
    let origins = [origin(), origin()];
    let list = [at(&origins[0]), at(&origins[1])];
    let [here, there] = [edge_of(&list), edge_of(&list)];
    let mut publisher = Publisher::live(&here, "live/s");
    let from = home(&[&origins[0], &origins[1]]);
    let mut player = Player::start(&there, "live/s");
    player.until_serial(4);
    origins[from].signal(Signal::STOP);
    let mut n = 5;
    until_it_is_fed(&mut player, &mut publisher, &mut n);
    origins[from].signal(Signal::CONT);
    assert!(has_a_publisher(origins[1 - from].api_addr()));
    assert_eq!(api::clients(&there).len(), 1, "nobody had to come back");
}

/// An origin on another machine.
struct FarOrigin {
    _process: Process,
    rtmp: SocketAddr,
    api: SocketAddr,
    _dir: Folder,
    namespace: Namespace,
}

impl FarOrigin {
    fn start() -> Option<Self> {
        let namespace = Namespace::new()?;
        let (dir, ports) = (Folder::new(), Ports::free());
        let conf = Conf::vhost("publish { normal_timeout 60000; }").text(ports, dir.path());
        let file = dir.path().join("srs.conf");
        std::fs::write(&file, conf.replace("listen 127.0.0.1:", "listen ")).unwrap();
        let mut command = binary();
        command.arg("-c").arg(&file);
        let process = Process::start(namespace.inside(&command).current_dir(dir.path()));
        let [rtmp, api] = [ports.rtmp, ports.api].map(|port| (namespace.address(), port).into());
        await_port(rtmp);
        await_port(api);
        Some(Self { _process: process, rtmp, api, _dir: dir, namespace })
    }
}

#[test]
fn a_cut_cable_to_an_origin_does_not_concern_its_viewers() {
    let Some(far) = FarOrigin::start() else { return };
    let forward = format!("forward {{ enabled on; destination {}; }}", far.rtmp);
    let near = Server::start(&Conf::vhost(&format!("publish {{ normal_timeout 60000; }} {forward}")));
    let mut publisher = Publisher::live(&near, "live/s");
    wait_until("both have it", SOON, || has_a_publisher(far.api));
    // The first of the list is asked first, but on a busy machine the other one may be faster.
    let watched = (0..10).map(|_| {
        let edge = edge_of(&[far.rtmp.to_string(), at(&near)]);
        let mut player = Player::start(&edge, "live/s");
        player.until_serial(4);
        (edge, player)
    });
    let mut watched = watched.filter(|(edge, _)| pulls_from(edge, &far.rtmp.to_string()));
    let (edge, mut player) = watched.next().expect("an edge that asks the first of its list");
    far.namespace.cut();
    let mut n = 5;
    until_it_is_fed(&mut player, &mut publisher, &mut n);
    assert_eq!(api::clients(&edge).len(), 1, "nobody had to come back");
}

#[test]
fn a_cut_cable_to_an_origin_does_not_concern_its_publishers() {
    let Some(far) = FarOrigin::start() else { return };
    let near = origin();
    let list = [far.rtmp.to_string(), at(&near)];
    let [here, there] = [edge_of(&list), edge_of(&list)];
    let mut publisher = Publisher::live(&here, "live/s");
    assert!(has_a_publisher(far.api), "the first of the list is asked first");
    let mut player = Player::start(&there, "live/s");
    player.until_serial(4);
    far.namespace.cut();
    let mut n = 5;
    until_it_is_fed(&mut player, &mut publisher, &mut n);
    assert!(has_a_publisher(near.api_addr()));
    assert_eq!(api::clients(&there).len(), 1, "nobody had to come back");
}
