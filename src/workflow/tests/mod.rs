//! Against a small ComfyUI, whose classes are written as the real ones are.

use serde_json::{Value, json};

use super::*;
use crate::comfy::{Nodes, Parts};

mod faults;
mod forms;
mod repairs;
mod tuned;
mod words;

const CLASSES: &[u8] = include_bytes!("../../../tests/fixtures/workflow/object_info.json");

pub(super) fn catalogue() -> Catalogue {
    let nodes = Nodes::read(CLASSES).expect("an object of classes").nodes;
    Catalogue::new(Parts {
        nodes,
        ..Parts::default()
    })
}

/// A workflow with nothing wrong.
pub(super) fn good() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {"model": ["4", 0], "seed": 5, "steps": 20, "cfg": 8.0,
            "sampler_name": "euler", "scheduler": "normal", "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0], "denoise": 1.0}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]},
            "_meta": {"title": "Positive"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "ComfyUI"}}
    })
}

/// The good one with changes at pointers; null takes out.
pub(super) fn with(changes: &[(&str, Value)]) -> Prompt {
    let mut value = good();
    for (pointer, to) in changes {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = value.pointer_mut(parent).and_then(Value::as_object_mut);
        let parent = parent.expect("an object");
        match to {
            Value::Null => parent.remove(name),
            to => parent.insert(name.to_owned(), to.clone()),
        };
    }
    Prompt::read(&value).expect("it is one")
}

pub(super) fn sentences<T: ToString>(of: &[T]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}
