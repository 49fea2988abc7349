//! The thread that writes the log, and the bounded buffer between it and everybody who logs.
//!
//! A line is copied into the buffer under a short lock; what finds the buffer full is lost, counted and
//! reported once the output takes lines again. So the slowest disk or terminal costs lines, never media.
//! Everything that may block (opening, writing) happens on this thread, and nobody ever waits for it except
//! [`Writer::drop`], for [`PATIENCE`].

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::fs::OFlags;
use tracing::{error, warn};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait for a slow output before lines are lost: a hundred thousand usual lines. As much again
/// may be on its way.
const MAX_WAITING: usize = 8 << 20;

/// A buffer that grew in a burst is given back above this.
const KEPT: usize = 64 << 10;

/// How long the end of the process waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Name of the thread.
pub(super) const THREAD: &str = "log";

/// Where the log is written.
pub(super) struct Output {
    file: File,
    /// To be opened again on request; `None` for the console.
    path: Option<PathBuf>,
    pub(super) colour: bool,
}

impl Output {
    /// Standard output. Its own descriptor, so that a daemon can let go of the original.
    pub(super) fn console() -> io::Result<Self> {
        let file = File::from(rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?);
        let colour = file.is_terminal();
        Ok(Self { file, path: None, colour })
    }

    /// A file, with the folders around it.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self { file: open(path)?, path: Some(path.to_owned()), colour: false })
    }

    /// Opens the file anew, under its name; whoever has renamed the old one keeps that.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => self.file = file,
            Err(e) => {
                error!("{e}; the log stays in the file that is open");
                complain(&format!("{e}; the log stays in the file that is open"));
            }
        }
    }

    fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "the console".to_owned(), |path| path.display().to_string())
    }
}

/// SRS's mode. A pipe that nobody reads is an error and not a standstill, and no terminal becomes ours.
fn open(path: &Path) -> io::Result<File> {
    let opened = (|| {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o664)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
        Ok(file)
    })();
    opened.map_err(|e: io::Error| {
        io::Error::new(e.kind(), format!("the log file {} cannot be opened: {e}", path.display()))
    })
}

/// Says on standard error what the log cannot say.
#[expect(clippy::print_stderr, reason = "it is about the log not being there")]
fn complain(what: &str) {
    eprintln!("millstream: {what}");
}

/// What shall happen to the output between two lines.
enum Change {
    To(Output),
    Reopen,
}

/// What waits for the thread.
#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Lines that found the buffer full since the thread looked last.
    lost: u64,
    /// A change, and before which byte of `lines` it is due.
    change: Option<(usize, Change)>,
    end: bool,
    ended: bool,
}

/// The buffer. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to do; the thread has ended.
    changed: Condvar,
}

impl Lines {
    /// Writes the lines that come from now on to this output.
    pub(super) fn write_to(&self, output: Output) {
        self.change(Change::To(output));
    }

    /// Opens the file again before the lines that come from now on.
    pub(super) fn reopen(&self) {
        self.change(Change::Reopen);
    }

    fn change(&self, change: Change) {
        let mut waiting = self.0.waiting.lock();
        let at = waiting.lines.len();
        match (&waiting.change, &change) {
            // An output that was not even used yet is fresh.
            (Some((_, Change::To(_))), Change::Reopen) => {}
            _ => waiting.change = Some((at, change)),
        }
        self.0.changed.notify_all();
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.lines.len() + line.len() > MAX_WAITING {
            waiting.lost += 1;
        } else {
            waiting.lines.extend_from_slice(line);
            self.0.changed.notify_all();
        }
    }

    /// Waits for something to do and takes it: lines into `batch`, the change, how many were lost. `None` at
    /// the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<(Option<(usize, Change)>, u64)> {
        let mut waiting = self.0.waiting.lock();
        while waiting.lines.is_empty() && waiting.change.is_none() {
            if waiting.end {
                waiting.ended = true;
                self.0.changed.notify_all();
                return None;
            }
            self.0.changed.wait(&mut waiting);
        }
        std::mem::swap(&mut waiting.lines, batch);
        Some((waiting.change.take(), std::mem::take(&mut waiting.lost)))
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Takes one whole line at a time, as the formatting layer writes them.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread. Dropping it writes what waits, if the output takes it in time.
pub(super) struct Writer(Lines);

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start(lines: Lines, output: Output) -> io::Result<Self> {
        let of_thread = lines.clone();
        thread::Builder::new().name(THREAD.to_owned()).spawn(move || run(&of_thread, output))?;
        Ok(Self(lines))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let mut waiting = shared.waiting.lock();
        waiting.end = true;
        shared.changed.notify_all();
        shared.changed.wait_while_for(&mut waiting, |waiting| !waiting.ended, PATIENCE);
    }
}

fn run(lines: &Lines, mut output: Output) {
    let mut batch = Vec::new();
    // Lines that were lost because they could not be written, since it last worked.
    let mut unwritten = 0;
    while let Some((change, lost)) = lines.take(&mut batch) {
        let due = change.as_ref().map_or(batch.len(), |(at, _)| *at);
        write(&mut output, &batch[..due], &mut unwritten);
        match change {
            Some((_, Change::To(new))) => output = new,
            Some((_, Change::Reopen)) => output.reopen(),
            None => {}
        }
        write(&mut output, &batch[due..], &mut unwritten);
        batch.clear();
        batch.shrink_to(KEPT);
        if lost > 0 {
            warn!("{lost} lines of the log are lost: they came faster than they could be written");
        }
    }
}

fn write(output: &mut Output, lines: &[u8], unwritten: &mut u64) {
    if lines.is_empty() {
        return;
    }
    match output.file.write_all(lines) {
        Ok(()) => {
            let lost = std::mem::take(unwritten);
            if lost > 0 {
                warn!("{lost} lines of the log are lost: they could not be written");
            }
        }
        Err(e) => {
            if *unwritten == 0 {
                complain(&format!("the log cannot be written to {}: {e}", output.name()));
            }
            *unwritten += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(lines: &Lines) -> (usize, Option<usize>, u64) {
        let mut batch = Vec::new();
        let (change, lost) = lines.take(&mut batch).unwrap();
        (batch.len(), change.map(|(at, _)| at), lost)
    }

    #[test]
    fn what_finds_the_buffer_full_is_counted_and_gone() {
        let lines = Lines::default();
        let line = [b'x'; 1024];
        for _ in 0..MAX_WAITING / line.len() + 3 {
            lines.push(&line);
        }
        assert_eq!(taken(&lines), (MAX_WAITING, None, 3));
        lines.push(&line);
        assert_eq!(taken(&lines), (1024, None, 0));
    }

    #[test]
    fn a_change_comes_between_the_lines_before_and_after() {
        let lines = Lines::default();
        lines.push(b"old\n");
        lines.reopen();
        lines.push(b"new\n");
        assert_eq!(taken(&lines), (8, Some(4), 0));
        // Reopening what is just being opened would forget what was to be opened.
        lines.write_to(Output::file(Path::new("/dev/null")).unwrap());
        lines.reopen();
        let mut batch = Vec::new();
        assert!(matches!(lines.take(&mut batch), Some((Some((0, Change::To(_))), 0))));
    }
}
