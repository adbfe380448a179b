use std::net::{IpAddr, Ipv4Addr};

use crate::{
    net::{Authority, Entry},
    policy::{
        Action, CompiledPolicy, ConnectionAction, Flow, Mode, Reason, RequestFacts, RequestSize, RuleAction,
    },
};

use super::*;

const NOW: time::OffsetDateTime = time::macros::datetime!(2026-06-01 12:00 UTC);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn policy(pack: &str) -> CompiledPolicy {
    CompiledPolicy::new(load(pack).unwrap(), Mode::Enforce, 1)
}

fn decide(p: &CompiledPolicy, line: &str) -> String {
    let (method, rest) = line.split_once(' ').unwrap();
    let (authority, path) = rest.split_at(rest.find('/').unwrap());
    let authority = Authority::parse(authority, None).unwrap();
    let facts = RequestFacts {
        entry: Entry::Explicit,
        client: CLIENT,
        authority: &authority,
        method,
        path,
        upgrade: false,
        size: RequestSize::default(),
    };
    let d = p.decide_request(&facts, NOW);
    match d.action {
        Action::Respond(by) => format!("{} {}", by.as_str(), d.rule),
        Action::Forward => format!("forward {}", d.rule),
        Action::Deny => format!("deny {}", d.reason),
    }
}

#[test]
fn every_pack_loads() {
    for name in names() {
        let rules = load(name).unwrap_or_else(|e| panic!("{e}"));
        assert!(!rules.is_empty());
        assert!(
            rules
                .iter()
                .all(|r| r.name.as_str().starts_with(&format!("{name}/")))
        );
        assert!(
            rules.iter().all(|r| r.reason.is_some()),
            "each says why it is there"
        );
        assert!(source(name).is_some());
    }
    assert_eq!(load("x"), Err(PackError::Unknown { name: "x".into() }));
}

#[test]
fn every_request_of_the_wire_contract_is_answered_here() {
    let p = policy("comfyui-copilot");
    let vendor = "comfyui-copilot-server.onrender.com";
    let page = "comfyui-copilot-server-pre.onrender.com";
    let rows: &[(&str, &[&str], &[&str], &str)] = &[
        ("1", &["GET"], &["/v1/models"], "llm comfyui-copilot/llm"),
        (
            "2",
            &["POST"],
            &["/v1/chat/completions", "/v1/embeddings"],
            "llm comfyui-copilot/llm",
        ),
        (
            "4",
            &["GET", "POST"],
            &["/mcp-server/mcp", "/mcp-server/messages/"],
            "mcp comfyui-copilot/mcp",
        ),
        (
            "10 to 18",
            &["GET", "POST", "OPTIONS"],
            &[
                "/api/chat/rsa_public_key",
                "/api/chat/announcement",
                "/api/chat/invoke",
                "/api/chat/get_optimized_workflow",
                "/api/chat/get_node_info_by_types",
                "/api/chat/imgfile2oss",
                "/api/user/create",
                "/api/param_debug/generate_sd_prompts",
                "/something/new",
                "/",
            ],
            "copilot comfyui-copilot/api",
        ),
        (
            "12",
            &["POST", "OPTIONS"],
            &["/api/chat/track_event"],
            "sink comfyui-copilot/telemetry",
        ),
    ];
    for (section, methods, paths, want) in rows {
        for host in [vendor, page] {
            for port in [80, 443] {
                for method in *methods {
                    for path in *paths {
                        let line = format!("{method} {host}:{port}{path}");
                        assert_eq!(decide(&p, &line), *want, "{section}: {line}");
                    }
                }
            }
        }
    }
    let rows = [
        (
            "GET mcp.api-inference.modelscope.net:443/8c9fe550938e4f/sse",
            "mcp comfyui-copilot/mcp-bing",
        ),
        (
            "PUT www.modelscope.cn:443/api/v1/dolphin/models",
            "model_scope comfyui-copilot/modelscope",
        ),
        (
            "GET modelscope.cn:443/openapi/v1/models/a/b",
            "model_scope comfyui-copilot/modelscope",
        ),
        (
            "POST api.openai.com:443/v1/traces/ingest",
            "sink comfyui-copilot/agent-traces",
        ),
        (
            "GET ppc-img.oss-ap-southeast-1.aliyuncs.com:443/x.jpg",
            "image comfyui-copilot/images",
        ),
        (
            "POST ppc-img.oss-ap-southeast-1.aliyuncs.com:443/x",
            "deny host_known_request_not",
        ),
        (
            "POST api.openai.com:443/v1/chat/completions",
            "deny host_known_request_not",
        ),
        (
            "GET api.openai.com:443/v1/traces/ingest",
            "deny host_known_request_not",
        ),
        ("GET api.comfy.org:443/releases", "deny no_rule_matched"),
        ("GET onrender.com:443/", "deny no_rule_matched"),
        ("GET huggingface.co:443/", "deny no_rule_matched"),
    ];
    for (line, want) in rows {
        assert_eq!(decide(&p, line), want, "{line}");
    }
}

#[test]
fn the_plugins_pack_lets_nothing_out() {
    for rule in load("comfyui-copilot").unwrap() {
        assert!(
            matches!(rule.action, RuleAction::Respond(_)),
            "{}",
            rule.name
        );
    }
}

#[test]
fn vendor_connections_are_intercepted() {
    let p = policy("comfyui-copilot");
    let authority = Authority::parse("comfyui-copilot-server.onrender.com:443", None).unwrap();
    let flow = Flow {
        entry: Entry::Explicit,
        client: CLIENT,
        authority: &authority,
    };
    assert_eq!(
        p.decide_connection(&flow, NOW).action,
        ConnectionAction::Intercept
    );
    assert_eq!(p.intercepted_hosts().len(), 11);
}

#[test]
fn model_downloads_are_read_only() {
    let p = policy("model-downloads");
    for host in [
        "huggingface.co",
        "us.aws.cdn.hf.co",
        "cas-bridge.xethub.hf.co",
        "civitai.com",
    ] {
        for method in ["GET", "HEAD"] {
            assert!(
                decide(&p, &format!("{method} {host}:443/x")).starts_with("forward"),
                "{host}"
            );
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"] {
            let got = decide(&p, &format!("{method} {host}:443/x"));
            assert_eq!(
                got,
                format!("deny {}", Reason::HostKnownRequestNot),
                "{method} {host}"
            );
        }
    }
    assert_eq!(decide(&p, "GET cdn.hf.co:443/x"), "deny no_rule_matched");
    assert_eq!(
        decide(&p, "GET other.r2.cloudflarestorage.com:443/x"),
        "deny no_rule_matched"
    );
}
