//! A fault in deciding is a refusal.
//!
//! Both checkpoints are asked through [`guarded`], by `listener` and `proxy`. Rules are data, and none
//! should make the code panic; if one does, the answer is no, with a reason and a record, instead of a
//! connection that just ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::decision::{Decision, Reason, RuleName};

/// What `decide` says, or `deny` if it panics; in report mode too, for nobody knows what it would
/// have said. The panic's words are in the log already, by the hook.
pub fn guarded<A>(deny: A, decide: impl FnOnce() -> Decision<A>) -> Decision<A> {
    // A compiled policy never changes, so there is no half-made state to meet again.
    catch_unwind(AssertUnwindSafe(decide)).unwrap_or_else(|_| Decision {
        action: deny,
        rule: RuleName::none(),
        reason: Reason::PolicyFault,
        would_deny: None,
        terms: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, ConnectionAction};

    fn allowed<A>(action: A) -> Decision<A> {
        Decision {
            action,
            rule: RuleName::new("mine"),
            reason: Reason::RuleAllows,
            would_deny: None,
            terms: None,
        }
    }

    #[test]
    fn a_panic_in_a_decision_denies_and_says_so_and_the_next_one_is_as_ever() {
        let nothing: [Decision<Action>; 0] = [];
        let out_of_bounds = std::hint::black_box(7);
        let decision = guarded(Action::Deny, || nothing[out_of_bounds].clone());
        assert_eq!(decision.action, Action::Deny);
        assert_eq!(decision.reason, Reason::PolicyFault);
        assert_eq!(decision.reason.status(), 503);

        let decision = guarded(ConnectionAction::Deny, || panic!("a rule's fault"));
        assert_eq!(decision.action, ConnectionAction::Deny);
        assert_eq!(decision.reason, Reason::PolicyFault);

        let decision = guarded(Action::Deny, || allowed(Action::Forward));
        assert_eq!(decision.action, Action::Forward);
        assert_eq!(decision.reason, Reason::RuleAllows);
    }
}
