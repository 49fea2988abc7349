//! Codecs that classic FLV has no number for: enhanced RTMP names them by FourCC, and the server passes them
//! through as published, decoder configuration first.

use crate::harness::client::{Player, Publisher};
use crate::harness::media::{FlvViewer, Receive, Viewer, kind};
use crate::harness::server::Server;
use bytes::Bytes;
use mill_media::flv::demux::Tag;
use mill_media::frame::FrameKind;

/// A frame type (1 key, 2 inter) and packet type as the first byte of an enhanced video tag.
fn video(frame: u8, packet: u8, fourcc: &[u8; 4], data: &[u8]) -> Bytes {
    [&[0x80 | frame << 4 | packet], &fourcc[..], data].concat().into()
}

/// An enhanced audio tag: sound format 9, then the packet type.
fn audio(packet: u8, fourcc: &[u8; 4], data: &[u8]) -> Bytes {
    [&[0x90 | packet], &fourcc[..], data].concat().into()
}

/// Configuration, a group of pictures, and the beginning of the next.
struct Sample {
    name: &'static str,
    header: Bytes,
    key: Bytes,
    inter: Bytes,
}

fn samples() -> Vec<Sample> {
    const HVCC: &[u8] =
        &[1, 4, 8, 0, 0, 0, 0x9d, 8, 0, 0, 0, 0, 93, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 0];
    // Signed composition times of 120 and 40 ms, then length-prefixed units (19 IDR, 1 trailing).
    let hevc_key = [&[0, 0, 120][..], &[0, 0, 0, 6, 0x26, 1, 0xaf, 1, 2, 3]].concat();
    let hevc_inter = [&[0, 0, 40][..], &[0, 0, 0, 4, 2, 1, 0xd0, 9]].concat();
    vec![
        Sample {
            name: "hevc",
            header: video(1, 0, b"hvc1", HVCC),
            key: video(1, 1, b"hvc1", &hevc_key),
            inter: video(2, 1, b"hvc1", &hevc_inter),
        },
        // Without composition time: packet type 3.
        Sample {
            name: "hevc-x",
            header: video(1, 0, b"hvc1", HVCC),
            key: video(1, 3, b"hvc1", &hevc_key[3..]),
            inter: video(2, 3, b"hvc1", &hevc_inter[3..]),
        },
        // Some encoders' own form: codec number 12.
        Sample {
            name: "hevc-12",
            header: [&[0x1c, 0, 0, 0, 0], HVCC].concat().into(),
            key: [&[0x1c, 1][..], &hevc_key].concat().into(),
            inter: [&[0x2c, 1][..], &hevc_inter].concat().into(),
        },
        Sample {
            name: "av1",
            header: video(1, 0, b"av01", &[0x81, 4, 0x0c, 0, 0x0a, 0x0b, 0, 0, 0, 0x42]),
            key: video(1, 1, b"av01", &[0x12, 0, 0x32, 5, 1, 2, 3, 4, 5]),
            inter: video(2, 1, b"av01", &[0x12, 0, 0x32, 3, 9, 9, 9]),
        },
        Sample {
            name: "vp9",
            header: video(1, 0, b"vp09", &[1, 0, 0, 0, 0, 0x1f, 0x82, 2, 2, 2, 0, 0]),
            key: video(1, 1, b"vp09", &[0x82, 0x49, 0x83, 0x42, 0, 1]),
            inter: video(2, 1, b"vp09", &[0x86, 0, 0x40, 0x92]),
        },
    ]
}

const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

#[track_caller]
fn assert_gets(viewer: &mut impl Viewer, expected: &[(FrameKind, u32, &Bytes)]) {
    for (wanted, time, body) in expected {
        let tag: Tag =
            viewer.find(&format!("{wanted:?} at {time}"), |tag| kind(tag) != Some(FrameKind::Metadata));
        assert_eq!((kind(&tag), tag.timestamp, &tag.body), (Some(*wanted), *time, *body));
    }
}

