//! Programs beside the server: ingest, transcode and exec, with the real ffmpeg and with stand-ins, and that none of
//! them stays behind whatever happens.

use crate::harness::api::text;
use crate::harness::beat;
use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{decode, decode_file, probe, publish, publish_both, size, tool};
use crate::harness::process::Process;
use crate::harness::programs::{
    SILENT, StandIn, await_alone, await_no_zombies, await_running, descriptors, living, pids, programs,
};
use crate::harness::server::{Conf, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};

/// The clip of `millstream demo`.
pub(crate) fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.flv")
}

const BACK: &str = "rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]";

fn ingest(id: &str, ffmpeg: &str, input: &str, engine: &str) -> String {
    format!("ingest {id} {{ enabled on; input {{ {input} }} ffmpeg {ffmpeg}; engine {{ {engine} }} }}\n")
}

/// An ingest of a stand-in.
fn idle(id: &str, program: &str) -> String {
    ingest(id, program, "url x;", "output rtmp://127.0.0.1:[port]/live/x;")
}

fn kill(pid: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn an_ingest_brings_a_file_again_and_again() {
    let input = format!("type file; url {};", clip().display());
    let output = "enabled off; output rtmp://127.0.0.1:[port]/live?vhost=[vhost]/livestream;";
    let server = Server::start(&Conf::vhost(&ingest("show", "ffmpeg", &input, output)));
    for url in [server.rtmp("live/livestream"), server.http("live/livestream.flv")] {
        wait_until(&format!("{url} is there"), SOON, || !size(&url).is_empty());
        let probe = probe(&url, 60);
        assert_eq!(probe.codecs.len(), 2, "{url}");
        probe.assert_sound();
    }
    let show = &programs(&server)[0];
    assert_eq!((text(show, "type"), text(show, "name")), ("ingest", "show"));
    let log = "objs/ffmpeg-ingest-__defaultVhost__-live-livestream.log";
    assert_eq!(text(show, "log"), format!("./{log}"));
    assert!(std::fs::read_to_string(server.dir().join(log)).unwrap().contains("demo.flv"));
    wait_until("it is measured", SOON, || programs(&server)[0]["mem_kbyte"].as_u64() > Some(1000));
    wait_until("it begins again at the end", PATIENCE, || programs(&server)[0]["starts"].as_u64() > Some(1));
    wait_until("and is on air again", SOON, || size(&server.rtmp("live/livestream")) == "640,360");
}

#[test]
fn what_an_ingest_brings_plays_everywhere() {
    let work = crate::harness::server::Folder::new();
    let file = work.path().join("beats.flv");
    beat::make_clip(60, &file);
    let input = format!("type file; url {};", file.display());
    let engine = "enabled off; output rtmp://127.0.0.1:[port]/live?vhost=[vhost]/beats;";
    let server = Server::start(&beat::with_hls().and_vhost(&ingest("beats", "ffmpeg", &input, engine)));
    beat::plays_everywhere(&server, "live/beats");
}

#[test]
fn what_was_recoded_plays_everywhere() {
    let engine = format!(
        "engine e {{ enabled on; vcodec libx264; vbitrate 200; vprofile baseline; vpreset ultrafast;
            vparams {{ g 25; tune zerolatency; }} acodec aac; abitrate 64; output {BACK}; }}"
    );
    let transcode = format!("transcode live {{ enabled on; ffmpeg ffmpeg; {engine} }}");
    let server = Server::start(&beat::with_hls().and_vhost(&transcode));
    let _encoder = publish(&beat::encode(), &server.rtmp("live/beats"));
    beat::plays_everywhere(&server, "live/beats_e");
}

#[test]
fn an_ingest_pulls_from_another_server() {
    let origin = Server::plain();
    let input = format!("type stream; url {};", origin.rtmp("live/show"));
    let engine = "enabled on; vcodec copy; acodec copy; output rtmp://127.0.0.1:[port]/live/pulled;";
    let server = Server::start(&Conf::vhost(&ingest("", "ffmpeg", &input, engine)));
    let encoder = publish_both(&origin.rtmp("live/show"));
    let url = server.rtmp("live/pulled");
    wait_until("the stream is pulled", PATIENCE, || size(&url) == "320,180");
    decode(&url, 2);
    drop(encoder);
}

