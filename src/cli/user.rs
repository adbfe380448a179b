//! `airlock user`: add, list, passwd, remove.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::{
    identity::{Common, from_stdin, moment, rows, text},
    table::table,
};
use crate::{
    session::Request,
    token::{Role, Username},
};

/// Users: who may log in, and as what
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock user add ada --role user            # makes a password and shows it once\n  airlock user passwd ada --password-stdin < file\n  airlock user list\n  airlock user remove ada"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add a user; without --password-stdin a password is made and shown this once
    #[command(after_help = "Example:\n  airlock user add ada --role admin")]
    Add {
        username: Username,
        /// admin, user or viewer
        #[arg(long, default_value = "user")]
        role: Role,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        common: Common,
    },
    /// All users
    #[command(after_help = "Example:\n  airlock user list --json")]
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Give a user another password; logs them out everywhere
    #[command(after_help = "Example:\n  airlock user passwd ada")]
    Passwd {
        username: Username,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        common: Common,
    },
    /// Remove a user; logs them out everywhere
    #[command(after_help = "Example:\n  airlock user remove ada")]
    Remove {
        username: Username,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Password {
    /// Read the password from standard input (at least 12 characters)
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    fn read(&self) -> anyhow::Result<Option<String>> {
        match self.password_stdin {
            true => from_stdin("the password").map(Some),
            false => Ok(None),
        }
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add {
            username,
            role,
            password,
            common,
        } => {
            let password = password.read()?;
            let request = Request::UserAdd {
                username,
                role,
                password,
            };
            common.perform(request, |user| {
                println!("added {} ({})", text(user, "username"), text(user, "role"));
                show_password(user);
            })?;
        }
        Action::List { common } => {
            common.perform(Request::UserList, list)?;
        }
        Action::Passwd {
            username,
            password,
            common,
        } => {
            let password = password.read()?;
            common.perform(Request::UserPassword { username, password }, |user| {
                println!(
                    "new password for {}; {} sessions ended",
                    text(user, "username"),
                    text(user, "sessions_revoked")
                );
                show_password(user);
            })?;
        }
        Action::Remove { username, common } => {
            common.perform(Request::UserRemove { username }, |user| {
                println!(
                    "removed {}; {} sessions ended",
                    text(user, "username"),
                    text(user, "sessions_revoked")
                );
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_password(user: &Value) {
    if let Some(password) = user.get("password").and_then(Value::as_str) {
        println!("password: {password}");
        println!("  it is shown this once");
    }
}

fn list(answer: &Value) {
    let users = rows(answer, "users");
    if users.is_empty() {
        println!("no users");
        return;
    }
    let mut shown = table(["USER", "ROLE", "CREATED", "PASSWORD CHANGED"]);
    for user in users {
        shown.add_row([
            text(user, "username"),
            text(user, "role"),
            moment(user, "created_at"),
            moment(user, "password_changed_at"),
        ]);
    }
    println!("{shown}");
}
