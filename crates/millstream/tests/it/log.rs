//! The log: nothing is lost when it is rotated, it is never silent, and a reader who sleeps stops no media.

use crate::harness::client::{Player, Publisher};
use crate::harness::http::{Got, Raw};
use crate::harness::media::{Viewer, avc, avc_header};
use crate::harness::process::Process;
use crate::harness::server::{Conf, Folder, Server, binary};
use crate::harness::{SOON, pause, wait_until};
use rustix::fs::OFlags;
use rustix::process::Signal;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server with these log settings instead of the console; `srs.conf` and the log lie in its folder.
fn logging(lines: &str, prepare: impl Fn(&Path)) -> Server {
    Server::start_with(|command, ports, dir| {
        prepare(dir);
        let text =
            Conf::default().text(ports, dir).replace("srs_log_tank console;\nsrs_log_level trace;", lines);
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    })
}

const TO_FILE: &str = "srs_log_tank file; srs_log_file log/srs.log;";

fn read(server: &Server, name: &str) -> String {
    std::fs::read_to_string(server.dir().join(name)).unwrap_or_default()
}

#[test]
fn rotation_loses_no_line() {
    let server = logging(TO_FILE, |_| ());
    let (log, mut files) = (server.dir().join("log/srs.log"), Vec::new());
    for round in 0..4 {
        for n in 0..10 {
            drop(Publisher::start(&server, &format!("live/stream-{round}-{n}.")));
        }
        let old = server.dir().join(format!("log/srs.log.{round}"));
        std::fs::rename(&log, &old).unwrap();
        server.signal(Signal::USR1);
        // Lines of these may go to either file.
        drop(Publisher::start(&server, &format!("live/between-{round}.")));
        wait_until("there is a new file", SOON, || log.exists());
        files.push(old);
    }
    let last = Publisher::start(&server, "live/last.");
    wait_until("the new file is written", SOON, || read(&server, "log/srs.log").contains("live/last."));
    drop(last);
    files.push(log);
    let texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    for (round, text) in texts.iter().enumerate() {
        assert!(text.ends_with('\n') && text.lines().all(|line| line.starts_with('[')), "{text}");
        assert!(round == 0 || text.contains("signo=10"), "{text}");
        for n in (0..10).filter(|_| round < 4) {
            let name = format!("live/stream-{round}-{n}.");
            let holders: Vec<usize> = (0..texts.len()).filter(|n| texts[*n].contains(&name)).collect();
            assert_eq!(holders.first(), Some(&round), "{name}");
        }
    }
    for round in 0..4 {
        let name = format!("live/between-{round}.");
        assert!(texts.iter().any(|text| text.contains(&name)), "{name}");
    }
}

#[test]
fn a_file_that_cannot_be_opened_again_leaves_the_old_one_in_use() {
    let mut server = logging(TO_FILE, |_| ());
    let log = server.dir().join("log/srs.log");
    wait_until("there is a log", SOON, || read(&server, "log/srs.log").contains("listen at"));
    std::fs::rename(&log, server.dir().join("log/old")).unwrap();
    std::fs::create_dir(&log).unwrap();
    server.signal(Signal::USR1);
    wait_until("standard error says so", SOON, || server.log().contains("cannot be opened"));
    let _publisher = Publisher::start(&server, "live/afterwards");
    wait_until("the old file goes on", SOON, || read(&server, "log/old").contains("live/afterwards"));
    assert!(read(&server, "log/old").contains("the log stays in the file that is open"));
    assert!(server.alive());
}

#[test]
fn a_file_that_cannot_be_opened_at_the_start_is_an_error() {
    let dir = Folder::new();
    let conf = dir.path().join("srs.conf");
    let text = "listen 127.0.0.1:1; daemon off; pid /dev/null; srs_log_file /proc/no/such.log;";
    std::fs::write(&conf, text).unwrap();
    let done = Process::run(binary().arg("-c").arg(&conf).current_dir(dir.path()), SOON);
    assert_eq!(done.status.code(), Some(255), "{}", done.text());
    assert!(done.stderr().contains("/proc/no/such.log"), "{}", done.text());
}