#[test]
fn a_stream_is_recoded_once_and_while_it_is_published() {
    let engine = format!(
        "engine small {{ enabled on; vcodec libx264; vbitrate 100; vfps 12.5; vwidth 161; vheight 90; vprofile baseline;
            vpreset ultrafast; vparams {{ g 12; tune zerolatency; }} acodec aac; abitrate 32; asample_rate 44100;
            achannels 1; output {BACK}; }}"
    );
    let server =
        Server::start(&Conf::vhost(&format!("transcode live {{ enabled on; ffmpeg ffmpeg; {engine} }}")));
    let encoder = publish_both(&server.rtmp("live/show"));
    let url = server.rtmp("live/show_small");
    wait_until("the smaller stream is there", PATIENCE, || size(&url) == "160,90");
    decode(&url, 2);
    decode(&server.http("live/show_small.flv"), 2);
    let all = await_running(&server, 1);
    assert_eq!((text(&all[0], "stream"), text(&all[0], "name")), ("show", "small"));
    drop(encoder);
    await_alone(&server);
    wait_until("none is listed", SOON, || programs(&server).is_empty());
    await_no_zombies(server.pid());
    // The next publish is recoded at once, though the one before has just ended.
    let _encoder = publish_both(&server.rtmp("live/show"));
    wait_until("it is there again", PATIENCE, || size(&url) == "160,90");
}

#[test]
fn pictures_are_taken_again_and_again() {
    let engine = "engine snap { enabled on; iformat off; vfilter { vf fps=2; } vcodec png; vparams { vframes 4; } acodec an;
        oformat image2; output ./html/[app]/[stream]-%03d.png; }";
    let server = Server::start(&Conf::vhost(&format!("transcode {{ enabled on; ffmpeg ffmpeg; {engine} }}")));
    let _encoder = publish_both(&server.rtmp("live/show"));
    let picture = |number: u32| server.dir().join(format!("html/live/show-00{number}.png"));
    wait_until("the last picture is there", PATIENCE, || picture(4).exists());
    let time = || std::fs::metadata(picture(1)).and_then(|file| file.modified()).unwrap();
    let first = time();
    wait_until("another takes its place", PATIENCE, || time() > first);
    wait_until("it is a picture", PATIENCE, || size(picture(1).to_str().unwrap()) == "320,180");
    assert!(!picture(5).exists());
}

#[test]
fn exec_takes_pictures_too() {
    let line = "ffmpeg -v error -i [url] -vf fps=2 -vcodec png -f image2 -an -vframes 2 -y ./[app]-[stream]-%03d.png";
    let server =
        Server::start(&Conf::vhost(&format!("exec {{ enabled on; publish {line} 2>./errors.txt; }}")));
    let _encoder = publish_both(&server.rtmp("live/show"));
    wait_until("a picture is there", PATIENCE, || {
        let picture = server.dir().join("live-show-002.png");
        picture.exists() && size(picture.to_str().unwrap()) == "320,180"
    });
    assert_eq!(std::fs::read_to_string(server.dir().join("errors.txt")).unwrap(), "");
}

#[test]
fn programs_at_the_end_of_a_publish_run_once() {
    let work = crate::harness::server::Folder::new();
    let good = StandIn::that(work.path(), "good", "exit 0");
    let bad = StandIn::that(work.path(), "bad", "exit 3");
    let slow = StandIn::that(work.path(), "slow", "sleep 1; echo done >> \"$0.said\"");
    let lines = ["good", "bad", "slow"].map(|name| {
        format!("unpublish {} [vhost] [app] ./[stream] [url];", work.path().join(name).display())
    });
    let server = Server::start(&Conf::vhost(&format!("{SILENT} exec {{ enabled on; {} }}", lines.concat())));
    let publisher = Publisher::ask_at(&server, &server.rtmp("live"), "live", "x?t=1").unwrap();
    assert!(programs(&server).is_empty() && good.said().is_empty());
    drop(publisher);
    let port = server.ports().rtmp;
    let said = format!("|__defaultVhost__|live|./x|rtmp://127.0.0.1:{port}/live/x?t=1");
    assert_eq!(good.starts(1), std::slice::from_ref(&said));
    bad.starts(1);
    let line = "exec __defaultVhost__/live/x unpublish-2 has ended with exit code 3; see ./objs/exec-__defaultVhost__-live-x-unpublish-2.log";
    wait_until(line, SOON, || server.log().contains(line));
    wait_until("the slow one comes to its end", SOON, || slow.said() == [&said, "done"]);
    wait_until("none is listed", SOON, || programs(&server).is_empty());
    await_no_zombies(server.pid());
    // The end of the server is the end of its publishes; it waits a moment for what is run then.
    let mut server = server;
    let _publisher = Publisher::start(&server, "live/y");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(PATIENCE).expect("it ends").code(), Some(0));
    assert_eq!(good.said().len(), 2);
    assert_eq!(slow.said().len(), 4);
    assert!(living(server.dir()).is_empty());
}

