//! The classification table, range by range: last address before, first, last, first after; and every
//! way to hide an IPv4 address in an IPv6 one. EGRESS groups 12 to 17.
//!
//! The ranges stand here by themselves, from the IANA registries of special-purpose addresses, so
//! that a slip in the product's patterns has something to disagree with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use airlock::{
    net::{AddressClass as C, Authority, Host, Port, classify},
    policy::{AddressPolicy, Reason, address},
};
use ipnet::IpNet;

/// Earlier rows win over later ones; the last one is the rest of the space.
const V4: &[(&str, C)] = &[
    // Metadata services: single addresses inside of other ranges, and one in a public range.
    ("169.254.169.254/32", C::Metadata),
    ("169.254.170.2/32", C::Metadata),
    ("169.254.170.23/32", C::Metadata),
    ("169.254.42.42/32", C::Metadata),
    ("169.254.0.23/32", C::Metadata),
    ("168.63.129.16/32", C::Metadata),
    ("100.100.100.200/32", C::Metadata),
    ("192.0.0.192/32", C::Metadata),
    ("0.0.0.0/8", C::Unspecified),
    ("10.0.0.0/8", C::Private),
    ("100.64.0.0/10", C::Cgnat),
    ("127.0.0.0/8", C::Loopback),
    ("169.254.0.0/16", C::LinkLocal),
    ("172.16.0.0/12", C::Private),
    ("192.0.0.0/24", C::ProtocolAssignment),
    ("192.0.2.0/24", C::Documentation),
    ("192.88.99.0/24", C::Reserved),
    ("192.168.0.0/16", C::Private),
    ("198.18.0.0/15", C::Benchmarking),
    ("198.51.100.0/24", C::Documentation),
    ("203.0.113.0/24", C::Documentation),
    ("224.0.0.0/4", C::Multicast),
    ("255.255.255.255/32", C::Broadcast),
    ("240.0.0.0/4", C::Reserved),
    ("0.0.0.0/0", C::Public),
];

/// Likewise. The two ranges of [`TRANSPARENT`] have the class of the IPv4 address inside.
const V6: &[(&str, C)] = &[
    ("fd00:ec2::254/128", C::Metadata),
    ("fd00:ec2::23/128", C::Metadata),
    ("fd20:ce::254/128", C::Metadata),
    ("fd00:42::42/128", C::Metadata),
    ("::/128", C::Unspecified),
    ("::1/128", C::Loopback),
    // IPv4-compatible, then translated.
    ("::/96", C::Embedded),
    ("::ffff:0:0:0/96", C::Embedded),
    // NAT64 for local use.
    ("64:ff9b:1::/48", C::Embedded),
    ("100::/64", C::Discard),
    ("100:0:0:1::/64", C::Discard),
    // Teredo, benchmarking, and what else is in the range of protocols.
    ("2001::/32", C::Embedded),
    ("2001:2::/48", C::Benchmarking),
    ("2001::/23", C::ProtocolAssignment),
    ("2001:db8::/32", C::Documentation),
    // 6to4.
    ("2002::/16", C::Embedded),
    ("3fff::/20", C::Documentation),
    // ISATAP: the interface identifier, under any prefix.
    ("2600::5efe:0:0/96", C::Embedded),
    ("2600::200:5efe:0:0/96", C::Embedded),
    ("fe80::5efe:0:0/96", C::Embedded),
    ("fe80::200:5efe:0:0/96", C::Embedded),
    ("fd12::5efe:0:0/96", C::Embedded),
    ("fd12::200:5efe:0:0/96", C::Embedded),
    ("2000::/3", C::Public),
    // Segment routing.
    ("5f00::/16", C::Reserved),
    ("fc00::/7", C::UniqueLocal),
    ("fe80::/10", C::LinkLocal),
    ("fec0::/10", C::SiteLocal),
    ("ff00::/8", C::Multicast),
    ("::/0", C::Reserved),
];

/// IPv4-mapped, and NAT64: kernel and gateway dial the IPv4 address inside.
const TRANSPARENT: [&str; 2] = ["::ffff:0:0/96", "64:ff9b::/96"];

fn net(text: &str) -> IpNet {
    text.parse().expect("a range")
}

fn last_32_bits(ip: IpAddr) -> Ipv4Addr {
    match ip {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => Ipv4Addr::from(v6.to_bits() as u32),
    }
}

