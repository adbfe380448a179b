//! A quick typed look at a chunk: enough to see that it needs nothing.

use serde::Deserialize;
use serde_json::value::RawValue;

/// What a chunk shows without decoding its strings.
#[derive(Debug)]
pub struct Glance<'a> {
    complete: bool,
    pub usage: Option<&'a str>,
    pub choices: Vec<ChoiceGlance<'a>>,
}

#[derive(Debug)]
pub struct ChoiceGlance<'a> {
    pub index: u64,
    /// A JSON string, quotes included.
    pub content: Option<&'a str>,
    pub tool_calls: Option<&'a str>,
    /// The delta carries reasoning.
    pub reasons: bool,
    pub finish_reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Vec<ChunkChoice<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    index: u64,
    #[serde(borrow)]
    delta: Delta<'a>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
}

impl<'a> Glance<'a> {
    /// `None` for anything odd, doubled keys included: that is for the slow way.
    pub fn of(data: &'a str) -> Option<Self> {
        let chunk: Chunk<'a> = serde_json::from_str(data).ok()?;
        let is_string = |v: Option<&RawValue>| v.is_some_and(|v| v.get().starts_with('"'));
        let mut complete = is_string(chunk.id)
            && is_string(chunk.object)
            && is_string(chunk.model)
            && chunk
                .created
                .is_some_and(|v| v.get().starts_with(|c: char| c.is_ascii_digit()));
        let mut choices = Vec::with_capacity(chunk.choices.len());
        for choice in chunk.choices {
            let delta = choice.delta;
            let text = |v: Option<&'a RawValue>| v.map(|v| v.get());
            let said = |v: Option<&RawValue>| v.is_some_and(|v| v.get().len() > 2);
            complete &= delta.content.is_none() || is_string(delta.content);
            choices.push(ChoiceGlance {
                index: choice.index,
                content: text(delta.content),
                tool_calls: text(delta.tool_calls).filter(|list| *list != "[]"),
                reasons: said(delta.reasoning_content) || said(delta.reasoning),
                finish_reason: text(choice.finish_reason),
            });
        }
        Some(Self {
            complete,
            usage: chunk.usage.map(|u| u.get()),
            choices,
        })
    }

    /// All fields that SDKs require are there.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}
