//! Recordings: whole files under the right names, whatever happens to the disk, the stream or the server.

use crate::harness::api;
use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{
    AAC, AUDIO, H264, VIDEO, decode_file, make, pictures, probe_file, publish_both, tool,
};
use crate::harness::media::{FlvViewer, avc, avc_header, tags};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Folder, Server};
use crate::harness::{PATIENCE, SOON, pause, wait_until};
use mill_media::flv::demux::Tag;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) fn recording(dvr: &str) -> Conf {
    Conf::vhost(&format!("dvr {{ enabled on; {dvr} }}"))
}

pub(crate) fn told(backend: &Backend, dvr: &str) -> Conf {
    let hooks = format!("http_hooks {{ enabled on; on_dvr {}; }}", backend.url("dvr"));
    recording(dvr).and_vhost(&hooks)
}

/// Everything below a folder that is no folder, sorted; the journal is not.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if path.ends_with(".millstream") => {}
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Entries of the journal below `rec`.
pub(crate) fn journal(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("rec/.millstream")).map_or(0, Iterator::count)
}

/// Waits until so many recordings are complete, and nothing else is there.
#[track_caller]
fn complete(server: &Server, count: usize) -> Vec<PathBuf> {
    let dir = server.dir().join("rec");
    wait_until(&format!("{count} recordings"), SOON, || {
        let files = files(&dir);
        files.len() == count
            && files.iter().all(|file| file.extension().is_some_and(|end| end != "tmp" && end != "done"))
    });
    wait_until("they are told", SOON, || journal(server.dir()) == 0);
    files(&dir)
}

/// A clip sent as it is, as fast as it goes.
#[track_caller]
fn send(clip: &Path, url: &str) {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -i");
    let run = Process::run(command.arg(clip).args(["-c", "copy", "-f", "flv", url]), PATIENCE);
    assert!(run.status.success(), "{}", run.text());
}

#[track_caller]
fn clip(dir: &Path, seconds: u32) -> PathBuf {
    let file = dir.join("clip.flv");
    make(&format!("{VIDEO} {AUDIO} -t {seconds} {H264} {AAC}"), &file);
    file
}

/// Plays from 0 and from the middle, without a complaint.
#[track_caller]
pub(crate) fn assert_plays(file: &Path) {
    decode_file(file);
    let probe = probe_file(file);
    probe.assert_sound();
    let first = probe.packets.iter().map(|packet| packet.dts).min().unwrap();
    assert!((-100..=100).contains(&first), "{} begins at {first} ms", file.display());
}

pub(crate) fn duration(file: &Path) -> f64 {
    let mut command = tool("ffprobe", "-v error -show_entries format=duration -of default=nk=1:nw=1");
    let run = Process::run(command.arg(file), PATIENCE);
    run.stdout().trim().parse().unwrap_or_else(|e| panic!("{e}: {}", run.text()))
}

#[test]
fn a_session_is_one_file_with_every_picture() {
    let backend = Backend::start();
    let work = Folder::new();
    let source = clip(work.path(), 6);
    for ending in ["flv", "mp4"] {
        backend.forget();
        let server = Server::start(&told(&backend, &format!("dvr_path ./rec/[app]/[stream].{ending};")));
        send(&source, &server.rtmp("live/show?token=1"));
        let made = complete(&server, 1);
        assert!(made[0].ends_with(format!("rec/live/show.{ending}")), "{made:?}");
        assert_plays(&made[0]);
        assert_eq!(pictures(&made[0]), pictures(&source), "{ending}");
        assert!((duration(&made[0]) - 6.0).abs() < 0.2, "{ending}: {}", duration(&made[0]));
        let mut seek = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror -ss 4 -i");
        let run = Process::run(seek.arg(&made[0]).args(["-f", "null", "-"]), PATIENCE);
        assert!(run.status.success() && run.text().is_empty(), "{}", run.text());

        let call = &backend.expect(&["on_dvr"])[0];
        let keys: Vec<String> = call.json().keys().cloned().collect();
        assert_eq!(keys, ["action", "client_id", "ip", "vhost", "app", "stream", "param", "cwd", "file"]);
        assert_eq!((call.field("stream"), call.field("param")), ("show".into(), "?token=1".into()));
        assert_eq!(call.field("file"), format!("./rec/live/show.{ending}"));
        assert_eq!(
            Path::new(&call.field("cwd")).canonicalize().unwrap(),
            server.dir().canonicalize().unwrap()
        );

        // The name is taken: nothing is replaced, nobody is refused (SRS: 3082).
        send(&source, &server.rtmp("live/show"));
        assert_eq!(complete(&server, 2).len(), 2);
        assert_eq!(backend.wait_for(2)[1].field("file"), format!("./rec/live/show-2.{ending}"));
    }
}

