//! Tag bodies as they come from encoders, tags through both directions, and noise.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::amf0::{Object, Value};
use crate::codec::{AudioCodec, VideoCodec};
use crate::flv::demux::{self, Demuxer, Tag};
use crate::flv::mux;
use crate::flv::script::{self, Metadata};
use crate::flv::tag::{AudioTag, Packet, VideoTag, classify};
use crate::frame::FrameKind;

#[test]
fn video_kinds() {
    use FrameKind::*;
    let cases: &[(&[u8], FrameKind)] = &[
        // H.264, and HEVC and AV1 in the same clothes.
        (b"\x17\0\0\0\0\x01\x64", VideoHeader),
        (b"\x17\x01\0\0\x50\0\0\0\x02\x65\x88", Keyframe),
        (b"\x47\x01\0\0\0\x65", Keyframe),
        (b"\x27\x01\0\0\0\x41", Video),
        (b"\x37\x01\0\0\0\x41", Video),
        (b"\x17\x02\0\0\0", Video),
        (b"\x17\x09\0\0\0\x01", Video),
        (b"\x57\0", Video),
        (b"\x1c\0\0\0\0\x01\x04\x08", VideoHeader),
        (b"\x1c\x01\0\0\0\x26", Keyframe),
        (b"\x1d\0\0\0\0\x81", VideoHeader),
        // Cut short or empty: passed on, but nothing to start from.
        (b"\x17", Video),
        (b"\x17\0\0", Video),
        (b"\x17\0\0\0\0", Video),
        (b"\x17\x01\0\0\0", Video),
        // Codecs without headers, known and unknown.
        (b"\x12\0", Keyframe),
        (b"\x24\0", Video),
        (b"\x1f\0", Keyframe),
        // Enhanced RTMP.
        (b"\x90hvc1\x01\x04\x08", VideoHeader),
        (b"\x91hvc1\0\0\x78\0\0\x26", Keyframe),
        (b"\xa1hvc1\0\0\x28\0\0\0\x22", Video),
        (b"\x93hvc1\0\0\0\x02", Keyframe),
        (b"\xa3hvc1\0\0\0\x02", Video),
        (b"\x92hvc1", Video),
        (b"\x94hvc1\x02", Video),
        (b"\x95av01\x80", VideoHeader),
        (b"\x91av01\x0a", Keyframe),
        (b"\x91vp09\x82", Keyframe),
        (b"\x90xxxx\x01", VideoHeader),
        (b"\x99hvc1\x01", Video),
        (b"\xd1\0", Video),
        (b"\x91hv", Video),
        // Packet type extended twice, the second time by more than 255 bytes' worth of length field.
        (b"\x97\x02\0\0\x05\x07\xff\0\0\x2a\x03hvc1\x01", Keyframe),
        // One track (number 0, number 1), then two tracks of one codec, and two of two codecs.
        (b"\x96\x00avc1\0\x01", VideoHeader),
        (b"\x96\x00avc1\x01\x01", Video),
        (b"\x96\x13avc1\0\0\0\x01\x65\x01\0\0\x01\x65", Keyframe),
        (b"\x96\x23avc1\0\0\0\x01\x65hvc1\x01\0\0\x01\x26", Keyframe),
        (b"\x96\x13avc1\0\0\0\x09\x65", Video),
    ];
    for (body, kind) in cases {
        assert_eq!(classify(9, body), Some(*kind), "{body:02x?}");
    }
}

#[test]
fn audio_kinds() {
    use FrameKind::*;
    let cases: &[(&[u8], FrameKind)] = &[
        (b"\xaf\0\x12\x10\x56\xe5\0", AudioHeader),
        (b"\xaf\x01\x21", Audio),
        (b"\xaf\0", Audio),
        (b"\xaf", Audio),
        (b"\x2f\xff\xfb\x92", Audio),
        (b"\x7e\xd5", Audio),
        (b"\x90OpusOpusHead", AudioHeader),
        (b"\x91Opus\xfc", Audio),
        (b"\x92Opus", Audio),
        (b"\x94Opus\x01\x02", Audio),
        (b"\x90mp4a\x12\x10", AudioHeader),
        (b"\x91.mp3\xff", Audio),
        (b"\x95\x00fLaC\0fLaC", AudioHeader),
        (b"\x95\x00fLaC\x01fLaC", Audio),
        (b"\x9f", Audio),
    ];
    for (body, kind) in cases {
        assert_eq!(classify(8, body), Some(*kind), "{body:02x?}");
    }
}

