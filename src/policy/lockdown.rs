//! The kill switch: above every rule, in both modes. Held by `upstream::gate`, kept by `store`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Action, ConnectionAction};

/// How much is shut, in rising order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Lockdown {
    #[default]
    Off,
    /// Nothing is forwarded and nothing leaves this machine; what is answered on it still is,
    /// an LLM on loopback included.
    Egress,
    /// Nothing is answered at all.
    All,
}

impl Lockdown {
    pub const ALL: [Lockdown; 3] = [Lockdown::Off, Lockdown::Egress, Lockdown::All];

    pub fn as_str(self) -> &'static str {
        match self {
            Lockdown::Off => "off",
            Lockdown::Egress => "egress",
            Lockdown::All => "all",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }

    /// Whether a connection that policy allows is refused all the same. What is intercepted is
    /// judged request by request.
    pub fn forbids_connection(self, action: ConnectionAction) -> bool {
        match (self, action) {
            (Lockdown::Off, _) | (_, ConnectionAction::Deny) => false,
            (Lockdown::Egress, ConnectionAction::Intercept) => false,
            (Lockdown::Egress, ConnectionAction::Tunnel) => true,
            (Lockdown::All, ConnectionAction::Tunnel | ConnectionAction::Intercept) => true,
        }
    }

    /// Whether a request that policy allows is refused all the same.
    pub fn forbids_request(self, action: Action) -> bool {
        match (self, action) {
            (Lockdown::Off, _) | (_, Action::Deny) => false,
            (Lockdown::Egress, Action::Respond(_)) => false,
            (Lockdown::Egress, Action::Forward) => true,
            (Lockdown::All, Action::Forward | Action::Respond(_)) => true,
        }
    }
}

impl fmt::Display for Lockdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Responder;

    #[test]
    fn a_lockdown_shuts_what_leaves_and_with_all_everything() {
        let respond = Action::Respond(Responder::Llm);
        for (level, tunnel, intercept, forward, answered) in [
            (Lockdown::Off, false, false, false, false),
            (Lockdown::Egress, true, false, true, false),
            (Lockdown::All, true, true, true, true),
        ] {
            let found = (
                level.forbids_connection(ConnectionAction::Tunnel),
                level.forbids_connection(ConnectionAction::Intercept),
                level.forbids_request(Action::Forward),
                level.forbids_request(respond),
            );
            assert_eq!(found, (tunnel, intercept, forward, answered), "{level}");
            assert_eq!(Lockdown::parse(level.as_str()), Some(level));
            assert_eq!(level.to_string(), level.as_str());
            // A refusal keeps its own reason.
            assert!(!level.forbids_request(Action::Deny));
        }
    }
}
