//! Addresses that no sink may reach: what a cloud's machine keeps its secrets at must not be asked for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why `address` is not to be reached, if it is not.
pub(super) fn refused(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => refused_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| nat64(v6)) {
            Some(v4) => refused_v4(v4),
            None => refused_v6(v6),
        },
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    // What two clouds answer at beside the link-local 169.254.169.254.
    let metadata = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
    if address.is_link_local() {
        Some("a link-local address")
    } else if metadata.contains(&address) {
        Some("a metadata address")
    } else if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        Some("no address of one machine")
    } else {
        None
    }
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unicast_link_local() {
        Some("a link-local address")
    } else if address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
        Some("a metadata address")
    } else if address.is_unspecified() || address.is_multicast() {
        Some("no address of one machine")
    } else {
        None
    }
}

/// The IPv4 address behind `64:ff9b::/96`.
fn nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_refused_in_every_spelling_and_a_local_network_is_not() {
        for bad in [
            "169.254.169.254",
            "169.254.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "255.255.255.255",
            "224.0.0.1",
        ] {
            assert!(refused(bad.parse().expect(bad)).is_some(), "{bad}");
        }
        for good in ["127.0.0.1", "::1", "192.168.1.20", "10.0.0.1", "fd12::1", "203.0.113.5", "2001:db8::1"]
        {
            assert_eq!(refused(good.parse().expect(good)), None, "{good}");
        }
    }
}
