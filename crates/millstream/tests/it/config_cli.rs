//! The command line: flags of SRS, a configuration that is tested before anything is bound, and mistakes that
//! are told all at once, each with its place.

use crate::harness::client::{Player, Publisher};
use crate::harness::process::{Finished, Process};
use crate::harness::server::{Conf, Folder, Ports, Server, binary};
use crate::harness::{SOON, wait_until};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

fn run(args: &[&str]) -> Finished {
    Process::run(binary().args(args), SOON)
}

/// A configuration file in a folder of its own.
fn written(text: &str) -> (Folder, String) {
    let dir = Folder::new();
    let file = dir.path().join("srs.conf");
    std::fs::write(&file, text).unwrap();
    let name = file.to_str().expect("target's path is text").to_string();
    (dir, name)
}

fn test_of(text: &str) -> Finished {
    let (_dir, file) = written(text);
    run(&["-t", "-c", &file])
}

const GOOD: &str = "listen 1935;
max_connections 100;
vhost __defaultVhost__ {
    play { gop_cache off; }
}
";

#[test]
fn a_good_file_is_ok() {
    let (_dir, file) = written(GOOD);
    for args in [&["-t", "-c", &file][..], &["-c", &file, "-t"], &["-tc", &file]] {
        let done = run(args);
        assert_eq!(done.status.code(), Some(0), "{args:?}: {}", done.text());
        assert!(done.text().contains("ok"), "{args:?}: {}", done.text());
    }
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_line() {
    let done = test_of(
        "listen 1935;
max_connections none;
lisen 1936;
vhost __defaultVhost__ {
    play {
        gop_cash off;
    }
    hls {
        hls_fragmnet 10;
    }
}
",
    );
    assert_ne!(done.status.code(), Some(0));
    let text = plain(&done.text());
    for (line, word) in [(2, "none"), (3, "lisen"), (6, "gop_cash"), (9, "hls_fragmnet")] {
        assert!(text.contains(&format!("srs.conf:{line}:")), "line {line} is missing:\n{text}");
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    // The nearest known name is offered.
    for word in ["gop_cache", "hls_fragment", "listen"] {
        let offered = text.match_indices(word).any(|(at, _)| !text[at + word.len()..].starts_with('_'));
        assert!(offered, "{word} is not offered:\n{text}");
    }
}

#[test]
fn broken_grammar_is_told_with_its_line() {
    for (text, line) in [
        ("listen 1935;\nvhost a {\n", 2),
        ("listen 1935;\n}\n", 2),
        ("listen 1935;\npid \"x;\n", 2),
        ("listen 1935;\nvhost a {\n  enabled on }\n", 3),
        ("listen 1935;\npid \"a\"b;\n", 2),
    ] {
        let done = test_of(text);
        assert!(done.status.code().is_some_and(|code| code != 0), "{text:?}: {}", done.status);
        let said = plain(&done.text());
        assert!(said.contains(&format!("srs.conf:{line}:")), "{text:?}:\n{said}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    for text in ["", "# nothing\n", "\n\n"] {
        let done = test_of(text);
        assert!(done.status.code().is_some_and(|code| code != 0), "{text:?}: {}", done.text());
    }
    let done = run(&["-t", "-c", "there/is/no/such.conf"]);
    assert!(done.status.code().is_some_and(|code| code != 0));
    assert!(done.text().contains("there/is/no/such.conf"), "{}", done.text());
}

#[test]
fn any_bytes_as_a_file_end_in_an_answer() {
    let mut noise = crate::harness::Noise::new(11);
    for length in [1, 100, 10_000] {
        let dir = Folder::new();
        let file = dir.path().join("srs.conf");
        std::fs::write(&file, noise.bytes(length)).unwrap();
        let done = Process::run(binary().args(["-t", "-c"]).arg(&file), SOON);
        assert!(done.status.code().is_some_and(|code| code != 0 && code != 101), "{}", done.text());
    }
    // Nested deeper than any stack.
    let done = test_of(&"vhost a {\n".repeat(200_000));
    assert!(done.status.code().is_some_and(|code| code != 0), "{}", done.status);
}

#[test]
fn a_bad_file_does_not_start_a_server() {
    let ports = Ports::free();
    let (_dir, file) = written(&format!("listen 127.0.0.1:{}; daemon off;\nnonsense on;\n", ports.rtmp));
    let done = run(&["-c", &file]);
    assert!(done.status.code().is_some_and(|code| code != 0), "{}", done.text());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, ports.rtmp)).is_err());
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, Ports::free().rtmp)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (dir, file) =
        written(&format!("listen 127.0.0.1:{port}; daemon off; srs_log_tank console; pid ./srs.pid;\n"));
    let done = Process::run(binary().args(["-c", &file]).current_dir(dir.path()), SOON);
    assert!(done.status.code().is_some_and(|code| code != 0), "{}", done.text());
    assert!(done.text().contains(&port.to_string()), "{}", done.text());
}

