//! The frames of one publish, for one output: a recorder, a muxer, a relay.
//!
//! Where viewers share the bytes of a lane, an output has frames of its own in line: the headers first, then the
//! running GOP or what begins next, then every frame as it comes. The publisher appends and never waits; a stream
//! that nobody taps pays for an empty list. An output that does not keep up finds its line no longer than
//! [`TapOptions`] allows: what would not fit is left out, it is told so by [`Tapped::Lagged`] in the place of the
//! gap, and goes on with the headers and the next frame newcomers start at. What is left out is the newest, or,
//! for whom that counts most ([`Outlet::live_tap`]), everything before the newest keyframe. A tap belongs to one publish and ends
//! with it, after its last frame; whoever taps ends it by dropping it.
//!
//! Payloads are slices of what the publisher's task has read; as all of them stand in the line, it holds about
//! what its bytes say.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use mill_media::frame::{Frame, FrameKind, Millis};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::gop::Place;
use crate::stream::{Headers, Stream};

/// What a tap holds and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapOptions {
    /// Begin with the running GOP, if it is kept; otherwise with the next frame that comes.
    pub from_gop: bool,
    /// Payload bytes in line.
    pub max_bytes: usize,
    /// Media time in line, in milliseconds.
    pub max_time: Millis,
}

/// What comes out of a tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tapped {
    /// The next frame.
    Frame(Frame),
    /// Here so many frames are missing. Headers and a frame to start at come next.
    Lagged {
        /// How many; headers are not counted.
        frames: u64,
    },
}

/// A publish, for those who run beside it: gives taps as long as it goes on.
#[derive(Debug, Clone)]
pub struct Outlet {
    stream: Arc<Stream>,
    publish: u64,
}

impl Outlet {
    pub(crate) fn new(stream: Arc<Stream>, publish: u64) -> Self {
        Self { stream, publish }
    }

    /// The stream it is a publish of.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// A tap; `None` if the publish has ended.
    pub fn tap(&self, options: TapOptions) -> Option<Tap> {
        self.attach(options, false)
    }

    /// A tap for live viewers behind it: when the line is full, what is old makes room for what is new.
    pub fn live_tap(&self, options: TapOptions) -> Option<Tap> {
        self.attach(options, true)
    }

