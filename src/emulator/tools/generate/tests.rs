//! With a small ComfyUI and a scripted LLM: what it is shown, what it says, and what comes of it.

use serde_json::json;

use super::*;
use crate::{
    comfyui::tests::{Fake, comfyui_at, until},
    emulator::asking::tests::{answering, asking_of},
    gateway::tests::fake::FakeLlm,
    handler::test_support::exchange,
};

const CLASSES: &str = include_str!("../../../../tests/fixtures/workflow/object_info.json");
const TEMPLATE: &str = include_str!("../../../../tests/fixtures/workflow/text_to_image.json");

mod said {
    //! Answers of models, good and bad: written by hand after their habits (see the README beside them).
    macro_rules! said {
        ($($name:ident = $file:literal;)*) => {
            $(pub const $name: &str = include_str!(concat!("../../../../tests/fixtures/llm_answers/", $file));)*
        };
    }
    said! {
        CHOICE = "workflow-choice-good.txt";
        CHOICE_THINKS = "workflow-choice-thinks-in-a-fence.txt";
        CHOICE_STRANGERS = "workflow-choice-unknown-node.txt";
        NONE = "workflow-choice-none.txt";
        NEW = "workflow-good.txt";
        NEW_SLIPS = "workflow-slips.txt";
        NEW_BROKEN = "workflow-broken-json.txt";
        NEW_STRANGERS = "workflow-unknown-nodes.txt";
        NEW_LINKS = "workflow-wrong-links.txt";
        NEW_API = "workflow-api-form-with-thoughts.txt";
    }
}

struct Bench {
    tool: GenWorkflow,
    known: Arc<Knowledge>,
    llm: FakeLlm,
    fake: Arc<Fake>,
}

async fn bench(answers: &[&str], template: &str) -> Bench {
    let fake = Fake::start(&[
        ("/system_stats", r#"{"system":{"comfyui_version":"0.3.64"},"devices":[]}"#),
        ("/object_info", CLASSES),
        (
            "/templates/index.json",
            r#"[{"title":"Image","templates":[{"name":"text_to_image","title":"Text to Image","mediaType":"image",
                "mediaSubtype":"webp","description":"Generate images from text prompts."}]}]"#,
        ),
        ("/templates/text_to_image.json", template),
        ("/models", r#"["checkpoints"]"#),
        ("/models/checkpoints", r#"["sd_xl_base_1.0.safetensors"]"#),
        ("/userdata", "[]"),
    ])
    .await;
    let comfyui = comfyui_at(&fake.url());
    comfyui.knowledge().await.expect("it answers");
    until("the files are read", || {
        comfyui.known().is_some_and(|k| k.generation == 2)
    })
    .await;
    let known = comfyui.known().expect("it is known");
    let llm = answering(answers).await;
    let (asking, _) = asking_of(&llm);
    Bench {
        tool: GenWorkflow::new(comfyui, asking, Arc::default(), Some("/at".into())),
        known,
        llm,
        fake,
    }
}

impl Bench {
    async fn call(&self, keywords: &[&str], instruction: &str) -> Result<Answer, Failure> {
        let arguments = json!({"keywords": keywords, "instruction": instruction});
        let arguments = arguments.as_object().cloned().expect("an object");
        self.tool.check(&arguments).expect("they are good");
        let caller = ToolCaller {
            session_id: Some("s1".into()),
            exchange: exchange("comfyui-copilot-server.onrender.com"),
        };
        self.tool.run(&arguments, &self.known, &caller).await
    }

    /// The workflow behind the card of an answer.
    fn behind(&self, answer: &Answer) -> Value {
        let id = answer.data[0]["id"].as_str().expect("a text");
        match WorkflowId::parse(id) {
            Some(WorkflowId::Generated(key)) => self
                .tool
                .made
                .find(&key)
                .expect("it is kept")
                .workflow
                .clone(),
            other => panic!("{other:?}"),
        }
    }

