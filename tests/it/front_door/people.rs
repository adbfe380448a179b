//! People at the front door: sessions of theirs, what they send, and a ComfyUI whose plugin has one key
//! for all of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::door;
use crate::support::{Airlock, Origin, Reply, Wire};

pub const REQUIRED: &str = "users:\n  required: true\n";

/// ComfyUI with the plugin in it, as far as people are concerned.
pub struct Plugin {
    origin: Origin,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Plugin {
    pub fn start() -> Self {
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let record = seen.clone();
        let saved = AtomicU64::new(7);
        let origin = Origin::scripted(move |mut guest| {
            while let Some(head) = guest.head() {
                let head = String::from_utf8_lossy(&head).into_owned();
                let length = value(&head, "content-length").and_then(|v| v.parse().ok());
                let body = guest.exact(length.unwrap_or(0));
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = String::from_utf8_lossy(&body).into_owned();
                let rewrites = body.contains("rewrite it");
                record.lock().unwrap().push((head, body));
                let json = match path.split('?').next().unwrap_or_default() {
                    "/ws" => {
                        guest.send(
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                             Upgrade: websocket\r\n\r\nhello",
                        );
                        // Until the other side goes.
                        while guest.byte().is_some() {}
                        return;
                    }
                    "/api/save-workflow-checkpoint" => {
                        let id = saved.fetch_add(1, Ordering::SeqCst);
                        format!(
                            "{{\"success\":true,\"data\":{{\"version_id\":{id},\"checkpoint_id\":{id}}}}}"
                        )
                    }
                    // A rewrite agent saves what was there and what it made of it.
                    "/api/chat/invoke" if rewrites => {
                        let id = saved.fetch_add(2, Ordering::SeqCst);
                        let text = r#"\"checkpoint_id\":1"#;
                        format!(
                            "{{\"session_id\":\"x\",\"text\":\"{text}\",\"finished\":false,\"ext\":null}}\n\
                             {{\"session_id\":\"x\",\"text\":\"{text}\",\"finished\":true,\"ext\":[\
                             {{\"type\":\"workflow_update\",\"data\":{{\"checkpoint_id\":2}}}},\
                             {{\"type\":\"workflow_rewrite_checkpoint\",\"data\":{{\"checkpoint_id\":{id}}}}},\
                             {{\"type\":\"workflow_rewrite_complete\",\"data\":{{\"version_id\":{}}}}}]}}\n",
                            id + 1
                        )
                    }
                    _ => "{\"ok\":true}".to_owned(),
                };
                let kind = match path.as_str() {
                    "/" => "text/html",
                    _ => "application/json",
                };
                let cookie = "Set-Cookie: airlock_session=theirs\r\nSet-Cookie: lang=en\r\n";
                guest.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{cookie}Content-Length: {}\r\n\r\n{json}",
                    json.len()
                ));
            }
        });
        Self { origin, seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.origin.address
    }

    /// Heads and bodies of what it was asked.
    pub fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().clone()
    }

    /// The plugin's one key: that of whoever chatted last.
    pub fn global_key(&self) -> Option<String> {
        let seen = self.seen();
        let mut chats = seen
            .iter()
            .filter(|(head, _)| head.contains("/chat/invoke"));
        value(&chats.next_back()?.0, "authorization")
    }
}

/// The value of a header line.
pub fn value(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// A session's token, made as its owner would.
pub fn token(airlock: &Airlock, user: &str, role: &str) -> String {
    issue(airlock, user, role, "12h").1
}

/// Session id and token.
pub fn issue(airlock: &Airlock, user: &str, role: &str, life: &str) -> (String, String) {
    let arguments = [
        "session", "issue", user, "--role", role, "--for", life, "--json",
    ];
    let (code, out, err) = airlock.command(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    let issued: serde_json::Value = serde_json::from_str(&out).unwrap();
    let text = |field: &str| issued[field].as_str().unwrap().to_owned();
    (text("session_id"), text("token"))
}

/// A browser on our own page.
pub struct Browser<'a> {
    pub airlock: &'a Airlock,
    pub cookie: String,
}

impl<'a> Browser<'a> {
    pub fn with(airlock: &'a Airlock, token: &str) -> Self {
        let cookie = format!("airlock_session={token}");
        Self { airlock, cookie }
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", "")
    }

    pub fn post(&self, path: &str, body: &str) -> Reply {
        let own = format!("Origin: http://{}\r\n", door(self.airlock));
        self.send("POST", path, &own, body)
    }

    pub fn send(&self, method: &str, path: &str, lines: &str, body: &str) -> Reply {
        Wire::to(door(self.airlock)).ask(self.request(method, path, lines, body))
    }

    pub fn request(&self, method: &str, path: &str, lines: &str, body: &str) -> String {
        let (door, cookie) = (door(self.airlock), &self.cookie);
        let length = match body {
            "" => String::new(),
            body => format!("Content-Length: {}\r\n", body.len()),
        };
        let cookie = match cookie.as_str() {
            "" => String::new(),
            cookie => format!("Cookie: a=b; {cookie}; c=d\r\n"),
        };
        format!("{method} {path} HTTP/1.1\r\nHost: {door}\r\n{cookie}{lines}{length}\r\n{body}")
    }
}
