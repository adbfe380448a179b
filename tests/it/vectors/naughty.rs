//! Hostile strings in the place of a host and of a path: one reading or none, and nothing panics.

use airlock::{listener::head::Target, policy::path};

use super::{
    readings::{parsed, reading},
    vendor,
};

pub fn strings() -> Vec<String> {
    serde_json::from_str(&vendor("blns/blns.json")).expect("the file is JSON")
}

#[test]
fn a_naughty_host_has_one_reading_or_none() {
    let strings = strings();
    let taken: Vec<String> = strings
        .iter()
        .filter_map(|text| Some(reading(text)?.to_string()))
        .collect();
    assert_eq!((strings.len(), taken.len()), (485, 50), "{taken:#?}");
}

/// The path that is judged is plain, stable, and the one that the request line carries on.
#[test]
fn a_naughty_path_has_one_form_or_none() {
    let mut taken = 0;
    for text in strings() {
        let bytes = format!("GET /{text} HTTP/1.1\r\nHost: a\r\n\r\n");
        let Some(Target::Origin(target)) = parsed(bytes.as_bytes()).map(|head| head.target) else {
            continue;
        };
        assert_eq!(target, format!("/{text}"));
        let raw = target.split('?').next().unwrap_or_default();
        let Ok(clean) = path::canonical(raw) else {
            continue;
        };
        assert!(clean.bytes().all(|b| b.is_ascii_graphic()), "{clean:?}");
        assert_eq!(path::canonical(&clean).as_deref(), Ok(&*clean), "{text:?}");
        taken += 1;
    }
    assert_eq!(taken, 107);
}