    /// What the LLM was asked, as texts of its messages.
    fn asked(&self) -> Vec<Vec<String>> {
        let seen = self.llm.seen.lock();
        let chats = seen.iter().filter(|s| s.head.starts_with("POST"));
        let texts = |body: &str| -> Vec<String> {
            let body: Value = serde_json::from_str(body).expect("JSON");
            let messages = body["messages"].as_array().cloned().unwrap_or_default();
            let text = |m: &Value| m["content"].as_str().unwrap_or_default().to_owned();
            messages.iter().map(text).collect()
        };
        chats.map(|s| texts(&s.body)).collect()
    }

    fn accepted(&self, workflow: &Value) -> bool {
        let prompt = Prompt::read(workflow).expect("a workflow");
        workflow::check::accepted(&workflow::check(&prompt, &self.known.catalogue))
    }
}

fn of_class<'a>(workflow: &'a Value, class: &str) -> Vec<&'a Value> {
    let nodes = workflow.as_object().expect("an object").values();
    nodes.filter(|node| node["class_type"] == class).collect()
}

#[tokio::test]
async fn a_template_is_adapted_with_the_values_that_the_llm_sets() {
    for (row, answer) in [
        ("plain", said::CHOICE),
        ("with thoughts, in a fence", said::CHOICE_THINKS),
    ] {
        let bench = bench(&[answer], TEMPLATE).await;
        let answer = bench
            .call(
                &["text to image"],
                "an astronaut cat, 768 by 512, without text",
            )
            .await
            .expect(row);
        let card = &answer.data[0];
        assert_eq!(
            (&card["name"], &card["source"], &card["image"]),
            (
                &json!("Astronaut cat"),
                &json!("AI Generated"),
                // The picture of the template that it was made from.
                &json!("/templates/text_to_image-1.webp")
            ),
            "{row}"
        );
        assert_eq!(
            answer.ext,
            [json!({"type": "workflow", "data": [card]})],
            "{row}"
        );
        assert!(
            answer.text.contains("Made from \"Text to Image\"."),
            "{row}: {}",
            answer.text
        );
        let workflow = bench.behind(&answer);
        assert!(bench.accepted(&workflow), "{row}");
        let texts: Vec<&Value> = of_class(&workflow, "CLIPTextEncode");
        let texts: Vec<&Value> = texts.iter().map(|node| &node["inputs"]["text"]).collect();
        assert_eq!(
            texts,
            [
                &json!("a cat in a space suit, film still"),
                &json!("text, watermark")
            ],
            "{row}"
        );
        let latent = of_class(&workflow, "EmptyLatentImage");
        assert_eq!(
            (
                &latent[0]["inputs"]["width"],
                &latent[0]["inputs"]["height"]
            ),
            (&json!(768), &json!(512))
        );
        assert!(workflow.to_string().len() < 64 << 10, "{row}");
        assert!(of_class(&workflow, "MarkdownNote").is_empty(), "{row}");

        let asked = bench.asked();
        assert_eq!(asked.len(), 1, "{row}");
        assert!(asked[0][0].contains("A: Text to Image"), "{}", asked[0][0]);
        assert!(
            asked[0][0].contains("[positive prompt]") && asked[0][0].contains("[negative prompt]")
        );
        assert!(!asked[0][0].contains("{{"), "a placeholder was left");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_choice_is_told_and_asked_again() {
    let bench = bench(&[said::CHOICE_STRANGERS, said::CHOICE], TEMPLATE).await;
    bench
        .call(&["text to image"], "an astronaut cat")
        .await
        .expect("the second is good");
    let asked = bench.asked();
    let told = asked[1].last().expect("a message");
    assert!(
        told.contains("this workflow has no node \\\"99\\\"") || told.contains("no node \"99\""),
        "{told}"
    );
    assert!(told.contains("has no value \"sampler_speed\""), "{told}");
    assert!(
        told.contains("is linked, so its value cannot be changed")
            || told.contains("has no value \"model\""),
        "{told}"
    );
}

#[tokio::test]
async fn where_no_template_fits_a_new_one_is_written_and_put_right() {
    for (row, answers, tries) in [
        ("right at once", vec![said::NONE, said::NEW], 2),
        (
            "in the API's form, with thoughts",
            vec![said::NONE, said::NEW_API],
            2,
        ),
        (
            "slips that are repaired",
            vec![said::NONE, said::NEW_SLIPS],
            2,
        ),
        (
            "broken JSON first",
            vec![said::NONE, said::NEW_BROKEN, said::NEW],
            3,
        ),
        (
            "classes that are not there first",
            vec![said::NONE, said::NEW_STRANGERS, said::NEW],
            3,
        ),
        (
            "wrong links, then broken JSON, then right",
            vec![said::NONE, said::NEW_LINKS, said::NEW_BROKEN, said::NEW],
            4,
        ),
    ] {
        let bench = bench(&answers, TEMPLATE).await;
        let answer = bench
            .call(&["upscale image"], "make my picture larger")
            .await
            .expect(row);
        let workflow = bench.behind(&answer);
        assert!(bench.accepted(&workflow), "{row}");
        let id = answer.data[0]["id"].as_str().expect("a text");
        let key = id.trim_start_matches("generated:");
        assert_eq!(
            answer.data[0]["image"],
            format!("/at/api/chat/picture/{key}.svg"),
            "{row}: none has a picture of it, so one is drawn"
        );
        assert_eq!(
            of_class(&workflow, "ImageUpscaleWithModel").len(),
            1,
            "{row}"
        );
        assert_eq!(bench.asked().len(), tries, "{row}");
        assert!(bench.asked()[0][0].contains("A: Text to Image"), "{row}");
        let system = &bench.asked()[1][0];
        assert!(
            system.contains(
                "ImageUpscaleWithModel(upscale_model UPSCALE_MODEL, image IMAGE) -> 0 IMAGE"
            ),
            "{system}"
        );
        assert!(!system.contains("{{"), "a placeholder was left");
    }
}

#[tokio::test]
async fn each_fault_of_a_new_one_is_told_with_what_would_be_right() {
    let bench = bench(
        &[said::NONE, said::NEW_STRANGERS, said::NEW_LINKS, said::NEW],
        TEMPLATE,
    )
    .await;
    bench
        .call(&["upscale image"], "make my picture larger")
        .await
        .expect("the last is good");
    let asked = bench.asked();
    let strangers = asked[2].last().expect("a message");
    assert!(
        strangers.contains("node 2 (SuperUpscaler9000): this class is not installed"),
        "{strangers}"
    );
    let links = asked[3].last().expect("a message");
    for needle in [
        r#"node 3 (ImageUpscaleWithModel), input "upscale_model": it is linked to node 9, which is not there"#,
        r#"node 4 (SaveImage), input "images": it takes IMAGE, and the link brings UPSCALE_MODEL, such as ["1", 0] or ["3", 0]"#,
    ] {
        assert!(links.contains(needle), "{links}");
    }
}

#[tokio::test]
async fn what_never_becomes_right_ends_and_says_what_is_missing() {
    let strangers = bench(&[said::NONE, said::NEW_STRANGERS], TEMPLATE).await;
    let failure = strangers
        .call(&["upscale image"], "larger")
        .await
        .expect_err("it is never right")
        .0;
    assert!(
        failure.contains("needs what is not installed here: node 2 (SuperUpscaler9000)"),
        "{failure}"
    );
    assert_eq!(strangers.asked().len(), 1 + invent::TRIES);
    let broken = bench(&[said::NONE, said::NEW_BROKEN], TEMPLATE).await;
    let failure = broken
        .call(&["upscale image"], "larger")
        .await
        .expect_err("it is never right")
        .0;
    assert!(
        failure.contains("4 attempts to write one anew failed"),
        "{failure}"
    );
    assert!(broken.tool.made.find("").is_none());
}

#[tokio::test]
async fn without_an_llm_the_best_template_gets_the_words() {
    for (row, instruction, words) in [
        ("all of them", "an astronaut cat", "an astronaut cat"),
        (
            "those in quotation marks",
            "make a picture of \"a red fox\" for me",
            "a red fox",
        ),
        ("in Chinese", "请生成「一只猫」的图片", "一只猫"),
    ] {
        let bench = bench(&["I am a teapot."], TEMPLATE).await;
        let answer = bench
            .call(&["text to image"], instruction)
            .await
            .expect(row);
        let workflow = bench.behind(&answer);
        assert!(bench.accepted(&workflow), "{row}");
        let texts: Vec<&Value> = of_class(&workflow, "CLIPTextEncode");
        assert_eq!(texts[0]["inputs"]["text"], words, "{row}");
        assert_eq!(texts[1]["inputs"]["text"], "text, watermark", "{row}");
        let described = answer.data[0]["description"].as_str().expect("a text");
        let plain =
            described.contains("No LLM had a part in it") || described.contains("未使用 LLM");
        assert!(plain, "{row}: {described}");
    }
}

#[tokio::test]
async fn a_template_that_cannot_run_here_is_named_with_what_it_misses() {
    let missing = TEMPLATE
        .replace("\"EmptyLatentImage\"", "\"EmptySomethingElse\"")
        .replace("sd_xl_base_1.0", "hunyuan_video");
    let bench = bench(&["I am a teapot."], &missing).await;
    let failure = bench
        .call(&["text to image"], "a cat")
        .await
        .expect_err("nothing is usable")
        .0;
    assert!(
        failure.contains("\"Text to Image\" fits and cannot run here"),
        "{failure}"
    );
    assert!(
        failure.contains("Missing nodes: EmptySomethingElse"),
        "{failure}"
    );
    assert!(
        failure.contains("checkpoints/hunyuan_video.safetensors"),
        "{failure}"
    );
    let paid = Bases {
        paid: vec!["Some API".into()],
        ..Bases::default()
    };
    assert!(
        paid.missing_words()
            .starts_with("\"Some API\" fits, too, and is left alone")
    );
}

#[tokio::test]
async fn words_that_find_no_template_still_get_a_picture_of_them_where_the_llm_agrees() {
    let wish = "zxqv";
    let agrees = bench(&[said::CHOICE], TEMPLATE).await;
    let answer = agrees.call(&[wish], wish).await.expect("it is adapted");
    assert!(
        answer.text.contains("Made from \"Text to Image\""),
        "{}",
        answer.text
    );
    let mute = bench(&["I am a teapot."], TEMPLATE).await;
    let failure = mute
        .call(&[wish], wish)
        .await
        .expect_err("nobody judged it")
        .0;
    assert!(failure.starts_with("no workflow was made"), "{failure}");
}

#[test]
fn a_wish_without_words_is_told_what_to_write() {
    for arguments in [
        json!({}),
        json!({"keywords": [], "instruction": " "}),
        json!({"keywords": {"a": 1}}),
    ] {
        let arguments = arguments.as_object().cloned().expect("an object");
        let error = Wish::read(&arguments).expect_err("there are no words");
        assert!(error.starts_with("say in \"instruction\""), "{error}");
    }
}

#[tokio::test]
async fn who_has_jobs_under_way_is_told_that_a_new_one_waits() {
    let bench = bench(&[said::CHOICE], TEMPLATE).await;
    let told = "The queue of this ComfyUI holds";
    let text = |answer: Answer| answer.text;
    for (row, queue, says) in [
        ("none", r#"{"queue_running":[],"queue_pending":[]}"#, None),
        (
            "one",
            r#"{"queue_running":[[1]],"queue_pending":[]}"#,
            Some("holds 1 job already"),
        ),
        (
            "three",
            r#"{"queue_running":[[1]],"queue_pending":[[2],[3]]}"#,
            Some("holds 3 jobs already"),
        ),
        ("no list", "[]", None),
    ] {
        bench.fake.put("/queue", queue);
        let text = text(bench.call(&["image"], "a cat").await.expect(row));
        match says {
            Some(says) => assert!(text.contains(says), "{row}: {text}"),
            None => assert!(!text.contains(told), "{row}: {text}"),
        }
    }
}
