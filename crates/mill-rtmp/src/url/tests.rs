//! The forms of vhosts SRS 3.0 users write, observed on a running 3.0, and what is refused.

use super::*;

#[track_caller]
fn ok(tc_url: &str, stream: &str) -> Target {
    resolve(tc_url, stream).unwrap_or_else(|error| panic!("{tc_url} {stream}: {error}"))
}

/// `app` behind `rtmp://h/`, and the stream; expected vhost, app, stream, parameters.
#[track_caller]
fn check(app: &str, stream: &str, expected: [&str; 4]) {
    let target = ok(&format!("rtmp://h/{app}"), stream);
    assert_eq!([&*target.vhost, &*target.app, &*target.stream, &*target.param], expected, "{app} {stream}");
}

#[test]
fn the_vhost_hides_in_many_places() {
    check("live", "s", ["h", "live", "s", ""]);
    check("live?vhost=a.com", "s", ["a.com", "live", "s", "?vhost=a.com"]);
    check("live...vhost...a.com", "s", ["a.com", "live", "s", ""]);
    check("live,vhost,a.com", "s", ["a.com", "live", "s", ""]);
    check("live&vhost=a.com", "s", ["a.com", "live", "s", ""]);
    check("live&&vhost=a.com", "s", ["a.com", "live", "s", ""]);
    check("live?a=b&vhost=a.com", "s", ["a.com", "live", "s", "?a=b&vhost=a.com"]);
    check("live", "s?vhost=a.com", ["a.com", "live", "s", "?vhost=a.com"]);
    check("live", "s?k=v&vhost=a.com&z=1", ["a.com", "live", "s", "?k=v&vhost=a.com&z=1"]);
    check("live", "s...vhost...a.com", ["a.com", "live", "s", ""]);
    check("live", "s,vhost,a.com", ["a.com", "live", "s", ""]);
    check("live", "s?k=v...vhost...a.com", ["a.com", "live", "s", "?k=v...vhost...a.com"]);
    check("live?vhost=A.COM", "s", ["A.COM", "live", "s", "?vhost=A.COM"]);
}

#[test]
fn what_is_no_vhost() {
    check("live", "s?domain=a.com", ["h", "live", "s", "?domain=a.com"]);
    check("live", "s?xvhost=a.com", ["h", "live", "s", "?xvhost=a.com"]);
    check("live", "s?vhosts=a.com", ["h", "live", "s", "?vhosts=a.com"]);
    check("live", "s?vhost=", ["h", "live", "s", "?vhost="]);
    check("live", "vhost=a.com", ["h", "live", "vhost=a.com", ""]);
}

#[test]
fn the_stream_counts_before_the_app() {
    check("live?vhost=b.com", "s?vhost=a.com", ["a.com", "live", "s", "?vhost=a.com"]);
    check("live?vhost=b.com", "s?k=v", ["b.com", "live", "s", "?k=v"]);
    check("live?k=v", "s", ["h", "live", "s", "?k=v"]);
}

#[test]
fn names_with_separators_stay_whole() {
    check("live", "s=1,2", ["h", "live", "s=1,2", ""]);
    check("a=b&c", "s&t", ["h", "a=b&c", "s&t", ""]);
    check("live", "a...b", ["h", "live", "a...b", ""]);
    check("live", "s=1?vhost=a.com", ["a.com", "live", "s=1", "?vhost=a.com"]);
    // With the vhost in the name itself, separators are separators.
    check("live", "s=1,vhost,a.com", ["a.com", "live", "s", ""]);
}

#[test]
fn a_slash_ends_a_vhost() {
    check("live?vhost=a.com/x", "s", ["a.com", "live", "s", "?vhost=a.com/x"]);
}

#[test]
fn apps_and_streams_with_levels() {
    check("a/b/c", "s", ["h", "a/b/c", "s", ""]);
    check("/live/", "/s/t/", ["h", "live", "s/t", ""]);
    check("live/_definst_", "s", ["h", "live", "s", ""]);
    check("live/_definst_?vhost=a.com", "s", ["a.com", "live", "s", "?vhost=a.com"]);
    check("", "s", ["h", DEFAULT_APP, "s", ""]);
    check("live", "", ["h", "live", "", ""]);
    check("li ve", " s\t\r\n", ["h", "live", "s", ""]);
    check("live", "?k=v", ["h", "live", "", "?k=v"]);
}

#[test]
fn the_default_vhost_is_no_parameter() {
    check("live?vhost=__defaultVhost__", "s", [DEFAULT_VHOST, "live", "s", ""]);
}

