//! The fuzz targets as plain functions: one for each parser that sees the network or a file.
//!
//! Run two ways. libFuzzer drives them from `fuzz_targets/` (`just fuzz TARGET SECONDS`), and
//! `tests/it/fuzz.rs` includes this file and runs the committed corpora with mutations of a fixed
//! seed inside `cargo test` (`just fuzz-quick`). A target takes any bytes; besides not panicking it
//! asserts what makes a parser safe to decide by: canonical forms are stable, what is rewritten reads
//! the same again (for us and for another parser), chunk boundaries mean nothing, and what an edit
//! does not touch stays byte for byte.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::OnceLock,
};

use bytes::BytesMut;

use airlock::{
    comfy::{
        Catalogue, Kind as InputKind, LeftOut, Nodes, Parts, System, Template, Uses, listing, sound,
    },
    config,
    emulator::multipart,
    listener::head::{self, Head, Target},
    llm::{
        edit::{self, Editor, Object},
        reply::Meta,
        request::Operation,
        sse::Splitter,
        stream::{AnswerOptions, Ending, Outcome, StreamRepair},
    },
    mcp::{Message, Packet},
    net::{AddressClass, Authority, DomainPattern, Host, Port, classify},
    page::{
        Blocked, Coding, Kind, LastLine, Replacements, Rewrite, RewriteError, Rewritten, Violation,
    },
    policy::{
        AddressPolicy, PathPattern, address,
        learn::{Learner, Options},
        path as policy_path,
    },
    proxy::Carries,
    tls::{ClientHelloInfo, HelloParser},
    token::{
        Claims, KeyRing, MAX_TOKEN, MIN_KEY, SessionId, SigningKey, TokenError, UnixTime, Username,
    },
};

/// A target: panics when an invariant does not hold.
pub type Run = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Run); 17] = [
    ("authority", authority),
    ("request_head", request_head),
    ("client_hello", client_hello),
    ("address_text", address_text),
    ("path", path),
    ("config", config),
    ("sse_stream", sse_stream),
    ("json_rpc", json_rpc),
    ("multipart", multipart),
    ("json_edit", json_edit),
    ("learn_line", learn_line),
    ("page_rewrite", page_rewrite),
    ("csp_report", csp_report),
    ("token", token),
    ("catalogue", catalogue),
    ("chat_answer", chat_answer),
    ("workflow", workflow),
];

/// Names and authorities: one canonical spelling, which reads as itself.
pub fn authority(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(host) = Host::parse(text) {
        stable_host(&host);
        // An authority without a port is its host, except for IPv6 without brackets.
        if host.as_name().is_some() {
            let found = Authority::parse(text, Some(Port::HTTPS)).map(|a| a.host);
            assert_eq!(found, Ok(host));
        }
    }
    if let Ok(found) = Authority::parse(text, Some(Port::HTTP)) {
        stable_host(&found.host);
        assert_eq!(
            Authority::parse(&found.to_string(), None),
            Ok(found.clone())
        );
        let short = found.without_port(Port::HTTPS);
        assert_eq!(Authority::parse(&short, Some(Port::HTTPS)), Ok(found));
    }
    if let Ok(pattern) = DomainPattern::parse(text) {
        assert_eq!(
            DomainPattern::parse(&pattern.to_string()),
            Ok(pattern.clone())
        );
        let base = Host::parse(pattern.base()).expect("a pattern stands on a host");
        // `*.a` is what is below `a`, never `a` itself.
        assert_eq!(
            pattern.matches(&base),
            matches!(pattern, DomainPattern::Exact(_))
        );
    }
}

fn stable_host(host: &Host) {
    match host {
        Host::Name(name) => {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
            assert!(name.bytes().all(plain), "{name}");
            assert!(name.len() <= 253 && name.split('.').all(|l| (1..=63).contains(&l.len())));
            // No resolver may take a name for an address.
            assert!(name.parse::<IpAddr>().is_err(), "{name}");
            assert_eq!(Host::parse(name).as_ref(), Ok(host));
        }
        Host::Ip(ip) => {
            assert_eq!(Host::parse(&ip.to_string()).as_ref(), Ok(host));
        }
    }
}