#[test]
fn version_and_help_are_answered() {
    let version = run(&["-v"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(version.text().contains(env!("CARGO_PKG_VERSION")), "{}", version.text());
    for flag in ["-h", "--help"] {
        let help = run(&[flag]);
        assert_eq!(help.status.code(), Some(0), "{flag}");
        for word in ["-c", "-t", "-v", "demo"] {
            assert!(help.stdout().contains(word), "{flag} does not explain {word}:\n{}", help.stdout());
        }
    }
}

#[test]
fn answers_go_to_standard_output_and_values_may_be_glued() {
    for (flag, word) in [("-v", env!("CARGO_PKG_VERSION")), ("-g", "Millstream/"), ("--version", ".")] {
        let done = run(&[flag]);
        assert_eq!(done.status.code(), Some(0), "{flag}");
        assert!(done.stdout().contains(word) && done.stderr().is_empty(), "{flag}: {}", done.text());
    }
    let (_dir, file) = written(GOOD);
    assert_eq!(run(&["-t", &format!("-c{file}")]).status.code(), Some(0));
}

#[test]
fn what_crashed_or_was_refused_in_srs_is_fine() {
    for (lines, warned) in [
        ("chunk_size 1;", "128 is used for `1`"),
        ("chunk_size 100000; vhost a { chunk_size 7; }", "65536 is used for `100000`"),
        ("listen 0.0.0.0:1935 [::]:1935;", ""),
    ] {
        let listen = if lines.starts_with("listen") { "" } else { "listen 1935;" };
        let done = test_of(&format!("{listen}\n{lines}\n"));
        assert_eq!(done.status.code(), Some(0), "{lines}: {}", done.text());
        assert!(done.stderr().contains(warned), "{lines}: {}", done.text());
    }
}

#[test]
fn a_directive_is_explained_or_the_nearest_named() {
    let done = run(&["config", "explain", "vhost.play.gop_cache"]);
    assert_eq!(done.status.code(), Some(0), "{}", done.text());
    for word in ["gop_cache", "on or off", "SRS_VHOST_PLAY_GOP_CACHE", "at once", "works"] {
        assert!(done.stdout().replace('`', "").contains(word), "{word}: {}", done.stdout());
    }
    assert_eq!(run(&["config", "explain", "gop_cache"]).stdout(), done.stdout());
    let done = run(&["config", "explain", "gop_cash"]);
    assert_eq!(done.status.code(), Some(255));
    assert!(done.stderr().contains("`gop_cache`") && done.stdout().is_empty(), "{}", done.text());
}

#[test]
fn unknown_flags_and_missing_values_are_errors() {
    for args in [&["--no-such-flag"][..], &["-c"], &["-Z"]] {
        let done = run(args);
        assert!(done.status.code().is_some_and(|code| code != 0), "{args:?}: {}", done.text());
        assert!(!done.stderr().is_empty() || !done.stdout().is_empty(), "{args:?} says nothing");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    // The file's own port is taken from it: only the variable's answers.
    let server = Server::start_with(|command, ports, dir| {
        let text = Conf::vhost("play { gop_cache on; }").text(ports, dir);
        let elsewhere = Ports::free();
        let text = text.replace(
            &format!("listen 127.0.0.1:{};\nmax", ports.rtmp),
            &format!("listen {};\nmax", elsewhere.rtmp),
        );
        assert!(text.contains(&elsewhere.rtmp.to_string()));
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
        command.env("SRS_LISTEN", format!("127.0.0.1:{}", ports.rtmp));
        command.env("SRS_VHOST_PLAY_GOP_CACHE", "off");
    });
    let _publisher = Publisher::start(&server, "live/s");
    Player::start(&server, "live/s");
}

#[test]
fn the_environment_alone_is_a_configuration() {
    let server = Server::start_with(|command, ports, _| {
        command.arg("-e");
        command.env("SRS_LISTEN", format!("127.0.0.1:{}", ports.rtmp));
        command.env("SRS_HTTP_SERVER_ENABLED", "on");
        command.env("SRS_HTTP_SERVER_LISTEN", format!("127.0.0.1:{}", ports.http));
        command.env("SRS_VHOST_HTTP_REMUX_ENABLED", "on");
    });
    let _publisher = Publisher::start(&server, "live/s");
    Player::start(&server, "live/s");
}

#[test]
fn a_bad_value_in_the_environment_is_named() {
    let (dir, file) = written(GOOD);
    let done = Process::run(
        binary().args(["-t", "-c", &file]).current_dir(dir.path()).env("SRS_MAX_CONNECTIONS", "many"),
        SOON,
    );
    assert!(done.status.code().is_some_and(|code| code != 0), "{}", done.text());
    assert!(done.text().contains("SRS_MAX_CONNECTIONS"), "{}", done.text());
}

#[test]
fn included_files_are_read_and_their_mistakes_placed() {
    let dir = Folder::new();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("srs.conf", "listen 1935;\ninclude vhost.conf;\n");
    put("vhost.conf", "vhost __defaultVhost__ {\n    play { gop_cash on; }\n}\n");
    let done = Process::run(binary().args(["-t", "-c", "srs.conf"]).current_dir(dir.path()), SOON);
    assert!(done.status.code().is_some_and(|code| code != 0), "{}", done.text());
    assert!(plain(&done.text()).contains("vhost.conf:2:"), "{}", done.text());
}

#[test]
fn the_log_goes_to_a_file_when_asked() {
    let server = Server::start_with(|command, ports, dir| {
        let text = Conf::default()
            .text(ports, dir)
            .replace("srs_log_tank console", "srs_log_tank file; srs_log_file ./srs.log");
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    });
    let _publisher = Publisher::start(&server, "live/log-me");
    let file = server.dir().join("srs.log");
    wait_until("the log file names the stream", SOON, || read(&file).contains("log-me"));
    // SRS's layout: [time][level][pid][context] text.
    let pid = server.pid().to_string();
    let log = read(&file);
    let line = log.lines().find(|line| line.contains("log-me")).unwrap();
    let fields: Vec<&str> = line.trim_start_matches('[').splitn(5, "][").collect();
    assert!(fields.len() >= 4 && fields[0].len() == "2020-01-01 00:00:00.000".len(), "{line}");
    assert_eq!(fields[2], pid, "{line}");
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// Without the colours of a terminal.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\x1b') {
        out += before;
        rest = escape.split_once('m').map_or("", |(_, after)| after);
    }
    out + rest
}