#[test]
fn an_unknown_level_is_told_and_the_log_is_there() {
    for name in ["srs_log_level", "srs_log_level_v2"] {
        let server = logging(&format!("srs_log_tank console; {name} loud;"), |_| ());
        let _publisher = Publisher::start(&server, "live/s");
        wait_until("the log names the stream", SOON, || server.log().contains("live/s"));
        let log = server.log();
        assert!(log.contains("`loud` is read as `") && log.contains("[Trace]"), "{log}");
    }
}

#[test]
fn the_least_severe_level_is_the_one_asked_for() {
    let server = logging("srs_log_tank console; srs_log_level warn;", |_| ());
    drop(Publisher::start(&server, "live/s"));
    server.signal(Signal::USR1);
    wait_until("a warning comes", SOON, || server.log().contains("reopen the log file"));
    assert!(!server.log().contains("[Trace]"), "{}", server.log());
}

#[test]
fn json_lines_are_json() {
    let server = logging("srs_log_tank file; srs_log_file srs.log; srs_log_format json;", |_| ());
    let _publisher = Publisher::start(&server, "live/\"quoted\\ö");
    wait_until("the log names the stream", SOON, || read(&server, "srs.log").contains("start publish"));
    let lines = read(&server, "srs.log");
    let values: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for value in &values {
        assert_eq!(value["pid"], server.pid(), "{value}");
        assert!(value["time"].as_str().is_some_and(|t| t.len() == "2026-01-31T12:00:00.123+01:00".len()));
        assert!(["info", "warn"].contains(&value["level"].as_str().unwrap()), "{value}");
        assert!(value["message"].is_string() && value["cid"].is_u64(), "{value}");
    }
    let of_stream = |value: &&serde_json::Value| value["message"].as_str().unwrap().contains("\"quoted\\ö");
    let cids: Vec<u64> = values.iter().filter(of_stream).map(|v| v["cid"].as_u64().unwrap()).collect();
    assert!(!cids.is_empty() && cids.iter().all(|cid| *cid == cids[0] && *cid >= 100), "{cids:?}");
}

#[test]
fn what_a_stranger_sends_cannot_forge_a_line_or_move_a_cursor() {
    let server = Server::plain();
    let mut raw = Raw::connect(server.http_addr());
    raw.send(b"GET /live/\x1b[2Jforged.flv HTTP/1.1\r\nHost: x\r\n\r\n");
    raw.receive(SOON);
    let name = "x\n[2026-01-31 12:00:00.123][Error][1][1][0] forged";
    let _refused = Publisher::ask(&server, &format!("live/{name}"));
    let _publisher = Publisher::start(&server, "live/honest");
    wait_until("the log names the stream", SOON, || server.log().contains("live/honest"));
    assert!(!server.log().lines().any(|line| line.starts_with("[2026-01-31 12:00:00.123]")));
    assert!(!server.log().contains("\x1b[2J"));
}

