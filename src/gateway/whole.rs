//! An answer in one piece: for clients that did not ask for a stream.

use bytes::BytesMut;
use http::StatusCode;

use super::{
    Asked, Gateway, answer,
    call::{Answer, Answered},
    live::{Calling, reported, whole_problem},
};
use crate::{
    handler::LocalResponse,
    llm::{
        Repair,
        collect::Collector,
        problem::Problem,
        request::Operation,
        response,
        sse::Splitter,
        stream::{AnswerOptions, Ending, MAX_FRAME, Outcome, StreamRepair},
    },
    upstream::http_client::Body,
};

impl Gateway {
    pub(super) async fn whole(&self, asked: Asked, calling: Calling) -> LocalResponse {
        let Asked {
            operation,
            tone,
            options,
            ..
        } = asked;
        let (result, mut record) = calling.await;
        let completed = match result {
            Ok(answered) => self.completed(operation, answered, &options).await,
            Err(problem) => Err(problem),
        };
        match completed {
            Ok(whole) => {
                record.usage(whole.usage);
                record.repairs(&whole.repairs);
                record.done();
                answer::json(StatusCode::OK, whole.body)
            }
            Err(problem) => {
                record.failed(problem.metric());
                answer::problem(&problem, tone, &options.meta)
            }
        }
    }

    /// The answer in one piece, however it came.
    pub(super) async fn completed(
        &self,
        operation: Operation,
        answered: Answered,
        options: &AnswerOptions,
    ) -> Result<response::Whole, Problem> {
        let Answered { answer, url } = answered;
        match answer {
            Answer::Whole(text) => {
                response::repair(&text, options).map_err(|e| whole_problem(e, &url, options))
            }
            Answer::Events(body) => self.collect(operation, body, &url, options).await,
        }
    }

    /// A server that streams although a whole answer was asked for.
    async fn collect(
        &self,
        operation: Operation,
        mut body: Body,
        url: &str,
        options: &AnswerOptions,
    ) -> Result<response::Whole, Problem> {
        let url = || url.to_owned();
        if operation != Operation::Chat {
            let detail = "it streams an answer that was to be whole".to_owned();
            return Err(Problem::NotOpenAi { url: url(), detail });
        }
        let idle = self.caller.settings.timeouts.idle;
        let mut repair = StreamRepair::new(options.clone());
        let mut out = BytesMut::new();
        let broken = |detail: String| Problem::Broken { url: url(), detail };
        let outcome = loop {
            match tokio::time::timeout(idle, body.chunk()).await {
                Err(_) => {
                    return Err(Problem::Slow {
                        url: url(),
                        waited: idle,
                    });
                }
                Ok(Some(Err(detail))) => return Err(broken(detail)),
                Ok(Some(Ok(bytes))) => match repair.push(&bytes, &mut out).outcome {
                    None if out.len() > MAX_FRAME => break Outcome::TooLarge,
                    None => {}
                    Some(outcome) => break outcome,
                },
                Ok(None) => match repair.finish(&mut out) {
                    (_, Some(outcome)) => break outcome,
                    (Ending::Complete, None) => break Outcome::Done,
                    (Ending::Truncated | Ending::Nothing, None) => {
                        return Err(broken(
                            "it closed the connection before the answer was complete".into(),
                        ));
                    }
                },
            }
        };
        match outcome {
            Outcome::Error(message) => return Err(reported(message, &url(), options)),
            Outcome::TooLarge => {
                return Err(Problem::NotOpenAi {
                    url: url(),
                    detail: "its answer is too large".into(),
                });
            }
            Outcome::Done => {}
        }
        let mut collector = Collector::default();
        let mut splitter = Splitter::new(out.len());
        splitter.push(&out);
        while let Ok(Some(frame)) = splitter.next_frame() {
            if let Some(Ok(data)) = frame.data.as_deref().map(std::str::from_utf8) {
                collector.add(data);
            }
        }
        let mut repairs = repair.repairs().clone();
        repairs.add(Repair::StreamForWhole);
        Ok(response::Whole {
            body: collector.finish(),
            usage: repair.usage(),
            repairs,
        })
    }
}
