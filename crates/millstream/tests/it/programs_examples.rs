//! The configurations in `conf/` that run programs do what their comments promise, with the real ffmpeg.

use crate::harness::ffmpeg::{
    AAC, AUDIO, H264, VIDEO, decode, decode_file, probe, publish, publish_both, size, tool,
};
use crate::harness::process::Process;
use crate::harness::server::{Server, free_port, moved, shipped};
use crate::harness::{PATIENCE, wait_until};

/// An example that runs ffmpeg where SRS's build puts it, with a file where its sources have one.
#[track_caller]
fn with_ffmpeg(name: &str, change: impl Fn(String) -> String) -> Server {
    let programs = std::env::var_os("PATH").unwrap();
    let ffmpeg = std::env::split_paths(&programs).map(|dir| dir.join("ffmpeg")).find(|file| file.exists());
    let ffmpeg = ffmpeg.expect("ffmpeg is installed");
    let text = std::fs::read_to_string(shipped().join(name)).unwrap();
    Server::start_with(|command, ports, dir| {
        std::fs::create_dir_all(dir.join("objs/ffmpeg/bin")).unwrap();
        std::os::unix::fs::symlink(&ffmpeg, dir.join("objs/ffmpeg/bin/ffmpeg")).unwrap();
        std::fs::create_dir(dir.join("doc")).unwrap();
        std::fs::copy(crate::programs::clip(), dir.join("doc/source.flv")).unwrap();
        let mut text = moved(&change(text.clone()), ports);
        if !text.contains("http_server") {
            // The harness waits for it.
            text += &format!("\nhttp_server {{ enabled on; listen 127.0.0.1:{}; }}\n", ports.http);
        }
        std::fs::write(dir.join("srs.conf"), text).unwrap();
        command.args(["-c", "srs.conf"]);
    })
}

#[test]
fn ingest() {
    let server = with_ffmpeg("ingest.conf", |text| text);
    let url = server.rtmp("live/livestream");
    wait_until("the file is on air", PATIENCE, || size(&url) == "640,360");
    let probe = probe(&url, 60);
    assert_eq!(probe.codecs.len(), 2);
    probe.assert_sound();
}

#[test]
fn ingest_rtsp() {
    // ffmpeg itself plays the camera: it has no server for RTSP, but it may wait for one who announces.
    let camera = free_port();
    let server = with_ffmpeg("ingest.rtsp.conf", |text| {
        let url =
            text.split_once("url ").and_then(|(_, rest)| rest.split_once(';')).unwrap().0.trim().to_owned();
        let text = text.replace(&url, &format!("rtsp://127.0.0.1:{camera}/camera"));
        text.replace("perfile {", "perfile { rtsp_flags listen;")
    });
    let output = format!("-rtsp_transport tcp -f rtsp rtsp://127.0.0.1:{camera}/camera");
    let announce = || {
        let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -re");
        command.args(VIDEO.split_whitespace()).args(["-re"]).args(AUDIO.split_whitespace());
        command.args(H264.split_whitespace()).args(AAC.split_whitespace()).args(output.split_whitespace());
        Process::start(&mut command)
    };
    let mut encoder = announce();
    let url = server.rtmp("live/livestream");
    wait_until("the camera is on air", PATIENCE, || {
        if !encoder.alive() {
            // The program that listens was not there yet.
            encoder = announce();
        }
        server.log().contains("source url=/live/livestream,") && size(&url) == "320,180"
    });
}

#[test]
fn exec() {
    let server = with_ffmpeg("exec.conf", |text| text);
    let encoder = publish_both(&server.rtmp("live/livestream"));
    let file = server.dir().join("livestream.flv");
    wait_until("the file grows", PATIENCE, || {
        std::fs::metadata(&file).is_ok_and(|file| file.len() > 100_000)
    });
    drop(encoder);
    crate::harness::programs::await_alone(&server);
    // To its last packet: ffmpeg has finished it.
    decode_file(&file);
}

#[test]
fn ffmpeg_transcode() {
    let server = with_ffmpeg("ffmpeg.transcode.conf", |text| text);
    let _encoder = publish_both(&server.rtmp("live/livestream"));
    let url = server.rtmp("live/livestream_ff");
    wait_until("the other version is on air", PATIENCE, || size(&url) == "768,320");
    let probe = probe(&url, 60);
    assert!(["h264", "aac"].iter().all(|codec| probe.codecs.contains(&codec.to_string())), "{probe:?}");
    probe.assert_sound();
    decode(&url, 2);
}

#[test]
fn transcode_to_hls() {
    let server = with_ffmpeg("transcode2hls.audio.only.conf", |text| {
        // Not the ten seconds of a segment by default.
        text.replace("hls {", "hls { hls_fragment 1;")
    });
    let encoder = format!("-re {VIDEO} -re {AUDIO} {H264} -c:a libmp3lame -b:a 64k");
    let _encoder = publish(&encoder, &server.rtmp("live/livestream"));
    let url = server.http("live/livestream_ff.m3u8");
    wait_until("the other version is on air", PATIENCE, || size(&url) == "320,180");
    let mut codecs = probe(&url, 60).codecs;
    codecs.sort();
    assert_eq!(codecs, ["aac", "h264"]);
}

#[test]
fn snapshot() {
    let server = with_ffmpeg("snapshot.conf", |text| text);
    let _encoder = publish_both(&server.rtmp("live/livestream"));
    let last = server.dir().join("objs/nginx/html/live/livestream-006.png");
    wait_until("six pictures are there", PATIENCE, || {
        last.exists() && size(last.to_str().unwrap()) == "320,180"
    });
}
