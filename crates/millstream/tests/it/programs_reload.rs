//! What a reload does to programs beside the server: those whose words have changed are started anew, all others
//! run on.

use crate::harness::client::Publisher;
use crate::harness::programs::{SILENT, StandIn, await_alone, await_running, pids, programs};
use crate::harness::server::{Conf, Folder, Server, free_port};
use crate::harness::{SOON, wait_until};

struct Work {
    folder: Folder,
    stand_in: StandIn,
}

impl Work {
    fn new() -> Self {
        let folder = Folder::new();
        let stand_in = StandIn::new(folder.path(), "stand-in");
        Self { folder, stand_in }
    }

    fn program(&self) -> String {
        self.folder.path().join("stand-in").display().to_string()
    }

    fn ingest(&self, id: &str, lines: &str) -> String {
        format!("ingest {id} {{ enabled on; ffmpeg {}; {lines} }}\n", self.program())
    }

    fn transcode(&self, scope: &str, engines: &str) -> String {
        format!("transcode {scope} {{ enabled on; ffmpeg {}; {engines} }}\n", self.program())
    }
}

const ENGINE: &str = "engine { output rtmp://127.0.0.1:[port]/live/x; }";

#[test]
fn of_several_ingests_only_those_that_change_are_touched() {
    let work = Work::new();
    let ingest = |id: &str, url: &str| work.ingest(id, &format!("input {{ url {url}; }} {ENGINE}"));
    let server = Server::start(&Conf::vhost(&(ingest("a", "1") + &ingest("b", "1") + &ingest("c", "1"))));
    let before = pids(&await_running(&server, 3));
    work.stand_in.starts(3);
    // a stays, b is changed, c goes, d comes.
    server.reload(&Conf::vhost(&(ingest("d", "1") + &ingest("b", "2") + &ingest("a", "1"))));
    work.stand_in.starts(5);
    wait_until("c has gone", SOON, || programs(&server).iter().all(|program| program["name"] != "c"));
    let after = await_running(&server, 3);
    let pid =
        |name: &str| after.iter().find(|program| program["name"] == name).and_then(|it| it["pid"].as_u64());
    assert_eq!(pid("a"), Some(before[0]));
    assert!(pid("b").is_some_and(|pid| pid != before[1]) && pid("d").is_some());
    // The vhost goes, and what runs for it.
    server.reload(&Conf::vhost(&ingest("a", "1")).and_vhost("enabled off;"));
    await_alone(&server);
    server.reload(&Conf::vhost(&ingest("a", "1")));
    await_running(&server, 1);
}

#[test]
fn ports_of_ingests_follow_the_listener() {
    let work = Work::new();
    let conf = Conf::vhost(&work.ingest("a", &format!("input {{ url 1; }} {ENGINE}")));
    let server = Server::start(&conf);
    let said = work.stand_in.starts(1);
    let old = format!("rtmp://127.0.0.1:{}/live/x", server.ports().rtmp);
    assert!(said[0].ends_with(&old), "{said:?}");
    let port = free_port();
    let text = conf.text(server.ports(), server.dir());
    let text = text
        .replace(&format!("listen 127.0.0.1:{};", server.ports().rtmp), &format!("listen 127.0.0.1:{port};"));
    server.try_reload(&text);
    let said = work.stand_in.starts(2);
    assert!(said[1].ends_with(&format!("rtmp://127.0.0.1:{port}/live/x")), "{said:?}");
}

#[test]
pub(crate) fn live_streams_get_other_programs() {
    let work = Work::new();
    let exec = |lines: &str| format!("exec {{ enabled on; {lines} }}");
    let line = |word: &str| format!("publish {} {word} [stream];", work.program());
    let engine = |name: &str| {
        format!("engine {name} {{ enabled on; vcodec copy; acodec copy; output ./[stream]-[engine].flv; }}")
    };
    let silent = || Conf::vhost(SILENT);
    let server = Server::start(&silent());
    let publisher = Publisher::start(&server, "live/x");
    server.reload(&silent().and_vhost(&exec(&(line("a") + &line("b")))));
    let before = pids(&await_running(&server, 2));
    work.stand_in.starts(2);
    let at_end = StandIn::that(work.folder.path(), "at-end", "exit 0");
    let last =
        |word: &str| format!("unpublish {} {word} [stream];", work.folder.path().join("at-end").display());
    let others = exec(&(line("a") + &line("c") + &last("d"))) + &work.transcode("live/x", &engine("e"));
    server.reload(&silent().and_vhost(&others));
    let said = work.stand_in.starts(4);
    assert!(said.iter().any(|said| said == "|c|x"), "{said:?}");
    wait_until("b has gone", SOON, || !pids(&programs(&server)).contains(&before[1]));
    let now = pids(&await_running(&server, 3));
    assert!(now.contains(&before[0]), "a runs on: {before:?} {now:?}");
    // Another scope, which does not have the stream.
    let others = exec(&(line("a") + &last("e"))) + &work.transcode("live/y", &engine("e"));
    server.reload(&silent().and_vhost(&others));
    wait_until("one is left", SOON, || programs(&server).len() == 1);
    assert_eq!(pids(&await_running(&server, 1)), before[..1]);
    // What is run at the end is what is said then.
    drop(publisher);
    assert_eq!(at_end.starts(1), ["|e|x"]);
    let _publisher = Publisher::start(&server, "live/z");
    server.reload(&silent());
    await_alone(&server);
}

