//! The shape of an answer.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// Works, but not as a person may expect.
    Warn,
    /// Something of the plugin does not work like this.
    Fail,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

/// One thing that was looked at. Field names are the `--json` contract of `airlock doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; stable, snake_case.
    pub check: &'static str,
    pub status: Status,
    pub finding: String,
    /// What to do; always there unless `status` is ok.
    pub fix: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            finding: finding.into(),
            fix: None,
        }
    }
    pub fn warn(check: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Warn,
            finding: finding.into(),
            fix: Some(fix.into()),
        }
    }
    pub fn fail(check: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Fail,
            finding: finding.into(),
            fix: Some(fix.into()),
        }
    }

    /// A failure becomes a warning: true, but of no effect here.
    pub fn only_warned(self) -> Self {
        Self {
            status: self.status.min(Status::Warn),
            ..self
        }
    }
}
