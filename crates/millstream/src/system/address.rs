//! The addresses of this machine.

use std::net::{IpAddr, Ipv6Addr};

use if_addrs::Interface;

/// Addresses a peer may reach us at, in the system's order, of interfaces that are up: IPv4 and IPv6;
/// loopback only if there is nothing else.
pub(super) fn reachable(interfaces: &[Interface]) -> Vec<IpAddr> {
    let up = |loopback: bool| -> Vec<IpAddr> {
        let fit = |i: &&Interface| i.is_oper_up() && i.is_loopback() == loopback;
        interfaces.iter().filter(fit).map(Interface::ip).collect()
    };
    let outside = up(false);
    if outside.is_empty() { up(true) } else { outside }
}

/// Whether the whole internet can reach it.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public(v4.into()),
            None => !(v6.is_loopback() || v6.is_unspecified() || is_local_v6(v6)),
        },
    }
}

/// Link-local (fe80::/10) and unique local (fc00::/7) addresses.
fn is_local_v6(v6: Ipv6Addr) -> bool {
    v6.is_unicast_link_local() || v6.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_and_private_addresses() {
        for public in ["203.0.113.5", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:8.8.8.8"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn this_machine_has_an_address() {
        let interfaces = if_addrs::get_if_addrs().unwrap();
        let found = reachable(&interfaces);
        assert!(!found.is_empty());
        let others = found.iter().any(|ip| !ip.is_loopback());
        assert!(!others || found.iter().all(|ip| !ip.is_loopback()), "{found:?}");
    }
}
