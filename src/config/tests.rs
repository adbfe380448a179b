//! Loading as a whole: defaults, examples, the environment, and a fixture per mistake.

use std::{collections::HashMap, fs, net::SocketAddr, path::Path, time::Duration};

use crate::{
    net::{Authority, Entry},
    policy::{Action, Mode, Ports, RequestFacts, RuleAction},
};

use super::*;

const NOW: time::OffsetDateTime = time::macros::datetime!(2026-06-01 12:00 UTC);

fn env(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    let home = [("HOME", "/home/someone")];
    home.iter()
        .chain(pairs)
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn compile_text(yaml: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    compile(yaml, "test.yaml", ".".into(), &env(pairs))
}

fn good(yaml: &str, pairs: &[(&str, &str)]) -> Config {
    compile_text(yaml, pairs).unwrap_or_else(|e| panic!("{e}"))
}

/// Everything but the source name and the index of the policy, which is made from its rules.
fn shown(config: &Config) -> String {
    let Config {
        source: _,
        file: _,
        state_dir,
        mode,
        listeners,
        packs,
        policy,
        addresses: _,
        llm,
        models,
        comfyui,
        web_search,
        audit,
        limits,
        selftest,
        upstreams,
        encrypted_client_hello,
        egress,
        session,
        users,
        secrets,
        notes,
    } = config;
    format!(
        "{state_dir:?} {mode:?} {listeners:#?} {packs:?} {:#?} {llm:#?} {models:#?} {comfyui:?} {web_search:?} {audit:#?} {limits:#?} \
         {selftest:?} {upstreams:?} {encrypted_client_hello:?} {egress:?} {session:?} {users:?} {secrets:?} {notes:?}",
        policy.rules()
    )
}

#[test]
fn the_front_door_can_be_switched_on_without_a_file() {
    for (what, yaml, switch, open) in [
        ("no file, no switch", DEFAULT_YAML, None, false),
        ("no file, switched on", DEFAULT_YAML, Some("on"), true),
        ("no file, switched off", DEFAULT_YAML, Some("off"), false),
        (
            "a file that keeps it off",
            "version: 1\nfront_door: off\n",
            Some("on"),
            false,
        ),
    ] {
        let pairs: Vec<_> = switch.map(|s| (FRONT_DOOR_SWITCH, s)).into_iter().collect();
        let door = good(yaml, &pairs).listeners.front_door;
        let listen = door.map(|door| door.listen.to_string());
        let wanted = open.then(|| "127.0.0.1:8189".to_owned());
        assert_eq!(listen, wanted, "{what}");
    }
}

#[test]
fn the_default_file_says_exactly_the_defaults() {
    let file = load(None, &env(&[])).unwrap_or_else(|e| panic!("{e}"));
    let built_in = good("version: 1\n", &[]);
    assert_eq!(shown(&file), shown(&built_in));
    assert_eq!(
        file.state_dir,
        Path::new("/home/someone/.local/state/airlock")
    );
    assert_eq!(file.packs, ["comfyui-copilot"]);
    assert_eq!(file.listeners, Listeners::default());
    assert_eq!(file.llm, LlmConfig::default());
    assert_eq!(file.llm.discover_ports.len(), DISCOVER.len());
    assert_eq!(file.audit, AuditConfig::default());
    assert_eq!(file.limits, Limits::default());
    assert_eq!(file.selftest, SelftestConfig::default());
    assert_eq!(file.session, SessionConfig::default());
    assert_eq!(file.users, UsersConfig::default());
    assert_eq!(file.notes, Vec::<String>::new());
    assert_eq!(file.policy.generation(), 1);
}

#[test]
fn every_key_is_in_the_default_file() {
    // A key that is known but not written there would be a setting nobody finds.
    for key in [
        "state_dir",
        "base_url",
        "api_key_env",
        "api_key_file",
        "model",
        "ca_file",
        "path:",
        "path_prefix",
        "upgrade",
        "clients",
        "entries",
        "respond",
    ] {
        let elsewhere = include_str!("../../config/examples/reverse-route.yaml");
        assert!(
            DEFAULT_YAML.contains(key) || elsewhere.contains(key),
            "{key}"
        );
    }
}

#[test]
fn every_example_loads() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let scratch = tempfile::tempdir().unwrap();
    for ca in ["sparkle-ca.pem", "studio-ca.pem"] {
        fs::write(scratch.path().join(ca), "-----BEGIN CERTIFICATE-----\n").unwrap();
    }
    let mut seen = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let from = entry.unwrap().path();
        let to = scratch.path().join(from.file_name().unwrap());
        fs::copy(&from, &to).unwrap();
        let config = load(Some(&to), &env(&[("SPARKLE_KEY", "sk-1")]));
        let config = config.unwrap_or_else(|e| panic!("{e}"));
        assert!(config.policy.rule_count() > 0);
        seen += 1;
        match from.file_stem().and_then(|s| s.to_str()).unwrap() {
            "local-llm-remote-box" => {
                let url = config.llm.base_url.as_ref().unwrap();
                assert_eq!(url.to_string(), "https://sparkle:13000/v1");
                assert_eq!(config.llm.api_key.as_ref().unwrap().expose(), "sk-1");
                let ca = config.ca_file_for(&url.authority).unwrap();
                assert_eq!(ca, &scratch.path().join("sparkle-ca.pem"));
                assert_eq!(config.llm.first_byte_timeout, Duration::from_secs(600));
                assert!(config.addresses.permits_private(&url.authority));
            }
            "studio" => assert_eq!(config.notes.len(), 4, "wide listeners: {:?}", config.notes),
            "model-downloads" => assert_eq!(config.packs.len(), 2),
            "report-mode" => assert_eq!(config.mode, Mode::Report),
            "reverse-route" => reverse_route_example(&config),
            other => panic!("{other} has no check here"),
        }
    }
    assert_eq!(seen, 5);
}

