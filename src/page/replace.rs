//! Addresses of the vendor in a stream of bytes, replaced by a path of our own origin.
//!
//! An address is `http` or `https`, `://` (or `:\/\/`, as JSON writes it), one of the hosts, and the
//! scheme's own port if any; case means nothing. It is replaced where the name ends there:
//! `vendor.test.evil.test` is another host. Spelled in any other way (escaped, put together from
//! parts) it is left alone, and the browser refuses what the page then tries (see [`super::policy`]).
//!
//! Whatever the chunks, the output is that of the whole: a chunk's end is held back as far as an
//! address could begin in it.

use std::sync::Arc;

use memchr::memmem;

const PLAIN: &[u8] = b"://";
const ESCAPED: &[u8] = br":\/\/";
/// What stands before the anchor at most: `https`.
const LONGEST_SCHEME: usize = 5;

/// What is replaced, and by what. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replacements(Arc<Table>);

#[derive(Debug)]
struct Table {
    hosts: Vec<Box<[u8]>>,
    /// An absolute path, as `/airlock/copilot`.
    path: Box<[u8]>,
    /// The same with its slashes escaped.
    escaped: Box<[u8]>,
    /// Bytes from the anchor on that decide about an address: the longest host, its port, and one
    /// more that shows where the name ends.
    ahead: usize,
    plain_anchor: memmem::Finder<'static>,
    escaped_anchor: memmem::Finder<'static>,
}

impl Replacements {
    /// `hosts`: names without scheme or port. `path`: absolute, without a slash at its end.
    pub fn new<'h>(hosts: impl IntoIterator<Item = &'h str>, path: &str) -> Self {
        let hosts: Vec<Box<[u8]>> = hosts
            .into_iter()
            .filter(|h| !h.is_empty())
            .map(|h| h.as_bytes().into())
            .collect();
        let longest = hosts.iter().map(|h| h.len()).max().unwrap_or_default();
        Self(Arc::new(Table {
            hosts,
            path: path.as_bytes().into(),
            escaped: path.replace('/', "\\/").into_bytes().into(),
            ahead: ESCAPED.len() + longest + ":443".len() + 1,
            plain_anchor: memmem::Finder::new(PLAIN),
            escaped_anchor: memmem::Finder::new(ESCAPED),
        }))
    }

    pub fn is_empty(&self) -> bool {
        self.0.hosts.is_empty()
    }

    /// A whole body at once.
    pub fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut replacer = Replacer::new(self.clone());
        replacer.push(bytes, &mut out);
        replacer.finish(&mut out);
        out
    }
}

impl Table {
    /// The first anchor at or behind `from`: where it begins, and its form.
    fn anchor(&self, bytes: &[u8], from: usize) -> Option<(usize, Form)> {
        let rest = bytes.get(from..)?;
        let plain = self.plain_anchor.find(rest);
        // A nearer one of the other form is before the plain one, or there is none.
        let before = plain.map_or(rest, |at| rest.get(..at).unwrap_or(rest));
        match (self.escaped_anchor.find(before), plain) {
            (Some(at), _) => Some((from + at, Form::Escaped)),
            (None, Some(at)) => Some((from + at, Form::Plain)),
            (None, None) => None,
        }
    }

    /// The address around the anchor at `at`: where it begins and ends in `bytes`.
    fn address(&self, bytes: &[u8], at: usize, form: Form) -> Option<(usize, usize)> {
        let before = bytes.get(..at)?;
        let (scheme, port): (&[u8], &[u8]) = if ends_with(before, b"https") {
            (b"https", b":443")
        } else if ends_with(before, b"http") {
            (b"http", b":80")
        } else {
            return None;
        };
        let after = bytes.get(at + form.anchor().len()..)?;
        let host = self.hosts.iter().find(|host| {
            let name = after.get(..host.len());
            name.is_some_and(|name| name.eq_ignore_ascii_case(host))
                && after
                    .get(host.len()..)
                    .is_some_and(|rest| ends_here(rest, port))
        })?;
        let rest = after.get(host.len()..)?;
        let port = if rest.starts_with(port) {
            port.len()
        } else {
            0
        };
        let end = at + form.anchor().len() + host.len() + port;
        Some((at - scheme.len(), end))
    }
}