#[test]
fn segments_are_cut_at_keyframes_and_lose_nothing() {
    let work = Folder::new();
    let source = clip(work.path(), 9);
    for ending in ["flv", "mp4"] {
        let path = format!(
            "dvr_plan segment; dvr_duration 3; dvr_path ./rec/[stream].[timestamp].[duration].{ending};"
        );
        let server = Server::start(&recording(&path));
        send(&source, &server.rtmp("live/show"));
        let made = complete(&server, 3);
        let mut all = Vec::new();
        for file in &made {
            assert_plays(file);
            assert!((duration(file) - 3.0).abs() < 0.2, "{}", duration(file));
            assert!(!file.to_str().unwrap().contains("[duration]"));
            all.push(pictures(file));
        }
        all.sort_by_key(|pictures| self::pictures(&source).iter().position(|sum| *sum == pictures[0]));
        assert_eq!(all.concat(), pictures(&source), "{ending}");
    }
}

#[test]
fn dvr_apply_records_what_it_names() {
    let server = Server::start(&recording("dvr_apply live/yes; dvr_path ./rec/[app]/[stream].flv;"));
    let mut publishers: Vec<Publisher> = ["live/yes", "live/no", "other/yes"]
        .iter()
        .map(|stream| {
            let mut publisher = Publisher::start(&server, stream);
            publisher.send(9, 0, &avc_header());
            publisher.send(9, 0, &avc(true, 0, 2000));
            publisher
        })
        .collect();
    for publisher in &mut publishers {
        publisher.unpublish();
    }
    assert!(complete(&server, 1)[0].ends_with("rec/live/yes.flv"));
}

#[test]
fn names_stay_below_the_root_or_are_refused() {
    let server = Server::start(&recording("dvr_path ./rec/[app]/[stream].flv;"));
    let refused = || server.log().matches("not recorded: ").count();
    let publish = |name: &str| {
        let mut publisher = Publisher::ask(&server, &format!("live/{name}")).ok()?;
        publisher.send(9, 0, &avc_header());
        publisher.send(9, 0, &avc(true, 0, 2000));
        publisher.unpublish();
        Some(())
    };
    publish("a/b").unwrap();
    assert!(complete(&server, 1)[0].ends_with("rec/live/a/b.flv"));
    // Whoever may be on air with such a name is, and is not recorded.
    let mut expected = 0;
    for name in ["..", "../../up", "a/../../../b", "a\u{1}b", &"x".repeat(300), &"x/".repeat(500)] {
        expected += publish(name).map_or(0, |()| 1);
        wait_until(&format!("{name:?} is refused"), SOON, || refused() == expected);
    }
    assert!(expected > 0, "the long ones may be on air");
    assert_eq!(complete(&server, 1).len(), 1);
    assert!(!server.dir().parent().unwrap().join("up.flv").exists());
}

#[test]
fn another_codec_configuration_begins_another_file() {
    let server = Server::start(&recording("dvr_path ./rec/[stream].flv;"));
    let work = Folder::new();
    let (small, large) = (work.path().join("small.flv"), work.path().join("large.flv"));
    make(&format!("{VIDEO} -t 2 {H264}"), &small);
    make(&format!("-f lavfi -i testsrc2=size=640x360:rate=25 -t 2 {H264}"), &large);
    let mut publisher = Publisher::start(&server, "live/show");
    for (clip, base) in [(&small, 0), (&large, 2000)] {
        for tag in tags(clip).iter().filter(|tag| tag.tag_type == 9) {
            publisher.send(9, base + tag.timestamp, &tag.body);
        }
    }
    publisher.unpublish();
    let made = complete(&server, 2);
    let mut counts: Vec<Vec<String>> = made.iter().map(|file| pictures(file)).collect();
    let mut expected = vec![pictures(&small), pictures(&large)];
    counts.sort();
    expected.sort();
    assert_eq!(counts, expected);
}

