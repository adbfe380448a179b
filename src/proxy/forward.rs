//! Sending a request on: the peer to dial, and what headers may cross.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, header};
use pingora::{http::RequestHeader, protocols::ALPN, upstreams::peer::HttpPeer};

use super::{
    arrival::Arrival, body::Framing, carries::Carries, denial::Denial, services::Services,
    upgrade::UpgradeGate,
};
use crate::{
    net::{Entry, Host, Port},
    policy::{Reason, RuleName, address::CheckedAddr},
    upstream::{
        connector::ProxiedConnector, dial::Way, lent::LendingConnector, pinned::PinnedConnector,
        private_ca::Trust,
    },
};

/// Where a forwarded request goes.
pub struct Destination {
    pub peer: Box<HttpPeer>,
    pub leaves_machine: bool,
    /// `None`: only the site's proxy knows it.
    pub address: Option<SocketAddr>,
    /// How many addresses there are to try.
    pub addresses: usize,
    /// Neither TLS nor a site's proxy lies between.
    pub plain: bool,
    /// The private CAs that certificates are judged by, as [`PrivateCas::generation`] counts.
    ///
    /// [`PrivateCas::generation`]: crate::upstream::private_ca::PrivateCas::generation
    pub trusted: Option<u64>,
}

impl Destination {
    /// Has the connection given back behind the switch. It is one of its own: a pooled one cannot be.
    pub fn lend(&mut self, services: &Services, gate: &UpgradeGate) {
        if self.plain {
            let lending = gate.lending().clone();
            let connector = LendingConnector::new(services.connector.clone(), lending);
            self.peer.options.custom_l4 = Some(Arc::new(connector));
            self.peer.group_key = !self.peer.group_key;
        }
    }
}

/// What was allowed, and is not after all.
pub fn refusal(reason: Reason, arrival: &Arrival, rule: &RuleName) -> Denial {
    Denial {
        reason,
        rule: rule.clone(),
        authority: Some(arrival.authority.clone()),
        detail: None,
        method: String::new(),
        path: arrival.path().to_owned(),
    }
}

/// Resolves, checks and describes the upstream of `arrival`. The peer holds a checked address;
/// Pingora never sees a name to resolve.
pub async fn destination(
    services: &Services,
    arrival: &Arrival,
    rule: &RuleName,
    attempt: usize,
) -> Result<Destination, Denial> {
    let refuse = |reason, detail: String| Denial {
        detail: Some(detail),
        ..refusal(reason, arrival, rule)
    };
    if speaks_tls(services, arrival) && rewritten_by_pingora(&arrival.authority.host) {
        let words = "a name with _ in its first label cannot be verified; use one without";
        return Err(refuse(Reason::UpstreamTlsFailed, words.into()));
    }
    let authority = &arrival.authority;
    let way = services
        .dialer
        .way(authority)
        .await
        .map_err(|e| refuse(e.reason, e.detail))?;
    let Way { addresses, proxy } = way;
    let Some(address) = addresses.get(attempt % addresses.len().max(1)) else {
        return Err(refuse(
            Reason::ResolveFailed,
            "name does not resolve".into(),
        ));
    };
    let mut peer = peer(services, arrival, address);
    let peer_speaks_tls = peer.is_tls();
    let through_proxy = proxy.is_some();
    let mut trusted = None;
    match proxy {
        Some(proxy) => {
            peer.group_key = proxy.pool_of(authority);
            let sockets = services.connector.clone();
            let connector = ProxiedConnector::new(sockets, proxy, authority.clone());
            peer.options.custom_l4 = Some(Arc::new(connector));
        }
        None => {
            let private_cas = services.private_cas.load();
            match private_cas.of(authority) {
                Some(Trust::Ca(ca)) => peer.options.ca = Some(ca),
                Some(Trust::Own(config)) if peer.is_tls() => {
                    let name = rustls::pki_types::ServerName::try_from(peer.sni.clone())
                        .map_err(|e| refuse(Reason::UpstreamTlsFailed, e.to_string()))?;
                    let timeout = services.limits.connect_timeout;
                    let tls = PinnedConnector::new(&services.connector, config, name, timeout);
                    // Plain to Pingora; the name keeps it apart from connections in the clear.
                    peer.scheme = pingora::upstreams::peer::Scheme::HTTP;
                    peer.options.custom_l4 = Some(Arc::new(tls));
                }
                Some(Trust::Own(_)) | None => {}
            }
            peer.group_key = private_cas.generation();
            trusted = peer_speaks_tls.then(|| private_cas.generation());
        }
    }
    if repeatable(arrival.framing) {
        peer.group_key = pool_key(peer.group_key, arrival.started);
    } else {
        // A connection of its own, before and after.
        peer.group_key = arrival.id.as_u64_pair().1;
        peer.options.idle_timeout = Some(Duration::ZERO);
    }
    Ok(Destination {
        peer: Box::new(peer),
        address: (!through_proxy).then_some(address.socket()),
        leaves_machine: through_proxy || !address.socket().ip().is_loopback(),
        addresses: addresses.len(),
        plain: !through_proxy && !speaks_tls(services, arrival),
        trusted,
    })
}

