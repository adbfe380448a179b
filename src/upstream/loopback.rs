//! Sockets to listeners of this very program, for `demo`, which plays its own client.

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

/// Connects to one of our own listeners; an address that is not loopback is refused unseen.
pub async fn connect(listener: SocketAddr) -> io::Result<TcpStream> {
    if !listener.ip().is_loopback() {
        let words =
            format!("{listener} is not on loopback: the demo talks to its own listeners only");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "our own listener, on loopback, not a destination"
    )]
    let stream = TcpStream::connect(listener).await?;
    // Small requests must not wait for more.
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(connect(listener.local_addr().unwrap()).await.is_ok());
        for closed in [
            "203.0.113.9:80",
            "192.168.1.1:80",
            "0.0.0.0:80",
            "169.254.169.254:80",
        ] {
            let error = connect(closed.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{closed}");
        }
    }
}
