//! A streamed answer on its way to the client.
//!
//! Each piece of the upstream is repaired and passed on at once. While nothing comes, comments
//! keep the line open. An answer that breaks off is never ended as if it were whole: the plugin
//! reads the reason in the chat, everyone else gets an error event and a cut connection.
//! Dropping the stream drops the upstream's body, which cancels the call.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::time::{Instant, timeout};

use super::{
    answer::Tone,
    call::{Answer, Answered},
    record::CallRecord,
    settings::Timeouts,
};
use crate::{
    handler::{ByteStream, StreamAbort},
    llm::{
        Repair,
        problem::{Problem, Refusal, RefusalKind},
        reply,
        request::Operation,
        response::{self, WholeError},
        stream::{AnswerOptions, Ending, Outcome, StreamRepair},
    },
    metrics::Metrics,
    upstream::http_client::Body,
};

/// How long what is left behind `[DONE]` may take, so that the connection can be used again.
const DRAIN: Duration = Duration::from_millis(500);
/// The error event must be on the wire before the connection is cut behind it.
const BEFORE_CUT: Duration = Duration::from_millis(50);
const COMMENT: &[u8] = b": waiting for the local llm\n\n";

/// A call under way; gives the record back with its outcome.
pub type Calling = Pin<Box<dyn Future<Output = (Result<Answered, Problem>, CallRecord)> + Send>>;

pub struct Live {
    phase: Phase,
    repair: StreamRepair,
    options: AnswerOptions,
    tone: Tone,
    timeouts: Timeouts,
    metrics: Arc<Metrics>,
    out: BytesMut,
    url: String,
}

enum Phase {
    Calling(Calling),
    Reading {
        body: Body,
        record: CallRecord,
        heard: Instant,
    },
    Cut(String),
    Over,
}

