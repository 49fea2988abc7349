//! `vhost.exec`, `vhost.ingest` and `vhost.transcode`: child processes.

use super::Effect::RestartsComponent;
use super::Kind::{BoolOff, Float, Int, List, Map, Path, Text, Word};
use super::Otherwise::ReadAs;
use super::Status::Implemented;
use super::Unit::{Hertz, Kbps, Pixels, Plain};
use super::{Row, block, row};

pub(super) const EXEC: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Run programs beside published streams."),
    row("publish", List, "", Implemented, RestartsComponent, "Program and arguments, run while a stream is published; no shell, but `>f` and `2>f` are understood.").repeats().example("./objs/ffmpeg/bin/ffmpeg -f flv -i [url] -c copy -y ./[stream].flv"),
    row("unpublish", List, "", Implemented, RestartsComponent, "The same, run once when a publish has ended; not in SRS.").repeats().example("/usr/local/bin/archive ./[stream].flv"),
];

pub(super) const INGEST: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Run the program."),
    block("input", INPUT, Implemented, RestartsComponent, "Where the stream comes from.").open(),
    row("ffmpeg", Path, "", Implemented, RestartsComponent, "The program; a name without a slash is looked for in PATH.").example("./objs/ffmpeg/bin/ffmpeg"),
    block("engine", ENGINE, Implemented, RestartsComponent, "What to do with it. One that is off, or names no codecs, copies; `output` is required.").repeats().open(),
];

const INPUT: &[Row] = &[
    row("type", Word(&["file", "stream"], ReadAs("stream")), "file", Implemented, RestartsComponent, "`file` is read at its natural speed, `stream` as it comes."),
    row("url", Text, "", Implemented, RestartsComponent, "File name or URL.").example("./doc/source.flv"),
];

pub(super) const TRANSCODE: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Run the programs."),
    row("ffmpeg", Path, "", Implemented, RestartsComponent, "The program; a name without a slash is looked for in PATH.").example("./objs/ffmpeg/bin/ffmpeg"),
    block("engine", ENGINE, Implemented, RestartsComponent, "One program.").repeats().example("ff"),
];

/// The rows of an `engine`, in the order in which they become arguments of ffmpeg.
const ENGINE: &[Row] = &[
    row("enabled", BoolOff, "off", Implemented, RestartsComponent, "Use this engine."),
    row("perfile", Map, "", Implemented, RestartsComponent, "`-name value` before the input.").example("re;"),
    row("iformat", Text, "flv", Implemented, RestartsComponent, "`-f` of the input; `off` for none."),
    row("vfilter", Map, "", Implemented, RestartsComponent, "`-name value` of the video filters.").example("vf 'drawtext=text=hello';"),
    row("vcodec", Text, "", Implemented, RestartsComponent, "Video: an encoder such as `libx264` or `png`, `copy`, or `vn` for none.").example("libx264"),
    row("vbitrate", Int(Kbps), "0", Implemented, RestartsComponent, "`-b:v`; 0 for the encoder's choice."),
    row("vfps", Float(Plain), "0", Implemented, RestartsComponent, "`-r`, pictures per second; 0 as they come."),
    row("vwidth", Int(Pixels), "0", Implemented, RestartsComponent, "Width; 0 as it comes."),
    row("vheight", Int(Pixels), "0", Implemented, RestartsComponent, "Height; 0 as it comes."),
    row("vthreads", Int(Plain), "1", Implemented, RestartsComponent, "`-threads`."),
    row("vprofile", Text, "", Implemented, RestartsComponent, "`-profile:v`; required for libx264.").example("main"),
    row("vpreset", Text, "", Implemented, RestartsComponent, "`-preset`; required for libx264.").example("medium"),
    row("vparams", Map, "", Implemented, RestartsComponent, "`-name value` of the video encoder.").example("g 100;"),
    row("acodec", Text, "", Implemented, RestartsComponent, "Audio: an encoder, `copy`, or `an` for none.").example("aac"),
    row("abitrate", Int(Kbps), "0", Implemented, RestartsComponent, "`-b:a`; 0 for the encoder's choice."),
    row("asample_rate", Int(Hertz), "0", Implemented, RestartsComponent, "`-ar`; 0 as it comes."),
    row("achannels", Int(Plain), "0", Implemented, RestartsComponent, "`-ac`; 0 as they come.").clamped(0.0, 2.0),
    row("aparams", Map, "", Implemented, RestartsComponent, "`-name value` of the audio encoder.").example("profile:a aac_low;"),
    row("oformat", Text, "flv", Implemented, RestartsComponent, "`-f` of the output; `off` for none."),
    row("output", Text, "", Implemented, RestartsComponent, "Where the result goes; required.").example("rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]"),
];
