//! The load generator of `just race`; prints one JSON object.
//!
//! `rate` keeps N connections busy, in the clear or through CONNECT and TLS, and counts answers.
//! `ttft` measures the time to the first streamed token at two addresses in turns.
//! `sockets` and `idle-sockets` talk to `socket-origin` through a proxy.
//! One thread: it must not take both cores from what is measured.

mod client;
mod rate;
mod sockets;
mod ttft;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Requests per second and latency over kept-alive connections
    Rate(rate::Args),
    /// Time to first token, direct and through a proxy, in turns
    Ttft(ttft::Args),
    /// An origin that echoes WebSocket messages
    SocketOrigin(sockets::Server),
    /// WebSocket messages there and back, at a steady pace
    Sockets(sockets::Args),
    /// WebSockets that idle until stdin ends
    IdleSockets(sockets::Idle),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    match Args::parse().command {
        Command::Rate(args) => rate::run(args).await,
        Command::Ttft(args) => ttft::run(args).await,
        Command::SocketOrigin(args) => sockets::serve(args).await,
        Command::Sockets(args) => sockets::talk(args).await,
        Command::IdleSockets(args) => sockets::idle(args).await,
    }
}

/// Linear interpolation is not worth it with thousands of samples: the nearest rank.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let rank = ((sorted.len() as f64 * p / 100.0).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}
