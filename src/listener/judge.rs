//! What a request head is about: the one authority and the one path, or a refusal.
//!
//! URI, Host, tunnel and entry must all say the same. Pure; called by `listener::http`.

use std::{borrow::Cow, sync::Arc, time::Instant};

use super::head::{Head, Target};
use crate::net::Entry;
use crate::{
    net::Authority,
    page,
    policy::{Reason, RuleName, path},
    proxy::{Arrival, AtDoor, Connection, Denial, Routes, request_id},
};

/// Turns a parsed head into an [`Arrival`].
pub fn arrival(
    routes: &Routes,
    connection: &Arc<Connection>,
    head: &Head,
    started: Instant,
) -> Result<Arrival, Denial> {
    let (mut route, mut door) = (None, None);
    let (authority, raw_target) = match connection.entry {
        _ if connection.bound_to.is_some() => borrowed(bound(connection, head)?),
        Entry::Explicit => borrowed(explicit(head)?),
        Entry::Reverse => {
            let (authority, target, found) = reverse(routes, head)?;
            route = found;
            borrowed((authority, target))
        }
        Entry::Transparent => borrowed(transparent(head)?),
        Entry::FrontDoor => {
            let (authority, target, at) = front_door(routes, head)?;
            door = Some(at);
            (authority, target)
        }
        // Nobody comes by it: it is what our own requests are judged under.
        Entry::Models => {
            return Err(Denial::early(
                Reason::WrongEntry,
                "no request arrives by this entry",
            ));
        }
    };
    let refuse = |reason, detail: String| Denial {
        reason,
        rule: RuleName::none(),
        authority: Some(authority.clone()),
        detail: Some(detail),
        method: head.method.to_string(),
        path: String::new(),
    };
    let (raw_path, query) = match raw_target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*raw_target, None),
    };
    let canonical = match &door {
        Some(at) if at.for_comfyui => path::canonical_with_slashes(raw_path),
        Some(_) | None => path::canonical(raw_path),
    };
    let canonical = canonical.map_err(|e| refuse(Reason::MalformedRequest, e.to_string()))?;
    if query.is_some_and(|q| q.contains(['"', '<', '>'])) {
        let words = "the query holds a character that must be percent-encoded";
        return Err(refuse(Reason::MalformedRequest, words.into()));
    }
    let path_length = canonical.len();
    let target: Arc<str> = match query {
        // The usual case: it is what came.
        Some(_) if canonical == raw_path => Arc::from(&*raw_target),
        Some(query) => format!("{canonical}?{query}").into(),
        None => Arc::from(&*canonical),
    };
    let rewritten = !matches!(&head.target, Target::Origin(t) if **t == *target);
    if let Some(protocol) = &head.upgrade
        && protocol != "websocket"
    {
        // h2c and the like would leave the pipeline's sight.
        return Err(refuse(
            Reason::UpgradeNotAllowed,
            "only WebSocket upgrades are known".into(),
        ));
    }
    Ok(Arrival {
        connection: connection.clone(),
        id: request_id(),
        started,
        authority,
        target,
        path_length,
        framing: head.framing,
        carries: head.carries,
        upgrade: head.upgrade.is_some(),
        gate: head.upgrade.as_ref().map(|_| Arc::default()),
        rewritten,
        route,
        proxy_key: head.proxy_key.clone(),
        door,
    })
}

fn borrowed((authority, target): (Authority, &str)) -> (Authority, Cow<'_, str>) {
    (authority, Cow::Borrowed(target))
}

fn mismatch(authority: &Authority, detail: String) -> Denial {
    Denial {
        reason: Reason::AuthorityMismatch,
        rule: RuleName::none(),
        authority: Some(authority.clone()),
        detail: Some(detail),
        method: String::new(),
        path: String::new(),
    }
}

fn agree(head: &Head, authority: &Authority) -> Result<(), Denial> {
    match &head.host {
        Some(host) if host != authority => Err(mismatch(
            authority,
            format!("Host says {host}, the request goes to {authority}"),
        )),
        Some(_) | None => Ok(()),
    }
}

fn origin(head: &Head) -> Option<&str> {
    match &head.target {
        Target::Origin(target) => Some(target),
        Target::Asterisk => Some("/"),
        Target::Absolute { .. } | Target::Authority(_) => None,
    }
}

const FORM: &str = "this request form is not spoken here";

