//! When media is meant to be seen and heard: RTP clocks of several tracks on one timeline.
//!
//! Each RTP clock begins anywhere. Until its sender says more, a track's first packet is put where it arrived.
//! Sender reports tie each clock to the sender's wall clock (RFC 3550, 6.4.1); from then on tracks stand to each
//! other as the sender meant. The first track with a report is the reference and is never moved. Another one is
//! moved once at its first report, and later follows by small steps, so that clocks that drift apart stay together.
//!
//! The wall clock itself is never used, only differences of it: cameras that think it is 1970 are fine.

use std::time::{Duration, Instant};

/// Microseconds since [`Timeline::new`]'s instant, plus [`LEAD`].
pub type Micros = i64;

/// Where the timeline begins: what is decoded before it is shown, or moved by a report, still has a time above 0.
pub const LEAD: Micros = 1_000_000;

/// A step of a track's clock beyond what has passed is a jump, and is not followed.
const MAX_STEP: Micros = 10_000_000;

/// Reports that would move a track further are wrong: a clock was set between two of them.
const MAX_MOVE: Micros = 10_000_000;

/// Deviations below are jitter of the reports themselves.
const TOLERATED: Micros = 2_000;

/// How far a frame may be moved against the one before it.
const NUDGE: Micros = 500;

/// The tracks of one sender.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    clocks: Vec<Clock>,
    /// The track whose reports came first, and its time minus the sender's wall clock.
    reference: Option<(usize, Micros)>,
}

/// One RTP clock.
#[derive(Debug)]
struct Clock {
    /// Ticks in a second; not 0.
    rate: i64,
    anchor: Option<Anchor>,
    /// Whether a report has placed it.
    placed: bool,
    /// Where reports say it should be, in the words of `Anchor::offset`.
    wanted: Option<Micros>,
}

#[derive(Debug)]
struct Anchor {
    /// The last timestamp, on the wire and unwrapped.
    wire: u32,
    ticks: i64,
    /// When it arrived.
    arrived: Instant,
    /// Time of tick 0.
    offset: Micros,
}

/// A moment of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// On the track's own clock, unwrapped.
    pub ticks: i64,
    /// The clock jumped here: ticks before and after have nothing to do with each other.
    pub jumped: bool,
}

impl Timeline {
    /// A timeline for tracks with these clock rates, in ticks a second; 0 is taken for 1.
    pub fn new(start: Instant, rates: impl IntoIterator<Item = u32>) -> Self {
        let clock = |rate: u32| Clock { rate: rate.max(1).into(), anchor: None, placed: false, wanted: None };
        Self { start, clocks: rates.into_iter().map(clock).collect(), reference: None }
    }

    /// Places a timestamp of a track that arrived then. `begins` says that it belongs to another source than the one
    /// before.
    pub fn place(&mut self, track: usize, wire: u32, arrived: Instant, begins: bool) -> Moment {
        let now = self.micros(arrived);
        let clock = &mut self.clocks[track];
        let rate = clock.rate;
        if let Some(anchor) = clock.anchor.as_mut().filter(|_| !begins) {
            let step = i64::from(wire.wrapping_sub(anchor.wire) as i32);
            let passed = micros(arrived.saturating_duration_since(anchor.arrived));
            let allowed = -MAX_STEP..=MAX_STEP + passed;
            if allowed.contains(&(step * 1_000_000 / rate)) {
                anchor.ticks += step;
                (anchor.wire, anchor.arrived) = (wire, arrived);
                // Packets of one picture stay together.
                if step != 0 {
                    clock.follow();
                }
                return Moment { ticks: clock.ticks(), jumped: false };
            }
        }
        // Reports of the old clock say nothing about the new one.
        let jumped = clock.anchor.is_some();
        *clock = Clock { rate, anchor: None, placed: false, wanted: None };
        clock.anchor =
            Some(Anchor { wire, ticks: wire.into(), arrived, offset: now - scale(wire.into(), rate) });
        if jumped && self.reference.is_some_and(|(reference, _)| reference == track) {
            self.reference = None;
            self.clocks.iter_mut().for_each(|clock| clock.wanted = None);
        }
        Moment { ticks: wire.into(), jumped }
    }

    /// The time of a tick near the last one placed; before that, of the beginning.
    pub fn time(&self, track: usize, ticks: i64) -> Micros {
        let clock = &self.clocks[track];
        clock.anchor.as_ref().map_or(LEAD, |anchor| anchor.offset + scale(ticks, clock.rate))
    }

    /// A sender report about a track: `rtp` of its clock is `ntp` of the sender's wall clock. Reports that come
    /// before the first packet are of no use, nor are those without a time.
    pub fn report(&mut self, track: usize, ntp: u64, rtp: u32) {
        let clock = &mut self.clocks[track];
        let Some(anchor) = clock.anchor.as_ref().filter(|_| ntp != 0) else { return };
        let ticks = anchor.ticks + i64::from(rtp.wrapping_sub(anchor.wire) as i32);
        let here = anchor.offset + scale(ticks, clock.rate);
        let wall = wall(ntp);
        match self.reference {
            Some((reference, delta)) if reference != track => {
                let offset = anchor.offset + (wall + delta - here);
                if (offset - anchor.offset).abs() > MAX_MOVE {
                    return;
                }
                clock.wanted = Some(offset);
                if !clock.placed {
                    clock.placed = true;
                    clock.anchor.as_mut().expect("looked at above").offset = offset;
                }
            }
            _ => {
                clock.placed = true;
                self.reference = Some((track, here - wall));
            }
        }
    }

