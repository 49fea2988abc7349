//! When pictures are decoded, where only the time they are shown is sent.
//!
//! RTP stamps pictures with the time of presentation and sends them in the order of decoding. If at most *n* pictures
//! overtake another on the way from one order to the other, then the decoding time of each is the (*n* + 1)th
//! latest presentation time so far: those times rise, are never later than the picture's own, and are spaced as the
//! pictures are. The parameter sets often tell *n*; where they do not, it is learned from what comes.

/// Pictures that may be overtaken: no more fit into a decoder (H.264 A.3.1, H.265 A.4.2).
pub const MAX_DEPTH: usize = 16;

/// What is assumed between two pictures before the first times are known, as a part of a second.
const FRAMES_PER_SECOND: i64 = 30;

/// The pictures of one track.
#[derive(Debug)]
pub struct DecodeOrder {
    depth: usize,
    /// The latest presentation times, the latest first.
    shown: Vec<i64>,
    last: Option<i64>,
    step: i64,
}

/// The two times of a picture, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it is decoded: later than the one before.
    pub decode: i64,
    /// When it is shown: not before.
    pub show: i64,
}

impl DecodeOrder {
    /// For a clock of so many ticks a second.
    pub fn new(clock_rate: u32) -> Self {
        let step = (i64::from(clock_rate) / FRAMES_PER_SECOND).max(1);
        Self { depth: 0, shown: Vec::with_capacity(MAX_DEPTH + 2), last: None, step }
    }

    /// So many pictures may overtake another. What was learned already is not forgotten.
    pub fn expect(&mut self, depth: usize) {
        self.depth = self.depth.max(depth.min(MAX_DEPTH));
    }

    /// The clock has jumped: nothing that was is comparable.
    pub fn reset(&mut self) {
        self.shown.clear();
        self.last = None;
    }

    /// The times of the next picture in the order of decoding.
    pub fn next(&mut self, show: i64) -> Times {
        let overtaken_by = self.shown.partition_point(|&other| other > show);
        self.expect(overtaken_by);
        self.shown.insert(overtaken_by, show);
        self.shown.truncate(MAX_DEPTH + 1);
        let decode = self.shown.get(self.depth).copied().unwrap_or_else(|| {
            let unknown = (self.depth + 1 - self.shown.len()) as i64;
            self.shown.last().copied().unwrap_or(show) - unknown * self.step
        });
        // Only where more pictures than expected have overtaken this one is there no room left.
        let decode = self.last.map_or(decode, |last| decode.max(last + 1));
        self.last = Some(decode);
        Times { decode, show: show.max(decode) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(order: &mut DecodeOrder, shown: &[i64]) -> Vec<i64> {
        shown.iter().map(|&show| order.next(show).decode).collect()
    }

    #[test]
    fn without_overtaking_both_are_the_same() {
        assert_eq!(run(&mut DecodeOrder::new(90), &[0, 40, 80, 120]), [0, 40, 80, 120]);
    }

    #[test]
    fn known_depth() {
        let mut order = DecodeOrder::new(30 * 40);
        order.expect(1);
        assert_eq!(run(&mut order, &[0, 120, 40, 80, 240, 160, 200]), [-40, 0, 40, 80, 120, 160, 200]);
        let mut order = DecodeOrder::new(30 * 40);
        order.expect(2);
        // A pyramid: 4 is decoded before 2, 2 before 1 and 3.
        assert_eq!(run(&mut order, &[0, 160, 80, 40, 120, 320, 240]), [-80, -40, 0, 40, 80, 120, 160]);
    }

    #[test]
    fn learned_depth_settles() {
        let mut order = DecodeOrder::new(90_000);
        let gop = |n: i64| [n + 120, n + 40, n + 80].map(|ms| ms * 90);
        order.next(0);
        for n in 0..10 {
            for show in gop(n * 120) {
                let times = order.next(show);
                assert!(times.decode <= times.show);
                assert!(n == 0 || times.show == show, "only the first pictures are moved");
            }
        }
    }

    proptest! {
        #[test]
        fn times_rise_and_are_never_after_the_show(shown in proptest::collection::vec(-1000i64..1000, 1..100)) {
            let mut order = DecodeOrder::new(90_000);
            let mut last = i64::MIN;
            for show in shown {
                let times = order.next(show);
                prop_assert!(times.decode > last && times.decode <= times.show && times.show >= show);
                last = times.decode;
            }
        }
    }
}
