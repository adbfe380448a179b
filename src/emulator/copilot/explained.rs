//! A node explained to a person: what the user's LLM writes about it, above what ComfyUI itself says.
//!
//! What ComfyUI says stands there at once and stays; the LLM gets it as its only source. Without an
//! LLM the facts and the docs are the answer.

use std::{fmt::Write, sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    CopilotResponder,
    invoke::{Asked, Intent, Line, Lines, NO_COMFYUI, only},
};
use crate::{
    comfy::{Catalogue, Node},
    comfyui::{ComfyUi, Knowledge},
    emulator::{
        asking::{Cost, Question},
        http::note,
        language::{Language, Phrase},
        prompts,
        tools::{
            explain::{Labels, about, documentation, explanation, sockets},
            search_node::nodes,
        },
    },
    handler::Exchange,
};

/// An explanation is read, not awaited.
const COST: Cost = Cost {
    time: Duration::from_secs(90),
    tries: 1,
    tokens: 1_024,
    bytes: 8 << 10,
};
/// Each line carries all of the text, so a long one is sent in longer steps.
const STEP: usize = 48;

const NOT_INSTALLED: Phrase = Phrase {
    en: "There is no such node in your ComfyUI: ",
    zh: "您的 ComfyUI 中没有此节点：",
};
const NEAREST: Phrase = Phrase {
    en: "Nearest ones that are installed: ",
    zh: "已安装的相近节点：",
};
const WITHOUT_LLM: Phrase = Phrase {
    en: "From your ComfyUI alone; your LLM wrote nothing",
    zh: "仅来自您的 ComfyUI；您的大模型没有作答",
};
const BROKE_OFF: Phrase = Phrase {
    en: "Your LLM broke off here",
    zh: "您的大模型在此中断",
};

impl CopilotResponder {
    pub(super) fn explained(&self, asked: Asked, intent: Intent) -> Lines {
        let Some(comfyui) = self.comfyui.clone() else {
            note(&asked.exchange, "stand-in", "comfyui is off");
            return only(Line::last(NO_COMFYUI.in_language(asked.language)));
        };
        let asking = self.asking.clone();
        let beginning = async move {
            let known = match known(&comfyui, &asked.exchange).await {
                Ok(known) => known,
                Err(words) => return only(Line::last(words)),
            };
            let Some(node) = known.catalogue.node_called(&asked.node) else {
                note(&asked.exchange, "stand-in", "node not installed");
                return only(Line::last(not_installed(&known, &asked)));
            };
            let page = Page::of(node, &known.catalogue, intent, asked.language);
            let question = Question {
                system: match intent {
                    Intent::NodeParams => prompts::NODE_PARAMS,
                    Intent::NodeExplain | Intent::Downstream => prompts::NODE_EXPLAIN,
                }
                .fill(&[("language", prompts::name_of(asked.language))]),
                user: {
                    let docs = known.catalogue.docs(&node.class);
                    explanation(node, docs.map(|docs| docs.either(false)))
                },
                cost: COST,
            };
            let first = Line {
                text: page.with(""),
                ..Line::default()
            };
            let growing = Growing {
                pieces: asking.text(question, &asked.exchange),
                page,
                said: String::new(),
                shown: 0,
                over: false,
                exchange: asked.exchange,
                language: asked.language,
            };
            stream::iter([first]).chain(growing.into_lines()).boxed()
        };
        stream::once(beginning).flatten().boxed()
    }
}

/// What is known of ComfyUI, or words for the page.
pub async fn known(comfyui: &Arc<ComfyUi>, exchange: &Exchange) -> Result<Arc<Knowledge>, String> {
    comfyui.knowledge().await.map_err(|why| {
        note(exchange, "stand-in", "comfyui cannot be asked");
        format!("{why}.")
    })
}

pub fn not_installed(known: &Knowledge, asked: &Asked) -> String {
    let mut text = format!(
        "{}`{}`",
        NOT_INSTALLED.in_language(asked.language),
        plain(&asked.node)
    );
    let near: Vec<String> = nodes(known, &asked.node, 5)
        .iter()
        .map(|near| format!("`{}`", plain(&near.class)))
        .collect();
    if !near.is_empty() {
        let _ = write!(
            text,
            "\n\n{}{}",
            NEAREST.in_language(asked.language),
            near.join(", ")
        );
    }
    text
}

/// A name inside of Markdown code.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_control() && *c != '`')
        .collect()
}

/// The text around what the LLM writes.
struct Page {
    above: String,
    below: String,
}

impl Page {
    fn of(node: &Node, catalogue: &Catalogue, intent: Intent, language: Language) -> Self {
        let (labels, chinese) = match language {
            Language::English => (&Labels::ENGLISH, false),
            Language::Chinese => (&Labels::CHINESE, true),
        };
        let mut below = sockets(node, labels);
        match intent {
            Intent::NodeParams => {}
            Intent::NodeExplain | Intent::Downstream => {
                let docs = catalogue.docs(&node.class);
                // Before they have been read, nobody knows that there are none.
                if docs.is_some() || catalogue.documented() > 0 {
                    below.push_str(&documentation(docs.map(|d| d.either(chinese)), labels));
                }
            }
        }
        Self {
            above: about(node, labels),
            below,
        }
    }

    fn with(&self, said: &str) -> String {
        let said = said.trim();
        match said.is_empty() {
            true => format!("{}{}", self.above, self.below),
            false => format!("{}\n{said}\n{}", self.above, self.below),
        }
    }
}

/// A page, and what is said into it.
struct Growing {
    pieces: BoxStream<'static, Result<String, String>>,
    page: Page,
    said: String,
    shown: usize,
    over: bool,
    exchange: Exchange,
    language: Language,
}

impl Growing {
    fn into_lines(self) -> Lines {
        stream::unfold(self, |mut growing| async move {
            let line = growing.next().await?;
            Some((line, growing))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Line> {
        if self.over {
            return None;
        }
        loop {
            match self.pieces.next().await {
                Some(Ok(piece)) => {
                    self.said.push_str(&piece);
                    let step = STEP.max(self.said.len() / 16);
                    if self.said.len() >= self.shown + step {
                        self.shown = self.said.len();
                        return Some(Line {
                            text: self.page.with(&self.said),
                            ..Line::default()
                        });
                    }
                }
                Some(Err(why)) => {
                    self.over = true;
                    return Some(Line::last(self.ended_by(&why)));
                }
                None => {
                    self.over = true;
                    if self.said.trim().is_empty() {
                        note(&self.exchange, "stand-in", "explained without an llm");
                    }
                    return Some(Line::last(self.page.with(&self.said)));
                }
            }
        }
    }

    fn ended_by(&self, why: &str) -> String {
        // A quote: what a server says is no Markdown of ours.
        let why = why.replace(['\n', '\r'], " ");
        match self.said.trim().is_empty() {
            true => {
                note(&self.exchange, "stand-in", "explained without an llm");
                let remark = WITHOUT_LLM.in_language(self.language);
                format!("{}\n\n> {remark}: {why}", self.page.with(""))
            }
            false => {
                let remark = BROKE_OFF.in_language(self.language);
                self.page
                    .with(&format!("{}\n\n> {remark}: {why}", self.said))
            }
        }
    }
}
