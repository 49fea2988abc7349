//! Datagrams of one sender, in any order: putting them in order, taking them apart and interleaving what comes out
//! never panics, and all that waits is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mill_media::flv::tag::classify;
use mill_media::interleave::Interleave;
use mill_media::ts::PACKET_LEN;
use mill_media::ts::datagram::Datagrams;
use mill_media::ts::demux::{Demuxer, Event};

fuzz_target!(|data: &[u8]| {
    let (mut order, mut demuxer, mut frames) = (Datagrams::new(), Demuxer::new(), Interleave::new());
    let mut rest = data;
    // Each datagram begins with what is done to it, and its length in packets or bytes.
    while let Some((&[how, len], behind)) = rest.split_first_chunk() {
        let len = usize::from(len) * if how & 1 == 1 { PACKET_LEN / 8 } else { 1 };
        let (bytes, behind) = behind.split_at(len.min(behind.len()));
        rest = behind;
        let mut datagram = bytes.to_vec();
        if how & 1 == 1 {
            datagram.resize(datagram.len().next_multiple_of(PACKET_LEN), 0xff);
            datagram.iter_mut().step_by(PACKET_LEN).for_each(|byte| *byte = 0x47);
        }
        if how & 2 == 2 {
            datagram.splice(0..0, [0x80, 33, 0, how, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        order.take(&datagram, |bytes| demuxer.feed(bytes));
        if how & 4 == 4 {
            order.flush(|bytes| demuxer.feed(bytes));
        }
        while let Some(event) = demuxer.next() {
            let Event::Frame(frame) = event else { continue };
            assert_eq!(classify(frame.kind.tag_type(), &frame.payload), Some(frame.kind));
            frames.expect(demuxer.has_video(), demuxer.has_audio());
            frames.put(frame);
        }
        while frames.next().is_some() {}
    }
    order.flush(|bytes| demuxer.feed(bytes));
    assert!(!order.is_waiting());
});
