//! Session descriptions, and the tracks opened from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mill_rtp::receiver::choose;
use mill_rtp::sdp::{Description, MAX_MEDIA};

fuzz_target!(|data: &[u8]| {
    let Some(description) = Description::parse(data) else { return };
    assert!(description.media.len() <= MAX_MEDIA);
    let (chosen, refused) = choose(&description.media);
    assert!(chosen.len() <= 2 && chosen.len() + refused.len() == description.media.len());
});
