//! Asking a running airlock's control plane, from a command of the same program.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zeroize::Zeroizing;

use crate::store::token::AdminToken;

/// Larger than any page of the control plane.
const MAX_ANSWER: u64 = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("nothing answers at {0}; start it with `airlock run`")]
    NotRunning(SocketAddr),
    #[error("{0} does not answer like airlock; is another program on that port?")]
    NotAirlock(SocketAddr),
}

/// A change may take as long as compiling a large policy does.
const READ_WITHIN: Duration = Duration::from_secs(3);
const CHANGE_WITHIN: Duration = Duration::from_secs(120);

/// GETs a page of the control plane at our own configured address. Status and body.
pub async fn get(admin: SocketAddr, path: &str) -> Result<(u16, String), ControlError> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    ask(admin, &request, READ_WITHIN).await
}

/// POSTs JSON to it, with the token that lies in the state folder.
pub async fn post(
    admin: SocketAddr,
    path: &str,
    token: &AdminToken,
    body: &str,
) -> Result<(u16, String), ControlError> {
    let request = Zeroizing::new(format!(
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token.expose(),
        body.len(),
    ));
    ask(admin, &request, CHANGE_WITHIN).await
}

async fn ask(
    admin: SocketAddr,
    request: &str,
    within: Duration,
) -> Result<(u16, String), ControlError> {
    let exchange = async {
        #[allow(
            clippy::disallowed_methods,
            reason = "our own control plane, from our own config"
        )]
        let mut stream = TcpStream::connect(admin).await.map_err(|_| None)?;
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(|_| None)?;
        let mut answer = Vec::new();
        let read = (&mut stream)
            .take(MAX_ANSWER)
            .read_to_end(&mut answer)
            .await;
        read.map_err(|_| Some(()))?;
        parse(&answer).ok_or(Some(()))
    };
    match tokio::time::timeout(within, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(None)) => Err(ControlError::NotRunning(admin)),
        Ok(Err(Some(()))) | Err(_) => Err(ControlError::NotAirlock(admin)),
    }
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_and_a_foreign_one_refused() {
        assert_eq!(
            parse(b"HTTP/1.0 200 OK\r\na: b\r\n\r\nhi"),
            Some((200, "hi".into()))
        );
        assert_eq!(parse(b"SSH-2.0-x\r\n\r\n"), None);
    }
}
