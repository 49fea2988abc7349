//! Each configuration in `conf/` does what its comment promises. Only the ports are others, on the loopback.

use crate::dash::{Mpd, play};
use crate::harness::client::{Player, Publisher};
use crate::harness::daemon::Daemon;
use crate::harness::ffmpeg::{AAC, AUDIO, H264, VIDEO, decode, probe, publish, publish_both};
use crate::harness::http::Http;
use crate::harness::media::{Viewer, avc, serial};
use crate::harness::process::Process;
use crate::harness::server::{Folder, Ports, Server, binary, moved, shipped};
use crate::harness::{PATIENCE, SOON, wait_until};
use crate::hds::Bootstrap;
use mill_media::frame::FrameKind;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

/// An example that runs, in a folder with all files of `conf/`.
struct Example {
    running: Running,
    ports: Ports,
    dir: Folder,
}

enum Running {
    Foreground(Process),
    Background(Daemon),
}

impl Example {
    #[track_caller]
    fn foreground(name: &str) -> Self {
        Self::start(name, |command, _| Running::Foreground(Process::start(command)))
    }

    /// With this in the environment of the launcher.
    #[track_caller]
    fn background(name: &str, variable: &str, value: &str) -> Self {
        Self::start(name, |command, dir| {
            command.env(variable, value);
            let launched = Daemon::launch_as_is(command, &dir.join("objs/srs.pid"));
            Running::Background(launched.unwrap_or_else(|launcher| panic!("{name}: {}", launcher.text())))
        })
    }

    #[track_caller]
    fn start(name: &str, run: impl Fn(&mut Command, &Path) -> Running) -> Self {
        let (dir, ports) = (Folder::new(), Ports::free());
        std::fs::create_dir(dir.path().join("conf")).unwrap();
        for file in std::fs::read_dir(shipped()).unwrap() {
            let file = file.unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            std::fs::write(dir.path().join("conf").join(file.file_name()), moved(&text, ports)).unwrap();
        }
        let mut command = binary();
        command.current_dir(dir.path()).arg("-c").arg(format!("conf/{name}"));
        let running = run(&mut command, dir.path());
        let example = Self { running, ports, dir };
        wait_until(&format!("{name} serves"), SOON, || example.answers("127.0.0.1", ports.rtmp));
        example
    }

    fn answers(&self, host: &str, port: u16) -> bool {
        TcpStream::connect((host, port)).is_ok()
    }

    /// What it says to whoever has started it.
    fn said(&self) -> String {
        match &self.running {
            Running::Foreground(process) => process.said(),
            Running::Background(daemon) => panic!("process {} has nobody to talk to", daemon.pid()),
        }
    }

    fn log_file(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("objs/srs.log")).unwrap_or_default()
    }

    fn rtmp(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live/livestream", self.ports.rtmp)
    }

    fn flv(&self, host: &str) -> String {
        format!("http://{host}:{}/live/livestream.flv", self.ports.http)
    }

    fn http(&self, ending: &str) -> String {
        format!("http://127.0.0.1:{}/live/livestream.{ending}", self.ports.http)
    }

    /// What is published plays, over RTMP and at these addresses.
    #[track_caller]
    fn assert_plays(&self, others: &[String]) {
        let _encoder = publish_both(&self.rtmp());
        for url in [self.rtmp()].iter().chain(others) {
            let probe = probe(url, 60);
            assert_eq!(probe.codecs.len(), 2, "{url}: {probe:?}");
            probe.assert_sound();
        }
    }

    #[track_caller]
    fn assert_api(&self, port: u16) {
        let answer = Http::get(([127, 0, 0, 1], port).into(), "/api/v1/versions");
        assert_eq!(answer.head.status, 200);
    }

    /// The log is on the screen, and in no file.
    #[track_caller]
    fn assert_on_screen(&self) {
        wait_until("the log is on the screen", SOON, || self.said().contains("listen at"));
        assert!(self.log_file().is_empty(), "{}", self.log_file());
    }
}

/// Where it is no container, whatever the machine of the tests is.
const NO_CONTAINER: [&str; 2] = ["SRS_DISABLE_DAEMON_FOR_DOCKER", "off"];

#[test]
fn srs() {
    let [name, value] = NO_CONTAINER;
    let example = Example::background("srs.conf", name, value);
    example.assert_plays(&[example.flv("127.0.0.1")]);
    example.assert_api(example.ports.api);
    assert!(example.log_file().contains("live/livestream"));
}