/// Pingora puts `a-b.c.test` into SNI and asks for a certificate of that name where `a_b.c.test` was
/// judged: another host. (Its `replace_leftmost_underscore`.)
fn rewritten_by_pingora(host: &Host) -> bool {
    host.as_name()
        .and_then(|name| name.split_once('.'))
        .is_some_and(|(first, rest)| first.contains('_') && rest.contains('.'))
}

/// Whether the upstream is spoken to in TLS, and so which port its Host may leave out.
fn speaks_tls(services: &Services, arrival: &Arrival) -> bool {
    if arrival.for_comfyui().is_some() {
        return services.routes.door.as_ref().is_some_and(|door| door.tls);
    }
    match arrival.route.and_then(|r| services.routes.routes.get(r)) {
        Some(route) => route.tls,
        // A base URL of the reverse entry stands for the vendor's https.
        None => match arrival.connection.entry {
            Entry::Reverse | Entry::FrontDoor | Entry::Models => true,
            Entry::Explicit | Entry::Transparent => arrival.connection.tls,
        },
    }
}

fn peer(services: &Services, arrival: &Arrival, address: &CheckedAddr) -> HttpPeer {
    let tls = speaks_tls(services, arrival);
    let sni = match &arrival.authority.host {
        // Of no use in the clear; the address is what is dialled.
        _ if !tls => String::new(),
        Host::Name(name) => name.to_string(),
        Host::Ip(ip) => ip.to_string(),
    };
    let mut peer = HttpPeer::new(address.socket(), tls, sni);
    let limits = &services.limits;
    peer.options.connection_timeout = Some(limits.connect_timeout);
    peer.options.total_connection_timeout = Some(limits.connect_timeout * 2);
    // An idle WebSocket is not a broken one.
    peer.options.read_timeout = (!arrival.upgrade).then_some(limits.upstream_timeout);
    peer.options.write_timeout = Some(limits.upstream_timeout);
    peer.options.alpn = ALPN::H1;
    peer.options.custom_l4 = Some(services.connector.clone());
    peer
}

/// How long an idle connection may be used again, roughly: a timer on each would cost every request
/// more than judging it, so the pool's key changes instead. One that its server closes meanwhile
/// leaves the pool at once, the number of idle ones is bounded ([`super::Limits::idle_upstreams`]).
const POOL_LIFE: Duration = Duration::from_secs(30);
/// Pingora repeats a request that met a connection just being closed, if it still has the body; it
/// keeps this much.
const REPEATABLE: u64 = 64 << 10;

/// Whether Pingora keeps the whole body until the response begins.
fn repeatable(framing: Framing) -> bool {
    match framing {
        Framing::Nothing => true,
        Framing::Length(length) => length <= REPEATABLE,
        Framing::Chunked => false,
    }
}

/// Which idle connections a request may use: those of its own time and trust.
fn pool_key(key: u64, started: Instant) -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let slot = started.saturating_duration_since(*BEGAN).as_secs() / POOL_LIFE.as_secs();
    // Spread, so that two of these never meet by counting up.
    key ^ slot.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Request headers that end here: hop-by-hop ones, ours, and those that say where a request came
