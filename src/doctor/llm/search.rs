//! What answers on the usual ports.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Finding, Tools, count, millis};
use crate::{
    config::Config,
    gateway::discovery::{self, ProbeResult},
    llm::problem::Problem,
    net::BaseUrl,
};

const CHECK: &str = "llm_search";
/// A port of this machine answers at once, or is busy with something else.
const TIMEOUT: Duration = Duration::from_millis(1500);
const MODELS_SHOWN: usize = 6;

/// One finding for each place, and the LLMs in the order of the places.
pub async fn examine(config: &Config, tools: &Tools) -> (Vec<Finding>, Vec<ProbeResult>) {
    if !config.llm.discover {
        return (Vec::new(), Vec::new());
    }
    let places = &tools.settings.discover_urls;
    let probes = places
        .iter()
        .map(|url| discovery::probe(&tools.client, url, None, TIMEOUT));
    let results = join_all(probes).await;
    let findings = places
        .iter()
        .zip(&results)
        .map(|(url, result)| place(url, result))
        .collect();
    (
        findings,
        results.into_iter().filter_map(Result::ok).collect(),
    )
}

fn place(url: &BaseUrl, result: &Result<ProbeResult, Problem>) -> Finding {
    match result {
        Ok(ProbeResult {
            kind,
            models,
            latency,
            ..
        }) => {
            let all = models.models.len();
            let mut names: Vec<&str> = models
                .models
                .iter()
                .take(MODELS_SHOWN)
                .map(|m| &*m.id)
                .collect();
            if all > MODELS_SHOWN {
                names.push("…");
            }
            Finding::ok(
                CHECK,
                format!(
                    "{url}: {}, {} ({}), {}",
                    kind.as_str(),
                    count(all, "model"),
                    if names.is_empty() {
                        "none loaded".to_owned()
                    } else {
                        names.join(", ")
                    },
                    millis(*latency),
                ),
            )
        }
        // An empty port is no fault as long as the LLM is somewhere; `none` says so if it is not.
        Err(problem) => Finding::ok(CHECK, format!("{url}: {}", briefly(problem))),
    }
}

/// The problem without its fix: an LLM need not be there.
fn briefly(problem: &Problem) -> String {
    match problem {
        Problem::Unreachable { detail, .. } => format!("nothing there ({detail})"),
        Problem::Tls { .. } | Problem::NotOpenAi { .. } | Problem::Broken { .. } => {
            "something answers that is no LLM".to_owned()
        }
        Problem::Refused(refusal) => {
            format!(
                "something answers with status {}: {}",
                refusal.status, refusal.message
            )
        }
        Problem::Slow { waited, .. } => format!("no answer in {}", millis(*waited)),
        Problem::NoneFound { .. } | Problem::BadRequest { .. } => "not asked".to_owned(),
    }
}

pub fn none(config: &Config) -> Finding {
    let words = if config.llm.discover {
        "no LLM is configured, and none answers on the usual ports"
    } else {
        "no LLM is configured, and llm.discover is off"
    };
    Finding::fail(
        "llm",
        words,
        "start one (`ollama serve`, `llama-server`, `vllm serve`, LM Studio's server), or set \
         LOCAL_LLM_BASE_URL to where it runs, for example http://sparkle:8000/v1",
    )
}
