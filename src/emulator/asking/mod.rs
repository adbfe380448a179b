//! One short question to the user's own LLM, with an answer that can be used or none.
//!
//! | file | holds |
//! |---|---|
//! | this one | [`Asking`]: how a question is put, read, put again, and given up |
//! | [`turns`] | who may ask now |
//!
//! Called by the stand-ins of `emulator`. Every question has a deadline and bounds, and every caller a
//! floor for [`Unanswered`]: an LLM that is not there, is slow, or talks nonsense is no failure of ours.
//! Sockets, credentials, aliases and metrics are `gateway`'s. A question is never logged, nor its answer.

pub mod turns;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use self::turns::{Asker, TooMany, Turns};
use crate::{
    gateway::{
        Gateway,
        ask::{Ask, Pieces, Said},
        provider::Keyed,
    },
    handler::Exchange,
    llm::{
        problem::{Problem, Refusal, RefusalKind},
        structured::{self, Form, Shape, Talk},
    },
};

/// LLMs whose likes are remembered: the configured one, and those that were found.
const MAX_REMEMBERED: usize = 16;

/// What a question may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// All of it: waiting for a turn, every try.
    pub time: Duration,
    /// Answers that are asked for, the first included.
    pub tries: usize,
    /// Tokens of one answer, thoughts included.
    pub tokens: u32,
    /// Bytes of one answer's text.
    pub bytes: usize,
}

impl Default for Cost {
    /// For an answer of a few lines, by a small model on a CPU.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(90),
            tries: 2,
            tokens: 2_048,
            bytes: 64 << 10,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    pub system: String,
    pub user: String,
    pub cost: Cost,
}

/// Whose LLM is asked.
#[derive(Clone, Debug)]
pub enum Whom {
    /// The user's own.
    Configured,
    /// One that the user enabled, with the key that came along.
    Provider(Keyed),
}

/// Why there is no answer; the text is for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("other questions to your LLM are still being answered; ask again in a moment")]
    Busy,
    #[error("your LLM took longer than {} seconds", .0.as_secs())]
    Late(Duration),
    #[error("{}", .0.explain())]
    Llm(Problem),
    /// Every try was bad; the reason is the last one's.
    #[error("the answer of your LLM could not be used: {0}")]
    Unusable(String),
}

impl Unanswered {
    /// A word for the audit record.
    pub fn code(&self) -> &'static str {
        match self {
            Unanswered::Busy => "llm_busy",
            Unanswered::Late(_) => "llm_timeout",
            Unanswered::Llm(problem) => problem.code(),
            Unanswered::Unusable(_) => "llm_answer_unusable",
        }
    }
}

/// How an LLM wants to be asked. Learnt from its refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Likes {
    form: Form,
    /// Whether it takes `max_tokens`.
    limit: bool,
}

impl Likes {
    const UNKNOWN: Self = Self {
        form: Form::Schema,
        limit: true,
    };

    /// What to try instead after a refusal; `None`: it is not the form that was refused.
    fn after(self, refusal: &Refusal) -> Option<Self> {
        let Refusal {
            status,
            kind,
            message,
            ..
        } = refusal;
        let says = |words: &[&str]| {
            let message = message.to_ascii_lowercase();
            words.iter().any(|word| message.contains(word))
        };
        match kind {
            RefusalKind::Other | RefusalKind::Template => {}
            RefusalKind::Key
            | RefusalKind::ModelMissing
            | RefusalKind::ContextTooLong
            | RefusalKind::ToolsUnsupported
            | RefusalKind::ImagesUnsupported
            | RefusalKind::RateLimited
            | RefusalKind::Loading
            | RefusalKind::Redirect => return None,
        }
        // Servers that compile a grammar fail at it with 500.
        let about_form = says(&["schema", "grammar", "response_format", "format"]);
        match (status, self) {
            (400 | 422, Self { limit: true, form }) if says(&["max_tokens"]) => {
                Some(Self { limit: false, form })
            }
            (
                400 | 422,
                Self {
                    form: Form::Schema,
                    limit,
                },
            ) => Some(Self {
                form: Form::Plain,
                limit,
            }),
            (
                500 | 501,
                Self {
                    form: Form::Schema,
                    limit,
                },
            ) if about_form => Some(Self {
                form: Form::Plain,
                limit,
            }),
            _ => None,
        }
    }
}

/// Puts questions of the stand-ins to the user's LLM.
pub struct Asking {
    gateway: Arc<Gateway>,
    turns: Turns,
    likes: Mutex<Remembered>,
}

