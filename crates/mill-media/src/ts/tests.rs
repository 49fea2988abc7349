//! Golden bytes, recordings there and back, loss, and noise. What ffmpeg makes of the packets is tested where the
//! whole server is.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::demux::{Demuxer, Event, Trouble};
use super::mux::{LEAD, Muxer, Unfit};
use super::packet::{self, Adaptation, Counter, Packet};
use super::pes::{self, Pes};
use super::psi::{self, Program};
use super::{Coding, PACKET_LEN, pid};
use crate::codec::{AudioCodec, VideoCodec};
use crate::flv;
use crate::flv::tag::{VideoTag, classify};
use crate::frame::{Frame, FrameKind, Millis};
use crate::nal::{Family, Kind, Units};
use crate::time::{TICKS_PER_MS, Ticks, Unwrap};
use FrameKind::{Audio, AudioHeader, Keyframe, Metadata, Video, VideoHeader};

const LEAD_MS: Millis = LEAD / TICKS_PER_MS;

const AVC_HEADER: &[u8] =
    b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x05\x67\x42\xc0\x1e\xda\x01\0\x04\x68\xce\x0f\xc8";
const AAC_HEADER: &[u8] = b"\xaf\0\x12\x10";

fn frame(kind: FrameKind, dts: Millis, payload: impl Into<Bytes>) -> Frame {
    Frame { kind, dts, payload: payload.into() }
}

/// A picture of one unit.
fn picture(key: bool, dts: Millis, cts: i32, unit: &[u8]) -> Frame {
    let [_, a, b, c] = cts.to_be_bytes();
    let mut body = vec![if key { 0x17 } else { 0x27 }, 1, a, b, c];
    body.extend_from_slice(&(unit.len() as u32 + 1).to_be_bytes());
    body.push(if key { 0x65 } else { 0x41 });
    body.extend_from_slice(unit);
    frame(if key { Keyframe } else { Video }, dts, body)
}

fn aac(dts: Millis, payload: &[u8]) -> Frame {
    frame(Audio, dts, [b"\xaf\x01", payload].concat())
}

fn both_headers() -> [Frame; 2] {
    [frame(VideoHeader, 0, AVC_HEADER), frame(AudioHeader, 0, AAC_HEADER)]
}

fn mux(frames: &[Frame]) -> BytesMut {
    let (mut muxer, mut out) = (Muxer::new(), BytesMut::new());
    for frame in frames {
        muxer.write(frame, &mut out).unwrap();
    }
    assert_eq!(out.len() % PACKET_LEN, 0);
    out
}

fn packets(stream: &[u8]) -> Vec<Packet<'_>> {
    stream.chunks(PACKET_LEN).map(|bytes| Packet::parse(bytes.try_into().unwrap()).unwrap()).collect()
}

fn events(stream: &[u8], piece: usize) -> Vec<Event> {
    let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
    for piece in stream.chunks(piece) {
        demuxer.feed(piece);
        events.extend(std::iter::from_fn(|| demuxer.next()));
    }
    demuxer.finish();
    events.extend(std::iter::from_fn(|| demuxer.next()));
    events
}

/// What comes out, which has to be without trouble.
fn demux(stream: &[u8]) -> Vec<Frame> {
    let frame = |event| match event {
        Event::Frame(frame) => frame,
        Event::Trouble(trouble) => panic!("{trouble}"),
    };
    events(stream, 1316).into_iter().map(frame).collect()
}

/// PES packets of one PID, whole.
fn units(stream: &[u8], pid: u16) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for packet in packets(stream).iter().filter(|packet| packet.pid == pid) {
        let Some(payload) = packet.payload else { continue };
        if packet.starts {
            units.push(Vec::new());
        }
        units.last_mut().unwrap().extend_from_slice(payload);
    }
    units
}

fn times(stream: &[u8], pid: u16) -> Vec<(Ticks, Ticks)> {
    let time = |unit: &Vec<u8>| {
        let pes = Pes::parse(unit).unwrap();
        let pts = pes.pts.unwrap() as Ticks;
        (pts - LEAD, pes.dts.map_or(pts, |dts| dts as Ticks) - LEAD)
    };
    units(stream, pid).iter().map(time).collect()
}

fn recording(file: &[u8]) -> Vec<Frame> {
    let (mut demuxer, mut time) = (flv::demux::Demuxer::new(), Unwrap::new());
    demuxer.feed(file);
    let tags = std::iter::from_fn(|| demuxer.next().unwrap());
    tags.map(|tag| {
        frame(classify(tag.tag_type, &tag.body).unwrap(), time.next(tag.timestamp), tag.body.clone())
    })
    .collect()
}

