//! Metrics of one call, written when it ends, however it ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::call::clip;
use crate::{
    llm::{Repairs, Usage, problem::Problem, request::Operation},
    metrics::{Metrics, TokenType},
    prefetch::Expected,
};

/// Label where no model is known.
const NO_MODEL: &str = "unknown";

/// Dropped without [`CallRecord::done`] or [`CallRecord::failed`], the client went away.
pub struct CallRecord {
    metrics: Arc<Metrics>,
    operation: Operation,
    model: String,
    started: Instant,
    first_token: Option<Instant>,
    usage: Usage,
    streaming: bool,
    end: Option<&'static str>,
    _answer: Expected,
}

impl CallRecord {
    pub fn new(metrics: Arc<Metrics>, operation: Operation) -> Self {
        Self {
            metrics,
            operation,
            model: NO_MODEL.to_owned(),
            started: Instant::now(),
            first_token: None,
            usage: Usage::default(),
            streaming: false,
            end: None,
            _answer: Expected::new(),
        }
    }
    pub fn model(&mut self, model: &str) {
        self.model = if model.is_empty() {
            NO_MODEL.to_owned()
        } else {
            clip(model).into_owned()
        };
    }
    pub fn streaming(&mut self) {
        if !self.streaming {
            self.streaming = true;
            self.metrics.llm_stream_opened();
        }
    }
    pub fn first_token(&mut self) {
        // Counted at the end: nothing stands between the first token and its reader.
        self.first_token.get_or_insert_with(Instant::now);
    }
    pub fn usage(&mut self, usage: Usage) {
        self.usage = usage;
    }
    pub fn repairs(&self, repairs: &Repairs) {
        for (repair, times) in repairs.iter() {
            for _ in 0..times {
                self.metrics.llm_repair(repair.code());
            }
        }
    }
    pub fn ended<T>(&mut self, outcome: &Result<T, Problem>) {
        match outcome {
            Ok(_) => self.done(),
            Err(problem) => self.failed(problem.metric()),
        }
    }

    pub fn done(&mut self) {
        self.end.get_or_insert("");
    }
    /// `kind`: as [`Problem::metric`] gives it.
    pub fn failed(&mut self, kind: &'static str) {
        if self.end.is_none() {
            self.end = Some(kind);
            self.metrics.llm_error(kind);
        }
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        let operation = self.operation.as_str();
        let model = &self.model;
        if self.streaming {
            self.metrics.llm_stream_closed();
        }
        let end = self.end.unwrap_or("client_gone");
        self.metrics
            .llm_duration(operation, model, end, self.started.elapsed());
        for (kind, tokens) in [
            (TokenType::Input, self.usage.prompt),
            (TokenType::Output, self.usage.completion),
        ] {
            if let Some(tokens) = tokens {
                self.metrics.llm_tokens(operation, model, kind, tokens);
            }
        }
        if let Some(first) = self.first_token {
            self.metrics
                .llm_ttft(operation, model, first - self.started);
        }
        if let (Some(first), Some(tokens)) = (self.first_token, self.usage.completion)
            && let Some(after_first) = tokens.checked_sub(1).and_then(|n| u32::try_from(n).ok())
            && after_first > 0
        {
            let pace: Duration = first.elapsed() / after_first;
            self.metrics.llm_per_token(operation, model, pace);
        }
    }
}
