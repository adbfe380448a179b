//! The ways in: TLS inside a CONNECT, plain HTTP to the proxy, a base URL of ours (WIRE.md 0.2, 0.3).

use serde_json::Value;

use super::{
    super::{
        call::Call,
        ledger::Trace,
        player::{Tunnel, Turn, within},
        step::Fault,
    },
    VENDOR, chat,
};
use crate::net::{Authority, Port};

/// The handshake itself: it succeeds only if the leaf chains to the exported bundle, for this name.
pub async fn handshake(turn: &mut Turn) -> Result<String, Fault> {
    let to = Authority::parse(VENDOR, Some(Port::HTTPS)).map_err(|e| Fault(e.to_string()))?;
    turn.traces.push(Trace::Connection {
        authority: to.to_string(),
    });
    let tunnel = within(turn.player.patience, turn.tunnel(&to, None)).await?;
    let Tunnel::Open(tls) = tunnel else {
        return Err(Fault("CONNECT was refused".into()));
    };
    let (_, session) = tls.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let issuer = leaf.and_then(|der| issuer_of(der));
    let issuer = issuer.ok_or_else(|| Fault("the certificate names no issuer".into()))?;
    let version = session
        .protocol_version()
        .and_then(|v| v.as_str())
        .unwrap_or("TLS");
    Ok(format!(
        "{version}, certificate by {issuer}, trusted by the exported bundle alone"
    ))
}

/// Common name of whoever signed a certificate.
fn issuer_of(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let name = certificate.issuer().iter_common_name().next()?;
    Some(name.as_str().ok()?.to_owned())
}

pub async fn plain_models(turn: &mut Turn) -> Result<String, Fault> {
    let answer = turn
        .send(Call::get(&format!("http://{VENDOR}/v1/models"))?)
        .await?;
    chat::judge_models(&answer)
}

pub async fn reverse_models(turn: &mut Turn) -> Result<String, Fault> {
    let call = Call::get(&format!("https://{VENDOR}/v1/models"))?.by_reverse();
    let answer = turn.send(call).await?;
    chat::judge_models(&answer)
}

pub async fn reverse_chat(turn: &mut Turn) -> Result<String, Fault> {
    let url = format!("https://{VENDOR}/v1/chat/completions");
    chat::short_chat(turn, Call::post(&url, &Value::Null)?.by_reverse()).await
}
