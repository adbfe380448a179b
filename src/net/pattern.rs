//! Host patterns of rules: an exact name, or `*.suffix` for names below it (never the apex).

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPattern;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad host pattern")]
pub struct PatternError;
