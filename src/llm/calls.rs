//! Repair of tool calls: ids, indices, arguments, and tools that were never offered (WIRE.md 2.4).

use std::borrow::Cow;

use super::{
    edit::{self, Editor, Object},
    repair::{Repair, Repairs},
};

/// More calls in one answer than any agent makes; later ones pass as they are.
const MAX_CALLS: usize = 256;

/// Tool calls of one choice, as far as they were seen.
#[derive(Clone, Debug)]
pub struct Calls {
    seen: Vec<Call>,
    /// Makes ids unique over the turns of one conversation.
    tag: String,
    /// Names offered; `None` lets every name pass.
    offered: Option<Vec<String>>,
    made_ids: u64,
}

#[derive(Clone, Debug)]
struct Call {
    id: Option<String>,
    upstream_index: Option<u64>,
    index: u64,
    dropped: bool,
}

/// What became of one list of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallsRepair {
    /// The new list; `None` when it needed nothing.
    pub list: Option<String>,
    /// Names of calls dropped because nobody offered them.
    pub unknown: Vec<String>,
}

/// Whether a list stands in a delta or in a whole message; only deltas have indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Delta,
    Message,
}

impl Calls {
    pub fn new(tag: impl Into<String>, offered: Option<Vec<String>>) -> Self {
        Self {
            seen: Vec::new(),
            tag: tag.into(),
            offered,
            made_ids: 0,
        }
    }

    /// True if a call was seen and passed on.
    pub fn any_kept(&self) -> bool {
        self.seen.iter().any(|c| !c.dropped)
    }
    pub fn any_dropped(&self) -> bool {
        self.seen.iter().any(|c| c.dropped)
    }

    /// `list` is the value of `tool_calls`.
    pub fn repair(&mut self, list: &str, place: Place, repairs: &mut Repairs) -> CallsRepair {
        let Some(elements) = edit::elements(list) else {
            return CallsRepair::default();
        };
        let mut kept: Vec<Cow<'_, str>> = Vec::with_capacity(elements.len());
        let mut unknown = Vec::new();
        let mut changed = false;
        for element in elements {
            match self.one(element, place, repairs, &mut unknown) {
                Some(text) => {
                    changed |= matches!(text, Cow::Owned(_));
                    kept.push(text);
                }
                None => changed = true,
            }
        }
        let list = changed.then(|| {
            if kept.is_empty() {
                "null".to_owned()
            } else {
                format!("[{}]", kept.join(","))
            }
        });
        CallsRepair { list, unknown }
    }

    /// One element as it goes on; `None` drops it.
    fn one<'a>(
        &mut self,
        text: &'a str,
        place: Place,
        repairs: &mut Repairs,
        unknown: &mut Vec<String>,
    ) -> Option<Cow<'a, str>> {
        let Some(object) = Object::parse(text) else {
            return Some(Cow::Borrowed(text));
        };
        let function = object.last("function").and_then(Object::parse);
        let name = function
            .as_ref()
            .and_then(|f| f.string("name"))
            .filter(|n| !n.is_empty());
        let id = object.string("id").filter(|id| !id.is_empty());
        let upstream_index = object.last("index").and_then(edit::unsigned);
        let known = match place {
            Place::Delta => self.continues(upstream_index, id.as_deref(), name.as_deref()),
            Place::Message => None,
        };
        let mut editor = Editor::new(text);
        let mut added = Vec::new();
        let at = match known {
            Some(at) => at,
            None => {
                if self.seen.len() >= MAX_CALLS {
                    return Some(Cow::Borrowed(text));
                }
                let call = self.begin(upstream_index, id.as_deref(), name.as_deref());
                if call.dropped {
                    unknown.push(name.as_deref().unwrap_or_default().to_owned());
                    repairs.add(Repair::UnknownTool);
                } else {
                    if id.is_none()
                        && let Some(made) = &call.id
                    {
                        set(&object, "id", edit::quote(made), &mut editor, &mut added);
                        repairs.add(Repair::ToolCallId);
                    }
                    if object.present("type").is_none() {
                        set(
                            &object,
                            "type",
                            "\"function\"".into(),
                            &mut editor,
                            &mut added,
                        );
                    }
                }
                self.seen.push(call);
                self.seen.len() - 1
            }
        };
        let call = self.seen.get(at)?;
        if call.dropped {
            return None;
        }
        if place == Place::Delta && upstream_index != Some(call.index) {
            set(
                &object,
                "index",
                call.index.to_string(),
                &mut editor,
                &mut added,
            );
            repairs.add(Repair::ToolCallIndex);
        }
        if let Some(function) = &function {
            for arguments in function.all("arguments").filter(|a| a.starts_with('{')) {
                editor.replace(arguments, edit::quote(arguments));
                repairs.add(Repair::ToolArguments);
            }
        }
        editor.add_members(&object, &added);
        Some(editor.finish())
    }

    /// The call that a delta goes on with; `None` for a new one.
    fn continues(&self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> Option<usize> {
        let by_id = || {
            self.seen
                .iter()
                .rposition(|c| id.is_some() && c.id.as_deref() == id)
        };
        match index {
            Some(index) => {
                let at = self
                    .seen
                    .iter()
                    .rposition(|c| c.upstream_index == Some(index))?;
                // Some servers give every call the index 0: another id with a name is another call.
                let other =
                    name.is_some() && id.is_some() && self.seen.get(at)?.id.as_deref() != id;
                if other { by_id() } else { Some(at) }
            }
            None => by_id().or_else(|| {
                (id.is_none() && name.is_none())
                    .then(|| self.seen.len().checked_sub(1))
                    .flatten()
            }),
        }
    }

    fn begin(&mut self, upstream_index: Option<u64>, id: Option<&str>, name: Option<&str>) -> Call {
        let taken = |i: u64| self.seen.iter().any(|c| c.index == i);
        let next = self
            .seen
            .iter()
            .map(|c| c.index.saturating_add(1))
            .max()
            .unwrap_or(0);
        let index = upstream_index.filter(|i| !taken(*i)).unwrap_or(next);
        let id = match id {
            Some(id) => id.to_owned(),
            None => {
                let made = format!("call_{}_{}", self.tag, self.made_ids);
                self.made_ids += 1;
                made
            }
        };
        let dropped = match (&self.offered, name) {
            (Some(offered), Some(name)) => !offered.iter().any(|o| o == name),
            (None, _) | (_, None) => false,
        };
        Call {
            id: Some(id),
            upstream_index,
            index,
            dropped,
        }
    }
}

