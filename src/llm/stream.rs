//! Repair of a streamed answer, frame by frame, as the bytes come (WIRE.md 2.4, 24).
//!
//! A frame that needs nothing goes on with its original bytes. Nothing is held back but an
//! incomplete frame and the beginning of what may be a `<think>` tag.

use std::borrow::Cow;

use bytes::BytesMut;

use super::{
    calls::{self, Calls, Place},
    edit::{self, Editor, Object},
    repair::{Repair, Repairs},
    reply::{self, Meta},
    request::Operation,
    response,
    sse::{Frame, Splitter},
    think::{Parted, ThinkFilter},
    usage::Usage,
};

mod delta;
mod glance;

use glance::Glance;

/// Largest frame of an upstream; a whole answer may come in one.
pub const MAX_FRAME: usize = 8 << 20;
/// Choices of one answer that are repaired; `n` is hardly ever above 1.
const MAX_CHOICES: usize = 32;

/// How an answer, streamed or whole, is to be repaired.
#[derive(Clone, Debug)]
pub struct AnswerOptions {
    pub operation: Operation,
    /// For fields that the upstream leaves out and frames made here; `id` and `created` are the
    /// caller's, because nothing here draws numbers or reads a clock.
    pub meta: Meta,
    /// Move `<think>` text to `reasoning_content`.
    pub strip_think: bool,
    /// Tools the request offered: calls of others become text. `None` lets all pass.
    pub offered: Option<Vec<String>>,
    /// Put a sentence where an answer would be empty.
    pub explain_empty: bool,
}

/// What one push showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first token of any kind was in it.
    pub first_token: bool,
    pub outcome: Option<Outcome>,
}

/// How a stream ended by what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `[DONE]` was seen and passed on.
    Done,
    /// The upstream reported an error; nothing of it was passed on.
    Error(String),
    /// A frame was larger than [`MAX_FRAME`].
    TooLarge,
}

/// How a stream stands when the upstream closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All was said; a missing `[DONE]` was added.
    Complete,
    /// It broke off in the middle.
    Truncated,
    /// Not one chunk came.
    Nothing,
}

/// Repairs one stream.
#[derive(Debug)]
pub struct StreamRepair {
    options: AnswerOptions,
    splitter: Splitter,
    choices: Vec<Choice>,
    usage: Usage,
    repairs: Repairs,
    chunks: u64,
    tokens_began: bool,
    done: bool,
}

#[derive(Debug)]
struct Choice {
    index: u64,
    think: ThinkFilter,
    calls: Calls,
    /// Something but white space was shown.
    shown: bool,
    reasoned: bool,
    finished: bool,
}

impl StreamRepair {
    pub fn new(options: AnswerOptions) -> Self {
        Self {
            options,
            splitter: Splitter::new(MAX_FRAME),
            choices: Vec::new(),
            usage: Usage::default(),
            repairs: Repairs::default(),
            chunks: 0,
            tokens_began: false,
            done: false,
        }
    }

    /// Takes upstream bytes; appends to `out` what the client gets.
    pub fn push(&mut self, bytes: &[u8], out: &mut BytesMut) -> Progress {
        let began = self.tokens_began;
        self.splitter.push(bytes);
        let outcome = loop {
            match self.splitter.next_frame() {
                Ok(Some(frame)) => {
                    if let Some(outcome) = self.frame(&frame, true, out) {
                        break Some(outcome);
                    }
                }
                Ok(None) => break None,
                Err(_) => break Some(Outcome::TooLarge),
            }
        };
        Progress {
            first_token: self.tokens_began && !began,
            outcome,
        }
    }

    /// The upstream closed the stream: completes what is complete.
    pub fn finish(&mut self, out: &mut BytesMut) -> (Ending, Option<Outcome>) {
        let mut outcome = None;
        if let Some(rest) = self.splitter.finish() {
            outcome = self.frame(&rest, false, out);
        }
        let ending = if self.done {
            Ending::Complete
        } else if self.choices.iter().any(|c| c.finished) && outcome.is_none() {
            self.done = true;
            self.repairs.add(Repair::Done);
            out.extend_from_slice(reply::DONE.as_bytes());
            Ending::Complete
        } else if self.chunks == 0 {
            Ending::Nothing
        } else {
            Ending::Truncated
        };
        (ending, outcome)
    }

    /// Ends the stream with a last text, as a normal message (WIRE.md 0.4 rule 3).
    pub fn close_with_text(&mut self, text: &str, out: &mut BytesMut) {
        let held = self
            .choices
            .first_mut()
            .map(|c| (c.think.finish(), c.shown));
        let (held, shown) = held.unwrap_or_default();
        let gap = if shown || !held.visible.trim().is_empty() {
            "\n\n"
        } else {
            ""
        };
        let text = format!("{}{gap}{text}", held.visible);
        let meta = &self.options.meta;
        out.extend_from_slice(meta.text_frame(&text).as_bytes());
        out.extend_from_slice(meta.finish_frame("stop").as_bytes());
        out.extend_from_slice(reply::DONE.as_bytes());
        self.done = true;
    }

