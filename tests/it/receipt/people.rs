//! Where people log in: each sees what is theirs, and an admin sees all.

use serde_json::{Value, json};

use super::{House, line};
use crate::support::{Reply, Wire, eventually};

impl House {
    fn token(&self, user: &str, role: &str) -> String {
        let issue = ["session", "issue", user, "--role", role, "--json"];
        let (code, out, err) = self.airlock.command(&issue);
        assert_eq!(code, 0, "{err}");
        let issued: Value = serde_json::from_str(&out).unwrap();
        issued["token"].as_str().unwrap().to_owned()
    }

    fn look(&self, token: &str, path: &str) -> Reply {
        let door = self.door();
        Wire::to(door).ask(format!(
            "GET {path} HTTP/1.1\r\nHost: {door}\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
    }

    /// Telemetry of somebody's chat.
    fn chat(&self, token: &str, id: &str) {
        let door = self.door();
        let body = json!({"event_type": "chat_request", "session_id": id}).to_string();
        let reply = Wire::to(door).ask(format!(
            "POST /airlock/copilot/api/chat/track_event HTTP/1.1\r\nHost: {door}\r\n\
             Authorization: Bearer {token}\r\nX-Session-Id: {id}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

#[test]
fn each_sees_what_is_theirs_and_an_admin_sees_all() {
    let house = House::with("users:\n  required: true\n");
    let (ada, bob) = (house.token("ada", "user"), house.token("bob", "viewer"));
    let admin = house.token("root", "admin");
    let (one, two) = (
        "11111111-6c1f-4b2e-9d3a-0c5a4f1e7b90",
        "22222222-6c1f-4b2e-9d3a-0c5a4f1e7b90",
    );
    house.chat(&ada, one);
    house.chat(&ada, two);
    let nobody = house.get("/airlock/receipt.json");
    assert_eq!(
        (nobody.status, nobody.code().as_str()),
        (401, "login_required")
    );
    house.airlock.exactly(3);

    let receipt = |token: &str, path: &str| house.look(token, path).json()["receipt"].clone();
    let all = "/airlock/receipt.json";
    eventually("the writer has entered them", || {
        let totals = receipt(&admin, all)["totals"].clone();
        totals["refused"] == 1
    });
    let of_ada = receipt(&ada, all);
    assert_eq!(of_ada["about"], json!({"kind": "user", "user": "ada"}));
    assert_eq!(
        line(&of_ada, "answered_here", "code", "telemetry")["requests"],
        2
    );
    assert_eq!(of_ada["totals"]["refused"], 0, "that was a stranger");
    assert_eq!(of_ada["ever"], Value::Null);
    let kinds = |receipt: &Value, kind: &str| {
        let lines = receipt["sessions"].as_array().unwrap().iter();
        lines.filter(|line| line["kind"] == kind).count()
    };
    assert_eq!((kinds(&of_ada, "chat"), kinds(&of_ada, "login")), (2, 1));

    let of_bob = receipt(&bob, all);
    assert_eq!(of_bob["about"]["user"], "bob");
    assert_eq!(kinds(&of_bob, "chat"), 0);
    assert!(!of_bob.to_string().contains("ada"), "{of_bob:#}");

    let of_all = receipt(&admin, all);
    assert_eq!(of_all["about"]["kind"], "machine");
    assert_eq!(kinds(&of_all, "chat"), 2);
    assert_eq!(line(&of_all, "sessions", "id", one)["user"], "ada");

    for part in ["", ".json", "/live"] {
        let path = format!("/airlock/receipt{part}?session={one}");
        assert_eq!(house.look(&bob, &path).status, 404, "{path}");
    }
    for token in [&ada, &admin] {
        let chat = receipt(token, &format!("{all}?session={one}"));
        assert_eq!(
            chat["about"],
            json!({"kind": "chat", "id": one, "user": "ada"})
        );
    }
}
