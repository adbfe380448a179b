//! What was published about ComfyUI, ComfyUI-Manager and custom nodes, as requests at the front door.
//! docs/GUARDS.md lists the same, and what no proxy can see.

use super::{uploads::PNG, *};

const PAGE: &str = include_str!("../../../docs/GUARDS.md");

#[test]
fn published_advisories_do_not_get_through() {
    let node = |class: &str, inputs: &str| {
        Sent::json(
            "/prompt",
            &format!(r#"{{"prompt":{{"1":{{"class_type":"{class}","inputs":{inputs}}}}}}}"#),
        )
    };
    let rows = vec![
        (
            "CVE-2024-10099: a page uploaded as a picture, to be opened by /view",
            Sent::file("/upload/image", "xss.html", b"<script>alert(1)</script>"),
            Reason::GuardUploadTypes,
        ),
        (
            "CVE-2025-6092: the same again after an incomplete repair, by another ending",
            Sent::file(
                "/api/upload/image",
                "xss.xhtml",
                b"<html xmlns='http://www.w3.org/1999/xhtml'>",
            ),
            Reason::GuardUploadTypes,
        ),
        (
            "CVE-2026-56670: a drawing with a script, to be opened by /view",
            Sent::file("/upload/image", "xss.svg", b"<svg onload=alert(1)>"),
            Reason::GuardUploadTypes,
        ),
        (
            "CVE-2026-68771: a pickle uploaded as a shard of training data",
            Sent::file("/upload/image", "shard_0000.pkl", b"\x80\x04\x95\x2f\0\0\0"),
            Reason::GuardUploadTypes,
        ),
        (
            "GHSA-779p-m5rp-r4h4: the same drawing by the newer way, as an asset",
            Sent::file("/api/assets", "xss.svg", b"<svg onload=alert(1)>"),
            Reason::GuardUploadTypes,
        ),
        (
            "CVE-2024-21575: ComfyUI-Impact-Pack writes anywhere by /upload/temp",
            Sent::file("/upload/temp", "../../custom_nodes/evil.png", PNG),
            Reason::GuardTraversal,
        ),
        (
            "CVE-2026-56671: a preview of a model reads any picture",
            Sent::new(
                "GET",
                "/experiment/models/preview/checkpoints/0/%2Fhome%2Fa.png",
            ),
            Reason::GuardTraversal,
        ),
        (
            "CVE-2026-56671: the same by steps up that are encoded",
            Sent::new(
                "GET",
                "/api/experiment/models/preview/checkpoints/0/%2e%2e%2f%2e%2e%2fa.png",
            ),
            Reason::GuardTraversal,
        ),
        (
            "CVE-2026-6591: LoadImage's name, as it was found first",
            node("LoadImage", r#"{"image":"/etc/hostname"}"#),
            Reason::GuardTraversal,
        ),
        (
            "CVE-2026-56673: LoadImage reads any file that it is told",
            node("LoadImage", r#"{"image":"../../../../etc/hostname"}"#),
            Reason::GuardTraversal,
        ),
        (
            "CVE-2026-22777: a line break writes into ComfyUI-Manager's configuration",
            Sent::new(
                "GET",
                "/api/manager/db_mode?value=cache%0d%0asecurity_level%20=%20weak",
            ),
            Reason::GuardTraversal,
        ),
        (
            "CVE-2025-67303: ComfyUI-Manager's configuration is user data",
            Sent::new(
                "POST",
                "/userdata/ComfyUI-Manager%2Fconfig.ini?overwrite=true",
            ),
            Reason::GuardManagerFiles,
        ),
        (
            "CVE-2024-21574: ComfyUI-Manager installs any package",
            Sent::json("/customnode/install", r#"{"pip":["evil"]}"#).by(Role::User),
            Reason::GuardInstallRoutes,
        ),
        (
            "CVE-2025-45076: its queue installs what its level forbids",
            Sent::json(
                "/manager/queue/install",
                r#"{"channel":"x","selected_version":"unknown"}"#,
            )
            .by(Role::User),
            Reason::GuardInstallRoutes,
        ),
        (
            "CVE-2024-12882: a model is downloaded from any address of this network",
            Sent::json(
                "/internal/models/download",
                r#"{"url":"http://169.254.169.254/"}"#,
            )
            .by(Role::User),
            Reason::GuardInstallRoutes,
        ),
        (
            "CVE-2024-21576: nodes of ComfyUI-Bmad-Nodes evaluate their input",
            node("BuildColorRangeHSVAdvanced", r#"{"hue_exp":"1"}"#),
            Reason::GuardCodeNodes,
        ),
        (
            "CVE-2024-21577: ACE_ExpressionEval evaluates its input",
            node("ACE_ExpressionEval", r#"{"value":"1"}"#),
            Reason::GuardCodeNodes,
        ),
    ];
    for (name, sent, want) in rows {
        assert_eq!(sent.judged(&Guards::default()), Some(want), "{name}");
        assert_eq!(
            sent.judged(&Guards::OFF),
            None,
            "{name}, with all guards off"
        );
        let id = name.split(':').next().unwrap();
        assert!(PAGE.contains(id), "docs/GUARDS.md does not name {id}");
    }
}

#[test]
fn what_was_stored_is_not_served_as_a_page() {
    use answer::{Disarm, disarm};
    for (name, path, kind, want) in [
        (
            "CVE-2024-10099: a stored page",
            "/view",
            "text/html",
            Disarm::Download,
        ),
        (
            "CVE-2026-56670: a stored drawing",
            "/api/view",
            "image/svg+xml",
            Disarm::Picture,
        ),
        (
            "GHSA-779p-m5rp-r4h4: a stored page as an asset",
            "/api/assets/0f9f8e6c-1a2b-4c3d-8e4f-5a6b7c8d9e0f/content",
            "application/xhtml+xml",
            Disarm::Download,
        ),
        (
            "GHSA-779p-m5rp-r4h4: a stored drawing as an asset",
            "/api/assets/0f9f8e6c-1a2b-4c3d-8e4f-5a6b7c8d9e0f/content",
            "image/svg+xml; charset=utf-8",
            Disarm::Picture,
        ),
        (
            "CVE-2026-56672: a page among user data",
            "/userdata/x.html",
            "text/html",
            Disarm::Download,
        ),
    ] {
        assert_eq!(disarm(path, Some(kind)), want, "{name}");
        assert!(
            PAGE.contains(name.split(':').next().unwrap()),
            "docs/GUARDS.md: {name}"
        );
    }
}
