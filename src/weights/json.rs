//! Looks into JSON of hubs: what is not there or of another shape is absent, never an error, so that
//! one odd entry does not take the others with it.

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

pub(super) fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// RFC 3339 to seconds since 1970.
pub(super) fn time(value: &Value, name: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text(value, name)?, &Rfc3339).ok()?;
    Some(time.unix_timestamp())
}
