//! What a token says: roles, names and times.

use std::time::Duration;

use super::*;

#[test]
fn roles_are_ordered_and_names_have_one_spelling() {
    use Role::{Admin, User, Viewer};
    for (role, needed, want) in [
        (Admin, Admin, true),
        (Admin, Viewer, true),
        (User, Admin, false),
        (User, User, true),
        (Viewer, User, false),
        (Viewer, Viewer, true),
    ] {
        assert_eq!(role.covers(needed), want, "{role} for {needed}");
    }
    for role in Role::ALL {
        assert_eq!(role.as_str().parse(), Ok(role));
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
    for (name, good) in [
        ("ada", true),
        ("ada.lovelace@example.org", true),
        ("7of9", true),
        ("Ada", false),
        ("", false),
        (".ada", false),
        ("a b", false),
        ("a/b", false),
        ("аda", false),
    ] {
        assert_eq!(name.parse::<Username>().is_ok(), good, "{name}");
    }
}

#[test]
fn a_name_is_shown_as_it_was_written() {
    let name: Username = "ada.lovelace@example.org".parse().unwrap();
    assert_eq!(name.as_str(), "ada.lovelace@example.org");
    assert_eq!(name.to_string(), name.as_str());
}

#[test]
fn a_time_moves_by_whole_seconds_and_stays_a_time_that_every_reader_keeps() {
    let latest = UnixTime((1 << 53) - 1);
    let hour = Duration::from_secs(3600);
    for (name, from, span, want) in [
        ("an hour on", UnixTime(5), hour, UnixTime(3605)),
        (
            "a part of a second",
            UnixTime(5),
            Duration::from_millis(999),
            UnixTime(5),
        ),
        ("past the last one", UnixTime(latest.0 - 1), hour, latest),
        (
            "past all numbers",
            UnixTime(u64::MAX),
            Duration::MAX,
            latest,
        ),
    ] {
        assert_eq!(from.plus(span), want, "{name}");
    }
    assert_eq!(UnixTime(3605).since(UnixTime(5)), hour);
    assert_eq!(
        UnixTime(5).since(UnixTime(3605)),
        Duration::ZERO,
        "it is not yet"
    );
}