#[test]
pub(crate) fn logs_and_levels_are_those_of_the_next_start() {
    let work = Work::new();
    let ingest = |url: &str| work.ingest("a", &format!("input {{ type stream; url {url}; }} {ENGINE}"));
    let conf = |dir: &str, level: &str, url: &str| {
        Conf::vhost(&ingest(url)).global(&format!("ff_log_dir {dir}; ff_log_level {level};"))
    };
    let server = Server::start(&conf("./one", "info", "1"));
    let first = pids(&await_running(&server, 1));
    work.stand_in.starts(1);
    server.reload(&conf("./two", "debug", "1"));
    assert_eq!(pids(&await_running(&server, 1)), first, "what runs goes on");
    server.reload(&conf("./two", "debug", "2"));
    let said = work.stand_in.starts(2);
    assert!(
        said[0].starts_with("|-loglevel|info|-i|1|") && said[1].starts_with("|-loglevel|debug|-i|2|"),
        "{said:?}"
    );
    let log = &await_running(&server, 1)[0]["log"];
    assert_eq!(log, "./two/ffmpeg-ingest-__defaultVhost__-live-x.log");
}

#[test]
fn what_others_work_on_may_be_brought_anew() {
    let work = Work::new();
    // On air by somebody else: what is looked at is the configuration.
    let ingest = |url: &str| work.ingest("a", &format!("input {{ type stream; url {url}; }} {ENGINE}"));
    let copy = work.transcode("", "engine e { enabled on; vcodec copy; acodec copy; output ./a.flv; }");
    let conf = |url: &str| Conf::vhost(SILENT).and_vhost(&(ingest(url) + &copy));
    let server = Server::start(&conf("1"));
    let _publisher = Publisher::start(&server, "live/x");
    let before = pids(&await_running(&server, 2));
    server.reload(&conf("2"));
    work.stand_in.starts(3);
    let now = pids(&await_running(&server, 2));
    assert!(now.contains(&before[1]) && !now.contains(&before[0]), "{before:?} {now:?}");
}

/// Directives of an engine, and what the line has then.
const CHANGES: &[(&str, &str)] = &[
    ("perfile { re; }", "|-re|"),
    ("iformat off;", "|-i|"),
    ("vfilter { vf fps=1; }", "|-vf|fps=1|"),
    ("vbitrate 5;", "|-b:v|5000|"),
    ("vfps 5;", "|-r|5.00|"),
    ("vwidth 10; vheight 20;", "|-s|10x20|"),
    ("vthreads 7;", "|-threads|7|"),
    ("vprofile main;", "|-profile:v|main|"),
    ("vpreset fast;", "|-preset|fast|"),
    ("vparams { g 7; }", "|-g|7|"),
    ("abitrate 5;", "|-b:a|5000|"),
    ("asample_rate 8000;", "|-ar|8000|"),
    ("achannels 1;", "|-ac|1|"),
    ("aparams { profile:a aac_low; }", "|-profile:a|aac_low|"),
    ("oformat mpegts;", "|-f|mpegts|-y|"),
];

/// Every directive of an engine that changes starts its program anew, with the new words.
#[track_caller]
fn each_directive(server: &Server, work: &Work, conf: impl Fn(&str) -> Conf) {
    let mut starts = work.stand_in.starts(1).len();
    let enabled = "enabled on; vcodec mpeg4; acodec aac; output ./a.flv;";
    let others = [
        ("enabled on; vcodec mpeg4; acodec aac; output ./a.flv;", "|-vcodec|mpeg4|"),
        ("enabled on; vcodec png; acodec aac; output ./a.flv;", "|-vcodec|png|"),
        ("enabled on; vcodec png; acodec mp3; output ./a.flv;", "|-acodec|mp3|"),
        ("enabled on; vcodec png; acodec mp3; output ./b.flv;", "|-y|./b.flv"),
    ];
    let changes = CHANGES.iter().map(|(lines, word)| (format!("{enabled} {lines}"), *word));
    for (lines, word) in others.map(|(lines, word)| (lines.to_owned(), word)).into_iter().chain(changes) {
        server.reload(&conf(&lines));
        starts += 1;
        let said = work.stand_in.starts(starts);
        assert!(said[starts - 1].contains(word), "{lines}: {}", said[starts - 1]);
        await_running(server, 1);
    }
}

#[test]
pub(crate) fn every_directive_of_a_transcoder_counts() {
    let work = Work::new();
    let conf =
        |lines: &str| Conf::vhost(SILENT).and_vhost(&work.transcode("", &format!("engine e {{ {lines} }}")));
    let server = Server::start(&conf("enabled on; vcodec copy; acodec copy; output ./a.flv;"));
    let _publisher = Publisher::start(&server, "live/x");
    each_directive(&server, &work, conf);
    server.reload(&Conf::vhost(&format!("transcode {{ enabled off; ffmpeg {}; }}", work.program())));
    await_alone(&server);
}

#[test]
pub(crate) fn every_directive_of_an_ingest_counts() {
    let work = Work::new();
    let input = "input { type stream; url rtmp://127.0.0.1:1/live/y; }";
    let conf = |lines: &str| Conf::vhost(&work.ingest("a", &format!("{input} engine e {{ {lines} }}")));
    let server = Server::start(&conf("output ./a.flv;"));
    each_directive(&server, &work, conf);
    let starts = work.stand_in.said().len();
    let file = Conf::vhost(&work.ingest("a", "input { type file; url x; } engine { output ./a.flv; }"));
    server.reload(&file);
    assert!(work.stand_in.starts(starts + 1)[starts].contains("|-re|-i|x|-vcodec|copy|"));
    let other = Work::new();
    server.reload(&Conf::vhost(&other.ingest("a", "input { type file; url x; } engine { output ./a.flv; }")));
    other.stand_in.starts(1);
    server.reload(&Conf::vhost("ingest a { enabled off; }"));
    await_alone(&server);
}
