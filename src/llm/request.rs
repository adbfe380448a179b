//! What is read of a request, and the edits made to it; the rest goes on byte for byte.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use bytes::Bytes;
use memchr::memmem;

use super::{
    edit::{self, Editor, Object, Room, Splice},
    messages::{self, Messages},
    repair::Repairs,
};

/// Which OpenAI operation a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Chat,
    Completion,
    Embeddings,
}

impl Operation {
    /// OTel's `gen_ai.operation.name`.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Chat => "chat",
            Operation::Completion => "text_completion",
            Operation::Embeddings => "embeddings",
        }
    }
    /// Path below the base URL.
    pub fn path(self) -> &'static str {
        match self {
            Operation::Chat => "/chat/completions",
            Operation::Completion => "/completions",
            Operation::Embeddings => "/embeddings",
        }
    }
}

/// Which of the plugin's callers a request comes from (WIRE.md 2.3, 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    Main,
    Rewrite,
    DebugCoordinator,
    Parameter,
    Link,
    Bugfix,
    Summary,
    SimpleRewrite,
}

impl Agent {
    const MARKERS: [(&'static str, Agent); 7] = [
        (
            "You are a powerful AI assistant for designing image processing workflows",
            Agent::Main,
        ),
        ("工作流改写代理", Agent::Rewrite),
        (
            "You are a ComfyUI workflow debugging coordinator",
            Agent::DebugCoordinator,
        ),
        ("You are the Parameter Agent", Agent::Parameter),
        ("You are the Link Agent", Agent::Link),
        ("You are the Workflow Bugfix Default Agent", Agent::Bugfix),
        ("You are an expert conversation summarizer", Agent::Summary),
    ];
    /// Markers stand at the beginning of a system prompt; later text may quote anything.
    const MARKER_WINDOW: usize = 2000;
    /// The same as it may be written: a Chinese character has 3 bytes, escaped 6.
    const WRITTEN_WINDOW: usize = 2 * Self::MARKER_WINDOW;

    pub fn as_str(self) -> &'static str {
        match self {
            Agent::Main => "main",
            Agent::Rewrite => "rewrite",
            Agent::DebugCoordinator => "debug",
            Agent::Parameter => "parameter",
            Agent::Link => "link",
            Agent::Bugfix => "bugfix",
            Agent::Summary => "summary",
            Agent::SimpleRewrite => "simple_rewrite",
        }
    }

    fn of_system_prompt(prompt: &str) -> Option<Self> {
        let start = edit::head(prompt, Self::MARKER_WINDOW);
        MARKERS
            .iter()
            .find(|(marker, _)| marker.find(start.as_bytes()).is_some())
            .map(|(_, agent)| *agent)
    }
}

/// Searches of [`Agent::MARKERS`], built once: building them takes longer than searching.
static MARKERS: LazyLock<[(memmem::Finder<'static>, Agent); 7]> = LazyLock::new(|| {
    Agent::MARKERS.map(|(marker, agent)| (memmem::Finder::new(marker.as_bytes()), agent))
});

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the request body is not a JSON object")]
    NotAnObject,
    #[error("`model` is not a string, write the name of a model")]
    Model,
    #[error("`messages` is not a list, write a list of messages")]
    Messages,
    #[error("`stream` is not a boolean, write true or false")]
    Stream,
}

/// View of one request body.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    text: &'a str,
    object: Object<'a>,
    /// Every list of the `messages` key, which may stand twice.
    messages: Vec<Messages<'a>>,
    pub operation: Operation,
    pub model: Option<Cow<'a, str>>,
    pub stream: bool,
    pub agent: Option<Agent>,
    /// Names of the tools offered, in order.
    pub tools: Vec<String>,
}

impl<'a> Request<'a> {
    pub fn parse(operation: Operation, body: &'a [u8]) -> Result<Self, RequestError> {
        let text = std::str::from_utf8(body).map_err(|_| RequestError::NotAnObject)?;
        let object = Object::parse(text).ok_or(RequestError::NotAnObject)?;
        let model = match object.present("model") {
            None => None,
            Some(value) => Some(edit::string(value).ok_or(RequestError::Model)?),
        };
        let stream = match object.present("stream") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(RequestError::Stream),
        };
        let mut messages = Vec::new();
        if operation == Operation::Chat {
            let lists: Vec<_> = object.all("messages").map(Messages::parse).collect();
            // The last is what most servers read.
            if !matches!(lists.last(), Some(Some(_))) {
                return Err(RequestError::Messages);
            }
            messages = lists.into_iter().flatten().collect();
        }
        Ok(Self {
            text,
            agent: messages.last().and_then(|list| agent_of(&object, list)),
            tools: offered_tools(&object),
            object,
            messages,
            operation,
            model,
            stream,
        })
    }

    /// What becomes of the body on its way to the upstream.
    pub fn rewrite(&self) -> Rewrite {
        let mut editor = Editor::new(self.text);
        let mut repairs = Repairs::default();
        let asks_for_usage = self.stream
            && self.operation != Operation::Embeddings
            && self.ask_for_usage(&mut editor);
        if self.operation == Operation::Chat {
            for list in &self.messages {
                messages::repair(list, &mut editor, &mut repairs);
            }
        }
        let models = self.object.all(MODEL);
        Rewrite {
            model: self.model.as_deref().map(str::to_owned),
            models: models.filter_map(|value| editor.range_of(value)).collect(),
            room: editor.room_in(&self.object),
            asks_for_usage,
            splices: editor.into_splices(),
            repairs,
        }
    }

    /// Whether the key for it is missing; one that is there is filled.
    fn ask_for_usage(&self, editor: &mut Editor<'_>) -> bool {
        let mut missing = true;
        for value in self.object.all(STREAM_OPTIONS) {
            missing = false;
            match Object::parse(value) {
                // Who said false meant it.
                Some(options) if options.last("include_usage").is_some() => {}
                Some(options) => editor.add_members(&options, &[("include_usage", "true")]),
                None if value == "null" => editor.replace(value, ASK_FOR_USAGE),
                // Of a wrong kind: the upstream's to refuse.
                None => {}
            }
        }
        missing
    }
}

