//! What a request was for, in words of a person who has never heard of HTTP: the one table.
//!
//! Every way and every handler is matched by name, so that a new one wants its words here.

use crate::policy::Responder;

use super::event::{Event, Way};

macro_rules! deeds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $what:literal, $came:literal;)*) => {
        /// What a request was for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Deed { $($(#[$doc])* $name),* }

        impl Deed {
            pub const ALL: &'static [Deed] = &[$(Deed::$name),*];
            /// For the JSON; stable.
            pub fn code(self) -> &'static str {
                match self { $(Deed::$name => $code),* }
            }
            /// What it was.
            pub fn what(self) -> &'static str {
                match self { $(Deed::$name => $what),* }
            }
            /// What became of it.
            pub fn came(self) -> &'static str {
                match self { $(Deed::$name => $came),* }
            }
        }
    };
}

deeds! {
    ChatTurn = "chat_turn", "Chat turns",
        "Your words went to your own LLM, and to nobody else.";
    Completion = "completion", "Text to be completed",
        "It went to your own LLM.";
    Embedding = "embedding", "Texts to be compared",
        "They went to your own LLM.";
    ModelList = "model_list", "Lists of chat models",
        "The plugin was told what your own LLM has.";
    LlmOther = "llm_other", "Other questions to the LLM",
        "Your own LLM is asked in place of the vendor's.";
    ChatTools = "chat_tools", "Tools of the chat",
        "The vendor's tool servers were not asked; the tools are here.";
    SettingsKey = "settings_key", "The key that wraps your API keys",
        "It was made on this machine: what it wraps can be read here alone.";
    Announcement = "announcement", "The vendor's announcements",
        "Airlock answered; the vendor does not know that you are here.";
    OldChat = "old_chat", "Nodes explained, and nodes to come next",
        "Answered from your own ComfyUI and your own LLM; nobody else was asked.";
    Workflow = "workflow", "Workflows to be improved",
        "Done with your own ComfyUI and your own LLM; a provider that you let your key go to stands among those \
         contacted.";
    NodeInfo = "node_info", "Questions about nodes",
        "Answered here; your list of nodes stayed here.";
    PictureKept = "picture_kept", "Pictures that you attached",
        "They were not uploaded: the chat got them from this machine.";
    Account = "account", "Your e-mail address or user name",
        "Thrown away unread: no account, no mail. The key in the answer was made here.";
    PromptIdeas = "prompt_ideas", "Ideas for prompts",
        "Your text went to your own LLM, and to nobody else.";
    VendorOther = "vendor_other", "Other calls to the vendor",
        "Answered here; the vendor got nothing.";
    ModelSearch = "model_search", "Searches for models",
        "ModelScope was not asked; whom Airlock asked, if you allow it, stands among those contacted.";
    ModelDownload = "model_download", "Model downloads from ModelScope",
        "ModelScope was not asked; whom Airlock asked, if you allow it, stands among those contacted.";
    Telemetry = "telemetry", "Telemetry: what you did and typed",
        "Counted and thrown away.";
    Traces = "traces", "Recordings of whole chats for OpenAI",
        "Counted and thrown away.";
    Placeholder = "placeholder", "Pictures on the vendor's servers",
        "A placeholder was shown; the vendor does not see who looks.";
    BrowserReport = "browser_report", "Attempts of the page to reach somebody else",
        "Your browser told Airlock of them; they stand under what was refused.";
    ReceiptPage = "receipt_page", "This receipt",
        "You looked at it.";
    DoorPage = "door_page", "Airlock's own pages",
        "Airlock answered.";
    ComfyPage = "comfy_page", "ComfyUI's page and its API",
        "They went to your own ComfyUI.";
    SentOn = "sent_on", "Requests to others",
        "A rule allows them; each was looked at and sent on.";
    Relayed = "relayed", "Encrypted connections to others",
        "A rule allows them; they were passed on unread, and only their bytes counted.";
    Refused = "refused", "Refused",
        "Nothing of it was sent.";
    Opened = "opened", "Encrypted connections that were opened here",
        "Each request in them was judged for itself, and stands in its own line.";
}

