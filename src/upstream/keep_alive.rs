//! TCP keep-alive: a peer whose machine is gone gives up its slot within two minutes.
//!
//! Tunnels, WebSockets and event streams may be silent for hours, so no timeout of ours can tell a
//! quiet peer from a dead one. Called for both sides of everything that may last.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

const AFTER: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(15);

/// Best effort: a socket without it works all the same.
pub fn keep_alive(stream: &TcpStream) {
    let probes = TcpKeepalive::new().with_time(AFTER).with_interval(EVERY);
    let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_is_told_to_probe() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        #[allow(clippy::disallowed_methods, reason = "a loopback peer")]
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        keep_alive(&stream);
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }
}
