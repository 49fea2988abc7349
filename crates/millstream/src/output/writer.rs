//! Puts the files of one packaged stream on the disk, in a task of its own, so that memory is served whatever the disk
//! does.
//!
//! What is to be done stands in a line and is done in order; what fails is tried again, after a pause, until it
//! succeeds. A line that grows beyond [`MAX_WAITING`] loses its oldest files: they are those that viewers of the
//! disk want least, and a playlist is written after what it names or not at all. When the stream ends, what is
//! left is tried once more.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mill_packager::path::{TEMPORARY, directory};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tracing::{error, info};

use super::disk::Disk;
use crate::tasks::Tasks;

/// Bytes that may wait for a slow disk.
const MAX_WAITING: usize = 64 << 20;

/// The pause after a first failure; it doubles up to the second.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

/// One thing to do.
pub(super) enum Job {
    /// A whole file, under a temporary name first.
    Write { path: String, content: Bytes },
    /// That it is gone already is no error.
    Remove { path: String },
    /// All before it is done: somebody is to be told.
    Tell(Box<dyn FnOnce() + Send>),
}

impl Job {
    fn cost(&self) -> usize {
        match self {
            Self::Write { content, .. } => content.len(),
            Self::Remove { .. } | Self::Tell(_) => 0,
        }
    }
}

/// The line; dropping it ends the task when it is empty.
pub(super) struct Writer(Arc<Line>);

#[derive(Default)]
struct Line {
    queue: Mutex<Queue>,
    moved: Notify,
    /// A job is over.
    over: Notify,
    /// Somebody waits until all is done.
    done: Notify,
    failed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Jobs that ever stood in it, and those that are over, one way or another.
    pushed: u64,
    over: u64,
    closed: bool,
    ended: bool,
}

impl Writer {
    /// Starts the task. `whose` is what it calls itself in the log, `failures` counts what the disk did not take.
    pub(super) fn start(disk: &Disk, tasks: &Tasks, whose: String, failures: &Counter) -> Self {
        let line = Arc::new(Line::default());
        let task = Task { disk: disk.clone(), line: line.clone(), whose, failures: failures.clone() };
        tasks.spawn(tasks.next_id(), task.run());
        Self(line)
    }

    /// Gives back its place, for [`is_over`](Self::is_over).
    pub(super) fn push(&self, job: Job) -> u64 {
        let (lost, place) = {
            let mut queue = self.0.queue.lock();
            queue.bytes += job.cost();
            queue.pushed += 1;
            queue.jobs.push_back(job);
            (queue.make_room(), queue.pushed)
        };
        if lost {
            self.0.failed.store(true, Ordering::Relaxed);
        }
        self.0.moved.notify_one();
        place
    }

    /// Whether all jobs up to that place are done, or given up.
    pub(super) fn is_over(&self, place: u64) -> bool {
        self.0.queue.lock().over >= place
    }

    /// Waits until they are.
    pub(super) async fn until_over(&self, place: u64) {
        loop {
            let over = self.0.over.notified();
            if self.is_over(place) || self.0.queue.lock().ended {
                return;
            }
            over.await;
        }
    }

    /// Whether something has failed since the last call.
    pub(super) fn has_failed(&self) -> bool {
        self.0.failed.swap(false, Ordering::Relaxed)
    }

    /// Waits until everything is done, or was tried once more in vain.
    pub(super) async fn finish(&self) {
        self.0.close();
        loop {
            let done = self.0.done.notified();
            if self.0.queue.lock().ended {
                return;
            }
            done.await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Line {
    fn close(&self) {
        self.queue.lock().closed = true;
        self.moved.notify_one();
    }

    fn finish_one(&self) {
        self.queue.lock().over += 1;
        self.over.notify_waiters();
    }
}

impl Queue {
    /// Drops the oldest files until the rest fits; the first in line may be just being written.
    fn make_room(&mut self) -> bool {
        let mut lost = false;
        while self.bytes > MAX_WAITING {
            let oldest = self.jobs.iter().position(|job| job.cost() > 0);
            let Some(job) = oldest.and_then(|at| self.jobs.remove(at)) else { break };
            self.bytes -= job.cost();
            self.over += 1;
            lost = true;
        }
        lost
    }
}

struct Task {
    disk: Disk,
    line: Arc<Line>,
    whose: String,
    failures: Counter,
}

/// Tells whoever waits when the task ends, even if it is aborted.
struct Ending<'a>(&'a Line);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().ended = true;
        self.0.done.notify_waiters();
        self.0.over.notify_waiters();
    }
}