/// from or goes to. A client cannot steer the next hop, which learns nothing about this network.
pub fn stays_here(name: &HeaderName) -> bool {
    // Servers that speak CGI's language read `X_Forwarded_For` as `X-Forwarded-For`.
    let dashed;
    let name = match name.as_str() {
        name if name.contains('_') => {
            dashed = name.replace('_', "-");
            &dashed
        }
        name => name,
    };
    match name {
        "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "http2-settings" => true,
        "forwarded" | "x-forwarded" | "via" | "x-real-ip" => true,
        "x-host" | "x-http-host-override" => true,
        "x-http-method" | "x-http-method-override" | "x-method-override" => true,
        name => [
            "proxy-",
            "x-airlock-",
            "x-forwarded-",
            "x-original-",
            "x-rewrite-",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix)),
    }
}

/// Prepares what goes upstream. Our own headers go on last, after the nominated ones are gone.
pub fn request_header(
    services: &Services,
    arrival: &Arrival,
    upstream: &mut RequestHeader,
) -> pingora::Result<()> {
    let upgrade = match arrival.upgrade {
        true => upstream.headers.get(header::UPGRADE).cloned(),
        false => None,
    };
    if arrival.carries.any(Carries::CONNECTION) {
        for name in nominated(&upstream.headers) {
            upstream.remove_header(&name);
        }
    }
    for name in named(&upstream.headers, stays_here) {
        upstream.remove_header(&name);
    }
    if arrival.rewritten {
        upstream.set_raw_path(arrival.target.as_bytes())?;
    }
    let route = arrival.route.and_then(|r| services.routes.routes.get(r));
    let came = sole_value(&upstream.headers, &header::HOST).unwrap_or_default();
    let (authority, port) = match arrival.for_comfyui() {
        // As the browser called it: ComfyUI compares it with Origin, which passes unchanged.
        Some(door) => (&door.called, arrival.connection.default_port()),
        None if speaks_tls(services, arrival) => (&arrival.authority, Port::HTTPS),
        None => (&arrival.authority, Port::HTTP),
    };
    match route {
        Some(route) if *came == *route.host => {}
        Some(route) => upstream.insert_header(header::HOST, &route.host)?,
        None if authority.is_written(came, port) => {}
        None => upstream.insert_header(header::HOST, authority.without_port(port))?,
    }
    if let Some(protocol) = upgrade {
        upstream.insert_header(header::UPGRADE, protocol)?;
        upstream.insert_header(header::CONNECTION, "upgrade")?;
    }
    Ok(())
}

/// Header names that `Connection` nominates as hop-by-hop.
pub fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|token| HeaderName::try_from(token.trim()).ok())
        // Framing and routing are ours to judge, not the client's to remove (CVE-2026-105299).
        .filter(|name| {
            ![
                header::HOST,
                header::CONTENT_LENGTH,
                header::TRANSFER_ENCODING,
            ]
            .contains(name)
        })
        .collect()
}

/// One pass over the names that are there beats a look-up of each that might be.
pub(super) fn named(headers: &HeaderMap, wanted: fn(&HeaderName) -> bool) -> Vec<HeaderName> {
    headers
        .keys()
        .filter(|name| wanted(name))
        .cloned()
        .collect()
}

fn sole_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_used_again_for_half_a_minute_by_its_like_alone() {
        let now = Instant::now();
        // The first question sets the clock.
        let key = pool_key(7, now);
        assert_eq!(pool_key(7, now), key);
        assert_ne!(pool_key(8, now), key);
        assert_ne!(pool_key(7, now + 2 * POOL_LIFE), key);
    }

    #[test]
    fn what_pingora_could_not_send_twice_gets_a_connection_of_its_own() {
        for (framing, expected) in [
            (Framing::Nothing, true),
            (Framing::Length(0), true),
            (Framing::Length(REPEATABLE), true),
            (Framing::Length(REPEATABLE + 1), false),
            (Framing::Chunked, false),
        ] {
            assert_eq!(repeatable(framing), expected, "{framing:?}");
        }
    }

    #[test]
    fn hop_by_hop_nomination_cannot_remove_framing_or_host() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONNECTION,
            "close, X-Secret, Host, Content-Length".parse().unwrap(),
        );
        let names = nominated(&headers);
        assert!(names.contains(&HeaderName::from_static("x-secret")));
        assert!(!names.contains(&header::HOST) && !names.contains(&header::CONTENT_LENGTH));
    }
}
