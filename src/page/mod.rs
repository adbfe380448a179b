//! ComfyUI's page as it passes: what is rewritten in it, and what the browser is told about it.
//!
//! Pure: bytes and rules in, bytes and header values out. `front_door` calls it for every script and
//! document; nothing here does IO, reads a clock or knows HTTP beyond header values.
//!
//! [`Rewrite`] turns a response body into the one that is served: [`inflate`] takes a content coding
//! off, [`replace`] puts a path of our own origin in place of the vendor's addresses, [`html`] finds
//! the inline import maps, [`validator`] makes the `ETag`. [`policy`] compiles the rules into what the
//! browser enforces, [`last_line`] completes the answer of a chat, [`report`] reads what it reports back, and
//! [`access`] tells which page may call. [`cookie`] is how a browser shows its session, and [`fields`] reads one
//! name out of a passing body.

pub mod access;
pub mod cookie;
pub mod fields;
pub mod html;
pub mod inflate;
pub mod last_line;
pub mod login;
pub mod policy;
pub mod replace;
pub mod report;
pub mod rewrite;
pub mod validator;

pub use access::{AccessFault, Caller, FETCH_DEST, FETCH_SITE, OwnNames};
pub use cookie::{Brought, CookieScope};
pub use fields::{FieldValue, FieldWatch};
pub use html::ScriptHash;
pub use inflate::{Coding, InflateError};
pub use last_line::{LastLine, ascii};
pub use policy::{PagePolicy, PageSettings};
pub use replace::{Replacements, Replacer};
pub use report::{Blocked, Directive, ReportError, Violation};
pub use rewrite::{Kind, Rewrite, RewriteError, Rewritten};

/// What the front door serves of its own is below this, and never goes to ComfyUI.
pub const OWN_PREFIX: &str = "/airlock";
/// The vendor's address as the rewritten page has it.
pub const COPILOT_PATH: &str = "/airlock/copilot";
/// An LLM base URL of the page's own origin is this and `/v1`.
pub const LLM_PATH: &str = "/airlock/llm";
/// Where browsers send what they refused.
pub const REPORT_PATH: &str = "/airlock/csp";
/// What was sent where, for a person; its parts are below it.
pub const RECEIPT_PATH: &str = "/airlock/receipt";
/// ComfyUI's own path of the chat, whose answer gets its cards on the way.
pub const CHAT_PATH: &str = "/api/chat/invoke";
/// Names of the rules that the front door brings along begin with this.
pub const OWN_RULES: &str = "front_door/";
/// The authority that requests for our own paths are judged as; no such name is ever looked up.
pub const OWN_HOST: &str = "front-door.airlock.internal";
