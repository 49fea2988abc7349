//! Transport packets out of datagrams, in the order in which they were sent, as far as that can be told.
//!
//! A datagram has whole packets of 188 bytes, or of 204 with a checksum behind each, as they are or behind an RTP
//! header (RFC 2250). Anything else is taken for a piece of a byte stream and passed on as it came.
//!
//! A datagram that overtook others waits for them, while at most `WINDOW` more arrive. RTP numbers its packets. Bare
//! datagrams have no number, only the counters of the tracks inside (ISO/IEC 13818-1, 2.4.3.3), which begin again
//! after 16 packets: enough to see which of a few comes next, not to see how many are missing. What is missing for
//! good the demuxer finds out by the same counters, and leaves out the frames concerned. What comes twice, or so
//! late that its place was given up, is thrown away: it could only do harm.
//!
//! Bounded by `WINDOW` + 1 datagrams and a counter for each of the 8192 tracks there can be. Each datagram is looked
//! through once; what is compared then are the tracks in it, in the order of their identifiers.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::packet::{LEN, Packet, SYNC};

/// Datagrams that may arrive while an earlier one is waited for.
const WINDOW: usize = 3;

/// A packet with the checksum of DVB's outer code behind it, in bytes.
const LEN_WITH_CHECKSUM: usize = 204;

/// What carries nothing.
const NULL_PID: u16 = 0x1fff;

/// Datagrams after which nothing late is expected any more: then counters would have come round.
const LATEST: usize = 4;

/// Datagrams that are remembered: a copy comes soon after the original.
const MEMORY: usize = 16;

/// What has become of datagrams so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that had been overtaken, and were put where they belong.
    pub reordered: u64,
    /// Those that came too late or twice.
    pub late: u64,
    /// Those that were not whole packets.
    pub strange: u64,
}

/// Puts the datagrams of one sender in order.
#[derive(Debug, Default)]
pub struct Datagrams {
    /// Last counter of each track.
    counters: HashMap<u16, u8>,
    /// Last number of RTP.
    sequence: Option<u16>,
    waiting: Vec<Waiting>,
    /// Where tracks should have gone on and did not, at the last flush: what comes there now is too late.
    given_up: HashMap<u16, u8>,
    /// Datagrams since the last flush.
    since_flush: usize,
    /// Hashes of the last ones.
    seen: VecDeque<u64>,
    counts: Counts,
}

/// A datagram that does not come next.
#[derive(Debug)]
struct Waiting {
    packets: Bytes,
    tracks: Tracks,
    sequence: Option<u16>,
    /// Datagrams that came next since then and were not followed by this one.
    passed: u64,
}

impl Datagrams {
    /// Before the first one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a datagram; gives the bytes of the stream that are next, which may be of several or none.
    pub fn take(&mut self, datagram: &[u8], mut put: impl FnMut(&[u8])) {
        let Some((sequence, packets)) = unwrap(datagram) else {
            self.counts.strange += 1;
            self.flush(&mut put);
            return put(datagram);
        };
        let tracks = Tracks::of(&packets);
        let copy = self.is_copy(&packets);
        self.since_flush += 1;
        if self.since_flush > LATEST {
            self.given_up.clear();
        }
        // Also where it looks like the next: tracks that come in heaps of 16 packets always do.
        let old = self.is_old(&tracks, sequence);
        if !old && self.is_next(&tracks, sequence) && !self.is_behind_waiting(&tracks, sequence) {
            self.release(&packets, &tracks, sequence, &mut put);
            return self.release_waiting(&mut put);
        }
        if copy || old {
            self.counts.late += 1;
            return;
        }
        let packets = Bytes::copy_from_slice(&packets);
        self.waiting.push(Waiting { packets, tracks, sequence, passed: 0 });
        if self.waiting.len() > WINDOW {
            self.flush(&mut put);
        }
    }

    /// Waits no longer: gives everything that is here, in the likeliest order.
    pub fn flush(&mut self, mut put: impl FnMut(&[u8])) {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.given_up.clear();
        for track in waiting.iter().flat_map(|one| &one.tracks.0) {
            if let Some(last) = self.counters.get(&track.pid) {
                self.given_up.entry(track.pid).or_insert((last + 1) & 15);
            }
        }
        match self.sequence {
            Some(last) => waiting.sort_by_key(|one| one.sequence.map(|number| number.wrapping_sub(last))),
            None => waiting = in_likeliest_order(waiting),
        }
        for one in waiting {
            self.release(&one.packets, &one.tracks, one.sequence, &mut put);
        }
        self.since_flush = 0;
    }

