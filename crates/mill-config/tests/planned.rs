//! What is still to come. A feature that lands takes its rows out of this list, which ends empty.

use mill_config::spec::{Status, entries};

/// Feature, and the directives that wait for it.
#[rustfmt::skip] // one block, one line
const PLANNED: &[(&str, &str)] = &[
    ("circuit breaker", "
        circuit_breaker
        circuit_breaker.enabled circuit_breaker.high_threshold circuit_breaker.high_pulse
        circuit_breaker.critical_threshold circuit_breaker.critical_pulse circuit_breaker.dying_threshold
        circuit_breaker.dying_pulse
    "),
    ("GB28181", "
        stream_caster.sip
        stream_caster.sip.enabled stream_caster.sip.listen stream_caster.sip.timeout
        stream_caster.sip.reinvite stream_caster.sip.candidate
    "),
    ("server id", "
        server_id
    "),
    ("SRT", "
        srt_server
        srt_server.enabled srt_server.listen srt_server.maxbw srt_server.mss srt_server.latency
        srt_server.recvlatency srt_server.peerlatency srt_server.connect_timeout srt_server.peer_idle_timeout
        srt_server.sendbuf srt_server.recvbuf srt_server.payloadsize srt_server.default_app
        srt_server.sei_filter srt_server.mix_correct srt_server.tlpktdrop srt_server.tsbpdmode
        srt_server.passphrase srt_server.pbkeylen
        vhost.srt
        vhost.srt.enabled vhost.srt.srt_to_rtmp
    "),
    ("WebRTC", "
        rtc_server
        rtc_server.enabled rtc_server.listen rtc_server.tcp rtc_server.protocol rtc_server.candidate
        rtc_server.use_auto_detect_network_ip rtc_server.ip_family rtc_server.api_as_candidates
        rtc_server.resolve_api_domain rtc_server.keep_api_domain rtc_server.ecdsa rtc_server.encrypt
        rtc_server.reuseport rtc_server.merge_nalus rtc_server.black_hole
        rtc_server.tcp.enabled rtc_server.tcp.listen
        rtc_server.black_hole.enabled rtc_server.black_hole.addr
        vhost.rtc
        vhost.rtc.enabled vhost.rtc.rtmp_to_rtc vhost.rtc.rtc_to_rtmp vhost.rtc.nack vhost.rtc.nack_no_copy
        vhost.rtc.twcc vhost.rtc.keep_bframe vhost.rtc.keep_avc_nalu_sei vhost.rtc.stun_timeout
        vhost.rtc.stun_strict_check vhost.rtc.dtls_role vhost.rtc.dtls_version vhost.rtc.drop_for_pt
        vhost.rtc.pli_for_rtmp vhost.rtc.opus_bitrate vhost.rtc.aac_bitrate
    "),
];

#[test]
fn the_list_is_that_of_the_table() {
    let mut table: Vec<String> = entries()
        .iter()
        .filter_map(|entry| match entry.row.status {
            Status::Planned(feature) => Some(format!("{feature}: {}", entry.path())),
            _ => None,
        })
        .collect();
    let mut listed: Vec<String> = PLANNED
        .iter()
        .flat_map(|(feature, paths)| paths.split_whitespace().map(move |path| format!("{feature}: {path}")))
        .collect();
    table.sort();
    listed.sort();
    let missing: Vec<&String> = table.iter().filter(|row| !listed.contains(row)).collect();
    let landed: Vec<&String> = listed.iter().filter(|row| !table.contains(row)).collect();
    assert!(missing.is_empty(), "planned in the table, not listed here: {missing:#?}");
    assert!(landed.is_empty(), "listed here, not planned in the table (any more): {landed:#?}");
    assert_eq!(table.len(), listed.len(), "a row is listed twice");
}
