//! `airlock learn`: rules out of a report-mode audit log. Reads files, writes one, touches no network.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use serde::Serialize;

use super::settings::{ConfigArg, environment};
use crate::policy::learn::{Learned, Learner, Options};

/// A record is a few hundred bytes; a longer line is none, and is not held in memory.
const MAX_LINE: usize = 64 << 10;
/// Rotated files that are looked for beside a log.
const MAX_ROTATED: u32 = 1000;
/// Bad lines that are named; all are counted.
const NAMED_BAD_LINES: usize = 20;

/// Turn a report-mode audit log into rules to read and keep
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock learn                                  the log of this configuration, rules to the terminal\n  airlock learn --audit audit.jsonl --out learned.yaml\n  airlock learn --include-denied --json\n\nRun with `mode: report` for a while first: what policy would refuse is let through and recorded."
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Audit logs to read, each with its rotated files (FILE.1, FILE.2, ...); default: the log of
    /// the configuration
    #[arg(long, value_name = "FILE", num_args = 1..)]
    audit: Vec<PathBuf>,
    /// Write the rules to this file, which must not exist yet, instead of to the terminal
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Make rules for what was refused too, not only for what report mode let through
    #[arg(long)]
    include_denied: bool,
    /// Write rules with a warning as live rules, not as comments
    #[arg(long)]
    with_warned: bool,
    /// Print {"rules", "records", "skipped", "bad_lines", "named_bad_lines", "files", "yaml"}
    #[arg(long)]
    json: bool,
}

/// A line that is no record.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct BadLine {
    file: String,
    line: u64,
    why: String,
}

#[derive(Debug, Default)]
struct BadLines {
    count: u64,
    named: Vec<BadLine>,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    learned: &'a Learned,
    bad_lines: u64,
    named_bad_lines: &'a [BadLine],
    files: &'a [PathBuf],
    yaml: &'a str,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let logs = if args.audit.is_empty() {
        vec![configured_log(&args.config)?]
    } else {
        args.audit
    };
    let files = with_rotated(&logs)?;
    let mut learner = Learner::new(Options {
        include_denied: args.include_denied,
        with_warned: args.with_warned,
    });
    let mut bad = BadLines::default();
    for path in &files {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        read_log(path, BufReader::new(file), &mut learner, &mut bad)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    let learned = learner.finish();
    let yaml = learned.to_yaml();
    if let Some(path) = &args.out {
        write_new(path, &yaml)?;
    }
    if args.json {
        let report = Report {
            learned: &learned,
            bad_lines: bad.count,
            named_bad_lines: &bad.named,
            files: &files,
            yaml: &yaml,
        };
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    if args.out.is_none() {
        print!("{yaml}");
    }
    tell(&learned, &bad, args.out.as_deref());
    Ok(ExitCode::SUCCESS)
}

fn configured_log(config: &ConfigArg) -> anyhow::Result<PathBuf> {
    let config = config.load(&environment())?;
    Ok(config
        .audit
        .path
        .unwrap_or_else(|| config.state_dir.join("audit.jsonl")))
}

/// Each log after its rotated files, oldest first; a file is read once however often it is named.
fn with_rotated(logs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for log in logs {
        let rotated = (1..MAX_ROTATED)
            .map(|n| {
                let mut name = log.clone().into_os_string();
                name.push(format!(".{n}"));
                PathBuf::from(name)
            })
            .take_while(|path| path.is_file());
        let mut group: Vec<PathBuf> = rotated.collect();
        group.reverse();
        // Between a rotation and the next record only rotated files may be there.
        if log.exists() || group.is_empty() {
            group.push(log.clone());
        }
        for path in group {
            let real = path.canonicalize().with_context(|| {
                format!(
                    "cannot read {}; name the log with --audit FILE",
                    path.display()
                )
            })?;
            if seen.insert(real) {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn read_log(
    path: &Path,
    mut log: impl BufRead,
    learner: &mut Learner,
    bad: &mut BadLines,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut limited = log.by_ref().take(MAX_LINE as u64 + 1);
        if limited.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() > MAX_LINE && line.last() != Some(&b'\n') {
            log.skip_until(b'\n')?;
            bad.add(path, number, format!("is longer than {MAX_LINE} bytes"));
            continue;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        if let Err(e) = learner.line(text) {
            bad.add(path, number, e.to_string());
        }
    }
    Ok(())
}

impl BadLines {
    fn add(&mut self, path: &Path, line: u64, why: String) {
        self.count += 1;
        if self.named.len() < NAMED_BAD_LINES {
            self.named.push(BadLine {
                file: path.display().to_string(),
                line,
                why,
            });
        }
    }
}

/// Rules that a person has edited are not written over.
fn write_new(path: &Path, yaml: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            anyhow::bail!(
                "{} is there already: name another file or remove it",
                path.display()
            )
        }
        Err(e) => return Err(e).with_context(|| format!("cannot write {}", path.display())),
    };
    file.write_all(yaml.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The summary, beside the rules.
fn tell(learned: &Learned, bad: &BadLines, out: Option<&Path>) {
    let live = learned.rules.iter().filter(|r| r.live).count();
    let warned = learned.rules.len() - live;
    let place = out.map_or(String::new(), |p| format!(" in {}", p.display()));
    eprintln!(
        "{live} rules, and {warned} with a warning{place}; {} records read",
        learned.records
    );
    if bad.count > 0 {
        eprintln!("{} lines are no records:", bad.count);
    }
    for BadLine { file, line, why } in &bad.named {
        eprintln!("  {file}:{line} {why}");
    }
    let more = bad.count - bad.named.len() as u64;
    if more > 0 {
        eprintln!("  and {more} more");
    }
}

#[cfg(test)]
mod tests;
