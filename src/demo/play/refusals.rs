//! What must be refused, and that a refusal tells a program and a person why (DENIALS.md).

use http::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{
    super::{
        answer::Answer,
        call::Call,
        ledger::Trace,
        player::{Tunnel, Turn, within},
        step::{Fault, must},
    },
    VENDOR,
};
use crate::net::{Authority, Port};

/// A typed refusal: status, reason, and the rule that would allow it. Gives the sentence.
fn typed(answer: &Answer, reason: &str) -> Result<String, Fault> {
    answer.must_be(403)?;
    let body = answer.json()?;
    let error = &body["error"];
    must(error["code"] == reason, || {
        format!("its code is {}", error["code"])
    })?;
    must(error["how_to_allow"].is_string(), || {
        "it does not say how to allow it".into()
    })?;
    let marker = answer.header("x-airlock-decision");
    must(marker.starts_with("deny"), || {
        "x-airlock-decision is missing".into()
    })?;
    must(answer.header("proxy-status").contains(reason), || {
        "Proxy-Status is missing".into()
    })?;
    Ok(error["message"].as_str().unwrap_or_default().to_owned())
}

pub async fn unlisted_tunnel(turn: &mut Turn) -> Result<String, Fault> {
    let to = authority("example.org")?;
    match tunnel(turn, &to, None).await? {
        Tunnel::Refused(answer) => typed(&answer, "no_rule_matched"),
        Tunnel::Open(_) => Err(Fault("the tunnel was opened".into())),
    }
}

pub async fn unlisted_plain(turn: &mut Turn) -> Result<String, Fault> {
    let answer = turn.send(Call::get("http://example.org/")?).await?;
    typed(&answer, "no_rule_matched")
}

/// Of this host one request is answered here, and nothing is let out.
pub async fn other_path(turn: &mut Turn) -> Result<String, Fault> {
    let body = json!({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]});
    let call = Call::new(Method::POST, "https://api.openai.com/v1/chat/completions")?.json(&body);
    let answer = turn.send(call).await?;
    typed(&answer, "host_known_request_not")
}

/// CONNECT names an allowed host, the ClientHello another one (domain fronting).
pub async fn wrong_sni(turn: &mut Turn) -> Result<String, Fault> {
    let to = authority(VENDOR)?;
    match tunnel(turn, &to, Some("example.org")).await {
        Err(_) => Ok("closed before a byte was passed on".into()),
        Ok(Tunnel::Open(_)) => Err(Fault("the handshake was completed".into())),
        Ok(Tunnel::Refused(answer)) => Err(Fault(format!("CONNECT: status {}", answer.status))),
    }
}

/// An SSH client, say, that found a proxy.
pub async fn no_tls(turn: &mut Turn) -> Result<String, Fault> {
    let to = authority(VENDOR)?;
    turn.traces.push(Trace::Connection {
        authority: to.to_string(),
    });
    let talk = async {
        let Tunnel::Open(mut stream) = turn.connect(&to).await? else {
            return Err(Fault("CONNECT was refused".into()));
        };
        let mut rest = Vec::new();
        // A reset is a way of closing, too.
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        let _ = (&mut stream).take(1024).read_to_end(&mut rest).await;
        must(rest.is_empty(), || {
            format!("{} bytes came back", rest.len())
        })
    };
    within(turn.player.patience, talk).await?;
    Ok("closed before a byte was passed on".into())
}

pub async fn metadata(turn: &mut Turn) -> Result<String, Fault> {
    let answer = turn
        .send(Call::get("http://169.254.169.254/latest/meta-data/")?)
        .await?;
    typed(&answer, "no_rule_matched")
}

async fn tunnel(
    turn: &mut Turn,
    to: &Authority,
    sni: Option<&str>,
) -> Result<Tunnel<TlsStream<TcpStream>>, Fault> {
    turn.traces.push(Trace::Connection {
        authority: to.to_string(),
    });
    within(turn.player.patience, turn.tunnel(to, sni)).await
}

fn authority(host: &str) -> Result<Authority, Fault> {
    Authority::parse(host, Some(Port::HTTPS)).map_err(|e| Fault(e.to_string()))
}
