//! RTCP: what senders report, and what is reported to them (RFC 3550, 6).
//!
//! Read are sender reports and goodbyes; everything else is stepped over. Written are receiver reports with
//! the name every compound packet needs.

use bytes::{BufMut, BytesMut};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;

/// One packet of a compound, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Which time a timestamp means.
    Sender(SenderReport),
    /// These sources have ended; at most 31.
    Bye(Vec<u32>),
}

/// The sender's half of a sender report (6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// The source it is about.
    pub ssrc: u32,
    /// Wall clock: seconds since 1900 in the upper half, their fraction in the lower. 0 if the sender knows
    /// no time.
    pub ntp: u64,
    /// The same moment on the source's RTP clock.
    pub rtp: u32,
}

/// What is told about one source (6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Block {
    /// The source.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256 of what was expected.
    pub fraction_lost: u8,
    /// Lost since the beginning; what came twice counts against it. Written in 24 bits.
    pub lost: i32,
    /// The highest sequence number, with the number of its wraps in the upper half.
    pub highest: u32,
    /// Mean deviation of the arrivals, in ticks of the source's clock.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's wall clock; 0 if there was none.
    pub last_report: u32,
    /// Since that report, in 1/65536 s.
    pub since_report: u32,
}

/// The reports of a compound packet, in order. What cannot be read ends it: nothing behind a wrong length has a
/// place.
pub fn parse(mut bytes: &[u8]) -> Vec<Report> {
    let mut reports = Vec::new();
    while let Some((&[first, kind, l0, l1], rest)) = bytes.split_first_chunk() {
        let length = 4 * usize::from(u16::from_be_bytes([l0, l1]));
        if first >> 6 != 2 || length > rest.len() {
            break;
        }
        let (body, after) = rest.split_at(length);
        bytes = after;
        match kind {
            SENDER_REPORT => reports.extend(SenderReport::parse(body).map(Report::Sender)),
            BYE => {
                let sources = body.chunks_exact(4).take(usize::from(first & 31));
                let sources = sources.map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
                reports.push(Report::Bye(sources.collect()));
            }
            _ => {}
        }
    }
    reports
}

impl SenderReport {
    fn parse(body: &[u8]) -> Option<Self> {
        let (&ssrc, body) = body.split_first_chunk()?;
        let (&ntp, body) = body.split_first_chunk()?;
        let &rtp = body.first_chunk()?;
        let (ssrc, rtp) = (u32::from_be_bytes(ssrc), u32::from_be_bytes(rtp));
        Some(Self { ssrc, ntp: u64::from_be_bytes(ntp), rtp })
    }

    /// Appends a report without blocks and without counts.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(&[0x80, SENDER_REPORT, 0, 6]);
        out.put_u32(self.ssrc);
        out.put_u64(self.ntp);
        out.put_u32(self.rtp);
        out.put_u64(0);
    }
}

/// Appends a compound packet: a report of receiver `ssrc` about one source, and the receiver's name, of which at
/// most 255 bytes are written.
pub fn write_receiver_report(ssrc: u32, block: &Block, name: &str, out: &mut BytesMut) {
    out.put_slice(&[0x81, RECEIVER_REPORT, 0, 7]);
    out.put_u32(ssrc);
    out.put_u32(block.ssrc);
    // A negative number is cut to its lower 24 bits, as a positive one.
    const LIMIT: i32 = (1 << 23) - 1;
    let [_, lost @ ..] = block.lost.clamp(-LIMIT, LIMIT).to_be_bytes();
    out.put_u8(block.fraction_lost);
    out.put_slice(&lost);
    out.put_u32(block.highest);
    out.put_u32(block.jitter);
    out.put_u32(block.last_report);
    out.put_u32(block.since_report);

    const CNAME: u8 = 1;
    let name = &name.as_bytes()[..name.len().min(255)];
    // SSRC and the item, ended by one zero at least, in whole words (6.5).
    let words = 1 + (2 + name.len() + 1).div_ceil(4);
    out.put_slice(&[0x81, DESCRIPTION, 0, words as u8]);
    out.put_u32(ssrc);
    out.put_slice(&[CNAME, name.len() as u8]);
    out.put_slice(name);
    out.put_bytes(0, 4 * (words - 1) - 2 - name.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rtcp_types::{Compound, Packet};

    #[test]
    fn a_senders_compound() {
        // Sender report with one block, description, goodbye: as a camera ends.
        let bytes = b"\x81\xc8\0\x0c\0\0\0\x07\xe0\0\0\x01\x80\0\0\0\0\0\x10\0\0\0\0\x01\0\0\0\x64\
            \0\0\0\x09\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\
            \x81\xca\0\x02\0\0\0\x07\x01\x01a\0\
            \x81\xcb\0\x01\0\0\0\x07";
        let sender = SenderReport { ssrc: 7, ntp: 0xe000_0001_8000_0000, rtp: 0x1000 };
        assert_eq!(parse(bytes), [Report::Sender(sender), Report::Bye(vec![7])]);
        // Cut anywhere, what was whole before still counts.
        assert_eq!(parse(&bytes[..bytes.len() - 1]), [Report::Sender(sender)]);
        assert_eq!(parse(&bytes[..51]), []);
    }

    #[test]
    fn another_reader_understands_our_reports() {
        for name in ["", "a", "ab", "abc", "millstream", &"long".repeat(80)] {
            let block = Block {
                ssrc: 7,
                fraction_lost: 3,
                lost: 70_000,
                highest: 0x0001_0203,
                jitter: 17,
                last_report: 0x0001_8000,
                since_report: 65_536,
            };
            let mut out = BytesMut::new();
            write_receiver_report(5, &block, name, &mut out);
            let packets: Vec<_> = Compound::parse(&out).unwrap().map(Result::unwrap).collect();
            let [Packet::Rr(report), Packet::Sdes(description)] = &packets[..] else { panic!("{packets:?}") };
            let read = report.report_blocks().next().unwrap();
            assert_eq!((report.ssrc(), read.ssrc(), read.fraction_lost()), (5, 7, 3));
            assert_eq!((read.cumulative_lost(), read.extended_sequence_number()), (70_000, 0x0001_0203));
            assert_eq!(read.last_sender_report_timestamp(), 0x0001_8000);
            assert_eq!(read.delay_since_last_sender_report_timestamp(), 65_536);
            let item = description.chunks().next().unwrap().items().next().unwrap();
            assert_eq!(item.value(), &name.as_bytes()[..name.len().min(255)]);
        }
    }

    proptest! {
        #[test]
        fn sender_reports_are_read_as_written(ssrc in any::<u32>(), ntp in any::<u64>(), rtp in any::<u32>()) {
            let mut out = BytesMut::new();
            let report = SenderReport { ssrc, ntp, rtp };
            report.write(&mut out);
            prop_assert_eq!(parse(&out), vec![Report::Sender(report)]);
        }

        #[test]
        fn anything_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for report in parse(&bytes) {
                if let Report::Bye(sources) = report {
                    prop_assert!(sources.len() <= 31);
                }
            }
        }
    }
}
