//! Groups 12 to 20: addresses, written as hosts and answered by a name server.
//!
//! On the wire a literal is refused because no rule names it. What an allowed name resolves to is
//! judged by the address checkpoint, which is called here directly with each address.

use super::{Corpus, Lane, Opening, Step, connect, in_process, origin, plain};
use crate::{
    net::Authority,
    policy::Reason,
    selftest::hello::Hello,
};

pub fn add(corpus: &mut Corpus<'_>) {
    odd_forms(corpus);
    corpus.group(13);
    ranges(corpus, &V4, false);
    ranges(corpus, &V4_OPENABLE, true);
    neighbours(corpus, &V4_NEIGHBOURS);
    corpus.group(14);
    ranges(corpus, &EMBEDDED, false);
    ranges(corpus, &EMBEDDED_OPENABLE, true);
    neighbours(corpus, &["64:ff9b::808:808", "::ffff:8.8.8.8", "2003::1", "2600::5efe:808:808:1"]);
    corpus.group(15);
    ranges(corpus, &V6, false);
    ranges(corpus, &V6_OPENABLE, true);
    neighbours(corpus, &["2001:200::1", "2001:4860:4860::8888", "2600::1", "2a00:1450::1"]);
    corpus.group(16);
    ranges(corpus, &METADATA, false);
    neighbours(corpus, &["168.63.129.15", "168.63.129.17"]);
    own_listeners(corpus);
    mixed(corpus);
}

fn odd_forms(corpus: &mut Corpus<'_>) {
    corpus.group(12);
    for (what, host) in [
        ("one decimal number", "2130706433"),
        ("one hexadecimal number", "0x7f000001"),
        ("a hexadecimal number in capitals", "0X7F000001"),
        ("one octal number", "017700000001"),
        ("many leading zeros", "0000000000000177.1"),
        ("an octal first part", "0177.0.0.1"),
        ("a hexadecimal first part", "0x7f.0.0.1"),
        ("four hexadecimal parts", "0x7f.0x0.0x0.0x1"),
        ("two parts", "127.1"),
        ("three parts", "127.0.1"),
        ("a mix of bases", "0x7f.0.01"),
        ("zero", "0"),
        ("hexadecimal zero", "0x0"),
        ("an empty hexadecimal number", "0x"),
        ("zero in two parts", "0.0"),
        ("a part over 255", "256.0.0.1"),
        ("a part of 16 bits", "127.0.65535"),
        ("a leading zero in the last part", "127.0.0.01"),
        ("three digits with zeros", "127.000.000.001"),
        ("a trailing dot", "127.0.0.1."),
        ("a trailing dot behind a short form", "127.1."),
        ("all ones", "4294967295"),
        ("more than 32 bits", "4294967296"),
        ("a metadata service in decimal", "2852039166"),
        ("a metadata service in hexadecimal", "0xa9fea9fe"),
        ("a metadata service in octal", "0251.0376.0251.0376"),
        ("a metadata service in three parts", "169.254.43518"),
        ("a private address in decimal", "3232235777"),
        ("a private address in octal", "0300.0250.0.1"),
        ("five parts", "1.2.3.4.5"),
        ("a name whose last label is a number", "evil.test.1"),
        ("a name whose last label is hexadecimal", "evil.test.0x1"),
        ("an empty part", "127..1"),
        ("a sign", "+127.0.0.1"),
        ("full-width digits", "\u{ff11}\u{ff12}\u{ff17}.0.0.1"),
        ("circled digits", "\u{2460}\u{2461}\u{2466}.0.0.1"),
        ("a full-width dot", "127\u{ff0e}0\u{ff0e}0\u{ff0e}1"),
        ("an ideographic dot", "127\u{3002}0\u{3002}0\u{3002}1"),
        ("Arabic-Indic digits", "\u{661}\u{662}\u{667}.0.0.1"),
        ("an encoded dot", "127%2e0%2e0%2e1"),
        ("an encoded digit", "%3127.0.0.1"),
    ] {
        corpus.ill(what, host);
    }
    for host in ["127.0.0.1", "169.254.169.254", "192.168.0.1"] {
        let hello = Hello::named(host).bytes();
        corpus.raw(Lane::TransparentTls, &format!("{host} as a server name"), hello, &[Reason::ClientHelloInvalid]);
    }
}