/// Reads what there is, at most until the text has come.
fn drain(pipe: &mut File, text: &str) -> String {
    let (mut all, end) = (Vec::new(), Instant::now() + SOON);
    let mut buffer = vec![0; 1 << 16];
    while Instant::now() < end {
        match pipe.read(&mut buffer) {
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => pause(),
            Err(e) => panic!("{e}"),
        }
        let tail = all.len().saturating_sub(1 << 17);
        if String::from_utf8_lossy(&all[tail..]).contains(text) {
            break;
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_reader_who_sleeps_costs_lines_and_no_media() {
    let pipe = |dir: &Path| dir.join("pipe");
    let open = |path: &Path| {
        let flags = OFlags::NONBLOCK.bits() as i32;
        File::options().read(true).custom_flags(flags).open(path).unwrap()
    };
    let reader = std::cell::RefCell::new(None);
    let server = logging("srs_log_tank file; srs_log_file ./pipe;", |dir| {
        let made = Process::run(std::process::Command::new("mkfifo").arg(pipe(dir)), SOON);
        assert!(made.status.success(), "{}", made.text());
        *reader.borrow_mut() = Some(open(&pipe(dir)));
    });
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    let mut player = Player::start(&server, "live/s");

    // Each request is a line of four kilobytes: together more than what may wait.
    let before = server.rss_kb();
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(5000));
    let mut raw = Raw::connect(server.http_addr());
    let mut answers = Vec::new();
    let mut receive = |raw: &mut Raw| {
        while let Got::Bytes(bytes) = raw.receive(Duration::from_millis(1)) {
            answers.extend_from_slice(&bytes);
        }
        String::from_utf8_lossy(&answers).matches("HTTP/1.1 404").count()
    };
    for n in 0..3000_u32 {
        assert!(raw.send(request.as_bytes()));
        if n.is_multiple_of(20) {
            receive(&mut raw);
            publisher.send(9, n, &avc(n.is_multiple_of(200), n, 1000));
            player.until_serial(n);
        }
    }
    wait_until("all requests are answered", SOON, || receive(&mut raw) == 3000);
    // The buffer, twice, is all that it has cost.
    let growth = server.rss_kb().saturating_sub(before);
    assert!(growth < 40 << 10, "{growth} kB for a log that nobody reads");

    let mut reader = reader.into_inner().unwrap();
    let text = drain(&mut reader, "lines of the log are lost");
    let lost =
        text.lines().find(|line| line.contains("lines of the log are lost")).expect("the loss is told");
    let count = lost.split(' ').find_map(|word| word.parse::<usize>().ok());
    let written = text.lines().filter(|line| line.contains("HTTP GET /xxx")).count();
    assert!(count.is_some_and(|lost| lost + written == 3000), "{lost}, {written} written");
    assert!(text.lines().all(|line| line.len() < 4096), "a line is longer than SRS's");
    // And it goes on.
    drop(Publisher::start(&server, "live/afterwards"));
    assert!(drain(&mut reader, "live/afterwards").contains("live/afterwards"));
}

#[test]
fn a_console_that_is_not_read_does_not_hold_up_the_end() {
    let dir = Folder::new();
    let pipe = dir.path().join("pipe");
    assert!(Process::run(std::process::Command::new("mkfifo").arg(&pipe), SOON).status.success());
    let flags = OFlags::NONBLOCK.bits() as i32;
    let _reader = File::options().read(true).custom_flags(flags).open(&pipe).unwrap();
    // Full before the server writes its first line.
    let mut filler = File::options().write(true).custom_flags(flags).open(&pipe).unwrap();
    while std::io::Write::write(&mut filler, &[b'x'; 4096]).is_ok() {}
    let conf = dir.path().join("srs.conf");
    let port = crate::harness::server::Ports::free().rtmp;
    let text = format!("listen 127.0.0.1:{port}; daemon off; pid ./srs.pid; srs_log_tank console;");
    std::fs::write(&conf, text).unwrap();
    let mut command = binary();
    command.arg("-c").arg(&conf).current_dir(dir.path());
    command.stdout(File::options().write(true).open(&pipe).unwrap());
    let mut server = command.spawn().unwrap();
    wait_until("it serves", SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    wait_until("it ends", Duration::from_secs(5), || server.try_wait().unwrap().is_some());
}

#[test]
fn a_crowd_that_is_turned_away_does_not_fill_the_log() {
    let server = Server::start_with(|command, ports, dir| {
        let text = Conf::default().text(ports, dir).replace("max_connections 1500", "max_connections 5");
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let (begun, token) = (Instant::now(), "exceed connection limits");
    let crowd: Vec<Raw> = (0..300).map(|_| Raw::connect(server.rtmp_addr())).collect();
    wait_until("most are closed", SOON, || server.log().contains(token));
    drop(crowd);
    // A later one counts them all.
    let counted = |log: &str| {
        let last = log.lines().rfind(|line| line.contains(token)).unwrap();
        last.rsplit_once("refused=").unwrap().1.parse::<u32>().unwrap()
    };
    wait_until("a line counts them", SOON, || {
        let _crowd: Vec<Raw> = (0..10).map(|_| Raw::connect(server.rtmp_addr())).collect();
        counted(&server.log()) >= 295
    });
    let lines = server.log().lines().filter(|line| line.contains(token)).count() as u64;
    assert!(lines <= begun.elapsed().as_secs() + 2, "{lines} lines");
    assert!(server.log().contains("code=1074"));
}

#[test]
pub(crate) fn everything_about_the_log_changes_at_once() {
    let server = Server::start_with(|command, ports, dir| {
        std::fs::write(dir.join("srs.conf"), Conf::default().text(ports, dir)).unwrap();
        // Five hours before UTC.
        command.args(["-c", "srs.conf"]).env("TZ", "XXX5");
    });
    let conf = Conf::default().text(server.ports(), server.dir());
    let with = |lines: &str| {
        server.write(&conf.replace("srs_log_tank console;\nsrs_log_level trace;", lines));
        server.signal(Signal::HUP);
    };
    let comes = |name: &str, text: &str| wait_until(text, SOON, || read(&server, name).contains(text));
    // To a file, and to another.
    with("srs_log_tank file; srs_log_file a.log;");
    comes("a.log", "reload config success.");
    with("srs_log_tank file; srs_log_file b.log; srs_log_format json; utc_time on;");
    comes("b.log", "reload config success.");
    let hour = |line: &str| line.split(['T', ' ']).nth(1).unwrap()[..2].parse::<u32>().unwrap();
    let local = read(&server, "a.log").lines().last().map(hour).unwrap();
    let line = read(&server, "b.log").lines().last().unwrap().to_owned();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    let utc = hour(json["time"].as_str().unwrap());
    assert!([5, 6].contains(&((24 + utc - local) % 24)), "{local} is local, {utc} UTC");
    // Fewer lines, more lines, in both kinds of words; the newer win.
    let said_of_a_client = |name: &str, lines: &str, stream: &str| {
        with(&format!("srs_log_tank file; srs_log_file {name}; {lines}"));
        wait_until("the log is there", SOON, || server.dir().join(name).exists());
        let stream = format!("live/{stream}");
        drop(Publisher::start(&server, &stream));
        stream
    };
    said_of_a_client("c.log", "srs_log_level error;", "quiet");
    let stream = said_of_a_client("d.log", "srs_log_level error; srs_log_level_v2 info;", "loud");
    comes("d.log", &stream);
    assert!(!read(&server, "c.log").contains("live/quiet"), "{}", read(&server, "c.log"));
    // Back on the console.
    with("srs_log_tank console;");
    wait_until("the console speaks", SOON, || server.log().matches("reload config success.").count() == 1);
}

#[test]
pub(crate) fn the_pid_file_moves_and_keeps_its_lock_under_any_name() {
    let server = Server::plain();
    let (dir, pid) = (server.dir().to_owned(), server.pid().to_string());
    let conf = Conf::default().text(server.ports(), &dir);
    let named = |name: &str| conf.replace("/srs.pid", name);
    let holds = |name: &str| std::fs::read_to_string(dir.join(name)).is_ok_and(|text| text == pid);
    assert!(holds("srs.pid"));
    assert!(server.try_reload(&named("/run/new.pid")).contains("reload pid success"));
    assert!(holds("run/new.pid") && !dir.join("srs.pid").exists());
    // The same file, written otherwise: a second server is still refused.
    let other = named("/run/../run/new.pid");
    assert!(server.try_reload(&other).contains("reload config success."));
    assert!(holds("run/new.pid"));
    let second = Process::run(binary().current_dir(&dir).args(["-c", "srs.conf"]), SOON);
    assert_eq!(second.status.code(), Some(11), "{}", second.text());
    // A reload that is refused locks nothing.
    let log = server.try_reload(
        &named("/run/third.pid")
            .replace("srs_log_tank console;", "srs_log_tank file; srs_log_file /proc/no/log;"),
    );
    assert!(log.contains("reload config failed"), "{log}");
    assert!(holds("run/new.pid") && !dir.join("run/third.pid").exists());
}
