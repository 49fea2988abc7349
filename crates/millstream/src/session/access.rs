//! Who may publish and play here: by the page a client comes from, and by its address.
//!
//! Pure decisions over the vhost's configuration, made anew for every request, whatever the protocol.

use std::net::IpAddr;

use mill_config::model::{Refer, Security};

use crate::session::admit::Refusal;

/// `refer.all`: pages for everybody.
pub(crate) fn from_any_page(conf: &Refer, page_url: &str) -> Result<(), Refusal> {
    page(conf.enabled, &conf.all, page_url)
}

/// `refer.publish` or `refer.play`: pages for those.
pub(crate) fn from_page(conf: &Refer, publishes: bool, page_url: &str) -> Result<(), Refusal> {
    page(conf.enabled, if publishes { &conf.publish } else { &conf.play }, page_url)
}

/// `security`: a matching `deny` refuses, wherever it stands; else a matching `allow` lets in; else it
/// matters whether there is any `allow`, of either kind.
pub(crate) fn from_address(conf: &Security, publishes: bool, address: IpAddr) -> Result<(), Refusal> {
    if !conf.enabled {
        return Ok(());
    }
    if conf.deny.is_empty() && conf.allow.is_empty() {
        return Err(Refusal::NoRules);
    }
    if conf.deny.iter().any(|rule| rule.matches(publishes, address)) {
        return Err(Refusal::Denied);
    }
    if conf.allow.is_empty() || conf.allow.iter().any(|rule| rule.matches(publishes, address)) {
        return Ok(());
    }
    Err(Refusal::NotAllowed)
}

fn page(enabled: bool, endings: &[String], page_url: &str) -> Result<(), Refusal> {
    if !enabled || endings.is_empty() {
        return Ok(());
    }
    let host = host(page_url).to_ascii_lowercase();
    let ends = |ending: &String| !host.is_empty() && host.ends_with(&ending.to_ascii_lowercase());
    if endings.iter().any(ends) { Ok(()) } else { Err(Refusal::Referer) }
}

/// The host in a page's URL: without scheme, user, port and path.
fn host(page_url: &str) -> &str {
    let rest = page_url.split_once("://").map_or(page_url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.split_once(']') {
        Some((address, _)) => address.trim_start_matches('['),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use mill_config::model::Vhost;
    use proptest::prelude::*;

    use super::*;

    fn vhost(text: &str) -> Vhost {
        let text = format!("listen 1935; vhost v {{ {text} }}");
        let mut no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let loaded = mill_config::load(Some(("test", text.as_bytes())), [], &mut no_files).unwrap();
        (*loaded.snapshot.vhosts[0]).clone()
    }

    #[test]
    fn pages() {
        let refer = vhost("refer { enabled on; all github.com github.io; publish a.github.com; }").refer;
        for page in
            ["http://github.com", "https://x.GitHub.io:8080/a/b?c", "github.com", "http://xgithub.com/"]
        {
            assert_eq!(from_any_page(&refer, page), Ok(()), "{page}");
        }
        for page in [
            "",
            "http://",
            "http://github.com.evil.org/",
            "http://evil.org/github.com",
            "http://evil.org?github.com",
            "http://evil.org#github.com",
            "http://github.com@evil.org/",
            "http://evil.org\\github.com",
            "http://evil.org:80/x/github.com",
        ] {
            assert_eq!(from_any_page(&refer, page), Err(Refusal::Referer), "{page}");
        }
        assert_eq!(from_page(&refer, true, "http://github.com"), Err(Refusal::Referer));
        assert_eq!(from_page(&refer, true, "http://a.github.com"), Ok(()));
        assert_eq!(from_page(&refer, false, ""), Ok(()), "a list that is not there lets everybody pass");
        let off = vhost("refer { enabled off; all github.com; }").refer;
        assert_eq!(from_any_page(&off, ""), Ok(()));
    }

    #[test]
    fn addresses() {
        let check = |rules: &str, publishes: bool, address: &str| {
            let security = vhost(&format!("security {{ {rules} }}")).security;
            from_address(&security, publishes, address.parse().unwrap())
        };
        let home = "192.0.2.1";
        assert_eq!(check("enabled off; deny play all;", false, home), Ok(()));
        assert_eq!(check("enabled on;", false, home), Err(Refusal::NoRules));
        let deny = "enabled on; deny publish all; allow play all;";
        assert_eq!(check(deny, true, home), Err(Refusal::Denied));
        assert_eq!(check(deny, false, home), Ok(()));
        let one_kind = "enabled on; allow play all;";
        assert_eq!(
            check(one_kind, true, home),
            Err(Refusal::NotAllowed),
            "an allow of either kind closes the rest"
        );
        let only_deny = "enabled on; deny play 10.0.0.0/8;";
        assert_eq!(check(only_deny, false, "10.1.2.3"), Err(Refusal::Denied));
        assert_eq!(check(only_deny, false, "::ffff:10.1.2.3"), Err(Refusal::Denied));
        assert_eq!(check(only_deny, false, home), Ok(()));
        assert_eq!(check(only_deny, true, "10.1.2.3"), Ok(()));
        let order = "enabled on; allow play 10.1.0.0/16; deny play 10.0.0.0/8; allow play 2001:db8::/32;";
        assert_eq!(check(order, false, "10.1.2.3"), Err(Refusal::Denied), "deny counts wherever it stands");
        assert_eq!(check(order, false, "2001:db8::9"), Ok(()));
        assert_eq!(check(order, false, "2001:db9::9"), Err(Refusal::NotAllowed));
    }

    fn rule() -> impl Strategy<Value = (bool, bool, Option<u8>)> {
        (any::<bool>(), any::<bool>(), proptest::option::of(0u8..4))
    }

    proptest! {
        /// The rules, said once more in the words of the table they come from.
        #[test]
        fn the_order_of_lines_means_nothing(
            rules in proptest::collection::vec(rule(), 0..6), publishes: bool, last in 0u8..4, seed: usize,
        ) {
            let line = |(deny, publish, who): &(bool, bool, Option<u8>)| format!(
                "{} {} {};",
                if *deny { "deny" } else { "allow" },
                if *publish { "publish" } else { "play" },
                who.map_or("all".to_owned(), |last| format!("10.0.0.{last}")),
            );
            let decide = |rules: &[(bool, bool, Option<u8>)]| {
                let lines: String = rules.iter().map(line).collect();
                let security = vhost(&format!("security {{ enabled on; {lines} }}")).security;
                from_address(&security, publishes, IpAddr::from([10, 0, 0, last]))
            };
            let hit = |deny: bool| rules.iter().any(|r| r.0 == deny && r.1 == publishes && r.2.is_none_or(|l| l == last));
            let expected = match () {
                () if rules.is_empty() => Err(Refusal::NoRules),
                () if hit(true) => Err(Refusal::Denied),
                () if hit(false) || rules.iter().all(|r| r.0) => Ok(()),
                () => Err(Refusal::NotAllowed),
            };
            prop_assert_eq!(decide(&rules), expected);
            let mut turned = rules.clone();
            turned.rotate_left(seed % rules.len().max(1));
            prop_assert_eq!(decide(&turned), expected);
        }

        #[test]
        fn no_page_panics(page in ".{0,40}") {
            let refer = Refer { enabled: true, all: vec!["é.com".into(), "".into()], publish: vec![], play: vec![] };
            let _ = from_any_page(&refer, &page);
        }
    }
}