fn set<'k>(
    object: &Object<'_>,
    key: &'k str,
    value: String,
    editor: &mut Editor<'_>,
    added: &mut Vec<(&'k str, String)>,
) {
    let mut found = false;
    for old in object.all(key) {
        editor.replace(old, value.clone());
        found = true;
    }
    if !found {
        added.push((key, value));
    }
}

/// What the person reads instead of a call of a tool that does not exist.
pub fn unknown_tool_text(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    format!(
        "The local model tried to use a tool that does not exist here ({}), so that step was not taken. \
         Ask again, or use a model that is better at tool calls.",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn streamed_calls_become_what_sdks_accept() {
        let good =
            r#"[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]"#;
        let more = r#"[{"index":0,"function":{"arguments":"{}"}}]"#;
        let cases: [Row<'_>; 8] = [
            (
                "good deltas are not touched",
                &[good, more],
                &[good, more],
                &[],
            ),
            (
                "a missing id is made once",
                &[
                    r#"[{"index":0,"type":"function","function":{"name":"f","arguments":""}}]"#,
                    more,
                ],
                &[
                    r#"[{"index":0,"type":"function","function":{"name":"f","arguments":""},"id":"call_t_0"}]"#,
                    more,
                ],
                &[],
            ),
            (
                "an empty id and no type",
                &[r#"[{"index":0,"id":"","function":{"name":"f"}}]"#],
                &[r#"[{"index":0,"id":"call_t_0","function":{"name":"f"},"type":"function"}]"#],
                &[],
            ),
            (
                "no index: a name begins a call, the rest belongs to the last",
                &[
                    r#"[{"id":"a","type":"function","function":{"name":"f"}}]"#,
                    r#"[{"function":{"arguments":"{}"}}]"#,
                    r#"[{"id":"b","type":"function","function":{"name":"f"}}]"#,
                ],
                &[
                    r#"[{"id":"a","type":"function","function":{"name":"f"},"index":0}]"#,
                    r#"[{"function":{"arguments":"{}"},"index":0}]"#,
                    r#"[{"id":"b","type":"function","function":{"name":"f"},"index":1}]"#,
                ],
                &[],
            ),
            (
                "one index for two calls",
                &[
                    r#"[{"index":0,"id":"a","type":"function","function":{"name":"f"}}]"#,
                    r#"[{"index":0,"id":"b","type":"function","function":{"name":"g"}}]"#,
                    more,
                ],
                &[
                    r#"[{"index":0,"id":"a","type":"function","function":{"name":"f"}}]"#,
                    r#"[{"index":1,"id":"b","type":"function","function":{"name":"g"}}]"#,
                    r#"[{"index":1,"function":{"arguments":"{}"}}]"#,
                ],
                &[],
            ),
            (
                "arguments as an object become a string",
                &[
                    r#"[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":{"x":1.0}}}]"#,
                ],
                &[
                    r#"[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1.0}"}}]"#,
                ],
                &[],
            ),
            (
                "a tool nobody offered is dropped with all its deltas",
                &[
                    r#"[{"index":0,"id":"a","type":"function","function":{"name":"x","arguments":""}}]"#,
                    more,
                    r#"[{"index":1,"id":"b","type":"function","function":{"name":"g"}}]"#,
                ],
                &[
                    "null",
                    "null",
                    r#"[{"index":1,"id":"b","type":"function","function":{"name":"g"}}]"#,
                ],
                &["x"],
            ),
            ("no list is left alone", &["{}", "7"], &["{}", "7"], &[]),
        ];
        for (name, lists, want, unknown) in cases {
            let mut calls = Calls::new("t", Some(vec!["f".into(), "g".into()]));
            let mut repairs = Repairs::default();
            let mut names = Vec::new();
            let got: Vec<String> = lists
                .iter()
                .map(|list| {
                    let repair = calls.repair(list, Place::Delta, &mut repairs);
                    names.extend(repair.unknown);
                    repair.list.unwrap_or_else(|| (*list).to_owned())
                })
                .collect();
            assert_eq!(got, want, "{name}");
            assert_eq!(names, unknown, "{name}");
        }
    }

    #[test]
    fn a_message_s_calls_get_no_index() {
        let mut calls = Calls::new("t", None);
        let repair = calls.repair(
            r#"[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]"#,
            Place::Message,
            &mut Repairs::default(),
        );
        assert_eq!(
            repair.list.as_deref(),
            Some(
                r#"[{"type":"function","function":{"name":"f"},"id":"call_t_0"},{"type":"function","function":{"name":"f"},"id":"call_t_1"}]"#
            )
        );
    }
}