#[test]
fn video_passes_through_as_published_header_first() {
    let server = Server::plain();
    for Sample { name, header, key, inter } in samples() {
        let stream = format!("live/{name}");
        let mut live = Player::start(&server, &stream);
        let mut publisher = Publisher::start(&server, &stream);
        publisher.send(9, 0, &header);
        publisher.send(9, 0, &key);
        publisher.send(9, 40, &inter);
        use FrameKind::{Keyframe, Video, VideoHeader};
        assert_gets(&mut live, &[(VideoHeader, 0, &header), (Keyframe, 0, &key), (Video, 40, &inter)]);
        publisher.send(9, 80, &key);
        publisher.send(9, 120, &inter);
        assert_gets(&mut live, &[(Keyframe, 80, &key), (Video, 120, &inter)]);
        // A newcomer begins at the second keyframe: the server knows this codec's keyframes.
        let from_key = [(VideoHeader, 0, &header), (Keyframe, 80, &key), (Video, 120, &inter)];
        assert_joins(&mut Player::start(&server, &stream), &from_key);
        assert_joins(&mut FlvViewer::open(&server, &format!("/{stream}.flv")), &from_key);
    }
}

/// As [`assert_gets`], but the time of a header that is sent again to a newcomer is the server's choice.
#[track_caller]
fn assert_joins(viewer: &mut impl Viewer, expected: &[(FrameKind, u32, &Bytes)]) {
    for (wanted, time, body) in expected {
        let tag = viewer.find(&format!("{wanted:?}"), |tag| kind(tag) != Some(FrameKind::Metadata));
        assert_eq!((kind(&tag), &tag.body), (Some(*wanted), *body));
        assert!(wanted.is_header() || tag.timestamp == *time, "{tag:?}");
    }
}

#[test]
fn opus_passes_through_as_published_header_first() {
    let server = Server::plain();
    let (header, frame) = (audio(0, b"Opus", OPUS_HEAD), audio(1, b"Opus", &[0xfc, 1, 2, 3]));
    let mut publisher = Publisher::start(&server, "live/opus");
    publisher.send(8, 0, &header);
    publisher.send(8, 20, &frame);
    let mut rtmp = Player::start(&server, "live/opus");
    let mut flv = FlvViewer::open(&server, "/live/opus.flv");
    // Audio alone has no keyframes to begin at: a newcomer gets the header, then what comes next.
    for viewer in [&mut rtmp as &mut dyn Receive, &mut flv] {
        let tag = viewer.find("the header", |tag| tag.tag_type == 8);
        assert_eq!(tag.body, header);
    }
    publisher.send(8, 40, &frame);
    for viewer in [&mut rtmp as &mut dyn Receive, &mut flv] {
        let tag = viewer.find("the frame", |tag| tag.timestamp == 40);
        assert_eq!(tag.body, frame);
    }
    assert_eq!(flv.flags(), 4);
}

/// Colour information and the end of a sequence are no keyframes, though they look like one.
#[test]
fn what_only_looks_like_a_keyframe_is_no_place_to_begin() {
    let server = Server::plain();
    let Sample { header, key, inter, .. } = samples().swap_remove(0);
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(9, 0, &header);
    publisher.send(9, 0, &key);
    publisher.send(9, 40, &inter);
    let colours = video(1, 4, b"hvc1", b"\x02\0\x09colorInfo\x03\0\0\x09");
    publisher.send(9, 80, &colours);
    publisher.send(9, 120, &inter);
    let mut early = Player::start(&server, "live/s");
    early.find("the last frame", |tag| tag.timestamp == 120);
    let mut newcomer = FlvViewer::open(&server, "/live/s.flv");
    let first = newcomer.frame();
    assert_eq!((kind(&first), first.body), (Some(FrameKind::Keyframe), key));
}
