//! Cards on current SDKs: the door completes the last line of the chat's answer (FRONTDOOR.md 3).

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
};

use serde_json::{Value, json};

use super::{call, config, files};
use crate::{
    front_door::comfyui::{Answer, ComfyUi},
    support::{Airlock, Origin, Reply, Wire},
};

/// ComfyUI's chat: says when it is asked, and then what it is told to say, piece by piece.
struct Chat {
    origin: Origin,
    asked: Receiver<()>,
    say: Sender<Option<String>>,
}

fn chat(head: &'static str) -> Chat {
    let (tell_asked, asked) = channel();
    let (say, said) = channel::<Option<String>>();
    let (tell_asked, said) = (Mutex::new(tell_asked), Mutex::new(said));
    let origin = Origin::scripted(move |mut guest| {
        while let Some(request) = guest.head() {
            let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let length = request.split("content-length: ").nth(1);
            let length = length.and_then(|l| l.split("\r\n").next()?.parse().ok());
            guest.exact(length.unwrap_or(0));
            guest.send(head);
            tell_asked.lock().unwrap().send(()).unwrap();
            while let Ok(Some(piece)) = said.lock().unwrap().recv() {
                guest.send(piece);
            }
            if !head.contains("hunked") {
                return;
            }
        }
    });
    Chat { origin, asked, say }
}

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn line(text: &str, finished: bool, ext: &Value) -> String {
    format!(
        "{}\n",
        json!({"session_id": "s1", "text": text, "finished": finished, "type": "message", "format": "markdown", "ext": ext})
    )
}

/// Airlock with a front door before `door`, and its tools answered by `comfyui`.
fn airlock(door: SocketAddr, comfyui: &ComfyUi) -> Airlock {
    Airlock::start(&format!(
        "{}front_door:\n  listen: 127.0.0.1:0\n  comfyui: http://{door}\n",
        config(comfyui.address())
    ))
}

fn ask(airlock: &Airlock, method: &str, path: &str) -> Wire {
    let door = airlock.ready.front_door.unwrap();
    let mut wire = Wire::to(door);
    let body = r#"{"session_id":"s1","prompt":"a cat","intent":null}"#;
    wire.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: {door}\r\nOrigin: http://{door}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    wire
}

fn last(reply: &Reply) -> Value {
    let text = reply.text();
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

/// A path, and so of whatever origin the page has: ComfyUI's own, and ours where the door is before it.
#[test]
fn the_picture_of_a_card_is_served_with_the_door_and_without_it() {
    let mut files = files();
    files.push((
        "/templates/default-1.webp",
        Answer::plain("image/webp", "RIFF-of-a-picture"),
    ));
    let comfyui = ComfyUi::serving(files);
    let airlock = airlock(comfyui.address(), &comfyui);
    let asked = json!({"keywords": ["text to image"]});
    let found = call(&airlock, "s1", "recall_workflow", &asked);
    let path = found["data"][0]["image"].as_str().unwrap();
    assert!(path.starts_with('/') && !path.starts_with("//"), "{path}");
    for origin in [airlock.ready.front_door.unwrap(), comfyui.address()] {
        let reply = Wire::to(origin).ask(format!(
            "GET {path} HTTP/1.1\r\nHost: {origin}\r\nSec-Fetch-Dest: image\r\n\r\n"
        ));
        assert_eq!(reply.status, 200, "{origin}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("image/webp"));
        assert_eq!(reply.text(), "RIFF-of-a-picture");
    }
}

#[test]
fn a_turn_that_only_recalls_gets_its_cards_and_ends() {
    let comfyui = ComfyUi::serving(files());
    let chat = chat(CHUNKED);
    let airlock = airlock(chat.origin.address, &comfyui);
    // Of a turn before, which no door saw.
    call(&airlock, "s1", "search_node", &json!({"query": "save"}));
    let mut wire = ask(&airlock, "POST", "/api/chat/invoke");
    chat.asked.recv().unwrap();
    let found = call(
        &airlock,
        "s1",
        "recall_workflow",
        &json!({"keywords": ["text to image"]}),
    );
    assert_eq!(found["data"][0]["id"], "template:default", "{found}");
    call(
        &airlock,
        "s2",
        "recall_workflow",
        &json!({"keywords": ["upscale"]}),
    );
    for (text, finished) in [("Here", false), ("Here they are", false)] {
        chat.say
            .send(Some(chunk(&line(text, finished, &Value::Null))))
            .unwrap();
    }
    chat.say.send(Some("0\r\n\r\n".into())).unwrap();
    chat.say.send(None).unwrap();
    let reply = wire.reply();
    assert!(reply.whole && reply.status == 200, "{}", reply.text());
    assert!(reply.header("content-security-policy").is_some());
    let lines: Vec<Value> = reply
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["finished"], &lines[0]["ext"]),
        (&json!(false), &Value::Null)
    );
    let done = &lines[1];
    assert_eq!(
        (&done["finished"], &done["text"]),
        (&json!(true), &json!("Here they are"))
    );
    assert_eq!(
        done["ext"],
        json!([{"type": "workflow", "data": found["data"]}])
    );

    // The same session's next turn calls nothing.
    let mut wire = ask(&airlock, "POST", "/api/chat/invoke");
    chat.asked.recv().unwrap();
    chat.say
        .send(Some(
            chunk(&line("Hello", true, &Value::Null)) + "0\r\n\r\n",
        ))
        .unwrap();
    chat.say.send(None).unwrap();
    assert_eq!(last(&wire.reply())["ext"], Value::Null);
    airlock.assert_healthy();
}

