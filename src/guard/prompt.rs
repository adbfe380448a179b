//! Workflows on their way to `/prompt`: JSON read as it passes, with bounds.
//!
//! Counted are bytes, depth and nodes. Looked at are the class of each node, and the names of files that
//! the loaders of ComfyUI itself are given. Nothing else is held, and nothing is checked that ComfyUI
//! checks: what is no JSON it refuses.

use super::{Guards, Refused, names::name_of_file};
use crate::policy::Reason;

/// Bounds of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptBounds {
    pub bytes: u64,
    pub nodes: u64,
    pub depth: u64,
}

impl Default for PromptBounds {
    fn default() -> Self {
        Self {
            bytes: 100 << 20,
            nodes: 5000,
            depth: 128,
        }
    }
}

/// Of a string that is looked at; a longer one is neither a key of interest, a class nor a file name.
const MAX_TEXT: usize = 4096;
/// Without bounds of the user's own.
const MAX_DEPTH: usize = 10_000;

/// Nodes with a published advisory: they evaluate what a workflow says.
const VULNERABLE: [(&str, &str); 4] = [
    ("ACE_ExpressionEval", "CVE-2024-21577"),
    ("BuildColorRangeHSVAdvanced", "CVE-2024-21576"),
    ("FilterContour", "CVE-2024-21576"),
    ("FindContour", "CVE-2024-21576"),
];
/// Nodes that run what a workflow says because that is what they are for.
const RUNS_CODE: [&str; 15] = [
    "AutogenCodeExecutor",
    "EVAL",
    "EvalPython",
    "Exec Python Code Script",
    "ExecutePython",
    "IDENode",
    "NodePython",
    "NotebookCell",
    "PyExec",
    "PythonCodeExecutor",
    "RunPython",
    "RunPythonCode",
    "SILVER.SilverRunPythonCode",
    "SRL Eval",
    "SrlEval",
];
/// Loaders of ComfyUI itself, which took any path (CVE-2026-56673).
const LOADERS: [&str; 7] = [
    "Load3D",
    "LoadAudio",
    "LoadImage",
    "LoadImageMask",
    "LoadImageOutput",
    "LoadLatent",
    "LoadVideo",
];
/// What they call the file.
const FILE_INPUTS: [&str; 6] = ["image", "audio", "video", "file", "latent", "model_file"];

/// What stands between these brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// The whole body.
    Body,
    /// `prompt`: its members are nodes.
    Nodes,
    Node,
    /// `inputs` of a node.
    Inputs,
    Object,
    Array,
}

impl Inside {
    fn has_keys(self) -> bool {
        !matches!(self, Inside::Array)
    }
}

/// Where in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Plain,
    Escape,
    Unicode { digits: u8, value: u32 },
}

/// What a string that is being read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Key,
    Class,
    File,
    Other,
}

#[derive(Debug)]
pub struct Prompt {
    guards: Guards,
    is_admin: bool,
    seen: u64,
    nodes: u64,
    open: Vec<Inside>,
    /// In an object, before a ':'.
    key_comes: bool,
    /// The last key, where it is of interest.
    key: Key,
    string: Option<(Text, Role)>,
    text: Vec<u8>,
    too_long: bool,
    /// First half of a surrogate pair.
    high: Option<u32>,
    /// Of the node that is open.
    loader: bool,
    bad_name: Option<Refused>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Prompt,
    Inputs,
    Class,
    File,
    Other,
}

impl Key {
    fn of(text: &[u8]) -> Self {
        match text {
            b"prompt" => Key::Prompt,
            b"inputs" => Key::Inputs,
            b"class_type" => Key::Class,
            text if FILE_INPUTS.iter().any(|key| key.as_bytes() == text) => Key::File,
            _ => Key::Other,
        }
    }
}

impl Prompt {
    pub fn new(guards: Guards, is_admin: bool) -> Self {
        Self {
            guards,
            is_admin,
            seen: 0,
            nodes: 0,
            open: Vec::new(),
            key_comes: false,
            key: Key::Other,
            string: None,
            text: Vec::new(),
            too_long: false,
            high: None,
            loader: false,
            bad_name: None,
        }
    }

    pub fn again(&mut self) {
        *self = Self::new(self.guards, self.is_admin);
    }

    pub fn push(&mut self, piece: &[u8]) -> Result<(), Refused> {
        self.seen = self.seen.saturating_add(piece.len() as u64);
        if let Some(bounds) = self.guards.prompt.filter(|bounds| self.seen > bounds.bytes) {
            return Err(too_much("bytes", bounds.bytes));
        }
        let mut rest = piece;
        while let [byte, tail @ ..] = rest {
            if let Some((Text::Plain, role)) = self.string {
                // Most of a workflow are strings, and of these nearly all passes in one piece.
                let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                self.add(role, rest.get(..end).unwrap_or_default());
                rest = rest.get(end..).unwrap_or_default();
                let [byte, tail @ ..] = rest else {
                    break;
                };
                match byte {
                    b'"' => self.ends(role)?,
                    _ => self.string = Some((Text::Escape, role)),
                }
                rest = tail;
                continue;
            }
            rest = tail;
            match self.string {
                Some((state, role)) => self.escape(state, role, *byte),
                None => self.structure(*byte)?,
            }
        }
        Ok(())
    }

