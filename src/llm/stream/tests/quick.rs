//! The way of most chunks, which reads and writes nothing that need not change.

use super::*;

/// A doubled member is for the slow way.
#[test]
fn the_quick_way_comes_to_what_the_slow_one_does() {
    let end = chunk("{}", STOP);
    for first in [
        "Hello",
        " ",
        "\n",
        "",
        "\\",
        "a <b",
        "`",
        "\u{1f600}",
        "<thi",
    ] {
        for second in [" there", "\n", "nk>x</think>y", ""] {
            for strip_think in [true, false] {
                let quick = format!("{}{}{end}data: [DONE]\n\n", text(first), text(second));
                let slow = quick.replace(r#""index":0,"#, r#""index":0,"finish_reason":null,"#);
                let run = |stream: &str| {
                    let options = AnswerOptions {
                        strip_think,
                        ..options()
                    };
                    let Run {
                        out,
                        ending,
                        repair,
                        first_token_at,
                        ..
                    } = run_with(options, stream, 1);
                    let (content, reasoning, ..) = read(&out);
                    (
                        content,
                        reasoning,
                        ending,
                        repair.has_begun(),
                        first_token_at.is_some(),
                    )
                };
                assert_eq!(
                    run(&quick),
                    run(&slow),
                    "{first:?} {second:?} {strip_think}"
                );
            }
        }
    }
}
