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

/// The checksum of every packet of a stream (`v` or `a`), in order.
#[track_caller]
pub(crate) fn checksums(path: &Path, stream: &str) -> Vec<String> {
    let args =
        ["-v", "warning", "-i", path.to_str().unwrap(), "-map", stream, "-c", "copy", "-f", "framemd5", "-"];
    let text = run("ffmpeg", &args);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}
