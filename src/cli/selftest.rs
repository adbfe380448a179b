//! `airlock selftest`: the corpus of docs/EGRESS.md against the running instance.

use std::{collections::BTreeMap, io, net::SocketAddr, process::ExitCode};

use anstyle::AnsiColor;
use anyhow::Context;
use comfy_table::{Cell, Color};
use serde::Deserialize;

use super::{
    EXIT_UNAVAILABLE,
    settings::{Running, environment, runtime},
    table::{colour, table},
};
use crate::{
    config::Config,
    selftest::{
        self, Doors, Lane, Meter, Report, Selection, Subject, Tally, Traits, corpus::GROUPS,
    },
    upstream::control::{self, ControlError},
};

/// Try to get past the running airlock, in thousands of ways, and say which it let through
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock selftest\n  airlock selftest --json | jq .escapes\n  airlock selftest --entry connect_tunnel --group 29 --group 31\n\nPlays docs/EGRESS.md through the listeners of the airlock that runs with this configuration. Only\nwhat its policy must refuse, or answers on this machine, is sent; nothing of it leaves. Each case\nleaves its record in the audit log, as any client's would. A listener where nobody comes in without\na key is named as not tested, and nothing of it is counted.\n\nExit code 0 only if every case ended as it should, 1 if not, 69 if no airlock runs."
)]
pub struct Args {
    #[command(flatten)]
    running: Running,
    /// Print {"ok", "escapes", "groups", "cases", "entries", "failed"}, and "wants_key" where something is not tested
    #[arg(long)]
    json: bool,
    /// Only this entry (may be given again)
    #[arg(long, value_enum, value_name = "ENTRY")]
    entry: Vec<Lane>,
    /// Only this group of docs/EGRESS.md, 1 to 55 (may be given again)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=55))]
    group: Vec<u8>,
    /// Print the corpus with its bytes, for a proxy at this address, and play nothing
    #[arg(long, value_name = "HOST:PORT", hide = true)]
    dump: Option<SocketAddr>,
}

