//! One record per decision, as JSON lines with rotation. Never a body, a query, a header value.
//!
//! `record` is the shape, `line` how it is written, `log` the writer, `file` what it writes to, `book`
//! what a receipt is made of.
//! `proxy::finish` is the only producer.

mod book;
mod file;
mod line;
mod log;
mod record;

pub use book::Book;
pub use log::{AuditError, AuditLog, AuditSettings};
pub use record::{AuditKind, AuditRecord};