#[test]
fn nothing_to_deliver() {
    for (tag_type, body) in
        [(8, &b""[..]), (9, b""), (18, b""), (15, b"\0\x02"), (22, b"\x09"), (0x29, b"\x17\x01\0\0\0\x65")]
    {
        assert_eq!(classify(tag_type, body), None);
    }
    assert_eq!(classify(18, b"\x02\0\x0aonTextData\x05"), None);
    assert_eq!(classify(18, b"\x02\0\x0d@setDataFrame\x02\0\x0aonTextData\x05"), None);
    assert_eq!(classify(18, b"\x02\0\x0d@setDataFrame\x02\0\x0aonMetaData\x05"), Some(FrameKind::Metadata));
    assert_eq!(classify(18, b"\x02\0\x0aonMetaData"), Some(FrameKind::Metadata));
}

#[test]
fn composition_time_is_signed() {
    let cts = |body| VideoTag::parse(body).unwrap().cts;
    assert_eq!(cts(b"\x17\x01\0\0\x50\x65"), 80);
    assert_eq!(cts(b"\x27\x01\xff\xff\xd8\x41"), -40);
    assert_eq!(cts(b"\xa1hvc1\xff\xff\xd8\x22"), -40);
    assert_eq!(cts(b"\xa1vvc1\0\0\x28\x22"), 40);
    // No such field: not for a header, not for AV1, not for CodedFramesX.
    assert_eq!(cts(b"\x17\0\0\0\x50\x01"), 0);
    assert_eq!(cts(b"\xa1av01\0\0\x28\x22"), 0);
    assert_eq!(cts(b"\xa3hvc1\0\0\x28\x22"), 0);
}

#[test]
fn views() {
    let tag = VideoTag::parse(b"\x96\x23avc1\x03\0\0\x04\0\0\x07\x65hvc1\x01\0\0\x01\x26").unwrap();
    assert_eq!((tag.codec, tag.packet, tag.key), (VideoCodec::Avc, Packet::Coded, true));
    assert_eq!((tag.track, tag.cts, tag.data), (3, 0, &b"\0\0\x07\x65"[..]));
    let tag = VideoTag::parse(b"\x96\x21avc1\x03\0\0\x04\0\0\x07\x65").unwrap();
    assert_eq!((tag.cts, tag.data), (7, &b"\x65"[..]));
    let tag = AudioTag::parse(b"\xaf\x01\x21\x10").unwrap();
    assert_eq!((tag.codec, tag.packet, tag.data), (AudioCodec::Aac, Packet::Coded, &b"\x21\x10"[..]));
    assert_eq!((tag.sample_rate, tag.channels), (44_100, 2));
    assert_eq!(AudioTag::parse(b"\x2a").map(|tag| (tag.sample_rate, tag.channels)), Some((22_050, 1)));
}

