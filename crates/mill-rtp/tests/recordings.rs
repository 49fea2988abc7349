//! Recordings of real encoders, sent as RTP over networks of different quality and put together again.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic is how a test fails; a moment to begin at"
)]

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use mill_media::codec::avc;
use mill_media::flv::demux::Demuxer;
use mill_media::flv::tag::{AudioTag, VideoTag, classify};
use mill_media::frame::{Frame, FrameKind};
use mill_media::nal::Units;
use mill_rtp::packet::Packet;
use mill_rtp::receiver::{HOLD, Receiver, Wanted, choose};
use mill_rtp::rtcp::SenderReport;
use mill_rtp::sdp::Description;

const AVATAR: &[u8] = include_bytes!("../../mill-media/testdata/avatar.flv");
const BBB: &[u8] = include_bytes!("../../mill-media/testdata/bbb.flv");

const VIDEO: usize = 0;
const AUDIO: usize = 1;
const CLOCKS: [u32; 2] = [90_000, 44_100];
const SOURCES: [u32; 2] = [0x1111, 0x2222];

/// The largest packet.
const MTU: usize = 1200;

fn frames(file: &[u8]) -> Vec<Frame> {
    let mut demuxer = Demuxer::new();
    demuxer.feed(file);
    let tags = std::iter::from_fn(|| demuxer.next().unwrap());
    let frames = tags.filter_map(|tag| {
        let kind = classify(tag.tag_type, &tag.body)?;
        Some(Frame { kind, dts: tag.timestamp.into(), payload: tag.body })
    });
    // The file of ffmpeg ends with an end of sequence, which RTP has no word for.
    frames.filter(|frame| frame.kind != FrameKind::Metadata && !is_end(frame)).collect()
}

fn is_end(frame: &Frame) -> bool {
    frame.kind.is_video() && frame.payload.len() <= 5
}

/// Presentation minus decoding time.
fn cts(frame: &Frame) -> i64 {
    if frame.kind.is_video() { VideoTag::parse(&frame.payload).unwrap().cts.into() } else { 0 }
}

/// A sender of one recording.
struct Sender {
    frames: Vec<Frame>,
    sequence: [u16; 2],
    /// What the clocks show when the recording begins.
    bases: [u32; 2],
}

/// A packet under way: when it was sent, on which track, RTCP or not.
#[derive(Clone)]
struct Sent {
    at: u64,
    track: usize,
    control: bool,
    bytes: Bytes,
}

impl Sender {
    fn new(file: &[u8]) -> Self {
        Self { frames: frames(file), sequence: [65_500, 7], bases: [0xffff_f000, 0x1234] }
    }

    fn header(&self, kind: FrameKind) -> &Frame {
        self.frames.iter().find(|frame| frame.kind == kind).unwrap()
    }

