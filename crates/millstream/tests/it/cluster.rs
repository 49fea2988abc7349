//! The configurations of docs/cluster.md, started as they stand there; only the ports are others.

use crate::harness::api;
use crate::harness::client::Player;
use crate::harness::ffmpeg::{decode, probe, publish_both};
use crate::harness::media::{Viewer, kind};
use crate::harness::process::Process;
use crate::harness::server::{Server, free_port};
use crate::harness::{SOON, wait_until};
use mill_media::frame::FrameKind;
use std::collections::HashMap;

/// The servers of one section, by the names of their files.
struct Cluster(HashMap<String, Server>);

impl Cluster {
    /// Starts all blocks below a heading.
    #[track_caller]
    fn start(heading: &str) -> Self {
        let text = include_str!("../../../../docs/cluster.md");
        let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
        let section = section.split("\n## ").next().unwrap();
        let mut ports = HashMap::new();
        let mut servers = HashMap::new();
        for block in section.split("\n    # ").skip(1) {
            let lines = block.lines().enumerate().take_while(|(n, line)| *n == 0 || line.starts_with("    "));
            let mut lines = lines.map(|(_, line)| line);
            let name = lines.next().unwrap().strip_suffix(".conf").expect("a block begins with its name");
            let text = lines.fold(String::new(), |text, line| text + &moved(line, &mut ports) + "\n");
            servers.insert(name.to_owned(), start(&text));
        }
        assert!(servers.len() >= 2, "{heading} has {} servers", servers.len());
        Self(servers)
    }

    fn rtmp(&self, name: &str) -> String {
        self.0[name].rtmp("live/livestream")
    }

    #[track_caller]
    fn assert_plays(&self, name: &str) {
        let probe = probe(&self.rtmp(name), 60);
        assert_eq!(probe.codecs.len(), 2, "{name}: {probe:?}");
        probe.assert_sound();
    }
}

/// A line with its ports, which have five digits, replaced by free ones, each always by the same.
fn moved(line: &str, ports: &mut HashMap<String, u16>) -> String {
    let words = line.split_inclusive(|c: char| !c.is_ascii_digit());
    words.fold(String::new(), |text, word| {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        if digits.len() != 5 {
            return text + word;
        }
        let port = ports.entry(digits.to_owned()).or_insert_with(free_port);
        text + &port.to_string() + &word[digits.len()..]
    })
}

/// A server with this text, and what the harness needs.
#[track_caller]
fn start(text: &str) -> Server {
    let port = text.split_once("listen ").and_then(|(_, rest)| rest.split(';').next()?.parse().ok());
    let port: u16 = port.expect("a block says where it listens");
    let text = text.replace(&format!("listen {port};"), &format!("listen 127.0.0.1:{port};"));
    Server::listening(port, &text)
}

#[test]
fn edge_and_origin() {
    let cluster = Cluster::start("Edge and origin");
    let encoder = publish_both(&cluster.rtmp("edge"));
    cluster.assert_plays("origin");
    cluster.assert_plays("edge");
    drop(encoder);
    wait_until("the origin has heard of it", SOON, || {
        api::list(&api::get(&cluster.0["origin"], "streams/"), "streams").is_empty()
    });
    let _encoder = publish_both(&cluster.rtmp("origin"));
    cluster.assert_plays("edge");
    decode(&cluster.rtmp("edge"), 2);
}

/// Who has a publisher among these.
fn who_has(cluster: &Cluster, names: &[&str]) -> Option<String> {
    let has = |name: &&&str| {
        let answer = api::get(&cluster.0[**name], "streams/");
        api::list(&answer, "streams").iter().any(|stream| stream["publish"]["active"] == true)
    };
    names.iter().find(has).map(|name| (*name).to_owned())
}

#[test]
fn three_origins_with_edges() {
    let mut cluster = Cluster::start("Three origins with edges");
    let mut encoder: Process = publish_both(&cluster.rtmp("edge1"));
    let mut viewer = Player::start(&cluster.0["edge2"], "live/livestream");
    viewer.of(FrameKind::Keyframe);
    let origins = ["origin1", "origin2", "origin3"];
    for _ in 0..2 {
        let mut home = String::new();
        wait_until("an origin has it", SOON, || {
            home = who_has(&cluster, &origins).unwrap_or_default();
            !home.is_empty()
        });
        cluster.0.get_mut(&home).unwrap().kill();
        // From another origin, without reconnecting: what comes then is later than what was on its way.
        let last = viewer.frame().timestamp;
        viewer.find("a keyframe of another origin", |tag| {
            kind(tag) == Some(FrameKind::Keyframe) && tag.timestamp > last + 1500
        });
        cluster.0.get_mut(&home).unwrap().start_again();
    }
    assert!(encoder.alive(), "the encoder did not notice");
    cluster.assert_plays("edge1");
    cluster.assert_plays("edge2");
}

#[test]
fn several_levels() {
    let cluster = Cluster::start("Several levels");
    let _encoder = publish_both(&cluster.rtmp("leaf1"));
    for name in ["leaf2", "top", "middle", "leaf1"] {
        cluster.assert_plays(name);
    }
}
