//! `airlock demo`: the table that fills while the demo plays.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use anyhow::Context;

use super::{
    settings::{environment, runtime},
    stop::Stops,
    table::colour,
};
use crate::demo::{
    self, Event, Finished, Options, Search,
    report::{LlmReport, Report, StepReport},
};

/// Play the plugin's traffic against a scratch airlock and show what happens to each request
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock demo\n  airlock demo --details             # what each step saw\n  airlock demo --json | jq .ok\n  airlock demo --metrics-file demo.prom\n\nNeeds no configuration and leaves nothing behind. Talks to nothing but this machine.\nExit code 0 only if every step was answered as the plugin needs and nothing left the machine."
)]
pub struct Args {
    /// Print one JSON object at the end: {"ok", "left_machine_bytes", "llm", "steps"}
    #[arg(long)]
    json: bool,
    /// Show under each step what was seen
    #[arg(long, conflicts_with = "json")]
    details: bool,
    /// Use the stand-in even if a local LLM is running
    #[arg(long)]
    no_llm_search: bool,
    /// Write the final /metrics page into this file
    #[arg(long, value_name = "PATH")]
    metrics_file: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // What the demo shows is its table; the log is for what goes wrong with the program itself.
    crate::logging::install(Some("error"), false);
    let environment = environment();
    let terminal = colour();
    let painted = terminal && environment.get("NO_COLOR").is_none_or(String::is_empty);
    let mut screen = Screen::new(io::stdout().lock(), terminal, painted, args.details);
    let options = Options {
        search_for_llm: !args.no_llm_search,
        environment,
    };

