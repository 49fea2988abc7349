//! Packets of one source back in order, and what was lost counted (RFC 3550, 6.4.1 and A.1).
//!
//! A packet that is missing is waited for as long as the transport may still bring it, then given up. Nothing is
//! waited for where the transport keeps the order, as TCP does.
//!
//! A sender that starts anew shows itself by numbers far from those expected, or by another source: the second such
//! packet in a row is believed.
//!
//! Bounded: [`MAX_WAITING`] packets, [`MAX_WAITING_BYTES`], and the wait given.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::packet::Packet;
use crate::rtcp::Block;

/// Packets that may wait for one before them: a keyframe of 4K at the size of a network's packets.
pub const MAX_WAITING: usize = 1024;

/// Bytes that may wait.
pub const MAX_WAITING_BYTES: usize = 4 << 20;

/// A number further ahead than this is no loss but another beginning (A.1, MAX_DROPOUT).
const MAX_AHEAD: i64 = 3000;

/// Likewise back.
const MAX_BACK: i64 = 1000;

/// Packets that were given up and are still known, to tell late ones from those sent twice.
const GIVEN_UP: usize = 256;

/// What happened to the packets of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Arrived and were passed on.
    pub packets: u64,
    /// Were given up.
    pub lost: u64,
    /// Came behind one that was sent later, but in time.
    pub reordered: u64,
    /// Came after they had been given up.
    pub late: u64,
    /// Came more than once, or belonged to nothing.
    pub stray: u64,
}

impl Counts {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            lost: self.lost + other.lost,
            reordered: self.reordered + other.reordered,
            late: self.late + other.late,
            stray: self.stray + other.stray,
        }
    }
}

/// The next packet in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The packet.
    pub packet: Packet,
    /// When it arrived.
    pub arrived: Instant,
    /// Whether packets before it were given up.
    pub after_loss: bool,
    /// Whether the source began here, so that its clock is another one.
    pub begins: bool,
}

/// Brings the packets of one source into order.
#[derive(Debug)]
pub struct Reorder {
    wait: Duration,
    /// Ticks of the source's clock in a second.
    clock_rate: u32,
    source: Option<Source>,
    waiting: BTreeMap<i64, (Packet, Instant)>,
    bytes: usize,
    given_up: VecDeque<i64>,
    /// Source and number of what would be the next packet of another beginning.
    candidate: Option<(u32, u16)>,
    counts: Counts,
}

/// The numbers of a source since it began.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// The first number; all are counted on from it over wraps.
    first: i64,
    /// The number of the next packet to pass on.
    next: i64,
    highest: i64,
    begins: bool,
    received: i64,
    reported: Reported,
    /// Transit time of the last packet in ticks, of which only differences mean anything, and how it varies (A.8).
    transit: Option<(Instant, u32)>,
    jitter: f64,
}

/// What the last report was made from.
#[derive(Debug, Default)]
struct Reported {
    expected: i64,
    received: i64,
}

impl Reorder {
    /// Waits so long for what is missing; not at all if that is zero. `clock_rate` is in ticks a second.
    pub fn new(wait: Duration, clock_rate: u32) -> Self {
        Self {
            wait,
            clock_rate,
            source: None,
            waiting: BTreeMap::new(),
            bytes: 0,
            given_up: VecDeque::new(),
            candidate: None,
            counts: Counts::default(),
        }
    }

    /// Takes in a packet that has arrived `now`.
    pub fn push(&mut self, packet: Packet, now: Instant) {
        let follows = Some((packet.ssrc, packet.sequence));
        let step = self.source.as_ref().map(|source| source.step(&packet));
        let number = match (&mut self.source, step) {
            (Some(source), Some(Some(step))) => {
                self.candidate = None;
                let number = source.highest + step;
                source.received += 1;
                if step < 0 && number >= source.next {
                    self.counts.reordered += 1;
                }
                source.highest = source.highest.max(number);
                number
            }
            // Nothing to compare with, or the second in a row from elsewhere.
            (None, _) => self.begin(&packet),
            _ if self.candidate == follows => self.begin(&packet),
            _ => {
                self.candidate = Some((packet.ssrc, packet.sequence.wrapping_add(1)));
                self.counts.stray += 1;
                return;
            }
        };
        let Some(source) = &mut self.source else { return };
        source.note_jitter(&packet, now, self.clock_rate);
        if number < source.next {
            match self.given_up.iter().position(|&gone| gone == number) {
                Some(at) => {
                    self.given_up.remove(at);
                    self.counts.late += 1;
                }
                None => self.counts.stray += 1,
            }
        } else if self.waiting.contains_key(&number) {
            self.counts.stray += 1;
        } else {
            self.bytes += packet.payload.len();
            self.waiting.insert(number, (packet, now));
        }
    }

