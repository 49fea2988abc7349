//! `millstream demo`: one command, and a stream to look at on both protocols, without end.

use crate::harness::ffmpeg::{decode, probe};
use crate::harness::media::{FlvViewer, Receive, kind, parse};
use crate::harness::server::Server;
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;
use std::time::{Duration, Instant};

/// The clip that it publishes in a loop.
const CLIP: &[u8] = include_bytes!("../../assets/demo.flv");

fn demo() -> Server {
    Server::start_with(|command, ports, _| {
        command.arg("demo");
        command.env("SRS_LISTEN", format!("127.0.0.1:{}", ports.rtmp));
        command.env("SRS_HTTP_SERVER_LISTEN", format!("127.0.0.1:{}", ports.http));
        command.env("SRS_HTTP_API_LISTEN", format!("127.0.0.1:{}", ports.api));
    })
}

/// An address that it prints, beginning and ending like this.
#[track_caller]
fn printed(server: &Server, start: &str, end: &str) -> String {
    let mut found = None;
    crate::harness::wait_until(&format!("{start}…{end} is printed"), crate::harness::SOON, || {
        let said = server.log();
        found = said
            .split(|c: char| c.is_whitespace() || c == '"' || c == '\'')
            .find(|word| word.starts_with(start) && word.ends_with(end))
            .map(str::to_string);
        found.is_some()
    });
    found.unwrap_or_default()
}

#[test]
fn it_prints_addresses_that_play() {
    let server = demo();
    let rtmp = printed(&server, "rtmp://", "");
    let flv = printed(&server, "http://", ".flv");
    for url in [rtmp, flv] {
        // The machine's own name may stand there; the test must not depend on how it resolves.
        let (scheme, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let default = if scheme == "rtmp" { "1935" } else { "80" };
        let port = host.rsplit_once(':').map_or(default, |(_, port)| port);
        let url = format!("{scheme}://127.0.0.1:{port}/{path}");
        let probe = probe(&url, 150);
        let mut codecs = probe.codecs.clone();
        codecs.sort();
        assert_eq!(codecs, ["aac", "h264"], "{url}");
        probe.assert_sound();
        decode(&url, 2);
    }
}

#[test]
fn the_loop_has_no_seam() {
    let server = demo();
    let flv = printed(&server, "http://", ".flv");
    let path =
        flv.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path).unwrap();
    let mut viewer = FlvViewer::open(&server, &format!("/{path}"));

    let clip: Vec<Tag> =
        parse(CLIP).into_iter().filter(|tag| kind(tag).is_some_and(|k| !k.is_header())).collect();
    let first = clip.iter().find(|tag| kind(tag) == Some(FrameKind::Keyframe)).unwrap();
    let last = clip.iter().rfind(|tag| tag.tag_type == 9).unwrap();

    // Up to a second after the seam; the clip lasts ten.
    let end = Instant::now() + Duration::from_secs(25);
    let (mut seen, mut after_seam) = (Vec::<Tag>::new(), 0);
    while after_seam < 25 {
        assert!(Instant::now() < end, "no seam among {} tags", seen.len());
        let tag = viewer.next(Duration::from_secs(5)).expect("the demo goes on");
        if kind(&tag).is_none_or(|kind| kind.is_header()) {
            assert!(seen.is_empty(), "headers again in the middle: {:?}", kind(&tag));
            continue;
        }
        if tag.tag_type == 9 && (after_seam > 0 || tag.body == first.body && !seen.is_empty()) {
            after_seam += 1;
        }
        seen.push(tag);
    }

    let video: Vec<&Tag> = seen.iter().filter(|tag| tag.tag_type == 9).collect();
    for pair in video.windows(2) {
        let seam = pair[0].body == last.body;
        assert_eq!(seam, pair[1].body == first.body, "the clip's end and beginning meet");
        assert_eq!(pair[1].timestamp - pair[0].timestamp, 40, "seam: {seam}");
    }
    assert!(video.windows(2).any(|pair| pair[0].body == last.body));
    let audio: Vec<&Tag> = seen.iter().filter(|tag| tag.tag_type == 8).collect();
    for pair in audio.windows(2) {
        // 1024 samples at 44.1 kHz last 23.2 ms.
        let step = pair[1].timestamp - pair[0].timestamp;
        assert!((22..=25).contains(&step), "sound steps by {step} ms");
    }
}
