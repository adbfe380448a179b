//! The Model Context Protocol as bytes and values: messages, dispatch, tools.
//!
//! | file | holds |
//! |---|---|
//! | [`message`] | JSON-RPC 2.0 messages as they arrive: ids kept as sent, batches, refusals |
//! | [`reply`] | JSON-RPC replies as they leave: one line, under the size a client accepts |
//! | [`version`] | protocol versions that are spoken, and their negotiation |
//! | [`tools`] | what a tool is, what it returns, the [`ToolSet`] seam |
//! | [`dispatch`] | from a message to the [`Step`] a transport has to take |
//!
//! Called by `emulator::mcp_transport`, which owns sessions, streams and time.
//! Nothing here is async, does IO, or reads a clock; tools are run by the transport.

pub mod dispatch;
pub mod message;
pub mod reply;
pub mod tools;
pub mod version;

pub use dispatch::{Handled, Method, Outcome, ServerInfo, Step, ToolCall, dispatch};
pub use message::{Id, Message, MessageError, Packet};
pub use reply::{ErrorCode, MAX_EVENT_BYTES, Reply};
pub use tools::{Content, NoTools, Tool, ToolResult, ToolSet};
pub use version::ProtocolVersion;
