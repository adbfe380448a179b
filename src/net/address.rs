//! Classes of IP addresses: what may be dialled at all.
//!
//! Sources: the IANA special-purpose registries of IPv4 and IPv6 (RFC 6890 and its updates).
//! IPv6 that is not global unicast and not named here is `reserved`: closed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// What an address is for. The code of [`AddressClass::as_str`] is log field and metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressClass {
    /// Global unicast: open.
    Public,
    /// `0.0.0.0/8` and `::`; Linux takes them for this machine.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// `100.64.0.0/10`, also the range of overlay networks such as Tailscale.
    Cgnat,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// `fc00::/7`.
    UniqueLocal,
    /// `fec0::/10`, deprecated.
    SiteLocal,
    /// A cloud's metadata service: credentials behind a GET. Never opened by anything.
    Metadata,
    Multicast,
    Broadcast,
    Documentation,
    /// `198.18.0.0/15`, `2001:2::/48`.
    Benchmarking,
    /// `192.0.0.0/24`, `2001::/23`: protocol assignments.
    ProtocolAssignment,
    /// `100::/64` and the dummy prefix `100:0:0:1::/64`.
    Discard,
    /// IPv4 inside IPv6 by a tunnel or translation that no proxy needs: compatible, translated,
    /// local-use NAT64, 6to4, Teredo, ISATAP.
    Embedded,
    Reserved,
}

impl AddressClass {
    pub const ALL: [AddressClass; 17] = [
        AddressClass::Public,
        AddressClass::Unspecified,
        AddressClass::Loopback,
        AddressClass::Private,
        AddressClass::Cgnat,
        AddressClass::LinkLocal,
        AddressClass::UniqueLocal,
        AddressClass::SiteLocal,
        AddressClass::Metadata,
        AddressClass::Multicast,
        AddressClass::Broadcast,
        AddressClass::Documentation,
        AddressClass::Benchmarking,
        AddressClass::ProtocolAssignment,
        AddressClass::Discard,
        AddressClass::Embedded,
        AddressClass::Reserved,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            AddressClass::Public => "public",
            AddressClass::Unspecified => "unspecified",
            AddressClass::Loopback => "loopback",
            AddressClass::Private => "private",
            AddressClass::Cgnat => "cgnat",
            AddressClass::LinkLocal => "link_local",
            AddressClass::UniqueLocal => "unique_local",
            AddressClass::SiteLocal => "site_local",
            AddressClass::Metadata => "metadata",
            AddressClass::Multicast => "multicast",
            AddressClass::Broadcast => "broadcast",
            AddressClass::Documentation => "documentation",
            AddressClass::Benchmarking => "benchmarking",
            AddressClass::ProtocolAssignment => "protocol_assignment",
            AddressClass::Discard => "discard",
            AddressClass::Embedded => "embedded",
            AddressClass::Reserved => "reserved",
        }
    }

    /// True where a configured upstream may live although the class is closed by default:
    /// this machine, the LAN, an overlay network, a direct cable.
    pub fn openable(self) -> bool {
        match self {
            AddressClass::Loopback
            | AddressClass::Private
            | AddressClass::Cgnat
            | AddressClass::LinkLocal
            | AddressClass::UniqueLocal => true,
            AddressClass::Public
            | AddressClass::Unspecified
            | AddressClass::SiteLocal
            | AddressClass::Metadata
            | AddressClass::Multicast
            | AddressClass::Broadcast
            | AddressClass::Documentation
            | AddressClass::Benchmarking
            | AddressClass::ProtocolAssignment
            | AddressClass::Discard
            | AddressClass::Embedded
            | AddressClass::Reserved => false,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// AWS and most clouds, ECS and EKS task credentials, Scaleway, Tencent, Oracle's older one, Azure's
/// wire server, Alibaba.
const METADATA_V4: [Ipv4Addr; 8] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];
/// AWS, EKS, Google, Scaleway.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// The IPv4 address that a NAT64 gateway dials for an address of the well-known prefix.
pub fn nat64(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last_32_bits(v6)),
            _ => None,
        },
    }
}

fn last_32_bits(ip: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = ip.octets();
    Ipv4Addr::new(a, b, c, d)
}

