//! `front_door.guards`: which input guards stand, and their bounds.

use crate::guard::{Guards, IMAGE_PIXELS, PromptBounds};

use super::{
    error::Errors,
    reader::{Field, Section},
};

/// All stand unless they are `off`; `guards: off` is all of them.
pub(super) fn guards(section: &mut Section, errors: &mut Errors) -> Guards {
    let mut out = Guards::default();
    let Some(field) = section.take("guards") else {
        return out;
    };
    if field.is_off() {
        return Guards::OFF;
    }
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    switch(s.take("traversal"), &mut out.traversal, errors);
    switch(s.take("upload_types"), &mut out.upload_types, errors);
    out.image_pixels = match s.take_off("image_pixels") {
        true => None,
        false => {
            let mut pixels = IMAGE_PIXELS;
            s.integer("image_pixels", &mut pixels, (1 << 16, 1 << 40), errors);
            Some(pixels)
        }
    };
    out.prompt = prompt(s.take("prompt"), errors);
    switch(s.take("code_nodes"), &mut out.code_nodes, errors);
    switch(s.take("install_routes"), &mut out.install_routes, errors);
    switch(s.take("manager_files"), &mut out.manager_files, errors);
    switch(s.take("active_content"), &mut out.active_content, errors);
    s.close(errors);
    out
}

fn switch(field: Option<Field>, target: &mut bool, errors: &mut Errors) {
    let Some(field) = field else { return };
    if field.is_off() {
        *target = false;
    } else if let Some(on) = field.parse(errors, "on or off", |text| match text {
        "on" => Ok(true),
        other => Err(format!("{other:?} is not known: write on or off")),
    }) {
        *target = on;
    }
}

fn prompt(field: Option<Field>, errors: &mut Errors) -> Option<PromptBounds> {
    let mut out = PromptBounds::default();
    let Some(field) = field else {
        return Some(out);
    };
    if field.is_off() {
        return None;
    }
    let mut s = field.section(errors)?;
    s.size("bytes", &mut out.bytes, (1 << 10, 16 << 30), errors);
    s.integer("nodes", &mut out.nodes, (1, 1_000_000), errors);
    s.integer("depth", &mut out.depth, (8, 10_000), errors);
    s.close(errors);
    Some(out)
}
