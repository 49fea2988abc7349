//! Turns an FLV file into a transport stream: `cargo run --example flv2ts < in.flv > out.ts`.
#![allow(clippy::print_stderr, reason = "a program for a terminal")]

use std::error::Error;
use std::io::{Read, Write, stdin, stdout};

use bytes::BytesMut;
use mill_media::flv::demux::Demuxer;
use mill_media::flv::tag::classify;
use mill_media::frame::Frame;
use mill_media::time::Unwrap;
use mill_media::ts::mux::Muxer;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut demuxer, mut time, mut muxer) = (Demuxer::new(), Unwrap::new(), Muxer::new());
    let (mut input, mut piece, mut out) = (stdin().lock(), [0; 1 << 16], BytesMut::new());
    loop {
        let len = input.read(&mut piece)?;
        if len == 0 {
            return Ok(());
        }
        demuxer.feed(&piece[..len]);
        while let Some(tag) = demuxer.next()? {
            let Some(kind) = classify(tag.tag_type, &tag.body) else { continue };
            let frame = Frame { kind, dts: time.next(tag.timestamp), payload: tag.body };
            if let Err(unfit) = muxer.write(&frame, &mut out) {
                eprintln!("at {} ms: {unfit}", frame.dts);
            }
        }
        stdout().write_all(&out.split())?;
    }
}
