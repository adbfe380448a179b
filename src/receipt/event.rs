//! One decision as the ledger takes it in: what an audit record says, borrowed from it.
//!
//! `audit` makes one of each record that it has written; nothing else does, so that a receipt holds
//! what stands in the log, and nothing more.

use crate::{
    net::Authority,
    page,
    policy::{Reason, Responder, RuleName},
    token::{SessionId, UnixTime, Username},
};

/// What was done, in the words of the record's `action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Deny,
    Tunnel,
    Intercept,
    Forward,
    Respond,
}

impl Done {
    pub const ALL: [Done; 5] = [
        Done::Deny,
        Done::Tunnel,
        Done::Intercept,
        Done::Forward,
        Done::Respond,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Done::Deny => "deny",
            Done::Tunnel => "tunnel",
            Done::Intercept => "intercept",
            Done::Forward => "forward",
            Done::Respond => "respond",
        }
    }

    pub fn of(action: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|done| done.as_str() == action)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub began: UnixTime,
    pub over: UnixTime,
    pub done: Done,
    /// Who was to answer; `None` where it was not to be answered here.
    pub responder: Option<Responder>,
    pub authority: Option<&'a Authority>,
    /// Who was dialled for an answer of ours, `host:port`.
    pub upstream: Option<&'a str>,
    pub method: Option<&'a str>,
    pub path: Option<&'a str>,
    pub detail: Option<&'a str>,
    pub rule: &'a RuleName,
    pub reason: Reason,
    /// Let through by report mode alone.
    pub would_deny: Option<Reason>,
    /// What broke it off.
    pub ended: Option<Reason>,
    /// Bytes of bodies and tunnels: from the program, and to it.
    pub up: u64,
    pub down: u64,
    /// Bytes that went to another machine.
    pub left: u64,
    pub user: Option<&'a Username>,
    /// The signed session.
    pub session: Option<SessionId>,
    /// The plugin's own name of a chat (`X-Session-Id`).
    pub chat: Option<&'a str>,
}

/// Where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// Answered by this program.
    Here,
    /// Answered by the user's own LLM.
    Llm,
    /// To the user's own ComfyUI, through the front door.
    ComfyUi,
    /// Sent on, after a look at it.
    Sent,
    /// Relayed unread.
    Relayed,
    Refused,
    /// TLS taken off, so that each request in it is judged for itself; those are counted, this is not.
    Opened,
}

impl Way {
    pub const ALL: [Way; 7] = [
        Way::Here,
        Way::Llm,
        Way::ComfyUi,
        Way::Sent,
        Way::Relayed,
        Way::Refused,
        Way::Opened,
    ];

    /// For the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Here => "answered_here",
            Way::Llm => "your_llm",
            Way::ComfyUi => "your_comfyui",
            Way::Sent => "sent_on",
            Way::Relayed => "relayed_unread",
            Way::Refused => "refused",
            Way::Opened => "opened",
        }
    }
}

impl Event<'_> {
    pub fn way(&self) -> Way {
        match self.done {
            Done::Deny => Way::Refused,
            Done::Tunnel => Way::Relayed,
            Done::Intercept => Way::Opened,
            // Rules of the front door lead to ComfyUI, and nobody else can give such a name.
            Done::Forward if self.rule.as_str().starts_with(page::OWN_RULES) => Way::ComfyUi,
            Done::Forward => Way::Sent,
            Done::Respond => match (self.responder, self.upstream) {
                (Some(Responder::Llm | Responder::Mcp | Responder::Copilot), Some(_)) => Way::Llm,
                (
                    Some(
                        Responder::Llm
                        | Responder::Mcp
                        | Responder::Copilot
                        | Responder::ModelScope
                        | Responder::Sink
                        | Responder::Image
                        | Responder::FrontDoor,
                    )
                    | None,
                    _,
                ) => Way::Here,
            },
        }
    }

    /// It was allowed, and nobody was there: no byte of it arrived.
    pub fn unreached(&self) -> bool {
        self.left == 0
            && matches!(
                self.ended,
                Some(
                    Reason::ResolveFailed
                        | Reason::ResolveTimeout
                        | Reason::ConnectFailed
                        | Reason::ConnectTimeout
                        | Reason::UpstreamProxyRefused
                )
            )
    }
}
