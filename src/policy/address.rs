//! The address checkpoint: after resolution, before the dial. Only a [`CheckedAddr`] can be dialled.
//!
//! Called by `upstream` for every resolved address and every literal, on every attempt.

use std::net::{IpAddr, SocketAddr};

use crate::net::{AddressClass, Authority, Host, address::nat64, classify};

use super::Reason;

/// Which closed addresses the configuration opens: exactly those of upstreams that it names.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// A handful: comparing them is quicker than hashing one.
    permitted: Vec<Authority>,
    public_closed: bool,
    #[cfg(test)]
    loopback_open: bool,
}

impl AddressPolicy {
    /// Everything but public addresses is closed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this host, on this port, live at a loopback or private address.
    pub fn permit_private(&mut self, authority: Authority) {
        if !self.permitted.contains(&authority) {
            self.permitted.push(authority);
        }
    }

    /// Closes public addresses too, whatever rules say (`DISABLE_EXTERNAL_CONNECTIONS`).
    pub fn close_public(&mut self) {
        self.public_closed = true;
    }

    pub fn closes_public(&self) -> bool {
        self.public_closed
    }

    /// Opens loopback for a unit test whose peers have ports of their own choosing.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self {
            loopback_open: true,
            ..Self::default()
        }
    }

    /// In words, what is open here and was closed under `old`.
    pub fn opened_since(&self, old: &Self) -> Vec<String> {
        let mut opened: Vec<String> = self
            .permitted
            .iter()
            .filter(|opened| !old.permitted.contains(opened))
            .map(|authority| format!("{authority} may live at a private address"))
            .collect();
        opened.sort_unstable();
        if old.public_closed && !self.public_closed {
            opened.push("public addresses are open again".into());
        }
        opened
    }

    pub fn permits_private(&self, authority: &Authority) -> bool {
        #[cfg(test)]
        if self.loopback_open {
            return true;
        }
        self.permitted.contains(authority)
    }
}

/// An address that passed [`check`]: the proof that dialling takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedAddr {
    socket: SocketAddr,
    class: AddressClass,
}

impl CheckedAddr {
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    pub fn class(&self) -> AddressClass {
        self.class
    }
}

/// Judges one address that `authority` resolved to (or is).
///
/// An own listener bound to the unspecified address covers every loopback address with its port.
/// IPv4-mapped IPv6 is judged, compared and dialled as the IPv4 address it is.
pub fn check(
    authority: &Authority,
    addr: SocketAddr,
    policy: &AddressPolicy,
    own_listeners: &[SocketAddr],
) -> Result<CheckedAddr, Reason> {
    let ip = addr.ip().to_canonical();
    let port_agrees = addr.port() == authority.port.number();
    let literal_agrees = authority
        .host
        .as_ip()
        .is_none_or(|own| own.to_canonical() == ip);
    if !port_agrees || !literal_agrees {
        // The caller asks about another destination than the one that was judged.
        return Err(Reason::AddressClosed);
    }
    if own_listeners
        .iter()
        .any(|own| is_own(*own, ip, addr.port()))
    {
        return Err(Reason::OwnListener);
    }
    let class = classify(ip);
    let open = match class {
        AddressClass::Public => !policy.public_closed,
        class if class.openable() => policy.permits_private(authority),
        _ => false,
    };
    if !open {
        return Err(Reason::AddressClosed);
    }
    Ok(CheckedAddr {
        socket: SocketAddr::new(ip, addr.port()),
        class,
    })
}

/// Judges a destination that an upstream proxy looks up and dials, as far as its name tells: no
/// address is known that [`check`] could judge. A literal is judged like any other.
pub fn check_unresolved(
    authority: &Authority,
    policy: &AddressPolicy,
    own_listeners: &[SocketAddr],
) -> Result<(), Reason> {
    if let Host::Ip(ip) = authority.host {
        let socket = SocketAddr::new(ip, authority.port.number());
        return check(authority, socket, policy, own_listeners).map(drop);
    }
    let private = authority.host.is_private_name() && !policy.permits_private(authority);
    if policy.public_closed || private {
        return Err(Reason::AddressClosed);
    }
    Ok(())
}

