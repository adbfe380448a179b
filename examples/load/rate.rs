//! N connections, one request after the other on each, for some seconds.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;

use crate::{
    client::{self, Client},
    percentile,
};

#[derive(clap::Args)]
pub struct Args {
    /// The proxy, or the server itself
    #[arg(long)]
    address: SocketAddr,
    /// What the Host header says, and what CONNECT asks for
    #[arg(long)]
    host: String,
    #[arg(long, default_value = "/")]
    path: String,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Left out of the count
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// CONNECT and TLS that trusts this CA; without it, requests go in the clear
    #[arg(long)]
    ca: Option<PathBuf>,
}

pub async fn run(args: Args) -> io::Result<()> {
    let tls = args.ca.as_deref().map(client::tls).transpose()?;
    let request: Arc<[u8]> = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n",
        args.path, args.host
    )
    .into_bytes()
    .into();

    let mut connecting = JoinSet::new();
    for _ in 0..args.connections {
        connecting.spawn(connect(args.address, args.host.clone(), tls.clone()));
    }
    let clients: Vec<Client> = connecting
        .join_all()
        .await
        .into_iter()
        .collect::<io::Result<_>>()?;

    let begin = Instant::now() + Duration::from_secs_f64(args.warm_up);
    let end = begin + Duration::from_secs_f64(args.seconds);
    let mut workers = JoinSet::new();
    for client in clients {
        workers.spawn(work(client, request.clone(), begin, end));
    }
    let mut latencies: Vec<f64> = Vec::new();
    let mut answers = 0;
    let mut failure = None;
    while let Some(done) = workers.join_next().await {
        match done.map_err(io::Error::other)? {
            Ok((of_one, all)) => {
                latencies.extend(of_one);
                answers += all;
            }
            Err(e) => failure = Some(e),
        }
    }
    if let Some(e) = failure {
        return Err(e);
    }
    latencies.sort_by(f64::total_cmp);
    let report = serde_json::json!({
        "requests": latencies.len(),
        "requests_with_warm_up": answers,
        "per_second": latencies.len() as f64 / args.seconds,
        "p50_ms": percentile(&latencies, 50.0),
        "p99_ms": percentile(&latencies, 99.0),
        "max_ms": percentile(&latencies, 100.0),
    });
    println!("{report}");
    Ok(())
}

async fn connect(
    address: SocketAddr,
    host: String,
    tls: Option<Arc<ClientConfig>>,
) -> io::Result<Client> {
    match tls {
        Some(tls) => Client::intercepted(address, &host, tls).await,
        None => Client::plain(address).await,
    }
}

/// Latencies in milliseconds of the answers that came in the counted time, and how many came in all.
async fn work(
    mut client: Client,
    request: Arc<[u8]>,
    begin: Instant,
    end: Instant,
) -> io::Result<(Vec<f64>, usize)> {
    let mut latencies = Vec::with_capacity(4096);
    let mut answers = 0;
    loop {
        let sent = Instant::now();
        if sent >= end {
            return Ok((latencies, answers));
        }
        client.send(&request).await?;
        client.receive().await?;
        answers += 1;
        let now = Instant::now();
        if now >= begin && now < end {
            latencies.push((now - sent).as_secs_f64() * 1e3);
        }
    }
}
