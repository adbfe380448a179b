//! Cards of tool results, kept until the answer of their turn goes by (WIRE.md 25).
//!
//! The tools put them in under the plugin's `X-Session-Id`; the front door takes those of one session out
//! when the chat's answer ends. With older SDKs the plugin shows the cards itself, and what is here is
//! thrown away. Everything is bounded: sessions, results, bytes and time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

const MAX_SESSIONS: usize = 256;
const MAX_SESSION_ID: usize = 128;
/// Results of one turn; an agent gives up long before.
const MAX_RESULTS: usize = 16;
/// Bytes of one result's cards as JSON.
const MAX_BYTES: usize = 256 << 10;
/// A turn that is not over by then never will be.
const KEPT: Duration = Duration::from_secs(3600);

/// The tool that makes workflows, whose cards come first; and the one that finds them.
pub const GENERATES: &str = "gen_workflow";
pub const RECALLS: &str = "recall_workflow";

struct Noted {
    at: Instant,
    tool: String,
    /// Cards of a workflow tool.
    data: Vec<Value>,
    ext: Vec<Value>,
}

/// Cards by session. Shared by the tools and the front door.
#[derive(Default)]
pub struct Cards {
    sessions: Mutex<HashMap<String, Vec<Noted>>>,
}

impl std::fmt::Debug for Cards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cards({} sessions)", self.sessions.lock().len())
    }
}

impl Cards {
    /// Keeps what a tool gave. `data` is that of the envelope, where it is a list of workflow cards.
    pub fn note(&self, session: &str, tool: &str, data: &[Value], ext: &[Value], now: Instant) {
        let is_workflow = matches!(tool, GENERATES | RECALLS);
        let data = if is_workflow { data } else { &[] };
        if session.is_empty() || session.len() > MAX_SESSION_ID {
            return;
        }
        let bytes = |values: &[Value]| values.iter().map(|v| v.to_string().len()).sum::<usize>();
        if (data.is_empty() && ext.is_empty()) || bytes(data) + bytes(ext) > MAX_BYTES {
            return;
        }
        let mut sessions = self.sessions.lock();
        sessions.retain(|_, results| newest(results).is_some_and(|at| now - at < KEPT));
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(session) {
            let stalest = sessions.iter().min_by_key(|(_, results)| newest(results));
            if let Some(stalest) = stalest.map(|(id, _)| id.clone()) {
                sessions.remove(&stalest);
            }
        }
        let results = sessions.entry(session.to_owned()).or_default();
        if results.len() >= MAX_RESULTS {
            results.remove(0);
        }
        results.push(Noted {
            at: now,
            tool: tool.to_owned(),
            data: data.to_vec(),
            ext: ext.to_vec(),
        });
    }

    /// The `ext` of the results that came since a turn began, as the plugin itself would have put it
    /// together; nothing is left behind.
    pub fn take(&self, session: &str, since: Instant) -> Option<Value> {
        let results = self.sessions.lock().remove(session)?;
        let of_turn: Vec<Noted> = results.into_iter().filter(|r| r.at >= since).collect();
        let mut workflows: Vec<Value> = Vec::new();
        for tool in [GENERATES, RECALLS] {
            let cards = of_turn.iter().filter(|r| r.tool == tool);
            for card in cards.flat_map(|r| &r.data) {
                if !workflows.iter().any(|w| w.get("id") == card.get("id")) {
                    workflows.push(card.clone());
                }
            }
        }
        if !workflows.is_empty() {
            return Some(json!([{"type": "workflow", "data": workflows}]));
        }
        let first = of_turn.into_iter().find(|r| !r.ext.is_empty());
        first.map(|r| Value::Array(r.ext))
    }
}

fn newest(results: &[Noted]) -> Option<Instant> {
    results.iter().map(|r| r.at).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(id: &str) -> Value {
        json!({"id": id, "name": id})
    }

    #[test]
    fn results_of_a_turn_become_what_the_plugin_would_have_made_of_them() {
        let nodes = json!({"type": "node", "data": [{"name": "KSampler"}]});
        let flow = |cards: &[Value]| json!([{"type": "workflow", "data": cards}]);
        type Given<'a> = (&'a str, Vec<Value>, Vec<Value>);
        let rows: [(&str, Vec<Given<'_>>, Option<Value>); 6] = [
            ("nothing was called", vec![], None),
            (
                "found workflows alone",
                vec![(RECALLS, vec![card("a"), card("b")], vec![])],
                Some(flow(&[card("a"), card("b")])),
            ),
            (
                "made ones first, each once",
                vec![
                    (RECALLS, vec![card("a"), card("g")], vec![]),
                    (GENERATES, vec![card("g")], vec![]),
                ],
                Some(flow(&[card("g"), card("a")])),
            ),
            (
                "nodes",
                vec![("search_node", vec![card("x")], vec![nodes.clone()])],
                Some(json!([nodes])),
            ),
            (
                "workflows before nodes",
                vec![
                    ("search_node", vec![], vec![nodes.clone()]),
                    (RECALLS, vec![card("a")], vec![]),
                ],
                Some(flow(&[card("a")])),
            ),
            (
                "a result without cards before one with",
                vec![
                    (RECALLS, vec![], vec![]),
                    ("explain_node", vec![], vec![nodes.clone()]),
                ],
                Some(json!([nodes])),
            ),
        ];
        for (row, given, want) in rows {
            let cards = Cards::default();
            let now = Instant::now();
            for (tool, data, ext) in given {
                cards.note("s", tool, &data, &ext, now);
            }
            assert_eq!(cards.take("s", now), want, "{row}");
            assert_eq!(cards.take("s", now), None, "{row}: taken once");
        }
    }

    #[test]
    fn cards_are_of_one_session_and_one_turn() {
        let cards = Cards::default();
        let begin = Instant::now();
        let turn = begin + Duration::from_secs(10);
        cards.note("s", RECALLS, &[card("before")], &[], begin);
        cards.note("other", RECALLS, &[card("theirs")], &[], turn);
        cards.note("s", RECALLS, &[card("now")], &[], turn);
        let taken = cards.take("s", turn).map(|ext| ext[0]["data"].clone());
        assert_eq!(taken, Some(json!([card("now")])));
        assert!(cards.take("other", turn).is_some());
    }

    #[test]
    fn nobody_can_make_the_table_grow() {
        let cards = Cards::default();
        let now = Instant::now();
        cards.note("", RECALLS, &[card("a")], &[], now);
        cards.note(&"s".repeat(200), RECALLS, &[card("a")], &[], now);
        cards.note("big", RECALLS, &[card(&"x".repeat(MAX_BYTES))], &[], now);
        assert_eq!(cards.sessions.lock().len(), 0);
        for n in 0..1000u64 {
            let at = now + Duration::from_millis(n);
            cards.note(&format!("s{n}"), RECALLS, &[card("a")], &[], at);
        }
        assert_eq!(cards.sessions.lock().len(), MAX_SESSIONS);
        assert!(cards.take("s999", now).is_some() && cards.take("s0", now).is_none());
        for _ in 0..100 {
            cards.note("s998", RECALLS, &[card("a")], &[], now);
        }
        assert_eq!(cards.sessions.lock()["s998"].len(), MAX_RESULTS);
        cards.note("late", RECALLS, &[card("a")], &[], now + KEPT * 2);
        assert_eq!(cards.sessions.lock().len(), 1);
    }
}