/// What the tables above say.
fn expected(ip: IpAddr) -> C {
    if TRANSPARENT.iter().any(|range| net(range).contains(&ip)) {
        return expected(last_32_bits(ip).into());
    }
    let table = if ip.is_ipv4() { V4 } else { V6 };
    let row = table.iter().find(|(range, _)| net(range).contains(&ip));
    row.expect("the last row holds everything").1
}

/// The address `by` places on, within its family.
fn beside(ip: IpAddr, by: i8) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits().checked_add_signed(by.into())?;
            Some(Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits().checked_add_signed(by.into())?;
            Some(Ipv6Addr::from_bits(bits).into())
        }
    }
}

/// Last before, first, last, first after.
fn edges(range: &str) -> Vec<IpAddr> {
    let range = net(range);
    let (first, last) = (range.network(), range.broadcast());
    [beside(first, -1), Some(first), Some(last), beside(last, 1)]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether the address may be dialled, by its number and by a name that resolves to it, under a
/// policy that permits the destination to be private and under one that does not.
fn assert_dialled_by_class(ip: IpAddr, class: C) {
    let named = Authority::parse("upstream.test:8000", None).unwrap();
    let literal = Authority::new(Host::Ip(ip), Port::parse("8000").unwrap());
    let socket = SocketAddr::new(ip, 8000);
    for authority in [named, literal] {
        let closed = AddressPolicy::new();
        let mut permitting = AddressPolicy::new();
        permitting.permit_private(authority.clone());
        let mut offline = permitting.clone();
        offline.close_public();
        for (policy, open) in [
            (closed, class == C::Public),
            (permitting, class == C::Public || class.openable()),
            (offline, class.openable()),
        ] {
            match address::check(&authority, socket, &policy, &[]) {
                Ok(checked) => {
                    assert!(open, "{authority} at {ip} ({class}) is dialled");
                    assert_eq!(checked.class(), class);
                    assert_eq!(
                        checked.socket(),
                        SocketAddr::new(ip.to_canonical(), 8000),
                        "what was judged is what is dialled"
                    );
                }
                Err(reason) => {
                    assert!(!open, "{authority} at {ip} ({class}) is refused");
                    assert_eq!(reason, Reason::AddressClosed);
                }
            }
        }
    }
}

#[test]
fn every_range_is_classified_up_to_its_edges_and_dialled_accordingly() {
    let mut tried = 0;
    let ranges = V4.iter().chain(V6).map(|(range, _)| *range);
    for range in ranges.chain(TRANSPARENT) {
        for ip in edges(range) {
            let want = expected(ip);
            assert_eq!(classify(ip), want, "{ip}, at an edge of {range}");
            assert_dialled_by_class(ip, want);
            tried += 1;
        }
    }
    assert_eq!(tried, 4 * (V4.len() + V6.len() + TRANSPARENT.len()) - 10);
}

/// The classes that nothing opens, whatever the configuration names.
#[test]
fn only_five_closed_classes_can_be_opened_for_a_named_upstream() {
    let openable: Vec<C> = C::ALL.into_iter().filter(|c| c.openable()).collect();
    assert_eq!(
        openable,
        [
            C::Loopback,
            C::Private,
            C::Cgnat,
            C::LinkLocal,
            C::UniqueLocal
        ]
    );
}

fn v6(segments: [u16; 8]) -> IpAddr {
    Ipv6Addr::from(segments).into()
}

/// IPv4 inside IPv6: the ones that the network unwraps keep the class, all others are closed.
#[test]
fn an_address_in_any_wrapping_is_dialled_only_if_it_is_public_and_the_wrapping_transparent() {
    let mut tried = 0;
    for (range, _) in V4 {
        for ip in edges(range) {
            let (v4, class) = (last_32_bits(ip), expected(ip));
            let [h, l] = [(v4.to_bits() >> 16) as u16, v4.to_bits() as u16];
            let server = [0x4136, 0xe378];
            for (what, wrapped) in [
                ("mapped", v6([0, 0, 0, 0, 0, 0xffff, h, l])),
                ("NAT64", v6([0x64, 0xff9b, 0, 0, 0, 0, h, l])),
            ] {
                assert_eq!(classify(wrapped), class, "{what} {v4}: {wrapped}");
                assert_dialled_by_class(wrapped, class);
                tried += 1;
            }
            for (what, wrapped) in [
                ("compatible", v6([0, 0, 0, 0, 0, 0, h, l])),
                ("translated", v6([0, 0, 0, 0, 0xffff, 0, h, l])),
                ("local NAT64", v6([0x64, 0xff9b, 1, 0, 0, 0, h, l])),
                // RFC 6052, a prefix of 48 bits: the address stands around bits 64 to 71.
                (
                    "local NAT64, split",
                    v6([0x64, 0xff9b, 1, h, l >> 8, l << 8, 0, 0]),
                ),
                ("6to4", v6([0x2002, h, l, 0, 0, 0, 0, 1])),
                (
                    "Teredo client",
                    v6([0x2001, 0, server[0], server[1], 0, 0x1234, !h, !l]),
                ),
                ("Teredo server", v6([0x2001, 0, h, l, 0, 0x1234, 1, 1])),
                (
                    "ISATAP, global",
                    v6([0x2606, 0x4700, 0, 0, 0, 0x5efe, h, l]),
                ),
                (
                    "ISATAP, global, unique",
                    v6([0x2606, 0x4700, 0, 0, 0x200, 0x5efe, h, l]),
                ),
                ("ISATAP, link-local", v6([0xfe80, 0, 0, 0, 0, 0x5efe, h, l])),
                (
                    "ISATAP, unique local",
                    v6([0xfd12, 0, 0, 0, 0x200, 0x5efe, h, l]),
                ),
            ] {
                let found = classify(wrapped);
                // `::` and `::1` are in the compatible range, and are what they are.
                let itself = [0, 1].contains(&v4.to_bits()) && what == "compatible";
                assert!(
                    found == C::Embedded || itself,
                    "{what} {v4}: {wrapped} is {found}"
                );
                assert_dialled_by_class(wrapped, found);
                tried += 1;
            }
        }
    }
    assert!(tried > 1200, "{tried}");
}

/// Every spelling of loopback but the two plain ones is refused as text, before any class.
#[test]
fn other_spellings_of_an_address_are_no_host() {
    for text in [
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "00000127.0.0.1",
        "0x7f.0x0.0x0.0x1",
        "127.0.0.1%2f",
        "[::127.0.0.1%25lo]",
        "::1%1",
        "1.2.3.4.5",
        "256.1.1.1",
        "0",
        "0x",
        "4294967296",
    ] {
        assert!(
            Host::parse(text).is_err(),
            "{text} is {:?}",
            Host::parse(text)
        );
    }
    assert_eq!(
        Host::parse("127.0.0.1").unwrap().as_ip(),
        "127.0.0.1".parse().ok()
    );
}

/// A loop is a loop however our own address is written.
#[test]
fn our_own_listeners_are_refused_in_every_wrapping() {
    let own: Vec<SocketAddr> = [
        "127.0.0.1:3128",
        "[::]:8787",
        "8.8.4.4:9464",
        "[2606::1]:80",
    ]
    .iter()
    .map(|s| s.parse().unwrap())
    .collect();
    let ours = Err(Reason::OwnListener);
    for (what, addr, want) in [
        ("loopback", "127.0.0.1:3128", ours),
        ("mapped loopback", "[::ffff:127.0.0.1]:3128", ours),
        ("unspecified", "0.0.0.0:3128", ours),
        ("unspecified, IPv6", "[::]:3128", ours),
        ("a wildcard's loopback", "127.8.8.8:8787", ours),
        ("a wildcard's IPv6 loopback", "[::1]:8787", ours),
        ("a public address of ours", "8.8.4.4:9464", ours),
        ("it, mapped", "[::ffff:8.8.4.4]:9464", ours),
        ("it, by NAT64", "[64:ff9b::8.8.4.4]:9464", ours),
        ("an IPv6 address of ours", "[2606::1]:80", ours),
        ("its neighbour port", "8.8.4.4:9465", Ok(())),
        ("its neighbour", "8.8.4.5:9464", Ok(())),
        ("another by NAT64", "[64:ff9b::8.8.4.5]:9464", Ok(())),
        (
            "a foreign address on a wildcard's port",
            "8.8.8.8:8787",
            Ok(()),
        ),
    ] {
        let socket: SocketAddr = addr.parse().unwrap();
        let name = Authority::new(
            Host::parse("a.test").unwrap(),
            Port::new(socket.port()).unwrap(),
        );
        let got = address::check(&name, socket, &AddressPolicy::new(), &own);
        assert_eq!(got.map(drop), want, "{what}");
    }
}
