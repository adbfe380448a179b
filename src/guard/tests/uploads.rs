//! Files on their way to ComfyUI.

use super::{super::picture, *};

pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0rest";

fn png(width: u32, height: u32) -> Vec<u8> {
    let (w, h) = (width.to_be_bytes(), height.to_be_bytes());
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(),
        &w,
        &h,
        b"\x08\x06\0\0\0",
    ]
    .concat()
}

/// With so much before the segment that has its size.
fn jpeg(width: u16, height: u16, before: usize) -> Vec<u8> {
    let mut out = b"\xff\xd8".to_vec();
    let mut left = before;
    while left > 0 {
        let length = left.min(60_000);
        out.extend_from_slice(b"\xff\xe1");
        out.extend_from_slice(&(length as u16 + 2).to_be_bytes());
        out.extend(std::iter::repeat_n(0xff, length));
        left -= length;
    }
    out.extend_from_slice(b"\xff\xc4\0\x03\0\xff\xc2\0\x11\x08");
    out.extend_from_slice(&height.to_be_bytes());
    out.extend_from_slice(&width.to_be_bytes());
    out.extend_from_slice(b"\x03\x01\x22\0");
    out
}

/// An archive of one link by this name.
fn tar(name: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 512];
    out[..name.len()].copy_from_slice(name);
    out[156] = b'2';
    out[157..168].copy_from_slice(b"/etc/passwd");
    out[257..265].copy_from_slice(b"ustar\x0000");
    out
}

fn upload(name: &str, content: &[u8]) -> Sent {
    Sent::file("/upload/image", name, content)
}

#[test]
fn an_upload_is_what_it_is_named_and_nothing_that_runs() {
    let no = Some(Reason::GuardUploadTypes);
    check(vec![
        ("a picture", upload("a.png", PNG), None),
        (
            "a picture below /api",
            Sent::file("/api/upload/image", "a.png", PNG),
            None,
        ),
        (
            "a mask",
            Sent::file("/upload/mask", "clipspace-mask-1.png", PNG),
            None,
        ),
        ("a picture without an ending", upload("blob", PNG), None),
        (
            "a JPEG that is named .png",
            upload("a.png", &jpeg(8, 8, 0)),
            None,
        ),
        (
            "a film",
            upload("a.mp4", b"\0\0\0\x20ftypisom\0\0\0\0"),
            None,
        ),
        ("a song", upload("a.mp3", b"ID3\x04\0\0"), None),
        ("a model", upload("3d.glb", b"glTF\x02\0\0\0"), None),
        (
            "a model as text",
            upload("cube.obj", b"# Blender\nv 1 2 3"),
            None,
        ),
        ("a short text", upload("a.txt", b"hello"), None),
        (
            "a latent with a long header",
            upload("a.latent", b"\x80\x03\0\0\0\0\0\0{\"a\""),
            None,
        ),
        (
            "an archive with a link in it, named like a text",
            upload("a.txt", &tar(b"x")),
            no,
        ),
        (
            "one whose first file is named like a song",
            upload("a.mp3", &tar(b"ID3")),
            no,
        ),
        ("a page", upload("a.html", b"<html>"), no),
        ("a page in capitals", upload("A.HTML", b"<html>"), no),
        (
            "a page with a dot behind, as Windows drops it",
            upload("a.html.", b"<html>"),
            no,
        ),
        (
            "a page that is named .png",
            upload("a.png", b"<html><script>"),
            no,
        ),
        (
            "a page behind spaces",
            upload("a.txt", b" \r\n<!doctype html>"),
            no,
        ),
        (
            "a page in another charset",
            upload("a.txt", b"\xff\xfe<\0h\0"),
            no,
        ),
        (
            "a drawing with scripts",
            upload("a.svg", b"<svg xmlns="),
            no,
        ),
        ("a page without an ending", upload("blob", b"<html>"), no),
        ("a script", upload("a.js", b"alert(1)"), no),
        ("a node", upload("a.py", b"import os"), no),
        (
            "a pickle",
            upload("shard_0000.pkl", b"\x80\x04\x95\x1c\0\0"),
            no,
        ),
        (
            "a pickle that is named otherwise",
            upload("a.json", b"\x80\x04\x95\x1c\0\0"),
            no,
        ),
        ("an archive", upload("a.zip", b"PK\x03\x04\x14\0"), no),
        (
            "an archive that is named .png",
            upload("a.png", b"PK\x03\x04\x14\0"),
            no,
        ),
        ("a program", upload("a.txt", b"MZ\x90\0"), no),
        ("nothing at all", upload("a.png", b""), no),
        (
            "two files, the second a page",
            Sent::form(
                "/upload/image",
                &[
                    (
                        "Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"",
                        PNG,
                    ),
                    (
                        "Content-Disposition: form-data; name=\"image\"; filename=\"b.png\"",
                        b"<html>",
                    ),
                ],
            ),
            no,
        ),
        (
            "a page to a node that takes pages",
            Sent::file("/some_node/upload", "a.html", b"<html>"),
            None,
        ),
    ]);
}

