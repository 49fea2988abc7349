//! Makes the clip that `millstream demo` publishes in a loop.
//!
//! The length is no accident. 256 pictures at 25 a second last 10.24 s, and so do exactly 441 AAC frames
//! of 1024 samples at 44.1 kHz: only then do picture and sound both begin anew at the same instant, and a
//! loop has neither a gap nor a drift. The tone completes 4500 whole periods in that time, and the sound
//! is the middle of a longer piece, so the last frame overlaps the first as if the tone had never ended.

use crate::sh::{Outcome, command, root, run_quietly};
use std::path::Path;

const CLIP: &str = "crates/millstream/assets/demo.flv";
/// Seconds of one round.
const ROUND: &str = "10.24";
/// More than two rounds, so that the second one lies whole in the middle.
const TONE: &str = "sine=frequency=439.453125:sample_rate=44100:duration=31";
const PICTURE: &str = "testsrc2=size=640x360:rate=25:duration=10.24";
/// The clip is part of the executable; this is what it may weigh.
const LIMIT: u64 = 350_000;

/// Options that leave out everything that differs from one machine or day to the next.
const BITEXACT: &str = "-map_metadata -1 -flags +bitexact -fflags +bitexact";

/// Writes the clip.
pub(crate) fn run() -> Outcome {
    let work = crate::sh::target_dir().join("clip");
    std::fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
    let (long, round) = (work.join("long.nut"), work.join("round.nut"));
    let clip = root().join(CLIP);
    if let Some(dir) = clip.parent() {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }

    ffmpeg(&format!("-f lavfi -i {TONE} -ac 2 -c:a aac -b:a 48k {BITEXACT}"), &[], &long)?;
    ffmpeg(&format!("-ss {ROUND} -t {ROUND} -c copy {BITEXACT}"), &[&long], &round)?;
    // No B-frames, so that every decoder shows a picture at once; closed groups of 50, a keyframe every
    // two seconds. One thread: the result must not depend on the number of cores.
    // No end-of-sequence tag and no duration: the clip never ends.
    let video = "-c:v libx264 -preset veryslow -profile:v main -pix_fmt yuv420p -bf 0 -crf 34 \
                 -x264-params keyint=50:min-keyint=50:scenecut=0:open-gop=0:threads=1";
    ffmpeg(
        &format!(
            "-f lavfi -i {PICTURE} -map 1:v -map 0:a {video} -c:a copy {BITEXACT} \
             -flvflags no_duration_filesize+no_sequence_end"
        ),
        &[&round],
        &clip,
    )?;

    let size = std::fs::metadata(&clip).map_err(|e| format!("{CLIP}: {e}"))?.len();
    if size > LIMIT {
        return Err(format!("{CLIP} has {size} bytes, more than the {LIMIT} it may have"));
    }
    println!("{CLIP}: {size} bytes");
    Ok(())
}

fn ffmpeg(options: &str, inputs: &[&Path], output: &Path) -> Outcome {
    let mut ffmpeg = command("ffmpeg", &["-hide_banner", "-v", "error", "-y"]);
    for input in inputs {
        ffmpeg.arg("-i").arg(input);
    }
    ffmpeg.args(options.split_whitespace()).arg(output);
    run_quietly(ffmpeg)
}
