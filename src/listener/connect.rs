//! After a CONNECT, or behind a transparent TLS listener: the connection checkpoint, the SNI check,
//! then a tunnel or an interception.

use std::{sync::Arc, time::Instant};

use pingora::{listeners::tls::Acceptor, protocols::l4::stream::Stream as L4Stream};
use tokio::io::AsyncWriteExt;

use super::{
    accept::Edge,
    http::{self, write_refusal},
    stream::EdgeStream,
    tunnel,
};
use crate::{
    audit::AuditKind,
    config::Secret,
    net::{Authority, Host, Port},
    policy::{ConnectionAction, Flow, Reason, RuleName, Terms, guarded},
    proxy::{Connection, Denial, Finish, Leash, Outcome, request_id, visitor},
    tls::{ClientHelloInfo, HelloError, read_client_hello},
};

/// Largest ClientHello taken, in bytes; post-quantum key shares make honest ones about 2 KiB.
const HELLO_BYTES: usize = 32 << 10;

/// A CONNECT whose form was judged already.
pub async fn explicit(
    edge: &Arc<Edge>,
    mut l4: L4Stream,
    connection: Arc<Connection>,
    authority: Authority,
    key: Option<&Secret<String>>,
    started: Instant,
) {
    let mut finish = begin(edge, &connection, started);
    finish.request(&authority, &::http::Method::CONNECT, "");
    let connection = match visitor(&edge.services.doorkeeper, key) {
        Ok(None) => connection,
        Ok(Some(visitor)) => {
            finish.made_by(&visitor.principal);
            Arc::new(connection.opened_by(visitor))
        }
        Err(denial) => return end(finish, l4, denial).await,
    };
    let judged = match judge(edge, &connection, &authority, &mut finish) {
        Ok(judged) => judged,
        Err(denial) => return end(finish, l4, denial).await,
    };
    if judged.action == ConnectionAction::Tunnel
        // Before the 200, while a refusal can still be said in HTTP.
        && let Err(e) = edge.services.dialer.way(&authority).await
    {
        return end(finish, l4, refusal(e.reason, &authority, e.detail)).await;
    }
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    // The L4 stream is write-buffered: without the flush the client waits for ever.
    if l4.write_all(established).await.is_err() || l4.flush().await.is_err() {
        finish.failed(Reason::ClientGone, None);
        return finish.done(Outcome::default());
    }
    let hello = match hello(edge, &mut l4).await {
        Ok(hello) => hello,
        Err((reason, detail)) => return cut(finish, &authority, reason, detail),
    };
    if let Err((reason, detail)) = same_name(&hello, &authority) {
        return cut(finish, &authority, reason, detail);
    }
    carry_on(edge, l4, connection, judged, hello, finish).await;
}

/// A TLS connection redirected here. The address the client meant is never trusted: the name in
/// the SNI is what is judged, and resolved by us.
pub async fn transparent(edge: &Arc<Edge>, mut l4: L4Stream, connection: Arc<Connection>) {
    let mut finish = begin(edge, &connection, Instant::now());
    let hello = match hello(edge, &mut l4).await {
        Ok(hello) => hello,
        Err((reason, detail)) => {
            finish.denied(&Denial::early(reason, detail));
            return finish.done(Outcome::default());
        }
    };
    let Some(host) = hello.sni.clone() else {
        finish.denied(&Denial::early(
            Reason::SniMissing,
            "a transparent connection needs an SNI",
        ));
        return finish.done(Outcome::default());
    };
    let authority = Authority::new(host, Port::HTTPS);
    finish.authority(&authority);
    match judge(edge, &connection, &authority, &mut finish) {
        Ok(judged) => carry_on(edge, l4, connection, judged, hello, finish).await,
        Err(denial) => {
            finish.denied(&denial);
            finish.done(Outcome::default());
        }
    }
}

fn begin(edge: &Edge, connection: &Connection, started: Instant) -> Finish {
    Finish::begin(
        &edge.services,
        AuditKind::Connection,
        request_id(),
        connection.entry,
        connection.client.ip(),
        started,
    )
}

/// A connection that was let through.
pub struct Judged {
    pub authority: Authority,
    action: ConnectionAction,
    pub rule: RuleName,
    /// Of that rule; for a tunnel, because each request in an interception is judged for itself.
    pub terms: Option<Arc<Terms>>,
    /// From before it was decided, for [`crate::proxy::Services::stand`].
    pub epoch: u64,
}

/// The connection checkpoint.
fn judge(
    edge: &Edge,
    connection: &Connection,
    authority: &Authority,
    finish: &mut Finish,
) -> Result<Judged, Denial> {
    let epoch = edge.services.live.epoch();
    let flow = Flow {
        entry: connection.entry,
        client: connection.client.ip(),
        authority,
    };
    let now = time::OffsetDateTime::now_utc();
    let policy = edge.services.policy.load();
    let mut decision = guarded(ConnectionAction::Deny, || {
        policy.decide_connection(&flow, now)
    });
    let who = connection.visitor.as_ref().map(|v| &*v.principal);
    let foreign = match decision.action {
        ConnectionAction::Tunnel => decision.terms.as_ref().is_some_and(|t| !t.are_for(who)),
        // Each request in it is judged for itself.
        ConnectionAction::Intercept | ConnectionAction::Deny => false,
    };
    let overruled = edge.services.overrules_connection(decision.action);
    if let Some(reason) = overruled.or(foreign.then_some(Reason::NotForYou)) {
        decision.action = ConnectionAction::Deny;
        decision.reason = reason;
    }
    finish.judged_under(policy.generation());
    finish.decided(&decision, decision.action.as_str());
    match decision.action {
        ConnectionAction::Tunnel | ConnectionAction::Intercept => Ok(Judged {
            authority: authority.clone(),
            action: decision.action,
            rule: decision.rule,
            terms: decision.terms,
            epoch,
        }),
        ConnectionAction::Deny => Err(Denial {
            reason: decision.reason,
            rule: decision.rule,
            authority: Some(authority.clone()),
            detail: None,
            method: "CONNECT".into(),
            path: String::new(),
        }),
    }
}

