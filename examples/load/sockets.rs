//! WebSockets: an origin that echoes, connections that talk at a steady pace, connections that idle.
//!
//! Frames here have one masked kilobyte at most and come whole; nothing else is needed to load a proxy.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{client, percentile};

/// A key and the answer to it (RFC 6455 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A masked frame of this many bytes; the echo is four bytes shorter.
const PAYLOAD: usize = 64;

#[derive(clap::Args)]
pub struct Server {
    #[arg(long)]
    listen: SocketAddr,
}

/// Switches whatever comes, and echoes frames of up to 125 bytes, unmasked.
#[allow(clippy::disallowed_methods, reason = "an origin of its own")]
pub async fn serve(args: Server) -> io::Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    read_head(&mut stream).await?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut frame = [0; 6 + 125];
    loop {
        stream.read_exact(&mut frame[..6]).await?;
        let length = usize::from(frame[1] & 0x7f).min(125);
        stream.read_exact(&mut frame[6..6 + length]).await?;
        let mask = [frame[2], frame[3], frame[4], frame[5]];
        for n in 0..length {
            frame[4 + 2 + n] ^= mask[n % 4];
        }
        // The unmasked head lies right before the payload.
        frame[4] = frame[0];
        frame[5] = length as u8;
        stream.write_all(&frame[4..6 + length]).await?;
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

#[allow(
    clippy::disallowed_methods,
    reason = "a load generator; dials what it is told to"
)]
async fn open(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nUser-Agent: load\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(&mut stream).await?;
    match head.starts_with(b"HTTP/1.1 101") {
        true => Ok(stream),
        false => Err(client::other(String::from_utf8_lossy(&head))),
    }
}

/// One message there and back.
async fn ask(stream: &mut TcpStream) -> io::Result<()> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut frame = [b'x'; 6 + PAYLOAD];
    frame[..2].copy_from_slice(&[0x82, 0x80 | PAYLOAD as u8]);
    frame[2..6].copy_from_slice(&MASK);
    stream.write_all(&frame).await?;
    let mut back = [0; 2 + PAYLOAD];
    stream.read_exact(&mut back).await?;
    match back[..2] == [0x82, PAYLOAD as u8] && back[2] == b'x' ^ MASK[0] {
        true => Ok(()),
        false => Err(client::other("the echo is another message")),
    }
}

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long, default_value = "/ws")]
    path: String,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Left out of the count
    #[arg(long, default_value_t = 0.2)]
    warm_up: f64,
    /// Between two messages of a connection
    #[arg(long, default_value_t = 5)]
    every_ms: u64,
}

/// A steady pace, so that what is measured is the way and not the queue before it.
pub async fn talk(args: Args) -> io::Result<()> {
    let every = Duration::from_millis(args.every_ms);
    let mut streams = Vec::new();
    for _ in 0..args.connections {
        streams.push(open(args.address, &args.path).await?);
    }
    let began = Instant::now();
    let warm = began + Duration::from_secs_f64(args.warm_up);
    let end = warm + Duration::from_secs_f64(args.seconds);
    let mut talks = JoinSet::new();
    for (n, mut stream) in streams.into_iter().enumerate() {
        // Not all at the same moment.
        let first = began + every.mul_f64(n as f64 / args.connections as f64);
        talks.spawn(async move {
            let mut due = tokio::time::Instant::from_std(first);
            let mut took = Vec::new();
            while due.into_std() < end {
                tokio::time::sleep_until(due).await;
                let sent = Instant::now();
                ask(&mut stream).await?;
                if sent >= warm {
                    took.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                due = (due + every).max(tokio::time::Instant::now());
            }
            io::Result::Ok(took)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = talks.join_next().await {
        all.extend(done.map_err(|e| client::other(e.to_string()))??);
    }
    all.sort_by(f64::total_cmp);
    println!(
        "{{\"requests\": {}, \"requests_with_warm_up\": {}, \"per_second\": {:.1}, \"p50_ms\": {:.4}, \
         \"p90_ms\": {:.4}, \"p99_ms\": {:.4}}}",
        all.len(),
        (all.len() as f64 * (1.0 + args.warm_up / args.seconds)) as u64,
        all.len() as f64 / args.seconds,
        percentile(&all, 50.0),
        percentile(&all, 90.0),
        percentile(&all, 99.0),
    );
    Ok(())
}

#[derive(clap::Args)]
pub struct Idle {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long, default_value = "/ws")]
    path: String,
    #[arg(long, default_value_t = 5000)]
    connections: usize,
}

/// Opens them, says something by each, tells that they are open, and holds them until its stdin ends.
pub async fn idle(args: Idle) -> io::Result<()> {
    let began = Instant::now();
    let limit = Arc::new(tokio::sync::Semaphore::new(64));
    let mut opening = JoinSet::new();
    for _ in 0..args.connections {
        let (limit, address, path) = (limit.clone(), args.address, args.path.clone());
        opening.spawn(async move {
            let _turn = limit
                .acquire()
                .await
                .map_err(|e| client::other(e.to_string()))?;
            let mut stream = open(address, &path).await?;
            ask(&mut stream).await?;
            io::Result::Ok(stream)
        });
    }
    let mut held = Vec::new();
    while let Some(stream) = opening.join_next().await {
        held.push(stream.map_err(|e| client::other(e.to_string()))??);
    }
    println!(
        "{{\"connections\": {}, \"seconds\": {:.2}}}",
        held.len(),
        began.elapsed().as_secs_f64()
    );
    let waiting = || io::copy(&mut io::stdin(), &mut io::sink());
    tokio::task::spawn_blocking(waiting)
        .await
        .map_err(|e| client::other(e.to_string()))??;
    // They are all still there.
    for stream in &mut held {
        ask(stream).await?;
    }
    Ok(())
}
