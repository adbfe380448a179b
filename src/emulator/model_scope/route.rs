//! What a path of ModelScope asks for, and what its query names.

use percent_encoding::percent_decode_str;

use crate::weights::ModelId;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Search,
    Suggest,
    Model(Named, Part),
    /// A model by the newer API, which the SDK can do without.
    OpenApiModel,
    Acceleration,
    Unknown,
}

/// A model of one of our sources, or one that only ModelScope would know.
pub(super) type Named = Option<ModelId>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Card,
    Revisions,
    Files,
    File,
}

impl Route {
    pub(super) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').splitn(8, '/').collect();
        let model = |owner: &str, name: &str, part| {
            let decoded = |text| percent_decode_str(text).decode_utf8().ok();
            let id = decoded(owner)
                .zip(decoded(name))
                .and_then(|(owner, name)| ModelId::parse(&owner, &name));
            Route::Model(id, part)
        };
        match parts.as_slice() {
            ["api", "v1", "dolphin", "models"] => Route::Search,
            ["api", "v1", "dolphin", "model", "suggestv2"] => Route::Suggest,
            ["api", "v1", "repos", "internalAccelerationInfo"] => Route::Acceleration,
            ["api", "v1", "models", owner, name] => model(owner, name, Part::Card),
            ["api", "v1", "models", owner, name, "revisions"] => {
                model(owner, name, Part::Revisions)
            }
            ["api", "v1", "models", owner, name, "repo"] => model(owner, name, Part::File),
            ["api", "v1", "models", owner, name, "repo", "files"] => {
                model(owner, name, Part::Files)
            }
            ["openapi", "v1", "models", _, _, ..] => Route::OpenApiModel,
            _ => Route::Unknown,
        }
    }

    pub(super) fn allow(&self) -> &'static str {
        match self {
            Route::Search => "PUT",
            Route::Suggest => "POST",
            Route::Model(..) | Route::OpenApiModel | Route::Acceleration => "GET, HEAD",
            Route::Unknown => "",
        }
    }

    /// For the audit record.
    pub(super) fn detail(&self) -> &'static str {
        match self {
            Route::Search | Route::Suggest => "model search",
            Route::Model(_, Part::Card) => "model card",
            Route::Model(_, Part::Revisions) => "model revisions",
            Route::Model(_, Part::Files) => "model files",
            Route::Model(_, Part::File) => "model file",
            Route::OpenApiModel => "model card, newer api",
            Route::Acceleration => "no acceleration",
            Route::Unknown => "unknown route",
        }
    }
}

/// A value of a query, as forms write it: `+` is a blank.
pub(super) fn value(query: &str, name: &str) -> Option<String> {
    let pair = query.split('&').filter_map(|p| p.split_once('='));
    let (_, value) = pair.into_iter().find(|(n, _)| *n == name)?;
    let value = value.replace('+', " ");
    Some(percent_decode_str(&value).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_path_is_read_as_forms_write_it() {
        for (query, want) in [
            (
                "Revision=master&FilePath=a%2Fb+c.safetensors",
                Some("a/b c.safetensors"),
            ),
            ("FilePath=a%2Bb.safetensors", Some("a+b.safetensors")),
            ("FilePath=%ff", None),
            ("filepath=x", None),
            ("", None),
        ] {
            assert_eq!(value(query, "FilePath").as_deref(), want, "{query}");
        }
    }
}