    /// What comes next in order; `None` until more packets come or the time is up.
    pub fn pop(&mut self, now: Instant) -> Option<Next> {
        let (&number, &(_, arrived)) = self.waiting.first_key_value()?;
        let source = self.source.as_mut()?;
        let missing = number - source.next;
        let full = self.waiting.len() > MAX_WAITING || self.bytes > MAX_WAITING_BYTES;
        if missing > 0 && !full && now < arrived + self.wait {
            return None;
        }
        let (_, (packet, arrived)) = self.waiting.pop_first()?;
        self.bytes -= packet.payload.len();
        for gone in (source.next..number).rev().take(GIVEN_UP).collect::<Vec<_>>().into_iter().rev() {
            if self.given_up.len() == GIVEN_UP {
                self.given_up.pop_front();
            }
            self.given_up.push_back(gone);
        }
        source.next = number + 1;
        self.counts.lost += missing as u64;
        self.counts.packets += 1;
        let begins = std::mem::take(&mut source.begins);
        Some(Next { packet, arrived, after_loss: missing > 0 || begins, begins })
    }

    /// When [`Reorder::pop`] will have something even if nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, (_, arrived))| *arrived + self.wait)
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The source being received.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// What to report about the source since the last time this was asked; `None` before its first packet. What
    /// concerns sender reports is left at 0.
    pub fn report(&mut self) -> Option<Block> {
        let source = self.source.as_mut()?;
        let expected = source.highest - source.first + 1;
        let lately = expected - source.reported.expected;
        let lost = lately - (source.received - source.reported.received);
        let fraction = if lately > 0 { (lost.max(0) << 8) / lately } else { 0 };
        source.reported = Reported { expected, received: source.received };
        Some(Block {
            ssrc: source.ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: (expected - source.received).clamp(i32::MIN.into(), i32::MAX.into()) as i32,
            highest: source.highest as u32,
            jitter: source.jitter as u32,
            ..Block::default()
        })
    }

    /// Another source, or the same from another number on. What waited belongs to nothing now.
    fn begin(&mut self, packet: &Packet) -> i64 {
        self.counts.stray += self.waiting.len() as u64;
        self.waiting.clear();
        self.given_up.clear();
        self.bytes = 0;
        self.candidate = None;
        let first = i64::from(packet.sequence);
        self.source = Some(Source {
            ssrc: packet.ssrc,
            first,
            next: first,
            highest: first,
            begins: true,
            received: 1,
            reported: Reported::default(),
            transit: None,
            jitter: 0.0,
        });
        first
    }
}

impl Source {
    /// How far ahead of the highest number; `None` if it cannot be one of these.
    fn step(&self, packet: &Packet) -> Option<i64> {
        // The nearest distance, so wraps in both directions.
        let step = i64::from(packet.sequence.wrapping_sub(self.highest as u16) as i16);
        (packet.ssrc == self.ssrc && (-MAX_BACK..=MAX_AHEAD).contains(&step)).then_some(step)
    }

