//! Why a source did not give what was asked for, in words for the person at the dialog.

use std::time::Duration;

use crate::{policy::Reason, weights::Source};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Policy leaves it out.
    #[error("{} is not asked: airlock's models.sources names it not", .0.title())]
    Off(Source),
    #[error("no source of airlock has this model")]
    NotKnown,
    #[error("it is on this machine already, in models/{0}: choose it in the node")]
    AlreadyHere(String),
    #[error(
        "{} wants a login and consent to the model's terms: accept them there, and give airlock the token", .0.title()
    )]
    Gated(Source),
    #[error(
        "its weights are pickles ({0}), which can run code when they are loaded: airlock offers safetensors; models.allow_formats in its configuration allows more"
    )]
    Unsafe(String),
    #[error("it has no weights that ComfyUI loads")]
    NoWeights,
    #[error("it needs {} and {} are free where models go: make room first", size(*.needed), size(*.free))]
    NoRoom { needed: u64, free: u64 },
    /// By our own rules, or the address check.
    #[error("airlock did not ask {host}: {reason}")]
    Refused { host: String, reason: Reason },
    #[error("{} could not be reached: {detail}", .from.title())]
    Unreachable { from: Source, detail: String },
    #[error("{} did not answer in time", .0.title())]
    TooSlow(Source),
    #[error("{} asks for a pause of {} s", .from.title(), .pause.as_secs().max(1))]
    Busy { from: Source, pause: Duration },
    #[error("{} answered with status {status}", .from.title())]
    Status { from: Source, status: u16 },
    /// Well-formed HTTP, and not what the hub's documentation says.
    #[error("{}'s answer cannot be used: {detail}", .from.title())]
    Answer { from: Source, detail: String },
}

impl SourceError {
    /// The same request can do better a little later.
    pub fn passes(&self) -> bool {
        match self {
            SourceError::Unreachable { .. }
            | SourceError::TooSlow(_)
            | SourceError::Busy { .. } => true,
            SourceError::Status { status, .. } => *status >= 500,
            SourceError::Off(_)
            | SourceError::NotKnown
            | SourceError::AlreadyHere(_)
            | SourceError::Gated(_)
            | SourceError::Unsafe(_)
            | SourceError::NoWeights
            | SourceError::NoRoom { .. }
            | SourceError::Refused { .. }
            | SourceError::Answer { .. } => false,
        }
    }

    /// Metric label.
    pub fn code(&self) -> &'static str {
        match self {
            SourceError::Off(_) => "off",
            SourceError::NotKnown => "not_known",
            SourceError::AlreadyHere(_) => "already_here",
            SourceError::Gated(_) => "gated",
            SourceError::Unsafe(_) => "unsafe_format",
            SourceError::NoWeights => "no_weights",
            SourceError::NoRoom { .. } => "no_room",
            SourceError::Refused { .. } => "refused",
            SourceError::Unreachable { .. } => "unreachable",
            SourceError::TooSlow(_) => "timeout",
            SourceError::Busy { .. } => "rate_limited",
            SourceError::Status { .. } => "status",
            SourceError::Answer { .. } => "bad_answer",
        }
    }
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "bytes" => format!("{bytes} bytes"),
        unit => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (4096, "4.1 KB"),
            (6_938_078_334, "6.9 GB"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }
}
