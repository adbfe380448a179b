//! `IdnaTestV2.txt`: what a U-label is in A-labels. Ours is that, or a refusal.
//!
//! Flags that are off here: CheckHyphens is relaxed to both ends of a label (CDN names hold `--` at 3
//! and 4), and one trailing dot is dropped before VerifyDnsLength. Everything else is on.

use airlock::net::Host;

use super::{readings::reading, vendor};

pub struct Case {
    pub source: String,
    unicode: String,
    ascii: String,
    /// Status codes of toASCII, non-transitional.
    errors: Vec<String>,
}

pub fn cases() -> Vec<Case> {
    vendor("idna/IdnaTestV2.txt")
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .filter(|line| !line.trim().is_empty())
        .filter_map(case)
        .collect()
}

/// `None` for a source that is no text (an unpaired surrogate): it cannot reach a parser of ours.
fn case(line: &str) -> Option<Case> {
    let columns: Vec<&str> = line
        .split(';')
        .map(|c| c.trim_matches([' ', '\t']))
        .collect();
    let [source, unicode, unicode_status, ascii, ascii_status, ..] = columns[..] else {
        panic!("columns of {line:?}");
    };
    let source = unescaped(source)?;
    let or = |column: &str, blank: &str| match column {
        "" => Some(blank.to_owned()),
        column => unescaped(column),
    };
    let unicode = or(unicode, &source)?;
    let ascii = or(ascii, &unicode)?;
    let status = if ascii_status.is_empty() {
        unicode_status
    } else {
        ascii_status
    };
    let errors = status
        .trim_matches(['[', ']'])
        .split(',')
        .map(|code| code.trim().to_owned())
        .filter(|code| !code.is_empty())
        .collect();
    Some(Case {
        source,
        unicode,
        ascii,
        errors,
    })
}

/// `\uXXXX` and `\x{XXXX}`; `""` is the empty string.
fn unescaped(column: &str) -> Option<String> {
    if column == "\"\"" {
        return Some(String::new());
    }
    let mut out = String::new();
    let mut rest = column;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (digits, tail) = match after.strip_prefix("x{") {
            Some(braced) => braced.split_once('}').expect("a closing brace"),
            None => after.strip_prefix('u').expect("\\u").split_at(4),
        };
        let code = u32::from_str_radix(digits, 16).expect("hex digits");
        out.push(char::from_u32(code)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

/// Unicode 17 gives out a part of plane 3, and the tables of our library take all of it as ideographs.
/// One name in any reading: it differs only in that UTS #46 version 16 had refused it.
fn newer_than_the_vectors(case: &Case) -> bool {
    let new = |c: char| ('\u{323b0}'..='\u{3fffd}').contains(&c);
    case.errors.contains(&"V7".to_owned()) && case.unicode.contains(new)
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[test]
fn a_name_is_what_uts_46_makes_of_it_or_refused() {
    let (mut taken, mut valid, mut relaxed, mut wrong) = (0, 0, 0, Vec::new());
    let cases = cases();
    for case in &cases {
        let ok = case.errors.is_empty();
        valid += usize::from(ok);
        let Some(host) = reading(&case.source) else {
            continue;
        };
        assert_eq!(
            host.to_string(),
            without_dot(&case.ascii),
            "{:?}",
            case.source
        );
        let off = |code: &String| ["V2", "A4_1", "A4_2"].contains(&code.as_str());
        if !case.errors.iter().all(off) && !newer_than_the_vectors(case) {
            wrong.push(format!(
                "{:?} as {host} against {:?}",
                case.source, case.errors
            ));
        }
        taken += 1;
        relaxed += usize::from(!ok);
    }
    assert!(wrong.is_empty(), "taken:\n{}", wrong.join("\n"));
    assert_eq!((cases.len(), valid, taken, relaxed), (6387, 546, 417, 62));
}

#[test]
fn the_two_spellings_of_a_name_are_one_name() {
    let mut both = 0;
    for case in cases().iter().filter(|case| case.errors.is_empty()) {
        let (a, u) = (reading(&case.ascii), reading(&case.unicode));
        if let (Some(a), Some(u)) = (&a, &u) {
            assert_eq!(a, u, "{:?} and {:?}", case.ascii, case.unicode);
            both += usize::from(case.ascii != case.unicode);
        }
    }
    assert_eq!(both, 534);
}

#[test]
fn what_is_taken_is_taken_in_canonical_spelling_too() {
    for case in cases() {
        if let Some(host) = reading(&case.source) {
            assert_eq!(Host::parse(&host.to_string()), Ok(host));
        }
    }
}
