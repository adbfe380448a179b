//! Stand-ins: the answers that keep the plugin and its page working without the vendor's cloud.
//!
//! | file | answers | contract |
//! |---|---|---|
//! | [`copilot`] | account, announcement, intents, image upload, RSA key | WIRE.md 10 to 18 |
//! | [`mcp_transport`] | both MCP servers, legacy HTTP+SSE and streamable HTTP | WIRE.md 4, 5, 24 |
//! | [`tools`] | the tools of both, from the user's own ComfyUI | WIRE.md 4 |
//! | [`sink`] | telemetry and agents' traces: counted, thrown away | WIRE.md 8, 12 |
//! | [`model_scope`] | model search and download, from the sources of `models` | WIRE.md 6, 7 |
//! | [`image`] | a placeholder for a vendor's picture | WIRE.md 20 |
//!
//! Shared: [`asking`] (a question to the user's own LLM), [`prompts`], [`http`] (JSON and NDJSON bodies), [`fields`] (bounded look at a JSON object), [`language`], [`made`] (workflows until the page asks for them), [`manager_lists`] (which repository a node is from), [`multipart`], [`picture`], [`rsa_key`].
//!
//! Called by `proxy::respond` through [`crate::handler::Handler`]; built by `app`.
//! Nothing here opens a socket, logs a body, or says that something worked which did not.

pub mod asking;
pub mod copilot;
pub mod drawing;
pub mod fields;
pub mod http;
pub mod image;
pub mod language;
pub mod made;
pub mod manager_lists;
pub mod mcp_transport;
pub mod model_scope;
pub mod multipart;
pub mod picture;
pub mod prompts;
pub mod rsa_key;
pub mod sink;
pub mod tools;

pub use asking::Asking;
pub use copilot::{CopilotDeps, CopilotResponder};
pub use image::ImageResponder;
pub use made::{Made, MadeWorkflows};
pub use manager_lists::ManagerLists;
pub use mcp_transport::{McpBounds, McpResponder};
pub use model_scope::ModelScopeResponder;
pub use sink::SinkResponder;
pub use tools::Tools;
