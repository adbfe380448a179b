//! The input guards through the real door: what ComfyUI hears of, what it does not, and what the record says.

use std::net::SocketAddr;

use super::{
    Airlock, Answer, ComfyUi, Origin, Reply, Wire, ask, before, door, eventually,
    people::{Browser, Plugin, REQUIRED, token},
};

const BOUNDARY: &str = "----WebKitFormBoundaryAbC";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

fn form(own: SocketAddr, path: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let part = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\
         Content-Type: image/png\r\n\r\n"
    );
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let length = part.len() + content.len() + end.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {own}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), part.as_bytes(), content, end.as_bytes()].concat()
}

/// Tells of each request that came whole how long its body was.
fn uploads() -> (Origin, std::sync::mpsc::Receiver<usize>) {
    let (tell, told) = std::sync::mpsc::channel();
    let origin = Origin::scripted(move |mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length: usize = length
                .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
                .unwrap_or(0);
            let mut left = length;
            while left > 0 {
                let piece = left.min(1 << 20);
                guest.exact(piece);
                left -= piece;
            }
            let _ = tell.send(length);
            guest.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (origin, told)
}

fn refusal(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

fn workflow(own: SocketAddr, body: &str) -> String {
    format!(
        "POST /api/prompt HTTP/1.1\r\nHost: {own}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_a_guard_refuses_never_reaches_comfyui_and_says_how_to_open_it() {
    let (origin, told) = uploads();
    let airlock = before(origin.address, "");
    let own = door(&airlock);
    let fine = ask(&airlock, "GET /api/view?filename=a.png&subfolder=x", "");
    assert_eq!((fine.status, fine.text().as_str()), (200, "ok"));
    assert_eq!(fine.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(told.recv().unwrap(), 0);
    let rows: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        (
            "a step up",
            format!("GET /view?filename=..%2fa HTTP/1.1\r\nHost: {own}\r\n\r\n").into(),
            403,
            "guard_traversal",
            "traversal: off",
        ),
        (
            "the manager's settings",
            format!("GET /userdata/ComfyUI-Manager%2Fconfig.ini HTTP/1.1\r\nHost: {own}\r\n\r\n")
                .into(),
            403,
            "guard_manager_files",
            "manager_files: off",
        ),
        (
            "a page",
            form(own, "/upload/image", "a.html", b"<html>"),
            415,
            "guard_upload_types",
            "upload_types: off",
        ),
        (
            "a page that is named like a picture",
            form(own, "/api/upload/image", "a.png", b"<script>"),
            415,
            "guard_upload_types",
            "upload_types: off",
        ),
        (
            "a picture that would fill all memory",
            form(
                own,
                "/upload/image",
                "a.png",
                b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0",
            ),
            413,
            "guard_image_pixels",
            "image_pixels: off",
        ),
        (
            "a node that runs its input",
            workflow(
                own,
                r#"{"prompt":{"1":{"class_type":"ACE_ExpressionEval","inputs":{}}}}"#,
            )
            .into(),
            403,
            "guard_code_nodes",
            "code_nodes: off",
        ),
        (
            "a form in two readings",
            form(own, "/upload/image", "a\"; filename=\"../b.png", PNG),
            415,
            "guard_unreadable",
            "unencoded",
        ),
    ];
    let count = rows.len();
    for (name, request, status, code, way) in rows {
        let reply = Wire::to(own).ask(request);
        assert_eq!(
            refusal(&reply),
            (status, code.to_owned()),
            "{name}: {}",
            reply.text()
        );
        let how = reply.json()["error"]["how_to_allow"].to_string();
        assert!(how.contains(way), "{name}: {how}");
    }
    assert!(told.try_recv().is_err(), "no request came whole");
    let records = airlock.exactly(1 + count);
    let denied = records.iter().filter(|record| {
        record["action"] == "deny" && record["reason"].as_str().unwrap().starts_with("guard_")
    });
    assert_eq!(denied.count(), count, "{records:?}");
}

#[test]
fn a_guard_that_is_off_lets_its_requests_through_and_the_others_stand() {
    let (origin, told) = uploads();
    let airlock = before(origin.address, "  guards:\n    upload_types: off\n");
    let own = door(&airlock);
    let page = Wire::to(own).ask(form(own, "/upload/image", "a.html", b"<html>"));
    assert_eq!(page.text(), "ok");
    assert!(told.recv().unwrap() > 100);
    let up = Wire::to(own).ask(form(own, "/upload/image", "../a.png", PNG));
    assert_eq!(refusal(&up), (403, "guard_traversal".to_owned()));
    let all_off = before(origin.address, "  guards: off\n");
    let own = door(&all_off);
    let up = Wire::to(own).ask(form(own, "/upload/image", "../a.html", b"<html>"));
    assert_eq!(up.text(), "ok");
}

#[test]
fn uploads_and_workflows_arrive_byte_for_byte_while_they_are_looked_at() {
    const LENGTH: usize = 64 << 20;
    let (origin, told) = uploads();
    let airlock = before(origin.address, "");
    let own = door(&airlock);
    let mut film = b"\0\0\0\x20ftypisom\0\0\0\0".to_vec();
    film.resize(LENGTH, b'\r');
    let request = form(own, "/upload/image", "a.mp4", &film);
    let sent = request.len() - request.windows(4).position(|w| w == b"\r\n\r\n").unwrap() - 4;
    assert_eq!(Wire::to(own).ask(&request).text(), "ok");
    assert_eq!(told.recv().unwrap(), sent);
    let body = r#"{"prompt":{"3":{"inputs":{"image":"a.png"},"class_type":"LoadImage"}}}"#;
    assert_eq!(Wire::to(own).ask(workflow(own, body)).text(), "ok");
    assert_eq!(told.recv().unwrap(), body.len());
    // In many pieces, with the fault in the last one.
    let body = format!(
        r#"{{"extra_data":"{}","prompt":{{"1":{{"inputs":{{"image":"../a"}},"class_type":"LoadImage"}}}}}}"#,
        "x".repeat(1 << 20)
    );
    let reply = Wire::to(own).ask(workflow(own, &body));
    assert_eq!(refusal(&reply), (403, "guard_traversal".to_owned()));
    assert!(told.try_recv().is_err(), "it never came whole");
}

#[test]
fn stored_pages_and_scripts_are_not_run_by_the_browser() {
    let page = || Answer::file("text/html", "<script>alert(1)</script>");
    let script = || {
        Answer::file(
            "text/javascript",
            "fetch('https://comfyui-copilot-server.onrender.com')",
        )
    };
    let comfyui = ComfyUi::serving(vec![
        ("/view", page()),
        ("/api/userdata/x.html", page()),
        ("/api/userdata/x.js", script()),
        ("/api/view", Answer::file("image/svg+xml", "<svg/>")),
        ("/extensions/x.js", script()),
    ]);
    let airlock = before(comfyui.address(), "");
    for (path, lines, kind) in [
        (
            "/view?filename=x.html",
            "Sec-Fetch-Dest: document\r\n",
            "application/octet-stream",
        ),
        (
            "/view?filename=x.html",
            "Sec-Fetch-Dest: script\r\n",
            "application/octet-stream",
        ),
        (
            "/api/userdata/x.html",
            "Sec-Fetch-Dest: iframe\r\n",
            "application/octet-stream",
        ),
        (
            "/api/userdata/x.js",
            "Sec-Fetch-Dest: script\r\n",
            "application/octet-stream",
        ),
        ("/api/view?filename=x.svg", "", "image/svg+xml"),
    ] {
        let reply = ask(&airlock, &format!("GET {path}"), lines);
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), Some(kind), "{path}");
        assert_eq!(
            reply.header("content-disposition"),
            Some("attachment"),
            "{path}"
        );
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let policies = reply
            .headers
            .iter()
            .filter(|(name, _)| name == "content-security-policy");
        assert!(
            policies
                .clone()
                .any(|(_, value)| value.starts_with("sandbox; ")),
            "{path}"
        );
        assert!(
            policies.count() >= 2,
            "{path}: ComfyUI's page keeps its own"
        );
    }
    // ComfyUI's own scripts are not concerned.
    let own = ask(
        &airlock,
        "GET /extensions/x.js",
        "Sec-Fetch-Dest: script\r\n",
    );
    assert_eq!(own.text(), "fetch('/airlock/copilot')");
    assert_eq!(own.header("content-disposition"), None);
}

/// Where nobody logs in, whoever comes owns this machine.
#[test]
fn the_owner_installs_by_the_door() {
    let comfyui = ComfyUi::serving(vec![(
        "/api/manager/queue/status",
        Answer::plain("application/json", "{}"),
    )]);
    let airlock: Airlock = before(comfyui.address(), "");
    assert_eq!(
        ask(&airlock, "GET /api/manager/queue/status", "").status,
        200
    );
    assert_eq!(
        ask(&airlock, "GET /manager/reboot", "").status,
        404,
        "ComfyUI's own answer"
    );
}

/// Where people log in, what installs is for admins; a user works, and a viewer looks.
#[test]
fn roles_decide_who_installs_and_who_runs_code() {
    let plugin = Plugin::start();
    let airlock = before(plugin.address(), REQUIRED);
    let of = |role| Browser::with(&airlock, &token(&airlock, role, role));
    let code = |reply: &Reply| match reply.status {
        200 => "passes".to_owned(),
        _ => reply.code(),
    };
    let runs = r#"{"prompt":{"1":{"class_type":"SRL Eval","inputs":{}}}}"#;
    let paints = r#"{"prompt":{"1":{"class_type":"KSampler","inputs":{}}}}"#;
    let install = "guard_install_routes";
    for (role, reboots, reads, queues, runs_code, downloads) in [
        ("admin", "passes", "passes", "passes", "passes", "passes"),
        (
            "user",
            install,
            "passes",
            "passes",
            "guard_code_nodes",
            install,
        ),
        (
            "viewer",
            install,
            "passes",
            "role_too_low",
            "role_too_low",
            "role_too_low",
        ),
    ] {
        let browser = of(role);
        assert_eq!(code(&browser.get("/manager/reboot")), reboots, "{role}");
        assert_eq!(
            code(&browser.get("/api/manager/queue/status")),
            reads,
            "{role}"
        );
        assert_eq!(code(&browser.post("/prompt", paints)), queues, "{role}");
        assert_eq!(
            code(&browser.post("/api/prompt", runs)),
            runs_code,
            "{role}"
        );
        assert_eq!(
            code(&browser.post("/api/download-model", "{}")),
            downloads,
            "{role}"
        );
    }
    eventually("the record names who asked", || {
        let of_the_user = |r: &serde_json::Value| {
            r["reason"] == install && r["path"] == "/api/download-model" && r["user"] == "user"
        };
        airlock.records().iter().any(of_the_user)
    });
}