/// True where a name, or a name and the scheme's own port, ends before `rest`.
fn ends_here(rest: &[u8], port: &[u8]) -> bool {
    let rest = rest.strip_prefix(port).unwrap_or(rest);
    !rest.first().is_some_and(|b| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'@' | b'%')
    })
}

fn ends_with(bytes: &[u8], word: &[u8]) -> bool {
    let from = bytes.len().checked_sub(word.len());
    from.and_then(|from| bytes.get(from..))
        .is_some_and(|end| end.eq_ignore_ascii_case(word))
}

/// How the two slashes are written.
#[derive(Clone, Copy, Debug)]
enum Form {
    Plain,
    Escaped,
}

impl Form {
    fn anchor(self) -> &'static [u8] {
        match self {
            Form::Plain => PLAIN,
            Form::Escaped => ESCAPED,
        }
    }
}

/// One body on its way through.
#[derive(Debug)]
pub struct Replacer {
    replacements: Replacements,
    /// The end of what came, too short to be judged.
    held: Vec<u8>,
    replaced: usize,
}

impl Replacer {
    pub fn new(replacements: Replacements) -> Self {
        Self {
            replacements,
            held: Vec::new(),
            replaced: 0,
        }
    }

    /// How many addresses were replaced so far.
    pub fn replaced(&self) -> usize {
        self.replaced
    }

