//! Variables over files.

use std::time::Duration;

use crate::model::{Level, Tank};
use crate::{DEFAULT_VHOST, Loaded, Report};

fn load(file: Option<&str>, env: &[(&str, &str)]) -> Result<Loaded, Report> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    crate::load(file.map(|text| ("t", text.as_bytes())), env, &mut |_| unreachable!())
}

#[test]
fn a_variable_beats_the_file_and_an_empty_one_does_not() {
    let env = [("SRS_CHUNK_SIZE", "4096"), ("SRS_MAX_CONNECTIONS", ""), ("CHUNK_SIZE", "128")];
    let loaded = load(Some("listen 1; chunk_size 1000; max_connections 7;"), &env).unwrap();
    assert_eq!((loaded.snapshot.global.chunk_size, loaded.snapshot.global.max_connections), (4096, 7));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn lists_are_split_at_blanks() {
    let snapshot = load(Some("listen 1;"), &[("SRS_LISTEN", "1935  [::]:1936")]).unwrap().snapshot;
    assert_eq!(snapshot.global.listen, ["0.0.0.0:1935", "[::]:1936"].map(|text| text.parse().unwrap()));
}

#[test]
fn a_variable_of_a_vhost_reaches_every_vhost_also_in_blocks_not_there() {
    let env = [("SRS_VHOST_PLAY_QUEUE_LENGTH", "5"), ("SRS_VHOST_CHUNK_SIZE", "256")];
    let text = "listen 1; vhost a; vhost b { chunk_size 512; play { gop_cache off; queue_length 9; } }";
    let snapshot = load(Some(text), &env).unwrap().snapshot;
    for vhost in &snapshot.vhosts {
        assert_eq!((vhost.chunk_size, vhost.play.queue_length), (256, Duration::from_secs(5)));
    }
    assert!(!snapshot.vhost("b").unwrap().play.gop_cache);
}

#[test]
fn what_srs_did_not_cover_is_covered() {
    let env = [
        ("SRS_VHOST_ENABLED", "off"),
        ("SRS_VHOST_DVR_DVR_APPLY", "live/a live/b"),
        ("SRS_STATS_NETWORK", "1"),
    ];
    let loaded = load(Some("listen 1; vhost a {}"), &env).unwrap();
    assert!(!loaded.snapshot.vhosts[0].enabled);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn aliases_work() {
    let env = [("SRS_LOG_TANK", "console"), ("SRS_LOG_LEVEL_V2", "debug"), ("SRS_LOG_FILE", "x.log")];
    let log = load(Some("listen 1;"), &env).unwrap().snapshot.log;
    assert_eq!((log.tank, log.level, log.file.as_os_str()), (Tank::Console, Level::Debug, "x.log".as_ref()));
}

#[test]
fn without_a_file_everything_comes_from_the_environment() {
    let Loaded { snapshot, warnings, planned, .. } = load(None, &[("SRS_LISTEN", "1935")]).unwrap();
    assert_eq!(snapshot.global.listen.len(), 1);
    assert_eq!(snapshot.log.tank, Tank::Console);
    assert_eq!(snapshot.vhosts.len(), 1);
    assert_eq!(snapshot.vhosts[0].name, DEFAULT_VHOST);
    assert!(warnings.is_empty(), "{warnings}");
    assert!(planned.is_empty(), "no daemon");

    let nowhere = load(None, &[]).unwrap();
    assert!(nowhere.snapshot.global.listen.is_empty());
    assert_eq!(nowhere.warnings.warnings(), 1, "{}", nowhere.warnings);
}

#[test]
fn mistakes_are_shown_under_the_name_of_the_variable() {
    let env = [("SRS_LISTEN", "1935 abc"), ("SRS_VHOST_PLAY_QUEUE_LENGTH", "x")];
    let report = load(Some("listen 1; vhost a; vhost b;"), &env).unwrap_err();
    let shown: Vec<String> = report.iter().map(|f| format!("{}:{}:{}", f.source, f.line, f.column)).collect();
    assert_eq!(
        shown,
        ["SRS_LISTEN:1:6", "SRS_VHOST_PLAY_QUEUE_LENGTH:1:1"],
        "each once, however many vhosts"
    );
    assert!(report.to_string().contains("--> SRS_LISTEN:1:6"), "{report}");
}

#[test]
fn unknown_variables_are_warned_of_with_the_nearest_name_but_not_their_value() {
    let env = [
        ("SRS_LISEN", "secret"),
        ("SRS_CONFIG_FILE", "x"),
        ("SRS_ENV_ONLY", "on"),
        ("SRS_DEVICE_IP", "1.2.3.4"),
        ("SRS_SERVICE_HOST", "10.0.0.1"),
        ("SRS_PORT_1935_TCP", "tcp://10.0.0.1:1935"),
        ("SRSX", "x"),
    ];
    let warnings = load(Some("listen 1;"), &env).unwrap().warnings;
    let text = warnings.to_string();
    assert_eq!(warnings.warnings(), 1, "{text}");
    assert!(text.contains("SRS_LISEN") && text.contains("SRS_LISTEN") && !text.contains("secret"), "{text}");
}

#[test]
fn a_variable_without_a_block_to_go_to_is_warned_of() {
    let loaded = load(Some("listen 1;"), &[("SRS_STREAM_CASTER_LISTEN", "8935")]).unwrap();
    assert_eq!(loaded.warnings.warnings(), 1, "{}", loaded.warnings);
}

#[test]
fn switches_keep_the_meaning_they_have_in_srs() {
    let env = [("SRS_HTTP_API_ENABLED", "true"), ("SRS_VHOST_PLAY_GOP_CACHE", "no")];
    let loaded = load(Some("listen 1; vhost a;"), &env).unwrap();
    assert!(!loaded.snapshot.http_api.enabled, "on only if it says `on`");
    assert!(loaded.snapshot.vhosts[0].play.gop_cache, "off only if it says `off`");
    assert_eq!(loaded.warnings.warnings(), 2, "{}", loaded.warnings);
}