/// Never open, whatever the configuration says.
const V4: [(&str, &str); 32] = [
    ("unspecified", "0.0.0.0"), ("this network", "0.0.0.1"), ("the end of this network", "0.255.255.255"),
    ("protocol assignments", "192.0.0.0"), ("a NAT64 discovery address", "192.0.0.170"), ("the end of the assignments", "192.0.0.255"),
    ("documentation 1", "192.0.2.0"), ("documentation 1", "192.0.2.1"), ("the end of documentation 1", "192.0.2.255"),
    ("documentation 2", "198.51.100.0"), ("the end of documentation 2", "198.51.100.255"),
    ("documentation 3", "203.0.113.0"), ("the end of documentation 3", "203.0.113.255"),
    ("6to4 relays", "192.88.99.0"), ("the end of 6to4 relays", "192.88.99.255"),
    ("benchmarking", "198.18.0.0"), ("benchmarking", "198.18.0.1"), ("the end of benchmarking", "198.19.255.255"),
    ("multicast", "224.0.0.0"), ("all hosts", "224.0.0.1"), ("mDNS", "224.0.0.251"), ("SSDP", "239.255.255.250"), ("the end of multicast", "239.255.255.255"),
    ("reserved", "240.0.0.0"), ("reserved", "240.0.0.1"), ("reserved", "247.1.2.3"), ("reserved", "250.0.0.0"), ("reserved", "254.0.0.0"), ("reserved", "255.0.0.0"),
    ("the end of reserved", "255.255.255.254"), ("broadcast", "255.255.255.255"), ("a broadcast of old", "0.0.0.255"),
];
/// Open only where the configuration names that very host and port.
const V4_OPENABLE: [(&str, &str); 18] = [
    ("loopback", "127.0.0.1"), ("the start of loopback", "127.0.0.0"), ("loopback", "127.1.2.3"), ("the end of loopback", "127.255.255.255"),
    ("private 10", "10.0.0.0"), ("private 10", "10.0.0.1"), ("the end of private 10", "10.255.255.255"),
    ("private 172", "172.16.0.0"), ("private 172", "172.17.0.1"), ("the end of private 172", "172.31.255.255"),
    ("private 192", "192.168.0.0"), ("private 192", "192.168.1.1"), ("the end of private 192", "192.168.255.255"),
    ("carrier NAT", "100.64.0.0"), ("carrier NAT", "100.100.100.1"), ("the end of carrier NAT", "100.127.255.255"),
    ("link-local", "169.254.0.1"), ("the end of link-local", "169.254.255.255"),
];
const V4_NEIGHBOURS: [&str; 26] = [
    "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
    "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
    "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "8.8.8.8",
];
const EMBEDDED: [(&str, &str); 24] = [
    ("unspecified, mapped", "::ffff:0.0.0.0"),
    ("a metadata service, mapped", "::ffff:169.254.169.254"),
    ("a metadata service, mapped, in hexadecimal", "::ffff:a9fe:a9fe"),
    ("multicast, mapped", "::ffff:224.0.0.1"),
    ("broadcast, mapped", "::ffff:255.255.255.255"),
    ("loopback, compatible", "::127.0.0.1"),
    ("a public address, compatible", "::8.8.8.8"),
    ("a private address, compatible", "::10.0.0.1"),
    ("loopback, translated", "::ffff:0:127.0.0.1"),
    ("a metadata service, translated", "::ffff:0:169.254.169.254"),
    ("a metadata service by NAT64", "64:ff9b::169.254.169.254"),
    ("unspecified by NAT64", "64:ff9b::"),
    ("a public address by a local NAT64", "64:ff9b:1::8.8.8.8"),
    ("loopback by a local NAT64", "64:ff9b:1::127.0.0.1"),
    ("loopback by 6to4", "2002:7f00:1::1"),
    ("a metadata service by 6to4", "2002:a9fe:a9fe::1"),
    ("a private address by 6to4", "2002:a00:1::1"),
    ("a public address by 6to4", "2002:808:808::1"),
    ("Teredo", "2001::1"),
    ("Teredo with a private client", "2001:0:4136:e378:8000:63bf:f5ff:fffe"),
    ("ISATAP on a public prefix", "2600::5efe:7f00:1"),
    ("ISATAP on a public prefix, global", "2600::200:5efe:808:808"),
    ("ISATAP on link-local", "fe80::5efe:a9fe:a9fe"),
    ("ISATAP on a unique local prefix", "fd00::200:5efe:a00:1"),
];
const EMBEDDED_OPENABLE: [(&str, &str); 7] = [
    ("loopback, mapped", "::ffff:127.0.0.1"),
    ("loopback, mapped, in hexadecimal", "::ffff:7f00:1"),
    ("a private address, mapped", "::ffff:10.0.0.1"),
    ("a private address, mapped", "::ffff:192.168.1.1"),
    ("carrier NAT, mapped", "::ffff:100.64.0.1"),
    ("loopback by NAT64", "64:ff9b::127.0.0.1"),
    ("a private address by NAT64", "64:ff9b::10.0.0.1"),
];
const V6: [(&str, &str); 30] = [
    ("unspecified", "::"),
    ("site-local", "fec0::1"), ("the start of site-local", "fec0::"), ("the end of site-local", "feff:ffff::1"),
    ("multicast on the interface", "ff01::1"), ("multicast on the link", "ff02::1"), ("mDNS", "ff02::fb"), ("all routers", "ff05::2"), ("global multicast", "ff0e::1"), ("the end of multicast", "ffff::1"),
    ("discard", "100::"), ("discard", "100::1"), ("the dummy prefix", "100:0:0:1::1"),
    ("documentation", "2001:db8::"), ("documentation", "2001:db8::1"), ("the new documentation prefix", "3fff::1"), ("the end of the new prefix", "3fff:fff::1"),
    ("benchmarking", "2001:2::1"), ("ORCHID", "2001:10::1"), ("ORCHIDv2", "2001:20::1"), ("protocol assignments", "2001:1::1"), ("the end of the assignments", "2001:1ff::1"),
    ("SRv6", "5f00::1"), ("not global unicast", "1000::1"), ("not global unicast", "4000::1"), ("not global unicast", "8000::1"), ("not global unicast", "c000::1"), ("not global unicast", "e000::1"), ("not global unicast", "fbff::1"), ("not global unicast", "fe00::1"),
];
const V6_OPENABLE: [(&str, &str); 8] = [
    ("loopback", "::1"), ("unique local", "fc00::1"), ("unique local", "fd00::1"), ("the end of unique local", "fdff:ffff::1"),
    ("link-local", "fe80::1"), ("the start of link-local", "fe80::"), ("the end of link-local", "febf:ffff::1"), ("Docker's bridge", "fd00:dead:beef::1"),
];
const METADATA: [(&str, &str); 12] = [
    ("most clouds", "169.254.169.254"), ("ECS tasks", "169.254.170.2"), ("EKS pods", "169.254.170.23"),
    ("AWS over IPv6", "fd00:ec2::254"), ("EKS over IPv6", "fd00:ec2::23"), ("Google over IPv6", "fd20:ce::254"),
    ("Azure's wire server, which is a public address", "168.63.129.16"), ("Alibaba, in carrier NAT", "100.100.100.200"),
    ("most clouds, mapped", "::ffff:169.254.169.254"), ("Azure, mapped", "::ffff:168.63.129.16"),
    ("Alibaba by NAT64", "64:ff9b::100.100.100.200"), ("Azure by NAT64", "64:ff9b::168.63.129.16"),
];

