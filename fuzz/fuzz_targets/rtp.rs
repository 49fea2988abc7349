//! Packets of every payload format, in any order: receiving never panics, and frames are what they say they are.
#![no_main]

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mill_media::flv::tag::classify;
use mill_rtp::receiver::{Receiver, Wanted};
use mill_rtp::sdp::Description;

const TRACKS: [&str; 8] = [
    "video 0 RTP/AVP 96\na=rtpmap:96 H264/90000",
    "video 0 RTP/AVP 96\na=rtpmap:96 H265/90000",
    "audio 0 RTP/AVP 96\na=rtpmap:96 MPEG4-GENERIC/44100/2\na=fmtp:96 sizelength=13;indexlength=3;indexdeltalength=3;config=1210",
    "audio 0 RTP/AVP 96\na=rtpmap:96 MPEG4-GENERIC/44100/2\na=fmtp:96 sizelength=7;ctsdeltalength=5;auxiliarydatasizelength=4;config=1210",
    "audio 0 RTP/AVP 96\na=rtpmap:96 MP4A-LATM/48000/2\na=fmtp:96 cpresent=0;config=400023203fc0",
    "audio 0 RTP/AVP 96\na=rtpmap:96 MPA/90000",
    "audio 0 RTP/AVP 96\na=rtpmap:96 opus/48000/2",
    "audio 0 RTP/AVP 96\na=rtpmap:96 PCMA/8000",
];

// Each packet: control byte (track 3 bits, marker, RTCP, raw), step of sequence, step of time, length, payload.
fuzz_target!(|data: &[u8]| {
    let text: String = TRACKS.iter().map(|track| format!("m={track}\n")).collect();
    let media = Description::parse(text.as_bytes()).expect("the tracks above").media;
    let wait = Duration::from_millis(20);
    let wanted: Vec<_> = media.iter().map(|media| Some(Wanted { media, wait })).collect();
    let mut now = Instant::now();
    let mut receiver = Receiver::new(&wanted, 1, "fuzz", now);
    let (mut sequence, mut time) = ([0u16; 8], [0u32; 8]);
    let mut rest = data;
    while let Some((&[control, step, later, len], after)) = rest.split_first_chunk() {
        let (payload, after) = after.split_at(after.len().min(len.into()));
        rest = after;
        let track = usize::from(control & 7);
        now += Duration::from_millis(u64::from(later & 15));
        sequence[track] = sequence[track].wrapping_add_signed(i16::from(step as i8));
        time[track] = time[track].wrapping_add(u32::from(later) << (control >> 6) * 4);
        if control & 16 != 0 {
            receiver.handle_rtcp(track, payload, now);
        } else if control & 32 != 0 {
            receiver.handle_rtp(track, Bytes::copy_from_slice(payload), now);
        } else {
            let mut bytes = BytesMut::from(&[0x80, 96 | (control & 8) << 4][..]);
            bytes.put_u16(sequence[track]);
            bytes.put_u32(time[track]);
            bytes.put_u32(7);
            bytes.put_slice(payload);
            receiver.handle_rtp(track, bytes.freeze(), now);
        }
        while let Some(frame) = receiver.poll_frame(now) {
            assert_eq!(classify(frame.kind.tag_type(), &frame.payload), Some(frame.kind));
        }
        receiver.poll_reports(now);
        assert!(receiver.ended(now) || receiver.deadline() > now, "something would be due for ever");
    }
});
