//! Names and counts of the repairs made to one request or answer.

macro_rules! repairs {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// One kind of repair; the code is the metric label of `airlock_llm_repairs_total`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Repair { $($(#[$doc])* $name),* }

        impl Repair {
            pub const ALL: &'static [Repair] = &[$(Repair::$name),*];
            pub fn code(self) -> &'static str {
                match self { $(Repair::$name => $code),* }
            }
        }
    };
}

repairs! {
    /// A tool result as a list or a doubly escaped string became text.
    ToolText = "tool_text";
    /// An assistant message of text parts became text.
    AssistantText = "assistant_text";
    /// A request without a user message got one.
    UserMessage = "user_message";
    /// `<think>` text was moved out of the content.
    Think = "think";
    /// A field that current SDKs require was missing in a chunk or an answer.
    Fields = "fields";
    ToolCallId = "tool_call_id";
    ToolCallIndex = "tool_call_index";
    /// Tool arguments as an object became a string.
    ToolArguments = "tool_arguments";
    /// A call of a tool that was not offered became text.
    UnknownTool = "unknown_tool";
    /// A frame without data was dropped.
    OddFrame = "odd_frame";
    /// An `event:` line was dropped.
    EventLine = "event_line";
    /// Data that is not JSON was dropped.
    NotJson = "not_json";
    FinishReason = "finish_reason";
    Done = "done";
    /// An answer without a word was given one.
    EmptyAnswer = "empty_answer";
    /// A whole answer where a stream was asked for.
    WholeForStream = "whole_for_stream";
    /// A stream where a whole answer was asked for.
    StreamForWhole = "stream_for_whole";
}

/// How often each repair was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs(Vec<(Repair, u64)>);

impl Repairs {
    pub fn add(&mut self, repair: Repair) {
        match self.0.iter_mut().find(|(r, _)| *r == repair) {
            Some((_, n)) => *n += 1,
            None => self.0.push((repair, 1)),
        }
    }
    pub fn merge(&mut self, other: &Repairs) {
        for (repair, n) in &other.0 {
            match self.0.iter_mut().find(|(r, _)| r == repair) {
                Some((_, m)) => *m += n,
                None => self.0.push((*repair, *n)),
            }
        }
    }
    pub fn count(&self, repair: Repair) -> u64 {
        self.0
            .iter()
            .find(|(r, _)| *r == repair)
            .map_or(0, |(_, n)| *n)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = (Repair, u64)> + '_ {
        self.0.iter().copied()
    }
}
