//! Time on the wire, unwrapped.

use crate::frame::Millis;

/// How close to a wrap both neighbours must be to be taken for one, in milliseconds: far longer than the
/// gap between two frames, far shorter than any time a stream would jump on purpose.
const NEAR: u32 = 10_000;

/// Turns the 32-bit timestamps of one stream into [`Millis`] that go on where the wire field starts over.
///
/// Each timestamp is placed at the nearest distance from the one before, so small steps back stay small
/// steps back, also across the wrap. The field is 32 bits wide (RTMP 5.3.1), but some senders stop at 31
/// bits because theirs is signed, and some at 24 because they know no extended timestamp; both show
/// themselves by falling from just before their limit to just behind zero.
#[derive(Debug, Clone, Default)]
pub struct Unwrap {
    last: Option<(u32, Millis)>,
    /// Bits by which the sender's field is narrower than 32.
    missing: u32,
}

impl Unwrap {
    /// Before the first timestamp.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of the next frame in wire order. The first keeps its value.
    pub fn next(&mut self, wire: u32) -> Millis {
        let time = match self.last {
            None => wire.into(),
            Some((last_wire, last)) => {
                if let Some(missing) = [8, 1].into_iter().find(|&missing| wraps(missing, last_wire, wire)) {
                    self.missing = missing;
                }
                // Shifting the field to the top and back extends its sign, which is the nearest distance.
                let step = (wire.wrapping_sub(last_wire) << self.missing) as i32 >> self.missing;
                last + Millis::from(step)
            }
        };
        self.last = Some((wire, time));
        time
    }
}

/// Whether a step from `last` to `wire` is the end of a field with `missing` bits less than 32.
fn wraps(missing: u32, last: u32, wire: u32) -> bool {
    let max = u32::MAX >> missing;
    last <= max && last > max - NEAR && wire < NEAR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wire: &[u32], expected: &[Millis]) {
        let mut time = Unwrap::new();
        assert_eq!(wire.iter().map(|&wire| time.next(wire)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn small_steps_both_ways() {
        check(&[1000, 1040, 1023, 1080], &[1000, 1040, 1023, 1080]);
        check(&[5, 0, 40], &[5, 0, 40]);
    }

    #[test]
    fn jumps_stay_jumps() {
        check(&[0, 95_438_282, 95_438_300], &[0, 95_438_282, 95_438_300]);
        check(&[5_000_000, 0, 40], &[5_000_000, 0, 40]);
    }

    #[test]
    fn wrap_of_32_bits_and_back() {
        check(&[u32::MAX - 9, 10, u32::MAX, 30], &[0xffff_fff6, 0x1_0000_000a, 0xffff_ffff, 0x1_0000_001e]);
    }

    #[test]
    fn wrap_of_31_bits_again_and_again() {
        check(
            &[0x7fff_fff0, 0x10, 0x7fff_fffb, 0x20, 0x4000_0000, 0x7fff_ffff, 0],
            &[0x7fff_fff0, 0x8000_0010, 0x7fff_fffb, 0x8000_0020, 0xc000_0000, 0xffff_ffff, 0x1_0000_0000],
        );
    }

    #[test]
    fn wrap_of_24_bits() {
        check(&[0x00ff_fff0, 0x10, 0x00ff_fffb, 0x20], &[0x00ff_fff0, 0x0100_0010, 0x00ff_fffb, 0x0100_0020]);
        // A sender that counts past 24 bits is none that wraps there.
        check(&[0x00ff_fff0, 0x0100_0010], &[0x00ff_fff0, 0x0100_0010]);
    }
}
