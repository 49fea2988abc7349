//! What a reload does to each directive: at once for whom is connected, or for the next one, as the table of
//! directives says. The last test compares this file with that table.

use crate::harness::client::{Player, Publisher};
use crate::harness::http::Http;
use crate::harness::media::{FlvViewer, Receive, Viewer, aac, avc, avc_header, kind, serial};
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};
use crate::{
    access, api_auth, api_system, bandwidth, casters, dash, dash_viewers, edge, edge_publish, forward, hds,
    heartbeat, hls, hls_viewers, hooks, https, httpsound, log, metrics, origin_cluster, programs_reload,
    quit, raw_api, reload, rtsp, statistics_lines,
};
use mill_config::spec::{Effect, Status, entries};
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use std::time::{Duration, Instant};

/// Lines of the default vhost beside those that let a test take its time.
fn vhost(lines: &str) -> Conf {
    Conf::vhost(&format!("publish {{ normal_timeout 60000; }} {lines}"))
}

fn play(lines: &str) -> Conf {
    vhost(&format!("play {{ {lines} }}"))
}

fn publish(lines: &str) -> Conf {
    Conf::vhost(&format!("publish {{ {lines} }}"))
}

/// A publisher of 40 ms frames with a keyframe every ten, and a player who has seen the first.
fn show(server: &Server) -> (Publisher, Player) {
    let mut publisher = Publisher::start(server, "live/s");
    publisher.headers(0);
    send(&mut publisher, 0..1);
    let mut player = Player::start(server, "live/s");
    player.until_serial(0);
    (publisher, player)
}

fn send(publisher: &mut Publisher, serials: std::ops::Range<u32>) {
    for n in serials {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 300));
    }
}

fn is_frame(tag: &Tag) -> bool {
    kind(tag).is_some_and(|kind| !kind.is_header())
}

fn frames(tags: &[Tag]) -> Vec<u32> {
    tags.iter().filter(|tag| is_frame(tag)).map(serial).collect()
}

#[test]
fn chunk_sizes_are_for_those_who_connect() {
    let server = Server::plain();
    let (mut publisher, mut old) = show(&server);
    assert_eq!(old.chunk_size(), 60_000);
    server.reload(&Conf::default().global("chunk_size 4096;").vhosts("vhost a.com { chunk_size 1024; }"));
    assert_eq!(Player::start(&server, "live/s").chunk_size(), 4096);
    let app = "live?vhost=a.com";
    assert_eq!(Player::ask_at(&server, &server.rtmp(app), app, "s").unwrap().chunk_size(), 1024);
    send(&mut publisher, 1..5);
    old.until_serial(4);
    assert_eq!(old.chunk_size(), 60_000);
}

#[test]
fn windows_are_for_those_who_connect() {
    let silence = Duration::from_millis(300);
    let server = Server::plain();
    let (mut publisher, old) = show(&server);
    server.reload(&vhost("in_ack_size 10000; out_ack_size 123456;"));
    let new = Player::start(&server, "live/s");
    assert_eq!((old.window(), new.window()), (Some(2_500_000), Some(123_456)));
    let mut other = Publisher::start(&server, "live/t");
    for publisher in [&mut publisher, &mut other] {
        for n in 1..40 {
            publisher.send(9, 40 * n, &avc(true, n, 1000));
        }
    }
    assert_eq!(publisher.acknowledgements(silence), 0);
    // One for several windows, if they came in one read.
    assert!(other.acknowledgements(silence) >= 1);
}

#[test]
fn the_cache_of_a_live_stream_is_switched() {
    let server = Server::start(&play("gop_cache on;"));
    let (mut publisher, mut player) = show(&server);
    send(&mut publisher, 1..5);
    player.until_serial(4);
    assert_eq!(serial(&FlvViewer::open(&server, "/live/s.flv").frame()), 0);

    server.reload(&play("gop_cache off;"));
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.of(FrameKind::VideoHeader);
    send(&mut publisher, 5..8);
    assert_eq!(frames(&viewer.until_serial(7)), [5, 6, 7]);

    server.reload(&play("gop_cache on;"));
    send(&mut publisher, 8..15);
    player.until_serial(14);
    assert_eq!(serial(&FlvViewer::open(&server, "/live/s.flv").frame()), 10);

    server.reload(&play("gop_cache on; gop_cache_max_frames 3;"));
    send(&mut publisher, 15..16);
    player.until_serial(15);
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    viewer.of(FrameKind::VideoHeader);
    send(&mut publisher, 16..20);
    assert_eq!(serial(&viewer.frame()), 16, "a group of more frames is not kept");
}

