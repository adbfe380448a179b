use std::net::{IpAddr, Ipv4Addr};

use crate::{
    net::{Authority, Entry},
    policy::{
        Action, CompiledPolicy, ConnectionAction, Flow, Mode, Reason, RequestFacts, RequestSize,
        RuleAction,
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

#[test]
fn the_packs_for_comfyui_pip_and_git_open_what_they_say_and_nothing_beside() {
    let rows = [
        (
            "comfyui",
            "GET api.comfy.org:443/nodes",
            "forward comfyui/registry",
        ),
        (
            "comfyui",
            "GET api.comfy.org:443/nodes/x/install",
            "forward comfyui/registry",
        ),
        (
            "comfyui",
            "GET api.comfy.org:443/releases",
            "forward comfyui/releases",
        ),
        ("comfyui", "POST api.comfy.org:443/nodes", "deny read_only"),
        (
            "comfyui",
            "POST api.comfy.org:443/proxy/x",
            "deny host_known_request_not",
        ),
        (
            "comfyui",
            "GET api.comfy.org:443/customers",
            "deny host_known_request_not",
        ),
        ("comfyui", "GET comfy.org:443/nodes", "deny no_rule_matched"),
        (
            "comfyui-manager",
            "GET raw.githubusercontent.com:443/ltdrdata/ComfyUI-Manager/main/model-list.json",
            "forward comfyui-manager/lists",
        ),
        (
            "comfyui-manager",
            "GET raw.githubusercontent.com:443/evil/ComfyUI-Manager/main/model-list.json",
            "deny host_known_request_not",
        ),
        ("pip", "GET pypi.org:443/simple/numpy/", "forward pip/index"),
        (
            "pip",
            "GET files.pythonhosted.org:443/packages/a/b.whl",
            "forward pip/files",
        ),
        (
            "pip",
            "POST pypi.org:443/legacy/",
            "deny host_known_request_not",
        ),
        (
            "pip",
            "GET upload.pypi.org:443/legacy/",
            "deny no_rule_matched",
        ),
        (
            "git-https",
            "GET github.com:443/a/b.git/info/refs",
            "forward git-https/refs",
        ),
        (
            "git-https",
            "POST github.com:443/a/b.git/git-upload-pack",
            "forward git-https/fetch",
        ),
        (
            "git-https",
            "POST github.com:443/a/b.git/git-receive-pack",
            "deny host_known_request_not",
        ),
        (
            "git-https",
            "GET github.com:443/a/b.git/git-upload-pack",
            "deny host_known_request_not",
        ),
        (
            "git-https",
            "POST github.com:443/a/b/info/refs",
            "deny read_only",
        ),
        (
            "git-https",
            "GET github.com:80/a/b.git/info/refs",
            "deny host_known_request_not",
        ),
        (
            "git-https",
            "GET github.com:443/a/b/releases",
            "deny host_known_request_not",
        ),
    ];
    for (pack, line, want) in rows {
        assert_eq!(decide(&policy(pack), line), want, "{pack}: {line}");
    }
}

#[test]
fn a_push_to_git_is_refused_at_its_first_request() {
    let p = policy("git-https");
    let authority = Authority::parse("github.com:443", None).unwrap();
    for (query, want) in [
        ("service=git-upload-pack", None),
        ("service=git-receive-pack", Some(Reason::QueryTooLarge)),
    ] {
        let facts = RequestFacts {
            entry: Entry::Explicit,
            client: CLIENT,
            authority: &authority,
            method: "GET",
            path: "/a/b.git/info/refs",
            upgrade: false,
            size: RequestSize {
                query_bytes: query.len() as u64,
                ..RequestSize::default()
            },
        };
        let d = p.decide_request(&facts, NOW);
        let denied = (d.action == Action::Deny).then_some(d.reason);
        assert_eq!(denied, want, "{query}");
    }
}
