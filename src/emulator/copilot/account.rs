//! A signed key in place of an account (WIRE.md 17).
//!
//! The vendor mailed a key to whoever gave an address. Here nobody is mailed: the dialog shows the key
//! itself, a session token for whoever asks, which is revoked, listed and ends like any other. The
//! page shows a message only where `data` is falsy, so a success is told as a failure: its other words
//! are that a mail was sent. The address and the name that the page sends are not read.

use http::StatusCode;

use super::CopilotResponder;
use crate::{
    emulator::{
        http::{failure, note},
        language::{Language, Phrase},
    },
    handler::{Exchange, LocalResponse},
    session::{Issued, SessionError, now},
    token::{Role, Username, Via},
};

/// Letters of a token in one piece: what the dialog has room for.
const GROUP: usize = 32;

const HAS_KEY: Phrase = Phrase {
    en: "You hold an Airlock key already, the one that this request came with. No mail was sent, and your address \
         went nowhere.",
    zh: "您已持有 Airlock 密钥（本次请求所用的密钥）。没有发送邮件，您的邮箱地址也没有发送给任何人。",
};
const NOT_FOR_YOU: Phrase = Phrase {
    en: "Airlock gives keys to people who are logged in, and to this machine itself. Log in at Airlock's front door, \
         or ask its admin for a key (`airlock key create`). No mail was sent.",
    zh: "Airlock 只向已登录的用户或本机发放密钥。请在 Airlock 前门登录，或向管理员索取密钥（`airlock key create`）。没有发送邮件。",
};
const NOT_MADE: Phrase = Phrase {
    en: "Airlock could not make a key: see its log. No mail was sent.",
    zh: "Airlock 无法生成密钥，请查看其日志。没有发送邮件。",
};
const BEFORE: Phrase = Phrase {
    en: "No mail was sent, and your address went nowhere. This is your key, signed by your own Airlock; copy all of it into \
         the API key field, blanks and all, and save:",
    zh: "没有发送邮件，您的邮箱地址也没有发送给任何人。这是由您自己的 Airlock 签发的密钥，请完整复制（包括空格）到 API key 栏并保存：",
};

/// Whose key it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holder {
    /// Whoever sits at this machine, where nobody has to log in.
    Local,
    User(Username, Role),
    /// Holds one.
    HasKey,
    /// Not known well enough to be given a key.
    Stranger,
}

impl Holder {
    fn of(exchange: &Exchange) -> Self {
        let Some(principal) = exchange.principal.as_deref() else {
            // Entries that ask nobody are for this machine's own programs.
            return match exchange.client.is_loopback() {
                true => Holder::Local,
                false => Holder::Stranger,
            };
        };
        match principal.via {
            Via::Open => Holder::Local,
            Via::Cookie => Holder::User(principal.username.clone(), principal.role),
            Via::Bearer | Via::ApiKey => Holder::HasKey,
            // Named by what others in ComfyUI's process may have sent: no ground to give a key on.
            Via::Chat | Via::Plugin => Holder::Stranger,
        }
    }
}

impl CopilotResponder {
    pub(super) async fn account(&self, exchange: &Exchange, language: Language) -> LocalResponse {
        let (detail, words) = match Holder::of(exchange) {
            Holder::HasKey => ("holds a key", HAS_KEY.in_language(language).to_owned()),
            Holder::Stranger => ("no key given", NOT_FOR_YOU.in_language(language).to_owned()),
            Holder::Local => self.given(None, language).await,
            Holder::User(name, role) => self.given(Some((name, role)), language).await,
        };
        note(exchange, "stand-in", detail);
        failure(StatusCode::OK, &words)
    }

    /// What is noted, and what the dialog shows.
    async fn given(
        &self,
        user: Option<(Username, Role)>,
        language: Language,
    ) -> (&'static str, String) {
        let identity = self.identity.clone();
        let issuing = tokio::task::spawn_blocking(move || -> Result<Issued, SessionError> {
            match user {
                None => identity.local_session(now()),
                Some((name, role)) => identity.sessions.issue(name, role, None, now()),
            }
        });
        match issuing.await {
            Ok(Ok(Issued { token, session })) => {
                let hours = session.lifetime / 3600;
                let ends = match language {
                    Language::English => {
                        format!(
                            "It ends {hours} hours after its last use (`airlock session list`)."
                        )
                    }
                    Language::Chinese => {
                        format!("最后一次使用后 {hours} 小时失效（`airlock session list`）。")
                    }
                };
                let token = in_groups(&token);
                let words = format!("{}\n\n{token}\n\n{ends}", BEFORE.in_language(language));
                ("a signed key was given", words)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "no key could be given to the page");
                (
                    "no key could be made",
                    NOT_MADE.in_language(language).to_owned(),
                )
            }
            Err(_) => (
                "no key could be made",
                NOT_MADE.in_language(language).to_owned(),
            ),
        }
    }
}

/// The page shows the words in one paragraph, where a line breaks at blanks alone: a token without any runs
/// out of the dialog. Whatever else would break it is copied along, too, and cannot stand in a header; a
/// blank can, and whoever reads a bearer here takes it out again (`proxy::identity::shown`).
fn in_groups(token: &str) -> String {
    let mut out = String::with_capacity(token.len() + token.len() / GROUP);
    for (at, c) in token.chars().enumerate() {
        if at > 0 && at % GROUP == 0 {
            out.push(' ');
        }
        out.push(c);
    }
    out
}
