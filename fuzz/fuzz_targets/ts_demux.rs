//! Transport packets from anywhere, in pieces: demuxing never panics, and what comes out can be muxed again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mill_media::flv::tag::classify;
use mill_media::ts::PACKET_LEN;
use mill_media::ts::demux::{Demuxer, Event};
use mill_media::ts::mux::Muxer;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses how the rest is cut, and whether packets begin where they should.
    let Some((&choice, stream)) = data.split_first() else { return };
    let mut stream = stream.to_vec();
    if choice & 1 == 1 {
        stream.iter_mut().step_by(PACKET_LEN).for_each(|byte| *byte = 0x47);
    }
    let (mut demuxer, mut muxer, mut out) = (Demuxer::new(), Muxer::new(), BytesMut::new());
    let mut drain = |demuxer: &mut Demuxer| {
        while let Some(event) = demuxer.next() {
            let Event::Frame(frame) = event else { continue };
            assert_eq!(classify(frame.kind.tag_type(), &frame.payload), Some(frame.kind));
            let _ = muxer.write(&frame, &mut out);
            assert_eq!(out.len() % PACKET_LEN, 0);
            out.clear();
        }
    };
    for piece in stream.chunks(usize::from(choice) + 1) {
        demuxer.feed(piece);
        drain(&mut demuxer);
    }
    demuxer.finish();
    drain(&mut demuxer);
});