    fn micros(&self, now: Instant) -> Micros {
        LEAD + micros(now.saturating_duration_since(self.start))
    }
}

impl Clock {
    fn ticks(&self) -> i64 {
        self.anchor.as_ref().map_or(0, |anchor| anchor.ticks)
    }

    /// One small step to where reports say it should be.
    fn follow(&mut self) {
        if let (Some(anchor), Some(wanted)) = (&mut self.anchor, self.wanted) {
            let off = wanted - anchor.offset;
            if off.abs() > TOLERATED {
                anchor.offset += off.clamp(-NUDGE, NUDGE);
            }
        }
    }
}

fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Ticks of a clock in microseconds.
fn scale(ticks: i64, rate: i64) -> Micros {
    (i128::from(ticks) * 1_000_000 / i128::from(rate)) as Micros
}

/// A wall clock in microseconds since 1900.
fn wall(ntp: u64) -> Micros {
    let (seconds, fraction) = (ntp >> 32, ntp & 0xffff_ffff);
    seconds as Micros * 1_000_000 + ((fraction * 1_000_000) >> 32) as Micros
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::now;

    const VIDEO: usize = 0;
    const AUDIO: usize = 1;

    fn timeline() -> (Timeline, Instant) {
        let start = now();
        (Timeline::new(start, [90_000, 48_000]), start)
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn ntp(ms: u64) -> u64 {
        ((3_900_000_000 + ms / 1000) << 32) | (((ms % 1000) << 32) / 1000)
    }

    #[track_caller]
    fn near(time: Micros, ms: i64) {
        assert!((time - LEAD - ms * 1000).abs() <= 1, "{} µs instead of {ms} ms", time - LEAD);
    }

    #[test]
    fn by_arrival_until_reports_come() {
        let (mut timeline, start) = timeline();
        timeline.place(VIDEO, 0xffff_f000, at(start, 100), false);
        timeline.place(AUDIO, 77, at(start, 130), false);
        let moment = timeline.place(VIDEO, 0xffff_f000u32.wrapping_add(90_000), at(start, 5000), false);
        assert_eq!(moment, Moment { ticks: 0xffff_f000 + 90_000, jumped: false }, "over the wrap");
        near(timeline.time(VIDEO, moment.ticks), 1100);
        near(timeline.time(AUDIO, 77 + 48), 131);
    }

    #[test]
    fn reports_bring_tracks_together() {
        let (mut timeline, start) = timeline();
        // Sound arrives 300 ms behind the picture it belongs to.
        timeline.place(VIDEO, 9_000, start, false);
        timeline.place(AUDIO, 4_800, at(start, 300), false);
        timeline.report(VIDEO, ntp(0), 0);
        timeline.report(AUDIO, ntp(0), 0);
        near(timeline.time(VIDEO, 9_000), 0);
        near(timeline.time(AUDIO, 4_800), 0);
    }

    #[test]
    fn a_drift_is_followed_slowly() {
        let (mut timeline, start) = timeline();
        timeline.place(VIDEO, 0, start, false);
        timeline.place(AUDIO, 0, start, false);
        timeline.report(VIDEO, ntp(0), 0);
        timeline.report(AUDIO, ntp(0), 0);
        // The sound's clock runs 0.1 % fast; reports every five seconds, a frame every 20 ms.
        let mut ticks = 0;
        for second in 1..=600u64 {
            for frame in 0..50 {
                let now = at(start, 1000 * (second - 1) + 20 * frame);
                ticks = timeline
                    .place(AUDIO, (second - 1) as u32 * 48_048 + frame as u32 * 961, now, false)
                    .ticks;
            }
            timeline.place(VIDEO, (second * 90_000) as u32, at(start, 1000 * second), false);
            timeline.report(VIDEO, ntp(1000 * second), (second * 90_000) as u32);
            timeline.report(AUDIO, ntp(1000 * second), (second * 48_048) as u32);
        }
        let off = timeline.time(AUDIO, ticks) - timeline.time(VIDEO, 599_980 * 90);
        assert!(off.abs() < 10_000, "{off} µs after ten minutes, 600 ms without reports");
    }

    #[test]
    fn wrong_reports_move_nothing() {
        let (mut timeline, start) = timeline();
        timeline.place(VIDEO, 0, start, false);
        timeline.place(AUDIO, 0, start, false);
        timeline.report(VIDEO, ntp(0), 0);
        timeline.report(AUDIO, 0, 0);
        timeline.report(AUDIO, ntp(3_600_000), 0);
        near(timeline.time(AUDIO, 0), 0);
    }

    #[test]
    fn a_jump_of_the_clock_goes_on_where_it_arrives() {
        let (mut timeline, start) = timeline();
        timeline.place(VIDEO, 0, start, false);
        let moment = timeline.place(VIDEO, 0x7000_0000, at(start, 40), false);
        assert!(moment.jumped);
        near(timeline.time(VIDEO, moment.ticks), 40);
        let moment = timeline.place(VIDEO, 0x7000_0000 + 3600, at(start, 80), true);
        assert!(moment.jumped, "another source has another clock");
    }
}
