//! What the compose network promises, read from the files that are shipped.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::architecture::files;

const COMPOSE: &str = include_str!("../../deploy/compose/docker-compose.yaml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboards/airlock.json");

fn compose() -> Value {
    serde_yaml::from_str(COMPOSE).expect("the compose file is YAML")
}

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"]
        .as_object()
        .expect("services is a map")
        .iter()
}

fn words(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Networks that have a route out.
fn routed(compose: &Value) -> BTreeSet<&str> {
    let networks = compose["networks"].as_object().expect("networks is a map");
    networks
        .iter()
        .filter(|(_, n)| n["internal"] != true)
        .map(|(name, _)| name.as_str())
        .collect()
}

#[test]
fn the_plugins_container_has_one_network_and_it_leads_nowhere() {
    let compose = compose();
    assert_eq!(
        words(&compose["services"]["comfyui"]["networks"]),
        ["llm_net"]
    );
    assert_eq!(compose["networks"]["llm_net"]["internal"], true);
    assert!(
        compose["services"]["comfyui"]["ports"].is_null(),
        "it is reached through the door"
    );
    assert!(compose["services"]["comfyui"]["extra_hosts"].is_null());
}

#[test]
fn only_airlock_the_relays_and_the_model_download_have_a_route_out() {
    let compose = compose();
    let routed = routed(&compose);
    let with_a_route: BTreeSet<_> = services(&compose)
        .filter(|(_, s)| s["network_mode"] != "none")
        .filter(|(_, s)| {
            let networks = words(&s["networks"]);
            // A service that names no network joins the default one, which is routed.
            networks.is_empty() || networks.iter().any(|n| routed.contains(n))
        })
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        with_a_route,
        BTreeSet::from(["airlock", "door", "grafana-door", "ollama-pull"])
    );
}

#[test]
fn every_port_is_published_on_loopback_only() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
        }
    }
}

#[test]
fn every_container_is_confined_and_bounded() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(
            words(&service["security_opt"]),
            ["no-new-privileges:true"],
            "{name}"
        );
        assert!(service["user"].is_string(), "{name} has no user");
        assert!(
            service["mem_limit"].is_string(),
            "{name} has no memory limit"
        );
        assert!(
            service["pids_limit"].is_number(),
            "{name} has no process limit"
        );
        assert!(service["privileged"].is_null(), "{name}");
        assert!(service["cap_add"].is_null(), "{name}");
        // ComfyUI and its custom nodes write beside their sources.
        assert!(
            service["read_only"] == true || name == "comfyui",
            "{name} can write to its root"
        );
        assert!(
            !service.to_string().contains("docker.sock"),
            "{name} could command the engine"
        );
    }
}

#[test]
fn the_plugin_trusts_the_bundle_and_cannot_write_or_see_the_key() {
    let compose = compose();
    let comfyui = &compose["services"]["comfyui"];
    let environment = &comfyui["environment"];
    for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
        assert_eq!(
            environment[variable], "/etc/airlock-ca/bundle.pem",
            "{variable}"
        );
    }
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        assert_eq!(environment[variable], "http://airlock:3128", "{variable}");
        let lower = variable.to_lowercase();
        assert_eq!(environment[&lower], environment[variable], "{lower}");
    }
    // Without it the base URLs would go through the proxy port, back to Airlock itself.
    let no_proxy = environment["NO_PROXY"].as_str().unwrap_or_default();
    for host in ["127.0.0.1", "localhost", "airlock"] {
        assert!(
            no_proxy.split(',').any(|h| h == host),
            "NO_PROXY lacks {host}"
        );
    }
    let volumes = words(&comfyui["volumes"]);
    assert!(
        volumes.contains(&"airlock_ca:/etc/airlock-ca:ro"),
        "{volumes:?}"
    );
    assert!(
        !volumes.iter().any(|v| v.starts_with("airlock_state")),
        "{volumes:?}"
    );
}

