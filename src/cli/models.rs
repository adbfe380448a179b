//! `airlock models`: the model sources that policy allows, and a search in them by the airlock that runs.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    settings::{Running, environment},
    table::table,
};
use crate::{admin::ModelsWish, config::Config, weights::Source};

/// Models: search them in the sources that you allow, and say which those are
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  airlock models search sdxl base\n  airlock models search 姿势 --json | jq -r .models[].id\n  airlock models sources\n\nWhich sources are asked stands under models.sources, or in ALLOWED_MODEL_SOURCES (docs/MODELS.md)."
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Search as the plugin's model dialog does: judged, audited, and on the receipt
    #[command(
        after_help = "Examples:\n  airlock models search sdxl base\n  airlock models search controlnet pose --limit 5 --json\n\nPlayed by the airlock that runs. Without a network, and where no hub is allowed, it finds what this\nmachine has, and says so. Exit code 0, also where nothing fits; 69 if no airlock runs."
    )]
    Search {
        /// Name or family of the model, in English or Chinese
        #[arg(required = true, value_name = "WORDS")]
        words: Vec<String>,
        /// Most hits
        #[arg(long, default_value = "30", value_name = "NUMBER")]
        limit: usize,
        #[command(flatten)]
        running: Running,
        /// Print {"asked", "models", "notes", "local_only"}
        #[arg(long)]
        json: bool,
    },
    /// Which sources this configuration allows, and what each needs
    #[command(after_help = "Example:\n  airlock models sources --json")]
    Sources {
        // Its address is not asked; all commands take the same.
        #[command(flatten)]
        running: Running,
        /// Print {"sources": [{"source", "allowed", "endpoint", "key", "download_hosts"}]}
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Search {
            words,
            limit,
            running,
            json,
        } => {
            let query = words.join(" ");
            let wish = ModelsWish { query, limit };
            let found = running.ask("/models", &wish, "searches no models")?;
            match json {
                true => println!("{found:#}"),
                false => print_found(&found),
            }
        }
        Action::Sources { running, json } => {
            let listed = sources(&running.config.load(&environment())?);
            match json {
                true => println!("{:#}", json!({ "sources": listed })),
                false => print_sources(&listed),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_found(found: &Value) {
    let list = |name: &str| found[name].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let mut out = table(["model", "source", "downloads", "about"]);
    for model in list("models") {
        let tags: Vec<String> = model["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        let downloads = model["downloads"].as_u64().unwrap_or_default();
        out.add_row([
            text(&model["id"]),
            text(&model["source"]),
            if downloads == 0 {
                String::new()
            } else {
                downloads.to_string()
            },
            tags.join(", ").chars().take(60).collect(),
        ]);
    }
    match list("models").is_empty() {
        true => println!("nothing was found"),
        false => println!("{out}"),
    }
    for note in list("notes") {
        println!("{}: {}", text(&note["source"]), text(&note["problem"]));
    }
    if found["local_only"] == true {
        let hubs = list("asked")
            .iter()
            .filter(|s| **s != Source::Local.as_str())
            .count();
        println!(
            "{}",
            match hubs {
                0 => "only this machine was searched: no hub is allowed (models.sources)",
                _ => "no hub answered: these are the models of this machine alone",
            }
        );
    }
}

/// What a hub wrote is no instruction to a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn sources(config: &Config) -> Vec<Value> {
    let models = &config.models;
    let of = |source: Source| {
        let hub = models.hub(source);
        let local = match (&models.dir, &models.comfyui) {
            (Some(dir), _) => Some(dir.display().to_string()),
            (None, Some(comfyui)) => Some(comfyui.to_string()),
            (None, None) => None,
        };
        json!({
            "source": source.as_str(),
            "allowed": models.sources.contains(&source),
            "endpoint": hub.map_or(local, |hub| Some(hub.endpoint.to_string())),
            "key": hub.is_some_and(|hub| hub.key.is_some()),
            "download_hosts": hub.map_or_else(Vec::new, |hub| {
                hub.download_hosts.iter().map(ToString::to_string).collect()
            }),
        })
    };
    Source::ALL.into_iter().map(of).collect()
}

fn print_sources(listed: &[Value]) {
    let mut out = table(["source", "allowed", "where", "key"]);
    let yes = |value: &Value| if *value == true { "yes" } else { "no" }.to_owned();
    for source in listed {
        out.add_row([
            source["source"].as_str().unwrap_or_default().to_owned(),
            yes(&source["allowed"]),
            source["endpoint"]
                .as_str()
                .unwrap_or("set models.dir or models.comfyui")
                .to_owned(),
            yes(&source["key"]),
        ]);
    }
    println!("{out}");
}