const MODEL: &str = "model";
const STREAM_OPTIONS: &str = "stream_options";
const ASK_FOR_USAGE: &str = r#"{"include_usage":true}"#;

/// The edits of one request body, apart from it: it is read once, and may be sent twice. Which model it
/// asks for is said when it is sent.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// As the client wrote it.
    pub model: Option<String>,
    pub repairs: Repairs,
    splices: Vec<Splice<String>>,
    /// Every value of the `model` key, which may stand twice.
    models: Vec<Range<usize>>,
    room: Option<Room>,
    asks_for_usage: bool,
}

impl Rewrite {
    /// `body`, which this was made of, as it goes to the upstream.
    pub fn apply(&self, body: &Bytes, model: Option<&str>) -> Bytes {
        let model = model.filter(|model| self.model.as_deref() != Some(model));
        let model = model.map(edit::quote);
        let mut splices: Vec<_> = self.splices.iter().map(edit::borrowed).collect();
        let mut added = Vec::new();
        if let Some(model) = &model {
            let values = self.models.iter().map(|at| (at.clone(), &**model));
            splices.extend(values);
            if self.models.is_empty() {
                added.push((MODEL, &**model));
            }
        }
        if self.asks_for_usage {
            added.push((STREAM_OPTIONS, ASK_FOR_USAGE));
        }
        let room = self.room.as_ref().filter(|_| !added.is_empty());
        let added = room.map(|room| room.with(&added));
        splices.extend(added.as_ref().map(edit::borrowed));
        match splices.is_empty() {
            true => body.clone(),
            false => edit::spliced(body, &mut splices).into(),
        }
    }
}

fn agent_of(object: &Object<'_>, messages: &Messages<'_>) -> Option<Agent> {
    let by_prompt = messages
        .system_prompts()
        .find_map(|m| Agent::of_system_prompt(&m.beginning(Agent::WRITTEN_WINDOW)?));
    by_prompt.or_else(|| {
        let format = Object::parse(object.last("response_format")?)?;
        let schema = Object::parse(format.last("json_schema")?)?;
        match schema.string("name").as_deref() {
            Some("RewriteResponse") => Some(Agent::SimpleRewrite),
            Some("SummaryResponse") => Some(Agent::Summary),
            _ => None,
        }
    })
}

