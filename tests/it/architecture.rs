//! The house rules of `src/lib.rs`, read from the sources: who may import whom, who may open
//! sockets, what the pure layers must not touch, how long a file may be.
//!
//! The sources are scanned as text, with comments, literals and test modules taken out. That is
//! coarse, and enough: a rule is broken by writing a path, and a path is text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const LIB: &str = include_str!("../../src/lib.rs");
const MAX_LINES: usize = 500;

/// Text that only some modules may hold, and why the others may not.
const OWNED: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "TcpStream::connect",
            "TcpSocket::",
            "UdpSocket",
            "UnixStream::connect",
            "lookup_host",
            "to_socket_addrs",
        ],
        &["upstream"],
        "only upstream opens outbound sockets and asks for names",
    ),
    (
        &["TcpListener::bind"],
        &["listener", "admin", "demo", "isolate"],
        "sockets in belong to the listeners, the control plane, the demo's own LLM and the \
         loopback of an isolated program",
    ),
    (
        &["pingora"],
        &["listener", "proxy", "upstream", "app"],
        "Pingora's types stay in the pipeline",
    ),
    (
        &["redb::"],
        &["store"],
        "one module knows how state is stored",
    ),
];

/// What layers 0 and 1 must not hold: they decide, and nothing more.
const IMPURE: &[&str] = &[
    "async fn",
    "async move",
    "async {",
    ".await",
    "tokio",
    "hyper",
    "SystemTime::now",
    "Instant::now",
    "now_utc",
    "std::env",
    "std::fs",
    "std::net::TcpStream",
    "std::thread",
];

/// One source file of the library.
struct Source {
    /// Below `src`, for messages.
    name: String,
    /// The top-level module; `main` and `lib` for those two files.
    module: String,
    /// `gateway::call` is 2: how many `super::` lead to the crate's root.
    depth: usize,
    /// Begins with a `//!`.
    mapped: bool,
    /// Without comments, literals and test modules.
    code: String,
}

#[test]
fn the_map_in_lib_lists_every_module_once() {
    let declared: BTreeSet<&str> = LIB
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mapped: Vec<String> = layers().into_keys().collect();
    assert!(declared.len() > 15, "{declared:?}");
    assert_eq!(declared.into_iter().collect::<Vec<_>>(), mapped);
}

#[test]
fn a_module_imports_only_from_its_own_layer_or_a_lower_one() {
    let layers = layers();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for source in sources() {
        // The two roots name what they please.
        let Some(own) = layers.get(&source.module) else {
            continue;
        };
        for import in imports(&source) {
            seen += 1;
            match layers.get(&import) {
                Some(layer) if layer > own => wrong.push(format!(
                    "{} (L{own}) imports crate::{import} (L{layer})",
                    source.name
                )),
                Some(_) => {}
                None => wrong.push(format!(
                    "{} imports crate::{import}, which is in no layer",
                    source.name
                )),
            }
        }
    }
    assert!(
        seen > 100,
        "only {seen} imports were seen: the scanner is broken"
    );
    assert!(
        wrong.is_empty(),
        "against the layers:\n  {}",
        wrong.join("\n  ")
    );
}

/// EGRESS 55: a panic in a decision is a refusal, because nobody asks a checkpoint unguarded.
#[test]
fn the_edge_and_the_pipeline_ask_for_decisions_under_guard() {
    let mut asked = 0;
    for source in sources() {
        if !["listener", "proxy"].contains(&&*source.module) {
            continue;
        }
        for question in ["decide_request(", "decide_connection("] {
            for (at, _) in source.code.match_indices(question) {
                asked += 1;
                let from = source.code[..at].rfind(';').unwrap_or(0);
                assert!(
                    source.code[from..at].contains("guarded("),
                    "{} asks {question}..) without policy::guarded",
                    source.name
                );
            }
        }
    }
    assert!(asked >= 2, "the scanner is broken");
}

