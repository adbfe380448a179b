//! The section `comfyui`: the ComfyUI that answers to the plugin are taken from.

use std::path::PathBuf;

use crate::net::BaseUrl;

use super::{FrontDoor, error::Errors, places::Places, reader::Field};

/// ComfyUI as a source of facts about nodes, templates and models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComfyUiConfig {
    /// No path of its own.
    pub url: BaseUrl,
    /// PEM file of the CA that signed it, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Its folder, where Airlock can see it.
    pub dir: Option<PathBuf>,
}

/// On unless it is turned off; where it says no URL, it is the one that the front door stands before.
pub(super) fn comfyui(
    field: Option<Field>,
    door: Option<&FrontDoor>,
    places: &Places<'_>,
    errors: &mut Errors,
) -> Option<ComfyUiConfig> {
    let door = door.cloned().unwrap_or_default();
    let mut out = ComfyUiConfig {
        url: door.comfyui,
        ca_file: door.ca_file,
        dir: None,
    };
    let Some(field) = field else {
        return Some(out);
    };
    if field.is_off() {
        return None;
    }
    let mut s = field.section(errors)?;
    let mut enabled = true;
    s.boolean("enabled", &mut enabled, errors);
    let url = s.take("url").and_then(|f| {
        f.parse(errors, "a URL such as http://127.0.0.1:8188", |text| {
            let url = BaseUrl::parse(text).map_err(|e| e.to_string())?;
            match url.path.as_str() {
                "" => Ok(url),
                _ => Err("holds a path, but ComfyUI has none: leave it out".to_owned()),
            }
        })
    });
    out.dir = places.dir(&mut s, errors, "ComfyUI's own, which holds custom_nodes");
    let ca_file = places.ca_file(&mut s, errors);
    if let Some(url) = url {
        // The door's CA is for the door's ComfyUI.
        if url != out.url {
            out.ca_file = None;
        }
        out.url = url;
    }
    out.ca_file = ca_file.or(out.ca_file);
    s.close(errors);
    enabled.then_some(out)
}
