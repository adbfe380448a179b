//! `airlock exec --isolate`, and the hidden command that is its helper inside of the namespace.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::PathBuf,
    process::{ExitCode, ExitStatus},
};

use anyhow::Context;

use super::{EXIT_CONFIG, EXIT_UNAVAILABLE, env, settings::runtime};
use crate::{
    app::Running,
    config::Config,
    isolate::{self, IsolateError, Isolated, Publish},
    tls::ca::CaPaths,
};

/// What `exec --isolate` was asked for.
pub struct Wish {
    pub publish: Vec<Publish>,
    pub command: Vec<OsString>,
}

/// Reads an argument of `--publish`.
pub fn parse_publish(text: &str) -> Result<Publish, IsolateError> {
    text.parse().map_err(|source| IsolateError::PublishSyntax {
        text: text.to_owned(),
        source,
    })
}

/// Runs the program; `own` is the airlock that this process has started, if none ran before.
pub async fn run(
    wish: Wish,
    config: &Config,
    own: Option<&Running>,
    environment: &HashMap<String, String>,
) -> anyhow::Result<ExitStatus> {
    let listener = |name, configured: Option<std::net::SocketAddr>| {
        own.and_then(|own| own.address(name))
            .or(configured)
            .map(env::dialled)
    };
    let explicit = listener("explicit", config.listeners.explicit).context(env::EXPLICIT_IS_OFF)?;
    let reverse = config.listeners.reverse.as_ref().map(|r| r.listen);
    // The control plane is no door: a program must not command its own firewall.
    let doors = [Some(explicit), listener("reverse", reverse)]
        .into_iter()
        .flatten()
        .map(|address| (address.port(), address));
    let ca_bundle = CaPaths::below(&config.state_dir).bundle();
    let variables = env::variables_for(
        &format!("127.0.0.1:{}", explicit.port()),
        &ca_bundle.display().to_string(),
    );
    let folder = |name: &str| environment.get(name).map(PathBuf::from);
    let isolated = Isolated {
        doors: doors.collect(),
        publish: wish.publish,
        state_dir: config.state_dir.clone(),
        ca_bundle,
        config_file: config.file.as_ref().map(|file| file.path.clone()),
        temporary: folder("TMPDIR"),
        runtime_folder: folder("XDG_RUNTIME_DIR"),
        variables: variables.into_iter().collect(),
        helper: std::env::current_exe().context("this program does not find its own file")?,
        command: wish.command,
    };
    Ok(isolate::run(isolated).await?)
}

/// The exit code of a failure that is this feature's own.
pub fn exit_code_of(e: &IsolateError) -> u8 {
    match e {
        IsolateError::PublishSyntax { .. }
        | IsolateError::PublishedTwice(_)
        | IsolateError::WorkingDirectory { .. } => EXIT_CONFIG,
        IsolateError::ToolMissing(_)
        | IsolateError::Namespace(_)
        | IsolateError::Publish { .. }
        | IsolateError::Filter(_)
        | IsolateError::Io { .. } => EXIT_UNAVAILABLE,
    }
}

/// The helper inside of the namespace of `exec --isolate`; not for people
#[derive(clap::Args)]
#[command(
    hide = true,
    after_help = "Example:\n  airlock exec --isolate -- CMD     # starts this by itself"
)]
pub struct ChildArgs {
    /// The parent's private folder
    #[arg(long)]
    folder: PathBuf,
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub fn child(args: ChildArgs) -> anyhow::Result<ExitCode> {
    crate::logging::install(None, false);
    let code = runtime()?.block_on(isolate::inside::run(&args.folder, &args.command))?;
    Ok(ExitCode::from(code))
}