    let finished = runtime()?.block_on(async {
        let mut stops = Stops::taken();
        let play = demo::run(&options, |event| {
            if !args.json {
                screen.show(&event);
            }
        });
        // Dropping the demo removes its scratch folder; dying of the signal would not.
        tokio::select! {
            finished = play => finished,
            () = stops.next() => Err(anyhow::anyhow!("stopped")),
        }
    })?;
    if let Some(path) = &args.metrics_file {
        std::fs::write(path, &finished.metrics)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        screen.line(&serde_json::to_string_pretty(&finished.report)?);
    } else {
        screen.summary(&finished);
    }
    Ok(if finished.report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Columns of the table; with the mark and the gaps they are [`WIDTH`].
const NAME: usize = 26;
const REQUEST: usize = 43;
const DECISION: usize = 9;
const ANSWERED_BY: usize = 10;
const LEFT: usize = 5;
const WIDTH: usize = 100;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const REFUSED: Style = AnsiColor::Yellow.on_default();
const HEADING: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

/// Where the table goes. A reader that went away (`| head`) is no reason to stop, so errors of
/// writing are not looked at.
struct Screen<W> {
    out: W,
    /// Rows may be overwritten: a step that runs is shown before it ends.
    terminal: bool,
    colour: bool,
    details: bool,
    /// Host that requests need not repeat.
    host: &'static str,
}

impl<W: Write> Screen<W> {
    fn new(out: W, terminal: bool, colour: bool, details: bool) -> Self {
        Self {
            out,
            terminal,
            colour,
            details,
            host: "",
        }
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    fn painted(&self, style: Style, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { llm, search } => self.header(llm, search),
            Event::Scene { title, host } => {
                self.host = host;
                let heading = self.painted(HEADING, title);
                let host = match host.is_empty() {
                    true => String::new(),
                    false => self.painted(FAINT, &format!("  {host}")),
                };
                self.line(&format!("\n{heading}{host}"));
            }
            Event::Begun { name, request } => {
                if self.terminal {
                    let row = self.row(" ", name, request, "...", "", "");
                    let _ = write!(self.out, "{}", self.painted(FAINT, row.trim_end()));
                    let _ = self.out.flush();
                }
            }
            Event::Ended(step) => self.step(step),
        }
    }

    fn header(&mut self, llm: &LlmReport, search: &Search) {
        let title = "Airlock plays ComfyUI-Copilot's traffic, on this machine alone.";
        self.line(&self.painted(HEADING, title));
        let LlmReport { kind, url } = llm;
        if llm.is_stand_in() {
            self.line(&format!(
                "LLM: a small stand-in at {url}, which says so in its answers."
            ));
        } else {
            self.line(&format!("LLM: {kind} at {url}, found on this machine."));
        }
        match search {
            Search::Done if llm.is_stand_in() => {
                let words =
                    "     No vLLM, llama.cpp, Ollama or LM Studio was found on its usual port.";
                self.line(words);
            }
            Search::Done | Search::Skipped => {}
            Search::FoundEmpty(LlmReport { kind, url }) => {
                self.line(&format!("     {kind} at {url} runs, but has no model yet."));
            }
        }
        self.line("");
        let titles = self.row(" ", "step", "request", "decision", "answered", "left");
        self.line(&self.painted(FAINT, &titles));
    }

    /// One row of plain text, exactly [`WIDTH`] columns.
    fn row(
        &self,
        mark: &str,
        name: &str,
        request: &str,
        decision: &str,
        by: &str,
        left: &str,
    ) -> String {
        let request = fit(&self.short(request), REQUEST);
        let (name, decision, by) = (
            fit(name, NAME),
            fit(decision, DECISION),
            fit(by, ANSWERED_BY),
        );
        format!(
            " {mark} {name:<NAME$} {request:<REQUEST$} {decision:<DECISION$} {by:<ANSWERED_BY$} {left:>LEFT$}"
        )
    }

    /// A request without what its heading says already.
    fn short(&self, request: &str) -> String {
        let Some((method, url)) = request.split_once(' ') else {
            return request.to_owned();
        };
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = rest
            .strip_prefix(self.host)
            .filter(|p| !self.host.is_empty() && p.starts_with('/'));
        match (path, url.starts_with("http://")) {
            (Some(path), false) => format!("{method} {path}"),
            // That it is not encrypted is what such a step is about.
            (_, true) => format!("{method} {url}"),
            (None, false) => format!("{method} {rest}"),
        }
    }

    fn step(&mut self, step: &StepReport) {
        let decision = step.decision.unwrap_or("none");
        let by = step.answered_by.as_deref().unwrap_or("nobody");
        let left = step.left_machine_bytes.to_string();
        let row = self.row(
            if step.ok { "✓" } else { "✗" },
            step.name,
            step.request,
            decision,
            by,
            &left,
        );
        if self.terminal {
            // Back to the start of the line, over the row that said "...".
            let _ = write!(self.out, "\r\x1b[2K");
        }
        self.line(&self.colour_row(step, &row));
        if !step.ok || self.details || step.is_refusal() {
            let words = match step.reason {
                Some(reason) if step.is_refusal() => format!("{reason}: {}", step.detail),
                Some(_) | None => step.detail.clone(),
            };
            for line in wrapped(&words, WIDTH - 5) {
                let style = if step.ok { FAINT } else { BAD };
                self.line(&format!("     {}", self.painted(style, &line)));
            }
        }
    }

    /// Colours the mark and the decision of a finished row; every other column stays as it is.
    fn colour_row(&self, step: &StepReport, row: &str) -> String {
        if !self.colour {
            return row.trim_end().to_owned();
        }
        let at = |columns: usize| {
            row.char_indices()
                .nth(columns)
                .map_or(row.len(), |(i, _)| i)
        };
        let (mark, rest) = row.split_at(at(2));
        let decision_at = at(3 + NAME + 1 + REQUEST + 1) - mark.len();
        let (middle, tail) = rest.split_at(decision_at);
        let (decision, tail) = tail.split_at(DECISION.min(tail.len()));
        let mark = self.painted(if step.ok { GOOD } else { BAD }, mark);
        let decision = match step.is_refusal() {
            true => self.painted(REFUSED, decision),
            false => decision.to_owned(),
        };
        format!("{mark}{middle}{decision}{tail}")
    }

    fn summary(&mut self, finished: &Finished) {
        let Finished {
            report,
            metrics: _,
            took,
        } = finished;
        let Report {
            ok,
            left_machine_bytes,
            llm,
            steps,
            witnesses,
        } = report;
        let good = steps.iter().filter(|s| s.ok).count();
        let refused = steps.iter().filter(|s| s.ok && s.is_refusal()).count();
        let verdict = if *ok {
            self.painted(GOOD, "ok")
        } else {
            self.painted(BAD, "FAILED")
        };
        self.line(&format!(
            "\n{verdict}: {good} of {} steps as they should be, {} answered here and {refused} refused, in {:.1} s",
            steps.len(),
            good - refused,
            took.as_secs_f64(),
        ));
        self.line(&format!(
            "    bytes that left this machine: {left_machine_bytes}"
        ));
        self.line(&format!(
            "    sockets dialled to anywhere else: {}, names looked up: {}",
            witnesses.sockets_off_machine, witnesses.name_lookups
        ));
        if *ok {
            self.line("\nNext: start ComfyUI behind it with `airlock exec -- python main.py`.");
        } else if !llm.is_stand_in() {
            self.line(
                "\nIf it is the LLM, `airlock doctor` says more; --no-llm-search plays without it.",
            );
        }
    }
}

/// Cuts the middle out of a text that is too long: its two ends tell more.
fn fit(text: &str, columns: usize) -> String {
    let length = text.chars().count();
    if length <= columns {
        return text.to_owned();
    }
    let head = (columns - 1) / 2;
    let tail = columns - 1 - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

/// Lines of at most `columns` characters, broken at spaces; a longer word stays whole.
/// What an LLM said may hold anything, so nothing of it commands the terminal.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let text = text.replace(|c: char| c.is_control() && !c.is_whitespace(), "?");
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Entry;

    fn step(
        name: &'static str,
        request: &'static str,
        decision: &'static str,
        ok: bool,
    ) -> StepReport {
        StepReport {
            name,
            entry: Entry::Explicit,
            request,
            decision: Some(decision),
            reason: Some("no_rule_matched"),
            answered_by: Some("airlock".into()),
            left_machine_bytes: 0,
            ok,
            detail: "words about it".into(),
        }
    }

    fn shown(colour: bool, steps: &[StepReport]) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, false, colour, false);
        screen.show(&Event::Scene {
            title: "Scene",
            host: "a.test",
        });
        for step in steps {
            screen.show(&Event::Ended(step));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rows_fit_the_terminal_whatever_is_in_them() {
        let long = "POST https://a-host-with-a-very-long-name.example.test/and/a/path/that/goes/on";
        let steps = [
            step("short", "GET https://a.test/x", "respond", true),
            step(
                "a name that is far too long for the column it has",
                long,
                "respond",
                true,
            ),
            step("refused", "CONNECT b.test:443", "deny", true),
        ];
        let text = shown(false, &steps);
        assert!(text.lines().all(|l| l.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("GET /x "), "{text}");
        assert!(text.contains("CONNECT b.test:443"), "{text}");
        let coloured = shown(true, &steps);
        let plain: String = anstyle_free(&coloured);
        let plain: Vec<&str> = plain.lines().map(str::trim_end).collect();
        assert_eq!(plain, text.lines().map(str::trim_end).collect::<Vec<_>>());
    }

    /// Without escape sequences.
    fn anstyle_free(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\x1b') {
            out.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        out + rest
    }

    #[test]
    fn words_are_wrapped_and_cannot_command_the_terminal() {
        assert_eq!(wrapped("one two\nthree", 7), ["one two", "three"]);
        assert_eq!(wrapped("a\x1b[2Jb", 20), ["a?[2Jb"]);
        assert_eq!(fit("abcdefghij", 5), "ab…ij");
    }

    #[test]
    fn what_a_step_saw_is_shown_where_it_matters() {
        for (row, decision, ok, expected) in [
            ("a refusal says why", "deny", true, true),
            ("a failure says what is wrong", "respond", false, true),
            ("all is well", "respond", true, false),
        ] {
            let text = shown(false, &[step("x", "GET https://a.test/x", decision, ok)]);
            assert_eq!(text.contains("words about it"), expected, "{row}: {text}");
        }
    }
}
