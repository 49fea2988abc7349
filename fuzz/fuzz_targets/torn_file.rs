//! What is left of a recording: reading it never panics, asks for no byte that is not there, ends, and what is kept of it
//! needs no second repair.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use mill_media::flv::file;
use mill_media::mp4::classic;

fuzz_target!(|data: &[u8]| {
    let mut scan = classic::Scan::new(data.len() as u64);
    while let Some(wanted) = scan.wants() {
        scan.give(part(data, wanted));
    }
    if let Ok(plan) = scan.finish() {
        plan.copies.into_iter().for_each(|range| assert!(range.end <= data.len() as u64));
    }
    if let Some(repair) = repair(data) {
        let mut kept = data[..repair.len as usize].to_vec();
        if let Some(head) = &repair.head {
            kept[..head.len()].copy_from_slice(head);
        }
        assert_eq!(self::repair(&kept).map(|again| again.len), Some(repair.len));
    }
});

fn repair(data: &[u8]) -> Option<file::Repair> {
    let mut scan = file::Scan::new(data.len() as u64);
    while let Some(wanted) = scan.wants() {
        scan.give(part(data, wanted));
    }
    scan.finish()
}

fn part(data: &[u8], range: Range<u64>) -> &[u8] {
    &data[range.start as usize..range.end as usize]
}
