//! The OpenAI key of the plugin's settings, which the page seals for this machine and sends along with a
//! card or a list of nodes (WIRE.md 10, 14, 15).
//!
//! It is opened for one purpose: a question about a card, to the base URL that stands beside it in the
//! plugin's settings, where that is a provider which the user enabled (`llm.providers`). Else it is dropped
//! unopened, and whoever sent it is told so by the banner and in the answer. It is never kept or logged.

use std::{collections::HashMap, sync::Arc};

use http::HeaderMap;
use parking_lot::Mutex;

use super::CopilotResponder;
use crate::{
    emulator::{
        asking::{Whom, turns::Asker},
        language::Language,
    },
    gateway::provider::{Keyed, Provider},
    handler::{Exchange, LocalRequest},
    net::BaseUrl,
};

const SEALED: &str = "encrypted-openai-api-key";
const BASE_URL: &str = "openai-base-url";
/// People whose key was left unused; of more, nobody is told.
const MAX_TOLD: usize = 1024;

/// What became of a key that came along.
#[derive(Clone, Debug)]
pub enum OwnKey {
    None,
    Unused(Unused),
    For(Keyed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unused {
    /// No provider of that base URL is enabled.
    NotEnabled,
    /// It was sealed for another key than ours, or is none.
    NotOpened,
}

/// Whose key was left unused, and why, for the banner.
#[derive(Debug, Default)]
pub struct Left(Mutex<HashMap<Asker, Unused>>);

impl Left {
    pub fn of(&self, asker: &Asker) -> Option<Unused> {
        self.0.lock().get(asker).copied()
    }

    /// Whether that is news of this process.
    fn note(&self, asker: Asker, unused: Option<Unused>) -> bool {
        let mut left = self.0.lock();
        match unused {
            Some(_) if left.len() >= MAX_TOLD && !left.contains_key(&asker) => false,
            Some(unused) => left.insert(asker, unused) != Some(unused),
            None => {
                left.remove(&asker);
                false
            }
        }
    }
}

impl OwnKey {
    /// Who is asked about a card.
    pub fn whom(&self) -> Whom {
        match self {
            OwnKey::None | OwnKey::Unused(_) => Whom::Configured,
            OwnKey::For(keyed) => Whom::Provider(keyed.clone()),
        }
    }
}

impl Unused {
    /// For the audit record and the log.
    pub fn detail(self) -> &'static str {
        match self {
            Unused::NotEnabled => {
                "the page's own key was dropped unopened: no provider is enabled for it"
            }
            Unused::NotOpened => "the page's own key could not be opened",
        }
    }

    /// For whoever sent it.
    pub fn words(self, language: Language) -> &'static str {
        match (self, language) {
            (Unused::NotEnabled, Language::English) => {
                "Your OpenAI key came along with a card and was thrown away unopened: Airlock has no provider enabled \
                 for its base URL (`llm.providers`). Your own LLM was asked."
            }
            (Unused::NotEnabled, Language::Chinese) => {
                "您的 OpenAI 密钥随卡片一起发来，未被解密即已丢弃：Airlock 未启用对应地址的服务商（`llm.providers`）。已改用您自己的大模型。"
            }
            (Unused::NotOpened, Language::English) => {
                "Your OpenAI key came along with a card, sealed for another Airlock than this one, so it could not be \
                 used. Save it again in the plugin's settings, in a fresh browser profile if that does not help. Your \
                 own LLM was asked."
            }
            (Unused::NotOpened, Language::Chinese) => {
                "您的 OpenAI 密钥是为另一个 Airlock 加密的，无法使用。请在插件设置中重新保存；若仍无效，请清除此页面的浏览器数据。已改用您自己的大模型。"
            }
        }
    }
}

impl CopilotResponder {
    /// Opened only where it will be used.
    pub(super) async fn own_key(&self, request: &LocalRequest) -> OwnKey {
        let headers = &request.parts.headers;
        let Some(sealed) = headers.get(SEALED) else {
            return OwnKey::None;
        };
        let Some(provider) = self.provider_of(headers) else {
            return self.unused(&request.exchange, Unused::NotEnabled);
        };
        match self.rsa_key.open(sealed.as_bytes()).await {
            None => self.unused(&request.exchange, Unused::NotOpened),
            Some(key) => {
                self.keys_left.note(Asker::of(&request.exchange), None);
                OwnKey::For(Keyed {
                    provider,
                    key,
                    by: request.exchange.client,
                })
            }
        }
    }

    /// A request that asks no LLM: what came along is dropped.
    pub(super) fn drop_own_key(&self, request: &LocalRequest) {
        let headers = &request.parts.headers;
        if headers.contains_key(SEALED) && self.provider_of(headers).is_none() {
            self.unused(&request.exchange, Unused::NotEnabled);
        }
    }

    fn provider_of(&self, headers: &HeaderMap) -> Option<Arc<Provider>> {
        let base = headers.get(BASE_URL)?.to_str().ok()?;
        let base = BaseUrl::parse(base.trim()).ok()?;
        self.providers.iter().find(|p| p.base == base).cloned()
    }

    fn unused(&self, exchange: &Exchange, unused: Unused) -> OwnKey {
        if self.keys_left.note(Asker::of(exchange), Some(unused)) {
            tracing::info!("{}", unused.detail());
        }
        OwnKey::Unused(unused)
    }
}
