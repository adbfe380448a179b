//! docs/EGRESS.md: written from what a run produced.

use std::{fmt::Write, fs, path::Path};

use airlock::selftest::{Lane, Report, corpus};

/// Set to rewrite the page (`just egress-doc`).
const REWRITE: &str = "AIRLOCK_WRITE_DOCS";

const HEAD: &str = "\
# What an egress firewall must withstand

55 groups of attacks on an egress firewall, and what Airlock does with them, entry by entry. **This page
is generated from the corpus by `tests/it/corpus`**, which plays every case against the real binary;
the test fails if the page says anything else than the run. `just egress-doc` writes it anew.

The cases are data in `src/selftest/corpus`. [`airlock selftest`](SELFTEST.md) plays the same ones against
your own running instance, and `just matrix` sends the same bytes to other proxies ([MATRIX.md](MATRIX.md)).

Policy under test: `allowed.test:443` and `*.w.test:443` are relayed, `inside.test` and `read.test` are
intercepted and answered on this machine, one reverse route; private addresses are closed; everything
else is refused. A case counts as passed if

- the client is told: a typed refusal with the expected reason, or, where TLS is not up yet, the end of
  the connection; and nothing behind it;
- exactly one audit record says the same (besides that of the tunnel or request it came in by), and
  exactly one count;
- no upstream socket was opened and no DNS question asked, by the instance's own counters, and a
  listener that stands for the outside saw no connection.

A few cases of most groups are the other way round: what is allowed has to pass, or a lane that is
simply broken would look like a wall.
";

/// The page for this run must be the one that is committed.
pub fn compare(report: &Report) {
    let page = render(report);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/EGRESS.md");
    if std::env::var_os(REWRITE).is_some() {
        fs::write(&path, &page).expect("docs can be written");
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(committed.lines()).find(|(a, b)| a != b);
    assert!(
        page == committed,
        "docs/EGRESS.md is not what this run produced; `just egress-doc` writes it.\n{differs:?}"
    );
}

fn render(report: &Report) -> String {
    let mut out = HEAD.to_owned();
    let _ = write!(
        out,
        "\n**{} cases in {} groups: {} passed, {} escaped.** A number is how many cases of a group were \
         played in an entry, all of them as expected; a number with a cross says how many were not.\n",
        report.cases,
        report.groups,
        report.cases - report.failed.len(),
        report.escapes,
    );
    out.push_str("\n| entry | cases | escapes | what is sent |\n|---|---:|---:|---|\n");
    for lane in Lane::ALL {
        let tally = report
            .entries
            .get(lane.as_str())
            .copied()
            .unwrap_or_default();
        let (name, what) = words(lane);
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {what} |",
            tally.cases, tally.escapes
        );
    }
    let mut section = "";
    for group in &corpus::GROUPS {
        if group.section != section {
            section = group.section;
            let _ = write!(out, "\n## {section}\n\n| # | what is tried |");
            for lane in Lane::ALL {
                let _ = write!(out, " {} |", words(lane).0);
            }
            out.push_str("\n|---:|---|");
            out.push_str(&"---:|".repeat(Lane::ALL.len()));
            out.push('\n');
        }
        let _ = write!(out, "| {} | {} |", group.number, group.title);
        for lane in Lane::ALL {
            match report.table.get(&(group.number, lane)) {
                None => out.push_str(" |"),
                Some(t) if t.escapes + t.wrong == 0 => drop(write!(out, " {} |", t.cases)),
                Some(t) => drop(write!(out, " {} ✗{} |", t.cases, t.escapes + t.wrong)),
            }
        }
        out.push('\n');
    }
    out.push_str(
        "\n## What else proves a group\n\nTests beside the cases; for groups without a number above, in their \
         place. `it::` is `tests/it`, the others are modules of `src`.\n\n| # | tests |\n|---:|---|\n",
    );
    for group in corpus::GROUPS.iter().filter(|g| !g.proved_by.is_empty()) {
        let tests: Vec<_> = group.proved_by.iter().map(|t| format!("`{t}`")).collect();
        let _ = writeln!(out, "| {} | {} |", group.number, tests.join("<br>"));
    }
    out
}

fn words(lane: Lane) -> (&'static str, &'static str) {
    match lane {
        Lane::ExplicitPlain => ("plain", "an absolute-form request to the proxy port"),
        Lane::ConnectTunnel => ("CONNECT", "a CONNECT, and the ClientHello behind it"),
        Lane::ConnectIntercepted => ("intercepted", "a request inside an intercepted CONNECT"),
        Lane::Reverse => ("reverse", "a request to the reverse port"),
        Lane::TransparentTls => (
            "redirected TLS",
            "a redirected ClientHello, and requests inside",
        ),
        Lane::TransparentHttp => ("redirected HTTP", "a redirected plain request"),
        Lane::FrontDoor => ("front door", "a call of ComfyUI's page to the front door"),
        Lane::Admin => ("admin", "a request to the control plane"),
        Lane::InProcess => (
            "checks",
            "a checkpoint called directly: configurations, answers of name servers",
        ),
    }
}

/// Whether the sources hold a test of this name.
pub fn exists(name: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (folder, path) = match name.strip_prefix("it::") {
        Some(rest) => (root.join("tests/it"), rest),
        None => (root.join("src"), name),
    };
    let Some((module, function)) = path.rsplit_once("::") else {
        return false;
    };
    let file = folder.join(module.replace("::", "/"));
    let files = [file.with_extension("rs"), file.join("mod.rs")];
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| text.contains(&format!("fn {function}(")))
}