    /// Whether something waits for datagrams before it.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What has become of datagrams so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn is_next(&self, tracks: &Tracks, sequence: Option<u16>) -> bool {
        if let (Some(last), Some(sequence)) = (self.sequence, sequence) {
            return sequence == last.wrapping_add(1);
        }
        tracks.0.iter().all(|&Track { pid, first, marked, .. }| {
            let last = self.counters.get(&pid);
            // A packet may be sent twice.
            marked || last.is_none_or(|&last| first == last || first == (last + 1) & 15)
        })
    }

    /// Whether its counters go on where one that waits ends: 16 packets later than those that are missing, they look
    /// the same.
    fn is_behind_waiting(&self, tracks: &Tracks, sequence: Option<u16>) -> bool {
        sequence.is_none() && self.waiting.iter().any(|one| tracks.follow(&one.tracks))
    }

    /// Whether the same came a moment ago.
    fn is_copy(&mut self, packets: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        packets.hash(&mut hasher);
        let hash = hasher.finish();
        if self.seen.contains(&hash) {
            return true;
        }
        if self.seen.len() == MEMORY {
            self.seen.pop_front();
        }
        self.seen.push_back(hash);
        false
    }

    /// Whether its place was given up.
    fn is_old(&self, tracks: &Tracks, sequence: Option<u16>) -> bool {
        if let (Some(last), Some(sequence)) = (self.sequence, sequence) {
            // Further back than this it is a sender that has begun anew.
            return (-0x400..=0).contains(&(sequence.wrapping_sub(last) as i16));
        }
        let given_up = |track: &Track| self.given_up.get(&track.pid) == Some(&track.first);
        !tracks.0.is_empty() && tracks.0.iter().all(given_up)
    }

    fn release(
        &mut self,
        packets: &[u8],
        tracks: &Tracks,
        sequence: Option<u16>,
        put: &mut impl FnMut(&[u8]),
    ) {
        self.sequence = sequence;
        self.counters.extend(tracks.0.iter().map(|track| (track.pid, track.last)));
        put(packets);
    }

    /// Gives those that waited and come next now; forgets those whose turn does not come.
    fn release_waiting(&mut self, put: &mut impl FnMut(&[u8])) {
        while let Some(at) = self.waiting.iter().position(|one| self.is_next(&one.tracks, one.sequence)) {
            let one = self.waiting.remove(at);
            self.counts.reordered += 1;
            self.release(&one.packets, &one.tracks, one.sequence, put);
        }
        let before = self.waiting.len();
        self.waiting.iter_mut().for_each(|one| one.passed += 1);
        self.waiting.retain(|one| one.passed < WINDOW as u64);
        self.counts.late += (before - self.waiting.len()) as u64;
    }
}

