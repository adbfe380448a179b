//! Without an LLM: the best workflow that runs here, with the words put where they belong.

use serde_json::json;

use super::{Draft, Origin, bases::Bases, wish::Wish};
use crate::{
    comfy::Catalogue,
    emulator::asking::Unanswered,
    workflow::{Given, texts},
};

/// `None` where there is no such workflow.
pub fn fill(wish: &Wish, bases: &Bases, catalogue: &Catalogue, why: &Unanswered) -> Option<Draft> {
    let base = bases.usable.first()?.clone();
    let mut prompt = base.prompt;
    let words = wish.words();
    let mut changes = Vec::new();
    for place in texts::positive(&prompt, catalogue) {
        let Some(node) = prompt.nodes.get_mut(&place.node) else {
            continue;
        };
        changes.push(format!(
            "{} of node {} ({})",
            place.input, place.node, node.class
        ));
        node.inputs.insert(place.input, Given::Value(json!(words)));
    }
    let remark = match (changes.is_empty(), wish.chinese()) {
        (false, false) => format!(
            "No LLM had a part in it ({why}): your words were put in as the prompt, everything else is as it was."
        ),
        (true, false) => format!(
            "No LLM had a part in it ({why}): it is unchanged, as it cannot be told where your words belong. \
             Put them in yourself."
        ),
        (false, true) => format!("未使用 LLM（{why}）：您的话已作为提示词填入，其余保持不变。"),
        (true, true) => {
            format!("未使用 LLM（{why}）：无法判断提示词应填在哪里，因此未作修改，请自行填写。")
        }
    };
    Some(Draft {
        name: base.title.clone(),
        prompt,
        from: Some(Origin {
            id: base.id,
            title: base.title,
        }),
        changes,
        repairs: base.repairs,
        remark,
    })
}
