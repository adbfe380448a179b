//! A file of a hub, streamed through and compared with what the list said: exactly so many bytes, and for
//! a whole file the digest. Where it differs, the stream breaks off before its last piece, so that a broken
//! file never looks like a whole one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use sha2::{Digest, Sha256 as Hasher};

use super::{
    Requester, SourceError,
    hub::{Answer, Hub},
};
use crate::{
    handler::{ByteStream, StreamAbort},
    policy::Reason,
    weights::{ByteRange, File},
};

/// Between two pieces.
const PAUSE: Duration = Duration::from_secs(60);

/// A file on its way.
pub struct Download {
    /// Bytes that will come, exactly.
    pub length: u64,
    pub body: ByteStream,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Download({} bytes)", self.length)
    }
}

/// Asks for the file and looks at the head of the answer; the body comes as it is read.
pub async fn open(
    hub: &Arc<Hub>,
    file: &File,
    range: Option<ByteRange>,
    by: Requester,
) -> Result<Download, SourceError> {
    let asked = range.map(|r| r.header());
    let answer = hub.file(&file.target, asked.as_deref(), by).await?;
    let length = range.map_or(file.size, |r| r.length());
    if let Err(detail) = judge(&answer, length, range) {
        answer.done(Some((Reason::UpstreamFailed, detail.into())));
        return Err(hub.unusable(detail));
    }
    let expected = match range {
        None => file.sha256.clone(),
        Some(_) => None,
    };
    let copy = Copy {
        ends: range.is_none_or(|r| r.ends(file.size)),
        hub: hub.clone(),
        answer: Some(answer),
        left: length,
        hasher: expected.is_some().then(Hasher::new),
        expected: expected.map(|e| e.as_str().to_owned()),
    };
    let body = stream::unfold(copy, |mut copy| async move {
        let item = copy.next().await?;
        Some((item, copy))
    });
    Ok(Download {
        length,
        body: Box::pin(body),
    })
}

/// The size of a file, by asking for its first byte.
pub async fn size_of(hub: &Arc<Hub>, file: &File, by: Requester) -> Result<u64, SourceError> {
    let answer = hub.file(&file.target, Some("bytes=0-0"), by).await?;
    let total = answer
        .header(header::CONTENT_RANGE)
        .and_then(|range| range.strip_prefix("bytes 0-0/")?.parse().ok());
    match total.filter(|_| answer.status == StatusCode::PARTIAL_CONTENT) {
        Some(total) => {
            answer.done(None);
            Ok(total)
        }
        None => {
            let detail = "the store does not say how large the file is";
            answer.done(Some((Reason::UpstreamFailed, detail.into())));
            Err(hub.unusable(detail))
        }
    }
}

fn judge(answer: &Answer, length: u64, range: Option<ByteRange>) -> Result<(), &'static str> {
    let page = answer
        .header(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    if page {
        return Err("it is a page and no file");
    }
    let encoded = answer
        .header(header::CONTENT_ENCODING)
        .is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity"));
    if encoded {
        return Err("it is encoded, which was not asked for");
    }
    match range {
        None if answer.status != StatusCode::OK => return Err("it is not the whole file"),
        None => {}
        Some(range) => {
            let fits = answer
                .header(header::CONTENT_RANGE)
                .is_some_and(|given| range.is_answered_by(given));
            if answer.status != StatusCode::PARTIAL_CONTENT || !fits {
                return Err("it is not the part that was asked for");
            }
        }
    }
    let announced = answer
        .header(header::CONTENT_LENGTH)
        .map(|text| text.parse::<u64>().ok());
    match announced {
        Some(announced) if announced != Some(length) => {
            Err("the file has another size than its list says")
        }
        Some(_) | None => Ok(()),
    }
}

/// State of the stream.
struct Copy {
    hub: Arc<Hub>,
    /// Gone when it has ended.
    answer: Option<Answer>,
    left: u64,
    hasher: Option<Hasher>,
    expected: Option<String>,
    /// What comes is the file to its end.
    ends: bool,
}

impl Copy {
    /// The next piece, an abort, or the end.
    async fn next(&mut self) -> Option<Result<Bytes, StreamAbort>> {
        let answer = self.answer.as_mut()?;
        let chunk = tokio::select! {
            biased;
            reason = answer.passage.cut() => return self.break_off(reason, "cut"),
            chunk = tokio::time::timeout(PAUSE, answer.body.chunk()) => chunk,
        };
        let chunk = match chunk {
            Err(_) => return self.break_off(Reason::UpstreamTimeout, "the hub fell silent"),
            Ok(Some(Err(detail))) => return self.break_off(Reason::UpstreamFailed, &detail),
            Ok(None) => return self.break_off(Reason::UpstreamFailed, "it ended early"),
            Ok(Some(Ok(chunk))) => chunk,
        };
        let length = chunk.len() as u64;
        answer.passage.received(length);
        self.hub.received(length);
        if length > self.left {
            return self.break_off(Reason::UpstreamFailed, "more came than the list says");
        }
        self.left -= length;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        if self.left > 0 {
            return Some(Ok(chunk));
        }
        let digest = self.hasher.take().map(|h| hex(&h.finalize()));
        if digest != self.expected {
            return self.break_off(Reason::UpstreamFailed, "its sha-256 is not the listed one");
        }
        if let Some(answer) = self.answer.take() {
            answer.done(None);
            if self.ends {
                self.hub.landed();
            }
        }
        Some(Ok(chunk))
    }

    fn break_off(&mut self, reason: Reason, detail: &str) -> Option<Result<Bytes, StreamAbort>> {
        self.answer.take()?.done(Some((reason, detail.to_owned())));
        Some(Err(StreamAbort(detail.to_owned())))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
