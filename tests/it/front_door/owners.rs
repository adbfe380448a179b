//! A kill forgets nobody's chats and saved workflows that the plugin was told of.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    chats::{chat, whole},
    door,
    people::{Browser, Plugin, REQUIRED, issue, token},
};
use crate::support::{Airlock, Reply, Wire, eventually};

const SAVE: &str = "/api/save-workflow-checkpoint";
const RESTORE: &str = "/api/restore-workflow-checkpoint?version_id=";
const CHAT: &str = "/api/chat/invoke";
/// Acknowledged before the kill, of each kind.
const ENOUGH: usize = 12;

/// What was answered with 200 before the kill.
#[derive(Default)]
struct Told {
    in_bodies: Mutex<Vec<String>>,
    in_headers: Mutex<Vec<String>>,
    saved: Mutex<Vec<u64>>,
}

impl Told {
    fn enough(&self) -> bool {
        let enough = |ids: &Mutex<Vec<String>>| ids.lock().unwrap().len() >= ENOUGH;
        enough(&self.in_bodies)
            && enough(&self.in_headers)
            && self.saved.lock().unwrap().len() >= ENOUGH
    }
}

/// `None`: the connection broke.
fn try_send(
    person: &Browser<'_>,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> Option<Reply> {
    let own = format!("Origin: http://{}\r\n{lines}", door(person.airlock));
    let mut stream = TcpStream::connect(door(person.airlock)).ok()?;
    let request = person.request(method, path, &own, body);
    stream.write_all(request.as_bytes()).ok()?;
    let mut wire = Wire::over(stream);
    wire.try_reply(false).filter(|reply| reply.whole)
}

fn use_until(stop: &AtomicBool, airlock: &Airlock, token: &str, worker: usize, told: &Told) {
    let ada = Browser::with(airlock, token);
    // A kill in the middle ends the requests of the moment, and one turn of the loop.
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let (in_body, in_header) = (format!("body-{worker}-{n}"), format!("header-{worker}-{n}"));
        let ok = |reply: Option<Reply>| reply.filter(|reply| reply.status == 200);
        if ok(try_send(&ada, "POST", CHAT, "", &chat(&in_body))).is_some() {
            told.in_bodies.lock().unwrap().push(in_body);
        }
        let line = format!("X-Session-Id: {in_header}\r\n");
        if ok(try_send(&ada, "GET", "/airlock/llm/v1/models", &line, "")).is_some() {
            told.in_headers.lock().unwrap().push(in_header);
        }
        if let Some(reply) = ok(try_send(&ada, "POST", SAVE, "", "{}")) {
            let id = reply.json()["data"]["version_id"].as_u64().unwrap();
            told.saved.lock().unwrap().push(id);
        }
    }
}

#[test]
fn a_kill_forgets_nobodys_chats_and_saved_workflows() {
    let plugin = Plugin::start();
    let mut airlock = whole(&plugin, REQUIRED);
    let (session, ada) = issue(&airlock, "ada", "user", "12h");
    let bob = token(&airlock, "bob", "user");
    let told = Told::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (airlock, ada, told, stop) = (&airlock, &ada, &told, &stop);
            scope.spawn(move || use_until(stop, airlock, ada, worker, told));
        }
        eventually("chats and workflows are acknowledged", || told.enough());
        airlock.process.signal("KILL");
        stop.store(true, Ordering::SeqCst);
    });
    airlock.process.exit(Duration::from_secs(10)).unwrap();
    let airlock = airlock.restart();
    let (hers, his) = (Browser::with(&airlock, &ada), Browser::with(&airlock, &bob));
    for id in told.in_bodies.lock().unwrap().iter() {
        let reply = his.post(CHAT, &chat(id));
        assert_eq!(reply.status, 403, "{id} is hers");
        assert_eq!(reply.code(), "session_id_foreign", "{id}");
    }
    for id in told.in_headers.lock().unwrap().iter() {
        let line = format!("X-Session-Id: {id}\r\n");
        let reply = his.send("GET", "/airlock/llm/v1/models", &line, "");
        assert_eq!(reply.status, 403, "{id} is hers");
        assert_eq!(reply.code(), "session_id_foreign", "{id}");
    }
    let (_, shown, _) = airlock.command(&["session", "show", &session, "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let of_session = shown["checkpoints"].as_array().unwrap();
    for id in told.saved.lock().unwrap().iter() {
        let restore = format!("{RESTORE}{id}");
        assert_eq!(his.get(&restore).status, 403, "{id}");
        assert_eq!(hers.get(&restore).status, 200, "{id} is hers");
        assert!(of_session.contains(&json!(id.to_string())), "{id}");
    }
}
