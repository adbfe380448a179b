//! `airlock session`: issue, show, verify, revoke, list.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::{
    identity::{Common, duration, from_stdin, moment, rows, text},
    table::table,
};
use crate::{
    session::Request,
    token::{Role, SessionId, Username},
};

/// Signed sessions: who may come in, with which token
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock session issue ada --role user --for 12h\n  airlock session list\n  airlock session verify < token.txt\n  airlock session revoke 6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a session and print its token, which is shown this once
    #[command(
        after_help = "Example:\n  TOKEN=$(airlock session issue ada --role user --json | jq -r .token)"
    )]
    Issue {
        username: Username,
        /// admin, user or viewer; at most what the user is, and needed where there is no such user
        #[arg(long)]
        role: Option<Role>,
        /// Lifetime from the last activity, in place of session.lifetime
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        lifetime: Option<std::time::Duration>,
        #[command(flatten)]
        common: Common,
    },
    /// All there is to know about a session
    #[command(after_help = "Example:\n  airlock session show 6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90")]
    Show {
        session_id: SessionId,
        #[command(flatten)]
        common: Common,
    },
    /// Say whether a token is good (exit code 0, or 1), and of whom
    #[command(after_help = "Example:\n  airlock session verify < token.txt")]
    Verify {
        /// The token; from standard input without it
        token: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// End a session, or all of a user, at once
    #[command(
        after_help = "Examples:\n  airlock session revoke 6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90\n  airlock session revoke --user ada"
    )]
    Revoke {
        #[arg(required_unless_present = "user")]
        session_id: Option<SessionId>,
        /// Every session of this user
        #[arg(long, conflicts_with = "session_id")]
        user: Option<Username>,
        #[command(flatten)]
        common: Common,
    },
    /// The sessions that are open, and those that were revoked and have not expired
    #[command(after_help = "Example:\n  airlock session list --json")]
    List {
        #[command(flatten)]
        common: Common,
    },
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Issue {
            username,
            role,
            lifetime,
            common,
        } => {
            let lifetime = lifetime.map(|l| l.as_secs());
            let request = Request::SessionIssue {
                username,
                role,
                lifetime,
            };
            common.perform(request, |issued| {
                println!("{}", text(issued, "token"));
                eprintln!(
                    "session {} of {} ({}), until {}; the token is shown this once",
                    text(issued, "session_id"),
                    text(issued, "username"),
                    text(issued, "role"),
                    moment(issued, "expires"),
                );
            })?;
        }
        Action::Show { session_id, common } => {
            common.perform(Request::SessionShow { session_id }, show)?;
        }
        Action::Verify { token, common } => {
            let token = token.map_or_else(|| from_stdin("the token"), Ok)?;
            let answer = common.perform(Request::SessionVerify { token }, |judged| match judged
                .get("valid")
                .and_then(Value::as_bool)
            {
                Some(true) => println!(
                    "valid: {} ({}), session {}, until {}",
                    text(judged, "username"),
                    text(judged, "role"),
                    text(judged, "session_id"),
                    moment(judged, "expires"),
                ),
                Some(false) | None => println!("not valid: {}", text(judged, "reason")),
            })?;
            if answer.get("valid").and_then(Value::as_bool) != Some(true) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Action::Revoke {
            session_id,
            user,
            common,
        } => match (session_id, user) {
            (Some(session_id), _) => {
                common.perform(Request::SessionRevoke { session_id }, |revoked| {
                    println!(
                        "revoked: session {} of {}",
                        text(revoked, "session_id"),
                        text(revoked, "username")
                    );
                })?;
            }
            (None, Some(username)) => {
                common.perform(Request::SessionRevokeUser { username }, |revoked| {
                    println!(
                        "revoked: {} sessions of {}",
                        text(revoked, "sessions_revoked"),
                        text(revoked, "username")
                    );
                })?;
            }
            (None, None) => anyhow::bail!("name a session, or --user NAME"),
        },
        Action::List { common } => {
            common.perform(Request::SessionList, list)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(session: &Value) {
    println!("session {}", text(session, "session_id"));
    println!(
        "  user           {} ({})",
        text(session, "username"),
        text(session, "role")
    );
    println!("  state          {}", text(session, "state"));
    println!("  created        {}", moment(session, "created_at"));
    println!("  last activity  {}", moment(session, "last_activity"));
    println!("  expires        {}", moment(session, "expires"));
    if session.get("revoked_at").is_some_and(Value::is_number) {
        println!("  revoked        {}", moment(session, "revoked_at"));
    }
    println!("  checkpoints    {}", rows(session, "checkpoints").len());
}

fn list(answer: &Value) {
    let sessions = rows(answer, "sessions");
    if sessions.is_empty() {
        println!("no sessions");
        return;
    }
    let mut shown = table([
        "SESSION",
        "USER",
        "ROLE",
        "STATE",
        "LAST ACTIVITY",
        "EXPIRES",
    ]);
    for session in sessions {
        shown.add_row([
            text(session, "session_id"),
            text(session, "username"),
            text(session, "role"),
            text(session, "state"),
            moment(session, "last_activity"),
            moment(session, "expires"),
        ]);
    }
    println!("{shown}");
}
