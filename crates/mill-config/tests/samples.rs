//! Configurations of the kind SRS ships, written from what they are to do. They must load as they are.

use std::io;
use std::time::Duration;

use mill_config::model::{Tank, TimeJitter};
use mill_config::{Loaded, Snapshot, load};

#[track_caller]
fn load_with(text: &str, read: &mut dyn FnMut(&str) -> io::Result<Vec<u8>>) -> Loaded {
    load(Some(("sample.conf", text.as_bytes())), [], read).unwrap_or_else(|report| panic!("{report}"))
}

/// Loads without a warning.
#[track_caller]
fn sample(text: &str) -> Loaded {
    let loaded = load_with(text, &mut |_| panic!("nothing is included"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    loaded
}

/// The feature is not there yet; the configuration starts all the same.
#[track_caller]
fn waits_for(text: &str, features: &[&str]) -> Snapshot {
    let Loaded { snapshot, planned, .. } = sample(text);
    assert_eq!(planned, features);
    snapshot
}

#[test]
fn srs() {
    let text = "\
        # main config for srs.\n\
        listen              1935;\n\
        max_connections     1000;\n\
        srs_log_tank        file;\n\
        srs_log_file        ./objs/srs.log;\n\
        http_api { enabled on; listen 1985; }\n\
        http_server { enabled on; listen 8080; dir ./objs/nginx/html; }\n\
        stats { network 0; disk sda sdb xda xdb; }\n\
        vhost __defaultVhost__ {\n\
            hls { enabled on; }\n\
            http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }\n\
        }\n";
    let snapshot = waits_for(text, &[]);
    assert_eq!(snapshot.log.tank, Tank::File);
    assert_eq!(snapshot.http_server.dir.to_str(), Some("./objs/nginx/html"));
    assert!(snapshot.vhost("any").unwrap().http_remux.enabled);
}

#[test]
fn console_docker_and_rtmp() {
    let text = "listen 1935; max_connections 1000; daemon off; srs_log_tank console; \
                http_api { enabled on; listen 1985; } http_server { enabled on; listen 8080; } vhost __defaultVhost__ { }";
    assert_eq!(waits_for(text, &[]).log.tank, Tank::Console);
    waits_for("listen 1935;\nmax_connections 1000;\nvhost __defaultVhost__ {\n}\n", &[]);
}

const REALTIME: &str = "\
# no-delay config for srs.
listen              1935;
max_connections     1000;
vhost __defaultVhost__ {
    tcp_nodelay     on
    min_latency     on;

    play {
        gop_cache       off;
        queue_length    10;
        mw_latency      100;
    }

    publish {
        mr              off;
    }
}
";

#[test]
fn realtime_with_its_missing_semicolon_loads_with_a_warning() {
    let Loaded { snapshot, warnings, .. } = load_with(REALTIME, &mut |_| unreachable!());
    let vhost = snapshot.vhost("x").unwrap();
    assert!(!vhost.min_latency, "as SRS 3.0 reads it");
    assert_eq!((vhost.play.gop_cache, vhost.play.queue_length), (false, Duration::from_secs(10)));
    assert_eq!(vhost.play.mw_latency, Duration::from_millis(100));
    let expected = "\
warning: `tcp_nodelay` goes on over the end of its line
 --> sample.conf:5:21
  |
5 |     tcp_nodelay     on
  |                     ^^ is a `;` missing here?
  |
  = help: `min_latency` is read as an argument of `tcp_nodelay`";
    assert_eq!(warnings.to_string(), expected);
}

#[test]
fn realtime_as_it_was_meant() {
    let text = REALTIME.replace("on\n", "on;\n");
    assert!(sample(&text).snapshot.vhost("x").unwrap().min_latency);
}

#[test]
fn a_missing_semicolon_after_listen_is_refused_as_in_srs() {
    let text = "listen 1935\nmax_connections 1000;\nvhost __defaultVhost__ { }\n";
    let report =
        load(Some(("http.heartbeat.conf", text.as_bytes())), [], &mut |_| unreachable!()).unwrap_err();
    let text = report.to_string();
    assert!(
        text.contains("http.heartbeat.conf:2:1") && text.contains("is a `;` missing before it?"),
        "{text}"
    );
}

#[test]
fn hls_in_three_kinds() {
    let hls = |inside: &str| {
        let head = "listen 1935; max_connections 1000; http_server { enabled on; listen 8080; }";
        waits_for(&format!("{head} vhost __defaultVhost__ {{ hls {{ enabled on; {inside} }} }}"), &[]);
    };
    hls(
        "hls_fragment 10; hls_window 60; hls_path ./objs/nginx/html; hls_m3u8_file [app]/[stream].m3u8; hls_ts_file [app]/[stream]-[seq].ts;",
    );
    hls("hls_fragment 0.2; hls_window 2; hls_wait_keyframe off;");
    hls("hls_ctx off; hls_ts_ctx off;");
}

#[test]
fn live_http_in_four_formats() {
    for (ending, extra, seconds) in
        [("flv", "", 0), ("ts", "", 0), ("aac", "fast_cache 30;", 30), ("mp3", "fast_cache 30;", 30)]
    {
        let mount = format!("[vhost]/[app]/[stream].{ending}");
        let text = format!(
            "listen 1935; http_server {{ enabled on; listen 8080; }} \
             vhost __defaultVhost__ {{ http_remux {{ enabled on; mount {mount}; {extra} }} }}"
        );
        let snapshot = waits_for(&text, &[]);
        let remux = &snapshot.vhosts[0].http_remux;
        assert_eq!((&remux.mount, remux.fast_cache.as_secs()), (&mount, seconds));
    }
}

#[test]
fn edges() {
    let text = "listen 19351; pid objs/edge.pid; srs_log_file ./objs/edge.log; http_server { enabled on; listen 8081; }
        vhost __defaultVhost__ {
            http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }
            cluster { mode remote; origin 127.0.0.1:1935 localhost:1935; token_traverse off; }
        }";
    waits_for(text, &[]);
    let transform = "listen 1935;
        vhost same.edge.srs.com { cluster { mode remote; origin 127.0.0.1:1935; vhost srs.srs.com; } }
        vhost __defaultVhost__ { ingest livestream { enabled on; input { type file; url ./doc/source.flv; }
            ffmpeg ./objs/ffmpeg/bin/ffmpeg;
            engine { enabled off; output rtmp://127.0.0.1:[port]/live?vhost=[vhost]/livestream; } } }";
    waits_for(transform, &[]);
    let cluster = "listen 19350; http_api { enabled on; listen 9090; }
        vhost a { cluster { mode local; origin_cluster on; coworkers 127.0.0.1:9091 127.0.0.1:9092; } }";
    waits_for(cluster, &[]);
}

#[test]
fn static_files_of_one_vhost() {
    let text = "listen 1935; http_server { enabled on; listen 8080; dir ./objs/nginx/html; }
        vhost ossrs.net { http_static { enabled on; mount [vhost]/; dir ./objs/nginx/html; } }";
    assert!(waits_for(text, &[]).vhost("other").is_none());
}

#[test]
fn recordings() {
    for dvr in [
        "dvr_path ./objs/nginx/html/[app]/[stream].[timestamp].flv; dvr_plan session;",
        "dvr_plan segment; dvr_duration 30; dvr_wait_keyframe on;",
        "dvr_path ./objs/nginx/html/[app]/[stream]/[2006]/[01]/[02]/[15].[04].[05].[999].mp4; dvr_plan session; time_jitter full;",
        "dvr_apply live/a live/b;",
    ] {
        waits_for(&format!("listen 1935; vhost __defaultVhost__ {{ dvr {{ enabled on; {dvr} }} }}"), &[]);
    }
}

#[test]
fn forwards() {
    let to = "listen 1935; pid ./objs/srs.master.pid; vhost __defaultVhost__ { forward { enabled on; destination 127.0.0.1:19350; } }";
    waits_for(to, &[]);
    let ask = "listen 1935; vhost __defaultVhost__ { forward { enabled on; backend http://127.0.0.1:8085/api/v1/forward; } }";
    waits_for(ask, &[]);
}

#[test]
fn child_processes() {
    let transcode = "listen 1935; vhost __defaultVhost__ { transcode { enabled on; ffmpeg ./objs/ffmpeg/bin/ffmpeg;
        engine ff { enabled on; vfilter { } vcodec libx264; vbitrate 500; vfps 25; vwidth 768; vheight 320; vthreads 12;
            vprofile main; vpreset medium; vparams { } acodec aac; abitrate 70; asample_rate 44100; achannels 2;
            aparams { } output rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]; } } }";
    waits_for(transcode, &[]);
    let rtsp = "listen 1935; vhost __defaultVhost__ { ingest { enabled on; input { type stream; url rtsp://admin@127.0.0.1/x; }
        ffmpeg ./objs/ffmpeg/bin/ffmpeg; engine { enabled off; perfile { rtsp_transport tcp; } vcodec copy; acodec copy;
        output rtmp://127.0.0.1:[port]/live?vhost=[vhost]/livestream; } } }";
    waits_for(rtsp, &[]);
    let exec = "listen 1935; vhost __defaultVhost__ { exec { enabled on;
        publish ./objs/ffmpeg/bin/ffmpeg -f flv -i [url] -c copy -y ./[stream].flv; } }";
    waits_for(exec, &[]);
}