#[test]
fn a_shorter_queue_counts_for_who_is_behind_already() {
    let server = Server::start(&play("queue_length 30;"));
    let (mut publisher, mut player) = show(&server);
    let mut witness = Player::start(&server, "live/s");
    let mut behind = |player: &mut Player, serials: std::ops::Range<u32>| {
        player.pause(true);
        send(&mut publisher, serials.clone());
        witness.until_serial(serials.end - 1);
    };
    behind(&mut player, 1..105);
    player.pause(false);
    assert_eq!(serial(&player.frame()), 1, "four seconds are nothing");
    player.until_serial(104);
    behind(&mut player, 105..205);
    server.reload(&play("queue_length 1;"));
    player.pause(false);
    assert_eq!(serial(&player.frame()), 200, "moved to the last keyframe");
}

/// Where the clock of a stream stands that was published at 100 s, after its vhost got these lines.
fn clock(before: &str, after: &str) -> u32 {
    let server = Server::start(&play(before));
    let mut publisher = Publisher::start(&server, "live/s");
    let mut player = Player::start(&server, "live/s");
    publisher.headers(100_000);
    publisher.send(9, 100_000, &avc(true, 0, 100));
    player.until_serial(0);
    server.reload(&play(after));
    publisher.metadata_texts(&[("bravo_atc", "true")]);
    publisher.send(9, 100_040, &avc(true, 1, 100));
    player.until_serial(1).last().unwrap().timestamp
}

#[test]
fn the_clock_of_a_live_stream_changes_its_rule() {
    let near_zero = 0..1000;
    assert_eq!(clock("time_jitter full;", "time_jitter off;"), 100_040);
    assert!(near_zero.contains(&clock("time_jitter full;", "time_jitter full; queue_length 20;")));
    assert_eq!(clock("time_jitter off;", "time_jitter zero;"), 40);
    assert_eq!(clock("atc off;", "atc on;"), 100_040);
    assert_eq!(clock("atc_auto off;", "atc_auto on;"), 100_040);
}

#[test]
fn a_live_stream_is_put_in_order_of_time_from_now_on() {
    let server = Server::start(&play("mix_correct off;"));
    let (mut publisher, mut player) = show(&server);
    let mut out_of_order = |player: &mut Player, first: u32| {
        publisher.send(9, 40 * first + 40, &avc(false, first + 1, 100));
        publisher.send(8, 40 * first, &aac(first));
        publisher.send(8, 40 * first + 60, &aac(first + 2));
        publisher.send(9, 40 * first + 80, &avc(false, first + 3, 100));
        frames(&player.until_serial(first + 2))
    };
    assert_eq!(out_of_order(&mut player, 10), [11, 10, 12]);
    server.reload(&play("mix_correct on; time_jitter full;"));
    let ordered = out_of_order(&mut player, 20);
    let from = ordered.iter().position(|n| *n >= 20).unwrap();
    assert_eq!(ordered[from..], [20, 21, 22]);
}

/// The pace of a shard is one value: what holds for one end of it holds for the other.
#[test]
fn the_pace_of_live_viewers_changes() {
    let server = Server::start(&play("send_min_interval 0;"));
    let (mut publisher, mut player) = show(&server);
    server.reload(&play("send_min_interval 600; mw_latency 600;"));
    // Frames every 20 ms arrive in heaps now.
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    let end = Instant::now() + SOON;
    let mut n = 1;
    while longest < Duration::from_millis(450) {
        assert!(Instant::now() < end, "the longest silence between two frames was {longest:?}");
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 300));
        n += 1;
        if player.next(Duration::from_millis(20)).is_some() {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            while player.next(Duration::from_millis(1)).is_some() {}
        }
    }
    server.reload(&vhost("min_latency on;"));
    send(&mut publisher, n..n + 1);
    player.until_serial(n);
}