impl Asking {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            gateway,
            turns: Turns::default(),
            likes: Mutex::default(),
        }
    }

    /// Asks for an object of that shape. `check` says what is made of it, or what is wrong with it, in
    /// words for the model, which then gets another try.
    pub async fn object<T: DeserializeOwned, U>(
        &self,
        question: &Question,
        shape: &Shape,
        exchange: &Exchange,
        check: impl FnMut(T) -> Result<U, String>,
    ) -> Result<U, Unanswered> {
        self.object_by(&Whom::Configured, question, shape, exchange, check)
            .await
    }

    /// As [`Asking::object`], of that LLM.
    pub async fn object_by<T: DeserializeOwned, U>(
        &self,
        whom: &Whom,
        question: &Question,
        shape: &Shape,
        exchange: &Exchange,
        mut check: impl FnMut(T) -> Result<U, String>,
    ) -> Result<U, Unanswered> {
        let Question { system, user, cost } = question;
        let until = Instant::now() + cost.time;
        let _turn = self.turn(exchange, question, until).await?;
        let mut talk = Talk {
            system: system.clone(),
            user: user.clone(),
            again: Vec::new(),
        };
        loop {
            let ask = |body| ask(body, exchange, cost, until);
            let Said { text, url: _ } = self.said(whom, &talk, shape, cost, ask).await?;
            let checked = structured::read::<T>(&text)
                .map_err(|e| e.to_string())
                .and_then(&mut check);
            let wrong = match checked {
                Ok(good) => return Ok(good),
                Err(wrong) => wrong,
            };
            tracing::debug!(shape = shape.name, "an answer of the llm could not be used");
            if talk.again.len() + 1 >= cost.tries {
                return Err(Unanswered::Unusable(wrong));
            }
            talk.again.push((text, wrong));
        }
    }

    /// Asks for a text and gives it as it comes. The stream is lazy: nothing is asked before it is
    /// polled. An error is its last item, and may follow on text.
    pub fn text(self: &Arc<Self>, question: Question, exchange: &Exchange) -> Pieces {
        let (this, exchange) = (self.clone(), exchange.clone());
        let asking = async move {
            let until = Instant::now() + question.cost.time;
            let turn = match this.turn(&exchange, &question, until).await {
                Ok(turn) => turn,
                Err(why) => return stream::iter([Err(why.to_string())]).boxed(),
            };
            let Question { system, user, cost } = question;
            let talk = Talk {
                system,
                user,
                again: Vec::new(),
            };
            let body = talk.request(None, None, true);
            let pieces = this
                .gateway
                .ask_in_pieces(ask(body, &exchange, &cost, until));
            // The turn lasts as long as the answer.
            stream::unfold((pieces, turn), |(mut pieces, turn)| async move {
                let piece = pieces.next().await?;
                Some((piece, (pieces, turn)))
            })
            .boxed()
        };
        stream::once(asking).flatten().boxed()
    }

    async fn turn(
        &self,
        exchange: &Exchange,
        question: &Question,
        until: Instant,
    ) -> Result<turns::Turn, Unanswered> {
        let asker = Asker::of(exchange);
        match timeout_at(until, self.turns.take(&asker)).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(TooMany)) => Err(Unanswered::Busy),
            Err(_) => Err(Unanswered::Late(question.cost.time)),
        }
    }

    /// One answer. An LLM that refuses the form is asked in another one, at most once each, and what it
    /// took is remembered.
    async fn said(
        &self,
        whom: &Whom,
        talk: &Talk,
        shape: &Shape,
        cost: &Cost,
        ask: impl Fn(Vec<u8>) -> Ask,
    ) -> Result<Said, Unanswered> {
        let url = match whom {
            Whom::Configured => self.gateway.status().url,
            Whom::Provider(keyed) => Some(keyed.url()),
        };
        let known = url.and_then(|url| self.likes.lock().of(&url));
        let mut likes = known.unwrap_or(Likes::UNKNOWN);
        loop {
            let limit = likes.limit.then_some(cost.tokens);
            let body = talk.request(Some((shape, likes.form)), limit, false);
            let ask = ask(body);
            let until = ask.until;
            let asked = match whom {
                Whom::Configured => self.gateway.ask(ask).await,
                Whom::Provider(keyed) => keyed.ask(ask).await,
            };
            let problem = match asked {
                Ok(said) => {
                    if known != Some(likes) {
                        self.likes.lock().note(&said.url, likes);
                    }
                    return Ok(said);
                }
                Err(problem) => problem,
            };
            let other = match &problem {
                Problem::Refused(refusal) => likes.after(refusal),
                Problem::NoneFound { .. }
                | Problem::Unreachable { .. }
                | Problem::Tls { .. }
                | Problem::Slow { .. }
                | Problem::Broken { .. }
                | Problem::NotOpenAi { .. }
                | Problem::BadRequest { .. } => None,
            };
            match other {
                Some(other) => likes = other,
                None if Instant::now() >= until => return Err(Unanswered::Late(cost.time)),
                None => return Err(Unanswered::Llm(problem)),
            }
        }
    }
}

fn ask(body: Vec<u8>, exchange: &Exchange, cost: &Cost, until: Instant) -> Ask {
    Ask {
        body: Bytes::from(body),
        max_answer: cost.bytes,
        until,
        egress: exchange.egress.clone(),
        note: exchange.note.clone(),
    }
}

/// By base URL, the oldest forgotten first.
#[derive(Default)]
struct Remembered {
    likes: HashMap<String, Likes>,
    order: VecDeque<String>,
}

impl Remembered {
    fn of(&self, url: &str) -> Option<Likes> {
        self.likes.get(url).copied()
    }

    fn note(&mut self, url: &str, likes: Likes) {
        if self.likes.insert(url.to_owned(), likes).is_none() {
            self.order.push_back(url.to_owned());
        }
        while self.order.len() > MAX_REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.likes.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