impl Task {
    async fn run(self) {
        let _ending = Ending(&self.line);
        let mut pause = BACKOFF[0];
        let mut failing = false;
        loop {
            let moved = self.line.moved.notified();
            let (job, closed) = {
                let mut queue = self.line.queue.lock();
                let job = queue.jobs.pop_front();
                queue.bytes -= job.as_ref().map_or(0, Job::cost);
                (job, queue.closed)
            };
            match job {
                None if closed => return,
                None => moved.await,
                Some(Job::Tell(tell)) => {
                    tell();
                    self.line.finish_one();
                }
                Some(job) => {
                    let (job, done) = self.carry_out(job).await;
                    let Err(e) = done else {
                        self.line.finish_one();
                        if std::mem::take(&mut failing) {
                            info!("{}: the disk takes files again", self.whose);
                        }
                        pause = BACKOFF[0];
                        continue;
                    };
                    failing = true;
                    self.fail(&e, pause, closed);
                    if closed {
                        self.line.finish_one();
                        continue;
                    }
                    if let Some(job) = job {
                        let mut queue = self.line.queue.lock();
                        queue.bytes += job.cost();
                        queue.jobs.push_front(job);
                        queue.make_room();
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.until_closed() => {}
                    }
                    pause = (pause * 2).min(BACKOFF[1]);
                }
            }
        }
    }

    /// The job comes back, unless the thread that had it has panicked.
    async fn carry_out(&self, job: Job) -> (Option<Job>, io::Result<()>) {
        let done = self.disk.run(move || {
            let done = match &job {
                Job::Write { path, content } => write(path, content),
                Job::Remove { path } => remove(path),
                Job::Tell(_) => Ok(()),
            };
            Ok((job, done))
        });
        match done.await {
            Ok((job, done)) => (Some(job), done),
            Err(e) => (None, Err(e)),
        }
    }

    async fn until_closed(&self) {
        loop {
            let moved = self.line.moved.notified();
            if self.line.queue.lock().closed {
                return;
            }
            moved.await;
        }
    }

    fn fail(&self, e: &io::Error, pause: Duration, closed: bool) {
        self.failures.inc();
        self.line.failed.store(true, Ordering::Relaxed);
        let next = if closed { "given up".to_owned() } else { format!("tried again in {pause:?}") };
        error!("{}: the disk has not taken a file, {next}: {e}", self.whose);
    }
}

fn write(path: &str, content: &[u8]) -> io::Result<()> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{path}: {e}"));
    fs::create_dir_all(Path::new(".").join(directory(path))).map_err(named)?;
    let temporary = [path, TEMPORARY].concat();
    let written = fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| {
        // On a full disk half a file is in the way of the next.
        let _ = fs::remove_file(&temporary);
        named(e)
    })
}

fn remove(path: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(io::Error::new(e.kind(), format!("{path}: {e}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(path: &str, len: usize) -> Job {
        Job::Write { path: path.into(), content: vec![0; len].into() }
    }

    #[test]
    fn a_slow_disk_loses_the_oldest_files() {
        let line = Line::default();
        let writer = Writer(Arc::new(line));
        for n in 0..5 {
            writer.push(job(&n.to_string(), MAX_WAITING / 4));
            writer.push(Job::Remove { path: n.to_string() });
        }
        let queue = writer.0.queue.lock();
        assert_eq!(queue.bytes, MAX_WAITING);
        let written: Vec<&str> = queue
            .jobs
            .iter()
            .filter_map(|job| match job {
                Job::Write { path, .. } => Some(path.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(written, ["1", "2", "3", "4"]);
        assert_eq!(queue.jobs.iter().filter(|job| matches!(job, Job::Remove { .. })).count(), 5);
    }
}
