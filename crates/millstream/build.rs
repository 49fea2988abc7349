//! Tells the program when and for what it was built, for `/api/v1/features`. `SOURCE_DATE_EPOCH` makes the
//! time, and with it the build, reproducible.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    // Not for a change of a test.
    for changed in
        ["rerun-if-changed=src", "rerun-if-changed=build.rs", "rerun-if-env-changed=SOURCE_DATE_EPOCH"]
    {
        println!("cargo:{changed}");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).unwrap_or(now);
    println!("cargo:rustc-env=MILLSTREAM_BUILT={time}");
    for name in ["TARGET", "PROFILE"] {
        println!("cargo:rustc-env=MILLSTREAM_{name}={}", std::env::var(name).unwrap_or_default());
    }
}
