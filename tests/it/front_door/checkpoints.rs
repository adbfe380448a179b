//! Workflows that the plugin saves under numbers: each is worth nothing in another person's hands.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    chats::{chat, whole},
    people::{Browser, Plugin, REQUIRED, issue, token},
};
use crate::support::{Airlock, Reply, eventually};

const SAVE: &str = "/api/save-workflow-checkpoint";
const RESTORE: &str = "/api/restore-workflow-checkpoint?version_id=";
const UPDATE: &str = "/api/update-workflow-ui";
const CHAT: &str = "/api/chat/invoke";

fn save(person: &Browser<'_>, session: &str) -> u64 {
    let saved = person.post(SAVE, &chat(session));
    saved.json()["data"]["version_id"].as_u64().unwrap()
}

fn restores(person: &Browser<'_>, id: u64) -> (u16, String) {
    found(&person.get(&format!("{RESTORE}{id}")))
}

fn found(reply: &Reply) -> (u16, String) {
    match reply.status {
        200 => yes(),
        status => (status, reply.code()),
    }
}

fn yes() -> (u16, String) {
    (200, String::new())
}

fn no() -> (u16, String) {
    (403, "checkpoint_foreign".into())
}

fn session(airlock: &Airlock, id: &str) -> Value {
    let (_, out, _) = airlock.command(&["session", "show", id, "--json"]);
    serde_json::from_str(&out).unwrap_or_default()
}

#[test]
fn a_checkpoint_is_its_users_in_every_session_and_nobody_elses_by_any_way() {
    let plugin = Plugin::start();
    let airlock = whole(&plugin, REQUIRED);
    let (id, ada) = issue(&airlock, "ada", "user", "12h");
    let later = token(&airlock, "ada", "user");
    let (bob, root) = (
        token(&airlock, "bob", "user"),
        token(&airlock, "root", "admin"),
    );
    let [ada, later, bob, root] = [&ada, &later, &bob, &root].map(|t| Browser::with(&airlock, t));
    let (hers, his) = (save(&ada, "ada-1"), save(&bob, "bob-1"));
    assert_eq!((hers, his), (7, 8));

    assert_eq!(restores(&ada, hers), yes());
    assert_eq!(restores(&later, hers), yes(), "after another login");
    assert_eq!(restores(&bob, his), yes());
    for (name, person, id) in [
        ("another's", &bob, hers),
        ("the other way round", &ada, his),
        ("an admin's wish", &root, hers),
        ("one that will be given out next", &bob, 9),
        ("one from before", &bob, 1),
    ] {
        assert_eq!(restores(person, id), no(), "{name}");
    }

    let before = plugin.seen().len();
    let refused = std::cell::Cell::new(0);
    let refuses = |name: &str, method: &str, path: &str, body: &str| {
        let own = format!("Origin: http://{}\r\n", super::door(&airlock));
        let reply = bob.send(method, path, &own, body);
        assert_eq!(found(&reply), no(), "{name}");
        refused.set(refused.get() + 1);
    };
    let restore = "/api/restore-workflow-checkpoint";
    for (name, query) in [
        ("with a space", "version_id=+7"),
        ("with a zero", "version_id=07"),
        ("with a sign", "version_id=%2B7"),
        ("in wide digits", "version_id=%EF%BC%97"),
        ("in escapes", "version%5Fid=%37"),
        ("behind his own", "version_id=8&version_id=7"),
        ("before his own", "version_id=7&version_id=8"),
        ("by its other name", "checkpoint_id=7"),
    ] {
        refuses(name, "GET", &format!("{restore}?{query}"), "");
    }
    for (name, method, path) in [
        ("asked for its head", "HEAD", restore),
        (
            "in an escaped path",
            "GET",
            "/api/restore%2Dworkflow-checkpoint",
        ),
        (
            "by ComfyUI's second name",
            "GET",
            "/api/api/restore-workflow-checkpoint",
        ),
        (
            "removed by a newer plugin",
            "DELETE",
            "/api/delete-workflow-checkpoint",
        ),
    ] {
        if method == "HEAD" {
            // Its answer has no body to name the reason in.
            let reply = bob.send(method, &format!("{path}?version_id=7"), "", "");
            assert_eq!(reply.status, 403, "{name}");
            refused.set(refused.get() + 1);
            continue;
        }
        refuses(name, method, &format!("{path}?version_id=7"), "");
    }
    let big = "x".repeat(300_000);
    for (name, path, body) in [
        (
            "written to",
            UPDATE,
            json!({"checkpoint_id": 7, "workflow_data_ui": {}}).to_string(),
        ),
        (
            "as text",
            UPDATE,
            json!({"checkpoint_id": "7", "workflow_data_ui": {}}).to_string(),
        ),
        (
            "as a fraction",
            UPDATE,
            "{\"checkpoint_id\":7.0,\"workflow_data_ui\":{}}".into(),
        ),
        (
            "as a text with a space",
            UPDATE,
            "{\"checkpoint_id\":\" 7\"}".into(),
        ),
        (
            "given twice",
            UPDATE,
            "{\"checkpoint_id\":8,\"checkpoint_id\":7}".into(),
        ),
        (
            "in escapes",
            UPDATE,
            "{\"checkpoint\\u005fid\":\"\\u0037\"}".into(),
        ),
        (
            "behind a workflow",
            UPDATE,
            format!("{{\"workflow_data_ui\":\"{big}\",\"checkpoint_id\":7}}"),
        ),
        (
            "in a chat",
            CHAT,
            json!({"session_id": "bob-1", "workflow_checkpoint_id": 7}).to_string(),
        ),
        (
            "in a chat, as text",
            CHAT,
            json!({"session_id": "bob-1", "workflow_checkpoint_id": "7"}).to_string(),
        ),
        (
            "by removing it",
            "/api/delete-workflow-checkpoint",
            "{\"checkpoint_id\":7}".into(),
        ),
    ] {
        refuses(name, "POST", path, &body);
    }
    // What passed is in vain for the plugin, which has no whole request.
    let heard = plugin.seen();
    assert!(
        heard.iter().skip(before).all(|(_, body)| body.is_empty()),
        "ComfyUI heard of one"
    );
    eventually("each refusal is in the log", || {
        let records = airlock.records();
        let of_bob = records.iter().filter(|r| r["user"] == "bob");
        let refusals = of_bob.filter(|r| r["reason"] == "checkpoint_foreign");
        refusals.count() >= refused.get()
    });

    for (name, body) in [
        (
            "his own",
            json!({"checkpoint_id": 8, "workflow_data_ui": {}}),
        ),
        (
            "his own, as text",
            json!({"checkpoint_id": "8", "workflow_data_ui": {}}),
        ),
    ] {
        assert_eq!(bob.post(UPDATE, &body.to_string()).status, 200, "{name}");
    }
    for (name, checkpoint) in [("his own", json!(8)), ("none", Value::Null)] {
        let body = json!({"session_id": "bob-1", "workflow_checkpoint_id": checkpoint});
        assert_eq!(bob.post(CHAT, &body.to_string()).status, 200, "{name}");
    }
    eventually("it is kept with the session", || {
        session(&airlock, &id)["checkpoints"] == json!(["7"])
    });
}