#[test]
fn muxed_bytes() {
    assert_eq!(mux::file_header(true, true), *b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    assert_eq!(mux::file_header(true, false)[4], 4);
    assert_eq!(mux::file_header(false, true)[4], 1);
    let mut out = BytesMut::new();
    mux::write_tag(&mut out, 8, 0xa234_5678, b"\xaf\0\x12\x10").unwrap();
    assert_eq!(out, &b"\x08\0\0\x04\x34\x56\x78\x22\0\0\0\xaf\0\x12\x10\0\0\0\x0f"[..]);
    let too_large = vec![0; crate::flv::MAX_BODY + 1];
    assert_eq!(mux::write_tag(&mut out, 9, 0, &too_large), Err(mux::TooLarge { len: too_large.len() }));
    assert_eq!(out.len(), 19);
}

fn demux(pieces: &[&[u8]]) -> Result<Vec<Tag>, demux::Error> {
    let (mut demuxer, mut tags) = (Demuxer::new(), Vec::new());
    for piece in pieces {
        demuxer.feed(piece);
        while let Some(tag) = demuxer.next()? {
            tags.push(tag);
        }
    }
    Ok(tags)
}

#[test]
fn sloppy_streams() {
    let body = Bytes::from_static(b"\xaf\x01");
    let tags = vec![Tag { tag_type: 8, timestamp: 0x0102_0304, body }; 2];
    let tag = b"\x08\0\0\x02\x02\x03\x04\x01\0\0\x07\xaf\x01";
    // A longer file header, wrong previous tag sizes, another stream id, the last size missing.
    let header = b"FLV\x01\x05\0\0\0\x0b??\xde\xad\xbe\xef";
    assert_eq!(demux(&[header, tag, b"\xff\xff\xff\xff", tag]), Ok(tags));
}

#[test]
fn streams_that_are_none() {
    assert_eq!(demux(&[b"G"]), Err(demux::Error::NotFlv));
    assert_eq!(demux(&[b"FLV\x01\x05\0\0\0\x08"]), Err(demux::Error::NotFlv));
    assert_eq!(demux(&[b"FLV\x01\x05\xff\0\0\x09"]), Err(demux::Error::NotFlv));
    let mut demuxer = Demuxer::new();
    demuxer.feed(&mux::file_header(true, true));
    demuxer.feed(&mux::tag_header(9, demux::MAX_TAG + 1, 0));
    let error = demux::Error::TooLarge { offset: 13, len: demux::MAX_TAG + 1 };
    assert_eq!(demuxer.next(), Err(error));
    assert_eq!(demuxer.next(), Err(error));
}

fn script(values: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    values.iter().for_each(|value| value.write(&mut body));
    body
}

#[test]
fn metadata_for_players() {
    let sent = Object::new()
        .with("duration", 10.0)
        .with("width", 320.0)
        .with("server", "somebody else")
        .with("height", 240.0)
        .with("filesize", 0.0)
        .with("bravo_atc", "true");
    let told = Object::new()
        .with("width", 320.0)
        .with("server", "Millstream/1")
        .with("height", 240.0)
        .with("bravo_atc", "true")
        .with("server_version", "1");
    let expected = script(&["onMetaData".into(), told.into()]);
    for body in [
        script(&["onMetaData".into(), Value::EcmaArray(sent.clone())]),
        script(&["@setDataFrame".into(), "onMetaData".into(), sent.into()]),
    ] {
        let metadata = Metadata::parse(&body).unwrap();
        assert_eq!(metadata.normalised("Millstream/1", "1"), expected);
        assert_eq!((metadata.width(), metadata.height()), (Some(320), Some(240)));
        assert!(metadata.bravo_atc());
    }
}

#[test]
fn metadata_hints() {
    let metadata = |object| Metadata { object };
    let both = metadata(Object::new().with("audiocodecid", 10.0).with("videocodecid", "hvc1"));
    assert!(both.has_audio() && both.has_video() && !both.bravo_atc());
    let none = metadata(Object::new().with("audiocodecid", 0.0).with("width", f64::NAN).with("height", -1.0));
    assert!(!none.has_audio() && !none.has_video());
    assert_eq!((none.width(), none.height()), (None, None));
    assert!(!metadata(Object::new().with("bravo_atc", true)).bravo_atc());
}

#[test]
fn metadata_that_is_none() {
    let parse = |values: &[Value]| Metadata::parse(&script(values));
    assert_eq!(parse(&["onMetaData".into()]), Err(script::Error::Empty));
    assert_eq!(parse(&["onMetaData".into(), Object::new().into()]), Err(script::Error::Empty));
    assert_eq!(parse(&["onMetaData".into(), Value::Null]), Err(script::Error::Empty));
    assert_eq!(parse(&["onCuePoint".into()]), Err(script::Error::NotMetadata));
    assert!(matches!(parse(&["@setDataFrame".into()]), Err(script::Error::Amf0(_))));
    assert!(matches!(Metadata::parse(b"\0\0\0\0"), Err(script::Error::Amf0(_))));
}

prop_compose! {
    fn any_tag()(
        tag_type in any::<u8>(),
        timestamp in 0..1u32 << 31,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) -> Tag {
        Tag { tag_type, timestamp, body: body.into() }
    }
}

proptest! {
    #[test]
    fn round_trip_in_pieces(tags in proptest::collection::vec(any_tag(), 0..8), piece in 1usize..100) {
        let mut bytes = BytesMut::from(&mux::file_header(true, true)[..]);
        for tag in &tags {
            mux::write_tag(&mut bytes, tag.tag_type, tag.timestamp, &tag.body).unwrap();
        }
        let pieces: Vec<_> = bytes.chunks(piece).collect();
        prop_assert_eq!(demux(&pieces), Ok(tags));
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..400), framed in any::<bool>()) {
        let header = mux::file_header(true, true);
        let _ = demux(&[if framed { &header[..] } else { b"" }, &noise]);
        for tag_type in [8, 9, 18] {
            let kind = classify(tag_type, &noise);
            prop_assert!(tag_type == 18 || kind.is_some() != noise.is_empty());
        }
        let _ = Metadata::parse(&noise);
    }

    #[test]
    fn tag_headers_never_panic(first in any::<u8>(), rest in proptest::collection::vec(0u8..10, 0..24)) {
        let body = [&[first][..], &rest].concat();
        for tag_type in [8, 9] {
            prop_assert!(classify(tag_type, &body).is_some());
        }
    }
}