#[test]
fn each_line_comes_with_the_next_and_not_with_the_last() {
    let comfyui = ComfyUi::serving(files());
    let chat = chat(CHUNKED);
    let airlock = airlock(chat.origin.address, &comfyui);
    let mut wire = ask(&airlock, "POST", "/api/chat/invoke");
    chat.asked.recv().unwrap();
    wire.head().expect("the head comes at once");
    let (one, two) = (
        line("a", false, &Value::Null),
        line("ab", true, &Value::Null),
    );
    chat.say.send(Some(chunk(&one) + &chunk(&two))).unwrap();
    // Read while the answer is still open.
    let size = wire.line().expect("a chunk");
    let size = usize::from_str_radix(&size, 16).expect("its size");
    assert_eq!(String::from_utf8(wire.exact(size)).unwrap(), one);
    chat.say.send(Some("0\r\n\r\n".into())).unwrap();
    chat.say.send(None).unwrap();
    assert_eq!(wire.line().as_deref(), Some(""));
    let size = usize::from_str_radix(&wire.line().expect("a chunk"), 16).expect("its size");
    assert_eq!(String::from_utf8(wire.exact(size)).unwrap(), two);
}

#[test]
fn only_the_chats_own_answer_is_touched() {
    let whole = line("x", false, &Value::Null);
    let update = json!([{"type": "workflow_update", "data": {"id": 1}}]);
    let (of_plugin, cut) = (line("x", false, &update), &whole[..whole.len() / 2]);
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    type Row<'a> = (&'a str, &'a str, &'a str, &'a str, String, bool);
    let rows: [Row<'_>; 8] = [
        (
            "with a length",
            "POST",
            "/api/chat/invoke",
            "200 OK",
            whole.clone(),
            true,
        ),
        (
            "with cards of its own",
            "POST",
            "/api/chat/invoke",
            "200 OK",
            of_plugin,
            true,
        ),
        (
            "an error",
            "POST",
            "/api/chat/invoke",
            "500 Oops",
            whole.clone(),
            false,
        ),
        (
            "a GET",
            "GET",
            "/api/chat/invoke",
            "200 OK",
            whole.clone(),
            false,
        ),
        (
            "another path",
            "POST",
            "/api/debug-agent",
            "200 OK",
            whole.clone(),
            false,
        ),
        (
            "below it",
            "POST",
            "/api/chat/invoke/x",
            "200 OK",
            whole.clone(),
            false,
        ),
        (
            "no JSON",
            "POST",
            "/api/chat/invoke",
            "200 OK",
            "oops".into(),
            false,
        ),
        (
            "half a line",
            "POST",
            "/api/chat/invoke",
            "200 OK",
            cut.to_owned(),
            false,
        ),
    ];
    for (row, method, path, status, body, touched) in rows {
        let head: &'static str = Box::leak(
            plain
                .replace("200 OK", status)
                .replace(
                    "\r\nConnection",
                    &format!("\r\nContent-Length: {}\r\nConnection", body.len()),
                )
                .into_boxed_str(),
        );
        let head: &'static str = Box::leak(format!("{head}\r\n").into_boxed_str());
        let comfyui = ComfyUi::serving(files());
        let chat = chat(head);
        let airlock = airlock(chat.origin.address, &comfyui);
        let mut wire = ask(&airlock, method, path);
        chat.asked.recv().unwrap();
        call(
            &airlock,
            "s1",
            "recall_workflow",
            &json!({"keywords": ["text to image"]}),
        );
        chat.say.send(Some(body.clone())).unwrap();
        chat.say.send(None).unwrap();
        let reply = wire.reply();
        assert!(reply.whole, "{row}");
        if !touched {
            assert_eq!(reply.text(), body, "{row}");
            continue;
        }
        assert_eq!(reply.header("content-length"), None, "{row}");
        let last = last(&reply);
        assert_eq!(last["finished"], true, "{row}");
        let kept = row == "with cards of its own";
        let kind = if kept { "workflow_update" } else { "workflow" };
        assert_eq!(last["ext"][0]["type"], kind, "{row}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_made_whole() {
    let comfyui = ComfyUi::serving(files());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n";
    let chat = chat(head);
    let airlock = airlock(chat.origin.address, &comfyui);
    let mut wire = ask(&airlock, "POST", "/api/chat/invoke");
    chat.asked.recv().unwrap();
    chat.say.send(Some(line("x", false, &Value::Null))).unwrap();
    // The connection closes far before its length.
    chat.say.send(None).unwrap();
    let reply = wire.reply();
    assert!(!reply.whole, "{}", reply.text());
    assert!(
        !reply.text().contains("\"finished\":true"),
        "{}",
        reply.text()
    );
}
