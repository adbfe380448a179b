//! Sending a request on: the peer to dial, and what headers may cross.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    protocols::ALPN,
    upstreams::peer::HttpPeer,
};

use super::{arrival::Arrival, denial::Denial, services::Services};
use crate::{
    net::Host,
    policy::{Reason, RuleName, address::CheckedAddr},
};

/// Where a forwarded request goes.
pub struct Destination {
    pub peer: Box<HttpPeer>,
    pub leaves_machine: bool,
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
        reason,
        rule: rule.clone(),
        authority: Some(arrival.authority.clone()),
        detail: Some(detail),
        method: String::new(),
        path: arrival.path().to_owned(),
    };
    let addresses = services
        .dialer
        .check(&arrival.authority)
        .await
        .map_err(|e| refuse(e.reason, e.detail))?;
    let Some(address) = addresses.get(attempt % addresses.len().max(1)) else {
        return Err(refuse(
            Reason::ResolveFailed,
            "name does not resolve".into(),
        ));
    };
    let mut peer = peer(services, arrival, address);
    peer.options.ca = services.private_cas.of(&arrival.authority);
    Ok(Destination {
        peer: Box::new(peer),
        leaves_machine: !address.socket().ip().is_loopback(),
    })
}

fn peer(services: &Services, arrival: &Arrival, address: &CheckedAddr) -> HttpPeer {
    let tls = match arrival.route.and_then(|r| services.routes.routes.get(r)) {
        Some(route) => route.tls,
        None => arrival.connection.tls,
    };
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
    peer.options.idle_timeout = Some(Duration::from_secs(60));
    peer.options.alpn = ALPN::H1;
    peer.options.custom_l4 = Some(services.connector.clone());
    peer
}

/// Request headers that end here: hop-by-hop ones, ours, and those that say where a request came
/// from or goes to. A client cannot steer the next hop, which learns nothing about this network.
fn stays_here(name: &HeaderName) -> bool {
    match name.as_str() {
        "connection" | "keep-alive" | "te" | "trailer" | "upgrade" => true,
        "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" => true,
        "x-original-url" | "x-rewrite-url" | "x-http-method-override" => true,
        name => name.starts_with("proxy-") || name.starts_with("x-airlock-"),
    }
}

/// Response headers that would open another door beside this one, or pass for ours.
fn opens_a_door(name: &HeaderName) -> bool {
    match name.as_str() {
        "alt-svc" | "nel" | "report-to" | "reporting-endpoints" => true,
        name => name.starts_with("x-airlock-"),
    }
}

/// Prepares what goes upstream. Our own headers go on last, after the nominated ones are gone.
pub fn request_header(
    services: &Services,
    arrival: &Arrival,
    upstream: &mut RequestHeader,
) -> pingora::Result<()> {
    let upgrade = upstream
        .headers
        .get(header::UPGRADE)
        .filter(|_| arrival.upgrade)
        .cloned();
    for name in nominated(&upstream.headers) {
        upstream.remove_header(&name);
    }
    for name in named(&upstream.headers, stays_here) {
        upstream.remove_header(&name);
    }
    if arrival.rewritten {
        upstream.set_raw_path(arrival.target.as_bytes())?;
    }
    let route = arrival.route.and_then(|r| services.routes.routes.get(r));
    let ours;
    let host = match route {
        Some(route) => &route.host,
        None => {
            ours = arrival
                .authority
                .without_port(arrival.connection.default_port());
            &ours
        }
    };
    if sole_value(&upstream.headers, &header::HOST) != Some(host.as_bytes()) {
        upstream.insert_header(header::HOST, host)?;
    }
    if let Some(protocol) = upgrade {
        upstream.insert_header(header::UPGRADE, protocol)?;
        upstream.insert_header(header::CONNECTION, "upgrade")?;
    }
    Ok(())
}

/// Strips what an upstream must not say to the client.
pub fn response_header(response: &mut ResponseHeader) {
    for name in named(&response.headers, opens_a_door) {
        response.remove_header(&name);
    }
}

/// Header names that `Connection` nominates as hop-by-hop.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
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
fn named(headers: &HeaderMap, wanted: fn(&HeaderName) -> bool) -> Vec<HeaderName> {
    headers
        .keys()
        .filter(|name| wanted(name))
        .cloned()
        .collect()
}

fn sole_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    values
        .next()
        .filter(|_| values.next().is_none())
        .map(|v| v.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_upstream_cannot_open_another_door_or_forge_our_marker() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        response.insert_header("alt-svc", "h3=\":443\"").unwrap();
        response
            .insert_header("x-airlock-decision", "allow")
            .unwrap();
        response.insert_header("x-kept", "1").unwrap();
        response_header(&mut response);
        let left: Vec<_> = response.headers.keys().map(|k| k.as_str()).collect();
        assert_eq!(left, ["x-kept"]);
    }
}