#[test]
fn repeated_headers_are_left_out_from_now_on() {
    let server = Server::start(&play("reduce_sequence_header off;"));
    let (mut publisher, mut player) = show(&server);
    let mut repeated = |player: &mut Player, n: u32| {
        publisher.send(9, 40 * n, &avc_header());
        send(&mut publisher, n..n + 1);
        player.until_serial(n).iter().any(|tag| kind(tag) == Some(FrameKind::VideoHeader))
    };
    assert!(repeated(&mut player, 1));
    server.reload(&play("reduce_sequence_header on;"));
    assert!(!repeated(&mut player, 2));
    server.reload(&play("reduce_sequence_header off;"));
    assert!(repeated(&mut player, 3));
}

#[test]
fn patience_with_publishers_changes_under_them() {
    let server = Server::start(&publish("firstpkt_timeout 60000; normal_timeout 60000;"));
    let mut mute = Publisher::start(&server, "live/mute");
    let (mut fell_silent, _player) = show(&server);
    server.reload(&publish("firstpkt_timeout 60000; normal_timeout 300;"));
    assert!(fell_silent.is_closed(SOON));
    assert!(!mute.is_closed(Duration::from_millis(10)), "another timeout is its");
    server.reload(&publish("firstpkt_timeout 300; normal_timeout 60000;"));
    assert!(mute.is_closed(SOON));
}

#[test]
fn publishers_nobody_watches_are_dropped_from_now_on() {
    let server = Server::start(&publish("kickoff_for_idle 0;"));
    let (mut watched, _player) = show(&server);
    let mut idle = Publisher::start(&server, "live/idle");
    server.reload(&publish("kickoff_for_idle 0.5;"));
    let mut n = 1;
    wait_until("the publisher nobody watches is dropped", SOON, || {
        send(&mut watched, n..n + 1);
        n += 1;
        !idle.try_send(9, 40 * n, &avc(true, n, 100)) || idle.is_closed(Duration::from_millis(5))
    });
    assert!(!watched.is_closed(Duration::from_millis(10)));
}

#[test]
fn parameter_sets_are_read_from_the_next_header_on() {
    let server = Server::start(&publish("parse_sps on; normal_timeout 60000;"));
    let (mut publisher, mut player) = show(&server);
    let mut read = |player: &mut Player, n: u32| {
        let before = server.log().matches("video sh, codec(H264").count();
        publisher.send(9, 40 * n, &avc_header());
        send(&mut publisher, n..n + 1);
        player.until_serial(n);
        // Whatever is logged about the header was logged before the next one's.
        server.log().matches("video sh, codec(H264").count() - before
    };
    wait_until("the first header is described", SOON, || server.log().contains("video sh, codec(H264"));
    server.reload(&publish("parse_sps off; normal_timeout 60000;"));
    assert_eq!(read(&mut player, 1), 0);
    server.reload(&publish("parse_sps on; normal_timeout 60000;"));
    read(&mut player, 2);
    wait_until("the header is described again", SOON, || {
        server.log().matches("video sh, codec(H264").count() == 2
    });
}

/// The default vhost's lines come after a `http_remux` of the harness, so these have a vhost of their own.
fn remux(lines: &str) -> Conf {
    Conf::default()
        .vhosts(&format!("vhost a.com {{ publish {{ normal_timeout 60000; }} http_remux {{ {lines} }} }}"))
}

const AT_A: &str = "?vhost=a.com";

#[test]
fn live_streams_over_http_are_switched_and_moved() {
    let on = "enabled on; mount [vhost]/[app]/[stream].flv;";
    let server = Server::start(&remux(on));
    let app = format!("live{AT_A}");
    let mut publisher = Publisher::ask_at(&server, &server.rtmp(&app), &app, "s").unwrap();
    publisher.headers(0);
    send(&mut publisher, 0..1);
    let status = |path: &str| Http::get(server.http_addr(), &format!("{path}{AT_A}")).head.status;
    let mut viewer = FlvViewer::open(&server, &format!("/live/s.flv{AT_A}"));
    let mut rtmp = Player::ask_at(&server, &server.rtmp(&app), &app, "s").unwrap();
    viewer.until_serial(0);

    // Moved: for those who come. Who watches goes on.
    server.reload(&remux("enabled on; mount [vhost]/tv/[app]/[stream].flv;"));
    send(&mut publisher, 1..3);
    viewer.until_serial(2);
    assert_eq!(status("/live/s.flv"), 404);
    assert_eq!(status("/tv/live/s.flv"), 200);

    // Off: nobody watches over HTTP any more, and RTMP does not notice.
    server.reload(&remux("enabled off; mount [vhost]/[app]/[stream].flv;"));
    viewer.rest();
    assert_eq!(status("/live/s.flv"), 404);
    wait_until("it says so", SOON, || {
        server.log().contains("vhost a.com offers nothing over HTTP, close client url=a.com/live/s")
    });
    send(&mut publisher, 3..5);
    rtmp.until_serial(4);

    server.reload(&remux(on));
    FlvViewer::open(&server, &format!("/live/s.flv{AT_A}")).frame();
}