    fn description(&self, with_sets: bool) -> Description {
        let record = VideoTag::parse(&self.header(FrameKind::VideoHeader).payload).unwrap().data;
        let config = avc::DecoderConfig::parse(record).unwrap();
        let sets = config
            .sps
            .iter()
            .chain(&config.pps)
            .map(|set| STANDARD.encode(set))
            .collect::<Vec<_>>()
            .join(",");
        let sets = if with_sets { format!(";sprop-parameter-sets={sets}") } else { String::new() };
        let audio = AudioTag::parse(&self.header(FrameKind::AudioHeader).payload).unwrap().data;
        let audio: String = audio.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 packetization-mode=1{sets}\n\
             m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/44100/2\n\
             a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={audio}\n"
        );
        Description::parse(text.as_bytes()).unwrap()
    }

    fn clock(&self, track: usize, ms: i64) -> u32 {
        self.bases[track].wrapping_add((ms * i64::from(CLOCKS[track]) / 1000) as u32)
    }

    fn packet(&mut self, at: u64, track: usize, ms: i64, marker: bool, payload: &[u8]) -> Sent {
        let packet = Packet {
            marker,
            payload_type: 96 + track as u8,
            sequence: self.sequence[track],
            timestamp: self.clock(track, ms),
            ssrc: SOURCES[track],
            payload: Bytes::copy_from_slice(payload),
        };
        self.sequence[track] = self.sequence[track].wrapping_add(1);
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes);
        Sent { at, track, control: false, bytes: bytes.freeze() }
    }

    /// All packets of the recording, at their time, each second with reports. Parameter sets stand before keyframes
    /// if `in_band`. `late` is how long after it was made sound is sent.
    fn send(&mut self, in_band: bool, late: u64) -> Vec<Sent> {
        let mut sent = Vec::new();
        let record = self.header(FrameKind::VideoHeader).payload.slice(5..);
        let config = avc::DecoderConfig::parse(&record).unwrap();
        let sets: Vec<&[u8]> = config.sps.iter().chain(&config.pps).copied().collect();
        let mut reported = [None; 2];
        for frame in self.frames.clone() {
            let track = if frame.kind.is_video() { VIDEO } else { AUDIO };
            let at = frame.dts as u64 + if track == AUDIO { late } else { 0 };
            let ms = frame.dts + cts(&frame);
            if reported[track] != Some(frame.dts / 1000) && !frame.kind.is_header() {
                reported[track] = Some(frame.dts / 1000);
                let (seconds, rest) = (frame.dts as u64 / 1000, frame.dts as u64 % 1000);
                let ntp = ((3_900_000_000 + seconds) << 32) | ((rest << 32) / 1000);
                let mut bytes = BytesMut::new();
                SenderReport { ssrc: SOURCES[track], ntp, rtp: self.clock(track, frame.dts) }
                    .write(&mut bytes);
                sent.push(Sent { at, track, control: true, bytes: bytes.freeze() });
            }
            match frame.kind {
                FrameKind::Audio => {
                    let data = AudioTag::parse(&frame.payload).unwrap().data;
                    let header = [0, 16, (data.len() >> 5) as u8, (data.len() << 3) as u8];
                    sent.push(self.packet(at, track, ms, true, &[&header[..], data].concat()));
                }
                FrameKind::Keyframe | FrameKind::Video => {
                    let data = VideoTag::parse(&frame.payload).unwrap().data;
                    if in_band && frame.kind == FrameKind::Keyframe {
                        let mut aggregate = BytesMut::from(&[0x78][..]);
                        for set in &sets {
                            aggregate.put_u16(set.len() as u16);
                            aggregate.put_slice(set);
                        }
                        sent.push(self.packet(at, track, ms, false, &aggregate));
                    }
                    let units: Vec<_> = Units::new(data, 4).unwrap().collect();
                    for (n, unit) in units.iter().enumerate() {
                        let last = n + 1 == units.len();
                        if unit.len() <= MTU {
                            sent.push(self.packet(at, track, ms, last, unit));
                            continue;
                        }
                        let pieces: Vec<_> = unit[1..].chunks(MTU).collect();
                        for (p, piece) in pieces.iter().enumerate() {
                            let (starts, ends) = (p == 0, p + 1 == pieces.len());
                            let head = unit[0] & 31 | u8::from(starts) << 7 | u8::from(ends) << 6;
                            let payload = [&[unit[0] & 0xe0 | 28, head], *piece].concat();
                            sent.push(self.packet(at, track, ms, last && ends, &payload));
                        }
                    }
                }
                _ => {}
            }
        }
        sent
    }
}

/// Receives what was sent, at the time it was.
fn receive(description: &Description, wait: Duration, sent: &[Sent]) -> (Vec<Frame>, Receiver) {
    let (chosen, refused) = choose(&description.media);
    assert_eq!((chosen, refused.len()), (vec![VIDEO, AUDIO], 0));
    let start = Instant::now();
    let wanted: Vec<_> = description.media.iter().map(|media| Some(Wanted { media, wait })).collect();
    let mut receiver = Receiver::new(&wanted, 5, "test", start);
    let (mut frames, mut now) = (Vec::new(), start);
    for sent in sent {
        now = start + Duration::from_millis(sent.at);
        match sent.control {
            false => receiver.handle_rtp(sent.track, sent.bytes.clone(), now),
            true => receiver.handle_rtcp(sent.track, &sent.bytes, now),
        }
        frames.extend(std::iter::from_fn(|| receiver.poll_frame(now)));
    }
    now += wait + HOLD;
    frames.extend(std::iter::from_fn(|| receiver.poll_frame(now)));
    (frames, receiver)
}

