//! Where a newcomer starts: at the last keyframe with the cache on, with what comes next when it is off.

use crate::harness::client::{Player, Publisher};
use crate::harness::media::{FlvViewer, Receive, Viewer, aac, avc, kind, serial};
use crate::harness::server::{Conf, Server};
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;

/// Two groups of pictures; the second has begun and then its publisher falls silent.
fn half_a_group(server: &Server) -> Publisher {
    let mut publisher = Publisher::start(server, "live/s");
    publisher.metadata(&[("width", 640.0)]);
    publisher.headers(0);
    for n in 0..16 {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 800));
        publisher.send(8, 40 * n, &aac(n));
    }
    publisher
}

fn names(tags: &[Tag]) -> Vec<(FrameKind, Option<u32>)> {
    tags.iter()
        .filter_map(|tag| {
            let kind = kind(tag)?;
            Some((kind, (!kind.is_header()).then(|| serial(tag))))
        })
        .collect()
}

/// Everything from the last keyframe on, though nobody has said a word since.
#[track_caller]
fn assert_starts_at_the_keyframe(viewer: &mut impl Viewer) {
    let mut tags = viewer.until_serial(15);
    tags.extend((tags.last().is_some_and(|t| t.tag_type == 9)).then(|| viewer.frame()));
    let mut expected =
        vec![(FrameKind::Metadata, None), (FrameKind::AudioHeader, None), (FrameKind::VideoHeader, None)];
    for n in 10..16 {
        expected.push((if n == 10 { FrameKind::Keyframe } else { FrameKind::Video }, Some(n)));
        expected.push((FrameKind::Audio, Some(n)));
    }
    assert_eq!(names(&tags), expected);
}

#[test]
fn with_the_cache_a_newcomer_gets_the_running_group_at_once() {
    let server = Server::plain();
    let mut publisher = half_a_group(&server);
    let mut early = Player::start(&server, "live/s");
    early.until_serial(15);

    assert_starts_at_the_keyframe(&mut Player::start(&server, "live/s"));
    assert_starts_at_the_keyframe(&mut FlvViewer::open(&server, "/live/s.flv"));

    // And goes on with what is published next, without a hole or a repetition.
    let mut player = Player::start(&server, "live/s");
    assert_starts_at_the_keyframe(&mut player);
    publisher.send(9, 640, &avc(false, 16, 800));
    assert_eq!(serial(&player.frame()), 16);
}

#[test]
fn without_the_cache_a_newcomer_starts_live() {
    let server = Server::start(&Conf::vhost("play { gop_cache off; }"));
    let mut publisher = half_a_group(&server);
    let mut early = Player::start(&server, "live/s");
    let mut newcomers: Vec<Box<dyn Receive>> =
        vec![Box::new(Player::start(&server, "live/s")), Box::new(FlvViewer::open(&server, "/live/s.flv"))];
    // They have joined as soon as the headers are there.
    for viewer in &mut newcomers {
        viewer.of(FrameKind::VideoHeader);
    }
    early.of(FrameKind::VideoHeader);
    for n in 16..25 {
        publisher.send(9, 40 * n, &avc(n % 10 == 0, n, 800));
    }
    for viewer in &mut newcomers {
        assert_eq!(serial(&viewer.frame()), 16);
        viewer.until_serial(24);
    }
}
