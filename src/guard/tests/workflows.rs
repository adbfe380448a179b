//! Workflows on their way to `/prompt`.

use super::*;

fn node(class: &str, inputs: &str) -> Sent {
    let body = format!(
        r#"{{"client_id":"x","prompt":{{"3":{{"inputs":{inputs},"class_type":"{class}"}}}}}}"#
    );
    Sent::json("/api/prompt", &body)
}

#[test]
fn a_workflow_is_within_its_bounds() {
    let no = Some(Reason::GuardPrompt);
    let nodes = |count: usize| {
        let nodes: Vec<_> = (0..count)
            .map(|n| format!(r#""{n}":{{"class_type":"A","inputs":{{}}}}"#))
            .collect();
        Sent::json(
            "/prompt",
            &format!(r#"{{"prompt":{{{}}}}}"#, nodes.join(",")),
        )
    };
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        Sent::json("/prompt", &format!(r#"{{"extra_data":{open}{close}}}"#))
    };
    check(vec![
        (
            "a common one",
            node("KSampler", r#"{"seed":1,"model":["4",0]}"#),
            None,
        ),
        ("many nodes", nodes(5000), None),
        ("one too many", nodes(5001), no),
        ("deep", deep(127), None),
        ("too deep", deep(128), no),
        (
            "brackets in a string",
            node("A", r#"{"text":"[[[{{{\"}]\\"}"#),
            None,
        ),
        ("what is no JSON", Sent::json("/prompt", "}}]]\"{"), None),
        ("nothing", Sent::json("/prompt", ""), None),
        (
            "another route",
            Sent::json("/queue", &"[".repeat(500)),
            None,
        ),
        ("the state of the queue", Sent::new("GET", "/prompt"), None),
    ]);
    let guards = Guards {
        prompt: Some(PromptBounds {
            bytes: 100,
            ..PromptBounds::default()
        }),
        ..Guards::default()
    };
    let long = Sent::json("/prompt", &" ".repeat(101));
    assert_eq!(long.judged(&guards), Some(Reason::GuardPrompt));
    let odd = Some(Reason::GuardUnreadable);
    let fine = node("A", "{}");
    check(vec![
        (
            "compressed",
            fine.clone().with("content-encoding", "deflate"),
            odd,
        ),
        (
            "in another charset",
            Sent {
                headers: HeaderMap::new(),
                ..fine.clone()
            }
            .with("content-type", "application/json; charset=utf-16"),
            odd,
        ),
        (
            "in utf-8, by name",
            Sent {
                headers: HeaderMap::new(),
                ..fine
            }
            .with("content-type", "application/json; charset=\"UTF-8\""),
            None,
        ),
    ]);
}

#[test]
fn loaders_are_given_names_inside_their_folder() {
    let no = Some(Reason::GuardTraversal);
    check(vec![
        (
            "a picture",
            node("LoadImage", r#"{"image":"clipspace/a.png [input]"}"#),
            None,
        ),
        (
            "a step up",
            node("LoadImage", r#"{"image":"../../etc/passwd"}"#),
            no,
        ),
        (
            "a step up with its folder",
            node("LoadImage", r#"{"image":"../a.png [output]"}"#),
            no,
        ),
        (
            "escaped",
            node("LoadImage", r#"{"image":"\u002e\u002e\u002fa"}"#),
            no,
        ),
        (
            "an escaped key",
            node("LoadImage", r#"{"im\u0061ge":"../a"}"#),
            no,
        ),
        (
            "from the root",
            node("LoadAudio", r#"{"audio":"/etc/passwd"}"#),
            no,
        ),
        (
            "a drive",
            node("Load3D", r#"{"model_file":"C:\\a.glb"}"#),
            no,
        ),
        ("a film", node("LoadVideo", r#"{"file":"..\\a.mp4"}"#), no),
        (
            "the class before its inputs",
            Sent::json(
                "/prompt",
                r#"{"prompt":{"1":{"class_type":"LoadLatent","inputs":{"latent":"../a"}}}}"#,
            ),
            no,
        ),
        (
            "an escaped prompt",
            Sent::json(
                "/prompt",
                r#"{"\u0070rompt":{"1":{"class_type":"LoadLatent","inputs":{"latent":"../a"}}}}"#,
            ),
            no,
        ),
        (
            "inputs twice",
            Sent::json(
                "/prompt",
                r#"{"prompt":{"1":{"inputs":{"image":"../a"},"class_type":"LoadImage","inputs":{}}}}"#,
            ),
            no,
        ),
        (
            "a node of somebody else's, which takes paths",
            node("VHS_LoadVideoPath", r#"{"video":"/data/a.mp4"}"#),
            None,
        ),
        (
            "a picture from another node",
            node("LoadImage", r#"{"image":["3",0]}"#),
            None,
        ),
        (
            "its neighbour's name",
            Sent::json(
                "/prompt",
                r#"{"prompt":{"1":{"class_type":"X","inputs":{"image":"../a"}},"2":{"class_type":"LoadImage","inputs":{"image":"a"}}}}"#,
            ),
            None,
        ),
        (
            "a picture inside of the workflow",
            node(
                "LoadImage",
                &format!(r#"{{"image":"{}"}}"#, "/".repeat(9000)),
            ),
            None,
        ),
    ]);
}

#[test]
fn nodes_that_run_code_do_not_run() {
    let no = Some(Reason::GuardCodeNodes);
    check(vec![
        (
            "a node with an advisory",
            node("ACE_ExpressionEval", "{}"),
            no,
        ),
        ("escaped", node("ACE_Expr\\u0065ssionEval", "{}"), no),
        (
            "named in a text",
            node(
                "X",
                r#"{"text":"ACE_ExpressionEval","class_type":"ACE_ExpressionEval"}"#,
            ),
            None,
        ),
        (
            "one with a longer name",
            node("ACE_ExpressionEvaluator", "{}"),
            None,
        ),
        (
            "one with an emoji",
            node("\\ud83d\\udc7e Evaluate", "{}"),
            None,
        ),
        (
            "a node that runs code, by the owner",
            node("SRL Eval", "{}"),
            None,
        ),
        ("by an admin", node("SRL Eval", "{}").by(Role::Admin), None),
        ("by a user", node("SRL Eval", "{}").by(Role::User), no),
        (
            "a node with an advisory, by an admin",
            node("FindContour", "{}").by(Role::Admin),
            no,
        ),
    ]);
}
