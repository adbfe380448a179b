//! The key file, the variables, rotation.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::token::{SigningKey, TokenError};

fn from_environment(current: &str, previous: Option<&str>) -> SecretSource {
    let key = |text: &str| SigningKey::new(text.as_bytes()).unwrap();
    SecretSource {
        current: Some(key(current)),
        previous: previous.map(key),
    }
}

const FIRST: &str = "7c1d0a4be2f95836d7a9c04f1b6e82354fd0a97b3c5e6812";
const SECOND: &str = "e5b90c7d41f26a83b1d7f0592c4e8a6630fb1c9d8e7a2451";

#[test]
fn a_key_is_made_once_and_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let token = issue(&open(dir.path()), "ada").token;
    let path = secret::path(dir.path());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    open(dir.path()).sessions.verify(&token, NOW).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let source = SecretSource::default();
    let said = secret::load_or_create(dir.path(), &source, NOW)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("chmod 600") && !said.contains("airlock ca"),
        "{said}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let guessable = format!(
        "{{\"version\":1,\"current\":\"{}\",\"since\":0,\"previous\":null}}",
        "ab".repeat(20)
    );
    for (name, content) in [
        ("empty", String::new()),
        ("another file", "-----BEGIN PRIVATE KEY-----".into()),
        ("a guessable key", guessable),
        (
            "a newer version",
            fs::read_to_string(&path)
                .unwrap()
                .replace("\"version\": 1", "\"version\": 2"),
        ),
    ] {
        fs::write(&path, &content).unwrap();
        assert!(
            secret::load_or_create(dir.path(), &source, NOW).is_err(),
            "{name}"
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            content,
            "{name} is not overwritten"
        );
    }
}

#[test]
fn a_rotation_logs_nobody_out_and_brings_fresh_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let old = issue(&identity, "ada").token;
    let until = identity.rotate_secret(false, NOW).unwrap();
    assert_eq!(until, after(HOUR));
    let active = identity.sessions.verify(&old, after(1)).unwrap();
    let fresh = active.fresh_token().unwrap().to_owned();
    assert_eq!(
        identity
            .sessions
            .verify(&fresh, after(1))
            .unwrap()
            .fresh_token(),
        None
    );
    // The same after a restart.
    drop(identity);
    let identity = open(dir.path());
    assert!(identity.sessions.verify(&old, after(HOUR - 1)).is_ok());
    // A second one would log out who still has a token of the first key.
    let said = identity
        .rotate_secret(false, after(60))
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("59 more minutes") && said.contains("--force"),
        "{said}"
    );
    assert!(identity.sessions.verify(&old, after(61)).is_ok());
    identity.rotate_secret(true, after(62)).unwrap();
    let refused = identity.sessions.verify(&old, after(63)).unwrap_err();
    assert_eq!(refused, Refused::Token(TokenError::BadSignature));
    assert!(identity.sessions.verify(&fresh, after(63)).is_ok());
}

#[test]
fn the_previous_key_is_taken_as_long_as_the_longest_token_lives() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let long = Some(Duration::from_secs(5 * HOUR));
    let token = identity
        .sessions
        .issue(name("ada"), Role::User, long, NOW)
        .unwrap()
        .token;
    assert_eq!(identity.rotate_secret(false, NOW).unwrap(), after(5 * HOUR));
    assert!(
        identity
            .sessions
            .verify(&token, after(5 * HOUR - 1))
            .is_ok()
    );
}

#[test]
fn a_secret_of_the_environment_makes_no_file_and_is_rotated_by_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let with = |source: SecretSource| {
        let settings = Settings {
            secret: source,
            ..settings(dir.path())
        };
        Identity::open(Disk::at(dir.path()), settings, NOW).unwrap()
    };
    let identity = with(from_environment(FIRST, None));
    let token = issue(&identity, "ada").token;
    assert!(!secret::path(dir.path()).exists());
    let said = identity.rotate_secret(false, NOW).unwrap_err().to_string();
    assert!(
        said.contains("SESSION_SECRET_PREVIOUS") && !said.contains(FIRST),
        "{said}"
    );
    drop(identity);
    let identity = with(from_environment(SECOND, Some(FIRST)));
    let active = identity.sessions.verify(&token, after(1)).unwrap();
    let fresh = active.fresh_token().unwrap().to_owned();
    drop(identity);
    let identity = with(from_environment(SECOND, None));
    assert!(identity.sessions.verify(&token, after(2)).is_err());
    assert!(identity.sessions.verify(&fresh, after(2)).is_ok());
    drop(identity);
    // From the variable to a file, without logging anybody out.
    let moving = SecretSource {
        current: None,
        ..from_environment(FIRST, Some(SECOND))
    };
    assert!(with(moving).sessions.verify(&fresh, after(3)).is_ok());
    assert!(secret::path(dir.path()).exists());
}