#[test]
fn what_an_agent_saves_is_of_who_ran_it_and_a_model_cannot_give_it_away() {
    let plugin = Plugin::start();
    let airlock = whole(&plugin, REQUIRED);
    let (ada, bob) = (
        token(&airlock, "ada", "user"),
        token(&airlock, "bob", "user"),
    );
    let (ada, bob) = (Browser::with(&airlock, &ada), Browser::with(&airlock, &bob));
    let rewrite = json!({"session_id": "ada-1", "prompt": "rewrite it"}).to_string();
    let reply = ada.post(CHAT, &rewrite);
    assert!(
        reply.text().contains("\"checkpoint_id\":7"),
        "{}",
        reply.text()
    );
    for id in [7, 8] {
        assert_eq!(restores(&ada, id), yes(), "{id}");
        assert_eq!(restores(&bob, id), no(), "{id}");
    }
    // In the text and in a workflow, where a model or a person may write what they like.
    for id in [1, 2] {
        assert_eq!(restores(&ada, id), no(), "{id}");
    }
}

#[test]
fn an_owner_outlives_a_restart_and_a_removed_user_leaves_nothing() {
    let plugin = Plugin::start();
    let mut airlock = whole(&plugin, REQUIRED);
    let (code, _, err) = airlock.command(&["user", "add", "ada", "--role", "user"]);
    assert_eq!(code, 0, "{err}");
    let ada = token(&airlock, "ada", "user");
    let id = save(&Browser::with(&airlock, &ada), "ada-1");
    airlock.process.signal("TERM");
    airlock.process.exit(Duration::from_secs(30)).unwrap();
    let airlock = airlock.restart();
    assert_eq!(restores(&Browser::with(&airlock, &ada), id), yes());
    assert_eq!(airlock.command(&["user", "remove", "ada"]).0, 0);
    let namesake = token(&airlock, "ada", "user");
    assert_eq!(restores(&Browser::with(&airlock, &namesake), id), no());
}

#[test]
fn one_person_alone_restores_whatever_there_is() {
    let plugin = Plugin::start();
    let airlock = whole(&plugin, "");
    let nobody = Browser {
        airlock: &airlock,
        cookie: String::new(),
    };
    assert_eq!(restores(&nobody, 99), yes());
    let body = json!({"checkpoint_id": 98, "workflow_data_ui": {}});
    assert_eq!(nobody.post(UPDATE, &body.to_string()).status, 200);
    let somebody = token(&airlock, "ada", "user");
    assert_eq!(restores(&Browser::with(&airlock, &somebody), 99), yes());
}
