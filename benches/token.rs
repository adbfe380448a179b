//! Signing and verifying a session token, and the whole look-up with a touch: under 2 µs each, and
//! no disk.

#![allow(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{hint::black_box, sync::Arc, time::Duration};

use airlock::{
    session::{Identity, SecretSource, Settings},
    store::Store,
    token::{Claims, KeyRing, Previous, Role, SigningKey, UnixTime},
};
use criterion::{Criterion, criterion_group, criterion_main};

const NOW: UnixTime = UnixTime(1_800_000_000);

fn key(text: &str) -> SigningKey {
    SigningKey::new(text.as_bytes()).expect("bench keys are good")
}

fn token(c: &mut Criterion) {
    let first = key("7c1d0a4be2f95836d7a9c04f1b6e82354fd0a97b3c5e6812");
    let second = key("e5b90c7d41f26a83b1d7f0592c4e8a6630fb1c9d8e7a2451");
    let claims = Claims {
        session_id: "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90"
            .parse()
            .expect("an id"),
        username: "ada.lovelace@example.org".parse().expect("a name"),
        role: Role::User,
        exp: UnixTime(NOW.0 + 3600),
    };
    let ring = KeyRing::new(first.clone(), None);
    let token = ring.sign(&claims);
    let previous = Previous {
        key: first,
        until: UnixTime(NOW.0 + 3600),
    };
    let rotated = KeyRing::new(second, Some(previous));
    let forged = format!("{}A", &token[..token.len() - 1]);

    c.bench_function("token/sign", |b| b.iter(|| ring.sign(black_box(&claims))));
    for (name, ring, token) in [
        ("token/verify", &ring, &token),
        ("token/verify_previous_key", &rotated, &token),
        ("token/refuse_forged", &rotated, &forged),
    ] {
        c.bench_function(name, |b| b.iter(|| ring.verify(black_box(token), NOW)));
    }
}

fn look_up(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let settings = Settings {
        state_dir: dir.path().to_owned(),
        secret: SecretSource::default(),
        lifetime: Duration::from_secs(3600),
        max_lifetime: Duration::from_secs(36_000),
        max_sessions: 10_000,
    };
    let store = Arc::new(Store::open(dir.path()).expect("a store"));
    let identity = Identity::open(store, settings, NOW).expect("an identity");
    let issue = |n: u32| {
        let user = format!("user{n}").parse().expect("a name");
        identity.sessions.issue(user, Role::User, None, NOW)
    };
    let issued: Vec<_> = (0..200).map(|n| issue(n).expect("a session")).collect();
    let token = &issued.last().expect("some").token;
    c.bench_function("session/verify_and_touch", |b| {
        b.iter(|| identity.sessions.verify(black_box(token), NOW));
    });
}

criterion_group!(benches, token, look_up);
criterion_main!(benches);
