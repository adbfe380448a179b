//! A client that leaves: whoever works for it is told at once.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Airlock, Guest, Origin, Setup, Wire};

/// Streams `piece` every 20 ms and reports the moment when nobody takes it any more.
fn endless(mut guest: Guest, piece: &str, gone: &mpsc::Sender<Instant>) {
    use std::io::Write;
    loop {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        if guest.write_all(chunk.as_bytes()).is_err() {
            let _ = gone.send(Instant::now());
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn assert_told_within_a_second(left: Instant, told: &mpsc::Receiver<Instant>) {
    let gone = told
        .recv_timeout(Duration::from_secs(5))
        .expect("the upstream is never told");
    let took = gone.saturating_duration_since(left);
    assert!(
        took < Duration::from_secs(1),
        "the upstream was told after {took:?}"
    );
}

#[test]
fn a_forwarded_stream_is_cancelled() {
    let (tell, told) = mpsc::channel();
    let origin = Origin::scripted(move |mut guest| {
        guest.head();
        guest.send(STREAM);
        endless(guest, "data: x\n\n", &tell);
    });
    let airlock = Setup {
        routes: format!(
            "      - path_prefix: /\n        upstream: http://{}\n",
            origin.address
        ),
        ..Setup::default()
    }
    .start();
    let mut wire = Wire::to(airlock.ready.reverse);
    wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.head().unwrap();
    drop(wire);
    assert_told_within_a_second(Instant::now(), &told);
    assert_eq!(airlock.only_record()["ended"], "client_gone");
}

/// A fake LLM: a model list, and completions by `script`.
fn llm(script: impl Fn(Guest) + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8(head).unwrap();
            if head.starts_with("GET ") {
                let models = r#"{"object":"list","data":[{"id":"tiny","object":"model"}]}"#;
                guest.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{models}",
                    models.len()
                ));
            } else {
                let length = head
                    .to_ascii_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
                    .expect("a request to an LLM has a length");
                guest.exact(length);
                return script(guest);
            }
        }
    })
}

fn before(llm: &Origin) -> Airlock {
    Airlock::start(&format!(
        "listeners:\n  explicit: 127.0.0.1:0\n  reverse:\n    listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\n\
         llm:\n  base_url: http://{}/v1\n",
        llm.address
    ))
}

fn chat(airlock: &Airlock) -> Wire {
    let body =
        r#"{"model":"gemini-2.5-flash","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut wire = Wire::to(airlock.ready.reverse);
    wire.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    wire
}

#[test]
fn a_chat_that_streams_is_cancelled_at_the_llm() {
    let (tell, told) = mpsc::channel();
    let llm = llm(move |mut guest| {
        guest.send(STREAM);
        let event = r#"data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#;
        endless(guest, &format!("{event}\n\n"), &tell);
    });
    let airlock = before(&llm);
    let mut wire = chat(&airlock);
    wire.head().unwrap();
    assert!(wire.line().is_some(), "the stream has begun");
    drop(wire);
    assert_told_within_a_second(Instant::now(), &told);
    let records = airlock.exactly(1);
    assert_eq!(
        (&records[0]["action"], &records[0]["ended"]),
        (&"respond".into(), &"client_gone".into())
    );
}

/// Long prompts are worked on for minutes before the first token.
#[test]
fn a_chat_that_waits_for_its_first_token_is_cancelled_at_the_llm() {
    let (tell, told) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let llm = llm(move |mut guest| {
        begin.send(()).unwrap();
        // Nothing is sent: only the end of the connection can wake this.
        assert!(guest.head().is_none());
        let _ = tell.send(Instant::now());
    });
    let airlock = before(&llm);
    let wire = chat(&airlock);
    begun
        .recv_timeout(Duration::from_secs(5))
        .expect("the LLM is asked");
    drop(wire);
    assert_told_within_a_second(Instant::now(), &told);
    assert_eq!(airlock.exactly(1)[0]["ended"], "client_gone");
}

#[test]
fn a_client_that_reads_nothing_holds_back_its_upstream_and_not_our_memory() {
    let origin = Origin::scripted(|mut guest| {
        guest.head();
        guest.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        use std::io::Write;
        let block = vec![0; 1 << 20];
        for _ in 0..1024 {
            if guest.write_all(&block).is_err() {
                return;
            }
        }
    });
    let airlock = Setup {
        routes: format!(
            "      - path_prefix: /\n        upstream: http://{}\n",
            origin.address
        ),
        ..Setup::default()
    }
    .start();
    let before = airlock.metric("process_resident_memory_bytes", &[]);
    let stalled: Vec<_> = (0..10)
        .map(|_| {
            let mut wire = Wire::to(airlock.ready.reverse);
            wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
            wire
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let grown = airlock
        .metric("process_resident_memory_bytes", &[])
        .saturating_sub(before);
    assert!(grown < 32 << 20, "ten stalled clients cost {grown} bytes");
    drop(stalled);
}
