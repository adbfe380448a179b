//! An LLM that answers at once: an OpenAI-compatible stream whose first token costs no time, so that
//! all the time to first token that is measured through a proxy is the proxy's own.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,
    /// Tokens of an answer
    #[arg(long, default_value_t = 4)]
    tokens: usize,
    /// Pause between two tokens, in milliseconds
    #[arg(long, default_value_t = 1)]
    pace_ms: u64,
    /// Pause before the first, in milliseconds
    #[arg(long, default_value_t = 0)]
    first_ms: u64,
}

const MODELS: &str =
    r#"{"object":"list","data":[{"id":"fake","object":"model","created":1,"owned_by":"bench"}]}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tokens, pace) = (args.tokens, Duration::from_millis(args.pace_ms));
        let first = Duration::from_millis(args.first_ms);
        tokio::spawn(async move {
            // A client that leaves ends its connection, nothing else.
            let _ = serve(stream, tokens, first, pace).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    tokens: usize,
    thinking: Duration,
    pace: Duration,
) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(32 << 10);
    while let Some((head, length)) = request(&mut stream, &mut buffer).await? {
        buffer.drain(..length);
        if head.starts_with("GET ") {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{MODELS}",
                MODELS.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        if !thinking.is_zero() {
            tokio::time::sleep(thinking).await;
        }
        let mut first = String::from(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        );
        first.push_str(&chunk(r#"{"role":"assistant","content":"token"}"#, "null"));
        stream.write_all(first.as_bytes()).await?;
        for _ in 1..tokens {
            tokio::time::sleep(pace).await;
            stream
                .write_all(chunk(r#"{"content":" token"}"#, "null").as_bytes())
                .await?;
        }
        let mut last = chunk("{}", "\"stop\"");
        last.push_str("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
        stream.write_all(last.as_bytes()).await?;
    }
    Ok(())
}

/// The next request's head and the bytes it takes with its body; `None` when the client is done.
async fn request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<(String, usize)>> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let body = head
                .lines()
                .filter_map(|l| l.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                .unwrap_or(0);
            let length = head.len() + 4 + body;
            if buffer.len() >= length {
                return Ok(Some((head.to_owned(), length)));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn chunk(delta: &str, finish: &str) -> String {
    let event = format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\
         \"model\":\"fake\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    );
    format!("{:x}\r\n{event}\r\n", event.len())
}
