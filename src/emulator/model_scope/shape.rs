//! JSON in ModelScope's shapes (WIRE.md 6, 7).

use serde_json::{Value, json};

use crate::{
    models::Found,
    weights::{Details, File, ModelId, Source, Summary},
};

/// The one revision there is.
const REVISION: &str = "master";
/// Lines that tell instead of naming a model, at most.
const TOLD: usize = 3;
/// In place of an owner, in such a line.
const TELLER: &str = "airlock";

pub(super) fn card(summary: &Summary) -> Value {
    let Summary {
        id,
        updated,
        downloads,
        tags,
    } = summary;
    json!({
        "Id": id.number(),
        "Path": id.owner(),
        "Name": id.name(),
        "ChineseName": "",
        "Libraries": tags,
        "LastUpdatedTime": updated,
        "Downloads": downloads,
        "Revision": REVISION,
    })
}

/// A card for an SDK that must find the model to get to where it is told why not.
pub(super) fn bare_card(id: &ModelId) -> Value {
    card(&Summary {
        id: id.clone(),
        updated: 0,
        downloads: 0,
        tags: Vec::new(),
    })
}

/// What the dialog lists. It shows nothing else of our answer, so what a person has to know stands in lines
/// of its own.
pub(super) fn lines(found: &Found, hubs: bool) -> Vec<Value> {
    let mut lines: Vec<Value> = found.summaries.iter().map(card).collect();
    let mut told: Vec<String> = found.notes.iter().map(|(_, e)| e.to_string()).collect();
    if lines.is_empty() && told.is_empty() {
        told.push(match hubs {
            true => "nothing was found".into(),
            false => "nothing was found on this machine, and no hub was asked: models.sources in \
                      airlock's configuration names them"
                .into(),
        });
    }
    told.truncate(TOLD);
    lines.extend(told.iter().enumerate().map(|(n, words)| {
        json!({
            "Id": n + 1,
            "Path": TELLER,
            "Name": words,
            "ChineseName": "",
            "Libraries": ["note"],
            "LastUpdatedTime": 0,
            "Downloads": 0,
        })
    }));
    lines
}

/// Says whom we asked.
pub(super) fn message(asked: &[Source], found: &Found) -> String {
    let names: Vec<_> = asked.iter().map(|s| s.title()).collect();
    let mut words = format!(
        "airlock asked {}, and not ModelScope",
        match names.is_empty() {
            true => "nobody".to_owned(),
            false => names.join(", "),
        }
    );
    for (_, e) in &found.notes {
        words.push_str(&format!("; {e}"));
    }
    words
}

pub(super) fn revisions() -> Value {
    json!({"RevisionMap": {
        "Branches": [{"Revision": REVISION, "CreatedAt": 1_700_000_000}],
        "Tags": [],
    }})
}

pub(super) fn files(details: &Details) -> Value {
    let files: Vec<Value> = details.files.iter().map(|f| file(f, details)).collect();
    json!({"Files": files, "IsVisual": 0})
}

/// There is nothing to fetch.
pub(super) fn no_files() -> Value {
    json!({"Files": [], "IsVisual": 0})
}

fn file(file: &File, details: &Details) -> Value {
    let mut entry = json!({
        "Name": file.path.name(),
        "Path": file.path.as_str(),
        "Type": "blob",
        "Size": file.size,
        "Revision": REVISION,
        "IsLFS": true,
        "CommittedDate": details.summary.updated,
    });
    // Named with nothing behind it, older SDKs would compare the file with nothing.
    if let (Some(map), Some(sha256)) = (entry.as_object_mut(), &file.sha256) {
        map.insert("Sha256".into(), sha256.as_str().into());
    }
    entry
}