#[test]
fn callbacks_and_access() {
    let url = "http://127.0.0.1:8085/api/v1/x";
    let events = ["connect", "close", "publish", "unpublish", "play", "stop"];
    let events: String = events.iter().map(|event| format!("on_{event} {url} {url};\n")).collect();
    waits_for(
        &format!("listen 1935; vhost __defaultVhost__ {{ http_hooks {{ enabled on; {events} }} }}"),
        &[],
    );
    waits_for(
        "listen 1935; vhost __defaultVhost__ { security { enabled on; deny publish all; allow play all; } }",
        &[],
    );
    waits_for(
        "listen 1935; vhost __defaultVhost__ { } vhost bandcheck.srs.com { enabled on; chunk_size 65000; bandcheck {
            enabled on; key \"35c9b402c12a7246868752e2878f7e0e\"; interval 30; limit_kbps 4000; } }",
        &[],
    );
}

#[test]
fn casters() {
    for (caster, features) in [
        ("caster mpegts_over_udp; output rtmp://127.0.0.1/live/livestream; listen 1935;", &[][..]),
        ("caster flv; output rtmp://127.0.0.1/[app]/[stream]; listen 8936;", &[]),
        (
            "caster rtsp; output rtmp://127.0.0.1/[app]/[stream]; listen 554; rtp_port_min 57200; rtp_port_max 57300; \
             auth { enabled on; username camera; password secret; }",
            &[],
        ),
        ("caster gb28181; output rtmp://127.0.0.1/live/[stream]; listen 9000;", &["GB28181"]),
    ] {
        waits_for(&format!("listen 1935; stream_caster {{ enabled on; {caster} }} vhost a {{ }}"), features);
    }
}