mod file {
    use super::*;
    use crate::flv::file::{MAX_KEYFRAMES, Scan, Summary, head};
    use crate::frame::Millis;

    /// A recording as it is while it is written, and the summary it would be closed with.
    fn recording(frames: &[(FrameKind, Millis)]) -> (Vec<u8>, Summary, Vec<usize>) {
        let metadata = Object::new().with("width", 320.0).with("duration", 99.0);
        let mut summary = Summary::default();
        let mut file = BytesMut::from(&head(&metadata, &summary)[..]);
        let mut ends = vec![];
        for &(kind, dts) in frames {
            let body: &[u8] = match kind {
                FrameKind::Keyframe => b"\x17\x01\0\0\0\0\0\0\x01\x65",
                FrameKind::Video => b"\x27\x01\0\0\0\0\0\0\x01\x41",
                _ => b"\xaf\x01\x21",
            };
            summary.note(kind, dts, file.len() as u64, body.len());
            mux::write_tag(&mut file, kind.tag_type(), dts as u32, body).unwrap();
            ends.push(file.len());
        }
        (file.to_vec(), summary, ends)
    }

    fn repair(file: &[u8]) -> Option<crate::flv::file::Repair> {
        let mut scan = Scan::new(file.len() as u64);
        while let Some(wanted) = scan.wants() {
            scan.give(&file[wanted.start as usize..wanted.end as usize]);
        }
        scan.finish()
    }

    const FRAMES: [(FrameKind, Millis); 5] = [
        (FrameKind::Keyframe, 0),
        (FrameKind::Audio, 10),
        (FrameKind::Video, 40),
        (FrameKind::Audio, 33),
        (FrameKind::Keyframe, 80),
    ];

