//! Any bytes as a configuration, as an included file and as environment values: findings, never a panic.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Whatever is included is the input again: the guards against that are part of what is tried.
    let mut read = |_: &str| Ok(data.to_vec());
    let value = String::from_utf8_lossy(data).into_owned();
    let env = ["SRS_LISTEN", "SRS_CHUNK_SIZE", "SRS_VHOST_PLAY_TIME_JITTER"];
    let env = || env.map(|name| (name.to_owned(), value.clone()));
    for outcome in [
        mill_config::load(Some(("input", data)), [], &mut read),
        mill_config::load(Some(("input", data)), env(), &mut read),
        mill_config::load(None, env(), &mut read),
    ] {
        match outcome {
            Ok(loaded) => {
                let changes = mill_config::diff(&mill_config::Snapshot::built_in(), &loaded.snapshot);
                let _ = (changes, loaded.warnings.to_string());
            }
            Err(report) => {
                assert!(report.errors() > 0);
                let _ = (report.render(true), report.iter().map(|finding| finding.to_string().len()).max());
            }
        }
    }
});