#[test]
fn sockets_pingora_and_the_store_have_their_owners() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (needles, owners, why) in OWNED {
            if owners.contains(&&*source.module) {
                continue;
            }
            for needle in *needles {
                if names(&source.code, needle) {
                    wrong.push(format!("{} names {needle}: {why}", source.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not theirs:\n  {}", wrong.join("\n  "));
}

#[test]
fn the_pure_layers_do_no_io_and_read_no_clock() {
    let layers = layers();
    let mut wrong = Vec::new();
    for source in sources() {
        if layers.get(&source.module).is_some_and(|layer| *layer <= 1) {
            let found = IMPURE.iter().filter(|needle| names(&source.code, needle));
            wrong.extend(found.map(|needle| format!("{} holds {needle}", source.name)));
        }
    }
    assert!(wrong.is_empty(), "not pure:\n  {}", wrong.join("\n  "));
}

#[test]
fn nothing_is_unsafe_and_no_file_is_too_long() {
    let mut wrong = Vec::new();
    for source in sources() {
        if names(&source.code, "unsafe") {
            wrong.push(format!("{} holds unsafe", source.name));
        }
        let lines = source.code.trim_end().lines().count();
        if lines > MAX_LINES {
            wrong.push(format!(
                "{} has {lines} lines without its tests: split it",
                source.name
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "against the habits:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn every_module_opens_with_a_map() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|s| !s.mapped)
        .map(|s| s.name)
        .collect();
    assert!(wrong.is_empty(), "no `//!` at the top: {wrong:?}");
}

/// Module to layer, from the table at the top of `lib.rs`.
fn layers() -> BTreeMap<String, u8> {
    let mut layers = BTreeMap::new();
    for row in LIB.lines().filter_map(|line| line.strip_prefix("//! | L")) {
        let (layer, rest) = row.split_once(" | ").expect("a row has cells");
        let layer = layer.parse().expect("a layer has a number");
        let modules = rest.split(" | ").next().unwrap_or_default();
        for module in modules.split("[`").skip(1) {
            let name = module.split('`').next().unwrap_or_default().to_owned();
            assert!(
                layers.insert(name, layer).is_none(),
                "twice in the table: {module}"
            );
        }
    }
    layers
}

pub fn files(dir: &Path) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All files that are not tests.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut tests = Vec::new();
    for path in files(Path::new("src")) {
        let text = fs::read_to_string(&path).expect("a source can be read");
        let (code, test_modules) = without_tests(&plain(&text));
        let name = path
            .strip_prefix(&root)
            .expect("below src")
            .with_extension("");
        let mut parts: Vec<_> = name
            .iter()
            .map(|p| p.to_string_lossy().into_owned())
            .collect();
        if parts.last().is_some_and(|p| p == "mod") {
            parts.pop();
        }
        let folder: PathBuf = parts.iter().collect();
        tests.extend(test_modules.into_iter().map(|module| folder.join(module)));
        found.push((
            folder,
            Source {
                name: format!("{}.rs", name.display()),
                module: parts[0].clone(),
                depth: parts.len(),
                mapped: text.starts_with("//! "),
                code,
            },
        ));
    }
    assert!(found.len() > 80, "only {} sources", found.len());
    found.retain(|(folder, _)| !tests.iter().any(|test| folder.starts_with(test)));
    found.into_iter().map(|(_, source)| source).collect()
}

/// Comments and the insides of literals become spaces; line breaks stay.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            // Only where it begins a literal: `for r in` and `expr"` are names.
            if out.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                0
            } else {
                length
            }
        } else if c == '"' {
            string(rest)
        } else if c == '\'' {
            character(rest)
        } else {
            0
        };
        let (gone, kept) = rest.split_at(skipped);
        out.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = kept;
        if skipped == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Length of a raw string at the start of `text`.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let body_starts = text.len() - body.len();
    Some(
        body.find(&end)
            .map_or(text.len(), |at| body_starts + at + end.len()),
    )
}

/// Length of a string at the start of `text`.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal at the start of `text`; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[2..].find('\'').map_or(0, |at| {
            // `'\''` has its quote escaped.
            if at == 0 { 4 } else { at + 3 }
        }),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// The code without `#[cfg(test)]` items, and the names of test modules that are files.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut out = String::with_capacity(code.len());
    let mut modules = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = item_end(item);
        let declared = item[..end]
            .split("mod ")
            .nth(1)
            .and_then(|m| m.trim_end().strip_suffix(';'));
        modules.extend(declared.map(|name| name.trim().to_owned()));
        rest = &item[end..];
    }
    out.push_str(rest);
    (out, modules)
}

