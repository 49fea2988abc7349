//! The outside tools: ffmpeg, ffprobe, rtmpdump and curl, each with a deadline.

use super::PATIENCE;
use super::process::{Finished, Process};
use std::path::Path;
use std::process::Command;

/// What an encoder sends when the test does not care: small, quick to make, a keyframe every second.
pub(crate) const VIDEO: &str = "-f lavfi -i testsrc2=size=320x180:rate=25";
pub(crate) const AUDIO: &str = "-f lavfi -i sine=frequency=440:sample_rate=44100";
pub(crate) const H264: &str =
    "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 -b:v 300k";
pub(crate) const AAC: &str = "-c:a aac -b:a 64k -ac 2";

/// A tool with blank-separated arguments.
pub(crate) fn tool(program: &str, args: &str) -> Command {
    let mut command = Command::new(program);
    command.args(args.split_whitespace());
    command
}

fn ffmpeg(args: &str) -> Command {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror");
    command.args(args.split_whitespace());
    command
}

/// An encoder in the background: reads the inputs at their own pace, sends to `url` until dropped.
#[track_caller]
pub(crate) fn publish(args: &str, url: &str) -> Process {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error");
    Process::start(command.args(args.split_whitespace()).args(["-f", "flv", url]))
}

/// An encoder with picture and sound until dropped.
#[track_caller]
pub(crate) fn publish_both(url: &str) -> Process {
    publish(&format!("-re {VIDEO} -re {AUDIO} {H264} {AAC}"), url)
}

/// A file sent over and over, at its own pace, as it is.
#[track_caller]
pub(crate) fn publish_file(file: &Path, url: &str) -> Process {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -re -stream_loop -1");
    Process::start(command.arg("-i").arg(file).args(["-c", "copy", "-f", "flv", url]))
}

/// Decodes `seconds` of the input strictly; any complaint of any decoder or demuxer is a failure.
#[track_caller]
pub(crate) fn decode(url: &str, seconds: u32) {
    let mut command = ffmpeg(&format!("-rw_timeout 15000000 -i {url} -t {seconds} -f null -"));
    let run = Process::run(&mut command, PATIENCE);
    assert!(run.status.success() && run.text().is_empty(), "{url} does not decode cleanly:\n{}", run.text());
}

/// Decodes a whole file just as strictly.
#[track_caller]
pub(crate) fn decode_file(file: &Path) {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror");
    let run = Process::run(command.arg("-i").arg(file).args(["-f", "null", "-"]), PATIENCE);
    let text = run.text();
    assert!(run.status.success() && text.is_empty(), "{} does not decode cleanly:\n{text}", file.display());
}

/// One packet as a demuxer of somebody else sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Packet {
    pub(crate) video: bool,
    /// Decoding time in milliseconds.
    pub(crate) dts: i64,
    pub(crate) key: bool,
    pub(crate) size: usize,
}

/// What ffprobe finds in an input.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Codec names in the order of the streams, each once.
    pub(crate) codecs: Vec<String>,
    pub(crate) packets: Vec<Packet>,
}

impl Probe {
    pub(crate) fn video(&self) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(|p| p.video)
    }

    pub(crate) fn audio(&self) -> impl Iterator<Item = &Packet> {
        self.packets.iter().filter(|p| !p.video)
    }

    /// Begins with a keyframe, and time never goes back within a track.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        if let Some(first) = self.video().next() {
            assert!(first.key, "video begins with {first:?}");
        }
        for track in [self.video().collect::<Vec<_>>(), self.audio().collect()] {
            for pair in track.windows(2) {
                assert!(pair[0].dts < pair[1].dts, "time goes from {:?} to {:?}", pair[0], pair[1]);
            }
        }
    }
}

/// The first `packets` packets of an input, as ffprobe reads them.
#[track_caller]
pub(crate) fn probe(input: &str, packets: usize) -> Probe {
    let mut command = tool("ffprobe", "-v error -analyzeduration 2000000 -rw_timeout 15000000");
    command.args(["-read_intervals", &format!("%+#{packets}")]);
    run_probe(command.arg(input))
}

/// Width and height of the pictures of an input, as `640,360`; empty if there is none.
pub(crate) fn size(input: &str) -> String {
    let entries = "-select_streams v -show_entries stream=width,height -of csv=p=0";
    let mut command = tool("ffprobe", &format!("-v error -rw_timeout 15000000 {entries}"));
    // A playlist's tracks are listed once more below their program.
    Process::run(command.arg(input), PATIENCE).stdout().lines().next().unwrap_or_default().to_owned()
}

/// All packets of a file.
#[track_caller]
pub(crate) fn probe_file(file: &Path) -> Probe {
    run_probe(tool("ffprobe", "-v error").arg(file))
}

#[track_caller]
fn run_probe(command: &mut Command) -> Probe {
    command.args([
        "-show_entries",
        "packet=codec_type,dts_time,size,flags:stream=codec_name",
        "-of",
        "compact",
    ]);
    let run = Process::run(command, PATIENCE);
    assert!(run.status.success() && run.stderr.is_empty(), "ffprobe says:\n{}", run.stderr());
    parse_probe(&run)
}

fn parse_probe(run: &Finished) -> Probe {
    let mut probe = Probe { codecs: Vec::new(), packets: Vec::new() };
    for line in run.stdout().lines() {
        let field = |name: &str| line.split('|').find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
        if line.starts_with("stream|") {
            // A transport stream's tracks are listed once more below their program.
            let codec = field("codec_name").map(str::to_string);
            probe.codecs.extend(codec.filter(|codec| !probe.codecs.contains(codec)));
        } else if let (Some(kind), Some(dts)) = (field("codec_type"), field("dts_time")) {
            let seconds: f64 = dts.parse().expect("ffprobe prints seconds");
            probe.packets.push(Packet {
                video: kind == "video",
                dts: (seconds * 1000.0).round() as i64,
                key: field("flags").is_some_and(|f| f.starts_with('K')),
                size: field("size").and_then(|s| s.parse().ok()).unwrap_or(0),
            });
        }
    }
    probe
}

/// Makes a file; the arguments say of what.
#[track_caller]
pub(crate) fn make(args: &str, file: &Path) {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -y");
    let run = Process::run(command.args(args.split_whitespace()).arg(file), PATIENCE);
    assert!(run.status.success(), "ffmpeg says:\n{}", run.stderr());
}

/// A checksum of each decoded picture of a file, in order of showing.
#[track_caller]
pub(crate) fn pictures(file: &Path) -> Vec<String> {
    let mut command = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror");
    // Every picture once, as it is: none doubled or left out to keep a rate.
    let run = Process::run(
        command.arg("-i").arg(file).args(["-map", "0:v:0", "-vsync", "passthrough", "-f", "framemd5", "-"]),
        PATIENCE,
    );
    let (text, said) = (run.stdout(), run.stderr());
    assert!(run.status.success() && said.is_empty(), "{} does not decode cleanly:\n{said}", file.display());
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit(',').next()).map(|sum| sum.trim().to_string()).collect()
}