fn reverse_route_example(config: &Config) {
    let reverse = config.listeners.reverse.as_ref().unwrap();
    let prefixes: Vec<_> = reverse
        .routes
        .iter()
        .map(|r| r.path_prefix.as_str())
        .collect();
    assert_eq!(prefixes, ["/api/prompt", "/ws"], "longest first");
    assert!(reverse.routes[1].covers("/ws") && reverse.routes[1].covers("/ws/x"));
    assert!(!reverse.routes[1].covers("/wsx"));
    let comfyui = Authority::parse("127.0.0.1:8188", None).unwrap();
    assert!(config.addresses.permits_private(&comfyui));
    let decide = |entry, path, upgrade| {
        let facts = RequestFacts {
            entry,
            client: "127.0.0.1".parse().unwrap(),
            authority: &comfyui,
            method: "GET",
            path,
            upgrade,
            size: Default::default(),
        };
        config.policy.decide_request(&facts, NOW).action
    };
    assert_eq!(decide(Entry::Reverse, "/ws", true), Action::Forward);
    assert_eq!(decide(Entry::Reverse, "/api/prompt", true), Action::Deny);
    assert_eq!(
        decide(Entry::Reverse, "/api/prompt/x", false),
        Action::Forward
    );
    assert_eq!(decide(Entry::Reverse, "/other", false), Action::Deny);
    assert_eq!(decide(Entry::Explicit, "/ws", false), Action::Deny);
}

#[test]
fn the_template_names_the_variables_that_are_read() {
    let template = include_str!("../../config/.env.template");
    for name in Config::VARIABLES {
        if !matches!(name, "HOME" | "XDG_STATE_HOME") {
            assert!(
                template.lines().any(|l| l.starts_with(&format!("{name}="))),
                "{name}"
            );
        }
    }
    let pairs: Vec<_> = template.lines().filter_map(|l| l.split_once('=')).collect();
    let pairs: Vec<_> = pairs
        .into_iter()
        .filter(|(k, _)| !k.starts_with('#'))
        .collect();
    let config = good("version: 1\n", &pairs);
    assert_eq!(
        config.llm,
        LlmConfig::default(),
        "as it is, it changes nothing"
    );
}