    pub fn usage(&self) -> Usage {
        self.usage
    }
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }
    /// Anything was passed on that a client would show.
    pub fn has_begun(&self) -> bool {
        self.tokens_began
    }
    /// True if the answer asks for tool calls that were passed on.
    pub fn calls_tools(&self) -> bool {
        self.choices.iter().any(|c| c.calls.any_kept())
    }

    /// `whole`: the frame's blank line came, so its bytes can go on as they are.
    fn frame(&mut self, frame: &Frame, whole: bool, out: &mut BytesMut) -> Option<Outcome> {
        if self.done {
            if frame.raw.iter().all(|b| matches!(b, b'\n' | b'\r')) {
                out.extend_from_slice(&frame.raw);
            }
            return None;
        }
        let Some(data) = &frame.data else {
            if !frame.has_field {
                out.extend_from_slice(&frame.raw);
            } else {
                // SDKs parse the missing data as JSON and fail.
                self.repairs.add(Repair::OddFrame);
            }
            return None;
        };
        let Ok(data) = std::str::from_utf8(data) else {
            self.repairs.add(Repair::NotJson);
            return None;
        };
        let data = data.trim();
        if data.is_empty() {
            self.repairs.add(Repair::OddFrame);
            return None;
        }
        // An `event:` line makes some SDKs take the chunk for another kind of event.
        let as_it_is = whole && frame.event.is_none();
        if frame.event.is_some() {
            self.repairs.add(Repair::EventLine);
        }
        if data.starts_with("[DONE]") {
            self.finish_choices(out);
            out.extend_from_slice(if as_it_is {
                &frame.raw
            } else {
                reply::DONE.as_bytes()
            });
            self.done = true;
            return Some(Outcome::Done);
        }
        if let Some(message) = error_message(data, frame.event.as_deref()) {
            return Some(Outcome::Error(message));
        }
        let repaired = match self.options.operation {
            Operation::Chat => self.chat_chunk(data),
            Operation::Completion | Operation::Embeddings => self.text_chunk(data),
        };
        match repaired {
            None => self.repairs.add(Repair::NotJson),
            Some(Cow::Borrowed(_)) if as_it_is => out.extend_from_slice(&frame.raw),
            Some(text) => out.extend_from_slice(reply::data_frame(&text).as_bytes()),
        }
        None
    }

    /// The chunk as it goes on; `None` when it is no JSON object.
    fn chat_chunk<'a>(&mut self, data: &'a str) -> Option<Cow<'a, str>> {
        if let Some(glance) = Glance::of(data)
            && self.needs_nothing(&glance)
        {
            self.chunks += 1;
            return Some(Cow::Borrowed(data));
        }
        let filled = self.fill_fields(data)?;
        self.chunks += 1;
        let repaired = self.repair_choices(&filled);
        match repaired {
            Some(text) => Some(Cow::Owned(text)),
            None => Some(filled),
        }
    }

    /// The quick way: true when the chunk can go on as it is. Notes what it shows.
    fn needs_nothing(&mut self, glance: &Glance<'_>) -> bool {
        if !glance.is_complete() {
            return false;
        }
        let strip = self.options.strip_think;
        for (at, choice) in glance.choices.iter().enumerate() {
            let plain = choice.finish_reason.is_none() && choice.tool_calls.is_none();
            let state = self.choices.iter().find(|c| c.index == choice.index);
            let state_plain = !strip || state.is_none_or(|state| state.think.passes(""));
            let text = choice.content.unwrap_or_default().as_bytes();
            let text_plain = match strip {
                true => memchr::memchr3(b'<', b'`', b'\\', text).is_none(),
                // Behind an escape may be a space, which shows nothing.
                false => state.is_some_and(|state| state.shown) || !text.contains(&b'\\'),
            };
            if !plain || !state_plain || !text_plain || at >= MAX_CHOICES {
                return false;
            }
        }
        for choice in &glance.choices {
            let text = choice.content.map_or("", |c| c.trim_matches('"'));
            let known = self.choices.iter().any(|c| c.index == choice.index);
            // What says nothing makes no state.
            if !known && text.is_empty() && !choice.reasons {
                continue;
            }
            let Some(at) = self.choice(choice.index) else {
                continue;
            };
            let Some(state) = self.choices.get_mut(at) else {
                continue;
            };
            state.shown |= !text.trim().is_empty();
            state.reasoned |= choice.reasons;
            self.tokens_began |= choice.reasons || !text.is_empty();
        }
        self.note_usage(glance.usage);
        true
    }

    /// Adds what current SDKs require of every chunk.
    fn fill_fields<'a>(&mut self, data: &'a str) -> Option<Cow<'a, str>> {
        let object = Object::parse(data)?;
        let mut editor = Editor::new(data);
        let mut added = Vec::new();
        let meta = &self.options.meta;
        let is_string = |v: &str| v.starts_with('"');
        let is_number = |v: &str| v.starts_with(|c: char| c.is_ascii_digit());
        let mut need = |key, fits: &dyn Fn(&str) -> bool, value: String| {
            let mut found = false;
            for old in object.all(key) {
                found = true;
                if !fits(old) {
                    editor.replace(old, value.clone());
                }
            }
            if !found {
                added.push((key, value));
            }
        };
        need("id", &is_string, edit::quote(&meta.id));
        need("object", &is_string, "\"chat.completion.chunk\"".into());
        need("created", &is_number, meta.created.to_string());
        need("model", &is_string, edit::quote(&meta.model));
        need("choices", &|v| v.starts_with('['), "[]".into());
        editor.add_members(&object, &added);
        let choices = object.all("choices").filter_map(edit::elements).flatten();
        for (at, choice) in choices.enumerate() {
            let Some(choice) = Object::parse(choice) else {
                continue;
            };
            let mut added = Vec::new();
            if choice.last("index").and_then(edit::unsigned).is_none() {
                match choice.last("index") {
                    Some(odd) => editor.replace(odd, at.to_string()),
                    None => added.push(("index", at.to_string())),
                }
            }
            if choice.last("delta").is_none_or(|d| !d.starts_with('{')) {
                // Some servers close a stream with a whole message.
                let message = choice
                    .last("message")
                    .filter(|m| m.starts_with('{'))
                    .unwrap_or("{}");
                match choice.last("delta") {
                    Some(odd) => editor.replace(odd, message),
                    None => added.push(("delta", message.to_owned())),
                }
            }
            editor.add_members(&choice, &added);
        }
        if !editor.is_untouched() {
            self.repairs.add(Repair::Fields);
        }
        Some(editor.finish())
    }

    fn note_usage(&mut self, usage: Option<&str>) {
        if let Some(usage) = usage.and_then(Usage::parse) {
            self.usage = usage;
        }
    }

    /// A chunk of `/v1/completions`: watched, not changed.
    fn text_chunk<'a>(&mut self, data: &'a str) -> Option<Cow<'a, str>> {
        let object = Object::parse(data)?;
        self.chunks += 1;
        self.note_usage(object.present("usage"));
        for choice in object
            .last("choices")
            .and_then(edit::elements)
            .unwrap_or_default()
        {
            let Some(choice) = Object::parse(choice) else {
                continue;
            };
            self.tokens_began |= choice.string("text").is_some_and(|t| !t.is_empty());
            let index = choice.last("index").and_then(edit::unsigned).unwrap_or(0);
            if choice.present("finish_reason").is_some()
                && let Some(at) = self.choice(index)
                && let Some(state) = self.choices.get_mut(at)
            {
                state.finished = true;
            }
        }
        Some(Cow::Borrowed(data))
    }

    /// Position of a choice's state, made when it is new; `None` past the bound.
    fn choice(&mut self, index: u64) -> Option<usize> {
        if let Some(at) = self.choices.iter().position(|c| c.index == index) {
            return Some(at);
        }
        if self.choices.len() >= MAX_CHOICES {
            return None;
        }
        let tag = response::call_tag(&self.options.meta);
        self.choices.push(Choice {
            index,
            think: ThinkFilter::default(),
            calls: Calls::new(tag, self.options.offered.clone()),
            shown: false,
            reasoned: false,
            finished: false,
        });
        Some(self.choices.len() - 1)
    }

    /// `[DONE]` came: says what was held, and why the answer ended if the upstream did not.
    fn finish_choices(&mut self, out: &mut BytesMut) {
        if self.options.operation != Operation::Chat || self.chunks == 0 {
            return;
        }
        if self.choice(0).is_none() {
            return;
        }
        let Some(choice) = self
            .choices
            .iter_mut()
            .find(|c| c.index == 0 && !c.finished)
        else {
            return;
        };
        let reason = if choice.calls.any_kept() {
            "tool_calls"
        } else {
            "stop"
        };
        let mut held = choice.think.finish();
        choice.shown |= !held.visible.trim().is_empty();
        choice.finished = true;
        if self.options.explain_empty
            && let Some(text) = delta::empty_answer_text(choice, reason)
        {
            held.visible.push_str(text);
            self.repairs.add(Repair::EmptyAnswer);
        }
        let meta = &self.options.meta;
        if !held.visible.is_empty() {
            out.extend_from_slice(meta.text_frame(&held.visible).as_bytes());
        }
        out.extend_from_slice(meta.finish_frame(reason).as_bytes());
        self.repairs.add(Repair::FinishReason);
    }
}

/// The message of `{"error":…}`, or of an `event: error`.
pub(super) fn error_message(data: &str, event: Option<&[u8]>) -> Option<String> {
    if event != Some(b"error") && !data.contains("\"error\"") {
        return None;
    }
    let object = Object::parse(data)?;
    match object.present("error") {
        Some(_) if object.present("choices").is_some_and(|c| c != "[]") => None,
        Some(error) => Some(reply_message(error)),
        None if event == Some(b"error") => Some(reply_message(data)),
        None => None,
    }
}

/// Message of an error value: a string, or an object with a `message`.
fn reply_message(error: &str) -> String {
    edit::string(error)
        .or_else(|| Object::parse(error)?.string("message"))
        .map_or_else(|| error.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests;