    /// Appends to `out` what is decided; the rest is held until more comes.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.held.is_empty() {
            let held = self.run(chunk, false, out);
            self.held
                .extend_from_slice(chunk.get(held..).unwrap_or_default());
            return;
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        let held = self.run(&bytes, false, out);
        bytes.drain(..held);
        self.held = bytes;
    }

    /// The body is over: what is held is decided.
    pub fn finish(mut self, out: &mut Vec<u8>) -> usize {
        let bytes = std::mem::take(&mut self.held);
        self.run(&bytes, true, out);
        self.replaced
    }

    /// Returns from where on `bytes` must be seen again, with what follows them.
    fn run(&mut self, bytes: &[u8], last: bool, out: &mut Vec<u8>) -> usize {
        let table = &self.replacements.0;
        let mut emitted = 0;
        let mut look_from = 0;
        let mut hold_from = bytes.len();
        while let Some((at, form)) = table.anchor(bytes, look_from) {
            if !last && bytes.len() - at < table.ahead {
                hold_from = at.saturating_sub(LONGEST_SCHEME);
                break;
            }
            look_from = at + 1;
            let found = table.address(bytes, at, form);
            if let Some((start, end)) = found.filter(|(start, _)| *start >= emitted) {
                out.extend_from_slice(bytes.get(emitted..start).unwrap_or_default());
                out.extend_from_slice(match form {
                    Form::Plain => &table.path,
                    Form::Escaped => &table.escaped,
                });
                self.replaced += 1;
                (emitted, look_from) = (end, end);
            }
        }
        if !last && hold_from == bytes.len() {
            // A scheme, and an anchor that is not whole yet.
            hold_from = bytes
                .len()
                .saturating_sub(LONGEST_SCHEME + ESCAPED.len() - 1);
        }
        let hold_from = hold_from.max(emitted);
        out.extend_from_slice(bytes.get(emitted..hold_from).unwrap_or_default());
        hold_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacements() -> Replacements {
        Replacements::new(
            ["vendor.test", "vendor-pre.test", "www.vendor.test"],
            "/airlock/copilot",
        )
    }

    fn rows() -> Vec<(&'static str, &'static str, &'static str)> {
        vec![
            ("nothing", "", ""),
            ("a text without an address", "a: b // c", "a: b // c"),
            (
                "a base address in a script",
                r#"x="https://vendor.test",y"#,
                r#"x="/airlock/copilot",y"#,
            ),
            (
                "the other host, and what stands behind it",
                "https://vendor-pre.test/api/chat?x=1#y",
                "/airlock/copilot/api/chat?x=1#y",
            ),
            (
                "plain http",
                "http://www.vendor.test/a",
                "/airlock/copilot/a",
            ),
            ("other case", "HTTPS://Vendor.TEST/a", "/airlock/copilot/a"),
            (
                "the scheme's own port",
                "https://vendor.test:443/a http://vendor.test:80",
                "/airlock/copilot/a /airlock/copilot",
            ),
            (
                "slashes as JSON escapes them",
                r#"{"u":"https:\/\/vendor.test\/v1"}"#,
                r#"{"u":"\/airlock\/copilot\/v1"}"#,
            ),
            (
                "behind an escaped line break of a string",
                r#""\nhttps://vendor.test""#,
                r#""\n/airlock/copilot""#,
            ),
            (
                "two in a row",
                "https://vendor.test,https://vendor.test",
                "/airlock/copilot,/airlock/copilot",
            ),
            (
                "both forms in turn",
                r#"https:\/\/vendor.test https://vendor.test https:\/\/vendor.test"#,
                r#"\/airlock\/copilot /airlock/copilot \/airlock\/copilot"#,
            ),
            (
                "a longer name stays",
                "https://vendor.test.evil.test/",
                "https://vendor.test.evil.test/",
            ),
            (
                "a name that begins alike stays",
                "https://vendor.tests/ https://vendor.test-a/",
                "https://vendor.tests/ https://vendor.test-a/",
            ),
            (
                "another port stays",
                "https://vendor.test:8443/ https://vendor.test:80/",
                "https://vendor.test:8443/ https://vendor.test:80/",
            ),
            (
                "a port that begins alike stays",
                "https://vendor.test:4430/",
                "https://vendor.test:4430/",
            ),
            (
                "a name before an @ is none",
                "https://vendor.test@evil.test/ https://vendor.test:443@evil.test/",
                "https://vendor.test@evil.test/ https://vendor.test:443@evil.test/",
            ),
            (
                "another scheme stays",
                "ftp://vendor.test/ ://vendor.test",
                "ftp://vendor.test/ ://vendor.test",
            ),
            (
                "an address that follows an anchor of another",
                "a://https://vendor.test/",
                "a:///airlock/copilot/",
            ),
            (
                "an unfinished address at the end",
                "https://vendor.tes",
                "https://vendor.tes",
            ),
            (
                "a name at the very end",
                "https://vendor.test",
                "/airlock/copilot",
            ),
        ]
    }

    #[test]
    fn addresses_become_a_path_of_our_own() {
        let replacements = replacements();
        for (name, input, want) in rows() {
            let got = replacements.apply(input.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), want, "{name}");
        }
    }

    #[test]
    fn wherever_a_body_is_cut_the_output_is_that_of_the_whole() {
        let replacements = replacements();
        let all: String = rows().iter().map(|(_, input, _)| *input).collect();
        let inputs = rows().into_iter().map(|(_, input, _)| input.to_owned());
        for input in inputs.chain([all]) {
            let input = input.as_bytes();
            let whole = replacements.apply(input);
            for size in 1..=input.len().clamp(1, 40) {
                let mut replacer = Replacer::new(replacements.clone());
                let mut out = Vec::new();
                input.chunks(size).for_each(|c| replacer.push(c, &mut out));
                replacer.finish(&mut out);
                assert_eq!(out, whole, "in pieces of {size}");
            }
            for cut in 0..=input.len() {
                let (a, b) = input.split_at(cut);
                let mut replacer = Replacer::new(replacements.clone());
                let mut out = Vec::new();
                replacer.push(a, &mut out);
                replacer.push(b, &mut out);
                replacer.finish(&mut out);
                assert_eq!(out, whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_held_back_is_no_longer_than_an_address() {
        let replacements = replacements();
        let mut replacer = Replacer::new(replacements.clone());
        let mut out = Vec::new();
        for _ in 0..10_000 {
            replacer.push(b"https://", &mut out);
            assert!(replacer.held.len() <= LONGEST_SCHEME + replacements.0.ahead);
        }
        assert_eq!(replacer.finish(&mut out), 0);
        assert_eq!(out.len(), 80_000);
    }
}
