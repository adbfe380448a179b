//! Sockets of `airlock exec --isolate`: from the parent to our own listeners, and from the helper to
//! the parent and to a published port. None of them leads to a destination of a client's choice.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use tokio::net::{TcpStream, UnixStream};

use super::loopback;

/// To a listener of an airlock, at the address of its configuration.
pub async fn to_own_listener(listener: SocketAddr) -> io::Result<TcpStream> {
    #[allow(
        clippy::disallowed_methods,
        reason = "our own listener, from our own config"
    )]
    let stream = TcpStream::connect(listener).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// From the helper to a Unix socket in the parent's private folder.
pub async fn to_parent(socket: &Path) -> io::Result<UnixStream> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the parent's own socket: the namespace has no other way out"
    )]
    UnixStream::connect(socket).await
}

/// From the helper to the program's port, inside the namespace.
pub async fn to_published(port: u16) -> io::Result<TcpStream> {
    match loopback::connect((Ipv4Addr::LOCALHOST, port).into()).await {
        Ok(stream) => Ok(stream),
        Err(_) => loopback::connect((Ipv6Addr::LOCALHOST, port).into()).await,
    }
}
