//! The steps, in the order in which a person who uses the plugin causes them.
//!
//! | file | plays | contract |
//! |---|---|---|
//! | [`chat`] | model list, chat, tools, hand-off, summary | WIRE.md 1 to 3 |
//! | [`mcp`] | both tool servers | WIRE.md 4, 5 |
//! | [`page`] | the browser's requests | WIRE.md 10 to 18 |
//! | [`hubs`] | model search, trace upload, pictures | WIRE.md 6, 8, 20 |
//! | [`doors`] | TLS, plain HTTP, reverse | WIRE.md 0.2, 0.3 |
//! | [`refusals`] | what must be refused, and how | |
//!
//! A step judges the answer as the plugin's own code would; what the audit log says of it is
//! judged by `step::judge`.

mod chat;
mod doors;
mod hubs;
mod mcp;
mod page;
mod refusals;

use super::step::{Expect, Scene, Step};
use crate::{net::Entry, policy::Reason};

const VENDOR: &str = "comfyui-copilot-server.onrender.com";
const VENDOR_OF_PAGE: &str = "comfyui-copilot-server-pre.onrender.com";

/// `step!(name, request, function)`: through the proxy and answered here, unless said otherwise.
macro_rules! step {
    ($name:literal, $request:literal, $play:path) => {
        step!($name, $request, $play, Explicit, Expect::AnsweredHere)
    };
    ($name:literal, $request:literal, $play:path, refused $reason:ident) => {
        step!(
            $name,
            $request,
            $play,
            Explicit,
            Expect::Refused(Reason::$reason)
        )
    };
    ($name:literal, $request:literal, $play:path, $entry:ident, $expect:expr) => {
        Step {
            name: $name,
            entry: Entry::$entry,
            request: $request,
            expect: $expect,
            play: |turn| Box::pin($play(turn)),
        }
    };
}

/// Everything that is played.
pub fn scenes() -> Vec<Scene> {
    vec![
        chat_scene(),
        page_scene(),
        hubs_scene(),
        doors_scene(),
        refusals_scene(),
    ]
}

fn chat_scene() -> Scene {
    let steps = vec![
        step!(
            "open an encrypted tunnel",
            "CONNECT comfyui-copilot-server.onrender.com:443",
            doors::handshake,
            Explicit,
            Expect::Intercepted
        ),
        step!(
            "list the models",
            "GET https://comfyui-copilot-server.onrender.com/v1/models",
            chat::models
        ),
        step!(
            "connect the tool server",
            "GET https://comfyui-copilot-server.onrender.com/mcp-server/mcp",
            mcp::first_server,
            Explicit,
            Expect::EventStream
        ),
        step!(
            "connect the search tools",
            "GET https://mcp.api-inference.modelscope.net/8c9fe550938e4f/sse",
            mcp::second_server,
            Explicit,
            Expect::EventStream
        ),
        step!(
            "chat, streamed",
            "POST https://comfyui-copilot-server.onrender.com/v1/chat/completions",
            chat::streamed,
            Explicit,
            Expect::AnsweredByLlm
        ),
        step!(
            "chat that uses a tool",
            "POST https://comfyui-copilot-server.onrender.com/v1/chat/completions",
            chat::with_a_tool,
            Explicit,
            Expect::AnsweredByLlm
        ),
        step!(
            "hand over to another agent",
            "POST https://comfyui-copilot-server.onrender.com/v1/chat/completions",
            chat::hand_over,
            Explicit,
            Expect::AnsweredByLlm
        ),
        step!(
            "the rewrite agent answers",
            "POST https://comfyui-copilot-server.onrender.com/v1/chat/completions",
            chat::rewrite,
            Explicit,
            Expect::AnsweredByLlm
        ),
        step!(
            "summarise a long chat",
            "POST https://comfyui-copilot-server.onrender.com/v1/chat/completions",
            chat::summary,
            Explicit,
            Expect::AnsweredByLlm
        ),
    ];
    Scene {
        title: "Chat, as the plugin's Python side sends it",
        host: VENDOR,
        steps,
    }
}