    fn attach(&self, options: TapOptions, live: bool) -> Option<Tap> {
        let line = Arc::new(Line::new(options, live));
        let audience = live.then(|| Audience::new(&self.stream));
        self.stream.attach(self.publish, &line).then_some(Tap(line, audience))
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Tap(Arc<Line>, #[expect(dead_code, reason = "counts while it is there")] Option<Audience>);

/// Counts one among those for whom a stream is read without rests.
#[derive(Debug)]
struct Audience(Arc<Stream>);

impl Audience {
    fn new(stream: &Arc<Stream>) -> Self {
        stream.live_tap_comes();
        Self(stream.clone())
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.0.live_tap_goes();
    }
}

impl Tap {
    /// Waits until there is something and takes all of it; `false` when nothing more will come.
    /// May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self, into: &mut Vec<Tapped>) -> bool {
        self.next_some(into, usize::MAX).await
    }

    /// Takes what is there; `false` when nothing more will come.
    pub fn take(&mut self, into: &mut Vec<Tapped>) -> bool {
        self.take_some(into, usize::MAX)
    }

    /// As [`Self::next`], but takes no more once it has `bytes` of payload: for an output that may be slow, so that
    /// what it cannot take yet stays in line and is left out if there is too much of it.
    pub async fn next_some(&mut self, into: &mut Vec<Tapped>, bytes: usize) -> bool {
        loop {
            let before = into.len();
            let open = self.take_some(into, bytes);
            if into.len() > before {
                return true;
            }
            if !open {
                return false;
            }
            self.0.moved.notified().await;
        }
    }

    fn take_some(&mut self, into: &mut Vec<Tapped>, bytes: usize) -> bool {
        let mut queue = self.0.queue.lock();
        let mut taken = 0;
        while taken < bytes
            && let Some(item) = queue.items.pop_front()
        {
            if let Tapped::Frame(frame) = &item {
                taken += frame.payload.len();
            }
            into.push(item);
        }
        queue.bytes -= taken;
        !queue.ended || !queue.items.is_empty()
    }
}

/// What stands between the publisher and one output.
#[derive(Debug)]
pub(crate) struct Line {
    options: TapOptions,
    /// The old makes room for the new.
    live: bool,
    moved: Notify,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Tapped>,
    bytes: usize,
    /// Frames left out since there was no room; 0 while all is well.
    missed: u64,
    ended: bool,
}

impl Line {
    fn new(options: TapOptions, live: bool) -> Self {
        Self { options, live, moved: Notify::new(), queue: Mutex::default() }
    }

    pub(crate) fn wants_gop(&self) -> bool {
        self.options.from_gop
    }

    /// Puts a frame in line; `place` and `headers` are for the one that has to find its way back.
    pub(crate) fn push(&self, frame: &Frame, place: Place, headers: &Headers) {
        let mut queue = self.queue.lock();
        let mut has_room = queue.has_room(frame, &self.options);
        if !has_room && self.live && (queue.missed == 0 || place == Place::Start) {
            queue.skip(headers);
            has_room = queue.has_room(frame, &self.options);
        }
        if queue.missed > 0 || !has_room {
            let frames = queue.missed;
            if frames == 0 || place != Place::Start || !has_room {
                // A header alone is not missed: it comes again with the place to go on.
                queue.missed += u64::from(frames == 0 || !frame.kind.is_header());
                return;
            }
            queue.missed = 0;
            queue.add(Tapped::Lagged { frames });
            headers.frames(frame.dts).for_each(|header| queue.add(Tapped::Frame(header)));
        }
        queue.add(Tapped::Frame(frame.clone()));
    }

    pub(crate) fn wake(&self) {
        self.moved.notify_one();
    }

    pub(crate) fn end(&self) {
        let mut queue = self.queue.lock();
        if queue.missed > 0 {
            let frames = std::mem::take(&mut queue.missed);
            queue.add(Tapped::Lagged { frames });
        }
        queue.ended = true;
        drop(queue);
        self.moved.notify_one();
    }
}

impl Queue {
    fn has_room(&self, frame: &Frame, options: &TapOptions) -> bool {
        let first = self.items.iter().find_map(|item| match item {
            Tapped::Frame(frame) => Some(frame.dts),
            Tapped::Lagged { .. } => None,
        });
        // One frame always fits, however large.
        first.is_none_or(|first| {
            self.bytes + frame.payload.len() <= options.max_bytes && frame.dts - first <= options.max_time
        })
    }

    /// Leaves out what stands before the newest keyframe; if nothing does, or there is none, all of it.
    fn skip(&mut self, headers: &Headers) {
        let frames = |items: &VecDeque<Tapped>| {
            let count = items.iter().map(|item| match item {
                Tapped::Frame(frame) => u64::from(!frame.kind.is_header()),
                Tapped::Lagged { frames } => *frames,
            });
            count.sum::<u64>()
        };
        let key = |item: &Tapped| match item {
            Tapped::Frame(frame) => (frame.kind == FrameKind::Keyframe).then_some(frame.dts),
            Tapped::Lagged { .. } => None,
        };
        let newest = self.items.iter().rposition(|item| key(item).is_some()).unwrap_or(self.items.len());
        let mut rest = self.items.split_off(newest);
        let mut left_out = frames(&self.items);
        if left_out == 0 {
            left_out = frames(&rest);
            rest.clear();
        }
        self.items.clear();
        self.bytes = 0;
        let Some(start) = rest.front().and_then(key) else {
            self.missed += left_out;
            return;
        };
        self.add(Tapped::Lagged { frames: left_out });
        headers.frames(start).for_each(|header| self.add(Tapped::Frame(header)));
        rest.into_iter().for_each(|item| self.add(item));
    }

    fn add(&mut self, item: Tapped) {
        if let Tapped::Frame(frame) = &item {
            self.bytes += frame.payload.len();
        }
        self.items.push_back(item);
    }
}

/// The taps of a stream.
#[derive(Debug, Default)]
pub(crate) struct Taps(Vec<Weak<Line>>);

impl Taps {
    pub(crate) fn add(&mut self, line: &Arc<Line>) {
        self.0.retain(|line| line.strong_count() > 0);
        self.0.push(Arc::downgrade(line));
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = Arc<Line>> {
        self.0.iter().filter_map(Weak::upgrade)
    }

    /// The publish has ended.
    pub(crate) fn end(&mut self) {
        self.0.drain(..).filter_map(|line| line.upgrade()).for_each(|line| line.end());
    }
}
