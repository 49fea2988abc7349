//! Every old name, and what it becomes.

use crate::report::Report;
use crate::tree::Directive;
use crate::{parser, tree};

fn parse(text: &str, report: &mut Report) -> Vec<Directive> {
    parser::parse("t", text.as_bytes(), &mut |_| unreachable!(), report)
}

/// `old` becomes `new` with so many warnings.
#[track_caller]
fn check(old: &str, new: &str, warnings: usize) {
    let mut report = Report::default();
    let mut tree = parse(old, &mut report);
    super::rewrite(&mut tree, &mut report);
    let expected = parse(new, &mut report);
    assert_eq!(tree::write(&tree), tree::write(&expected), "{report}");
    assert_eq!((report.errors(), report.warnings()), (0, warnings), "{report}");
}

/// The same inside a vhost.
#[track_caller]
fn check_vhost(old: &str, new: &str, warnings: usize) {
    check(&format!("vhost v {{ {old} }}"), &format!("vhost v {{ {new} }}"), warnings);
}

#[test]
fn blocks_are_renamed() {
    check("http_stream { enabled on; }", "http_server { enabled on; }", 0);
    check_vhost("http { enabled on; }", "http_static { enabled on; }", 1);
    check("srt_server { tlpkdrop off; }", "srt_server { tlpktdrop off; }", 1);
}

#[test]
fn useless_names_are_dropped() {
    check_vhost("http_remux { hstrs on; mount x; }", "http_remux { mount x; }", 0);
    check("rtc_server { perf_stat on; listen 1; queue_length 5; }", "rtc_server { listen 1; }", 2);
}

#[test]
fn lists_without_a_block_get_a_switch() {
    check_vhost("refer a b;", "refer { enabled on; all a b; }", 1);
    check_vhost("refer_play a;", "refer { enabled on; play a; }", 1);
    check_vhost("refer_publish a;", "refer { enabled on; publish a; }", 1);
    check_vhost("refer a; refer_play b;", "refer { all a; enabled on; play b; }", 2);
    check_vhost("forward a:1 b;", "forward { enabled on; destination a:1 b; }", 1);
}

#[test]
fn the_new_forms_are_left_alone() {
    check_vhost("refer {}", "refer {}", 0);
    check_vhost("refer { all a; }", "refer { all a; }", 0);
    check_vhost("forward { enabled on; destination a; }", "forward { enabled on; destination a; }", 0);
    check_vhost("dvr { time_jitter zero; }", "dvr { time_jitter zero; }", 0);
}

#[test]
fn leaves_move_into_their_blocks() {
    for name in [
        "time_jitter",
        "mix_correct",
        "atc",
        "atc_auto",
        "mw_latency",
        "gop_cache",
        "gop_cache_max_frames",
        "queue_length",
        "send_min_interval",
        "reduce_sequence_header",
    ] {
        check_vhost(&format!("{name} x;"), &format!("play {{ {name} x; }}"), 1);
    }
    for name in ["mode", "origin", "token_traverse", "vhost", "debug_srs_upnode"] {
        check_vhost(&format!("{name} x;"), &format!("cluster {{ {name} x; }}"), 1);
    }
    check_vhost("publish_1stpkt_timeout 5;", "publish { firstpkt_timeout 5; }", 1);
    check_vhost("publish_normal_timeout 5;", "publish { normal_timeout 5; }", 1);
    check_vhost("mr { enabled on; latency 5; }", "publish { mr on; mr_latency 5; }", 2);
    let new = "rtc { nack on; nack_no_copy off; twcc on; }";
    check_vhost("nack { enabled on; no_copy off; } twcc { enabled on; }", new, 3);
}

#[test]
fn the_old_form_wins() {
    check_vhost("play { gop_cache on; atc on; } gop_cache off;", "play { atc on; gop_cache off; }", 1);
    check_vhost("gop_cache off; play { gop_cache on; }", "play { gop_cache off; }", 1);
}

#[test]
fn words_of_rtc_become_switches() {
    check_vhost("rtc { aac transcode; bframe keep; }", "rtc { rtmp_to_rtc on; keep_bframe on; }", 2);
    check_vhost("rtc { aac discard; bframe discard; }", "rtc { rtmp_to_rtc off; keep_bframe off; }", 2);
}

#[test]
fn the_plan_append_becomes_session() {
    check_vhost("dvr { dvr_plan append; }", "dvr { dvr_plan session; }", 1);
}

#[test]
fn gb28181_of_srs_4() {
    let old = "stream_caster { caster gb28181; host 1.2.3.4; rtp_port_min 1; rtp_port_max 2; wait_keyframe on; \
               sip { enabled on; serial 1; } }";
    check(old, "stream_caster { caster gb28181; sip { enabled on; candidate 1.2.3.4; } }", 5);
    let rtsp = "stream_caster { caster rtsp; rtp_port_min 1; }";
    check(rtsp, rtsp, 0);
}
