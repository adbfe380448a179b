//! One case: bytes, where they go in, and how it must end. Data only; `driver` plays it.

use std::fmt;

use crate::{net::Authority, policy::Reason};

use super::lane::Lane;

#[derive(Clone)]
pub struct Case {
    /// Of docs/EGRESS.md, 1 to 55.
    pub group: u8,
    pub lane: Lane,
    /// What is tried, for a person.
    pub sentence: String,
    pub script: Script,
    pub expected: Expected,
    /// Where a hole would lead, when the refusal rests on the rules alone. `None`: it rests on the
    /// form of the bytes, or leads nowhere but into this process.
    pub destination: Option<Authority>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "group {} by {}: {}",
            self.group,
            self.lane.as_str(),
            self.sentence
        )
    }
}

/// What is done on one connection.
#[derive(Clone)]
pub enum Script {
    Wire {
        opening: Opening,
        steps: Vec<Step>,
    },
    /// Ends with what went wrong.
    Check(std::sync::Arc<dyn Fn() -> Result<(), String> + Send + Sync>),
}

/// What comes before the case's own bytes, and must succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    Direct,
    /// A CONNECT that is answered with 200.
    Tunnel {
        authority: String,
    },
    /// A handshake that trusts our CA; behind a CONNECT unless the lane is transparent.
    Inside {
        authority: String,
        name: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Written and flushed by itself.
    Send(Vec<u8>),
    /// A request that has to be answered before the next step.
    Answered(Vec<u8>),
    /// TLS bytes that the other side answers with a record, which is read and dropped.
    Flight(Vec<u8>),
    /// No more will come from us.
    HalfClose,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Refused, for one of these reasons. Said in HTTP where HTTP is spoken, else by closing.
    Refused(Vec<Reason>),
    /// Let in as far as a handshake in this process, which fails for one of these reasons.
    BrokenOff(Vec<Reason>),
    /// Answered in this process.
    Answered,
    /// Our own ServerHello comes.
    Handshake,
    /// The control plane's answer.
    Status(u16),
    /// The check says so.
    Holds,
}

impl Expected {
    /// Cases that show that the lane works at all.
    pub fn is_control(&self) -> bool {
        match self {
            Expected::Answered | Expected::Handshake => true,
            Expected::Refused(_)
            | Expected::BrokenOff(_)
            | Expected::Status(_)
            | Expected::Holds => false,
        }
    }

    pub fn reasons(&self) -> &[Reason] {
        match self {
            Expected::Refused(reasons) | Expected::BrokenOff(reasons) => reasons,
            Expected::Answered | Expected::Handshake | Expected::Status(_) | Expected::Holds => &[],
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |reasons: &[Reason]| {
            let codes: Vec<_> = reasons.iter().map(|r| r.code()).collect();
            codes.join(" or ")
        };
        match self {
            Expected::Refused(reasons) => write!(f, "refused: {}", list(reasons)),
            Expected::BrokenOff(reasons) => write!(f, "broken off: {}", list(reasons)),
            Expected::Answered => f.write_str("answered by airlock"),
            Expected::Handshake => f.write_str("a handshake with airlock"),
            Expected::Status(status) => write!(f, "status {status}"),
            Expected::Holds => f.write_str("the check holds"),
        }
    }
}

/// How it ended, as seen from the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The typed refusal with this reason, and then the end of the connection.
    Refused(String),
    /// An answer that carries no refusal of ours, or one more answer behind a refusal.
    Answered {
        status: u16,
        ours: bool,
    },
    /// A ServerHello.
    Handshake,
    /// Closed, or a TLS alert, without an answer.
    Closed,
    /// Nothing came, and it stayed open.
    Silent,
    /// The control plane's status.
    Status(u16),
    Held,
    /// The check failed, or the case could not be played: the opening failed, no connection.
    Failed(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Refused(code) => write!(f, "refused: {code}"),
            Verdict::Answered { status, ours: true } => write!(f, "answered here with {status}"),
            Verdict::Answered {
                status,
                ours: false,
            } => {
                write!(f, "answered with {status}, unmarked")
            }
            Verdict::Handshake => f.write_str("a handshake began"),
            Verdict::Closed => f.write_str("closed without an answer"),
            Verdict::Silent => f.write_str("left open"),
            Verdict::Status(status) => write!(f, "status {status}"),
            Verdict::Held => f.write_str("the check holds"),
            Verdict::Failed(words) => f.write_str(words),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// As expected.
    Right,
    /// Not let through, but not as expected either.
    Wrong(String),
    /// Not refused.
    Escaped(String),
}

impl Case {
    pub fn judge(&self, verdict: &Verdict) -> Judgement {
        let said = || format!("expected {}, got {verdict}", self.expected);
        let right = match (&self.expected, verdict) {
            (Expected::Refused(reasons), Verdict::Refused(code)) => {
                reasons.iter().any(|r| r.code() == code)
            }
            (Expected::Refused(_), Verdict::Closed) => self.refusal_is_silent(),
            (Expected::BrokenOff(_), Verdict::Closed) => true,
            (Expected::Answered, Verdict::Answered { ours, .. }) => *ours,
            (Expected::Handshake, Verdict::Handshake) => true,
            (Expected::Status(want), Verdict::Status(got)) => want == got,
            (Expected::Holds, Verdict::Held) => true,
            _ => false,
        };
        if right {
            return Judgement::Right;
        }
        let escaped = match (&self.expected, verdict) {
            // An error of somebody else's making is no way through, and not as it should be either.
            (Expected::Refused(_) | Expected::BrokenOff(_), Verdict::Answered { status, ours }) => {
                *ours || *status < 400
            }
            (
                Expected::Refused(_) | Expected::BrokenOff(_),
                Verdict::Handshake | Verdict::Silent,
            ) => true,
            (Expected::Status(_), Verdict::Status(got)) => *got < 400,
            (Expected::Holds, _) => true,
            _ => false,
        };
        if escaped {
            Judgement::Escaped(said())
        } else {
            Judgement::Wrong(said())
        }
    }

    /// Before TLS is up there is no HTTP to say a refusal in.
    pub fn refusal_is_silent(&self) -> bool {
        match &self.script {
            Script::Wire { opening, .. } => match opening {
                Opening::Tunnel { .. } => true,
                Opening::Direct => self.lane == Lane::TransparentTls,
                Opening::Inside { .. } => false,
            },
            Script::Check(_) => false,
        }
    }

    /// Audit records that playing it leaves, the refusal's own being the last.
    pub fn records(&self) -> usize {
        match &self.script {
            Script::Check(_) => 0,
            Script::Wire { .. } if self.lane == Lane::Admin => 0,
            Script::Wire { opening, steps } => {
                let answered = steps.iter().filter(|s| matches!(s, Step::Answered(_)));
                let inside = matches!(opening, Opening::Inside { .. });
                1 + usize::from(inside) + answered.count()
            }
        }
    }
}
