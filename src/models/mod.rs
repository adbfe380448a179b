//! Model sources: where the model dialog's searches and downloads really go.
//!
//! | file | what |
//! |---|---|
//! | [`library`] | all sources that policy allows, asked at once, within a bounded time |
//! | [`hub`] | one request to a hub: judged at every hop, bounded, with the hub's key and no other's |
//! | [`hugging_face`], [`civitai`] | the two hubs |
//! | [`local`] | what this machine has: ComfyUI's lists, or a folder |
//! | `memo` | answers kept, and questions that go on when nobody waits |
//! | [`download`] | a file streamed through, compared with what the list said |
//! | [`room`] | free space of a disk |
//!
//! Called by `emulator::model_scope` and, through it alone, by requests; built by `app`. What models and
//! their ids are is `weights`'. Nothing here leaves without [`Checkpoint`](crate::handler::egress::Checkpoint),
//! and nothing is asked of ComfyUI while a search waits: the plugin searches from ComfyUI's own event loop.

pub mod civitai;
pub mod download;
pub mod error;
pub mod hub;
pub mod hugging_face;
pub mod library;
pub mod local;
mod memo;
pub mod room;

use std::net::IpAddr;

use async_trait::async_trait;

pub use download::Download;
pub use error::SourceError;
pub use library::{Found, Library};

use crate::weights::{ByteRange, Details, File, ModelId, Query, Source, Summary};

/// On whose behalf something is asked: rules may tell clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester(pub IpAddr);

/// One place that models come from.
#[async_trait]
pub trait ModelSource: Send + Sync {
    fn source(&self) -> Source;

    /// At most some dozen models that a query means.
    async fn search(&self, query: &Query, by: Requester) -> Result<Vec<Summary>, SourceError>;

    async fn details(&self, id: &ModelId, by: Requester) -> Result<Details, SourceError>;

    /// A file of [`ModelSource::details`], from its beginning or a part of it.
    async fn open(
        &self,
        file: &File,
        range: Option<ByteRange>,
        by: Requester,
    ) -> Result<Download, SourceError>;
}