fn bracketed(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }
}

fn ranges(corpus: &mut Corpus<'_>, rows: &[(&str, &'static str)], openable: bool) {
    for (what, ip) in rows {
        let ip = *ip;
        corpus.foreign(&format!("{what}, {ip}"), &bracketed(ip));
        corpus.check(format!("an allowed name that resolves to {what}, {ip}"), move || {
            in_process::judges_answers(&[ip], false)
        });
        if !openable {
            corpus.check(format!("{what}, {ip}, named as an upstream"), move || {
                in_process::cannot_be_opened(ip)
            });
        }
    }
}

/// Just outside: open to an allowed name. A range that is drawn too wide would break the network.
fn neighbours(corpus: &mut Corpus<'_>, ips: &[&'static str]) {
    for ip in ips {
        let ip = *ip;
        corpus.check(format!("an allowed name may resolve to {ip}"), move || {
            in_process::judges_answers(&[ip], true)
        });
        corpus.foreign(&format!("a public address that no rule names, {ip}"), &bracketed(ip));
    }
}

fn own_listeners(corpus: &mut Corpus<'_>) {
    corpus.group(17);
    for own in corpus.ground.own.clone() {
        let port = own.port();
        for (what, host) in [
            ("its own address", "127.0.0.1"),
            ("localhost", "localhost"),
            ("another loopback address", "127.0.0.2"),
            ("the unspecified address", "0.0.0.0"),
            ("IPv6 loopback", "[::1]"),
            ("the unspecified IPv6 address", "[::]"),
            ("mapped loopback", "[::ffff:127.0.0.1]"),
            ("a name below localhost", "airlock.localhost"),
        ] {
            let authority = format!("{host}:{port}");
            let sentence = format!("back into airlock by {what}, port {port}");
            for (lane, bytes) in [
                (Lane::ExplicitPlain, plain(&authority)),
                (Lane::ConnectTunnel, connect(&authority)),
                (Lane::TransparentHttp, origin(&authority)),
            ] {
                let expected = corpus.by_rule(corpus.reason_for(host));
                let case = corpus.push(lane, &sentence, Opening::Direct, vec![Step::Send(bytes)], expected);
                case.destination = Authority::parse(&authority, None).ok();
            }
        }
    }
    for (listener, asked) in [
        ("127.0.0.1:3128", "127.0.0.1:3128"),
        ("127.0.0.1:3128", "[::ffff:127.0.0.1]:3128"),
        ("127.0.0.1:3128", "0.0.0.0:3128"),
        ("127.0.0.1:3128", "[::]:3128"),
        ("0.0.0.0:8787", "127.0.0.1:8787"),
        ("0.0.0.0:8787", "127.3.2.1:8787"),
        ("[::]:9464", "127.0.0.1:9464"),
        ("[::]:9464", "[::1]:9464"),
        ("[::1]:9464", "[::1]:9464"),
        ("192.168.1.2:3128", "192.168.1.2:3128"),
        ("192.168.1.2:3128", "[::ffff:192.168.1.2]:3128"),
    ] {
        corpus.check(
            format!("a permitted name that resolves to {asked}, where {listener} listens"),
            move || in_process::is_own(listener, asked),
        );
    }
}

