//! The program's own log (stderr): human lines on a terminal, JSON elsewhere or when asked.
//!
//! The audit log is another thing: `audit` writes one record per decision to a file.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Installs the subscriber once; a second call (tests, `demo` inside a test) does nothing.
///
/// `filter`: `RUST_LOG` syntax, for example `info,airlock=debug`.
pub fn install(filter: Option<&str>, json: bool) {
    let filter = EnvFilter::try_new(filter.unwrap_or("warn,airlock=info"))
        .unwrap_or_else(|_| EnvFilter::new("warn,airlock=info"));
    // Pingora logs every refused or broken client at error level; we audit those ourselves.
    let filter = ["pingora_proxy=off", "pingora_core=error"]
        .into_iter()
        .filter_map(|d| d.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let terminal = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(terminal);
    let _ = if json {
        registry.with(layer.json()).try_init()
    } else {
        registry.with(layer.without_time().compact()).try_init()
    };
}