impl Live {
    pub fn new(
        options: AnswerOptions,
        tone: Tone,
        timeouts: Timeouts,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            phase: Phase::Over,
            repair: StreamRepair::new(options.clone()),
            options,
            tone,
            timeouts,
            metrics,
            out: BytesMut::new(),
            url: String::new(),
        }
    }

    /// Still waiting for the upstream's head.
    pub fn calling(mut self, calling: Calling) -> Self {
        self.phase = Phase::Calling(calling);
        self
    }

    /// The upstream has answered.
    pub fn answered(mut self, answered: Answered, record: CallRecord) -> Self {
        self.take(answered, record);
        self
    }

    fn take(&mut self, answered: Answered, mut record: CallRecord) {
        self.url = answered.url;
        match answered.answer {
            Answer::Events(body) => {
                record.streaming();
                self.phase = Phase::Reading {
                    body,
                    record,
                    heard: Instant::now(),
                };
            }
            Answer::Whole(text) => {
                self.phase = Phase::Over;
                self.whole(&text, record);
            }
        }
    }

    pub fn into_stream(self) -> ByteStream {
        Box::pin(stream::unfold(self, |mut live| async move {
            let item = live.next().await?;
            Some((item, live))
        }))
    }

    async fn next(&mut self) -> Option<Result<Bytes, StreamAbort>> {
        loop {
            if !self.out.is_empty() {
                return Some(Ok(self.out.split().freeze()));
            }
            match &mut self.phase {
                Phase::Over => return None,
                Phase::Cut(reason) => {
                    let reason = std::mem::take(reason);
                    self.phase = Phase::Over;
                    tokio::time::sleep(BEFORE_CUT).await;
                    return Some(Err(StreamAbort(reason)));
                }
                Phase::Calling(calling) => match timeout(self.timeouts.keep_alive, calling).await {
                    Err(_) => return Some(Ok(Bytes::from_static(COMMENT))),
                    Ok((Ok(answered), record)) => self.take(answered, record),
                    Ok((Err(problem), mut record)) => {
                        record.failed(problem.metric());
                        self.phase = Phase::Over;
                        self.tell(&problem);
                    }
                },
                Phase::Reading { .. } => {
                    if let Some(comment) = self.read().await {
                        return Some(Ok(comment));
                    }
                }
            }
        }
    }

    /// Takes one piece of the upstream; a comment when none came for a while.
    async fn read(&mut self) -> Option<Bytes> {
        let Phase::Reading {
            body,
            record,
            heard,
        } = &mut self.phase
        else {
            return None;
        };
        let left = self.timeouts.idle.saturating_sub(heard.elapsed());
        let chunk = match timeout(left.min(self.timeouts.keep_alive), body.chunk()).await {
            Ok(chunk) => chunk,
            Err(_) if heard.elapsed() < self.timeouts.idle => {
                return Some(Bytes::from_static(COMMENT));
            }
            Err(_) => {
                let problem = Problem::Slow {
                    url: self.url.clone(),
                    waited: self.timeouts.idle,
                };
                self.end_with(&problem);
                return None;
            }
        };
        match chunk {
            Some(Ok(bytes)) => {
                *heard = Instant::now();
                self.metrics.llm_received(bytes.len());
                let progress = self.repair.push(&bytes, &mut self.out);
                if progress.first_token {
                    record.first_token();
                }
                if let Some(outcome) = progress.outcome {
                    self.outcome(outcome);
                }
            }
            Some(Err(detail)) => {
                // What came whole before the break still counts.
                if let (Ending::Complete, None) = self.repair.finish(&mut self.out) {
                    self.complete();
                } else {
                    let problem = Problem::Broken {
                        url: self.url.clone(),
                        detail: format!("the connection was cut ({detail})"),
                    };
                    self.end_with(&problem);
                }
            }
            None => match self.repair.finish(&mut self.out) {
                (_, Some(outcome)) => self.outcome(outcome),
                (Ending::Complete, None) => self.complete(),
                (Ending::Truncated, None) => {
                    let detail =
                        "it closed the connection before the answer was complete".to_owned();
                    self.end_with(&Problem::Broken {
                        url: self.url.clone(),
                        detail,
                    });
                }
                (Ending::Nothing, None) => {
                    let detail = "it sent no chunk of an answer".to_owned();
                    self.end_with(&Problem::NotOpenAi {
                        url: self.url.clone(),
                        detail,
                    });
                }
            },
        }
        None
    }

    fn outcome(&mut self, outcome: Outcome) {
        let url = self.url.clone();
        match outcome {
            Outcome::Done => self.complete(),
            Outcome::Error(message) => {
                let problem = reported(message, &url, &self.options);
                self.end_with(&problem);
            }
            Outcome::TooLarge => {
                self.end_with(&Problem::NotOpenAi {
                    url,
                    detail: "one of its events is too large".into(),
                });
            }
        }
    }

    fn complete(&mut self) {
        if let Phase::Reading {
            mut body,
            mut record,
            ..
        } = std::mem::replace(&mut self.phase, Phase::Over)
        {
            record.usage(self.repair.usage());
            record.repairs(self.repair.repairs());
            record.done();
            drop(record);
            // Nobody waits for the end of the chunked body; read, it frees the connection.
            tokio::spawn(async move {
                let drain = async { while let Some(Ok(_)) = body.chunk().await {} };
                let _ = timeout(DRAIN, drain).await;
            });
        }
    }

    /// Ends a stream that was being read with a problem.
    fn end_with(&mut self, problem: &Problem) {
        if let Phase::Reading { mut record, .. } = std::mem::replace(&mut self.phase, Phase::Over) {
            record.usage(self.repair.usage());
            record.repairs(self.repair.repairs());
            record.failed(problem.metric());
        }
        self.tell(problem);
    }

    fn tell(&mut self, problem: &Problem) {
        match self.tone {
            Tone::Chat => self
                .repair
                .close_with_text(&problem.explain(), &mut self.out),
            Tone::Http { .. } => {
                self.out
                    .extend_from_slice(problem.to_error().to_frame().as_bytes());
                self.phase = Phase::Cut(problem.code().to_owned());
            }
        }
    }

    /// A server that ignored `stream:true`.
    fn whole(&mut self, text: &str, mut record: CallRecord) {
        match response::repair(text, &self.options) {
            Ok(whole) => {
                record.first_token();
                record.usage(whole.usage);
                let mut repairs = whole.repairs;
                repairs.add(Repair::WholeForStream);
                record.repairs(&repairs);
                record.done();
                let stream = match self.options.operation {
                    Operation::Chat => response::to_stream(&whole.body, &self.options.meta),
                    Operation::Completion | Operation::Embeddings => {
                        reply::data_frame(&whole.body) + reply::DONE
                    }
                };
                self.out.extend_from_slice(stream.as_bytes());
            }
            Err(error) => {
                let problem = whole_problem(error, &self.url, &self.options);
                record.failed(problem.metric());
                self.tell(&problem);
            }
        }
    }
}

/// A whole answer that is none.
pub fn whole_problem(error: WholeError, url: &str, options: &AnswerOptions) -> Problem {
    match error {
        WholeError::Reported(message) => reported(message, url, options),
        WholeError::NotOpenAi => Problem::NotOpenAi {
            url: url.to_owned(),
            detail: "its answer is no OpenAI completion".into(),
        },
    }
}

/// An error that came behind a good status, sorted by its words.
pub fn reported(message: String, url: &str, options: &AnswerOptions) -> Problem {
    const STATUS: u16 = 500;
    let url = url.to_owned();
    match RefusalKind::classify(STATUS, &message) {
        RefusalKind::Other => Problem::Broken {
            url,
            detail: message,
        },
        kind => Problem::Refused(Refusal {
            url,
            status: STATUS,
            kind,
            message,
            model: options.meta.model.clone(),
            known_models: Vec::new(),
        }),
    }
}
