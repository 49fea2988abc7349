//! Snapshots read from texts.

use super::*;

fn snapshot(text: &str) -> Snapshot {
    crate::load(Some(("t", text.as_bytes())), [], &mut |_| unreachable!()).unwrap().snapshot
}

#[test]
fn the_built_in_configuration_is_what_it_says() {
    let built_in = Snapshot::built_in();
    println!("{built_in:#?}");
    assert_eq!(built_in.global.listen, ["0.0.0.0:1935".parse().unwrap()]);
    assert_eq!(built_in.log.tank, Tank::Console);
    assert!(built_in.http_api.enabled && built_in.http_server.enabled);
    assert_eq!(built_in.http_api.listen[0].port(), 1985);
    assert_eq!(built_in.http_server.listen[0].port(), 8080);
    let vhost = built_in.vhost("anything").unwrap();
    assert!(vhost.http_remux.enabled);
    assert_eq!(vhost.http_remux.mount, "[vhost]/[app]/[stream].flv");
}

#[test]
fn defaults_are_those_of_srs() {
    let snapshot = snapshot("listen 1935; vhost a {}");
    let Global { chunk_size, max_connections, pithy_print, .. } = snapshot.global;
    assert_eq!((chunk_size, max_connections, pithy_print), (60000, 1000, Duration::from_secs(10)));
    assert_eq!((snapshot.log.tank, snapshot.log.level), (Tank::File, Level::Info));
    let vhost = &snapshot.vhosts[0];
    assert!(vhost.enabled && !vhost.min_latency);
    assert_eq!((vhost.chunk_size, vhost.in_ack_size, vhost.out_ack_size), (60000, 0, 2_500_000));
    let play = &vhost.play;
    assert!(
        play.gop_cache && !play.mix_correct && !play.atc && !play.atc_auto && !play.reduce_sequence_header
    );
    assert_eq!((play.queue_length, play.mw_latency), (Duration::from_secs(30), Duration::from_millis(350)));
    assert_eq!((play.time_jitter, play.send_min_interval), (TimeJitter::Full, Duration::ZERO));
    assert_eq!(play.gop_cache_max_frames, 2500);
    let publish = &vhost.publish;
    assert_eq!(publish.first_packet_timeout, Duration::from_secs(20));
    assert_eq!(publish.normal_timeout, Duration::from_secs(5));
    assert!(publish.parse_sps && publish.kickoff_for_idle.is_zero());
    let remux = &vhost.http_remux;
    assert!(
        !remux.enabled && remux.has_audio && remux.has_video && remux.drop_if_not_match && remux.guess_has_av
    );
}

#[test]
fn a_vhost_is_found_by_exact_name_then_by_default() {
    let both = snapshot("listen 1; vhost a {enabled off;} vhost __defaultVhost__ {}");
    assert_eq!(both.vhost("a").unwrap().name, "a");
    assert!(!both.vhost("a").unwrap().enabled, "a disabled vhost does not fall back");
    assert_eq!(both.vhost("A").unwrap().name, DEFAULT_VHOST);
    assert_eq!(both.vhost("b").unwrap().name, DEFAULT_VHOST);
    let one = snapshot("listen 1; vhost a {} vhost a {enabled off;}");
    assert_eq!(one.vhosts.len(), 1);
    assert!(one.vhost("a").unwrap().enabled, "the first of two equal names counts");
    assert!(one.vhost("b").is_none());
}

#[test]
fn the_chunk_size_of_a_vhost_is_its_own_or_the_global_one() {
    let text = "listen 1; chunk_size 4096; vhost a {} vhost b { chunk_size 128; } vhost c { chunk_size 1; }";
    let sizes: Vec<u32> = snapshot(text).vhosts.iter().map(|vhost| vhost.chunk_size).collect();
    assert_eq!(sizes, [4096, 128, 128]);
}

