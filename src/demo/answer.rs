//! Answers as the player sees them: whole, or piece by piece with the time of each piece.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use uuid::Uuid;

use super::{
    player::Line,
    step::{Fault, must},
};
use crate::llm::sse::{Frame, Splitter};

/// Far above any answer of the demo.
const MAX_BODY: usize = 4 << 20;
const MAX_HEADERS: usize = 32;

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    pub body: Bytes,
    /// Pieces that the body came in.
    pub pieces: usize,
    /// From the first piece to the last.
    pub span: Duration,
}

impl Answer {
    /// From a raw head, blank line included.
    pub fn of_head(head: &[u8]) -> Result<Self, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut fields);
        let bad = |e: String| Fault(format!("the answer to CONNECT is no HTTP: {e}"));
        response.parse(head).map_err(|e| bad(e.to_string()))?;
        let mut headers = HeaderMap::new();
        for field in response.headers.iter() {
            let name = HeaderName::try_from(field.name).map_err(|e| bad(e.to_string()))?;
            let value = HeaderValue::from_bytes(field.value).map_err(|e| bad(e.to_string()))?;
            headers.append(name, value);
        }
        Ok(Self {
            status: response.code.unwrap_or_default(),
            headers,
            ..Self::default()
        })
    }

    /// Empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    pub fn json(&self) -> Result<Value, Fault> {
        serde_json::from_slice(&self.body).map_err(|e| Fault(format!("the answer is no JSON: {e}")))
    }

    pub fn must_be(&self, status: u16) -> Result<(), Fault> {
        must(self.status == status, || {
            let start: String = self.text().chars().take(200).collect();
            format!("status {} in place of {status}: {start}", self.status)
        })
    }

    /// Events of an event stream that carry data.
    pub fn events(&self) -> Result<Vec<Frame>, Fault> {
        let mut splitter = Splitter::new(MAX_BODY);
        splitter.push(&self.body);
        let mut events = Vec::new();
        while let Some(frame) = splitter.next_frame().map_err(|e| Fault(e.to_string()))? {
            events.extend(Some(frame).filter(|f| f.data.is_some()));
        }
        Ok(events)
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
}

/// An answer whose body is still coming.
pub struct Reply {
    pub status: u16,
    headers: HeaderMap,
    body: Incoming,
    splitter: Splitter,
    /// Its connection, where nobody else holds it.
    line: Option<Line>,
}

impl Reply {
    pub fn new(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            splitter: Splitter::new(MAX_BODY),
            line: None,
        }
    }

    /// Keeps the connection open as long as the answer is read.
    pub fn keep(&mut self, line: Line) {
        self.line = Some(line);
    }

    pub fn header(&self, name: &str) -> &str {
        text(&self.headers, name)
    }

    /// The id of its audit record.
    pub fn id(&self) -> Option<Uuid> {
        Uuid::parse_str(self.header("x-airlock-request-id")).ok()
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(Fault(format!("the answer broke off: {e}"))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    // Trailers and empty pieces say nothing.
                    Ok(_) | Err(_) => {}
                },
            }
        }
    }

    /// Reads to the end.
    pub async fn read(mut self) -> Result<Answer, Fault> {
        let mut body = BytesMut::new();
        let mut pieces = 0;
        let mut first: Option<Instant> = None;
        let mut span = Duration::ZERO;
        while let Some(piece) = self.piece().await? {
            span = first.get_or_insert_with(Instant::now).elapsed();
            pieces += 1;
            body.extend_from_slice(&piece);
            must(body.len() <= MAX_BODY, || {
                format!("the answer is larger than {MAX_BODY} bytes")
            })?;
        }
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: body.freeze(),
            pieces,
            span,
        })
    }

    /// The next event of an event stream that carries data.
    pub async fn event(&mut self) -> Result<Frame, Fault> {
        loop {
            while let Some(frame) = self
                .splitter
                .next_frame()
                .map_err(|e| Fault(e.to_string()))?
            {
                if frame.data.is_some() {
                    return Ok(frame);
                }
            }
            match self.piece().await? {
                Some(piece) => self.splitter.push(&piece),
                None => return Err(Fault("the event stream ended".into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_head_becomes_status_and_headers() {
        let head = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nX-A: b\r\n\r\n";
        let answer = Answer::of_head(head).unwrap();
        assert_eq!(
            (answer.status, answer.header("x-a"), answer.header("none")),
            (403, "b", "")
        );
        assert!(Answer::of_head(b"SSH-2.0\r\n\r\n").is_err());
    }
}