fn mixed(corpus: &mut Corpus<'_>) {
    corpus.group(18);
    for (what, answers) in [
        ("a public and a private address", &["8.8.8.8", "10.0.0.1"][..]),
        ("a private and a public address", &["10.0.0.1", "8.8.8.8"]),
        ("a public address and loopback", &["8.8.8.8", "127.0.0.1"]),
        ("a public A and a private AAAA", &["8.8.8.8", "fd00::1"]),
        ("a public AAAA and a private A", &["2600::1", "192.168.0.1"]),
        ("a public A and IPv6 loopback", &["8.8.8.8", "::1"]),
        ("a public A and a metadata service", &["8.8.8.8", "169.254.169.254"]),
        ("a public A and a mapped metadata service", &["8.8.8.8", "::ffff:169.254.169.254"]),
        ("fifteen public addresses and a private one", &["8.8.8.1", "8.8.8.2", "8.8.8.3", "8.8.8.4", "8.8.8.5", "8.8.8.6", "8.8.8.7", "8.8.8.8", "8.8.8.9", "8.8.8.10", "8.8.8.11", "8.8.8.12", "8.8.8.13", "8.8.8.14", "8.8.8.15", "10.0.0.1"]),
    ] {
        corpus.check(format!("an allowed name that resolves to {what}"), move || {
            in_process::judges_answers(answers, false)
        });
    }
    corpus.check("an allowed name that resolves to two public addresses", || {
        in_process::judges_answers(&["8.8.8.8", "2600::1"], true)
    });
}
