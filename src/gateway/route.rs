//! Which operation a path names. Base URLs are given with and without `/v1`, so both forms, and a
//! doubled one, are understood.

use crate::llm::request::Operation;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Call(Operation),
    Models,
    Model(String),
    Unknown,
}

impl Route {
    pub fn of(path: &str) -> Self {
        let mut rest = path.trim_matches('/');
        for _ in 0..2 {
            rest = match rest.strip_prefix("v1") {
                Some("") => "",
                Some(below) => match below.strip_prefix('/') {
                    Some(below) => below.trim_start_matches('/'),
                    None => break,
                },
                None => break,
            };
        }
        match rest {
            "chat/completions" => Route::Call(Operation::Chat),
            "completions" => Route::Call(Operation::Completion),
            "embeddings" => Route::Call(Operation::Embeddings),
            "models" => Route::Models,
            _ => match rest.strip_prefix("models/") {
                // Ids hold slashes (`org/model`), plain or encoded.
                Some(id) => match percent_encoding::percent_decode_str(id).decode_utf8() {
                    Ok(id) => Route::Model(id.into_owned()),
                    Err(_) => Route::Unknown,
                },
                None => Route::Unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_and_without_prefix_name_their_operation() {
        let cases = [
            ("/v1/chat/completions", Route::Call(Operation::Chat)),
            ("/chat/completions", Route::Call(Operation::Chat)),
            ("/v1/v1/chat/completions/", Route::Call(Operation::Chat)),
            ("//v1//completions", Route::Call(Operation::Completion)),
            ("/v1/embeddings", Route::Call(Operation::Embeddings)),
            ("/v1/models", Route::Models),
            ("/models/", Route::Models),
            ("/v1/models/org/m", Route::Model("org/m".into())),
            ("/v1/models/org%2Fm", Route::Model("org/m".into())),
            ("/v1/models/%ff", Route::Unknown),
            ("/v1", Route::Unknown),
            ("/v1x/models", Route::Unknown),
            ("/v1/v1/v1/models", Route::Unknown),
            ("/v1/responses", Route::Unknown),
            ("/", Route::Unknown),
        ];
        for (path, want) in cases {
            assert_eq!(Route::of(path), want, "{path}");
        }
    }
}