#[test]
fn a_file_that_a_program_writes_is_whole() {
    let line = "ffmpeg -v error -i [url] -c copy -y ./[stream].mp4";
    let server = Server::start(&Conf::vhost(&format!("exec {{ enabled on; publish {line}; }}")));
    let encoder = publish_both(&server.rtmp("live/show"));
    let file = server.dir().join("show.mp4");
    wait_until("the file grows", PATIENCE, || {
        std::fs::metadata(&file).is_ok_and(|file| file.len() > 100_000)
    });
    drop(encoder);
    await_alone(&server);
    // An MP4 file without its end is no file at all.
    decode_file(&file);
}

/// Programs of all kinds: a script with a child of its own among them.
fn all_kinds(dir: &Path) -> (Conf, [StandIn; 2]) {
    let scripts = [StandIn::new(dir, "one"), StandIn::that(dir, "two", "sleep 1000; true")];
    let (one, two) = (dir.join("one"), dir.join("two"));
    let (one, two) = (one.display(), two.display());
    let engine = format!("engine e {{ enabled on; vcodec copy; acodec copy; output {BACK}; }}");
    let conf = Conf::vhost(&format!(
        "{SILENT} {} transcode {{ enabled on; ffmpeg {one}; {engine} }} exec {{ enabled on; publish {two} [url]; }}",
        idle("i", &one.to_string())
    ));
    (conf, scripts)
}

#[test]
fn nothing_survives_the_server() {
    for simultaneous in [false, true] {
        let work = crate::harness::server::Folder::new();
        let (conf, [one, two]) = all_kinds(work.path());
        let mut server = Server::start(&conf);
        let _publisher = Publisher::start(&server, "live/x");
        one.starts(2);
        two.starts(1);
        await_running(&server, 3);
        let there = living(server.dir());
        // The server, three keepers, three programs, and the child of one.
        wait_until("all are there", SOON, || living(server.dir()).len() == 8);
        if simultaneous {
            // Nobody is left who could end anything but the kernel.
            for keeper in there.iter().filter(|process| process.name == "mill-keeper") {
                kill(keeper.pid.into());
            }
        }
        server.kill();
        let orphan = |name: &str| simultaneous && name == "sleep";
        wait_until("nobody is left", SOON, || {
            living(server.dir()).iter().all(|process| orphan(&process.name))
        });
        // What a script has started without a group of ours to be found by.
        for left in living(server.dir()) {
            kill(left.pid.into());
        }
    }
}

#[test]
fn nothing_is_left_at_the_end() {
    for signal in [Signal::TERM, Signal::QUIT] {
        let work = crate::harness::server::Folder::new();
        let (conf, [one, two]) = all_kinds(work.path());
        let conf = conf.global("grace_start_wait 10; grace_final_wait 10;");
        let mut server = Server::start(&conf);
        let mut publisher = Publisher::start(&server, "live/x");
        one.starts(2);
        two.starts(1);
        await_running(&server, 3);
        server.signal(signal);
        if signal == Signal::QUIT {
            wait_until("ingests end first", SOON, || {
                server.log().contains("ingest __defaultVhost__ i is stopped")
            });
            assert!(
                !server.log().contains("transcode __defaultVhost__/live/x e is stopped"),
                "{}",
                server.log()
            );
            publisher.unpublish();
            drop(publisher);
        }
        assert_eq!(server.wait(PATIENCE).expect("it ends").code(), Some(0));
        assert!(living(server.dir()).is_empty(), "{:?}", living(server.dir()));
        assert!(server.log().contains("srs terminated"));
    }
}

