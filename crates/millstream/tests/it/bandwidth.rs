//! The bandwidth test: our client against our server, who may have one, and peers that do not play by its rules.

use crate::harness::client::{Guest, Player};
use crate::harness::process::{Finished, Process};
use crate::harness::server::{Conf, Server, binary};
use crate::harness::{SOON, wait_until};
use std::time::{Duration, Instant};

const LENGTH: Duration = Duration::from_secs(30);

fn server(bandcheck: &str) -> Server {
    let vhost = format!("vhost test.com {{ bandcheck {{ enabled on; key \"secret\"; {bandcheck} }} }}");
    Server::start(&Conf::default().vhosts(&vhost))
}

fn test(server: &Server, query: &str) -> Finished {
    Process::run(binary().args(["bandwidth", &server.rtmp(&format!("app?{query}"))]), LENGTH)
}

/// Kilobits per second behind that word.
#[track_caller]
fn rate(said: &str, word: &str) -> f64 {
    let line =
        said.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word}: {said}"));
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn both_directions_are_measured_and_limited() {
    let server = server("interval 0; limit_kbps 2000;");
    let done = test(&server, "vhost=test.com&key=secret");
    assert!(done.status.success(), "{}", done.text());
    for word in ["upload", "download"] {
        let kbps = rate(&done.stdout(), word);
        assert!((1000.0..3000.0).contains(&kbps), "{}", done.stdout());
    }
    // Streams go on beside it, and the vhost has none.
    Player::start(&server, "live/s");
    wait_until("it is logged", SOON, || server.log().contains("bandcheck finished, play_kbps="));
    assert!(!server.log().contains("secret"));
}

#[test]
fn without_the_key_or_too_soon_there_is_none() {
    let server = server("interval 300; limit_kbps 100;");
    for query in ["vhost=test.com", "vhost=test.com&key=wrong", "vhost=test.com&key=secret2"] {
        let done = test(&server, query);
        assert!(done.stderr().contains("bandcheck rejected"), "{query}: {}", done.text());
        assert!(!done.status.success());
    }
    wait_until("it is logged", SOON, || server.log().contains("serve error code=1032"));
    // One begins and counts, though it leaves at once.
    drop(Guest::start(&server, "app?vhost=test.com&key=secret"));
    let done = test(&server, "vhost=test.com&key=secret");
    assert!(done.stderr().contains("bandcheck rejected"), "{}", done.text());
    wait_until("it is logged", SOON, || server.log().contains("serve error code=1033"));
    let done = test(&server, "key=secret");
    assert!(done.stderr().contains("no bandwidth test"), "{}", done.text());
    let done = Process::run(binary().args(["bandwidth", "nonsense"]), SOON);
    assert!(!done.status.success() && !done.stderr().is_empty());
}

#[test]
fn who_does_not_answer_is_closed() {
    let server = server("interval 0; limit_kbps 1000;");
    let begun = Instant::now();
    let mut silent = Guest::start(&server, "app?vhost=test.com&key=secret");
    // Nor does it help to talk of something else.
    let mut talker = Guest::start(&server, "app?vhost=test.com&key=secret");
    assert!(talker.babble(Duration::from_secs(20)), "closed while it talks");
    assert!(silent.is_closed(SOON));
    assert!(begun.elapsed() >= Duration::from_secs(5));
    wait_until("it is logged", SOON, || server.log().contains("serve error code=1011"));
}

#[test]
fn the_example_does_what_it_says() {
    let server = Server::example("bandwidth.conf", |text| text.replace("4000", "200000"));
    let done = test(&server, "key=35c9b402c12a7246868752e2878f7e0e&vhost=bandcheck.srs.com");
    assert!(done.status.success(), "{}", done.text());
    // Nothing but the limit holds it up, on a line that carries more than any limit of a test.
    assert!(rate(&done.stdout(), "download") > 2000.0 && rate(&done.stdout(), "upload") > 2000.0);
    let done = test(&server, "key=35c9b402c12a7246868752e2878f7e0e&vhost=bandcheck.srs.com");
    assert!(done.stderr().contains("bandcheck rejected"), "{}", done.text());
}

#[test]
pub(crate) fn a_vhost_begins_to_test_and_other_limits_hold_for_the_next_test() {
    let server = Server::start(&Conf::default().vhosts("vhost test.com { }"));
    let with = |lines: &str| {
        server.reload(&Conf::default().vhosts(&format!("vhost test.com {{ bandcheck {{ {lines} }} }}")));
    };
    let query = "vhost=test.com&key=secret";
    assert!(!test(&server, query).status.success());
    with("enabled on; key other; interval 0; limit_kbps 2000;");
    assert!(test(&server, query).stderr().contains("bandcheck rejected"));
    with("enabled on; key secret; interval 0; limit_kbps 2000;");
    let done = test(&server, query);
    assert!(rate(&done.stdout(), "download") > 1000.0, "{}", done.text());
    with("enabled on; key secret; interval 0; limit_kbps 200;");
    let done = test(&server, query);
    assert!(rate(&done.stdout(), "download") < 500.0, "{}", done.text());
    with("enabled on; key secret; interval 300; limit_kbps 200;");
    assert!(test(&server, query).stderr().contains("bandcheck rejected"), "too soon");
    with("enabled off; key secret;");
    assert!(test(&server, query).stderr().contains("no bandwidth test"));
}