#[test]
fn values_are_read_in_their_units() {
    let text = "listen 1935 [::]:1936; pithy_print_ms 1500; vhost a {
        play { queue_length 10; mw_latency 100; send_min_interval 0.5; time_jitter zero; gop_cache off; }
        publish { firstpkt_timeout 300; kickoff_for_idle 1.5; } }";
    let snapshot = snapshot(text);
    assert_eq!(snapshot.global.listen, ["0.0.0.0:1935", "[::]:1936"].map(|text| text.parse().unwrap()));
    assert_eq!(snapshot.global.pithy_print, Duration::from_millis(1500));
    let Vhost { play, publish, .. } = &*snapshot.vhosts[0];
    assert_eq!(play.queue_length, Duration::from_secs(10));
    assert_eq!(play.mw_latency, Duration::from_millis(100));
    assert_eq!(play.send_min_interval, Duration::from_micros(500));
    assert_eq!((play.time_jitter, play.gop_cache), (TimeJitter::Zero, false));
    assert_eq!(publish.first_packet_timeout, Duration::from_millis(300));
    assert_eq!(publish.kickoff_for_idle, Duration::from_millis(1500));
}

#[test]
fn log_levels_in_both_vocabularies() {
    let level = |text: &str| snapshot(&format!("listen 1; {text}")).log.level;
    for (old, new, expected) in [
        ("verbose", "trace", Level::Trace),
        ("info", "debug", Level::Debug),
        ("trace", "info", Level::Info),
        ("warn", "warn", Level::Warn),
        ("error", "error", Level::Error),
    ] {
        assert_eq!(level(&format!("srs_log_level {old};")), expected);
        assert_eq!(level(&format!("srs_log_level_v2 {new};")), expected);
        assert_eq!(level(&format!("srs_log_level error; srs_log_level_v2 {new};")), expected);
    }
}

#[test]
fn an_unknown_level_is_the_everyday_one() {
    let log = |text: &str| snapshot(&format!("listen 1; {text}")).log;
    assert_eq!(log("srs_log_level loud;").level, Level::Info);
    assert_eq!(log("srs_log_level error; srs_log_level_v2 loud;").level, Level::Info);
    assert_eq!(log("srs_log_level error;").level, Level::Error);
    assert_eq!(log("srs_log_tank syslog;").tank, Tank::File);
}

#[test]
fn a_container_logs_to_the_console_unless_told_otherwise() {
    let tank = |text: &str| snapshot(&format!("listen 1; {text}")).log.tank;
    assert_eq!(tank("in_docker on;"), Tank::Console);
    assert_eq!(tank("in_docker on; srs_log_tank file;"), Tank::File);
    assert_eq!(tank("in_docker off;"), Tank::File);
}

#[test]
fn reports_and_figures() {
    let defaults = snapshot("listen 1;");
    let Heartbeat { enabled, interval, summaries, ports, .. } = defaults.heartbeat;
    assert_eq!((enabled, summaries, ports), (false, false, false));
    assert_eq!(interval, Duration::from_millis(9900));
    assert_eq!((defaults.stats.enabled, defaults.stats.network), (true, 0));
    assert!(defaults.stats.disk.is_empty());
    let set =
        snapshot("listen 1; stats { network 2; disk sda sdb; } heartbeat { interval 0.2; device_id a; }");
    assert_eq!((set.stats.network, set.stats.disk), (2, vec!["sda".to_owned(), "sdb".to_owned()]));
    assert_eq!((set.heartbeat.interval, &*set.heartbeat.device_id), (Duration::from_secs(1), "a"));
}

#[test]
fn a_password_is_not_shown() {
    let set = snapshot("listen 1; http_api { auth { enabled on; username admin; password pa:ss; } }");
    assert_eq!(set.http_api.auth.password.reveal(), "pa:ss");
    assert!(!format!("{set:?}").contains("pa:ss"));
}

#[test]
fn tls_ports() {
    let ports = |text: &str| {
        let snapshot = snapshot(&format!("listen 1; {text}"));
        (snapshot.http_api.https.listen.port(), snapshot.http_server.https.listen.port())
    };
    assert_eq!(ports(""), (1990, 8088));
    assert_eq!(ports("http_api { listen 8080; }"), (8088, 8088), "a shared port is shared over TLS too");
    assert_eq!(ports("http_api { listen 8080; https { listen 1; } }"), (1, 8088));
}