#[test]
fn a_picture_is_no_larger_than_its_header_may_say() {
    let no = Some(Reason::GuardImagePixels);
    let webp = |kind: &[u8], size: &[u8]| [b"RIFF\x40\0\0\0WEBP".as_slice(), kind, size].concat();
    check(vec![
        ("16k by 16k", upload("a.png", &png(16384, 16384)), None),
        ("one row more", upload("a.png", &png(16384, 16385)), no),
        ("a bomb", upload("a.png", &png(u32::MAX, u32::MAX)), no),
        ("a JPEG", upload("a.jpg", &jpeg(4000, 3000, 0)), None),
        ("a large JPEG", upload("a.jpg", &jpeg(65535, 65535, 0)), no),
        (
            "a large JPEG behind a profile",
            upload("a.jpg", &jpeg(65535, 65535, 200_000)),
            no,
        ),
        (
            "a GIF",
            upload("a.gif", b"GIF89a\xff\xff\xff\xff\0\0\0"),
            no,
        ),
        (
            "a bitmap",
            upload(
                "a.bmp",
                b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\xff\xff\xff\x7f\xff\xff\xff\x7f",
            ),
            no,
        ),
        (
            "a large WebP",
            upload(
                "a.webp",
                &webp(b"VP8X", b"\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff"),
            ),
            no,
        ),
        (
            "a small WebP",
            upload(
                "a.webp",
                &webp(b"VP8 ", b"\x40\0\0\0\0\0\0\x9d\x01\x2a\x10\0\x10\0"),
            ),
            None,
        ),
        (
            "a lossless WebP",
            upload("a.webp", &webp(b"VP8L", b"\x40\0\0\0\x2f\xff\xff\xff\x0f")),
            None,
        ),
    ]);
    let mut seen = picture::Beginning::default();
    let found = seen.push(&webp(b"VP8L", b"\x40\0\0\0\x2f\xff\xff\xff\x0f"), true);
    assert_eq!(
        found,
        picture::Found::Kind(picture::Kind::Picture, Some((16384, 16384)))
    );
}

