//! Why ComfyUI could not be asked, in words for a person and for a model.

use http::StatusCode;

use crate::{policy::Reason, upstream::http_client::SendError};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("refuses connections or has not been started ({0})")]
    Down(String),
    #[error("does not answer in time")]
    Slow,
    #[error("may not be dialled: {0}")]
    Closed(String),
    #[error("answers {what} with status {status}")]
    Status {
        what: &'static str,
        status: StatusCode,
    },
    #[error("answers {what} with more than {max} bytes")]
    TooLarge { what: &'static str, max: usize },
    #[error("answers {what} in a form that is not ComfyUI's: {detail}")]
    Form { what: &'static str, detail: String },
    #[error("broke off its answer: {0}")]
    Broken(String),
    #[error("was read, but {0}")]
    Index(String),
}

impl From<SendError> for Trouble {
    fn from(e: SendError) -> Self {
        match e {
            SendError::Dial(e) => match e.reason {
                Reason::ConnectTimeout | Reason::ResolveTimeout => Trouble::Slow,
                Reason::LockedDown | Reason::AddressClosed | Reason::OwnListener => {
                    Trouble::Closed(e.detail)
                }
                _ => Trouble::Down(e.detail),
            },
            SendError::Tls(words) => Trouble::Down(words),
            SendError::Broken(words) => Trouble::Broken(words),
        }
    }
}