/// A head that is taken means the same once it is rewritten, to us and to another parser.
pub fn request_head(data: &[u8]) {
    let Some(end) = head::head_end(data, 0) else {
        return;
    };
    for from in [1, 2, 3, end / 2] {
        assert_eq!(head::head_end(data, from.min(end - 1)), Some(end));
    }
    let (bytes, rest) = data.split_at(end);
    let Ok(parsed) = head::parse(bytes, Port::HTTP) else {
        return;
    };
    assert_eq!(parsed.length, end);
    let (authority, raw) = match &parsed.target {
        Target::Absolute { authority, path } => (Some(authority.clone()), path.as_str()),
        Target::Origin(target) => (parsed.host.clone(), target.as_str()),
        Target::Authority(_) | Target::Asterisk => return,
    };
    let Some(authority) = authority else {
        return;
    };
    // As `listener::judge` makes the target.
    let (path, query) = raw
        .split_once('?')
        .map_or((raw, None), |(p, q)| (p, Some(q)));
    let Ok(path) = policy_path::canonical(path) else {
        return;
    };
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let mut buffer = BytesMut::from(data);
    head::rewrite_to_origin(&mut buffer, &parsed, &target, &authority, Port::HTTP);
    assert!(buffer.ends_with(rest), "bytes behind the head are lost");
    let new_end = head::head_end(&buffer, 0).expect("still a head");
    assert_eq!(buffer.len() - new_end, rest.len());
    same_for_another_parser(&buffer[..new_end], &parsed, &target);
    // A head of HTTP/1.0 without Host gets one, which may be the line too many for our own bound.
    if parsed.host.is_none() {
        return;
    }
    let again = head::parse(&buffer[..new_end], Port::HTTP).expect("what was rewritten is taken");
    let Head {
        method,
        target: _,
        host: _,
        upgrade,
        framing,
        carries,
        length: _,
        proxy_key: _,
    } = parsed;
    let want = Head {
        method,
        target: Target::Origin(target.clone()),
        host: Some(authority.clone()),
        upgrade,
        framing,
        carries,
        length: new_end,
        // Proxies' headers are not sent on.
        proxy_key: None,
    };
    assert_eq!(again, want);
    let once = buffer.clone();
    head::rewrite_to_origin(&mut buffer, &again, &target, &authority, Port::HTTP);
    assert_eq!(buffer, once, "rewriting twice changes something");
}

fn same_for_another_parser(bytes: &[u8], ours: &Head, target: &str) {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut headers);
    let read = theirs.parse(bytes).expect("another parser takes it");
    assert_eq!(read, httparse::Status::Complete(bytes.len()));
    assert_eq!(theirs.method, Some(ours.method.as_str()));
    assert_eq!(theirs.path, Some(target));
    for (name, noted) in [
        ("connection", Carries::CONNECTION),
        ("cookie", Carries::COOKIE),
        ("authorization", Carries::AUTHORIZATION),
        ("origin", Carries::ORIGIN),
        ("x-session-id", Carries::CHAT),
    ] {
        let there = theirs
            .headers
            .iter()
            .any(|h| h.name.eq_ignore_ascii_case(name));
        assert_eq!(ours.carries.any(noted), there, "{name}");
    }
    let fetch = |h: &httparse::Header<'_>| {
        h.name.len() == 14 && h.name.to_ascii_lowercase().starts_with("sec-fetch-")
    };
    let there = theirs.headers.iter().any(fetch);
    assert_eq!(ours.carries.any(Carries::FETCH), there, "sec-fetch-");
    let count = |name: &str| {
        let same = |h: &&httparse::Header<'_>| h.name.eq_ignore_ascii_case(name);
        theirs.headers.iter().filter(same).count()
    };
    assert_eq!(count("host"), 1);
    assert!(count("content-length") + count("transfer-encoding") <= 1);
}