#[test]
fn a_program_may_end_in_good_order_and_one_that_does_not_is_killed() {
    let work = crate::harness::server::Folder::new();
    let (good, bad) = (work.path().join("good"), work.path().join("bad"));
    let loops = "while :; do sleep 0.1; done";
    let one =
        StandIn::that(work.path(), "good", &format!("trap 'echo bye >> \"$0.said\"; exit' TERM; {loops}"));
    let two = StandIn::that(work.path(), "bad", &format!("trap '' TERM INT; {loops}"));
    let exec =
        format!("{SILENT} exec {{ enabled on; publish {}; publish {}; }}", good.display(), bad.display());
    let server = Server::start(&Conf::vhost(&exec));
    let publisher = Publisher::start(&server, "live/x");
    one.starts(1);
    two.starts(1);
    await_running(&server, 2);
    drop(publisher);
    wait_until("the good one says so", SOON, || one.said().last().is_some_and(|said| said == "bye"));
    // The name is free and the next publish begins while the bad one is being ended.
    let _publisher = Publisher::start(&server, "live/x");
    one.starts(3);
    wait_until("of the first publish nobody is left", SOON, || {
        living(server.dir()).iter().filter(|process| process.name == "bad").count() == 1
    });
    await_running(&server, 2);
}

#[test]
fn those_a_program_leaves_behind_are_asked_too() {
    let work = crate::harness::server::Folder::new();
    let does = "for n in 1 2 3 4 5 6 7 8 9; do (sleep 0.1 &) ; done; exec sleep 1000";
    let stand_in = StandIn::that(work.path(), "leaves", does);
    let program = work.path().join("leaves").display().to_string();
    let server = Server::start(&Conf::vhost(&format!("{SILENT} exec {{ enabled on; publish {program}; }}")));
    let _publisher = Publisher::start(&server, "live/x");
    stand_in.starts(1);
    await_running(&server, 1);
    let keeper = || living(server.dir()).into_iter().find(|process| process.name == "mill-keeper").unwrap();
    wait_until("only the program is left", SOON, || living(server.dir()).len() == 3);
    await_no_zombies(keeper().pid);
}

#[test]
fn two_hundred_programs_come_and_go() {
    let lines = "publish sleep 1000; ".repeat(20);
    let server = Server::start(&Conf::vhost(&format!("{SILENT} exec {{ enabled on; {lines} }}")));
    let round = |count: usize| {
        for _ in 0..count {
            let publisher = Publisher::start(&server, "live/x");
            await_running(&server, 20);
            drop(publisher);
            wait_until("all have gone", SOON, || programs(&server).is_empty());
        }
    };
    round(1);
    let before = descriptors(server.pid());
    round(9);
    await_alone(&server);
    await_no_zombies(server.pid());
    wait_until("no descriptor is left", SOON, || descriptors(server.pid()) <= before);
}

#[test]
fn ffmpegs_come_and_go() {
    let engine = |name: &str| {
        format!("engine {name} {{ enabled on; vcodec copy; acodec copy; output ./[stream]_[engine].flv; }}")
    };
    let engines = ["a", "b", "c", "d"].map(engine).concat();
    let server =
        Server::start(&Conf::vhost(&format!("transcode {{ enabled on; ffmpeg ffmpeg; {engines} }}")));
    let round = || {
        let encoder = publish_both(&server.rtmp("live/x"));
        await_running(&server, 4);
        drop(encoder);
        wait_until("all have gone", SOON, || programs(&server).is_empty());
    };
    round();
    let before = descriptors(server.pid());
    for _ in 0..4 {
        round();
    }
    await_alone(&server);
    await_no_zombies(server.pid());
    wait_until("no descriptor is left", SOON, || descriptors(server.pid()) <= before);
}

