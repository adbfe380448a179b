//! Edits of one chunk's choices: thinking, tool calls, finish reasons, empty answers.

use super::{Choice, Cow, Editor, Object, Parted, Place, Repair, StreamRepair, calls, edit};

/// Shown where a model thought and said nothing.
const ONLY_THOUGHT: &str = "The local model thought about this but stopped before it gave an answer. \
    Ask again, or give it more room: a larger context or output limit in the LLM server.";
/// Shown where a model said nothing at all.
const SAID_NOTHING: &str = "The local model gave an empty answer. Ask again, or try another model.";
const OUT_OF_ROOM: &str = "The local model ran out of room before it gave an answer. \
    Give it a larger context or output limit in the LLM server, or start a new chat.";

/// A sentence for an answer that would be an empty bubble; `None` when it is not empty.
pub(super) fn empty_answer_text(choice: &Choice, reason: &str) -> Option<&'static str> {
    if choice.shown || choice.calls.any_kept() {
        return None;
    }
    Some(match reason {
        "length" => OUT_OF_ROOM,
        _ if choice.reasoned => ONLY_THOUGHT,
        _ => SAID_NOTHING,
    })
}

impl StreamRepair {
    /// The chunk with its choices repaired; `None` when they need nothing.
    pub(super) fn repair_choices(&mut self, text: &str) -> Option<String> {
        let object = Object::parse(text)?;
        self.note_usage(object.present("usage"));
        let mut editor = Editor::new(text);
        for choice in object.all("choices").filter_map(edit::elements).flatten() {
            if let Some(choice) = Object::parse(choice) {
                self.repair_choice(&choice, &mut editor);
            }
        }
        (!editor.is_untouched()).then(|| editor.finish().into_owned())
    }

    fn repair_choice(&mut self, object: &Object<'_>, editor: &mut Editor<'_>) {
        let index = object.last("index").and_then(edit::unsigned).unwrap_or(0);
        let Some(delta) = object.last("delta").and_then(Object::parse) else {
            return;
        };
        let Some(at) = self.choice(index) else { return };
        let Self {
            options,
            choices,
            repairs,
            tokens_began,
            ..
        } = self;
        let Some(state) = choices.get_mut(at) else {
            return;
        };
        let mut added = Vec::new();

        let reason = object.string("finish_reason");
        let content = delta.string("content");
        let said = |key: &str| delta.string(key).is_some_and(|t| !t.is_empty());
        let reasons = said("reasoning_content") || said("reasoning");
        state.reasoned |= reasons;
        *tokens_began |= reasons || content.as_deref().is_some_and(|c| !c.is_empty());

        let mut parted = match content.as_deref() {
            Some(text) if options.strip_think => state.think.push(text),
            Some(text) => Parted {
                visible: text.to_owned(),
                ..Parted::default()
            },
            None => Parted::default(),
        };
        if parted.changed {
            repairs.add(Repair::Think);
        }
        if let Some(list) = delta.present("tool_calls").filter(|l| *l != "[]") {
            *tokens_began = true;
            let repair = state.calls.repair(list, Place::Delta, repairs);
            if let Some(new) = repair.list {
                for old in delta.all("tool_calls") {
                    editor.replace(old, new.clone());
                }
            }
            if !repair.unknown.is_empty() {
                append_paragraph(
                    &mut parted,
                    state.shown,
                    &calls::unknown_tool_text(&repair.unknown),
                );
            }
        }
        state.reasoned |= !parted.reasoning.is_empty();
        if let Some(reason) = &reason {
            let held = state.think.finish();
            parted.visible.push_str(&held.visible);
            parted.reasoning.push_str(&held.reasoning);
            parted.changed |= held.changed;
            state.shown |= !parted.visible.trim().is_empty();
            if options.explain_empty
                && !state.finished
                && let Some(text) = empty_answer_text(state, reason)
            {
                append_paragraph(&mut parted, state.shown, text);
                repairs.add(Repair::EmptyAnswer);
            }
            state.finished = true;
            if reason == "tool_calls" && state.calls.any_dropped() && !state.calls.any_kept() {
                for old in object.all("finish_reason") {
                    editor.replace(old, "\"stop\"");
                }
                repairs.add(Repair::FinishReason);
            }
        }
        state.shown |= !parted.visible.trim().is_empty();
        if parted.changed {
            set_text(
                &delta,
                "content",
                &parted.visible,
                false,
                editor,
                &mut added,
            );
            if !parted.reasoning.is_empty() {
                set_text(
                    &delta,
                    "reasoning_content",
                    &parted.reasoning,
                    true,
                    editor,
                    &mut added,
                );
            }
        }
        editor.add_members(&delta, &added);
    }
}

/// Puts `text` behind what is visible, as a paragraph of its own.
fn append_paragraph(parted: &mut Parted, shown: bool, text: &str) {
    if shown || !parted.visible.trim().is_empty() {
        parted.visible.push_str("\n\n");
    }
    parted.visible.push_str(text);
    parted.changed = true;
}

/// Sets a text of a delta; empty text becomes `null`, which no SDK takes for content.
fn set_text<'k>(
    delta: &Object<'_>,
    key: &'k str,
    text: &str,
    append: bool,
    editor: &mut Editor<'_>,
    added: &mut Vec<(&'k str, String)>,
) {
    let value = |old: &str| {
        let old = if append {
            edit::string(old).unwrap_or(Cow::Borrowed(""))
        } else {
            Cow::Borrowed("")
        };
        let all = format!("{old}{text}");
        if all.is_empty() {
            "null".to_owned()
        } else {
            edit::quote(&all)
        }
    };
    let mut found = false;
    for old in delta.all(key) {
        found = true;
        editor.replace(old, value(old));
    }
    if !found && !text.is_empty() {
        added.push((key, value("")));
    }
}