#[test]
fn console() {
    let example = Example::foreground("console.conf");
    example.assert_plays(&[]);
    example.assert_api(example.ports.api);
    assert!(example.answers("127.0.0.1", example.ports.http));
    example.assert_on_screen();
}

#[test]
fn docker() {
    let example = Example::foreground("docker.conf");
    example.assert_plays(&[example.flv("127.0.0.1")]);
    example.assert_api(example.ports.api);
    example.assert_on_screen();
    assert!(!example.dir.path().join("objs").exists(), "it writes files");
}

#[test]
fn rtmp() {
    let [name, value] = NO_CONTAINER;
    let example = Example::background("rtmp.conf", name, value);
    example.assert_plays(&[]);
    assert!(!example.answers("127.0.0.1", example.ports.http));
    assert!(!example.answers("127.0.0.1", example.ports.api));
    assert!(example.log_file().contains("live/livestream"));
}

#[test]
fn realtime() {
    let server = Server::start_with(|command, ports, dir| {
        let text = std::fs::read_to_string(shipped().join("realtime.conf")).unwrap();
        std::fs::write(dir.join("realtime.conf"), moved(&text, ports)).unwrap();
        command.args(["-c", "realtime.conf"]).env("SRS_DAEMON", "off").env("SRS_LOG_TANK", "console");
        // Only so that there is a second port to wait for.
        command.env("SRS_HTTP_SERVER_ENABLED", "on");
        command.env("SRS_HTTP_SERVER_LISTEN", format!("127.0.0.1:{}", ports.http));
    });
    let mut publisher = Publisher::start(&server, "live/livestream");
    publisher.headers(0);
    for n in 0..10 {
        publisher.send(9, 40 * n, &avc(n == 0, n, 500));
    }
    // A newcomer gets nothing of the past but the headers; with them it has joined.
    let mut player = Player::start(&server, "live/livestream");
    player.of(FrameKind::VideoHeader);
    publisher.send(9, 400, &avc(true, 10, 500));
    assert_eq!(serial(&player.frame()), 10);
}

#[test]
fn http_flv_live() {
    let [name, value] = NO_CONTAINER;
    let example = Example::background("http.flv.live.conf", name, value);
    example.assert_plays(&[example.flv("127.0.0.1")]);
    assert!(!example.answers("127.0.0.1", example.ports.api));
}

#[test]
fn log_file() {
    let example = Example::foreground("log-file.conf");
    example.assert_plays(&[example.flv("127.0.0.1")]);
    assert!(example.log_file().contains("live/livestream"));
    assert!(!example.said().contains("live/livestream"), "{}", example.said());
}

#[test]
fn console_ipv46() {
    let example = Example::foreground("console.ipv46.conf");
    wait_until("IPv6 answers too", SOON, || example.answers("::1", example.ports.rtmp));
    let over_six = format!("rtmp://[::1]:{}/live/livestream", example.ports.rtmp);
    example.assert_plays(&[over_six, example.flv("[::1]")]);
    example.assert_on_screen();
}

#[test]
fn include() {
    let example = Example::foreground("include.conf");
    // What makes HTTP-FLV is in the file that is included.
    example.assert_plays(&[example.flv("127.0.0.1")]);
}

#[test]
fn force_daemon() {
    let example = Example::background("force.daemon.conf", "SRS_IN_DOCKER", "on");
    example.assert_plays(&[example.flv("127.0.0.1")]);
    assert!(example.log_file().contains("live/livestream"));
}

#[test]
fn vm() {
    // What makes other files stay in the foreground.
    let example = Example::background("vm.conf", "container", "oci");
    example.assert_plays(&[example.flv("127.0.0.1")]);
}

#[test]
fn rtmp_kickoff() {
    let mut example = Example::foreground("rtmp.kickoff.conf");
    example.assert_plays(&[]);
    // Not the minute of the file.
    drop(example);
    example = Example::start("rtmp.kickoff.conf", |command, _| {
        command.env("SRS_VHOST_PUBLISH_KICKOFF_FOR_IDLE", "1");
        Running::Foreground(Process::start(command))
    });
    let mut encoder = publish_both(&example.rtmp());
    wait_until("the encoder is sent away", SOON, || !encoder.alive());
}