#[test]
fn names_of_files_and_folders_in_a_form_stay_inside() {
    let no = Some(Reason::GuardTraversal);
    let odd = Some(Reason::GuardUnreadable);
    let field = |name: &str, value: &[u8]| {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"");
        Sent::form("/upload/image", &[(&head, value)])
    };
    let head = |head: &str| Sent::form("/upload/image", &[(head, PNG)]);
    let disposition = "Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"";
    check(vec![
        ("a semicolon in a name", upload("a;b.png", PNG), None),
        ("another script", upload("画.png", PNG), None),
        ("a folder", upload("2026/a.png", PNG), None),
        ("a step up", upload("../a.png", PNG), no),
        (
            "a step up of a custom node's",
            Sent::file("/upload/temp", "../../custom_nodes/a.png", PNG),
            no,
        ),
        (
            "a step up to any node",
            Sent::file("/some_node/import", "../a.png", PNG),
            no,
        ),
        ("encoded", upload("%2e%2e%2fa.png", PNG), no),
        ("from the root", upload("/a.png", PNG), no),
        (
            "the other name",
            head(&format!("{disposition}; filename*=utf-8''..%2Fa.png")),
            no,
        ),
        (
            "the other name alone",
            head("Content-Disposition: form-data; name=\"image\"; filename*=UTF-8''%E7%94%BB.png"),
            None,
        ),
        (
            "the other name in another charset",
            head("Content-Disposition: form-data; name=\"image\"; filename*=utf-7''a.png"),
            odd,
        ),
        (
            "a name in pieces",
            head(
                "Content-Disposition: form-data; name=\"image\"; filename*0=\"../\"; filename*1=\"a.png\"",
            ),
            odd,
        ),
        (
            "two names",
            head(&format!("{disposition}; filename=\"../a.png\"")),
            odd,
        ),
        (
            "two dispositions",
            head(&format!("{disposition}\r\n{disposition}")),
            odd,
        ),
        ("an escape", upload("a\\\"; filename=\\\"b.png", PNG), odd),
        ("a folder field", field("subfolder", b"2026/may"), None),
        (
            "a folder field that steps up",
            field("subfolder", b"..\\.."),
            no,
        ),
        (
            "a folder field without an end",
            field("subfolder", &vec![b'a'; 20_000]),
            odd,
        ),
        (
            "a field of the form that is no name",
            field("prompt", b"../.."),
            None,
        ),
        (
            "a mask's picture",
            field("original_ref", br#"{"filename":"a.png","type":"output"}"#),
            None,
        ),
        (
            "a mask's picture above",
            field("original_ref", br#"{"filename":"\u002e\u002e/a.png"}"#),
            no,
        ),
        (
            "a mask's folder above",
            field("original_ref", br#"{"filename":"a","subfolder":"../x"}"#),
            no,
        ),
        (
            "a mask's picture that is no JSON",
            field("original_ref", b"{"),
            odd,
        ),
    ]);
}

#[test]
fn a_form_that_can_be_read_in_two_ways_is_refused() {
    let odd = Some(Reason::GuardUnreadable);
    let disposition = "Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"";
    let head = |more: &str| Sent::form("/upload/image", &[(&format!("{disposition}{more}"), PNG)]);
    let mut preamble = upload("a.png", PNG);
    preamble.body = [b"hello\r\n", preamble.body.as_slice()].concat();
    let mut cut = upload("a.png", PNG);
    cut.body.truncate(cut.body.len() - 8);
    let mut longer = upload("a.png", PNG);
    let inner = format!("\r\n--{BOUNDARY}x\r\n");
    longer.body = [
        format!("--{BOUNDARY}\r\n{disposition}\r\n\r\n").as_bytes(),
        PNG,
        inner.as_bytes(),
    ]
    .concat();
    let mut kind = upload("a.png", PNG);
    kind.headers.clear();
    let mut twice = upload("a.png", PNG);
    twice.headers.append(
        "content-type",
        HeaderValue::from_static("multipart/form-data; boundary=x"),
    );
    let mut empty = upload("a.png", PNG);
    empty.body.clear();
    check(vec![
        (
            "a length that is right",
            head(&format!("\r\nContent-Length: {}", PNG.len())),
            None,
        ),
        ("a length that is not", head("\r\nContent-Length: 4"), odd),
        ("base64", head("\r\nContent-Transfer-Encoding: base64"), odd),
        ("deflate", head("\r\nContent-Encoding: deflate"), odd),
        ("a bare line feed", head("\nX: y"), odd),
        ("a folded line", head(";\r\n filename=\"../a.png\""), odd),
        (
            "no disposition",
            Sent::form("/upload/image", &[("X: y", PNG)]),
            odd,
        ),
        (
            "another charset",
            head("\r\nContent-Type: text/plain; charset=utf-16"),
            odd,
        ),
        (
            "a charset for all",
            Sent::form(
                "/upload/image",
                &[(
                    "Content-Disposition: form-data; name=\"_charset_\"",
                    b"utf-16",
                )],
            ),
            odd,
        ),
        (
            "a form in the form",
            head("\r\nContent-Type: multipart/mixed; boundary=x"),
            odd,
        ),
        ("a preamble", preamble, odd),
        ("cut before its end", cut, odd),
        ("a boundary that goes on", longer, odd),
        ("two content types", twice, odd),
        (
            "a body that is encoded",
            upload("a.png", PNG).with("content-encoding", "gzip"),
            odd,
        ),
        ("a form without a body", empty, None),
        (
            "no form at all",
            Sent {
                body: b"raw".to_vec(),
                ..kind
            },
            None,
        ),
        (
            "too many parts",
            Sent::form(
                "/upload/image",
                &vec![("Content-Disposition: form-data; name=\"a\"", b"".as_slice()); 300],
            ),
            odd,
        ),
        (
            "a long head",
            head(&format!("\r\nX: {}", "a".repeat(17_000))),
            odd,
        ),
    ]);
}

#[test]
fn a_boundary_inside_a_file_is_found_wherever_the_pieces_end_and_only_there() {
    let tricky = format!("\x7f\r\n--\r\n\r\n-----\r\r\n--{}", &BOUNDARY[..10]);
    let sent = Sent::form(
        "/some_node/upload",
        &[
            (
                "Content-Disposition: form-data; name=\"a\"; filename=\"a.bin\"",
                tricky.as_bytes(),
            ),
            ("Content-Disposition: form-data; name=\"b\"", b""),
            (
                "Content-Disposition: form-data; name=\"c\"; filename=\"../c\"",
                b"x",
            ),
        ],
    );
    for size in 1..sent.body.len() {
        let refused = sent.judged_in(&Guards::default(), size).unwrap_err();
        assert_eq!(
            refused.reason,
            Reason::GuardTraversal,
            "in pieces of {size}"
        );
    }
}

/// A form that makes an asset of this file, with these tags.
fn asset(file: &str, content: &[u8], tags: &[&str]) -> Sent {
    let head = |name: &str| format!("Content-Disposition: form-data; {name}");
    let named = head("name=\"tags\"");
    let file = head(&format!("name=\"file\"{file}"));
    let mut parts: Vec<(&str, &[u8])> = vec![(&file, content)];
    parts.extend(tags.iter().map(|tags| (named.as_str(), tags.as_bytes())));
    Sent::form("/api/assets", &parts)
}

#[test]
fn an_asset_is_an_upload_and_a_model_among_them_is_an_admins() {
    let (types, install) = (
        Some(Reason::GuardUploadTypes),
        Some(Reason::GuardInstallRoutes),
    );
    let picture = "; filename=\"a.png\"";
    let model = "; filename=\"a.safetensors\"";
    let weights = b"\x08\0\0\0\0\0\0\0{}      ";
    check(vec![
        ("a picture", asset(picture, PNG, &["input"]), None),
        (
            "a picture by a user, with labels",
            asset(picture, PNG, &["input,my models", "[\"a\"]"]).by(Role::User),
            None,
        ),
        (
            "a page",
            asset("; filename=\"a.html\"", b"<html>", &["input"]),
            types,
        ),
        (
            "a page without a file name",
            asset("", b"<html>", &["input"]),
            types,
        ),
        ("a picture without one", asset("", PNG, &["input"]), None),
        (
            "a pickle among the models, by an admin",
            asset(
                "; filename=\"a.ckpt\"",
                b"\x80\x04\x95",
                &["models,checkpoints"],
            ),
            types,
        ),
        (
            "a model, by an admin",
            asset(model, weights, &["models,checkpoints"]),
            None,
        ),
        (
            "a model, by a user",
            asset(model, weights, &["models,checkpoints"]).by(Role::User),
            install,
        ),
        (
            "a model in capitals",
            asset(model, weights, &[" MODELS ", "loras"]).by(Role::User),
            install,
        ),
        (
            "a model as a list",
            asset(model, weights, &["[\"models\",\"model_type:loras\"]"]).by(Role::User),
            install,
        ),
        (
            "a model in escapes",
            asset(model, weights, &["[\"mod\\u0065ls\",\"loras\"]"]).by(Role::User),
            install,
        ),
        (
            "tags that can be read in two ways",
            asset(model, weights, &["[models"]).by(Role::User),
            Some(Reason::GuardUnreadable),
        ),
        (
            "tags with a file name",
            Sent::form(
                "/api/assets",
                &[(
                    "Content-Disposition: form-data; name=\"tags\"; filename=\"a.txt\"",
                    b"models,loras",
                )],
            )
            .by(Role::User),
            install,
        ),
        (
            "a folder that leads away",
            Sent::form(
                "/api/assets/",
                &[(
                    "Content-Disposition: form-data; name=\"subfolder\"",
                    b"../x",
                )],
            ),
            Some(Reason::GuardTraversal),
        ),
    ]);
}

#[test]
fn gigabytes_leave_nothing_behind() {
    let mut form = form::Form::new(
        &format!("multipart/form-data; boundary={BOUNDARY}"),
        upload::Wanted {
            names: true,
            content: None,
            asset: None,
        },
    )
    .unwrap();
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.mp4\"\r\n\r\n"
    );
    form.push(head.as_bytes(), false).unwrap();
    let piece = vec![b'\r'; 64 << 10];
    for _ in 0..256 {
        form.push(&piece, false).unwrap();
        assert!(form.held() < 128, "{}", form.held());
    }
}
