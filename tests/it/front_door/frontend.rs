//! ComfyUI's own page (`comfyui-frontend-package` from PyPI) behind as much of ComfyUI's API as it takes
//! to come up, and an extension of it that tells what it sees.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{Guest, Origin};

pub struct Frontend {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _origin: Origin,
}

impl Frontend {
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The request lines.
    pub fn lines(&self) -> Vec<String> {
        let heads = self.heads();
        let line = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        heads.iter().map(line).collect()
    }
}

/// A file beside the page: its path, its type, and what stands in it.
pub type Helper = (&'static str, &'static str, &'static str);

pub fn serve(root: PathBuf) -> Frontend {
    serve_with(root, include_str!("extension.js"), &[])
}

/// With this extension in the page.
pub fn serve_with(root: PathBuf, extension: &'static str, beside: &'static [Helper]) -> Frontend {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    let origin = Origin::scripted(move |mut guest| {
        while let Some(head) = guest.head() {
            let head = String::from_utf8_lossy(&head).into_owned();
            seen.lock().unwrap().push(head.clone());
            let path = head.split([' ', '?']).nth(1).unwrap_or("/").to_owned();
            if matches!(path.as_str(), "/ws" | "/api/ws") {
                return socket(guest, &head);
            }
            drain_body(&mut guest, &head);
            let helper = beside.iter().find(|(name, _, _)| *name == path);
            let (status, kind, body) = match helper {
                Some((_, kind, text)) => ("200 OK", *kind, text.as_bytes().to_owned()),
                None => answer(&root, &path, extension),
            };
            guest.send(format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            guest.send(body);
        }
    });
    Frontend {
        address: origin.address,
        heads,
        _origin: origin,
    }
}

fn drain_body(guest: &mut Guest, head: &str) {
    let length = header(head, "content-length").and_then(|v| v.parse().ok());
    guest.exact(length.unwrap_or(0));
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn answer(root: &Path, path: &str, extension: &str) -> (&'static str, &'static str, Vec<u8>) {
    const JSON: &str = "application/json";
    let json = |text: &str| ("200 OK", JSON, text.as_bytes().to_owned());
    let api = path.strip_prefix("/api").unwrap_or(path);
    match api {
        "/users" => return json(r#"{"storage":"server","migrated":true}"#),
        "/extensions" => return json(r#"["/extensions/probe.js"]"#),
        "/system_stats" => {
            return json(
                r#"{"system":{"os":"posix","comfyui_version":"0.3.64","python_version":"3","pytorch_version":"2","embedded_python":false,"argv":[],"ram_total":1,"ram_free":1},"devices":[]}"#,
            );
        }
        "/queue" => return json(r#"{"queue_running":[],"queue_pending":[]}"#),
        "/prompt" => return json(r#"{"exec_info":{"queue_remaining":0}}"#),
        "/embeddings" | "/experiment/models" | "/userdata" => return json("[]"),
        "/settings"
        | "/object_info"
        | "/history"
        | "/i18n"
        | "/features"
        | "/workflow_templates" => {
            return json("{}");
        }
        _ if path.starts_with("/api/probe/") => return json("{}"),
        _ if path.starts_with("/api/settings/") => return json("{}"),
        "/extensions/probe.js" => {
            return ("200 OK", "text/javascript", extension.as_bytes().to_owned());
        }
        _ => {}
    }
    let file = match path {
        "/" => root.join("index.html"),
        // Only what the page's own build names, so plain paths.
        path if path.contains("..") => return ("404 Not Found", JSON, Vec::new()),
        path => root.join(path.trim_start_matches('/')),
    };
    let kind = match file.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html",
        Some("js" | "mjs") => "text/javascript",
        Some("css") => "text/css",
        Some("json") => JSON,
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    };
    match fs::read(&file) {
        Ok(body) => ("200 OK", kind, body),
        Err(_) => ("404 Not Found", JSON, Vec::new()),
    }
}

/// The handshake, ComfyUI's first message, and a preview picture.
fn socket(mut guest: Guest, head: &str) {
    let key = header(head, "sec-websocket-key").unwrap_or_default();
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    guest.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(sum)
    ));
    let status =
        br#"{"type":"status","data":{"status":{"exec_info":{"queue_remaining":0}},"sid":"s"}}"#;
    // Again and again: the extension may listen later than the page connects.
    let preview = [
        &[0x82, 12],
        &[0, 0, 0, 1, 0, 0, 0, 1][..],
        &[0xff, 0xd8, 0xff, 0xd9],
    ]
    .concat();
    let status = [&[0x81, u8::try_from(status.len()).unwrap()], &status[..]].concat();
    while guest
        .stream
        .write_all(&[&preview[..], &status].concat())
        .is_ok()
    {
        thread::sleep(Duration::from_millis(200));
    }
}
