//! `airlock receipt`: what was sent where, for a person, signed; and whether such a paper is genuine.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    settings::{ConfigArg, Running, environment},
    table::table,
};
use crate::{
    app,
    receipt::{About, Genuine, Receipt, SealError, Way, amount, seal},
    session::secret,
    token::SignedBy,
};

/// What was sent where: show it, save it signed, check a saved one
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock receipt show\n  airlock receipt show --session 6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90\n  airlock receipt save receipt.json\n  airlock receipt verify receipt.json\n\nWith the front door on, the same is a page: http://127.0.0.1:8189/airlock/receipt"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What the airlock that runs has sent where since its start
    #[command(
        after_help = "Examples:\n  airlock receipt show\n  airlock receipt show --json | jq .receipt.totals"
    )]
    Show {
        /// One chat or session, by the name that the receipt lists
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Write it to a file, signed
    #[command(after_help = "Example:\n  airlock receipt save receipt.json")]
    Save {
        file: PathBuf,
        /// One chat or session, by the name that the receipt lists
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Say whether a file is a receipt of this machine, and unaltered (exit code 0, or 1)
    #[command(
        after_help = "Examples:\n  airlock receipt verify receipt.json\n  airlock receipt verify - < receipt.json\n\nWhere the airlock runs with SESSION_SECRET, set it for this command too."
    )]
    Verify {
        /// `-`: standard input
        file: PathBuf,
        // Its address is not asked; all commands take the same.
        #[command(flatten)]
        running: Running,
        /// Print {"valid", "problem" or "signed_by", "key", "receipt"}
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    running: Running,
    /// Print the signed JSON; times are seconds since 1970
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Show { session, common } => {
            let signed = common.ask(session)?;
            match common.json {
                true => println!("{signed:#}"),
                false => print(&receipt_of(&signed)?),
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Save {
            file,
            session,
            force,
            common,
        } => {
            let signed = common.ask(session)?;
            write(&file, &format!("{signed:#}\n"), force)?;
            match common.json {
                true => println!("{signed:#}"),
                false => println!(
                    "{}; check it with `airlock receipt verify {0}`",
                    file.display()
                ),
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Verify {
            file,
            running,
            json,
        } => verify(&file, &running.config, json),
    }
}

impl Common {
    /// The signed receipt of the airlock that runs.
    fn ask(&self, session: Option<String>) -> anyhow::Result<Value> {
        let asked = json!({"session": session});
        self.running.ask("/receipt", &asked, "makes no receipts")
    }
}

fn write(file: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    match force {
        true => options.write(true).create(true).truncate(true),
        false => options.write(true).create_new(true),
    };
    let mut out = options.open(file).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            anyhow::anyhow!(
                "{} is there already; name another file, or --force",
                file.display()
            )
        }
        _ => anyhow::Error::new(e).context(format!("cannot write {}", file.display())),
    })?;
    out.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    // One more than a receipt may have, so that a longer file is known as one.
    let most = seal::MAX_RECEIPT as u64 + 1;
    let mut bytes = Vec::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().take(most).read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|f| f.take(most).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(bytes)
}

