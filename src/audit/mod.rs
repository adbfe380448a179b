//! One record per decision, as JSON lines with rotation. Never a body, a query, a header value.
//!
//! `record` is the shape, `line` how it is written, `log` the writer. `proxy::finish` is the only producer.

mod line;
mod log;
mod record;

pub use log::{AuditError, AuditLog, AuditSettings};
pub use record::{AuditKind, AuditRecord};