#[test]
fn a_reload_begins_and_ends_the_recording_of_a_live_stream() {
    let on = "dvr_path ./rec/[stream].flv;";
    let server = Server::start(&Conf::default());
    let encoder = publish_both(&server.rtmp("live/show"));
    let mut viewer = FlvViewer::open(&server, "/live/show.flv");
    assert!(viewer.began(SOON));
    assert_eq!(api::list(&api::get(&server, "dvrs"), "dvrs")[0]["state"], "off");
    server.reload(&recording(on));
    let state = || api::list(&api::get(&server, "dvrs"), "dvrs")[0].clone();
    wait_until("it is recorded", SOON, || state()["duration"].as_i64().unwrap() > 1000);
    assert_eq!(state()["file"], "./rec/show.flv.tmp");
    server.reload(&recording("dvr_path ./rec/[stream]-new.flv;"));
    wait_until("another file", SOON, || state()["file"] == "./rec/show-new.flv.tmp");
    server.reload(&Conf::default());
    let made = complete(&server, 2);
    made.iter().for_each(|file| assert_plays(file));
    assert_eq!(viewer.ended(), None, "viewers notice nothing");

    // The API's switch, over `dvr_apply`; but where `dvr` is off nothing is written.
    let switch = |method| api::ask(server.api_addr(), method, "/api/v1/dvrs?app=live&stream=show").json();
    assert_eq!(api::code(&switch("POST")), 1062);
    assert_eq!(state()["state"], "off");
    server.reload(&recording("dvr_path ./rec/[stream]-again.flv; dvr_apply live/other;"));
    assert_eq!(state()["state"], "off");
    assert_eq!(api::code(&switch("POST")), 0);
    wait_until("it is recorded again", SOON, || state()["state"] == "recording");
    assert_eq!(api::code(&switch("DELETE")), 0);
    wait_until("it is not", SOON, || state()["state"] == "off");
    let none = api::ask(server.api_addr(), "POST", "/api/v1/dvrs?app=live&stream=none").json();
    assert_eq!(api::code(&none), 2048);
    drop(encoder);
}

