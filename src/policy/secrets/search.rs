//! How closely a request is looked into, as a value: two of them can be compared.
//!
//! `proxy::outgoing` looks by one; after a reload, `proxy::looked` asks whether what was looked into by the
//! old one could have passed by the new one.

use std::sync::Arc;

use super::{super::Terms, Detector, SecretMode};

/// What is looked for in a request, and what is done about it.
#[derive(Clone, Debug)]
pub struct Search {
    pub mode: SecretMode,
    pub detector: Arc<Detector>,
    /// Bodies with a Content-Encoding pass without a look.
    pub encoded_bodies: bool,
}

impl Search {
    /// Under a policy's detector and the terms of the rule that allowed the request.
    pub fn under(detector: &Arc<Detector>, terms: Option<&Terms>) -> Self {
        Self {
            mode: detector.mode_under(terms),
            detector: detector.clone(),
            encoded_bodies: terms.is_some_and(|t| t.encoded_bodies),
        }
    }

    /// Whether what is read by this one is read as closely as by `newer`: nothing that this lets
    /// through would `newer` stop or mask.
    pub fn covers(&self, newer: &Self) -> bool {
        let knows = || {
            Arc::ptr_eq(&self.detector, &newer.detector)
                || self.detector.knows_all_of(&newer.detector)
        };
        newer.mode == SecretMode::Off
            || self.mode.strictness() >= newer.mode.strictness() && knows()
    }

    /// Whether encoded bodies, which this let pass, would be refused by `newer`.
    pub fn let_pass_encoded(&self, newer: &Self) -> bool {
        newer.mode != SecretMode::Off && self.encoded_bodies && !newer.encoded_bodies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(mode: SecretMode, own: &[&str], encoded_bodies: bool) -> Search {
        Search {
            mode,
            detector: Arc::new(Detector::new(SecretMode::Off, own.iter().copied())),
            encoded_bodies,
        }
    }

    #[test]
    fn a_search_covers_what_looks_no_closer() {
        use SecretMode::{Block, Off, Redact};
        let (one, both) = (
            ["my street"].as_slice(),
            ["my street", "my name"].as_slice(),
        );
        for (name, old, new, covered) in [
            ("the same again", (Block, one), (Block, one), true),
            (
                "block stopped what redact would mask",
                (Block, one),
                (Redact, one),
                true,
            ),
            (
                "redact sent the rest of what block stops",
                (Redact, one),
                (Block, one),
                false,
            ),
            ("off looked at nothing", (Off, both), (Redact, one), false),
            (
                "nothing is looked for any more",
                (Off, one),
                (Off, both),
                true,
            ),
            (
                "nothing is looked for, other strings or not",
                (Redact, one),
                (Off, both),
                true,
            ),
            (
                "another string is looked for",
                (Block, one),
                (Block, both),
                false,
            ),
            (
                "one string less is looked for",
                (Block, both),
                (Block, one),
                true,
            ),
        ] {
            let (old, new) = (search(old.0, old.1, false), search(new.0, new.1, false));
            assert_eq!(old.covers(&new), covered, "{name}");
        }
    }

    #[test]
    fn encoded_bodies_are_a_matter_of_their_own() {
        use SecretMode::{Block, Off};
        for (name, passed, (mode, passes), refused) in [
            ("they passed, and do not now", true, (Block, false), true),
            ("they passed, and do still", true, (Block, true), false),
            (
                "they did not pass before either",
                false,
                (Block, false),
                false,
            ),
            ("nothing is looked for now", true, (Off, false), false),
        ] {
            let (old, new) = (search(Block, &[], passed), search(mode, &[], passes));
            assert_eq!(old.let_pass_encoded(&new), refused, "{name}");
        }
    }

    #[test]
    fn the_terms_of_a_rule_say_how_it_is_searched() {
        let detector = Arc::new(Detector::default());
        let plain = Search::under(&detector, None);
        assert_eq!(
            (plain.mode, plain.encoded_bodies),
            (SecretMode::Block, false)
        );
        let terms = Terms {
            secrets: Some(SecretMode::Redact),
            encoded_bodies: true,
            ..Terms::default()
        };
        let ruled = Search::under(&detector, Some(&terms));
        assert_eq!(
            (ruled.mode, ruled.encoded_bodies),
            (SecretMode::Redact, true)
        );
    }
}