fn is_own(listener: SocketAddr, ip: IpAddr, port: u16) -> bool {
    // The gateway of the network leads back to us.
    if let Some(inside) = nat64(ip) {
        return is_own(listener, inside.into(), port);
    }
    let own = listener.ip().to_canonical();
    listener.port() == port
        && (own == ip
            || own.is_unspecified() && (ip.is_loopback() || ip.is_unspecified())
            // Linux connects to this machine when asked for the unspecified address.
            || ip.is_unspecified() && own.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(s: &str) -> Authority {
        Authority::parse(s, None).unwrap()
    }

    #[test]
    fn addresses_after_resolution() {
        let mut policy = AddressPolicy::new();
        for upstream in [
            "sparkle:8000",
            "127.0.0.1:8000",
            "tail:80",
            "meta:80",
            "multi:80",
        ] {
            policy.permit_private(authority(upstream));
        }
        let own: Vec<SocketAddr> = [
            "127.0.0.1:3128",
            "0.0.0.0:8787",
            "[::]:9464",
            "203.0.113.7:443",
            "8.8.4.4:443",
        ]
        .map(|s| s.parse().unwrap())
        .to_vec();
        let closed = Err(Reason::AddressClosed);
        let ours = Err(Reason::OwnListener);
        let rows: &[(&str, &str, &str, Result<AddressClass, Reason>)] = &[
            (
                "public",
                "a.test:443",
                "8.8.8.8:443",
                Ok(AddressClass::Public),
            ),
            (
                "public, IPv6",
                "a.test:443",
                "[2606:4700::1]:443",
                Ok(AddressClass::Public),
            ),
            (
                "public, mapped",
                "a.test:443",
                "[::ffff:8.8.8.8]:443",
                Ok(AddressClass::Public),
            ),
            ("loopback of a name", "a.test:443", "127.0.0.1:443", closed),
            ("private", "a.test:443", "10.0.0.1:443", closed),
            (
                "private, mapped",
                "a.test:443",
                "[::ffff:10.0.0.1]:443",
                closed,
            ),
            ("metadata", "a.test:80", "169.254.169.254:80", closed),
            ("documentation", "a.test:80", "192.0.2.1:80", closed),
            (
                "a configured name",
                "sparkle:8000",
                "192.168.1.9:8000",
                Ok(AddressClass::Private),
            ),
            (
                "a configured address",
                "127.0.0.1:8000",
                "127.0.0.1:8000",
                Ok(AddressClass::Loopback),
            ),
            (
                "its neighbour port",
                "127.0.0.1:8001",
                "127.0.0.1:8001",
                closed,
            ),
            (
                "its neighbour address",
                "127.0.0.2:8000",
                "127.0.0.2:8000",
                closed,
            ),
            (
                "a configured name on another port",
                "sparkle:8001",
                "192.168.1.9:8001",
                closed,
            ),
            (
                "an overlay address",
                "tail:80",
                "100.100.1.1:80",
                Ok(AddressClass::Cgnat),
            ),
            (
                "metadata is never opened",
                "meta:80",
                "169.254.169.254:80",
                closed,
            ),
            (
                "multicast is never opened",
                "multi:80",
                "224.0.0.1:80",
                closed,
            ),
            (
                "the unspecified address is never opened",
                "multi:80",
                "0.0.0.0:80",
                closed,
            ),
            (
                "a port that was not judged",
                "a.test:443",
                "8.8.8.8:22",
                closed,
            ),
            (
                "an address that was not judged",
                "8.8.8.8:443",
                "8.8.4.4:443",
                closed,
            ),
            ("our own listener", "a.test:3128", "127.0.0.1:3128", ours),
            (
                "our own listener, mapped",
                "a.test:3128",
                "[::ffff:127.0.0.1]:3128",
                ours,
            ),
            (
                "our own listener by 0.0.0.0",
                "a.test:3128",
                "0.0.0.0:3128",
                ours,
            ),
            (
                "a wildcard listener by loopback",
                "a.test:8787",
                "127.9.9.9:8787",
                ours,
            ),
            (
                "a wildcard listener by IPv6 loopback",
                "a.test:8787",
                "[::1]:8787",
                ours,
            ),
            (
                "a v6 wildcard listener by IPv4",
                "a.test:9464",
                "127.0.0.1:9464",
                ours,
            ),
            (
                "a listener on a public address",
                "a.test:443",
                "8.8.4.4:443",
                ours,
            ),
            (
                "the same through a NAT64 gateway",
                "a.test:443",
                "[64:ff9b::8.8.4.4]:443",
                ours,
            ),
            (
                "its neighbour through the gateway",
                "a.test:443",
                "[64:ff9b::8.8.4.5]:443",
                Ok(AddressClass::Public),
            ),
        ];
        for (what, name, addr, want) in rows {
            let got = check(&authority(name), addr.parse().unwrap(), &policy, &own);
            assert_eq!(got.map(|c| c.class()), *want, "{what}");
        }
    }

    #[test]
    fn a_listener_on_one_address_does_not_stand_for_others() {
        let mut policy = AddressPolicy::new();
        policy.permit_private(authority("here:8000"));
        let own = ["192.168.1.5:8000".parse().unwrap()];
        for (to, want) in [
            ("127.0.0.1:8000", Ok(AddressClass::Loopback)),
            ("192.168.1.6:8000", Ok(AddressClass::Private)),
            ("192.168.1.5:8000", Err(Reason::OwnListener)),
            ("0.0.0.0:8000", Err(Reason::AddressClosed)),
        ] {
            let got = check(&authority("here:8000"), to.parse().unwrap(), &policy, &own);
            assert_eq!(got.map(|c| c.class()), want, "{to}");
        }
    }

    #[test]
    fn what_another_proxy_looks_up_is_judged_by_its_name() {
        let mut policy = AddressPolicy::new();
        policy.permit_private(authority("llm.internal:80"));
        policy.permit_private(authority("10.0.0.9:80"));
        let own = ["127.0.0.1:3128".parse().unwrap()];
        let closed = Err(Reason::AddressClosed);
        for (to, want) in [
            ("a.test.example.com:443", Ok(())),
            ("8.8.8.8:443", Ok(())),
            ("localhost:80", closed),
            ("other.internal:80", closed),
            ("llm.internal:80", Ok(())),
            ("llm.internal:81", closed),
            ("10.0.0.9:80", Ok(())),
            ("10.0.0.8:80", closed),
            ("169.254.169.254:80", closed),
            ("127.0.0.1:3128", Err(Reason::OwnListener)),
        ] {
            assert_eq!(
                check_unresolved(&authority(to), &policy, &own),
                want,
                "{to}"
            );
        }
        policy.close_public();
        for to in ["a.test.example.com:443", "8.8.8.8:443", "llm.internal:80"] {
            assert_eq!(
                check_unresolved(&authority(to), &policy, &own),
                closed,
                "{to}"
            );
        }
        assert_eq!(
            check_unresolved(&authority("10.0.0.9:80"), &policy, &own),
            Ok(())
        );
    }

    #[test]
    fn a_configured_upstream_cannot_open_our_own_listener() {
        let mut policy = AddressPolicy::new();
        policy.permit_private(authority("127.0.0.1:3128"));
        let own = ["127.0.0.1:3128".parse().unwrap()];
        let got = check(&authority("127.0.0.1:3128"), own[0], &policy, &own);
        assert_eq!(got, Err(Reason::OwnListener));
    }

    #[test]
    fn public_addresses_can_be_closed_and_configured_private_ones_stay_open() {
        let mut policy = AddressPolicy::new();
        policy.permit_private(authority("sparkle:8000"));
        policy.close_public();
        let dial = |name: &str, addr: &str| {
            check(&authority(name), addr.parse().unwrap(), &policy, &[]).map(|c| c.class())
        };
        assert_eq!(
            dial("a.test:443", "8.8.8.8:443"),
            Err(Reason::AddressClosed)
        );
        assert_eq!(
            dial("sparkle:8000", "8.8.8.8:8000"),
            Err(Reason::AddressClosed)
        );
        assert_eq!(
            dial("sparkle:8000", "10.0.0.9:8000"),
            Ok(AddressClass::Private)
        );
    }

    #[test]
    fn mapped_addresses_are_dialled_as_ipv4() {
        let addr = "[::ffff:8.8.8.8]:443".parse().unwrap();
        let got = check(&authority("a.test:443"), addr, &AddressPolicy::new(), &[]).unwrap();
        assert_eq!(got.socket(), "8.8.8.8:443".parse().unwrap());
    }
}
