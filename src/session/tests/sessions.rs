//! Issue, look up, touch, extend, revoke, bind, sweep.

use super::*;
use crate::token::{Claims, SessionId, SigningKey, TokenError};

#[test]
fn a_token_leads_to_its_session_until_the_session_ends() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let Issued { token, session } = issue(&identity, "ada");
    let active = identity.sessions.verify(&token, after(1)).unwrap();
    assert_eq!(active.session_id(), session.session_id);
    assert_eq!(
        (active.username(), active.role()),
        (&name("ada"), Role::User)
    );
    assert_eq!(
        (active.expires(), active.fresh_token()),
        (after(HOUR), None)
    );
    let at = |now| identity.sessions.verify(&token, now).map(drop);
    assert_eq!(at(after(HOUR)), Err(Refused::Token(TokenError::Expired)));
    assert_eq!(
        identity
            .sessions
            .show(session.session_id)
            .unwrap()
            .last_activity,
        after(1)
    );
}

#[test]
fn activity_past_half_of_its_life_extends_a_session_and_brings_a_fresh_token() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let sessions = &identity.sessions;
    let Issued { token, .. } = issue(&identity, "ada");
    let early = sessions.verify(&token, after(HOUR / 2 - 1)).unwrap();
    assert_eq!((early.expires(), early.fresh_token()), (after(HOUR), None));
    let late = sessions.verify(&token, after(HOUR / 2)).unwrap();
    assert_eq!(late.expires(), after(HOUR / 2 + HOUR));
    let fresh = late.fresh_token().unwrap().to_owned();
    assert_ne!(fresh, token);
    // Another tab with the old one gets as good a token.
    let tab = sessions.verify(&token, after(HOUR - 1)).unwrap();
    assert!(tab.fresh_token().is_some());
    assert!(sessions.verify(&token, after(HOUR)).is_err());
    let next = sessions.verify(&fresh, after(HOUR)).unwrap();
    assert_eq!(
        next.fresh_token().map(|_| ()),
        Some(()),
        "half of its life is over"
    );
    // Looking extends nothing.
    let before = sessions.show(next.session_id()).unwrap();
    sessions.inspect(&fresh, after(HOUR + 20)).unwrap();
    assert_eq!(sessions.show(next.session_id()).unwrap(), before);
}

#[test]
fn a_session_ends_at_the_longest_lifetime_whatever_the_activity() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let mut token = issue(&identity, "ada").token;
    let mut now = 0;
    let last = loop {
        now += 600;
        match identity.sessions.verify(&token, after(now)) {
            Ok(active) => {
                assert!(active.expires() <= after(10 * HOUR));
                if let Some(fresh) = active.fresh_token() {
                    token = fresh.to_owned();
                }
            }
            Err(refused) => break refused,
        }
    };
    assert_eq!(
        (now, last),
        (10 * HOUR, Refused::Token(TokenError::Expired))
    );
}

#[test]
fn a_token_for_comfyui_is_short_and_never_traded_for_a_long_one() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let sessions = &identity.sessions;
    let Issued { token, .. } = issue(&identity, "ada");
    let active = sessions.verify(&token, NOW).unwrap();
    for (wanted, now) in [(60, 0), (10 * HOUR, 0), (300, 0)] {
        let lent = sessions.token_for(&active, Duration::from_secs(wanted), after(now));
        let shown = sessions.verify(&lent, after(now + 1)).unwrap();
        assert_eq!(shown.fresh_token(), None, "{wanted}");
        let end = after(now + wanted.min(HOUR / 4));
        assert_eq!(
            sessions.verify(&lent, end).map(drop),
            Err(Refused::Token(TokenError::Expired))
        );
    }
    // Not at the session's very end either, where both would end in the same second.
    let late = HOUR - HOUR / 4;
    let active = sessions.inspect(&token, after(late)).unwrap();
    let lent = sessions.token_for(&active, Duration::from_secs(HOUR), after(late));
    let shown = sessions.verify(&lent, after(late + 1)).unwrap();
    assert_eq!(shown.fresh_token(), None);
    assert!(
        sessions
            .verify(&token, after(late + 1))
            .unwrap()
            .fresh_token()
            .is_some()
    );
}

#[test]
fn a_revoked_session_is_refused_at_once_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let (first, second) = (issue(&identity, "ada"), issue(&identity, "ada"));
    let other = issue(&identity, "bob");
    identity
        .sessions
        .revoke(first.session.session_id, NOW)
        .unwrap();
    let killed = as_killed(dir.path());
    assert_eq!(identity.sessions.revoke_user(&name("ada"), NOW).unwrap(), 1);
    let killed_later = as_killed(dir.path());
    for (name, sessions, want) in [
        ("now", &identity.sessions, [false, false, true]),
        (
            "killed after the first",
            &open(killed.path()).sessions,
            [false, true, true],
        ),
        (
            "killed after both",
            &open(killed_later.path()).sessions,
            [false, false, true],
        ),
    ] {
        let got = [&first, &second, &other].map(|i| match sessions.verify(&i.token, after(1)) {
            Ok(_) => true,
            Err(Refused::Revoked) => false,
            Err(other) => panic!("{name}: {other}"),
        });
        assert_eq!(got, want, "{name}");
    }
    let unknown: SessionId = "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90".parse().unwrap();
    assert!(matches!(
        identity.sessions.revoke(unknown, NOW),
        Err(SessionError::Unknown(_))
    ));
}

