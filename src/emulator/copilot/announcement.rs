//! The banner of the page: what Airlock did for whoever looks, in place of the vendor's news (WIRE.md 11).
//!
//! The page shows a banner once a day and asks again while there is none. So a person is told once what
//! this is, then only when something was refused or sent on since; an empty text is no banner.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::json;

use super::{CopilotResponder, own_key::Unused};
use crate::{
    emulator::{
        asking::turns::Asker,
        http::{note, success},
        language::Language,
    },
    handler::{Exchange, LocalResponse},
    receipt::{Viewer, receipt::Totals},
};

/// People who are remembered; of more, nobody is told twice that nothing happened.
const MAX_TOLD: usize = 1024;

/// What each person was told last.
#[derive(Debug, Default)]
pub struct Announced(Mutex<HashMap<Asker, Seen>>);

/// What would be news if it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    refused: u64,
    sent_on: u64,
    /// A key of theirs.
    unused: Option<Unused>,
}

impl CopilotResponder {
    pub(super) fn announcement(&self, exchange: &Exchange, language: Language) -> LocalResponse {
        note(exchange, "stand-in", "announcement");
        let principal = exchange.principal.as_deref();
        let viewer = Viewer::of(principal.map(|p| (&p.username, p.role)));
        let asker = Asker::of(exchange);
        let receipt = self.receipts.receipt(None, &viewer, None);
        let totals = receipt.map(|receipt| receipt.totals).unwrap_or_default();
        let seen = Seen {
            refused: totals.refused,
            sent_on: totals.sent_on + totals.relayed_unread,
            unused: self.keys_left.of(&asker),
        };
        let text = match self.announced.is_news(asker, seen) {
            true => words(&totals, seen, language),
            false => String::new(),
        };
        success(json!(text))
    }
}

impl Announced {
    fn is_news(&self, asker: Asker, seen: Seen) -> bool {
        let mut told = self.0.lock();
        if told.len() >= MAX_TOLD && !told.contains_key(&asker) {
            return false;
        }
        told.insert(asker, seen) != Some(seen)
    }
}

/// One line: the page shows it in a strip above the chat.
fn words(totals: &Totals, seen: Seen, language: Language) -> String {
    let local = totals.answered_here + totals.your_llm;
    let Seen {
        refused,
        sent_on,
        unused,
    } = seen;
    let mut words = match language {
        Language::English => {
            let mut out = "**Airlock** answers for ComfyUI-Copilot on this machine: your own LLM and your own \
                           ComfyUI in place of the vendor's cloud."
                .to_owned();
            if local + refused + sent_on > 0 {
                let requests = if local == 1 { "request" } else { "requests" };
                out.push_str(&format!(
                    " Since it started: {local} {requests} answered locally, {refused} refused, {sent_on} sent on \
                     by your rules."
                ));
            }
            out
        }
        Language::Chinese => {
            let mut out =
                "**Airlock** 在本机代替 ComfyUI-Copilot 的云端服务：使用您自己的大模型和 ComfyUI。"
                    .to_owned();
            if local + refused + sent_on > 0 {
                out.push_str(&format!(
                    "自启动以来：本地回答 {local} 次，拒绝 {refused} 次，按您的规则转发 {sent_on} 次。"
                ));
            }
            out
        }
    };
    if let Some(unused) = unused {
        words.push(' ');
        words.push_str(unused.words(language));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::test_support::exchange;

    #[test]
    fn news_is_told_once() {
        let announced = Announced::default();
        let mut other = exchange("comfyui-copilot-server-pre.onrender.com");
        other.client = "127.0.0.2".parse().expect("an address");
        let ann = Asker::of(&exchange("comfyui-copilot-server-pre.onrender.com"));
        let bob = Asker::of(&other);
        let nothing = Seen::default();
        let refused = Seen {
            refused: 1,
            ..nothing
        };
        let dropped = Seen {
            unused: Some(Unused::NotEnabled),
            ..refused
        };
        for (row, asker, seen, news) in [
            ("the first time", &ann, nothing, true),
            ("nothing since", &ann, nothing, false),
            ("another person's first time", &bob, nothing, true),
            ("something was refused", &ann, refused, true),
            ("nothing since that", &ann, refused, false),
            ("a key of theirs was dropped", &ann, dropped, true),
        ] {
            assert_eq!(announced.is_news(asker.clone(), seen), news, "{row}");
        }
    }

    #[test]
    fn the_line_counts_in_both_languages() {
        let totals = Totals {
            answered_here: 1,
            refused: 2,
            sent_on: 3,
            ..Totals::default()
        };
        let seen = Seen {
            refused: 2,
            sent_on: 3,
            unused: None,
        };
        for (language, parts) in [
            (
                Language::English,
                ["1 request answered", "2 refused", "3 sent on"],
            ),
            (Language::Chinese, ["回答 1 次", "拒绝 2 次", "转发 3 次"]),
        ] {
            let line = words(&totals, seen, language);
            for part in parts {
                assert!(line.contains(part), "{part}: {line}");
            }
            assert!(!line.contains('\n'), "{line}");
        }
        let dropped = Seen {
            unused: Some(Unused::NotEnabled),
            ..seen
        };
        let line = words(&totals, dropped, Language::English);
        assert!(line.contains("`llm.providers`"), "{line}");
        let fresh = words(&Totals::default(), Seen::default(), Language::English);
        assert!(!fresh.contains("Since"), "{fresh}");
    }
}
