//! Signing and verifying a session token, under 2 µs, and what the front door asks of a session for every
//! request, without the disk: it says how often that was written to.
//!
//! That no request writes is tested (`proxy::identity::at_the_door`); here is what it costs.

#![allow(
    clippy::expect_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use airlock::{
    session::{CheckpointId, Identity, Records, SecretSource, Settings, VendorId},
    store::{Change, Store, StoreError, Table},
    token::{Claims, KeyRing, Previous, Role, SigningKey, UnixTime},
};
use criterion::{Criterion, criterion_group, criterion_main};

const NOW: UnixTime = UnixTime(1_800_000_000);
const FOR_COMFYUI: Duration = Duration::from_secs(600);

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

/// The disk, and how often it was asked to keep something.
struct Counted {
    store: Store,
    writes: AtomicU64,
}

impl Records for Counted {
    fn read(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.records(table)
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.write(changes)
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
    let disk = Arc::new(Counted {
        store: Store::open(dir.path()).expect("a store"),
        writes: AtomicU64::new(0),
    });
    let identity = Identity::open(disk.clone(), settings, NOW).expect("an identity");
    let issue = |n: u32| {
        let user = format!("user{n}").parse().expect("a name");
        identity.sessions.issue(user, Role::User, None, NOW)
    };
    let issued: Vec<_> = (0..200).map(|n| issue(n).expect("a session")).collect();
    let last = issued.last().expect("some");
    let (token, issued_to) = (&last.token, &last.session.username);
    let issued = disk.writes.load(Ordering::Relaxed);
    // A second goes by with each, or there would be nothing to touch after the first; never so many that the
    // session is past half of its life.
    let mut seconds = 0;
    let mut now = || {
        seconds = (seconds + 1) % 1500;
        UnixTime(NOW.0 + seconds)
    };
    c.bench_function("session/verify_and_touch", |b| {
        b.iter(|| identity.sessions.verify(black_box(token), now()));
    });
    let chat: VendorId = "1f0c1b2e-chat".parse().expect("an id");
    let checkpoint: CheckpointId = "41".parse().expect("an id");
    let user = issued_to.clone();
    identity.checkpoints.saved(&checkpoint, &user, NOW);
    c.bench_function("session/at_the_door", |b| {
        b.iter(|| {
            let now = now();
            let active = identity.sessions.verify(black_box(token), now).ok()?;
            identity.sessions.bind(&active, &chat, now).ok()?;
            let own = identity.checkpoints.is_of(&checkpoint, &user, now);
            let token = identity.sessions.token_for(&active, FOR_COMFYUI, now);
            own.then_some(token)
        });
    });
    println!(
        "session: {} writes to the disk while it was looked up",
        disk.writes.load(Ordering::Relaxed) - issued
    );
}

criterion_group!(benches, token, look_up);
criterion_main!(benches);
