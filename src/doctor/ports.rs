//! Whether airlock runs already, and if not, whether its ports are to be had.

use std::net::SocketAddr;

use serde_json::Value;

use super::Finding;
use crate::{
    admin::Admin,
    config::Config,
    listener::{BindError, Door, Listening},
    upstream::control::{self, ControlError},
};

pub async fn examine(config: &Config) -> Vec<Finding> {
    match running(config.listeners.admin).await {
        Some(status) => as_running(config, &status),
        None => as_stopped(config).await,
    }
}

/// The status page of an airlock at our own admin address.
async fn running(admin: Option<SocketAddr>) -> Option<Value> {
    let answer = match control::get(admin?, "/status").await {
        Ok((200, body)) => body,
        Ok(_) | Err(ControlError::NotRunning(_) | ControlError::NotAirlock(_)) => return None,
    };
    let status: Value = serde_json::from_str(&answer).ok()?;
    // Another program may have a status page too.
    status.get("policy_generation")?;
    Some(status)
}

fn as_running(config: &Config, status: &Value) -> Vec<Finding> {
    let text = |key: &str| {
        status
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned()
    };
    let ready = status.get("ready").and_then(Value::as_bool) == Some(true);
    let audit = status.get("audit_healthy").and_then(Value::as_bool) == Some(true);
    let mut findings = vec![match (ready, audit) {
        (true, true) => Finding::ok(
            "running",
            format!(
                "airlock {} runs and is ready, mode {}",
                text("version"),
                text("mode")
            ),
        ),
        (true, false) => Finding::fail(
            "running",
            "airlock runs, but its audit log cannot be written",
            "look at the disk and at the audit file's folder; decisions go on meanwhile",
        ),
        (false, _) => Finding::warn(
            "running",
            "airlock runs, but is not ready yet",
            "wait a moment and run doctor again; its log says what it waits for",
        ),
    }];
    let theirs = status.get("listeners").and_then(Value::as_object);
    for (setting, want) in config.listeners.addresses() {
        let name = setting
            .trim_start_matches("listeners.")
            .trim_end_matches(".listen");
        let found = theirs.and_then(|l| l.get(name)).and_then(Value::as_str);
        let agrees = found.is_some_and(|f| f == want.to_string() || want.port() == 0);
        if !agrees {
            findings.push(Finding::warn(
                "ports",
                format!(
                    "the airlock that runs has {name} on {}, this configuration says {want}",
                    found.unwrap_or("no port"),
                ),
                "restart it with this configuration, or name the one it runs with in --config",
            ));
        }
    }
    findings
}

async fn as_stopped(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::warn(
        "running",
        match config.listeners.admin {
            Some(admin) => format!("no airlock answers at {admin}"),
            None => "whether airlock runs cannot be asked: listeners.admin is off".to_owned(),
        },
        "start it with `airlock run`, or let `airlock exec -- python main.py` start it",
    )];
    let listeners = &config.listeners;
    let doors = [
        (Door::Explicit, listeners.explicit),
        (Door::Reverse, listeners.reverse.as_ref().map(|r| r.listen)),
        (Door::TransparentTls, listeners.transparent_tls),
        (Door::TransparentHttp, listeners.transparent_http),
    ];
    for (door, address) in doors {
        if let Some(address) = address {
            let bound = Listening::bind(door, address).await.map(drop);
            findings.push(port(door.setting(), address, bound));
        }
    }
    if let Some(address) = listeners.admin {
        findings.push(port(
            "listeners.admin",
            address,
            Admin::bind(address).await.map(drop),
        ));
    }
    findings
}

fn port(setting: &str, address: SocketAddr, bound: Result<(), BindError>) -> Finding {
    match bound {
        Ok(()) => Finding::ok("ports", format!("{address} is free ({setting})")),
        Err(e) => Finding::fail(
            "ports",
            e.to_string(),
            format!(
                "`ss -ltnp` names the program on port {}; stop it, or change {setting}",
                address.port()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{config, doctor::Status};

    fn config(listeners: &str) -> Config {
        let yaml = format!("version: 1\nlisteners: {listeners}\n");
        let env = HashMap::from([("HOME".to_owned(), "/nonexistent".to_owned())]);
        config::compile(&yaml, "test", ".".into(), &env).unwrap()
    }

    #[tokio::test]
    async fn a_port_that_another_program_holds_is_named_with_its_setting() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let config = config(&format!(
            "{{explicit: \"{address}\", reverse: off, admin: off}}"
        ));
        let findings = examine(&config).await;
        let port = findings.iter().find(|f| f.check == "ports").unwrap();
        assert_eq!(port.status, Status::Fail);
        assert!(
            port.finding.contains(&address.port().to_string()),
            "{port:?}"
        );
        assert!(port.finding.contains("listeners.explicit"), "{port:?}");
    }

    #[test]
    fn a_running_airlock_on_other_ports_is_noticed() {
        let config = config("{explicit: 127.0.0.1:1, reverse: off, admin: 127.0.0.1:2}");
        let status = serde_json::json!({
            "ready": true, "audit_healthy": true, "version": "0", "mode": "enforce",
            "listeners": {"explicit": "127.0.0.1:3128", "admin": "127.0.0.1:2"},
        });
        let findings = as_running(&config, &status);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(
            findings[1].finding.contains("127.0.0.1:3128"),
            "{findings:?}"
        );
    }
}
