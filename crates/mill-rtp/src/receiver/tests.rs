use super::*;
use crate::sdp::Description;
use crate::tests::now;

const SDP: &[u8] =
    b"m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 sprop-parameter-sets=Z0LAHto=,aM4PyA==\n\
    m=audio 0 RTP/AVP 8\nm=video 0 RTP/AVP 97\na=rtpmap:97 H264/90000\nm=application 0 RTP/AVP 98\n\
    a=rtpmap:98 vnd.onvif.metadata/90000\n";

const VIDEO: usize = 0;
const AUDIO: usize = 1;

fn receiver(now: Instant) -> Receiver {
    let media = Description::parse(SDP).unwrap().media;
    let (chosen, refused) = choose(&media);
    assert_eq!(chosen, [VIDEO, AUDIO]);
    let refused: Vec<_> = refused.iter().map(|(track, why)| format!("{track}: {why}")).collect();
    assert_eq!(
        refused,
        ["2: a second track of a kind is not carried", "3: VND.ONVIF.METADATA is not carried"]
    );
    let wanted: Vec<_> = media
        .iter()
        .enumerate()
        .map(|(track, media)| (track < 2).then_some(Wanted { media, wait: Duration::ZERO }))
        .collect();
    Receiver::new(&wanted, 1, "test", now)
}

fn rtp(track: usize, sequence: u16, timestamp: u32) -> Bytes {
    let (payload_type, payload) = [(96, &b"\x65\x88key"[..]), (8, b"alaw")][track];
    let ssrc = track as u32;
    let packet = Packet {
        marker: true,
        payload_type,
        sequence,
        timestamp,
        ssrc,
        payload: Bytes::from_static(payload),
    };
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes);
    bytes.freeze()
}

fn frames(receiver: &mut Receiver, now: Instant) -> Vec<(FrameKind, Millis)> {
    std::iter::from_fn(|| receiver.poll_frame(now)).map(|frame| (frame.kind, frame.dts)).collect()
}

#[test]
fn one_track_waits_for_the_other_but_not_for_ever() {
    use FrameKind::{Audio, Keyframe, VideoHeader};
    let start = now();
    let (mut receiver, at) = (receiver(start), |ms| start + Duration::from_millis(ms));
    receiver.handle_rtp(VIDEO, rtp(VIDEO, 1, 0), at(0));
    assert_eq!(frames(&mut receiver, at(0)), [], "sound may be on its way");
    assert_eq!(receiver.deadline(), at(0) + HOLD);
    receiver.handle_rtp(AUDIO, rtp(AUDIO, 1, 0), at(20));
    assert_eq!(frames(&mut receiver, at(20)), [(VideoHeader, 1000), (Keyframe, 1000)]);
    assert_eq!(frames(&mut receiver, at(320)), [(Audio, 1020)]);
    // Sound stays away.
    receiver.handle_rtp(VIDEO, rtp(VIDEO, 2, 90 * 2000), at(2000));
    assert_eq!(frames(&mut receiver, at(2000)), [(Keyframe, 3000)]);
}

#[test]
fn a_report_before_the_first_packet_counts() {
    let start = now();
    let (mut receiver, at) = (receiver(start), |ms| start + Duration::from_millis(ms));
    for track in [VIDEO, AUDIO] {
        let mut report = BytesMut::new();
        SenderReport { ssrc: track as u32, ntp: 5 << 32, rtp: 0 }.write(&mut report);
        receiver.handle_rtcp(track, &report, start);
    }
    receiver.handle_rtp(VIDEO, rtp(VIDEO, 1, 0), at(0));
    receiver.handle_rtp(AUDIO, rtp(AUDIO, 1, 0), at(200));
    let times: Vec<_> = frames(&mut receiver, at(500)).iter().map(|(_, dts)| *dts).collect();
    assert_eq!(times, [1000, 1000, 1000]);
}