#[test]
fn a_full_disk_refuses_new_sessions_and_still_revokes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let identity = Identity::open(disk.clone(), settings(dir.path()), NOW).unwrap();
    let Issued { token, session } = issue(&identity, "ada");
    disk.fill(true);
    let sessions = &identity.sessions;
    assert!(sessions.issue(name("bob"), Role::User, None, NOW).is_err());
    assert_eq!(sessions.list().len(), 1);
    assert!(
        sessions
            .set_config(session.session_id, "{\"a\":1}")
            .is_err()
    );
    assert_eq!(sessions.show(session.session_id).unwrap().config, "{}");
    sessions.verify(&token, after(5)).unwrap();
    assert!(identity.tick(after(6)).is_err());
    assert!(sessions.revoke(session.session_id, after(7)).is_err());
    assert_eq!(sessions.verify(&token, after(7)), Err(Refused::Revoked));
    disk.fill(false);
    // What could not be written is written by the next tick.
    identity.tick(after(8)).unwrap();
    let killed = as_killed(dir.path());
    let record = open(killed.path())
        .sessions
        .show(session.session_id)
        .unwrap();
    assert_eq!(
        (record.last_activity, record.revoked_at),
        (after(5), Some(after(7)))
    );
}

#[test]
fn a_tick_that_failed_is_made_up_for_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let identity = Identity::open(disk.clone(), settings(dir.path()), NOW).unwrap();
    let Issued { token, session } = issue(&identity, "ada");
    let chat: VendorId = "chat-1".parse().unwrap();
    let active = identity.sessions.verify(&token, after(5)).unwrap();
    identity.sessions.bind(&active, &chat, after(5)).unwrap();
    disk.fill(true);
    assert!(identity.tick(after(6)).is_err());
    disk.fill(false);
    identity.tick(after(7)).unwrap();
    let killed = as_killed(dir.path());
    let kept = open(killed.path());
    let record = kept.sessions.show(session.session_id).unwrap();
    assert_eq!(record.last_activity, after(5));
    assert!(kept.sessions.bound(&chat, after(8)).is_ok());
}

#[test]
fn touching_writes_nothing_until_the_tick() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let identity = Identity::open(disk.clone(), settings(dir.path()), NOW).unwrap();
    let Issued { token, session } = issue(&identity, "ada");
    let id = session.session_id;
    // A write would fail from here on.
    disk.fill(true);
    let late = after(HOUR / 2 + 1);
    let active = identity.sessions.verify(&token, late).unwrap();
    let chat: VendorId = "chat-1".parse().unwrap();
    identity.sessions.bind(&active, &chat, late).unwrap();
    assert!(identity.sessions.note_checkpoint(id, "41").is_some());
    disk.fill(false);
    let fresh = active.fresh_token().unwrap().to_owned();

    let killed = as_killed(dir.path());
    let early = open(killed.path());
    assert_eq!(early.sessions.show(id).unwrap().last_activity, NOW);
    // The fresh token proves the extension that was lost, and is renewed like any other.
    let active = early
        .sessions
        .verify(&fresh, after(HOUR + HOUR / 2))
        .unwrap();
    assert_eq!(active.expires(), after(2 * HOUR + HOUR / 2));
    assert!(active.fresh_token().is_some());

    identity.tick(late).unwrap();
    let killed = as_killed(dir.path());
    let kept = open(killed.path());
    let record = kept.sessions.show(id).unwrap();
    assert_eq!(
        (record.last_activity, record.expires),
        (late, UnixTime(late.0 + HOUR))
    );
    assert_eq!(record.checkpoints, ["41"]);
    assert_eq!(kept.sessions.bound(&chat, late).unwrap().session_id(), id);
}

#[test]
fn what_has_expired_is_swept_from_memory_and_disk() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let old = issue(&identity, "ada");
    let young = identity
        .sessions
        .issue(name("bob"), Role::User, None, after(10))
        .unwrap();
    identity.tick(after(HOUR)).unwrap();
    let left: Vec<_> = identity
        .sessions
        .list()
        .into_iter()
        .map(|s| s.session_id)
        .collect();
    assert_eq!(left, [young.session.session_id]);
    let claims = Claims {
        session_id: old.session.session_id,
        username: name("ada"),
        role: Role::User,
        exp: after(9 * HOUR),
    };
    let ring = secret::load_or_create(dir.path(), &SecretSource::default(), NOW).unwrap();
    let token = ring.sign(&claims);
    assert_eq!(
        identity.sessions.verify(&token, after(HOUR)),
        Err(Refused::Unknown)
    );
    drop(identity);
    assert_eq!(open(dir.path()).sessions.list().len(), 1);
}

