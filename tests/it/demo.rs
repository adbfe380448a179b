//! `airlock demo` as a person and a script run it: green, nothing left, nothing left behind.

use std::{collections::HashSet, process::Command};

use serde_json::Value;

/// Steps of the demo, refusals included; a step that goes missing must be missed.
const STEPS: usize = 32;
const REFUSALS: usize = 6;

struct Run {
    stdout: String,
    stderr: String,
    code: Option<i32>,
    /// What is in the folder for temporary files afterwards.
    left_behind: Vec<String>,
}

/// Runs it with nothing of the tester's environment, and a folder of its own for scratch files.
fn demo(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_airlock"))
        .arg("demo")
        .args(arguments)
        .env_clear()
        .env("TMPDIR", scratch.path())
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let left_behind = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    Run {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code(),
        left_behind,
    }
}

#[test]
fn the_demo_is_green_and_says_so_in_one_json_object() {
    let metrics = tempfile::NamedTempFile::new().unwrap();
    let metrics_file = metrics.path().to_str().unwrap();
    let run = demo(
        &["--json", "--no-llm-search", "--metrics-file", metrics_file],
        &[],
    );
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr, "", "a green run has nothing to say besides");
    assert_eq!(run.left_behind, Vec::<String>::new());

    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let keys: HashSet<&str> = report
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        HashSet::from(["ok", "left_machine_bytes", "llm", "steps"])
    );
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["left_machine_bytes"], 0);
    assert_eq!(report["llm"]["kind"], "stand-in");
    assert!(
        report["llm"]["url"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );

    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), STEPS);
    let fields = [
        "name",
        "entry",
        "request",
        "decision",
        "reason",
        "answered_by",
        "left_machine_bytes",
        "ok",
        "detail",
    ];
    for step in steps {
        let keys: HashSet<&str> = step
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, HashSet::from(fields), "{step}");
        assert_eq!(step["ok"], true, "{step}");
        assert_eq!(step["left_machine_bytes"], 0, "{step}");
        assert!(
            step["answered_by"].is_string() && step["detail"] != "",
            "{step}"
        );
    }
    let decided = |what: &str| steps.iter().filter(|s| s["decision"] == what).count();
    assert_eq!((decided("deny"), decided("intercept")), (REFUSALS, 1));
    assert_eq!(decided("respond"), STEPS - REFUSALS - 1);
    let by_reverse = steps.iter().filter(|s| s["entry"] == "reverse").count();
    assert_eq!(by_reverse, 2);

    // A demo in which all is well must leave nothing for an alert to find.
    let page = std::fs::read_to_string(metrics.path()).unwrap();
    for absent in [
        "airlock_standin_drift_total{",
        "airlock_llm_upstream_errors_total{",
        "airlock_dns_queries_total{",
        r#"reason="internal""#,
        r#"class="public""#,
    ] {
        assert!(
            !page.contains(absent),
            "{absent} is in the metrics:\n{page}"
        );
    }
    for present in [
        r#"airlock_llm_repairs_total{kind="user_message"} 1"#,
        r#"airlock_telemetry_dropped_total{event_type="chat_request"} 1"#,
        "gen_ai_server_time_to_first_token_seconds_bucket{",
        "gen_ai_server_time_per_output_token_seconds_bucket{",
        "airlock_mcp_requests_total{",
    ] {
        assert!(
            page.contains(present),
            "{present} is not in the metrics:\n{page}"
        );
    }
}

#[test]
fn settings_of_the_person_do_not_lead_the_demo_off_this_machine() {
    let elsewhere = [
        ("LOCAL_LLM_BASE_URL", "http://192.0.2.1:8000/v1"),
        ("AIRLOCK_STATE_DIR", "/nonexistent/airlock"),
        ("AIRLOCK_CONFIG", "/nonexistent/airlock.yaml"),
        ("HTTPS_PROXY", "http://192.0.2.1:3128"),
    ];
    let run = demo(&["--json", "--no-llm-search"], &elsewhere);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["llm"]["kind"], "stand-in");
}

#[test]
fn the_table_fits_a_terminal_and_ends_with_the_sum() {
    let run = demo(&["--no-llm-search"], &[]);
    assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    assert!(!run.stdout.contains('\x1b'), "colour where no terminal is");
    assert_eq!(run.stdout.matches('✓').count(), STEPS, "{}", run.stdout);
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
    assert!(
        run.stdout.contains("bytes that left this machine: 0"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("no_rule_matched"),
        "a refusal without its reason"
    );
}
