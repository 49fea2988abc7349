//! Viewers of DASH and HDS: let in, counted and ended like those of HLS, by the names in their manifests.

use crate::dash::Mpd;
use crate::harness::api;
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{publish_both, tool};
use crate::harness::http::Http;
use crate::harness::media::{aac, avc};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Server};
use crate::harness::{PATIENCE, SOON, wait_until};

const MANIFEST: &str = "/live/s.mpd";
const F4M: &str = "/live/s.f4m";

fn conf(more: &str) -> Conf {
    let formats = "dash { enabled on; dash_fragment 1; dash_path ./html; } hds { enabled on; hds_fragment 1; hds_path ./html; }";
    Conf::vhost("publish { normal_timeout 60000; }").and_vhost(formats).and_vhost(more)
}

const NOBODY: &str = "security { enabled on; allow publish all; deny play all; }";

/// Status and body.
#[track_caller]
fn get(server: &Server, path: &str) -> (u16, String) {
    let mut answer = Http::get(server.http_addr(), path);
    let body = answer.read_to_end(SOON);
    (answer.head.status, String::from_utf8_lossy(&body).into_owned())
}

/// A stream that has three segments of each format on the disk.
#[track_caller]
fn publish(server: &Server) -> Publisher {
    let mut publisher = Publisher::start(server, "live/s");
    publisher.headers(0);
    for n in 0..41 {
        publisher.send(9, 100 * n, &avc(n % 10 == 0, n, 300));
        publisher.send(8, 100 * n, &aac(n));
    }
    let live = server.dir().join("html/live");
    wait_until("three segments of DASH", SOON, || {
        let text = std::fs::read_to_string(live.join("s.mpd"));
        text.is_ok_and(|text| Mpd::parse(&text).listed() >= 3)
    });
    wait_until("a fragment of HDS", SOON, || live.join("s.f4m").exists());
    publisher
}

/// A file below the stream's directories whose name begins and ends so.
#[track_caller]
fn a_file(server: &Server, directory: &str, from: &str, to: &str) -> String {
    let files = std::fs::read_dir(server.dir().join("html").join(directory)).unwrap();
    let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.starts_with(from) && name.ends_with(to)).expect("there is one");
    format!("/{directory}/{name}")
}

/// A media segment of DASH and a fragment of HDS.
#[track_caller]
fn media(server: &Server) -> [String; 2] {
    [a_file(server, "live/s", "video-", ".m4s"), a_file(server, "live", "sSeg1-Frag", "")]
}

fn viewers(server: &Server, kind: &str) -> Vec<serde_json::Value> {
    api::clients(server).into_iter().filter(|client| client["type"] == kind).collect()
}

/// Where a manifest says that it is to be fetched again.
#[track_caller]
fn location(manifest: &str) -> String {
    let (_, rest) = manifest.split_once("<Location>").unwrap_or_else(|| panic!("{manifest}"));
    format!("/live/{}", rest.split_once('<').unwrap().0.replace("&amp;", "&"))
}