fn offered_tools(object: &Object<'_>) -> Vec<String> {
    let Some(tools) = object.last("tools").and_then(edit::elements) else {
        return Vec::new();
    };
    tools
        .into_iter()
        .filter_map(|tool| {
            let tool = Object::parse(tool)?;
            let function = Object::parse(tool.last("function")?)?;
            function.string("name").map(Cow::into_owned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(body: &str) -> String {
        let request = Request::parse(Operation::Chat, body.as_bytes()).expect(body);
        sent(&request, body, "m")
    }

    fn sent(request: &Request<'_>, body: &str, model: &str) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let sent = request.rewrite().apply(&body, Some(model));
        String::from_utf8(sent.into()).expect("UTF-8")
    }

    #[test]
    fn a_body_that_needs_no_edit_is_sent_as_it_lies() {
        let body =
            Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"h"}]}"#);
        let request = Request::parse(Operation::Chat, &body).expect("a request");
        let rewrite = request.rewrite();
        assert_eq!(rewrite.apply(&body, Some("m")).as_ptr(), body.as_ptr());
        assert_eq!(rewrite.apply(&body, None).as_ptr(), body.as_ptr());
        let other = rewrite.apply(&body, Some("n"));
        assert_eq!(
            other,
            r#"{"model":"n","messages":[{"role":"user","content":"h"}]}"#
        );
    }

    #[test]
    fn a_chat_request_is_changed_only_where_it_must() {
        let cases = [
            (
                "a whole answer asked for: the model alone changes",
                r#"{"model": "gemini-2.5-flash", "temperature":1.0e0, "messages":[{"role":"user","content":"h"}], "x_unknown":{"a":[1.10]}}"#,
                r#"{"model": "m", "temperature":1.0e0, "messages":[{"role":"user","content":"h"}], "x_unknown":{"a":[1.10]}}"#,
            ),
            (
                "a stream asks for usage",
                r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"h"}]}"#,
                r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"h"}],"stream_options":{"include_usage":true}}"#,
            ),
            (
                "other stream options stay",
                r#"{"model":"m","stream":true,"stream_options":{"x":1},"messages":[{"role":"user","content":"h"}]}"#,
                r#"{"model":"m","stream":true,"stream_options":{"x":1,"include_usage":true},"messages":[{"role":"user","content":"h"}]}"#,
            ),
            (
                "null stream options are as good as none",
                r#"{"model":"m","stream":true,"stream_options":null,"messages":[{"role":"user","content":"h"}]}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"h"}]}"#,
            ),
            (
                "who asked for no usage gets none",
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":false},"messages":[{"role":"user","content":"h"}]}"#,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":false},"messages":[{"role":"user","content":"h"}]}"#,
            ),
            (
                "a missing model is added",
                r#"{"messages":[{"role":"user","content":"h"}]}"#,
                r#"{"messages":[{"role":"user","content":"h"}],"model":"m"}"#,
            ),
            (
                "a doubled model cannot smuggle one in",
                r#"{"model":"a","messages":[{"role":"user","content":"h"}],"model":"b"}"#,
                r#"{"model":"m","messages":[{"role":"user","content":"h"}],"model":"m"}"#,
            ),
        ];
        for (name, input, want) in cases {
            assert_eq!(rewrite(input), want, "{name}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_names_the_field() {
        let cases = [
            ("not JSON", "hello", RequestError::NotAnObject),
            ("not UTF-8 safe nesting", "[]", RequestError::NotAnObject),
            (
                "model of a wrong kind",
                r#"{"model":1,"messages":[]}"#,
                RequestError::Model,
            ),
            ("no messages", r#"{"model":"m"}"#, RequestError::Messages),
            (
                "messages of a wrong kind",
                r#"{"messages":{}}"#,
                RequestError::Messages,
            ),
            (
                "stream of a wrong kind",
                r#"{"messages":[],"stream":"yes"}"#,
                RequestError::Stream,
            ),
        ];
        for (name, body, want) in cases {
            let got = Request::parse(Operation::Chat, body.as_bytes()).expect_err(name);
            assert_eq!(got, want, "{name}");
        }
        assert!(Request::parse(Operation::Chat, b"{\"messages\":[\"\xff\"]}").is_err());
    }

    #[test]
    fn embeddings_and_completions_need_no_messages() {
        for operation in [Operation::Completion, Operation::Embeddings] {
            let body = r#"{"model":"a","input":"x","prompt":"y"}"#;
            let request = Request::parse(operation, body.as_bytes()).expect("a request");
            assert_eq!(
                sent(&request, body, "e"),
                r#"{"model":"e","input":"x","prompt":"y"}"#
            );
        }
    }

    #[test]
    fn agents_are_recognised_by_their_prompts() {
        let with_system = |content: &str| {
            format!(
                r#"{{"model":"m","messages":[{{"role":"system","content":{content}}},{{"role":"user","content":"h"}}]}}"#
            )
        };
        let cases = [
            (
                "the main agent",
                with_system(r#""You are a powerful AI assistant for designing image processing workflows, …""#),
                Some(Agent::Main),
            ),
            (
                "the rewrite agent, escaped",
                with_system(r#""\u5de5\u4f5c\u6d41\u6539\u5199\u4ee3\u7406 …""#),
                Some(Agent::Rewrite),
            ),
            (
                "a system prompt as parts",
                with_system(r#"[{"type":"text","text":"\n  You are the Link Agent, …"}]"#),
                Some(Agent::Link),
            ),
            (
                "a quote far down is no marker",
                with_system(&format!(r#""{}You are the Link Agent""#, "x".repeat(4000))),
                None,
            ),
            (
                "the simple rewrite by its schema",
                r#"{"messages":[{"role":"user","content":"h"}],"response_format":{"type":"json_schema","json_schema":{"name":"RewriteResponse"}}}"#.into(),
                Some(Agent::SimpleRewrite),
            ),
            ("someone else", with_system(r#""You are helpful""#), None),
        ];
        for (name, body, want) in cases {
            let request = Request::parse(Operation::Chat, body.as_bytes()).expect(name);
            assert_eq!(request.agent, want, "{name}");
        }
    }

    #[test]
    fn offered_tools_are_listed() {
        let body = r#"{"messages":[],"tools":[{"type":"function","function":{"name":"a","parameters":{}}},{"type":"x"},{"function":{"name":"b"}}]}"#;
        let request = Request::parse(Operation::Chat, body.as_bytes()).expect("a request");
        assert_eq!(request.tools, ["a", "b"]);
    }
}
