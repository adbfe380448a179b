//! Every metric of this program, by its typed method: names and labels live here and nowhere else.
//!
//! Exposed by `admin` at `/metrics` (Prometheus text format). OTel GenAI names where they exist.
//! Labels are bounded: hosts appear only where a rule or the configuration names them.

use std::{sync::OnceLock, time::Duration};

use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

use crate::{net::Entry, policy::Lockdown};

mod buckets;
mod comfyui;
pub mod drift;
mod ending;
mod limit;
mod models;
mod page;
mod registrar;

use buckets::{DURATION_BUCKETS, OVERHEAD_BUCKETS, TOKEN_BUCKETS, TTFT_BUCKETS};
use comfyui::ComfyUiFigures;
pub use drift::Drift;
use ending::Endings;
pub use ending::{Ending, Sizes};
use limit::LimitCounters;
use models::ModelCounters;
use page::PageCounters;
use registrar::Registrar;

/// Token direction, as OTel's `gen_ai.token.type` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    Input,
    Output,
}

pub struct Metrics {
    registry: Registry,
    endings: Endings,
    decisions: IntCounterVec,
    broken_off: IntCounterVec,
    requests: IntCounterVec,
    bytes: IntCounterVec,
    left_machine: IntCounterVec,
    overhead: HistogramVec,
    /// Those of `overhead` that were used, by entry.
    overheads: [[OnceLock<Histogram>; Entry::ALL.len()]; 2],
    /// Of `bytes`, once there were some.
    llm_sent: OnceLock<IntCounter>,
    llm_received: OnceLock<IntCounter>,
    connections: IntGaugeVec,
    sockets: IntCounterVec,
    dns_queries: IntCounterVec,
    secrets_found: IntCounterVec,
    leaf_cache: IntCounterVec,
    leaf_cache_size: IntGauge,
    telemetry_dropped: IntCounterVec,
    limits: LimitCounters,
    page: PageCounters,
    comfyui: ComfyUiFigures,
    drift: IntCounterVec,
    models: ModelCounters,
    shapes: drift::Shapes,
    mcp_sessions: IntGauge,
    mcp_requests: IntCounterVec,
    llm_errors: IntCounterVec,
    llm_repairs: IntCounterVec,
    llm_up: IntGaugeVec,
    llm_tokens: HistogramVec,
    llm_ttft: HistogramVec,
    llm_duration: HistogramVec,
    llm_per_token: HistogramVec,
    llm_streams: IntGauge,
    audit_records: IntCounter,
    audit_errors: IntCounter,
    ready: IntGauge,
    policy_reloads: IntCounterVec,
    policy_generation: IntGauge,
    policy_last_reload_ok: IntGauge,
    lockdown: IntGauge,
    selftest_cases: IntGauge,
    selftest_failed: IntGauge,
    selftest_escapes: IntCounter,
    selftest_last_run: IntGauge,
    rss: IntGauge,
    fds: IntGauge,
    start_time: IntGauge,
    ready_seconds: Histogram,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything; panics only on a name used twice, which the unit test would show.
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = Registrar {
            registry: &registry,
        };
        let build = r.gauges(
            "airlock_build_info",
            "Version of the running binary; always 1.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            decisions: r.counters(
                "airlock_decisions_total",
                "Decisions by checkpoint outcome.",
                &["entry", "action", "rule", "reason"],
            ),
            broken_off: r.counters(
                "airlock_broken_off_total",
                "Requests and connections that were allowed and did not end in peace, by reason.",
                &["entry", "reason"],
            ),
            requests: r.counters(
                "airlock_requests_total",
                "Finished requests by who answered.",
                &["entry", "answered_by", "status"],
            ),
            bytes: r.counters(
                "airlock_bytes_total",
                "Body and tunnel bytes; direction is seen from this machine's user.",
                &["direction", "destination"],
            ),
            left_machine: r.counters(
                "airlock_left_machine_bytes_total",
                "Bytes sent to anywhere but this machine, by the rule that let them go.",
                &["rule"],
            ),
            overheads: Default::default(),
            llm_sent: OnceLock::new(),
            llm_received: OnceLock::new(),
            overhead: r.histograms(
                "airlock_overhead_seconds",
                "Our own time before the first upstream or local work of a request.",
                &["entry", "action"],
                OVERHEAD_BUCKETS,
            ),
            connections: r.gauges(
                "airlock_connections",
                "Open downstream connections.",
                &["entry"],
            ),
            sockets: r.counters(
                "airlock_upstream_sockets_total",
                "Outbound sockets opened, by destination class.",
                &["class", "outcome"],
            ),
            dns_queries: r.counters(
                "airlock_dns_queries_total",
                "Name look-ups made, by outcome.",
                &["outcome"],
            ),
            secrets_found: r.counters(
                "airlock_secrets_found_total",
                "Secrets found in forwarded requests, by kind and what was done.",
                &["kind", "action"],
            ),
            leaf_cache: r.counters(
                "airlock_leaf_cache_total",
                "Leaf certificate look-ups.",
                &["outcome"],
            ),
            leaf_cache_size: r.gauge("airlock_leaf_cache_size", "Leaf certificates held."),
            limits: LimitCounters::new(&r),
            page: PageCounters::new(&r),
            models: ModelCounters::new(&r),
            comfyui: ComfyUiFigures::new(&r),
            telemetry_dropped: r.counters(
                "airlock_telemetry_dropped_total",
                "Telemetry events answered here and thrown away.",
                &["event_type"],
            ),
            drift: r.counters(
                "airlock_standin_drift_total",
                "Requests to a stand-in that carry a route or field it does not know.",
                &["responder", "kind"],
            ),
            shapes: drift::Shapes::default(),
            mcp_sessions: r.gauge("airlock_mcp_sessions", "Open MCP sessions."),
            mcp_requests: r.counters(
                "airlock_mcp_requests_total",
                "MCP messages handled.",
                &["method", "outcome"],
            ),
            llm_errors: r.counters(
                "airlock_llm_upstream_errors_total",
                "Failed LLM calls, by kind.",
                &["kind"],
            ),
            llm_repairs: r.counters(
                "airlock_llm_repairs_total",
                "Quirks repaired in LLM requests and answers.",
                &["kind"],
            ),
            llm_up: r.gauges(
                "airlock_llm_up",
                "1 if the LLM upstream answered its last probe or call.",
                &["upstream"],
            ),
            llm_tokens: r.histograms(
                "gen_ai_client_token_usage",
                "Tokens per call (OTel gen_ai.client.token.usage).",
                &[
                    "gen_ai_operation_name",
                    "gen_ai_request_model",
                    "gen_ai_token_type",
                ],
                TOKEN_BUCKETS,
            ),
            llm_ttft: r.histograms(
                "gen_ai_server_time_to_first_token_seconds",
                "Time to first streamed content (OTel gen_ai.server.time_to_first_token).",
                &["gen_ai_operation_name", "gen_ai_request_model"],
                TTFT_BUCKETS,
            ),
            llm_duration: r.histograms(
                "gen_ai_client_operation_duration_seconds",
                "Duration of LLM calls (OTel gen_ai.client.operation.duration).",
                &[
                    "gen_ai_operation_name",
                    "gen_ai_request_model",
                    "error_type",
                ],
                DURATION_BUCKETS,
            ),
            llm_per_token: r.histograms(
                "gen_ai_server_time_per_output_token_seconds",
                "Pace after the first token (OTel gen_ai.server.time_per_output_token).",
                &["gen_ai_operation_name", "gen_ai_request_model"],
                TTFT_BUCKETS,
            ),
            llm_streams: r.gauge("airlock_llm_streams", "LLM streams open now."),
            audit_records: r.counter("airlock_audit_records_total", "Audit records written."),
            audit_errors: r.counter(
                "airlock_audit_errors_total",
                "Failed attempts to write audit records, and records lost.",
            ),
            policy_reloads: r.counters(
                "airlock_policy_reloads_total",
                "Reloads of the configuration, by outcome.",
                &["outcome"],
            ),
            policy_generation: r.gauge(
                "airlock_policy_generation",
                "Generation of the policy in force; 1 is that of the start.",
            ),
            policy_last_reload_ok: r.gauge(
                "airlock_policy_last_reload_ok",
                "0 while the newest configuration was refused and an older policy stands.",
            ),
            lockdown: r.gauge(
                "airlock_lockdown",
                "Kill switch: 0 off, 1 nothing leaves, 2 nothing is answered.",
            ),
            selftest_cases: r.gauge(
                "airlock_selftest_cases",
                "Cases of the last round of self-tests.",
            ),
            selftest_failed: r.gauge(
                "airlock_selftest_failed",
                "Cases of the last round that did not end as they should, escapes included.",
            ),
            selftest_escapes: r.counter(
                "airlock_selftest_escapes_total",
                "Ways through that self-tests found. Must stay at zero.",
            ),
            selftest_last_run: r.gauge(
                "airlock_selftest_last_run_timestamp_seconds",
                "When the last round of self-tests ended, Unix time; 0 before the first.",
            ),
            ready: r.gauge(
                "airlock_ready",
                "1 when every listener is bound and the policy is loaded.",
            ),
            rss: r.gauge("process_resident_memory_bytes", "Resident memory."),
            fds: r.gauge("process_open_fds", "Open file descriptors."),
            start_time: r.gauge(
                "process_start_time_seconds",
                "Start of the process, Unix time.",
            ),
            ready_seconds: r.histogram(
                "airlock_start_seconds",
                "From process start to ready.",
                OVERHEAD_BUCKETS,
            ),
            registry,
            endings: Endings::default(),
        }
    }

    pub fn broken_off(&self, entry: Entry, reason: &str) {
        self.broken_off
            .with_label_values(&[entry.as_str(), reason])
            .inc();
    }
    /// Bytes of a body that the LLM was sent.
    pub fn llm_sent(&self, bytes: usize) {
        let find = || self.bytes.with_label_values(&["sent", "llm"]);
        self.llm_sent.get_or_init(find).inc_by(bytes as u64);
    }
    /// Bytes of an answer of the LLM's. Once per piece: a look-up by labels would cost more than the counting.
    pub fn llm_received(&self, bytes: usize) {
        let find = || self.bytes.with_label_values(&["received", "llm"]);
        self.llm_received.get_or_init(find).inc_by(bytes as u64);
    }
    /// What a request that is sent on waited for us.
    pub fn overhead_forward(&self, entry: Entry, took: Duration) {
        self.overhead_of(0, "forward", entry, took);
    }
    /// The same for one that is answered here.
    pub fn overhead_respond(&self, entry: Entry, took: Duration) {
        self.overhead_of(1, "respond", entry, took);
    }
    /// Once per request: a look-up by labels would cost more than the counting.
    fn overhead_of(&self, row: usize, action: &str, entry: Entry, took: Duration) {
        let place = self.overheads.get(row).and_then(|r| r.get(entry as usize));
        let find = || self.overhead.with_label_values(&[entry.as_str(), action]);
        match place {
            Some(place) => place.get_or_init(find).observe(took.as_secs_f64()),
            None => find().observe(took.as_secs_f64()),
        }
    }
    pub fn connection_opened(&self, entry: Entry) {
        self.connections.with_label_values(&[entry.as_str()]).inc();
    }
    pub fn connection_closed(&self, entry: Entry) {
        self.connections.with_label_values(&[entry.as_str()]).dec();
    }
    /// `class`: an [`crate::net::AddressClass`] code; `outcome`: `ok` or an error reason code.
    pub fn socket(&self, class: &str, outcome: &str) {
        self.sockets.with_label_values(&[class, outcome]).inc();
    }
    pub fn dns_query(&self, outcome: &str) {
        self.dns_queries.with_label_values(&[outcome]).inc();
    }
    /// `kind`: a [`crate::policy::secrets::Kind`] code; `action`: `block` or `redact`.
    pub fn secret_found(&self, kind: &str, action: &str) {
        self.secrets_found.with_label_values(&[kind, action]).inc();
    }
    pub fn leaf(&self, hit: bool, size: usize) {
        self.leaf_cache
            .with_label_values(&[if hit { "hit" } else { "miss" }])
            .inc();
        self.leaf_cache_size.set(size as i64);
    }
    /// `event_type` must come from a closed set; unknown ones are `other`.
    pub fn telemetry_dropped(&self, event_type: &str) {
        self.telemetry_dropped
            .with_label_values(&[event_type])
            .inc();
    }
    pub fn mcp_sessions(&self, open: usize) {
        self.mcp_sessions.set(open as i64);
    }
    pub fn mcp_request(&self, method: &str, outcome: &str) {
        self.mcp_requests
            .with_label_values(&[method, outcome])
            .inc();
    }
    /// `kind`: `connect`, `timeout`, `status`, `mid_stream`, `no_upstream`, `bad_answer`.
    pub fn llm_error(&self, kind: &str) {
        self.llm_errors.with_label_values(&[kind]).inc();
    }
    pub fn llm_repair(&self, kind: &str) {
        self.llm_repairs.with_label_values(&[kind]).inc();
    }
    pub fn llm_up(&self, upstream: &str, up: bool) {
        self.llm_up.with_label_values(&[upstream]).set(up.into());
    }
    /// `operation`: `chat`, `text_completion`, `embeddings`; `model`: the upstream's name for it.
    pub fn llm_tokens(&self, operation: &str, model: &str, token_type: TokenType, tokens: u64) {
        let kind = match token_type {
            TokenType::Input => "input",
            TokenType::Output => "output",
        };
        self.llm_tokens
            .with_label_values(&[operation, model, kind])
            .observe(tokens as f64);
    }
    pub fn llm_ttft(&self, operation: &str, model: &str, took: Duration) {
        self.llm_ttft
            .with_label_values(&[operation, model])
            .observe(took.as_secs_f64());
    }
    /// `error_type`: empty for success, else the kind given to [`Metrics::llm_error`].
    pub fn llm_duration(&self, operation: &str, model: &str, error_type: &str, took: Duration) {
        self.llm_duration
            .with_label_values(&[operation, model, error_type])
            .observe(took.as_secs_f64());
    }
    pub fn llm_per_token(&self, operation: &str, model: &str, pace: Duration) {
        self.llm_per_token
            .with_label_values(&[operation, model])
            .observe(pace.as_secs_f64());
    }
    pub fn llm_stream_opened(&self) {
        self.llm_streams.inc();
    }
    pub fn llm_stream_closed(&self) {
        self.llm_streams.dec();
    }
    pub fn audit_record(&self, written: bool) {
        if written {
            self.audit_records.inc()
        } else {
            self.audit_errors.inc()
        }
    }
    /// `generation`: of the policy that is in force afterwards.
    pub fn policy_loaded(&self, generation: u64) {
        self.policy_generation.set(generation as i64);
        self.policy_last_reload_ok.set(1);
    }
    pub fn policy_reloaded(&self, ok: bool) {
        let outcome = if ok { "applied" } else { "refused" };
        self.policy_reloads.with_label_values(&[outcome]).inc();
        self.policy_last_reload_ok.set(ok.into());
    }
    /// A round of self-tests that ended now.
    pub fn selftested(&self, cases: usize, failed: usize, escapes: usize, now: i64) {
        let wide = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.selftest_cases.set(wide(cases));
        self.selftest_failed.set(wide(failed));
        self.selftest_escapes.inc_by(escapes as u64);
        self.selftest_last_run.set(now);
    }

    pub fn lockdown(&self, level: Lockdown) {
        self.lockdown.set(match level {
            Lockdown::Off => 0,
            Lockdown::Egress => 1,
            Lockdown::All => 2,
        });
    }
    pub fn ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }
    pub fn started(&self, unix_seconds: i64, took: Duration) {
        self.start_time.set(unix_seconds);
        self.ready_seconds.observe(took.as_secs_f64());
    }

    /// Prometheus text format, with process figures read now.
    pub fn render(&self) -> String {
        if let Some((rss, fds)) = process_figures() {
            self.rss.set(rss);
            self.fds.set(fds);
        }
        let mut out = Vec::with_capacity(16 << 10);
        // Writing to a Vec cannot fail, and our names are valid by construction.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Resident bytes and open descriptors from `/proc`; `None` where there is no `/proc`.
fn process_figures() -> Option<(i64, i64)> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let fds = std::fs::read_dir("/proc/self/fd").ok()?.count() as i64;
    Some((pages * 4096, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_renders() {
        let m = Metrics::new();
        m.connection_opened(Entry::Explicit);
        m.dns_query("ok");
        let text = m.render();
        assert!(text.contains(r#"airlock_connections{entry="explicit"} 1"#));
        assert!(text.contains(r#"airlock_dns_queries_total{outcome="ok"} 1"#));
    }
}
