//! Who may do what: by the page a client comes from, by its address.

use std::net::IpAddr;
use std::time::Duration;

use super::Field;
use crate::value::{self, BadRule};
use crate::view::View;

super::block! {
    /// `vhost.refer`. A list that is empty lets everybody pass.
    pub struct Refer {
        /// Look at the host of the client's page URL.
        enabled: bool = "enabled",
        /// Endings of hosts whose pages may publish and play; asked beside the list of the kind.
        all: Vec<String> = "all",
        /// Endings of hosts whose pages may publish.
        publish: Vec<String> = "publish",
        /// Endings of hosts whose pages may play.
        play: Vec<String> = "play",
    }
}

super::block! {
    /// `vhost.security`.
    pub struct Security {
        /// Look at the client's address.
        enabled: bool = "enabled",
        /// Who matches one of these is refused.
        deny: Vec<Rule> = "deny",
        /// Who matches one of these, and no `deny`, is let in. If there are any, nobody else is.
        allow: Vec<Rule> = "allow",
    }
}

super::block! {
    /// `vhost.bandcheck`.
    pub struct Bandcheck {
        /// Whoever connects to this vhost gets a bandwidth test and nothing else.
        enabled: bool = "enabled",
        /// What a client must give as `key` in its URL; empty to let everybody test.
        key: String = "key",
        /// Least time from the start of one test to the start of the next, in the whole server.
        interval: Duration = "interval",
        /// Neither direction is tested faster than this, in thousands of bits per second.
        limit_kbps: u32 = "limit_kbps",
    }
}

/// One line of `allow` or `deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// It is about publishing, not about playing.
    pub publish: bool,
    /// Whom it is about.
    pub who: Who,
}

impl Rule {
    /// Whether the rule is about somebody with that address who wants to publish (or to play).
    #[must_use]
    pub fn matches(&self, publish: bool, address: IpAddr) -> bool {
        self.publish == publish
            && match self.who {
                Who::All => true,
                Who::Network(network) => network.contains(address),
            }
    }

    /// Reads what stands behind `allow` or `deny`: `publish` or `play`, then `all`, an address or a network.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, BadRule> {
        let publish = match words.first() {
            Some(&"publish") => true,
            Some(&"play") => false,
            _ => return Err(BadRule::Action),
        };
        let who = match words.get(1) {
            None => return Err(BadRule::Nobody),
            Some(&"all") => Who::All,
            Some(text) => Who::Network(value::network(text)?),
        };
        Ok(Self { publish, who })
    }
}

/// Whom a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody.
    All,
    /// Those with an address in here.
    Network(Network),
}

/// A range of addresses (CIDR, RFC 4632 and RFC 4291 §2.3): those that share the first `prefix` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl Network {
    /// Whether the address is in the range. An IPv4 address that comes as IPv6 (`::ffff:192.0.2.1`) counts
    /// as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differs = u32::from(network) ^ u32::from(address);
                differs.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differs = u128::from(network) ^ u128::from(address);
                differs.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// All lines of the name. A wrong one was an error of the check.
impl Field for Vec<Rule> {
    fn read(view: &View<'_>, name: &str) -> Self {
        view.each(name).filter_map(|rule| Rule::parse(&rule.texts()).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks() {
        let within = |network: &str, address: &str| {
            value::network(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.1"));
        assert!(within("10.9.8.7/8", "10.1.1.1"), "bits behind the prefix mean nothing");
        assert!(within("0.0.0.0/0", "255.1.2.3") && !within("0.0.0.0/0", "::1"));
        assert!(within("192.0.2.1", "192.0.2.1") && !within("192.0.2.1", "192.0.2.2"));
        assert!(within("2001:db8::/32", "2001:db8:ffff::1") && !within("2001:db8::/32", "2001:db9::1"));
        assert!(within("::/0", "2001::1") && !within("::/0", "192.0.2.1"));
        assert!(within("192.0.2.0/24", "::ffff:192.0.2.77"));
        assert!(within("::ffff:192.0.2.1", "192.0.2.1"), "so the rule may be written as well");
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "/8",
            "h.com",
            "10.0.0.0/+8",
            "1.2.3.4/8/8",
            "10.0.0.0/-1",
        ] {
            assert!(value::network(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn an_ipv4_network_holds_what_shares_its_prefix(network: u32, address: u32, prefix in 0u8..=32) {
            let text = format!("{}/{prefix}", Ipv4Addr::from(network));
            let same = (0..prefix).all(|bit| (network ^ address) >> (31 - bit) & 1 == 0);
            let parsed = value::network(&text).unwrap();
            prop_assert_eq!(parsed.contains(Ipv4Addr::from(address).into()), same);
            prop_assert_eq!(parsed.contains(Ipv4Addr::from(address).to_ipv6_mapped().into()), same);
            prop_assert!(parsed.contains(Ipv4Addr::from(network).into()));
        }

        #[test]
        fn an_ipv6_network_holds_what_shares_its_prefix(network: u128, other: u128, prefix in 0u8..=128) {
            // Random addresses hardly ever meet in more than a few bits: some are made to.
            for address in [other, network ^ (other >> 64), network ^ (other >> 100)] {
                let (range, address) = (Ipv6Addr::from(network), Ipv6Addr::from(address));
                prop_assume!(range.to_ipv4_mapped().is_none() && address.to_ipv4_mapped().is_none());
                let same = (0..prefix).all(|bit| (network ^ u128::from(address)) >> (127 - bit) & 1 == 0);
                let parsed = value::network(&format!("{range}/{prefix}")).unwrap();
                prop_assert_eq!(parsed.contains(address.into()), same);
            }
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:./ ]{0,24}", more in ".{0,12}") {
            let _ = value::network(&text);
            let _ = Rule::parse(&["play", &text]);
            let _ = Rule::parse(&[&more, &text]);
        }
    }
}
