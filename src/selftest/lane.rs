//! The ways a case goes in: one per door and depth, and the two that need no door.

use serde::Serialize;

/// Where a case's bytes are written. The names are the keys of `--json` and of docs/EGRESS.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Lane {
    /// An absolute-form request to the proxy port.
    ExplicitPlain,
    /// A CONNECT to the proxy port, and the ClientHello behind it.
    ConnectTunnel,
    /// A request inside a CONNECT that is intercepted.
    ConnectIntercepted,
    /// A request to the port that stands for the vendor.
    Reverse,
    /// A redirected TLS connection, and the requests inside.
    TransparentTls,
    /// A redirected plain connection.
    TransparentHttp,
    /// A call of ComfyUI's page, to the front door.
    FrontDoor,
    /// The control plane.
    Admin,
    /// A checkpoint of this program called directly: configuration, addresses after look-up.
    InProcess,
}

impl Lane {
    pub const ALL: [Lane; 9] = [
        Lane::ExplicitPlain,
        Lane::ConnectTunnel,
        Lane::ConnectIntercepted,
        Lane::Reverse,
        Lane::TransparentTls,
        Lane::TransparentHttp,
        Lane::FrontDoor,
        Lane::Admin,
        Lane::InProcess,
    ];

    /// The lanes in which a request is read: each has its own way to name the host.
    pub const REQUESTS: [Lane; 6] = [
        Lane::ExplicitPlain,
        Lane::ConnectIntercepted,
        Lane::Reverse,
        Lane::TransparentTls,
        Lane::TransparentHttp,
        Lane::FrontDoor,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Lane::ExplicitPlain => "explicit_plain",
            Lane::ConnectTunnel => "connect_tunnel",
            Lane::ConnectIntercepted => "connect_intercepted",
            Lane::Reverse => "reverse",
            Lane::TransparentTls => "transparent_tls",
            Lane::TransparentHttp => "transparent_http",
            Lane::FrontDoor => "front_door",
            Lane::Admin => "admin",
            Lane::InProcess => "in_process",
        }
    }
}
