//! What a difference comes to. What it does to live sessions is shown by tests/it.

use super::*;

fn load(text: &str) -> Snapshot {
    let text = format!("listen 1935; {text}");
    let mut no_files = |_: &str| Err(io::ErrorKind::NotFound.into());
    mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap().snapshot
}

#[track_caller]
fn check(old: &str, new: &str, ended: &[&str], http_ended: &[&str], tuned: &[&str]) {
    let new = load(new);
    let changes = diff(&load(old), &new);
    let [ended, http_ended, tuned] = [ended, http_ended, tuned].map(|names| names.iter().copied().collect());
    assert_eq!(Plan::of(&changes, &new), Plan { ended, http_ended, tuned, ..Plan::default() });
}

#[test]
fn only_the_vhost_concerned_is_touched() {
    let two = "vhost a { } vhost b { }";
    check(two, two, &[], &[], &[]);
    check(two, "vhost b { }", &["a"], &[], &[]);
    check(two, "vhost a { enabled off; } vhost b { }", &["a"], &[], &[]);
    check(two, "vhost a { play { gop_cache off; } } vhost b { }", &[], &[], &["a"]);
    check(two, "vhost a { } vhost b { min_latency on; } vhost c { }", &[], &[], &["b"]);
    check(two, "vhost a { chunk_size 128; publish { normal_timeout 100; } } vhost b { }", &[], &[], &[]);
}

#[test]
fn a_vhost_that_is_off_has_nobody_to_tune() {
    check("vhost a { enabled off; }", "vhost a { enabled off; play { gop_cache off; } }", &["a"], &[], &[]);
}

#[test]
fn viewers_over_http_go_with_their_remux() {
    let on = "vhost a { http_remux { enabled on; } }";
    check(on, "vhost a { http_remux { enabled off; } }", &[], &["a"], &["a"]);
    check("vhost a { }", on, &[], &[], &["a"]);
    check(on, "vhost a { http_remux { enabled on; mount [vhost]/x/[stream].flv; } }", &[], &[], &["a"]);
}

#[test]
fn what_runs_beside_a_stream_follows_its_own_block() {
    let new = load("vhost a { dvr { enabled on; } } vhost b { chunk_size 128; }");
    let changes = diff(&load("vhost a { } vhost b { }"), &new);
    assert_eq!(Plan::of(&changes, &new), Plan { attached: ["a"].into(), ..Plan::default() });
}

#[test]
fn the_outcome_of_a_bad_file_names_every_mistake_and_its_place() {
    let mut no_files = |_: &str| Err(io::ErrorKind::NotFound.into());
    let mut outcome = |text: &str| {
        let report = mill_config::load(Some(("srs.conf", text.as_bytes())), [], &mut no_files).unwrap_err();
        Failure::Config(Problem::Invalid(report)).outcome("1234567".into())
    };
    let content = outcome("listen 1935;\nlisen 1936;\nmax_connections 0;");
    assert_eq!((content.state, content.err), (State::Transforming, 1023));
    for part in ["code=1023", "srs.conf:2:1: unknown directive `lisen`", "srs.conf:3:17: "] {
        assert!(content.msg.contains(part), "{}", content.msg);
    }
    let syntax = outcome("listen 1935");
    assert_eq!(syntax.state, State::Parsing);
    let many = outcome(&"x;\n".repeat(50));
    assert!(many.msg.ends_with("and 41 more"), "{}", many.msg);
}

#[tokio::test]
async fn the_disk_is_not_waited_for_on_a_worker() {
    let here = std::thread::current().id();
    assert_ne!(on_disk(move || std::thread::current().id()).await.unwrap(), here);
}

#[test]
fn ids_of_reloads_differ() {
    let tasks = Tasks::new(0);
    let ids: BTreeSet<String> = (0..100).map(|_| rid(&tasks)).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|id| id.len() == 7 && id.bytes().all(|b| b.is_ascii_alphanumeric())));
}