/// Inside an intercepted tunnel or behind a transparent TLS listener.
fn bound<'h>(connection: &Connection, head: &'h Head) -> Result<(Authority, &'h str), Denial> {
    let Some(authority) = &connection.bound_to else {
        return Err(Denial::early(
            Reason::Internal,
            "connection has no authority",
        ));
    };
    let target = origin(head).ok_or_else(|| Denial::early(Reason::WrongEntry, FORM))?;
    agree(head, authority)?;
    Ok((authority.clone(), target))
}

fn explicit(head: &Head) -> Result<(Authority, &str), Denial> {
    let Target::Absolute { authority, path } = &head.target else {
        return Err(Denial::early(
            Reason::WrongEntry,
            "this is a proxy port: set it as HTTP_PROXY, or use the reverse port as a base URL",
        ));
    };
    agree(head, authority)?;
    Ok((authority.clone(), path))
}

fn reverse<'h>(
    routes: &Routes,
    head: &'h Head,
) -> Result<(Authority, &'h str, Option<usize>), Denial> {
    let target = origin(head).ok_or_else(|| {
        Denial::early(
            Reason::WrongEntry,
            "this is a base URL; the proxy port is listeners.explicit",
        )
    })?;
    // A page of a foreign site that rebinds its name to loopback shows itself by its Host.
    if let Some(host) = head.host.as_ref().filter(|h| !routes.host_is_ours(&h.host)) {
        return Err(mismatch(
            host,
            "Host is no name of this listener; use its address".into(),
        ));
    }
    // The route is chosen by the path that is judged and sent, or `/a/../b` would go by the route of
    // `/a`. A path without a canonical form is refused by the caller.
    let raw = target.split('?').next().unwrap_or_default();
    let path = path::canonical(raw).unwrap_or(Cow::Borrowed(raw));
    match routes.find(&path) {
        None => Ok((routes.vendor.clone(), target, None)),
        Some(index) => match routes.routes.get(index) {
            Some(route) => Ok((route.authority.clone(), target, Some(index))),
            None => Err(Denial::early(Reason::Internal, "route is gone")),
        },
    }
}

/// Our own paths are for the stand-ins and the gateway, by the vendor's name as elsewhere, or for the
/// front door itself; everything else is for ComfyUI.
fn front_door<'h>(
    routes: &Routes,
    head: &'h Head,
) -> Result<(Authority, Cow<'h, str>, AtDoor), Denial> {
    let Some(door) = &routes.door else {
        return Err(Denial::early(Reason::Internal, "there is no front door"));
    };
    let target = origin(head).ok_or_else(|| {
        Denial::early(
            Reason::WrongEntry,
            "this is ComfyUI's front door; the proxy port is listeners.explicit",
        )
    })?;
    let called = head
        .host
        .clone()
        .ok_or_else(|| Denial::early(Reason::BadAuthority, "the front door needs a Host"))?;
    if let Err(fault) = door.names.admits(&called.host) {
        return Err(Denial {
            reason: Reason::HostNotAllowed,
            ..mismatch(&called, fault.to_string())
        });
    }
    let at = |for_comfyui| AtDoor {
        called: called.clone(),
        for_comfyui,
    };
    let (raw, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    // Chosen by the path that is judged and sent, as for the routes of `reverse`.
    let path = path::canonical_with_slashes(raw).unwrap_or(Cow::Borrowed(raw));
    let below = |prefix: &str| {
        path.strip_prefix(prefix)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(rest) = below(page::COPILOT_PATH).or_else(|| below(page::LLM_PATH)) {
        return Ok((
            routes.vendor.clone(),
            format!("{rest}{query}").into(),
            at(false),
        ));
    }
    if below(page::OWN_PREFIX).is_some() {
        return Ok((door.own.clone(), Cow::Borrowed(target), at(false)));
    }
    Ok((door.comfyui.clone(), Cow::Borrowed(target), at(true)))
}

fn transparent(head: &Head) -> Result<(Authority, &str), Denial> {
    let target = origin(head).ok_or_else(|| Denial::early(Reason::WrongEntry, FORM))?;
    let Some(authority) = &head.host else {
        return Err(Denial::early(
            Reason::BadAuthority,
            "a transparent request needs a Host",
        ));
    };
    Ok((authority.clone(), target))
}

#[cfg(test)]
mod tests;
