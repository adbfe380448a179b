//! A small picture of a workflow: its nodes as boxes in the order of work, its links as lines.
//!
//! For the card of a workflow that was made here and has no preview of its own. An SVG of shapes and text
//! alone, without scripts, links or fonts; names of classes come from custom nodes and are escaped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use crate::workflow::{NodeId, Prompt};

/// Of more nodes the first in the order of work are drawn, and the others counted.
const MAX_DRAWN: usize = 48;
const MAX_LINKS: usize = 200;
const MAX_NAME: usize = 20;
/// Of a card's picture; the drawing is fitted into it.
const CARD: (usize, usize) = (320, 180);
const BOX: (usize, usize) = (132, 26);
const GAP: (usize, usize) = (34, 14);
const EDGE: usize = 14;

/// Where a node is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    x: usize,
    y: usize,
}

pub fn svg(prompt: &Prompt) -> String {
    let columns = columns(prompt);
    let mut places: BTreeMap<&NodeId, Place> = BTreeMap::new();
    let (mut width, mut height) = (0, 0);
    for (column, ids) in columns.iter().enumerate() {
        for (row, id) in ids.iter().enumerate() {
            let place = Place {
                x: EDGE + column * (BOX.0 + GAP.0),
                y: EDGE + row * (BOX.1 + GAP.1),
            };
            width = width.max(place.x + BOX.0 + EDGE);
            height = height.max(place.y + BOX.1 + EDGE);
            places.insert(id, place);
        }
    }
    // No smaller than the card: a single box is no poster.
    let (width, height) = (width.max(CARD.0), height.max(CARD.1));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\"><rect width=\"{width}\" height=\"{height}\" fill=\"#20242b\"/>",
        CARD.0, CARD.1
    );
    let mut links = 0;
    for (id, to) in &places {
        let Some(node) = prompt.nodes.get(*id) else {
            continue;
        };
        for (_, from, _) in node.links() {
            let Some(from) = places.get(from).filter(|_| links < MAX_LINKS) else {
                continue;
            };
            links += 1;
            let (x1, y1) = (from.x + BOX.0, from.y + BOX.1 / 2);
            let (x2, y2) = (to.x, to.y + BOX.1 / 2);
            let middle = (x1 + x2) / 2;
            // Writing to a text cannot fail, here and below.
            let _ = write!(
                out,
                "<path d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#64748b\" \
                 stroke-width=\"2\"/>"
            );
        }
    }
    for (id, Place { x, y }) in &places {
        let class = prompt.nodes.get(*id).map_or("", |node| &node.class);
        let _ = write!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"5\" fill=\"#334155\" stroke=\"#94a3b8\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-family=\"sans-serif\" font-size=\"11\" \
             fill=\"#e2e8f0\">{}</text>",
            BOX.0,
            BOX.1,
            x + BOX.0 / 2,
            y + 17,
            name(class)
        );
    }
    let more = prompt.nodes.len().saturating_sub(places.len());
    if more > 0 {
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-family=\"sans-serif\" font-size=\"12\" \
             fill=\"#cbd5e1\">+{more}</text>",
            width - 4,
            height - 4
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Each node one column behind the last that it needs. What stands in a ring comes first.
fn columns(prompt: &Prompt) -> Vec<Vec<&NodeId>> {
    let mut left: BTreeSet<&NodeId> = prompt.nodes.keys().collect();
    let mut out: Vec<Vec<&NodeId>> = Vec::new();
    let mut drawn = 0;
    while !left.is_empty() && drawn < MAX_DRAWN {
        let placed = |id: &NodeId| !left.contains(id);
        let ready = |id: &&&NodeId| {
            let node = prompt.nodes.get(**id);
            node.is_none_or(|node| node.links().all(|(_, from, _)| placed(from)))
        };
        let mut next: Vec<&NodeId> = left.iter().filter(ready).copied().collect();
        if next.is_empty() {
            // A ring: no workflow that leaves here has one.
            next = left.iter().copied().collect();
        }
        next.truncate(MAX_DRAWN - drawn);
        drawn += next.len();
        for id in &next {
            left.remove(*id);
        }
        out.push(next);
    }
    out
}

/// Short, and nothing that is markup.
fn name(class: &str) -> String {
    let long = class.chars().count() > MAX_NAME;
    let kept = if long { MAX_NAME - 1 } else { MAX_NAME };
    let mut out = String::new();
    for c in class.chars().filter(|c| !c.is_control()).take(kept) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' | '\'' => out.push('\u{2019}'),
            // Not allowed in XML.
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    if long {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    fn prompt(value: &Value) -> Prompt {
        Prompt::read(value).expect("a prompt")
    }

    #[test]
    fn nodes_stand_behind_those_that_they_need() {
        let svg = svg(&prompt(&json!({
            "3": {"class_type": "Save", "inputs": {"images": ["2", 0]}},
            "1": {"class_type": "Load", "inputs": {}},
            "2": {"class_type": "Decode", "inputs": {"a": ["1", 0], "b": ["1", 1]}},
        })));
        let x = |class: &str| {
            let text = svg
                .split(&format!(">{class}</text>"))
                .next()
                .expect("drawn");
            let x = text.rsplit("<text x=\"").next().expect("a place");
            x.split('"').next().and_then(|x| x.parse::<usize>().ok())
        };
        assert!(x("Load") < x("Decode") && x("Decode") < x("Save"), "{svg}");
        assert_eq!(svg.matches("<path ").count(), 3, "{svg}");
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn names_of_classes_are_no_markup() {
        let svg = svg(&prompt(&json!({
            "1": {"class_type": "<script>alert(1)</script>", "inputs": {}},
            "2": {"class_type": "a&b\"'<", "inputs": {}},
            "3": {"class_type": "一二三四五六七八九十一二三四五六七八九十一", "inputs": {}},
        })));
        assert!(!svg.contains("<script") && !svg.contains("a&b"), "{svg}");
        assert!(svg.contains("&lt;script&gt;alert(1)&lt;/s…"), "{svg}");
        assert!(svg.contains(">a&amp;b\u{2019}\u{2019}&lt;</text>"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn large_and_odd_workflows_stay_small() {
        let many: Map<String, Value> = (1..=500)
            .map(|n| {
                let before = (n > 1).then(|| json!([(n - 1).to_string(), 0]));
                let inputs = json!({"x": before.unwrap_or(json!(1))});
                (
                    n.to_string(),
                    json!({"class_type": "Node", "inputs": inputs}),
                )
            })
            .collect();
        let many = svg(&prompt(&Value::Object(many)));
        assert!(many.len() < 32 << 10, "{}", many.len());
        assert!(many.contains(">+452</text>"), "{many}");
        let ring = svg(&prompt(&json!({
            "1": {"class_type": "A", "inputs": {"x": ["2", 0]}},
            "2": {"class_type": "B", "inputs": {"x": ["1", 0]}},
        })));
        assert!(ring.contains(">A</text>") && ring.contains(">B</text>"));
    }
}