#[test]
fn dvr_apply_changes_by_the_raw_api_and_the_others_go_on() {
    let raw = "enabled on; allow_update on;";
    let server = Server::start_with(|command, ports, dir| {
        let conf = recording("dvr_apply live/a; dvr_path ./rec/[stream].flv;").text(ports, dir);
        let conf = conf.replacen("http_api { ", &format!("http_api {{ raw_api {{ {raw} }} "), 1);
        std::fs::write(dir.join("srs.conf"), conf).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let _encoders = ["live/a", "live/b"].map(|stream| publish_both(&server.rtmp(stream)));
    let states = || {
        let answer = api::get(&server, "dvrs");
        let states = api::list(&answer, "dvrs").iter();
        states
            .map(|dvr| format!("{} {}", api::text(dvr, "stream"), api::text(dvr, "file")))
            .collect::<Vec<_>>()
    };
    wait_until("one is recorded", SOON, || states() == ["a ./rec/a.flv.tmp", "b "]);
    let update = |param: &str, data: &str| {
        let query =
            format!("/api/v1/raw?rpc=update&scope=dvr&value=__defaultVhost__&param={param}&data={data}");
        api::code(&api::ask(server.api_addr(), "GET", &query).json())
    };
    assert_eq!(update("enable", "live/b"), 0);
    wait_until("both are", SOON, || states() == ["a ./rec/a.flv.tmp", "b ./rec/b.flv.tmp"]);
    assert_eq!(update("disable", "live/a"), 0);
    wait_until("the other one is", SOON, || states() == ["a ", "b ./rec/b.flv.tmp"]);
    let text = std::fs::read_to_string(server.dir().join("srs.conf")).unwrap();
    assert!(text.contains("dvr_apply live/b;"), "{text}");
    // The one that was not concerned has gone on in its file.
    let opened = || server.log().matches("to file ./rec/b.flv").count();
    wait_until("it is told once", SOON, || opened() > 0);
    assert_eq!(opened(), 1);
}

#[test]
fn both_ends_of_the_server_finish_the_file() {
    for (signal, ending) in [(Signal::TERM, "mp4"), (Signal::INT, "flv")] {
        let backend = Backend::start();
        let mut server = Server::start(&told(&backend, &format!("dvr_path ./rec/[stream].{ending};")));
        let encoder = publish_both(&server.rtmp("live/show"));
        wait_until("something is recorded", SOON, || {
            api::list(&api::get(&server, "dvrs"), "dvrs")
                .first()
                .is_some_and(|dvr| dvr["duration"].as_i64() > Some(1500))
        });
        server.signal(signal);
        assert_eq!(server.wait(SOON).and_then(|status| status.code()), Some(0));
        drop(encoder);
        let made = files(&server.dir().join("rec"));
        assert!(made.len() == 1 && made[0].ends_with(format!("rec/show.{ending}")), "{made:?}");
        assert_plays(&made[0]);
        assert_eq!(backend.expect(&["on_dvr"])[0].field("file"), format!("./rec/show.{ending}"));
        assert_eq!(journal(server.dir()), 0);
    }
}

#[test]
fn what_a_kill_leaves_is_finished_by_the_next_start_and_told_once() {
    const USUAL: u32 = 5;
    /// `dvr_flush`, in milliseconds.
    const FLUSH: i64 = 1000;
    let work = Folder::new();
    let source = tags(&clip(work.path(), 5));
    let rounds: u32 = std::env::var("MILL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(USUAL);
    for ending in ["flv", "mp4"] {
        let backend = Backend::start();
        let mut server =
            Server::start(&told(&backend, &format!("dvr_path ./rec/[stream].[timestamp].{ending};")));
        let mut worst = 0;
        for round in 1..=rounds {
            let length = Duration::from_millis(1300 + u64::from(round * 379 % 2700));
            let mut publisher = Publisher::start(&server, "live/show");
            let sent = send_for(&mut publisher, &source, length);
            // What is written, on a machine that keeps up nearly all of it.
            let mut written = 0;
            wait_until("more than a flush is written", SOON, || {
                written = written_ms(&server);
                written > FLUSH
            });
            server.kill();
            if round % 2 == 0 {
                // In the middle of the repair, before or behind it.
                server.start_and_kill(Duration::from_millis(u64::from(round * 37 % 150)));
            }
            server.start_again();
            // Between an answer and the note of it a kill makes it tell again, under the same id.
            let told = || {
                let mut calls = backend.calls();
                calls.sort_by(|a, b| a.id().cmp(b.id()));
                calls.dedup_by(|a, b| a.id() == b.id() && a.body == b.body);
                calls
            };
            wait_until("it is told", SOON, || told().len() >= round as usize);
            let made = complete(&server, round as usize);
            assert_eq!(told().len(), round as usize, "each is told once");
            let newest = server.dir().join(backend.calls().last().unwrap().field("file"));
            assert!(made.iter().any(|file| file.file_name() == newest.file_name()), "{made:?}");
            assert_plays(&newest);
            let end = probe_file(&newest).packets.iter().map(|packet| packet.dts).max().unwrap();
            assert!(end >= written - FLUSH - 50, "of {written} ms only {end} ms are there");
            worst = worst.max(i64::from(sent) - end);
        }
        let mut names: Vec<String> = backend.calls().iter().map(|call| call.field("file")).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), rounds as usize, "each under one name");
        eprintln!("{ending}: {rounds} kills, at most {worst} ms missing");
    }
}

/// How much of the only stream its recording has handed to the disk, in milliseconds.
fn written_ms(server: &Server) -> i64 {
    let dvrs = api::get(server, "dvrs");
    api::list(&dvrs, "dvrs").first().and_then(|dvr| dvr["duration"].as_i64()).unwrap_or(0)
}

/// Sends the beginning of a stream at its own pace; gives the time of the last frame.
fn send_for(publisher: &mut Publisher, source: &[Tag], length: Duration) -> u32 {
    let (begun, mut sent) = (Instant::now(), 0);
    for tag in source {
        let due = Duration::from_millis(tag.timestamp.into());
        if due > length {
            break;
        }
        while begun.elapsed() < due {
            pause();
        }
        publisher.send(tag.tag_type, tag.timestamp, &tag.body);
        sent = tag.timestamp;
    }
    sent
}

#[test]
fn a_full_disk_costs_what_did_not_fit_and_nothing_else() {
    for ending in ["flv", "mp4"] {
        // A limit of the size of files stands for the full disk: it comes and goes without a privilege.
        let backend = Backend::start();
        let server = Server::start_with(|command, ports, dir| {
            let conf = told(&backend, &format!("dvr_path ./rec/[stream].{ending};"));
            std::fs::write(dir.join("srs.conf"), conf.text(ports, dir)).unwrap();
            let program = command.get_program().to_owned();
            *command = tool("sh", "-c");
            command.current_dir(dir).arg("trap '' XFSZ; exec \"$0\" -c srs.conf").arg(program);
        });
        let limit = |bytes: Option<u64>| {
            let pid = Pid::from_raw(server.pid().try_into().unwrap());
            prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
        };
        let encoder = publish_both(&server.rtmp("live/show"));
        let mut viewer = FlvViewer::open(&server, "/live/show.flv");
        assert!(viewer.began(SOON));
        let state = || api::list(&api::get(&server, "dvrs"), "dvrs")[0].clone();
        wait_until("some of it is safe", SOON, || state()["duration"].as_i64() > Some(2000));
        limit(Some(20_000));
        wait_until("it says what is wrong", SOON, || state()["error"] != "");
        wait_until("it counts", SOON, || state()["lost"].as_u64() > Some(0));
        wait_until("it is told", SOON, || server.log().contains("tried again in"));
        limit(None);
        wait_until("it goes on", SOON, || {
            state()["state"] == "recording" && state()["duration"].as_i64() > Some(1000)
        });
        assert_eq!(state()["error"], "");
        assert_eq!(viewer.ended(), None, "viewers notice nothing");
        drop(encoder);
        wait_until("all is told", SOON, || backend.calls().len() >= 2 && journal(server.dir()) == 0);
        let made = files(&server.dir().join("rec"));
        assert!(made.len() >= 2 && made.iter().all(|file| file.extension().unwrap() == ending), "{made:?}");
        made.iter().for_each(|file| assert_plays(file));
        let longest = made.iter().map(|file| duration(file)).fold(0.0, f64::max);
        assert!(longest > 1.0, "what was safe is there: {longest}");
    }
}

#[test]
fn a_place_where_nothing_can_be_written_is_reported_and_tried_again() {
    let server = Server::start(&recording("dvr_path ./rec/[app]/[stream].flv;"));
    // A file in the place of the folder: refused whoever asks, root too.
    std::fs::write(server.dir().join("rec"), "").unwrap();
    let encoder = publish_both(&server.rtmp("live/show"));
    wait_until("it is reported", SOON, || server.log().contains("tried again in"));
    let state = || api::list(&api::get(&server, "dvrs"), "dvrs")[0].clone();
    assert_eq!(state()["state"], "waiting");
    std::fs::remove_file(server.dir().join("rec")).unwrap();
    wait_until("it is recorded", SOON, || state()["state"] == "recording");
    drop(encoder);
    assert_plays(&complete(&server, 1)[0]);
}

#[test]
fn a_recording_that_nobody_has_heard_of_is_told_by_the_next_run_under_the_same_id() {
    let backend = Backend::start();
    backend.answers(|_| Answer::Hang);
    let mut server = Server::start(&told(&backend, "dvr_path ./rec/[stream].flv;"));
    Publisher::live(&server, "live/show").unpublish();
    let first = backend.wait_for(1)[0].clone();
    server.kill();
    assert_eq!(journal(server.dir()), 1);
    backend.answers(|_| Answer::yes());
    backend.forget();
    server.start_again();
    let again = backend.wait_for(1)[0].clone();
    assert_eq!((again.id(), &again.body), (first.id(), &first.body));
    wait_until("it is known", SOON, || journal(server.dir()) == 0);
}

#[test]
fn the_examples_record_as_they_say() {
    let work = Folder::new();
    let source = clip(work.path(), 3);
    let shorter = |text: String| text.replace("dvr_duration        30;", "dvr_duration        1;");
    for (name, files, ending) in [
        ("dvr.session.conf", 1, "flv"),
        ("dvr.segment.conf", 3, "flv"),
        ("dvr.path.conf", 1, "flv"),
        ("dvr.mp4.conf", 1, "mp4"),
    ] {
        let server = Server::example(name, shorter);
        send(&source, &server.rtmp("live/livestream"));
        let root = server.dir().join("objs/nginx/html");
        let made = || {
            let made = self::files(&root);
            made.into_iter()
                .filter(|file| file.extension().is_some_and(|end| end == ending))
                .collect::<Vec<_>>()
        };
        wait_until(&format!("{name} records"), SOON, || made().len() == files);
        made().iter().for_each(|file| assert_plays(file));
        if name == "dvr.path.conf" {
            let path = made()[0].strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(
                (parts.len(), &parts[..3]),
                (5, &["__defaultVhost__", "live", "livestream"][..]),
                "{path}"
            );
            assert!(parts[3].len() == 10 && !path.contains('['), "{path}");
            send(&source, &server.rtmp("live/other"));
            wait_until("it is over", SOON, || is_free(&server));
            assert_eq!(made().len(), files, "dvr_apply does not name it");
        }
    }
}

/// Nobody publishes any more. The examples have no API; the log says it.
fn is_free(server: &Server) -> bool {
    server.log().matches("cleanup when unpublish").count() == 2
}
