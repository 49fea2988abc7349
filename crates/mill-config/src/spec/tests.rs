//! The table against itself.

use std::collections::HashMap;

use super::*;
use crate::value;

#[test]
fn names_are_unique_in_their_block() {
    let mut seen = HashMap::new();
    for entry in entries() {
        let path = entry.path();
        assert!(seen.insert(path.clone(), ()).is_none(), "{path} has two rows");
        assert!(!path.contains(' ') && !entry.row.doc.is_empty(), "{path}");
        assert!(entry.row.doc.ends_with('.'), "the doc line of {path} is a sentence");
        assert!(!entry.row.doc.contains('|'), "the doc line of {path} would break its table");
    }
}

#[test]
fn environment_names_lead_to_one_directive() {
    let mut seen: HashMap<String, String> = HashMap::new();
    for entry in entries() {
        for name in entry.env_names() {
            let other = seen.insert(name.clone(), entry.path());
            assert_eq!(other, None, "{name} also means {}", entry.path());
        }
    }
}

#[test]
fn environment_names_are_those_of_srs() {
    let known: Vec<String> = entries().iter().flat_map(Entry::env_names).collect();
    for name in [
        "SRS_LISTEN",
        "SRS_CHUNK_SIZE",
        "SRS_VHOST_CHUNK_SIZE",
        "SRS_LOG_TANK",
        "SRS_SRS_LOG_TANK",
        "SRS_LOG_LEVEL",
        "SRS_SRS_LOG_LEVEL",
        "SRS_LOG_LEVEL_V2",
        "SRS_SRS_LOG_LEVEL_V2",
        "SRS_LOG_FILE",
        "SRS_SRS_LOG_FILE",
        "SRS_VHOST_SRT_TO_RTMP",
        "SRS_VHOST_SRT_SRT_TO_RTMP",
        "SRS_VHOST_HLS_HLS_FRAGMENT",
        "SRS_VHOST_DVR_DVR_PATH",
        "SRS_VHOST_HTTP_HOOKS_ON_CONNECT",
        "SRS_HTTP_API_ENABLED",
        "SRS_HTTP_API_RAW_API_ALLOW_RELOAD",
        "SRS_HTTP_SERVER_HTTPS_LISTEN",
        "SRS_SRT_SERVER_PAYLOADSIZE",
        "SRS_SRT_SERVER_SEI_FILTER",
        "SRS_RTC_SERVER_TCP_LISTEN",
        "SRS_VHOST_CLUSTER_VHOST",
    ] {
        assert!(known.iter().any(|known| known == name), "{name}");
    }
    assert!(!known.iter().any(|name| name == "SRS_VHOST" || name == "SRS_INCLUDE"));
}

#[test]
fn defaults_and_examples_are_values_of_their_kind() {
    for Entry { scope, row } in entries() {
        let path = format!("{scope:?} {}", row.name);
        assert!(row.range.min <= row.range.max, "{path}");
        if row.is_block() {
            assert!(row.default.is_empty(), "{path}");
            continue;
        }
        assert!(!row.required || row.default.is_empty(), "{path} is required, so it has no default");
        let shown = if row.default.is_empty() { row.example } else { row.default };
        assert!(!shown.is_empty(), "{path} has neither default nor example");
        match row.kind {
            Kind::BoolOn | Kind::BoolOff => assert!(["on", "off"].contains(&row.default), "{path}"),
            Kind::Int(_) | Kind::Float(_) => {
                let number = value::number(row, shown).unwrap();
                assert!(!number.surplus, "{path}");
                assert_eq!(value::number_in_range(row, shown), Some(number.value), "{path}");
            }
            Kind::Word(words, otherwise) => {
                assert!(words.contains(&shown), "{path}");
                if let Otherwise::ReadAs(other) = otherwise {
                    assert!(words.contains(&other), "{path}");
                }
            }
            Kind::Endpoint => assert!(value::endpoint(shown).is_ok(), "{path}"),
            _ => {}
        }
    }
}

#[test]
fn what_inherits_is_also_outside_all_blocks() {
    for Entry { row, .. } in entries().iter().filter(|entry| entry.row.inherits) {
        assert!(find(root(), row.name).is_some_and(|root| !root.default.is_empty()), "{}", row.name);
    }
}

