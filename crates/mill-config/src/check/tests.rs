//! Every mistake there is.

use crate::{Loaded, Report, Severity};

fn load(text: &str) -> Result<Loaded, Report> {
    crate::load(Some(("t", text.as_bytes())), [], &mut |_| unreachable!())
}

fn findings(report: &Report, severity: Severity) -> Vec<String> {
    let found = report.iter().filter(|finding| finding.severity == severity);
    found.map(|finding| format!("{}:{}: {}", finding.line, finding.column, finding.message)).collect()
}

/// Refused with exactly these errors, as `line:column: message`. A text that does not begin with `listen`
/// gets one at its end.
#[track_caller]
fn errors(text: &str, expected: &[&str]) {
    let text = with_listen(text);
    let report = load(&text).err().unwrap_or_default();
    assert_eq!(findings(&report, Severity::Error), expected, "{text}");
}

/// Accepted with exactly these warnings.
#[track_caller]
fn warnings(text: &str, expected: &[&str]) -> Loaded {
    let text = with_listen(text);
    let loaded = load(&text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(findings(&loaded.warnings, Severity::Warning), expected, "{text}");
    loaded
}

fn with_listen(text: &str) -> String {
    if text.starts_with("listen ") { text.to_owned() } else { format!("{text}\nlisten 1935;") }
}

#[test]
fn an_empty_configuration_is_refused() {
    for text in ["", "\n \t", "# only a comment"] {
        assert_eq!(load(text).unwrap_err().errors(), 1);
    }
}

#[test]
fn listen_is_required_and_its_words_are_endpoints() {
    assert!(load("daemon off;").unwrap_err().to_string().contains("`listen` is required"));
    assert!(load("listen;").unwrap_err().to_string().contains("`listen` is required"));
    warnings("listen 1935 127.0.0.1:1936 0.0.0.0:1937 [::]:1935;", &[]);
    errors("listen 1935 abc;", &["1:13: `abc` is no endpoint: a port is a number from 1 to 65535"]);
    errors("listen 1935 99999;", &["1:13: `99999` is no endpoint: a port is a number from 1 to 65535"]);
    let address = "only a literal address can be listened on, such as 127.0.0.1, 0.0.0.0 or [::]";
    errors("listen 1935 a.b:1;", &[&format!("1:13: `a.b:1` is no endpoint: {address}")]);
    errors(
        "http_api { enabled on; listen abc; }",
        &["1:31: `abc` is no endpoint: a port is a number from 1 to 65535"],
    );
}

#[test]
fn a_forgotten_semicolon_after_listen_is_explained() {
    let report = load("listen 1935\nmax_connections 1000;").unwrap_err();
    assert!(report.to_string().contains("is a `;` missing before it?"), "{report}");
}

#[test]
fn endpoints_are_listened_on_once() {
    errors("listen 1935 0.0.0.0:1935;", &["1:13: 0.0.0.0:1935 is listened on already, by `listen`"]);
    errors(
        "listen 1985; http_api { enabled on; }",
        &["1:14: 0.0.0.0:1985 is listened on already, by `listen`"],
    );
    warnings("listen 1985; http_api { enabled off; }", &[]);
    warnings("http_api { enabled on; listen 8080; } http_server { enabled on; listen 8080; }", &[]);
    errors(
        "http_server { enabled on; } exporter { enabled on; listen 8080; }",
        &["1:59: 0.0.0.0:8080 is listened on already, by `http_server.listen`"],
    );
    // UDP beside TCP.
    warnings(
        "listen 1935; stream_caster { enabled on; caster mpegts_over_udp; output rtmp://a/b/c; listen 1935; }",
        &[],
    );
    errors(
        "listen 1935; stream_caster { enabled on; caster flv; output rtmp://a/b/c; listen 1935; }",
        &["1:82: 0.0.0.0:1935 is listened on already, by `listen`"],
    );
}

#[test]
fn unknown_directives_are_shown_with_the_nearest_or_the_right_place() {
    let report = load("lisen 1935;\nvhost a { play { gop_cach off; } hls_path x; zzz; }").unwrap_err();
    assert_eq!(
        findings(&report, Severity::Error),
        [
            "1:1: unknown directive `lisen`",
            "1:1: `listen` is required",
            "2:18: unknown directive `gop_cach` in `vhost.play`",
            "2:34: unknown directive `hls_path` in `vhost`",
            "2:46: unknown directive `zzz` in `vhost`",
        ]
    );
    let text = report.to_string();
    for part in [
        "did you mean `listen`?",
        "did you mean `gop_cache`?",
        "`hls_path` belongs in `vhost.hls`",
        "--> t:2:18",
        "^^^^^^^^",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn unknown_names_are_only_warned_of_where_srs_does_not_look() {
    let text = "vhost a { hds { x 1; } ingest i { input { y; } engine { z; } } }";
    warnings(
        text,
        &[
            "1:17: unknown directive `x` in `vhost.hds`: ignored",
            "1:43: unknown directive `y` in `vhost.ingest.input`: ignored",
            "1:57: unknown directive `z` in `vhost.ingest.engine`: ignored",
        ],
    );
}

#[test]
fn names_in_maps_are_free() {
    let text = "vhost a { transcode { engine e { vparams { b:v 1; -x; foo { bar; } } perfile { re; } } } }";
    warnings(text, &[]);
}

#[test]
fn the_first_of_two_counts() {
    let text = "chunk_size 200; chunk_size 300; vhost a { play { atc on; } play { atc off; } }";
    let expected = [
        "1:17: `chunk_size` was given before: the first one counts",
        "1:60: `play` was given before: the first one counts",
    ];
    let loaded = warnings(text, &expected);
    assert_eq!(loaded.snapshot.global.chunk_size, 200);
    assert!(loaded.snapshot.vhosts[0].play.atc);
    warnings(
        "vhost a { enabled off; }\nvhost a {}",
        &["2:7: the vhost `a` was given before: the first one counts"],
    );
    // Those that are collected.
    warnings(
        "vhost a { security { deny play all; deny publish 1.2.3.4; } exec { publish a; publish b; } }",
        &[],
    );
}

#[test]
fn what_nobody_reads_is_warned_of() {
    warnings("daemon off { x 1; }", &["1:1: `daemon` takes no block: what is in it is ignored"]);
    warnings("chunk_size 200 300;", &["1:16: `chunk_size` takes one argument: `300` is ignored"]);
    warnings("heartbeat x { }", &["1:11: `heartbeat` takes no argument: `x` is ignored"]);
    warnings("vhost a { hls; }", &[]);
}

#[test]
fn switches_keep_the_meaning_they_have_in_srs() {
    let text = "utc_time yes; vhost a { play { gop_cache no; } }";
    let expected = [
        "1:10: `utc_time` is `on` or `off`: `yes` is read as `off`",
        "1:42: `gop_cache` is `on` or `off`: `no` is read as `on`",
    ];
    let loaded = warnings(text, &expected);
    assert!(!loaded.snapshot.global.utc_time);
    assert!(loaded.snapshot.vhosts[0].play.gop_cache);
}

#[test]
fn numbers() {
    let loaded = warnings(
        "vhost a { play { queue_length 10s; } }",
        &["1:31: `10s` is not quite a number: read as 10"],
    );
    assert_eq!(loaded.snapshot.vhosts[0].play.queue_length.as_secs(), 10);
    errors("chunk_size big;", &["1:12: `chunk_size` is a whole number: `big` is none"]);
    errors("vhost a { hls { hls_fragment x; } }", &["1:30: `hls_fragment` is a number: `x` is none"]);
    warnings(
        "vhost a { play { queue_length -5; } }",
        &["1:31: `queue_length` is from 0 to 2147483647: 0 is used for `-5`"],
    );
}

#[test]
fn chunk_sizes_are_clamped() {
    let text = "chunk_size 100; vhost a { chunk_size 70000; } vhost b { }";
    let expected = [
        "1:12: `chunk_size` is from 128 to 65536: 128 is used for `100`",
        "1:38: `chunk_size` is from 128 to 65536: 65536 is used for `70000`",
    ];
    let loaded = warnings(text, &expected);
    let sizes: Vec<u32> = loaded.snapshot.vhosts.iter().map(|vhost| vhost.chunk_size).collect();
    assert_eq!((loaded.snapshot.global.chunk_size, sizes), (128, vec![65536, 128]));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    errors("max_connections 0;", &["1:17: `max_connections` is from 1 to 2147483647: `0` is not"]);
    let clamped = "1:22: `interval` is from 1 to 2147483647: 1 is used for `0.3`";
    warnings("heartbeat { interval 0.3; }", &[clamped]);
    errors("stats { network -1; }", &["1:17: `network` is from 0 to 2147483647: `-1` is not"]);
    let no_endpoint = "1:24: `70000` is no endpoint: a port is a number from 1 to 65535";
    errors("stream_caster { listen 70000; }", &[no_endpoint]);
}

#[test]
fn choices() {
    warnings(
        "srs_log_tank stdout;",
        &["1:14: `srs_log_tank` is one of `console` or `file`: `stdout` is read as `file`"],
    );
    let levels = "`verbose`, `info`, `trace`, `warn` or `error`";
    warnings(
        "srs_log_level debug;",
        &[&format!("1:15: `srs_log_level` is one of {levels}: `debug` is read as `trace`")],
    );
    let levels = "`trace`, `debug`, `info`, `warn` or `error`";
    warnings(
        "srs_log_level_v2 x;",
        &[&format!("1:18: `srs_log_level_v2` is one of {levels}: `x` is read as `info`")],
    );
    errors("srs_log_format xml;", &["1:16: `srs_log_format` is one of `plain` or `json`: `xml` is not"]);
    errors(
        "vhost a { dvr { dvr_plan never; } }",
        &["1:26: `dvr_plan` is one of `session` or `segment`: `never` is not"],
    );
    warnings(
        "vhost a { dvr { dvr_plan append; } }",
        &["1:26: the plan `append` is no more: `session` is used"],
    );
    let words = "`full`, `zero` or `off`";
    warnings(
        "vhost a { play { time_jitter x; } }",
        &[&format!("1:30: `time_jitter` is one of {words}: `x` is read as `off`")],
    );
    warnings(
        "vhost a { hls { hls_acodec x; } }",
        &["1:28: `hls_acodec` is one of `aac`, `mp3` or `an`: `x` is read as `aac`"],
    );
}

#[test]
fn full_and_asprocess() {
    errors("is_full on;", &["1:9: this file only lists directives; it is not meant to be run"]);
    errors("asprocess on;", &["1:11: `asprocess` needs a parent, a daemon has none"]);
    warnings("asprocess on; daemon off;", &[]);
}

#[test]
fn https_needs_its_plain_listener_and_shares_like_it() {
    errors(
        "http_api { https { enabled on; } }",
        &["1:28: `http_api.https` needs `http_api` to be enabled too"],
    );
    let pair = |api: &str, api_tls: &str, server: &str, server_tls: &str| {
        format!(
            "http_api {{ enabled on; listen {api}; https {{ enabled on; {api_tls} }} }}\n\
             http_server {{ enabled on; listen {server}; https {{ enabled on; {server_tls} }} }}"
        )
    };
    warnings(&pair("1985", "", "8080", ""), &[]);
    warnings(&pair("8080", "", "8080", ""), &[]);
    warnings(&pair("8080", "listen 443;", "8080", "listen 443;"), &[]);
    let shared = "`http_api` and `http_server` share a port, so their `https` must share one too";
    errors(&pair("8080", "listen 444;", "8080", "listen 443;"), &[&format!("1:64: {shared}")]);
    let tls = "the `https` of `http_api` and `http_server` share a port, so the plain ones must too";
    errors(&pair("1985", "listen 443;", "8080", "listen 443;"), &[&format!("1:64: {tls}")]);
}

#[test]
fn authentication_needs_something_to_compare_with() {
    let nobody = "1:27: `auth` without a user name and a password lets nobody in";
    warnings("http_api { auth { enabled on; username admin; } }", &[nobody]);
    warnings("http_api { auth { enabled on; password x; } }", &[nobody]);
    warnings("http_api { auth { enabled on; username admin; password a:b; } }", &[]);
    warnings("http_api { auth { username admin; } }", &[]);
}

#[test]
fn casters_and_programs_need_their_parts() {
    errors(
        "stream_caster { enabled on; }",
        &[
            "1:1: a `stream_caster` that is enabled needs `caster`",
            "1:1: a `stream_caster` that is enabled needs `listen`",
            "1:1: a `stream_caster` that is enabled needs `output`",
        ],
    );
    errors(
        "stream_caster { enabled on; caster flv; listen 1; output live/x; }",
        &["1:58: `output` is an RTMP URL, such as rtmp://127.0.0.1/live/livestream"],
    );
    errors(
        "stream_caster { caster rtmp; }",
        &["1:24: `caster` is one of `mpegts_over_udp`, `rtsp`, `flv` or `gb28181`: `rtmp` is not"],
    );
    errors(
        "vhost a { ingest i { enabled on; } }",
        &[
            "1:11: `ingest` needs `ffmpeg`",
            "1:11: `ingest` needs the `url` of its `input`",
            "1:11: `ingest` needs an `engine` that says where the stream goes",
        ],
    );
    errors(
        "vhost a { ingest { enabled on; input { url u; } ffmpeg f; engine { } } }",
        &["1:59: `engine` needs `output`"],
    );
    warnings("vhost a { ingest { } transcode { enabled on; ffmpeg f; engine e { } } }", &[]);
    warnings(
        "vhost a { transcode { enabled on; ffmpeg f; engine e { enabled on; vcodec libx264; acodec aac; output o; } } }",
        &["1:64: this `engine` cannot run, it is left out: libx264 needs `vprofile`"],
    );
    let ingest = "ingest { enabled on; input { url u; } ffmpeg f; engine { enabled on; ";
    warnings(&format!("vhost a {{ {ingest} output o; }} }} }}"), &[]);
    warnings(
        &format!("vhost a {{ {ingest} vcodec vn; acodec an; output o; }} }} }}"),
        &["1:76: this `engine` cannot run, it copies: `vn` and `an` together leave nothing"],
    );
    errors("vhost a { ingest { }\n ingest { } }", &["2:2: the ingest `` was given before in this vhost"]);
    errors(
        "vhost a { ingest i { }\n ingest i { } }",
        &["2:9: the ingest `i` was given before in this vhost"],
    );
}

#[test]
fn clusters() {
    warnings("vhost a { cluster { mode remote; } }", &["1:26: an edge without `origin` has no streams"]);
    errors("vhost a { cluster { origin_cluster on; } }", &["1:36: `origin_cluster` needs `coworkers`"]);
    errors(
        "vhost a { forward { enabled on; backend http://h; } publish { kickoff_for_idle 3; } }",
        &["1:80: `kickoff_for_idle` would drop publishers whose streams are only forwarded"],
    );
}

#[test]
fn forwards() {
    warnings("vhost a { forward { destination http://h; } }", &[]);
    warnings(
        "vhost a { forward { enabled on; destination h 10.0.0.1:1936 rtmps://h/[app]/[stream]; } }",
        &[],
    );
    warnings(
        "vhost a { forward { enabled on; } }",
        &["1:29: `forward` without a `destination` or `backend` sends nothing"],
    );
    errors(
        "vhost a { forward { enabled on; destination a http://h b:x; } }",
        &[
            "1:47: `http://h` is no destination: streams are sent to `rtmp://` and `rtmps://`",
            "1:56: `b:x` is no destination: a port is a number from 1 to 65535",
        ],
    );
    errors(
        "vhost a { forward { enabled on; backend h:80; } }",
        &["1:41: `h:80` is no URL that can be called"],
    );
}

#[test]
fn live_http() {
    errors("vhost a { http_remux { }\n http_remux { } }", &["2:2: a vhost has one `http_remux` at most"]);
    errors(
        "vhost a { hls { enabled on; } http_remux { enabled on; mount [vhost]/[app]/[stream].ts; } }",
        &["1:62: live TS and the segments of HLS cannot be told apart"],
    );
    warnings(
        "vhost a { http_remux { enabled on; mount /[stream].mkv; } }",
        &["1:42: `/[stream].mkv` ends in no known format"],
    );
    let two = |kind: &str| {
        format!(
            "vhost a {{ {kind} {{ enabled on; mount /x.ts; }} }}\nvhost b {{ {kind} {{ enabled on; mount /x.ts; }} }}"
        )
    };
    errors(&two("http_static"), &["2:43: another vhost has the same `http_static.mount`"]);
    warnings(&two("http_remux"), &["2:42: another vhost has the same `http_remux.mount`"]);
}

#[test]
fn content_is_checked_only_where_the_text_is_right() {
    let report = load("nonsense; }\n").unwrap_err();
    assert_eq!(findings(&report, Severity::Error), ["1:11: `}` closes no block"]);
}

#[test]
fn features_asked_for_are_listed_once() {
    let planned = |text: &str| load(&with_listen(text)).unwrap().planned;
    assert!(planned("listen 1935;").is_empty());
    assert!(planned("daemon off; vhost a { hls { hls_path x; } dvr { enabled off; } }").is_empty());
    assert!(planned("vhost a { enabled off; hls { enabled on; } }").is_empty());
    let text =
        "vhost a { rtc { enabled on; rtmp_to_rtc on; } } vhost b { rtc { enabled on; } srt { enabled on; } }";
    assert_eq!(planned(text), ["SRT", "WebRTC"]);
}

#[test]
fn what_is_ignored_for_good_is_warned_of_unless_it_is_the_default() {
    warnings(
        "query_latest_version off; vhost a { play { mw_msgs 8; } publish { mr off; } } tencentcloud_cls { enabled off; }",
        &[],
    );
    warnings(
        "tencentcloud_apm { enabled on; team x; }\nvhost a { hls { enabled on; hls_mount x; } }",
        &[
            "1:1: `tencentcloud_apm` is ignored: services of one cloud vendor are not supported",
            "2:29: `hls_mount` is ignored: SRS itself dropped it before 3.0",
        ],
    );
}

#[test]
fn a_report_in_colour_says_the_same() {
    let report = load("chunk_size big; listen 1;").unwrap_err();
    assert!(report.render(true).contains("\u{1b}["));
    assert!(!report.to_string().contains('\u{1b}'));
}

#[test]
fn errors_are_never_lost_among_warnings() {
    let text = format!("{} nonsense;", "utc_time x; ".repeat(2 * crate::MAX_FINDINGS));
    assert!(findings(&load(&with_listen(&text)).unwrap_err(), Severity::Error).len() == 1);
}

#[test]
fn access_rules_are_read_or_refused() {
    let refused = |rule: &str, complaint: &str| {
        errors(&format!("vhost a {{ security {{\n{rule}; }} }}"), &[complaint]);
    };
    refused("deny publish", "2:1: `deny`: the rule does not say whom it is about");
    refused("allow", "2:1: `allow`: a rule is about `publish` or `play`");
    refused("deny all", "2:6: `all` in `deny`: a rule is about `publish` or `play`");
    let address = "it is neither `all` nor an address such as 192.0.2.1 or 2001:db8::1";
    refused("allow play a.com", &format!("2:12: `a.com` in `allow`: {address}"));
    refused(
        "deny play 10.0.0.0/33",
        "2:11: `10.0.0.0/33` in `deny`: the length of a prefix is a number from 0 to 32",
    );
    refused("deny play ::/129", "2:11: `::/129` in `deny`: the length of a prefix is a number from 0 to 128");
    errors(
        "vhost a { security { deny play all; allow play ::1 10.0.0.1; } }",
        &["1:52: `10.0.0.1`: a rule is about one address or range"],
    );

    let text = "vhost a { security { enabled on; allow play all; deny publish 10.0.0.0/8; deny play 2001:db8::1; } }";
    let loaded = warnings(text, &[]);
    assert!(loaded.planned.is_empty());
    let security = &loaded.snapshot.vhosts[0].security;
    assert_eq!((security.deny.len(), security.allow.len()), (2, 1));
    assert!(security.deny[0].matches(true, "10.1.1.1".parse().unwrap()));
    assert!(!security.deny[0].matches(false, "10.1.1.1".parse().unwrap()));
    warnings("vhost a { security { enabled on; } }", &["1:30: `security` without a rule refuses everybody"]);
}

#[test]
fn callbacks_have_urls() {
    let hooks = |lines: &str| format!("vhost a {{ http_hooks {{\n{lines} }} }}");
    for wrong in ["ftp://h/", "127.0.0.1:80/x", "http://", "https:///x", "http://:80/"] {
        let expected = format!("2:24: `{wrong}` is no URL that can be called");
        errors(&hooks(&format!("enabled on; on_publish {wrong};")), &[&expected]);
        warnings(&hooks(&format!("enabled off; on_publish {wrong};")), &[]);
    }
    let loaded = warnings(&hooks("enabled on; on_play http://h/a https://h:1/b?c; timeout 0.5;"), &[]);
    let hooks = &loaded.snapshot.vhosts[0].http_hooks;
    assert_eq!(hooks.on_play, ["http://h/a", "https://h:1/b?c"]);
    assert_eq!(hooks.timeout.as_millis(), 500);
    assert!(hooks.enabled && hooks.on_stop.is_empty());
}
