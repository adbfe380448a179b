//! One record per decision, as JSON lines with rotation. Never a body, a query, a header value.
//!
//! `record` is the shape, `line` how it is written, `log` the writer, `file` what it writes to.
//! `proxy::finish` is the only producer.

mod file;
mod line;
mod log;
mod record;

pub use log::{AuditError, AuditLog, AuditSettings};
pub use record::{AuditKind, AuditRecord};
