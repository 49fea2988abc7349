//! Who may publish and play: by the page a client comes from and by its address, over RTMP and HTTP alike; and how
//! somebody who may not hears of it.

use crate::harness::client::{Guest, Player, Publisher};
use crate::harness::http::Http;
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};

fn http_status(server: &Server, referer: &str) -> (u16, String) {
    let text = format!("GET /live/s.flv HTTP/1.1\r\nHost: h\r\nReferer: {referer}\r\n\r\n");
    let mut answer = Http::request(server.http_addr(), &text);
    let body = if answer.head.status == 200 { Vec::new() } else { answer.read_to_end(SOON) };
    (answer.head.status, String::from_utf8(body).unwrap())
}

#[track_caller]
fn logged(server: &Server, text: &str) {
    wait_until(text, SOON, || server.log().contains(text));
}

#[test]
fn pages_that_are_not_listed_are_refused() {
    let server = Server::start(&Conf::vhost(
        "refer { enabled on; all github.com github.io; publish studio.github.com; }",
    ));
    let (good, studio) = ("http://x.github.io/player", "https://studio.github.com/");

    assert!(Guest::from_page(&server, "live", good).play("s").is_ok());
    assert!(Guest::from_page(&server, "live", studio).publish("s").is_ok());
    assert_eq!(http_status(&server, good).0, 200);

    for page in ["", "http://evil.com/github.com", "http://github.com.evil.com"] {
        let refused = Guest::from_page(&server, "live", page).play("s").err().unwrap();
        assert_eq!((&*refused.code, refused.closed), ("NetStream.Play.Failed", true), "{page}");
        let (status, body) = http_status(&server, page);
        assert_eq!(status, 403, "{page}");
        assert!(body.contains("page"), "{body}");
    }
    // Good for all is not good for publishing.
    let refused = Guest::from_page(&server, "live", good).publish("t").err().unwrap();
    assert_eq!((&*refused.code, refused.closed), ("NetStream.Publish.Denied", true));
    logged(&server, "serve error code=2015");
}

#[test]
fn addresses_that_are_not_allowed_are_refused() {
    let conf = Conf::vhost("security { enabled on; deny publish 127.0.0.0/8; allow play 127.0.0.1; }")
        .vhosts(
            "vhost nobody.com { security { enabled on; } http_remux { enabled on; } }
         vhost others.com { security { enabled on; allow publish all; allow play 10.0.0.0/8; allow play ::1; }
             http_remux { enabled on; } }",
        );
    let server = Server::start(&conf);
    assert!(Player::ask(&server, "live/s").is_ok());
    assert_eq!(http_status(&server, "").0, 200);
    let refused = Publisher::ask(&server, "live/s").err().unwrap();
    assert_eq!((&*refused.code, refused.closed), ("NetStream.Publish.Denied", true));
    logged(&server, "serve error code=1053");

    let at = |vhost: &str| format!("live?vhost={vhost}");
    let play = |vhost: &str| Player::ask_at(&server, &server.rtmp(&at(vhost)), "live", "s");
    assert_eq!(play("nobody.com").err().unwrap().code, "NetStream.Play.Failed");
    assert_eq!(play("others.com").err().unwrap().code, "NetStream.Play.Failed");
    logged(&server, "serve error code=1054");
    assert!(Publisher::ask_at(&server, &server.rtmp(&at("others.com")), "live", "s").is_ok());
    for vhost in ["nobody.com", "others.com"] {
        let answer = Http::get(server.http_addr(), &format!("/live/s.flv?vhost={vhost}"));
        assert_eq!(answer.head.status, 403, "{vhost}");
    }
}

#[test]
fn a_guard_that_works_is_not_warned_of() {
    let guards = "security { enabled on; allow play all; allow publish all; }
        refer { enabled on; } http_hooks { enabled on; } bandcheck { enabled off; key k; }";
    let server = Server::start(&Conf::vhost(guards));
    let _publisher = Publisher::start(&server, "live/s");
    assert!(!server.log().contains("NOT restricted"), "{}", server.log());
}

#[test]
fn the_examples_do_what_they_say() {
    let server = Server::example("security.deny.publish.conf", |text| text);
    assert_eq!(Publisher::ask(&server, "live/s").err().unwrap().code, "NetStream.Publish.Denied");
    Player::start(&server, "live/s");
    assert_eq!(http_status(&server, "").0, 200);

    let server = Server::example("refer.conf", |text| text);
    assert!(Guest::from_page(&server, "live", "http://me.github.io/").play("s").is_ok());
    assert!(Guest::from_page(&server, "live", "http://me.github.io/").publish("s").is_err());
    assert!(Guest::from_page(&server, "live", "http://studio.github.com/").publish("s").is_ok());
    assert_eq!(http_status(&server, "http://me.github.io/").0, 200);
    assert_eq!(http_status(&server, "http://elsewhere.com/").0, 403);
}

#[test]
pub(crate) fn other_rules_are_for_those_who_come() {
    let vhost = |lines: &str| Conf::vhost(&format!("publish {{ normal_timeout 60000; }} {lines}"));
    let server = Server::start(&vhost(""));
    let mut player = Player::start(&server, "live/s");
    let may = |page: &str| {
        let plays = Guest::from_page(&server, "live", page).play("s").is_ok();
        let publishes = Guest::from_page(&server, "live", page).publish("t").is_ok();
        (plays, publishes)
    };
    assert_eq!(may("http://a.com/"), (true, true));
    for (lines, a, b) in [
        ("refer { enabled on; all a.com; }", (true, true), (false, false)),
        ("refer { enabled on; play a.com; publish b.com; }", (true, false), (false, true)),
        ("refer { enabled off; all a.com; }", (true, true), (true, true)),
        ("security { enabled on; deny publish all; allow play all; }", (true, false), (true, false)),
        ("security { enabled on; allow publish 127.0.0.1; }", (false, true), (false, true)),
        ("security { enabled off; deny play all; }", (true, true), (true, true)),
    ] {
        server.reload(&vhost(lines));
        assert_eq!((may("http://a.com/"), may("http://b.com/")), (a, b), "{lines}");
    }
    assert!(!player.is_closed(std::time::Duration::from_millis(10)), "who is here stays");
}
