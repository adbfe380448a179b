//! What every call of one LLM has in common, made when it is found: writing it out costs more than
//! choosing the model.

use bytes::Bytes;
use http::{Request, request::Parts};

use super::{discovery, settings::ApiKey};
use crate::{
    llm::{problem::Problem, request::Operation},
    net::BaseUrl,
    upstream::http_client::Origin,
};

#[derive(Clone, Debug)]
pub struct Link {
    /// The base URL, as people are told it.
    pub url: String,
    /// Host and port, as the records name it.
    pub authority: String,
    pub origin: Origin,
    // Of requests, with the credential.
    chat: Parts,
    completion: Parts,
    embeddings: Parts,
}

impl Link {
    /// # Errors
    /// The key or the path cannot be written into a head.
    pub fn to(base: &BaseUrl, key: Option<&ApiKey>) -> Result<Self, Problem> {
        let head = |operation: Operation| -> Result<_, Problem> {
            // A body stands for all: it has headers of its own.
            let body = Bytes::from_static(b"{}");
            let request = discovery::request("POST", base, operation.path(), key, body)?;
            Ok(request.into_parts().0)
        };
        Ok(Self {
            url: base.to_string(),
            authority: base.authority.to_string(),
            origin: Origin::of(base),
            chat: head(Operation::Chat)?,
            completion: head(Operation::Completion)?,
            embeddings: head(Operation::Embeddings)?,
        })
    }

    pub fn request(&self, operation: Operation, body: Bytes) -> Request<Bytes> {
        let head = match operation {
            Operation::Chat => &self.chat,
            Operation::Completion => &self.completion,
            Operation::Embeddings => &self.embeddings,
        };
        Request::from_parts(head.clone(), body)
    }
}