#[test]
fn a_program_that_was_killed_is_started_again() {
    let server =
        Server::start(&Conf::vhost(&idle("i", "sleep")).global("ff_log_dir /dev/null; ff_log_level '';"));
    // `sleep -re …` fails at once.
    wait_until("its end is told", SOON, || server.log().contains("with exit code 1; again in 3s"));
    wait_until("and it is tried less often", SOON, || server.log().contains("with exit code 1; again in 6s"));
    assert!(!server.dir().join("objs/ffmpeg-ingest-__defaultVhost__-live-x.log").exists());

    let work = crate::harness::server::Folder::new();
    let stand_in = StandIn::new(work.path(), "stand-in");
    let server = Server::start(&Conf::vhost(&idle("i", &work.path().join("stand-in").display().to_string())));
    let first = pids(&await_running(&server, 1))[0];
    stand_in.starts(1);
    kill(first);
    wait_until("its end is told", SOON, || {
        server.log().contains("with signal 9; again in 3s; see ./objs/ffmpeg-ingest")
    });
    stand_in.starts(2);
    let second = pids(&await_running(&server, 1))[0];
    assert_ne!(first, second);
    // The same when its keeper is killed: the kernel ends the program then.
    let keeper = living(server.dir()).into_iter().find(|process| process.name == "mill-keeper").unwrap();
    kill(keeper.pid.into());
    stand_in.starts(3);
    let third = pids(&await_running(&server, 1))[0];
    assert!(
        living(server.dir())
            .iter()
            .all(|process| u64::from(process.pid) != second && process.pid != keeper.pid)
    );
    assert_ne!(second, third);
    await_no_zombies(server.pid());
}

#[test]
fn a_program_that_is_not_there_hurts_nobody() {
    let server = Server::start(&Conf::vhost(&format!(
        "{} transcode {{ enabled on; ffmpeg ./none; engine e {{ enabled on; vcodec copy; acodec copy; output {BACK}; }}
            engine bad {{ enabled on; vcodec libx264; acodec copy; output {BACK}; }} }}
         exec {{ enabled on; publish /etc/passwd x; publish no-such-program; }}",
        idle("i", "./objs/ffmpeg/bin/ffmpeg")
    )));
    let _encoder = publish_both(&server.rtmp("live/x"));
    decode(&server.rtmp("live/x"), 2);
    for line in [
        "ingest __defaultVhost__ i cannot be run, code=3028: ./objs/ffmpeg/bin/ffmpeg: No such file or directory (os error 2); tried again in 3s",
        "transcode __defaultVhost__/live/x e cannot be run, code=3028: ./none: No such file",
        "transcode __defaultVhost__/live/x: engine bad is left out: libx264 needs `vprofile`",
        "exec __defaultVhost__/live/x 1 cannot be run, code=3028: /etc/passwd: Permission denied",
        "exec __defaultVhost__/live/x 2 cannot be run, code=3028: no-such-program: No such file",
        "tried again in 6s",
    ] {
        wait_until(line, SOON, || server.log().contains(line));
    }
    let i = &programs(&server)[0];
    assert_eq!((text(i, "state"), i["pid"].as_u64()), ("waiting", Some(0)));
    assert!(text(i, "last").contains("No such file"), "{i}");
    await_no_zombies(server.pid());
}

#[test]
fn words_arrive_as_they_are() {
    let work = crate::harness::server::Folder::new();
    let stand_in = StandIn::new(work.path(), "stand-in");
    let program = work.path().join("stand-in").display().to_string();
    let exec = format!(
        "exec {{ enabled on; publish {program} a '[vhost]' [app] ./[stream] [port] [url] [tcUrl] [swfUrl] \"b c\" [2006] >out.txt; }}"
    );
    let server = Server::start(&Conf::vhost(&exec).vhosts(&format!("vhost a.com {{ {exec} }}")));
    let port = server.ports().rtmp;
    let year = jiff_year();
    let name = "it's$(touch${IFS}pwned);`touch pwned2`\"|>x*\\&";
    let publisher =
        Publisher::ask_at(&server, &server.rtmp("live"), "live", &format!("{name}?t=1&u=2")).unwrap();
    let said = stand_in.starts(1).remove(0);
    // Blanks are not part of any name.
    let name = name.replace(' ', "");
    assert_eq!(
        said,
        format!(
            "|a|__defaultVhost__|live|./{name}|{port}|rtmp://127.0.0.1:{port}/live/{name}?t=1&u=2|rtmp://127.0.0.1:{port}/live||b c|{year}"
        )
    );
    assert!(server.dir().join("out.txt").exists());
    drop(publisher);
    let _publisher = Publisher::ask_at(&server, &server.rtmp("live?vhost=a.com"), "live", "x").unwrap();
    let said = stand_in.starts(2).remove(1);
    assert!(said.contains(&format!("|rtmp://127.0.0.1:{port}/live/x?vhost=a.com|")), "{said}");
    for folder in [server.dir(), work.path()] {
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with("pwned"), "{}", folder.display());
        }
    }
    await_no_zombies(server.pid());
}