fn refusal(reason: Reason, authority: &Authority, detail: String) -> Denial {
    Denial {
        reason,
        rule: RuleName::none(),
        authority: Some(authority.clone()),
        detail: Some(detail),
        method: "CONNECT".into(),
        path: String::new(),
    }
}

/// Refuses in HTTP, before the 200.
async fn end(mut finish: Finish, l4: L4Stream, denial: Denial) {
    finish.unreached(&denial);
    finish.done(Outcome::default());
    write_refusal(l4, &denial).await;
}

/// Refuses after the 200, where only closing is left to say. A client that leaves is not refused.
fn cut(mut finish: Finish, authority: &Authority, reason: Reason, detail: String) {
    match reason {
        Reason::ClientGone => finish.failed(reason, Some(detail)),
        reason => finish.denied(&refusal(reason, authority, detail)),
    }
    finish.done(Outcome::default());
}

async fn hello(edge: &Edge, l4: &mut L4Stream) -> Result<ClientHelloInfo, (Reason, String)> {
    let patience = edge.services.limits.client_hello_timeout;
    match tokio::time::timeout(patience, read_client_hello(l4, HELLO_BYTES)).await {
        Err(_) => Err((
            Reason::ClientHelloTimeout,
            format!("no complete ClientHello in {patience:?}"),
        )),
        Ok(Err(e)) => Err(match e {
            HelloError::NotTls => (Reason::NotTls, e.to_string()),
            HelloError::Eof | HelloError::Io(_) => (Reason::ClientGone, e.to_string()),
            _ => (Reason::ClientHelloInvalid, e.to_string()),
        }),
        Ok(Ok(hello)) => {
            l4.rewind(&hello.raw);
            Ok(hello)
        }
    }
}

fn same_name(hello: &ClientHelloInfo, authority: &Authority) -> Result<(), (Reason, String)> {
    match &hello.sni {
        Some(sni) if *sni == authority.host => Ok(()),
        Some(sni) => Err((
            Reason::SniMismatch,
            format!("CONNECT says {}, SNI says {sni}", authority.host),
        )),
        None => Err((Reason::SniMissing, "the ClientHello names no server".into())),
    }
}

async fn carry_on(
    edge: &Arc<Edge>,
    l4: L4Stream,
    connection: Arc<Connection>,
    judged: Judged,
    hello: ClientHelloInfo,
    finish: Finish,
) {
    match judged.action {
        // `judge` returns no such thing; closing is right all the same.
        ConnectionAction::Deny => {}
        ConnectionAction::Tunnel => {
            // A second name may hide in the hello; the server could read it, we cannot.
            if hello.ech
                && let Err(why) = edge.services.ech.load().permits(&judged.authority).await
            {
                return cut(finish, &judged.authority, Reason::EchRefused, why);
            }
            tunnel::relay(edge, l4, &connection, &judged, hello.ech, finish).await;
        }
        ConnectionAction::Intercept => {
            drop(hello);
            intercept(edge, l4, connection, judged.authority, finish).await;
        }
    }
}

/// Terminates TLS with a leaf for exactly this name; the decrypted stream is served like any other.
async fn intercept(
    edge: &Arc<Edge>,
    l4: L4Stream,
    connection: Arc<Connection>,
    authority: Authority,
    mut finish: Finish,
) {
    let Host::Name(name) = &authority.host else {
        return cut(
            finish,
            &authority,
            Reason::SniMissing,
            "an address cannot be intercepted".into(),
        );
    };
    if authority.host.is_localhost() {
        let words = "no certificate is made for this machine's own name; use http://, or a rule with action: tunnel";
        return cut(finish, &authority, Reason::TlsHandshakeFailed, words.into());
    }
    let config = match edge.services.leafs.load().server_config(name) {
        Ok(config) => config,
        Err(e) => return cut(finish, &authority, Reason::Internal, e.to_string()),
    };
    let acceptor = Acceptor::from_server_config(config);
    let patience = edge.services.limits.client_hello_timeout;
    match tokio::time::timeout(patience, acceptor.tls_handshake(EdgeStream::new(l4))).await {
        Ok(Ok(tls)) => {
            finish.done(Outcome {
                status: Some(200),
                ..Outcome::default()
            });
            let inside = Connection {
                entry: connection.entry,
                client: connection.client,
                tls: true,
                bound_to: Some(authority),
                visitor: connection.visitor.clone(),
                leash: Leash::default(),
                head_waits: Default::default(),
            };
            // Boxed: the loop of the inner connection would make this future hold itself.
            let relay = Box::pin(http::serve(edge, Box::new(tls), Arc::new(inside))).await;
            if let Some(relay) = relay {
                Box::pin(relay.run(edge)).await;
            }
        }
        Ok(Err(e)) => {
            // Nearly always a client that was not given our CA; the detail says so in plain words.
            let detail = format!(
                "TLS handshake with the client failed; does it trust the airlock CA? {}",
                e.etype().as_str()
            );
            finish.failed(Reason::TlsHandshakeFailed, Some(detail));
            finish.done(Outcome::default());
        }
        Err(_) => {
            finish.failed(
                Reason::TlsHandshakeFailed,
                Some(format!("not complete in {patience:?}")),
            );
            finish.done(Outcome::default());
        }
    }
}