#[test]
fn the_dashboard_has_unique_panels_that_say_what_they_show() {
    let board: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().unwrap_or_default();
        assert!(
            ids.insert(panel["id"].as_u64()),
            "{title}: its id is used twice"
        );
        let place = &panel["gridPos"];
        let right = place["x"].as_u64().unwrap_or(99) + place["w"].as_u64().unwrap_or(99);
        assert!(right <= 24, "{title} does not fit the grid");
        if panel["type"] != "row" {
            assert!(
                panel["description"].as_str().is_some_and(|d| d.len() > 15),
                "{title}"
            );
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{title} has no unit"
            );
        }
    }
}

/// The demo runs for real, its last `/metrics` goes into a real Prometheus with the shipped
/// configuration, and every dashboard and alert query is asked. Without Prometheus only names and
/// series are compared, unless `AIRLOCK_REQUIRE_PROMETHEUS` is set, as it is in CI.
#[test]
fn every_dashboard_and_alert_query_is_answered_from_what_a_demo_emitted() {
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("demo.prom");
    let demo = std::process::Command::new(env!("CARGO_BIN_EXE_airlock"))
        .args(["demo", "--no-llm-search", "--json", "--metrics-file"])
        .arg(&dump)
        .output()
        .unwrap();
    assert!(
        demo.status.success(),
        "{}",
        String::from_utf8_lossy(&demo.stdout)
    );

    let root = env!("CARGO_MANIFEST_DIR");
    let mut queries = std::process::Command::new("python3");
    queries
        .arg(format!("{root}/tests/deploy/queries.py"))
        .arg("--metrics")
        .arg(&dump);
    queries.env("PYTHONDONTWRITEBYTECODE", "1");
    if std::env::var_os("AIRLOCK_REQUIRE_PROMETHEUS").is_some() {
        queries.arg("--strict");
    }
    let answered = queries.output().unwrap();
    let text = String::from_utf8_lossy(&answered.stdout);
    assert!(
        answered.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&answered.stderr)
    );
    println!("{text}");
}

#[test]
fn the_reader_of_queries_is_right_itself() {
    let tests = std::process::Command::new("python3")
        .args(["-m", "unittest", "discover", "-s", "tests/deploy"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        tests.status.success(),
        "{}",
        String::from_utf8_lossy(&tests.stderr)
    );
}

/// Top-level names that a build of the binary reads: what the sources include, and what Cargo itself does.
fn read_by_the_build() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: BTreeSet<String> = ["Cargo.toml", "Cargo.lock", "build.rs", "src"]
        .map(String::from)
        .into();
    // Tests have files of their own, and read more.
    let is_test = |file: &PathBuf| file.to_string_lossy().contains("tests");
    for file in files(Path::new("src")).into_iter().filter(|f| !is_test(f)) {
        let source = std::fs::read_to_string(&file).expect("a source");
        let quoted = |begin: &str| -> Vec<&str> {
            let behind = source.split(begin).skip(1);
            let paths = behind.filter_map(|text| text.trim_start().strip_prefix('"'));
            paths.filter_map(|text| text.split('"').next()).collect()
        };
        if !quoted("#[template(path = ").is_empty() {
            names.insert("templates".into());
        }
        for path in [quoted("include_str!("), quoted("include_bytes!(")].concat() {
            let beside = file.parent().expect("a folder").join(path);
            let Ok(real) = beside.canonicalize() else {
                continue;
            };
            let inside = real.strip_prefix(root).expect("inside the project");
            let top = inside.components().next().expect("a name");
            names.insert(top.as_os_str().to_string_lossy().into_owned());
        }
    }
    names
}

#[test]
fn the_images_context_has_all_that_its_build_reads() {
    let ignore = include_str!("../../docker/Dockerfile.dockerignore");
    let there: BTreeSet<&str> = ignore.lines().filter_map(|l| l.strip_prefix('!')).collect();
    let missing: Vec<String> = read_by_the_build()
        .into_iter()
        // `tests/it` stands for what of `tests` is there.
        .filter(|name| !there.iter().any(|t| t.split('/').next() == Some(name)))
        .collect();
    assert!(
        missing.is_empty(),
        "docker/Dockerfile.dockerignore leaves out {missing:?}"
    );
}
