use super::*;
use crate::comfy::{Catalogue, Parts};
use serde_json::json;

fn read(text: &str) -> Nodes {
    Nodes::read(text.as_bytes()).expect("an object of classes")
}

fn one(text: &str) -> (Node, LeftOut) {
    let mut nodes = read(&format!("{{\"N\":{text}}}"));
    (nodes.nodes.remove(0), nodes.left_out)
}

#[test]
fn a_class_as_comfyui_writes_it() {
    let (node, left_out) = one(
        r#"{"input":{"required":{"model":["MODEL",{"tooltip":"T"}],"steps":["INT",{"default":20,"min":1,"max":10000}],
            "sampler":[["euler","heun"],{"default":"euler"}],"mode":["COMBO",{"options":["a",2,true]}],
            "text":["STRING",{"multiline":true}],"late":["COMBO",{"remote":{"route":"/x"}}]},
            "optional":{"mask":"MASK","seed":["INT",{"forceInput":true}]},"hidden":{"id":"UNIQUE_ID"}},
          "input_order":{"required":["text","model"]},
          "output":["LATENT",["x","y"]],"output_name":["LATENT"],"output_is_list":[false,true],
          "display_name":"Sampler","description":"D","category":"sampling","python_module":"custom_nodes.pack.sub",
          "output_node":true,"api_node":true}"#,
    );
    let names: Vec<_> = node.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "text", "model", "late", "mode", "sampler", "steps", "mask", "seed"
        ],
        "in the page's order, then the rest, then the optional ones"
    );
    assert_eq!(left_out, LeftOut::default());
    assert_eq!(node.custom_pack(), Some("pack"));
    assert!(node.is_output && node.is_api && !node.deprecated);
    let input = |name| node.input(name).expect("it is there");
    assert_eq!(input("text").kind, Kind::Text { multiline: true });
    assert!(matches!(&input("steps").kind, Kind::Int(n) if n.max == Some(10000.0)));
    assert_eq!(input("steps").default, Some(json!(20)));
    assert!(input("model").must_be_given() && !input("sampler").must_be_given());
    assert!(!input("mask").required && !input("seed").takes_value());
    let allows = |name, value| match &input(name).kind {
        Kind::Choice(choices) => choices.allows(&value),
        other => panic!("{other:?}"),
    };
    assert_eq!(allows("mode", json!(2)), Some(true));
    assert_eq!(allows("sampler", json!("lms")), Some(false));
    assert_eq!(allows("late", json!("x")), None, "filled later");
    let sockets: Vec<_> = node.outputs.iter().map(|o| o.socket.as_str()).collect();
    assert_eq!(sockets, ["LATENT", "COMBO"]);
    assert!(node.outputs[1].is_list);
}

#[test]
fn what_is_broken_costs_only_itself() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for (row, class, kept, left_out) in [
        ("a null", "null".to_owned(), false, 0),
        ("a list", "[]".into(), false, 0),
        ("nothing in it", "{}".into(), true, 0),
        ("inputs are a list", r#"{"input":[1]}"#.into(), true, 0),
        (
            "required is null",
            r#"{"input":{"required":null}}"#.into(),
            true,
            0,
        ),
        (
            "an input that is a number, one without a type, one with a list for a type's name",
            r#"{"input":{"required":{"a":5,"b":[],"c":[{}],"d":["INT"]}}}"#.into(),
            true,
            3,
        ),
        (
            "an order of strangers",
            r#"{"input_order":{"required":["x",4]}}"#.into(),
            true,
            0,
        ),
        (
            "outputs of any kind",
            r#"{"output":[null,{},"IMAGE"],"output_name":"x"}"#.into(),
            true,
            2,
        ),
        ("bottomless", format!("{{\"a\":{deep}}}"), false, 0),
        (
            "infinite bounds",
            r#"{"input":{"required":{"a":["FLOAT",{"max":Infinity}]}}}"#.into(),
            true,
            0,
        ),
        (
            "a lone surrogate",
            r#"{"display_name":"\ud83d"}"#.into(),
            true,
            0,
        ),
    ] {
        let nodes = read(&format!("{{\"Bad\":{class},\"Good\":{{}}}}"));
        let names: Vec<_> = nodes.nodes.iter().map(|n| n.class.as_str()).collect();
        let want: &[&str] = if kept { &["Bad", "Good"] } else { &["Good"] };
        assert_eq!(names, want, "{row}");
        let counted = usize::from(!kept) + left_out;
        assert_eq!(nodes.left_out.total(), counted, "{row}");
    }
}

#[test]
fn hostile_names_are_left_out_and_texts_are_cut() {
    let long = "x".repeat(300);
    let nodes = read(&format!(
        r#"{{"":{{}},"a\nb":{{}},"{long}":{{}},"<script>":{{}}}}"#
    ));
    assert_eq!((nodes.nodes.len(), nodes.left_out.nodes), (1, 3));
    let (node, _) = one(&format!(
        r#"{{"description":"{}","display_name":"  "}}"#,
        "本".repeat(9000)
    ));
    assert!(node.description.len() <= MAX_DESCRIPTION);
    assert_eq!(node.title, "N");
}

#[test]
fn huge_lists_are_cut_and_say_so_and_equal_ones_are_shared() {
    let many = serde_json::to_string(&(0..MAX_CHOICES + 5).collect::<Vec<_>>()).expect("json");
    let spec =
        format!(r#"{{"input":{{"required":{{"a":[{many}],"b":[{many}],"c":[["x",null,[1]]]}}}}}}"#);
    let (node, _) = one(&spec);
    let lists: Vec<_> = node
        .inputs
        .iter()
        .filter_map(|i| match &i.kind {
            Kind::Choice(choices) => Some(choices),
            _ => None,
        })
        .collect();
    assert_eq!(lists[0].values.len(), MAX_CHOICES);
    assert!(lists[0].open && Arc::ptr_eq(&lists[0].values, &lists[1].values));
    assert_eq!(lists[2].values.len(), 1);
    assert!(lists[2].open, "what is not kept may be allowed");
}

#[test]
fn thousands_of_nodes_are_read_and_more_than_the_bound_counted() {
    let text: String = (0..MAX_NODES + 3)
        .map(|n| format!("\"N{n}\":{{}},"))
        .collect();
    let nodes = read(&format!("{{{}}}", text.trim_end_matches(',')));
    assert_eq!((nodes.nodes.len(), nodes.left_out.nodes), (MAX_NODES, 3));
    let catalogue = Catalogue::new(Parts {
        nodes: nodes.nodes,
        ..Parts::default()
    });
    assert!(catalogue.node("N19999").is_some());
}

#[test]
fn an_answer_that_is_no_object_is_an_error() {
    for bad in ["", "[]", "null", "{\"a\":", "<html>"] {
        assert!(Nodes::read(bad.as_bytes()).is_err(), "{bad}");
    }
}