pub fn classify(ip: IpAddr) -> AddressClass {
    match ip {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    use AddressClass as C;
    if METADATA_V4.contains(&ip) {
        return C::Metadata;
    }
    match ip.octets() {
        [0, ..] => C::Unspecified,
        [127, ..] => C::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => C::Private,
        [100, 64..=127, ..] => C::Cgnat,
        [169, 254, ..] => C::LinkLocal,
        [192, 0, 0, _] => C::ProtocolAssignment,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => C::Documentation,
        // The retired anycast of 6to4 relays.
        [192, 88, 99, _] => C::Reserved,
        [198, 18..=19, ..] => C::Benchmarking,
        [224..=239, ..] => C::Multicast,
        [255, 255, 255, 255] => C::Broadcast,
        [240..=255, ..] => C::Reserved,
        _ => C::Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    use AddressClass as C;
    if METADATA_V6.contains(&ip) {
        return C::Metadata;
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => C::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => C::Loopback,
        // The kernel dials the IPv4 address inside; a NAT64 gateway of the network does the same.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            classify_v4(last_32_bits(ip))
        }
        // Compatible, and translated (RFC 2765).
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => C::Embedded,
        [0x64, 0xff9b, 1, ..] => C::Embedded,
        [0x100, 0, 0, 0..=1, ..] => C::Discard,
        [0xfe80..=0xfebf, ..] => isatap_or(ip, C::LinkLocal),
        [0xfec0..=0xfeff, ..] => C::SiteLocal,
        [0xfc00..=0xfdff, ..] => isatap_or(ip, C::UniqueLocal),
        [0xff00..=0xffff, ..] => C::Multicast,
        // Teredo, then the rest of 2001::/23.
        [0x2001, 0, ..] => C::Embedded,
        [0x2001, 2, 0, ..] => C::Benchmarking,
        [0x2001, 0..=0x1ff, ..] => C::ProtocolAssignment,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => C::Documentation,
        [0x2002, ..] => C::Embedded,
        [0x2000..=0x3fff, ..] => isatap_or(ip, C::Public),
        _ => C::Reserved,
    }
}

/// ISATAP interface identifiers: `0000:5efe` or `0200:5efe`, then the IPv4 address.
fn isatap_or(ip: Ipv6Addr, class: AddressClass) -> AddressClass {
    match ip.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => AddressClass::Embedded,
        _ => class,
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressClass as C, *};

    #[test]
    fn ranges_and_their_neighbours() {
        let rows: &[(&str, C)] = &[
            ("0.0.0.0", C::Unspecified),
            ("0.255.255.255", C::Unspecified),
            ("1.0.0.0", C::Public),
            ("9.255.255.255", C::Public),
            ("10.0.0.0", C::Private),
            ("10.255.255.255", C::Private),
            ("11.0.0.0", C::Public),
            ("100.63.255.255", C::Public),
            ("100.64.0.0", C::Cgnat),
            ("100.100.100.199", C::Cgnat),
            ("100.100.100.200", C::Metadata),
            ("100.100.100.201", C::Cgnat),
            ("100.127.255.255", C::Cgnat),
            ("100.128.0.0", C::Public),
            ("126.255.255.255", C::Public),
            ("127.0.0.0", C::Loopback),
            ("127.255.255.255", C::Loopback),
            ("128.0.0.0", C::Public),
            ("168.63.129.15", C::Public),
            ("168.63.129.16", C::Metadata),
            ("168.63.129.17", C::Public),
            ("169.253.255.255", C::Public),
            ("169.254.0.0", C::LinkLocal),
            ("169.254.169.253", C::LinkLocal),
            ("169.254.169.254", C::Metadata),
            ("169.254.169.255", C::LinkLocal),
            ("169.254.170.1", C::LinkLocal),
            ("169.254.170.2", C::Metadata),
            ("169.254.170.3", C::LinkLocal),
            ("169.254.170.23", C::Metadata),
            ("169.254.255.255", C::LinkLocal),
            ("169.255.0.0", C::Public),
            ("172.15.255.255", C::Public),
            ("172.16.0.0", C::Private),
            ("172.31.255.255", C::Private),
            ("172.32.0.0", C::Public),
            ("191.255.255.255", C::Public),
            ("192.0.0.0", C::ProtocolAssignment),
            ("192.0.0.255", C::ProtocolAssignment),
            ("192.0.1.0", C::Public),
            ("192.0.1.255", C::Public),
            ("192.0.2.0", C::Documentation),
            ("192.0.2.255", C::Documentation),
            ("192.0.3.0", C::Public),
            ("192.88.98.255", C::Public),
            ("192.88.99.0", C::Reserved),
            ("192.88.100.0", C::Public),
            ("192.167.255.255", C::Public),
            ("192.168.0.0", C::Private),
            ("192.168.255.255", C::Private),
            ("192.169.0.0", C::Public),
            ("198.17.255.255", C::Public),
            ("198.18.0.0", C::Benchmarking),
            ("198.19.255.255", C::Benchmarking),
            ("198.20.0.0", C::Public),
            ("198.51.99.255", C::Public),
            ("198.51.100.0", C::Documentation),
            ("198.51.101.0", C::Public),
            ("203.0.112.255", C::Public),
            ("203.0.113.0", C::Documentation),
            ("203.0.114.0", C::Public),
            ("223.255.255.255", C::Public),
            ("224.0.0.0", C::Multicast),
            ("239.255.255.255", C::Multicast),
            ("240.0.0.0", C::Reserved),
            ("255.255.255.254", C::Reserved),
            ("255.255.255.255", C::Broadcast),
            ("::", C::Unspecified),
            ("::1", C::Loopback),
            ("::2", C::Embedded),
            ("::127.0.0.1", C::Embedded),
            ("::8.8.8.8", C::Embedded),
            ("::ffff:127.0.0.1", C::Loopback),
            ("::ffff:10.0.0.1", C::Private),
            ("::ffff:169.254.169.254", C::Metadata),
            ("::ffff:8.8.8.8", C::Public),
            ("::ffff:0:8.8.8.8", C::Embedded),
            ("::1:0:0:0", C::Reserved),
            ("64:ff9a:ffff::1", C::Reserved),
            ("64:ff9b::8.8.8.8", C::Public),
            ("64:ff9b::10.0.0.1", C::Private),
            ("64:ff9b::169.254.169.254", C::Metadata),
            ("64:ff9b:0:1::8.8.8.8", C::Reserved),
            ("64:ff9b:1::8.8.8.8", C::Embedded),
            ("64:ff9b:1:ffff::1", C::Embedded),
            ("64:ff9b:2::8.8.8.8", C::Reserved),
            ("100::", C::Discard),
            ("100::ffff:ffff:ffff:ffff", C::Discard),
            ("100:0:0:1::", C::Discard),
            ("100:0:0:2::", C::Reserved),
            ("1fff:ffff::", C::Reserved),
            ("2000::", C::Public),
            ("2001::1", C::Embedded),
            ("2001:0:ffff::", C::Embedded),
            ("2001:1::1", C::ProtocolAssignment),
            ("2001:2::1", C::Benchmarking),
            ("2001:2:1::1", C::ProtocolAssignment),
            ("2001:20::1", C::ProtocolAssignment),
            ("2001:1ff::1", C::ProtocolAssignment),
            ("2001:200::1", C::Public),
            ("2001:db7::1", C::Public),
            ("2001:db8::1", C::Documentation),
            ("2001:db9::1", C::Public),
            ("2002:a00:1::1", C::Embedded),
            ("2003::1", C::Public),
            ("2606:4700::1", C::Public),
            ("2606:4700::5efe:808:808", C::Embedded),
            ("2606:4700::200:5efe:808:808", C::Embedded),
            ("3ffe:ffff::1", C::Public),
            ("3fff::1", C::Documentation),
            ("3fff:fff::1", C::Documentation),
            ("3fff:1000::1", C::Public),
            ("4000::", C::Reserved),
            ("5f00::1", C::Reserved),
            ("fbff::1", C::Reserved),
            ("fc00::1", C::UniqueLocal),
            ("fd00:ec2::253", C::UniqueLocal),
            ("fd00:ec2::254", C::Metadata),
            ("fd00:ec2::255", C::UniqueLocal),
            ("fd20:ce::254", C::Metadata),
            ("fdff:ffff::1", C::UniqueLocal),
            ("fe00::1", C::Reserved),
            ("fe7f:ffff::1", C::Reserved),
            ("fe80::1", C::LinkLocal),
            ("fe80::5efe:10.0.0.1", C::Embedded),
            ("febf::1", C::LinkLocal),
            ("fec0::1", C::SiteLocal),
            ("feff::1", C::SiteLocal),
            ("ff00::1", C::Multicast),
            ("ff02::1", C::Multicast),
        ];
        for (ip, want) in rows {
            assert_eq!(classify(ip.parse().unwrap()), *want, "{ip}");
        }
    }

    #[test]
    fn codes_are_unique() {
        let codes: std::collections::HashSet<_> = C::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(codes.len(), C::ALL.len());
        for class in C::ALL {
            assert_eq!(class.to_string(), class.as_str());
        }
    }

    #[test]
    fn an_upstream_may_live_on_this_machine_and_its_networks_and_nowhere_else_that_is_closed() {
        let openable: Vec<_> = C::ALL.into_iter().filter(|c| c.openable()).collect();
        let own = [
            C::Loopback,
            C::Private,
            C::Cgnat,
            C::LinkLocal,
            C::UniqueLocal,
        ];
        assert_eq!(openable.len(), own.len());
        assert!(own.iter().all(|c| openable.contains(c)), "{openable:?}");
    }

    #[test]
    fn a_gateway_dials_the_address_at_the_end_of_the_well_known_prefix() {
        for (ip, want) in [
            ("64:ff9b::8.8.4.1", Some([8, 8, 4, 1])),
            ("64:ff9b::a00:1", Some([10, 0, 0, 1])),
            ("64:ff9b:1::8.8.4.1", None),
            ("64:ff9b:0:0:0:1:808:401", None),
            ("2001:db8::8.8.4.1", None),
            ("8.8.4.1", None),
        ] {
            assert_eq!(nat64(ip.parse().unwrap()), want.map(Into::into), "{ip}");
        }
    }
}