fn of_track(frames: &[Frame], track: usize) -> Vec<&Frame> {
    frames
        .iter()
        .filter(|frame| frame.kind.is_video() == (track == VIDEO) && !frame.kind.is_header())
        .collect()
}

/// How far a frame is from where the other one is, after both clocks began at their first frame of sound.
#[track_caller]
fn check_times(expected: &[&Frame], found: &[&Frame], zero: (i64, i64), tolerated: i64) {
    for (expected, found) in expected.iter().zip(found) {
        let (decode, show) = (found.dts - zero.1, found.dts + cts(found) - zero.1);
        let off = (show - (expected.dts + cts(expected) - zero.0)).abs();
        assert!(off <= tolerated, "shown at {show}, should be {off} ms elsewhere");
        assert!(decode <= show);
    }
}

#[test]
fn what_was_recorded_comes_out() {
    for (file, in_band) in [(AVATAR, false), (AVATAR, true), (BBB, false), (BBB, true)] {
        let mut sender = Sender::new(file);
        let description = sender.description(!in_band);
        let sent = sender.send(in_band, 0);
        let (found, receiver) = receive(&description, Duration::ZERO, &sent);
        let headers = |frames: &[Frame]| {
            let headers = frames.iter().filter(|frame| frame.kind.is_header());
            headers.map(|frame| frame.payload.clone()).collect::<Vec<_>>()
        };
        assert_eq!(headers(&found).len(), 2);
        assert_eq!(receiver.counts().lost + receiver.counts().late + receiver.skipped(), 0);
        let zero = (of_track(&sender.frames, AUDIO)[0].dts, of_track(&found, AUDIO)[0].dts);
        for track in [VIDEO, AUDIO] {
            let (expected, found) = (of_track(&sender.frames, track), of_track(&found, track));
            assert_eq!(expected.len(), found.len());
            for (expected, found) in expected.iter().zip(&found) {
                assert_eq!(expected.kind, found.kind);
                let data = |frame: &Frame| match track {
                    VIDEO => Bytes::copy_from_slice(VideoTag::parse(&frame.payload).unwrap().data),
                    _ => frame.payload.clone(),
                };
                let (expected, found) = (data(expected), data(found));
                let sets = |unit: &[u8]| !matches!(unit[0] & 31, 7..=9);
                match track {
                    VIDEO => assert_eq!(
                        Units::new(&expected, 4).unwrap().filter(|unit| sets(unit)).collect::<Vec<_>>(),
                        Units::new(&found, 4).unwrap().filter(|unit| sets(unit)).collect::<Vec<_>>()
                    ),
                    _ => assert_eq!(expected, found),
                }
            }
            // Milliseconds of the file, ticks, milliseconds again: one of rounding at each end.
            check_times(&expected, &found, zero, 2);
            assert!(found.is_sorted_by_key(|frame| frame.dts));
        }
        assert!(found.is_sorted_by_key(|frame| frame.dts), "both tracks in one order");
    }
}

#[test]
fn sound_that_is_sent_late_is_heard_in_time() {
    let mut sender = Sender::new(BBB);
    let description = sender.description(true);
    let mut sent = sender.send(false, 250);
    sent.sort_by_key(|sent| sent.at);
    let (found, _) = receive(&description, Duration::ZERO, &sent);
    let (video, audio) = (of_track(&found, VIDEO), of_track(&found, AUDIO));
    let (v, a) = (of_track(&sender.frames, VIDEO), of_track(&sender.frames, AUDIO));
    let shown = |frame: &Frame| frame.dts + cts(frame);
    let distance = shown(audio[100]) - shown(video[100]);
    let expected = shown(a[100]) - shown(v[100]);
    assert!((distance - expected).abs() <= 2, "{distance} ms instead of {expected}");
}

/// A network that loses and reorders, the same way each time.
fn disturb(sent: &[Sent], lost: u64, swapped: u64, mut seed: u64) -> (Vec<Sent>, u64) {
    let mut random = |of: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % of
    };
    let (mut out, mut gone): (Vec<Sent>, u64) = (Vec::new(), 0);
    for packet in sent {
        // Not at the very end, where nothing shows that there was more.
        if !packet.control && random(100) < lost && packet.at < 9000 {
            gone += 1;
            continue;
        }
        out.push(packet.clone());
        let at = out.len() - 1;
        // What comes first decides where a source begins, so nothing overtakes that.
        if random(100) < swapped && at > 0 && out[at - 1].at > 100 && out[at].at - out[at - 1].at < 40 {
            let (then, now) = (out[at - 1].at, out[at].at);
            out.swap(at - 1, at);
            (out[at - 1].at, out[at].at) = (then, now);
        }
    }
    (out, gone)
}

