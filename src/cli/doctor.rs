//! `airlock doctor`: find what is wrong, with the fix.

use std::{
    future::Future,
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use comfy_table::{Cell, Color, ContentArrangement};
use serde::Serialize;

use super::{
    EXIT_CONFIG,
    settings::{ConfigArg, environment, runtime},
    table::{colour, table},
};
use crate::doctor::{self, Depth, Finding, Progress, Status};

/// How often the progress line is drawn again.
const TICK: Duration = Duration::from_millis(250);

/// Look at the configuration, the CA, this shell, the ports and the LLM; say what is wrong, and the fix
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock doctor\n  airlock doctor --quick            # nothing is generated\n  airlock doctor --json | jq '.findings[] | select(.status != \"ok\")'\n  airlock exec -- airlock doctor    # as a program behind airlock sees it\n\nExit code 0 unless something fails; warnings do not count."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print {"ok", "findings": [{"check", "status", "finding", "fix"}]}; status is ok, warn or fail
    #[arg(long)]
    json: bool,
    /// Ask the LLM for no completions
    #[arg(long)]
    quick: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let environment = environment();
    let painted = environment.get("NO_COLOR").is_none_or(String::is_empty);
    let config = match args.config.load(&environment) {
        Ok(config) => config,
        Err(errors) => {
            print(&doctor::broken(&errors), args.json, painted)?;
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let depth = if args.quick {
        Depth::Quick
    } else {
        Depth::Full
    };
    let progress = Progress::default();
    let examining = doctor::examine(&config, &environment, depth, &progress);
    let findings = runtime()?.block_on(shown(examining, &progress));
    print(&findings, args.json, painted)?;
    Ok(if is_well(&findings) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|f| f.status != Status::Fail)
}

/// Runs `work` with a line on the terminal that says what it waits for, and for how long.
async fn shown<T>(work: impl Future<Output = T>, progress: &Progress) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    tokio::pin!(work);
    let mut tick = tokio::time::interval(TICK);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = tick.tick() => {
                let (step, since) = progress.read();
                let seconds = match since.as_secs() {
                    0 => String::new(),
                    n => format!(" {n} s"),
                };
                draw(&format!("{step} …{seconds}"));
            }
        }
    };
    draw("");
    done
}

/// Over the line that stands there. A terminal that is gone is no reason to stop.
fn draw(line: &str) {
    let mut out = std::io::stderr().lock();
    let _ = write!(out, "\r\x1b[2K{line}");
    let _ = out.flush();
}

/// The shape of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    findings: &'a [Finding],
}

fn print(findings: &[Finding], json: bool, painted: bool) -> anyhow::Result<()> {
    if json {
        let report = Report {
            ok: is_well(findings),
            findings,
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    if colour() {
        print_table(findings, painted);
    } else {
        print_lines(findings);
    }
    println!("{}", summary(findings));
    Ok(())
}

fn print_lines(findings: &[Finding]) {
    for Finding {
        check,
        status,
        finding,
        fix,
    } in findings
    {
        println!("{:<5} {check}: {finding}", status.as_str());
        if let Some(fix) = fix {
            println!("      fix: {fix}");
        }
    }
}

fn print_table(findings: &[Finding], painted: bool) {
    let mut rows = table(["", "check", "what was found, and what to do"]);
    rows.set_content_arrangement(ContentArrangement::Dynamic);
    for Finding {
        check,
        status,
        finding,
        fix,
    } in findings
    {
        let colour = match status {
            Status::Ok => Color::Green,
            Status::Warn => Color::Yellow,
            Status::Fail => Color::Red,
        };
        let words = match fix {
            Some(fix) => format!("{finding}\n→ {fix}"),
            None => finding.clone(),
        };
        let mark = Cell::new(status.as_str());
        let mark = if painted { mark.fg(colour) } else { mark };
        rows.add_row([mark, Cell::new(check), Cell::new(words)]);
    }
    println!("{rows}");
}

fn summary(findings: &[Finding]) -> String {
    let count = |status| findings.iter().filter(|f| f.status == status).count();
    match (count(Status::Fail), count(Status::Warn)) {
        (0, 0) => "all is well".to_owned(),
        (0, warned) => format!("nothing fails; {warned} to look at"),
        (failed, warned) => format!("{failed} to repair, {warned} to look at"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_do_not_fail_and_failures_do() {
        let ok = Finding::ok("a", "fine");
        let warn = Finding::warn("b", "odd", "look");
        let fail = Finding::fail("c", "broken", "repair");
        for (findings, well, words) in [
            (vec![ok.clone()], true, "all is well"),
            (
                vec![ok.clone(), warn.clone()],
                true,
                "nothing fails; 1 to look at",
            ),
            (vec![ok, warn, fail], false, "1 to repair, 1 to look at"),
        ] {
            assert_eq!(
                (is_well(&findings), summary(&findings).as_str()),
                (well, words)
            );
        }
    }
}