    fn note_jitter(&mut self, packet: &Packet, now: Instant, clock_rate: u32) {
        if let Some((then, timestamp)) = self.transit.replace((now, packet.timestamp)) {
            let elapsed = now.saturating_duration_since(then).as_secs_f64() * f64::from(clock_rate);
            let step = f64::from(packet.timestamp.wrapping_sub(timestamp) as i32);
            // A jump of the sender's clock is no jitter.
            let deviation = (elapsed - step).abs().min(f64::from(clock_rate));
            self.jitter += (deviation - self.jitter) / 16.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::now;
    use bytes::Bytes;
    use proptest::prelude::*;

    const WAIT: Duration = Duration::from_millis(100);

    fn packet(sequence: u16) -> Packet {
        Packet { marker: false, payload_type: 96, sequence, timestamp: 0, ssrc: 1, payload: Bytes::new() }
    }

    fn take(reorder: &mut Reorder, now: Instant) -> Vec<(u16, bool)> {
        std::iter::from_fn(|| reorder.pop(now)).map(|next| (next.packet.sequence, next.after_loss)).collect()
    }

    #[test]
    fn order_comes_back_over_the_wrap() {
        let (mut reorder, now) = (Reorder::new(WAIT, 90_000), now());
        let mut seen = Vec::new();
        for sequence in [65_533, 65_535, 65_534, 1, 0, 3, 2] {
            reorder.push(packet(sequence), now);
            seen.extend(take(&mut reorder, now));
        }
        let order = [
            (65_533, true),
            (65_534, false),
            (65_535, false),
            (0, false),
            (1, false),
            (2, false),
            (3, false),
        ];
        assert_eq!(seen, order);
        assert_eq!(reorder.counts(), Counts { packets: 7, reordered: 3, ..Counts::default() });
    }

    #[test]
    fn what_stays_away_is_given_up_in_time_and_late_is_told_from_twice() {
        let (mut reorder, now) = (Reorder::new(WAIT, 90_000), now());
        for sequence in [10, 12, 13] {
            reorder.push(packet(sequence), now);
        }
        assert_eq!(take(&mut reorder, now), [(10, true)]);
        assert_eq!(reorder.deadline(), Some(now + WAIT));
        assert_eq!(take(&mut reorder, now + WAIT), [(12, true), (13, false)]);
        for sequence in [11, 11, 13] {
            reorder.push(packet(sequence), now);
        }
        assert_eq!(reorder.counts(), Counts { packets: 3, lost: 1, late: 1, stray: 2, reordered: 0 });
    }

    #[test]
    fn nothing_is_waited_for_where_the_transport_keeps_the_order() {
        let (mut reorder, now) = (Reorder::new(Duration::ZERO, 90_000), now());
        reorder.push(packet(1), now);
        reorder.push(packet(5), now);
        assert_eq!(take(&mut reorder, now), [(1, true), (5, true)]);
        assert_eq!(reorder.counts().lost, 3);
    }

    #[test]
    fn another_beginning_is_believed_the_second_time() {
        let (mut reorder, now) = (Reorder::new(WAIT, 90_000), now());
        reorder.push(packet(1), now);
        take(&mut reorder, now);
        reorder.push(packet(40_000), now);
        assert_eq!(take(&mut reorder, now), []);
        reorder.push(packet(2), now);
        assert_eq!(take(&mut reorder, now), [(2, false)], "one stray packet changes nothing");
        reorder.push(packet(40_000), now);
        reorder.push(packet(40_001), now);
        assert_eq!(take(&mut reorder, now), [(40_001, true)]);
        let other = |sequence| Packet { ssrc: 2, ..packet(sequence) };
        reorder.push(other(40_002), now);
        reorder.push(other(40_003), now);
        let next = reorder.pop(now).unwrap();
        assert!(next.begins && next.packet.ssrc == 2);
        assert_eq!((reorder.ssrc(), reorder.counts().stray), (Some(2), 3));
    }

    #[test]
    fn bounded_whatever_the_wait() {
        let (mut reorder, now) = (Reorder::new(Duration::from_secs(3600), 90_000), now());
        reorder.push(packet(0), now);
        take(&mut reorder, now);
        for sequence in 2..=MAX_WAITING as u16 + 2 {
            reorder.push(packet(sequence), now);
        }
        assert_eq!(take(&mut reorder, now).len(), MAX_WAITING + 1);
        let large = Packet { payload: vec![0; 60_000].into(), ..packet(0) };
        for sequence in 2000..2100 {
            reorder.push(Packet { sequence, ..large.clone() }, now);
            take(&mut reorder, now);
            assert!(reorder.bytes <= MAX_WAITING_BYTES);
        }
    }

    #[test]
    fn reports() {
        let (mut reorder, now) = (Reorder::new(WAIT, 90_000), now());
        assert_eq!(reorder.report(), None);
        for sequence in [65_534, 65_535, 1, 2] {
            reorder.push(packet(sequence), now);
        }
        let block = reorder.report().unwrap();
        assert_eq!((block.ssrc, block.lost, block.fraction_lost, block.highest), (1, 1, 51, 65_536 + 2));
        reorder.push(packet(3), now);
        let block = reorder.report().unwrap();
        assert_eq!((block.lost, block.fraction_lost), (1, 0), "nothing was lost since");
    }

    proptest! {
        #[test]
        fn any_numbers_come_out_ascending(
            numbers in proptest::collection::vec((any::<u16>(), 0u64..50), 0..300), first in any::<u16>(),
        ) {
            let (mut reorder, mut now) = (Reorder::new(WAIT, 90_000), now());
            let mut last: Option<i64> = None;
            for (number, later) in numbers {
                now += Duration::from_millis(later);
                reorder.push(packet(first.wrapping_add(number % 200)), now);
                while let Some(next) = reorder.pop(now) {
                    let source = reorder.source.as_ref().unwrap();
                    prop_assert!(next.begins || last.is_none_or(|last| source.next > last));
                    last = Some(source.next);
                }
                prop_assert!(reorder.waiting.len() <= MAX_WAITING);
            }
        }
    }
}