#[test]
fn reordering_alone_costs_nothing() {
    let mut sender = Sender::new(AVATAR);
    let description = sender.description(true);
    let sent = sender.send(false, 0);
    let (disturbed, _) = disturb(&sent, 0, 20, 7);
    let wait = Duration::from_millis(150);
    let (whole, _) = receive(&description, wait, &sent);
    let (found, receiver) = receive(&description, wait, &disturbed);
    for track in [VIDEO, AUDIO] {
        let payloads =
            |frames| of_track(frames, track).iter().map(|frame| frame.payload.len()).collect::<Vec<_>>();
        assert_eq!(payloads(&found), payloads(&whole));
    }
    let counts = receiver.counts();
    assert!(counts.reordered > 10, "{counts:?}");
    assert_eq!((counts.lost, counts.late, receiver.skipped()), (0, 0, 0));
}

#[test]
fn after_losses_pictures_are_whole_again_from_a_keyframe_on() {
    for (file, seed) in [(AVATAR, 1), (AVATAR, 2), (BBB, 3), (BBB, 4)] {
        let mut sender = Sender::new(file);
        let description = sender.description(true);
        let (disturbed, gone) = disturb(&sender.send(false, 0), 1, 5, seed);
        let (found, receiver) = receive(&description, Duration::from_millis(150), &disturbed);
        let counts = receiver.counts();
        assert!(gone > 0 && counts.lost == gone && counts.late == 0, "{gone} gone, {counts:?}");
        assert!(receiver.skipped() > 0);
        // Every picture that came out is one that was sent; where one is missing, the next is a keyframe.
        let sent: Vec<_> = of_track(&sender.frames, VIDEO);
        let data = |frame: &Frame| VideoTag::parse(&frame.payload).unwrap().data.to_vec();
        let mut next = 0;
        let zero = of_track(&found, AUDIO)[0].dts - of_track(&sender.frames, AUDIO)[0].dts;
        for frame in of_track(&found, VIDEO) {
            let at = next + sent[next..].iter().position(|sent| data(sent).ends_with(&data(frame))).unwrap();
            assert!(at == next || frame.kind == FrameKind::Keyframe, "picture {at} after {next}");
            next = at + 1;
            let off = frame.dts + cts(frame) - zero - sent[at].dts - cts(sent[at]);
            assert!(
                off.abs() <= 2 && cts(frame) <= 200,
                "shown {off} ms late, {} ms after decoding",
                cts(frame)
            );
        }
        let sounds = of_track(&sender.frames, AUDIO).len() - of_track(&found, AUDIO).len();
        assert!(sounds as u64 <= gone, "a lost packet of sound costs one frame");
    }
}

#[test]
fn damaged_packets_end_in_nothing_worse_than_less() {
    let mut sender = Sender::new(AVATAR);
    let description = sender.description(true);
    let sent = sender.send(true, 0);
    let mut seed = 99u64;
    let mut random = move |of: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % of
    };
    for _ in 0..30 {
        let mutated: Vec<_> = sent
            .iter()
            .map(|packet| {
                let mut bytes = packet.bytes.to_vec();
                if random(4) == 0 {
                    let (at, cut) = (random(bytes.len().min(24)), random(bytes.len()));
                    bytes[at] ^= 1 << random(8);
                    bytes.truncate(bytes.len() - if random(3) == 0 { cut } else { 0 });
                }
                Sent { bytes: bytes.into(), ..packet.clone() }
            })
            .collect();
        let (found, _) = receive(&description, Duration::from_millis(150), &mutated);
        for track in [VIDEO, AUDIO] {
            assert!(of_track(&found, track).is_sorted_by_key(|frame| frame.dts));
        }
        for frame in &found {
            assert_eq!(classify(frame.kind.tag_type(), &frame.payload), Some(frame.kind));
        }
    }
}
