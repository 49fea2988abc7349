//! AMF0 from anywhere: reading never panics, and what was read is written and read again unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mill_media::amf0::parse_all;

fuzz_target!(|data: &[u8]| {
    let Ok(values) = parse_all(data) else { return };
    let mut written = Vec::new();
    values.iter().for_each(|value| value.write(&mut written));
    let again = parse_all(&written).expect("what was written can be read");
    // NaN is unlike itself, so the text is compared.
    assert_eq!(format!("{values:?}"), format!("{again:?}"));
});
