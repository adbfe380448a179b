//! What a run found, as `--json` prints it. Field names are stable: scripts read them.

use serde::Serialize;

use crate::net::Entry;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Every step was answered as the plugin needs, or refused as it should be, and nothing left.
    pub ok: bool,
    /// Over every audit record of the run, those of no step included.
    pub left_machine_bytes: u64,
    pub llm: LlmReport,
    pub steps: Vec<StepReport>,
    #[serde(skip)]
    pub witnesses: Witnesses,
}

/// Which LLM answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LlmReport {
    /// `stand-in`, or the server that was found: `vLLM`, `llama.cpp`, `Ollama`, `LM Studio`, ...
    pub kind: String,
    pub url: String,
}

impl LlmReport {
    pub const STAND_IN: &'static str = "stand-in";

    pub fn is_stand_in(&self) -> bool {
        self.kind == Self::STAND_IN
    }
}

/// One step; what was decided comes from the audit record of that very request.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    pub name: &'static str,
    pub entry: Entry,
    /// `METHOD URL`, or `CONNECT host:port`.
    pub request: &'static str,
    /// The record's action; `null` if no record was written, which is a failure.
    pub decision: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub answered_by: Option<String>,
    pub left_machine_bytes: u64,
    pub ok: bool,
    /// What was seen, or what is wrong.
    pub detail: String,
}

impl StepReport {
    pub fn is_refusal(&self) -> bool {
        self.decision == Some("deny")
    }
}

/// What the metrics say at the end: a second opinion beside the audit records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// Sockets dialled to anywhere but loopback, successful or not.
    pub sockets_off_machine: u64,
    pub name_lookups: u64,
    pub bytes_off_machine: u64,
}

impl Witnesses {
    /// Reads a `/metrics` page.
    pub fn of(metrics: &str) -> Self {
        let mut out = Self::default();
        for line in metrics.lines().filter(|l| !l.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            // Counters are whole numbers; one that cannot be read must not pass for zero.
            let value = value.parse::<f64>().map_or(u64::MAX, |v| v as u64);
            let name = series.split('{').next().unwrap_or(series);
            let sum = match name {
                "airlock_upstream_sockets_total" if !series.contains(r#"class="loopback""#) => {
                    &mut out.sockets_off_machine
                }
                "airlock_dns_queries_total" => &mut out.name_lookups,
                "airlock_left_machine_bytes_total" => &mut out.bytes_off_machine,
                _ => continue,
            };
            *sum = sum.saturating_add(value);
        }
        out
    }

    pub fn all_zero(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_page_is_read_as_a_second_opinion() {
        let page = "# HELP airlock_upstream_sockets_total Outbound sockets opened.\n\
            airlock_upstream_sockets_total{class=\"loopback\",outcome=\"ok\"} 3\n";
        assert!(Witnesses::of(page).all_zero());
        let page = format!(
            "{page}airlock_upstream_sockets_total{{class=\"public\",outcome=\"connect_failed\"}} 2\n\
             airlock_upstream_sockets_total{{class=\"private\",outcome=\"ok\"}} 1\n\
             airlock_dns_queries_total{{outcome=\"ok\"}} 4\n\
             airlock_left_machine_bytes_total{{rule=\"a\"}} 5\n\
             airlock_left_machine_bytes_total{{rule=\"b\"}} 6\n"
        );
        let expected = Witnesses {
            sockets_off_machine: 3,
            name_lookups: 4,
            bytes_off_machine: 11,
        };
        assert_eq!(Witnesses::of(&page), expected);
        assert!(!Witnesses::of("airlock_dns_queries_total{outcome=\"ok\"} what").all_zero());
    }
}
