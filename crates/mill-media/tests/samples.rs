//! Recordings of real encoders, taken apart and put together again. What is expected was learnt from
//! ffprobe; where the files come from is said in `testdata/README.md`.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bytes::BytesMut;
use mill_media::codec::{AudioCodec, VideoCodec, audio_info, avc, video_info};
use mill_media::flv::demux::{Demuxer, Tag};
use mill_media::flv::mux;
use mill_media::flv::script::Metadata;
use mill_media::flv::tag::{VideoTag, classify};
use mill_media::frame::FrameKind;
use mill_media::time::Unwrap;

const AVATAR: &[u8] = include_bytes!("../testdata/avatar.flv");
const BBB: &[u8] = include_bytes!("../testdata/bbb.flv");

/// The size of a read from a socket, which cuts most tags somewhere.
const PIECE: usize = 1000;

fn tags(file: &[u8]) -> Vec<(FrameKind, Tag)> {
    let (mut demuxer, mut tags) = (Demuxer::new(), Vec::new());
    for piece in file.chunks(PIECE) {
        demuxer.feed(piece);
        while let Some(tag) = demuxer.next().unwrap() {
            tags.push((classify(tag.tag_type, &tag.body).unwrap(), tag));
        }
    }
    tags
}

fn count(tags: &[(FrameKind, Tag)]) -> [usize; 6] {
    use FrameKind::*;
    [Metadata, AudioHeader, Audio, VideoHeader, Keyframe, Video]
        .map(|wanted| tags.iter().filter(|(kind, _)| *kind == wanted).count())
}

fn first(tags: &[(FrameKind, Tag)], wanted: FrameKind) -> &Tag {
    tags.iter().find(|(kind, _)| *kind == wanted).map(|(_, tag)| tag).unwrap()
}

#[test]
fn tags_are_counted_by_kind() {
    // The last of the `Video` tags is the end of the sequence, marked as a key frame by ffmpeg.
    assert_eq!(count(&tags(AVATAR)), [1, 1, 486, 1, 7, 276]);
    assert_eq!(count(&tags(BBB)), [1, 1, 432, 1, 4, 247]);
}

#[test]
fn headers_come_first_and_time_goes_on() {
    for file in [AVATAR, BBB] {
        let tags = tags(file);
        assert!(tags[..3].iter().all(|(kind, _)| kind.is_header()));
        for of_track in [FrameKind::is_audio, FrameKind::is_video] {
            let mut time = Unwrap::new();
            let times = tags.iter().filter(|(kind, _)| of_track(*kind));
            let times: Vec<_> = times.map(|(_, tag)| time.next(tag.timestamp)).collect();
            assert!(times.is_sorted());
            assert!((9_900..11_300).contains(times.last().unwrap()));
        }
    }
}

#[test]
fn only_pictures_out_of_order_have_composition_times() {
    let cts = |file| {
        let tags = tags(file);
        let video = tags.iter().filter(|(kind, _)| kind.is_video());
        video.map(|(_, tag)| VideoTag::parse(&tag.body).unwrap().cts).max()
    };
    assert!(cts(AVATAR) > Some(0));
    assert!(cts(BBB).is_some());
}

#[test]
fn parameter_sets_say_how_many_pictures_are_overtaken() {
    for (file, depth) in [(AVATAR, 2), (BBB, 0)] {
        let tags = tags(file);
        let record = VideoTag::parse(&first(&tags, FrameKind::VideoHeader).body).unwrap().data;
        let sps = avc::DecoderConfig::parse(record).unwrap().sps[0];
        assert_eq!(avc::reorder_depth(sps), Some(depth));
        assert_eq!(avc::reorder_depth(&sps[..8]), None);
    }
}

#[test]
fn headers_say_what_the_streams_are() {
    for (file, profile, level, width, height) in
        [(AVATAR, "High", "3.2", 768, 320), (BBB, "Baseline", "3", 640, 360)]
    {
        let tags = tags(file);
        let video = video_info(&first(&tags, FrameKind::VideoHeader).body).unwrap();
        assert_eq!(
            (video.codec, video.profile.as_str(), video.level.as_str()),
            (VideoCodec::Avc, profile, level)
        );
        assert_eq!((video.width, video.height), (width, height));
        let audio = audio_info(&first(&tags, FrameKind::AudioHeader).body).unwrap();
        assert_eq!((audio.codec, audio.profile.as_str()), (AudioCodec::Aac, "LC"));
        assert_eq!((audio.sample_rate, audio.channels), (44_100, 2));

        let metadata = Metadata::parse(&first(&tags, FrameKind::Metadata).body).unwrap();
        assert_eq!((metadata.width(), metadata.height()), (Some(width), Some(height)));
        assert!(metadata.has_audio() && metadata.has_video() && !metadata.bravo_atc());
        let told = metadata.normalised("Millstream", "1");
        assert!(told.starts_with(b"\x02\0\x0aonMetaData\x03"));
        let told = Metadata::parse(&told).unwrap().object;
        assert_eq!(told.get("duration"), None);
        assert_eq!(told.get("server").and_then(|server| server.as_str()), Some("Millstream"));
        assert_eq!(told.len(), metadata.object.len());
    }
}

#[test]
fn muxed_again_they_are_the_same_files() {
    for file in [AVATAR, BBB] {
        let mut out = BytesMut::from(&mux::file_header(true, true)[..]);
        for (_, tag) in tags(file) {
            mux::write_tag(&mut out, tag.tag_type, tag.timestamp, &tag.body).unwrap();
        }
        assert!(out == file);
    }
}