#[test]
fn the_rest() {
    let in_vhost = |text: &str| format!("listen 1935; vhost __defaultVhost__ {{ {text} }}");
    waits_for(
        &in_vhost(
            "dash { enabled on; dash_fragment 30; dash_update_period 150; dash_timeshift 300; dash_path ./objs/nginx/html; dash_mpd_file [app]/[stream].mpd; }",
        ),
        &[],
    );
    waits_for(
        &in_vhost("hds { enabled on; hds_fragment 10; hds_window 60; hds_path ./objs/nginx/html; }"),
        &[],
    );
    waits_for(
        "listen 1935; http_api { enabled on; listen 1985; raw_api { enabled on; allow_reload on; allow_query on; allow_update on; } }",
        &[],
    );
    waits_for(
        "listen 1935; heartbeat { enabled on; interval 9; url http://127.0.0.1:8085/api/v1/servers; device_id \"my-srs-device\"; summaries on; }",
        &[],
    );
    waits_for(
        "listen 1935; http_api { enabled on; auth { enabled on; username admin; password admin; } }",
        &[],
    );
    waits_for("listen 1935; exporter { enabled on; listen 9972; label cn-beijing; tag cn-edge; }", &[]);
    waits_for(
        "listen 1935 [::]:1935; http_api { enabled on; listen 8080; } http_server { enabled on; listen 8080; }",
        &[],
    );
    let kick = waits_for(&in_vhost("publish { kickoff_for_idle 30; }"), &[]);
    assert_eq!(kick.vhosts[0].publish.kickoff_for_idle, Duration::from_secs(30));
    waits_for(
        "listen 1935; http_server { enabled on; listen 8080; https { enabled on; listen 8088; key ./conf/server.key; cert ./conf/server.crt; } }",
        &[],
    );
}

#[test]
fn a_vhost_from_a_second_file() {
    let mut read = |name: &str| {
        assert_eq!(name, "./conf/include/include.vhost.conf");
        Ok(b"vhost __defaultVhost__ { http_remux { enabled on; } }".to_vec())
    };
    let loaded = load_with("listen 1935;\ninclude ./conf/include/include.vhost.conf;\n", &mut read);
    assert!(loaded.snapshot.vhosts[0].http_remux.enabled);
}

#[test]
fn every_old_name_at_once() {
    let text = "listen 1935; http_stream { enabled on; listen 8080; }
        vhost __defaultVhost__ {
            http { enabled on; mount [vhost]/; }
            http_remux { enabled on; hstrs on; }
            refer github.com; refer_play github.com; refer_publish github.com;
            mr { enabled off; latency 500; }
            publish_1stpkt_timeout 10000; publish_normal_timeout 7000;
            time_jitter zero; mix_correct on; atc on; atc_auto on; mw_latency 200; gop_cache off; queue_length 20;
            send_min_interval 10.0; reduce_sequence_header on;
            forward 127.0.0.1:1936;
            mode remote; origin 127.0.0.1:1935; token_traverse off; vhost same.com; debug_srs_upnode off;
        }";
    let Loaded { snapshot, warnings, .. } = load_with(text, &mut |_| unreachable!());
    let vhost = &snapshot.vhosts[0];
    assert!(snapshot.http_server.enabled && vhost.http_remux.enabled);
    assert_eq!(vhost.publish.first_packet_timeout, Duration::from_secs(10));
    assert_eq!(vhost.publish.normal_timeout, Duration::from_secs(7));
    assert!(!vhost.publish.merged_read && vhost.publish.merged_read_latency.as_millis() == 500);
    let play = &vhost.play;
    assert!(play.mix_correct && play.atc && play.atc_auto && play.reduce_sequence_header && !play.gop_cache);
    assert_eq!((play.time_jitter, play.mw_latency.as_millis()), (TimeJitter::Zero, 200));
    assert_eq!((play.queue_length.as_secs(), play.send_min_interval.as_millis()), (20, 10));
    assert_eq!(
        (warnings.errors(), warnings.warnings()),
        (0, 23),
        "one for each old name but two: {warnings}"
    );
}
