//! The periodic statistics lines in the log.

use crate::harness::api::{clients, text};
use crate::harness::client::{Player, Publisher};
use crate::harness::media::{FlvViewer, Viewer, aac, avc};
use crate::harness::programs::{SILENT, StandIn};
use crate::harness::server::{Conf, Folder, Server};
use crate::harness::{SOON, pause, wait_until};

/// The lines with that text, without what is before it.
fn lines(server: &Server, token: &str) -> Vec<String> {
    let log = server.log();
    log.lines().filter_map(|line| line.find(token).map(|at| line[at..].to_owned())).collect()
}

#[test]
fn each_kind_of_session_has_a_line_per_interval() {
    let server = Server::start(&Conf::default().global("pithy_print_ms 100;"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut player = Player::start(&server, "live/s");
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    let mut serial = 0;
    // Rates are there with the first sample, after three seconds.
    wait_until("there is a line of each kind, with rates", SOON, || {
        publisher.send(9, 10 * serial, &avc(serial % 25 == 0, serial, 4000));
        publisher.send(8, 10 * serial, &aac(serial));
        player.frame();
        viewer.frame();
        serial += 1;
        pause();
        let rate = |token| {
            lines(&server, token).last().is_some_and(|line| {
                let rates = line.split("okbps=").nth(1).unwrap_or("").split(", ").next().unwrap_or("");
                rates.split(',').all(|rate| rate.parse::<u64>().is_ok_and(|rate| rate > 0))
            })
        };
        rate("-> PLA ") && !lines(&server, "<- CPB ").is_empty() && !lines(&server, "-> HTS ").is_empty()
    });
    let shape = |line: &str| line.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let last = |token| lines(&server, token).pop().unwrap();
    assert_eq!(shape(&last("-> PLA ")), "-> PLA time=, msgs=, okbps=,,, ikbps=,,, mw=");
    assert_eq!(shape(&last("<- CPB ")), "<- CPB time=, okbps=,,, ikbps=,,, mr=/, pstpt=, pnt=");
    assert_eq!(shape(&last("-> HTS ")), "-> HTS http: got  msgs, age=, min=, mw=");
    assert!(last("<- CPB ").ends_with("mr=0/350, p1stpt=20000, pnt=5000"));
    // Milliseconds: the session is some seconds old.
    let time = |line: &str| -> u64 {
        let digits = line.split("time=").nth(1).unwrap().split(',').next().unwrap();
        digits.parse().unwrap()
    };
    assert!((500..120_000).contains(&time(&last("-> PLA "))), "{}", last("-> PLA "));
    // Under the id of the session it is about.
    let ids: Vec<String> = clients(&server).iter().map(|client| text(client, "id").to_owned()).collect();
    let log = server.log();
    let line = log.lines().find(|line| line.contains("<- CPB ")).unwrap();
    assert!(line.contains(&format!("[{}] <- CPB", ids[0])), "{line}");
}

#[test]
fn each_kind_of_program_has_a_line_per_interval() {
    let work = Folder::new();
    let stand_in = StandIn::new(work.path(), "stand-in");
    let program = work.path().join("stand-in").display().to_string();
    let engine = |name: &str| {
        format!("engine {name} {{ enabled on; vcodec copy; acodec copy; output ./[stream]_[engine].flv; }}")
    };
    let ingest = |id: &str| {
        let engine = format!("engine {{ output rtmp://127.0.0.1:[port]/live/{id}; }}");
        format!("ingest {id} {{ enabled on; ffmpeg {program}; input {{ url x; }} {engine} }}")
    };
    let conf = Conf::vhost(&format!(
        "{SILENT} {} {} transcode {{ enabled on; ffmpeg {program}; {} {} }}
         exec {{ enabled on; publish {program}; }}",
        ingest("one"),
        ingest("two"),
        engine("a"),
        engine("b"),
    ));
    let server = Server::start(&conf.global("pithy_print_ms 100;"));
    let _publisher = Publisher::start(&server, "live/s");
    let _other = Publisher::start(&server, "live/t");
    stand_in.starts(8);
    // Without the digits of time.
    let shape = |line: &str| match line.split_once('=') {
        Some((before, behind)) => {
            format!("{before}={}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => line.to_owned(),
    };
    let source = |name: &str| format!("input=__defaultVhost__/live/{name}");
    for (token, expected) in [
        ("-> ENC ", ["s", "t"].map(|name| format!("-> ENC time=, encoders=2, {}", source(name)))),
        ("-> EXE ", ["s", "t"].map(|name| format!("-> EXE time=, publish=1, {}", source(name)))),
    ] {
        for line in expected {
            let told = || lines(&server, token).iter().any(|told| shape(told) == line);
            wait_until(&line, SOON, told);
        }
    }
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        let begin = format!("-> IGS time=ms, ingesters=2, #{number}(alive=");
        let end = format!("ms, __defaultVhost__/{name})");
        wait_until(&begin, SOON, || {
            lines(&server, "-> IGS ").iter().any(|line| {
                let line = shape(line);
                line.strip_prefix(&begin)
                    .and_then(|rest| rest.strip_suffix(&end))
                    .is_some_and(|alive| alive.parse::<u64>().is_ok_and(|alive| alive > 0))
            })
        });
    }
}

#[test]
pub(crate) fn their_interval_changes_at_once() {
    let server = Server::start(&Conf::default().global("pithy_print_ms 3600000;"));
    let _player = Player::start(&server, "live/s");
    server.reload(&Conf::default().global("pithy_print_ms 100;"));
    wait_until("there are lines", SOON, || lines(&server, "-> PLA ").len() >= 3);
    assert!(lines(&server, "<- CPB ").is_empty());
    // What the publisher's line says of collected reads is what is configured.
    server.reload(&Conf::vhost("publish { mr on; mr_latency 200; }").global("pithy_print_ms 100;"));
    let _publisher = Publisher::start(&server, "live/s");
    wait_until("the publisher has one", SOON, || {
        lines(&server, "<- CPB ").last().is_some_and(|line| line.contains("mr=1/200,"))
    });
}