fn verify(file: &Path, config: &ConfigArg, json: bool) -> anyhow::Result<ExitCode> {
    let settings = app::identity::settings(&config.load(&environment())?);
    let keys = secret::existing(&settings.state_dir, &settings.secret)?.ok_or_else(|| {
        anyhow::anyhow!(
            "{} is not there: no airlock was started with this state folder, so nothing was signed by \
             it; name the configuration it runs with (--config)",
            secret::path(&settings.state_dir).display()
        )
    })?;
    match seal::verify(&read(file)?, &keys) {
        Ok(genuine) => {
            let receipt: Receipt = serde_json::from_value(genuine.receipt.clone())
                .context("it is genuine, and of a form that this version does not know")?;
            match json {
                true => println!("{:#}", good(&genuine)),
                false => say(&receipt, &genuine),
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(e) => {
            match json {
                true => println!(
                    "{:#}",
                    json!({"valid": false, "problem": code(&e), "words": e.to_string()})
                ),
                false => println!("not valid: {} {e}", file.display()),
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Stable, for scripts.
fn code(e: &SealError) -> &'static str {
    match e {
        SealError::TooLarge => "too_large",
        SealError::Truncated => "truncated",
        SealError::NotAReceipt(_) => "not_a_receipt",
        SealError::Unknown(_) => "unknown_format",
        SealError::Altered { .. } => "altered",
        SealError::AnotherKey { .. } => "another_key",
    }
}

fn good(genuine: &Genuine) -> Value {
    let signed_by = match genuine.signed_by {
        SignedBy::Current => "current",
        SignedBy::Previous => "previous",
    };
    json!({
        "valid": true, "signed_by": signed_by, "key": genuine.key, "receipt": genuine.receipt,
    })
}

fn say(receipt: &Receipt, genuine: &Genuine) {
    println!(
        "valid: {}, made {}",
        whose(&receipt.about),
        amount::moment(receipt.made)
    );
    println!(
        "  it says: {}. {}",
        receipt.headline.words, receipt.headline.more
    );
    match genuine.signed_by {
        SignedBy::Current => println!("  signed with the key in use ({})", genuine.key),
        SignedBy::Previous => println!(
            "  signed with the key before the last change of the secret ({})",
            genuine.key
        ),
    }
}

fn whose(about: &About) -> String {
    match about {
        About::Machine => "a receipt of the whole machine".to_owned(),
        About::User { user } => format!("a receipt of {user}"),
        About::Chat { id, .. } => format!("a receipt of the chat {id}"),
        About::Login { id, .. } => format!("a receipt of the session {id}"),
    }
}

fn receipt_of(signed: &Value) -> anyhow::Result<Receipt> {
    let receipt = signed.get("receipt").cloned().unwrap_or_default();
    serde_json::from_value(receipt).context("the airlock that runs is of another version")
}

fn print(receipt: &Receipt) {
    println!("{}", receipt.headline.words);
    println!("{}", receipt.headline.more);
    println!(
        "{}, since {}, as of {}",
        whose(&receipt.about),
        amount::moment(receipt.since),
        amount::moment(receipt.made)
    );
    if !receipt.hosts.is_empty() {
        println!("\nWho was contacted");
        let mut shown = table([
            "HOST",
            "HOW",
            "REQUESTS",
            "SENT",
            "CAME BACK",
            "LEFT",
            "RULE",
        ]);
        for line in &receipt.hosts {
            shown.add_row([
                line.host.clone(),
                way(&line.way).to_owned(),
                line.requests.to_string(),
                amount::bytes(line.bytes_sent),
                amount::bytes(line.bytes_received),
                amount::bytes(line.bytes_left_machine),
                line.rule.clone(),
            ]);
        }
        println!("{shown}");
    }
    if receipt.more_hosts.requests > 0 {
        println!(
            "and {} to further hosts",
            amount::of(receipt.more_hosts.requests, "request", "requests")
        );
    }
    if !receipt.answered_here.is_empty() {
        println!("\nWhat stayed with you");
        let mut shown = table(["WHAT", "TIMES", "SIZE", "WHAT BECAME OF IT"]);
        for line in &receipt.answered_here {
            shown.add_row([
                line.what.clone(),
                line.requests.to_string(),
                amount::bytes(line.bytes_from_programs),
                line.came.clone(),
            ]);
        }
        println!("{shown}");
    }
    if !receipt.refused.is_empty() {
        println!("\nWhat was refused");
        let mut shown = table(["TO", "TIMES", "WHY", "REASON"]);
        for line in &receipt.refused {
            shown.add_row([
                line.host.clone().unwrap_or_else(|| "-".to_owned()),
                line.requests.to_string(),
                line.why.clone(),
                line.reason.clone(),
            ]);
        }
        println!("{shown}");
        println!("How to allow one: airlock explain GET https://HOST/");
    }
    if receipt.more_refused > 0 {
        println!(
            "and {}",
            amount::of(receipt.more_refused, "more refusal", "more refusals")
        );
    }
    if !receipt.sessions.is_empty() {
        println!("\nChats and sessions (--session ID)");
        let mut shown = table(["ID", "KIND", "USER", "REQUESTS", "LEFT"]);
        for line in &receipt.sessions {
            shown.add_row([
                line.id.clone(),
                line.kind.clone(),
                line.user.clone().unwrap_or_else(|| "-".to_owned()),
                line.requests.to_string(),
                amount::bytes(line.bytes_left_machine),
            ]);
        }
        println!("{shown}");
    }
    println!("\nWhat it cannot see");
    for line in &receipt.cannot_see {
        println!("  - {line}");
    }
}

fn way(code: &str) -> &'static str {
    match Way::ALL.into_iter().find(|way| way.as_str() == code) {
        Some(Way::Llm) => "your LLM",
        Some(Way::ComfyUi) => "your ComfyUI",
        Some(Way::Sent) => "sent on",
        Some(Way::Relayed) => "relayed unread",
        Some(Way::Here) => "answered here",
        Some(Way::Refused) => "refused",
        Some(Way::Opened) => "opened",
        None => "-",
    }
}