/// Every directive of the fact sheet, block by block.
#[test]
fn nothing_is_missing() {
    let paths: Vec<String> = entries().iter().map(Entry::path).collect();
    for (scope, names) in [
        (
            "",
            "include listen pid chunk_size ff_log_dir ff_log_level srs_log_tank srs_log_level srs_log_level_v2 srs_log_file max_connections daemon utc_time pithy_print_ms work_dir asprocess empty_ip_ok grace_start_wait grace_final_wait force_grace_quit disable_daemon_for_docker inotify_auto_reload auto_reload_for_docker query_latest_version server_id in_docker first_wait_for_qlv tcmalloc_release_rate is_full tencentcloud_cls tencentcloud_apm",
        ),
        ("threads", "interval"),
        (
            "circuit_breaker",
            "enabled high_threshold high_pulse critical_threshold critical_pulse dying_threshold dying_pulse",
        ),
        ("exporter", "enabled listen label tag"),
        ("heartbeat", "enabled interval url device_id summaries ports"),
        ("stats", "enabled network disk"),
        ("http_api", "enabled listen crossdomain"),
        ("http_api.raw_api", "enabled allow_reload allow_query allow_update"),
        ("http_api.auth", "enabled username password"),
        ("http_api.https", "enabled listen key cert"),
        ("http_server", "enabled listen dir crossdomain"),
        ("http_server.https", "enabled listen key cert"),
        ("stream_caster", "enabled caster output listen rtp_port_min rtp_port_max"),
        ("stream_caster.sip", "enabled listen timeout reinvite candidate"),
        (
            "srt_server",
            "enabled listen maxbw mss latency recvlatency peerlatency connect_timeout peer_idle_timeout sendbuf recvbuf payloadsize default_app sei_filter mix_correct tlpktdrop tsbpdmode passphrase pbkeylen",
        ),
        (
            "rtc_server",
            "enabled listen candidate protocol ip_family ecdsa encrypt reuseport merge_nalus api_as_candidates resolve_api_domain keep_api_domain use_auto_detect_network_ip black_hole",
        ),
        ("rtc_server.tcp", "enabled listen"),
        ("vhost", "enabled chunk_size min_latency tcp_nodelay in_ack_size out_ack_size"),
        (
            "vhost.play",
            "gop_cache gop_cache_max_frames queue_length time_jitter mix_correct atc atc_auto mw_latency mw_msgs send_min_interval reduce_sequence_header",
        ),
        (
            "vhost.publish",
            "mr mr_latency firstpkt_timeout normal_timeout parse_sps kickoff_for_idle try_annexb_first",
        ),
        (
            "vhost.cluster",
            "mode origin token_traverse vhost debug_srs_upnode origin_cluster coworkers protocol follow_client",
        ),
        ("vhost.forward", "enabled destination backend"),
        ("vhost.refer", "enabled all play publish"),
        ("vhost.bandcheck", "enabled key interval limit_kbps"),
        ("vhost.security", "enabled allow deny"),
        ("vhost.http_static", "enabled mount dir"),
        ("vhost.http_remux", "enabled mount fast_cache drop_if_not_match has_audio has_video guess_has_av"),
        (
            "vhost.http_hooks",
            "enabled on_connect on_close on_publish on_unpublish on_play on_stop on_dvr on_hls on_hls_notify",
        ),
        ("vhost.exec", "enabled publish"),
        ("vhost.dvr", "enabled dvr_apply dvr_plan dvr_path dvr_duration dvr_wait_keyframe time_jitter"),
        (
            "vhost.hls",
            "enabled hls_fragment hls_td_ratio hls_aof_ratio hls_window hls_on_error hls_path hls_m3u8_file hls_ts_file hls_ts_floor hls_entry_prefix hls_acodec hls_vcodec hls_cleanup hls_dispose hls_nb_notify hls_wait_keyframe hls_dts_directly hls_keys hls_fragments_per_key hls_key_file hls_key_file_path hls_key_url hls_storage hls_mount hls_ctx hls_ts_ctx",
        ),
        (
            "vhost.dash",
            "enabled dash_fragment dash_update_period dash_timeshift dash_path dash_mpd_file dash_window_size dash_cleanup dash_dispose",
        ),
        ("vhost.hds", "enabled hds_fragment hds_window hds_path"),
        ("vhost.ingest", "enabled input ffmpeg engine"),
        ("vhost.ingest.input", "type url"),
        ("vhost.transcode", "enabled ffmpeg engine"),
        (
            "vhost.transcode.engine",
            "enabled perfile iformat vfilter vcodec vbitrate vfps vwidth vheight vthreads vprofile vpreset vparams acodec abitrate asample_rate achannels aparams oformat output",
        ),
        ("vhost.srt", "enabled srt_to_rtmp"),
        (
            "vhost.rtc",
            "enabled rtmp_to_rtc rtc_to_rtmp nack nack_no_copy twcc keep_bframe keep_avc_nalu_sei stun_timeout stun_strict_check dtls_role dtls_version drop_for_pt pli_for_rtmp opus_bitrate aac_bitrate",
        ),
    ] {
        for name in names.split(' ') {
            let path = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
            assert!(paths.contains(&path), "{path}");
        }
    }
}