fn recordings() -> [Vec<Frame>; 2] {
    [
        recording(include_bytes!("../../testdata/avatar.flv")),
        recording(include_bytes!("../../testdata/bbb.flv")),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn tables_are_those_of_srs() {
    let pmt = |audio, video| hex(&psi::pmt(&Program { audio, video }, 0));
    assert_eq!(hex(&psi::pat()), "00b00d0001c100000001f0012e701905");
    let avc = Some(Coding::Avc);
    assert_eq!(pmt(Some(Coding::Aac), avc), "02b0170001c10000e100f0000fe101f0001be100f000f2d91563");
    assert_eq!(pmt(None, avc), "02b0120001c10000e100f0001be100f00015bd4d56");
    assert_eq!(pmt(Some(Coding::Mp3), avc), "02b0170001c10000e100f00003e102f0001be100f000027abf2b");
    let hevc = Some(Coding::Hevc);
    assert_eq!(pmt(Some(Coding::Aac), hevc), "02b0170001c10000e100f0000fe101f00024e100f000c86436d2");
    // Not the same here: the clock goes with the only track there is.
    assert!(pmt(Some(Coding::Aac), None).starts_with("02b0120001c10000e101f0000fe101f000"));
}

#[test]
fn time_stamps_are_those_of_srs() {
    let header = |pts, dts| {
        let mut out = Vec::new();
        pes::write_header(&mut out, 0xe0, pts, dts);
        hex(&out)
    };
    assert_eq!(header(547_200, 547_200), "000001e000008480052100 21b301".replace(' ', ""));
    assert_eq!(header(547_200, 540_000), "000001e0000084c00a 310021b301 11 0021 7ac1".replace(' ', ""));
    assert_eq!(header(1 << 33, 1 << 33), header(0, 0));
    let pes = [&hex_bytes(&header(547_200, 540_000))[..], b"data"].concat();
    let expected = Pes { pts: Some(547_200), dts: Some(540_000), payload: b"data" };
    assert_eq!(Pes::parse(&pes), Some(expected));
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn golden_stream() {
    let stream = mux(&[&both_headers()[..], &[picture(true, 0, 80, b"ab")]].concat());
    let [pat, pmt, video] = stream.chunks(PACKET_LEN).collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(hex(&pat[..22]), "474000100000b00d0001c100000001f0012e701905ff");
    assert_eq!(hex(&pmt[..11]), "475001100002b0170001c1");
    // Adaptation field with PCR 0 and the mark of a keyframe; then PES with PTS 280 ms and DTS 200 ms, all
    // behind a delimiter and the parameter sets.
    let field = &video[4..video.len() - 19 - 6 - 9 - 8 - 7];
    assert_eq!(hex(&video[..4]), "47410030");
    assert_eq!(hex(&field[..8]), format!("{:02x}50000000007e00", field.len() - 1));
    assert!(field[8..].iter().all(|&byte| byte == 0xff));
    let pes = "000001e0 002b 84c00a 310001 c4e1 11 0001 8ca1 \
               0000000109f0 000000016742c01eda 0000000168ce0fc8 0000000165 6162";
    let found = &video[4 + field.len()..];
    assert_eq!(hex(found), pes.replace(' ', ""));
}

#[test]
fn recordings_come_back_as_they_were() {
    for frames in recordings() {
        let found = demux(&mux(&frames));
        let of = |frames: &[Frame], pick: fn(FrameKind) -> bool| -> Vec<Frame> {
            frames.iter().filter(|frame| pick(frame.kind)).cloned().collect()
        };
        let moved = |frame: &Frame| Frame { dts: frame.dts + LEAD_MS, ..frame.clone() };
        let is_picture = |frame: &&Frame| {
            VideoTag::parse(&frame.payload).is_some_and(|tag| tag.packet == flv::tag::Packet::Coded)
        };
        let video: Vec<_> = of(&frames, |kind| matches!(kind, Keyframe | Video))
            .iter()
            .filter(is_picture)
            .map(moved)
            .collect();
        let found_video = of(&found, |kind| matches!(kind, Keyframe | Video));
        assert_eq!(found_video.len(), video.len());
        assert!(found_video == video);
        let headers = of(&found, |kind| kind == VideoHeader);
        assert_eq!(headers.len(), 1);
        // One of the encoders left out how samples are coded, which the standard asks for.
        assert!(headers[0].payload.starts_with(&of(&frames, |kind| kind == VideoHeader)[0].payload));

        // The configuration says that there is no SBR, for which ADTS has no words.
        let headers = of(&found, |kind| kind == AudioHeader);
        assert_eq!((headers.len(), &headers[0].payload[..]), (1, AAC_HEADER));
        let (sound, found_sound) = (of(&frames, |kind| kind == Audio), of(&found, |kind| kind == Audio));
        assert_eq!(sound.len(), found_sound.len());
        for (sent, found) in sound.iter().zip(&found_sound) {
            assert_eq!(sent.payload, found.payload);
            assert!((found.dts - LEAD_MS - sent.dts).abs() <= 24, "{} became {}", sent.dts, found.dts);
        }
    }
}

#[test]
fn sound_is_stamped_by_its_samples() {
    for frames in recordings() {
        let stamps: Vec<_> = times(&mux(&frames), pid::AAC).into_iter().map(|(pts, _)| pts).collect();
        let exact = |step: Ticks| (2089..=2090).contains(&step);
        assert!(stamps.windows(2).all(|pair| exact(pair[1] - pair[0])), "{stamps:?}");
    }
}

#[test]
fn counters_run_on_and_the_clock_comes_often_enough() {
    for frames in recordings() {
        let stream = mux(&frames);
        let mut counters = std::collections::HashMap::new();
        let mut clock: Option<Ticks> = None;
        let mut tables = 0;
        for packet in packets(&stream) {
            if packet.payload.is_some() {
                let expected = counters.insert(packet.pid, packet.counter).map_or(0, |last| (last + 1) & 15);
                assert_eq!(packet.counter, expected, "PID {}", packet.pid);
            }
            if let Some(pcr) = packet.adaptation.pcr {
                assert_eq!(packet.pid, pid::VIDEO);
                let step = clock.map_or(1, |last| pcr - last);
                assert!((1..=100 * TICKS_PER_MS).contains(&step), "PCR steps by {step}");
                clock = Some(pcr);
            }
            tables += u32::from(packet.pid == pid::PAT);
            assert!(!packet.adaptation.discontinuity);
        }
        assert!(tables >= 20, "{tables} PATs in ten seconds");
    }
}

/// SRS gives audio-only streams no clock unless told so, and pictures no mark where decoding may start.
#[test]
fn sound_alone_has_a_clock_and_no_video_in_its_tables() {
    let frames: Vec<_> = std::iter::once(frame(AudioHeader, 0, AAC_HEADER))
        .chain((0..200).map(|n| aac(n * 1024 * 1000 / 44_100, b"sound")))
        .collect();
    let stream = mux(&frames);
    let packets = packets(&stream);
    let clocks: Vec<_> =
        packets.iter().filter_map(|packet| Some((packet.pid, packet.adaptation.pcr?))).collect();
    assert!(clocks.iter().all(|(pid, _)| *pid == pid::AAC));
    assert!(clocks.windows(2).all(|pair| (1..9000).contains(&(pair[1].1 - pair[0].1))));
    assert!(
        packets.iter().filter(|packet| packet.pid == pid::AAC).all(|packet| packet.adaptation.random_access)
    );
    let pmt = packets.iter().find(|packet| packet.pid == pid::PMT).unwrap().payload.unwrap();
    assert!(pmt[1..].starts_with(&psi::pmt(&Program { audio: Some(Coding::Aac), video: None }, 0)));
}

/// Pictures are scarce, sound is not: the clock still comes, on the track of the pictures.
#[test]
fn one_picture_a_second_does_not_starve_the_clock() {
    let mut frames = both_headers().to_vec();
    for n in 0..150 {
        let dts = n * 1024 * 1000 / 44_100;
        if n % 43 == 0 {
            frames.push(picture(n == 0, dts, 0, b"slice"));
        }
        frames.push(aac(dts, b"sound"));
    }
    let stream = mux(&frames);
    let clocks = packets(&stream)
        .iter()
        .filter_map(|packet| Some((packet.pid, packet.adaptation.pcr?)))
        .collect::<Vec<_>>();
    assert!(clocks.iter().all(|(pid, _)| *pid == pid::VIDEO));
    assert!(clocks.windows(2).all(|pair| (1..9000).contains(&(pair[1].1 - pair[0].1))), "{clocks:?}");
    assert_eq!(demux(&stream).len(), frames.len());
}

/// In SRS 3.0 one keyframe with its own parameter sets is the last that had any.
#[test]
fn every_keyframe_has_all_parameter_sets() {
    let with_sets = |dts, sets: &[&[u8]]| {
        let mut body = b"\x17\x01\0\0\0".to_vec();
        for unit in sets.iter().chain(&[&b"\x65slice"[..]]) {
            body.put_u32(unit.len() as u32);
            body.extend_from_slice(unit);
        }
        frame(Keyframe, dts, body)
    };
    let (sps, pps): (&[u8], &[u8]) = (b"\x67\x42\xc0\x1e\xda", b"\x68\xce\x0f\xc8");
    // Another PPS 0, and a PPS 1 that never stood in the configuration.
    let (pps_0, pps_1): (&[u8], &[u8]) = (b"\x68\xce\x0f\xff", b"\x68\x5e\x0f");
    let mid_gop = frame(Video, 120, b"\x27\x01\0\0\0\0\0\0\x03\x68\x5e\x0f\0\0\0\x02\x41x".to_vec());
    let frames = [
        frame(VideoHeader, 0, AVC_HEADER),
        picture(true, 0, 0, b"a"),
        with_sets(40, &[b"\x09\x10", sps, pps_0]),
        picture(true, 80, 0, b"b"),
        mid_gop,
        picture(true, 160, 0, b"c"),
    ];
    let stream = mux(&frames);
    let found: Vec<Vec<Vec<u8>>> = units(&stream, pid::VIDEO)
        .iter()
        .map(|unit| {
            let units = Units::byte_stream(Pes::parse(unit).unwrap().payload);
            units.filter(|unit| Family::Avc.kind(unit) < Kind::RandomAccess).map(<[u8]>::to_vec).collect()
        })
        .collect();
    let delimiter = &b"\x09\xf0"[..];
    let expected: [&[&[u8]]; 5] = [
        &[delimiter, sps, pps],
        &[delimiter, sps, pps_0],
        &[delimiter, sps, pps_0],
        &[delimiter, pps_1],
        &[delimiter, sps, pps_0, pps_1],
    ];
    assert_eq!(found, expected);
}

/// SRS reads composition times as unsigned: 40 ms back become 4.6 hours ahead.
#[test]
fn pictures_shown_before_they_are_decoded() {
    let mut frames = both_headers().to_vec();
    for (n, cts) in [0, 80, -40, -40, 80, -40, -40, 0].into_iter().enumerate() {
        frames.push(picture(n == 0, 40 * n as Millis, cts, &[n as u8; 20]));
    }
    let times: Vec<_> = times(&mux(&frames), pid::VIDEO);
    let pts: Vec<_> = times.iter().map(|(pts, _)| pts / 90).collect();
    assert_eq!(pts, [0, 120, 40, 80, 240, 160, 200, 280]);
    assert!(times.iter().all(|(pts, dts)| dts <= pts));
    let dts: Vec<_> = times[2..].iter().map(|(_, dts)| dts / 90).collect();
    assert_eq!(dts, [40, 80, 120, 160, 200, 240], "even again once it is known");
    // Damage is not followed.
    let absurd = [frame(VideoHeader, 0, AVC_HEADER), picture(true, 1000, -8_000_000, b"x")];
    assert_eq!(self::times(&mux(&absurd), pid::VIDEO), [(90_000, 90_000)]);
}

#[test]
fn time_goes_on_over_33_bits() {
    let wrap = (1 << 33) / 90;
    let mut frames = both_headers().to_vec();
    for n in 0..100 {
        let dts = wrap - 2000 + 40 * n;
        frames.push(picture(n % 25 == 0, dts, 80, &[n as u8 | 128; 300]));
        frames.push(aac(dts, &[n as u8; 30]));
    }
    let stream = mux(&frames);
    let found = demux(&stream);
    let wanted: Vec<_> = frames[2..].iter().filter(|f| f.kind != Audio).collect();
    let pictures: Vec<_> = found.iter().filter(|f| matches!(f.kind, Keyframe | Video)).collect();
    assert_eq!(pictures.len(), wanted.len());
    for (found, sent) in pictures.iter().zip(wanted) {
        assert_eq!((found.dts, &found.payload), (sent.dts + LEAD_MS, &sent.payload));
    }
    assert!(packets(&stream).iter().all(|packet| !packet.adaptation.discontinuity), "a wrap is none");
}

#[test]
fn jumps_are_marked_where_the_clock_is() {
    let mut frames = both_headers().to_vec();
    for dts in [0, 40, 80, 3_600_000, 3_600_040, 60, 100] {
        frames.push(aac(dts, b"sound"));
        frames.push(picture(dts == 0, dts, 0, b"slice"));
    }
    let stream = mux(&frames);
    let marked: Vec<_> = packets(&stream)
        .iter()
        .filter(|packet| packet.adaptation.discontinuity)
        .map(|packet| (packet.pid, packet.adaptation.pcr.map(|pcr| pcr / 90)))
        .collect();
    assert_eq!(marked, [(pid::VIDEO, Some(3_600_000)), (pid::VIDEO, Some(60))]);
    demux(&stream);
}

#[test]
fn long_pictures_have_no_length_and_short_ones_no_gap() {
    let frames: Vec<_> = [1, 100, 170, 171, 172, 183, 184, 185, 400, 65_300, 65_600, 300_000]
        .into_iter()
        .enumerate()
        .map(|(n, len)| picture(n % 2 == 0, 40 * n as Millis, 0, &vec![n as u8 + 4; len]))
        .collect();
    let stream = mux(&[&both_headers()[..1], &frames].concat());
    for unit in units(&stream, pid::VIDEO) {
        let announced = usize::from(u16::from_be_bytes([unit[4], unit[5]]));
        assert_eq!(announced, if unit.len() > 65_541 { 0 } else { unit.len() - 6 });
    }
    let found = demux(&stream);
    let expected = frames.iter().map(|f| Frame { dts: f.dts + LEAD_MS, ..f.clone() }).collect::<Vec<_>>();
    assert!(found[1..] == expected);
}

#[test]
fn packets_are_filled_up_to_the_byte() {
    for len in 1..=600 {
        for first in [Adaptation::default(), Adaptation { pcr: Some(1), ..Adaptation::default() }] {
            let (mut out, mut counter) = (BytesMut::new(), Counter::new());
            let data = vec![7; len];
            packet::write_payload(&mut out, 0x100, &mut counter, first, &data);
            let packets = packets(&out);
            assert_eq!(packets[0].adaptation, first);
            let found: Vec<u8> = packets.iter().flat_map(|packet| packet.payload.unwrap()).copied().collect();
            assert_eq!(found, data);
        }
    }
}

#[test]
fn another_codec_is_another_version_of_the_table() {
    let mp3 = |dts| frame(Audio, dts, [&b"\x2f\xff\xfb\x90\x64"[..], &[0; 413]].concat());
    let frames = [
        frame(AudioHeader, 0, AAC_HEADER),
        aac(0, b"sound"),
        aac(23, b"sound"),
        frame(VideoHeader, 46, AVC_HEADER),
        picture(true, 46, 0, b"slice"),
        mp3(46),
        mp3(73),
        frame(VideoHeader, 90, hevc_header()),
        hevc_picture(90),
    ];
    let stream = mux(&frames);
    let pmts: Vec<_> = packets(&stream)
        .iter()
        .filter(|packet| packet.pid == pid::PMT)
        .map(|packet| {
            let section = packet.payload.unwrap();
            let len = 4 + usize::from(section[3]);
            let tracks = psi::read_pmt(&section[1..len]).unwrap();
            (section[6] >> 1 & 31, tracks)
        })
        .collect();
    let expected = [
        (0, vec![(0x0f, 0x101)]),
        (1, vec![(0x0f, 0x101), (0x1b, 0x100)]),
        (2, vec![(0x03, 0x102), (0x1b, 0x100)]),
        (3, vec![(0x03, 0x102), (0x24, 0x100)]),
    ];
    assert_eq!(pmts, expected);
    let mut found: Vec<_> = demux(&stream);
    found.iter_mut().for_each(|frame| frame.dts -= LEAD_MS);
    let kinds = |frames: &[Frame]| {
        let mut kinds: Vec<_> =
            frames.iter().map(|frame| (frame.dts, frame.kind, frame.payload.clone())).collect();
        kinds.sort_by_key(|(dts, _, _)| *dts);
        kinds
    };
    assert_eq!(kinds(&found), kinds(&frames));
}

/// Main profile, 1920×1080, from an encoder; the picture is one IDR slice that nobody decodes.
fn hevc_header() -> Vec<u8> {
    let (vps, sps, pps): (&[u8], &[u8], &[u8]) = (
        b"\x40\x01\x0c\x01\xff\xff\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x78\x95\x98\x09",
        b"\x42\x01\x01\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x78\xa0\x03\xc0\x80\x11\x07\xcb\x96\x56\x54\xa4\xc2\
          \xf0\x16\x80\x80\0\0\x03\0\x80\0\0\x0c\x84",
        b"\x44\x01\xc1\x72\xb4\x62\x40",
    );
    let record = crate::codec::hevc::record(&[vps], &[sps], &[pps]).unwrap();
    [b"\x90hvc1", &record[..]].concat()
}

fn hevc_picture(dts: Millis) -> Frame {
    frame(Keyframe, dts, b"\x91hvc1\0\0\x28\0\0\0\x05\x26\x01abc".to_vec())
}

#[test]
fn hevc_in_both_forms() {
    let classic = |body: Vec<u8>, head: &[u8]| [head, &body[5..]].concat();
    for header in [hevc_header(), classic(hevc_header(), b"\x1c\0\0\0\0")] {
        for key in [hevc_picture(0), frame(Keyframe, 0, b"\x1c\x01\0\0\x28\0\0\0\x05\x26\x01abc".to_vec())] {
            let stream = mux(&[frame(VideoHeader, 0, header.clone()), key]);
            let unit = &units(&stream, pid::VIDEO)[0];
            let kinds: Vec<_> = Units::byte_stream(Pes::parse(unit).unwrap().payload)
                .map(|unit| Family::Hevc.kind(unit))
                .collect();
            assert_eq!(kinds, [Kind::Delimiter, Kind::Vps, Kind::Sps, Kind::Pps, Kind::RandomAccess]);
            let found = demux(&stream);
            assert_eq!(
                found,
                [frame(VideoHeader, LEAD_MS, hevc_header()), Frame { dts: LEAD_MS, ..hevc_picture(0) },]
            );
        }
    }
}

#[test]
fn what_cannot_be_carried_is_told_once() {
    let (mut muxer, mut out) = (Muxer::new(), BytesMut::new());
    let mut write = |kind, body: &[u8]| {
        let written = muxer.write(&frame(kind, 0, body.to_vec()), &mut out);
        (written, out.len(), muxer.is_hopeless())
    };
    assert_eq!(write(Metadata, b"\x02\0\x0aonMetaData"), (Ok(()), 0, false));
    let av1 = Err(Unfit::Video(VideoCodec::Av1));
    assert_eq!(write(VideoHeader, b"\x90av01\x81\x04\x0c\0"), (av1, 0, false));
    assert_eq!(write(Keyframe, b"\x91av01\x12\0"), (Ok(()), 0, false));
    assert_eq!(write(AudioHeader, b"\x90OpusOpusHead"), (Err(Unfit::Audio(AudioCodec::Opus)), 0, true));
    assert_eq!(write(Audio, b"\x91Opus123"), (Ok(()), 0, true));
    assert_eq!(write(Audio, b"\xaf\x01early"), (Err(Unfit::NoAudioConfig), 0, true));
    assert_eq!(write(Keyframe, b"\x17\x01\0\0\0\0\0\0\x01\x65"), (Err(Unfit::NoVideoConfig), 0, true));
    assert_eq!(write(AudioHeader, b"\xaf\0\xf9\x46\x40"), (Ok(()), 0, true), "told before");
    assert_eq!(write(VideoHeader, AVC_HEADER), (Ok(()), 0, false));
    assert_eq!(write(Keyframe, b"\x17\x01\0\0\0\0\xff\xff\xff\x65"), (Err(Unfit::DamagedVideo), 0, false));
    assert_eq!(write(Keyframe, b"\x17\x01\0\0\0\0\xff\xff\xff\x65"), (Ok(()), 0, false));
    assert_eq!(write(AudioHeader, AAC_HEADER).0, Ok(()));
    assert_eq!(write(Audio, &[&b"\xaf\x01"[..], &[0; 8185]].concat()).0, Err(Unfit::LongAudio));
    // Start codes instead of lengths, as some encoders send.
    assert_eq!(write(Keyframe, b"\x17\x01\0\0\0\0\0\0\x01\x65abc\0\0\x01\x65def").1, 3 * PACKET_LEN);
}

#[test]
fn tables_for_one_viewer_fit_between_those_for_all() {
    let (mut muxer, mut out) = (Muxer::new(), BytesMut::new());
    muxer.repeat_tables(&mut out);
    assert!(out.is_empty(), "nothing to declare yet");
    for frame in both_headers() {
        muxer.write(&frame, &mut out).unwrap();
    }
    muxer.write_tables(&mut out);
    muxer.write_tables(&mut out);
    assert_eq!(out.len(), 2 * PACKET_LEN, "not twice in a row");
    muxer.write(&picture(true, 0, 0, b"a"), &mut out).unwrap();
    assert_eq!(out.len(), 3 * PACKET_LEN, "nor by the keyframe");
    let mut own = BytesMut::new();
    muxer.repeat_tables(&mut own);
    assert_eq!(own, out[..2 * PACKET_LEN]);
    // Of a viewer who starts here nothing is lost.
    muxer.write(&picture(true, 40, 0, b"b"), &mut own).unwrap();
    assert_eq!(demux(&own).len(), 2);
}

/// As HLS will cut it: tables, then a keyframe or sound; the counters of the whole go on.
#[test]
fn segments_stand_alone_and_counters_run_on() {
    for (video, sound) in [(true, true), (true, false), (false, true)] {
        let (mut muxer, mut segments) = (Muxer::new(), vec![BytesMut::new()]);
        for frame in &recordings()[1] {
            let of_track = frame.kind.is_video() && video || frame.kind.is_audio() && sound;
            if !of_track {
                continue;
            }
            let cut =
                if video { frame.kind == Keyframe } else { frame.kind == Audio && frame.dts % 1000 < 24 };
            if cut {
                segments.push(BytesMut::new());
                if segments.len() == 4 {
                    muxer.mark_discontinuity();
                }
                muxer.write_tables(segments.last_mut().unwrap());
            }
            muxer.write(frame, segments.last_mut().unwrap()).unwrap();
        }
        let mut counters = std::collections::HashMap::new();
        for (number, segment) in segments.iter().enumerate().skip(1) {
            let packets = packets(segment);
            assert_eq!([packets[0].pid, packets[1].pid], [pid::PAT, pid::PMT]);
            assert!(packets[2].adaptation.pcr.is_some(), "segment {number}");
            assert_eq!(packets[2].adaptation.discontinuity, number == 3);
            let first = demux(segment).into_iter().find(|frame| !frame.kind.is_header()).unwrap();
            assert_eq!(first.kind, if video { Keyframe } else { Audio });
            for packet in packets.iter().filter(|packet| packet.payload.is_some()) {
                let before = counters.insert(packet.pid, packet.counter);
                assert!(before.is_none_or(|before| (before + 1) & 15 == packet.counter));
            }
        }
    }
}

/// Packets whose place is known by PID and counter, so that tests can take some away.
fn without(stream: &[u8], lost: impl Fn(usize, &Packet<'_>) -> bool) -> Vec<u8> {
    let keep = |(n, bytes): &(usize, &[u8])| !lost(*n, &Packet::parse((*bytes).try_into().unwrap()).unwrap());
    stream.chunks(PACKET_LEN).enumerate().filter(keep).flat_map(|(_, bytes)| bytes).copied().collect()
}

#[test]
fn a_gap_costs_the_frame_it_fell_into() {
    let frames: Vec<_> = (0..5).map(|n| picture(n == 0, 40 * n, 0, &[n as u8; 1000])).collect();
    let stream = mux(&[&both_headers()[..1], &frames].concat());
    let mut seen = 0;
    let third_begins = packets(&stream)
        .iter()
        .position(|packet| {
            seen += u32::from(packet.pid == pid::VIDEO && packet.starts);
            seen == 3
        })
        .unwrap();
    let damaged = without(&stream, |n, _| n == third_begins + 2);
    let found = events(&damaged, 188);
    let times: Vec<_> = found
        .iter()
        .filter_map(|event| match event {
            Event::Frame(frame) if !frame.kind.is_header() => Some(frame.dts - LEAD_MS),
            _ => None,
        })
        .collect();
    assert_eq!(times, [0, 40, 120, 160]);
    assert!(found.contains(&Event::Trouble(Trouble::Gap(pid::VIDEO))));
}

#[test]
fn framing_is_found_again() {
    let stream =
        mux(&[&both_headers()[..1], &[picture(true, 0, 0, b"a"), picture(false, 40, 0, b"b")]].concat());
    let (front, back) = stream.split_at(2 * PACKET_LEN);
    // Some of the rubbish looks like a packet's beginning.
    let rubbish = b"rub\x47bish\x47";
    let damaged = [&rubbish[..], front, rubbish, back].concat();
    let found = events(&damaged, 50);
    let troubles = found.iter().filter(|event| matches!(event, Event::Trouble(Trouble::LostSync(9)))).count();
    assert_eq!((found.len(), troubles), (5, 2), "{found:?}");
}

#[test]
fn sound_frames_may_share_packets_and_reach_over_them() {
    let header = crate::adts::Header::parse(b"\xff\xf1\x50\x80\x01\x1f\xfc").unwrap().0;
    let adts: Vec<u8> =
        (0..5u8).flat_map(|n| [&header.write(100).unwrap()[..], &[n; 100]].concat()).collect();
    let (mut out, mut counter) = (BytesMut::new(), Counter::new());
    packet::write_section(&mut out, pid::PAT, 0, &psi::pat());
    let program = Program { audio: Some(Coding::Aac), video: None };
    packet::write_section(&mut out, pid::PMT, 0, &psi::pmt(&program, 0));
    // Two and a half frames; the stamp of the second packet is for the frame that begins in it.
    for (part, pts) in [(&adts[..260], 0), (&adts[260..], 3 * 2090)] {
        let mut pes = Vec::new();
        pes::write_header(&mut pes, 0xc0, pts, pts);
        pes.extend_from_slice(part);
        pes::finish(&mut pes);
        packet::write_payload(&mut out, pid::AAC, &mut counter, Adaptation::default(), &pes);
    }
    let found = demux(&out);
    let expected: Vec<_> = (0..5u8).map(|n| [&b"\xaf\x01"[..], &[n; 100]].concat()).collect();
    assert_eq!(found[0].payload, AAC_HEADER);
    assert_eq!(found[1..].iter().map(|frame| frame.payload.to_vec()).collect::<Vec<_>>(), expected);
    assert_eq!(found[1..].iter().map(|frame| frame.dts).collect::<Vec<_>>(), [0, 23, 46, 70, 93]);
}

#[test]
fn tracks_nobody_carries_are_told_once() {
    let mut section = psi::pmt(&Program { audio: Some(Coding::Mp3), video: None }, 0);
    section[12] = 0x06;
    let len = section.len() - 4;
    // Its checksum is wrong now: such a table is not believed.
    let mut out = BytesMut::new();
    packet::write_section(&mut out, pid::PAT, 0, &psi::pat());
    packet::write_section(&mut out, pid::PMT, 0, &section);
    packet::write_section(&mut out, pid::PAT, 1, &psi::pat());
    assert_eq!(events(&out, 188), []);
    let checksum = {
        let mut crc = u32::MAX;
        for &byte in &section[..len] {
            crc ^= u32::from(byte) << 24;
            for _ in 0..8 {
                crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
            }
        }
        crc
    };
    section[len..].copy_from_slice(&checksum.to_be_bytes());
    for counter in 1..4 {
        packet::write_section(&mut out, pid::PMT, counter, &section);
    }
    packet::write_section(&mut out, pid::PAT, 2, &psi::pat());
    assert_eq!(events(&out, 188), [Event::Trouble(Trouble::Unsupported(6))]);
}

prop_compose! {
    /// Pictures and sound in order of time, of all sizes that matter to packets.
    fn any_stream()(
        pieces in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), 0..60i64, 0..3i32, 1..1500usize, any::<u8>()), 1..40)
    ) -> Vec<Frame> {
        let mut dts = 0;
        let mut frames = both_headers().to_vec();
        for (video, key, step, cts, len, fill) in pieces {
            dts += step;
            // No start code inside, as no encoder writes one.
            let data = vec![fill | 4; len];
            frames.push(if video { picture(key, dts, cts * 40, &data) } else { aac(dts, &data) });
        }
        frames
    }
}

/// Coded pictures and the payloads of sound.
fn content(frames: &[Frame]) -> (Vec<Frame>, Vec<Bytes>) {
    let video = frames.iter().filter(|f| matches!(f.kind, Keyframe | Video)).cloned().collect();
    let sound = frames.iter().filter(|f| f.kind == Audio).map(|f| f.payload.clone()).collect();
    (video, sound)
}

fn found_frames(events: Vec<Event>) -> Vec<Frame> {
    let frame = |event| match event {
        Event::Frame(mut frame) => {
            frame.dts -= LEAD_MS;
            Some(frame)
        }
        Event::Trouble(_) => None,
    };
    events.into_iter().filter_map(frame).collect()
}

proptest! {
    #[test]
    fn round_trip(frames in any_stream(), piece in 1usize..600) {
        let events = events(&mux(&frames), piece);
        prop_assert!(events.iter().all(|event| matches!(event, Event::Frame(_))));
        let (found, sound) = content(&found_frames(events));
        let (mut sent, sent_sound) = content(&frames);
        // It begins with a keyframe.
        let first = sent.iter().position(|frame| frame.kind == Keyframe).unwrap_or(sent.len());
        sent.drain(..first);
        prop_assert!(found == sent);
        prop_assert!(sound == sent_sound);
    }

    #[test]
    fn loss_takes_frames_away_and_changes_none(
        frames in any_stream(),
        lost in proptest::collection::vec(any::<proptest::sample::Index>(), 1..10),
    ) {
        let stream = mux(&frames);
        let count = stream.len() / PACKET_LEN;
        prop_assume!(count > 1);
        let lost: Vec<usize> = lost.iter().map(|index| index.index(count)).collect();
        let damaged = without(&stream, |n, _| lost.contains(&n));
        let (found, sound) = content(&found_frames(events(&damaged, 188)));
        let (sent, sent_sound) = content(&frames);
        prop_assert!(found.iter().all(|frame| sent.contains(frame)));
        prop_assert!(sound.iter().all(|payload| sent_sound.contains(payload)));
    }

    #[test]
    fn damage_never_panics(
        frames in any_stream(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..20),
        piece in 1usize..600,
    ) {
        let mut stream = mux(&frames);
        for (at, byte) in damage {
            if !stream.is_empty() {
                *at.get_mut(&mut stream[..]) = byte;
            }
        }
        events(&stream, piece);
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..2000), framed in any::<bool>()) {
        let mut noise = noise;
        if framed {
            noise.iter_mut().step_by(PACKET_LEN).for_each(|byte| *byte = packet::SYNC);
        }
        events(&noise, 100);
    }

    #[test]
    fn bodies_of_any_kind_make_whole_packets(
        bodies in proptest::collection::vec(
            (0..6usize, 0..1_000_000i64, any::<u8>(), proptest::collection::vec(0u8..20, 0..40)), 0..20)
    ) {
        let (mut muxer, mut out) = (Muxer::new(), BytesMut::new());
        for (kind, dts, first, rest) in bodies {
            let kind = [Metadata, AudioHeader, Audio, VideoHeader, Keyframe, Video][kind];
            let _ = muxer.write(&frame(kind, dts, [&[first][..], &rest].concat()), &mut out);
            prop_assert_eq!(out.len() % PACKET_LEN, 0);
        }
        for packet in packets(&out) {
            prop_assert!(!packet.scrambled);
        }
    }
}