fn page_scene() -> Scene {
    let steps = vec![
        step!(
            "ask for announcements",
            "GET https://comfyui-copilot-server-pre.onrender.com/api/chat/announcement",
            page::announcement
        ),
        step!(
            "fetch the encryption key",
            "GET https://comfyui-copilot-server-pre.onrender.com/api/chat/rsa_public_key",
            page::rsa_key
        ),
        step!(
            "report what the user typed",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/chat/track_event",
            page::telemetry
        ),
        step!(
            "upload a picture",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/chat/imgfile2oss",
            page::upload
        ),
        step!(
            "explain a node",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/chat/invoke",
            page::explain_node
        ),
        step!(
            "suggest downstream nodes",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/chat/invoke",
            page::downstream_nodes
        ),
        step!(
            "accept a workflow card",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/chat/get_optimized_workflow",
            page::optimized_workflow
        ),
        step!(
            "look up missing nodes",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/chat/get_node_info_by_types",
            page::node_info
        ),
        step!(
            "ask for a key by e-mail",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/user/create",
            page::create_user
        ),
        step!(
            "write prompts with AI",
            "POST https://comfyui-copilot-server-pre.onrender.com/api/param_debug/generate_sd_prompts",
            page::prompts
        ),
    ];
    Scene {
        title: "The plugin's page in the browser",
        host: VENDOR_OF_PAGE,
        steps,
    }
}

fn hubs_scene() -> Scene {
    let steps = vec![
        step!(
            "search for models",
            "PUT https://www.modelscope.cn/api/v1/dolphin/models",
            hubs::search
        ),
        step!(
            "look at one model",
            "GET https://www.modelscope.cn/api/v1/models/InstantX/SD3-Controlnet-Pose",
            hubs::details
        ),
        step!(
            "upload the agents' traces",
            "POST https://api.openai.com/v1/traces/ingest",
            hubs::traces
        ),
        step!(
            "show a card's picture",
            "GET https://ppc-img.oss-ap-southeast-1.aliyuncs.com/AI_workflow_default.jpg",
            hubs::picture
        ),
    ];
    Scene {
        title: "Other hosts that the plugin calls",
        host: "",
        steps,
    }
}

fn doors_scene() -> Scene {
    let steps = vec![
        step!(
            "the proxy, unencrypted",
            "GET http://comfyui-copilot-server.onrender.com/v1/models",
            doors::plain_models
        ),
        step!(
            "a base URL of ours: models",
            "GET https://comfyui-copilot-server.onrender.com/v1/models",
            doors::reverse_models,
            Reverse,
            Expect::AnsweredHere
        ),
        step!(
            "a base URL of ours: chat",
            "POST https://comfyui-copilot-server.onrender.com/v1/chat/completions",
            doors::reverse_chat,
            Reverse,
            Expect::AnsweredByLlm
        ),
    ];
    Scene {
        title: "The other ways in",
        host: VENDOR,
        steps,
    }
}

fn refusals_scene() -> Scene {
    let steps = vec![
        step!("a host that no rule names", "CONNECT example.org:443",
            refusals::unlisted_tunnel, refused NoRuleMatched),
        step!("the same, unencrypted", "GET http://example.org/",
            refusals::unlisted_plain, refused NoRuleMatched),
        step!("a known host, wrong path", "POST https://api.openai.com/v1/chat/completions",
            refusals::other_path, refused HostKnownRequestNot),
        step!("two names for one tunnel", "CONNECT comfyui-copilot-server.onrender.com:443",
            refusals::wrong_sni, refused SniMismatch),
        step!("a tunnel without TLS", "CONNECT comfyui-copilot-server.onrender.com:443",
            refusals::no_tls, refused NotTls),
        step!("a cloud's metadata address", "GET http://169.254.169.254/latest/meta-data/",
            refusals::metadata, refused NoRuleMatched),
    ];
    Scene {
        title: "What must be refused",
        host: "",
        steps,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_step_has_its_own_name_and_a_request_that_can_be_read() {
        let mut names = HashSet::new();
        for step in scenes().iter().flat_map(|s| &s.steps) {
            assert!(names.insert(step.name), "{} is there twice", step.name);
            let (method, target) = step.request.split_once(' ').unwrap();
            assert!(
                method.chars().all(|c| c.is_ascii_uppercase()),
                "{}",
                step.request
            );
            assert!(
                method == "CONNECT" || target.contains("://"),
                "{}",
                step.request
            );
        }
    }
}
