//! Single requests to ComfyUI: bounded in size and time, with validators where it gives any.
//!
//! The one client of the user's ComfyUI: [`super::ComfyUi`] asks by it, and `models::local` does.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use serde_json::Value;

use super::trouble::Trouble;
use crate::{
    comfy::sound,
    handler::EgressMeter,
    metrics::Metrics,
    net::BaseUrl,
    upstream::http_client::{Body, HttpClient, Origin, WholeError},
};

/// What is asked for: its name in messages, and its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub what: &'static str,
    pub max: usize,
    pub within: Duration,
}

/// How it was answered.
#[derive(Clone, Debug)]
pub enum Fetched {
    Body {
        bytes: Bytes,
        /// To be sent along next time.
        tag: Option<HeaderValue>,
    },
    /// As it was when the tag was given.
    Unchanged,
    Absent,
}

impl Fetched {
    /// The body, where it is there.
    pub fn body(self) -> Option<Bytes> {
        match self {
            Fetched::Body { bytes, .. } => Some(bytes),
            Fetched::Unchanged | Fetched::Absent => None,
        }
    }
}

pub struct Client {
    http: HttpClient,
    base: BaseUrl,
    origin: Origin,
    metrics: Arc<Metrics>,
}

impl Client {
    pub fn new(http: HttpClient, base: BaseUrl, metrics: Arc<Metrics>) -> Self {
        Self {
            http,
            origin: Origin::of(&base),
            base,
            metrics,
        }
    }

    /// Where it is.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// GETs a path of ours: names in it are percent-encoded by the caller.
    pub async fn get(
        &self,
        path: &str,
        tag: Option<&HeaderValue>,
        ask: Ask,
    ) -> Result<Fetched, Trouble> {
        let egress = EgressMeter::default();
        let asked = tokio::time::timeout(ask.within, self.ask(path, tag, ask, &egress)).await;
        if egress.bytes() > 0 {
            self.metrics.left_machine("comfyui", egress.bytes());
        }
        asked.unwrap_or(Err(Trouble::Slow))
    }

    async fn ask(
        &self,
        path: &str,
        tag: Option<&HeaderValue>,
        ask: Ask,
        egress: &EgressMeter,
    ) -> Result<Fetched, Trouble> {
        let mut request = Request::get(self.base.target(path)).header(header::ACCEPT, "*/*");
        if let Some(tag) = tag {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let request = request
            .body(Bytes::new())
            .map_err(|e| Trouble::Broken(e.to_string()))?;
        let response = self.http.send(&self.origin, request, egress).await?;
        let (status, headers, mut body) = (response.status, response.headers, response.body);
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if tag.is_some() => return Ok(Fetched::Unchanged),
            StatusCode::NOT_FOUND => {
                // Read off, so that the connection can be used again.
                read(&mut body, ask).await?;
                return Ok(Fetched::Absent);
            }
            status => {
                return Err(Trouble::Status {
                    what: ask.what,
                    status,
                });
            }
        }
        let bytes = read(&mut body, ask).await?;
        Ok(Fetched::Body {
            bytes,
            tag: headers.get(header::ETAG).cloned(),
        })
    }

    /// The answer as JSON; absent is null.
    pub async fn json(&self, path: &str, ask: Ask) -> Result<Value, Trouble> {
        match self.get(path, None, ask).await?.body() {
            Some(bytes) => parse(&bytes, ask.what),
            None => Ok(Value::Null),
        }
    }
}

async fn read(body: &mut Body, Ask { what, max, .. }: Ask) -> Result<Bytes, Trouble> {
    body.whole(max).await.map_err(|e| match e {
        WholeError::Broken(detail) => Trouble::Broken(detail),
        WholeError::TooLarge { max } => Trouble::TooLarge { what, max },
    })
}

/// JSON as Python writes it.
pub fn parse(bytes: &[u8], what: &'static str) -> Result<Value, Trouble> {
    serde_json::from_str(&sound::readable(bytes)).map_err(|e| Trouble::Form {
        what,
        detail: e.to_string(),
    })
}
