//! What secrets look like: a prefix of the maker's and a run of token characters, and four shapes
//! of their own. Hand-written, because a match must know that it needs more bytes.

use super::Kind;

/// A token that is longer than this is refused in redact mode instead of masked.
pub const MAX_TOKEN: usize = 4 << 10;
/// Bytes before a token that [`is_start`] looks at.
pub(super) const HISTORY: usize = 6;

/// What one position of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    /// It may begin here; the end of the text is too near to tell.
    More,
    Secret {
        kind: Kind,
        start: usize,
        end: usize,
        /// False where its end was not found.
        whole: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Charset {
    /// Letters and digits.
    Alnum,
    /// And `_`, `-`.
    Word,
    /// Digits and upper-case letters.
    Upper,
}

impl Charset {
    fn holds(self, b: u8) -> bool {
        match self {
            Charset::Alnum => b.is_ascii_alphanumeric(),
            Charset::Word => b.is_ascii_alphanumeric() || b == b'_' || b == b'-',
            Charset::Upper => b.is_ascii_digit() || b.is_ascii_uppercase(),
        }
    }
}

/// How many characters follow the prefix.
#[derive(Clone, Copy, Debug)]
enum Length {
    AtLeast(usize),
    Exactly(usize),
}

type Prefixed = (Kind, &'static [u8], Charset, Length);

/// The longer of two prefixes that begin alike stands first.
const PREFIXED: &[Prefixed] = &[
    (
        Kind::Anthropic,
        b"sk-ant-",
        Charset::Word,
        Length::AtLeast(20),
    ),
    (
        Kind::OpenRouter,
        b"sk-or-v1-",
        Charset::Alnum,
        Length::AtLeast(32),
    ),
    (
        Kind::OpenAi,
        b"sk-proj-",
        Charset::Word,
        Length::AtLeast(20),
    ),
    (
        Kind::OpenAi,
        b"sk-svcacct-",
        Charset::Word,
        Length::AtLeast(20),
    ),
    (
        Kind::OpenAi,
        b"sk-admin-",
        Charset::Word,
        Length::AtLeast(20),
    ),
    (Kind::OpenAi, b"sk-", Charset::Alnum, Length::AtLeast(20)),
    (
        Kind::Stripe,
        b"sk_live_",
        Charset::Alnum,
        Length::AtLeast(16),
    ),
    (
        Kind::Stripe,
        b"sk_test_",
        Charset::Alnum,
        Length::AtLeast(16),
    ),
    (
        Kind::Stripe,
        b"rk_live_",
        Charset::Alnum,
        Length::AtLeast(16),
    ),
    (
        Kind::Stripe,
        b"rk_test_",
        Charset::Alnum,
        Length::AtLeast(16),
    ),
    (Kind::Stripe, b"whsec_", Charset::Alnum, Length::AtLeast(24)),
    (
        Kind::HuggingFace,
        b"hf_",
        Charset::Alnum,
        Length::AtLeast(30),
    ),
    (
        Kind::HuggingFace,
        b"api_org_",
        Charset::Alnum,
        Length::AtLeast(30),
    ),
    (Kind::GitHub, b"ghp_", Charset::Alnum, Length::AtLeast(30)),
    (Kind::GitHub, b"gho_", Charset::Alnum, Length::AtLeast(30)),
    (Kind::GitHub, b"ghu_", Charset::Alnum, Length::AtLeast(30)),
    (Kind::GitHub, b"ghs_", Charset::Alnum, Length::AtLeast(30)),
    (Kind::GitHub, b"ghr_", Charset::Alnum, Length::AtLeast(30)),
    (
        Kind::GitHub,
        b"github_pat_",
        Charset::Word,
        Length::AtLeast(36),
    ),
    (Kind::GitLab, b"glpat-", Charset::Word, Length::AtLeast(20)),
    (Kind::Groq, b"gsk_", Charset::Alnum, Length::AtLeast(40)),
    (Kind::Xai, b"xai-", Charset::Alnum, Length::AtLeast(60)),
    (Kind::Replicate, b"r8_", Charset::Alnum, Length::AtLeast(36)),
    (Kind::Npm, b"npm_", Charset::Alnum, Length::Exactly(36)),
    (Kind::PyPi, b"pypi-Ag", Charset::Word, Length::AtLeast(48)),
    (Kind::Aws, b"AKIA", Charset::Upper, Length::Exactly(16)),
    (Kind::Aws, b"ASIA", Charset::Upper, Length::Exactly(16)),
    (Kind::Google, b"AIza", Charset::Word, Length::Exactly(35)),
    (Kind::Google, b"GOCSPX-", Charset::Word, Length::Exactly(28)),
    (Kind::Google, b"ya29.", Charset::Word, Length::AtLeast(20)),
    (Kind::Slack, b"xoxb-", Charset::Word, Length::AtLeast(20)),
    (Kind::Slack, b"xoxp-", Charset::Word, Length::AtLeast(20)),
    (Kind::Slack, b"xoxa-", Charset::Word, Length::AtLeast(20)),
    (Kind::Slack, b"xoxr-", Charset::Word, Length::AtLeast(20)),
    (Kind::Slack, b"xoxs-", Charset::Word, Length::AtLeast(20)),
    (Kind::Slack, b"xapp-", Charset::Word, Length::AtLeast(20)),
];

/// A bare token that only a word before it gives away: kind, word, token length, its characters.
type Named = (Kind, &'static [u8], usize, fn(u8) -> bool);

const NAMED: &[Named] = &[
    (Kind::Civitai, b"civitai", 32, |b| b.is_ascii_hexdigit()),
    (Kind::Aws, b"aws_secret_access_key", 40, |b| {
        b.is_ascii_alphanumeric() || b == b'/' || b == b'+'
    }),
];
/// How far behind its word a bare token may begin.
const NEAR: usize = 40;

const PEM: &[u8] = b"-----BEGIN ";
const JWT: &[u8] = b"eyJ";
/// Shortest header, and shortest part of the payload, that are taken for a token.
const JWT_PART: usize = 10;

/// Bytes that a secret can begin with.
pub(super) fn first_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let prefixes = PREFIXED.iter().map(|(_, prefix, _, _)| *prefix);
    let words = NAMED.iter().map(|(_, word, _, _)| *word);
    for start in prefixes.chain(words).chain([PEM, JWT]) {
        if let Some(b) = start.first() {
            for b in [b.to_ascii_lowercase(), b.to_ascii_uppercase()] {
                table[usize::from(b)] = true;
            }
        }
    }
    table
}

/// True where a token may begin: not in the middle of a word. An escape is the end of a word, as in
/// `\nsk-...` of a JSON text or `%3Dsk-...` of a form.
pub(super) fn is_start(text: &[u8], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|i| text.get(i)).copied();
    let Some(last) = before(1) else { return true };
    if !last.is_ascii_alphanumeric() {
        return true;
    }
    (before(2) == Some(b'\\') && b"nrtbf".contains(&last))
        || before(3) == Some(b'%')
        || (before(6) == Some(b'\\') && before(5) == Some(b'u'))
}

/// Judges the position `at`, where [`is_start`] holds. `complete`: nothing follows the text.
pub(super) fn at(text: &[u8], at: usize, complete: bool) -> Verdict {
    let mut more = false;
    let shapes = [prefixed, named, pem, jwt];
    for shape in shapes {
        match shape(text, at) {
            Verdict::Nothing => {}
            Verdict::More => more = true,
            secret @ Verdict::Secret { .. } => {
                return match secret {
                    // Its end may be further on.
                    Verdict::Secret {
                        whole: false,
                        start,
                        end,
                        ..
                    } if !complete && end - start < MAX_TOKEN => Verdict::More,
                    Verdict::Secret {
                        kind,
                        start,
                        end,
                        whole,
                    } => Verdict::Secret {
                        kind,
                        start,
                        end,
                        whole: whole || (complete && end - start < MAX_TOKEN),
                    },
                    other => other,
                };
            }
        }
    }
    if more && !complete {
        Verdict::More
    } else {
        Verdict::Nothing
    }
}

/// Whether `rest` begins with `word`; `None` where it ends within it.
fn begins(rest: &[u8], word: &[u8]) -> Option<bool> {
    match rest.get(..word.len()) {
        Some(head) => Some(head == word),
        None if word.starts_with(rest) => None,
        None => Some(false),
    }
}

/// Characters of a run, at most [`MAX_TOKEN`]; and whether it ended before the text or the bound.
fn run(rest: &[u8], holds: impl Fn(u8) -> bool) -> (usize, bool) {
    let bounded = rest.get(..MAX_TOKEN).unwrap_or(rest);
    match bounded.iter().position(|b| !holds(*b)) {
        Some(length) => (length, true),
        None => (bounded.len(), false),
    }
}

fn prefixed(text: &[u8], at: usize) -> Verdict {
    let rest = text.get(at..).unwrap_or_default();
    let mut more = false;
    for (kind, prefix, charset, length) in PREFIXED {
        match begins(rest, prefix) {
            Some(false) => continue,
            None => {
                more = true;
                continue;
            }
            Some(true) => {}
        }
        let body = rest.get(prefix.len()..).unwrap_or_default();
        let (found, ended) = run(body, |b| charset.holds(b));
        let enough = match length {
            Length::AtLeast(n) => found >= *n,
            Length::Exactly(n) => found == *n,
        };
        let too_many = matches!(length, Length::Exactly(n) if found > *n);
        if !enough {
            more |= !ended && !too_many;
            continue;
        }
        let token = body.get(..found).unwrap_or_default();
        // `sk-` alone begins many a word that is no key.
        let plausible =
            token.iter().any(u8::is_ascii_digit) && token.iter().any(u8::is_ascii_alphabetic);
        if !plausible {
            more |= !ended;
            continue;
        }
        if *kind == Kind::Aws && is_signature_scope(text, at) {
            continue;
        }
        return Verdict::Secret {
            kind: *kind,
            start: at,
            end: at + prefix.len() + found,
            whole: ended,
        };
    }
    if more {
        Verdict::More
    } else {
        Verdict::Nothing
    }
}

/// `X-Amz-Credential=AKIA...` of a signed link names its maker's key and shows no secret.
fn is_signature_scope(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.ends_with(b"ntial=")
}

fn named(text: &[u8], at: usize) -> Verdict {
    let rest = text.get(at..).unwrap_or_default();
    for (kind, word, length, holds) in NAMED {
        let head = rest.get(..word.len()).unwrap_or(rest);
        let same = head.eq_ignore_ascii_case(word.get(..head.len()).unwrap_or_default());
        if !same {
            continue;
        }
        // Where the text ends within the word, nothing stands behind it: more is wanted.
        let mut from = word.len();
        while from < word.len() + NEAR {
            let Some(tail) = rest.get(from..).filter(|t| !t.is_empty()) else {
                return Verdict::More;
            };
            let (found, ended) = run(tail, |b| b.is_ascii_alphanumeric() || holds(b));
            let token = tail.get(..found).unwrap_or_default();
            if found == *length && token.iter().all(|b| holds(*b)) {
                return Verdict::Secret {
                    kind: *kind,
                    start: at + from,
                    end: at + from + found,
                    whole: ended,
                };
            }
            if !ended && found < *length {
                return Verdict::More;
            }
            from += found + 1;
        }
    }
    Verdict::Nothing
}

/// `-----BEGIN RSA PRIVATE KEY-----` and its sisters; the key behind it is never looked at.
fn pem(text: &[u8], at: usize) -> Verdict {
    let rest = text.get(at..).unwrap_or_default();
    match begins(rest, PEM) {
        Some(false) => return Verdict::Nothing,
        None => return Verdict::More,
        Some(true) => {}
    }
    const LONGEST: usize = 40;
    let label = rest.get(PEM.len()..).unwrap_or_default();
    let label = label.get(..LONGEST).unwrap_or(label);
    let (found, ended) = run(label, |b| b == b' ' || Charset::Upper.holds(b));
    let words = label.get(..found).unwrap_or_default();
    if memchr::memmem::find(words, b"PRIVATE KEY").is_some() {
        return Verdict::Secret {
            kind: Kind::PrivateKey,
            start: at,
            // Only where it begins is known.
            end: text.len(),
            whole: false,
        };
    }
    if ended || label.len() == LONGEST {
        Verdict::Nothing
    } else {
        Verdict::More
    }
}

/// `eyJ...` `.` `eyJ...`: header and payload are both base64url of a JSON object.
fn jwt(text: &[u8], at: usize) -> Verdict {
    let rest = text.get(at..).unwrap_or_default();
    match begins(rest, JWT) {
        Some(false) => return Verdict::Nothing,
        None => return Verdict::More,
        Some(true) => {}
    }
    let (header, ended) = run(rest, |b| Charset::Word.holds(b));
    if !ended {
        return if header < MAX_TOKEN {
            Verdict::More
        } else {
            Verdict::Nothing
        };
    }
    if header < JWT_PART || rest.get(header) != Some(&b'.') {
        return Verdict::Nothing;
    }
    let payload = rest.get(header + 1..).unwrap_or_default();
    match begins(payload, JWT) {
        Some(false) => return Verdict::Nothing,
        None => return Verdict::More,
        Some(true) => {}
    }
    let (found, ended) = run(rest, |b| Charset::Word.holds(b) || b == b'.');
    if found < header + 1 + JWT_PART {
        return if ended {
            Verdict::Nothing
        } else {
            Verdict::More
        };
    }
    Verdict::Secret {
        kind: Kind::Jwt,
        start: at,
        end: at + found,
        whole: ended,
    }
}
