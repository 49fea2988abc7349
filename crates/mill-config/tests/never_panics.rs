//! No input makes the crate panic, and what it says can always be drawn.

use mill_config::{Loaded, Snapshot, diff, full_conf, load};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Loads a text in all ways; what it includes is the text again.
fn exercise(bytes: &[u8]) {
    let value = String::from_utf8_lossy(bytes).into_owned();
    let env = ["SRS_LISTEN", "SRS_MAX_CONNECTIONS", "SRS_VHOST_PLAY_TIME_JITTER"]
        .map(|n| (n.to_owned(), value.clone()));
    let mut read = |_: &str| Ok(bytes.to_vec());
    for outcome in [
        load(Some(("input", bytes)), [], &mut read),
        load(Some(("input", bytes)), env.clone(), &mut read),
        load(None, env, &mut read),
    ] {
        match outcome {
            Ok(Loaded { snapshot, warnings, .. }) => {
                assert_eq!(warnings.errors(), 0);
                let _ = (warnings.to_string(), diff(&Snapshot::built_in(), &snapshot));
            }
            Err(report) => {
                assert!(report.errors() > 0);
                let _ = (report.render(true), report.iter().map(|finding| finding.to_string().len()).max());
            }
        }
    }
}

/// One change of a text: where (as a share of its length), how much is lost, what comes instead.
type Mutation = (f64, usize, Vec<u8>);

fn mutation() -> impl Strategy<Value = Mutation> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            ";",
            "\"",
            "'",
            "#",
            "\n",
            " ",
            "on",
            "off",
            "-1",
            "1e999",
            "99999",
            "include x;",
            "vhost",
            "enabled on;",
        ])
        .prop_map(|token| token.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    (0.0..1.0, 0..40_usize, token)
}

fn mutate(mut text: Vec<u8>, mutations: Vec<Mutation>) -> Vec<u8> {
    for (place, lost, new) in mutations {
        let start = (place * text.len() as f64) as usize;
        let end = (start + lost).min(text.len());
        text.splice(start..end, new);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn on_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn on_random_tokens(tokens in prop::collection::vec(mutation(), 0..60)) {
        exercise(&tokens.into_iter().flat_map(|(_, _, token)| token).collect::<Vec<u8>>());
    }

    #[test]
    fn on_a_damaged_configuration(mutations in prop::collection::vec(mutation(), 1..8)) {
        let conf = "listen 1935; vhost a { play { queue_length 5; } forward b; http_remux { enabled on; } }\n\
                    http_api { enabled on; listen [::]:1985; } vhost b { dvr { dvr_plan append; } }";
        exercise(&mutate(conf.into(), mutations));
    }
}

/// What comes of a damaged file is a whole configuration or none: never half a server.
#[test]
fn ten_thousand_mutations_of_full_conf() {
    const MUTATIONS: usize = 10_000;
    let whole = full_conf();
    let mut runner = TestRunner::deterministic();
    let (mut done, mut survived) = (0, 0);
    while done < MUTATIONS {
        // Many at once find the limits of the parser, few leave something for the check.
        let some = prop::collection::vec(mutation(), if done % 2 == 0 { 1..3_usize } else { 20..100 });
        let mutations = some.new_tree(&mut runner).unwrap().current();
        done += mutations.len();
        let text = mutate(whole.clone().into(), mutations);
        match load(Some(("full.conf", &text)), [], &mut |_| Err(std::io::ErrorKind::NotFound.into())) {
            Ok(Loaded { snapshot, warnings, .. }) => {
                survived += 1;
                assert_eq!(warnings.errors(), 0);
                assert!(!snapshot.global.listen.is_empty());
                let _ = diff(&Snapshot::built_in(), &snapshot);
            }
            Err(report) => {
                assert!(report.errors() > 0);
                assert!(!report.render(false).is_empty());
            }
        }
    }
    assert!(survived > 0, "small damage is survived at times");
}