/// Wherever a hello is cut, it is taken or refused alike, and says the same.
pub fn client_hello(data: &[u8]) {
    const MAX: usize = 4096;
    let (sizes, data) = data.split_at(data.len().min(2));
    if data.len() > MAX {
        let _ = HelloParser::new(MAX).push(data);
        return;
    }
    let whole = HelloParser::new(MAX).push(data);
    let mut parser = HelloParser::new(MAX);
    let mut pieces = Ok(None);
    for piece in cut(data, sizes) {
        pieces = parser.push(piece);
        if !matches!(pieces, Ok(None)) {
            break;
        }
    }
    match (whole, pieces) {
        (Ok(Some(whole)), Ok(Some(pieces))) => {
            assert_eq!(whole.raw, data);
            assert!(data.starts_with(&pieces.raw));
            if let Some(sni) = &whole.sni {
                assert!(sni.as_name().is_some(), "an address in the SNI: {sni}");
                stable_host(sni);
            }
            let said = |info: ClientHelloInfo| (info.sni, info.alpn, info.versions, info.ech);
            assert_eq!(said(whole), said(pieces));
        }
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        // Taken as soon as it is whole; in one piece, what follows it may be refused.
        (Err(_), Ok(Some(pieces))) => assert!(pieces.raw.len() < data.len()),
        (whole, pieces) => panic!("in one piece {whole:?}, in several {pieces:?}"),
    }
}

/// Addresses are of one class however they are wrapped, and only open classes are dialled.
pub fn address_text(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(Host::Ip(ip)) = Host::parse(text)
    {
        one_class(ip);
    }
    if let Some(octets) = data.first_chunk::<4>() {
        let v4 = Ipv4Addr::from(*octets);
        let class = classify(v4.into());
        let [a, b, c, d] = octets.map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let mapped = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low);
        let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
        for wrapped in [mapped, nat64] {
            assert_eq!(classify(wrapped.into()), class, "{wrapped}");
        }
        for (what, wrapped) in [
            ("6to4", Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1)),
            (
                "translated",
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            ),
        ] {
            assert_ne!(
                classify(wrapped.into()),
                AddressClass::Public,
                "{what} {wrapped}"
            );
        }
        one_class(v4.into());
    }
    if let Some(octets) = data.first_chunk::<16>() {
        one_class(Ipv6Addr::from(*octets).into());
    }
}

fn one_class(ip: IpAddr) {
    let class = classify(ip);
    assert_eq!(classify(ip.to_canonical()), class, "{ip}");
    let Ok(Host::Ip(again)) = Host::parse(&ip.to_string()) else {
        panic!("{ip} does not read as itself");
    };
    assert_eq!(again, ip);
    let authority = Authority::new(Host::Ip(ip), Port::HTTPS);
    let dialled = address::check(
        &authority,
        SocketAddr::new(ip, 443),
        &AddressPolicy::new(),
        &[],
    );
    assert_eq!(
        dialled.is_ok(),
        class == AddressClass::Public,
        "{ip} is {class}"
    );
    if let Ok(checked) = dialled {
        let v6_of_v4 =
            matches!(checked.socket().ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        assert!(!v6_of_v4, "{ip} is dialled as a mapped address");
    }
}

/// A canonical path is stable, plain and without anything to resolve.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(clean) = policy_path::canonical(text) {
        assert_eq!(
            policy_path::canonical(&clean).as_deref(),
            Ok(&*clean),
            "{text:?}"
        );
        assert!(clean.starts_with('/') && clean.bytes().all(|b| b.is_ascii_graphic()));
        assert!(!clean.contains("//") && !clean.contains('\\'), "{clean}");
        let dots = |s: &str| matches!(s, "." | "..") || s.starts_with("..;") || s.starts_with(".;");
        assert!(!clean.split('/').any(dots), "{clean}");
        let lower = clean.to_ascii_lowercase();
        for hidden in ["%2f", "%5c", "%00", "%2e", "%0a", "%0d"] {
            assert!(!lower.contains(hidden), "{clean}");
        }
        if !clean.contains(['*', '?', '#']) {
            let exact = PathPattern::parse(&clean).expect("a canonical path is a pattern");
            assert!(exact.matches(&clean));
        }
    }
    if let Ok(pattern) = PathPattern::parse(text) {
        assert_eq!(PathPattern::parse(&pattern.to_string()), Ok(pattern));
    }
}