/// The order in which most follow each other, and among such the one nearest to that of their arrival.
fn in_likeliest_order(mut waiting: Vec<Waiting>) -> Vec<Waiting> {
    let count = waiting.len();
    let follow = |a: usize, b: usize| a != b && waiting[b].tracks.follow(&waiting[a].tracks);
    let follow: Vec<Vec<bool>> = (0..count).map(|a| (0..count).map(|b| follow(a, b)).collect()).collect();
    // Orders come sorted, that of arrival first; there are 24 of four.
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..count {
        let longer = |order: &Vec<usize>| {
            let rest: Vec<usize> = (0..count).filter(|at| !order.contains(at)).collect();
            rest.into_iter().map(|at| [&order[..], &[at]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    let links = |order: &Vec<usize>| order.windows(2).filter(|pair| follow[pair[0]][pair[1]]).count();
    // The first of the best.
    let best = orders.iter().rev().max_by_key(|order| links(order)).cloned().unwrap_or_default();
    let mut places: Vec<Option<Waiting>> = waiting.drain(..).map(Some).collect();
    best.into_iter().filter_map(|at| places[at].take()).collect()
}

/// The tracks in a datagram, by their identifiers. Those of nothing but stuffing do not count.
#[derive(Debug)]
struct Tracks(Vec<Track>);

/// A track, in one datagram.
#[derive(Debug, Clone, Copy)]
struct Track {
    pid: u16,
    /// Counter of its first packet.
    first: u8,
    /// That packet announces a jump of the counter.
    marked: bool,
    /// Counter of its last packet.
    last: u8,
}

impl Tracks {
    fn of(packets: &[u8]) -> Self {
        let packets = packets.chunks_exact(LEN).filter_map(|bytes| Packet::parse(bytes.first_chunk()?));
        let mut tracks: Vec<_> = packets
            .filter(|packet| packet.payload.is_some() && packet.pid != NULL_PID)
            .map(|packet| {
                let (pid, marked) = (packet.pid, packet.adaptation.discontinuity);
                Track { pid, first: packet.counter, marked, last: packet.counter }
            })
            .collect();
        // Keeps the order within a track. A datagram may have hundreds of them.
        tracks.sort_by_key(|track| track.pid);
        tracks.dedup_by(|later, first| {
            let same = later.pid == first.pid;
            if same {
                first.last = later.last;
            }
            same
        });
        Self(tracks)
    }

    /// Whether they go on directly behind those of another datagram, as far as the tracks in both can tell.
    fn follow(&self, before: &Self) -> bool {
        let mut common = false;
        self.0.iter().all(|track| {
            let Ok(at) = before.0.binary_search_by_key(&track.pid, |track| track.pid) else { return true };
            common = true;
            track.first == (before.0[at].last + 1) & 15
        }) && common
    }
}

/// The packets in a datagram, and its number if it has one; `None` if it is not made of packets.
fn unwrap(datagram: &[u8]) -> Option<(Option<u16>, Cow<'_, [u8]>)> {
    if let Some(packets) = whole(datagram) {
        return Some((None, packets));
    }
    // RFC 3550, 5.1.
    let &[head, _, a, b, ..] = datagram.first_chunk::<12>()?;
    let mut start = 12 + 4 * usize::from(head & 15);
    if head & 0x10 != 0 {
        let words = datagram.get(start + 2..start + 4)?;
        start += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    if head >> 6 != 2 {
        return None;
    }
    Some((Some(u16::from_be_bytes([a, b])), whole(datagram.get(start..)?)?))
}

fn whole(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let made_of = |len: usize| {
        !bytes.is_empty()
            && bytes.len().is_multiple_of(len)
            && bytes.chunks_exact(len).all(|one| one[0] == SYNC)
    };
    if made_of(LEN) {
        return Some(bytes.into());
    }
    made_of(LEN_WITH_CHECKSUM).then(|| {
        let packets = bytes.chunks_exact(LEN_WITH_CHECKSUM).flat_map(|one| &one[..LEN]);
        packets.copied().collect::<Vec<u8>>().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Datagrams of seven packets, mostly of one track, with a serial number inside.
    fn datagrams(count: u16) -> Vec<Vec<u8>> {
        let mut counters = [0u8; 2];
        let packet = |n: u16, at: u16| {
            let sound = (n + at).is_multiple_of(9);
            let counter = &mut counters[usize::from(sound)];
            *counter = (*counter + 1) & 15;
            let mut packet = vec![SYNC, 1, u8::from(sound), 0x10 | *counter];
            packet.extend(n.to_be_bytes());
            packet.resize(LEN, at as u8);
            packet
        };
        let places = (0..count).flat_map(|n| (0..7).map(move |at| (n, at)));
        let mut packet = packet;
        let packets: Vec<Vec<u8>> = places.map(|(n, at)| packet(n, at)).collect();
        packets.chunks(7).map(<[_]>::concat).collect()
    }

    fn with_rtp(sequence: u16, packets: &[u8]) -> Vec<u8> {
        [&[0x80, 33][..], &sequence.to_be_bytes(), &[0; 8], packets].concat()
    }

    fn run(arriving: &[Vec<u8>]) -> (Vec<u16>, Counts) {
        let (mut datagrams, mut out) = (Datagrams::new(), Vec::new());
        let mut put = |bytes: &[u8]| out.push(u16::from_be_bytes([bytes[4], bytes[5]]));
        for datagram in arriving {
            datagrams.take(datagram, &mut put);
            assert!(datagrams.waiting.len() <= WINDOW);
        }
        datagrams.flush(&mut put);
        (out, datagrams.counts())
    }

    #[track_caller]
    fn check(order: &[usize], expected: &[u16], counts: Counts) {
        let sent = datagrams(40);
        let bare: Vec<_> = order.iter().map(|&at| sent[at].clone()).collect();
        assert_eq!(run(&bare), (expected.to_vec(), counts), "bare");
        let numbered: Vec<_> =
            order.iter().map(|&at| with_rtp(65_530u16.wrapping_add(at as u16), &sent[at])).collect();
        assert_eq!(run(&numbered), (expected.to_vec(), counts), "RTP");
    }

    #[test]
    fn what_overtook_others_waits_for_them() {
        let one = Counts { reordered: 1, ..Counts::default() };
        check(&[0, 1, 2, 3], &[0, 1, 2, 3], Counts::default());
        check(&[0, 2, 1, 3, 4], &[0, 1, 2, 3, 4], one);
        check(&[0, 2, 3, 1, 4], &[0, 1, 2, 3, 4], Counts { reordered: 2, ..one });
        check(&[0, 1, 4, 2, 3, 5], &[0, 1, 2, 3, 4, 5], one);
    }

    #[test]
    fn what_is_lost_is_given_up() {
        check(&[0, 2, 3, 4, 5, 6, 7], &[0, 2, 3, 4, 5, 6, 7], Counts::default());
        check(&[0, 3, 4, 5, 6, 7, 8], &[0, 3, 4, 5, 6, 7, 8], Counts::default());
    }

    #[test]
    fn what_comes_too_late_or_twice_is_thrown_away() {
        let one = Counts { late: 1, ..Counts::default() };
        check(&[0, 2, 3, 4, 5, 6, 1, 7, 8, 9], &[0, 2, 3, 4, 5, 6, 7, 8, 9], one);
        check(&[0, 1, 1, 2, 3, 4, 5], &[0, 1, 2, 3, 4, 5], one);
        check(&[0, 1, 2, 3, 1, 4, 5, 6, 7], &[0, 1, 2, 3, 4, 5, 6, 7], one);
    }

    #[test]
    fn packets_in_other_clothes() {
        let sent = datagrams(2);
        let checked: Vec<u8> =
            sent[0].chunks(LEN).flat_map(|packet| [packet, &[0xee; 16]].concat()).collect();
        let mut out = Vec::new();
        let mut datagrams = Datagrams::new();
        datagrams.take(&checked, |bytes| out.extend_from_slice(bytes));
        assert_eq!(out, sent[0]);
        datagrams.take(&sent[1][3..900], |bytes| out.extend_from_slice(bytes));
        assert_eq!(out.len(), sent[0].len() + 897, "a piece of a stream");
        assert_eq!(datagrams.counts().strange, 1);
        let mut extended = with_rtp(7, &[]);
        extended[0] |= 0x11;
        extended.extend([1, 2, 3, 4, 0, 0, 0, 1, 9, 9, 9, 9]);
        extended.extend(&sent[0]);
        assert_eq!(unwrap(&extended).unwrap(), (Some(7), Cow::from(&sent[0][..])));
    }

    #[test]
    fn hundreds_of_tracks_in_a_datagram() {
        // The longest datagram there is has 348 packets: 300 tracks, some twice.
        let datagram = |n: u8| {
            let packet = |at: u16| {
                let pid = at % 300;
                let counter = if pid < 48 { 2 * n + u8::from(at >= 300) } else { n };
                let mut packet = vec![SYNC, (pid >> 8) as u8, pid as u8, 0x10 | counter & 15, 0, n];
                packet.resize(LEN, 0);
                packet
            };
            (0..348).flat_map(packet).collect::<Vec<u8>>()
        };
        let arriving: Vec<_> = [0, 2, 1, 3, 4, 6, 7, 5, 8].map(datagram).into();
        let expected = Counts { reordered: 3, ..Counts::default() };
        assert_eq!(run(&arriving), ((0..9).collect(), expected));
        let tracks = Tracks::of(&arriving[0]);
        assert!(tracks.0.len() == 300 && tracks.0.is_sorted_by_key(|track| track.pid));
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed() {
        let sent = datagrams(12);
        let numbered: Vec<_> =
            (0..12).map(|at| with_rtp(if at < 6 { 9000 } else { 100 } + at as u16, &sent[at])).collect();
        assert_eq!(run(&numbered).0.len(), 12);
    }

    proptest! {
        #[test]
        fn any_order_of_near_ones_comes_out_in_order(
            swaps in proptest::collection::vec((1usize..60, 1usize..3), 0..12),
            rtp in any::<bool>(),
        ) {
            let mut sent = datagrams(64);
            if rtp {
                let number = |(at, packets): (usize, &Vec<u8>)| with_rtp(at as u16, packets);
                sent = sent.iter().enumerate().map(number).collect();
            }
            let mut last = 0;
            for (at, far) in swaps {
                // Each datagram is moved once at most.
                if at > last {
                    let one = sent.remove(at);
                    sent.insert(at + far, one);
                    last = at + far + 1;
                }
                if last >= 60 {
                    break;
                }
            }
            prop_assert_eq!(run(&sent).0, (0..64).collect::<Vec<u16>>());
        }

        #[test]
        fn noise_never_panics(
            noise in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..30),
            whole in any::<bool>(),
        ) {
            let mut datagrams = Datagrams::new();
            for bytes in noise {
                let mut bytes = bytes;
                if whole {
                    bytes.insert(0, SYNC);
                    bytes.resize(LEN, 0);
                }
                datagrams.take(&bytes, |_| {});
                prop_assert!(datagrams.waiting.len() <= WINDOW);
            }
            datagrams.flush(|_| {});
            prop_assert!(!datagrams.is_waiting());
        }
    }
}