#[test]
fn hosts_and_ports() {
    for (url, host, port) in [
        ("rtmp://h/live", "h", 1935),
        ("rtmp://h:19350/live", "h", 19350),
        ("rtmp://10.0.0.1:1/live", "10.0.0.1", 1),
        ("rtmp://[::1]/live", "[::1]", 1935),
        ("rtmp://[::1]:19350/live", "[::1]", 19350),
        ("rtmp:// h /live", "h", 1935),
    ] {
        let target = ok(url, "s");
        assert_eq!((&*target.host, target.port, &*target.app), (host, port, "live"), "{url}");
        assert_eq!(target.vhost, target.host);
    }
    assert_eq!(ok("rtmps://h/live", "s").schema, "rtmps");
    let bare = ok("rtmp://h", "s");
    assert_eq!((&*bare.vhost, &*bare.app), ("h", DEFAULT_APP));
    let bare = ok("rtmp://h?vhost=a.com", "s");
    assert_eq!((&*bare.host, &*bare.vhost, &*bare.app), ("h", "a.com", DEFAULT_APP));
}

#[test]
fn urls_without_schema_host_or_port() {
    for url in [
        "",
        "live",
        "h/live",
        "://h/live",
        "rtmp:///live",
        "rtmp://:1935/live",
        "rtmp://h:/live",
        "rtmp://h:0/live",
        "rtmp://h:65536/live",
        "rtmp://h:x/live",
        "rtmp:// /live",
    ] {
        let error = resolve(url, "s").expect_err(url);
        assert_eq!(error.code(), 2006, "{url}");
    }
}

#[test]
fn names_that_are_no_names() {
    for (app, stream) in [
        ("live", ".."),
        ("live", "../s"),
        ("live", "s/../../etc"),
        ("live", "s/./t"),
        ("live", ". ."),
        ("../live", "s"),
        ("live", "a\0b"),
        ("live", "a\u{1b}[1m"),
        ("live", "s?a\r\nb"),
        ("live?vhost=..", "s"),
        ("live\x7f", "s"),
    ] {
        let error = resolve(&format!("rtmp://h/{app}"), stream).expect_err(stream);
        assert!(matches!(error, Error::Url { .. }), "{app} {stream}: {error}");
    }
    check("live", "..s", ["h", "live", "..s", ""]);
}

#[test]
fn lengths_are_bounded() {
    let name = |length| "n".repeat(length);
    assert!(resolve("rtmp://h/live", &name(MAX_NAME)).is_ok());
    assert!(resolve("rtmp://h/live", &name(MAX_NAME + 1)).is_err());
    assert!(resolve(&format!("rtmp://h/{}", name(MAX_NAME + 1)), "s").is_err());
    assert!(resolve(&format!("rtmp://{}/live", name(MAX_NAME + 1)), "s").is_err());
    assert!(resolve("rtmp://h/live", &format!("s?{}", name(MAX_URL - 2))).is_ok());
    assert!(resolve("rtmp://h/live", &format!("s?{}", name(MAX_URL - 1))).is_err());
}

proptest::proptest! {
    #[test]
    fn noise_ends_well(tc_url in "(rtmp://)?\\PC{0,30}", stream in ".{0,30}") {
        if let Ok(target) = resolve(&tc_url, &stream) {
            for name in [&target.app, &target.stream, &target.vhost] {
                assert!(!name.starts_with('/') && !name.split('/').any(|level| level == ".."));
                assert!(!name.chars().any(char::is_control));
            }
        }
    }
}

#[test]
fn urls_of_streams_come_apart() {
    for (url, tc_url, stream) in [
        ("rtmp://h/live/s", "rtmp://h/live", "s"),
        ("rtmp://h:1936/live/s?k=v", "rtmp://h:1936/live", "s?k=v"),
        ("rtmps://h/a/b/s?sign=x/y", "rtmps://h/a/b", "s?sign=x/y"),
        ("rtmp://h/live?vhost=v/s", "rtmp://h/live?vhost=v", "s"),
        ("rtmp://[::1]:1935/live/s", "rtmp://[::1]:1935/live", "s"),
    ] {
        assert_eq!(split(url), Some((tc_url, stream)), "{url}");
    }
    for none in
        ["rtmp://h", "rtmp://h/", "rtmp://h/live", "rtmp://h/live/", "rtmp://h/live/?k=v", "h/live/s", ""]
    {
        assert_eq!(split(none), None, "{none}");
    }
}

#[test]
fn parameters_lose_their_vhost() {
    for (param, rest) in [
        ("", ""),
        ("?", ""),
        ("?vhost=v", ""),
        ("?k=v", "?k=v"),
        ("?vhost=v&k=v", "?k=v"),
        ("?k=v&vhost=v&x", "?k=v&x"),
    ] {
        assert_eq!(without_vhost(param), rest, "{param}");
    }
}

#[test]
fn tls_has_a_port_of_its_own() {
    assert_eq!(ok("rtmps://h/live", "s").port, TLS_PORT);
    assert_eq!(ok("rtmps://h:1936/live", "s").port, 1936);
}
