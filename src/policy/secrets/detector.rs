//! The patterns and the user's own strings, ready to be searched for.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use zeroize::Zeroizing;

use super::{
    super::Terms,
    Kind, SecretMode,
    pattern::{self, Verdict},
};

/// Bytes of a string of the user's own: shorter ones are found everywhere, longer ones nowhere.
pub const OWN_LENGTH: std::ops::RangeInclusive<usize> = 6..=256;

/// Immutable; part of the compiled policy, so that a reload replaces it too.
pub struct Detector {
    mode: SecretMode,
    /// The user's strings, in each way that they are written in a request. Longest first.
    own: Vec<Zeroizing<Vec<u8>>>,
    first: [bool; 256],
    own_first: [bool; 256],
}

/// Never shows the user's strings.
impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Default for Detector {
    fn default() -> Self {
        Self::new(SecretMode::default(), std::iter::empty())
    }
}

impl Detector {
    /// `own`: the user's strings; those outside [`OWN_LENGTH`] are not looked for.
    pub fn new<'a>(mode: SecretMode, own: impl Iterator<Item = &'a str>) -> Self {
        let mut written: Vec<_> = own
            .filter(|s| OWN_LENGTH.contains(&s.len()))
            .flat_map(ways_to_write)
            .collect();
        written.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        written.dedup();
        let mut own_first = [false; 256];
        for first in written.iter().filter_map(|s| s.first()) {
            own_first[usize::from(*first)] = true;
        }
        Self {
            mode,
            own: written,
            first: pattern::first_bytes(),
            own_first,
        }
    }

    /// What is done where a rule says nothing else.
    pub fn mode(&self) -> SecretMode {
        self.mode
    }

    /// What is done with a request that a rule of these terms allows.
    pub fn mode_under(&self, terms: Option<&Terms>) -> SecretMode {
        terms.and_then(|t| t.secrets).unwrap_or(self.mode)
    }

    /// Whether every string of the user's that `older` looks for is looked for here.
    pub(in crate::policy) fn knows_all_of(&self, older: &Self) -> bool {
        older.own.iter().all(|own| self.own.contains(own))
    }

    /// Whether a whole text holds anything that looks like a secret, wherever it is at home.
    pub(super) fn suspects(&self, text: &[u8]) -> bool {
        let secret = |at| matches!(self.at(text, at, true), Verdict::Secret { .. });
        (0..text.len()).any(secret)
    }

    /// Judges one position. `complete`: nothing follows the text.
    pub(super) fn at(&self, text: &[u8], at: usize, complete: bool) -> Verdict {
        let Some(first) = text.get(at).map(|b| usize::from(*b)) else {
            return Verdict::Nothing;
        };
        let mut more = false;
        if self.own_first[first] {
            let rest = text.get(at..).unwrap_or_default();
            for own in &self.own {
                if rest.starts_with(own) {
                    return Verdict::Secret {
                        kind: Kind::Own,
                        start: at,
                        end: at + own.len(),
                        whole: true,
                    };
                }
                more |= !complete && own.starts_with(rest);
            }
        }
        if self.first[first] && pattern::is_start(text, at) {
            match pattern::at(text, at, complete) {
                Verdict::Nothing => {}
                found @ (Verdict::More | Verdict::Secret { .. }) => return found,
            }
        }
        if more {
            Verdict::More
        } else {
            Verdict::Nothing
        }
    }
}

/// As it is; in a JSON text, with letters as they are and as `\u` escapes; in a URL or a form.
fn ways_to_write(own: &str) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    let quoted = Zeroizing::new(serde_json::to_string(own).unwrap_or_default());
    let json = quoted
        .strip_prefix('"')
        .and_then(|q| q.strip_suffix('"'))
        .unwrap_or(own)
        .to_owned();
    let mut ascii = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b) if b.is_ascii() => ascii.push(char::from(b)),
            _ => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    let encoded = ENCODED.into_iter().flat_map(|set| {
        let percent = percent_encoding::utf8_percent_encode(own, set).to_string();
        // In a form a blank is a plus.
        let form = percent.replace("%20", "+");
        [percent, form]
    });
    [own.to_owned(), json, ascii]
        .into_iter()
        .chain(encoded)
        .filter(|s| !s.is_empty())
        .map(|s| Zeroizing::new(s.into_bytes()))
        .collect::<Vec<_>>()
        .into_iter()
}

/// What encoders leave as it is, beside letters and digits: nothing; what RFC 3986 does not reserve, as
/// Python and Rust do; and what JavaScript and the forms of browsers do.
const ENCODED: [&AsciiSet; 4] = [
    NON_ALPHANUMERIC,
    &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~'),
    &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~')
        .remove(b'!')
        .remove(b'*')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')'),
    &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'*'),
];