/// What `/status` says, of which only this is read.
#[derive(Deserialize)]
struct Status {
    listeners: BTreeMap<String, SocketAddr>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(proxy) = args.dump {
        selftest::dump(proxy, &mut io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let environment = environment();
    let config = args.running.config.load(&environment)?;
    let selection = Selection {
        lanes: args.entry,
        groups: args.group,
    };
    let report = runtime()?.block_on(async {
        let admin = args.running.admin.or(config.listeners.admin);
        let (doors, meter) = match admin {
            Some(admin) => {
                let doors = doors_of_the_running(admin).await?;
                (doors, Meter::Page(admin))
            }
            None => (doors_of(&config), Meter::None),
        };
        let doors = Doors {
            asking: config.asking(),
            ..doors
        };
        let root = config.state_dir.join("ca/root.pem");
        let vendor = config.listeners.reverse.clone().unwrap_or_default().host;
        let traits = Traits {
            vendor: &vendor,
            root: &root,
            head_timeout: config.limits.head_timeout,
            client_hello_timeout: config.limits.client_hello_timeout,
        };
        let subject = Subject::new(&config.policy, doors, &traits, meter)
            .context("run it as the user, and with the configuration, that airlock runs with")?;
        anyhow::Ok(subject.round(&config.policy, &selection).await)
    });
    let report = match report {
        Ok(report) => report,
        Err(e) if e.downcast_ref::<ControlError>().is_some() => {
            eprintln!("airlock: {e:#}");
            return Ok(ExitCode::from(EXIT_UNAVAILABLE));
        }
        Err(e) => return Err(e),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let plain = environment.get("NO_COLOR").is_some_and(|v| !v.is_empty());
        print(&report, colour() && !plain);
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where it really listens: a configuration may leave the port to the system.
async fn doors_of_the_running(admin: SocketAddr) -> anyhow::Result<Doors> {
    let (_, page) = control::get(admin, "/status").await?;
    let running: Status = serde_json::from_str(&page)
        .with_context(|| format!("{admin} does not answer like an airlock of this version"))?;
    let of = |name: &str| running.listeners.get(name).copied();
    Ok(Doors {
        explicit: of("explicit"),
        reverse: of("reverse"),
        transparent_tls: of("transparent_tls"),
        transparent_http: of("transparent_http"),
        front_door: of("front_door"),
        admin: Some(admin),
        asking: Vec::new(),
    })
}

fn doors_of(config: &Config) -> Doors {
    let listeners = &config.listeners;
    Doors {
        explicit: listeners.explicit,
        reverse: listeners.reverse.as_ref().map(|r| r.listen),
        transparent_tls: listeners.transparent_tls,
        transparent_http: listeners.transparent_http,
        front_door: listeners.front_door.as_ref().map(|d| d.listen),
        admin: None,
        asking: Vec::new(),
    }
}

fn print(report: &Report, painted: bool) {
    let lanes: Vec<Lane> = Lane::ALL
        .into_iter()
        .filter(|lane| report.entries.contains_key(lane.as_str()))
        .collect();
    let mut out = table(["", "what is tried"]);
    let mut header = vec!["".to_owned(), "what is tried".to_owned()];
    header.extend(
        lanes
            .iter()
            .map(|lane| lane.as_str().replacen('_', "\n", 1)),
    );
    out.set_header(header);
    for group in &GROUPS {
        let tallies: Vec<Option<&Tally>> = lanes
            .iter()
            .map(|lane| report.table.get(&(group.number, *lane)))
            .collect();
        if tallies.iter().all(Option::is_none) {
            continue;
        }
        let title: String = group.title.chars().take(60).collect();
        let mut row = vec![Cell::new(group.number), Cell::new(title)];
        row.extend(tallies.into_iter().map(|tally| cell(tally, painted)));
        out.add_row(row);
    }
    println!("{out}\n");
    for failure in &report.failed {
        let mark = if failure.escape { "ESCAPED" } else { "wrong" };
        println!(
            "{} group {} by {}: {}: {}",
            paint(mark, AnsiColor::Red, painted),
            failure.group,
            failure.entry,
            failure.case,
            failure.detail
        );
    }
    for note in &report.notes {
        println!("note: {note}");
    }
    let verdict = format!(
        "{} cases in {} groups, {} escaped, {} ended in another way than they should",
        report.cases,
        report.groups,
        report.escapes,
        report.failed.len() - report.escapes
    );
    let paint_as = if report.ok {
        AnsiColor::Green
    } else {
        AnsiColor::Red
    };
    println!("{}", paint(&verdict, paint_as, painted));
    if report.skipped > 0 {
        println!(
            "{} not played: their listener is off, or your rules let that host through",
            report.skipped
        );
    }
    for (entry, cases) in &report.wants_key {
        let words = format!(
            "{entry}: NOT TESTED, {cases} cases: nobody comes in there without a key, and a refusal for \
             the want of one says nothing about the rules behind it"
        );
        println!("{}", paint(&words, AnsiColor::Yellow, painted));
    }
    let others = GROUPS.iter().filter(|g| {
        let own = |(group, _): &(u8, Lane)| *group == g.number;
        !report.table.keys().any(own)
    });
    let others: Vec<_> = others.map(|g| g.number.to_string()).collect();
    if !others.is_empty() {
        println!(
            "groups without a case here: {} (docs/EGRESS.md names what proves them)",
            others.join(", ")
        );
    }
}

fn cell(tally: Option<&Tally>, painted: bool) -> Cell {
    let (words, colour) = match tally {
        None => return Cell::new(""),
        Some(t) if t.escapes + t.wrong == 0 => (t.cases.to_string(), Color::Green),
        Some(t) => (format!("{} ✗{}", t.cases, t.escapes + t.wrong), Color::Red),
    };
    let cell = Cell::new(words);
    if painted { cell.fg(colour) } else { cell }
}

fn paint(text: &str, with: AnsiColor, painted: bool) -> String {
    if !painted {
        return text.to_owned();
    }
    let style = with.on_default();
    format!("{style}{text}{style:#}")
}