/// A configuration loads or says why not, and means the same every time.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Keys that make the loader read other files.
    if text.contains("_file") {
        return;
    }
    let (first, again) = (compiled(text), compiled(text));
    match (first, again) {
        (Ok(first), Ok(again)) => {
            assert_eq!(first.policy.rules(), again.policy.rules());
            for rule in first.policy.rules() {
                assert!(!rule.hosts.is_empty() || !rule.ips.is_empty(), "{rule:?}");
            }
        }
        (Err(first), Err(again)) => {
            assert!(!first.errors.is_empty());
            assert_eq!(first.to_string(), again.to_string());
        }
        (first, again) => panic!("{first:?} and then {again:?}"),
    }
}

fn compiled(yaml: &str) -> Result<config::Config, config::ConfigErrors> {
    let environment = HashMap::from([("HOME".to_owned(), "/nowhere".to_owned())]);
    config::compile(yaml, "fuzz", PathBuf::from("."), &environment)
}

/// Frames and repaired streams are the same wherever the bytes are cut, and a stream that needs no
/// repair goes through untouched.
pub fn sse_stream(data: &[u8]) {
    let (sizes, data) = data.split_at(data.len().min(2));
    let whole = frames(data, &[]);
    let pieces = frames(data, sizes);
    let mark = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    assert_eq!(whole.0, mark, "bytes are lost");
    assert_eq!(pieces.0, mark, "bytes are lost when cut");
    assert_eq!(whole.1, pieces.1, "events differ when cut");

    let (one, ended_one) = repaired(data, &[], true);
    let (two, ended_two) = repaired(data, sizes, true);
    assert_eq!(ended_one, ended_two);
    if data.contains(&b'\r') {
        // A line end that was cut in two may be kept or dropped; events may not.
        assert_eq!(frames(&one, &[]).1, frames(&two, &[]).1);
    } else {
        // Blank lines behind `[DONE]` go on or not; they say nothing to anybody.
        assert_eq!(
            one.trim_ascii_end(),
            two.trim_ascii_end(),
            "output differs when cut"
        );
    }

    let plain = well_formed(data);
    let (through, ended) = repaired(plain.as_bytes(), sizes, false);
    assert_eq!(ended, (Some(Ending::Complete), None));
    assert_eq!(String::from_utf8(through).as_deref(), Ok(plain.as_str()));
}

type Events = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

/// All bytes that came out, and the events that are any.
fn frames(data: &[u8], sizes: &[u8]) -> (Vec<u8>, Events) {
    let mut splitter = Splitter::new(1 << 20);
    let (mut raw, mut events) = (Vec::new(), Vec::new());
    let mut take = |frame: airlock::llm::sse::Frame| {
        raw.extend_from_slice(&frame.raw);
        if frame.has_field {
            events.push((
                frame.event.map(|e| e.to_vec()),
                frame.data.map(|d| d.to_vec()),
            ));
        }
    };
    for piece in cut(data, sizes) {
        splitter.push(piece);
        while let Some(frame) = splitter.next_frame().expect("below the bound") {
            take(frame);
        }
    }
    if let Some(rest) = splitter.finish() {
        take(rest);
    }
    (raw, events)
}

type Ended = (Option<Ending>, Option<Outcome>);

fn repaired(data: &[u8], sizes: &[u8], strip_think: bool) -> (Vec<u8>, Ended) {
    let mut stream = StreamRepair::new(AnswerOptions {
        operation: Operation::Chat,
        meta: meta(),
        strip_think,
        offered: Some(vec!["known".to_owned()]),
        explain_empty: strip_think,
    });
    let mut out = BytesMut::new();
    let mut outcome = None;
    for piece in cut(data, sizes) {
        outcome = outcome.or(stream.push(piece, &mut out).outcome);
        // As the gateway does: nothing after an error is looked at.
        if matches!(outcome, Some(Outcome::Error(_) | Outcome::TooLarge)) {
            return (out.to_vec(), (None, outcome));
        }
    }
    let (ending, last) = stream.finish(&mut out);
    let outcome = outcome.filter(|o| *o != Outcome::Done);
    (
        out.to_vec(),
        (
            Some(ending),
            outcome.or(last.filter(|o| *o != Outcome::Done)),
        ),
    )
}

