//! Reading bits: fixed fields, Exp-Golomb numbers, and NAL units without their emulation prevention.

/// A position in a slice, counted in bits from the top of the first byte. Past the end every read is `None`.
#[derive(Debug, Clone)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// At the first bit.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 32, as a number.
    pub fn read(&mut self, count: usize) -> Option<u32> {
        debug_assert!(count <= 32, "fields are at most 32 bits");
        (0..count).try_fold(0, |number, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    /// The next bit.
    pub fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// Leaves out `count` bits, which must be there.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|&at| at <= self.bytes.len() * 8)?;
        Some(())
    }

    /// Bits read or left out so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// An unsigned Exp-Golomb number, `ue(v)` (H.264 9.1, H.265 9.2), which is also AV1's `uvlc()`
    /// (4.10.3).
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        if zeros > 31 {
            return None;
        }
        Some((1 << zeros) - 1 + self.read(zeros)?)
    }
}

/// A NAL unit's payload without emulation prevention: each `00 00 03` loses its 03 (H.264 7.4.1.1).
pub(crate) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_golomb() {
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!(bits.read(3), Some(0b101));
        assert_eq!(bits.ue(), Some(5)); // 00110
        assert_eq!(bits.ue(), Some(1)); // 010
        assert_eq!(bits.skip(5), Some(()));
        assert_eq!((bits.flag(), bits.skip(1), bits.ue(), bits.read(0)), (None, None, None, Some(0)));
    }

    #[test]
    fn largest_golomb() {
        let mut bits = Bits::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(bits.ue(), Some(u32::MAX - 1));
        assert_eq!(Bits::new(&[0; 4]).ue(), None);
        assert_eq!(Bits::new(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]).ue(), None);
    }

    #[test]
    fn emulation_prevention() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescape(&[0, 3, 0, 0, 0, 3]), [0, 3, 0, 0, 0]);
    }
}
