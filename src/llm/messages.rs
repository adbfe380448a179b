//! Repairs of the plugin's messages, so that a local chat template accepts them (WIRE.md 2.2, 2.3).
//!
//! - tool results as a list of parts, or as a JSON string of a part, become their text;
//! - assistant messages of text parts become text; image parts are left alone;
//! - a request without a user message gets one: after a hand-off to the rewrite agent the intent
//!   exists only inside the tool call's arguments.

use std::borrow::Cow;

use super::{
    edit::{self, Editor, Object},
    repair::{Repair, Repairs},
};

/// The hand-off whose arguments hold what the user wants.
const REWRITE_HANDOFF: &str = "transfer_to_workflow_rewrite_agent";
const REWRITE_INTENT: &str = "latest_rewrite_intent";
/// Said for the user where nothing better is known.
const GENERIC_USER_MESSAGE: &str = "Please go on with the task described above.";
/// Members of a text part as the agents SDKs write it; with any other, it is not ours to flatten.
const PART_MEMBERS: [&str; 6] = ["type", "text", "annotations", "meta", "_meta", "ext"];

/// One message of a request; slices of the request's text.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    object: Object<'a>,
    pub role: Cow<'a, str>,
}

impl<'a> Message<'a> {
    /// `None` for anything but an object with a role.
    fn parse(text: &'a str) -> Option<Self> {
        let object = Object::parse(text)?;
        let role = object.string("role")?;
        Some(Self { object, role })
    }
    /// Where its text begins: a string, or the text parts of a list.
    pub fn beginning(&self, max: usize) -> Option<Cow<'a, str>> {
        let content = self.object.last("content")?;
        match edit::string_head(content, max) {
            Some(text) => Some(text),
            None => join_parts(content, "\n").map(|joined| joined.text.into()),
        }
    }
    fn tool_calls(&self) -> Vec<ToolCall<'a>> {
        let Some(calls) = self.object.last("tool_calls").and_then(edit::elements) else {
            return Vec::new();
        };
        calls
            .into_iter()
            .filter_map(|call| {
                let call = Object::parse(call)?;
                let function = Object::parse(call.last("function")?)?;
                Some(ToolCall {
                    id: call.string("id"),
                    name: function.string("name")?,
                    arguments: function.string("arguments").unwrap_or_default(),
                })
            })
            .collect()
    }
}

/// A call made in an earlier turn; strings decoded.
struct ToolCall<'a> {
    id: Option<Cow<'a, str>>,
    name: Cow<'a, str>,
    arguments: Cow<'a, str>,
}

/// One value of a request's `messages` key, read once: a prompt is long.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    elements: Vec<&'a str>,
    /// `None` for an element that is no message.
    parsed: Vec<Option<Message<'a>>>,
}

impl<'a> Messages<'a> {
    /// `None` for anything but a list.
    pub fn parse(array: &'a str) -> Option<Self> {
        let elements = edit::elements(array)?;
        let parsed = elements.iter().map(|e| Message::parse(e)).collect();
        Some(Self { elements, parsed })
    }

    /// System prompts at the beginning.
    pub fn system_prompts(&self) -> impl Iterator<Item = &Message<'a>> {
        let system = |m: &&Message<'_>| matches!(&*m.role, "system" | "developer");
        self.parsed
            .iter()
            .map_while(move |m| m.as_ref().filter(system))
    }
}

/// Repairs the messages of one value of the request's `messages` key.
pub fn repair(messages: &Messages<'_>, editor: &mut Editor<'_>, repairs: &mut Repairs) {
    let Messages {
        elements,
        parsed: messages,
    } = messages;
    for message in messages.iter().flatten() {
        let (flattened, kind): (fn(&str) -> Option<String>, _) = match &*message.role {
            "tool" | "function" => (tool_text, Repair::ToolText),
            "assistant" => (assistant_text, Repair::AssistantText),
            _ => continue,
        };
        for content in message.object.all("content") {
            if let Some(text) = flattened(content) {
                editor.replace(content, edit::quote(&text));
                repairs.add(kind);
            }
        }
    }
    let has_user = messages.iter().flatten().any(|m| m.role == "user");
    if !has_user && !elements.is_empty() {
        add_user_message(elements, messages, editor);
        repairs.add(Repair::UserMessage);
    }
}

