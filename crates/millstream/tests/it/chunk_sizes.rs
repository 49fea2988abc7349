//! Chunks are RTMP's own packets: publishers choose their size and may change it, and so may the server.

use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{decode, publish_file};
use crate::harness::media::{BBB, FlvViewer, Viewer, aac, avc, file, serial};
use crate::harness::server::{Conf, Server};

/// Sizes around the borders of every chunk size in use here, and one that takes many chunks of any.
const SIZES: &[usize] = &[1, 100, 117, 118, 119, 4096, 59_989, 59_990, 59_991, 65_526, 200_000];

#[track_caller]
fn send_all(publisher: &mut Publisher, first: u32) -> Vec<(u32, usize)> {
    let numbered = (first..).zip(SIZES).map(|(n, size)| (n, *size)).collect::<Vec<_>>();
    for (n, size) in &numbered {
        publisher.send(9, 40 * n, &avc(*n == 0, *n, *size));
        publisher.send(8, 40 * n, &aac(*n));
    }
    numbered
}

#[track_caller]
fn assert_arrive_whole(viewer: &mut impl Viewer, sent: &[(u32, usize)]) {
    for (n, size) in sent {
        let tag = viewer.find("a picture", |tag| tag.tag_type == 9 && tag.body[1] == 1);
        assert_eq!(serial(&tag), *n);
        assert_eq!(tag.body, avc(*n == 0, *n, *size), "frame {n} of {size} bytes");
    }
}

#[test]
fn publishers_may_use_any_chunk_size_and_change_it() {
    let server = Server::plain();
    for (name, chunk) in [("small", 128), ("large", 60_000), ("largest", 65_536)] {
        let mut publisher = Publisher::with_chunk_size(&server, &format!("live/{name}"), chunk);
        publisher.headers(0);
        let mut rtmp = Player::start(&server, &format!("live/{name}"));
        let mut flv = FlvViewer::open(&server, &format!("/live/{name}.flv"));
        let mut sent = send_all(&mut publisher, 0);
        for other in [4096, 128, 60_000] {
            publisher.set_chunk_size(other);
            sent.extend(send_all(&mut publisher, sent.len() as u32));
        }
        assert_arrive_whole(&mut rtmp, &sent);
        assert_arrive_whole(&mut flv, &sent);
    }
}

#[test]
fn players_get_the_chunk_size_of_the_vhost() {
    for chunk in [128, 65_536] {
        let server = Server::start(&Conf::vhost(&format!("chunk_size {chunk};")));
        let mut publisher = Publisher::start(&server, "live/s");
        publisher.headers(0);
        let mut player = Player::start(&server, "live/s");
        let sent = send_all(&mut publisher, 0);
        assert_arrive_whole(&mut player, &sent);
        assert_eq!(player.chunk_size(), chunk);
    }
}

#[test]
fn without_a_directive_players_get_srs_default() {
    let server = Server::plain();
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.headers(0);
    let mut player = Player::start(&server, "live/s");
    let sent = send_all(&mut publisher, 0);
    assert_arrive_whole(&mut player, &sent);
    assert_eq!(player.chunk_size(), 60_000);
}

#[test]
fn ffmpeg_plays_through_small_and_large_chunks() {
    for chunk in [128, 65_536] {
        let server = Server::start(&Conf::default().global(&format!("chunk_size {chunk};")));
        let _encoder = publish_file(&file(BBB), &server.rtmp("live/s"));
        decode(&server.rtmp("live/s"), 2);
    }
}
