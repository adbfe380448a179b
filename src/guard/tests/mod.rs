//! The guards as tables: each row a request as it would pass, in one piece and byte by byte.

mod advisories;
mod uploads;
mod workflows;

use http::{HeaderMap, HeaderValue, Method};

use super::*;

pub const BOUNDARY: &str = "----WebKitFormBoundaryAbC";

/// A request to ComfyUI.
#[derive(Clone)]
pub struct Sent {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub role: Option<Role>,
}

impl Sent {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.parse().unwrap(),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            role: None,
        }
    }

    pub fn by(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn json(target: &str, body: &str) -> Self {
        let mut sent = Self::new("POST", target).with("content-type", "application/json");
        sent.body = body.as_bytes().to_owned();
        sent
    }

    /// A form with these parts, each a head without its end and a content.
    pub fn form(target: &str, parts: &[(&str, &[u8])]) -> Self {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let mut sent = Self::new("POST", target).with("content-type", &kind);
        for (head, content) in parts {
            sent.body
                .extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
            sent.body.extend_from_slice(content);
            sent.body.extend_from_slice(b"\r\n");
        }
        sent.body
            .extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        sent
    }

    /// An upload of one file.
    pub fn file(target: &str, name: &str, content: &[u8]) -> Self {
        let head = format!(
            "Content-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\nContent-Type: image/png"
        );
        Self::form(target, &[(&head, content)])
    }

    fn judged_in(&self, guards: &Guards, pieces: usize) -> Result<(), Refused> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let asked = Asked {
            method: &self.method,
            path,
            query,
            headers: &self.headers,
            role: self.role,
        };
        let mut watch = guards.head(&asked)?;
        // As after a connection of the pool that was dead: the same body comes again.
        for piece in self.body.chunks(pieces) {
            if watch.push(piece, false).is_err() {
                break;
            }
        }
        watch.again();
        for piece in self.body.chunks(pieces) {
            watch.push(piece, false)?;
        }
        watch.push(&[], true)
    }

    /// The reason of its refusal, which does not depend on how it is cut.
    pub fn judged(&self, guards: &Guards) -> Option<Reason> {
        let whole = self.judged_in(guards, usize::MAX);
        for pieces in [1, 7] {
            assert_eq!(
                self.judged_in(guards, pieces),
                whole,
                "{} in {pieces}",
                self.target
            );
        }
        whole.err().map(|refused| refused.reason)
    }
}

pub fn check(rows: Vec<(&str, Sent, Option<Reason>)>) {
    for (name, sent, want) in rows {
        assert_eq!(sent.judged(&Guards::default()), want, "{name}");
        assert_eq!(
            sent.judged(&Guards::OFF),
            None,
            "{name}, with all guards off"
        );
    }
}

#[test]
fn names_that_lead_out_of_their_folder_are_refused_on_comfyuis_own_routes() {
    let no = Some(Reason::GuardTraversal);
    let mut rows = Vec::new();
    for (name, target, want) in [
        (
            "a picture",
            "/view?filename=a.png&type=output&subfolder=",
            None,
        ),
        (
            "a picture in a folder",
            "/api/view?filename=a%20b.png&subfolder=2026%2Fmay",
            None,
        ),
        ("dots inside a name", "/view?filename=a..b...png", None),
        ("a step up", "/view?filename=../a.png", no),
        (
            "a step up in the folder",
            "/view?filename=a&subfolder=x%2F..%2F..",
            no,
        ),
        ("a step up by a backslash", "/view?filename=..%5ca.png", no),
        (
            "a step up with spaces, as Windows takes it",
            "/view?filename=..%20/a",
            no,
        ),
        ("encoded twice", "/view?filename=%252e%252e%252fa", no),
        (
            "encoded three times",
            "/view?filename=%25252e%25252e%25252fa",
            no,
        ),
        (
            "the same name twice, once a step up",
            "/view?filename=a&filename=../a",
            no,
        ),
        ("behind a semicolon", "/view?type=input;filename=../a", no),
        ("from the root", "/view?filename=/etc/passwd", no),
        (
            "from the root by a backslash",
            "/view?filename=%5Cwindows%5Cwin.ini",
            no,
        ),
        (
            "another machine",
            "/view?filename=%5C%5Cevil%5Cshare%5Ca.png",
            no,
        ),
        ("a drive", "/view?filename=C:%5Ca.png", no),
        ("a drive and a relative name", "/view?filename=c:a.png", no),
        ("a NUL", "/view?filename=a.png%00.jpg", no),
        ("a line break", "/view?filename=a%0d%0a.png", no),
        ("a device", "/view?filename=nul", no),
        ("a device with an ending", "/view?filename=x%2FCOM1.png", no),
        ("a device of superscript", "/view?filename=com%C2%B9", no),
        (
            "what only begins like a device",
            "/view?filename=console.png",
            None,
        ),
        (
            "a workflow of the user's",
            "/userdata/workflows%2Fa%20b.json",
            None,
        ),
        (
            "its listing",
            "/api/userdata?dir=workflows&recurse=true",
            None,
        ),
        ("user data from the root", "/userdata/%2Fetc%2Fpasswd", no),
        (
            "user data that moves up",
            "/userdata/a.json/move/..%2Fb.json",
            no,
        ),
        ("user data listed from above", "/v2/userdata?path=../..", no),
        (
            "a preview of a model",
            "/experiment/models/preview/loras/0/sd%2Fa.png",
            None,
        ),
        (
            "of a drive",
            "/experiment/models/preview/loras/0/D:%2Fa.png",
            no,
        ),
        ("a NUL anywhere", "/some_node/x?text=%00", no),
        (
            "a path of a custom node's own",
            "/vhs/queryvideo?filename=/data/in.mp4",
            None,
        ),
        ("the manager's list", "/manager/db_mode?value=cache", None),
        (
            "a line break for its configuration",
            "/api/manager/db_mode?value=x%0aa=b",
            no,
        ),
        ("a prompt with dots", "/prompt", None),
    ] {
        rows.push((name, Sent::new("GET", target), want));
    }
    check(rows);
}

