//! Questions that a stand-in of this process asks the user's LLM: the same way as a client's request
//! (address check, credentials, aliases, repairs, metrics), with an answer in text.
//!
//! Called by `emulator::asking`, which knows what is asked and what to do without an answer. A dropped
//! future or stream cancels the call.

use std::{collections::VecDeque, pin::Pin};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{Gateway, answer::Tone, call::Call, live::Live, new_meta, record::CallRecord};
use crate::{
    handler::{ByteStream, EgressMeter, Note},
    llm::{
        problem::Problem,
        request::{Operation, Request},
        response,
        sse::Splitter,
        stream::{AnswerOptions, MAX_FRAME},
        structured::clip,
    },
};

/// JSON around the text of an answer, and room for what it thinks.
const AROUND: usize = 256 << 10;

/// One question.
pub struct Ask {
    /// A chat request without a model; whether it asks for a stream is as the method says.
    pub body: Bytes,
    /// Bytes of the answer's text.
    pub max_answer: usize,
    /// All is over by then.
    pub until: Instant,
    pub egress: EgressMeter,
    pub note: Note,
}

impl Ask {
    pub(super) fn max_whole(&self) -> usize {
        max_whole(self.max_answer)
    }
}

/// Bytes of an answer whose text has so many: it is JSON.
fn max_whole(max_answer: usize) -> usize {
    max_answer.saturating_mul(2).saturating_add(AROUND)
}

/// What the LLM said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    /// Whose words they are.
    pub url: String,
}

impl Said {
    /// The text of a whole completion, whose cost goes on the record.
    pub(super) fn of(
        whole: &response::Whole,
        url: String,
        max_answer: usize,
        record: &mut CallRecord,
    ) -> Result<Self, Problem> {
        record.usage(whole.usage);
        record.repairs(&whole.repairs);
        let text = text_of(&whole.body);
        match text.len() > max_answer {
            true => Err(too_large(url)),
            false => Ok(Self { text, url }),
        }
    }
}

/// Text as it comes; an error, in words for a person, is the last item.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<String, String>> + Send>>;

impl Gateway {
    /// The answer in one piece.
    pub async fn ask(&self, ask: Ask) -> Result<Said, Problem> {
        let (until, max_answer) = (ask.until, ask.max_answer);
        let (call, options) = (self.call_of(ask, false)?, options());
        let mut record = CallRecord::new(self.caller.metrics.clone(), Operation::Chat);
        let asking = async {
            let answered = self.caller.call(&call, &mut record).await?;
            let url = answered.url.clone();
            let whole = self.completed(Operation::Chat, answered, &options).await?;
            Ok((whole, url))
        };
        let outcome = timeout_at(until, asking).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.late(call.first_byte)));
        let outcome =
            outcome.and_then(|(whole, url)| Said::of(&whole, url, max_answer, &mut record));
        record.ended(&outcome);
        outcome
    }

    /// The answer's text, piece by piece.
    pub fn ask_in_pieces(&self, ask: Ask) -> Pieces {
        let (until, left) = (ask.until, ask.max_answer);
        let timeouts = self.caller.settings.timeouts;
        let tone = Tone::Http { no_retry: true };
        let calling = match self.call_of(ask, true) {
            Ok(call) => self.calling(call),
            Err(problem) => return stream::iter([Err(problem.explain())]).boxed(),
        };
        let live = Live::new(options(), tone, timeouts, self.caller.metrics.clone());
        let reading = Reading {
            events: live.calling(calling).into_stream(),
            splitter: Splitter::new(MAX_FRAME),
            ready: VecDeque::new(),
            left,
            until,
            over: false,
        };
        stream::unfold(reading, |mut reading| async move {
            let item = reading.next().await?;
            Some((item, reading))
        })
        .boxed()
    }

    fn call_of(&self, ask: Ask, stream: bool) -> Result<Call, Problem> {
        let Ask {
            body,
            max_answer,
            until,
            egress,
            note,
        } = ask;
        let left = until.saturating_duration_since(Instant::now());
        let rewrite = Request::parse(Operation::Chat, &body)?.rewrite();
        Ok(Call {
            operation: Operation::Chat,
            stream,
            body,
            rewrite,
            first_byte: left.min(self.caller.settings.timeouts.first_byte),
            max_whole: max_whole(max_answer),
            egress,
            note,
        })
    }

    fn late(&self, waited: std::time::Duration) -> Problem {
        let url = self.status().url.unwrap_or_default();
        Problem::Slow { url, waited }
    }
}

/// Nothing is offered, so a call of a tool becomes text; thoughts are no answer.
pub(super) fn options() -> AnswerOptions {
    AnswerOptions {
        operation: Operation::Chat,
        meta: new_meta(uuid::Uuid::new_v4(), "local"),
        strip_think: true,
        offered: Some(Vec::new()),
        explain_empty: false,
    }
}

fn too_large(url: String) -> Problem {
    let detail = "its answer is too large".to_owned();
    Problem::NotOpenAi { url, detail }
}

/// The text of a whole completion. Some servers that keep a model to a schema put all of it where
/// thoughts go; that is taken where there is nothing else.
fn text_of(completion: &str) -> String {
    let Ok(mut whole) = serde_json::from_str::<Value>(completion) else {
        return String::new();
    };
    let Some(message) = whole.pointer_mut("/choices/0/message") else {
        return String::new();
    };
    let mut text = |name: &str| match message.get_mut(name).map(Value::take) {
        Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
        Some(_) | None => None,
    };
    text("content")
        .or_else(|| text("reasoning_content"))
        .or_else(|| text("reasoning"))
        .unwrap_or_default()
}

struct Reading {
    /// Repaired: every frame is a chunk, an error or `[DONE]`.
    events: ByteStream,
    splitter: Splitter,
    ready: VecDeque<Result<String, String>>,
    left: usize,
    until: Instant,
    over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<String, String>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if self.over {
                return None;
            }
            match timeout_at(self.until, self.events.next()).await {
                Ok(Some(Ok(bytes))) => self.take(&bytes),
                Ok(Some(Err(abort))) => self.fail(abort.0),
                Ok(None) => self.over = true,
                Err(_) => self.fail("the answer took too long".into()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.splitter.push(bytes);
        while !self.over {
            let frame = match self.splitter.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return self.fail(error.to_string()),
            };
            let Some(chunk) = frame
                .data
                .and_then(|data| serde_json::from_slice::<Value>(&data).ok())
            else {
                continue;
            };
            if let Some(words) = chunk.pointer("/error/message").and_then(Value::as_str) {
                return self.fail(words.to_owned());
            }
            let text = chunk.pointer("/choices/0/delta/content");
            if let Some(text) = text.and_then(Value::as_str).filter(|t| !t.is_empty()) {
                self.say(text);
            }
        }
    }

    fn say(&mut self, text: &str) {
        let piece = clip(text, self.left).to_owned();
        self.left -= piece.len();
        let whole = piece.len() == text.len();
        if !piece.is_empty() {
            self.ready.push_back(Ok(piece));
        }
        if !whole {
            self.fail("the answer is too long".into());
        }
    }

    fn fail(&mut self, words: String) {
        self.over = true;
        self.ready.push_back(Err(words));
    }
}
