//! A stream sent to another server, for whoever must not wait: frames are put in line, a task sends them.
//!
//! The line holds at most [`MAX_BYTES`] and belongs to the handle and the task. What does not fit is left out, up to
//! the next keyframe for which there is room (without video: the next frame); headers that came meanwhile go before
//! it. The task connects, sends and ends with the first thing that goes wrong: [`Push::put`] then says what.
//! Starting again is for the owner, who has the headers to begin with. Dropping the handle sends what is in line
//! and takes leave, in bounded time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mill_media::frame::FrameKind;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::client::{Error, Options, Outgoing};
use super::dial::Dialer;
use super::target::Target;
use crate::tasks::Tasks;

/// Payload bytes in line: some seconds of a fat stream, for a server that is slow to take them.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// Bytes that are written as one.
const BATCH: usize = 64 * 1024;

/// A stream on its way to another server.
pub(crate) struct Push(Arc<Shared>);

struct Shared {
    line: Mutex<Line>,
    /// There is something in line, or the handle is gone.
    moved: Notify,
    /// The server has said yes.
    accepted: AtomicBool,
}

#[derive(Default)]
struct Line {
    frames: VecDeque<(FrameKind, u32, Bytes)>,
    bytes: usize,
    /// Headers that came while frames were left out; at most one of each kind.
    headers: Vec<(FrameKind, u32, Bytes)>,
    /// Frames are left out until there is room for one to start at.
    missing: bool,
    missed: u64,
    video: bool,
    /// The handle is gone.
    closing: bool,
    end: Option<Arc<Error>>,
}

impl Line {
    fn put(&mut self, kind: FrameKind, timestamp: u32, payload: Bytes) {
        self.video |= kind.is_video();
        let fits = self.frames.is_empty() || self.bytes + payload.len() <= MAX_BYTES;
        if fits && !self.missing {
            return self.add(kind, timestamp, payload);
        }
        if kind.is_header() {
            self.headers.retain(|(known, ..)| *known != kind);
            self.headers.push((kind, timestamp, payload));
            self.missing = true;
            return;
        }
        let starts = if self.video { kind == FrameKind::Keyframe } else { kind.is_audio() };
        if !fits || !starts {
            self.missing = true;
            self.missed += 1;
            return;
        }
        self.missing = false;
        for (kind, _, payload) in std::mem::take(&mut self.headers) {
            self.add(kind, timestamp, payload);
        }
        self.add(kind, timestamp, payload);
    }

    fn add(&mut self, kind: FrameKind, timestamp: u32, payload: Bytes) {
        self.bytes += payload.len();
        self.frames.push_back((kind, timestamp, payload));
    }
}

impl Push {
    /// Connects and publishes, in a task of its own.
    pub(crate) fn start(tasks: &Tasks, dialer: &Arc<Dialer>, target: Target, options: Options) -> Self {
        let shared = Arc::new(Shared {
            line: Mutex::default(),
            moved: Notify::new(),
            accepted: AtomicBool::new(false),
        });
        let task = Task { shared: shared.clone(), frames: 0, ended: None };
        tasks.spawn(tasks.next_id(), task.run(dialer.clone(), target, options));
        Self(shared)
    }

    /// Puts a frame in line; never waits. `timestamp` in milliseconds modulo 2^32, `payload` an FLV tag body.
    ///
    /// # Errors
    /// The push has ended, and this is why.
    pub(crate) fn put(&self, kind: FrameKind, timestamp: u32, payload: Bytes) -> Result<(), Arc<Error>> {
        let mut line = self.0.line.lock();
        if let Some(end) = &line.end {
            return Err(end.clone());
        }
        line.put(kind, timestamp, payload);
        drop(line);
        self.0.moved.notify_one();
        Ok(())
    }

    /// The server has said yes; until then frames wait in line.
    pub(crate) fn is_accepted(&self) -> bool {
        self.0.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.0.line.lock().closing = true;
        self.0.moved.notify_one();
    }
}

/// The sending side.
struct Task {
    shared: Arc<Shared>,
    /// Frames the server was sent, headers included.
    frames: u64,
    ended: Option<Error>,
}

