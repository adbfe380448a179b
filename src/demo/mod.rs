//! The demo: Airlock, an LLM and a player of the plugin's real traffic, in one process.
//!
//! Called by `cli demo`, which shows what happens while it happens. Nothing here talks to anything
//! but loopback: the player dials our own listeners only, the LLM is one that listens on this
//! machine or the stand-in, and whatever else would leave is what the run is there to find.
//!
//! | file | what |
//! |---|---|
//! | [`play`] | the steps, with the plugin's requests (WIRE.md) |
//! | [`player`], [`call`], [`answer`] | the HTTP client that plays them |
//! | [`stand_in`] | the LLM where there is none |
//! | [`ledger`], [`step`] | each request's audit record, and the verdict on it |
//! | [`report`] | the outcome |
//! | [`scratch`] | the state folder of the run |

mod answer;
mod call;
mod ledger;
mod play;
mod player;
pub mod report;
mod scratch;
mod stand_in;
mod step;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;

use self::{
    ledger::Ledger,
    player::{Player, Turn},
    report::{LlmReport, Report, StepReport, Witnesses},
    scratch::Scratch,
    stand_in::StandIn,
    step::must,
};
use crate::{
    app::{App, Running},
    config::{self, Config, DISCOVER},
    upstream::control,
};

/// One exchange with the stand-in takes a fraction of this.
const PATIENCE: Duration = Duration::from_secs(10);
/// A real LLM may have to load its model first.
const PATIENCE_WITH_AN_LLM: Duration = Duration::from_secs(180);
/// The search for an LLM is bounded far below this by the gateway.
const LLM_WITHIN: Duration = Duration::from_secs(10);

/// How to run it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Look for an LLM on the usual ports of this machine first.
    pub search_for_llm: bool,
    /// For the system's CA bundle only; no setting is read from it.
    pub environment: HashMap<String, String>,
}

/// What happens, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    Started {
        llm: &'a LlmReport,
        search: &'a Search,
    },
    Scene {
        title: &'static str,
        host: &'static str,
    },
    Begun {
        name: &'static str,
        request: &'a str,
    },
    Ended(&'a StepReport),
}

/// What came of looking for an LLM on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    Skipped,
    /// Whatever was found is in use.
    Done,
    /// This one answered, but has no model.
    FoundEmpty(LlmReport),
}

/// The outcome, and the last `/metrics` page.
#[derive(Debug)]
pub struct Finished {
    pub report: Report,
    pub metrics: String,
    pub took: Duration,
}

/// Plays everything. An error means that the demo could not be run; a step that went wrong is in
/// the report.
pub async fn run(options: &Options, mut tell: impl FnMut(Event<'_>)) -> anyhow::Result<Finished> {
    let began = Instant::now();
    let mut stage = Stage::set(options, options.search_for_llm).await?;
    let mut search = match options.search_for_llm {
        true => Search::Done,
        false => Search::Skipped,
    };
    if !stage.has_a_model {
        // A server without a model can answer nothing; Ollama is one after its installation.
        search = Search::FoundEmpty(stage.llm.clone());
        stage.running.stop().await;
        stage = Stage::set(options, false).await?;
    }
    tell(Event::Started {
        llm: &stage.llm,
        search: &search,
    });

    let played = play_all(&stage, &mut tell).await;
    let metrics = metrics_page(&stage.running).await;
    stage.running.stop().await;
    let (mut report, metrics) = (played?, metrics?);
    report.witnesses = Witnesses::of(&metrics);
    report.ok &= report.witnesses.all_zero();
    Ok(Finished {
        report,
        metrics,
        took: began.elapsed(),
    })
}

/// Everything that runs during a demo. The scratch folder goes last.
struct Stage {
    running: Running,
    stand_in: StandIn,
    llm: LlmReport,
    has_a_model: bool,
    _scratch: Scratch,
}

impl Stage {
    async fn set(options: &Options, search: bool) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir();
        let scratch = Scratch::below(&folder)
            .with_context(|| format!("cannot make a folder in {}; set TMPDIR", folder.display()))?;
        let stand_in = StandIn::start()
            .await
            .context("cannot start the stand-in LLM")?;
        let config = configuration(scratch.path(), &stand_in.url(), search)?;
        let running = App::start(config, &options.environment).await?;
        let (llm, has_a_model) = which_llm(listener(&running, "admin")?, &stand_in).await?;
        Ok(Self {
            running,
            stand_in,
            llm,
            has_a_model,
            _scratch: scratch,
        })
    }
}