#[test]
fn what_the_flv_header_declares_is_for_those_who_come() {
    let line = |text: &str| format!("enabled on; mount [vhost]/[app]/[stream].flv; {text}");
    let server = Server::start(&remux(&line("")));
    let app = format!("live{AT_A}");
    let mut publisher = Publisher::ask_at(&server, &server.rtmp(&app), &app, "s").unwrap();
    publisher.headers(0);
    send(&mut publisher, 0..1);
    let open = || FlvViewer::open(&server, &format!("/live/s.flv{AT_A}"));
    let mut old = open();
    assert_eq!(old.flags(), 5);
    server.reload(&remux(&line("guess_has_av off; has_audio off;")));
    assert_eq!(open().flags(), 1);
    server.reload(&remux(&line("guess_has_av off; has_video off; drop_if_not_match on;")));
    let mut without_video = open();
    assert_eq!(without_video.flags(), 4);
    server.reload(&remux(&line("guess_has_av off; has_video off; drop_if_not_match off;")));
    let mut undeclared = open();
    assert_eq!(undeclared.flags(), 4);
    send(&mut publisher, 1..2);
    publisher.send(8, 80, &aac(2));
    assert_eq!(frames(&without_video.until_serial(2)), [2]);
    assert_eq!(frames(&undeclared.until_serial(2)), [0, 1, 2]);
    assert_eq!(frames(&old.until_serial(2)), [0, 1, 2]);
}

#[test]
fn pages_of_other_origins_are_let_in_or_not_from_the_next_request_on() {
    let conf = Conf::default();
    let server = Server::start(&conf);
    let api = std::net::SocketAddr::from(([127, 0, 0, 1], server.ports().api));
    let asked = |addr| {
        let request = "GET /api/v1/versions HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\r\n";
        Http::request(addr, request).head.header("access-control-allow-origin").is_some()
    };
    let both = |on: bool| assert_eq!([asked(api), asked(server.http_addr())], [on, on]);
    both(true);
    let text = conf.text(server.ports(), server.dir());
    let off = text.replace("http_api { ", "http_api { crossdomain off; ");
    let off = off.replace("http_server { ", "http_server { crossdomain off; ");
    server.try_reload(&off);
    both(false);
    server.reload(&conf);
    both(true);
}