/// The year as the server writes it, in local time.
fn jiff_year() -> String {
    Process::run(&mut tool("date", "+%Y"), SOON).stdout().trim().to_owned()
}

#[test]
fn a_name_is_no_option_and_no_other_place() {
    let work = crate::harness::server::Folder::new();
    let stand_in = StandIn::new(work.path(), "stand-in");
    let program = work.path().join("stand-in").display().to_string();
    let server = Server::start(&Conf::vhost(&format!(
        "{SILENT} exec {{ enabled on; publish {program} [stream]; }}
         transcode {{ enabled on; ffmpeg {program}; engine e {{ enabled on; vcodec copy; acodec copy; output {BACK}; }} }}
         transcode {{ enabled on; ffmpeg {program}; engine f {{ enabled on; vcodec copy; acodec copy; output [stream].flv; }} }}"
    )));
    let _one = Publisher::ask_at(&server, &server.rtmp("live"), "live", "-y").unwrap();
    for line in [
        "exec __defaultVhost__/live/-y 1 is not started: `[stream]` would become an option with this name",
        "transcode __defaultVhost__/live/-y f is not started: `[stream].flv` would become an option with this name",
    ] {
        wait_until(line, SOON, || server.log().contains(line));
    }
    let said = stand_in.starts(1);
    assert!(said[0].contains("vhost=__defaultVhost__/-y|") && said[0].ends_with("/-y_e"), "{said:?}");
    await_running(&server, 1);
    let _two = Publisher::ask_at(&server, &server.rtmp("live"), "live", "x&y").unwrap();
    let _three = Publisher::ask_at(&server, &server.rtmp("live"), "live", "pipe:1").unwrap();
    for line in ["'&' is in it", "':' is in it"] {
        wait_until(line, SOON, || server.log().contains(line));
    }
}

#[test]
fn no_program_works_on_what_it_has_made() {
    let work = crate::harness::server::Folder::new();
    // Publishes where it is told to, as ffmpeg would: by the last word.
    let _stand_in = StandIn::that(
        work.path(),
        "copy",
        "for last; do :; done\nexec ffmpeg -nostdin -v error -re -stream_loop -1 -i \"$(dirname \"$0\")/clip.flv\" -c copy -f flv -y \"$last\"",
    );
    std::fs::copy(clip(), work.path().join("clip.flv")).unwrap();
    let copy = work.path().join("copy").display().to_string();
    let engine = |name: &str, output: &str| {
        format!("engine {name} {{ enabled on; vcodec copy; acodec copy; output {output}; }}")
    };
    // Spelt otherwise than what it is compared with; its own input.
    let (again, itself) = (
        engine("t", "rtmp://localhost:[port]/[app]/[stream]_t"),
        engine("self", "rtmp://localhost:[port]/[app]/[stream]"),
    );
    let server = Server::start(&Conf::vhost(&format!(
        "{SILENT} transcode {{ enabled on; ffmpeg {copy}; {again} {itself} }}
         exec {{ enabled on; publish {copy} rtmp://127.0.0.1:[port]/[app]/[stream]_e; }}"
    )));
    let _publisher = Publisher::start(&server, "live/x");
    let line = "transcode __defaultVhost__/live/x self is not started, code=3029";
    wait_until(line, SOON, || server.log().contains(line));
    // x to x_t and x_e, x_t to x_t_e, x_e to x_e_t; and there it ends.
    let streams = ["live/x_t", "live/x_e", "live/x_t_e", "live/x_e_t"];
    wait_until("all are on air", PATIENCE, || {
        let log = server.log();
        streams.iter().all(|name| log.contains(&format!("source url=/{name},")))
    });
    wait_until("four programs run", PATIENCE, || {
        let all = programs(&server);
        all.len() == 4 && all.iter().all(|one| one["state"] == "running")
    });
    assert!(!server.log().contains("_e_t_") && !server.log().contains("_t_e_"), "{}", server.log());
}
