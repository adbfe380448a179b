//! Sockets to this airlock's own listeners, for `selftest`, which plays their clients.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::TcpStream;

/// Connects to a listener at the address of its configuration.
pub async fn connect(listener: SocketAddr) -> io::Result<TcpStream> {
    #[allow(
        clippy::disallowed_methods,
        reason = "our own listener, from our own config"
    )]
    let stream = TcpStream::connect(reachable(listener)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One that listens everywhere is met on loopback.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_is_everywhere_is_met_on_loopback() {
        for (listener, met) in [
            ("0.0.0.0:3128", "127.0.0.1:3128"),
            ("[::]:3128", "[::1]:3128"),
            ("192.0.2.1:3128", "192.0.2.1:3128"),
        ] {
            let listener: SocketAddr = listener.parse().unwrap();
            assert_eq!(reachable(listener).to_string(), met);
        }
    }
}
