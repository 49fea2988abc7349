//! A stream whose picture and sound can be compared by anybody who plays it: each second begins with a flash and a
//! beep.

use super::PATIENCE;
use super::ffmpeg::{AAC, H264, make, tool};
use super::playlist::Playlist;
use super::process::Process;
use super::server::{Conf, Folder, Server};
use std::path::Path;

/// The pictures: white for the first tenth of each second, else black.
pub(crate) const FLASHES: &str = "-f lavfi -i color=black:size=320x180:rate=25,drawbox=color=white:thickness=fill:enable='lt(mod(t,1),0.1)'";

/// The sound: a tone of 1 kHz for the first tenth of each second.
pub(crate) const BEEPS: &str =
    "-f lavfi -i aevalsrc=exprs='if(lt(mod(t,1),0.1),0.5*sin(6283*t),0)':sample_rate=44100";

/// How far picture and sound may be from where they were, in milliseconds.
const TOLERANCE: f64 = 40.0;

/// How much is played, in seconds.
const SECONDS: u32 = 4;

/// An encoder's arguments up to the output, at its own pace.
pub(crate) fn encode() -> String {
    format!("-re {FLASHES} -re {BEEPS} {H264} {AAC}")
}

/// A file of so many seconds.
#[track_caller]
pub(crate) fn make_clip(seconds: u32, file: &Path) {
    make(&format!("{FLASHES} {BEEPS} -t {seconds} {H264} {AAC}"), file);
}

/// HLS with segments of a second; without it [`plays_everywhere`] waits in vain.
pub(crate) fn with_hls() -> Conf {
    Conf::vhost("hls { enabled on; hls_fragment 1; hls_window 10; hls_ctx off; }")
}

/// The stream plays by RTMP, HTTP-FLV and HLS without a complaint of any decoder, its beeps where its flashes are.
#[track_caller]
pub(crate) fn plays_everywhere(server: &Server, stream: &str) {
    let work = Folder::new();
    let clip = work.path().join("clip.flv");
    make_clip(SECONDS, &clip);
    let source = middle(&play(clip.to_str().expect("a path of ours"), work.path(), "clip"));
    let list = format!("/{stream}.m3u8");
    Playlist::wait(server, &list, "three segments", |list| list.segments.len() >= 3);
    let urls =
        [server.rtmp(stream), server.http(&format!("{stream}.flv")), server.http(&format!("{stream}.m3u8"))];
    std::thread::scope(|scope| {
        for (url, name) in urls.iter().zip(["rtmp", "flv", "hls"]) {
            let dir = work.path();
            scope.spawn(move || {
                let beats = play(url, dir, name);
                let apart = beats.iter().map(|beat| (beat - source).abs()).fold(0.0, f64::max);
                assert!(apart <= TOLERANCE, "{url}: sound {beats:?} ms behind, in the source {source} ms");
            });
        }
    });
}

/// Plays some seconds strictly; how far behind its flash each beep is, in milliseconds.
#[track_caller]
fn play(input: &str, dir: &Path, name: &str) -> Vec<f64> {
    let file = |kind: &str| dir.join(format!("{name}.{kind}"));
    let print =
        |key: &str, kind: &str| format!("metadata=print:key=lavfi.{key}:file={}", file(kind).display());
    let pictures = format!("blackdetect=d=0.2,{}", print("black_end", "flashes"));
    let sound = format!("silencedetect=noise=-30dB:d=0.2,a{}", print("silence_end", "beeps"));
    let mut player = tool("ffmpeg", "-hide_banner -nostdin -v error -xerror -i");
    player.arg(input).args(["-t", &SECONDS.to_string(), "-vf", &pictures, "-af", &sound, "-f", "null", "-"]);
    let run = Process::run(&mut player, PATIENCE);
    assert!(
        run.status.success() && run.text().is_empty(),
        "{input} does not decode cleanly:\n{}",
        run.text()
    );
    let times = |kind: &str| -> Vec<f64> {
        let text = std::fs::read_to_string(file(kind)).unwrap_or_default();
        let values = text.lines().filter_map(|line| line.strip_prefix("lavfi.")?.split_once('='));
        values.map(|(_, seconds)| 1000.0 * seconds.parse::<f64>().expect("ffmpeg prints seconds")).collect()
    };
    let (flashes, beeps) = (times("flashes"), times("beeps"));
    let near = |flash: &f64| beeps.iter().map(|beep| beep - flash).find(|apart| apart.abs() < 500.0);
    let beats: Vec<f64> = flashes.iter().filter_map(near).collect();
    assert!(beats.len() >= 2, "{input}: flashes at {flashes:?}, beeps at {beeps:?}");
    beats
}

/// The value in the middle.
fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
