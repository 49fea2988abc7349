//! The main job: what an encoder publishes over RTMP, strangers' players play over RTMP and HTTP-FLV.

use crate::harness::ffmpeg::{
    AUDIO, H264, Probe, VIDEO, decode, decode_file, probe, probe_file, publish, publish_both, publish_file,
    tool,
};
use crate::harness::media::{AVATAR, BBB, file};
use crate::harness::process::Process;
use crate::harness::server::{Folder, Server};
use crate::harness::{PATIENCE, SOON};

/// About four seconds of both tracks.
const PACKETS: usize = 250;

#[track_caller]
fn assert_both_tracks(probe: &Probe, codecs: [&str; 2]) {
    let mut found = probe.codecs.clone();
    found.sort();
    assert_eq!(found, codecs, "codecs");
    assert!(probe.video().count() > 50 && probe.audio().count() > 50, "{probe:?}");
    probe.assert_sound();
}

#[track_caller]
fn assert_plays_everywhere(server: &Server) {
    for url in [server.rtmp("live/s"), server.http("live/s.flv")] {
        assert_both_tracks(&probe(&url, PACKETS), ["aac", "h264"]);
        decode(&url, 3);
    }
}

#[test]
fn a_real_encoders_file_plays_over_both() {
    let server = Server::plain();
    let _encoder = publish_file(&file(BBB), &server.rtmp("live/s"));
    assert_plays_everywhere(&server);
}

#[test]
fn a_file_with_b_frames_plays_over_both() {
    let server = Server::plain();
    let _encoder = publish_file(&file(AVATAR), &server.rtmp("live/s"));
    assert_plays_everywhere(&server);
}

#[test]
fn a_live_encoder_plays_over_both() {
    let server = Server::plain();
    let _encoder = publish_both(&server.rtmp("live/s"));
    assert_plays_everywhere(&server);
}

#[test]
fn mp3_sound_plays_over_both() {
    let server = Server::plain();
    let _encoder =
        publish(&format!("-re {VIDEO} -re {AUDIO} {H264} -c:a libmp3lame -b:a 64k"), &server.rtmp("live/s"));
    for url in [server.rtmp("live/s"), server.http("live/s.flv")] {
        assert_both_tracks(&probe(&url, PACKETS), ["h264", "mp3"]);
    }
}

#[test]
fn a_stream_name_may_have_parameters_and_levels() {
    let server = Server::plain();
    let _encoder = publish_file(&file(BBB), &server.rtmp("a/b/s?token=1"));
    assert_both_tracks(&probe(&server.rtmp("a/b/s"), PACKETS), ["aac", "h264"]);
}

#[test]
fn rtmpdump_records_a_live_stream() {
    let server = Server::plain();
    let _encoder = publish_file(&file(BBB), &server.rtmp("live/s"));
    let dir = Folder::new();
    let flv = dir.path().join("dump.flv");
    // By the times of the stream, of which a busy machine has missed some when it joins.
    let mut command = tool("rtmpdump", "--quiet --live --stop 6 --timeout 10 --rtmp");
    let run = Process::run(command.arg(server.rtmp("live/s")).arg("--flv").arg(&flv), PATIENCE);
    assert!(flv.exists(), "rtmpdump wrote nothing: {}", run.text());
    assert_both_tracks(&probe_file(&flv), ["aac", "h264"]);
    decode_file(&flv);
}

#[test]
fn curl_gets_a_whole_file_when_the_publisher_ends() {
    let server = Server::plain();
    let dir = Folder::new();
    let flv = dir.path().join("curl.flv");
    // Before there is a publisher, so that it misses nothing.
    let mut command = tool("curl", "--silent --show-error --fail --max-time 40 --output");
    let curl = Process::start(command.arg(&flv).arg(server.http("live/s.flv")));
    crate::harness::wait_until("curl is connected", SOON, || {
        server.log().contains("live/s.flv") || flv.exists()
    });

    let clip = file(BBB);
    let mut once = tool("ffmpeg", "-hide_banner -nostdin -v error -re -t 4");
    once.arg("-i").arg(&clip).args(["-c", "copy", "-f", "flv", &server.rtmp("live/s")]);
    let encoder = Process::run(&mut once, PATIENCE);
    assert!(encoder.status.success(), "{}", encoder.text());

    // Zero means that the body was closed as HTTP/1.1 asks; anything cut short is an error to curl.
    let run = curl.finish(SOON);
    assert_eq!(run.status.code(), Some(0), "{}", run.text());
    let probe = probe_file(&flv);
    assert_both_tracks(&probe, ["aac", "h264"]);
    // All that was published is there: four seconds at the file's own rate.
    let sent = probe_file(&clip);
    let expected = sent.video().filter(|p| p.dts < 3900).count();
    assert!(probe.video().count() >= expected, "{} of {expected} pictures", probe.video().count());
    decode_file(&flv);
}
