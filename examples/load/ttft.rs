//! Time to the first streamed token, at the LLM itself and through the proxy, one after the other,
//! so that both meet the same machine in the same mood.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{client::Client, percentile};

#[derive(clap::Args)]
pub struct Args {
    /// The LLM
    #[arg(long)]
    direct: SocketAddr,
    /// The proxy before it
    #[arg(long)]
    through: SocketAddr,
    #[arg(long, default_value = "/v1/chat/completions")]
    path: String,
    #[arg(long, default_value_t = 400)]
    samples: usize,
    #[arg(long, default_value_t = 50)]
    warm_up: usize,
    /// Size of the prompt; the plugin's chat requests have about 15 KB
    #[arg(long, default_value_t = 15_000)]
    prompt_bytes: usize,
}

pub async fn run(args: Args) -> io::Result<()> {
    let mut direct = Client::plain(args.direct).await?;
    let mut through = Client::plain(args.through).await?;
    let (mut alone, mut proxied, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let to_llm = request(&args, args.direct);
    let to_proxy = request(&args, args.through);
    for n in 0..args.warm_up + args.samples {
        // Who goes first changes, so that neither always finds the LLM's caches warm.
        let (a, b) = if n % 2 == 0 {
            let a = first_token(&mut direct, &to_llm).await?;
            (a, first_token(&mut through, &to_proxy).await?)
        } else {
            let b = first_token(&mut through, &to_proxy).await?;
            (first_token(&mut direct, &to_llm).await?, b)
        };
        if n >= args.warm_up {
            alone.push(a);
            proxied.push(b);
            added.push(b - a);
        }
    }
    for samples in [&mut alone, &mut proxied, &mut added] {
        samples.sort_by(f64::total_cmp);
    }
    let figures = |sorted: &[f64]| {
        serde_json::json!({
            "p50_ms": percentile(sorted, 50.0),
            "p90_ms": percentile(sorted, 90.0),
            "p99_ms": percentile(sorted, 99.0),
        })
    };
    let report = serde_json::json!({
        "samples": added.len(),
        "direct": figures(&alone),
        "through": figures(&proxied),
        "added": figures(&added),
    });
    println!("{report}");
    Ok(())
}

/// Milliseconds from the request to its first token. Reads the answer to its end.
async fn first_token(client: &mut Client, request: &[u8]) -> io::Result<f64> {
    client.clear();
    let sent = Instant::now();
    client.send(request).await?;
    client.until(b"\"content\":\"token\"").await?;
    let took = sent.elapsed();
    client.until(b"\r\n0\r\n\r\n").await?;
    // A person is slower than this; the machine gets a moment of peace.
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(took.as_secs_f64() * 1e3)
}

fn request(args: &Args, host: SocketAddr) -> Vec<u8> {
    let body = serde_json::json!({
        "model": "gemini-2.5-flash",
        "stream": true,
        "messages": [
            {"role": "system", "content": "x".repeat(args.prompt_bytes)},
            {"role": "user", "content": "Which node loads a checkpoint?"},
        ],
        "tools": [{"type": "function", "function": {
            "name": "search_node",
            "description": "Finds nodes by name",
            "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
        }}],
    })
    .to_string();
    format!(
        "POST {} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Authorization: Bearer bench\r\nUser-Agent: load\r\nContent-Length: {}\r\n\r\n{body}",
        args.path,
        body.len()
    )
    .into_bytes()
}
