//! Hugging Face as a source.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Download, ModelSource, Requester, SourceError, download, hub::Hub};
use crate::weights::{
    ByteRange, Details, File, Formats, ModelId, Query, Source, Summary, hugging_face as wire,
};

pub struct HuggingFace {
    hub: Arc<Hub>,
    formats: Formats,
}

impl HuggingFace {
    pub fn new(hub: Hub, formats: Formats) -> Self {
        Self {
            hub: Arc::new(hub),
            formats,
        }
    }
}

#[async_trait]
impl ModelSource for HuggingFace {
    fn source(&self) -> Source {
        Source::HuggingFace
    }

    async fn search(&self, query: &Query, by: Requester) -> Result<Vec<Summary>, SourceError> {
        let answer = self.hub.json(&wire::search_target(query), by).await?;
        wire::search(&answer, &self.formats)
            .ok_or_else(|| self.hub.unusable("it is no list of models"))
    }

    async fn details(&self, id: &ModelId, by: Requester) -> Result<Details, SourceError> {
        let ModelId::HuggingFace { owner, repo, .. } = id else {
            return Err(SourceError::NotKnown);
        };
        let answer = self
            .hub
            .json(&wire::details_target(owner, repo), by)
            .await?;
        let details = wire::details(id, &answer, &self.formats)
            .ok_or_else(|| self.hub.unusable("it is not this model"))?;
        if details.gated && !self.hub.has_key() {
            return Err(SourceError::Gated(Source::HuggingFace));
        }
        Ok(details)
    }

    async fn open(
        &self,
        file: &File,
        range: Option<ByteRange>,
        by: Requester,
    ) -> Result<Download, SourceError> {
        download::open(&self.hub, file, range, by).await
    }
}