fn meta() -> Meta {
    Meta {
        id: "chatcmpl-1".to_owned(),
        created: 1,
        model: "m".to_owned(),
    }
}

/// A stream as a good server sends it, saying the bytes as text.
fn well_formed(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let mut out = meta().delta_frame(r#"{"role":"assistant","content":""}"#);
    let mut rest: &str = &text;
    while !rest.is_empty() {
        let piece = edit::head(rest, 7);
        out.push_str(&meta().delta_frame(&format!(r#"{{"content":{}}}"#, edit::quote(piece))));
        rest = &rest[piece.len()..];
    }
    out.push_str(&meta().delta_frame(r#"{"content":"."}"#));
    out.push_str(&meta().finish_frame("stop"));
    out.push_str("data: [DONE]\n\n");
    out
}

/// A message is what it is alone or in a batch, and its id goes back as it came.
pub fn json_rpc(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else {
        return;
    };
    match packet {
        Packet::Batch(members) => assert!((1..=32).contains(&members.len())),
        Packet::Single(message) => {
            let mut batch = b"[".to_vec();
            batch.extend_from_slice(data);
            batch.push(b']');
            let Ok(Packet::Batch(members)) = Packet::parse(&batch) else {
                panic!("a message is refused in a batch");
            };
            let [Ok(inside)] = members.as_slice() else {
                panic!("a message is another one in a batch");
            };
            assert_eq!(said(inside), said(&message));
            let Message::Request { id, method, .. } = &message else {
                return;
            };
            assert!(id.as_json().len() <= 256 && edit::is_json(id.as_json()));
            let wire = format!(
                r#"{{"jsonrpc":"2.0","id":{},"method":{}}}"#,
                id.as_json(),
                edit::quote(method)
            );
            let Ok(Packet::Single(Message::Request {
                id: id_again,
                method: method_again,
                ..
            })) = Packet::parse(wire.as_bytes())
            else {
                panic!("{wire} is refused");
            };
            assert_eq!((&id_again, &method_again), (id, method));
        }
    }
}

fn said(message: &Message) -> String {
    format!("{message:?}")
}

/// Parts lie inside the body, in order, and a form made of them reads the same.
pub fn multipart(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (content_type, body) = data.split_at(at);
    let Ok(content_type) = std::str::from_utf8(content_type) else {
        return;
    };
    let body = body.get(1..).unwrap_or_default();
    let Ok(parts) = multipart::parse(content_type, body) else {
        return;
    };
    assert!(parts.len() <= 16);
    let mut from = body.as_ptr() as usize;
    for part in &parts {
        let start = part.content.as_ptr() as usize;
        assert!(start >= from, "parts overlap");
        from = start + part.content.len();
    }
    assert!(from <= body.as_ptr() as usize + body.len());

    const BOUNDARY: &str = "AirlockFuzzBoundary";
    let mut form = Vec::new();
    for part in &parts {
        let plain = |text: &str| !text.contains(['"', '\\', '\r', '\n', '\0']);
        let mine = part
            .content
            .windows(BOUNDARY.len())
            .any(|w| w == BOUNDARY.as_bytes());
        if !plain(&part.name) || mine || !part.filename.as_deref().is_none_or(plain) {
            return;
        }
        form.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
        let mut line = format!("Content-Disposition: form-data; name=\"{}\"", part.name);
        if let Some(filename) = &part.filename {
            line.push_str(&format!("; filename=\"{filename}\""));
        }
        // Longer than any browser's head, after unescaping and quoting once more.
        if line.len() > 8000 {
            return;
        }
        form.extend_from_slice(line.as_bytes());
        form.extend_from_slice(b"\r\n\r\n");
        form.extend_from_slice(part.content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    assert_eq!(multipart::parse(&content_type, &form).as_ref(), Ok(&parts));
}

/// What an edit does not touch stays byte for byte, and the result is JSON.
pub fn json_edit(data: &[u8]) {
    let (which, data) = data.split_at(data.len().min(1));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    assert_eq!(edit::string(&edit::quote(text)).as_deref(), Some(text));
    if let Some(elements) = edit::elements(text) {
        assert!(elements.iter().all(|e| edit::is_json(e)), "{elements:?}");
    }
    let Some(object) = Object::parse(text) else {
        return;
    };
    let root = object.text();
    let values: Vec<&str> = object.members().iter().map(|m| m.value).collect();
    assert!(matches!(Editor::new(root).finish(), std::borrow::Cow::Borrowed(same) if same == root));

    let mut editor = Editor::new(root);
    editor.add_members(&object, &[("airlock_new", "[1]".to_owned())]);
    let added = editor.finish();
    let grown = Object::parse(&added).expect("still an object");
    assert_eq!(grown.last("airlock_new"), Some("[1]"));
    let kept: Vec<&str> = grown
        .members()
        .iter()
        .map(|m| m.value)
        .take(values.len())
        .collect();
    assert_eq!(kept, values);

    let pick = usize::from(which.first().copied().unwrap_or_default());
    let Some(value) = values.get(pick % values.len().max(1)) else {
        return;
    };
    let start = value.as_ptr() as usize - root.as_ptr() as usize;
    let mut editor = Editor::new(root);
    editor.replace(value, "\"new\"");
    let edited = editor.finish();
    assert_eq!(edited.get(..start), root.get(..start));
    assert!(edited.ends_with(&root[start + value.len()..]));
    let after = Object::parse(&edited).expect("still an object");
    assert_eq!(after.members().len(), values.len());
    for (at, (was, is)) in values.iter().zip(after.members()).enumerate() {
        let want = if at == pick % values.len() {
            "\"new\""
        } else {
            was
        };
        assert_eq!(is.value, want);
    }
}

/// Whatever a log holds, the rules made of it load, and no line of it gets into them as text.
pub fn learn_line(data: &[u8]) {
    for with_warned in [false, true] {
        let mut learner = Learner::new(Options {
            include_denied: true,
            with_warned,
        });
        for line in data.split(|b| *b == b'\n') {
            let _ = learner.line(line);
        }
        let learned = learner.finish();
        let yaml = learned.to_yaml();
        let config = compiled(&yaml).unwrap_or_else(|e| panic!("does not load: {e}\n{yaml}"));
        let live = learned.rules.iter().filter(|r| r.live).count();
        assert_eq!(config.policy.rule_count(), live + of_packs());
    }
}

/// However a page comes in, it goes out alike, and without an address of the vendor in it.
pub fn page_rewrite(data: &[u8]) {
    const LIMIT: usize = 256 << 10;
    const CODINGS: [Coding; 5] = [
        Coding::Identity,
        Coding::Gzip,
        Coding::Deflate,
        Coding::Brotli,
        Coding::Zstd,
    ];
    let (which, data) = data.split_at(data.len().min(3));
    let [coding, sizes @ ..] = which else {
        return;
    };
    let coding = CODINGS[usize::from(*coding) % CODINGS.len()];
    let replacements = Replacements::new(["vendor.test", "vendor-pre.test"], "/ours");
    let rewrite = |sizes: &[u8]| -> Result<Rewritten, RewriteError> {
        let mut rewrite = Rewrite::new(Kind::Document, coding, replacements.clone(), LIMIT)?;
        for piece in cut(data, sizes) {
            rewrite.push(piece)?;
        }
        rewrite.finish()
    };
    let whole = rewrite(&[]);
    let pieces = rewrite(sizes);
    if coding == Coding::Identity {
        assert_eq!(whole.is_ok(), data.len() <= LIMIT);
        assert_eq!(pieces, whole);
    }
    if let (Ok(whole), Ok(pieces)) = (&whole, &pieces) {
        assert_eq!(whole, pieces);
    }
    if let Ok(whole) = whole {
        assert_eq!(
            replacements.apply(&whole.body),
            whole.body,
            "once is enough"
        );
    }
}

/// A report says a host and a path, and nothing of what stands behind them.
pub fn csp_report(data: &[u8]) {
    let Ok(violation) = Violation::parse(data) else {
        return;
    };
    if let Some(page) = &violation.page {
        assert!(page.starts_with('/') && page.bytes().all(|b| b.is_ascii_graphic()));
        assert!(!page.contains(['?', '#']), "{page}");
    }
    match &violation.blocked {
        Blocked::Host(authority) => stable_host(&authority.host),
        Blocked::Inline | Blocked::Eval | Blocked::NoHost => {}
    }
}

/// Whatever ComfyUI says becomes names that are one bounded line, paths that stay in their folder, and
/// links by types that stand in their places.
pub fn catalogue(data: &[u8]) {
    let mut left_out = LeftOut::default();
    if let Ok(Nodes { nodes, .. }) = Nodes::read(data) {
        let catalogue = Catalogue::new(Parts {
            nodes,
            ..Parts::default()
        });
        for node in catalogue.nodes() {
            assert_eq!(sound::name(&node.class), Some(&*node.class));
            assert_eq!(catalogue.node(&node.class), Some(node));
            assert!(catalogue.node_called(&node.title).is_some());
            for input in &node.inputs {
                assert_eq!(sound::name(&input.name), Some(&*input.name));
                assert_eq!(node.input(&input.name), Some(input));
                if let InputKind::Choice(choices) = &input.kind {
                    assert!(
                        choices
                            .values
                            .iter()
                            .all(|v| choices.allows(v) == Some(true))
                    );
                }
            }
        }
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&sound::readable(data)) else {
        return;
    };
    for template in Template::read_index(&value, Some(&value), &mut left_out) {
        let picture = template.picture();
        assert!(
            picture.is_empty() || picture.matches('/').count() == 2,
            "{picture}"
        );
        assert!(picture.bytes().all(|b| b.is_ascii_graphic()), "{picture}");
    }
    for file in listing::saved(&value, &mut left_out) {
        assert!(file.path.split('/').all(|s| !matches!(s, "" | "." | "..")));
    }
    for folder in listing::folders(&value, &mut left_out) {
        assert!(!folder.contains(['/', '\\']));
    }
    let uses = Uses::of(&value);
    assert!(uses.classes.is_sorted());
    System::read(&value);
}

/// Chunk boundaries mean nothing; only the last line changes, and only where it may.
pub fn chat_answer(data: &[u8]) {
    let Some((size, text)) = data.split_first() else {
        return;
    };
    let cards = || serde_json::json!([{"type": "node", "data": ["\u{4e2d}"]}]);
    let through = |size: usize, with: bool| {
        let mut line = LastLine::default();
        let mut out: Vec<u8> = text
            .chunks(size.max(1))
            .flat_map(|c| line.push(c))
            .collect();
        let sent = out.len();
        out.extend(line.finish(|_| with.then(cards)));
        (out, sent)
    };
    let (out, sent) = through(usize::from(*size), true);
    assert_eq!(out, through(usize::MAX, true).0, "chunks");
    // What went before the last line is what came.
    assert_eq!(out.get(..sent), text.get(..sent));
    let last = text.get(sent..).unwrap_or_default();
    // What only reads as raw members (a number out of range) says nothing here.
    let Ok(last) = serde_json::from_slice::<serde_json::Value>(last) else {
        return;
    };
    let finished = last.get("finished");
    if finished != Some(&false.into()) {
        assert_eq!(through(1, false).0, text, "nothing to add, nothing changed");
    } else if out != text {
        let done: serde_json::Value =
            serde_json::from_slice(out.get(sent..).unwrap_or_default()).expect("still JSON");
        assert_eq!(done["finished"], true);
    }
}

/// No token is taken that our key did not sign, whatever is taken means one thing, and no payload that
/// is read says two.
pub fn token(data: &[u8]) {
    let now = UnixTime(1_800_000_000);
    if let Ok(claims) = Claims::parse(data) {
        let json = claims.to_json();
        assert_eq!(Claims::parse(json.as_bytes()).as_ref(), Ok(&claims));
        let signed = ring().sign(&claims);
        assert!(signed.len() <= MAX_TOKEN);
        match ring().verify(&signed, now) {
            Ok(verified) => assert_eq!(verified.claims(), &claims),
            Err(e) => assert_eq!((e, claims.exp <= now), (TokenError::Expired, true)),
        }
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let judged = ring().verify(text, now);
    if let Ok(verified) = &judged {
        let ours = ring().sign(verified.claims());
        let payload = |token: &str| token.split_once('.').map(|(p, _)| p.to_owned());
        // One payload has one signature, in one spelling.
        if payload(&ours) == payload(text) {
            assert_eq!(ours, text);
        }
        assert!(ring().verify(text, verified.claims().exp).is_err());
    }
    // What is no token at one time is none at another, and another key takes none of them.
    let later = ring().verify(text, UnixTime(u64::MAX));
    assert!(later.is_err());
    let dated = |r: &Result<_, TokenError>| !matches!(r, Ok(_) | Err(TokenError::Expired));
    let early = ring().verify(text, UnixTime(0));
    assert_eq!(dated(&judged), dated(&early));
    let foreign = foreign_ring().verify(text, UnixTime(0));
    assert!(foreign.is_err());
    if early.is_ok() {
        assert_eq!(foreign.err(), Some(TokenError::BadSignature));
    }
    // Names have one spelling each.
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(name) = text.parse::<Username>() {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 64 && text.is_ascii());
    }
    if let Ok(key) = SigningKey::new(data) {
        assert!(data.len() >= MIN_KEY && key.expose() == data);
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}

fn ring() -> &'static KeyRing {
    static RING: OnceLock<KeyRing> = OnceLock::new();
    RING.get_or_init(|| ring_of("7c1d0a4be2f95836d7a9c04f1b6e82354fd0a97b3c5e6812"))
}

fn foreign_ring() -> &'static KeyRing {
    static RING: OnceLock<KeyRing> = OnceLock::new();
    RING.get_or_init(|| ring_of("e5b90c7d41f26a83b1d7f0592c4e8a6630fb1c9d8e7a2451"))
}

fn ring_of(key: &str) -> KeyRing {
    KeyRing::new(SigningKey::new(key.as_bytes()).expect("a good key"), None)
}

/// Rules that are there without a rule of the user's.
fn of_packs() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let defaults = compiled("version: 1\n").expect("the defaults load");
        defaults.policy.rule_count()
    })
}

/// Pieces of lengths that `sizes` chooses; one piece where it is empty.
fn cut<'a>(data: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut seed = sizes.iter().fold(0_u32, |sum, b| sum << 8 | u32::from(*b));
    let mut pieces = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let length = if sizes.is_empty() {
            rest.len()
        } else {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            1 + (seed >> 24) as usize % 16
        };
        let (piece, tail) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

/// A workflow that somebody wrote, in either form: what is repaired stays as it is when repaired again,
/// what is checked can be told, and new ids change nothing.
pub fn workflow(data: &[u8]) {
    use airlock::workflow::{check, drop_idle, order, read, repair};
    const CLASSES: &[u8] = include_bytes!("../../tests/fixtures/workflow/object_info.json");
    static CATALOGUE: std::sync::LazyLock<Catalogue> = std::sync::LazyLock::new(|| {
        let nodes = Nodes::read(CLASSES).map(|found| found.nodes);
        Catalogue::new(Parts {
            nodes: nodes.unwrap_or_default(),
            ..Parts::default()
        })
    });
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else {
        return;
    };
    let Ok(mut prompt) = read(&value, &CATALOGUE) else {
        return;
    };
    repair(&mut prompt, &CATALOGUE);
    let once = prompt.clone();
    repair(&mut prompt, &CATALOGUE);
    assert_eq!(once, prompt, "one repair is enough");
    let faults = check::check(&prompt, &CATALOGUE);
    for fault in &faults {
        assert!(!fault.to_string().is_empty());
    }
    let renumbered = order::renumbered(&prompt);
    assert_eq!(renumbered.nodes.len(), prompt.nodes.len());
    let accepted = check::accepted(&faults);
    if accepted {
        let again = check::check(&renumbered, &CATALOGUE);
        assert!(check::accepted(&again), "new ids change nothing");
        // As ComfyUI gets it.
        assert_eq!(
            read(&renumbered.to_value(), &CATALOGUE),
            Ok(renumbered.clone())
        );
    }
    drop_idle(&mut prompt, &CATALOGUE);
    if accepted {
        let faults = check::check(&prompt, &CATALOGUE);
        assert!(check::accepted(&faults), "what nothing needs can go");
    }
}
