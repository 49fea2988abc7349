//! Transport packets as a library of somebody else reads them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashMap;

use bytes::BytesMut;
use mill_media::flv::demux::Demuxer;
use mill_media::flv::tag::{Packet, VideoTag, classify};
use mill_media::frame::{Frame, FrameKind};
use mill_media::time::TICKS_PER_MS;
use mill_media::ts::datagram::Datagrams;
use mill_media::ts::demux;
use mill_media::ts::mux::{LEAD, Muxer};
use mpeg2ts::es::StreamType;
use mpeg2ts::pes::{PesPacketReader, ReadPesPacket};
use mpeg2ts::ts::{ReadTsPacket, TsPacketReader, TsPayload};

const AVATAR: &[u8] = include_bytes!("../testdata/avatar.flv");
const BBB: &[u8] = include_bytes!("../testdata/bbb.flv");

fn frames(file: &[u8]) -> Vec<Frame> {
    let mut demuxer = Demuxer::new();
    demuxer.feed(file);
    let tags = std::iter::from_fn(|| demuxer.next().unwrap());
    tags.map(|tag| Frame {
        kind: classify(tag.tag_type, &tag.body).unwrap(),
        dts: tag.timestamp.into(),
        payload: tag.body.clone(),
    })
    .collect()
}

fn mux(frames: &[Frame]) -> BytesMut {
    let (mut muxer, mut out) = (Muxer::new(), BytesMut::new());
    frames.iter().for_each(|frame| muxer.write(frame, &mut out).unwrap());
    out
}

#[test]
fn every_packet_is_accepted_and_every_track_declared() {
    for file in [AVATAR, BBB] {
        let stream = mux(&frames(file));
        let mut reader = TsPacketReader::new(&stream[..]);
        let (mut counters, mut tables) = (HashMap::new(), 0);
        while let Some(packet) = reader.read_ts_packet().unwrap() {
            let counter = packet.header.continuity_counter.as_u8();
            if packet.payload.is_some() {
                let before = counters.insert(packet.header.pid, counter);
                assert!(before.is_none_or(|before| (before + 1) & 15 == counter));
            }
            if let Some(TsPayload::Pmt(pmt)) = packet.payload {
                let tracks: Vec<_> = pmt.es_info.iter().map(|es| es.stream_type).collect();
                assert_eq!(tracks, [StreamType::AdtsAac, StreamType::H264]);
                assert_eq!(pmt.pcr_pid, Some(pmt.es_info[1].elementary_pid));
                tables += 1;
            }
        }
        assert!(tables > 10);
    }
}

#[test]
fn every_frame_is_a_pes_packet_with_its_time() {
    for file in [AVATAR, BBB] {
        let frames = frames(file);
        let pictures: Vec<(u64, u64)> = frames
            .iter()
            .filter(|frame| matches!(frame.kind, FrameKind::Keyframe | FrameKind::Video))
            .filter_map(|frame| {
                let tag = VideoTag::parse(&frame.payload).filter(|tag| tag.packet == Packet::Coded)?;
                let time = |ms| (ms * TICKS_PER_MS + LEAD) as u64;
                Some((time(frame.dts + i64::from(tag.cts)), time(frame.dts)))
            })
            .collect();
        let sounds = frames.iter().filter(|frame| frame.kind == FrameKind::Audio).count();

        let stream = mux(&frames);
        let mut reader = PesPacketReader::new(TsPacketReader::new(&stream[..]));
        let (mut found, mut found_sounds) = (Vec::new(), 0);
        while let Some(pes) = reader.read_pes_packet().unwrap() {
            let pts = pes.header.pts.unwrap().as_u64();
            if pes.header.stream_id.is_video() {
                found.push((pts, pes.header.dts.map_or(pts, |dts| dts.as_u64())));
                assert!(pes.data.starts_with(b"\0\0\0\x01\x09\xf0"));
            } else {
                found_sounds += 1;
                assert!(pes.data.starts_with(b"\xff\xf1"));
            }
        }
        assert_eq!((found, found_sounds), (pictures, sounds));
    }
}

/// What comes out of datagrams of seven packets, in that order.
fn received(datagrams: &[Vec<u8>]) -> Vec<Frame> {
    let (mut order, mut demuxer, mut frames) = (Datagrams::new(), demux::Demuxer::new(), Vec::new());
    let mut drain = |demuxer: &mut demux::Demuxer| {
        while let Some(event) = demuxer.next() {
            if let demux::Event::Frame(frame) = event {
                frames.push(frame);
            }
        }
    };
    for datagram in datagrams {
        order.take(datagram, |bytes| demuxer.feed(bytes));
        drain(&mut demuxer);
    }
    order.flush(|bytes| demuxer.feed(bytes));
    demuxer.finish();
    drain(&mut demuxer);
    frames
}

#[test]
fn a_bad_line_costs_frames_and_damages_hardly_any() {
    let mut damaged = [0, 0];
    for (file, rtp) in [(AVATAR, false), (BBB, false), (AVATAR, true), (BBB, true)] {
        let stream = mux(&frames(file));
        let sent = stream.chunks(7 * 188).enumerate().map(|(number, packets)| match rtp {
            true => [&[0x80, 33][..], &(number as u16).to_be_bytes(), &[0; 8], packets].concat(),
            false => packets.to_vec(),
        });
        let sent: Vec<Vec<u8>> = sent.collect();
        let whole = received(&sent);
        for seed in 1..40u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut dice = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 33) % 100
            };
            // 1 % is lost, 5 % comes behind one or two others.
            let mut arriving = Vec::new();
            let mut held: Vec<(u64, Vec<u8>)> = Vec::new();
            for datagram in &sent {
                match dice() {
                    0 => continue,
                    late @ 1..=5 => held.push((2 + late % 2, datagram.clone())),
                    _ => arriving.push(datagram.clone()),
                }
                held.iter_mut().for_each(|(left, _)| *left -= 1);
                let due = held.iter().filter(|(left, _)| *left == 0);
                arriving.extend(due.map(|(_, datagram)| datagram.clone()));
                held.retain(|(left, _)| *left > 0);
            }
            let got = received(&arriving);
            let of_the_whole = |frame: &&Frame| frame.kind.is_header() || whole.contains(frame);
            damaged[usize::from(rtp)] += got.len() - got.iter().filter(of_the_whole).count();
            assert!(got.len() * 10 > whole.len() * 6, "{} of {} frames, seed {seed}", got.len(), whole.len());
        }
    }
    // Counters begin again after 16 packets, so without numbers two orders may look alike.
    assert!(damaged[0] <= 3 && damaged[1] == 0, "{damaged:?}");
}