#[test]
fn http_api_one_port() {
    let example = Example::foreground("http.api.one.port.conf");
    example.assert_plays(&[example.flv("127.0.0.1")]);
    example.assert_api(example.ports.http);
}

/// A stream of these codecs is found at the URL of this ending.
#[track_caller]
fn plays_as(name: &str, ending: &str, encoder: &str, codecs: &[&str]) {
    let example = Example::foreground(name);
    assert!(!example.said().contains("not available yet"), "{name} asks for something that is not there");
    let _encoder = publish(encoder, &example.rtmp());
    let url = example.http(ending);
    let probe = probe(&url, 60);
    let mut found = probe.codecs.clone();
    found.sort();
    assert_eq!(found, codecs, "{url}");
    probe.assert_sound();
    decode(&url, 2);
}

#[test]
fn http_ts() {
    let encoder = format!("-re {VIDEO} -re {AUDIO} {H264} {AAC}");
    plays_as("http.ts.live.conf", "ts", &encoder, &["aac", "h264"]);
}

#[test]
fn http_aac() {
    plays_as("http.aac.live.conf", "aac", &format!("-re {AUDIO} {AAC}"), &["aac"]);
}

#[test]
fn http_mp3() {
    plays_as("http.mp3.live.conf", "mp3", &format!("-re {AUDIO} -c:a libmp3lame -b:a 64k"), &["mp3"]);
}

#[test]
fn dash() {
    // Not the half minute of the file.
    let example = Example::start("dash.conf", |command, _| {
        command.env("SRS_VHOST_DASH_DASH_FRAGMENT", "1");
        Running::Foreground(Process::start(command))
    });
    let _encoder = publish_both(&example.rtmp());
    let addr = (std::net::Ipv4Addr::LOCALHOST, example.ports.http).into();
    let listed = || Mpd::get(addr, "/live/livestream.mpd").is_some_and(|mpd| mpd.listed() >= 4);
    wait_until("there is a manifest", PATIENCE, listed);
    play(&example.http("mpd"));
    wait_until("files are on the disk", SOON, || {
        example.dir.path().join("objs/nginx/html/live/livestream.mpd").exists()
    });
}

#[test]
fn hds() {
    let example = Example::start("hds.conf", |command, _| {
        command.env("SRS_VHOST_HDS_HDS_FRAGMENT", "1");
        Running::Foreground(Process::start(command))
    });
    let _encoder = publish_both(&example.rtmp());
    let addr = (std::net::Ipv4Addr::LOCALHOST, example.ports.http).into();
    let listed = || Bootstrap::get(addr, "/live/livestream.abst").is_some_and(|it| it.0.len() >= 2);
    wait_until("there are fragments", PATIENCE, listed);
    let files = example.dir.path().join("objs/nginx/html/live");
    wait_until("files are on the disk", SOON, || files.join("livestream.f4m").exists());
}

#[test]
fn files_of_one_vhost() {
    let server = Server::example("http.server.conf", |text| text);
    for (dir, text) in [("html", "of the vhost"), ("public", "of all others")] {
        let dir = server.dir().join("objs/nginx").join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("index.html"), text).unwrap();
    }
    for (host, expected) in [("ossrs.net:8080", "of the vhost"), ("127.0.0.1", "of all others")] {
        let mut index = Http::request(server.http_addr(), &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(index.read_to_end(SOON), expected.as_bytes());
    }
    assert_eq!(Http::get(server.http_addr(), "/players/").head.status, 404);
}

/// A file without a test is a promise that nobody checks.
#[test]
fn every_file_has_a_test() {
    let here = include_str!("conf_examples.rs");
    let with_their_feature = [
        include_str!("access.rs"),
        include_str!("bandwidth.rs"),
        include_str!("casters.rs"),
        include_str!("dvr.rs"),
        include_str!("edge.rs"),
        include_str!("forward.rs"),
        include_str!("hls.rs"),
        include_str!("hooks.rs"),
        include_str!("programs_examples.rs"),
        include_str!("rtsp.rs"),
        include_str!("origin_cluster.rs"),
    ];
    let source = [&[here], &with_their_feature[..]].concat().concat();
    for file in std::fs::read_dir(shipped()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        // The list of all directives, tested in mill-config, and what include.conf includes.
        if !["full.conf", "include.vhost.conf"].contains(&name.as_str()) {
            assert!(source.contains(&format!("\"{name}\"")), "{name} has no test");
        }
    }
}