/// The embedded default, on free ports of loopback, with its state in `state`. The stand-in is the
/// last of the addresses at which an LLM is looked for, so a real one wins.
fn configuration(state: &Path, stand_in: &str, search: bool) -> anyhow::Result<Config> {
    let urls: Vec<&str> = search
        .then_some(DISCOVER)
        .into_iter()
        .flatten()
        .chain([stand_in])
        .collect();
    // JSON is YAML; paths and URLs are quoted as they must be.
    let yaml = serde_json::json!({
        "version": 1,
        "state_dir": state,
        "listeners": {
            "explicit": "127.0.0.1:0",
            "reverse": {"listen": "127.0.0.1:0"},
            "admin": "127.0.0.1:0",
        },
        "llm": {"discover": true, "discover_ports": urls},
        // Nobody waits for a stream that hangs when the demo is over.
        "limits": {"drain_timeout": "1s"},
    });
    let source = "the demo's configuration";
    // The person's own settings (LOCAL_LLM_BASE_URL above all) may lead off this machine.
    Ok(config::compile(
        &yaml.to_string(),
        source,
        state.to_owned(),
        &HashMap::new(),
    )?)
}

async fn play_all(stage: &Stage, tell: &mut impl FnMut(Event<'_>)) -> anyhow::Result<Report> {
    let Stage {
        running,
        stand_in,
        llm,
        has_a_model: _,
        _scratch,
    } = stage;
    let patience = if llm.is_stand_in() {
        PATIENCE
    } else {
        PATIENCE_WITH_AN_LLM
    };
    let player = Player::new(
        listener(running, "explicit")?,
        listener(running, "reverse")?,
        llm.clone(),
        patience,
        running.ca_bundle(),
    )?;
    let player = Arc::new(player);

    let mut ledger = Ledger::new(|| running.recent());
    let mut steps = Vec::new();
    for scene in play::scenes() {
        tell(Event::Scene {
            title: scene.title,
            host: scene.host,
        });
        for step in scene.steps {
            tell(Event::Begun {
                name: step.name,
                request: step.request,
            });
            ledger.begin_step();
            let mut turn = Turn::new(player.clone());
            let seen = (step.play)(&mut turn).await.and_then(|words| {
                let leak = || "the plugin's credential reached the LLM".to_owned();
                must(!stand_in.saw_a_credential(), leak).map(|()| words)
            });
            let report = step::judge(&step, seen, &turn.traces, &mut ledger).await;
            tell(Event::Ended(&report));
            steps.push(report);
        }
    }
    let left_machine_bytes = ledger.left_machine_bytes();
    let ok = steps.iter().all(|s| s.ok) && left_machine_bytes == 0;
    Ok(Report {
        ok,
        left_machine_bytes,
        llm: llm.clone(),
        steps,
        witnesses: Witnesses::default(),
    })
}

fn listener(running: &Running, name: &str) -> anyhow::Result<SocketAddr> {
    running
        .address(name)
        .with_context(|| format!("the {name} listener is not there"))
}

/// Asks the control plane which LLM was found, and whether it has a model.
async fn which_llm(admin: SocketAddr, stand_in: &StandIn) -> anyhow::Result<(LlmReport, bool)> {
    let deadline = Instant::now() + LLM_WITHIN;
    loop {
        let (_, status) = control::get(admin, "/status").await?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        let text = |key: &str| status["llm"][key].as_str().map(str::to_owned);
        if let (true, Some(url)) = (status["llm"]["up"] == true, text("url")) {
            let kind = match url == stand_in.url() {
                true => LlmReport::STAND_IN.to_owned(),
                false => text("kind").unwrap_or_else(|| "OpenAI-compatible".to_owned()),
            };
            let has_a_model = status["llm"]["models"]
                .as_array()
                .is_some_and(|m| !m.is_empty());
            return Ok((LlmReport { kind, url }, has_a_model));
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "no LLM was found, not even the stand-in"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn metrics_page(running: &Running) -> anyhow::Result<String> {
    let (status, page) = control::get(listener(running, "admin")?, "/metrics").await?;
    anyhow::ensure!(status == 200, "/metrics answers with status {status}");
    Ok(page)
}