/// The first word of what is at that path now, or nothing.
fn found(server: &Server, path: &str) -> String {
    let mut body = Http::get(server.http_addr(), path);
    if body.head.status != 200 {
        return String::new();
    }
    let text = String::from_utf8(body.read_to_end(SOON)).unwrap();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn files_are_moved_under_the_next_request() {
    let conf = Conf::default();
    let server = Server::start(&conf);
    for (dir, text) in [("html", "one"), ("other", "two"), ("third", "three")] {
        std::fs::create_dir(server.dir().join(dir)).unwrap();
        std::fs::write(server.dir().join(dir).join("x.txt"), text).unwrap();
    }
    std::os::unix::fs::symlink("../other/x.txt", server.dir().join("html/link.txt")).unwrap();
    std::os::unix::fs::symlink("../other/x.txt", server.dir().join("third/link.txt")).unwrap();
    assert_eq!((found(&server, "/x.txt").as_str(), found(&server, "/link.txt").as_str()), ("one", ""));
    let text = conf.text(server.ports(), server.dir());
    server.try_reload(&text.replace("/html\";", "/html\"; follow_links on; players off;"));
    assert_eq!(found(&server, "/link.txt"), "two");
    assert_eq!(found(&server, "/players/"), "");
    server.try_reload(&text.replace("/html\";", "/other\";"));
    assert_eq!((found(&server, "/x.txt").as_str(), found(&server, "/link.txt").as_str()), ("two", ""));
    assert_eq!(found(&server, "/players/"), "<!doctype");
    // A vhost's own directory, at another place, then at the place of the other one.
    let third = |lines: &str| Conf::vhost(&format!("http_static {{ enabled on; dir ./third; {lines} }}"));
    server.reload(&third("mount /a/;"));
    assert_eq!((found(&server, "/x.txt").as_str(), found(&server, "/a/x.txt").as_str()), ("one", "three"));
    server.reload(&third("mount /b/; follow_links on;"));
    let all = ["/a/x.txt", "/b/x.txt", "/b/link.txt"].map(|path| found(&server, path));
    assert_eq!(all, ["", "three", "two"]);
    server.reload(&third(""));
    assert_eq!((found(&server, "/x.txt").as_str(), found(&server, "/b/x.txt").as_str()), ("three", ""));
    server.reload(&Conf::vhost("http_static { enabled off; dir ./third; }"));
    assert_eq!(found(&server, "/x.txt"), "one");
}

/// Who shows the effect of which directives.
#[rustfmt::skip]
const SHOWN: &[(fn(), &str)] = &[
    (chunk_sizes_are_for_those_who_connect, "chunk_size vhost.chunk_size"),
    (windows_are_for_those_who_connect, "vhost.in_ack_size vhost.out_ack_size"),
    (the_cache_of_a_live_stream_is_switched, "vhost.play.gop_cache vhost.play.gop_cache_max_frames"),
    (a_shorter_queue_counts_for_who_is_behind_already, "vhost.play.queue_length"),
    (the_clock_of_a_live_stream_changes_its_rule, "vhost.play.time_jitter vhost.play.atc vhost.play.atc_auto"),
    (a_live_stream_is_put_in_order_of_time_from_now_on, "vhost.play.mix_correct"),
    (the_pace_of_live_viewers_changes, "vhost.play.send_min_interval vhost.play.mw_latency vhost.min_latency"),
    (repeated_headers_are_left_out_from_now_on, "vhost.play.reduce_sequence_header"),
    (patience_with_publishers_changes_under_them, "vhost.publish.firstpkt_timeout vhost.publish.normal_timeout"),
    (publishers_nobody_watches_are_dropped_from_now_on, "vhost.publish.kickoff_for_idle"),
    (parameter_sets_are_read_from_the_next_header_on, "vhost.publish.parse_sps"),
    (files_are_moved_under_the_next_request,
        "http_server.dir http_server.follow_links http_server.players
         vhost.http_static.enabled vhost.http_static.mount vhost.http_static.dir vhost.http_static.follow_links"),
    (live_streams_over_http_are_switched_and_moved, "vhost.http_remux.enabled vhost.http_remux.mount"),
    (what_the_flv_header_declares_is_for_those_who_come,
        "vhost.http_remux.drop_if_not_match vhost.http_remux.has_audio vhost.http_remux.has_video vhost.http_remux.guess_has_av"),
    (pages_of_other_origins_are_let_in_or_not_from_the_next_request_on, "http_api.crossdomain http_server.crossdomain"),
    (reload::listeners_are_added_exchanged_and_shared, "listen http_api.listen http_api.enabled http_server.listen http_server.enabled"),
    (raw_api::every_call_needs_its_permission,
        "http_api.raw_api.enabled http_api.raw_api.allow_reload http_api.raw_api.allow_query http_api.raw_api.allow_update"),
    (reload::vhosts_come_and_go_with_their_clients, "vhost.enabled"),
    (reload::the_limit_of_connections_changes_at_once, "max_connections"),
    (reload::a_relative_file_is_found_again_from_another_working_directory, "include"),
    (log::everything_about_the_log_changes_at_once,
        "srs_log_tank srs_log_file srs_log_level srs_log_level_v2 srs_log_format utc_time"),
    (log::the_pid_file_moves_and_keeps_its_lock_under_any_name, "pid"),
    (statistics_lines::their_interval_changes_at_once, "pithy_print_ms vhost.publish.mr vhost.publish.mr_latency"),
    (heartbeat::another_configuration_counts_from_the_next_report_on,
        "heartbeat.enabled heartbeat.interval heartbeat.url heartbeat.device_id heartbeat.summaries heartbeat.ports"),
    (api_system::what_is_looked_at_changes_under_way, "stats.enabled"),
    (metrics::the_exporter_comes_moves_and_goes_and_reloads_are_counted,
        "exporter.enabled exporter.listen exporter.label exporter.tag"),
    (api_auth::name_and_password_change_with_the_next_request,
        "http_api.auth.enabled http_api.auth.username http_api.auth.password"),
    (https::listeners_and_files_change_and_one_bad_file_refuses_all,
        "http_api.https.enabled http_api.https.listen http_api.https.key http_api.https.cert \
         http_server.https.enabled http_server.https.listen http_server.https.key http_server.https.cert"),
    (httpsound::a_live_stream_begins_to_keep_sound, "vhost.http_remux.fast_cache"),
    (access::other_rules_are_for_those_who_come,
        "vhost.refer.enabled vhost.refer.all vhost.refer.play vhost.refer.publish \
         vhost.security.enabled vhost.security.deny vhost.security.allow"),
    (bandwidth::a_vhost_begins_to_test_and_other_limits_hold_for_the_next_test,
        "vhost.bandcheck.enabled vhost.bandcheck.key vhost.bandcheck.interval vhost.bandcheck.limit_kbps"),
    (dash::a_reload_restarts_the_output_of_its_vhost_alone,
        "vhost.dash.enabled vhost.dash.dash_fragment vhost.dash.dash_update_period vhost.dash.dash_timeshift \
         vhost.dash.dash_path vhost.dash.dash_mpd_file vhost.dash.dash_window_size vhost.dash.dash_cleanup \
         vhost.dash.dash_dispose"),
    (casters::entrances_come_go_and_move,
        "stream_caster.enabled stream_caster.caster stream_caster.listen stream_caster.output"),
    (hds::a_reload_restarts_the_output,
        "vhost.hds.enabled vhost.hds.hds_fragment vhost.hds.hds_window vhost.hds.hds_path"),
    (hooks::another_configuration_is_for_the_next_event,
        "vhost.http_hooks.enabled vhost.http_hooks.on_connect vhost.http_hooks.on_close vhost.http_hooks.on_publish \
         vhost.http_hooks.on_unpublish vhost.http_hooks.on_play vhost.http_hooks.on_stop vhost.http_hooks.timeout"),
    (
        edge::a_reload_counts_for_the_next_pull,
        "vhost.cluster.origin vhost.cluster.vhost vhost.cluster.debug_srs_upnode vhost.cluster.protocol \
         vhost.cluster.follow_client vhost.cluster.token_traverse",
    ),
    (edge::streams_are_spread_or_stay_where_they_are, "vhost.cluster.origin_order"),
    (edge_publish::a_publisher_without_origins_is_sent_away_in_the_end, "vhost.cluster.push_give_up"),
    (edge::a_reload_changes_how_long_is_waited, "vhost.cluster.pull_linger vhost.cluster.pull_give_up"),
    (origin_cluster::a_reload_counts_for_the_next_player, "vhost.cluster.origin_cluster vhost.cluster.coworkers"),
    (forward::a_reload_starts_and_stops_single_ones, "vhost.forward.enabled vhost.forward.destination"),
    (forward::a_backend_says_where_to, "vhost.forward.backend"),
    (forward::over_tls_with_a_certificate_of_ones_own, "vhost.forward.ca"),
    (hls::every_directive_of_the_block_acts_after_a_reload,
        "vhost.hls.enabled vhost.hls.hls_fragment vhost.hls.hls_td_ratio vhost.hls.hls_aof_ratio vhost.hls.hls_window \
         vhost.hls.hls_on_error vhost.hls.hls_storage vhost.hls.hls_path vhost.hls.hls_m3u8_file vhost.hls.hls_ts_file \
         vhost.hls.hls_ts_floor vhost.hls.hls_entry_prefix vhost.hls.hls_acodec vhost.hls.hls_vcodec \
         vhost.hls.hls_cleanup vhost.hls.hls_dispose vhost.hls.hls_wait_keyframe vhost.hls.hls_dts_directly \
         vhost.hls.hls_keys vhost.hls.hls_fragments_per_key vhost.hls.hls_key_file vhost.hls.hls_key_file_path \
         vhost.hls.hls_key_url"),
    (hls::other_callbacks_are_for_the_next_publish,
        "vhost.http_hooks.on_hls vhost.http_hooks.on_hls_notify vhost.hls.hls_nb_notify"),
    (hls_viewers::sessions_begin_with_the_next_viewer, "vhost.hls.hls_ctx vhost.hls.hls_ts_ctx"),
    (dash_viewers::sessions_begin_with_the_next_viewer, "vhost.dash.dash_ctx vhost.hds.hds_ctx"),
    (rtsp::ports_and_passwords_are_for_those_who_come,
        "stream_caster.rtp_port_min stream_caster.rtp_port_max stream_caster.auth.enabled \
         stream_caster.auth.username stream_caster.auth.password"),
    (quit::clients_are_seen_off, "grace_start_wait grace_final_wait"),
    (quit::nobody_is_waited_for_longer_than_the_limit, "grace_drain_wait"),
    (quit::sigterm_may_be_graceful_too, "force_grace_quit"),
    (programs_reload::live_streams_get_other_programs, "vhost.exec.enabled vhost.exec.publish vhost.exec.unpublish"),
    (programs_reload::logs_and_levels_are_those_of_the_next_start, "ff_log_dir ff_log_level"),
    (programs_reload::every_directive_of_a_transcoder_counts,
        "vhost.transcode.enabled vhost.transcode.ffmpeg vhost.transcode.engine.enabled \
         vhost.transcode.engine.perfile vhost.transcode.engine.iformat vhost.transcode.engine.vfilter \
         vhost.transcode.engine.vcodec vhost.transcode.engine.vbitrate vhost.transcode.engine.vfps \
         vhost.transcode.engine.vwidth vhost.transcode.engine.vheight vhost.transcode.engine.vthreads \
         vhost.transcode.engine.vprofile vhost.transcode.engine.vpreset vhost.transcode.engine.vparams \
         vhost.transcode.engine.acodec vhost.transcode.engine.abitrate vhost.transcode.engine.asample_rate \
         vhost.transcode.engine.achannels vhost.transcode.engine.aparams vhost.transcode.engine.oformat \
         vhost.transcode.engine.output"),
    (programs_reload::every_directive_of_an_ingest_counts,
        "vhost.ingest.enabled vhost.ingest.input.type vhost.ingest.input.url vhost.ingest.ffmpeg \
         vhost.ingest.engine.enabled vhost.ingest.engine.perfile vhost.ingest.engine.iformat \
         vhost.ingest.engine.vfilter vhost.ingest.engine.vcodec vhost.ingest.engine.vbitrate \
         vhost.ingest.engine.vfps vhost.ingest.engine.vwidth vhost.ingest.engine.vheight \
         vhost.ingest.engine.vthreads vhost.ingest.engine.vprofile vhost.ingest.engine.vpreset \
         vhost.ingest.engine.vparams vhost.ingest.engine.acodec vhost.ingest.engine.abitrate \
         vhost.ingest.engine.asample_rate vhost.ingest.engine.achannels vhost.ingest.engine.aparams \
         vhost.ingest.engine.oformat vhost.ingest.engine.output"),
];

/// To show these takes a machine with several addresses and disks. Both are read at every look; the unit tests of
/// `system/proc.rs` change them.
const NEEDS_ANOTHER_MACHINE: &[&str] = &["stats.network", "stats.disk"];

/// What is not there yet: who makes it shows what a reload does to it.
const NOT_THERE_YET: &[&str] = &[
    "server_id",
    "circuit_breaker",
    "srt_server",
    "rtc_server",
    "vhost.http_hooks.on_dvr",
    "vhost.dvr",
    "vhost.rtc",
    "vhost.srt",
];

#[test]
fn the_effect_of_every_directive_is_shown() {
    let shown: Vec<&str> = SHOWN.iter().flat_map(|(_, paths)| paths.split_whitespace()).collect();
    let mut missing = Vec::new();
    for entry in entries().iter().filter(|entry| entry.row.status == Status::Implemented) {
        let path = entry.path();
        let waits = entry.row.effect == Effect::NeedsRestart || !entry.row.rows().is_empty();
        let later = NOT_THERE_YET.iter().chain(NEEDS_ANOTHER_MACHINE).any(|prefix| path.starts_with(prefix));
        if !waits && !later && !shown.contains(&path.as_str()) {
            missing.push(path);
        }
    }
    assert!(missing.is_empty(), "nothing shows what a reload does to {missing:?}");
    let all: Vec<String> = entries().iter().map(|entry| entry.path()).collect();
    for path in shown {
        assert!(all.iter().any(|known| known == path), "{path} is no directive");
    }
}