    #[test]
    fn the_head_has_one_length_and_the_right_numbers() {
        let (file, summary, ends) = recording(&FRAMES);
        assert_eq!(summary.duration(), 120);
        let written = head(&Object::new().with("width", 320.0), &summary);
        let first = ends[0] - 4 - 10 - 11;
        assert_eq!(written.len(), first);
        assert_eq!((file[4], written[4]), (5, 5));
        let mut sound = Summary::default();
        sound.note(FrameKind::Audio, 0, 13, 5);
        assert_eq!(head(&Object::new(), &sound)[4], 4, "flags say what there is");
        let Tag { body, .. } = demux(&[&written]).unwrap().remove(0);
        let object = Metadata::parse(&body).unwrap().object;
        let number = |object: &Object, key| object.get(key).and_then(Value::as_number);
        assert_eq!(
            (number(&object, "duration"), number(&object, "filesize")),
            (Some(0.12), Some(file.len() as f64))
        );
        let index = object.get("keyframes").and_then(Value::as_object).unwrap();
        let numbers = |key| match index.get(key) {
            Some(Value::StrictArray(values)) => {
                values.iter().filter_map(Value::as_number).collect::<Vec<_>>()
            }
            _ => vec![],
        };
        assert_eq!(numbers("times"), [0.0, 0.08]);
        assert_eq!(numbers("filepositions"), [first as f64, ends[3] as f64]);
    }

    #[test]
    fn a_long_file_keeps_an_index_of_the_same_size() {
        let frames: Vec<_> = (0..5000).map(|n| (FrameKind::Keyframe, n * 1000)).collect();
        let (file, summary, ends) = recording(&frames);
        let written = head(&Object::new().with("width", 320.0), &summary);
        assert_eq!(written.len(), ends[0] - 4 - 10 - 11);
        let entries = head_entries(&written);
        assert!((MAX_KEYFRAMES / 2..=MAX_KEYFRAMES).contains(&entries.len()), "{}", entries.len());
        let steps: Vec<_> = entries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|&step| step == 16.0), "{steps:?}");
        assert_eq!(repair(&file).unwrap().head.unwrap(), written);
    }

    fn head_entries(written: &[u8]) -> Vec<f64> {
        let object = Metadata::parse(&demux(&[written]).unwrap()[0].body).unwrap().object;
        match object.get("keyframes").and_then(Value::as_object).and_then(|index| index.get("times")) {
            Some(Value::StrictArray(values)) => values.iter().filter_map(Value::as_number).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn torn_at_every_byte() {
        let (file, summary, ends) = recording(&FRAMES);
        for len in 0..=file.len() {
            let whole = ends.iter().rposition(|&end| end <= len);
            let found = repair(&file[..len]);
            assert_eq!(
                found.as_ref().map(|repair| repair.len as usize),
                whole.map(|last| ends[last]),
                "{len}"
            );
            let Some(repair) = found else { continue };
            let mut repaired = file[..repair.len as usize].to_vec();
            repaired[..repair.head.as_ref().unwrap().len()].copy_from_slice(&repair.head.unwrap());
            assert_eq!(demux(&[&repaired]).unwrap().len(), whole.unwrap() + 2);
        }
        let complete = repair(&file).unwrap();
        assert_eq!(complete.duration, 120);
        assert_eq!(complete.head.unwrap(), head(&Object::new().with("width", 320.0), &summary));
    }

    #[test]
    fn metadata_without_measure_is_left_out() {
        let huge = Object::new().with("x", "y".repeat(17 << 20));
        assert_eq!(head(&huge, &Summary::default()), head(&Object::new(), &Summary::default()));
    }

    #[test]
    fn a_foreign_file_is_only_cut() {
        let mut file = BytesMut::from(&mux::file_header(true, true)[..]);
        mux::write_tag(&mut file, 8, 5, b"\x2f\xff").unwrap();
        let len = file.len() as u64;
        file.extend_from_slice(b"\x08\0\0");
        assert_eq!(repair(&file), Some(crate::flv::file::Repair { len, head: None, duration: 0 }));
        assert_eq!(repair(b"FLV\x01\x05\0\0\0\x09\0\0\0\0"), None);
        assert_eq!(repair(b"RIFF"), None);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let (mut file, ..) = recording(&FRAMES);
            let at = at.index(file.len());
            file[at] = byte;
            let len = file.len() as u64;
            if let Some(repair) = repair(&file) {
                prop_assert!(repair.len <= len);
                prop_assert!(repair.head.is_none_or(|head| head.len() as u64 <= repair.len));
            }
        }
    }
}
