//! ffmpeg and ffprobe.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes a file where programs can read it.
pub(crate) fn save(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Runs a tool that must succeed without a word of complaint.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{program} {args:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// Decodes everything; any warning fails.
#[track_caller]
pub(crate) fn plays(path: &Path) {
    run("ffmpeg", &["-v", "warning", "-xerror", "-i", path.to_str().unwrap(), "-f", "null", "-"]);
}

#[track_caller]
pub(crate) fn probe(path: &Path, entry: &str) -> String {
    let args = ["-v", "warning", "-show_entries", entry, "-of", "default=nw=1:nk=1", path.to_str().unwrap()];
    run("ffprobe", &args).trim().to_owned()
}

/// The checksum of every packet in order, of pictures and of sound.
#[track_caller]
pub(crate) fn checksums(path: &Path) -> [Vec<String>; 2] {
    let args = ["-v", "warning", "-i", path.to_str().unwrap(), "-c", "copy", "-f", "framemd5", "-"];
    let text = run("ffmpeg", &args);
    let mut sums = [vec![], vec![]];
    let mut sound = vec![];
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("#media_type ") {
            sound.push(kind.ends_with("audio"));
        }
        if let Some((stream, _)) = line.split_once(',').filter(|_| !line.starts_with('#')) {
            let sum = line.rsplit(',').next().unwrap().trim().to_owned();
            sums[usize::from(sound[stream.trim().parse::<usize>().unwrap()])].push(sum);
        }
    }
    sums
}