#[test]
fn another_source_goes_on_where_it_arrives() {
    let start = now();
    let mut receiver = receiver(start);
    let other = |sequence| {
        let mut packet = rtp(VIDEO, sequence, 0x8000_0000).to_vec();
        packet[11] = 9;
        Bytes::from(packet)
    };
    receiver.handle_rtp(VIDEO, rtp(VIDEO, 1, 0), start);
    let later = start + Duration::from_secs(5);
    receiver.handle_rtp(VIDEO, other(1), later);
    receiver.handle_rtp(VIDEO, other(2), later);
    let times: Vec<_> = frames(&mut receiver, later + HOLD).iter().map(|(_, dts)| *dts).collect();
    assert_eq!(times, [1000, 1000, 6000]);
}

#[test]
fn reports_and_goodbyes() {
    let start = now();
    let mut receiver = receiver(start);
    receiver.handle_rtp(VIDEO, rtp(VIDEO, 1, 0), start);
    assert!(receiver.poll_reports(start).is_empty());
    let reports = receiver.poll_reports(start + REPORT_INTERVAL);
    assert_eq!(reports.iter().map(|(track, _)| *track).collect::<Vec<_>>(), [VIDEO]);
    let soon = start + GOODBYE;
    assert!(!receiver.ended(soon));
    receiver.handle_rtcp(VIDEO, b"\x81\xcb\0\x01\0\0\0\x05", start);
    assert!(!receiver.ended(soon), "somebody else's");
    receiver.handle_rtcp(VIDEO, b"\x81\xcb\0\x01\0\0\0\0", start);
    assert!(!receiver.ended(start), "the last packets may come now");
    assert_eq!(receiver.deadline(), start + HOLD);
    assert_eq!(frames(&mut receiver, start + HOLD).len(), 2);
    assert_eq!(receiver.deadline(), soon);
    receiver.handle_rtcp(VIDEO, b"\x81\xcb\0\x01\0\0\0\0", start + HOLD);
    assert!(receiver.ended(soon), "saying it again puts nothing off");
}

#[test]
fn a_goodbye_of_one_track_is_none_of_all() {
    let start = now();
    let mut receiver = receiver(start);
    receiver.handle_rtp(VIDEO, rtp(VIDEO, 1, 0), start);
    receiver.handle_rtp(AUDIO, rtp(AUDIO, 1, 0), start);
    receiver.handle_rtcp(VIDEO, b"\x81\xcb\0\x01\0\0\0\0", start);
    assert!(!receiver.ended(start + Duration::from_secs(60)));
    let then = start + Duration::from_secs(1);
    receiver.handle_rtcp(AUDIO, b"\x81\xcb\0\x01\0\0\0\x01", then);
    assert!(!receiver.ended(then) && receiver.ended(then + GOODBYE));
}

#[test]
fn a_sender_that_takes_another_number_goes_on() {
    // RFC 3550, 8.2: who meets its own number says goodbye and takes another.
    let start = now();
    let mut receiver = receiver(start);
    receiver.handle_rtp(VIDEO, rtp(VIDEO, 1, 0), start);
    receiver.handle_rtcp(VIDEO, b"\x81\xcb\0\x01\0\0\0\0", start);
    for n in 0..3 {
        let mut packet = rtp(VIDEO, 100 + n, 0x8000_0000).to_vec();
        packet[11] = 9;
        receiver.handle_rtp(VIDEO, packet.into(), start + GOODBYE / 2);
    }
    assert!(!receiver.ended(start + GOODBYE));
}

#[test]
fn what_does_not_belong_is_counted() {
    let start = now();
    let mut receiver = receiver(start);
    receiver.handle_rtp(VIDEO, Bytes::from_static(b"no packet"), start);
    receiver.handle_rtp(AUDIO, rtp(VIDEO, 1, 0), start);
    receiver.handle_rtp(7, rtp(VIDEO, 1, 0), start);
    assert_eq!(receiver.counts(), Counts { stray: 2, ..Counts::default() });
}

#[test]
fn waiting_frames_are_bounded() {
    let start = now();
    let mut receiver = receiver(start);
    for n in 0..2000u16 {
        receiver.handle_rtp(AUDIO, rtp(AUDIO, n, 160 * u32::from(n)), start);
    }
    assert_eq!(frames(&mut receiver, start).len(), 2000 - MAX_WAITING);
}
