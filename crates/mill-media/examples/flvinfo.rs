//! Prints the tags of an FLV file: `cargo run -p mill-media --example flvinfo -- FILE`.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "an example may read files and print")]

use std::error::Error;

use mill_media::codec::{audio_info, video_info};
use mill_media::flv::demux::{Demuxer, Tag};
use mill_media::flv::script::Metadata;
use mill_media::flv::tag::{VideoTag, classify};
use mill_media::frame::FrameKind;
use mill_media::time::Unwrap;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: flvinfo FILE")?;
    let mut demuxer = Demuxer::new();
    demuxer.feed(&std::fs::read(path)?);
    let mut time = Unwrap::new();
    while let Some(tag) = demuxer.next()? {
        let dts = time.next(tag.timestamp);
        match classify(tag.tag_type, &tag.body) {
            Some(kind) => println!("{dts:>10} {kind:<12?} {:>8} {}", tag.body.len(), details(kind, &tag)),
            None => println!("{dts:>10} type {:<7} {:>8}", tag.tag_type, tag.body.len()),
        }
    }
    Ok(())
}

/// What the frame says about itself or its stream.
fn details(kind: FrameKind, tag: &Tag) -> String {
    match kind {
        FrameKind::Metadata => match Metadata::parse(&tag.body) {
            Ok(metadata) => {
                let members = metadata.object.iter().map(|(key, value)| format!("\n{:>26}: {value:?}", key));
                members.collect()
            }
            Err(error) => error.to_string(),
        },
        FrameKind::VideoHeader => video_info(&tag.body).map_or_else(String::new, |info| {
            let codec = info.codec.name();
            format!("{codec} {} {} {}x{}", info.profile, info.level, info.width, info.height)
        }),
        FrameKind::AudioHeader => audio_info(&tag.body).map_or_else(String::new, |info| {
            let codec = info.codec.name();
            format!("{codec} {} {} Hz, {} channels", info.profile, info.sample_rate, info.channels)
        }),
        FrameKind::Keyframe | FrameKind::Video => VideoTag::parse(&tag.body)
            .map_or_else(String::new, |video| {
                format!("{:?} {:?} cts {}", video.codec, video.packet, video.cts)
            }),
        FrameKind::Audio => String::new(),
    }
}
