//! Streams of one track start as promptly as others, and the FLV header says which track there is.

use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{AAC, AUDIO, H264, VIDEO, probe, publish};
use crate::harness::media::{FlvViewer, Viewer, aac, aac_header, avc, avc_header, kind, serial};
use crate::harness::server::{Conf, Server};
use std::time::{Duration, Instant};

/// From request to first frame of a stream that is live already.
const PROMPT: Duration = Duration::from_secs(2);

const AUDIO_FLAG: u8 = 4;
const VIDEO_FLAG: u8 = 1;

/// The first frame must come while frames trickle at their real pace.
#[track_caller]
fn assert_prompt(viewer: &mut impl Viewer, mut publish_next: impl FnMut()) {
    let start = Instant::now();
    loop {
        if let Some(tag) = viewer.next(Duration::from_millis(20)) {
            if kind(&tag).is_some_and(|kind| !kind.is_header()) {
                return;
            }
            continue;
        }
        assert!(start.elapsed() < PROMPT, "no frame within {PROMPT:?}");
        publish_next();
    }
}

#[test]
fn sound_alone_is_announced_and_starts_promptly() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(8, 0, &aac_header());
    let mut n = 0;
    let mut frame = || {
        publisher.send(8, 23 * n, &aac(n));
        n += 1;
    };
    (0..10).for_each(|_| frame());

    let mut flv = FlvViewer::open(&server, "/live/s.flv");
    assert_prompt(&mut flv, &mut frame);
    assert_eq!(flv.flags(), AUDIO_FLAG);
    let mut rtmp = Player::start(&server, "live/s");
    assert_prompt(&mut rtmp, &mut frame);
}

#[test]
fn pictures_alone_are_announced_and_start_promptly() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    let mut n = 0;
    let mut frame = || {
        publisher.send(9, 40 * n, &avc(n % 25 == 0, n, 1000));
        n += 1;
    };
    (0..10).for_each(|_| frame());

    let mut flv = FlvViewer::open(&server, "/live/s.flv");
    assert_prompt(&mut flv, &mut frame);
    assert_eq!(flv.flags(), VIDEO_FLAG);
    let mut rtmp = Player::start(&server, "live/s");
    assert_prompt(&mut rtmp, &mut frame);
}

#[test]
fn both_tracks_are_announced() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    publisher.send(9, 0, &avc(true, 0, 1000));
    publisher.send(8, 0, &aac(0));
    let mut flv = FlvViewer::open(&server, "/live/s.flv");
    assert_eq!(flv.flags(), AUDIO_FLAG | VIDEO_FLAG);
}

/// A viewer who is there before the publisher is told the truth as well.
#[test]
fn a_viewer_who_waited_is_told_the_track_too() {
    let server = Server::plain();
    for (name, tag_type, header, flag) in
        [("a", 8, aac_header(), AUDIO_FLAG), ("v", 9, avc_header(), VIDEO_FLAG)]
    {
        let mut flv = FlvViewer::open(&server, &format!("/live/{name}.flv"));
        let mut publisher = Publisher::start(&server, &format!("live/{name}"));
        publisher.send(tag_type, 0, &header);
        let mut n = 0;
        assert_prompt(&mut flv, || {
            let body = if tag_type == 8 { aac(n) } else { avc(n == 0, n, 100) };
            publisher.send(tag_type, 40 * n, &body);
            n += 1;
        });
        assert_eq!(flv.flags(), flag, "{name}");
    }
}

/// A track that comes late is not dropped, whatever the header said.
#[test]
fn sound_that_comes_later_is_delivered() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &avc_header());
    for n in 0..10 {
        publisher.send(9, 40 * n, &avc(n == 0, n, 1000));
    }
    let mut flv = FlvViewer::open(&server, "/live/s.flv");
    flv.until_serial(9);
    publisher.send(8, 400, &aac_header());
    publisher.send(8, 400, &aac(77));
    let sound = flv.find("the sound", |tag| tag.tag_type == 8 && tag.body[1] == 1);
    assert_eq!(serial(&sound), 77);
}

#[test]
fn encoders_with_one_track_play_in_ffmpeg() {
    let server = Server::plain();
    let _sound = publish(&format!("-re {AUDIO} {AAC}"), &server.rtmp("live/a"));
    let _picture = publish(&format!("-re {VIDEO} {H264}"), &server.rtmp("live/v"));
    for url in [server.rtmp("live/a"), server.http("live/a.flv")] {
        let probe = probe(&url, 60);
        assert_eq!(probe.codecs, ["aac"], "{url}");
        probe.assert_sound();
    }
    for url in [server.rtmp("live/v"), server.http("live/v.flv")] {
        let probe = probe(&url, 40);
        assert_eq!(probe.codecs, ["h264"], "{url}");
        probe.assert_sound();
    }
}

#[test]
fn a_header_of_absurd_size_is_left_out_and_the_rest_plays() {
    let server = Server::start(&Conf::default());
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut huge = vec![0x17, 0, 0, 0, 0];
    huge.resize(1 << 20, 1);
    publisher.send(9, 0, &huge);
    publisher.send(9, 0, &avc(true, 7, 100));
    let mut viewer = FlvViewer::open(&server, "/live/s.flv");
    let seen = viewer.until_serial(7);
    assert!(seen.iter().all(|tag| tag.body.len() < huge.len()), "the huge header reached a viewer");
}
