//! Is the stream real, how fast is it, and does the model think aloud? Judged from one completion.

use std::time::Duration;

use serde_json::json;

use super::{
    Finding,
    chat::{Heard, Question},
    millis,
};
use crate::llm::problem::Problem;

/// Long enough to see a pace, short enough for a model on a processor.
const TOKENS: u64 = 64;
/// Fewer pieces than this say nothing about a stream.
const ENOUGH: usize = 8;
/// A burst: all of it in less time than a network card takes to notice.
const BURST: Duration = Duration::from_millis(3);
/// A proxy that buffers blocks: this many events in each read, on average.
const EVENTS_PER_READ: usize = 12;
const SLOW_FIRST: Duration = Duration::from_secs(15);
/// Tokens per second; a turn of the plugin writes some hundreds.
const SLOW_PACE: f64 = 5.0;

pub fn question() -> Question {
    let prompt = "Count from 1 to 40 in words. Write nothing else.";
    Question {
        body: json!({"max_tokens": TOKENS, "messages": [{"role": "user", "content": prompt}]}),
    }
}

pub fn judge(heard: &Result<Heard, Problem>, strip_think: bool) -> Vec<Finding> {
    match heard {
        Err(problem) => vec![Finding::fail(
            "llm_stream",
            "a streamed test completion failed",
            problem.explain(),
        )],
        Ok(heard) => {
            let mut findings = vec![stream(heard)];
            findings.extend(pace(heard));
            findings.extend(think(heard, strip_think));
            findings
        }
    }
}

fn stream(heard: &Heard) -> Finding {
    const CHECK: &str = "llm_stream";
    let (pieces, reads) = (heard.pieces, heard.arrivals.len());
    let buffered = "something between airlock and the model holds the answer back: a reverse proxy \
                    (nginx: proxy_buffering off), or a server that was started without streaming";
    if heard.whole {
        return Finding::warn(
            CHECK,
            "a streamed completion came as one JSON document: words will not appear one by one",
            buffered,
        );
    }
    if heard.cut {
        return Finding::fail(
            CHECK,
            "the stream ended without a finish reason or [DONE]",
            "look at the server's log: it broke off, or something between cuts long answers",
        );
    }
    let course = format!(
        "{pieces} pieces in {reads} reads over {}",
        millis(heard.lasts())
    );
    if pieces < ENOUGH {
        return Finding::ok(
            CHECK,
            format!("streamed; the answer was too short to judge ({course})"),
        );
    }
    if heard.lasts() < BURST || reads < 3 || pieces > reads * EVENTS_PER_READ {
        return Finding::warn(
            CHECK,
            format!("the answer came in a burst: {course}"),
            buffered,
        );
    }
    Finding::ok(CHECK, format!("a real stream: {course}"))
}

fn pace(heard: &Heard) -> Option<Finding> {
    const CHECK: &str = "llm_pace";
    let first = *heard.arrivals.first()?;
    let rate = tokens_per_second(heard);
    let words = match rate {
        Some(rate) => format!(
            "first token after {}, then {rate:.1} tokens/s",
            millis(first)
        ),
        None => format!("first token after {}", millis(first)),
    };
    if rate.is_some_and(|rate| rate < SLOW_PACE) {
        return Some(Finding::warn(
            CHECK,
            format!("{words}: an answer of the plugin takes minutes"),
            "use a smaller or more quantised model, and see that the GPU is used; ComfyUI may hold \
             its memory",
        ));
    }
    if first > SLOW_FIRST {
        return Some(Finding::warn(
            CHECK,
            words,
            "if the model was being loaded, run doctor again; keep it loaded (Ollama: \
             OLLAMA_KEEP_ALIVE=-1), or the first turn after a pause waits as long",
        ));
    }
    Some(Finding::ok(CHECK, words))
}

/// After the first token; `None` where too little came to tell.
fn tokens_per_second(heard: &Heard) -> Option<f64> {
    let tokens = heard.tokens.unwrap_or(heard.pieces as u64).checked_sub(1)?;
    let lasts = heard.lasts().as_secs_f64();
    (tokens as usize >= ENOUGH && lasts > BURST.as_secs_f64()).then(|| tokens as f64 / lasts)
}