#[test]
fn a_token_that_another_holder_of_the_secret_made_counts_only_with_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let Issued { session, .. } = issue(&identity, "ada");
    let ring = secret::load_or_create(dir.path(), &SecretSource::default(), NOW).unwrap();
    let good = Claims {
        session_id: session.session_id,
        username: name("ada"),
        role: Role::User,
        exp: after(HOUR),
    };
    let unknown = "6f1c0b52-6c1f-4b2e-9d3a-0c5a4f1e7b90".parse().unwrap();
    for (what, claims, want) in [
        ("as it is", good.clone(), Ok(())),
        (
            "another user",
            Claims {
                username: name("bob"),
                ..good.clone()
            },
            Err(Refused::Mismatch),
        ),
        (
            "a higher role",
            Claims {
                role: Role::Admin,
                ..good.clone()
            },
            Err(Refused::Mismatch),
        ),
        (
            "a lower role",
            Claims {
                role: Role::Viewer,
                ..good.clone()
            },
            Err(Refused::Mismatch),
        ),
        (
            "no session",
            Claims {
                session_id: unknown,
                ..good.clone()
            },
            Err(Refused::Unknown),
        ),
    ] {
        let judged = identity
            .sessions
            .verify(&ring.sign(&claims), after(1))
            .map(drop);
        assert_eq!(judged, want, "{what}");
    }
    let foreign = SigningKey::new(b"e5b90c7d41f26a83b1d7f0592c4e8a6630fb1c9d").unwrap();
    let forged = crate::token::KeyRing::new(foreign, None).sign(&good);
    let refused = identity.sessions.verify(&forged, after(1)).unwrap_err();
    assert_eq!(refused, Refused::Token(TokenError::BadSignature));
    // One that never ends does not make the session longer than a session may be.
    let endless = ring.sign(&Claims {
        exp: after(1000 * HOUR),
        ..good
    });
    let active = identity.sessions.verify(&endless, after(1)).unwrap();
    assert_eq!(
        (active.expires(), active.fresh_token()),
        (after(HOUR), None)
    );
    let refused = identity.sessions.verify(&endless, after(HOUR)).unwrap_err();
    assert_eq!(refused, Refused::Expired);
}

#[test]
fn an_id_of_the_plugin_is_worthless_in_other_hands() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path());
    let sessions = &identity.sessions;
    let (ada, bob) = (issue(&identity, "ada"), issue(&identity, "bob"));
    let [ada_in, bob_in] = [&ada, &bob].map(|i| sessions.verify(&i.token, NOW).unwrap());
    let chat: VendorId = "3f2a".parse().unwrap();
    assert_eq!(sessions.bound(&chat, NOW), Err(Refused::Unknown));
    assert!(sessions.bind(&ada_in, &chat, NOW).is_ok());
    assert_eq!(sessions.bind(&bob_in, &chat, NOW), Err(Foreign::Others));
    assert_eq!(sessions.bound(&chat, NOW).unwrap().username(), &name("ada"));
    // Ada on another machine goes on with her chat; her first session's end is no harm.
    let again = issue(&identity, "ada");
    let again_in = sessions.verify(&again.token, NOW).unwrap();
    assert!(sessions.bind(&again_in, &chat, NOW).is_ok());
    sessions.revoke(ada.session.session_id, NOW).unwrap();
    assert_eq!(
        sessions.bound(&chat, NOW).unwrap().session_id(),
        again.session.session_id
    );
    sessions.revoke(again.session.session_id, NOW).unwrap();
    assert_eq!(sessions.bound(&chat, NOW), Err(Refused::Revoked));
    // Nor does it become Bob's when no session of hers is left, or after a restart.
    identity.tick(after(20 * HOUR)).unwrap();
    assert_eq!(
        sessions.bind(&bob_in, &chat, after(20 * HOUR)),
        Err(Foreign::Others)
    );
    drop(identity);
    let identity = open(dir.path());
    assert_eq!(
        identity.sessions.bind(&bob_in, &chat, NOW),
        Err(Foreign::Others)
    );
    // Long unseen, it is forgotten.
    identity.tick(after(31 * 24 * HOUR)).unwrap();
    assert!(identity.sessions.bind(&bob_in, &chat, NOW).is_ok());
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(dir.path());
    let broken = Change {
        table: Table::Users,
        key: "ada".into(),
        value: Some(b"{\"username\":\"ada\"}".to_vec()),
    };
    disk.write(&[broken]).unwrap();
    let said = match Identity::open(disk, settings(dir.path()), NOW) {
        Ok(_) => panic!("it opens"),
        Err(e) => e.to_string(),
    };
    assert!(said.contains("\"ada\" of users"), "{said}");
}