/// Where the item at the start of `code` ends: after its `;`, or after its braces.
fn item_end(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    code.len()
}

/// Top-level modules that a file names, by `crate::` or by climbing to the root.
fn imports(source: &Source) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut starts: Vec<&str> = source.code.split("crate::").skip(1).collect();
    let climb = "super::".repeat(source.depth);
    starts.extend(
        source
            .code
            .split(&climb)
            .skip(1)
            .filter(|after| !after.starts_with("super::")),
    );
    for after in starts {
        match after.strip_prefix('{') {
            Some(group) => found.extend(heads(group)),
            None => found.extend(Some(head(after)).filter(|h| !h.is_empty())),
        }
    }
    // `crate::Result` and the like would be items of the root, which has none.
    found.remove("self");
    found
}

/// The first name of each path in a `{...}` group whose `{` is gone.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut names = Vec::new();
    let mut begins = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if c.is_whitespace() => {}
            _ if begins => {
                names.push(head(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn head(path: &str) -> String {
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// True where `needle` stands in `code` as a word of its own.
fn names(code: &str, needle: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let begins_a_word = needle.starts_with(|c: char| c.is_alphanumeric());
    let ends_a_word = needle.ends_with(|c: char| c.is_alphanumeric());
    code.match_indices(needle).any(|(at, _)| {
        let goes_back = begins_a_word && word(code[..at].chars().next_back());
        let goes_on = ends_a_word && word(code[at + needle.len()..].chars().next());
        !goes_back && !goes_on
    })
}

/// The scanner must see what it looks for, and nothing that only looks like it.
mod scanner {
    use super::*;

    fn of(module: &str, depth: usize, text: &str) -> Source {
        let (code, _) = without_tests(&plain(text));
        Source {
            name: "x.rs".to_owned(),
            module: module.to_owned(),
            depth,
            mapped: true,
            code,
        }
    }

    #[test]
    fn imports_are_seen_in_every_form() {
        for (name, text, want) in [
            ("a path", "use crate::net::Host;", vec!["net"]),
            (
                "a path in code",
                "let x = crate::policy::decide(1);",
                vec!["policy"],
            ),
            (
                "a group",
                "use crate::{\n net::{Host, Port},\n tls,\n};",
                vec!["net", "tls"],
            ),
            (
                "from the root by climbing",
                "use super::super::llm::Model;",
                vec!["llm"],
            ),
            ("a sibling is none", "use super::route::Route;", vec![]),
            (
                "in a comment",
                "// use crate::app;\n/* crate::cli */",
                vec![],
            ),
            (
                "in words",
                "let x = \"crate::app\"; let y = r#\"crate::\"cli\"#;",
                vec![],
            ),
            (
                "after a quote character",
                "let q = '\"'; use crate::net::Host;",
                vec!["net"],
            ),
            (
                "after an escaped quote",
                "let q = '\\''; use crate::net::Host; let r = '\\'';",
                vec!["net"],
            ),
            (
                "after a lifetime",
                "fn f<'a>(x: &'a str) { crate::net::f(x) }",
                vec!["net"],
            ),
            (
                "in a test module",
                "#[cfg(test)]\nmod tests { use crate::app::App; }",
                vec![],
            ),
            (
                "after a test item",
                "#[cfg(test)]\nuse crate::app::App;\nuse crate::net::Host;",
                vec!["net"],
            ),
        ] {
            let got: Vec<_> = imports(&of("gateway", 2, text)).into_iter().collect();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn words_are_whole() {
        for (code, needle, want) in [
            ("use tokio::net;", "tokio", true),
            ("my_tokio::net", "tokio", false),
            ("tokio_util::sync", "tokio", false),
            ("x.await?", ".await", true),
            ("unsafe { }", "unsafe", true),
            ("unsafe_code", "unsafe", false),
            ("net::TcpStream::connect(a)", "TcpStream::connect", true),
        ] {
            assert_eq!(names(code, needle), want, "{needle} in {code}");
        }
    }

    #[test]
    fn files_of_tests_are_told_from_the_rest() {
        let (code, modules) = without_tests("mod a;\n#[cfg(test)]\nmod tests;\nfn f() {}\n");
        assert_eq!(modules, ["tests"]);
        assert!(code.contains("mod a;") && code.contains("fn f()") && !code.contains("tests"));
    }
}
