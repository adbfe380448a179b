//! A client that writes bytes and reads responses: what no HTTP library would send, and exactly what
//! came back.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

/// No answer takes this long; a test that waits longer has found a hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection over any stream (TCP, or TLS over it).
pub struct Wire<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
}

/// A response as it was on the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body ended as its framing said; false where the connection broke off.
    pub whole: bool,
    /// Header lines behind a chunked body.
    pub trailers: Vec<String>,
}

impl Wire<TcpStream> {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the listener accepts");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        Self::over(stream)
    }
}

impl<S: Read + Write> Wire<S> {
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Writes; a peer that has closed already is not this call's business.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        let _ = self.stream.flush();
        self
    }

    /// Sends a request and reads its response.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        let is_head = request.as_ref().starts_with(b"HEAD ");
        self.send(request);
        self.read_reply(is_head)
    }

    /// The next response that is no `100 Continue`.
    pub fn reply(&mut self) -> Reply {
        self.read_reply(false)
    }

    fn read_reply(&mut self, is_head: bool) -> Reply {
        match self.try_reply(is_head) {
            Some(reply) => reply,
            None => panic!(
                "no response, only {:?}",
                String::from_utf8_lossy(&self.buffer)
            ),
        }
    }

    /// `None` where the connection ended without a response.
    pub fn try_reply(&mut self, is_head: bool) -> Option<Reply> {
        let (status, headers) = loop {
            let head = self.head()?;
            let (status, headers) = parse_head(&head);
            if status != 100 {
                break (status, headers);
            }
        };
        let mut reply = Reply {
            status,
            headers,
            body: Vec::new(),
            whole: true,
            trailers: Vec::new(),
        };
        if is_head || matches!(status, 101 | 204 | 304) {
            return Some(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut reply);
        } else if let Some(length) = reply.header("content-length") {
            let length: usize = length.parse().expect("content-length is a number");
            while self.buffer.len() < length && self.fill() {}
            reply.whole = self.buffer.len() >= length;
            reply.body = self.take(length);
        } else {
            while self.fill() {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        Some(reply)
    }

    /// A head up to its blank line.
    pub fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                return Some(self.take(at + 4));
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next byte; `None` at the end of the connection.
    pub fn byte(&mut self) -> Option<u8> {
        if self.buffer.is_empty() && !self.fill() {
            return None;
        }
        self.take(1).first().copied()
    }

    /// Exactly `n` bytes.
    pub fn exact(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            assert!(
                self.fill(),
                "the connection ended after {} of {n} bytes",
                self.buffer.len()
            );
        }
        self.take(n)
    }

    /// Sends a CONNECT and expects to be let through.
    pub fn connect(mut self, authority: &str) -> Self {
        self.send(format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        ));
        let head = self.head().expect("a CONNECT is answered");
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        self
    }

    /// True when the peer closes (or resets) without another byte.
    pub fn closed(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill() && self.buffer.is_empty()
    }

    /// Bytes are there that nobody has asked for yet.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn read_chunks(&mut self, reply: &mut Reply) {
        loop {
            let Some(line) = self.line() else {
                reply.whole = false;
                return;
            };
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .unwrap_or_else(|_| panic!("{line:?} is no chunk size"));
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 {
                if !self.fill() {
                    reply.whole = false;
                    reply.body.append(&mut self.buffer);
                    return;
                }
            }
            let mut chunk = self.take(size + 2);
            chunk.truncate(size);
            reply.body.append(&mut chunk);
        }
        loop {
            match self.line() {
                Some(line) if line.is_empty() => return,
                Some(line) => reply.trailers.push(line),
                None => {
                    reply.whole = false;
                    return;
                }
            }
        }
    }

    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = self.take(at + 2);
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let n = n.min(self.buffer.len());
        self.buffer.drain(..n).collect()
    }

    /// Reads some more; false at the end of the connection.
    fn fill(&mut self) -> bool {
        let began = Instant::now();
        let mut chunk = [0; 64 << 10];
        loop {
            return match self.stream.read(&mut chunk) {
                Ok(0) => false,
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    true
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came for {:?}", began.elapsed())
                }
                Err(_) => false,
            };
        }
    }
}

/// For a TLS session on top: what was read already comes first.
impl<S: Read> Read for Wire<S> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.buffer.is_empty() {
            return self.stream.read(out);
        }
        let n = out.len().min(self.buffer.len());
        out[..n].copy_from_slice(&self.buffer[..n]);
        self.buffer.drain(..n);
        Ok(n)
    }
}

impl<S: Write> Write for Wire<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

impl Reply {
    /// The one value of a header; panics on two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str());
        let value = values.next();
        assert!(
            values.next().is_none(),
            "two {name} headers: {:?}",
            self.headers
        );
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("body is no JSON ({e}): {}", self.text()))
    }

    /// `error.code` of a typed refusal; panics unless the response is one, marked as ours.
    pub fn code(&self) -> String {
        let marker = self
            .header("x-airlock-decision")
            .unwrap_or_else(|| panic!("no marker: {self:?}"));
        let proxy_status = self
            .header("proxy-status")
            .expect("a refusal has a Proxy-Status");
        let code = self.json()["error"]["code"]
            .as_str()
            .expect("a refusal has a code")
            .to_owned();
        assert!(
            marker.contains(&format!("reason={code}")),
            "{marker} and {code}"
        );
        assert!(
            proxy_status.starts_with("airlock; error="),
            "{proxy_status}"
        );
        code
    }
}

fn parse_head(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_end().split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse().ok())
        .unwrap_or_else(|| panic!("{status_line:?} is no status line"));
    let headers = lines
        .map(|line| {
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("{line:?} is no header"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    (status, headers)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
