//! Civitai as a source.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Download, ModelSource, Requester, SourceError, download, hub::Hub};
use crate::weights::{
    ByteRange, Details, File, Formats, ModelId, Query, Source, Summary,
    civitai::{self as wire, Size},
};

pub struct Civitai {
    hub: Arc<Hub>,
    formats: Formats,
}

impl Civitai {
    pub fn new(hub: Hub, formats: Formats) -> Self {
        Self {
            hub: Arc::new(hub),
            formats,
        }
    }
}

#[async_trait]
impl ModelSource for Civitai {
    fn source(&self) -> Source {
        Source::Civitai
    }

    async fn search(&self, query: &Query, by: Requester) -> Result<Vec<Summary>, SourceError> {
        let answer = self.hub.json(&wire::search_target(query), by).await?;
        wire::search(&answer, &self.formats)
            .ok_or_else(|| self.hub.unusable("it is no list of models"))
    }

    async fn details(&self, id: &ModelId, by: Requester) -> Result<Details, SourceError> {
        let ModelId::Civitai { version, .. } = id else {
            return Err(SourceError::NotKnown);
        };
        let answer = self.hub.json(&wire::details_target(*version), by).await?;
        let (mut details, size) = wire::details(id, &answer, &self.formats)
            .ok_or_else(|| self.hub.unusable("it is not this version"))?;
        // The SDK compares sizes to the byte, and Civitai may round: the store knows.
        if let (Some(file), Some(about @ Size::About(_))) = (details.files.first_mut(), size) {
            let exact = download::size_of(&self.hub, file, by).await?;
            if !about.may_be(exact) {
                return Err(self.hub.unusable("the file has another size than it says"));
            }
            file.size = exact;
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