/// The id behind a name.
#[track_caller]
fn id(text: &str, parameter: &str) -> String {
    let (_, rest) = text.split_once(&format!("?{parameter}=")).unwrap_or_else(|| panic!("{text}"));
    rest.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn a_viewer_of_dash_is_a_client() {
    let backend = Backend::start();
    let server = Server::start(&conf("").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    backend.forget();
    let (status, manifest) = get(&server, "/live/s.mpd?token=a%26b&x=1");
    assert_eq!(status, 200, "{manifest}");
    let play = &backend.expect(&["on_play"])[0];
    assert_eq!((play.field("stream"), play.field("param")), ("s".into(), "?token=a%26b&x=1".into()));
    let id = id(&manifest, "dash_ctx");
    for name in ["initialization", "media"] {
        let (attribute, mark) = (format!(" {name}=\""), format!("?dash_ctx={id}"));
        let values = manifest.split(&attribute).skip(1).map(|rest| rest.split('"').next().unwrap());
        assert!(values.into_iter().all(|value| value.ends_with(&mark)), "{manifest}");
    }
    let again = location(&manifest);
    assert_eq!(again, format!("/live/s.mpd?dash_ctx={id}&token=a%26b&x=1"));
    let [segment, _] = media(&server);
    let segment = get(&server, &format!("{segment}?dash_ctx={id}"));
    assert_eq!(segment.0, 200);
    let (_, second) = get(&server, &again);
    assert_eq!(location(&second), again);
    let listed = viewers(&server, "dash-play");
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((listed[0]["name"].as_str(), listed[0]["publish"].as_bool()), (Some("s"), Some(false)));
    assert!(listed[0]["send_bytes"].as_u64() > Some((manifest.len() + second.len()) as u64));
    assert_eq!(backend.actions(), ["on_play"], "it is the same viewer");
    // Whoever is ended stays outside as that viewer, and is told of.
    let client = listed[0]["id"].as_str().unwrap();
    api::ask(server.api_addr(), "DELETE", &format!("/api/v1/clients/{client}")).json();
    wait_until("it is gone", SOON, || viewers(&server, "dash-play").is_empty());
    backend.expect(&["on_play", "on_stop"]);
    assert_eq!(get(&server, &again).0, 404);
}

/// It does not look where the manifest says that it is to be fetched again.
#[test]
fn a_player_that_does_not_follow_is_one_viewer() {
    let backend = Backend::start();
    let server = Server::start(&conf("").and_vhost(&backend.hooks("")));
    let _encoder = publish_both(&server.rtmp("live/s"));
    wait_until("a manifest", PATIENCE, || api::ask(server.http_addr(), "HEAD", MANIFEST).head.status == 200);
    backend.forget();
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -i");
    let run =
        Process::run(command.args([&server.http("live/s.mpd"), "-t", "5", "-f", "null", "-"]), PATIENCE);
    assert!(run.status.success(), "{}", run.text());
    assert_eq!((backend.actions(), viewers(&server, "dash-play").len()), (vec!["on_play".to_owned()], 1));
    // As a follower has shown itself, the next from there is another.
    let first = get(&server, MANIFEST).1;
    assert_eq!(get(&server, &location(&first)).0, 200);
    assert_ne!(id(&get(&server, MANIFEST).1, "dash_ctx"), id(&first, "dash_ctx"));
}

#[test]
fn a_viewer_of_hds_is_a_client() {
    let backend = Backend::start();
    let server = Server::start(&conf("").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    backend.forget();
    let (status, manifest) = get(&server, "/live/s.f4m?token=a");
    assert_eq!(status, 200, "{manifest}");
    assert_eq!(backend.expect(&["on_play"])[0].field("param"), "?token=a");
    let id = id(&manifest, "hds_ctx");
    assert!(manifest.contains(&format!(" url=\"s.abst?hds_ctx={id}\"")), "{manifest}");
    assert!(manifest.contains(&format!(" url=\"s?hds_ctx={id}\"")), "{manifest}");
    let [_, fragment] = media(&server);
    for path in ["/live/s.abst", &fragment] {
        assert_eq!(get(&server, &format!("{path}?hds_ctx={id}")).0, 200, "{path}");
    }
    assert_eq!(viewers(&server, "hds-play").len(), 1);
    assert_eq!(backend.actions().len(), 1);
}

/// SRS asks nobody.
#[test]
fn who_is_denied_gets_no_file() {
    let backend = Backend::with(|call| match call.action().as_str() {
        "on_play" if !call.field("param").contains("good") => Answer::no(),
        _ => Answer::yes(),
    });
    let server = Server::start(&conf("").and_vhost(&backend.hooks("")));
    let _publisher = publish(&server);
    let [segment, fragment] = media(&server);
    let init = a_file(&server, "live/s", "video-init-", ".mp4");
    let all = [MANIFEST, &segment, &init, F4M, "/live/s.abst", &fragment];
    for _ in 0..2 {
        for path in all {
            for query in ["", "?dash_ctx=mine", "?hds_ctx=mine", "?dash_ctx=..%2F"] {
                assert_eq!(get(&server, &format!("{path}{query}")).0, 403, "{path}{query}");
            }
        }
    }
    assert!(viewers(&server, "dash-play").is_empty() && viewers(&server, "hds-play").is_empty());
    let ctx = id(&get(&server, "/live/s.mpd?t=good").1, "dash_ctx");
    assert_eq!(get(&server, &format!("{segment}?dash_ctx={ctx}")).0, 200);
    assert_eq!(get(&server, &format!("{fragment}?hds_ctx={ctx}")).0, 403, "one format is not the other");
    assert_eq!(get(&server, MANIFEST).0, 403, "from the same place, without the token");
    let ctx = id(&get(&server, "/live/s.f4m?t=good").1, "hds_ctx");
    assert_eq!(get(&server, &format!("{fragment}?hds_ctx={ctx}")).0, 200);
}

/// Nor are the files that a former run has left a way round the rules.
#[test]
fn files_on_the_disk_are_no_way_round() {
    let mut server = Server::start(&conf(NOBODY));
    let publisher = publish(&server);
    let [segment, fragment] = media(&server);
    drop(publisher);
    server.kill();
    std::fs::write(server.dir().join("html/live/film.mp4"), "film").unwrap();
    server.start_again();
    for path in [MANIFEST, &segment, F4M, "/live/s.abst", &fragment] {
        assert_eq!(get(&server, path).0, 404, "{path}");
    }
    assert_eq!(get(&server, "/live/film.mp4"), (200, "film".into()), "other files are files");
    server.reload(&conf(""));
    for path in [MANIFEST, &segment, F4M, "/live/s.abst", &fragment] {
        assert_eq!(get(&server, path).0, 200, "{path}: nobody is checked");
    }
}

#[test]
fn a_reload_that_ends_a_format_ends_its_viewers() {
    let server = Server::start(&conf(""));
    let _publisher = publish(&server);
    get(&server, MANIFEST);
    get(&server, F4M);
    let count = |kind| viewers(&server, kind).len();
    assert_eq!((count("dash-play"), count("hds-play")), (1, 1));
    server.reload(&Conf::vhost("dash { enabled off; } hds { enabled on; hds_fragment 1; hds_path ./html; }"));
    wait_until("DASH has no viewers", SOON, || count("dash-play") == 0);
    server.reload(&Conf::vhost("hds { enabled off; }"));
    wait_until("HDS has none", SOON, || count("hds-play") == 0);
}

/// What `reload_effects.rs` shows of `dash_ctx` and `hds_ctx`.
#[test]
pub(crate) fn sessions_begin_with_the_next_viewer() {
    let with = |ctx: &str| {
        Conf::vhost(&format!(
            "publish {{ normal_timeout 60000; }} dash {{ enabled on; dash_fragment 1; dash_path ./html; dash_ctx {ctx}; }}
             hds {{ enabled on; hds_fragment 1; hds_path ./html; hds_ctx {ctx}; }}"
        ))
    };
    let server = Server::start(&with("off"));
    let _publisher = publish(&server);
    for path in [MANIFEST, F4M] {
        assert!(!get(&server, path).1.contains("_ctx="), "{path}");
        assert!(Http::get(server.http_addr(), path).head.header("etag").is_some(), "the same for all");
    }
    assert!(viewers(&server, "dash-play").is_empty() && viewers(&server, "hds-play").is_empty());
    server.reload(&with("on"));
    for path in [MANIFEST, F4M] {
        assert!(get(&server, path).1.contains("_ctx="), "{path}");
        assert_eq!(Http::get(server.http_addr(), path).head.header("cache-control"), Some("no-store"));
    }
}
