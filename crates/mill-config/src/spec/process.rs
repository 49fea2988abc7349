//! `vhost.exec`, `vhost.ingest` and `vhost.transcode`: child processes.

use super::Effect::RestartsComponent;
use super::Kind::{BoolOff, Float, Int, List, Map, Path, Text, Word};
use super::Otherwise::ReadAs;
use super::Status::Planned;
use super::Unit::{Hertz, Kbps, Pixels, Plain};
use super::{Row, Status, block, row};

pub(super) const EXECUTE: Status = Planned("exec");
pub(super) const PULL: Status = Planned("ingest");
pub(super) const RECODE: Status = Planned("transcode");

pub(super) const EXEC: &[Row] = &[
    row("enabled", BoolOff, "off", EXECUTE, RestartsComponent, "Run programs."),
    row("publish", List, "", EXECUTE, RestartsComponent, "Program and arguments, run while a stream is published.").repeats().example("./objs/ffmpeg/bin/ffmpeg -f flv -i [url] -c copy -y ./[stream].flv"),
];

pub(super) const INGEST: &[Row] = &[
    row("enabled", BoolOff, "off", PULL, RestartsComponent, "Run the program."),
    block("input", INPUT, PULL, RestartsComponent, "Where the stream comes from.").open(),
    row("ffmpeg", Path, "", PULL, RestartsComponent, "The program.").example("./objs/ffmpeg/bin/ffmpeg"),
    block("engine", &engine(PULL), PULL, RestartsComponent, "What to do with it; the output format is always FLV.").repeats().open(),
];

const INPUT: &[Row] = &[
    row("type", Word(&["file", "stream"], ReadAs("stream")), "file", PULL, RestartsComponent, "`file` is read at its natural speed, `stream` as it comes."),
    row("url", Text, "", PULL, RestartsComponent, "File name or URL.").example("./doc/source.flv"),
];

pub(super) const TRANSCODE: &[Row] = &[
    row("enabled", BoolOff, "off", RECODE, RestartsComponent, "Run the programs."),
    row("ffmpeg", Path, "", RECODE, RestartsComponent, "The program.").example("./objs/ffmpeg/bin/ffmpeg"),
    block("engine", &engine(RECODE), RECODE, RestartsComponent, "One program.").repeats().example("ff"),
];

/// The rows of an `engine`, in the order in which they become arguments of ffmpeg.
const fn engine(status: Status) -> [Row; 20] {
    [
        row("enabled", BoolOff, "off", status, RestartsComponent, "Use this engine."),
        row("perfile", Map, "", status, RestartsComponent, "`-name value` before the input.").example("re;"),
        row("iformat", Text, "flv", status, RestartsComponent, "`-f` of the input; `off` for none."),
        row("vfilter", Map, "", status, RestartsComponent, "`-name value` of the video filters.").example("vf 'drawtext=text=hello';"),
        row("vcodec", Text, "", status, RestartsComponent, "Video: `libx264`, `png`, `copy`, or `vn` for none.").example("libx264"),
        row("vbitrate", Int(Kbps), "0", status, RestartsComponent, "`-b:v`; 0 for the encoder's choice."),
        row("vfps", Float(Plain), "0", status, RestartsComponent, "`-r`, pictures per second; 0 as they come."),
        row("vwidth", Int(Pixels), "0", status, RestartsComponent, "Width; 0 as it comes."),
        row("vheight", Int(Pixels), "0", status, RestartsComponent, "Height; 0 as it comes."),
        row("vthreads", Int(Plain), "1", status, RestartsComponent, "`-threads`."),
        row("vprofile", Text, "", status, RestartsComponent, "`-profile:v`; required for libx264.").example("main"),
        row("vpreset", Text, "", status, RestartsComponent, "`-preset`; required for libx264.").example("medium"),
        row("vparams", Map, "", status, RestartsComponent, "`-name value` of the video encoder.").example("g 100;"),
        row("acodec", Text, "", status, RestartsComponent, "Audio: an encoder, `copy`, or `an` for none.").example("aac"),
        row("abitrate", Int(Kbps), "0", status, RestartsComponent, "`-b:a`; 0 for the encoder's choice."),
        row("asample_rate", Int(Hertz), "0", status, RestartsComponent, "`-ar`; 0 as it comes."),
        row("achannels", Int(Plain), "0", status, RestartsComponent, "`-ac`; 0 as they come.").clamped(0.0, 2.0),
        row("aparams", Map, "", status, RestartsComponent, "`-name value` of the audio encoder.").example("profile:a aac_low;"),
        row("oformat", Text, "flv", status, RestartsComponent, "`-f` of the output; `off` for none."),
        row("output", Text, "", status, RestartsComponent, "Where the result goes; required.").example("rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]"),
    ]
}
