//! The endpoints of the page, and what is expected of a request to each (WIRE.md 10 to 18).

use http::Method;

use crate::emulator::{made::key_of_picture, sink::TRACK_EVENT_PATH};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    RsaPublicKey,
    Announcement,
    TrackEvent,
    Invoke,
    OptimizedWorkflow,
    NodeInfo,
    ImageUpload,
    UserCreate,
    SdPrompts,
    /// Ours: of a workflow that was made here.
    Picture,
}

impl Route {
    pub fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/api/chat/rsa_public_key" => Route::RsaPublicKey,
            "/api/chat/announcement" => Route::Announcement,
            TRACK_EVENT_PATH => Route::TrackEvent,
            "/api/chat/invoke" => Route::Invoke,
            "/api/chat/get_optimized_workflow" => Route::OptimizedWorkflow,
            "/api/chat/get_node_info_by_types" => Route::NodeInfo,
            "/api/chat/imgfile2oss" => Route::ImageUpload,
            "/api/user/create" => Route::UserCreate,
            "/api/param_debug/generate_sd_prompts" => Route::SdPrompts,
            path if key_of_picture(path).is_some() => Route::Picture,
            _ => return None,
        })
    }

    pub fn allow(self) -> &'static str {
        match self {
            Route::RsaPublicKey | Route::Announcement | Route::Picture => "GET, HEAD, OPTIONS",
            Route::TrackEvent
            | Route::Invoke
            | Route::OptimizedWorkflow
            | Route::NodeInfo
            | Route::ImageUpload
            | Route::UserCreate
            | Route::SdPrompts => "POST, OPTIONS",
        }
    }

    pub fn takes(self, method: &Method) -> bool {
        self.allow().split(", ").any(|m| m == method.as_str())
    }

    /// Members of the JSON body; none for a body that is no JSON or is not looked at here.
    pub fn known_fields(self) -> Option<&'static [&'static str]> {
        match self {
            Route::Invoke => Some(&[
                "session_id",
                "prompt",
                "mock",
                "intent",
                "ext",
                "messages",
                "images",
                "workflow_checkpoint_id",
            ]),
            Route::OptimizedWorkflow => Some(&["workflow_id", "prompt"]),
            Route::NodeInfo => Some(&["node_types"]),
            Route::UserCreate => Some(&["username", "email"]),
            Route::SdPrompts => Some(&["text"]),
            Route::RsaPublicKey
            | Route::Announcement
            | Route::TrackEvent
            | Route::ImageUpload
            | Route::Picture => None,
        }
    }
}