impl Task {
    async fn run(mut self, dialer: Arc<Dialer>, target: Target, options: Options) {
        let opened = tokio::select! {
            opened = Box::pin(Outgoing::open(&dialer, &target, &options)) => opened,
            () = self.closing() => return,
        };
        let outgoing = match opened {
            Ok(outgoing) => outgoing,
            Err(e) => {
                warn!("push to {target}: {e}");
                self.ended = Some(e);
                return;
            }
        };
        self.shared.accepted.store(true, Ordering::Relaxed);
        info!("push to {target} begins");
        match self.send(outgoing).await {
            Ok(()) => {
                let missed = self.shared.line.lock().missed;
                info!("push to {target} is over, {} frames sent, {missed} left out", self.frames);
            }
            Err(e) => {
                warn!("push to {target}: {e}");
                self.ended = Some(e);
            }
        }
    }

    /// Sends until the handle is gone and the line empty.
    async fn send(&mut self, mut outgoing: Outgoing) -> Result<(), Error> {
        loop {
            let closing = self.fill(&mut outgoing);
            if outgoing.unsent() > 0 {
                outgoing.flush().await?;
                if !closing {
                    continue;
                }
            }
            if closing {
                if self.shared.line.lock().frames.is_empty() {
                    outgoing.close().await;
                    return Ok(());
                }
                continue;
            }
            tokio::select! {
                () = self.shared.moved.notified() => {}
                end = outgoing.ended() => return Err(end),
            }
        }
    }

    /// Takes a batch from the line; whether the handle is gone.
    fn fill(&mut self, outgoing: &mut Outgoing) -> bool {
        let mut line = self.shared.line.lock();
        while outgoing.unsent() < BATCH
            && let Some((kind, timestamp, payload)) = line.frames.pop_front()
        {
            line.bytes -= payload.len();
            outgoing.put(kind, timestamp, &payload);
            self.frames += 1;
        }
        line.closing
    }

    /// Waits until the handle is gone.
    async fn closing(&self) {
        while !self.shared.line.lock().closing {
            self.shared.moved.notified().await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut line = self.shared.line.lock();
        let end = Some(Arc::new(self.ended.take().unwrap_or(Error::Closed)));
        *line = Line { end, ..Line::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIG: usize = MAX_BYTES / 4;

    fn kinds(line: &Line) -> Vec<FrameKind> {
        line.frames.iter().map(|(kind, ..)| *kind).collect()
    }

    #[test]
    fn what_does_not_fit_is_left_out_up_to_a_keyframe() {
        use FrameKind::{Audio, Keyframe, Video, VideoHeader};
        let big = Bytes::from(vec![0; BIG]);
        let small = Bytes::from_static(&[0]);
        let mut line = Line::default();
        line.put(VideoHeader, 0, small.clone());
        line.put(Keyframe, 0, big.clone());
        line.put(Video, 40, big.clone());
        line.put(Video, 80, big.clone());
        line.put(Video, 120, big.clone());
        line.put(Audio, 121, small.clone());
        assert_eq!(kinds(&line), [VideoHeader, Keyframe, Video, Video], "audio does not go on alone");
        line.put(VideoHeader, 160, small.clone());
        line.frames.clear();
        line.bytes = 0;
        line.put(Video, 160, small.clone());
        line.put(Keyframe, 200, small.clone());
        line.put(Video, 240, small.clone());
        assert_eq!(kinds(&line), [VideoHeader, Keyframe, Video]);
        assert_eq!(line.missed, 3);
        assert_eq!(line.frames[0].1, 200, "a header belongs to the frame it comes with");
    }

    #[test]
    fn sound_alone_goes_on_anywhere() {
        let mut line = Line::default();
        for timestamp in 0..6 {
            line.put(FrameKind::Audio, timestamp, vec![0; BIG].into());
        }
        assert_eq!((line.frames.len(), line.missed), (4, 2));
        line.frames.pop_front();
        line.bytes -= BIG;
        line.put(FrameKind::Audio, 6, vec![0].into());
        assert_eq!((line.frames.len(), line.missed), (4, 2));
    }
}