fn think(heard: &Heard, strip_think: bool) -> Option<Finding> {
    const CHECK: &str = "llm_think";
    if heard.text.contains("<think>") || heard.text.contains("</think>") {
        return Some(if strip_think {
            Finding::ok(
                CHECK,
                "the model thinks aloud in <think>; airlock removes it (llm.strip_think)",
            )
        } else {
            Finding::warn(
                CHECK,
                "the model thinks aloud in <think>, and the plugin shows that as the answer",
                "set llm.strip_think: true, or start the server with its reasoning parser",
            )
        });
    }
    if !heard.reasoning.is_empty() {
        return Some(Finding::ok(
            CHECK,
            "the model thinks in a field of its own, which the plugin hides",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status::{self, Fail, Ok as Fine, Warn};

    fn heard(pieces: usize, reads: usize, first_ms: u64, lasts_ms: u64) -> Heard {
        let at = |i: usize| first_ms + lasts_ms * i as u64 / (reads.max(2) - 1) as u64;
        Heard {
            arrivals: (0..reads).map(|i| Duration::from_millis(at(i))).collect(),
            pieces,
            text: "one two".to_owned(),
            finish: Some("stop".to_owned()),
            ..Heard::default()
        }
    }

    #[test]
    fn streams_are_told_from_bursts() {
        let whole = Heard {
            whole: true,
            ..heard(1, 1, 900, 0)
        };
        let cut = Heard {
            cut: true,
            finish: None,
            ..heard(40, 40, 100, 1000)
        };
        let rows: &[(&str, Heard, Status)] = &[
            ("a piece at a time", heard(60, 60, 200, 1500), Fine),
            ("a fast server", heard(60, 50, 20, 40), Fine),
            ("two tokens in each read", heard(60, 30, 200, 900), Fine),
            ("all at once", heard(60, 1, 2000, 0), Warn),
            ("all at once, in three reads", heard(60, 3, 2000, 1), Warn),
            ("blocks of a proxy", heard(60, 4, 500, 2000), Warn),
            ("too short to tell", heard(3, 1, 100, 0), Fine),
            ("one document", whole, Warn),
            ("broken off", cut, Fail),
        ];
        for (name, heard, want) in rows {
            let got = stream(heard);
            assert_eq!(got.status, *want, "{name}: {got:?}");
        }
    }

    #[test]
    fn the_pace_is_judged_by_what_a_turn_needs() {
        let rows: &[(&str, Heard, Status, &str)] = &[
            ("quick", heard(61, 61, 200, 2000), Fine, "30.0 tokens/s"),
            (
                "the server's own count",
                Heard {
                    tokens: Some(121),
                    ..heard(61, 61, 200, 2000)
                },
                Fine,
                "60.0",
            ),
            ("slow", heard(31, 31, 200, 10_000), Warn, "3.0 tokens/s"),
            ("late", heard(61, 61, 20_000, 2000), Warn, "20.0 s"),
        ];
        for (name, heard, want, words) in rows {
            let got = pace(heard).unwrap();
            assert_eq!(got.status, *want, "{name}: {got:?}");
            assert!(got.finding.contains(words), "{name}: {got:?}");
        }
    }

    #[test]
    fn thinking_aloud_is_seen_and_a_failure_is_told_with_its_fix() {
        let aloud = Heard {
            text: "<think>hm".to_owned(),
            ..heard(9, 9, 1, 99)
        };
        assert_eq!(think(&aloud, true).map(|f| f.status), Some(Fine));
        assert_eq!(think(&aloud, false).map(|f| f.status), Some(Warn));
        assert_eq!(think(&heard(9, 9, 1, 99), false), None);
        let slow = Problem::Slow {
            url: "http://x/v1".to_owned(),
            waited: Duration::from_secs(9),
        };
        let failed = judge(&Err(slow), true);
        assert_eq!(failed[0].status, Fail);
        assert!(
            failed[0]
                .fix
                .as_deref()
                .is_some_and(|fix| fix.contains("http://x/v1")),
            "{failed:?}"
        );
    }
}