    fn structure(&mut self, byte: u8) -> Result<(), Refused> {
        match byte {
            b'{' => self.begins(false),
            b'[' => self.begins(true),
            b'}' | b']' => self.closes(),
            b',' => {
                self.key_comes = self.open.last().is_some_and(|inside| inside.has_keys());
                Ok(())
            }
            b':' => {
                self.key_comes = false;
                Ok(())
            }
            b'"' => {
                self.high = None;
                self.text.clear();
                self.too_long = false;
                let role = self.role();
                self.string = Some((Text::Plain, role));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn role(&self) -> Role {
        let Some(inside) = self.open.last() else {
            return Role::Other;
        };
        match (inside, self.key_comes, self.key) {
            (Inside::Body | Inside::Node | Inside::Inputs, true, _) => Role::Key,
            (Inside::Node, false, Key::Class) => Role::Class,
            (Inside::Inputs, false, Key::File) => Role::File,
            _ => Role::Other,
        }
    }

    fn begins(&mut self, array: bool) -> Result<(), Refused> {
        let most = self
            .guards
            .prompt
            .map_or(MAX_DEPTH as u64, |bounds| bounds.depth);
        if self.open.len() as u64 >= most {
            return Err(too_much("levels of brackets", most));
        }
        let inside = match (self.open.last(), self.key, array) {
            (_, _, true) => Inside::Array,
            (None, _, false) => Inside::Body,
            (Some(Inside::Body), Key::Prompt, false) => Inside::Nodes,
            (Some(Inside::Nodes), _, false) => {
                self.nodes += 1;
                if let Some(bounds) = self
                    .guards
                    .prompt
                    .filter(|bounds| self.nodes > bounds.nodes)
                {
                    return Err(too_much("nodes", bounds.nodes));
                }
                self.loader = false;
                self.bad_name = None;
                Inside::Node
            }
            (Some(Inside::Node), Key::Inputs, false) => Inside::Inputs,
            (Some(_), _, false) => Inside::Object,
        };
        self.open.push(inside);
        self.key_comes = !array;
        self.key = Key::Other;
        Ok(())
    }

    fn closes(&mut self) -> Result<(), Refused> {
        let closed = self.open.pop();
        self.key_comes = false;
        self.key = Key::Other;
        match closed {
            Some(Inside::Node) if self.loader => self.bad_name.take().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn add(&mut self, role: Role, bytes: &[u8]) {
        if role == Role::Other || bytes.is_empty() {
            return;
        }
        self.high = None;
        if self.text.len() + bytes.len() > MAX_TEXT {
            self.too_long = true;
            return;
        }
        self.text.extend_from_slice(bytes);
    }

    fn escape(&mut self, state: Text, role: Role, byte: u8) {
        let next = match state {
            Text::Escape => {
                let plain = match byte {
                    b'u' => None,
                    b'n' => Some(b'\n'),
                    b't' => Some(b'\t'),
                    b'r' => Some(b'\r'),
                    b'b' => Some(8),
                    b'f' => Some(12),
                    other => Some(other),
                };
                match plain {
                    Some(byte) => {
                        self.add(role, &[byte]);
                        Text::Plain
                    }
                    None => Text::Unicode {
                        digits: 0,
                        value: 0,
                    },
                }
            }
            Text::Unicode { digits, value } => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let value = value << 4 | digit;
                match digits {
                    3 => {
                        self.unit(role, value);
                        Text::Plain
                    }
                    digits => Text::Unicode {
                        digits: digits + 1,
                        value,
                    },
                }
            }
            Text::Plain => Text::Plain,
        };
        self.string = Some((next, role));
    }

    /// A unit of UTF-16.
    fn unit(&mut self, role: Role, unit: u32) {
        let high = self.high.take();
        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        let code = match high {
            Some(high) if (0xdc00..0xe000).contains(&unit) => {
                0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00)
            }
            Some(_) | None => unit,
        };
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.add(role, c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// A string has ended.
    fn ends(&mut self, role: Role) -> Result<(), Refused> {
        self.string = None;
        match role {
            Role::Key => {
                self.key = match self.too_long {
                    true => Key::Other,
                    false => Key::of(&self.text),
                };
                Ok(())
            }
            Role::Class => self.class(),
            Role::File => {
                if self.guards.traversal && !self.too_long {
                    let name = String::from_utf8_lossy(&self.text);
                    if let Err(refused) = name_of_file(&name) {
                        self.bad_name = Some(refused);
                    }
                }
                Ok(())
            }
            Role::Other => Ok(()),
        }
    }

    fn class(&mut self) -> Result<(), Refused> {
        if self.too_long {
            return Ok(());
        }
        let class = String::from_utf8_lossy(&self.text);
        if LOADERS.contains(&&*class) {
            self.loader = true;
        }
        if !self.guards.code_nodes {
            return Ok(());
        }
        if let Some((name, advisory)) = VULNERABLE.iter().find(|(name, _)| *name == class) {
            let words = format!("the node {name} runs what a workflow says ({advisory})");
            return Err(Refused::new(Reason::GuardCodeNodes, words));
        }
        match RUNS_CODE.iter().find(|name| **name == class) {
            Some(name) if !self.is_admin => {
                let words = format!("the node {name} runs code, which is for admins");
                Err(Refused::new(Reason::GuardCodeNodes, words))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn too_much(what: &str, most: u64) -> Refused {
    Refused::new(
        Reason::GuardPrompt,
        format!("the workflow has more than {most} {what} (front_door.guards.prompt)"),
    )
}