/// Puts the user message where it stays from one request of a run to the next, so that the
/// upstream's prefix cache holds and the newest message stays the newest tool result.
fn add_user_message(elements: &[&str], messages: &[Option<Message<'_>>], editor: &mut Editor<'_>) {
    let (text, behind) = match rewrite_intent(messages) {
        Some((intent, at)) => (intent, Some(at)),
        None => {
            let systems = messages
                .iter()
                .take_while(|m| {
                    m.as_ref()
                        .is_some_and(|m| matches!(&*m.role, "system" | "developer"))
                })
                .count();
            (GENERIC_USER_MESSAGE.to_owned(), systems.checked_sub(1))
        }
    };
    let message = format!(r#"{{"role":"user","content":{}}}"#, edit::quote(&text));
    match behind.and_then(|at| elements.get(at)) {
        Some(element) => editor.insert_after(element, format!(",{message}")),
        None => {
            if let Some(first) = elements.first() {
                editor.replace(first.get(..0).unwrap_or_default(), format!("{message},"));
            }
        }
    }
}

/// The newest hand-off's intent, and the index of the message it is told behind: its tool result.
fn rewrite_intent(messages: &[Option<Message<'_>>]) -> Option<(String, usize)> {
    for (at, message) in messages.iter().enumerate().rev() {
        let Some(message) = message else { continue };
        for ToolCall {
            id,
            name,
            arguments,
        } in message.tool_calls()
        {
            if name != REWRITE_HANDOFF {
                continue;
            }
            let Some(intent) = Object::parse(&arguments)
                .and_then(|o| o.string(REWRITE_INTENT).map(Cow::into_owned))
                .filter(|intent| !intent.trim().is_empty())
            else {
                continue;
            };
            // Tool results follow their call; the message goes behind the last of them.
            let results = messages
                .iter()
                .skip(at + 1)
                .take_while(|m| m.as_ref().is_some_and(|m| m.role == "tool"))
                .count();
            let own = messages.iter().flatten().position(|m| {
                m.role == "tool" && id.is_some() && m.object.string("tool_call_id") == id
            });
            return Some((intent, (at + results).max(own.unwrap_or(0))));
        }
    }
    None
}

/// Text of a tool result that is a list of text parts, or a string that holds such JSON.
fn tool_text(content: &str) -> Option<String> {
    match edit::string(content) {
        None => {
            join_parts(content, "\n").map(|joined| inner_text(&joined.text).unwrap_or(joined.text))
        }
        Some(text) => inner_text(&text),
    }
}

/// `{"type":"text","text":"…"}`, or a list of such, as a string: the old SDK's double escape.
fn inner_text(text: &str) -> Option<String> {
    let start = text.trim_start();
    if start.starts_with('{') {
        return part_text(start).flatten_plain();
    }
    if start.starts_with("[{") {
        return join_parts(start, "\n")
            .filter(|joined| joined.plain)
            .map(|joined| joined.text);
    }
    None
}

fn assistant_text(content: &str) -> Option<String> {
    join_parts(content, "").map(|joined| joined.text)
}

struct Joined {
    text: String,
    /// Every part has only the members of [`PART_MEMBERS`].
    plain: bool,
}

enum Part {
    Text { text: String, plain: bool },
    Other,
}

impl Part {
    fn flatten_plain(self) -> Option<String> {
        match self {
            Part::Text { text, plain: true } => Some(text),
            Part::Text { plain: false, .. } | Part::Other => None,
        }
    }
}

/// Text of a list of text parts; `None` if it is no list or holds anything else.
fn join_parts(list: &str, separator: &str) -> Option<Joined> {
    let mut texts = Vec::new();
    let mut all_plain = true;
    for element in edit::elements(list)? {
        match part_text(element) {
            Part::Text { text, plain } => {
                texts.push(text);
                all_plain &= plain;
            }
            Part::Other => return None,
        }
    }
    Some(Joined {
        text: texts.join(separator),
        plain: all_plain,
    })
}

fn part_text(text: &str) -> Part {
    let Some(object) = Object::parse(text) else {
        return Part::Other;
    };
    let is_text = matches!(
        object.string("type").as_deref(),
        Some("text" | "input_text" | "output_text")
    );
    match object.string("text") {
        Some(text) if is_text => Part::Text {
            text: text.into_owned(),
            plain: object
                .members()
                .iter()
                .all(|m| PART_MEMBERS.contains(&&*m.key)),
        },
        _ => Part::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(array: &str) -> (String, Repairs) {
        let mut editor = Editor::new(array);
        let mut repairs = Repairs::default();
        let messages = Messages::parse(array).expect("a list");
        repair(&messages, &mut editor, &mut repairs);
        (editor.finish().into_owned(), repairs)
    }

    #[test]
    fn messages_become_what_a_local_template_accepts() {
        let user = r#"{"role":"user","content":"hi"}"#;
        let cases = [
            (
                "a tool result as a list becomes text",
                r#"{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"a\"b"},{"type":"text","text":"c"}]}"#,
                r#"{"role":"tool","tool_call_id":"c","content":"a\"b\nc"}"#,
            ),
            (
                "a tool result escaped twice becomes its inner text",
                r#"{"role":"tool","content":"{\"type\":\"text\",\"text\":\"{\\\"answer\\\": \\\"é\\\"}\",\"annotations\":null,\"meta\":null}"}"#,
                r#"{"role":"tool","content":"{\"answer\": \"é\"}"}"#,
            ),
            (
                "a list of double escapes becomes its inner texts",
                r#"{"role":"tool","content":"[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]"}"#,
                r#"{"role":"tool","content":"a\nb"}"#,
            ),
            (
                "a tool's own JSON stays",
                r#"{"role":"tool","content":"{\"type\":\"text\",\"text\":\"a\",\"font\":1}"}"#,
                r#"{"role":"tool","content":"{\"type\":\"text\",\"text\":\"a\",\"font\":1}"}"#,
            ),
            (
                "the hand-off's answer stays",
                r#"{"role":"tool","content":"{\"assistant\": \"Workflow Rewrite Agent\"}"}"#,
                r#"{"role":"tool","content":"{\"assistant\": \"Workflow Rewrite Agent\"}"}"#,
            ),
            (
                "an empty list becomes an empty text",
                r#"{"role":"tool","content":[]}"#,
                r#"{"role":"tool","content":""}"#,
            ),
            (
                "a tool result with an image stays",
                r#"{"role":"tool","content":[{"type":"image_url","image_url":{"url":"data:"}}]}"#,
                r#"{"role":"tool","content":[{"type":"image_url","image_url":{"url":"data:"}}]}"#,
            ),
            (
                "an assistant list becomes text",
                r#"{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"output_text","text":"b","logprobs":[]}]}"#,
                r#"{"role":"assistant","content":"ab"}"#,
            ),
            (
                "an assistant without content stays",
                r#"{"role":"assistant","content":null,"tool_calls":[]}"#,
                r#"{"role":"assistant","content":null,"tool_calls":[]}"#,
            ),
            (
                "a user's image parts stay",
                r#"{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"u","detail":"low"}}]}"#,
                r#"{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"u","detail":"low"}}]}"#,
            ),
            (
                "both contents of a doubled key are flattened",
                r#"{"role":"tool","content":[{"type":"text","text":"a"}],"content":[]}"#,
                r#"{"role":"tool","content":"a","content":""}"#,
            ),
        ];
        for (name, input, want) in cases {
            let (got, _) = repaired(&format!("[{user}, {input}]"));
            assert_eq!(got, format!("[{user}, {want}]"), "{name}");
        }
    }

    #[test]
    fn a_request_without_a_user_gets_one_that_stays_in_place() {
        let handoff = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"transfer_to_workflow_rewrite_agent","arguments":"{\"latest_rewrite_intent\": \"add a \\\"LoRA\\\"\"}"}}]}"#;
        let result = r#"{"role":"tool","tool_call_id":"c1","content":"{\"assistant\": \"Workflow Rewrite Agent\"}"}"#;
        let intent = r#"{"role":"user","content":"add a \"LoRA\""}"#;
        let generic = format!(r#"{{"role":"user","content":"{GENERIC_USER_MESSAGE}"}}"#);
        let system = r#"{"role":"system","content":"s"}"#;
        let step = r#"{"role":"assistant","content":"","tool_calls":[{"id":"c2","function":{"name":"get_current_workflow","arguments":"{}"}}]}"#;
        let step_result = r#"{"role":"tool","tool_call_id":"c2","content":"{}"}"#;
        let cases = [
            (
                "right after the hand-off",
                format!("[{system},{handoff},{result}]"),
                format!("[{system},{handoff},{result},{intent}]"),
            ),
            (
                "a step later it stands where it stood",
                format!("[{system},{handoff},{result},{step},{step_result}]"),
                format!("[{system},{handoff},{result},{intent},{step},{step_result}]"),
            ),
            (
                "a hand-off without an answer",
                format!("[{system},{handoff}]"),
                format!("[{system},{handoff},{intent}]"),
            ),
            (
                "without an intent, behind the system message",
                format!("[{system},{step},{step_result}]"),
                format!("[{system},{generic},{step},{step_result}]"),
            ),
            (
                "only a system message",
                format!("[{system}]"),
                format!("[{system},{generic}]"),
            ),
            (
                "not even a system message",
                format!("[ {step},{step_result}]"),
                format!("[ {generic},{step},{step_result}]"),
            ),
            (
                "no message at all is the upstream's to refuse",
                "[]".into(),
                "[]".into(),
            ),
        ];
        for (name, input, want) in cases {
            assert_eq!(repaired(&input).0, want, "{name}");
        }
    }

    #[test]
    fn good_messages_are_not_touched_or_counted() {
        let (_, repairs) =
            repaired(r#"[{"role":"user","content":"a"},{"role":"tool","content":"plain"}, 7]"#);
        assert!(repairs.is_empty());
    }
}
