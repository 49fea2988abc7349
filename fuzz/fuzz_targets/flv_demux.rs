//! FLV from anywhere, in pieces: demuxing, classification, codec information and metadata never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mill_media::codec::{audio_info, video_info};
use mill_media::flv::demux::Demuxer;
use mill_media::flv::script::Metadata;
use mill_media::flv::tag::classify;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses how the rest is cut.
    let Some((&piece, stream)) = data.split_first() else { return };
    let mut demuxer = Demuxer::new();
    for piece in stream.chunks(usize::from(piece) + 1) {
        demuxer.feed(piece);
        loop {
            match demuxer.next() {
                Ok(Some(tag)) => {
                    classify(tag.tag_type, &tag.body);
                    video_info(&tag.body);
                    audio_info(&tag.body);
                    if let Ok(metadata) = Metadata::parse(&tag.body) {
                        let told = metadata.normalised("server", "version");
                        assert!(Metadata::parse(&told).is_ok());
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
