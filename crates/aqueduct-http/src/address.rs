use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressKind {
    /// The machine itself.
    Loopback,
    /// A network of somebody's own: RFC 1918, or the unique local addresses of RFC 4193.
    Private,
    /// One link; clouds answer here with the secrets of the machine.
    LinkLocal,
    /// The network of a provider behind its translation of addresses, RFC 6598.
    SharedSpace,
    /// Many receivers, or all of a network.
    Multicast,
    /// No address, "this host" or "this network".
    Unspecified,
    /// Examples in texts, and benchmarks of devices.
    Documentation,
    /// Set aside by IANA for something that is no server.
    Reserved,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::SharedSpace => "shared by a provider",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Documentation => "for documentation",
            Self::Reserved => "reserved",
        })
    }
}

use AddressKind::{
    Documentation, LinkLocal, Loopback, Multicast, Private, Reserved, SharedSpace, Unspecified,
};

/// Source: the IANA IPv4 Special-Purpose Address Registry, and RFC 5771 for multicast. The first that fits counts.
const V4: &[(Ipv4Addr, u32, AddressKind)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, Unspecified),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, SharedSpace),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Documentation),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reserved),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Documentation),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Documentation),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Documentation),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Multicast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reserved),
];

/// Source: the IANA IPv6 Special-Purpose Address Registry, RFC 4291 and, for the site-local addresses that are no more,
/// RFC 3879. The first that fits counts; those that carry an IPv4 address are judged by it before.
const V6: &[(Ipv6Addr, u32, AddressKind)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Unspecified),
    (Ipv6Addr::LOCALHOST, 128, Loopback),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Private),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Reserved),
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64, Reserved),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Documentation),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Reserved),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Documentation),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16, Reserved),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LinkLocal),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Private),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Multicast),
];

/// Tells why an address is not public; `None` for one that is.
pub(crate) fn not_public(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> Option<AddressKind> {
    let bits = address.to_bits();
    V4.iter().find(|(net, length, _)| (bits ^ net.to_bits()) >> (32 - length) == 0).map(|(_, _, kind)| *kind)
}

fn v6(address: Ipv6Addr) -> Option<AddressKind> {
    let bits = address.to_bits();
    let listed = V6
        .iter()
        .find(|(net, length, _)| (bits ^ net.to_bits()) >> (128 - length) == 0)
        .map(|(_, _, kind)| *kind);
    match (listed, carried(address)) {
        (Some(kind), _) => Some(kind),
        (None, Some(inner)) => v4(inner),
        // Of all the rest only 2000::/3 has been given to anybody (IANA, IPv6 Address Space).
        (None, None) if address.segments()[0] >> 13 != 1 => Some(Reserved),
        (None, None) => None,
    }
}

/// The IPv4 address inside an IPv6 one: what comes out at the other end of a translator or a tunnel.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b, c, d, e, f) {
        // Mapped, RFC 4291 2.5.5.2; compatible, 2.5.5.1; translated, RFC 2765; NAT64, RFC 6052.
        (0, 0, 0, 0, 0, 0xffff | 0) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => join(g, h),
        // 6to4, RFC 3056.
        (0x2002, ..) => join(b, c),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: impl Into<Option<AddressKind>>) {
        let parsed = address.parse().expect("an address");
        assert_eq!(not_public(parsed), expected.into(), "{address}");
    }

    #[test]
    fn what_is_not_public_is_told_at_both_ends_of_each_range() {
        for (first, last, kind) in [
            ("0.0.0.0", "0.255.255.255", Unspecified),
            ("10.0.0.0", "10.255.255.255", Private),
            ("100.64.0.0", "100.127.255.255", SharedSpace),
            ("127.0.0.0", "127.255.255.255", Loopback),
            ("169.254.0.0", "169.254.255.255", LinkLocal),
            ("172.16.0.0", "172.31.255.255", Private),
            ("192.0.0.0", "192.0.0.255", Reserved),
            ("192.0.2.0", "192.0.2.255", Documentation),
            ("192.168.0.0", "192.168.255.255", Private),
            ("198.18.0.0", "198.19.255.255", Documentation),
            ("198.51.100.0", "198.51.100.255", Documentation),
            ("203.0.113.0", "203.0.113.255", Documentation),
            ("224.0.0.0", "239.255.255.255", Multicast),
            ("240.0.0.0", "255.255.255.255", Reserved),
            ("::", "::", Unspecified),
            ("::1", "::1", Loopback),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Private),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
            ("4000::", "5fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
        ] {
            check(first, kind);
            check(last, kind);
        }
    }

    #[test]
    fn what_is_next_to_a_range_is_public() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "223.255.255.255",
            "2000::",
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2606:4700::1111",
            "2001:4860:4860::8888",
        ] {
            check(address, None);
        }
    }

    #[test]
    fn an_address_in_another_is_judged_by_what_comes_out() {
        for (address, kind) in [
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", LinkLocal),
            ("::ffff:0:10.0.0.1", Private),
            ("::10.0.0.1", Private),
            ("64:ff9b::192.168.0.1", Private),
            ("2002:7f00:1::", Loopback),
            ("2002:a9fe:a9fe::1", LinkLocal),
        ] {
            check(address, kind);
        }
        for address in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"] {
            check(address, None);
        }
    }
}