#[test]
fn the_environment_wins_over_the_file_and_says_so() {
    let yaml = "version: 1\nstate_dir: /from/file\nllm: { base_url: http://a:1/v1, model: m }\n";
    let config = good(
        yaml,
        &[
            ("AIRLOCK_STATE_DIR", "/from/env"),
            ("LOCAL_LLM_BASE_URL", "http://sparkle:8000"),
            ("LOCAL_LLM_API_KEY", "sk-1"),
            ("WORKFLOW_MODEL_NAME", "qwen3"),
            ("DISABLE_TELEMETRY", "1"),
            ("SESSION_SECRET", "do-not-print-7c1d0a4be2f95836d7a9c04f"),
            ("ANTHROPIC_API_KEY", "do-not-print"),
            ("ANTHROPIC_BASE_URL", "   "),
        ],
    );
    assert_eq!(config.state_dir, Path::new("/from/env"));
    assert_eq!(
        config.llm.base_url.as_ref().unwrap().to_string(),
        "http://sparkle:8000/v1"
    );
    assert_eq!(config.llm.model.as_deref(), Some("qwen3"));
    assert_eq!(
        config.notes,
        [
            "LOCAL_LLM_BASE_URL is set and wins over llm.base_url",
            "WORKFLOW_MODEL_NAME is set and wins over llm.model",
            "the LLM base URL has no path: http://sparkle:8000/v1 is used",
            "DISABLE_TELEMETRY is set; telemetry never leaves in any case",
            "ANTHROPIC_API_KEY is set and not used yet",
        ]
    );
    assert!(config.session.secret.is_some() && config.session.previous_secret.is_none());
    let debug = format!("{config:?}");
    assert!(!debug.contains("do-not-print") && !debug.contains("sk-1"));
}

#[test]
fn without_any_home_the_state_folder_is_asked_for() {
    let errors = compile("version: 1\n", "test.yaml", ".".into(), &HashMap::new()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "test.yaml: 1 error\n  state_dir: is unknown: set state_dir, AIRLOCK_STATE_DIR or HOME"
    );
}

#[test]
fn disabling_external_connections_drops_what_goes_out() {
    let yaml = "version: 1\npacks: [comfyui-copilot, model-downloads]\n\
                llm: { providers: [{ base_url: 'https://api.test/v1', model: m }] }\nrules:\n  \
                - { name: t, hosts: [t.test], action: tunnel }\n  \
                - { name: d, hosts: [d.test], action: deny }\n";
    let config = good(yaml, &[("DISABLE_EXTERNAL_CONNECTIONS", "True")]);
    let left: Vec<_> = config.policy.rules().iter().map(|r| r.action).collect();
    assert!(
        left.iter()
            .all(|a| matches!(a, RuleAction::Deny | RuleAction::Respond(_)))
    );
    assert!(left.contains(&RuleAction::Deny));
    assert!(config.llm.providers.is_empty());
    assert!(
        config
            .notes
            .contains(&"rule t dropped: DISABLE_EXTERNAL_CONNECTIONS".to_owned())
    );
    let public = Authority::parse("8.8.8.8:443", None).unwrap();
    let addr: SocketAddr = "8.8.8.8:443".parse().unwrap();
    assert!(crate::policy::address::check(&public, addr, &config.addresses, &[]).is_err());
}