impl Deed {
    pub fn of(event: &Event<'_>) -> Self {
        match event.way() {
            Way::Refused => Deed::Refused,
            Way::Opened => Deed::Opened,
            Way::Relayed => Deed::Relayed,
            Way::Sent => Deed::SentOn,
            Way::ComfyUi => Deed::ComfyPage,
            Way::Here | Way::Llm => match event.responder {
                Some(responder) => Self::answered(responder, event.path.unwrap_or_default()),
                // Answered, and nobody knows by whom: a record of an older kind.
                None => Deed::VendorOther,
            },
        }
    }

    /// By the paths of the wire contract; what is none of them has words of its own.
    fn answered(responder: Responder, path: &str) -> Self {
        match responder {
            Responder::Llm => match path.rsplit("/v1/").next().unwrap_or_default() {
                "chat/completions" => Deed::ChatTurn,
                "completions" => Deed::Completion,
                "embeddings" => Deed::Embedding,
                models if models == "models" || models.starts_with("models/") => Deed::ModelList,
                _ => Deed::LlmOther,
            },
            Responder::Mcp => Deed::ChatTools,
            Responder::Copilot => match path {
                "/api/chat/rsa_public_key" => Deed::SettingsKey,
                "/api/chat/announcement" => Deed::Announcement,
                "/api/chat/track_event" => Deed::Telemetry,
                "/api/chat/invoke" => Deed::OldChat,
                "/api/chat/get_optimized_workflow" => Deed::Workflow,
                "/api/chat/get_node_info_by_types" => Deed::NodeInfo,
                "/api/chat/imgfile2oss" => Deed::PictureKept,
                "/api/user/create" => Deed::Account,
                "/api/param_debug/generate_sd_prompts" => Deed::PromptIdeas,
                _ => Deed::VendorOther,
            },
            Responder::ModelScope => match path.starts_with("/api/v1/dolphin/") {
                true => Deed::ModelSearch,
                false => Deed::ModelDownload,
            },
            Responder::Sink => match path {
                "/v1/traces/ingest" => Deed::Traces,
                _ => Deed::Telemetry,
            },
            Responder::Image => Deed::Placeholder,
            Responder::FrontDoor => match path {
                crate::page::REPORT_PATH => Deed::BrowserReport,
                path if path.starts_with(crate::page::RECEIPT_PATH) => Deed::ReceiptPage,
                _ => Deed::DoorPage,
            },
        }
    }

    /// Answered by what is the user's own; the rest stands among hosts and refusals.
    pub fn is_answer(self) -> bool {
        match self {
            Deed::ChatTurn
            | Deed::Completion
            | Deed::Embedding
            | Deed::ModelList
            | Deed::LlmOther
            | Deed::ChatTools
            | Deed::SettingsKey
            | Deed::Announcement
            | Deed::OldChat
            | Deed::Workflow
            | Deed::NodeInfo
            | Deed::PictureKept
            | Deed::Account
            | Deed::PromptIdeas
            | Deed::VendorOther
            | Deed::ModelSearch
            | Deed::ModelDownload
            | Deed::Telemetry
            | Deed::Traces
            | Deed::Placeholder
            | Deed::BrowserReport
            | Deed::ReceiptPage
            | Deed::DoorPage
            | Deed::ComfyPage => true,
            Deed::SentOn | Deed::Relayed | Deed::Refused | Deed::Opened => false,
        }
    }

    /// Looking at the receipt is no news for who looks at it.
    pub fn is_news(self) -> bool {
        self != Deed::ReceiptPage
    }
}

/// Several deeds, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds(u64);

impl Deeds {
    pub fn add(&mut self, deed: Deed) {
        self.0 |= 1 << deed as u32;
    }

    pub fn list(self) -> impl Iterator<Item = Deed> {
        Deed::ALL
            .iter()
            .copied()
            .filter(move |deed| self.0 & (1 << *deed as u32) != 0)
    }
}

const _: () = assert!(Deed::ALL.len() <= 64, "a deed is a bit of `Deeds`");
