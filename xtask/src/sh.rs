//! Running other programs from the root of the repository.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What every command returns: nothing, or one line saying what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The root of the repository: the folder above this package.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where cargo builds this workspace.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// A program to be started in the root of the repository.
pub(crate) fn command<A: AsRef<OsStr>>(program: &str, args: &[A]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// The same for one that may open as many files, and so connections, as the system allows.
pub(crate) fn with_descriptors(program: &Path) -> Command {
    let mut command = command("sh", &["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$@\"", "sh"]);
    command.arg(program);
    command
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    command(&cargo, args)
}

/// Runs to the end with our own terminal; anything but success is an error that names the command.
pub(crate) fn run(mut command: Command) -> Outcome {
    let shown = show(&command);
    eprintln!("$ {shown}");
    let status = command.status().map_err(|e| format!("cannot start {shown}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed: {status}")) }
}

/// Runs to the end without a word; what the command said is shown only when it fails.
pub(crate) fn run_quietly(mut command: Command) -> Outcome {
    let shown = show(&command);
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot start {shown}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!(
        "{shown} failed: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    ))
}

/// Whether a program of this name can be started from PATH.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn show(command: &Command) -> String {
    let mut words = vec![Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}