#[test]
fn a_provider_opens_one_path_to_airlock_itself_alone() {
    let good_one =
        "version: 1\nllm: { providers: [{ base_url: 'https://API.test/v1/', model: m }] }\n";
    let config = good(good_one, &[]);
    let [provider] = &*config.llm.providers else {
        panic!("one provider")
    };
    assert_eq!(provider.base_url.to_string(), "https://api.test/v1");
    let rules = config.policy.rules();
    let named = rules.iter().filter(|r| r.name.as_str().starts_with("llm."));
    let [rule] = &*named.collect::<Vec<_>>() else {
        panic!("one rule")
    };
    assert_eq!(rule.entries, [Entry::Models]);
    assert_eq!(rule.methods, ["POST".into()]);
    assert_eq!(rule.paths.len(), 1);
    assert_eq!(rule.paths[0].to_string(), "/v1/chat/completions");
    assert!(
        good("version: 1\n", &[]).llm.providers.is_empty(),
        "off by default"
    );
}

#[test]
fn rules_are_read_whole() {
    let yaml = r#"
version: 1
packs: []
rules:
  - name: all-of-it
    hosts: [A.test, "*.b.test"]
    ips: [192.168.1.9, "fd00::1"]
    ports: [8443]
    methods: [GET]
    paths: [/x, /y/*]
    clients: [10.0.0.0/8, 192.168.1.7]
    entries: [explicit, transparent]
    upgrade: true
    mode: report
    reason: because
    action: forward
  - { name: r, hosts: [c.test], respond: llm }
  - { name: nested, hosts: [d.test], action: { respond: sink } }
  - { name: d, hosts: [e.test], action: deny }
"#;
    let config = good(yaml, &[]);
    let [all, r, nested, d] = config.policy.rules() else {
        panic!()
    };
    assert_eq!(
        all.hosts
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["a.test", "*.b.test"]
    );
    assert_eq!(all.clients.len(), 2);
    assert_eq!(all.entries, [Entry::Explicit, Entry::Transparent]);
    assert!(all.upgrade && all.mode == Some(Mode::Report));
    assert_eq!(r.action, RuleAction::Respond(crate::policy::Responder::Llm));
    assert_eq!(
        nested.action,
        RuleAction::Respond(crate::policy::Responder::Sink)
    );
    assert_eq!(d.ports, Ports::Any, "a deny covers every port");
    assert_eq!(
        config.notes.len(),
        2,
        "private addresses need upstreams: {:?}",
        config.notes
    );
}

#[test]
fn rules_of_the_user_stand_before_those_of_packs() {
    let yaml = "version: 1\nrules:\n  - { name: mine, respond: sink, \
                hosts: [comfyui-copilot-server.onrender.com], paths: [/v1/models] }\n";
    let config = good(yaml, &[]);
    assert_eq!(config.policy.rules()[0].name.as_str(), "mine");
    assert_eq!(
        config.policy.rules()[1].name.as_str(),
        "comfyui-copilot/llm"
    );
}

#[test]
fn an_allow_that_a_deny_covers_is_noted() {
    let yaml = "version: 1\nrules:\n  \
                - { name: allow, hosts: [a.w.test, \"*.x.w.test\"], action: tunnel }\n  \
                - { name: deny, hosts: [\"*.w.test\"], action: deny }\n";
    let config = good(yaml, &[]);
    assert_eq!(
        config.notes,
        ["rule allow can never match: rule deny denies it"]
    );
}

#[test]
fn listeners_can_be_off_and_on_any_port() {
    let yaml = "version: 1\nlisteners: { explicit: off, reverse: false, admin: 127.0.0.1:0, \
                transparent_tls: 127.0.0.1:0 }\n";
    let config = good(yaml, &[]);
    let names: Vec<_> = config
        .listeners
        .addresses()
        .iter()
        .map(|(n, _)| *n)
        .collect();
    assert_eq!(names, ["listeners.transparent_tls", "listeners.admin"]);
}

#[test]
fn keys_come_from_files_without_their_newline() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("key"), "sk-2\n").unwrap();
    let file = scratch.path().join("airlock.yaml");
    fs::write(
        &file,
        "version: 1\nllm: { api_key_file: key }\naudit: { path: a.jsonl }\n",
    )
    .unwrap();
    let config = load(Some(&file), &env(&[])).unwrap();
    assert_eq!(config.llm.api_key.unwrap().expose(), "sk-2");
    assert_eq!(config.audit.path, Some(scratch.path().join("a.jsonl")));
}

/// `tests/fixtures/config/NAME.yaml` holds the mistake, `NAME.txt` the whole error text.
/// `AIRLOCK_BLESS=1` writes the texts anew, to be read before they are committed.
#[test]
fn each_mistake_has_its_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    #[allow(
        clippy::disallowed_methods,
        reason = "a switch for whoever edits the fixtures"
    )]
    let bless = std::env::var_os("AIRLOCK_BLESS").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let yaml = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let errors = compile(&yaml, &name, folder.clone(), &env(&[]));
        let got = match errors {
            Ok(_) => panic!("{name} loads"),
            Err(e) => format!("{e}\n").replace(&*folder.to_string_lossy(), "FOLDER"),
        };
        let golden = file.with_extension("txt");
        if bless {
            fs::write(&golden, &got).unwrap();
        }
        assert_eq!(
            got,
            fs::read_to_string(&golden).unwrap_or_default(),
            "{name}"
        );
        seen += 1;
    }
    assert!(seen >= 20, "{seen} fixtures");
}

#[test]
fn a_proxy_is_named_with_its_credentials_and_what_goes_past_it() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("proxy.txt");
    fs::write(&file, "me:hush\n").unwrap();
    let from_file = format!("credentials_file: {}", file.display());
    for credentials in ["credentials_env: CORP", &from_file] {
        let yaml = format!(
            "version: 1\negress:\n  upstream_proxy: http://Proxy.example.com:3128\n  {credentials}\n  \
             no_proxy: [cdn.example.com, '*.example.net', 192.0.2.0/24]\n  llm_through_proxy: true\n"
        );
        let config = good(&yaml, &[("CORP", "me:hush")]);
        let proxy = config.egress.upstream_proxy.as_ref().unwrap();
        assert_eq!(proxy.authority.to_string(), "proxy.example.com:3128");
        assert_eq!(proxy.credentials.as_ref().unwrap().expose(), "me:hush");
        assert_eq!(config.egress.no_proxy.len(), 3);
        assert!(config.egress.llm_through_proxy);
        assert!(config.addresses.permits_private(&proxy.authority));
        assert!(config.notes[0].contains("proxy.example.com:3128"));
        assert!(!format!("{config:?}").contains("hush"));
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_name() {
    let errors = load(Some(Path::new("/nowhere/airlock.yaml")), &env(&[])).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("/nowhere/airlock.yaml: 1 error\n  cannot be read")
    );
}

#[test]
fn errors_of_the_environment_name_the_variable() {
    let errors = compile_text(
        "version: 1\n",
        &[
            ("LOCAL_LLM_BASE_URL", "sparkle:8000"),
            ("LOCAL_LLM_API_KEY", "two words"),
            ("DISABLE_EXTERNAL_CONNECTIONS", "maybe"),
            ("SESSION_SECRET", "hunter2-hunter2"),
            (
                "SESSION_SECRET_PREVIOUS",
                "please-change-me-7c1d0a4be2f95836d7a9c04f",
            ),
        ],
    )
    .unwrap_err();
    let paths: Vec<_> = errors.errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "env LOCAL_LLM_BASE_URL",
            "env LOCAL_LLM_API_KEY",
            "env DISABLE_EXTERNAL_CONNECTIONS",
            "env SESSION_SECRET",
            "env SESSION_SECRET_PREVIOUS"
        ]
    );
    let said = errors.to_string();
    for secret in ["two words", "hunter2", "7c1d"] {
        assert!(!said.contains(secret), "{said}");
    }
    assert_eq!(said.matches("openssl rand -hex 32").count(), 2, "{said}");
}

#[test]
fn what_a_refusal_says_to_paste_allows_the_request() {
    use crate::policy::{Around, Reason, explain, how_to_allow};
    let around = Around::default();
    let rows = [
        ("GET", "http://o.test/a", "/a"),
        ("GET", "http://o.test:8080/", "/"),
        ("POST", "https://o.test/x%20y/z", "/x%20y/z"),
        ("GET", "https://o.test/a:b,c/[d]", "/a:b,c/[d]"),
        ("GET", "https://o.test/null", "/null"),
        ("M-SEARCH", "https://o.test/a*b/c", "/a*b/c"),
        ("GET", "http://192.0.2.1/", "/"),
    ];
    let client = "127.0.0.1".parse().unwrap();
    for (method, url, path) in rows {
        let url = url.replace("192.0.2.1", "8.8.8.8");
        let denied = explain(
            &good("version: 1\n", &[]).policy,
            &around,
            method,
            &url,
            Entry::Explicit,
            client,
            NOW,
        );
        let denied = denied.unwrap();
        assert_eq!(denied.action, "deny", "{url}");
        assert_eq!(denied.path, path);
        let yaml = format!("version: 1\n{}", denied.how_to_allow.unwrap());
        let config = good(&yaml, &[]);
        let allowed = explain(
            &config.policy,
            &around,
            method,
            &url,
            Entry::Explicit,
            client,
            NOW,
        )
        .unwrap();
        assert_eq!(allowed.action, "forward", "{url}:\n{yaml}");
    }
    let connect = Authority::parse("my_llm.test:8443", None).unwrap();
    let yaml = how_to_allow(Reason::NoRuleMatched, &connect, "CONNECT", "");
    let config = good(&format!("version: 1\n{yaml}"), &[]);
    let flow = crate::policy::Flow {
        entry: Entry::Explicit,
        client,
        authority: &connect,
    };
    let action = config.policy.decide_connection(&flow, NOW).action;
    assert_eq!(action, crate::policy::ConnectionAction::Tunnel, "{yaml}");
    let private = Authority::parse("192.168.1.9:8188", None).unwrap();
    let yaml = how_to_allow(Reason::AddressClosed, &private, "GET", "/");
    assert!(
        good(&format!("version: 1\n{yaml}"), &[])
            .addresses
            .permits_private(&private)
    );
}

#[test]
fn the_terms_of_a_rule_and_the_secrets_are_read() {
    use crate::policy::{
        budget::{Budget, Each, Per},
        secrets::SecretMode,
    };
    let config = good(
        "version: 1
packs: []
secrets: {mode: redact, own: [my street 5]}
rules:
  - {name: a, hosts: [a.test], read_only: true, max_query_bytes: 64B, action: forward}
  - name: b
    hosts: [b.test]
    until: 2026-12-01T00:00:00Z
    budget: {bytes: 1MiB, per: day, each: client}
    secrets: off
    encoded_bodies: true
    action: forward
  - {name: c, hosts: [c.test], action: tunnel}
",
        &[],
    );
    let terms: Vec<_> = config
        .policy
        .rules()
        .iter()
        .map(|r| r.terms.as_deref())
        .collect();
    let [Some(a), Some(b), None] = terms[..] else {
        panic!("{terms:?}");
    };
    assert!(a.read_only && a.max_query_bytes == Some(64) && a.max_header_bytes.is_some());
    assert_eq!(b.until, Some(time::macros::datetime!(2026-12-01 0:00 UTC)));
    let want = Budget {
        bytes: 1 << 20,
        per: Per::Day,
        each: Each::Client,
    };
    assert_eq!(b.budget, Some(want));
    assert_eq!((b.secrets, b.encoded_bodies), (Some(SecretMode::Off), true));
    assert_eq!(config.policy.secrets().mode(), SecretMode::Redact);
    assert!(!format!("{config:?}").contains("my street"));
}
