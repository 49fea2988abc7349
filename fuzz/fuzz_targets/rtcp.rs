//! Compound packets: reading ends, and what is written for any numbers can be stepped over again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mill_rtp::rtcp::{self, Report};

fuzz_target!(|data: &[u8]| {
    for report in rtcp::parse(data) {
        if let Report::Bye(sources) = report {
            assert!(sources.len() <= 31);
        }
    }
});
