//! Rules as text: a configuration file, each rule under a comment that says what was seen.

use std::fmt::Write;

use super::{
    propose::{Learned, LearnedRule},
    tally::{Seen, second},
};

/// Clients that a comment names; the rest are counted.
const NAMED_CLIENTS: usize = 5;

const HEAD: &str = "\
# Rules that `airlock learn` made from an audit log. Read them before you use them: they allow what
# was seen, and cannot tell whether it was wanted. Copy the rules you want into your configuration,
# then `airlock check --config FILE`.
";
const NONE: &str = "\
# No rule to propose: nothing in the log would have been refused for want of a rule.
rules: []
";
const ALL_WARNED: &str = "\
# Every rule has a warning and stands behind '#'. To use one: write `rules:` in place of `rules: []`
# and take the '#' from its lines.
rules: []
";

pub(super) fn render(learned: &Learned) -> String {
    let (live, warned): (Vec<_>, Vec<_>) = learned.rules.iter().partition(|r| r.live);
    let mut out = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "#\n# {} records read.", learned.records);
    for skipped in &learned.skipped {
        let _ = writeln!(out, "# {}: {}.", skipped.records, skipped.words);
    }
    out.push_str("version: 1\n\n");
    match (live.is_empty(), warned.is_empty()) {
        (true, true) => out.push_str(NONE),
        (true, false) => out.push_str(ALL_WARNED),
        (false, _) => out.push_str("rules:\n"),
    }
    for rule in live {
        comments(rule, &mut out);
        fields(rule, "  ", &mut out);
        out.push('\n');
    }
    for rule in warned {
        comments(rule, &mut out);
        fields(rule, "  # ", &mut out);
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn comments(rule: &LearnedRule, out: &mut String) {
    for warning in &rule.warnings {
        let _ = writeln!(out, "  # WARNING: {warning}");
    }
    let seen = &rule.seen;
    let entries: Vec<_> = seen.entries.iter().map(|e| e.as_str()).collect();
    let _ = writeln!(
        out,
        "  # {} by {} ({}); {} sent, {} received",
        times(seen.count),
        clients(seen),
        entries.join(", "),
        size(seen.bytes_sent),
        size(seen.bytes_received),
    );
    let _ = writeln!(
        out,
        "  # first {}, last {}",
        second(seen.first),
        second(seen.last)
    );
    for note in &rule.notes {
        let _ = writeln!(out, "  # {note}");
    }
}

/// Each line behind `lead`, which is two columns wide, or those and a comment sign.
fn fields(rule: &LearnedRule, lead: &str, out: &mut String) {
    let _ = writeln!(out, "{lead}- name: {}", rule.name);
    let mut list = |key: &str, items: Vec<String>| {
        if !items.is_empty() {
            let _ = writeln!(out, "{lead}  {key}: [{}]", items.join(", "));
        }
    };
    list("hosts", rule.hosts.iter().map(|h| host(h)).collect());
    list("ips", rule.ips.iter().map(|ip| quoted(ip)).collect());
    list("ports", rule.ports.iter().map(u16::to_string).collect());
    list("methods", rule.methods.iter().map(|m| method(m)).collect());
    list("paths", rule.paths.iter().map(|p| quoted(p)).collect());
    if rule.upgrade {
        let _ = writeln!(out, "{lead}  upgrade: true");
    }
    let _ = writeln!(out, "{lead}  action: {}", rule.action);
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    }
}

/// `127.0.0.1`, or with counts where there are several, the busiest first.
fn clients(seen: &Seen) -> String {
    let mut all: Vec<_> = seen.clients.iter().collect();
    if let ([(only, _)], 0) = (all.as_slice(), seen.other_clients) {
        return only.to_string();
    }
    all.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    let named = all.iter().take(NAMED_CLIENTS);
    let mut parts: Vec<String> = named.map(|(ip, n)| format!("{ip} ({n})")).collect();
    let rest: u64 = all.iter().skip(NAMED_CLIENTS).map(|(_, n)| **n).sum();
    if rest + seen.other_clients > 0 {
        parts.push(format!("others ({})", rest + seen.other_clients));
    }
    parts.join(", ")
}

/// Bytes as a person reads them; one decimal from a KiB on.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "";
    for next in UNITS {
        tenths /= 1024;
        unit = next;
        if tenths < 10_240 {
            break;
        }
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Names are plain YAML unless they could be read as something else (`no`, `1.5`).
fn host(name: &str) -> String {
    let plain = name.contains('.') && name.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain { name.to_owned() } else { quoted(name) }
}

fn method(name: &str) -> String {
    const PLAIN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if PLAIN.contains(&name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Double-quoted YAML. Canonical paths hold neither quotes, backslashes nor control characters.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_clients_are_named_and_the_rest_are_counted() {
        let of = |named: u8, others: u64| {
            let mut seen = Seen {
                other_clients: others,
                ..Seen::default()
            };
            for n in 1..=named {
                seen.clients.insert([10, 0, 0, n].into(), u64::from(n));
            }
            clients(&seen)
        };
        let five = "10.0.0.7 (7), 10.0.0.6 (6), 10.0.0.5 (5), 10.0.0.4 (4), 10.0.0.3 (3)";
        assert_eq!(of(1, 0), "10.0.0.1");
        assert_eq!(of(1, 4), "10.0.0.1 (1), others (4)");
        assert_eq!(of(2, 0), "10.0.0.2 (2), 10.0.0.1 (1)");
        assert_eq!(of(7, 0), format!("{five}, others (3)"));
        assert_eq!(of(7, 4), format!("{five}, others (7)"));
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 20, "5.0 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }
}