#[test]
fn files_of_the_manager_are_not_read_or_written_as_user_data() {
    let no = Some(Reason::GuardManagerFiles);
    let rows = [
        ("GET", "/userdata/ComfyUI-Manager%2Fconfig.ini", no),
        (
            "POST",
            "/api/userdata/comfyui-manager%2fconfig.ini?overwrite=true",
            no,
        ),
        (
            "DELETE",
            "/userdata/.%2FComfyUI-Manager%2Fsnapshots%2Fa.json",
            no,
        ),
        (
            "POST",
            "/userdata/a.json/move/ComfyUI-Manager.%2Fconfig.ini",
            no,
        ),
        ("GET", "/userdata?dir=ComfyUI-Manager", no),
        ("GET", "/v2/userdata?path=x/ComfyUI-Manager", no),
        (
            "GET",
            "/userdata/workflows%2Fabout%20ComfyUI-Manager.json",
            None,
        ),
    ];
    let rows = rows.map(|(method, target, want)| (target, Sent::new(method, target), want));
    check(rows.into());
}

#[test]
fn only_admins_change_what_runs_on_this_machine() {
    let no = Some(Reason::GuardInstallRoutes);
    for (method, target, want) in [
        ("POST", "/manager/queue/install", no),
        ("POST", "/api/manager/queue/install_model", no),
        ("POST", "/v2/manager/queue/task", no),
        ("POST", "/api/v2/manager/queue/batch", no),
        ("GET", "/manager/queue/start", no),
        ("GET", "/manager/reboot", no),
        ("GET", "/v2/manager/reboot", no),
        ("POST", "/customnode/install/git_url", no),
        ("POST", "/customnode/install/pip", no),
        ("GET", "/customnode/fetch_updates", no),
        ("GET", "/snapshot/restore?target=a", no),
        ("POST", "/v2/snapshot/remove", no),
        ("GET", "/comfyui_manager/comfyui_switch_version?ver=a", no),
        ("GET", "/manager/db_mode?value=remote", no),
        ("GET", "/manager/get_openart_auth", no),
        ("GET", "/manager/something_new", no),
        ("POST", "/api/download-model", no),
        ("POST", "/internal/models/download", no),
        ("GET", "/manager/db_mode", None),
        ("GET", "/v2/manager/queue/status", None),
        ("GET", "/customnode/getlist?mode=cache", None),
        ("GET", "/customnode/versions/some-node", None),
        ("POST", "/customnode/import_fail_info", None),
        ("GET", "/externalmodel/getlist?mode=cache", None),
        ("GET", "/snapshot/getlist", None),
        ("GET", "/api/download-progress", None),
        ("GET", "/models/checkpoints", None),
        ("POST", "/managers", None),
    ] {
        let sent = Sent::new(method, target);
        for role in [Role::User, Role::Viewer] {
            assert_eq!(
                sent.clone().by(role).judged(&Guards::default()),
                want,
                "{method} {target}"
            );
            assert_eq!(
                sent.clone().by(role).judged(&Guards::OFF),
                None,
                "{method} {target}"
            );
        }
        for all in [sent.clone(), sent.by(Role::Admin)] {
            assert_eq!(
                all.judged(&Guards::default()),
                None,
                "{method} {target} by an admin"
            );
        }
    }
}

#[test]
fn a_download_keeps_its_name() {
    for (said, want) in [
        (None, "attachment"),
        (Some("filename=\"a.svg\""), "attachment; filename=\"a.svg\""),
        (
            Some("inline; filename=\"a.svg\""),
            "attachment; filename=\"a.svg\"",
        ),
        (Some("inline"), "attachment"),
    ] {
        assert_eq!(answer::attachment(said), want, "{said:?}");
    }
}

#[test]
fn what_was_uploaded_is_neither_a_page_nor_a_script_of_comfyuis() {
    use answer::{Disarm, disarm};
    for (path, kind, want) in [
        ("/view", Some("image/png"), Disarm::Nosniff),
        (
            "/api/view",
            Some("text/html; charset=utf-8"),
            Disarm::Download,
        ),
        ("/view", Some("Text/HTML"), Disarm::Download),
        ("/view", Some("application/xhtml+xml"), Disarm::Download),
        ("/view", Some("text/javascript"), Disarm::Download),
        (
            "/view",
            Some("application/x-javascript;x=y"),
            Disarm::Download,
        ),
        ("/view", Some("text/xml"), Disarm::Download),
        ("/view", Some(""), Disarm::Download),
        ("/view", None, Disarm::Download),
        ("/view", Some("image/svg+xml"), Disarm::Picture),
        ("/view", Some("video/mp4"), Disarm::Nosniff),
        ("/view", Some("application/octet-stream"), Disarm::Nosniff),
        ("/api/userdata/x.html", Some("text/html"), Disarm::Download),
        ("/userdata/user.css", Some("text/css"), Disarm::Nosniff),
        (
            "/userdata/a.json",
            Some("application/json"),
            Disarm::Nosniff,
        ),
        ("/v2/userdata/a.svg", Some("image/svg+xml"), Disarm::Picture),
        ("/", Some("text/html"), Disarm::Nothing),
        (
            "/extensions/core/a.js",
            Some("text/javascript"),
            Disarm::Nothing,
        ),
        ("/viewer", Some("text/html"), Disarm::Nothing),
    ] {
        assert_eq!(disarm(path, kind), want, "{path} {kind:?}");
    }
}
